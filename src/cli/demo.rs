//! `zaikoban demo`: simulator, private database and daemon together, and what happens on the terminal.
//!
//! The daemon is a child process with production's own code and a settings file; only its endpoints point at the
//! simulator, which lives in this process. At the end faults and changes stop, the daemon gets at most 30 seconds to
//! settle (first it reads every listing back when every fault was on), and every listing is compared with what the last page served for its product calls for.

mod live;
mod messages;
mod summary;

use super::args::DemoArgs;
use super::output::{self, Exit};
use crate::app::rehearsal::compare::{Comparison, compare};
use crate::app::rehearsal::{self, Markets, Others, Registered, Rehearsal, RehearsalSettings, registered};
use crate::config::Settings;
use crate::control::client::Client;
use crate::pricing::PriceBook;
use crate::simulator::{
    AuctionSettings, FaultPlan, MercariSettings, Order, Running, Simulator, SimulatorSettings,
};
use anyhow::Context;
use live::Live;
use messages::Messages;
use serde_json::{Value, json};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;
use summary::Summary;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval, sleep};

/// How long the daemon may take from its start to its first check, with the making of a database included.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long listings may take to follow once nothing changes any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// How long the reading back of all listings may take.
const READ_BACK_LIMIT: Duration = Duration::from_secs(300);
/// Items of Amazon at most: twenty are asked for at once, every two seconds, and all have to come around while listings
/// settle.
const MOST_AT_AMAZON: u32 = 150;
/// How often the terminal is brought up to date.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(arguments: &DemoArgs, as_json: bool) -> Exit {
    let settings = match super::config::load(&arguments.settings) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::talk(&format!("error: no runtime: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(demo(arguments, &settings)) {
        Ok(summary) => {
            summary.show(as_json);
            if summary.holds_up() {
                Exit::Done
            } else {
                Exit::Failed
            }
        }
        Err(error) => {
            output::talk(&format!("error: {error:#}"));
            Exit::Failed
        }
    }
}

async fn demo(arguments: &DemoArgs, settings: &Settings) -> anyhow::Result<Summary> {
    // Before there is anything that would have to be stopped.
    let mut signals = Signals::listen()?;
    let (state_dir, own) = match &arguments.state_dir {
        Some(named) => (std::path::absolute(named)?, None),
        None => {
            let own = own_folder()?;
            (own.clone(), Some(own))
        }
    };
    let simulator =
        Simulator::start(simulated(arguments, settings)).context("the simulator did not start")?;
    let messages = Messages::start(plan(arguments, settings).is_some(), arguments.duration)
        .context("the sinks did not start")?;
    let mut daemon = Rehearsal::new(RehearsalSettings {
        program: rehearsal::program()?,
        state_dir: state_dir.clone(),
        base: Some(std::path::absolute(&arguments.settings)?),
        yahoo: simulator.urls.yahoo.clone(),
        ebay: simulator.urls.ebay.clone(),
        keys: rehearsal::keys(&simulator),
        others: Some(Others::of(&simulator)),
        ca_file: None,
        database_url: None,
        environment: messages.settings(),
    })?;
    let outcome = watch(
        arguments,
        settings,
        &simulator,
        &messages,
        &mut daemon,
        &mut signals,
    )
    .await;
    let ended = daemon.stop(Duration::from_secs(40)).await;
    simulator.stop();
    let mut summary = outcome.with_context(|| format!("the log is `{}`", daemon.log().display()))?;
    summary.daemon_ended = ended?;
    if let (true, Some(own)) = (summary.holds_up(), own) {
        // Only tidiness: the next demo has a folder of its own.
        drop(std::fs::remove_dir_all(own));
    }
    Ok(summary)
}

/// A new folder for one demo, which the database's user can pass and nobody else can have prepared.
fn own_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::temp_dir().join(format!("zaikoban-demo-{:016x}", rand::random::<u64>()));
    std::fs::DirBuilder::new()
        .mode(0o711)
        .create(&own)
        .with_context(|| format!("cannot make `{}`", own.display()))?;
    Ok(own)
}

/// The simulator's part of the script, drawn from the seed.
fn simulated(arguments: &DemoArgs, settings: &Settings) -> SimulatorSettings {
    let count = u32::try_from(settings.demo.products).unwrap_or(u32::MAX);
    SimulatorSettings {
        seed: arguments.seed,
        products: count,
        listings: count,
        mercari_listings: count,
        amazon_products: (count / 8).min(MOST_AT_AMAZON),
        amazon_listings: (count / 8).min(MOST_AT_AMAZON),
        mercari: MercariSettings {
            points_per_hour: 10_000_000,
            ..MercariSettings::default()
        },
        // Nothing moves before everything is registered: see `begin`.
        change_rate_per_s: 0.0,
        wild_share: 0.01,
        auctions: AuctionSettings {
            share: 0.2,
            ends_after_s: 15.0,
            ends_within_s: 300.0,
            extension_s: 5.0,
            ..AuctionSettings::default()
        },
        ..SimulatorSettings::default()
    }
}

/// What goes wrong; `None`: nothing.
fn plan(arguments: &DemoArgs, settings: &Settings) -> Option<FaultPlan> {
    if arguments.every_fault {
        return Some(FaultPlan::every());
    }
    settings.demo.faults.then(FaultPlan::bad_day)
}

async fn watch(
    arguments: &DemoArgs,
    settings: &Settings,
    simulator: &Running,
    messages: &Messages,
    daemon: &mut Rehearsal,
    signals: &mut Signals,
) -> anyhow::Result<Summary> {
    output::talk(&format!(
        "simulator: Yahoo! Auctions at {}, eBay at {}, Mercari Shops at {}, Amazon at {}; mail and Slack end in this process",
        simulator.urls.yahoo, simulator.urls.ebay, simulator.urls.mercari, simulator.urls.amazon
    ));
    let all = registered(&simulator.catalogue(), Markets::All);
    tokio::select! {
        begun = begin(&all, daemon) => begun?,
        () = signals.asked() => anyhow::bail!("stopped before anything was watched"),
    }
    let mut live = Live::begin(daemon.client()?);
    simulator.order(&Order {
        change_rate_per_s: Some(settings.demo.changes_per_s),
        amazon_change_rate_per_s: Some(settings.demo.changes_per_s / 8.0),
        sale_rate_per_s: Some(0.2),
        faults: plan(arguments, settings).map(serde_json::to_value).transpose()?,
        ..Order::default()
    })?;
    let ends_at = arguments.duration.and_then(|d| Instant::now().checked_add(d));
    let mut look = interval(LOOK);
    let mut outage = messages.outage();
    loop {
        tokio::select! {
            () = signals.asked() => break,
            _ = look.tick() => {
                live.look().await?;
                outage.play(messages);
            }
        }
        if ends_at.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        if let Some(status) = daemon.exited()? {
            anyhow::bail!("the daemon ended by itself with {status}:\n{}", daemon.log_tail());
        }
    }
    output::talk("faults and changes stop; listings follow what is left …");
    simulator.order(&Order {
        stop_faults: true,
        stop_changes: Some(true),
        sale_rate_per_s: Some(0.0),
        ..Order::default()
    })?;
    outage.end(messages);
    if arguments.every_fault {
        read_back(live.client()).await?;
    }
    let comparison = settle(&settings.pricing, simulator, &all, &mut live).await?;
    messages.settle(live.client()).await?;
    Summary::of(simulator, &live, messages, comparison).await
}

/// Waits until every listing is what it should be, or the limit has passed; the last comparison.
async fn settle(
    book: &PriceBook,
    simulator: &Running,
    all: &[Registered],
    live: &mut Live,
) -> anyhow::Result<Comparison> {
    let deadline = Instant::now().checked_add(SETTLE_LIMIT);
    loop {
        live.look().await?;
        let comparison = compare(book, simulator, all, live.client()).await?;
        if comparison.is_settled() || deadline.is_some_and(|d| Instant::now() > d) {
            return Ok(comparison);
        }
        sleep(LOOK).await;
    }
}

/// Has every listing read back, as the nightly run does: a marketplace that took a change and never made it is found out by
/// nothing else.
async fn read_back(client: &Client) -> anyhow::Result<()> {
    let begun = client.post("/v1/schedules/reconcile/run", &json!({})).await?;
    let id = begun
        .get("execution_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let deadline = Instant::now().checked_add(READ_BACK_LIMIT);
    loop {
        let run = client.get(&format!("/v1/executions/{id}")).await?;
        let status = run.get("status").and_then(Value::as_str).unwrap_or_default();
        if status != "running" {
            let read = run.get("processed").and_then(Value::as_u64).unwrap_or(0);
            output::talk(&format!("read back {read} listings: {status}"));
            return Ok(());
        }
        if deadline.is_some_and(|d| Instant::now() > d) {
            anyhow::bail!(
                "reading all listings back took longer than {} s",
                READ_BACK_LIMIT.as_secs()
            );
        }
        sleep(LOOK).await;
    }
}

/// Starts the daemon and gives it everything to watch.
async fn begin(all: &[Registered], daemon: &mut Rehearsal) -> anyhow::Result<()> {
    daemon.start()?;
    let began = Instant::now();
    daemon
        .ready(READY_LIMIT, |waits_for| {
            output::talk(&format!("daemon: {waits_for}"))
        })
        .await?;
    output::talk(&format!(
        "daemon: running after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    live::register(&daemon.client()?, all).await
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
