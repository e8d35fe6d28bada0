//! The first listing of a product: what it is made of, and the trait of destinations that take it.
//!
//! A listing comes about in three steps, each of which can be repeated: the goods are described, an offer of them is
//! made, and the offer goes on sale. What became of a step is said entry by entry. A [`Registrar`] keeps no state: which
//! step was done is written down by whoever asks.

use super::PlatformError;
use crate::domain::{Currency, Money, Quantity};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a buyer reads of a product, and on which terms it is sold. Price and quantity are not part of it: they are worked
/// out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListingContent {
    /// The headline.
    pub title: String,
    /// The description, HTML, all placeholders filled.
    pub description: String,
    /// Addresses of pictures, the first one first.
    pub images: Vec<String>,
    /// The destination's key of the category.
    pub category: String,
    /// The destination's word for the condition.
    pub condition: String,
    /// The condition in the seller's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_description: Option<String>,
    /// Properties of the goods, each with its values.
    pub aspects: BTreeMap<String, Vec<String>>,
    /// The destination's key of the marketplace: `EBAY_US`.
    pub marketplace: String,
    /// The seller's key of the place it is sent from.
    pub location: String,
    /// The terms of the sale.
    pub policies: Policies,
}

/// The destination's keys of the seller's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// Sending.
    pub fulfillment: String,
    /// Paying.
    pub payment: String,
    /// Taking back.
    pub returns: String,
}

/// What is wrong with a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContentProblem {
    /// Which field.
    pub field: String,
    /// What it should be.
    pub expected: String,
    /// What stood there, shortened.
    pub got: String,
}

/// A listing to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewListing {
    /// The seller's own key.
    pub sku: Box<str>,
    /// What a buyer reads.
    pub content: ListingContent,
    /// Pieces on sale.
    pub quantity: Quantity,
    /// The price of one.
    pub price: Money,
}

/// An offer that a destination has of a SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingOffer {
    /// The destination's key of it.
    pub offer_id: Box<str>,
    /// Where it is offered.
    pub marketplace: Box<str>,
    /// Whether it is on sale.
    pub is_published: bool,
}

/// A step that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The destination's key of what was made; empty where a step makes nothing that has one.
    pub id: Box<str>,
    /// What the destination said beside it, whole.
    pub warnings: Vec<Box<str>>,
}

/// A step that was not done, or of which that is not known.
#[derive(Clone, Debug)]
pub struct NotDone {
    /// Why.
    pub error: PlatformError,
    /// It may have been done: look before it is repeated.
    pub unknown: bool,
}

/// What became of one entry of a step.
pub type Step = Result<Done, NotDone>;

/// A category that a destination suggests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// Its key.
    pub category: Box<str>,
    /// Its name, with those above it, from the root.
    pub path: Vec<Box<str>>,
}

/// A limit that the destination counts our requests by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// What it limits: `sell inventory`, or one method of it.
    pub resource: Box<str>,
    /// Requests within the window.
    pub limit: u64,
    /// How many are left of them.
    pub remaining: u64,
    /// When the count begins anew.
    pub reset: chrono::DateTime<chrono::Utc>,
    /// The length of the window, in seconds.
    pub window_s: u64,
}

/// A destination at which products are listed for the first time.
pub trait Registrar: Send + Sync + 'static {
    /// How many entries one step may hold.
    fn batch_size(&self) -> usize;

    /// Everything that is wrong with a content, as far as it can be told without asking.
    fn problems(&self, content: &ListingContent) -> Vec<ContentProblem>;

    /// What a marketplace sells in; `None` when there is no such marketplace.
    fn currency(&self, marketplace: &str) -> Option<Currency>;

    /// The offers of a SKU, on sale or not; none when there is no such SKU.
    fn offers<'a>(&'a self, sku: &'a str) -> BoxFuture<'a, Result<Vec<StandingOffer>, PlatformError>>;

    /// Describes the goods. Repeating it is harmless. One outcome for each, in order.
    fn put_items<'a>(&'a self, new: &'a [NewListing]) -> BoxFuture<'a, Vec<Step>>;

    /// Makes an offer of each, not on sale yet. One outcome with the offer's key for each, in order.
    fn make_offers<'a>(&'a self, new: &'a [NewListing]) -> BoxFuture<'a, Vec<Step>>;

    /// Makes an offer that is not on sale what it would be if it were made now. Repeating it is harmless.
    fn replace_offer<'a>(&'a self, offer_id: &'a str, new: &'a NewListing) -> BoxFuture<'a, Step>;

    /// Puts offers on sale. One outcome with the listing's key for each, in order.
    fn publish<'a>(&'a self, offer_ids: &'a [Box<str>]) -> BoxFuture<'a, Vec<Step>>;

    /// Categories that fit these words, the best first.
    fn suggest<'a>(
        &'a self,
        marketplace: &'a str,
        words: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Suggestion>, PlatformError>>;

    /// What is left of the account's requests.
    fn quotas(&self) -> BoxFuture<'_, Result<Vec<Quota>, PlatformError>>;
}
