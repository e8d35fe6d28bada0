//! The way out to one destination, as the syncer sees it.
//!
//! A port, so that the syncer knows neither permits nor gates: it asks whether the way is open, hands over a request
//! with the last moment at which it may still be sent, and gets one answer for each listing. `app` puts the
//! destination's gateway behind it; the tests put a destination of their own there.

mod gateway;

pub use gateway::GatewayOutlet;

use crate::domain::{Currency, ErrorClass, ListingRef, ListingState};
use crate::platform::registrar::Quota;
use crate::platform::{Call, FoundListing, Objection, PlatformError, Revision};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::time::Instant;

/// Who goes first when the destination's rate is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// An offer is taken away.
    Zero,
    /// A quantity is raised after a look that does not stay fresh for long.
    Raise,
    /// A value moves, or is about to.
    Change,
    /// A look afterwards.
    Check,
}

/// Why nothing was sent: the destination knows nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    /// The reason, for people.
    pub why: String,
    /// When it is worth asking again.
    pub retry_after: Duration,
}

/// What became of one write.
#[derive(Clone, Debug)]
pub enum Written {
    /// The destination took it; what it said beside that.
    Accepted {
        /// Warnings, kept whole.
        warnings: Vec<Box<str>>,
    },
    /// It was answered, and surely has no effect.
    Failed(PlatformError),
    /// It may have had its effect.
    Unknown(PlatformError),
    /// It was never sent.
    NotSent(NotSent),
}

/// Why a destination was not read.
#[derive(Clone, Debug)]
pub enum NotRead {
    /// It did not answer, or with an error.
    Failed(PlatformError),
    /// It was not asked.
    NotSent(NotSent),
}

/// One destination, behind whatever guards it.
pub trait Outlet: Send + Sync + 'static {
    /// The destination is this node's from now on: takes up what is known of it, such as a breaker that another node has
    /// found open.
    fn take_over(&self) -> BoxFuture<'static, ()> {
        futures_util::FutureExt::boxed(futures_util::future::ready(()))
    }

    /// How many listings one [`revise`](Self::revise) may hold now.
    fn batch_size(&self) -> usize;

    /// How many permits of the destination's rate a call takes in all.
    fn permits(&self, call: Call<'_>) -> usize;

    /// `None` while requests go through; else how long it is useless to ask. Nothing is taken from the queue meanwhile.
    fn shut_for(&self) -> Option<Duration>;

    /// How many permits more would be had `within` at this urgency, with `under_way` of them taken by requests that are
    /// not answered. More is not taken from the queue: a request that waits grows old, and comes too late in the end.
    fn room(&self, urgency: Urgency, under_way: usize, within: Duration) -> usize;

    /// How many requests the rate alone lets out `within`, whatever waits for it by now; `None` while not all goes through.
    fn turns(&self, within: Duration) -> Option<usize>;

    /// Whether the destination can take this at all, by what is known of its limits. Asks nobody.
    ///
    /// # Errors
    /// Class `Rejected`, with what is out of bounds.
    fn admits(&self, _revision: &Revision) -> Result<(), PlatformError> {
        Ok(())
    }

    /// How long after it took a change the destination may still show what was there before; zero: it shows it at once.
    fn settles_within(&self) -> Duration {
        Duration::ZERO
    }

    /// What we count of the destination's limits ourselves, where it does not tell them; asks nobody.
    fn own_quotas(&self, _now: DateTime<Utc>) -> Vec<Quota> {
        Vec::new()
    }

    /// What the destination objected to when it showed this listing last.
    fn objection(&self, _sku: &str) -> Objection {
        Objection::Untold
    }

    /// Sets quantity and price absolutely; one answer for each, in order. Not sent after `send_before`.
    fn revise(
        &self,
        revisions: Vec<Revision>,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Vec<Written>>;

    /// Ends a listing. Not sent after `send_before`.
    fn end(&self, listing: ListingRef, urgency: Urgency, send_before: Instant)
    -> BoxFuture<'static, Written>;

    /// Lists an ended listing again. Not sent after `send_before`.
    fn relist(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Written>;

    /// Reads what the destination shows now. Not asked after `send_before`.
    fn read(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Result<ListingState, NotRead>>;

    /// What the destination would say to a revision, without carrying it out: its warnings. Not asked after `send_before`.
    fn preview(
        &self,
        revision: Revision,
        send_before: Instant,
    ) -> BoxFuture<'static, Result<Vec<Box<str>>, NotRead>>;

    /// Whether it answers [`preview`](Self::preview).
    fn previews(&self) -> bool {
        false
    }

    /// Finds listings by the seller's own key.
    fn find(&self, sku: Box<str>) -> BoxFuture<'static, Result<Vec<FoundListing>, NotRead>>;
}

/// Whether a failure says something about the service rather than about the listing: it passes by itself, and no
/// attempt is used up by it.
#[must_use]
pub fn is_outage(class: ErrorClass) -> bool {
    match class {
        ErrorClass::Transient
        | ErrorClass::RateLimited { .. }
        | ErrorClass::Blocked
        | ErrorClass::Unauthorized => true,
        ErrorClass::NotFound | ErrorClass::Rejected | ErrorClass::Protocol => false,
    }
}

/// What is shown, when its price is counted as the listing's row counts. The row has one currency: an amount in another,
/// believed or adopted, would be kept as that many yen or dollars.
pub(super) fn counted(shown: ListingState, currency: Currency) -> Result<ListingState, NotRead> {
    let Some(price) = shown.price.filter(|price| price.currency() != currency) else {
        return Ok(shown);
    };
    let message = format!(
        "the price is shown in {} and the listing is counted in {currency}: end that offer and link one that is sold in {currency}",
        price.currency()
    );
    Err(NotRead::Failed(PlatformError {
        class: ErrorClass::Protocol,
        code: "other_currency".into(),
        message: message.into(),
        missing: vec![format!("a price in {currency}").into()],
        body: None,
        away_for: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ListingStatus, Money, Quantity};

    #[test]
    fn a_price_in_another_currency_is_no_reading() {
        let shown = |currency: Currency| ListingState {
            status: ListingStatus::Active,
            quantity: Quantity::ZERO,
            price: Money::new(20.into(), currency).ok(),
        };
        let dollars = shown(Currency::Usd);
        assert_eq!(counted(dollars, Currency::Usd).unwrap(), dollars);
        let unpriced = ListingState {
            price: None,
            ..dollars
        };
        assert_eq!(counted(unpriced, Currency::Usd).unwrap(), unpriced);
        let Err(NotRead::Failed(error)) = counted(shown(Currency::Eur), Currency::Usd) else {
            panic!("euros were read as dollars");
        };
        assert_eq!(
            (error.class, &*error.code),
            (ErrorClass::Protocol, "other_currency")
        );
    }
}
