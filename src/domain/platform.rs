//! The names of the outside world.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A name that is not one of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected one of {expected}, got `{got}`")]
pub struct UnknownName {
    /// What would have been understood.
    pub expected: String,
    /// What was given, cut to 40 characters.
    pub got: String,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every member, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in tables, settings, commands and answers.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|n| n.as_str() == text).ok_or_else(|| UnknownName {
                    expected: Self::ALL.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", "),
                    got: text.chars().take(40).collect(),
                })
            }
        }
    };
}
pub(crate) use names;

names!(
    /// Where goods are bought.
    SourcePlatform {
        /// Yahoo! Auctions.
        Yahoo = "yahoo",
        /// Amazon.co.jp.
        Amazon = "amazon",
    }
);
names!(
    /// Where goods are sold.
    DestinationPlatform {
        /// eBay, through the Sell APIs.
        Ebay = "ebay",
        /// Mercari Shops.
        Mercari = "mercari",
        /// Amazon as a seller.
        AmazonSeller = "amazon_seller",
    }
);
names!(
    /// An external service with its own limits, breaker and switch.
    Platform {
        /// Yahoo! Auctions item pages.
        YahooAuction = "yahoo_auction",
        /// The Selling Partner API, read side.
        Amazon = "amazon",
        /// The eBay Sell APIs.
        Ebay = "ebay",
        /// Mercari Shops.
        Mercari = "mercari",
        /// The Selling Partner API, seller side.
        AmazonSeller = "amazon_seller",
    }
);

impl Platform {
    /// Whether `zaikoban credentials authorize` can ask for a person's consent there.
    #[must_use]
    pub fn asks_for_consent(self) -> bool {
        self == Self::Ebay
    }

    /// What a person types to let the daemon in again: a consent where the platform asks for one, else new secrets.
    #[must_use]
    pub fn sign_in_command(self) -> String {
        if self.asks_for_consent() {
            format!("zaikoban credentials authorize {self}")
        } else {
            format!("zaikoban credentials set {self}")
        }
    }

    /// The secret that ends some day, and whose end is meant where an end of the credentials is known: Amazon rotates its
    /// client secrets every 180 days, eBay's refresh tokens last 18 months, Mercari gives a token.
    #[must_use]
    pub fn ending_secret(self) -> Option<&'static str> {
        match self {
            Self::Amazon | Self::AmazonSeller => Some("client_secret"),
            Self::Ebay => Some("refresh_token"),
            Self::Mercari => Some("token"),
            Self::YahooAuction => None,
        }
    }

    /// What a person types to replace the secret that ends, so that the end of the new one is known, too. With a consent
    /// the platform says it.
    #[must_use]
    pub fn renew_command(self) -> String {
        match self.ending_secret() {
            Some(secret) if !self.asks_for_consent() => {
                format!("zaikoban credentials set {self} --field {secret} --ends-on YYYY-MM-DD")
            }
            _ => self.sign_in_command(),
        }
    }

    /// What a person types to say when the secret that is kept ends.
    #[must_use]
    pub fn end_command(self) -> String {
        format!("zaikoban credentials set {self} --ends-on YYYY-MM-DD")
    }
}

impl From<SourcePlatform> for Platform {
    fn from(source: SourcePlatform) -> Self {
        match source {
            SourcePlatform::Yahoo => Self::YahooAuction,
            SourcePlatform::Amazon => Self::Amazon,
        }
    }
}

impl From<DestinationPlatform> for Platform {
    fn from(destination: DestinationPlatform) -> Self {
        match destination {
            DestinationPlatform::Ebay => Self::Ebay,
            DestinationPlatform::Mercari => Self::Mercari,
            DestinationPlatform::AmazonSeller => Self::AmazonSeller,
        }
    }
}
