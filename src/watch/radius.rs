//! The blast radius of watching: how many products may go out of stock at once before a person is asked.
//!
//! A page layout that changed, a login page read as "sold out", a seller account that was suspended: each empties many
//! listings within minutes, and each is far more likely than that many buyers. One watch cannot see it; the ledger sees
//! all of them. What goes out of stock *explained* (an auction that ended at its appointment and says so) does not
//! count: five thousand auctions end at 22:00 on a Sunday, and that is that.
//!
//! There are two limits, and the smaller counts: a share of the *products*, and a share of the *looks* made within the
//! window. A shop of 100,000 that is looked at once a second shows 600 of them in ten minutes, which is never 5 % of it: a
//! layout that reads every page as sold out would empty the whole shop, page by page, beneath the first limit. Of what
//! was looked at, that many do not sell by themselves. Neither of the two is ever less than `at_least`.
//!
//! Those that come before the limit is reached pass; from the one that reaches it on, every further one waits, as long
//! as the last ten minutes hold that many. Those that wait count, so a stream of them keeps the guard up. The window
//! runs on the monotonic clock (a wall clock that jumps must neither open nor shut it) and is rebuilt from the tables at
//! start, so that a restart in the middle of it is no way around.

use crate::domain::{BasisPoints, WatchId};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Which share of the looks is too many. Even the products that change most are found out of stock at one look in some
/// twenty (`planner.md`), so three in ten are no trade any more; after days without a look they may be, and are then
/// confirmed half an hour later.
const SHARE_OF_LOOKS: BasisPoints = BasisPoints(3_000);
/// Looks are kept for this long together: exact enough for a window of minutes, and sixty numbers for ten of them.
const LOOKS_TOGETHER: Duration = Duration::from_secs(10);

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
    /// How many are too many, of `products` and after `looks` at them.
    #[must_use]
    pub fn limit(&self, products: u64, looks: u64) -> u64 {
        let share = |of: u64, share: BasisPoints| of.saturating_mul(u64::from(share.0)).div_ceil(10_000);
        share(products, self.share)
            .min(share(looks, SHARE_OF_LOOKS))
            .max(self.at_least)
    }
}

/// The last minutes of one source.
#[derive(Debug)]
pub struct Radius {
    rules: RadiusRules,
    last: HashMap<WatchId, Instant>,
    order: VecDeque<(Instant, WatchId)>,
    /// When each bundle of looks began, and how many they are; how many they are together.
    looks: VecDeque<(Instant, u64)>,
    looked: u64,
}

impl Radius {
    /// An empty window.
    #[must_use]
    pub fn new(rules: RadiusRules) -> Self {
        Self {
            rules,
            last: HashMap::new(),
            order: VecDeque::new(),
            looks: VecDeque::new(),
            looked: 0,
        }
    }

    /// Other rules from here on, for what was counted too.
    pub fn change(&mut self, rules: RadiusRules) {
        self.rules = rules;
    }

    /// Counts looks that could have found something gone. Looks by which an announced end was found are none of them.
    pub fn look(&mut self, looks: u64, at: Instant) {
        self.looked = self.looked.saturating_add(looks);
        match self.looks.back_mut() {
            Some((began, some)) if at.saturating_duration_since(*began) < LOOKS_TOGETHER => {
                *some = some.saturating_add(looks);
            }
            _ => self.looks.push_back((at, looks)),
        }
        self.forget_looks(at);
    }

    /// How many looks the window holds at `now`.
    pub fn looks(&mut self, now: Instant) -> u64 {
        self.forget_looks(now);
        self.looked
    }

    fn forget_looks(&mut self, now: Instant) {
        while let Some((began, some)) = self.looks.front().copied() {
            if now.saturating_duration_since(began) < self.rules.window {
                break;
            }
            self.looks.pop_front();
            self.looked = self.looked.saturating_sub(some);
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
        let looks = self.looks(now);
        (gone >= self.rules.limit(products, looks)).then_some(gone)
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
        let limits = [0, 10, 200, 201, 5_000].map(|n| rules.limit(n, 1_000_000));
        assert_eq!(limits, [10, 10, 10, 11, 250]);
    }

    #[test]
    fn of_few_looks_it_is_three_in_ten_however_many_products_there_are() {
        let rules = RadiusRules::default();
        let limits = [0, 33, 34, 600, 10_000].map(|looks| rules.limit(100_000, looks));
        assert_eq!(limits, [10, 10, 11, 180, 3_000]);
        assert_eq!(rules.limit(100_000, 20_000), 5_000);
    }

    #[test]
    fn a_shop_that_is_looked_at_slowly_is_not_emptied_page_by_page() {
        let mut radius = Radius::new(RadiusRules::default());
        let start = Instant::now();
        let mut passed = 0;
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            radius.look(1, now);
            // An hour of usual trade before: one look in twenty finds something sold.
            if second < 300 && second % 20 != 0 {
                continue;
            }
            radius.count(WatchId(i64::try_from(second).unwrap()), now);
            passed += u64::from(radius.exceeded(100_000, now).is_none());
        }
        assert!((50..150).contains(&passed), "{passed} of 300 passed");
        let later = start + Duration::from_secs(1_300);
        assert_eq!((radius.looks(later), radius.exceeded(100_000, later)), (0, None));
    }

    #[test]
    fn the_one_that_reaches_the_limit_is_too_many() {
        let mut radius = Radius::new(RadiusRules::default());
        let now = Instant::now();
        radius.look(5_000, now);
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
