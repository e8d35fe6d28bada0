//! One request: sent, answered, settled.
//!
//! A request that waits too long for its turn is not sent any more. An answer is settled in one transaction with all
//! that came with it; while the database is away the answer is kept and tried again for as long as its lease may stand,
//! then forgotten: its outcome is unknown from then on, and the listing is read back.

use super::look::{self, Around};
use super::outlet::{NotRead, NotSent, Outlet, Urgency, Written, counted};
use super::plan::{ReadWhy, Step};
use super::reconcile::{Policy, ReconcileSettings};
use super::room::Load;
use super::settings::SETTLE_WITHIN;
use super::settle::{Answer, Trouble, Waits, settle};
use super::shared::{OBJECTED, Shared};
use super::take::{At, Work};
use crate::domain::{ListingId, ListingStatus};
use crate::platform::{Objection, Revision};
use crate::pricing;
use crate::store::Connection as AsyncPgConnection;
use crate::store::listings::Listing;
use crate::store::pushes;
use crate::store::reads::{self, RunCounts};
use crate::store::{StoreError, listings, sync_log};
use chrono::{DateTime, Utc};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Requests that go out together.
#[expect(
    clippy::large_enum_variant,
    reason = "a handful live at a time, each on its way into a call"
)]
#[derive(Debug)]
pub(super) enum Request {
    /// One call for several listings.
    Revise(Vec<Work>),
    /// One call for one listing: end, relist or read.
    Single(Work),
}

impl Request {
    pub(super) fn urgency(&self) -> Urgency {
        match self {
            Self::Revise(work) => work.iter().map(Work::urgency).min().unwrap_or(Urgency::Change),
            Self::Single(work) => work.urgency(),
        }
    }

    /// Turns and places that it takes.
    pub(super) fn load(&self, outlet: &dyn Outlet) -> Load {
        match self {
            Self::Revise(work) => Load {
                // Several listings in one request are one call; one alone may be more.
                permits: work.first().map_or(0, |first| first.permits(outlet)),
                listings: work.len(),
            },
            Self::Single(work) => Load {
                permits: work.permits(outlet),
                listings: 1,
            },
        }
    }
}

/// Sorts work into requests: zeros never share a request with what is less urgent, and a listing that is not on sale
/// shares with none: destinations handle these one by one, and 25 of them would be one call of 75 requests.
pub(super) fn requests(work: Vec<Work>, batch_size: usize) -> Vec<Request> {
    let mut batches: [Vec<Work>; 2] = Default::default();
    let [zeros, on_sale] = &mut batches;
    let mut alone = Vec::new();
    for work in work {
        let shown = work.listing.basis.confirmed.status;
        match work.begun.step {
            Step::Revise { .. } if shown != ListingStatus::Active => alone.push(Request::Revise(vec![work])),
            Step::Revise { .. } if work.urgency() == Urgency::Zero => zeros.push(work),
            Step::Revise { .. } => on_sale.push(work),
            _ => alone.push(Request::Single(work)),
        }
    }
    let mut requests = Vec::new();
    for batch in batches {
        let mut rest = batch.into_iter().peekable();
        while rest.peek().is_some() {
            requests.push(Request::Revise(rest.by_ref().take(batch_size.max(1)).collect()));
        }
    }
    requests.extend(alone);
    requests.sort_by_key(Request::urgency);
    requests
}

/// Sends one request and settles what came back. `at` holds the database's clock and ours, both before the request was
/// written down; a moment that is reckoned from them is early rather than late.
pub(super) async fn run(shared: Arc<Shared>, request: Request, at: At) {
    let urgency = request.urgency();
    let settings = shared.settings;
    let answered: Vec<(Work, Answer)> = match request {
        Request::Revise(work) => {
            let send_before = at.clocks.1 + settings.send_within() + at.slack;
            let revisions: Vec<Revision> = work.iter().filter_map(Work::revision).collect();
            // The first clock stands still while the machine is suspended, the second does not.
            let written = if Instant::now() < send_before && shared.may_send(at.epoch) {
                shared.outlet.revise(revisions, urgency, send_before).await
            } else {
                Vec::new()
            };
            let mut written = written.into_iter();
            work.into_iter()
                .map(|w| {
                    let answer = written.next().unwrap_or_else(late);
                    (w, Answer::Written(answer))
                })
                .collect()
        }
        Request::Single(work) => {
            let answer = single(&shared, &work, urgency, at).await;
            vec![(work, answer)]
        }
    };
    fail::fail_point!("fp11_answered");
    shared.count(&answered);
    keep(&shared, answered, at).await;
    fail::fail_point!("fp12_confirmed");
}

fn late() -> Written {
    Written::NotSent(NotSent {
        why: "its last moment had passed before it was handed over".to_owned(),
        retry_after: Duration::ZERO,
    })
}

async fn single(shared: &Shared, work: &Work, urgency: Urgency, at: At) -> Answer {
    let begun_at = at.clocks.1;
    let is_late = |before: Instant| Instant::now() >= before || !shared.may_send(at.epoch);
    let listing = work.listing.basis.listing.clone();
    let send_before = begun_at + shared.settings.send_within() + at.slack;
    let outlet = &shared.outlet;
    match work.begun.step {
        Step::End | Step::Relist if is_late(send_before) => Answer::Written(late()),
        Step::End => Answer::Written(outlet.end(listing, urgency, send_before).await),
        Step::Relist => Answer::Written(outlet.relist(listing, urgency, send_before).await),
        _ => {
            let read_before = begun_at + shared.settings.read_within() + at.slack;
            let limit = shared
                .settings
                .read_within()
                .saturating_add(shared.settings.push_limit());
            let read = outlet.read(listing, urgency, read_before);
            let read = tokio::time::timeout(limit, read).await.unwrap_or_else(|_| {
                Err(NotRead::NotSent(NotSent {
                    why: "no answer came in time".to_owned(),
                    retry_after: Duration::from_secs(1),
                }))
            });
            Answer::Read(read.and_then(|shown| counted(shown, work.listing.basis.currency)))
        }
    }
}

/// Settles answers, again and again while the database is away, as long as that helps.
async fn keep(shared: &Arc<Shared>, answered: Vec<(Work, Answer)>, at: At) {
    let answered = Arc::new(answered);
    let since = Instant::now();
    let mut tries = 0_u32;
    loop {
        let (mine, theirs) = (Arc::clone(shared), Arc::clone(&answered));
        let result = shared
            .db
            .transaction(move |conn| Box::pin(async move { write(conn, &mine, &theirs, at).await }))
            .await;
        match result {
            Ok(()) => return,
            Err(error) if error.is_retryable() && since.elapsed() < SETTLE_WITHIN => {
                tracing::warn!(error = %error, "The answer of {} is kept until the database is back", shared.destination);
                tries = tries.saturating_add(1);
                let wait = Duration::from_millis(50).saturating_mul(1 << tries.min(5));
                tokio::time::sleep(wait).await;
            }
            Err(error) => {
                // The push stays open; when its deadline has passed, the listing is read back.
                tracing::error!(error = %error, "An answer of {} could not be written down", shared.destination);
                return;
            }
        }
    }
}

async fn write(
    conn: &mut AsyncPgConnection,
    shared: &Shared,
    answered: &[(Work, Answer)],
    at: At,
) -> Result<(), StoreError> {
    // Early by a moment; a wait that ends too soon finds the deadline still ahead and waits the rest.
    let now = at.clocks.0 + at.clocks.1.elapsed();
    let ids: Vec<ListingId> = answered.iter().map(|(work, _)| work.id()).collect();
    let unsure: Vec<ListingId> = answered
        .iter()
        .filter(|(work, _)| work.begun.step == Step::Read(ReadWhy::Unsure))
        .map(|(work, _)| work.id())
        .collect();
    let rows: HashMap<ListingId, _> = listings::lock_all(conn, &ids)
        .await?
        .into_iter()
        .map(|listing| (listing.id(), listing))
        .collect();
    let still_ours = shared.owns(conn, at.epoch).await?;
    let possible: HashMap<ListingId, _> = if unsure.is_empty() {
        HashMap::new()
    } else {
        sync_log::possible_writes(conn, &unsure)
            .await?
            .into_iter()
            .collect()
    };
    let settles = shared.outlet.settles_within();
    let reconcile = shared.live.load().reconcile.confirmed_after(settles);
    let unsettled = settling(conn, settles, answered, now).await?;
    let looks = Looks::find(conn, shared, answered, &rows, reconcile).await?;
    let mut notes = Vec::new();
    let mut settlements = Vec::with_capacity(answered.len());
    let mut troubles = Vec::new();
    for (work, answer) in answered {
        // A listing that is gone took its jobs and log rows along.
        let Some(listing) = rows.get(&work.id()) else {
            continue;
        };
        shared.note_lag(listing, answer);
        let waits = Waits {
            settling: unsettled.get(&work.id()).copied(),
            ..shared.waits(work.id(), work.begun.retries)
        };
        let judged = looks
            .around(listing)
            .and_then(|around| look::judge(listing, &work.begun, answer, &around, now));
        let mut settled = if let Some((settled, note)) = judged {
            notes.push(note);
            settled
        } else {
            let possible = possible.get(&work.id()).copied().unwrap_or_default();
            let mut settled = settle(listing, &work.begun, answer, possible, waits, now);
            let note = look::after_write(listing, answer, &mut settled, &reconcile, now);
            notes.extend(note.or_else(|| look::keep_turn(listing, &mut settled, now)));
            settled
        };
        if !still_ours {
            settled.was_anothers(answer);
        }
        if let Answer::Read(Ok(_)) = answer {
            match shared.outlet.objection(&listing.basis.listing.sku) {
                Objection::Untold => {}
                Objection::None => shared.end_objection(conn, listing).await?,
                Objection::Told(why) => troubles.push((listing.clone(), objected(listing, &why))),
            }
        }
        shared.learn(&settled, answer);
        troubles.extend(settled.trouble.map(|trouble| (listing.clone(), trouble)));
        settlements.push(settled.write);
    }
    pushes::settle(conn, &settlements, pricing::day_of(now)).await?;
    reads::note(conn, shared.destination, &notes).await?;
    shared.record(conn, &troubles).await
}

/// A destination took what was sent, or had nothing to take, and objects to the listing.
fn objected(listing: &Listing, why: &str) -> Trouble {
    let at = &listing.basis.listing;
    Trouble {
        code: OBJECTED.to_owned(),
        message: format!(
            "{} objects to listing `{}` (SKU `{}`): {why}. Mend it on the shop's own pages; it is looked at again with the \
             next comparison, `zaikoban listings read {}` does it now",
            at.destination, at.listing_id, at.sku, at.listing_id
        ),
        critical: false,
        shared: false,
        passing: false,
    }
}

/// For how long what is shown of the listings that were read may still be what was there before their last push.
async fn settling(
    conn: &mut AsyncPgConnection,
    settles: Duration,
    answered: &[(Work, Answer)],
    now: DateTime<Utc>,
) -> Result<HashMap<ListingId, Duration>, StoreError> {
    let read = answered
        .iter()
        .filter(|(_, answer)| matches!(answer, Answer::Read(Ok(_))));
    let ids: Vec<ListingId> = read.map(|(work, _)| work.id()).collect();
    if settles.is_zero() || ids.is_empty() {
        return Ok(HashMap::new());
    }
    let writes = reads::last_writes(conn, &ids).await?;
    let left = |at: DateTime<Utc>| settles.checked_sub((now - at).to_std().unwrap_or_default());
    let unsettled = writes.into_iter().filter_map(|(id, at)| Some((id, left(at)?)));
    Ok(unsettled.filter(|(_, left)| !left.is_zero()).collect())
}

/// What is to be known around the looks among some answers.
struct Looks {
    reconcile: ReconcileSettings,
    policy: Policy,
    last_writes: HashMap<ListingId, DateTime<Utc>>,
    counts: HashMap<Uuid, RunCounts>,
}

impl Looks {
    /// Asks nothing when there is none among them.
    async fn find(
        conn: &mut AsyncPgConnection,
        shared: &Shared,
        answered: &[(Work, Answer)],
        rows: &HashMap<ListingId, Listing>,
        reconcile: ReconcileSettings,
    ) -> Result<Self, StoreError> {
        let mut found = Self {
            reconcile,
            policy: reconcile.policy(shared.destination),
            last_writes: HashMap::new(),
            counts: HashMap::new(),
        };
        let looks = answered
            .iter()
            .filter(|(work, _)| work.begun.step == Step::Read(ReadWhy::Reconcile));
        let ids: Vec<ListingId> = looks.map(|(work, _)| work.id()).collect();
        if ids.is_empty() {
            return Ok(found);
        }
        found.last_writes = reads::last_writes(conn, &ids).await?.into_iter().collect();
        let runs = ids
            .iter()
            .filter_map(|id| rows.get(id)?.read_back.as_ref()?.execution);
        for run in runs.collect::<HashSet<Uuid>>() {
            let counts = reads::counts(conn, run, shared.destination).await?;
            found.counts.insert(run, counts);
        }
        Ok(found)
    }

    fn around(&self, listing: &Listing) -> Option<Around> {
        let back = listing.read_back.as_ref()?;
        let counts = back.execution.and_then(|run| self.counts.get(&run)).copied();
        Some(Around {
            settings: self.reconcile,
            policy: self.policy,
            last_write: self.last_writes.get(&listing.id()).copied(),
            counts: counts.unwrap_or_default(),
        })
    }
}
