//! The actor that keeps one destination in line: the only consumer of its lane of `platform_sync`.
//!
//! It is level-triggered. A committed change, a notice from the database, a job that falls due and the end of a request
//! all mean the same: *look*. A look takes what is due and writes down what will be sent ([`super::take`]); requests run
//! beside each other ([`super::round`]), each settled as soon as it is answered; a sweep finds what nobody told of.
//! Nothing here is needed to be correct but the tables: a crash at any line loses requests in flight, whose listings wait
//! out their deadline and are read back.
//!
//! **One at a time.** Of several nodes one keeps a destination in line ([`crate::nodes`]), so its rate, its day's revisions
//! and its blast radius are counted in one place. Every transaction compares the epoch of that, and so does every request
//! right before it is sent. What was under way when it was lost is settled all the same: its owner is made to look.
//!
//! **Room.** No more is taken than the destination's rate can send in time ([`super::room`]); zeros, changes and looks are
//! counted apart, so that a thousand restocks waiting to be read never keep a zero waiting. While the way out is closed nothing is taken: jobs wait where they are and use up no attempt.

use super::bulk;
use super::outlet::{Outlet, Urgency};
use super::reprice::{Repriced, Scope, reprice};
use super::room::{InFlight, Load, Room};
use super::round::{self, Request};
use super::settings::SyncSettings;
use super::shared::{Shared, SyncStatus};
use super::take::{At, take};
use crate::clock::Clock;
use crate::domain::{Committed, CommittedSender, DestinationPlatform, Epoch};
use crate::nodes::{Hold, Ownership};
use crate::platform::gateway::BulkGateway;
use crate::pricing::PriceBook;
use crate::queue::notifier::Notices;
use crate::store::jobs::{Lane, WorkerId};
use crate::store::{Db, StoreError, listings, pushes, wanted};
use crate::supervision::{Life, TaskError, spawn_owned};
use actix::prelude::*;
use arc_swap::ArcSwap;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

/// How long the next look waits at least when due jobs could not be taken: their rows are locked, all is paused, or there
/// is no room.
const STALLED: Duration = Duration::from_millis(100);
/// The longest wait after trouble with the database.
const DATABASE_WAIT: Duration = Duration::from_secs(2);
/// How soon it is asked again whose the destination is, when nobody says so.
const NOT_OURS: Duration = Duration::from_millis(500);
/// How many forgotten listings one sweep puts back into the queue.
const SWEEP: u32 = 500;

/// Every so many sweeps one looks at every listing: once a minute with the default of 5 s.
const DEEP: u32 = 12;

/// What every syncer is made from.
#[derive(Clone)]
pub struct SyncParts {
    /// The database.
    pub db: Db,
    /// The way out.
    pub outlet: Arc<dyn Outlet>,
    /// The way out for many prices at once, where the destination has one.
    pub bulk: Option<BulkGateway>,
    /// The destination.
    pub destination: DestinationPlatform,
    /// How to keep it in line: the blast radius as it is at each request, everything else as it was when the syncer began.
    pub settings: Arc<ArcSwap<SyncSettings>>,
    /// The calendar.
    pub clock: Clock,
    /// Who holds the jobs.
    pub worker: WorkerId,
    /// Changes that the ledger has committed.
    pub committed: CommittedSender,
    /// Which parts of the work are this node's: the destination is one.
    pub ownership: Ownership,
    /// What the database tells.
    pub notices: Notices,
    /// What listings should cost, for those whose step limit opens again.
    pub book: Arc<ArcSwap<PriceBook>>,
}

/// The actor.
pub struct Syncer {
    parts: SyncParts,
    life: Life,
    shared: Arc<Shared>,
    wake: Arc<Notify>,
}

/// "Look now": after a person's command. The tables decide what is done.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookNow;

/// Asks how it stands.
#[derive(Message)]
#[rtype(result = "SyncStatus")]
pub struct GetStatus;

impl Syncer {
    /// A syncer with nothing in flight.
    #[must_use]
    pub fn new(parts: SyncParts, life: &Life) -> Self {
        let shared = Arc::new(Shared::new(&parts));
        Self {
            parts,
            life: life.clone(),
            shared,
            wake: Arc::new(Notify::new()),
        }
    }
}

impl Actor for Syncer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let run = run(
            Arc::clone(&self.shared),
            self.parts.committed.subscribe(),
            self.parts.notices.clone(),
            Arc::clone(&self.wake),
            self.life.clone(),
        );
        ctx.spawn(run.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

impl Supervised for Syncer {
    fn restarting(&mut self, _: &mut Self::Context) {
        *self = Self::new(self.parts.clone(), &self.life);
    }
}

impl Handler<LookNow> for Syncer {
    type Result = ();

    fn handle(&mut self, _: LookNow, _: &mut Self::Context) {
        self.wake.notify_one();
    }
}

impl Handler<GetStatus> for Syncer {
    type Result = MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.snapshot())
    }
}

/// Keeps the destination in line until told to stop; then finishes what is under way.
async fn run(
    shared: Arc<Shared>,
    mut committed: Receiver<Arc<Committed>>,
    notices: Notices,
    wake: Arc<Notify>,
    life: Life,
) {
    let stopping = life.stopping();
    let mut notice = notices.subscribe(Lane::sync(shared.destination));
    let mut under_way = FuturesUnordered::new();
    let mut in_flight = InFlight::default();
    let mut started = false;
    let mut open = true;
    let mut sweep_at = Instant::now();
    let mut sweeps = 0_u32;
    let mut look_at = Instant::now();
    let mut failures = 0_u32;
    let mut reworking: Option<LocalBoxFuture<'static, Result<Repriced, StoreError>>> = None;
    let mut feeding: Option<LocalBoxFuture<'static, Duration>> = None;
    let mut feed_at = Instant::now();
    let mut changes = shared.ownership.changes();
    let mut part: Option<Hold> = None;
    loop {
        let turn = Instant::now() + shared.settings.sweep() + Duration::from_secs(10);
        life.beat();
        life.waiting_until(turn);
        tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(ended) = under_way.next(), if !under_way.is_empty() => {
                let (urgency, load) = or_panic(ended);
                in_flight.remove(urgency, load);
                // What was settled may have put its job back.
                look_at = Instant::now();
            }
            reworked = end_of(&mut reworking), if reworking.is_some() => {
                reworking = None;
                match reworked {
                    Ok(reworked) if reworked.moved > 0 => look_at = Instant::now(),
                    Ok(_) => {}
                    // Done again at the next deep sweep.
                    Err(error) => tracing::warn!(error = %error, "Prices of {} wait for the database", shared.destination),
                }
            }
            wait = end_of(&mut feeding), if feeding.is_some() => {
                feeding = None;
                feed_at = Instant::now() + wait;
            }
            told = committed.recv(), if open => match told {
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    gather(&shared, &mut committed).await;
                    look_at = Instant::now();
                }
                // Lives as long as the daemon; without it the notices are left, and the sweep.
                Err(RecvError::Closed) => open = false,
            },
            () = notice.wait(Duration::from_secs(3600)) => look_at = Instant::now(),
            () = wake.notified() => look_at = Instant::now(),
            // The keeper lives as long as the daemon.
            Ok(()) = changes.changed() => look_at = Instant::now(),
            () = tokio::time::sleep_until(look_at.min(sweep_at)) => {}
            () = tokio::time::sleep_until(feed_at), if shared.bulk.is_some() && feeding.is_none() => {}
        }
        let now = Instant::now();
        match hold_of(&shared, &mut part, !under_way.is_empty()) {
            Turn::Ours => {}
            Turn::New => {
                shared.outlet.take_over().await;
                shared.forget_all();
                (started, sweep_at, look_at) = (false, now, now);
            }
            Turn::Not => {
                (reworking, feeding) = (None, None);
                look_at = now + NOT_OURS;
                sweep_at = sweep_at.max(look_at);
                continue;
            }
        }
        let Some(epoch) = part.as_ref().map(Hold::epoch) else {
            continue;
        };
        if feeding.is_none() && now >= feed_at && shared.bulk.is_some() {
            feeding = Some(feed(Arc::clone(&shared), epoch).boxed_local());
        }
        if let Some(shut) = shared.outlet.shut_for() {
            look_at = now + shut;
            sweep_at = sweep_at.max(look_at);
            continue;
        }
        notice.arm();
        let turned = async {
            if !started {
                shared.load_radius().await?;
                started = true;
            }
            if now >= sweep_at {
                let deep = sweeps.is_multiple_of(DEEP);
                sweep(&shared, epoch, deep).await?;
                if deep && reworking.is_none() {
                    reworking = Some(open_again(Arc::clone(&shared)).boxed_local());
                }
                sweeps = sweeps.wrapping_add(1);
                sweep_at = now + shared.settings.sweep();
            }
            if now < look_at {
                return Ok(look_at);
            }
            let room = Room::new(&*shared.outlet, &shared.settings, &in_flight);
            let Some((up_to, limit)) = room.up_to() else {
                return Ok(Instant::now() + STALLED);
            };
            let taken = take(&shared, epoch, room, (up_to, limit)).await?;
            shared.looked(taken.jobs);
            let at = taken.at;
            let none = taken.jobs == 0;
            let full = u32::try_from(taken.jobs).is_ok_and(|jobs| jobs >= limit);
            for request in round::requests(taken.work, shared.outlet.batch_size()) {
                let (urgency, load) = (request.urgency(), request.load(&*shared.outlet));
                in_flight.add(urgency, load);
                // A task of its own: it must not wait for what this loop asks the database next.
                under_way.push(spawn_owned(
                    "push",
                    finished(Arc::clone(&shared), request, (urgency, load), at),
                ));
            }
            if full {
                return Ok(Instant::now());
            }
            let mut conn = shared.db.conn().await?;
            let due = pushes::next_due(&mut conn, shared.destination, shared.settings.sweep()).await?;
            let least = if none { STALLED } else { Duration::ZERO };
            Ok::<Instant, StoreError>(Instant::now() + due.max(least))
        }
        .await;
        match turned {
            Ok(next) => {
                failures = 0;
                look_at = next;
                shared.database(None);
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let wait = Duration::from_millis(50).saturating_mul(1 << failures.min(6));
                look_at = Instant::now() + wait.min(DATABASE_WAIT);
                sweep_at = sweep_at.max(look_at);
                if failures == 1 {
                    tracing::warn!(error = %error, "Syncing {} waits for the database", shared.destination);
                }
                shared.database(Some(error.to_string()));
            }
        }
        shared.in_flight(in_flight.listings());
    }
    // What was sent is answered soon, and an answer that is written down saves a wait and a look after the restart.
    while let Some(ended) = under_way.next().await {
        or_panic(ended);
        life.beat();
    }
}

/// Whether the destination is this node's to keep in line.
enum Turn {
    /// As before.
    Ours,
    /// From now on.
    New,
    /// It is another's, is being handed over, or nobody knows.
    Not,
}

/// Follows whose the destination is. A part that is to be another's is held until nothing is under way any more.
fn hold_of(shared: &Shared, part: &mut Option<Hold>, busy: bool) -> Turn {
    match part {
        Some(hold) if hold.is_lost() => {
            tracing::warn!(
                "{} is kept in line by another node from now on",
                shared.destination
            );
            *part = None;
        }
        Some(hold) if hold.is_leaving() => {
            if !busy {
                *part = None;
            }
            return Turn::Not;
        }
        // Not known for now: what is under way goes on, and nothing is begun.
        Some(hold) if !hold.stands() => return Turn::Not,
        Some(_) => return Turn::Ours,
        None => {}
    }
    *part = shared.ownership.enter(&shared.role);
    if part.is_some() { Turn::New } else { Turn::Not }
}

/// Works out anew what a step limit had cut short that has opened again. Beside the pushes: at midnight it may be every
/// listing there is.
async fn open_again(shared: Arc<Shared>) -> Result<Repriced, StoreError> {
    let book = shared.book.load_full();
    reprice(&shared.db, &book, &shared.clock, Scope::OpenedAgain).await
}

/// Takes the destination's feeds one step further, in a task of its own; how long until the next.
async fn feed(shared: Arc<Shared>, epoch: Epoch) -> Duration {
    let destination = shared.destination;
    match spawn_owned("feed", bulk::turn(shared, epoch)).await {
        Ok(Ok(wait)) => wait,
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "The feeds of {destination} wait for the database");
            DATABASE_WAIT
        }
        // Prices by document are a help; keeping listings in line goes on without it.
        Err(crash) => {
            tracing::error!(error = %crash, "A feed of {destination} crashed; it is tried again in a minute");
            Duration::from_secs(60)
        }
    }
}

/// The end of what is under way, if something is.
async fn end_of<T>(under_way: &mut Option<LocalBoxFuture<'static, T>>) -> T {
    match under_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Waits a moment for company, so that what comes together goes together.
async fn gather(shared: &Shared, committed: &mut Receiver<Arc<Committed>>) {
    if shared.settings.gather_ms > 0 {
        tokio::time::sleep(shared.settings.gather()).await;
    }
    let mut told = VecDeque::new();
    while let Ok(change) = committed.try_recv() {
        told.push_back(change);
    }
}

async fn finished(shared: Arc<Shared>, request: Request, end: (Urgency, Load), at: At) -> (Urgency, Load) {
    round::run(shared, request, at).await;
    end
}

/// A request that panicked is this actor's panic: whoever supervises it is told, and starts it anew.
fn or_panic<T>(ended: Result<T, TaskError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(Box::new(error.to_string())))
}

/// Finds what nobody told of. A `deep` sweep looks at every listing, the others only at those that an index names.
async fn sweep(shared: &Shared, epoch: Epoch, deep: bool) -> Result<(), StoreError> {
    shared.forget();
    let destination = shared.destination;
    if deep {
        let mut conn = shared.db.conn().await?;
        shared.has_listings(listings::count_active(&mut conn, destination).await?);
    }
    // Alone, before the rows of listings are locked: jobs come after them in every transaction that touches both.
    let back = {
        let mut conn = shared.db.conn().await?;
        if !shared.owns(&mut conn, epoch).await? {
            return Ok(());
        }
        pushes::take_over(&mut conn, destination, &shared.worker).await?
    };
    let found = shared
        .db
        .transaction(move |conn| {
            Box::pin(async move {
                let ids = wanted::find_forgotten(conn, destination, deep, SWEEP).await?;
                wanted::enqueue_behind(conn, &ids).await
            })
        })
        .await?;
    if back > 0 {
        tracing::info!("{back} jobs of {destination} were left in work by an earlier life and wait again");
    }
    if found > 0 {
        tracing::warn!("{found} listings of {destination} were behind without a job; they are seen to now");
    }
    shared.swept(found);
    Ok(())
}
