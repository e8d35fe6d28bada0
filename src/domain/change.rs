//! What differs between two accepted states of a watch.

use super::platform::UnknownName;
use super::{ListingId, ProductId, SourcePlatform, SourceState, Version, WatchId, names};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

names!(
    /// The `change_type` of `stock_history`.
    ChangeType {
        /// The stock moved.
        Stock = "stock_change",
        /// The price moved.
        Price = "price_change",
        /// Both did.
        Both = "both",
    }
);
names!(
    /// The `change_source` of `stock_history`: who says so.
    ChangeSource {
        /// A Yahoo! page.
        Yahoo = "yahoo",
        /// Amazon.
        Amazon = "amazon",
        /// A person.
        Manual = "manual",
    }
);

impl From<SourcePlatform> for ChangeSource {
    fn from(source: SourcePlatform) -> Self {
        match source {
            SourcePlatform::Yahoo => Self::Yahoo,
            SourcePlatform::Amazon => Self::Amazon,
        }
    }
}

/// A change that the ledger has committed. Nothing is an event before that.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Committed {
    /// The product.
    pub product_id: ProductId,
    /// The watch whose page changed.
    pub watch_id: WatchId,
    /// The version that this change made.
    pub version: Version,
    /// Who says so.
    pub source: ChangeSource,
    /// What counted before; `None` for the first observation.
    pub before: Option<SourceState>,
    /// What counts now.
    pub after: SourceState,
    /// The listings whose wanted state moved with it.
    pub listings: Vec<ListingId>,
    /// When the page's last byte was read.
    pub fetched_at: DateTime<Utc>,
    /// When the COMMIT was answered.
    pub committed_at: DateTime<Utc>,
}

/// The channel on which committed changes are told. A receiver that lags reads the tables instead.
pub type CommittedSender = tokio::sync::broadcast::Sender<std::sync::Arc<Committed>>;
