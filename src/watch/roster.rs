//! The roster: which products are watched, and by whom.
//!
//! The tables say what is to be watched; the roster makes it so. [`Enrol`] hands a patrol everything at its start, in
//! chunks; [`Refresh`] makes a few watches what their rows say now (added, paused, resumed, removed, decided): it takes
//! ids and no intentions, so it can be sent twice, late or for nothing. Watchers are dynamic children, spread over the
//! watchers' arbiters; each gets its row as its first life's seed, and asks the tables in every later one.
//!
//! A watcher that keeps crashing is quarantined: its row says so, one error row tells a person, its patrol forgets it,
//! and nobody else notices. Resuming the watch releases it.
//!
//! Of several nodes each has its shards of the watching ([`crate::nodes`]): the roster takes up what becomes this node's,
//! and gives away what is to be another's when the checks that are open have ended ([`shards`]).
//!
//! The roster also looks after the deadlines of holds: it has the clock, the tables and the patrols at hand.

mod asked;
mod shards;

use super::counters::{Counters, add};
use super::estimator::Rate;
use super::holds::{self, HoldsEnv};
use super::planner::PlannedItem;
use super::trouble;
use super::watcher::{Known, Seed, Watcher, WatcherEnv};
use crate::clock::Clock;
use crate::domain::{SellerMark, Shard, SourcePlatform, SourceProductId, WatchId};
use crate::nodes::{Notices, Ownership};
use crate::platform::Accepted;
use crate::store::watches::{self, WatchRow};
use crate::store::{Db, StoreError};
use crate::supervision::{DynHandle, DynamicSpec, Life, Roster as Children, RosterCounts, RosterEvent};
use crate::telemetry::ErrorChain;
use actix::prelude::*;
use asked::Asked;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use shards::{MOVES_AT_ONCE, Moves, REREAD_BACK, REREAD_EVERY, Shards};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// What the roster works with. Outlives every life of the actor.
pub struct RosterEnv {
    /// The tables.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// What the watchers of each source share. A source that is not here is not watched.
    pub watchers: HashMap<SourcePlatform, Arc<WatcherEnv>>,
    /// How crashes of watchers are counted.
    pub children: DynamicSpec,
    /// The arbiters that watchers live on.
    pub arbiters: Vec<String>,
    /// How holds are settled at their deadline.
    pub holds: HoldsEnv,
    /// Which parts of the watching are this node's.
    pub ownership: Ownership,
    /// What other nodes say of watches.
    pub notices: Notices,
}

/// One watcher: where it looks is part of the key, because a new life has nothing else to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    watch_id: WatchId,
    source: SourcePlatform,
}

/// What a patrol is told.
#[derive(Debug)]
pub enum Order {
    /// These are to be watched.
    Insert(Vec<Enrolled>),
    /// Everything was told.
    AllThere,
    /// This one is not watched any more.
    Remove(WatchId),
    /// These are to be another node's: they are forgotten, and the end of the checks that are open is told.
    HandOver(Vec<WatchId>, oneshot::Sender<()>),
    /// These are to be looked at now; those that are another patrol's are not its business.
    CheckNow(Vec<WatchId>),
    /// A sweep wants these looked at: behind whatever is due.
    LookSoon(Vec<WatchId>),
    /// What waits of these is overdue, and the next reading decides: they are looked at like any other appointment.
    Confirm(Vec<WatchId>),
}

/// A product for a patrol.
#[derive(Debug)]
pub struct Enrolled {
    /// The watch.
    pub watch_id: WatchId,
    /// The part of the watching that it belongs to.
    pub shard: Shard,
    /// What to ask for.
    pub item: SourceProductId,
    /// Who judges it.
    pub watcher: DynHandle<Watcher>,
    /// What the planner needs.
    pub planned: PlannedItem,
    /// What counts now, for the adapter.
    pub accepted: Option<Accepted>,
}

/// A patrol asks for everything of its source; what changes later is told on the same channel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Enrol {
    /// Its source.
    pub source: SourcePlatform,
    /// Where it listens.
    pub orders: mpsc::UnboundedSender<Order>,
}

/// Makes these watches what their rows say now.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Refresh {
    /// Which.
    pub watches: Vec<WatchId>,
}

/// Looks at these now, whatever the planner thinks.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CheckNow {
    /// Which.
    pub watches: Vec<WatchId>,
}

/// Looks at these soon, for a sweep: behind every appointment and every person's wish.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookSoon {
    /// Which.
    pub watches: Vec<WatchId>,
}

/// Something was decided about these: each begins from what its row says now, and is looked at now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reconsider {
    /// Which.
    pub watches: Vec<WatchId>,
}

/// How many watchers there are, in which state.
#[derive(Debug, Message)]
#[rtype(result = "RosterCounts")]
pub struct Count;

/// The actor. See the module.
pub struct Roster {
    crew: Arc<Crew>,
    events: Option<mpsc::UnboundedReceiver<RosterEvent<Key>>>,
}

/// What the loop and the handlers share.
struct Crew {
    env: Arc<RosterEnv>,
    life: Life,
    children: Children<Key, Watcher>,
    /// What a watcher's first life begins with; taken by it.
    seeds: Seeds,
    patrols: Mutex<HashMap<SourcePlatform, mpsc::UnboundedSender<Order>>>,
    /// The parts of the watching that are worked on, and their watches.
    shards: Mutex<Shards>,
}

type Seeds = Arc<Mutex<HashMap<WatchId, Box<Known>>>>;

/// Rows read at once: some milliseconds of the database's time.
const CHUNK: i64 = 5_000;
/// How often deadlines are looked at: a person's hour does not notice.
const HOLDS_EVERY: Duration = Duration::from_secs(5);
/// How soon a table that could not be read is read again.
const READ_AGAIN: Duration = Duration::from_millis(500);

// === impl Roster ===

impl Roster {
    /// A roster without watchers; patrols that enrol bring them.
    #[must_use]
    pub fn new(env: Arc<RosterEnv>, life: &Life) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        let seeds = Seeds::default();
        let (staged, shared) = (Arc::clone(&seeds), Arc::clone(&env));
        let make = move |key: &Key| watcher(key, &shared, &staged);
        let crew = Crew {
            children: Children::new(env.children, make, tell),
            env,
            life: life.clone(),
            seeds,
            patrols: Mutex::default(),
            shards: Mutex::default(),
        };
        crew.enter_all();
        Self {
            crew: Arc::new(crew),
            events: Some(events),
        }
    }
}

/// A watcher's next life.
///
/// # Panics
/// For a source that is not configured: its watches are never enrolled.
#[expect(
    clippy::panic,
    reason = "counts as a crash of the one watcher that should not be there"
)]
fn watcher(key: &Key, env: &RosterEnv, seeds: &Seeds) -> Watcher {
    let Some(shared) = env.watchers.get(&key.source) else {
        panic!("`{}` is not watched here", key.source);
    };
    let seed = seeds.lock().remove(&key.watch_id);
    Watcher::new(key.watch_id, Arc::clone(shared), seed)
}

impl Actor for Roster {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(events) = self.events.take() else {
            return;
        };
        let crew = Arc::clone(&self.crew);
        ctx.spawn(crew.run(events).into_actor(self).map(|(), _, ctx| ctx.stop()));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.crew.children.clear();
    }
}

impl Drop for Roster {
    /// Also after a panic: a next life begins with watchers of its own.
    fn drop(&mut self) {
        self.crew.children.clear();
    }
}

impl Handler<Enrol> for Roster {
    type Result = ();

    fn handle(&mut self, Enrol { source, orders }: Enrol, ctx: &mut Self::Context) {
        self.crew.patrols.lock().insert(source, orders.clone());
        let crew = Arc::clone(&self.crew);
        ctx.spawn(async move { crew.enrol(source, orders).await }.into_actor(self));
    }
}

impl Handler<Refresh> for Roster {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, Refresh { watches }: Refresh, _: &mut Self::Context) -> Self::Result {
        let crew = Arc::clone(&self.crew);
        Box::pin(async move { crew.refresh(&watches).await })
    }
}

impl Handler<CheckNow> for Roster {
    type Result = ();

    fn handle(&mut self, CheckNow { watches }: CheckNow, _: &mut Self::Context) {
        self.crew.check_now(&watches);
    }
}

impl Handler<LookSoon> for Roster {
    type Result = ();

    fn handle(&mut self, LookSoon { watches }: LookSoon, _: &mut Self::Context) {
        self.crew.look_soon(&watches);
    }
}

impl Handler<Reconsider> for Roster {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Reconsider { watches }: Reconsider, _: &mut Self::Context) -> Self::Result {
        let crew = Arc::clone(&self.crew);
        Box::pin(async move { crew.reconsider(&watches).await })
    }
}

impl Handler<Count> for Roster {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.crew.children.counts())
    }
}

// === impl Crew ===

impl Crew {
    async fn run(self: Arc<Self>, mut events: mpsc::UnboundedReceiver<RosterEvent<Key>>) {
        let stopping = self.life.stopping();
        let mut tick = tokio::time::interval(HOLDS_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut asked = Asked::default();
        let mut changes = self.env.ownership.changes();
        let mut news = self.env.notices.hear();
        let mut reread = tokio::time::interval(REREAD_EVERY);
        reread.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut moves: Moves = FuturesUnordered::new();
        changes.mark_changed();
        loop {
            self.life.beat();
            tokio::select! {
                () = stopping.cancelled() => return,
                // The keeper lives as long as the daemon, and so does whoever listens for the others.
                Ok(()) = changes.changed() => self.follow_ownership(&mut moves),
                Some(()) = moves.next(), if !moves.is_empty() => self.follow_ownership(&mut moves),
                said = news.recv() => moves.push(Arc::clone(&self).hear(said).boxed_local()),
                _ = reread.tick() => if self.env.ownership.has_company() && moves.len() < MOVES_AT_ONCE {
                    moves.push(Arc::clone(&self).reread(Some(REREAD_BACK)).boxed_local());
                },
                event = events.recv() => match event {
                    Some(event) => self.heard(event).await,
                    None => return,
                },
                _ = tick.tick() => self.settle_holds(&mut asked).await,
            }
        }
    }

    /// Tells a patrol everything of its source, chunk by chunk, however long the database takes to be there.
    async fn enrol(&self, source: SourcePlatform, orders: mpsc::UnboundedSender<Order>) {
        let shards = self.shards.lock().filter();
        let mut after = WatchId(0);
        while !orders.is_closed() {
            match self.chunk(source, after, shards.as_deref()).await {
                Ok((chunk, Some(last))) => {
                    after = last;
                    // A patrol that is gone enrols again with its next life.
                    let _ = orders.send(Order::Insert(chunk));
                }
                Ok((_, None)) => {
                    let _ = orders.send(Order::AllThere);
                    return;
                }
                Err(error) => {
                    tracing::debug!(%source, error = %ErrorChain(&error), "The watches cannot be read yet");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
    }

    /// The next watches, with their watchers, and the last id that was read.
    async fn chunk(
        &self,
        source: SourcePlatform,
        after: WatchId,
        shards: Option<&[Shard]>,
    ) -> Result<(Vec<Enrolled>, Option<WatchId>), StoreError> {
        let rows = {
            let mut conn = self.env.db.conn().await?;
            watches::enabled_after(&mut conn, source, after, shards, CHUNK).await?
        };
        let last = rows.iter().map(|row| match row {
            Ok(row) => row.watch_id,
            Err(bad) => bad.watch_id,
        });
        let last = last.max();
        let mut chunk = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                Ok(row) if is_quarantined(&row) => {}
                Ok(row) => chunk.extend(self.enrolled(row)),
                Err(bad) => {
                    tracing::error!(watch.id = %bad.watch_id, "{bad}");
                    trouble::bad_watch(&self.env.db, &bad).await;
                }
            }
        }
        Ok((chunk, last))
    }

    /// A row as a patrol needs it, its watcher running; nothing, when it is another node's.
    fn enrolled(&self, row: WatchRow) -> Option<Enrolled> {
        let shard = Shard::of(row.product_id);
        if !self.shards.lock().add(shard, row.watch_id) {
            return None;
        }
        let watcher = self.watcher(&row)?;
        let accepted = row.state.zip(row.title_hash).map(|(state, title_hash)| Accepted {
            rule: row.cost_rule,
            state,
            title_hash,
            seller: row.seller_id.as_deref().map(SellerMark::of),
        });
        Some(Enrolled {
            watch_id: row.watch_id,
            shard,
            item: row.source_product_id,
            watcher,
            planned: PlannedItem {
                weight_jpy_per_hour: row.value_at_risk_jpy_per_hour,
                rate: Rate {
                    shape: row.rate_shape,
                    hours: row.rate_hours,
                },
                last_ok: row.last_verified_at,
                ends_at: row.ends_at.filter(|_| row.gone_since.is_none()),
            },
            accepted,
        })
    }

    /// The watcher of a row, made when it is not there.
    fn watcher(&self, row: &WatchRow) -> Option<DynHandle<Watcher>> {
        self.env.watchers.get(&row.source)?;
        let key = Key {
            watch_id: row.watch_id,
            source: row.source,
        };
        if let Some(running) = self.children.get(&key) {
            return Some(running);
        }
        let arbiter = self.arbiter(row.watch_id)?;
        self.seeds.lock().insert(row.watch_id, Box::new(Known::from(row)));
        Some(self.children.spawn(key, &arbiter))
    }

    fn arbiter(&self, watch: WatchId) -> Option<ArbiterHandle> {
        let among = i64::try_from(self.env.arbiters.len()).unwrap_or(1).max(1);
        let place = usize::try_from(watch.0.rem_euclid(among)).unwrap_or(0);
        let name = self.env.arbiters.get(place).map_or("watchers", String::as_str);
        match self.life.arbiter(name) {
            Ok(arbiter) => Some(arbiter),
            Err(error) => {
                tracing::error!(%error, watch.id = %watch, "No thread for watcher `{watch}`: it is not watched");
                None
            }
        }
    }

    async fn refresh(&self, ids: &[WatchId]) -> Result<(), StoreError> {
        let rows = {
            let mut conn = self.env.db.conn().await?;
            watches::rows_of(&mut conn, ids).await?
        };
        let mut rows: HashMap<WatchId, WatchRow> = rows
            .into_iter()
            .flatten()
            .map(|row| (row.watch_id, row))
            .collect();
        for id in ids.iter().copied() {
            let watched = |row: &WatchRow| {
                row.enabled && !is_quarantined(row) && self.shards.lock().has(Shard::of(row.product_id))
            };
            match rows.remove(&id).filter(watched) {
                Some(row) => self.take_up(row),
                None => self.let_go(id),
            }
        }
        Ok(())
    }

    fn take_up(&self, row: WatchRow) {
        let (source, watch_id) = (row.source, row.watch_id);
        let key = Key { watch_id, source };
        // Two steps, because one that lost its thread in quarantine is only then ready to be spawned elsewhere.
        if self.children.get(&key).is_some()
            && !self.children.release_quarantine(&key)
            && let Some(arbiter) = self.arbiter(watch_id)
        {
            self.children.spawn(key, &arbiter);
        }
        let seed = Seed(Box::new(row.clone()));
        if let Some(enrolled) = self.enrolled(row) {
            // What it knows may be older than the row; one whose record is under way leaves this alone.
            if let Err(error) = enrolled.watcher.tell(seed) {
                tracing::debug!(watch.id = %watch_id, %error, "A watcher could not be seeded; it compares versions");
            }
            self.tell(source, Order::Insert(vec![enrolled]));
        }
    }

    fn let_go(&self, watch_id: WatchId) {
        for source in self.env.watchers.keys().copied() {
            if self.children.remove(&Key { watch_id, source }) {
                self.tell(source, Order::Remove(watch_id));
            }
        }
        self.seeds.lock().remove(&watch_id);
        self.shards.lock().remove(watch_id);
    }

    async fn reconsider(&self, ids: &[WatchId]) {
        if let Err(error) = self.refresh(ids).await {
            // The ledger refuses what a watcher still thinks of a hold that is decided; it only takes one look more.
            tracing::debug!(error = %ErrorChain(&error), "Watchers could not be told of a decision; they compare");
        }
        self.check_now(ids);
    }

    fn check_now(&self, ids: &[WatchId]) {
        self.tell_all(|| Order::CheckNow(ids.to_vec()));
    }

    fn look_soon(&self, ids: &[WatchId]) {
        self.tell_all(|| Order::LookSoon(ids.to_vec()));
    }

    fn tell_all(&self, order: impl Fn() -> Order) {
        for patrol in self.patrols.lock().values() {
            let _ = patrol.send(order());
        }
    }

    fn tell(&self, source: SourcePlatform, order: Order) {
        if let Some(patrol) = self.patrols.lock().get(&source) {
            // One that is gone enrols again, and reads the tables then.
            let _ = patrol.send(order);
        }
    }

    async fn heard(&self, event: RosterEvent<Key>) {
        match event {
            RosterEvent::Crashed { key, exit, after } => {
                tracing::error!(watch.id = %key.watch_id, ?exit, ?after, "Watcher `{}` crashed and begins anew", key.watch_id);
            }
            RosterEvent::Quarantined { key, exit, crashes } => {
                tracing::error!(watch.id = %key.watch_id, ?exit, crashes, "Watcher `{}` is in quarantine", key.watch_id);
                if let Some(counters) = self.counters(key.source) {
                    add(&counters.quarantined, 1);
                }
                self.tell(key.source, Order::Remove(key.watch_id));
                trouble::quarantined(&self.env.db, key.watch_id, key.source, &exit, crashes).await;
                // A person may end it through another node, whose word may be lost: then its row and this differ.
                self.shards.lock().remove(key.watch_id);
            }
            RosterEvent::Lost { key } => {
                if let Some(arbiter) = self.arbiter(key.watch_id) {
                    self.children.spawn(key, &arbiter);
                }
            }
            RosterEvent::Left { key } => {
                self.tell(key.source, Order::Remove(key.watch_id));
                self.shards.lock().remove(key.watch_id);
            }
        }
    }

    fn counters(&self, source: SourcePlatform) -> Option<&Arc<Counters>> {
        self.env.watchers.get(&source).map(|w| &w.counters)
    }

    /// Settles the holds whose deadline has passed; those that need a confirmation are looked at.
    async fn settle_holds(&self, asked: &mut Asked) {
        if !self.env.ownership.is_trusted() {
            return;
        }
        let shards = self.shards.lock().all();
        let overdue = match holds::settle_overdue(&self.env.holds, &shards).await {
            Ok(overdue) => overdue,
            Err(error) => {
                tracing::debug!(error = %ErrorChain(&error), "Holds that are overdue cannot be settled yet");
                return;
            }
        };
        let now = Instant::now();
        asked.forget_old(now);
        if !overdue.decided.is_empty() {
            self.reconsider(&overdue.decided).await;
        }
        for (hold, why) in overdue.failed {
            if !asked.is_due(hold, now) {
                continue;
            }
            tracing::error!(hold.id = %hold, "Hold `{hold}` cannot be settled at its deadline: {why}");
            trouble::unsettled_hold(&self.env.db, hold, &why).await;
        }
        let look: Vec<WatchId> = overdue
            .recheck
            .into_iter()
            .filter(|(hold, _)| asked.is_due(*hold, now))
            .map(|(_, watch)| watch)
            .collect();
        if !look.is_empty() {
            self.tell_all(|| Order::Confirm(look.clone()));
        }
    }
}

fn is_quarantined(row: &WatchRow) -> bool {
    row.held_reason.as_deref() == Some("quarantined")
}
