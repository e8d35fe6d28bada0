//! What an answer changes: the pure half of finishing a push.
//!
//! Called with the listing's row locked. A push still owns its listing while the row's `last_sync_log_id` is its own;
//! everybody else's answer is only logged, and makes the listing be read back. What is confirmed is what was sent,
//! whatever is wanted by now; whether the listing is finished is decided by what is wanted *now*.

use super::outlet::{NotRead, NotSent, Written, is_outage};
use super::plan::{
    HELD_ENDED, HELD_NOT_APPLIED, HELD_REFUSED, HELD_SALE, ON_HOLD_LOOK, ReadWhy, Step, is_zero, matches,
};
use crate::domain::{ErrorClass, ListingState, ListingStatus, SyncLogId, Version, Wanted};
use crate::platform::PlatformError;
use crate::platform::ebay::budget::{Revisions, pacific_day};
use crate::store::listings::Listing;
use crate::store::pushes::{JobEnd, ListingHold, PushLease, PushOutcome, Settlement};
use crate::store::sync_log::PossibleWrites;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use std::time::Duration;

/// The priority of a look afterwards: behind everything that changes something.
pub const PRIORITY_CHECK: i16 = 8;
pub(super) const PRIORITY_ZERO: i16 = 1;
/// The priority of a quantity that may be raised now: ahead of other changes, because the look before it grows old.
pub(super) const PRIORITY_RAISE: i16 = 2;
const PRIORITY_CHANGE: i16 = 5;
/// The code of a trouble: the destination keeps the listing on hold.
pub const ON_HOLD: &str = "on_hold";

/// A request that was begun, as its worker remembers it.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The job.
    pub lease: PushLease,
    /// The job's priority.
    pub priority: i16,
    /// Attempts that have failed.
    pub retries: i32,
    /// How many may.
    pub max_retries: i32,
    /// The fence.
    pub log: SyncLogId,
    /// What was wanted when it was begun.
    pub version: Version,
    /// What was asked.
    pub step: Step,
    /// Whether that version is whole once this is accepted.
    pub completes: bool,
    /// The Pacific day whose revisions it was counted among; `None` when it is not counted.
    pub spent: Option<NaiveDate>,
}

/// What came back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To a write.
    Written(Written),
    /// To a read.
    Read(Result<ListingState, NotRead>),
}

/// Waits that the pure half does not draw itself.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// After an outage of the destination, jittered.
    pub outage: Duration,
    /// After a failed attempt, jittered.
    pub attempt: Duration,
    /// From an accepted push that matters to the look afterwards.
    pub read_back: Duration,
    /// For so long the destination may still show what was there before the last push.
    pub settling: Option<Duration>,
    /// For so long something that the listing took before may come over what it took last: it is looked at again then.
    pub lags: Option<Duration>,
}

/// A trouble that a person should find among the errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// A stable name.
    pub code: String,
    /// What happened, and what happens next.
    pub message: String,
    /// Whether a person is needed soon: a listing may be sold from without cover, or many are held.
    pub critical: bool,
    /// Whether it is about the destination as a whole, and one row is enough for all listings it hits.
    pub shared: bool,
    /// Whether it heals by itself: the moment's fault, not the listing's or the account's.
    pub passing: bool,
}

/// What to write, what to tell, and what to remember.
#[derive(Clone, Debug)]
pub struct Settled {
    /// For the tables.
    pub write: Settlement,
    /// For the errors.
    pub trouble: Option<Trouble>,
    /// The destination was read just now, and what it shows is confirmed.
    pub fresh: bool,
    /// A zero was refused: look before saying it again.
    pub doubted: bool,
    /// Fewer pieces are to be sent before the destination can be read for sure.
    pub presses: bool,
}

impl Settled {
    /// The destination became another node's while this was under way, and that one may have looked at it, or sent
    /// something else, before this one arrived: whatever may have been written is to be read back by its owner, now.
    pub(super) fn was_anothers(&mut self, answer: &Answer) {
        let write = &mut self.write;
        let harmless = matches!(
            answer,
            Answer::Read(_) | Answer::Written(Written::NotSent(_) | Written::Failed(_))
        );
        if !harmless {
            write.needs_read_back = true;
            if write.job.1 == JobEnd::Done {
                write.job.1 = again(Duration::ZERO, PRIORITY_RAISE);
            }
        }
        self.fresh = false;
    }
}

/// The parts that differ from answer to answer; the rest follows from the push.
struct Verdict {
    confirmed: Option<ListingState>,
    synced: Option<Version>,
    over: bool,
    needs_read_back: bool,
    hold: Option<ListingHold>,
    breaks_fence: bool,
    outcome: PushOutcome,
    error: Option<Value>,
    job: JobEnd,
    trouble: Option<Trouble>,
    fresh: bool,
    doubted: bool,
    presses: bool,
}

/// What `answer` to `begun` changes, given the locked row.
#[must_use]
pub fn settle(
    listing: &Listing,
    begun: &Begun,
    answer: &Answer,
    possible: PossibleWrites,
    waits: Waits,
    now: DateTime<Utc>,
) -> Settled {
    let mine = listing.last_sync_log_id == Some(begun.log);
    let verdict = match answer {
        _ if !mine => overtaken(listing, begun, answer),
        Answer::Written(Written::Accepted { warnings }) => accepted(listing, begun, warnings, waits),
        Answer::Written(Written::Unknown(error)) => unknown(listing, begun, error, now),
        Answer::Written(Written::NotSent(why)) => not_sent(listing, begun, why),
        Answer::Written(Written::Failed(error)) => failed(listing, begun, error, waits),
        Answer::Read(Ok(shown)) => match waits.settling.filter(|_| says_nothing_yet(listing, *shown)) {
            Some(left) => not_yet(listing, begun, left, possible),
            None => read(listing, begun, *shown, possible, waits),
        },
        Answer::Read(Err(NotRead::NotSent(why))) => not_sent(listing, begun, why),
        Answer::Read(Err(NotRead::Failed(error))) => failed(listing, begun, error, waits),
    };
    // The day's revisions are used up over there, whatever we counted.
    let exhausted = match answer {
        // The day when it was counted: the answer may come after midnight.
        Answer::Written(Written::Failed(error)) if &*error.code == crate::platform::ebay::REVISION_LIMIT => {
            let day = begun.spent.or(listing.revisions_day);
            let counted = Revisions {
                day: listing.revisions_day,
                used: listing.revisions,
            };
            let spent = counted.exhaust(day.unwrap_or_else(|| pacific_day(now)));
            spent.day.map(|day| (day, spent.used))
        }
        _ => None,
    };
    Settled {
        write: Settlement {
            listing: listing.id(),
            confirmed: verdict.confirmed,
            synced: verdict.synced,
            over: verdict.over,
            needs_read_back: verdict.needs_read_back,
            hold: verdict.hold,
            breaks_fence: verdict.breaks_fence,
            exhausted,
            refund: refund(begun, answer),
            log: Some((begun.log, verdict.outcome, verdict.error)),
            job: (begun.lease, verdict.job),
        },
        trouble: verdict.trouble,
        fresh: verdict.fresh,
        doubted: verdict.doubted,
        presses: verdict.presses,
    }
}

/// The day that gets a revision back: it was not sent, or the destination turned it away at the door.
fn refund(begun: &Begun, answer: &Answer) -> Option<NaiveDate> {
    match answer {
        Answer::Written(Written::NotSent(_)) => begun.spent,
        Answer::Written(Written::Failed(error)) if is_outage(error.class) => begun.spent,
        _ => None,
    }
}

/// Whether something newer is wanted than what was sent.
fn has_moved(listing: &Listing, begun: &Begun) -> bool {
    listing.wanted_version > begun.version
}

/// The same again `after` a while; at once, and as urgently as it is, when something else is wanted by now: a zero does
/// not wait because a price met an outage.
fn once_more(listing: &Listing, begun: &Begun, after: Duration) -> JobEnd {
    if has_moved(listing, begun) {
        again(Duration::ZERO, begun.priority.min(urgency(listing)))
    } else {
        again(after, begun.priority)
    }
}

/// Priority of the next look, from what is wanted.
pub(super) fn urgency(listing: &Listing) -> i16 {
    if wants_zero(listing) {
        PRIORITY_ZERO
    } else {
        PRIORITY_CHANGE
    }
}

fn wants_zero(listing: &Listing) -> bool {
    listing.target().is_some_and(is_zero)
}

fn is_offered(shown: ListingState) -> bool {
    shown.status == ListingStatus::Active && !shown.quantity.is_zero()
}

fn again(after: Duration, priority: i16) -> JobEnd {
    JobEnd::Again { after, priority }
}

impl Verdict {
    /// Nothing learned and nothing changed but the log.
    fn of(listing: &Listing, outcome: PushOutcome, job: JobEnd) -> Self {
        Self {
            confirmed: None,
            synced: None,
            over: false,
            needs_read_back: listing.needs_read_back,
            hold: None,
            breaks_fence: false,
            outcome,
            error: None,
            job,
            trouble: None,
            fresh: false,
            doubted: false,
            presses: false,
        }
    }
}

/// Another push was settled or begun since this one: the late request may stand over there. Look.
///
/// The fence is broken in two ways. A *newer* push was begun (its number is greater): then that one owns the listing, and
/// because this late one may have been applied beside it, its own answer is not to be trusted either. Or an *older* one
/// woke up late and broke it: then nothing newer has been begun, and this push is over once it is answered.
fn overtaken(listing: &Listing, begun: &Begun, answer: &Answer) -> Verdict {
    let (outcome, harmless) = match answer {
        Answer::Written(Written::Accepted { .. }) => (PushOutcome::Accepted, false),
        Answer::Written(Written::Unknown(_)) => (PushOutcome::Unknown, false),
        Answer::Written(Written::Failed(_) | Written::NotSent(_)) | Answer::Read(_) => {
            (PushOutcome::Failed, true)
        }
    };
    let by_older = listing.last_sync_log_id < Some(begun.log);
    let answered = !matches!(answer, Answer::Written(Written::Unknown(_)));
    Verdict {
        over: by_older && answered && begun.step.is_write(),
        needs_read_back: listing.needs_read_back || !harmless,
        breaks_fence: !by_older && !harmless,
        error: Some(json!({ "overtaken": "another push of this listing was begun or settled meanwhile" })),
        ..Verdict::of(listing, outcome, again(Duration::ZERO, begun.priority.min(2)))
    }
}

fn accepted(listing: &Listing, begun: &Begun, warnings: &[Box<str>], waits: Waits) -> Verdict {
    let shown = begun.step.applied(listing.basis.confirmed);
    let newest = listing.wanted_version == begun.version;
    let whole = listing.target().is_some_and(|w| matches(w, shown));
    let job = match (newest && whole, listing.needs_read_back) {
        (true, false) => JobEnd::Done,
        (true, true) => again(waits.read_back, PRIORITY_CHECK),
        (false, _) => again(Duration::ZERO, urgency(listing)),
    };
    Verdict {
        confirmed: Some(shown),
        synced: begun
            .completes
            .then_some(begun.version.max(listing.synced_version)),
        over: true,
        error: (!warnings.is_empty()).then(|| json!({ "warnings": warnings })),
        ..Verdict::of(listing, PushOutcome::Accepted, job)
    }
}

fn unknown(listing: &Listing, begun: &Begun, error: &PlatformError, now: DateTime<Utc>) -> Verdict {
    // Nothing newer goes out while the request may still act.
    let wait = listing
        .pushing
        .and_then(|p| (p.deadline - now).to_std().ok())
        .unwrap_or(Duration::ZERO);
    let priority = if has_moved(listing, begun) {
        begun.priority.min(urgency(listing))
    } else {
        begun.priority
    };
    Verdict {
        needs_read_back: true,
        error: serde_json::to_value(error).ok(),
        trouble: Some(Trouble {
            code: error.code.to_string(),
            message: error.message.to_string(),
            critical: false,
            shared: true,
            passing: heals(error.class),
        }),
        ..Verdict::of(listing, PushOutcome::Unknown, again(wait, priority))
    }
}

fn not_sent(listing: &Listing, begun: &Begun, why: &NotSent) -> Verdict {
    Verdict {
        // A read ends nothing: the write before it may still be unsettled.
        over: begun.step.is_write(),
        error: Some(json!({ "not_sent": why.why })),
        ..Verdict::of(
            listing,
            PushOutcome::Failed,
            once_more(listing, begun, why.retry_after),
        )
    }
}

/// Whether a failure is the moment's.
fn heals(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Transient | ErrorClass::RateLimited { .. })
}

fn failed(listing: &Listing, begun: &Begun, error: &PlatformError, waits: Waits) -> Verdict {
    let write = begun.step.is_write();
    let trouble = |critical: bool, message: String| Trouble {
        code: error.code.to_string(),
        message,
        critical,
        shared: is_outage(error.class),
        passing: heals(error.class),
    };
    let base = Verdict {
        over: write,
        error: serde_json::to_value(error).ok(),
        ..Verdict::of(listing, PushOutcome::Failed, JobEnd::Done)
    };
    if is_outage(error.class) {
        let wait = match error.class {
            ErrorClass::RateLimited {
                retry_after: Some(told),
            } => told.max(waits.outage),
            _ => waits.outage,
        };
        return Verdict {
            trouble: Some(trouble(false, error.message.to_string())),
            job: once_more(listing, begun, wait),
            ..base
        };
    }
    if &*error.code == crate::platform::ebay::REVISION_LIMIT {
        // The claim finds the budget used up and waits for the next day.
        return Verdict {
            trouble: Some(trouble(begun.step.is_zero(), error.message.to_string())),
            job: once_more(listing, begun, waits.attempt),
            ..base
        };
    }
    if has_moved(listing, begun) {
        // Nobody wants any more what was refused, and what is wanted by now was not asked: no attempt, no hold.
        let gone = write && begun.step.is_zero();
        return Verdict {
            outcome: PushOutcome::Rejected,
            doubted: gone,
            needs_read_back: listing.needs_read_back || gone,
            job: again(Duration::ZERO, urgency(listing)),
            ..base
        };
    }
    let last = begun.retries >= begun.max_retries;
    let gone = write && begun.step.is_zero() && error.class != ErrorClass::Protocol;
    let again_is_useless = !gone && matches!(error.class, ErrorClass::Rejected | ErrorClass::NotFound);
    if last || again_is_useless {
        let id = listing.id();
        // The last word on a zero may be that of the look after it.
        let unwanted = begun.step.is_zero() || is_offered(listing.basis.confirmed) && wants_zero(listing);
        let message = format!(
            "{}; listing `{id}` is held until its wanted values change or a person releases it",
            error.message
        );
        return Verdict {
            outcome: PushOutcome::Rejected,
            hold: Some(ListingHold {
                reason: HELD_REFUSED,
                detail: json!({ "error": error, "step": begun.step, "wanted_version": begun.version }),
            }),
            trouble: Some(trouble(unwanted, message)),
            job: JobEnd::Dead {
                error: error.message.to_string(),
            },
            ..base
        };
    }
    Verdict {
        outcome: PushOutcome::Rejected,
        // A zero that is refused: perhaps the listing is gone already, so look before saying it again.
        doubted: gone,
        needs_read_back: listing.needs_read_back || gone,
        job: JobEnd::Retry {
            after: waits.attempt,
            priority: begun.priority,
            error: error.message.to_string(),
        },
        ..base
    }
}

/// While a destination works off what it took: whether what it shows may be what was there before. What is wanted is
/// there, or nothing has moved, says something: a request of unknown outcome is then made again, for whatever the first
/// one comes to, the second sets the same after it. And a zero, or a higher price alone, that was not taken yet waits for
/// nothing: said on a look that was too early, it is said once too often. (Fewer pieces do not wait either, but are
/// measured against what was taken: see [`presses`].)
fn says_nothing_yet(listing: &Listing, shown: ListingState) -> bool {
    let before = listing.basis.confirmed;
    let Some(wanted) = listing.target() else {
        return shown != before;
    };
    let dearer = (wanted.quantity, wanted.quantity) == (shown.quantity, before.quantity)
        && wanted.price.zip(shown.price).is_some_and(|(wanted, shown)| {
            wanted.currency() == shown.currency() && wanted.amount() > shown.amount()
        });
    let at_once = (is_zero(wanted) || dearer) && listing.synced_version < listing.wanted_version;
    !matches(wanted, shown) && !at_once && shown != before
}

/// Whether fewer pieces are wanted than there can be, by all that was sent: then they are sent at once, whatever is shown
/// meanwhile. What is shown is not believed, for it may be more than there is, and "fewer" than that a raise.
fn presses(listing: &Listing, possible: PossibleWrites) -> bool {
    let before = listing.basis.confirmed;
    let least = possible.least.unwrap_or(before.quantity).min(before.quantity);
    let falls = |wanted: Wanted| wanted.status == ListingStatus::Active && wanted.quantity < least;
    before.status == ListingStatus::Active
        && !possible.ended
        && listing.synced_version < listing.wanted_version
        && listing.target().is_some_and(falls)
}

/// Nothing was learned: the same look again when the destination has settled.
fn not_yet(listing: &Listing, begun: &Begun, left: Duration, possible: PossibleWrites) -> Verdict {
    let presses = presses(listing, possible);
    let job = if presses {
        again(Duration::ZERO, begun.priority.min(urgency(listing)))
    } else {
        again(left, begun.priority)
    };
    Verdict {
        needs_read_back: true,
        error: Some(json!({ "settling_s": left.as_secs() })),
        presses,
        // Not as a look: what was sent before it may still come.
        ..Verdict::of(listing, PushOutcome::Failed, job)
    }
}

fn read(
    listing: &Listing,
    begun: &Begun,
    shown: ListingState,
    possible: PossibleWrites,
    waits: Waits,
) -> Verdict {
    let before = listing.basis.confirmed;
    let wanted = listing.target();
    let unsure = begun.step == Step::Read(ReadWhy::Unsure);
    let base = Verdict {
        confirmed: Some(shown),
        over: true,
        needs_read_back: false,
        fresh: true,
        ..Verdict::of(
            listing,
            PushOutcome::Accepted,
            again(Duration::ZERO, urgency(listing)),
        )
    };
    let Some(wanted) = wanted else {
        return Verdict {
            job: JobEnd::Done,
            ..base
        };
    };
    if matches(wanted, shown) {
        let synced = Some(listing.wanted_version);
        return match waits.lags {
            Some(left) => Verdict {
                synced,
                needs_read_back: true,
                job: again(left, PRIORITY_CHECK),
                ..base
            },
            None => Verdict {
                synced,
                job: JobEnd::Done,
                ..base
            },
        };
    }
    if let Some(hold) = surprise(
        before,
        shown,
        if unsure {
            possible
        } else {
            PossibleWrites::default()
        },
    ) && wanted.quantity > shown.quantity
        && wanted.status == ListingStatus::Active
    {
        return Verdict {
            outcome: PushOutcome::Held,
            trouble: Some(Trouble {
                code: hold.reason.to_owned(),
                message: format!(
                    "Listing `{}` shows {} where {} was confirmed; it is held: nothing is raised before a person \
                         has looked",
                    listing.id(),
                    shown.quantity,
                    before.quantity
                ),
                critical: false,
                shared: false,
                passing: false,
            }),
            hold: Some(hold),
            // Not what is wanted, even where it had been: whoever accepts the hold wants it raised.
            synced: Some(behind(listing)),
            job: JobEnd::Done,
            ..base
        };
    }
    if shown.status == ListingStatus::Paused {
        return Verdict {
            trouble: Some(on_hold(listing)),
            job: again(ON_HOLD_LOOK, begun.priority),
            ..base
        };
    }
    if listing.synced_version < listing.wanted_version {
        let agrees = wanted.price.is_none() || wanted.price == shown.price;
        if begun.step == Step::Read(ReadWhy::BeforeRaise) && !agrees && wanted.price == before.price {
            // The price before the quantity was accepted, and is not there.
            return not_applied(listing, begun, shown, (waits.read_back, waits), base);
        }
        let raise = agrees && wanted.quantity > shown.quantity && shown.status == ListingStatus::Active;
        let priority = if raise { PRIORITY_RAISE } else { urgency(listing) };
        return Verdict {
            job: again(Duration::ZERO, priority),
            ..base
        };
    }
    // It was accepted whole, and is not there. The first time at once: a value that was overwritten by a late request
    // must not stand.
    not_applied(listing, begun, shown, (Duration::ZERO, waits), base)
}

/// The version to be called synced when the newest is not.
fn behind(listing: &Listing) -> Version {
    listing
        .synced_version
        .min(Version(listing.wanted_version.0.saturating_sub(1)))
}

fn on_hold(listing: &Listing) -> Trouble {
    Trouble {
        code: ON_HOLD.to_owned(),
        message: format!(
            "{} keeps listing `{}` on hold: nothing is sent, and it is looked at every {} minutes; read what the \
             destination wrote to the seller",
            listing.basis.listing.destination,
            listing.id(),
            ON_HOLD_LOOK.as_secs() / 60,
        ),
        critical: false,
        shared: false,
        passing: false,
    }
}

/// Less than was confirmed, or ended, without our doing.
fn surprise(before: ListingState, shown: ListingState, possible: PossibleWrites) -> Option<ListingHold> {
    let detail = json!({ "confirmed": before, "shown": shown });
    if before.status != ListingStatus::Active {
        return None;
    }
    // What the destination keeps on hold is not gone, and what was sold before is still seen.
    if shown.status == ListingStatus::Ended {
        return (!possible.ended).then_some(ListingHold {
            reason: HELD_ENDED,
            detail,
        });
    }
    // After an unknown outcome any of the values that were sent may stand.
    let least = possible.least.unwrap_or(before.quantity).min(before.quantity);
    (shown.quantity < least).then_some(ListingHold {
        reason: HELD_SALE,
        detail,
    })
}

fn not_applied(
    listing: &Listing,
    begun: &Begun,
    shown: ListingState,
    (first, waits): (Duration, Waits),
    base: Verdict,
) -> Verdict {
    let unwanted = wants_zero(listing) && is_offered(shown);
    let message = format!(
        "Listing `{}` took version {} and shows something else ({} at {})",
        listing.id(),
        listing.wanted_version,
        shown.quantity,
        shown
            .price
            .map_or_else(|| "no price".to_owned(), |p| p.to_string()),
    );
    let base = Verdict {
        synced: Some(behind(listing)),
        ..base
    };
    if begun.retries >= begun.max_retries {
        return Verdict {
            hold: Some(ListingHold {
                reason: HELD_NOT_APPLIED,
                detail: json!({ "wanted": listing.basis.wanted, "shown": shown }),
            }),
            trouble: Some(Trouble {
                code: HELD_NOT_APPLIED.to_owned(),
                message: format!("{message}; it is held after {} tries", begun.retries + 1),
                critical: unwanted,
                shared: false,
                passing: false,
            }),
            job: JobEnd::Dead { error: message },
            ..base
        };
    }
    let after = if begun.retries == 0 {
        first
    } else {
        first.max(waits.attempt)
    };
    Verdict {
        job: JobEnd::Retry {
            after,
            // Not that of the look: what is not there is missing.
            priority: begun.priority.min(urgency(listing)),
            error: message,
        },
        ..base
    }
}

#[cfg(test)]
mod tests;
