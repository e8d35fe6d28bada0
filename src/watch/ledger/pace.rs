//! How long a group of records is collected before it is committed.
//!
//! A transaction costs the same for one row as for fifty, so a busy ledger collects; but a change that waits is a listing
//! that is wrong. Therefore
//! - when little comes in, nothing waits: there would be nothing to share the transaction with;
//! - when much comes in, a change waits [`CHANGE_WAIT`] at most, and unchanged checks, for which nobody waits but the
//!   patrol, as long as it takes to share well, [`QUIET_WAIT`] at most;
//! - and whatever came in while the last group was being written makes up the next, at once when it holds a change.

use std::time::Duration;
use tokio::time::Instant;

/// Some milliseconds are lost in the noise of a page read over the internet, and already halve the transactions.
const CHANGE_WAIT: Duration = Duration::from_millis(4);
/// Keeps a patrol's checks open for less than a typical page takes, so that it needs no more of them.
const QUIET_WAIT: Duration = Duration::from_millis(40);
/// Records a second from which on collecting is worth a wait.
const BUSY_PER_S: f64 = 50.0;
/// How many records share a transaction well: the fixed cost is then small against the rows.
const GOOD_GROUP: f64 = 48.0;
/// A group's greatest size: some milliseconds of the database's time, and few enough to halve when one is bad.
pub(super) const MOST: usize = 512;

/// The rate at which records come in, smoothed.
#[derive(Debug)]
pub(super) struct Pace {
    per_s: f64,
    last: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            per_s: 0.0,
            last: now,
        }
    }

    /// `records` were taken in at `now`.
    pub(super) fn took(&mut self, records: usize, now: Instant) {
        let since = now
            .saturating_duration_since(self.last)
            .max(Duration::from_micros(100));
        self.last = now;
        let records = u32::try_from(records).map_or(f64::MAX, f64::from);
        let rate = records / since.as_secs_f64();
        // Half a second of memory, whatever the size of the groups.
        let weight = (since.as_secs_f64() * 2.0).min(1.0);
        self.per_s += weight * (rate - self.per_s);
    }

    /// How long the oldest record of a group may wait for others.
    pub(super) fn wait(&self, urgent: bool) -> Duration {
        if self.per_s < BUSY_PER_S {
            Duration::ZERO
        } else if urgent {
            CHANGE_WAIT
        } else {
            Duration::from_secs_f64(GOOD_GROUP / self.per_s).min(QUIET_WAIT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_rate(per_s: u32) -> Pace {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..per_s * 3 {
            now += Duration::from_secs(1) / per_s;
            pace.took(1, now);
        }
        pace
    }

    #[test]
    fn an_idle_ledger_waits_for_nothing() {
        assert_eq!(at_rate(1).wait(true), Duration::ZERO);
        assert_eq!(at_rate(10).wait(false), Duration::ZERO);
    }

    #[test]
    fn a_busy_one_lets_changes_wait_for_at_most_five_milliseconds() {
        for per_s in [100, 500, 5_000] {
            assert!(at_rate(per_s).wait(true) <= Duration::from_millis(5));
            assert!(at_rate(per_s).wait(false) <= QUIET_WAIT);
        }
    }

    #[test]
    fn the_faster_they_come_the_shorter_unchanged_ones_wait() {
        assert!(at_rate(5_000).wait(false) < at_rate(1_300).wait(false));
    }

    #[test]
    fn after_a_pause_the_pace_is_slow_again() {
        let mut pace = at_rate(1_000);
        let later = pace.last + Duration::from_secs(20);
        pace.took(1, later);
        assert_eq!(pace.wait(false), Duration::ZERO);
    }
}
