//! What a look means that compares a listing with what is believed of it.
//!
//! Judged only where nothing of ours can explain the difference: no push of the listing is under way, unknown or moments
//! old, and nothing waits to be pushed. A difference is believed when it is seen twice ([`Suspect`]), but for more than
//! can be bought. What is believed is dealt with by the destination's policy ([`super::reconcile`]); what is to be pushed
//! then is pushed as everything else, with its fences, its blast radius and its look before a raise.

use super::outlet::{NotRead, Written};
use super::plan::{HELD_DRIFT, HELD_ENDED, ReadWhy, Step, matches};
use super::reconcile::{
    Done, DriftKind, Policy, ReconcileSettings, Repair, Wants, ask, differences, is_too_much, reconcile,
};
use super::settle::{Answer, Begun, PRIORITY_CHECK, Settled, Trouble, urgency};
use crate::domain::{ErrorClass, ListingState, Version};
use crate::store::listings::Listing;
use crate::store::pushes::{JobEnd, ListingHold, PushOutcome, Settlement};
use crate::store::reads::{Moved, NewDrift, ReadBack, ReadNote, RunCounts, Suspect};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::time::Duration;

/// Repairs of one round that may be in vain: then a person is asked, instead of pushing for ever.
const MOST_REPAIRS: i32 = 3;
/// The code of a trouble: so many listings differ that nothing is repaired.
const DRIFT_STOPPED: &str = "drift_stopped";

/// What is known around a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) settings: ReconcileSettings,
    pub(super) policy: Policy,
    /// When something was last sent to the listing, or answered.
    pub(super) last_write: Option<DateTime<Utc>>,
    /// The run's counts so far.
    pub(super) counts: RunCounts,
}

/// What it changes, and what is remembered of it; `None` when it is no such look, or not to be judged as one.
pub(super) fn judge(
    listing: &Listing,
    begun: &Begun,
    answer: &Answer,
    around: &Around,
    now: DateTime<Utc>,
) -> Option<(Settled, ReadNote)> {
    let back = listing.read_back.as_ref().filter(|back| back.asked)?;
    let mine = begun.step == Step::Read(ReadWhy::Reconcile) && listing.last_sync_log_id == Some(begun.log);
    let Answer::Read(read) = answer else { return None };
    if !mine {
        return None;
    }
    // A version that wants what was wanted before is nothing to push: waited for, it would be waited for for ever.
    let is_behind = listing.wanted_version > listing.synced_version && !is_in_line(listing);
    let waits_for_a_push = is_behind && listing.held_reason.is_none() || listing.needs_read_back;
    let look = Look {
        listing,
        begun,
        around,
        back,
        now,
    };
    let shown = match read {
        Ok(shown) => Some(*shown),
        Err(NotRead::Failed(error)) if error.class == ErrorClass::NotFound => None,
        Err(NotRead::Failed(error)) if !super::outlet::is_outage(error.class) => {
            return Some(look.failed(&error.code, &error.message));
        }
        Err(_) => return None,
    };
    // What is pushed, or may have been, comes first; then it is looked again. So does what has come to be wanted since the
    // look began, also of a listing that is held: its job was to go to that, as urgently as it is.
    let has_moved = listing.wanted_version > begun.version;
    if listing.pushing.is_some() || waits_for_a_push || has_moved {
        let (mut settled, note) = look.later(Duration::ZERO, back.suspect.clone(), Moved::default());
        settled.write.job.1 = JobEnd::Again {
            after: Duration::ZERO,
            priority: begun.priority.min(urgency(listing)),
        };
        // It says nothing for sure: what may have been written before it may still stand over there.
        settled.write.log = Some((begun.log, PushOutcome::Failed, None));
        return Some((settled, note));
    }
    Some(look.compare(shown))
}

/// After an accepted push: a listing whose turn it is to be compared is looked at again, once the destination shows what
/// was sent.
pub(super) fn after_write(
    listing: &Listing,
    answer: &Answer,
    settled: &mut Settled,
    settings: &ReconcileSettings,
    now: DateTime<Utc>,
) -> Option<ReadNote> {
    let back = listing.read_back.as_ref().filter(|back| back.asked)?;
    let Answer::Written(Written::Accepted { .. }) = answer else {
        return None;
    };
    let wait = settings.confirm_after();
    if settled.write.job.1 == JobEnd::Done {
        settled.write.job.1 = JobEnd::Again {
            after: wait,
            priority: PRIORITY_CHECK,
        };
    }
    Some(ReadNote {
        listing: listing.id(),
        back: ReadBack {
            suspect: None,
            look_at: Some(after(now, wait)),
            ..back.clone()
        },
        compared: false,
        agrees: false,
        drift: Vec::new(),
        moved: Moved::default(),
    })
}

/// After everything else that ended a job, a look of another kind among it: a listing whose turn it is to be compared
/// keeps its job, or nobody would come back for it. Where a person has to mend the push first, its turn is over and
/// counts as not read.
pub(super) fn keep_turn(listing: &Listing, settled: &mut Settled, now: DateTime<Utc>) -> Option<ReadNote> {
    let back = listing.read_back.as_ref().filter(|back| back.asked)?;
    match settled.write.job.1 {
        JobEnd::Again { .. } | JobEnd::Retry { .. } => None,
        JobEnd::Done => {
            let left = back.look_at.and_then(|at| (at - now).to_std().ok());
            settled.write.job.1 = JobEnd::Again {
                after: left.unwrap_or_default(),
                priority: PRIORITY_CHECK,
            };
            None
        }
        JobEnd::Dead { .. } => Some(ReadNote {
            listing: listing.id(),
            back: ReadBack {
                execution: back.execution,
                adopted: back.adopted,
                ..ReadBack::default()
            },
            compared: false,
            agrees: false,
            drift: Vec::new(),
            moved: Moved {
                failed: 1,
                ..Moved::default()
            },
        }),
    }
}

fn after(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait)
        .ok()
        .and_then(|wait| now.checked_add_signed(wait))
        .unwrap_or(now)
}

struct Look<'a> {
    listing: &'a Listing,
    begun: &'a Begun,
    around: &'a Around,
    back: &'a ReadBack,
    now: DateTime<Utc>,
}

/// The parts of an outcome that differ.
#[derive(Default)]
struct End {
    confirmed: Option<ListingState>,
    synced: Option<Version>,
    hold: Option<ListingHold>,
    trouble: Option<Trouble>,
    fresh: bool,
}

impl Look<'_> {
    fn compare(&self, shown: Option<ListingState>) -> (Settled, ReadNote) {
        let believed = self.listing.basis.confirmed;
        let wants = self.listing.basis.wanted.map(|wanted| Wants {
            version: self.listing.wanted_version,
            wanted,
            adopted: self.back.adopted,
        });
        let kinds = differences(believed, shown);
        let first = self.back.suspect.is_none() && self.back.repairs == 0;
        if kinds.is_empty() {
            return self.agrees(shown, first);
        }
        let wait = self.around.settings.confirm_after();
        // The destination may not show yet what was pushed.
        let settled_at = self.around.last_write.map(|at| after(at, wait));
        if let Some(left) = settled_at
            .and_then(|at| (at - self.now).to_std().ok())
            .filter(|l| !l.is_zero())
        {
            return self.later(left, None, Moved::default());
        }
        let seen_before = self.back.suspect.as_ref().is_some_and(|suspect| {
            suspect.shown == shown
                && after(suspect.at, wait) <= self.now
                && self.around.last_write.is_none_or(|at| at < suspect.at)
        });
        let differed = Moved {
            looked: i32::from(first),
            differed: i32::from(first),
            ..Moved::default()
        };
        let too_much = is_too_much(wants, shown);
        if !too_much && !seen_before {
            let suspect = Suspect { at: self.now, shown };
            return self.later(wait, Some(suspect), differed);
        }
        let moved = Moved {
            drifted: i32::from(self.back.repairs == 0),
            ..differed
        };
        let counts = RunCounts {
            looked: self.around.counts.looked.saturating_add(moved.looked),
            differed: self.around.counts.differed.saturating_add(moved.differed),
            ..self.around.counts
        };
        if self.back.execution.is_some() && self.around.settings.stops(counts) {
            return self.stopped(&kinds, shown, moved);
        }
        let mut repair = reconcile(self.around.policy, believed, wants, shown);
        if repair.done == Done::Pushed && self.back.repairs >= MOST_REPAIRS {
            repair = ask(repair.confirmed, self.back.adopted);
        }
        self.repaired(&kinds, shown, wants, repair, moved)
    }

    /// Both agree, or what differed is as it was again.
    fn agrees(&self, shown: Option<ListingState>, first: bool) -> (Settled, ReadNote) {
        let moved = Moved {
            looked: i32::from(first),
            // It was seen once, and is not there any more.
            differed: -i32::from(self.back.suspect.is_some() && self.back.repairs == 0),
            ..Moved::default()
        };
        let end = End {
            confirmed: shown.filter(|_| self.listing.basis.confirmed.status == shown_status(shown)),
            synced: is_in_line(self.listing).then_some(self.listing.wanted_version),
            fresh: true,
            ..End::default()
        };
        let note = self.note(ReadBack::default(), moved);
        let note = ReadNote {
            compared: true,
            agrees: true,
            ..note
        };
        (self.settled(PushOutcome::Accepted, JobEnd::Done, end), note)
    }

    /// Not judged yet: again after a while.
    fn later(&self, wait: Duration, suspect: Option<Suspect>, moved: Moved) -> (Settled, ReadNote) {
        let back = ReadBack {
            asked: true,
            look_at: Some(after(self.now, wait)),
            suspect,
            repairs: self.back.repairs,
            ..ReadBack::default()
        };
        let job = JobEnd::Again {
            after: wait,
            priority: PRIORITY_CHECK,
        };
        (
            self.settled(PushOutcome::Accepted, job, End::default()),
            self.note(back, moved),
        )
    }

    /// So many differ that nothing is changed, here or over there.
    fn stopped(&self, kinds: &[DriftKind], shown: Option<ListingState>, moved: Moved) -> (Settled, ReadNote) {
        let destination = self.listing.basis.listing.destination;
        let end = End {
            trouble: Some(Trouble {
                code: DRIFT_STOPPED.to_owned(),
                message: format!(
                    "More than {} % of the listings that were read back from {destination} show something else than was \
                     confirmed: nothing is repaired any more. Look at `zaikoban listings drift`: is it the right \
                     account? If what is shown is true, raise `sync.reconcile.stop_percent` and run `zaikoban \
                     schedule run reconcile`",
                    self.around.settings.stop_percent
                ),
                critical: true,
                shared: true,
                passing: false,
            }),
            ..End::default()
        };
        let moved = Moved {
            stopped: true,
            ..moved
        };
        let note = ReadNote {
            compared: true,
            drift: self.drift(kinds, shown, Done::Stopped),
            ..self.note(ReadBack::default(), moved)
        };
        (self.settled(PushOutcome::Held, JobEnd::Done, end), note)
    }

    /// A difference that is believed, and what is done about it.
    fn repaired(
        &self,
        kinds: &[DriftKind],
        shown: Option<ListingState>,
        wants: Option<Wants>,
        repair: Repair,
        moved: Moved,
    ) -> (Settled, ReadNote) {
        let target = wants.map(|wants| {
            Wants {
                adopted: repair.adopted,
                ..wants
            }
            .target()
        });
        let whole = target.is_none_or(|target| matches(target, repair.confirmed));
        let pushes = repair.done == Done::Pushed;
        let back = ReadBack {
            // What was pushed is looked at once more.
            asked: pushes,
            repairs: self.back.repairs.saturating_add(i32::from(pushes)),
            adopted: repair.adopted,
            ..ReadBack::default()
        };
        let newest = self.listing.wanted_version;
        let end = End {
            confirmed: Some(repair.confirmed),
            synced: Some(if whole {
                newest
            } else {
                self.listing.synced_version.min(Version(newest.0.saturating_sub(1)))
            }),
            hold: repair.hold.map(|reason| ListingHold {
                reason,
                detail: json!({ "confirmed": self.listing.basis.confirmed, "shown": shown, "differs_in": kinds }),
            }),
            trouble: repair.hold.map(|reason| self.held(reason, kinds)),
            fresh: true,
        };
        let outcome = if repair.hold.is_some() {
            PushOutcome::Held
        } else {
            PushOutcome::Accepted
        };
        let waits = repair.done == Done::Waits;
        let job = if !whole || waits {
            // A person's hold lets a smaller quantity through.
            JobEnd::Again {
                after: Duration::ZERO,
                priority: self.begun.priority.min(if pushes { 2 } else { PRIORITY_CHECK }),
            }
        } else {
            JobEnd::Done
        };
        let note = ReadNote {
            compared: true,
            drift: self.drift(kinds, shown, repair.done),
            back: ReadBack {
                adopted: repair.adopted,
                execution: self.back.execution,
                ..back
            },
            ..self.note(ReadBack::default(), moved)
        };
        (self.settled(outcome, job, end), note)
    }

    /// It cannot be read, and that says nothing about what is there.
    fn failed(&self, code: &str, message: &str) -> (Settled, ReadNote) {
        let id = self.listing.id();
        let end = End {
            trouble: Some(Trouble {
                code: code.to_owned(),
                message: format!(
                    "Listing `{id}` could not be read back: {message}; it is tried again with the next run"
                ),
                critical: false,
                shared: false,
                passing: false,
            }),
            ..End::default()
        };
        let moved = Moved {
            failed: 1,
            ..Moved::default()
        };
        let note = ReadNote {
            compared: true,
            ..self.note(ReadBack::default(), moved)
        };
        (self.settled(PushOutcome::Failed, JobEnd::Done, end), note)
    }

    fn held(&self, reason: &str, kinds: &[DriftKind]) -> Trouble {
        let id = self.listing.id();
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let (kinds, destination) = (kinds.join(", "), self.listing.basis.listing.destination);
        let what = match reason {
            HELD_ENDED => {
                format!("Listing `{id}` was ended at {destination} ({kinds}) and is not listed again")
            }
            HELD_DRIFT => {
                format!("Listing `{id}` shows something else at {destination} than was confirmed ({kinds})")
            }
            other => format!("Listing `{id}` is held ({other}, {kinds})"),
        };
        Trouble {
            code: reason.to_owned(),
            message: format!(
                "{what}: `zaikoban holds accept` has what is wanted pushed, `zaikoban holds reject` leaves it as it is"
            ),
            critical: false,
            shared: false,
            passing: false,
        }
    }

    fn drift(&self, kinds: &[DriftKind], shown: Option<ListingState>, done: Done) -> Vec<NewDrift> {
        kinds
            .iter()
            .map(|kind| NewDrift {
                kind: kind.as_str(),
                believed: self.listing.basis.confirmed,
                shown,
                wanted: self.listing.basis.wanted,
                policy: self.around.policy.as_str(),
                done: done.as_str(),
                resolved: done == Done::Adopted,
            })
            .collect()
    }

    /// What is remembered: whose turn it is stays, and so does what was left, unless it is said otherwise.
    fn note(&self, back: ReadBack, moved: Moved) -> ReadNote {
        ReadNote {
            listing: self.listing.id(),
            back: ReadBack {
                execution: self.back.execution,
                adopted: self.back.adopted,
                ..back
            },
            compared: false,
            agrees: false,
            drift: Vec::new(),
            moved,
        }
    }

    fn settled(&self, outcome: PushOutcome, job: JobEnd, end: End) -> Settled {
        Settled {
            write: Settlement {
                listing: self.listing.id(),
                confirmed: end.confirmed,
                synced: end.synced,
                over: false,
                needs_read_back: self.listing.needs_read_back,
                hold: end.hold,
                breaks_fence: false,
                exhausted: None,
                refund: None,
                log: Some((self.begun.log, outcome, None)),
                job: (self.begun.lease, job),
            },
            trouble: end.trouble,
            fresh: end.fresh,
            doubted: false,
            presses: false,
        }
    }
}

/// Whether what is wanted is what was confirmed, and no document is on its way to change that.
fn is_in_line(listing: &Listing) -> bool {
    let wanted = listing.target();
    listing.bulk_price.is_none() && wanted.is_some_and(|wanted| matches(wanted, listing.basis.confirmed))
}

fn shown_status(shown: Option<ListingState>) -> crate::domain::ListingStatus {
    shown.map_or(crate::domain::ListingStatus::Ended, |shown| shown.status)
}

#[cfg(test)]
mod tests;
