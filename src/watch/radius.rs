//! The blast radius of watching: how many products may go out of stock at once before a person is asked.
//!
//! A page layout that changed, a login page read as "sold out", a seller account that was suspended: each empties many
//! listings within minutes, and each is far more likely than that many buyers. One watch cannot see it; the ledger sees
//! all of them. What goes out of stock *explained* (an auction that ended at its appointment and says so) does not
//! count: five thousand auctions end at 22:00 on a Sunday, and that is that.
//!
//! Those that come before the limit is reached pass; from the one that reaches it on, every further one waits, as long
//! as the last ten minutes hold that many. Those that wait count, so a stream of them keeps the guard up. The window
//! runs on the monotonic clock (a wall clock that jumps must neither open nor shut it) and is rebuilt from the tables at
//! start, so that a restart in the middle of it is no way around.

use crate::domain::{BasisPoints, WatchId};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// When it is too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RadiusRules {
    /// Never fewer than this: a shop of thirty products may lose nine within ten minutes.
    pub at_least: u64,
    /// The share of the source's products.
    pub share: BasisPoints,
    /// Within how long.
    pub window: Duration,
}

impl Default for RadiusRules {
    /// 5 %, and at least 10, within 10 minutes.
    fn default() -> Self {
        Self {
            at_least: 10,
            share: BasisPoints(500),
            window: Duration::from_secs(600),
        }
    }
}

impl RadiusRules {
    /// How many are too many, of `products`.
    #[must_use]
    pub fn limit(&self, products: u64) -> u64 {
        let share = products.saturating_mul(u64::from(self.share.0)).div_ceil(10_000);
        share.max(self.at_least)
    }
}

/// The last minutes of one source.
#[derive(Debug)]
pub struct Radius {
    rules: RadiusRules,
    last: HashMap<WatchId, Instant>,
    order: VecDeque<(Instant, WatchId)>,
}

impl Radius {
    /// An empty window.
    #[must_use]
    pub fn new(rules: RadiusRules) -> Self {
        Self {
            rules,
            last: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Counts a watch that went out of stock at `at`, which may lie in the past.
    pub fn count(&mut self, watch: WatchId, at: Instant) {
        self.last.insert(watch, at);
        self.order.push_back((at, watch));
    }

    /// Whether, of `products`, too many have gone by `now`; if so, how many.
    pub fn exceeded(&mut self, products: u64, now: Instant) -> Option<u64> {
        while let Some((at, watch)) = self.order.front().copied() {
            if now.saturating_duration_since(at) < self.rules.window {
                break;
            }
            self.order.pop_front();
            // It may have gone again since.
            if self.last.get(&watch) == Some(&at) {
                self.last.remove(&watch);
            }
        }
        let gone = u64::try_from(self.last.len()).unwrap_or(u64::MAX);
        (gone >= self.rules.limit(products)).then_some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(radius: &mut Radius, ids: std::ops::Range<i64>, at: Instant) {
        ids.for_each(|id| radius.count(WatchId(id), at));
    }

    #[test]
    fn the_limit_is_five_percent_and_at_least_ten() {
        let rules = RadiusRules::default();
        let limits = [0, 10, 200, 201, 5_000].map(|n| rules.limit(n));
        assert_eq!(limits, [10, 10, 10, 11, 250]);
    }

    #[test]
    fn the_one_that_reaches_the_limit_is_too_many() {
        let mut radius = Radius::new(RadiusRules::default());
        let now = Instant::now();
        gone(&mut radius, 0..249, now);
        assert_eq!(radius.exceeded(5_000, now), None);
        gone(&mut radius, 249..250, now);
        assert_eq!(radius.exceeded(5_000, now), Some(250));
    }

    #[test]
    fn one_watch_counts_once_however_often_it_goes() {
        let mut radius = Radius::new(RadiusRules::default());
        let now = Instant::now();
        (0..50).for_each(|_| radius.count(WatchId(1), now));
        assert_eq!(radius.exceeded(100, now), None);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut radius = Radius::new(RadiusRules::default());
        let start = Instant::now();
        gone(&mut radius, 0..9, start);
        let later = start + Duration::from_secs(400);
        gone(&mut radius, 8..10, later);
        assert_eq!(radius.exceeded(100, later), Some(10));
        assert_eq!(radius.exceeded(100, start + Duration::from_secs(601)), None);
        gone(&mut radius, 20..28, start + Duration::from_secs(601));
        assert_eq!(radius.exceeded(100, start + Duration::from_secs(601)), Some(10));
    }
}
