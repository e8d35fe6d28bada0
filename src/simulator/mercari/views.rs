//! What the shop tells, and what may be ordered of it past the API.

use crate::simulator::faults::MercariFault;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What is sold from the start, and under which keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MercariListing {
    /// The seller's own key.
    pub sku: Box<str>,
    /// Mercari's key of the product.
    pub product_id: Box<str>,
}

/// What Mercari shows for one SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MercariEntry {
    /// The seller's own key.
    pub sku: Box<str>,
    /// Mercari's key of the product.
    pub product_id: Box<str>,
    /// `OPENED` or `UNOPENED`.
    pub status: Box<str>,
    /// Pieces in stock.
    pub quantity: u32,
    /// The price of one, in yen.
    pub price: u32,
    /// Number of accepted writes.
    pub version: u32,
    /// Pieces sold here.
    pub sold: u32,
    /// When the last accepted write came.
    pub written_at: Option<DateTime<Utc>>,
}

/// One thing that Mercari was asked; for the bulk call one line for each SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MercariAsked {
    /// Its place in the order of things asked; starts at 1.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// The field of the operation (`updateProduct`), or what kept it from being read.
    pub operation: Box<str>,
    /// The seller's own key, where the call has one.
    pub sku: Option<Box<str>>,
    /// The product, where the call has one.
    pub product_id: Option<Box<str>>,
    /// The stock after this.
    pub quantity: Option<u32>,
    /// The price after this, in yen.
    pub price: Option<u32>,
    /// The status after this.
    pub status: Option<Box<str>>,
    /// Whether it was accepted (for a reading: answered).
    pub accepted: bool,
    /// The HTTP status.
    pub http_status: u16,
    /// The code of the error, if it was refused.
    pub code: Option<Box<str>>,
    /// The listing's number of accepted writes after this.
    pub version: Option<u32>,
    /// The fault that the call met.
    pub fault: Option<MercariFault>,
}

/// What changes at Mercari by someone's hand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetMercari {
    /// Which listing.
    pub sku: String,
    /// Pieces in stock.
    pub quantity: Option<u32>,
    /// The price of one, in yen.
    pub price: Option<u32>,
    /// Whether buyers see it.
    pub opened: Option<bool>,
    /// Pieces that a buyer takes now.
    pub sell: Option<u32>,
}
