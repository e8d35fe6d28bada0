//! Builds everything and takes it down again: database, guards, tree, door.
//!
//! [`run`] is the daemon's whole life as one readable sequence. The control door opens first and closes last, so that
//! `status` answers from the first moment to the end. A database that is away delays the start with a clear status; it
//! does not end it.

mod account;
mod build;
mod database;
pub mod doctor;
mod ending;
mod exchange;
mod expiry;
#[cfg(feature = "failpoints")]
pub mod failpoints;
mod live;
mod manager;
mod nodes;
mod ports;
mod probe;
pub mod rehearsal;
mod reload;
mod reports;
mod schedules;
mod telling;

use crate::clock::Clock;
use crate::config::Settings;
use crate::control::door::{Door, DoorError, DoorSettings};
use crate::nodes::Keeper;
use crate::ops::Ops;
use crate::store::StatusBoard;
use crate::store::jobs::{self, WorkerId};
use crate::supervision::{Exit, Tree, TreeOptions, Watchdog, spawn_owned};
use crate::{api, telemetry};
use anyhow::Context;
pub use database::Busy;
use ending::{Signals, exit_within};
use live::Live;
use manager::Manager;
use parking_lot::Mutex;
pub use ports::credentials::{SealedGrants, SealedTokens};
pub use ports::peers::{ShareOf, children as peers};
use reload::Reloader;
pub use reload::Source;
use std::sync::Arc;
use std::time::Duration;
use telling::Telling;
use tokio::runtime::Runtime;

/// How long tasks of the shared runtime may take to end, once everything that matters is done.
const RUNTIME_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// How long putting back what a stop has cut off may take.
const PUT_BACK_WITHIN: Duration = Duration::from_secs(3);

/// How long everything behind the tree may take to end: the private server has 30 s of it, and insisting 10 more.
const REST_ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The door, wherever it is kept at the moment.
type DoorSlot = Arc<Mutex<Option<Door>>>;

/// How the daemon's life came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// A part crashed more often than the tree allows.
    GaveUp(String),
    /// Another daemon has the socket or the database.
    Busy(String),
}

/// Runs the daemon until it is asked to end or gives up.
///
/// # Errors
/// When it cannot start: no runtime, no socket, no endpoint that can be used, a database newer than this program.
pub fn run(settings: Settings, source: Source) -> anyhow::Result<Ended> {
    telemetry::init(&telemetry::TelemetrySettings {
        format: if settings.log.json {
            telemetry::LogFormat::Json
        } else {
            telemetry::LogFormat::Text
        },
        filter: settings.log.filter.clone(),
        ansi: false,
        files: settings.log.dir.clone().map(|dir| telemetry::FileSettings {
            dir,
            rotate_bytes: settings.log.rotate_bytes,
            keep: settings.log.keep,
        }),
        sentry: reports::settings(&settings.sentry)?,
    })
    .context("the log cannot be set up; see `[log]`")?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        execution = telemetry::execution(),
        "zaikoban begins"
    );
    #[cfg(feature = "failpoints")]
    if let Some((_, plan)) = crate::config::environment()
        .into_iter()
        .find(|(n, _)| n == "ZAIKOBAN_FAILPOINTS")
    {
        failpoints::arm(&plan).context("ZAIKOBAN_FAILPOINTS cannot be read")?;
    }
    let runtime = Arc::new(
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.daemon.worker_threads)
            .thread_name("io")
            .enable_all()
            .build()?,
    );
    let system = actix::System::new();
    let ended = system.block_on(life(settings, source, Arc::clone(&runtime)));
    // Never dropped inside the system: a runtime may only end where blocking is allowed. Arbiters may hold it a moment
    // longer; then it ends with the process.
    if let Some(runtime) = Arc::into_inner(runtime) {
        runtime.shutdown_timeout(RUNTIME_ENDS_WITHIN);
    }
    // What is said after this, on a standard error that is stuck, must not keep the process either.
    exit_within(REST_ENDS_WITHIN);
    telemetry::flush(ending::FLUSHED_WITHIN);
    ended
}

/// The one provider of TLS, installed before the first client is made.
pub fn install_tls() {
    // Refused only when it is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Brings the database to this program's schema, or says what would be done.
///
/// # Errors
/// [`Busy`] when another daemon uses the database; when it cannot be reached or refuses.
pub fn migrate(settings: &Settings, dry_run: bool) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(database::migrate(settings, dry_run))
}

async fn life(settings: Settings, source: Source, runtime: Arc<Runtime>) -> anyhow::Result<Ended> {
    let clock = Clock::system();
    let ops = Ops::starting();
    let mut end = Signals::listen(Some(ops.clone()))?;
    let manager = Manager::connect();
    let _told = spawn_owned(
        "service manager",
        manager.clone().narrate(ops.clone(), settings.daemon.drain),
    );
    let _figures = spawn_owned("figures", manager::figures(ops.clone()));
    let door = DoorSettings {
        socket: settings.daemon.socket.clone(),
        group: settings.daemon.socket_group.clone(),
    };
    let state = api::State::new(ops.clone(), runtime.handle().clone());
    let opened = match Door::open(&door, state.clone()) {
        Ok(opened) => opened,
        Err(error @ DoorError::InUse { .. }) => return Ok(Ended::Busy(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let slot: DoorSlot = Arc::new(Mutex::new(Some(opened)));

    let server = database::Server::default();
    let doors = build::Doors {
        settings: door,
        state,
        slot: Arc::clone(&slot),
    };
    let start = Start {
        settings: &settings,
        runtime: &runtime,
        clock,
        ops: &ops,
        manager: &manager,
    };
    let ended = started(start, source, &server, doors, &mut end).await;
    let ended = ended.or_else(|error| Ok(Ended::Busy(error.downcast::<Busy>()?.to_string())));
    // Every way out passes here, whatever it left undone.
    ops.set_phase("stopping");
    exit_within(REST_ENDS_WITHIN);
    server.stop().await;
    let door = slot.lock().take();
    if let Some(door) = door {
        door.close().await;
    }
    ended
}

/// What the start has at hand.
struct Start<'a> {
    settings: &'a Settings,
    runtime: &'a Arc<Runtime>,
    clock: Clock,
    ops: &'a Ops,
    manager: &'a Manager,
}

/// From the first look at the database to the end of the tree.
async fn started(
    start: Start<'_>,
    source: Source,
    server: &database::Server,
    doors: build::Doors,
    end: &mut Signals,
) -> anyhow::Result<Ended> {
    let telling = Telling::new(start.settings, &start.clock)?;
    let board = StatusBoard::new(start.clock.clone());
    // From the first moment on: a database that does not even start is told, too.
    let _spool = {
        let _on = start.runtime.enter();
        let (spool, desk) = (telling.spool.clone(), telling.desk.clone());
        spawn_owned("alert spool", spool.keep_watch(board.clone(), desk))
    };
    let opened = {
        let _on = start.runtime.enter();
        tokio::select! {
            opened = database::open(start.settings, start.ops, server, board) => opened?,
            () = end.asked() => return Ok(Ended::Stopped),
        }
    };
    let around = build::Around { doors, telling };
    let ended = serve(start, source, &opened, around, end).await;
    opened.db.close();
    ended
}

/// From a database that is up to the end of the tree.
async fn serve(
    start: Start<'_>,
    source: Source,
    database: &database::Database,
    around: build::Around,
    end: &mut Signals,
) -> anyhow::Result<Ended> {
    let Start {
        settings,
        runtime,
        clock,
        ops,
        manager,
    } = start;
    let live = Live::new(settings);
    let told = around.telling.reloadable();
    let (spec, parts, enrolled) = {
        let _on = runtime.enter();
        build::build(settings, clock, database, around, ops, &live).await?
    };
    // What can change while the daemon runs; another room adds its own to the list.
    let parts_that_change = live.reloadable().into_iter().chain([told]).collect();
    let reloader = Reloader::new(source, parts_that_change, manager.clone());
    let feed = manager.clone();
    let mut watchdog = Watchdog::new(
        move || feed.alive(),
        |arbiter| {
            // A blocked thread cannot be ended; the process can, and its supervisor starts it anew.
            tracing::error!(arbiter, "Ending the process: arbiter `{arbiter}` is blocked");
            ending::end_blocked();
        },
    );
    watchdog.limit = settings.daemon.blocked;
    if let Some(patience) = Manager::patience() {
        watchdog.every = watchdog.every.min(patience / 3);
    }
    let options = TreeOptions {
        runtime: Some(Arc::clone(runtime)),
        watchdog: Some(watchdog),
    };
    let tree = Tree::start(spec, options)?;
    ops.set_phase("starting the watchers");
    let opened = tokio::select! {
        opened = tree.opened() => opened,
        () = end.asked() => Ok(()),
    };
    let mut reason = None;
    let mut busy = false;
    if let Err(exit) = opened {
        reason = Some(exit);
    } else {
        ops.ready(parts, tree, "reading which products are watched");
        ops.reloads_by(Arc::new(move || reloader.reload()));
        let running = async {
            for mut all_there in enrolled {
                // A patrol that is gone has ended with the tree, which is noticed beside this.
                if all_there.wait_for(|there| *there).await.is_err() {
                    return std::future::pending().await;
                }
            }
            ops.set_phase("running");
            tracing::info!("Running: products are watched");
            std::future::pending().await
        };
        if let Some(tree) = ops.running_tree() {
            tokio::select! {
                exit = tree.ended() => reason = Some(exit),
                () = end.asked() => {}
                () = database.sole.lost() => busy = true,
                () = running => {}
            }
        }
    }
    if reason.is_none() && !busy {
        hand_over(settings, ops, &database.keeper, end).await;
    }
    stop(settings, ops, reason.is_none(), end).await;
    put_back(database).await;
    database.keeper.leave().await;
    Ok(match reason {
        _ if busy => Ended::Busy("another daemon of the same name has taken the database".to_owned()),
        None | Some(Exit::Stopped) => Ended::Stopped,
        Some(exit) => Ended::GaveUp(exit.to_string()),
    })
}

/// Gives other nodes, where there are some, all that this one does, before it stops doing it. Asked a second time, it does
/// not wait for that.
async fn hand_over(settings: &Settings, ops: &Ops, keeper: &Keeper, end: &mut Signals) {
    if !keeper.ownership().has_company() {
        return;
    }
    ops.set_phase("handing over to other nodes");
    exit_within(settings.daemon.drain * 2 + REST_ENDS_WITHIN);
    tokio::select! {
        biased;
        all = keeper.drain(settings.daemon.drain) => {
            if !all {
                tracing::warn!("Not everything was handed over in time; the other nodes take it when this one has ended");
            }
        }
        () = end.asked_again() => tracing::warn!("Asked to end a second time: not handing over"),
    }
}

/// Puts back the jobs that are still held under this life's name. A stop that took all its time has cut their keepers off
/// before they could, and whoever finds them after [`Keeper::leave`] counts a death for each.
async fn put_back(database: &database::Database) {
    let keeper = &database.keeper;
    let worker = WorkerId::of(keeper.name(), keeper.ownership().boot());
    let released = async {
        let mut conn = database.db.conn().await?;
        jobs::release_all(&mut conn, &worker).await
    };
    match tokio::time::timeout(PUT_BACK_WITHIN, released).await {
        Ok(Ok(ids)) if ids.is_empty() => {}
        Ok(Ok(ids)) => tracing::warn!(
            "{} job(s) were in hand when their time was over: put back, no try is used",
            ids.len()
        ),
        Ok(Err(error)) => tracing::debug!("Jobs in hand could not be put back: {error}"),
        Err(_elapsed) => tracing::debug!("Jobs in hand could not be put back in time"),
    }
}

/// Drains the tree and names what was left. Asked a second time, it gives the tree no more time; it still waits until
/// its children are gone, because a pool that is closed under them would only make them slower.
async fn stop(settings: &Settings, ops: &Ops, orderly: bool, end: &mut Signals) {
    ops.set_phase("stopping");
    let Some(tree) = ops.running_tree().filter(|_| orderly) else {
        return;
    };
    tracing::info!("Asked to end: draining");
    exit_within(settings.daemon.drain + REST_ENDS_WITHIN);
    let report = tokio::select! {
        report = tree.stop(settings.daemon.drain) => report,
        () = end.asked_again() => {
            tracing::warn!("Asked to end a second time: not waiting any longer");
            tree.stop(Duration::ZERO).await
        }
    };
    // In one line: of many the log would keep back the last.
    let left: Vec<&str> = report.leftovers.iter().map(|left| &*left.path).collect();
    if !left.is_empty() {
        tracing::warn!(
            children = left.len(),
            "Not stopped within their limit: {}",
            left.join(", ")
        );
    }
    tracing::info!(took_ms = report.took_ms, "Drained");
}
