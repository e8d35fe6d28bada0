//! How many of a thing there are.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A count of pieces, 0 to one million. A larger number on a page is a misreading, not a stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct Quantity(u32);

/// A number that is no [`Quantity`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a quantity from 0 to 1000000, got {0}")]
pub struct BadQuantity(pub i64);

impl Quantity {
    /// None left.
    pub const ZERO: Self = Self(0);
    /// The most that is believed.
    pub const MAX: u32 = 1_000_000;

    /// A count as read.
    ///
    /// # Errors
    /// When it is negative or above [`Quantity::MAX`].
    pub fn new(count: i64) -> Result<Self, BadQuantity> {
        u32::try_from(count)
            .ok()
            .filter(|c| *c <= Self::MAX)
            .map(Self)
            .ok_or(BadQuantity(count))
    }

    /// The count.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The count as the database holds it.
    #[must_use]
    pub fn as_i32(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
