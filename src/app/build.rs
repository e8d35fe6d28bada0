//! What the tree is made of: guards and gateways, the ledger, the syncers, the roster and its patrols.
//!
//! The order of the groups is the order of the start; the stop goes the other way: first nothing new is looked at, then
//! what is known is pushed, then committed work has nobody left to tell.

use super::DoorSlot;
use super::account::EbayAccount;
use super::database::Database;
use super::doctor;
use super::expiry;
use super::live::{self, Live};
use super::ports::credentials::{SealedGrants, SealedTokens};
use super::ports::{self, Gates};
use super::schedules;
use super::telling::Telling;
use crate::api;
use crate::clock::Clock;
use crate::config::{PaceSettings, Settings};
use crate::control::door::{Door, DoorSettings};
use crate::domain::{CommittedSender, DestinationPlatform, Platform, SourcePlatform};
use crate::http;
use crate::nodes::{self, Ownership, RULES};
use crate::ops::doctor::Probes;
use crate::ops::doctor::channels::ChannelsProbe;
use crate::ops::doctor::credentials::CredentialsProbe;
use crate::ops::doctor::judge;
use crate::ops::doctor::nodes::NodesProbe;
use crate::ops::doctor::redis::RedisProbe;
use crate::ops::doctor::service::ServiceProbe;
use crate::ops::{Account, CredentialParts, Ops, Parts, Queues, Selling, Switching};
use crate::platform::ebay::{self, Ebay, EbaySettings};
use crate::platform::gateway::{DestinationGateway, SourceGateway};
use crate::platform::yahoo::{YahooSettings, YahooSource};
use crate::platform::{Destination, Source};
use crate::queue::fast::FastLanes;
use crate::queue::{self, Notices, OrdersBoard, QueueParts, Tallies};
use crate::resilience::Guard;
use crate::store::jobs::WorkerId;
use crate::store::looping::{child, pause};
use crate::store::redis::{self as link, Link};
use crate::store::{Db, embedded, partitions, sole, status};
use crate::supervision::{
    ChildSpec, DynamicSpec, GiveUp, GroupSpec, Intensity, Placement, Shutdown, Strategy,
};
use crate::sync::outlet::GatewayOutlet;
use crate::sync::reprice::{Scope, reprice};
use crate::sync::{Outlet, SyncParts, Syncer};
use crate::vault::{Secrets, Vault};
use crate::watch::holds::HoldsEnv;
use crate::watch::{Counters, Ledger, LedgerEnv, Patrol, PatrolEnv, Roster, RosterEnv, WatcherEnv};
use anyhow::Context;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use url::Url;

/// Committed changes a syncer may lag behind before it looks at the tables instead.
const COMMITTED_KEPT: usize = 4_096;
/// How often partitions are looked after.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3_600);
/// The thread on which a check goes from patrol to gateway, watcher and ledger and back. They only decide, some ten
/// microseconds each; waking another thread at every step would cost more than the step.
const WATCH_ARBITER: &str = "watch";
/// How long working out all listings anew may take: a hundred thousand are done within a minute.
const REWORK_LIMIT: Duration = Duration::from_secs(1_800);
/// How soon that is tried again when the database is away.
const REWORK_AGAIN: Duration = Duration::from_secs(5);
/// How long runs that are broken off have to say so.
const SCHEDULE_STOPS_WITHIN: Duration = Duration::from_secs(6);
/// How often the door's thread is looked after.
const DOOR_EVERY: Duration = Duration::from_secs(1);

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
    let queues = Queues {
        orders: OrdersBoard::new(settings.queue.clone()),
        tallies: Tallies::default(),
    };
    let seen = Arc::new(Counters::default());
    let counters = Arc::new(HashMap::from([(SourcePlatform::Yahoo, Arc::clone(&seen))]));
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
    let watchers = WatcherEnv {
        rules: Arc::clone(&common.live.rules),
        ledger: ledger_handle,
        counters: counters
            .get(&SourcePlatform::Yahoo)
            .map(Arc::clone)
            .unwrap_or_default(),
    };
    let (roster, roster_handle) = {
        let env = Arc::new(RosterEnv {
            db: db.clone(),
            clock: clock.clone(),
            watchers: HashMap::from([(SourcePlatform::Yahoo, Arc::new(watchers))]),
            children: DynamicSpec::default(),
            arbiters: vec![WATCH_ARBITER.to_owned()],
            holds: holds.clone(),
            ownership: common.ownership.clone(),
            notices: said.clone(),
        });
        ChildSpec::actor("roster", move |life| Roster::new(Arc::clone(&env), life))
    };
    let mut platforms = Vec::new();
    let mut patrols = Vec::new();
    let mut enrolled = Vec::new();
    let mut syncers = Vec::new();
    let mut destinations = HashMap::new();
    let mut accounts: HashMap<Platform, Arc<dyn Account>> = HashMap::new();
    let vault = Vault::new(settings.credentials.key_file.clone());
    if settings.yahoo.enabled {
        let (ready, all_there) = watch::channel(false);
        let signals = (commits, ready);
        let (gateway, patrol) =
            yahoo(settings, &common, database, &counters, &roster_handle, signals).await?;
        platforms.push(gateway);
        patrols.push(patrol);
        enrolled.push(all_there);
    }
    if settings.ebay.enabled {
        let made = ebay(settings, &common, database, &vault).await?;
        platforms.push(made.gateway);
        syncers.push(made.syncer);
        destinations.insert(DestinationPlatform::Ebay, made.selling);
        if let Some(needs) = made.account.needs() {
            tracing::warn!(platform = "ebay", "Nothing is sent to `ebay` yet: {needs}");
        }
        accounts.insert(Platform::Ebay, made.account);
    }
    ports::switches(
        &database.states,
        &common.live.guards,
        destinations.keys().copied(),
    );
    if !syncers.is_empty() {
        syncers.insert(0, rework(db, &common));
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
    watching.extend(patrols);
    common.probes.lock().push(Arc::new(CredentialsProbe {
        db: db.clone(),
        clock: clock.clone(),
    }));
    common.probes.lock().push(Arc::new(ChannelsProbe {
        desk: telling.desk.clone(),
    }));
    common.probes.lock().push(Arc::new(NodesProbe { db: db.clone() }));
    let probes = std::mem::take(&mut *common.probes.lock());
    let scheduler = schedules::scheduler(
        settings,
        &common.live,
        db,
        (&common.worker, &common.ownership),
        &probes,
    );
    let groups = vec![
        group(
            "control",
            Strategy::OneForOne,
            (5, 60),
            GiveUp::Escalate,
            vec![control(doors)],
        ),
        group(
            "store",
            Strategy::OneForOne,
            (5, 60),
            GiveUp::Escalate,
            store(database, fast.as_ref(), &clock, &common, &said, &destinations),
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
                    settings,
                    &common.live,
                    db,
                    &clock,
                    (&roster_handle, &common.ownership),
                    &seen,
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
    let children = groups
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
    Ok((root, parts, enrolled))
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
    let named = [
        (Platform::YahooAuction, &settings.yahoo.endpoint),
        (Platform::Ebay, &settings.ebay.endpoint),
    ];
    named
        .into_iter()
        .filter(|(_, url)| is_local(url))
        .map(|(p, _)| p.to_string())
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

async fn yahoo(
    settings: &Settings,
    common: &Common,
    database: &Database,
    counters: &Arc<HashMap<SourcePlatform, Arc<Counters>>>,
    roster: &crate::supervision::Handle<Roster>,
    (can_commit, ready): (watch::Receiver<bool>, watch::Sender<bool>),
) -> anyhow::Result<(ChildSpec, ChildSpec)> {
    let own = &settings.yahoo;
    if own.contact.is_empty() && !is_local(&own.endpoint) {
        tracing::warn!(
            "`platforms.yahoo_auction.contact` is empty: Yahoo! cannot reach you before it turns you away; name a mailbox or an address"
        );
    }
    let adapter: Arc<dyn Source> = Arc::new(
        YahooSource::new(
            &YahooSettings {
                endpoint: own.endpoint.clone(),
                contact: own.contact.clone(),
                ca_file: own.ca_file.clone(),
                gzip: own.endpoint.scheme() == "https",
                time_limit: own.pace.time_limit,
            },
            common.clock.clone(),
        )
        .context("platforms.yahoo_auction")?,
    );
    let guard = guard(Platform::YahooAuction, own.pace, common).await?;
    let reached = Arc::clone(&adapter);
    common.probes.lock().push(Arc::new(ServiceProbe {
        name: Platform::YahooAuction.to_string(),
        guard: guard.clone(),
        ask: Arc::new(move || {
            let adapter = Arc::clone(&reached);
            async move { adapter.reach().await }.boxed()
        }),
        account: judge::Account::NotNeeded,
        simulated: is_local(&own.endpoint),
        clock: common.clock.clone(),
    }));
    let gateway = SourceGateway::new(Arc::clone(&adapter), guard.clone());
    let (gateway, gateway_handle) = ChildSpec::actor("yahoo_auction", move |_| gateway.clone());
    let env = Arc::new(PatrolEnv {
        source: SourcePlatform::Yahoo,
        adapter,
        gateway: gateway_handle,
        guard,
        ownership: common.ownership.clone(),
        roster: roster.clone(),
        db: database.db.clone(),
        clock: common.clock.clone(),
        counters: counters
            .get(&SourcePlatform::Yahoo)
            .map(Arc::clone)
            .unwrap_or_default(),
        can_commit,
        ready,
        settings: Arc::clone(&common.live.patrol),
    });
    let (patrol, _) = ChildSpec::actor("yahoo", move |life| Patrol::new(Arc::clone(&env), life));
    let patrol = patrol
        .placement(Placement::Named(WATCH_ARBITER))
        .shutdown(Shutdown::After(settings.daemon.drain));
    Ok((
        gateway
            .capacity(own.pace.open_requests.saturating_mul(8).max(256))
            .placement(Placement::Named(WATCH_ARBITER)),
        patrol,
    ))
}

/// What eBay consists of.
struct Sold {
    gateway: ChildSpec,
    syncer: ChildSpec,
    selling: Selling,
    account: Arc<dyn Account>,
}

/// What the settings give of eBay's secrets.
fn typed(own: &crate::config::EbaySettings) -> Secrets {
    let id = own.client_id.clone().map(Into::into);
    let given = [id, own.client_secret.clone(), own.refresh_token.clone()];
    let mut typed = Secrets::default();
    for (name, value) in ebay::SECRETS.iter().zip(given) {
        if let Some(value) = value {
            typed.set(*name, value);
        }
    }
    typed
}

async fn ebay(
    settings: &Settings,
    common: &Common,
    database: &Database,
    vault: &Vault,
) -> anyhow::Result<Sold> {
    let own = &settings.ebay;
    let client = http::Client::new(&http::ClientSettings {
        origins: vec![http::Origin::parse(own.endpoint.as_str())?],
        user_agent: format!("zaikoban/{}", env!("CARGO_PKG_VERSION")),
        ca_file: own.ca_file.clone(),
        gzip: true,
        limits: http::Limits {
            total: own.pace.time_limit,
            ..http::Limits::default()
        },
    })
    .context("platforms.ebay")?;
    let account = EbaySettings {
        endpoint: own.endpoint.clone(),
        content_language: own.content_language.clone(),
    };
    let kept = database
        .kept
        .iter()
        .find(|row| row.platform == Platform::Ebay.as_str());
    let grants = Arc::new(SealedGrants::new(
        database.db.clone(),
        vault.clone(),
        Platform::Ebay,
        ebay::SECRETS,
        typed(own),
        kept.map(|row| row.fields.as_slice()).unwrap_or_default(),
    ));
    let plain = settings.daemon.state_dir.join("tokens/ebay.tokens.json");
    if plain.exists() {
        // Written by versions that did not seal. The grant's own refresh token serves in its place.
        tracing::warn!(
            "`{}` holds tokens in plain text and is no longer read: remove it",
            plain.display()
        );
    }
    let tokens = Arc::new(SealedTokens::new(database.db.clone(), vault.clone()));
    let adapter = Ebay::new(
        account,
        grants.clone(),
        client.clone(),
        tokens,
        common.clock.clone(),
    )
    .context("platforms.ebay.endpoint")?;
    let oauth = adapter.oauth().clone();
    let looked_at = Arc::clone(&grants);
    let account = EbayAccount {
        oauth: oauth.clone(),
        grants,
        http: client,
        consent_page: ebay::consent_page(&own.endpoint).context("platforms.ebay.endpoint")?,
        ru_name: own.ru_name.clone(),
        clock: common.clock.clone(),
    };
    let adapter: Arc<dyn Destination> = Arc::new(adapter);
    let guard = guard(Platform::Ebay, own.pace, common).await?;
    let reached = Arc::clone(&adapter);
    common.probes.lock().push(Arc::new(ServiceProbe {
        name: Platform::Ebay.to_string(),
        guard: guard.clone(),
        ask: Arc::new(move || {
            let adapter = Arc::clone(&reached);
            async move { adapter.reach().await }.boxed()
        }),
        // What is lacking is what the question is answered with.
        account: judge::Account::Given,
        simulated: is_local(&own.endpoint),
        clock: common.clock.clone(),
    }));
    let gateway = DestinationGateway::new(Arc::clone(&adapter), guard.clone());
    let (gateway, gateway_handle) = ChildSpec::actor("ebay", move |_| gateway.clone());
    let outlet: Arc<dyn Outlet> = Arc::new(GatewayOutlet::new(gateway_handle, guard, adapter));
    let parts = SyncParts {
        db: database.db.clone(),
        outlet: Arc::clone(&outlet),
        destination: DestinationPlatform::Ebay,
        settings: Arc::clone(&common.live.sync),
        clock: common.clock.clone(),
        book: Arc::clone(&common.live.book),
        worker: common.worker.clone(),
        committed: common.committed.clone(),
        ownership: common.ownership.clone(),
        notices: common.notices.clone(),
    };
    let (syncer, handle) = ChildSpec::actor("ebay", move |life| Syncer::new(parts.clone(), life));
    let syncer = syncer.shutdown(Shutdown::After(settings.daemon.drain));
    Ok(Sold {
        gateway: gateway.capacity(1_024),
        syncer,
        selling: Selling {
            syncer: handle,
            outlet,
            sign_in_again: Arc::new(move || {
                let (oauth, grants) = (oauth.clone(), Arc::clone(&looked_at));
                async move {
                    // Whether that works is told with the next request for a token, if the database is away now.
                    drop(grants.look().await);
                    oauth.retry_now().await;
                }
                .boxed()
            }),
        },
        account: Arc::new(account),
    })
}

/// Keeps the door open: a thread that ended is this child's crash, a path that does not lead to it is mended in place.
fn control(doors: Doors) -> ChildSpec {
    let Doors {
        settings,
        state,
        slot,
    } = doors;
    child("socket", move |life| {
        let (settings, state, slot) = (settings.clone(), state.clone(), Arc::clone(&slot));
        async move {
            // The door stays open when the child is asked to stop: it is closed last.
            loop {
                let well = |door: &Door| door.is_open() && door.is_reachable();
                if !slot.lock().as_ref().is_some_and(well) {
                    match Door::open(&settings, state.clone()) {
                        Ok(opened) => {
                            let lost = slot.lock().replace(opened);
                            if let Some(lost) = lost.filter(Door::is_open) {
                                tracing::warn!("The control socket's file was gone: another one is open");
                                lost.close().await;
                            }
                        }
                        Err(error) => tracing::error!(error = %error, "The control door cannot be opened"),
                    }
                }
                if !pause(&life, DOOR_EVERY).await {
                    return;
                }
                let ended = |door: &Door| !door.is_open();
                if slot.lock().as_ref().is_some_and(ended) {
                    return;
                }
            }
        }
    })
}

/// Keeps the private server running, asks the database how it is, and makes next month's partitions.
fn store(
    database: &Database,
    fast: Option<&FastLanes>,
    clock: &Clock,
    common: &Common,
    said: &nodes::Notices,
    destinations: &HashMap<DestinationPlatform, Selling>,
) -> Vec<ChildSpec> {
    let mut children = Vec::new();
    if let Some(own) = &database.embedded {
        children.push(embedded::child("server", Arc::clone(own)));
    }
    children.push(sole::child("sole", database.sole.clone()));
    children.push(database.keeper.child());
    children.push(said.child(&database.db));
    let sign_in = destinations
        .iter()
        .map(|(at, selling)| (Platform::from(*at), Arc::clone(&selling.sign_in_again)));
    let follow = super::nodes::Follow {
        db: database.db.clone(),
        live: common.live.clone(),
        ownership: common.ownership.clone(),
        said: said.clone(),
        sign_in: sign_in.collect(),
        switching: common.switching.clone(),
        first: database.states.clone(),
    };
    children.push(follow.switches());
    children.push(follow.shares());
    children.push(status::child(
        "watch",
        database.db.clone(),
        database.board.clone(),
    ));
    if let Some(fast) = fast {
        children.push(link::child("redis", fast.link().clone()));
    }
    children.push(expiry::watch(database.db.clone(), clock.clone()));
    let (db, clock) = (database.db.clone(), clock.clone());
    children.push(child("partitions", move |life| {
        let (db, clock) = (db.clone(), clock.clone());
        async move {
            while pause(&life, HOUSEKEEPING_EVERY).await {
                if let Err(error) = partitions::ensure_partitions(&db, clock.now()).await {
                    tracing::warn!(error = %error, "Next month's partitions were not made; tried again in an hour");
                }
            }
        }
    }));
    children
}

/// Works out what every listing should be, at the start and whenever the rules change: they may have changed while the
/// daemon was down, too. Listings that stay as they are cost a look.
fn rework(db: &Db, common: &Common) -> ChildSpec {
    let (db, live, clock) = (db.clone(), common.live.clone(), common.clock.clone());
    let ownership = common.ownership.clone();
    child("rules", move |life| {
        let (db, live, clock) = (db.clone(), live.clone(), clock.clone());
        let ownership = ownership.clone();
        async move {
            loop {
                life.beat();
                let Some(part) = ownership.enter(RULES) else {
                    // Another node does it; when it is this one's turn, it is done once more.
                    if !pause(&life, REWORK_AGAIN).await {
                        return;
                    }
                    continue;
                };
                life.waiting_until(Instant::now() + REWORK_LIMIT);
                match reprice(&db, &live.book.load_full(), &clock, Scope::All).await {
                    Ok(done) => {
                        if done.moved > 0 {
                            tracing::info!(
                                products = done.products,
                                listings = done.moved,
                                "Rules or rates are not those of the last time: listings follow"
                            );
                        }
                        life.idle();
                        drop(part);
                        tokio::select! {
                            () = live.rework.notified() => {}
                            () = life.stopping().cancelled_owned() => return,
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "Listings are not worked out anew yet");
                        if !pause(&life, REWORK_AGAIN).await {
                            return;
                        }
                    }
                }
            }
        }
    })
}
