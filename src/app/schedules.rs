//! What the time-table does here: each name, and the room that does it.

use super::exchange::Exchange;
use super::live::Live;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::{DestinationPlatform, Platform, SourcePlatform};
use crate::nodes::Ownership;
use crate::ops::{Selling, check_health, doctor::Probes};
use crate::queue::{Policy, Registry};
use crate::schedule::{
    self, Action, BackupPlace, ReadBackPlan, ReadBackShop, ScheduleName, Scheduler, SchedulerParts, Sweep,
    SweepKind, action,
};
use crate::store::Db;
use crate::store::jobs::{Lane, QueueName, WorkerId};
use crate::supervision::Handle;
use crate::sync::PriceSync;
use crate::sync::register::Register;
use crate::watch::{CheckedSource, Counters, Roster, StockCheck};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Pages that were not read for twice the longest interval are told: once is a night's outage.
const UNVERIFIED_INTERVALS: u32 = 2;
/// How often a run that reads back has more listings read.
const READ_BACK_TICK: Duration = Duration::from_secs(5);
/// A price is worked out in milliseconds.
const PRICE_LIMIT: Duration = Duration::from_secs(120);

/// Who does the jobs of the sweeps, and first listings.
pub(super) fn registry(
    live: &Live,
    db: &Db,
    clock: &Clock,
    (roster, ownership): (&Handle<Roster>, &Ownership),
    counters: &HashMap<SourcePlatform, Arc<Counters>>,
    destinations: &HashMap<DestinationPlatform, Selling>,
) -> Registry {
    let mut registry = Registry::default();
    let lane = |queue| Lane {
        queue,
        destination: None,
    };
    if !counters.is_empty() {
        let checked = counters.iter().map(|(source, own)| CheckedSource {
            source: *source,
            counters: Arc::clone(own),
        });
        let work = StockCheck {
            db: db.clone(),
            roster: roster.clone(),
            ownership: ownership.clone(),
            guards: live.guards.clone(),
            sources: checked.collect(),
        };
        registry.register(lane(QueueName::StockCheck), work, Policy::default());
    }
    let work = PriceSync {
        db: db.clone(),
        book: Arc::clone(&live.book),
        clock: clock.clone(),
    };
    let policy = Policy {
        time_limit: PRICE_LIMIT,
        ..Policy::default()
    };
    registry.register(lane(QueueName::PriceSync), work, policy);
    for (at, selling) in destinations {
        let Some(registrar) = selling.registrar.clone() else {
            continue;
        };
        let work = Register {
            db: db.clone(),
            book: Arc::clone(&live.book),
            clock: clock.clone(),
            registrar,
            outlet: Arc::clone(&selling.outlet),
            told: Arc::default(),
        };
        registry.register(Lane::registration(*at), work, Policy::default());
    }
    registry
}

/// How listings are read back now: the settings and the destinations' rates may change while a run goes on.
fn read_back_plan(live: &Live, destinations: &[DestinationPlatform]) -> ReadBackPlan {
    let settings = destinations.iter().find_map(|at| live.sync(*at));
    let settings = settings.map(|own| own.load().reconcile).unwrap_or_default();
    let shops = destinations.iter().map(|at| {
        let guard = live.guards.get(Platform::from(*at).as_str());
        let rate = guard.map_or(1.0, |guard| guard.policy().rate.requests_per_second());
        let share = f64::from(settings.share_percent) / 100.0;
        ReadBackShop {
            destination: *at,
            looks_per_second: rate * share / requests_per_look(*at),
        }
    });
    ReadBackPlan {
        shops: shops.collect(),
        per_run: settings.per_run,
        window: Duration::from_secs(settings.window_s),
        tick: READ_BACK_TICK,
        last_words: settings.confirm_after() * 4,
        tells: Arc::new(move |counts| settings.tells(counts)),
    }
}

/// What one look costs: eBay tells pieces and price apart.
fn requests_per_look(destination: DestinationPlatform) -> f64 {
    match destination {
        DestinationPlatform::Ebay => 2.0,
        DestinationPlatform::Mercari | DestinationPlatform::AmazonSeller => 1.0,
    }
}

/// The scheduler, with all that it can do.
pub(super) fn scheduler(
    settings: &Settings,
    live: &Live,
    db: &Db,
    (worker, ownership): (&WorkerId, &Ownership),
    probes: &Probes,
    exchange: Option<&Exchange>,
) -> Scheduler {
    let mut actions: BTreeMap<ScheduleName, Arc<dyn Action>> = BTreeMap::new();
    let sources: Arc<[SourcePlatform]> = settings.sources().map(|(source, _)| source).collect();
    let sweep = |kind| -> Arc<dyn Action> {
        let (db, sources) = (db.clone(), Arc::clone(&sources));
        Arc::new(Sweep { kind, sources, db })
    };
    if !sources.is_empty() {
        actions.insert(ScheduleName::StockSweep, sweep(SweepKind::Stock));
    }
    actions.insert(ScheduleName::PriceSweep, sweep(SweepKind::Price));
    let shops: Arc<[DestinationPlatform]> = settings.destinations().map(|(at, _)| at).collect();
    if !shops.is_empty() {
        let (tables, live) = (db.clone(), live.clone());
        actions.insert(
            ScheduleName::Reconcile,
            action(move |run| {
                let (db, live, shops) = (tables.clone(), live.clone(), Arc::clone(&shops));
                let plan = move || read_back_plan(&live, &shops);
                async move { schedule::read_back(&db, &plan, &run).await }
            }),
        );
    }
    let (tables, watched) = (db.clone(), live.patrols());
    actions.insert(
        ScheduleName::Validation,
        action(move |run| {
            let db = tables.clone();
            let longest = watched.iter().map(|own| own.load().planner.max_interval).max();
            let unverified_after = longest.unwrap_or_default() * UNVERIFIED_INTERVALS;
            async move { schedule::validate(&db, unverified_after, &run).await }
        }),
    );
    let (tables, probes) = (db.clone(), probes.clone());
    actions.insert(
        ScheduleName::Health,
        action(move |run| {
            let (db, probes) = (tables.clone(), probes.clone());
            async move { check_health(&probes, &db, &run).await }
        }),
    );
    let (tables, keep, state_dir) = (
        db.clone(),
        Arc::clone(&live.keep),
        settings.daemon.state_dir.clone(),
    );
    actions.insert(
        ScheduleName::CleanUp,
        action(move |run| {
            let (db, keep, state_dir) = (tables.clone(), **keep.load(), state_dir.clone());
            async move { schedule::clean_up(&db, keep, &state_dir, &run).await }
        }),
    );
    let tables = db.clone();
    actions.insert(
        ScheduleName::DailySummary,
        action(move |run| {
            let db = tables.clone();
            async move { schedule::summarise(&db, &run).await }
        }),
    );
    let (tables, keep) = (db.clone(), Arc::clone(&live.keep));
    let place = BackupPlace {
        folder: settings.daemon.state_dir.join("backups"),
        binaries: settings.database.binaries.clone(),
        search: crate::config::search_path(),
    };
    actions.insert(
        ScheduleName::Backup,
        action(move |run| {
            let (db, keep, place) = (tables.clone(), keep.load().backups, place.clone());
            async move { schedule::back_up(&db, &place, keep, &run).await }
        }),
    );
    actions.extend(exchange.map(|own| (ScheduleName::ExchangeRates, own.action())));
    let ownership = ownership.clone();
    Scheduler::new(SchedulerParts {
        yields: Arc::new(move || {
            let view = ownership.view();
            view.draining && view.others > 0
        }),
        db: db.clone(),
        worker: worker.clone(),
        table: Arc::clone(&live.table),
        actions,
    })
}
