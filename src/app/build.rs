//! What the tree is made of: guards and gateways, the ledger, the syncers, the roster and its patrols.
//!
//! The order of the groups is the order of the start; the stop goes the other way: first nothing new is looked at, then
//! what is known is pushed, then committed work has nobody left to tell.

mod amazon;
mod destinations;
mod ebay;
mod groups;
pub(super) mod keeping;
mod mercari;
mod sources;
mod yahoo;

use super::DoorSlot;
use super::database::Database;
use super::doctor;
use super::exchange::Exchange;
use super::live::{self, Live};
use super::ports::{self, Gates};
use super::schedules;
use super::telling::Telling;
use crate::api;
use crate::clock::Clock;
use crate::config::{PaceSettings, Settings};
use crate::control::door::DoorSettings;
use crate::domain::{CommittedSender, Platform, SourcePlatform};
use crate::nodes::{self, Ownership};
use crate::ops::doctor::channels::ChannelsProbe;
use crate::ops::doctor::credentials::CredentialsProbe;
use crate::ops::doctor::nodes::NodesProbe;
use crate::ops::doctor::redis::RedisProbe;
use crate::ops::doctor::{Probe, Probes};
use crate::ops::{Account, CredentialParts, Ops, Parts, Queues, Switching};
use crate::queue::fast::FastLanes;
use crate::queue::{self, Notices, OrdersBoard, QueueParts, Tallies};
use crate::resilience::Guard;
use crate::store::jobs::WorkerId;
use crate::store::redis::Link;
use crate::supervision::{
    ChildSpec, DynamicSpec, GiveUp, GroupSpec, Intensity, Placement, Shutdown, Strategy,
};
use crate::vault::Vault;
use crate::watch::holds::HoldsEnv;
use crate::watch::{Counters, Ledger, LedgerEnv, Roster, RosterEnv, WatcherEnv};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use url::Url;

/// Committed changes a syncer may lag behind before it looks at the tables instead.
const COMMITTED_KEPT: usize = 4_096;
/// The thread on which a check goes from patrol to gateway, watcher and ledger and back. They only decide, some ten
/// microseconds each; waking another thread at every step would cost more than the step.
const WATCH_ARBITER: &str = "watch";
/// How long runs that are broken off have to say so.
const SCHEDULE_STOPS_WITHIN: Duration = Duration::from_secs(6);

/// The control door, opened before the tree and kept by it.
pub(super) struct Doors {
    pub(super) settings: DoorSettings,
    pub(super) state: api::State,
    pub(super) slot: DoorSlot,
}

/// What was there before the database.
pub(super) struct Around {
    pub(super) doors: Doors,
    pub(super) telling: Telling,
}

/// What every part shares.
struct Common {
    clock: Clock,
    committed: CommittedSender,
    live: Live,
    gates: Arc<Gates>,
    notices: Notices,
    worker: WorkerId,
    ownership: Ownership,
    switching: Switching,
    /// What `doctor` looks at; whoever builds a part adds its probe.
    probes: Mutex<Probes>,
}

// === impl Common ===

impl Common {
    fn probe(&self, probe: impl Probe + 'static) {
        self.probes.lock().push(Arc::new(probe));
    }
}

/// Says at the start what an account lacks.
fn warn_of_needs(platform: Platform, account: &dyn Account) {
    if let Some(needs) = account.needs() {
        tracing::warn!(platform = %platform, "Nothing is sent to `{platform}` yet: {needs}");
    }
}

/// The tree's specs, what the doors need, and what says for each source that every product of it is watched.
///
/// Nothing here asks the database: what is kept there was read when it was opened, where its going away is waited out.
///
/// # Errors
/// When an endpoint, a certificate or a rate cannot be used.
pub(super) async fn build(
    settings: &Settings,
    clock: Clock,
    database: &Database,
    around: Around,
    ops: &Ops,
    live: &Live,
) -> anyhow::Result<(GroupSpec, Parts, Vec<watch::Receiver<bool>>)> {
    let Around { doors, telling } = around;
    let db = &database.db;
    let (committed, _) = broadcast::channel(COMMITTED_KEPT);
    let common = Common {
        clock: clock.clone(),
        committed: committed.clone(),
        live: live.clone(),
        gates: Gates::new(db.clone(), &database.states),
        notices: Notices::default(),
        worker: WorkerId::of(database.keeper.name(), database.keeper.ownership().boot()),
        ownership: database.keeper.ownership().clone(),
        switching: ops.switching(),
        probes: Mutex::new(doctor::of_daemon(settings, database)),
    };
    let exchange = Exchange::new(settings, db, live, &clock, database.rates.as_ref())?;
    let queues = Queues {
        orders: OrdersBoard::new(settings.queue.clone()),
        tallies: Tallies::default(),
    };
    let counters: HashMap<SourcePlatform, Arc<Counters>> = settings
        .sources()
        .map(|(source, _)| (source, Arc::default()))
        .collect();
    let counters = Arc::new(counters);
    let holds = HoldsEnv {
        db: db.clone(),
        book: Arc::clone(&common.live.book),
        committed: committed.clone(),
        clock: clock.clone(),
    };
    let said = nodes::Notices::new(common.ownership.clone());
    let (can_commit, commits) = watch::channel(true);
    let (ledger, ledger_handle) = {
        let env = LedgerEnv {
            db: db.clone(),
            ownership: common.ownership.clone(),
            book: Arc::clone(&common.live.book),
            committed,
            clock: clock.clone(),
            rules: Arc::clone(&common.live.ledger),
            counters: Arc::clone(&counters),
            can_commit,
        };
        ChildSpec::actor("writer", move |life| Ledger::new(env.clone(), life))
    };
    let watchers = counters.iter().map(|(source, own)| {
        let watcher = WatcherEnv {
            rules: Arc::clone(&common.live.rules),
            ledger: ledger_handle.clone(),
            counters: Arc::clone(own),
        };
        (*source, Arc::new(watcher))
    });
    let (roster, roster_handle) = {
        let env = Arc::new(RosterEnv {
            db: db.clone(),
            clock: clock.clone(),
            watchers: watchers.collect(),
            children: DynamicSpec::default(),
            arbiters: vec![WATCH_ARBITER.to_owned()],
            holds: holds.clone(),
            ownership: common.ownership.clone(),
            notices: said.clone(),
        });
        ChildSpec::actor("roster", move |life| Roster::new(Arc::clone(&env), life))
    };
    let vault = Vault::new(settings.credentials.key_file.clone());
    let watched = sources::sources(&sources::Shared {
        settings,
        common: &common,
        database,
        vault: &vault,
        counters: &counters,
        roster: &roster_handle,
        can_commit: commits,
    })
    .await?;
    let sold = destinations::destinations(&destinations::Shared {
        settings,
        common: &common,
        database,
        vault: &vault,
    })
    .await?;
    let mut platforms = watched.gateways;
    platforms.extend(sold.gateways);
    let mut accounts = watched.accounts;
    accounts.extend(sold.accounts);
    let (mut syncers, destinations) = (sold.syncers, sold.selling);
    ports::switches(
        &database.states,
        &common.live.guards,
        destinations.keys().copied(),
    );
    if !syncers.is_empty() {
        syncers.insert(0, groups::rework(db, &common));
        syncers.extend(exchange.as_ref().map(Exchange::follow));
    }
    let fast = fast_lanes(settings, database, &clock);
    if let Some(fast) = &fast {
        let ownership = common.ownership.clone();
        common.live.turns_are_redis();
        platforms.extend(ports::peers::children(
            fast,
            &common.live.guards,
            Arc::new(move |service| super::nodes::share_of(&ownership, service)),
        ));
    }
    common.probes.lock().push(Arc::new(RedisProbe {
        link: fast.as_ref().map(|fast| fast.link().clone()),
        typed: settings.redis.is_some(),
    }));
    let mut watching = vec![roster];
    watching.extend(watched.patrols);
    common.probes.lock().push(Arc::new(CredentialsProbe {
        db: db.clone(),
        accounts: accounts.clone(),
        clock: clock.clone(),
    }));
    common.probes.lock().push(Arc::new(ChannelsProbe {
        desk: telling.desk.clone(),
    }));
    common.probes.lock().push(Arc::new(NodesProbe { db: db.clone() }));
    if let Some(exchange) = &exchange {
        common.probes.lock().push(Arc::new(exchange.probe()));
    }
    let probes = std::mem::take(&mut *common.probes.lock());
    let scheduler = schedules::scheduler(
        settings,
        &common.live,
        db,
        (&common.worker, &common.ownership),
        &probes,
        exchange.as_ref(),
    );
    let all = vec![
        group(
            "control",
            Strategy::OneForOne,
            (5, 60),
            GiveUp::Escalate,
            vec![groups::control(doors)],
        ),
        group(
            "store",
            Strategy::OneForOne,
            (5, 60),
            GiveUp::Escalate,
            groups::store(database, fast.as_ref(), &clock, &common, &said, &accounts),
        ),
        group(
            "platforms",
            Strategy::OneForOne,
            (20, 60),
            GiveUp::Park,
            platforms,
        ),
        group(
            "queue",
            Strategy::RestForOne,
            (5, 60),
            GiveUp::Escalate,
            queue::children(&QueueParts {
                db: db.clone(),
                notices: common.notices.clone(),
                ownership: common.ownership.clone(),
                worker: common.worker.clone(),
                policy: queue::Policy::default(),
                registry: schedules::registry(
                    &common.live,
                    db,
                    &clock,
                    (&roster_handle, &common.ownership),
                    &counters,
                    &destinations,
                ),
                orders: queues.orders.clone(),
                tallies: queues.tallies.clone(),
                grace: settings.daemon.drain,
                fast: fast.clone(),
            }),
        ),
        group(
            "ledger",
            Strategy::OneForOne,
            (5, 60),
            GiveUp::Escalate,
            vec![ledger.capacity(10_000).placement(Placement::Named(WATCH_ARBITER))],
        ),
        group(
            "alert",
            Strategy::OneForOne,
            (5, 60),
            GiveUp::Park,
            telling.children(
                (db, &database.board),
                (&common.live.guards, ops, fast.as_ref().map(FastLanes::link)),
                &common.committed,
                &common.ownership,
            ),
        ),
        group("sync", Strategy::OneForOne, (5, 60), GiveUp::Park, syncers),
        group("watch", Strategy::RestForOne, (5, 60), GiveUp::Park, watching),
        group(
            "schedule",
            Strategy::OneForOne,
            (5, 60),
            GiveUp::Park,
            vec![
                scheduler
                    .child("timetable")
                    .shutdown(Shutdown::After(SCHEDULE_STOPS_WITHIN)),
            ],
        ),
    ];
    let children = all
        .into_iter()
        .filter(|g| !g.children.is_empty())
        .map(ChildSpec::group)
        .collect();
    let root = GroupSpec {
        name: "root".to_owned(),
        strategy: Strategy::RestForOne,
        intensity: Intensity {
            restarts: 3,
            within: Duration::from_secs(600),
        },
        give_up: GiveUp::Escalate,
        children,
    };
    let parts = Parts {
        db: db.clone(),
        guards: common.live.guards,
        roster: roster_handle,
        counters,
        holds,
        keeper: database.keeper.clone(),
        destinations,
        credentials: CredentialParts {
            vault,
            accounts,
            clock,
            turn: tokio::sync::Mutex::default(),
        },
        book: common.live.book,
        database: database.board.clone(),
        redis: fast,
        queues,
        alerts: telling.desk,
        simulated: simulated(settings),
        scheduler,
        probes,
    };
    Ok((root, parts, watched.enrolled))
}

fn group(
    name: &str,
    strategy: Strategy,
    (restarts, seconds): (u32, u64),
    give_up: GiveUp,
    children: Vec<ChildSpec>,
) -> GroupSpec {
    let intensity = Intensity {
        restarts,
        within: Duration::from_secs(seconds),
    };
    GroupSpec {
        name: name.to_owned(),
        strategy,
        intensity,
        give_up,
        children,
    }
}

/// The link to Redis, when there is one to use.
fn fast_lanes(settings: &Settings, database: &Database, clock: &Clock) -> Option<FastLanes> {
    let own = settings.redis.clone()?;
    let Some(instance) = &database.instance else {
        tracing::warn!(
            "Redis is not used: the database's role may not read which database this is. To do: GRANT EXECUTE ON FUNCTION \
             pg_control_system() to it, and restart"
        );
        return None;
    };
    Some(FastLanes::new(Link::new(own, instance, clock.clone())))
}

/// Services whose endpoint is this machine: `status` says SIMULATOR.
fn simulated(settings: &Settings) -> Vec<String> {
    let local = |platform: &&Platform| is_local(settings.service(**platform).endpoint);
    Platform::ALL
        .iter()
        .filter(local)
        .map(ToString::to_string)
        .collect()
}

pub(super) fn is_local(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// A guard by its settings, its state taken up again.
async fn guard(platform: Platform, pace: PaceSettings, common: &Common) -> anyhow::Result<Guard> {
    let policy = live::policy(pace)?;
    let gates = Arc::clone(&common.gates);
    common.live.set_whole(platform, pace);
    let guard = Guard::new(platform.as_str(), policy, common.clock.clone(), Some(gates))?;
    guard.restore().await;
    common.live.guards.add(guard.clone());
    Ok(guard)
}
