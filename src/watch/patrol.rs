//! The patrol: turns one source's request budget into checks.
//!
//! It reserves the right to ask first and only then asks its planner what is worth most, because what is worth most
//! changes while one waits. It keeps at most [`PatrolSettings::most_open`] checks open and follows each through gateway, watcher
//! and ledger to the end; only then does the planner hear of it. That makes it the one place of back-pressure: while the
//! ledger cannot commit nothing new is picked, and what is open waits.
//!
//! A check that was not made (the gate is shut, the mailbox full) is given back as if never picked. One that failed is
//! parked by the planner, and neither it nor anything that was known beforehand teaches the change rate. Failures are
//! counted by cause and written once a second, so that a page that changed its layout is one row, not thousands.
//!
//! Loop, planner and open checks live in one future on the actor's context: there is nothing to lock, and a panic in
//! any of it is the actor's end. Its next life enrols anew with the roster, which reads everything from the tables.

mod check;
mod tally;

pub(crate) use tally::Tallied;

use super::counters::{Counters, add, set};
use super::planner::{PlannedItem, Planner, PlannerSettings};
use super::roster::{Enrol, Enrolled, Order, Roster};
use super::trouble;
use super::watcher::{Done, Looked};
use crate::clock::Clock;
use crate::domain::{Platform, Shard, SourcePlatform, SourceProductId, WatchId};
use crate::nodes::Ownership;
use crate::platform::Source;
use crate::platform::gateway::SourceGateway;
use crate::resilience::{Guard, Permit, Priority};
use crate::store::Db;
use crate::supervision::{DynHandle, Handle, Life, OwnedTask, SendError, spawn_owned};
use actix::prelude::*;
use arc_swap::ArcSwap;
use check::{Outcome, Picked, check};
use futures_util::future::{BoxFuture, FutureExt as _, OptionFuture};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tally::Tally;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How a source is patrolled.
#[derive(Clone, Debug, PartialEq)]
pub struct PatrolSettings {
    /// Checks open at once. Must cover the rate times the time from the request to the COMMIT: 64 is enough for 500 a
    /// second.
    pub most_open: usize,
    /// What is worth a look, and when.
    pub planner: PlannerSettings,
}

/// What a patrol works with. Outlives every life of the actor.
pub struct PatrolEnv {
    /// The source.
    pub source: SourcePlatform,
    /// Its adapter, for its batch size and for what it wants to know; it is asked through the gateway alone.
    pub adapter: Arc<dyn Source>,
    /// The way to it.
    pub gateway: Handle<SourceGateway>,
    /// Who gives permits.
    pub guard: Guard,
    /// Which parts of the watching are this node's.
    pub ownership: Ownership,
    /// Who knows what is to be watched.
    pub roster: Handle<Roster>,
    /// The tables.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// The source's numbers.
    pub counters: Arc<Counters>,
    /// Whether the ledger can commit.
    pub can_commit: watch::Receiver<bool>,
    /// Set once everything that is to be watched is known.
    pub ready: watch::Sender<bool>,
    /// How it patrols; looked at every second.
    pub settings: Arc<ArcSwap<PatrolSettings>>,
}

/// The actor. See the module.
pub struct Patrol {
    env: Arc<PatrolEnv>,
    life: Life,
}

impl Patrol {
    /// A patrol that enrols and begins once it is started.
    #[must_use]
    pub fn new(env: Arc<PatrolEnv>, life: &Life) -> Self {
        Self {
            env,
            life: life.clone(),
        }
    }
}

impl Actor for Patrol {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let round = Round::new(Arc::clone(&self.env), self.life.clone());
        ctx.spawn(round.run().into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

/// What the patrol keeps of a product beside the planner.
struct Slot {
    shard: Shard,
    item: SourceProductId,
    watcher: DynHandle<super::watcher::Watcher>,
    rate: (f32, f32),
}

/// The outcomes of one request, with its number.
type Outcomes = (u64, Vec<(WatchId, Outcome)>);

/// The loop of one life.
struct Round {
    env: Arc<PatrolEnv>,
    life: Life,
    settings: Arc<PatrolSettings>,
    planner: Planner,
    slots: HashMap<WatchId, Slot>,
    open: FuturesUnordered<BoxFuture<'static, Outcomes>>,
    /// The numbers of those that are open, and of the one that was begun last.
    numbers: BTreeSet<u64>,
    begun: u64,
    /// Who is to be told when the checks up to a number have ended.
    awaited: Vec<(u64, oneshot::Sender<()>)>,
    tally: Tally,
    writing: Option<OwnedTask<Vec<Tallied>>>,
    /// Those that enrolled, until all are there: the planner takes them in by age.
    waiting: Vec<(WatchId, PlannedItem)>,
    enrolled: bool,
    rests_until: Option<Instant>,
}

/// How long nothing is picked after a check that nobody took: a full mailbox has room again by then.
const REST: Duration = Duration::from_millis(50);
/// How often the numbers are refreshed, failures written, and the tree told that the loop lives.
const TICK: Duration = Duration::from_secs(1);
/// How soon a roster that is restarting is asked again.
const ENROL_AGAIN: Duration = Duration::from_millis(200);

// === impl Round ===

impl Round {
    fn new(env: Arc<PatrolEnv>, life: Life) -> Self {
        let settings = env.settings.load_full();
        let planner = Planner::new(settings.planner);
        let tally = Tally::new(Platform::from(env.source));
        Self {
            env,
            life,
            settings,
            planner,
            slots: HashMap::new(),
            open: FuturesUnordered::new(),
            numbers: BTreeSet::new(),
            begun: 0,
            awaited: Vec::new(),
            tally,
            writing: None,
            waiting: Vec::new(),
            enrolled: false,
            rests_until: None,
        }
    }

    async fn run(mut self) {
        let stopping = self.life.stopping();
        let Some(mut orders) = self.enrol().await else {
            return;
        };
        let mut can_commit = self.env.can_commit.clone();
        let mut permit: OptionFuture<BoxFuture<'static, Permit>> = None.into();
        let mut reserving = false;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let rest = self.rest();
            let may_pick = !stopping.is_cancelled()
                && *can_commit.borrow_and_update()
                && self.env.ownership.is_trusted()
                && self.has_room()
                && rest.is_none();
            let due = if may_pick {
                self.planner.next_due(self.env.clock.now())
            } else {
                None
            };
            if !may_pick && reserving {
                // Dropped unused, a permit is given back.
                (permit, reserving) = (None.into(), false);
            }
            if due.is_some_and(|d| d.is_zero()) && !reserving {
                let guard = self.env.guard.clone();
                let reserve = async move { guard.reserve(Priority::Normal).await };
                (permit, reserving) = (Some(reserve.boxed()).into(), true);
            }
            let idle = rest
                .or(due.filter(|d| !d.is_zero() && !reserving))
                .unwrap_or(TICK);
            if stopping.is_cancelled() && self.open.is_empty() {
                return;
            }
            tokio::select! {
                Some(outcomes) = self.open.next(), if !self.open.is_empty() => self.settle(outcomes),
                Some(granted) = &mut permit, if reserving => {
                    (permit, reserving) = (None.into(), false);
                    self.pick(granted);
                }
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    // The roster is gone, and the tree restarts us with it.
                    None => return,
                },
                changed = can_commit.changed() => if changed.is_err() { return },
                _ = tick.tick() => self.tick().await,
                () = tokio::time::sleep(idle), if idle < TICK => {}
                () = stopping.cancelled(), if !stopping.is_cancelled() => {
                    tracing::info!(source = %self.env.source, open = self.open.len(), "The patrol stops: open checks are finished");
                }
            }
        }
    }

    /// How long nothing is picked because nobody took what was picked before.
    fn rest(&self) -> Option<Duration> {
        let left = self.rests_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn has_room(&self) -> bool {
        self.enrolled && self.open.len() < self.settings.most_open
    }

    /// Asks the roster for everything; `None` when it is to stop first.
    async fn enrol(&self) -> Option<mpsc::UnboundedReceiver<Order>> {
        let stopping = self.life.stopping();
        loop {
            self.life.beat();
            let (tell, orders) = mpsc::unbounded_channel();
            let source = self.env.source;
            match self.env.roster.send(Enrol { source, orders: tell }).await {
                Ok(()) => return Some(orders),
                Err(error) => tracing::debug!(%source, %error, "The roster cannot be asked yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(ENROL_AGAIN) => {}
                () = stopping.cancelled() => return None,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Insert(all) => all.into_iter().for_each(|one| self.insert(one)),
            Order::AllThere => {
                self.begin();
                self.env.ready.send_replace(true);
                tracing::info!(source = %self.env.source, products = self.slots.len(), "Every product is known: the patrol begins");
            }
            Order::Remove(id) => self.remove(id),
            Order::HandOver(ids, done) => {
                ids.into_iter().for_each(|id| self.remove(id));
                self.awaited.push((self.begun, done));
                self.tell_ended();
            }
            Order::CheckNow(ids) => {
                let now = self.env.clock.now();
                for id in ids.into_iter().filter(|id| self.slots.contains_key(id)) {
                    self.planner.check_now(id, now);
                }
            }
            Order::LookSoon(ids) => {
                for id in ids.into_iter().filter(|id| self.slots.contains_key(id)) {
                    self.planner.look_soon(id);
                }
            }
            Order::Confirm(ids) => {
                let now = self.env.clock.now();
                for id in ids {
                    if let Some(slot) = self.slots.get(&id) {
                        self.env.adapter.doubt(&slot.item);
                        self.planner.confirm(id, now);
                    }
                }
            }
        }
        set(
            &self.env.counters.products,
            u64::try_from(self.slots.len()).unwrap_or(0),
        );
    }

    fn insert(&mut self, one: Enrolled) {
        let Enrolled {
            watch_id,
            shard,
            item,
            watcher,
            planned,
            accepted,
        } = one;
        if let Some(accepted) = accepted {
            self.env.adapter.accepted(&item, accepted);
        }
        let rate = (planned.rate.shape, planned.rate.hours);
        let slot = Slot {
            shard,
            item,
            watcher,
            rate,
        };
        if self.slots.insert(watch_id, slot).is_some() {
            // Known already: it keeps its place, or a check under way would come back to a product never picked.
            return;
        }
        if self.enrolled {
            self.planner.insert(watch_id, planned, self.env.clock.now());
        } else {
            self.waiting.push((watch_id, planned));
        }
    }

    /// Everything is known: the planner takes it in, in the order in which that costs least.
    fn begin(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_unstable_by_key(|(id, item)| (item.last_ok, *id));
        let now = self.env.clock.now();
        for (id, item) in waiting {
            if self.slots.contains_key(&id) {
                self.planner.insert(id, item, now);
            }
        }
        self.enrolled = true;
    }

    fn remove(&mut self, id: WatchId) {
        if self.slots.remove(&id).is_some() {
            self.planner.remove(id);
        }
    }

    fn pick(&mut self, permit: Permit) {
        let now = self.env.clock.now();
        let batch = self.env.adapter.batch_size().max(1);
        let mut picked = Vec::with_capacity(batch);
        for (watch_id, _) in self.planner.pick(now, batch) {
            let Some(slot) = self.slots.get(&watch_id) else {
                self.planner.remove(watch_id);
                continue;
            };
            let Some(epoch) = self.env.ownership.holds_shard(slot.shard) else {
                // Another's by now, or nobody knows: the roster takes it away, or it is ours again.
                self.rests_until = Instant::now().checked_add(REST);
                self.planner.give_back(watch_id, now);
                continue;
            };
            picked.push(Picked {
                watch_id,
                item: slot.item.clone(),
                watcher: slot.watcher.clone(),
                rate: slot.rate,
                epoch,
            });
        }
        if picked.is_empty() {
            return;
        }
        fail::fail_point!("fp1_picked");
        self.begun += 1;
        let number = self.begun;
        self.numbers.insert(number);
        let env = Arc::clone(&self.env);
        self.open
            .push(async move { (number, check(env, picked, permit).await) }.boxed());
    }

    /// Tells those who wait for the end of checks that have ended.
    fn tell_ended(&mut self) {
        let oldest = self.numbers.first().copied().unwrap_or(u64::MAX);
        for (_, done) in self.awaited.extract_if(.., |(up_to, _)| *up_to < oldest) {
            // Nobody waits any more: it took too long.
            let _ = done.send(());
        }
    }

    fn settle(&mut self, (number, outcomes): Outcomes) {
        self.numbers.remove(&number);
        self.tell_ended();
        for (id, outcome) in outcomes {
            // Removed while it was checked.
            if !self.slots.contains_key(&id) {
                continue;
            }
            let now = self.env.clock.now();
            match outcome {
                Outcome::GivenBack => {
                    add(&self.env.counters.given_back, 1);
                    // Its permit came back with it: picking again at once would go round and round.
                    self.rests_until = Instant::now().checked_add(REST);
                    self.planner.give_back(id, now);
                }
                Outcome::Failed(error) => {
                    self.env.counters.error(error.class);
                    self.tally.add(id, error);
                    self.planner.on_err(id, now);
                }
                Outcome::NoWatcher(error) => {
                    if error != SendError::Down {
                        tracing::warn!(watch.id = %id, %error, "A watcher did not take its page; it is read again");
                    }
                    self.planner.on_err(id, now);
                }
                Outcome::Looked(looked) => self.looked(id, looked),
            }
        }
    }

    fn looked(&mut self, id: WatchId, looked: Looked) {
        let now = self.env.clock.now();
        match looked {
            Looked::Recorded(done) => {
                add(&self.env.counters.checks, 1);
                self.recorded(id, done);
            }
            Looked::Unclear { reread_at } => {
                add(&self.env.counters.checks, 1);
                self.planner.on_unclear(id, now, reread_at);
            }
            Looked::Missing => self.remove(id),
            // Of this one a roster that lost it and has it again may have told anew: it is not ours to remove.
            Looked::Lost
            // No evidence of anything; parked, so that a cache that serves old pages is not asked for ever.
            | Looked::Older
            | Looked::Rejected
            | Looked::Pending
            | Looked::NotRecorded
            | Looked::Unseeded
            | Looked::NeedsBackground
            | Looked::Stale => self.planner.on_err(id, now),
        }
    }

    fn recorded(&mut self, id: WatchId, done: Done) {
        let now = self.env.clock.now();
        // The age of what is known counts from the page, not from the COMMIT: a change in between is still unseen.
        let rate = self
            .planner
            .on_ok(id, now, done.fetched_at, done.material, done.ends_at);
        if let Some(at) = done.recheck_at {
            self.planner.appoint(id, at);
        }
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if let Some(rate) = rate {
            slot.rate = (rate.shape, rate.hours);
        }
        if let Some(accepted) = done.accepted {
            self.env.adapter.accepted(&slot.item, accepted);
        }
    }

    async fn tick(&mut self) {
        self.life.beat();
        let settings = self.env.settings.load_full();
        if *settings != *self.settings {
            self.planner.change(settings.planner);
            self.settings = settings;
        }
        let counters = &self.env.counters;
        set(&counters.in_flight, u64::try_from(self.open.len()).unwrap_or(0));
        set(
            &counters.events_due,
            u64::try_from(self.planner.events_waiting()).unwrap_or(0),
        );
        let oldest_ms = self.planner.stats(self.env.clock.now()).oldest_ms;
        set(
            &counters.oldest_age_s,
            u64::try_from(oldest_ms / 1_000).unwrap_or(0),
        );
        if let Some(writing) = self.writing.take_if(|w| w.is_finished()) {
            // What could not be written comes back; a panic in there was logged and costs a count.
            self.tally.put_back(writing.await.unwrap_or_default());
        }
        if self.writing.is_none() && *self.env.can_commit.borrow() {
            let causes = self.tally.take();
            if !causes.is_empty() {
                let db = self.env.db.clone();
                let write = async move { trouble::failed_checks(&db, causes).await };
                self.writing = Some(spawn_owned("write failed checks", write));
            }
        }
    }
}
