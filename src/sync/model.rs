//! The syncer's rules against a model of everything that can happen around them.
//!
//! One listing, one register at the destination, and a scheduler that draws what happens next from a seed: what is
//! wanted moves, requests arrive late or never, answers are lost, the syncer dies, and a worker that was stopped wakes
//! up long after its lease and sends after all. The rules are the real ones ([`plan::next`], [`settle()`]); only the
//! tables are replaced, by the same conditions in memory. When the faults stop, the register must show what is wanted.

use super::outlet::{NotSent, Written};
use super::plan::{self, Known, Step};
use super::settle::{Answer, Begun, Waits, settle};
use crate::domain::{
    Currency, DestinationPlatform, ErrorClass, JobId, ListingBasis, ListingId, ListingRef, ListingState,
    ListingStatus, Money, ProductId, Quantity, SyncLogId, Version, Wanted,
};
use crate::platform::PlatformError;
use crate::store::listings::{Listing, Pushing};
use crate::store::pushes::{JobEnd, PushLease, Settlement};
use crate::store::sync_log::PossibleWrites;
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rust_decimal::Decimal;
use std::time::Duration;
use uuid::Uuid;

const PUSH_LIMIT: TimeDelta = TimeDelta::seconds(14);
const SEND_WITHIN: TimeDelta = TimeDelta::seconds(3);

pub(super) fn money(units: i64) -> Option<Money> {
    Money::new(Decimal::from(units), Currency::Usd).ok()
}

pub(super) fn pieces(n: i64) -> Quantity {
    Quantity::new(n).unwrap()
}

pub(super) fn listing(confirmed: ListingState, wanted: Option<Wanted>) -> Listing {
    Listing {
        basis: ListingBasis {
            listing: ListingRef {
                listing_id: ListingId(1),
                destination: DestinationPlatform::Ebay,
                sku: "sku-1".into(),
                platform_product_id: "9001".into(),
            },
            product_id: ProductId(1),
            currency: Currency::Usd,
            confirmed,
            wanted,
            in_flight: false,
            day_price: None,
            day_price_on: None,
            rules: None,
        },
        url: None,
        wanted_version: Version(i64::from(wanted.is_some())),
        synced_version: Version(0),
        pushing: None,
        needs_read_back: false,
        auto_sync: true,
        held_reason: None,
        wanted_cause: None,
        wanted_at: None,
        last_synced_at: None,
        last_sync_log_id: None,
        revisions_day: None,
        revisions: 0,
        read_back: None,
        bulk_price: None,
        bulk_waits: true,
    }
}

pub(super) fn shows(quantity: i64, price: i64) -> ListingState {
    ListingState {
        status: ListingStatus::Active,
        quantity: pieces(quantity),
        price: money(price),
    }
}

pub(super) fn failure(class: ErrorClass) -> PlatformError {
    PlatformError {
        class,
        code: "test".into(),
        message: "test".into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

#[derive(Clone, Debug)]
struct Job {
    due: DateTime<Utc>,
    attempt: i64,
    leased: bool,
    retries: i32,
    priority: i16,
}

#[derive(Clone, Debug)]
struct Request {
    begun: Begun,
    send_before: DateTime<Utc>,
    /// Sent, and over there.
    arrived: bool,
    /// What a read saw when it arrived.
    seen: Option<ListingState>,
    /// Nobody waits for its answer any more.
    orphan: bool,
    /// Its worker was stopped between its last look at the watch and the sending.
    zombie: bool,
}

struct World {
    rng: StdRng,
    now: DateTime<Utc>,
    row: Listing,
    shown: ListingState,
    job: Option<Job>,
    requests: Vec<Request>,
    known: Known,
    /// As `store::sync_log::possible_writes` finds them.
    possible: PossibleWrites,
    logs: i64,
    attempts: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let shown = shows(3, 20);
        Self {
            rng: StdRng::seed_from_u64(seed),
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            row: listing(shown, None),
            shown,
            job: None,
            requests: Vec::new(),
            known: Known::default(),
            possible: PossibleWrites::default(),
            logs: 0,
            attempts: 0,
        }
    }

    fn enqueue(&mut self, priority: i16) {
        let now = self.now;
        match &mut self.job {
            Some(job) => {
                job.due = job.due.min(now);
                job.priority = job.priority.min(priority);
            }
            None => {
                self.job = Some(Job {
                    due: now,
                    attempt: 0,
                    leased: false,
                    retries: 0,
                    priority,
                });
            }
        }
    }

    fn want(&mut self) {
        let ended = self.rng.random_bool(0.1);
        let wanted = Wanted {
            quantity: if ended {
                Quantity::ZERO
            } else {
                pieces(self.rng.random_range(0..5))
            },
            price: if self.rng.random_bool(0.2) {
                None
            } else {
                money(self.rng.random_range(18..24))
            },
            status: if ended {
                ListingStatus::Ended
            } else {
                ListingStatus::Active
            },
        };
        if self.row.basis.wanted == Some(wanted) {
            return;
        }
        self.row.basis.wanted = Some(wanted);
        self.row.wanted_version = self.row.wanted_version.next();
        if self.row.held_reason.as_deref() == Some(plan::HELD_REFUSED) {
            self.row.held_reason = None;
        }
        self.enqueue(if plan::is_zero(wanted) { 1 } else { 5 });
    }

    fn look(&mut self) {
        let now = self.now;
        let Some(job) = self.job.as_mut().filter(|j| !j.leased && j.due <= now) else {
            return;
        };
        self.attempts += 1;
        job.leased = true;
        job.attempt = self.attempts;
        let lease = PushLease {
            job: JobId(1),
            attempt: self.attempts,
            token: Uuid::nil(),
        };
        let (priority, retries) = (job.priority, job.retries);
        let step = plan::next(&self.row, self.known, now);
        let plain = |job: JobEnd, row: &Listing| Settlement {
            listing: row.id(),
            confirmed: None,
            synced: None,
            over: false,
            needs_read_back: row.needs_read_back,
            hold: None,
            breaks_fence: false,
            exhausted: None,
            refund: None,
            log: None,
            job: (lease, job),
        };
        match step {
            Step::Nothing => {
                let synced = Some(self.row.wanted_version);
                let settlement = plain(JobEnd::Done, &self.row);
                self.write(&Settlement { synced, ..settlement });
            }
            Step::Leave(_) => self.write(&plain(JobEnd::Done, &self.row)),
            Step::Wait { until } => {
                let after = (until - now).to_std().unwrap();
                self.write(&plain(JobEnd::Again { after, priority }, &self.row));
            }
            Step::Read(_) | Step::Revise { .. } | Step::End | Step::Relist => {
                self.begin(lease, priority, retries, step);
            }
        }
    }

    fn begin(&mut self, lease: PushLease, priority: i16, retries: i32, step: Step) {
        self.check(step);
        self.logs += 1;
        if step.is_write() {
            self.row.needs_read_back |= step.is_zero() || self.row.pushing.is_some() || self.known.verify;
            self.may_stand(step);
            self.row.pushing = Some(Pushing {
                version: self.row.wanted_version,
                deadline: self.now + PUSH_LIMIT,
            });
        }
        self.row.last_sync_log_id = Some(SyncLogId(self.logs));
        self.requests.push(Request {
            begun: Begun {
                lease,
                priority,
                retries,
                max_retries: 3,
                log: SyncLogId(self.logs),
                version: self.row.wanted_version,
                step,
                completes: plan::completes(&self.row, step),
                spent: None,
            },
            send_before: self.now + SEND_WITHIN,
            arrived: false,
            seen: None,
            orphan: false,
            zombie: false,
        });
    }

    /// What every step must hold to, whatever happens around it.
    fn check(&self, step: Step) {
        let confirmed = self.row.basis.confirmed;
        if let Step::Revise {
            quantity: Some(quantity),
            price,
        } = step
            && quantity > confirmed.quantity
            && confirmed.status == ListingStatus::Active
        {
            assert!(self.known.fresh, "a quantity was raised without a look before");
            assert!(price.is_none(), "the price goes before the quantity");
            let wanted = self.row.basis.wanted.unwrap();
            assert!(wanted.price.is_none() || wanted.price == confirmed.price);
        }
        let alive = self.requests.iter().filter(|r| {
            r.begun.step.is_write()
                && !r.orphan
                && !r.zombie
                && r.begun.log == self.row.last_sync_log_id.unwrap_or(SyncLogId(0))
        });
        assert_eq!(alive.count(), 0, "two pushes of one listing at a time");
    }

    /// A request arrives, if it is still sent at all.
    fn arrive(&mut self, i: usize) {
        let now = self.now;
        let request = &mut self.requests[i];
        if request.arrived || !(request.zombie || now < request.send_before) {
            return;
        }
        request.arrived = true;
        request.seen = Some(self.shown);
        let step = request.begun.step;
        if step.is_write() {
            self.shown = step.applied(self.shown);
        }
    }

    /// Remembers that `step` may stand over there.
    fn may_stand(&mut self, step: Step) {
        self.possible.ended |= step == Step::End;
        if let Step::Revise {
            quantity: Some(sent), ..
        } = step
        {
            let least = self.possible.least.unwrap_or(sent).min(sent);
            self.possible.least = Some(least);
        }
    }

    /// An answer arrives: the true one, or that of a time limit.
    fn answer(&mut self, i: usize, lost: bool) {
        let request = self.requests.remove(i);
        if request.orphan {
            return;
        }
        let write = request.begun.step.is_write();
        let answer = match (write, request.arrived, lost) {
            (true, true, false) => Answer::Written(Written::Accepted { warnings: Vec::new() }),
            (true, _, true) => Answer::Written(Written::Unknown(failure(ErrorClass::Transient))),
            (true, false, false) => Answer::Written(Written::NotSent(NotSent {
                why: "test".into(),
                retry_after: Duration::from_millis(500),
            })),
            (false, true, false) => Answer::Read(Ok(request.seen.unwrap())),
            (false, _, _) => Answer::Read(Err(super::outlet::NotRead::Failed(failure(
                ErrorClass::Transient,
            )))),
        };
        let waits = Waits {
            outage: Duration::from_secs(1),
            attempt: Duration::from_secs(1),
            read_back: Duration::from_secs(2),
            settling: None,
            lags: None,
        };
        let overtaken = self.row.last_sync_log_id != Some(request.begun.log);
        let settled = settle(&self.row, &request.begun, &answer, self.possible, waits, self.now);
        // As `Shared::learn`: what was not sent or met an outage taught nothing.
        let nothing = matches!(
            &answer,
            Answer::Written(Written::NotSent(_)) | Answer::Read(Err(_))
        );
        self.known = Known {
            fresh: if nothing { self.known.fresh } else { settled.fresh },
            doubted: if nothing {
                self.known.doubted
            } else {
                settled.doubted
            },
            verify: match &answer {
                Answer::Written(Written::Unknown(_)) => true,
                Answer::Written(Written::Accepted { .. }) => false,
                _ => self.known.verify,
            },
            presses: if nothing {
                self.known.presses
            } else {
                settled.presses
            },
        };
        match &answer {
            Answer::Read(Ok(_)) if !overtaken => self.possible = PossibleWrites::default(),
            Answer::Written(_) if overtaken => self.may_stand(request.begun.step),
            _ => {}
        }
        if lost && write {
            // It may still be under way over there.
            self.requests.push(Request {
                orphan: true,
                ..request
            });
        }
        self.write(&settled.write);
    }

    /// The same conditions as the statements of `store::pushes::settle`.
    fn write(&mut self, s: &Settlement) {
        let row = &mut self.row;
        if let Some(confirmed) = s.confirmed {
            row.basis.confirmed = confirmed;
        }
        if let Some(synced) = s.synced {
            row.synced_version = synced.min(row.wanted_version);
        }
        if s.over {
            row.pushing = None;
        }
        row.needs_read_back = s.needs_read_back;
        if s.breaks_fence {
            row.last_sync_log_id = s.log.as_ref().map(|(id, _, _)| *id);
        }
        if let Some(hold) = &s.hold {
            row.held_reason = Some(hold.reason.into());
        }
        let (lease, end) = &s.job;
        let mine = self
            .job
            .as_ref()
            .is_some_and(|j| j.leased && j.attempt == lease.attempt);
        if !mine {
            if self.row.is_behind() {
                self.enqueue(5);
            }
            return;
        }
        let now = self.now;
        match end {
            JobEnd::Done | JobEnd::Dead { .. } => self.job = None,
            JobEnd::Again { after, priority } => {
                let job = self.job.as_mut().unwrap();
                (job.leased, job.due, job.priority) = (false, now + *after, *priority);
            }
            JobEnd::Retry { after, priority, .. } => {
                let job = self.job.as_mut().unwrap();
                (job.leased, job.due, job.priority) = (false, now + *after, *priority);
                job.retries += 1;
            }
        }
    }

    /// The syncer dies and its successor takes the lane over. What it had sent may still arrive.
    fn crash(&mut self) {
        for request in &mut self.requests {
            request.orphan |= !request.zombie;
        }
        self.known = Known::default();
        if let Some(job) = &mut self.job {
            job.leased = false;
        }
    }

    /// The worker is stopped just before it sends; somebody else takes the lane over.
    fn stop(&mut self) {
        for request in &mut self.requests {
            if !request.arrived && !request.orphan && request.begun.step.is_write() {
                request.zombie = true;
            }
        }
        self.crash();
    }

    fn sweep(&mut self) {
        let held = self.row.held_reason.is_some();
        if self.job.is_none() && self.row.is_behind() && !held {
            self.enqueue(5);
        }
    }

    fn happen(&mut self) {
        let n = self.requests.len();
        match self.rng.random_range(0..100) {
            0..15 => self.want(),
            15..45 => self.look(),
            45..60 if n > 0 => {
                let i = self.rng.random_range(0..n);
                self.arrive(i);
            }
            60..75 if n > 0 => {
                let i = self.rng.random_range(0..n);
                let lost = self.rng.random_bool(0.15);
                // A zombie sends before it hears anything.
                if self.requests[i].zombie {
                    self.arrive(i);
                }
                self.answer(i, lost);
            }
            75..90 => {
                let ms = self.rng.random_range(1..4_000);
                self.now += TimeDelta::milliseconds(ms);
            }
            90..94 => self.crash(),
            94..96 => self.stop(),
            _ => self.sweep(),
        }
        // What is orphaned and can no longer be sent is gone.
        let now = self.now;
        self.requests
            .retain(|r| !r.orphan || !r.arrived && now < r.send_before);
    }

    /// The faults stop: everything under way ends, then the rules are left to themselves.
    fn settle_down(&mut self) {
        for round in 0..400 {
            while !self.requests.is_empty() {
                self.arrive(0);
                self.answer(0, false);
            }
            let settled = self.job.is_none() && !self.row.is_behind();
            if settled {
                return;
            }
            self.look();
            self.sweep();
            self.now += TimeDelta::milliseconds(if round % 4 == 0 { 1_000 } else { 1 });
        }
    }
}

#[test]
fn in_ten_thousand_interleavings_no_stale_write_stands() {
    let mut wanted_something = 0_u32;
    for seed in 0..10_000 {
        let mut world = World::new(seed);
        for _ in 0..80 {
            world.happen();
        }
        world.settle_down();
        let Some(wanted) = world.row.basis.wanted else {
            continue;
        };
        wanted_something += 1;
        // A listing that a person has to look at offers no more than is wanted.
        if world.row.held_reason.is_some() {
            assert!(
                world.shown.quantity <= wanted.quantity,
                "seed {seed}: held at {:?}, wanted {wanted:?}",
                world.shown
            );
            continue;
        }
        assert!(
            plan::matches(wanted, world.shown),
            "seed {seed}: wanted {wanted:?}, shown {:?}, row {:?}, job {:?}",
            world.shown,
            world.row,
            world.job
        );
        assert_eq!(world.row.synced_version, world.row.wanted_version, "seed {seed}");
    }
    assert!(wanted_something > 9_000);
}

#[test]
fn nothing_is_held_when_nobody_else_touches_the_destination() {
    for seed in 0..3_000 {
        let mut world = World::new(seed);
        for _ in 0..80 {
            world.happen();
        }
        world.settle_down();
        let held = world.row.held_reason.as_deref();
        assert_eq!(held, None, "seed {seed}: {:?} {:?}", world.row, world.shown);
    }
}
