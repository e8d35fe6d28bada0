//! What the settings mean to the rooms, and which of it changes while the daemon runs.
//!
//! Each value that can change lives behind an `ArcSwap` or in a guard, and the rooms look at it where they use it. A
//! request's time limit is not among them: a destination's is written into the pushes that wait for its outcome, and
//! the clients are built with theirs.

use super::reload::{Commit, Reloadable};
use crate::config::{PaceSettings, Service, Settings};
use crate::domain::{BasisPoints, Currency, DestinationPlatform, Platform, QuoteInUse, SourcePlatform};
use crate::ops::InputProblem;
use crate::pricing::PriceBook;
use crate::resilience::{Guard, Opening, Policy, Rate, Registry};
use crate::schedule::{Keep, Timetable};
use crate::sync::SyncSettings;
use crate::sync::radius::RadiusSettings;
use crate::telemetry;
use crate::watch::planner::PlannerSettings;
use crate::watch::{AnomalyRules, HoldRules, LedgerRules, PatrolSettings, RadiusRules, Rules};
use arc_swap::ArcSwap;
use chrono::TimeDelta;
use parking_lot::Mutex;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A node with nothing of its own to ask for still asks at this share: what a person wants to know.
const LEAST_SHARE: f64 = 1.0 / 256.0;

/// What changes while the daemon runs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Live {
    /// How prices are made.
    pub(super) book: Arc<ArcSwap<PriceBook>>,
    /// What that is made of.
    prices: Arc<Mutex<Prices>>,
    /// Told when listings have to be worked out anew.
    pub(super) rework: Arc<Notify>,
    /// How pages are judged.
    pub(super) rules: Arc<ArcSwap<Rules>>,
    /// When a change waits for a person.
    pub(super) ledger: Arc<ArcSwap<LedgerRules>>,
    /// How each source is patrolled.
    patrols: Arc<HashMap<SourcePlatform, Arc<ArcSwap<PatrolSettings>>>>,
    /// How each destination is kept in line.
    syncs: Arc<HashMap<DestinationPlatform, Arc<ArcSwap<SyncSettings>>>>,
    /// When what is done.
    pub(super) table: Arc<ArcSwap<Timetable>>,
    /// How long what is left behind is kept.
    pub(super) keep: Arc<ArcSwap<Keep>>,
    /// Every guard.
    pub(super) guards: Registry,
    /// Each service's pace as the settings have it, and this node's share of it.
    paces: Arc<Mutex<HashMap<Platform, Paced>>>,
    /// Guards ask Redis for turns of the whole rate, and go by their shares by themselves while it is away.
    by_redis: Arc<AtomicBool>,
}

/// The rules and rates of the settings, and what a source quotes in place of those rates.
#[derive(Debug)]
struct Prices {
    typed: PriceBook,
    quote: Option<QuoteInUse>,
}

/// A pace that several nodes share.
#[derive(Clone, Copy, Debug)]
struct Paced {
    whole: PaceSettings,
    share: f64,
}

/// What follows from a share of a service's requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rates {
    /// What the guard lets through.
    guard: f64,
    /// What this node's products are planned with: its share wherever the turns come from. With the whole rate each node
    /// would believe that it can look at all it has in time, and under too much work forget what a look is worth.
    planned: f64,
}

impl Rates {
    fn of(whole: f64, share: f64, by_redis: bool) -> Self {
        Self {
            guard: if by_redis { whole } else { whole * share },
            planned: whole * share,
        }
    }
}

// === impl Live ===

impl Live {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            book: Arc::new(ArcSwap::from_pointee(settings.pricing.clone())),
            prices: Arc::new(Mutex::new(Prices {
                typed: settings.pricing.clone(),
                quote: None,
            })),
            rework: Arc::default(),
            rules: Arc::new(ArcSwap::from_pointee(rules(settings))),
            ledger: Arc::new(ArcSwap::from_pointee(ledger(settings))),
            patrols: Arc::new(patrols(settings)),
            syncs: Arc::new(syncs(settings)),
            table: Arc::new(ArcSwap::from_pointee(settings.schedules.table.clone())),
            keep: Arc::new(ArcSwap::from_pointee(settings.schedules.keep)),
            guards: Registry::new(),
            paces: Arc::default(),
            by_redis: Arc::default(),
        }
    }

    /// How a source is patrolled; `None` where it is off.
    pub(super) fn patrol(&self, source: SourcePlatform) -> Option<Arc<ArcSwap<PatrolSettings>>> {
        self.patrols.get(&source).map(Arc::clone)
    }

    /// How every source that is on is patrolled.
    pub(super) fn patrols(&self) -> Vec<Arc<ArcSwap<PatrolSettings>>> {
        self.patrols.values().map(Arc::clone).collect()
    }

    /// How a destination is kept in line; `None` where it is off.
    pub(super) fn sync(&self, destination: DestinationPlatform) -> Option<Arc<ArcSwap<SyncSettings>>> {
        self.syncs.get(&destination).map(Arc::clone)
    }

    /// What a reload can take up.
    pub(super) fn reloadable(&self) -> Vec<Reloadable> {
        let mut all = vec![
            log_filter(),
            self.prices(),
            self.watching(),
            self.selling(),
            self.schedules(),
        ];
        all.extend(Platform::ALL.iter().map(|platform| self.pace(*platform)));
        all
    }

    /// Leaves the guards the whole rate: Redis gives out its turns.
    pub(super) fn turns_are_redis(&self) {
        self.by_redis.store(true, Ordering::Release);
    }

    /// What the settings say of a service's pace; the share stays as it is.
    pub(super) fn set_whole(&self, platform: Platform, whole: PaceSettings) {
        let mut paces = self.paces.lock();
        paces.entry(platform).or_insert(Paced { whole, share: 1.0 }).whole = whole;
    }

    /// Follows another share of a service's pace.
    pub(super) fn set_share(&self, platform: Platform, share: f64) {
        let share = share.clamp(LEAST_SHARE, 1.0);
        {
            let mut paces = self.paces.lock();
            let Some(paced) = paces
                .get_mut(&platform)
                .filter(|p| p.share.total_cmp(&share).is_ne())
            else {
                return;
            };
            paced.share = share;
        }
        if let Some(guard) = self.guards.get(platform.as_str()) {
            self.follow(platform, &guard);
        }
    }

    /// Makes a guard, and who plans with its rate, follow pace and share.
    fn follow(&self, platform: Platform, guard: &Guard) {
        let Some(Paced { whole, share }) = self.paces.lock().get(&platform).copied() else {
            return;
        };
        let rates = Rates::of(
            whole.requests_per_second,
            share,
            self.by_redis.load(Ordering::Acquire),
        );
        let own = PaceSettings {
            requests_per_second: rates.guard,
            ..whole
        };
        match policy(own) {
            Ok(policy) => change(
                guard,
                Policy {
                    time_limit: guard.policy().time_limit,
                    ..policy
                },
            ),
            Err(error) => tracing::error!(error = %error, "The guard of {platform} keeps its pace"),
        }
        if let Some(patrol) = self.patrol_of(platform) {
            let mut planned = (**patrol.load()).clone();
            planned.planner.requests_per_hour = rates.planned * 3_600.0;
            patrol.store(Arc::new(planned));
        }
    }

    /// How the source behind a service is patrolled.
    fn patrol_of(&self, platform: Platform) -> Option<&Arc<ArcSwap<PatrolSettings>>> {
        let own = self
            .patrols
            .iter()
            .find(|(source, _)| Platform::from(**source) == platform);
        own.map(|(_, patrol)| patrol)
    }

    /// The rates of the settings: what a first quote is measured by.
    pub(super) fn typed_rates(&self) -> BTreeMap<Currency, Decimal> {
        self.prices.lock().typed.rates().table().clone()
    }

    /// Prices by what a source quotes, or by the settings' rates again.
    pub(super) fn set_quote(&self, quote: Option<QuoteInUse>) {
        self.reprice(|prices| prices.quote = quote);
    }

    /// What a source quotes that prices are made by; `None`: the settings' rates.
    pub(super) fn quote(&self) -> Option<QuoteInUse> {
        self.prices.lock().quote.clone()
    }

    /// Listings are worked out anew only when the book that comes of it is another.
    fn reprice(&self, change: impl FnOnce(&mut Prices)) {
        let mut prices = self.prices.lock();
        change(&mut prices);
        let book = match &prices.quote {
            Some(quote) => prices.typed.quoted(quote),
            None => prices.typed.clone(),
        };
        if **self.book.load() != book {
            self.book.store(Arc::new(book));
            self.rework.notify_one();
        }
    }

    fn prices(&self) -> Reloadable {
        let live = self.clone();
        Reloadable::new(&["pricing."], move |settings| {
            let (book, live) = (settings.pricing.clone(), live.clone());
            Ok(commit(move || {
                live.reprice(|prices| prices.typed = book);
            }))
        })
    }

    fn watching(&self) -> Reloadable {
        let live = self.clone();
        // What a patrol may have open follows the pace, which is taken up beside this.
        Reloadable::new(&["watch."], move |settings| {
            let (rules, ledger, settings) = (rules(settings), ledger(settings), settings.clone());
            let live = live.clone();
            Ok(commit(move || {
                live.rules.store(Arc::new(rules));
                live.ledger.store(Arc::new(ledger));
                for (source, own) in live.patrols.iter() {
                    let pace = settings.service((*source).into()).pace;
                    own.store(Arc::new(patrol(&settings, pace)));
                    let platform = Platform::from(*source);
                    if let Some(guard) = live.guards.get(platform.as_str()) {
                        live.follow(platform, &guard);
                    }
                }
            }))
        })
    }

    fn selling(&self) -> Reloadable {
        let live = self.clone();
        Reloadable::new(&["sync."], move |settings| {
            let (radius, reconcile) = (radius(settings), settings.sync.reconcile);
            let live = live.clone();
            Ok(commit(move || {
                for own in live.syncs.values() {
                    let before = **own.load();
                    own.store(Arc::new(SyncSettings {
                        radius,
                        reconcile,
                        ..before
                    }));
                }
            }))
        })
    }

    /// The scheduler looks at the table every few seconds, and plans anew what has another expression.
    fn schedules(&self) -> Reloadable {
        let live = self.clone();
        Reloadable::new(&["schedules."], move |settings| {
            let (own, live) = (settings.schedules.clone(), live.clone());
            Ok(commit(move || {
                live.table.store(Arc::new(own.table));
                live.keep.store(Arc::new(own.keep));
            }))
        })
    }

    fn pace(&self, platform: Platform) -> Reloadable {
        let live = self.clone();
        Reloadable::new(pace_keys(platform), move |settings| {
            let Some(guard) = live.guards.get(platform.as_str()) else {
                // It is switched off; when it is switched on, that is by a restart.
                return Ok(commit(|| {}));
            };
            let whole = settings.service(platform).pace;
            policy(whole).map_err(|error| {
                InputProblem::new(format!("platforms.{platform}"), "a rate", &error.to_string())
            })?;
            let (live, settings) = (live.clone(), settings.clone());
            Ok(commit(move || {
                for (source, own) in live.patrols.iter() {
                    if Platform::from(*source) == platform {
                        own.store(Arc::new(patrol(&settings, whole)));
                    }
                }
                live.set_whole(platform, whole);
                live.follow(platform, &guard);
            }))
        })
    }
}

macro_rules! pace_of {
    ($name:literal) => {
        &[
            concat!("platforms.", $name, ".requests_per_second"),
            concat!("platforms.", $name, ".open_requests"),
            concat!("platforms.", $name, ".breaker_open_s"),
        ]
    };
}

/// The settings that make up a service's pace, less its time limit.
fn pace_keys(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::YahooAuction => pace_of!("yahoo_auction"),
        Platform::Amazon => pace_of!("amazon"),
        Platform::Ebay => pace_of!("ebay"),
        Platform::Mercari => pace_of!("mercari"),
        Platform::AmazonSeller => pace_of!("amazon_seller"),
    }
}

fn log_filter() -> Reloadable {
    Reloadable::new(&["log.filter"], |settings| {
        let filter = settings.log.filter.clone();
        Ok(commit(move || {
            // It was read before; without a log there is nothing to filter.
            if let Err(error) = telemetry::set_filter(&filter) {
                tracing::warn!(error = %error, "The log's filter stays as it was");
            }
        }))
    })
}

fn commit(apply: impl FnOnce() + Send + 'static) -> Commit {
    Box::new(apply)
}

fn change(guard: &Guard, policy: Policy) {
    if let Err(bad) = guard.change(policy) {
        // Its numbers were checked when they were read: this is a fault of ours, and the guard goes on as before.
        tracing::error!(error = %bad, "A guard keeps its pace");
    }
}

// === what the settings mean ===

/// A guard's policy.
pub(super) fn policy(pace: PaceSettings) -> anyhow::Result<Policy> {
    Ok(Policy {
        rate: Rate::per_second(pace.requests_per_second)?,
        concurrency: pace.open_requests,
        time_limit: pace.time_limit,
        opening: Opening {
            first: pace.breaker_open,
            longest: pace.breaker_open.saturating_mul(10),
            ..Opening::default()
        },
        ..Policy::default()
    })
}

fn patrols(settings: &Settings) -> HashMap<SourcePlatform, Arc<ArcSwap<PatrolSettings>>> {
    let one = |(source, service): (_, Service<'_>)| {
        let own = patrol(settings, service.pace);
        (source, Arc::new(ArcSwap::from_pointee(own)))
    };
    settings.sources().map(one).collect()
}

fn patrol(settings: &Settings, pace: PaceSettings) -> PatrolSettings {
    let watch = &settings.watch;
    PatrolSettings {
        most_open: pace.open_requests.saturating_mul(4),
        planner: PlannerSettings {
            max_interval: watch.max_interval,
            min_interval: watch.min_interval,
            event_delay: watch.event_delay,
            back_off: watch
                .min_interval
                .max(Duration::from_secs(1))
                .min(Duration::from_secs(60)),
            requests_per_hour: pace.requests_per_second * 3_600.0,
        },
    }
}

fn syncs(settings: &Settings) -> HashMap<DestinationPlatform, Arc<ArcSwap<SyncSettings>>> {
    let one = |(destination, service): (_, Service<'_>)| {
        let own = SyncSettings {
            call_limit_s: service.pace.time_limit.as_secs().max(1),
            radius: radius(settings),
            reconcile: settings.sync.reconcile,
            bulk_after_s: settings.amazon_seller.bulk_after.as_secs(),
            ..SyncSettings::default()
        };
        (destination, Arc::new(ArcSwap::from_pointee(own)))
    };
    settings.destinations().map(one).collect()
}

fn radius(settings: &Settings) -> RadiusSettings {
    let own = &settings.sync;
    RadiusSettings {
        per_hour: own.touched_per_hour,
        per_day: own.touched_per_day,
        share_per_hour_bp: own.touched_percent_per_hour.saturating_mul(100),
        share_per_day_bp: own.touched_percent_per_day.saturating_mul(100),
    }
}

fn ledger(settings: &Settings) -> LedgerRules {
    LedgerRules {
        radius: RadiusRules {
            at_least: u64::from(settings.watch.mass_change_products),
            share: basis_points(settings.watch.mass_change_percent / 100.0),
            window: settings.watch.mass_change_window,
        },
        holds: hold_rules(settings),
    }
}

fn hold_rules(settings: &Settings) -> HoldRules {
    let mut holds = HoldRules::default();
    holds.price_step.0 = time(settings.watch.hold_deadline);
    holds
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        anomaly: AnomalyRules {
            price_factor: basis_points(settings.watch.price_factor),
            title_similarity: basis_points(settings.watch.title_similarity),
            ..AnomalyRules::default()
        },
        holds: hold_rules(settings),
        confirm_after: time(settings.watch.confirm_after),
        reread_after: time(settings.watch.event_delay.max(Duration::from_millis(100))),
        ..Rules::default()
    }
}

fn time(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// A share or factor as basis points; the settings have checked its range.
fn basis_points(factor: f64) -> BasisPoints {
    let scaled = (factor * 10_000.0).round().clamp(0.0, 4e9);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped right above"
    )]
    let points = scaled as u32;
    BasisPoints(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_plans_with_its_share_also_where_redis_gives_the_turns() {
        let rates = |guard, planned| Rates { guard, planned };
        assert_eq!(Rates::of(8.0, 1.0, true), rates(8.0, 8.0));
        assert_eq!(Rates::of(8.0, 0.25, true), rates(8.0, 2.0));
        assert_eq!(Rates::of(8.0, 0.25, false), rates(2.0, 2.0));
    }
}
