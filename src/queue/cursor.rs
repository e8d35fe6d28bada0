//! From where a claim looks: not always from the beginning.
//!
//! A claimed row leaves the index of what is ready, but its dead entry stays until vacuum, and vacuum has to wait while
//! anybody holds a snapshot open. Claims that begin at the beginning then walk over all that was done since, more each
//! time. So a claim goes on behind the last job that it took of each priority. What sorts before that place and came
//! later (a job whose priority was changed, one of a transaction that lasted long, one that was locked when it was passed)
//! is found by a full look from the beginning: once a second, and when the lane seems empty although something was
//! told of it. A full look that is slow is not repeated for ten times what it took, or it would be all that is done.
//!
//! Pure: knows places and moments, no table.

use super::share::LEAST_URGENT;
use crate::store::jobs::{ClaimedJob, Place};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What sorts before the cursor is found this late at most.
const FULL_EVERY: Duration = Duration::from_secs(1);
/// A full look waits so many times what the last one took.
const REST: u32 = 10;

/// Where the last claims ended.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    places: BTreeMap<i16, Place>,
    full: Option<Full>,
    /// The last look found less than it wanted: behind the cursor there is nothing.
    is_at_end: bool,
}

/// The last full look.
#[derive(Clone, Copy, Debug)]
struct Full {
    at: Instant,
    took: Duration,
}

/// How to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// From the beginning, the heads first.
    Full,
    /// Behind the last places.
    Onward,
}

// === impl Cursor ===

impl Cursor {
    /// How to look at `now`; `told` says that something may have come since the last full look.
    #[must_use]
    pub fn look(&self, now: Instant, told: bool) -> Look {
        if self.next_full(now, told).is_zero() {
            Look::Full
        } else {
            Look::Onward
        }
    }

    /// How long until the next look is a full one.
    #[must_use]
    pub fn next_full(&self, now: Instant, told: bool) -> Duration {
        let Some(last) = self.full else {
            return Duration::ZERO;
        };
        let rest = last.took.saturating_mul(REST);
        let sooner = told && self.is_at_end;
        let wait = if sooner { rest } else { rest.max(FULL_EVERY) };
        (last.at + wait).saturating_duration_since(now)
    }

    /// Behind which place to look in a priority.
    #[must_use]
    pub fn after(&self, priority: i16) -> Option<Place> {
        self.places.get(&priority).copied()
    }

    /// A full look begins at `now`: the places are forgotten.
    pub fn begin_full(&mut self, now: Instant) {
        self.places.clear();
        self.full = Some(Full {
            at: now,
            took: Duration::ZERO,
        });
    }

    /// The full look is over and took so long.
    pub fn end_full(&mut self, took: Duration) {
        if let Some(full) = &mut self.full {
            full.took = took;
        }
    }

    /// A look is over; `is_all` says that behind the places there is nothing left.
    pub fn ended(&mut self, is_all: bool) {
        self.is_at_end = is_all;
    }

    /// A look took `jobs`.
    pub fn took(&mut self, jobs: &[ClaimedJob]) {
        for job in jobs {
            let place = Place {
                scheduled_at: job.scheduled_at,
                id: job.lease.job,
            };
            if (1..=LEAST_URGENT).contains(&job.priority) {
                let last = self.places.entry(job.priority).or_insert(place);
                *last = (*last).max(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_look_comes_first_then_once_a_second() {
        let mut cursor = Cursor::default();
        let start = Instant::now();
        assert_eq!(cursor.look(start, false), Look::Full);
        cursor.begin_full(start);
        cursor.end_full(ms(1));
        cursor.ended(false);
        assert_eq!(
            cursor.look(start + ms(999), true),
            Look::Onward,
            "there is more ahead"
        );
        assert_eq!(cursor.look(start + ms(1_000), false), Look::Full);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_lane_that_is_told_of_looks_everywhere_at_once() {
        let mut cursor = Cursor::default();
        let start = Instant::now();
        cursor.begin_full(start);
        cursor.end_full(ms(1));
        cursor.ended(true);
        assert_eq!(cursor.look(start + ms(20), false), Look::Onward, "nobody told");
        assert_eq!(cursor.look(start + ms(20), true), Look::Full);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_full_look_is_not_all_that_is_done() {
        let mut cursor = Cursor::default();
        let start = Instant::now();
        cursor.begin_full(start);
        cursor.end_full(ms(300));
        cursor.ended(true);
        assert_eq!(cursor.look(start + ms(2_999), true), Look::Onward);
        assert_eq!(cursor.look(start + ms(3_000), true), Look::Full);
    }
}
