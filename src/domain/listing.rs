//! The product's offer at one destination.

use super::platform::UnknownName;
use super::{DestinationPlatform, ListingId, Money, Quantity, names};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

names!(
    /// The `listing_status` of `listing_platforms`.
    ListingStatus {
        /// On sale (its quantity may be 0).
        Active = "active",
        /// Kept, not on sale.
        Paused = "paused",
        /// Ended at the destination.
        Ended = "ended",
    }
);

/// Names one listing at its destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListingRef {
    /// Our row.
    pub listing_id: ListingId,
    /// The destination.
    pub destination: DestinationPlatform,
    /// The seller's own key at the destination (eBay: inventory item SKU, at most 50 characters).
    pub sku: Box<str>,
    /// The destination's key of the offer (eBay: offerId).
    pub platform_product_id: Box<str>,
}

/// What a destination shows, or should show, for one listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingState {
    /// Active, paused or ended.
    pub status: ListingStatus,
    /// Pieces on sale.
    pub quantity: Quantity,
    /// The price of one; `None` where the destination shows none.
    pub price: Option<Money>,
}
