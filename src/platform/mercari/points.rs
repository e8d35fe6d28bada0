//! The hour's cost points.
//!
//! Mercari counts what each request costs (its complexity by 100, at least 1) and takes 10,000 points an hour for one
//! shop, all its tokens together. Requests beyond that are refused with 429, so they are not sent.
//!
//! The rule is a sliding hour and not a bucket that fills: a full bucket and what flows in meanwhile would be twice the
//! allowance within one hour. Points are counted in slots of ten seconds and forgotten when the whole slot is an hour old,
//! so that no hour, wherever it begins, ever holds more than the allowance. Pure: the moment is a parameter. What other
//! programs spend is not known here; for them the allowance can be set lower.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3_600);
/// How exactly the hour slides; 361 slots at most are kept.
const SLOT: Duration = Duration::from_secs(10);

/// What was spent within one slot.
#[derive(Clone, Copy, Debug)]
struct Slot {
    begins: Instant,
    points: u32,
}

impl Slot {
    /// From then on none of it counts.
    fn over_at(self) -> Instant {
        self.begins + SLOT + HOUR
    }
}

/// The points of the last hour.
#[derive(Clone, Debug)]
pub struct Points {
    per_hour: u32,
    spent: VecDeque<Slot>,
}

impl Points {
    /// An hour in which nothing was spent, with `per_hour` points to spend; at least 1.
    #[must_use]
    pub fn new(per_hour: u32) -> Self {
        Self {
            per_hour: per_hour.max(1),
            spent: VecDeque::new(),
        }
    }

    /// Spends `points` at `now`. What costs more than a whole hour's points is taken for all of them.
    ///
    /// # Errors
    /// How long until so many are free; nothing is spent.
    pub fn take(&mut self, points: u32, now: Instant) -> Result<(), Duration> {
        self.forget(now);
        if let Some(wait) = self.free_in(points, now) {
            return Err(wait);
        }
        match self.spent.back_mut().filter(|slot| now < slot.begins + SLOT) {
            Some(slot) => slot.points = slot.points.saturating_add(points),
            None => self.spent.push_back(Slot { begins: now, points }),
        }
        Ok(())
    }

    /// How many may be spent in an hour, how many of them are left, and how long until all are.
    #[must_use]
    pub fn left(&self, now: Instant) -> (u32, u32, Duration) {
        let counting = || self.spent.iter().filter(|slot| slot.over_at() > now);
        let used = counting().fold(0_u32, |sum, slot| sum.saturating_add(slot.points));
        let last = counting()
            .next_back()
            .map(|slot| slot.over_at().saturating_duration_since(now));
        (
            self.per_hour,
            self.per_hour.saturating_sub(used),
            last.unwrap_or_default(),
        )
    }

    /// How long until `points` are free; `None` when they are at `now`.
    #[must_use]
    pub fn free_in(&self, points: u32, now: Instant) -> Option<Duration> {
        let wanted = points.min(self.per_hour);
        let counting = || self.spent.iter().filter(|slot| slot.over_at() > now);
        let mut used = counting().fold(0_u32, |sum, slot| sum.saturating_add(slot.points));
        for slot in counting() {
            if used.saturating_add(wanted) <= self.per_hour {
                return None;
            }
            used = used.saturating_sub(slot.points);
            if used.saturating_add(wanted) <= self.per_hour {
                return Some(slot.over_at().saturating_duration_since(now));
            }
        }
        None
    }

    fn forget(&mut self, now: Instant) {
        while self.spent.front().is_some_and(|slot| slot.over_at() <= now) {
            self.spent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_comes_back_an_hour_later_and_not_before() {
        let mut points = Points::new(10);
        assert_eq!(points.take(4, Instant::now()), Ok(()));
        tokio::time::advance(s(600)).await;
        assert_eq!(points.take(6, Instant::now()), Ok(()));
        assert_eq!(points.take(1, Instant::now()), Err(s(3_010)));
        assert_eq!(points.left(Instant::now()), (10, 0, s(3_610)));
        // More than the first slot gives back has to wait for the second.
        assert_eq!(points.free_in(5, Instant::now()), Some(s(3_610)));
        tokio::time::advance(s(3_009)).await;
        assert_eq!(points.take(1, Instant::now()), Err(s(1)));
        tokio::time::advance(s(1)).await;
        assert_eq!(points.left(Instant::now()), (10, 4, s(600)));
        assert_eq!(points.take(4, Instant::now()), Ok(()));
        assert_eq!(points.take(1, Instant::now()), Err(s(600)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_spends_nothing_and_what_costs_too_much_waits_for_an_empty_hour() {
        let mut points = Points::new(3);
        let now = Instant::now();
        assert_eq!(points.take(2, now), Ok(()));
        assert!(points.take(2, now).is_err());
        assert_eq!(points.take(1, now), Ok(()));
        assert_eq!(points.free_in(99, now), Some(s(3_610)));
        assert_eq!(points.take(99, now + s(3_610)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_hour_ever_holds_more_than_the_allowance(
            asks in proptest::collection::vec((0_u64..400, 1_u32..9), 1..300),
        ) {
            let (mut points, mut now) = (Points::new(50), Instant::now());
            let mut taken: Vec<(Instant, u32)> = Vec::new();
            for (gap, cost) in asks {
                now += s(gap);
                match points.take(cost, now) {
                    Ok(()) => taken.push((now, cost)),
                    Err(wait) => prop_assert!(wait > Duration::ZERO && wait <= HOUR + SLOT),
                }
                let of_hour = taken.iter().filter(|(at, _)| *at + HOUR > now).map(|(_, cost)| cost);
                prop_assert!(of_hour.sum::<u32>() <= 50);
            }
        }
    }
}
