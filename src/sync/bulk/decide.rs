//! What goes by feed, and what is next about one.

use super::super::plan::Step;
use crate::domain::{ErrorClass, ListingStatus, Money};
use crate::platform::PlatformError;
use crate::platform::bulk::{BulkFeed, BulkReport, BulkStage};
use crate::platform::gateway::was_never_sent;
use crate::store::bulk::{FeedResult, ItemOutcome};
use crate::store::listings::Listing;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::time::Duration;

/// A document that could not be handed in for so long is given up: its prices go one by one by then.
const HANDED_IN_WITHIN: TimeDelta = TimeDelta::hours(1);
/// A document that is still worked on after so long is not waited for. Amazon takes minutes, on a bad day an hour.
const WORKED_OFF_WITHIN: TimeDelta = TimeDelta::hours(6);
/// A document of which nobody knows whether it was handed in is in the destination's list by then, or it was not.
const LISTED_WITHIN: TimeDelta = TimeDelta::minutes(3);
/// How far the destination's clock and the database's may be apart.
pub(super) const CLOCKS_APART: TimeDelta = TimeDelta::minutes(2);
/// Tries at a step whose failure does not pass by itself.
const MOST_TRIES: i32 = 6;
/// The longest wait between two tries, or two looks.
const LONGEST: Duration = Duration::from_secs(300);

/// Whether so many prices are more than can be sent one by one in time.
pub(super) fn is_bulk(backlog: usize, turns: usize) -> bool {
    backlog > turns
}

/// The price that a step sends and nothing beside it: no quantity waits for it, and no feed has one of this listing yet.
pub(in super::super) fn price_alone(listing: &Listing, step: Step) -> Option<Money> {
    let shown = listing.basis.confirmed;
    let wanted = listing.target()?;
    match step {
        Step::Revise {
            quantity: None,
            price: Some(price),
        } if shown.status == ListingStatus::Active
            && shown.price.is_some()
            && wanted.quantity == shown.quantity
            && !wanted.quantity.is_zero()
            && listing.bulk_price.is_none() =>
        {
            Some(price)
        }
        _ => None,
    }
}

/// Whether a price that was gathered may still be sent: it is what is wanted, and nothing has come up since.
pub(super) fn still_goes(listing: &Listing, price: Money) -> bool {
    let shown = listing.basis.confirmed;
    let wanted = listing.target().and_then(|wanted| wanted.price);
    listing.auto_sync
        && listing.held_reason.is_none()
        && !listing.needs_read_back
        && shown.status == ListingStatus::Active
        && shown.price != Some(price)
        && wanted == Some(price)
}

/// What a failed step leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The same again after a while; it counts as a try, or not.
    Again(Duration, bool),
    /// It is of no use.
    Over,
}

/// What an error after `tries` others means.
pub(super) fn after(error: &PlatformError, tries: i32) -> After {
    let doubled = Duration::from_secs(5)
        .saturating_mul(1 << tries.clamp(0, 6))
        .min(LONGEST);
    match error.class {
        _ if was_never_sent(error) => After::Again(Duration::from_secs(5), false),
        ErrorClass::RateLimited { retry_after } => After::Again(
            retry_after
                .unwrap_or(doubled)
                .clamp(Duration::from_secs(1), LONGEST),
            false,
        ),
        ErrorClass::Transient | ErrorClass::Blocked | ErrorClass::Unauthorized => {
            After::Again(error.away_for.unwrap_or(doubled).min(LONGEST), true)
        }
        ErrorClass::NotFound | ErrorClass::Rejected | ErrorClass::Protocol => After::Over,
    }
}

/// Whether a step has been tried often enough.
pub(super) fn is_enough(tries: i32) -> bool {
    tries >= MOST_TRIES
}

/// Whether a feed that was begun then and is not handed in is too old for it.
pub(super) fn is_too_old(created_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - created_at > HANDED_IN_WITHIN
}

/// Whether a feed that was handed in then, and of which nothing more is heard, is not waited for any longer: its listings
/// are looked at instead.
pub(super) fn is_given_up(submitted_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    submitted_at.is_some_and(|at| now - at > WORKED_OFF_WITHIN + HANDED_IN_WITHIN)
}

/// Whether a feed that is not in the destination's list was never handed in.
pub(super) fn is_lost(submitted_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - submitted_at > LISTED_WITHIN
}

/// What a look says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Look again after a while.
    Wait(Duration),
    /// It is over.
    Over(FeedResult),
}

/// What to do about a feed that stands so, handed in then; at first it is looked at every `poll`.
pub(super) fn looked(
    feed: &BulkFeed,
    submitted_at: DateTime<Utc>,
    now: DateTime<Utc>,
    poll: Duration,
) -> Looked {
    let age = now - submitted_at;
    match feed.stage {
        BulkStage::Done => Looked::Over(FeedResult::Done),
        BulkStage::Fatal => Looked::Over(FeedResult::Fatal),
        BulkStage::Cancelled => Looked::Over(FeedResult::Cancelled),
        BulkStage::UnderWay if age > WORKED_OFF_WITHIN => Looked::Over(FeedResult::Late),
        BulkStage::UnderWay => {
            let eighth = age.to_std().unwrap_or_default() / 8;
            Looked::Wait(eighth.clamp(poll, LONGEST.max(poll)))
        }
    }
}

/// What became of price number `message`, by a report.
pub(super) fn outcome(report: &BulkReport, message: i32) -> (ItemOutcome, Option<Value>) {
    let number = u32::try_from(message).unwrap_or(0);
    match report.refused.get(&number) {
        Some(said) => {
            let issues: Vec<Value> = said.iter().map(|text| issue(text)).collect();
            (ItemOutcome::Refused, Some(json!({ "issues": issues })))
        }
        None if report.others_taken => (ItemOutcome::Accepted, None),
        None => (ItemOutcome::Unknown, None),
    }
}

/// An issue as the destination wrote it, as an object where it still is one.
pub(super) fn issue(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_cut| Value::String(text.to_owned()))
}

/// What became of every price of a feed that has no report to go by. Before it was handed in nothing was sent.
pub(super) fn outcome_of_all(result: FeedResult, handed_in: bool) -> ItemOutcome {
    match result {
        FeedResult::Refused => ItemOutcome::LeftOut,
        _ if !handed_in => ItemOutcome::LeftOut,
        _ => ItemOutcome::Unknown,
    }
}

#[cfg(test)]
mod tests;
