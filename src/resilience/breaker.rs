//! *Whether* to trip: `failsafe`'s state machine under our own failure policy.
//!
//! Two signals, and either is enough: a run of consecutive failures reacts at once; a share of failures within a sliding
//! window, once the sample is large enough, sees the half-broken service whose luck keeps ending the runs. A third, where
//! configured, is the service's own word that it is away.
//!
//! `failsafe` decides and tells us through its instrument; *until when* is the [gate](super::gate)'s matter, because
//! failsafe's half-open state admits everyone at once and reads std's clock, which no test can pause. Its own open state
//! is therefore entered for longer than any process lives, and left by our `reset` when the gate has opened.

use super::policy::Trip;
use failsafe::{FailurePolicy, Instrument, StateMachine};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long failsafe itself stays open: until we say otherwise.
const UNTIL_TOLD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The window slides by this part of its length: fine enough that "60 s" means 55 to 60, coarse enough to stay tiny.
const BUCKETS: usize = 12;

/// See the module.
pub(super) struct Breaker {
    machine: StateMachine<TripPolicy, Told>,
    tripped: Arc<AtomicBool>,
    at_once: Arc<AtomicBool>,
    window: Arc<Mutex<Window>>,
}

/// Our rule, in the shape that failsafe asks.
struct TripPolicy {
    trip: Trip,
    run: u32,
    window: Arc<Mutex<Window>>,
    at_once: Arc<AtomicBool>,
}

/// Carries failsafe's decision to the gate.
struct Told(Arc<AtomicBool>);

// === impl Breaker ===

impl Breaker {
    pub(super) fn new(trip: Trip, now: Instant) -> Self {
        let tripped = Arc::new(AtomicBool::new(false));
        let at_once = Arc::new(AtomicBool::new(false));
        let window = Arc::new(Mutex::new(Window::new(trip.window, now)));
        let policy = TripPolicy {
            trip,
            run: 0,
            window: window.clone(),
            at_once: at_once.clone(),
        };
        Self {
            machine: StateMachine::new(policy, Told(tripped.clone())),
            tripped,
            at_once,
            window,
        }
    }

    /// A call came back well.
    pub(super) fn succeeded(&self) {
        self.machine.on_success();
    }

    /// A call failed. Answers whether that was the one too many.
    pub(super) fn failed(&self, at_once: bool) -> bool {
        self.at_once.store(at_once, Ordering::Relaxed);
        self.machine.on_error();
        self.tripped.swap(false, Ordering::Relaxed)
    }

    /// The gate is open again: forget what was.
    pub(super) fn reset(&self) {
        self.machine.reset();
        // failsafe's reset does nothing while it is closed, as it is after a restart: end the run ourselves.
        self.machine.on_success();
        self.window.lock().clear();
    }
}

// === impl TripPolicy ===

impl FailurePolicy for TripPolicy {
    fn record_success(&mut self) {
        self.run = 0;
        self.window.lock().record(Instant::now(), false);
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        self.run = self.run.saturating_add(1);
        let (answers, failed) = {
            let mut window = self.window.lock();
            window.record(Instant::now(), true);
            window.counts()
        };
        let half_broken =
            answers >= self.trip.sample && f64::from(failed) >= self.trip.failed_share * f64::from(answers);
        let trips =
            self.run >= self.trip.consecutive || half_broken || self.at_once.swap(false, Ordering::Relaxed);
        trips.then_some(UNTIL_TOLD)
    }

    fn revived(&mut self) {
        self.run = 0;
        self.window.lock().clear();
    }
}

impl Instrument for Told {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn on_half_open(&self) {}

    fn on_closed(&self) {}
}

/// Answers and failures of the last while, in buckets on fixed boundaries so that fractions do not pile up.
#[derive(Debug)]
struct Window {
    start: Instant,
    bucket: Duration,
    /// The number of the newest bucket, counted from `start`.
    newest: u128,
    /// Answers and failures, the newest at `newest % BUCKETS`.
    counts: [(u32, u32); BUCKETS],
}

// === impl Window ===

impl Window {
    fn new(length: Duration, start: Instant) -> Self {
        let bucket = (length / u32::try_from(BUCKETS).unwrap_or(u32::MAX)).max(Duration::from_nanos(1));
        Self {
            start,
            bucket,
            newest: 0,
            counts: [(0, 0); BUCKETS],
        }
    }

    fn record(&mut self, now: Instant, failed: bool) {
        let at = now.saturating_duration_since(self.start).as_nanos() / self.bucket.as_nanos().max(1);
        // A clock that stood still or went back counts into the newest bucket.
        let gone = at.saturating_sub(self.newest);
        for step in 1..=gone.min(as_u128(BUCKETS)) {
            if let Some(old) = self.slot(self.newest + step) {
                *old = (0, 0);
            }
        }
        self.newest = self.newest.max(at);
        if let Some((answers, failures)) = self.slot(self.newest) {
            *answers = answers.saturating_add(1);
            *failures = failures.saturating_add(u32::from(failed));
        }
    }

    /// Answers and failures within the window, as of the last record.
    fn counts(&self) -> (u32, u32) {
        self.counts.iter().fold((0, 0), |(a, f), (answers, failures)| {
            (a.saturating_add(*answers), f.saturating_add(*failures))
        })
    }

    fn clear(&mut self) {
        self.counts = [(0, 0); BUCKETS];
    }

    fn slot(&mut self, bucket: u128) -> Option<&mut (u32, u32)> {
        let at = usize::try_from(bucket % as_u128(BUCKETS)).ok()?;
        self.counts.get_mut(at)
    }
}

fn as_u128(n: usize) -> u128 {
    u128::try_from(n).unwrap_or(u128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Trip::default(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_trip_and_a_success_ends_the_run() {
        let breaker = breaker();
        assert!((0..4).all(|_| !breaker.failed(false)));
        breaker.succeeded();
        assert!((0..4).all(|_| !breaker.failed(false)));
        assert!(breaker.failed(false));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_twenty_within_a_minute_trip_although_no_run_does() {
        let breaker = breaker();
        let mut tripped_at = None;
        for n in 1..=20 {
            if n % 2 == 1 {
                breaker.succeeded();
            } else if breaker.failed(false) {
                tripped_at = Some(n);
                break;
            }
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        assert_eq!(tripped_at, Some(20));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_failures_over_a_longer_time_do_not_trip() {
        let breaker = breaker();
        for n in 0..200 {
            if n % 2 == 0 {
                breaker.succeeded();
            } else {
                assert!(!breaker.failed(false), "tripped at {n}");
            }
            tokio::time::advance(Duration::from_secs(4)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_of_failures_does_not_trip() {
        let breaker = breaker();
        for n in 0..300 {
            if n % 3 == 0 {
                assert!(!breaker.failed(false), "tripped at {n}");
            } else {
                breaker.succeeded();
            }
            tokio::time::advance(Duration::from_millis(200)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_word_of_the_service_trips_at_once_and_is_not_remembered() {
        let breaker = breaker();
        assert!(breaker.failed(true));
        breaker.reset();
        assert!(!breaker.failed(false));
    }

    #[tokio::test(start_paused = true)]
    async fn while_tripped_failures_do_not_trip_again_and_reset_begins_anew() {
        let breaker = breaker();
        assert!(breaker.failed(true));
        assert!((0..50).all(|_| !breaker.failed(true)));
        breaker.reset();
        assert!((0..4).all(|_| !breaker.failed(false)), "the run began anew");
        assert!(breaker.failed(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_while_closed_ends_the_run_as_well() {
        let breaker = breaker();
        assert!((0..4).all(|_| !breaker.failed(false)));
        breaker.reset();
        assert!((0..4).all(|_| !breaker.failed(false)));
    }
}
