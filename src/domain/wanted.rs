//! What pricing looks at: the states of a product's watches and the standing of one listing.
//!
//! These are here, in the ground, because `store` reads them, `pricing` judges them, and `watch` and `sync` bring the
//! two together; neither of the first two may know the other.

use super::platform::UnknownName;
use super::{
    Currency, ListingId, ListingRef, ListingState, ListingStatus, Money, ProductId, Quantity, SourcePlatform,
    SourceState, Version, WatchId, names,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

names!(
    /// What the listings of a product do while a change of it waits for a person.
    Meanwhile {
        /// What counted before goes on counting.
        Keep = "keep",
        /// The watch counts as out of stock.
        Zero = "zero",
    }
);

/// What counts for one watch of a product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WatchState {
    /// The row of `inventory_management`.
    pub watch_id: WatchId,
    /// The product that it watches.
    pub product_id: ProductId,
    /// Where it looks.
    pub source: SourcePlatform,
    /// How many accepted states there were; 0 has never been observed.
    pub version: Version,
    /// The last accepted state; `None` while never observed.
    pub state: Option<SourceState>,
    /// Whether it is being watched. A paused watch says nothing.
    pub enabled: bool,
    /// Set while a change of this watch waits for a person.
    pub held: Option<Meanwhile>,
    /// When the page behind `state` was read.
    pub fetched_at: Option<DateTime<Utc>>,
}

/// What a listing should be: the three values and nothing about why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Pieces on sale.
    pub quantity: Quantity,
    /// The price of one; `None` has no opinion: the price that stands is left alone.
    pub price: Option<Money>,
    /// Active or ended, never paused.
    pub status: ListingStatus,
}

/// The standing of one listing when its wanted state is worked out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListingBasis {
    /// Which listing.
    pub listing: ListingRef,
    /// The product that it offers.
    pub product_id: ProductId,
    /// What it is sold in.
    pub currency: Currency,
    /// What the destination confirmed last.
    pub confirmed: ListingState,
    /// What is wanted now; `None` before the first time.
    pub wanted: Option<Wanted>,
    /// Whether a push is under way, so that `wanted` may stand at the destination before it is confirmed.
    pub in_flight: bool,
    /// The price at the start of `day_price_on`, for the daily step limit.
    pub day_price: Option<Money>,
    /// The day, in Asia/Tokyo, that `day_price` belongs to.
    pub day_price_on: Option<NaiveDate>,
    /// Differences from the destination's rules, as the row holds them.
    pub rules: Option<serde_json::Value>,
}

impl ListingBasis {
    /// The listing's row.
    #[must_use]
    pub fn id(&self) -> ListingId {
        self.listing.listing_id
    }
}
