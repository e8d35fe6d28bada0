//! What watching has done since the start, as numbers that cost nothing to keep.
//!
//! Everything is a relaxed atomic: the numbers are for people, each is right by itself, and two of them read at the same
//! moment may be a check apart.

use crate::domain::ErrorClass;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The numbers of one source, shared by its patrol, its watchers and the ledger.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) products: AtomicU64,
    pub(super) checks: AtomicU64,
    pub(super) unchanged: AtomicU64,
    pub(super) changes: AtomicU64,
    pub(super) first_observations: AtomicU64,
    pub(super) holds_opened: AtomicU64,
    pub(super) mass_holds: AtomicU64,
    pub(super) unclear: AtomicU64,
    pub(super) older: AtomicU64,
    pub(super) gone: AtomicU64,
    pub(super) stale_versions: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) given_back: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) oldest_age_s: AtomicU64,
    /// Events that are due and wait for the source's pace: a sweep's wishes wait behind them.
    pub(super) events_due: AtomicU64,
    errors: [AtomicU64; CLASSES.len()],
    commit_delay: Histogram,
}

/// The classes of errors, in the order of the counters.
const CLASSES: [&str; 7] = [
    "transient",
    "rate_limited",
    "blocked",
    "unauthorized",
    "not_found",
    "rejected",
    "protocol",
];

/// The numbers at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CountersSnapshot {
    /// Products that are watched.
    pub products: u64,
    /// Looks that gave an answer.
    pub checks: u64,
    /// Of those, the ones that found nothing new.
    pub unchanged: u64,
    /// Changes committed, first observations left out.
    pub changes: u64,
    /// First observations committed.
    pub first_observations: u64,
    /// Holds opened, those of a mass change included.
    pub holds_opened: u64,
    /// Of those, the ones of a mass change.
    pub mass_holds: u64,
    /// Pages whose auction should be over and that do not say so yet.
    pub unclear: u64,
    /// Pages not newer than what counts.
    pub older: u64,
    /// Answers that there is no such page.
    pub gone: u64,
    /// Records whose version was not the newest.
    pub stale_versions: u64,
    /// Records that the database refused.
    pub rejected: u64,
    /// Checks picked and not made, because the gate was shut.
    pub given_back: u64,
    /// Watches whose watcher keeps crashing.
    pub quarantined: u64,
    /// Checks under way.
    pub in_flight: u64,
    /// How long ago the longest unseen product was looked at, in seconds.
    pub oldest_age_s: u64,
    /// Answers that do not keep the contract.
    pub contract_failures: u64,
    /// Failed looks by class.
    pub errors: Vec<ErrorCount>,
    /// From the page's last byte to the answer of the COMMIT, for changes.
    pub commit_delay_ms: Percentiles,
}

/// How often a class of errors was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// Which.
    pub class: &'static str,
    /// How often.
    pub count: u64,
}

/// Percentiles in milliseconds; never too low, and too high by a quarter at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: f64,
    /// 19 of 20 were faster.
    pub p95: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// How many there were.
    pub count: u64,
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(super) fn set(counter: &AtomicU64, n: u64) {
    counter.store(n, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

// === impl Counters ===

impl Counters {
    pub(super) fn error(&self, class: ErrorClass) {
        let name = class.as_str();
        if let Some((_, counter)) = CLASSES
            .iter()
            .zip(&self.errors)
            .find(|(class, _)| **class == name)
        {
            add(counter, 1);
        }
    }

    pub(super) fn committed_after(&self, delay: Duration) {
        self.commit_delay.record(delay);
    }

    /// Whether events wait for the source's pace: nothing is looked at for a sweep meanwhile.
    pub(super) fn has_events_waiting(&self) -> bool {
        get(&self.events_due) > 0
    }

    /// The numbers now.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let errors: Vec<ErrorCount> = CLASSES
            .iter()
            .zip(&self.errors)
            .map(|(class, counter)| ErrorCount {
                class,
                count: get(counter),
            })
            .collect();
        CountersSnapshot {
            products: get(&self.products),
            checks: get(&self.checks),
            unchanged: get(&self.unchanged),
            changes: get(&self.changes),
            first_observations: get(&self.first_observations),
            holds_opened: get(&self.holds_opened),
            mass_holds: get(&self.mass_holds),
            unclear: get(&self.unclear),
            older: get(&self.older),
            gone: get(&self.gone),
            stale_versions: get(&self.stale_versions),
            rejected: get(&self.rejected),
            given_back: get(&self.given_back),
            quarantined: get(&self.quarantined),
            in_flight: get(&self.in_flight),
            oldest_age_s: get(&self.oldest_age_s),
            contract_failures: errors
                .iter()
                .find(|e| e.class == "protocol")
                .map_or(0, |e| e.count),
            errors,
            commit_delay_ms: self.commit_delay.percentiles(),
        }
    }
}

/// Durations by size: four steps to a doubling, from a microsecond to an hour.
#[derive(Debug)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
}

const BUCKETS: usize = 132;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Histogram {
    fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1);
        // The place of the highest bit, and the two bits after it.
        let doublings = u64::from(us.ilog2());
        let quarter = match doublings {
            0 => 0,
            1 => (us & 1) << 1,
            n => (us >> (n - 2)) & 3,
        };
        let place = usize::try_from(doublings * 4 + quarter).unwrap_or(usize::MAX);
        if let Some(bucket) = self.buckets.get(place.min(BUCKETS - 1)) {
            add(bucket, 1);
        }
    }

    fn percentiles(&self) -> Percentiles {
        let counts: Vec<u64> = self.buckets.iter().map(get).collect();
        let count: u64 = counts.iter().sum();
        let at = |percent: u64| {
            let rank = (count * percent).div_ceil(100);
            let mut seen = 0;
            let place = counts.iter().position(|n| {
                seen += n;
                seen >= rank
            });
            place.filter(|_| count > 0).map_or(0.0, upper_edge_ms)
        };
        Percentiles {
            p50: at(50),
            p95: at(95),
            p99: at(99),
            count,
        }
    }
}

/// The largest duration of a bucket, in milliseconds.
fn upper_edge_ms(place: usize) -> f64 {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let (doublings, quarter) = (place / 4, f64::from(place % 4));
    2_f64.powf(f64::from(doublings)) * (1.0 + (quarter + 1.0) / 4.0) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_quarter_and_never_too_low() {
        let histogram = Histogram::default();
        for ms in 1..=1_000 {
            histogram.record(Duration::from_millis(ms));
        }
        let got = histogram.percentiles();
        for (shown, exact) in [(got.p50, 500.0), (got.p95, 950.0), (got.p99, 990.0)] {
            assert!(shown >= exact && shown <= exact * 1.25, "{shown} for {exact}");
        }
        assert_eq!(got.count, 1_000);
    }

    #[test]
    fn the_extremes_have_a_bucket() {
        let histogram = Histogram::default();
        for duration in [
            Duration::ZERO,
            Duration::from_micros(1),
            Duration::from_micros(3),
            Duration::MAX,
        ] {
            histogram.record(duration);
        }
        assert_eq!(histogram.percentiles().count, 4);
    }

    #[test]
    fn every_class_of_error_has_a_counter() {
        let counters = Counters::default();
        let all = [
            ErrorClass::Transient,
            ErrorClass::RateLimited { retry_after: None },
            ErrorClass::Blocked,
            ErrorClass::Unauthorized,
            ErrorClass::NotFound,
            ErrorClass::Rejected,
            ErrorClass::Protocol,
        ];
        all.into_iter().for_each(|class| counters.error(class));
        assert!(counters.snapshot().errors.iter().all(|e| e.count == 1));
        assert_eq!(counters.snapshot().contract_failures, 1);
    }
}
