//! One type per identifier, so that a listing's id can never be passed for a product's.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A row of `yahoo_scraped_products`: one thing the seller trades.
    ProductId
);
id!(
    /// A row of `inventory_management`: one product watched at one source.
    WatchId
);
id!(
    /// A row of `listing_platforms`: the product's offer at one destination.
    ListingId
);
id!(
    /// A row of `processing_queue`.
    JobId
);
id!(
    /// A row of `holds`: a change that waits for a person.
    HoldId
);
id!(
    /// A row of `sync_log`: one push and what became of it.
    SyncLogId
);
id!(
    /// A row of `registrations`: a product on its way to a destination.
    RegistrationId
);
id!(
    /// A row of `bulk_feeds`: prices that go to a destination in one document.
    BulkFeedId
);
id!(
    /// Counts the accepted states of a watch, or the wanted states of a listing; starts at 0, grows by one.
    Version
);

impl Version {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The item's identifier at its source: a Yahoo! auction id or an ASIN.
///
/// Holds 1 to 64 ASCII letters, digits, `-` or `_`, so that it can stand in a path, a log line and a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SourceProductId(Box<str>);

/// Why a text is no [`SourceProductId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected 1 to 64 letters, digits, `-` or `_`, got `{got}`")]
pub struct BadSourceProductId {
    got: String,
}

impl SourceProductId {
    /// Takes `text` as it stands.
    ///
    /// # Errors
    /// When `text` is empty, longer than 64 bytes or holds another character.
    pub fn new(text: &str) -> Result<Self, BadSourceProductId> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits {
            Ok(Self(text.into()))
        } else {
            let got = text.chars().take(80).collect();
            Err(BadSourceProductId { got })
        }
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SourceProductId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_product_id_takes_both_shapes_of_yahoo_and_refuses_paths() {
        for good in ["s1238539612", "1219987808", "B07FZ8S74R"] {
            assert_eq!(SourceProductId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "../x", "a b", "１２３", &"x".repeat(65)] {
            assert!(SourceProductId::new(bad).is_err(), "{bad}");
        }
    }
}
