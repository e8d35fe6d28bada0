//! Taking work: one transaction from "these jobs are due" to "this is what will be sent".
//!
//! The row is locked, the next step decided, the allowances looked at (blast radius, the day's revisions), and what is
//! about to be sent is written down; then COMMIT; only then may a byte leave. What needs no request (nothing differs, held,
//! waiting) is settled in the same transaction.

use super::outlet::{Outlet, Urgency};
use super::plan::{self, HELD_RADIUS, HELD_RADIUS_PRICE, HELD_REFUSED, Known, LeaveWhy, Step, is_zero};
use super::radius::{Reached, Touch};
use super::room::{Need, Room};
use super::settle::{Begun, PRIORITY_CHECK, PRIORITY_ZERO, Trouble};
use super::shared::Shared;
use crate::domain::{BY_DEADLINE, DestinationPlatform, Epoch, ListingId, ListingStatus, Money, Quantity};
use crate::platform::ebay::budget::{Kind, REVISIONS_PER_DAY, Revisions, next_day_begins, pacific_day};
use crate::platform::{Call, PlatformError, Revision};
use crate::pricing;
use crate::store::Connection as AsyncPgConnection;
use crate::store::listings::Listing;
use crate::store::pushes::{
    self, Begin, Claim, ClaimRequest, Claimed, JobEnd, ListingHold, PushKind, Settlement,
};
use crate::store::{StoreError, reads};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The code of a trouble: the day's revisions of a listing are used up, and it should be off sale.
pub(super) const REVISIONS_USED_UP: &str = "revisions_used_up";

/// One request to be sent for one listing.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) listing: Listing,
    pub(super) begun: Begun,
}

impl Work {
    pub(super) fn id(&self) -> ListingId {
        self.listing.id()
    }

    pub(super) fn urgency(&self) -> Urgency {
        urgency(&self.listing, self.begun.step, self.begun.priority)
    }

    /// What is sent, when it is a revision.
    pub(super) fn revision(&self) -> Option<Revision> {
        revision(&self.listing, self.begun.step)
    }

    /// Permits that a request for this listing alone takes.
    pub(super) fn permits(&self, outlet: &dyn Outlet) -> usize {
        permits(outlet, &self.listing, self.begun.step)
    }
}

/// How urgent `step` is, as part of a job of this priority.
fn urgency(listing: &Listing, step: Step, priority: i16) -> Urgency {
    let shown = listing.basis.confirmed;
    match step {
        _ if step.is_zero() => Urgency::Zero,
        Step::Revise {
            quantity: Some(q), ..
        } if q > shown.quantity && shown.status == ListingStatus::Active => Urgency::Raise,
        // A zero that was refused: it may be on sale, and only this look leads on.
        Step::Read(_) if priority <= PRIORITY_ZERO && listing.target().is_some_and(is_zero) => Urgency::Zero,
        _ if priority >= PRIORITY_CHECK => Urgency::Check,
        _ => Urgency::Change,
    }
}

fn revision(listing: &Listing, step: Step) -> Option<Revision> {
    let Step::Revise { quantity, price } = step else {
        return None;
    };
    Some(Revision {
        listing: listing.basis.listing.clone(),
        quantity,
        price,
        confirmed: listing.basis.confirmed,
    })
}

fn permits(outlet: &dyn Outlet, listing: &Listing, step: Step) -> usize {
    let revision = revision(listing, step);
    outlet.permits(match step {
        Step::End => Call::End,
        Step::Relist => Call::Relist,
        Step::Revise { .. } => Call::Revise(revision.as_slice()),
        _ => Call::Read,
    })
}

/// What a job leads to, as far as room is concerned.
fn need(outlet: &dyn Outlet, listing: &Listing, step: Step) -> Need {
    match step {
        Step::Nothing | Step::Leave(_) | Step::Wait { .. } => Need::Nothing,
        Step::Revise { .. } if listing.basis.confirmed.status == ListingStatus::Active => {
            Need::Shared { zero: step.is_zero() }
        }
        _ => Need::Alone(permits(outlet, listing, step)),
    }
}

/// What one look at the queue gave.
#[derive(Debug)]
pub(super) struct Taken {
    /// Requests to send, most urgent first.
    pub(super) work: Vec<Work>,
    /// Jobs taken, those that needed no request included.
    pub(super) jobs: usize,
    /// When, and on whose behalf.
    pub(super) at: At,
}

/// The moment of a claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// The database's clock at the claim, and ours after it and before anything was written down: what is not sent by the
    /// measure of ours is not sent by the other's, and the wait for a slow claim is not the requests'.
    pub(super) clocks: (DateTime<Utc>, Instant),
    /// The epoch under which the destination is this node's.
    pub(super) epoch: Epoch,
    /// How much later than usual requests may leave, and their deadlines are.
    pub(super) slack: Duration,
}

/// What is to be done about one claimed job.
#[expect(
    clippy::large_enum_variant,
    reason = "at most a hundred live at a time, for the time of one claim"
)]
enum Decision {
    Send(Begin, Step),
    Settle(Box<Settlement>, Option<Trouble>),
}

/// Takes, where the destination is this node's under `epoch`, the jobs of at most `up_to_priority` that there is room for, of the first `limit`, and writes down what will be
/// sent.
///
/// # Errors
/// When the database is away or refuses; nothing was taken then, unless COMMIT's outcome is unknown: then the leases
/// run out.
pub(super) async fn take(
    shared: &Arc<Shared>,
    epoch: Epoch,
    mut room: Room,
    (up_to_priority, limit): (i16, u32),
) -> Result<Taken, StoreError> {
    let in_transaction = Arc::clone(shared);
    let slack = shared.slack();
    let taken = shared
        .db
        .transaction(move |conn| {
            Box::pin(async move {
                let shared = &*in_transaction;
                if !shared.owns(conn, epoch).await? {
                    return Ok(Taken {
                        work: Vec::new(),
                        jobs: 0,
                        at: At {
                            clocks: (DateTime::UNIX_EPOCH, Instant::now()),
                            epoch,
                            slack,
                        },
                    });
                }
                let request = ClaimRequest {
                    destination: shared.destination,
                    up_to_priority,
                    limit,
                    lease: shared.settings.job_lease().saturating_add(slack),
                    worker: &shared.worker,
                };
                let outlet = &*shared.outlet;
                let claim = pushes::claim(conn, &request, |listing, priority, now| {
                    let step = plan::next(listing, shared.known(listing.id()), now);
                    room.takes(urgency(listing, step, priority), need(outlet, listing, step))
                })
                .await?;
                let at = At {
                    clocks: (claim.now, Instant::now()),
                    epoch,
                    slack,
                };
                let limit = shared.settings.push_limit().saturating_add(slack);
                let work = write_down(conn, shared, &claim, limit).await?;
                let jobs = claim.claimed.len().saturating_add(claim.unreadable.len());
                Ok(Taken { work, jobs, at })
            })
        })
        .await?;
    if !taken.work.is_empty() {
        shared.wrote_down(taken.at.clocks.1.elapsed());
    }
    fail::fail_point!("fp7_leased");
    // The same for one listing: a job that is poison.
    #[cfg(feature = "failpoints")]
    for work in &taken.work {
        fail::fail_point!(&format!("fp7_leased@{}", work.listing.basis.listing.sku));
    }
    Ok(taken)
}

async fn write_down(
    conn: &mut AsyncPgConnection,
    shared: &Shared,
    claim: &Claim,
    limit: Duration,
) -> Result<Vec<Work>, StoreError> {
    let mut begins = Vec::new();
    let mut steps = Vec::new();
    let mut settlements = Vec::new();
    let mut troubles = Vec::new();
    for claimed in &claim.claimed {
        let id = claimed.listing.id();
        let known = shared.known(id);
        let step = plan::next(&claimed.listing, known, claim.now);
        match decide(shared, claimed, step, known, claim.now) {
            Decision::Send(begin, step) => {
                begins.push(begin);
                steps.push((claimed, step));
            }
            Decision::Settle(settlement, trouble) => {
                troubles.extend(trouble.map(|t| (claimed.listing.clone(), t)));
                settlements.push(*settlement);
            }
        }
    }
    let over: Vec<ListingId> = claim
        .claimed
        .iter()
        .map(|c| &c.listing)
        .filter(|l| is_over(l))
        .map(Listing::id)
        .collect();
    reads::forget_adopted(conn, &over).await?;
    let logs = pushes::begin(conn, &begins, limit).await?;
    pushes::settle(conn, &settlements, pricing::day_of(claim.now)).await?;
    shared.record(conn, &troubles).await?;
    pushes::give_up(conn, &claim.unreadable).await?;
    shared.record_unreadable(conn, &claim.unreadable).await?;
    let mut work = Vec::with_capacity(steps.len());
    for (claimed, step) in steps {
        let id = claimed.listing.id();
        let Some((_, log)) = logs.iter().find(|(listing, _)| *listing == id) else {
            continue;
        };
        let begin = begins.iter().find(|b| b.listing.id() == id);
        work.push(Work {
            begun: Begun {
                lease: claimed.lease,
                priority: claimed.priority,
                retries: claimed.retries,
                max_retries: claimed.max_retries,
                log: *log,
                version: claimed.listing.wanted_version,
                step,
                completes: plan::completes(&claimed.listing, step),
                spent: begin.and_then(|b| b.revisions).map(|(day, _)| day),
            },
            listing: claimed.listing.clone(),
        });
    }
    Ok(work)
}

/// What was left as it was found over there is to be forgotten: otherwise it would come back with the old quantity.
fn is_over(listing: &Listing) -> bool {
    let adopted = listing.read_back.as_ref().and_then(|back| back.adopted);
    adopted.is_some_and(|adopted| adopted.is_over(listing.basis.wanted))
}

fn decide(shared: &Shared, claimed: &Claimed, step: Step, known: Known, now: DateTime<Utc>) -> Decision {
    let listing = &claimed.listing;
    let settle = |settlement: Settlement| Decision::Settle(Box::new(settlement), None);
    match step {
        Step::Nothing => settle(Settlement {
            synced: Some(listing.wanted_version),
            ..plain(claimed, JobEnd::Done)
        }),
        Step::Leave(LeaveWhy::Paused | LeaveWhy::Held | LeaveWhy::Bulk) => {
            settle(plain(claimed, JobEnd::Done))
        }
        Step::Wait { until } => {
            let after = (until - now).to_std().unwrap_or(Duration::ZERO);
            settle(plain(claimed, again(after, claimed)))
        }
        Step::Read(_) => Decision::Send(begin(listing, step, false, None), step),
        Step::Revise { .. } | Step::End | Step::Relist => {
            let step = match inadmissible(shared, listing, step) {
                None => step,
                Some(Inadmissible::Without(step)) => step,
                Some(Inadmissible::Whole(error)) => return refused(claimed, step, &error),
            };
            if let Err(reached) = admit(shared, listing, step, now) {
                return held(claimed, step, reached);
            }
            match spend(listing, step, now) {
                Ok(revisions) => {
                    // A zero matters, and so does what follows an outcome that nobody knows.
                    let read_back = step.is_zero() || listing.pushing.is_some() || known.verify;
                    Decision::Send(begin(listing, step, read_back, revisions), step)
                }
                Err(after) => put_off(claimed, step, after),
            }
        }
    }
}

/// What of a step its destination can never take.
enum Inadmissible {
    /// Its price; the smaller quantity that was to go with it goes without.
    Without(Step),
    /// All of it.
    Whole(PlatformError),
}

/// Asks the destination's own limits before anything is written down. A quantity that falls is not kept back by a price
/// that cannot be: the price is looked at again right after.
fn inadmissible(shared: &Shared, listing: &Listing, step: Step) -> Option<Inadmissible> {
    let error = shared.outlet.admits(&revision(listing, step)?).err()?;
    let falls = |q: &Quantity| *q < listing.basis.confirmed.quantity;
    Some(match step {
        Step::Revise {
            quantity: Some(quantity),
            price: Some(_),
        } if falls(&quantity) => Inadmissible::Without(Step::Revise {
            quantity: Some(quantity),
            price: None,
        }),
        _ => Inadmissible::Whole(error),
    })
}

/// Held as if the destination had refused it, without asking: the same values will never be taken.
fn refused(claimed: &Claimed, step: Step, error: &PlatformError) -> Decision {
    let id = claimed.listing.id();
    let message = format!(
        "{}; listing `{id}` is held until its wanted values change or a person releases it",
        error.message
    );
    let settlement = Settlement {
        hold: Some(ListingHold {
            reason: HELD_REFUSED,
            detail: json!({ "error": error, "step": step, "wanted_version": claimed.listing.wanted_version }),
        }),
        ..plain(
            claimed,
            JobEnd::Dead {
                error: error.message.to_string(),
            },
        )
    };
    let trouble = Trouble {
        code: error.code.to_string(),
        message,
        critical: false,
        shared: false,
        passing: false,
    };
    Decision::Settle(Box::new(settlement), Some(trouble))
}

/// Waits for tomorrow's revisions. A zero that does so is on sale until then: somebody has to know.
fn put_off(claimed: &Claimed, step: Step, after: Duration) -> Decision {
    let id = claimed.listing.id();
    let trouble = step.is_zero().then(|| Trouble {
        code: REVISIONS_USED_UP.to_owned(),
        message: format!(
            "Listing `{id}` should be off sale, but all of today's {REVISIONS_PER_DAY} revisions are used up; it is \
             emptied in {} minutes, when the next day begins: end it by hand if that is too late",
            after.as_secs().div_ceil(60)
        ),
        critical: true,
        shared: false,
        passing: false,
    });
    Decision::Settle(Box::new(plain(claimed, again(after, claimed))), trouble)
}

fn again(after: Duration, claimed: &Claimed) -> JobEnd {
    JobEnd::Again {
        after,
        priority: claimed.priority,
    }
}

/// Changes nothing but the job.
fn plain(claimed: &Claimed, job: JobEnd) -> Settlement {
    Settlement {
        listing: claimed.listing.id(),
        confirmed: None,
        synced: None,
        over: false,
        needs_read_back: claimed.listing.needs_read_back,
        hold: None,
        breaks_fence: false,
        exhausted: None,
        refund: None,
        log: None,
        job: (claimed.lease, job),
    }
}

fn begin(listing: &Listing, step: Step, read_back: bool, revisions: Option<(NaiveDate, u32)>) -> Begin {
    let (kind, quantity, price): (_, Option<Quantity>, Option<Money>) = match step {
        Step::Revise { quantity, price } => (PushKind::Revise, quantity, price),
        Step::End => (PushKind::End, None, None),
        Step::Relist => (PushKind::Relist, None, None),
        _ => (PushKind::Read, None, None),
    };
    Begin {
        listing: listing.clone(),
        kind,
        quantity,
        price,
        read_back,
        revisions,
    }
}

/// How `step` counts against the blast radius.
fn touches(listing: &Listing, step: Step) -> Vec<Touch> {
    let says = |key: &str| listing.wanted_cause.as_ref().and_then(|c| c.get(key));
    // A person's word lets it through. What a deadline released was read again, and approved by nobody.
    if says("approved_by").is_some_and(|by| by != BY_DEADLINE) {
        return Vec::new();
    }
    let explained = says("explained").and_then(Value::as_bool) == Some(true);
    let mut touches = Vec::new();
    if step.is_zero() && !explained {
        touches.push(Touch::Ended);
    }
    if matches!(step, Step::Revise { price: Some(_), .. }) && listing.basis.confirmed.price.is_some() {
        touches.push(Touch::Repriced);
    }
    touches
}

/// Whether a step is within the blast radius, and counts it.
pub(super) fn admit(
    shared: &Shared,
    listing: &Listing,
    step: Step,
    now: DateTime<Utc>,
) -> Result<(), Reached> {
    let touches = touches(listing, step);
    let mut radius = shared.radius.lock();
    radius.change(shared.live.load().radius);
    for touch in &touches {
        radius.admit(listing.id(), *touch, now)?;
    }
    for touch in touches {
        radius.count(listing.id(), touch, now);
    }
    Ok(())
}

fn held(claimed: &Claimed, step: Step, reached: Reached) -> Decision {
    let (reason, what, but) = match reached.touch {
        Touch::Ended => (HELD_RADIUS, "ended or emptied", ""),
        Touch::Repriced => (
            HELD_RADIUS_PRICE,
            "repriced",
            ", while smaller quantities still go out",
        ),
    };
    let span = if reached.hours == 1 {
        "hour".to_owned()
    } else {
        format!("{} hours", reached.hours)
    };
    let message = format!(
        "{} listings of {} were {what} within the last {span}, as many as allowed; further ones are held{but}: look at \
         them with `zaikoban holds list`, then accept them or raise `radius`",
        reached.listings, claimed.listing.basis.listing.destination,
    );
    let settlement = Settlement {
        hold: Some(ListingHold {
            reason,
            detail: json!({ "reached": reached, "step": step }),
        }),
        // The next look finds what passes this hold, a smaller quantity that was to go with the price.
        ..plain(claimed, again(Duration::ZERO, claimed))
    };
    let trouble = Trouble {
        code: reason.to_owned(),
        message,
        critical: true,
        shared: true,
        passing: false,
    };
    Decision::Settle(Box::new(settlement), Some(trouble))
}

/// Counts one revision where the destination counts them; says how long to wait when none is left today. Ending a listing
/// is no revision: eBay's contract states the limit on eight operations, and `withdraw` is none of them.
pub(super) fn spend(
    listing: &Listing,
    step: Step,
    now: DateTime<Utc>,
) -> Result<Option<(NaiveDate, u32)>, Duration> {
    if listing.basis.listing.destination != DestinationPlatform::Ebay || step == Step::End {
        return Ok(None);
    }
    let counted = Revisions {
        day: listing.revisions_day,
        used: listing.revisions,
    };
    let kind = if step.is_zero() { Kind::Zero } else { Kind::Other };
    let today = pacific_day(now);
    if !counted.allow(kind, today) {
        return Err((next_day_begins(now) - now)
            .to_std()
            .unwrap_or(Duration::from_secs(60)));
    }
    let spent = counted.spend(today);
    Ok(spent.day.map(|day| (day, spent.used)))
}
