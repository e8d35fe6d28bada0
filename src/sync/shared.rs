//! What the parts of one destination's syncer share, and what it remembers beside the tables.
//!
//! Everything here may be lost at any moment: it saves a request or a query, never decides alone.

use super::outlet::Outlet;
use super::outlet::{NotRead, Written, is_outage};
use super::plan::Known;
use super::radius::{Radius, Touch};
use super::settings::{SyncSettings, attempt_backoff, outage_backoff};
use super::settle::{Answer, Settled, Trouble, Waits};
use super::syncer::SyncParts;
use super::take::Work;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::domain::{DestinationPlatform, Epoch, ListingId, ListingStatus, Platform};
use crate::nodes::{Ownership, sync_role};
use crate::platform::gateway::BulkGateway;
use crate::pricing::PriceBook;
use crate::store::Connection as AsyncPgConnection;
use crate::store::errors::{self, ErrorRecord, ErrorType, Severity};
use crate::store::listings::{self, Listing};
use crate::store::pushes::Unreadable;
use crate::store::{Db, StoreError, leases, sync_log};
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a look at the destination counts as fresh: a sale in between is not seen.
const FRESH: Duration = Duration::from_secs(10);
/// So many times the usual wait before a look is waited, where a listing shows late what it took: half a minute.
const LAG: u32 = 15;
/// The code of a trouble: the destination objects to a listing.
pub(super) const OBJECTED: &str = "listing_objected";
/// The window that the blast radius counts.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What happened since the syncer was made, and how it stands.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SyncStatus {
    /// Jobs taken.
    pub taken: u64,
    /// Listings written to the destination, and taken by it.
    pub accepted: u64,
    /// Refused or failed for sure.
    pub failed: u64,
    /// With an outcome that nobody knows.
    pub unknown: u64,
    /// Not sent after all: no turn came in time, or the way out was closed.
    pub not_sent: u64,
    /// Looks at the destination.
    pub read: u64,
    /// Listings held by this syncer.
    pub held: u64,
    /// Listings that were behind without a job, found by a sweep.
    pub forgotten: u64,
    /// Requests under way.
    pub in_flight: usize,
    /// Listings kept in line.
    pub listings: u64,
    /// How long the way out is closed, in milliseconds; `None` while it is open.
    pub shut_for_ms: Option<u64>,
    /// The last trouble with the database, while it lasts.
    pub database: Option<String>,
    /// The last look at the queue that succeeded.
    pub last_look_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Default)]
struct Memory {
    fresh: HashMap<ListingId, Instant>,
    doubted: HashMap<ListingId, Instant>,
    verify: HashMap<ListingId, Instant>,
    presses: HashMap<ListingId, Instant>,
    /// Showed more than they had taken: what they took may come over what they take next.
    lags: HashMap<ListingId, Instant>,
    /// Outages in a row that hit this listing.
    outages: HashMap<ListingId, u32>,
}

/// The parts.
pub(super) struct Shared {
    pub(super) db: Db,
    pub(super) outlet: Arc<dyn Outlet>,
    /// For many prices at once, where the destination takes them so.
    pub(super) bulk: Option<BulkGateway>,
    pub(super) destination: DestinationPlatform,
    pub(super) settings: SyncSettings,
    /// For what may change meanwhile.
    pub(super) live: Arc<ArcSwap<SyncSettings>>,
    pub(super) clock: Clock,
    pub(super) worker: String,
    pub(super) ownership: Ownership,
    /// Its part of the work.
    pub(super) role: String,
    pub(super) book: Arc<ArcSwap<PriceBook>>,
    pub(super) radius: Mutex<Radius>,
    pub(super) status: Mutex<SyncStatus>,
    memory: Mutex<Memory>,
    slack: Mutex<Duration>,
    outage: Option<Backoff>,
    attempt: Option<Backoff>,
}

impl Shared {
    pub(super) fn new(parts: &SyncParts) -> Self {
        Self {
            db: parts.db.clone(),
            outlet: Arc::clone(&parts.outlet),
            bulk: parts.bulk.clone(),
            destination: parts.destination,
            clock: parts.clock.clone(),
            // Each life of the actor is a worker of its own: what an earlier one held is known by it.
            ownership: parts.ownership.clone(),
            role: sync_role(parts.destination),
            worker: format!("{}/{}", parts.worker, Uuid::now_v7()),
            book: Arc::clone(&parts.book),
            radius: Mutex::new(Radius::new(parts.settings.load().radius)),
            settings: **parts.settings.load(),
            live: Arc::clone(&parts.settings),
            status: Mutex::new(SyncStatus::default()),
            memory: Mutex::new(Memory::default()),
            slack: Mutex::new(Duration::ZERO),
            outage: outage_backoff(),
            attempt: attempt_backoff(),
        }
    }

    /// Whether the destination is this node's by the tables, and under this epoch.
    pub(super) async fn owns(&self, conn: &mut AsyncPgConnection, epoch: Epoch) -> Result<bool, StoreError> {
        leases::stands(conn, self.ownership.boot(), &self.role, epoch).await
    }

    /// The same, by what may be believed now: asked right before a byte leaves.
    pub(super) fn may_send(&self, epoch: Epoch) -> bool {
        self.ownership.holds(&self.role) == Some(epoch)
    }

    /// Another node has kept the destination in line meanwhile: what was seen before says nothing any more.
    pub(super) fn forget_all(&self) {
        *self.memory.lock() = Memory::default();
    }

    /// How it stands.
    pub(super) fn snapshot(&self) -> SyncStatus {
        let shut = self.outlet.shut_for();
        SyncStatus {
            shut_for_ms: shut.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            ..self.status.lock().clone()
        }
    }

    pub(super) fn looked(&self, jobs: usize) {
        let mut status = self.status.lock();
        status.taken = status.taken.saturating_add(u64::try_from(jobs).unwrap_or(0));
        status.last_look_at = Some(self.clock.now());
    }

    /// How much later than usual requests may leave: see [`SyncSettings::slack_after`].
    pub(super) fn slack(&self) -> Duration {
        *self.slack.lock()
    }

    /// It took `spent` to write down what will be sent.
    pub(super) fn wrote_down(&self, spent: Duration) {
        let mut slack = self.slack.lock();
        *slack = self.settings.slack_after(spent, *slack);
    }

    pub(super) fn in_flight(&self, listings: usize) {
        self.status.lock().in_flight = listings;
    }

    pub(super) fn database(&self, trouble: Option<String>) {
        self.status.lock().database = trouble;
    }

    pub(super) fn swept(&self, found: usize) {
        let mut status = self.status.lock();
        status.forgotten = status.forgotten.saturating_add(u64::try_from(found).unwrap_or(0));
    }

    pub(super) fn has_listings(&self, listings: u64) {
        self.radius.lock().set_listings(listings);
        self.status.lock().listings = listings;
    }

    /// What is remembered of a listing.
    pub(super) fn known(&self, id: ListingId) -> Known {
        let memory = self.memory.lock();
        Known {
            fresh: memory.fresh.get(&id).is_some_and(|at| at.elapsed() < FRESH),
            doubted: memory.doubted.contains_key(&id),
            verify: memory.verify.contains_key(&id) || memory.lags.contains_key(&id),
            presses: memory.presses.contains_key(&id),
        }
    }

    /// Remembers what an answer taught.
    pub(super) fn learn(&self, settled: &Settled, answer: &Answer) {
        let id = settled.write.listing;
        let now = Instant::now();
        let mut guard = self.memory.lock();
        let memory = &mut *guard;
        let set = |map: &mut HashMap<ListingId, Instant>, on: bool| {
            if on {
                map.insert(id, now);
            } else {
                map.remove(&id);
            }
        };
        // What was not sent, or met an outage, taught nothing: a look stays as fresh as it was.
        let nothing = match answer {
            Answer::Written(Written::NotSent(_)) | Answer::Read(Err(NotRead::NotSent(_))) => true,
            Answer::Written(Written::Failed(e)) | Answer::Read(Err(NotRead::Failed(e))) => is_outage(e.class),
            _ => false,
        };
        if !nothing {
            set(&mut memory.fresh, settled.fresh);
            set(&mut memory.doubted, settled.doubted);
            set(&mut memory.presses, settled.presses);
        }
        match answer {
            Answer::Written(Written::Unknown(_)) => set(&mut memory.verify, true),
            // The push that had to be looked after was: `needs_read_back` stands in the row now.
            Answer::Written(Written::Accepted { .. }) => set(&mut memory.verify, false),
            _ => {}
        }
        let outage = match answer {
            Answer::Written(Written::Failed(e)) | Answer::Read(Err(NotRead::Failed(e))) => is_outage(e.class),
            _ => false,
        };
        if outage {
            let row = memory.outages.entry(id).or_default();
            *row = row.saturating_add(1);
        } else {
            memory.outages.remove(&id);
        }
        if settled.write.hold.is_some() {
            let mut status = self.status.lock();
            status.held = status.held.saturating_add(1);
        }
    }

    /// For how long what a listing took may come late, once one did.
    fn lag(&self) -> Duration {
        let usual = self.settings.read_back_after().saturating_mul(LAG);
        usual.max(self.outlet.settles_within())
    }

    /// Remembers that a look showed more than the listing had taken: what it took may come later, over what is pushed
    /// until then.
    pub(super) fn note_lag(&self, listing: &Listing, answer: &Answer) {
        let believed = listing.basis.confirmed;
        if let Answer::Read(Ok(shown)) = answer
            && believed.status == ListingStatus::Active
            && shown.quantity > believed.quantity
        {
            self.memory.lock().lags.insert(listing.id(), Instant::now());
        }
    }

    /// Counts what came back.
    pub(super) fn count(&self, answered: &[(Work, Answer)]) {
        let mut s = self.status.lock();
        for (_, answer) in answered {
            let counter = match answer {
                Answer::Written(Written::Accepted { .. }) => &mut s.accepted,
                Answer::Written(Written::Failed(_)) => &mut s.failed,
                Answer::Written(Written::Unknown(_)) => &mut s.unknown,
                Answer::Written(Written::NotSent(_)) | Answer::Read(Err(NotRead::NotSent(_))) => {
                    &mut s.not_sent
                }
                Answer::Read(Ok(_)) => &mut s.read,
                Answer::Read(Err(NotRead::Failed(_))) => &mut s.failed,
            };
            *counter = counter.saturating_add(1);
        }
    }

    /// Waits for an answer to this listing.
    pub(super) fn waits(&self, id: ListingId, retries: i32) -> Waits {
        let (outages, lags) = {
            let memory = self.memory.lock();
            let outages = memory.outages.get(&id).copied().unwrap_or(0);
            let lags = memory
                .lags
                .get(&id)
                .map(|at| self.lag().saturating_sub(at.elapsed()));
            (outages, lags.filter(|left| !left.is_zero()))
        };
        let draw = |backoff: &Option<Backoff>, attempt: u32| {
            backoff
                .as_ref()
                .map_or(Duration::from_secs(1), |b| b.delay(attempt, &mut rand::rng()))
        };
        Waits {
            outage: draw(&self.outage, outages),
            attempt: draw(&self.attempt, u32::try_from(retries).unwrap_or(0)),
            read_back: self.settings.read_back_after().max(self.outlet.settles_within()),
            settling: None,
            lags,
        }
    }

    /// Forgets what is old.
    pub(super) fn forget(&self) {
        let old = |at: &Instant| at.elapsed() > Duration::from_secs(3600);
        let mut memory = self.memory.lock();
        memory.fresh.retain(|_, at| at.elapsed() < FRESH);
        memory.doubted.retain(|_, at| !old(at));
        memory.verify.retain(|_, at| !old(at));
        memory.presses.retain(|_, at| !old(at));
        let lag = self.lag();
        memory.lags.retain(|_, at| at.elapsed() < lag);
        self.radius.lock().forget(self.clock.now());
    }

    /// Writes among the errors that listings cannot be read.
    pub(super) async fn record_unreadable(
        &self,
        conn: &mut AsyncPgConnection,
        unreadable: &[Unreadable],
    ) -> Result<(), StoreError> {
        let platform = Platform::from(self.destination);
        for Unreadable { listing, error, .. } in unreadable {
            let record = ErrorRecord {
                error_type: ErrorType::ApiError,
                code: Some("unreadable_row".to_owned()),
                message: format!(
                    "Listing `{listing}` is not kept in line: {error}; mend the row, then run `zaikoban queue retry`"
                ),
                product_id: None,
                platform: Some(platform),
                severity: Severity::Critical,
                fingerprint: format!("sync {platform} unreadable_row listing {listing}"),
                details: Some(json!({ "listing_id": listing })),
            };
            errors::record(conn, &record).await?;
        }
        Ok(())
    }

    /// Fills the blast radius from the log.
    pub(super) async fn load_radius(&self) -> Result<(), StoreError> {
        let mut conn = self.db.conn().await?;
        let counted = sync_log::counted(&mut conn, self.destination, DAY).await?;
        let mut radius = Radius::new(self.live.load().radius);
        radius.set_listings(listings::count_active(&mut conn, self.destination).await?);
        for push in counted {
            if push.ended {
                radius.count(push.listing(), Touch::Ended, push.sent_at);
            }
            if push.repriced {
                radius.count(push.listing(), Touch::Repriced, push.sent_at);
            }
        }
        *self.radius.lock() = radius;
        Ok(())
    }

    /// The destination objects to nothing any more.
    pub(super) async fn end_objection(
        &self,
        conn: &mut AsyncPgConnection,
        listing: &Listing,
    ) -> Result<(), StoreError> {
        let platform = Platform::from(self.destination);
        errors::end_recovered(conn, &fingerprint(platform, OBJECTED, Some(listing.id()))).await
    }

    /// Writes troubles among the errors: one row for a cause, with a count. What hits the whole destination is one cause;
    /// what a listing's own values brought about is one for each listing.
    pub(super) async fn record(
        &self,
        conn: &mut AsyncPgConnection,
        troubles: &[(Listing, Trouble)],
    ) -> Result<(), StoreError> {
        let platform = Platform::from(self.destination);
        // In one order, so that two transactions that record the same troubles wait for each other.
        let mut records: Vec<ErrorRecord> = troubles
            .iter()
            .map(|(listing, trouble)| error_record(platform, listing, trouble))
            .collect();
        records.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        records.dedup_by(|a, b| a.fingerprint == b.fingerprint);
        for record in &records {
            errors::record(conn, record).await?;
        }
        Ok(())
    }
}

/// What tells one trouble from another; `whose`: the listing's, unless it is the destination's as a whole.
fn fingerprint(platform: Platform, code: &str, whose: Option<ListingId>) -> String {
    let whose = whose.map(|id| format!(" listing {id}")).unwrap_or_default();
    format!("sync {platform} {code}{whose}")
}

fn error_record(platform: Platform, listing: &Listing, trouble: &Trouble) -> ErrorRecord {
    let whose = (!trouble.shared).then(|| listing.id());
    ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some(trouble.code.clone()),
        message: trouble.message.clone(),
        product_id: (!trouble.shared).then_some(listing.basis.product_id),
        platform: Some(platform),
        severity: if trouble.critical {
            Severity::Critical
        } else if trouble.passing {
            Severity::Low
        } else {
            Severity::Medium
        },
        fingerprint: fingerprint(platform, &trouble.code, whose),
        details: Some(json!({ "listing_id": listing.id(), "wanted": listing.basis.wanted })),
    }
}
