//! The outside world behind two small traits.
//!
//! An adapter turns a platform's own words into ours and back; it holds no state of products, retries nothing and
//! limits nothing: the [`gateway`] puts its [`Guard`](crate::resilience::Guard) around every call. A call's failure is a
//! [`PlatformError`] with a class; an answer that cannot be read is an error that says what was missing, never a zero.

pub mod amazon;
mod body;
pub mod bulk;
pub mod ebay;
pub mod ecb;
pub mod gateway;
mod json;
mod lost;
pub mod mercari;
pub mod oauth;
pub mod registrar;
pub mod yahoo;

use crate::domain::{
    Classified, CostRule, ErrorClass, ListingRef, ListingState, ListingStatus, Money, Observation, Quantity,
    SellerMark, SourceProductId, SourceState, TitleHash,
};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use serde::Serialize;
use std::time::Duration;

/// Why a call to a platform gave no value.
#[derive(Clone, Debug, thiserror::Error, Serialize)]
#[error("{message}")]
pub struct PlatformError {
    /// What it means for the next call.
    pub class: ErrorClass,
    /// A stable, short code: `login_page`, `captcha`, `contract`, `http_503`, `ebay_25002`, …
    pub code: Box<str>,
    /// What was being done, with identifiers, and what happened. Never holds a secret.
    pub message: Box<str>,
    /// What the answer lacked or contradicted, as paths (`item.bidorbuy`); empty for other troubles.
    pub missing: Vec<Box<str>>,
    /// The platform's own error body, whole up to 16 KiB, where it sent one.
    pub body: Option<Box<str>>,
    /// How long the platform said that it is away (`Retry-After` of a 503), within our bounds.
    pub away_for: Option<Duration>,
}

/// A platform that was asked something harmless, and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// What its clock said, to the second.
    pub date: Option<DateTime<Utc>>,
}

/// The code of an address that leads to another item than the one asked for. Seen once it proves nothing.
pub const MOVED: &str = "moved";

impl Classified for PlatformError {
    fn class(&self) -> ErrorClass {
        self.class
    }

    fn unavailable(&self) -> bool {
        &*self.code == "http_503"
    }

    fn away_for(&self) -> Option<Duration> {
        self.away_for
    }
}

/// A place where goods are bought. Reading only.
pub trait Source: Send + Sync + 'static {
    /// How many items one request may ask for (Yahoo! Auctions: 1, one page).
    fn batch_size(&self) -> usize;

    /// Looks at the items named; one answer for each, in order.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; nothing is left behind.
    fn observe<'a>(
        &'a self,
        ids: &'a [SourceProductId],
    ) -> BoxFuture<'a, Vec<Result<Observation, PlatformError>>>;

    /// Asks something harmless, of which no product is the subject: whether it can be reached, and lets us in.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; nothing is left behind.
    fn reach(&self) -> BoxFuture<'_, Result<Reached, PlatformError>> {
        future::ready(Err(no_harmless_question())).boxed()
    }

    /// Tells what counts of an item now, so that a source which reads twice what differs from it need not do so for what
    /// is known. Told for every watch when the daemon starts; an item never told about is read twice at first.
    fn accepted(&self, _id: &SourceProductId, _known: Accepted) {}

    /// Much hangs on the next reading of an item (it releases what waits): a source that reads twice should do so, though
    /// it has confirmed the same before.
    fn doubt(&self, _id: &SourceProductId) {}
}

/// What was last accepted of a watched item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What its product costs by.
    pub rule: CostRule,
    /// What can be bought for how much.
    pub state: SourceState,
    /// The title last seen.
    pub title_hash: TitleHash,
    /// Who sold it, where that is known.
    pub seller: Option<SellerMark>,
}

/// What one listing should become. Only the fields that are `Some` are sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Revision {
    /// Which listing.
    pub listing: ListingRef,
    /// The new quantity.
    pub quantity: Option<Quantity>,
    /// The new price.
    pub price: Option<Money>,
    /// What the destination held last, for platforms whose update replaces the whole record.
    pub confirmed: ListingState,
}

/// What became of one entry of a batch.
#[derive(Clone, Debug)]
pub enum EntryOutcome {
    /// The destination took it; what it said beside that.
    Accepted {
        /// Warnings, kept whole.
        warnings: Vec<Box<str>>,
    },
    /// It did not, or whether it did is unknown.
    Failed {
        /// Why.
        error: PlatformError,
        /// The request may have been applied: read back before anything newer is sent.
        unknown: bool,
    },
}

/// A call of a [`Destination`], as far as its cost is concerned.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// [`revise`](Destination::revise) of these.
    Revise(&'a [Revision]),
    /// [`end`](Destination::end).
    End,
    /// [`relist`](Destination::relist).
    Relist,
    /// [`read`](Destination::read).
    Read,
    /// [`find`](Destination::find).
    Find,
    /// [`preview`](Destination::preview).
    Preview,
}

/// What a destination objects to at a listing that it shows, whatever was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It does not say such things.
    Untold,
    /// Nothing.
    None,
    /// This, in its own words: a person has to look.
    Told(Box<str>),
}

/// A place where goods are sold.
pub trait Destination: Send + Sync + 'static {
    /// How many requests a call makes when all goes well; limits count requests.
    fn requests(&self, _call: Call<'_>) -> u32 {
        1
    }

    /// How many listings one [`revise`](Self::revise) may hold. It may change: a platform says so when it is asked.
    fn batch_size(&self) -> usize;

    /// How long it is useless to ask anything, for want of a token; `None` when there is one or may be.
    fn rests_for(&self) -> Option<Duration> {
        None
    }

    /// Whether the destination can take this at all, by what is known of its limits. Asks nobody.
    ///
    /// # Errors
    /// Class `Rejected`, with what is out of bounds: the same values will never be taken.
    fn admits(&self, _revision: &Revision) -> Result<(), PlatformError> {
        Ok(())
    }

    /// How long after it took a change the destination may still show the old values, because it works changes off later.
    /// Until then a reading that shows the old ones does not say that the change was lost. Zero: at once.
    fn settles_within(&self) -> Duration {
        Duration::ZERO
    }

    /// What we count of its limits ourselves, where it does not tell them; asks nobody.
    fn own_quotas(&self, _now: DateTime<Utc>) -> Vec<registrar::Quota> {
        Vec::new()
    }

    /// What it objected to when it showed this listing last.
    fn objection(&self, _sku: &str) -> Objection {
        Objection::Untold
    }

    /// Sets quantity and price absolutely; one outcome for each, in order. Repeating it is harmless.
    fn revise<'a>(&'a self, revisions: &'a [Revision]) -> BoxFuture<'a, Vec<EntryOutcome>>;

    /// Whether it answers [`preview`](Self::preview).
    fn previews(&self) -> bool {
        false
    }

    /// What it would say to a revision, without carrying it out: its warnings.
    ///
    /// # Errors
    /// Class `Rejected` when it would refuse it, or has no such question; else as any call.
    fn preview<'a>(&'a self, _revision: &'a Revision) -> BoxFuture<'a, Result<Vec<Box<str>>, PlatformError>> {
        future::ready(Err(no_harmless_question())).boxed()
    }

    /// Ends the listing, keeping what is needed to list it again.
    fn end<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>>;

    /// Lists an ended listing again.
    fn relist<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>>;

    /// Reads what the destination shows now.
    fn read<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<ListingState, PlatformError>>;

    /// Asks something harmless, of which no listing is the subject: whether it can be reached, and lets us in.
    fn reach(&self) -> BoxFuture<'_, Result<Reached, PlatformError>> {
        future::ready(Err(no_harmless_question())).boxed()
    }

    /// Finds a listing by the seller's own key, for linking and importing.
    fn find<'a>(&'a self, sku: &'a str) -> BoxFuture<'a, Result<Vec<FoundListing>, PlatformError>>;
}

/// What an adapter answers that knows of nothing harmless to ask.
fn no_harmless_question() -> PlatformError {
    PlatformError {
        class: ErrorClass::Rejected,
        code: "no_harmless_question".into(),
        message: "this adapter knows of no harmless question".into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

/// A listing as its destination names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundListing {
    /// The seller's own key.
    pub sku: Box<str>,
    /// The destination's key of the offer.
    pub platform_product_id: Box<str>,
    /// Where a buyer sees it.
    pub url: Option<Box<str>>,
    /// What it shows.
    pub state: ListingState,
}

impl FoundListing {
    /// Whether it is on sale.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state.status == ListingStatus::Active
    }
}
