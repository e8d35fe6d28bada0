//! How many jobs a worker takes at once: as many as it can surely do within the budget.
//!
//! A batch that is too large holds its last jobs for minutes while other workers are idle, and what it holds is late when
//! it dies; one that is too small pays a round trip for little. What a job takes is measured and forgotten slowly when
//! it gets faster, quickly when it gets slower.

use super::policy::BUDGET;
use std::time::Duration;

/// Never fewer: the round trip has to pay.
pub const LEAST: usize = 10;
/// Never more: this is what a crash puts back.
pub const MOST: usize = 200;
/// Until something has been measured.
pub const UNMEASURED: usize = 50;
/// Of the budget, a fifth is left free: the next jobs may be slower than the last ones.
const USABLE: f64 = 0.8;

/// What has been measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchSize {
    budget: Duration,
    per_job_s: Option<f64>,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self::within(BUDGET)
    }
}

impl BatchSize {
    /// Batches that are done within `budget`: the queue's, or the whole batch's own limit where that is shorter.
    #[must_use]
    pub fn within(budget: Duration) -> Self {
        Self {
            budget: budget.min(BUDGET),
            per_job_s: None,
        }
    }

    /// A batch of `jobs` took `took`.
    pub fn measured(&mut self, jobs: usize, took: Duration) {
        let Ok(jobs) = u32::try_from(jobs) else { return };
        if jobs == 0 {
            return;
        }
        let new = took.as_secs_f64() / f64::from(jobs);
        self.per_job_s = Some(match self.per_job_s {
            None => new,
            Some(old) if new > old => (old + new) / 2.0,
            Some(old) => old.mul_add(0.8, new * 0.2),
        });
    }

    /// How long a job takes; `None` until one has been measured.
    #[must_use]
    pub fn per_job(&self) -> Option<Duration> {
        self.per_job_s.and_then(|s| Duration::try_from_secs_f64(s).ok())
    }

    /// How many jobs fit.
    #[must_use]
    pub fn size(&self) -> usize {
        let Some(per_job) = self.per_job() else {
            return UNMEASURED;
        };
        let usable_ns = self.budget.mul_f64(USABLE).as_nanos();
        let fit = usable_ns
            .checked_div(per_job.as_nanos())
            .map_or(MOST, |n| usize::try_from(n).unwrap_or(MOST));
        fit.clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(jobs: usize, took_s: f64) -> usize {
        let mut size = BatchSize::default();
        size.measured(jobs, Duration::from_secs_f64(took_s));
        size.size()
    }

    #[test]
    fn fifty_until_measured_then_what_fits_into_four_fifths_of_the_budget() {
        assert_eq!(BatchSize::default().size(), 50);
        assert_eq!(after(50, 0.001), 200, "fast ones: the most");
        assert_eq!(after(10, 24.0), 100, "2.4 s each: 240 s / 2.4 s");
        assert_eq!(after(10, 600.0), 10, "a minute each: the least");
        assert_eq!(after(0, 600.0), 50, "an empty batch says nothing");
    }

    #[test]
    fn a_batch_with_a_limit_of_its_own_is_made_for_that() {
        let mut size = BatchSize::within(Duration::from_secs(120));
        size.measured(50, Duration::from_secs(60));
        assert_eq!(size.size(), 80, "96 s / 1.2 s");
    }

    #[test]
    fn what_gets_slower_is_believed_sooner_than_what_gets_faster() {
        let mut size = BatchSize::default();
        size.measured(1, Duration::from_secs(2));
        size.measured(1, Duration::from_secs(10));
        assert_eq!(size.size(), 40, "6 s each");
        size.measured(1, Duration::from_secs(1));
        assert_eq!(size.size(), 48, "5 s each");
    }

    proptest! {
        #[test]
        fn a_batch_is_in_bounds_and_fits_the_budget_where_it_can(took in prop::collection::vec((1_usize..300, 0_u64..1_000_000), 1..20)) {
            let mut size = BatchSize::default();
            for (jobs, ms) in took {
                size.measured(jobs, Duration::from_millis(ms));
            }
            let n = size.size();
            prop_assert!((LEAST..=MOST).contains(&n));
            if n > LEAST {
                let whole = size.per_job().unwrap() * u32::try_from(n).unwrap();
                prop_assert!(whole <= BUDGET.mul_f64(USABLE) + Duration::from_millis(1));
            }
        }
    }
}
