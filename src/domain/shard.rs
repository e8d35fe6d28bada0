//! The parts that the watching is divided into, and the count of their changes of hands.

use super::ProductId;
use serde::Serialize;
use std::fmt;

/// One of the 256 parts of what is watched. All watches of a product are in the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Shard(u8);

/// How often a part of the work has changed hands: what was begun under one epoch is not finished under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

// === impl Shard ===

impl Shard {
    /// How many there are.
    pub const COUNT: usize = 256;

    /// The one that a product belongs to. SQL says the same as `product_id & 255`: products are numbered one after
    /// another, so the parts are of one size, and a list that is imported in one go is spread over all of them.
    #[must_use]
    pub fn of(product: ProductId) -> Self {
        Self(u8::try_from(product.0 & 255).unwrap_or_default())
    }

    /// The one with this number, if there is one.
    #[must_use]
    pub fn new(number: i16) -> Option<Self> {
        u8::try_from(number).ok().map(Self)
    }

    /// Every one, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Its place in a list of all.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Its number, as the tables have it.
    #[must_use]
    pub fn number(self) -> i16 {
        i16::from(self.0)
    }

    /// The name of its lease.
    #[must_use]
    pub fn lease(self) -> String {
        format!("watch/{:03}", self.0)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_the_low_byte_of_the_product_whatever_its_sign() {
        for (product, shard) in [
            (0, 0),
            (255, 255),
            (256, 0),
            (1_000_003, 67),
            (-1, 255),
            (i64::MIN, 0),
        ] {
            assert_eq!(Shard::of(ProductId(product)).number(), shard, "{product}");
        }
        assert_eq!(Shard::all().count(), Shard::COUNT);
        assert_eq!(Shard::new(256), None);
        assert_eq!(Shard::new(7).map(Shard::lease).as_deref(), Some("watch/007"));
    }
}
