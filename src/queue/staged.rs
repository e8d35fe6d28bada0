//! What stager and supply know of a lane's copy in Redis, and the arithmetic of the copy. Pure but for the lock.

use crate::store::redis::lane::PRIORITIES;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is copied of one priority at a time. Enough that a lane which does fifteen thousand jobs a second is filled three
/// times a second, few enough that one look holds nobody up.
pub const MOST: usize = 5_000;
/// A transaction that takes longer between its clock and its commit is found by the next full look, or by the table's poll.
const OVERLAP: TimeDelta = TimeDelta::milliseconds(250);

/// One lane's copy.
#[derive(Debug, Default)]
pub struct Staged {
    known: Mutex<Known>,
    /// The copy is running out.
    pub(super) hungry: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// The database's clock, and when it was read.
    clock: Option<(Instant, i64)>,
    /// Where the next look goes on, by priority; nothing is from the beginning.
    since: BTreeMap<i16, DateTime<Utc>>,
    /// Of some priority there is more than was copied.
    is_cut: bool,
    popped: usize,
    figures: StagedFigures,
}

/// What was done with a lane's copy since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StagedFigures {
    /// Entries put there.
    pub staged: u64,
    /// Entries taken from there.
    pub popped: u64,
    /// Of those, jobs that were not to be had by then: taken, done, moved, or never there.
    pub stale: u64,
    /// Jobs taken from the table.
    pub from_table: u64,
}

// === impl Staged ===

impl Staged {
    /// The database's clock in milliseconds, never ahead of it; `None` while nothing has been copied.
    pub(super) fn now_ms(&self, now: Instant) -> Option<i64> {
        let (at, ms) = self.known.lock().clock?;
        let since = i64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(i64::MAX);
        Some(ms.saturating_add(since))
    }

    /// From where each priority is looked at, `full` from the beginning.
    pub(super) fn levels(&self, full: bool) -> Vec<(i16, Option<DateTime<Utc>>)> {
        let known = self.known.lock();
        let since = |priority: i16| known.since.get(&priority).copied().filter(|_| !full);
        PRIORITIES.map(|priority| (priority, since(priority))).collect()
    }

    /// What a look found, at the database's `now` and answered at `answered`: of each priority how many and the last time.
    pub(super) fn looked(
        &self,
        now: DateTime<Utc>,
        answered: Instant,
        found: impl Iterator<Item = (i16, DateTime<Utc>)>,
    ) {
        let mut levels: BTreeMap<i16, (usize, DateTime<Utc>)> = BTreeMap::new();
        let mut all = 0_usize;
        for (priority, at) in found {
            let level = levels.entry(priority).or_insert((0, at));
            *level = (level.0 + 1, at.max(level.1));
            all += 1;
        }
        let mut known = self.known.lock();
        known.clock = Some((answered, now.timestamp_millis()));
        known.is_cut = levels.values().any(|(n, _)| *n >= MOST);
        known.popped = 0;
        known.figures.staged = known.figures.staged.saturating_add(wide(all));
        let all_before = now - OVERLAP;
        for priority in PRIORITIES {
            let since = match levels.get(&priority) {
                Some((n, last)) if *n >= MOST => (*last).min(all_before),
                _ => all_before,
            };
            known.since.insert(priority, since);
        }
    }

    /// The copy may be gone: the next look is from the beginning, and until then it is not asked.
    pub(super) fn forget(&self) {
        let mut known = self.known.lock();
        (known.clock, known.is_cut) = (None, false);
        known.since.clear();
    }

    /// So many were popped, of which so many could be claimed.
    pub(super) fn popped(&self, popped: usize, claimed: usize, wanted: usize) {
        let mut known = self.known.lock();
        known.popped = known.popped.saturating_add(popped);
        let figures = &mut known.figures;
        figures.popped = figures.popped.saturating_add(wide(popped));
        figures.stale = figures.stale.saturating_add(wide(popped.saturating_sub(claimed)));
        if known.is_cut && (popped < wanted || known.popped >= MOST / 2) {
            known.popped = 0;
            self.hungry.notify_one();
        }
    }

    /// So many came from the table.
    pub(super) fn took_from_table(&self, jobs: usize) {
        let mut known = self.known.lock();
        known.figures.from_table = known.figures.from_table.saturating_add(wide(jobs));
    }

    /// What was done so far.
    #[must_use]
    pub fn figures(&self) -> StagedFigures {
        self.known.lock().figures
    }
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    #[test]
    fn the_clock_goes_on_from_the_last_look_and_is_gone_with_the_copy() {
        let (staged, now) = (Staged::default(), Instant::now());
        assert_eq!(staged.now_ms(now), None, "nothing was copied yet");
        staged.looked(at(1_000_000), now, std::iter::empty());
        assert_eq!(staged.now_ms(now + Duration::from_millis(1_500)), Some(1_001_500));
        staged.forget();
        assert_eq!(staged.now_ms(now), None);
    }

    #[test]
    fn a_look_goes_on_where_the_last_one_was_cut_and_else_a_moment_before_it() {
        let (staged, now) = (Staged::default(), Instant::now());
        let many = std::iter::repeat_n((3, at(400_000)), MOST).chain([(5, at(1_030_000))]);
        staged.looked(at(1_000_000), now, many);
        let levels = staged.levels(false);
        assert_eq!(levels[2], (3, Some(at(400_000))), "there is more of it");
        assert_eq!(
            levels[4],
            (5, Some(at(999_750))),
            "what is due later is looked at again"
        );
        assert_eq!(levels[0], (1, Some(at(999_750))));
        assert!(staged.levels(true).iter().all(|(_, since)| since.is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_was_cut_is_filled_when_half_of_it_is_gone_or_it_runs_dry() {
        let (staged, now) = (Staged::default(), Instant::now());
        let hungry = async || {
            let told = tokio::time::timeout(Duration::from_millis(1), staged.hungry.notified());
            told.await.is_ok()
        };
        staged.looked(at(1_000), now, std::iter::once((1, at(1))));
        staged.popped(0, 0, 100);
        assert!(!hungry().await, "all there is was copied");
        staged.looked(at(1_000), now, std::iter::repeat_n((1, at(1)), MOST));
        staged.popped(100, 100, 100);
        assert!(!hungry().await);
        staged.popped(MOST / 2, MOST / 2, MOST / 2);
        assert!(hungry().await);
        staged.popped(1, 0, 2);
        assert!(hungry().await);
        assert_eq!(staged.figures().stale, 1);
    }
}
