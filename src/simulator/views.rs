//! What a simulator tells of itself.

use super::faults::PageFault;
use super::market::CatalogueListing;
use super::mercari::MercariListing;
use crate::domain::CostRule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which marketplace a question is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// The source.
    Yahoo,
    /// The first destination.
    #[default]
    Ebay,
    /// Another destination.
    Mercari,
    /// Amazon: a source and a destination.
    Amazon,
}

/// Everything a seller would know before the first day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The products, each with its listings.
    pub products: Vec<CatalogueProduct>,
    /// The keys to the destinations.
    pub credentials: Credentials,
    /// Amazon's items and listings, and the keys to it.
    pub amazon: AmazonCatalogue,
}

/// What a seller would know of Amazon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmazonCatalogue {
    /// The items, each with its listings.
    pub products: Vec<AmazonProduct>,
    /// The application; it opens nothing but this simulator.
    pub client_id: Box<str>,
    /// Its secret.
    pub client_secret: Box<str>,
    /// The seller's authorisation.
    pub refresh_token: Box<str>,
    /// The seller.
    pub seller_id: Box<str>,
    /// The marketplace.
    pub marketplace: Box<str>,
}

/// One item of Amazon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmazonProduct {
    /// Its key.
    pub asin: Box<str>,
    /// The canonical address of its page (the real host; requests go to the simulator's own).
    pub url: Box<str>,
    /// Its title.
    pub title: Box<str>,
    /// The seller's listings of it.
    pub skus: Vec<Box<str>>,
}

/// One product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueProduct {
    /// The auction id.
    pub item_id: Box<str>,
    /// The canonical address of its page (the real host; requests go to the simulator's own).
    pub url: Box<str>,
    /// Its title.
    pub title: Box<str>,
    /// What the item costs the seller.
    pub cost_rule: CostRule,
    /// Where it is sold.
    pub listings: Vec<CatalogueListing>,
    /// Where it is sold at Mercari Shops.
    pub mercari: Vec<MercariListing>,
}

/// What eBay's token endpoint and Mercari accept. They open nothing but this simulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The application.
    pub client_id: Box<str>,
    /// Its secret.
    pub client_secret: Box<str>,
    /// The refresh token.
    pub refresh_token: Box<str>,
    /// The name for where a seller goes after consenting at `/oauth2/authorize`.
    pub ru_name: Box<str>,
    /// The token of the shop at Mercari.
    pub mercari_token: Box<str>,
    /// The name that Mercari assigned to the program.
    pub mercari_client_name: Box<str>,
}

/// A part of a long list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// How many entries there ever were.
    pub total: u64,
    /// How many of them are forgotten.
    pub dropped: u64,
    /// Ask for what comes after this number to go on.
    pub next: u64,
    /// The entries.
    pub entries: Vec<T>,
}

/// One request for a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEntry {
    /// Its place in the order of requests; starts at 1.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// The item; `None` when no item has the id asked for.
    pub id: Option<Box<str>>,
    /// The version of the item that the page shows.
    pub version: u32,
    /// What was wrong with the answer.
    pub fault: Option<PageFault>,
}

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Requests for pages.
    pub pages_asked: u64,
    /// Good pages handed out whole.
    pub pages_served: u64,
    /// Bytes of item pages, as sent.
    pub page_bytes: u64,
    /// Mean time to make one item page, in microseconds.
    pub page_mean_us: u64,
    /// Faulty answers to requests for pages, by fault.
    pub page_faults: BTreeMap<String, u64>,
    /// Lines of eBay's ledger.
    pub ebay_asked: u64,
    /// Lines of Mercari's ledger.
    pub mercari_asked: u64,
    /// Access tokens given out.
    pub tokens: u64,
    /// Changes of the truth.
    pub changes: u64,
    /// Calls of Amazon's API.
    pub amazon_asked: u64,
    /// Access tokens that Amazon gave out.
    pub amazon_tokens: u64,
    /// Changes of Amazon's items.
    pub amazon_changes: u64,
}
