//! What the register tells, and what may be ordered of it past the API.

use crate::domain::{Currency, Money};
use crate::simulator::faults::CallFault;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What is sold from the start: where an item is listed, and under which keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueListing {
    /// The seller's own key.
    pub sku: Box<str>,
    /// eBay's key of the offer.
    pub offer_id: Box<str>,
    /// The listing that buyers see.
    pub listing_id: Box<str>,
    /// The marketplace.
    pub marketplace: Box<str>,
    /// The currency of its price, ISO 4217.
    pub currency: Currency,
}

/// What eBay shows for one SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterEntry {
    /// The seller's own key.
    pub sku: Box<str>,
    /// eBay's key of the offer; empty when there is an inventory item only.
    pub offer_id: Box<str>,
    /// The listing that buyers see; empty while the offer is not published.
    pub listing_id: Box<str>,
    /// `PUBLISHED` or `UNPUBLISHED`.
    pub status: Box<str>,
    /// Pieces that a buyer can buy.
    pub quantity: u32,
    /// The price of one, with its currency.
    pub price: Option<Money>,
    /// Number of accepted writes.
    pub version: u32,
    /// Revisions counted on the present Pacific day.
    pub revisions_today: u32,
    /// Pieces sold here.
    pub sold: u32,
    /// When the last accepted write came.
    pub written_at: Option<DateTime<Utc>>,
}

/// One thing that eBay was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its place in the order of things asked; starts at 1.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// The operation by its published name, `token` for OAuth.
    pub operation: Box<str>,
    /// The seller's own key, where the call has one.
    pub sku: Option<Box<str>>,
    /// The offer, where the call has one.
    pub offer_id: Option<Box<str>>,
    /// The quantity asked for.
    pub quantity: Option<u32>,
    /// The price asked for.
    pub price: Option<Money>,
    /// Whether it was accepted (for a reading: answered).
    pub accepted: bool,
    /// The status code, of the entry for bulk calls.
    pub status: u16,
    /// The error's number, if it was refused.
    pub error_id: Option<u32>,
    /// The listing's number of accepted writes after this.
    pub version: Option<u32>,
    /// The fault that the call met.
    pub fault: Option<CallFault>,
}

/// What changes at eBay by someone's hand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetListing {
    /// Which listing.
    pub sku: String,
    /// Pieces on sale.
    pub quantity: Option<u32>,
    /// The price of one, in the listing's currency.
    pub price: Option<Decimal>,
    /// Whether it is on sale at all.
    pub published: Option<bool>,
    /// Pieces that a buyer takes now.
    pub sell: Option<u32>,
}
