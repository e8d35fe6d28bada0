//! Numbers of the queue, each with its reason.

use crate::backoff::{Backoff, Jitter};
use std::time::Duration;

/// A batch is made so large that it is surely done within this: what a worker holds meanwhile, nobody else can do.
pub const BUDGET: Duration = Duration::from_secs(300);

/// How long a job may take, how it is retried, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How long one try may take.
    pub time_limit: Duration,
    /// How much longer than the time limit a lease lasts, so that a worker that ends in time can still say so.
    pub lease_slack: Duration,
    /// The wait before each retry.
    pub backoff: Backoff,
    /// So many workers dead within [`Self::poison_window`] make the job a dead letter: once is chance, twice bad luck.
    pub poison_deaths: usize,
    /// How far back deaths count: long enough for a nightly job to be recognised.
    pub poison_window: Duration,
}

impl Default for Policy {
    #[expect(
        clippy::expect_used,
        reason = "the bounds are the constants beside it, and a test builds them"
    )]
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            time_limit: 10 * minute,
            lease_slack: minute / 2,
            // Ten seconds outlast a hiccup; a quarter of an hour is what an operator notices. The whole wait is drawn:
            // jobs that failed together must not come back together.
            backoff: Backoff::new(minute / 6, 15 * minute, Jitter::FULL)
                .expect("ten seconds to a quarter of an hour"),
            poison_deaths: 3,
            poison_window: 72 * 60 * minute,
        }
    }
}

impl Policy {
    /// How long a claim holds a job: its turn in the batch comes within the budget, and then it has its time limit.
    #[must_use]
    pub fn lease(&self) -> Duration {
        BUDGET
            .saturating_add(self.time_limit)
            .saturating_add(self.lease_slack)
    }
}
