//! Many prices in one request, and the trait of destinations that take them so.
//!
//! A destination that works off a document of thousands of prices some time later: the document is uploaded, handed in,
//! waited for, and its report read. Nothing here keeps state: which step was done is written down by whoever asks. Only
//! *prices* go this way. A quantity is never part of it, so that no zero waits for a document.

use super::PlatformError;
use super::registrar::NotDone;
use crate::domain::Money;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};

/// One price of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkPrice {
    /// Its number within the document, from 1; the report names it.
    pub message: u32,
    /// The seller's own key of the listing.
    pub sku: Box<str>,
    /// The destination's kind of product.
    pub kind: Box<str>,
    /// The price to be.
    pub price: Money,
}

/// How far a document is at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkStage {
    /// It waits, or is worked off.
    UnderWay,
    /// It was dropped before anything of it was done.
    Cancelled,
    /// It was given up: some, none or all of it may have been done.
    Fatal,
    /// It was worked off; the report says what became of each price.
    Done,
}

/// A document that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkFeed {
    /// The destination's key of it.
    pub id: Box<str>,
    /// How far it is.
    pub stage: BulkStage,
    /// The key of its report, once there is one.
    pub report: Option<Box<str>>,
    /// When it was handed in, by the destination's clock.
    pub created_at: DateTime<Utc>,
}

/// What became of the prices of a document that was worked off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// Those that were refused, by their numbers, with what was said of each, whole.
    pub refused: BTreeMap<u32, Vec<Box<str>>>,
    /// Whether the report's counts say that all others were taken. Else nothing is known of them.
    pub others_taken: bool,
    /// What was said of the document as a whole.
    pub said: Vec<Box<str>>,
}

/// Kinds of product by the SKUs of their listings.
pub type Kinds = HashMap<Box<str>, Box<str>>;

/// A destination that takes many prices at once.
pub trait BulkPrices: Send + Sync + 'static {
    /// How many prices one document may hold.
    fn most(&self) -> usize;

    /// Whether this price can be part of a document at all, by what is known. Asks nobody.
    fn takes(&self, sku: &str, price: Money) -> bool;

    /// The kind of product of a listing where it is known already. Asks nobody.
    fn known_kind(&self, _sku: &str) -> Option<Box<str>> {
        None
    }

    /// For how many listings [`kinds`](Self::kinds) asks at once.
    fn kinds_at_once(&self) -> usize;

    /// The destination's kinds of product, which a document must name; a listing that it does not know is left out.
    fn kinds<'a>(&'a self, skus: &'a [Box<str>]) -> BoxFuture<'a, Result<Kinds, PlatformError>>;

    /// Uploads a document and gives its key. Nothing happens by it; repeating it is harmless.
    fn upload<'a>(&'a self, prices: &'a [BulkPrice]) -> BoxFuture<'a, Result<Box<str>, PlatformError>>;

    /// Hands in a document that was uploaded, and gives the key of the work. Repeating it would do the work twice.
    fn submit<'a>(&'a self, document: &'a str) -> BoxFuture<'a, Result<Box<str>, NotDone>>;

    /// What was handed in since an instant, by us or somebody else of the account.
    fn submitted_since(&self, since: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<BulkFeed>, PlatformError>>;

    /// How far a document is.
    fn look<'a>(&'a self, feed: &'a str) -> BoxFuture<'a, Result<BulkFeed, PlatformError>>;

    /// Reads the report of a document of so many prices, the last of them number `last`.
    ///
    /// # Errors
    /// Class `Protocol` when it cannot be read, with what was missing: then nothing is known of any price.
    fn report<'a>(
        &'a self,
        feed: &'a str,
        report: &'a str,
        prices: u32,
        last: u32,
    ) -> BoxFuture<'a, Result<BulkReport, PlatformError>>;
}
