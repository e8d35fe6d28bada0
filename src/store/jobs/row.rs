//! The words of a job's row.

use crate::domain::{DestinationPlatform, UnknownName, names};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

names!(
    /// What kind of work a job is.
    QueueName {
        /// Look at one product now.
        StockCheck = "stock_check",
        /// Work out prices anew.
        PriceSync = "price_sync",
        /// Check one product's data.
        Validation = "validation",
        /// Bring one listing up to what is wanted.
        PlatformSync = "platform_sync",
        /// Register a product at a destination.
        ProductRegistration = "product_registration",
    }
);
names!(
    /// Where a job stands.
    JobStatus {
        /// Waits for its time and for a worker.
        Pending = "pending",
        /// A worker holds it by a lease.
        Processing = "processing",
        /// Done.
        Completed = "completed",
        /// Failed, and waits for its next try.
        Failed = "failed",
        /// A dead letter: waits for a person.
        Dead = "dead",
    }
);

/// What one consumer takes from: a queue, and a destination where the queue has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Lane {
    /// The queue.
    pub queue: QueueName,
    /// The destination, for [`QueueName::PlatformSync`] and [`QueueName::ProductRegistration`].
    pub destination: Option<DestinationPlatform>,
}

impl Lane {
    /// The lane of a destination's syncer.
    #[must_use]
    pub fn sync(destination: DestinationPlatform) -> Self {
        Self {
            queue: QueueName::PlatformSync,
            destination: Some(destination),
        }
    }

    /// The lane of first listings at a destination.
    #[must_use]
    pub fn registration(destination: DestinationPlatform) -> Self {
        Self {
            queue: QueueName::ProductRegistration,
            destination: Some(destination),
        }
    }

    /// Reads a row's columns.
    pub(super) fn read(queue: &str, destination: Option<&str>) -> Result<Self, StoreError> {
        let queue = queue.parse().map_err(StoreError::bad_row)?;
        let destination = destination
            .map(DestinationPlatform::from_str)
            .transpose()
            .map_err(StoreError::bad_row)?;
        Ok(Self { queue, destination })
    }

    /// The destination's name, or nothing: as the table's index and the notifications have it.
    pub(super) fn destination_text(self) -> &'static str {
        self.destination.map_or("", DestinationPlatform::as_str)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.queue, self.destination_text())
    }
}

/// Who holds a job: a node, and one life of its daemon.
///
/// A daemon that starts knows that whatever an earlier life of its node holds is held by nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerId {
    node: Box<str>,
    boot: Uuid,
}

impl WorkerId {
    /// A new life of `node`. A `/` in the name becomes `-`.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            node: node.replace('/', "-").into(),
            boot: Uuid::now_v7(),
        }
    }

    /// This life of `node`, as the other nodes know it.
    #[must_use]
    pub fn of(node: &str, boot: Uuid) -> Self {
        Self {
            boot,
            ..Self::new(node)
        }
    }

    /// What all lives of this node begin with.
    pub(in crate::store) fn node_prefix(&self) -> String {
        format!("{}/", self.node)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.boot)
    }
}
