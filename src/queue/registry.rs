//! Who does what kind of job.
//!
//! A lane with a [`Work`] is served by this process; a lane without one is left alone: its jobs wait for a process that
//! knows them. Whoever writes a [`Work`] may rely on this and on no more:
//!
//! - A job may come twice: its worker may have died after it had done everything and before it could say so.
//! - A panic, a time limit or a wrong number of outcomes costs the job in hand a try, never the process.
//! - When [`Turn::stopping`] is cancelled, what has not begun is best answered with [`Outcome::Snooze`] of nothing; what
//!   runs on is given the grace of the daemon's drain, and is then dropped and put back without using a try.

use super::outcome::Outcome;
use super::policy::Policy;
use crate::store::jobs::{ClaimedJob, Lane};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a kind of job needs done.
pub trait Work: Send + Sync + 'static {
    /// Does a batch; one outcome for each job, in order. (Dropped at the time limit.)
    fn run(&self, jobs: Vec<ClaimedJob>, turn: Turn) -> BoxFuture<'static, Vec<Outcome>>;

    /// Whether it holds each of its jobs to [`Turn::time_limit`] itself, as [`each`](super::each()) does. The batch then may
    /// take longer than one job.
    fn limits_each(&self) -> bool {
        false
    }
}

/// What a worker may know of the turn it takes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Turn {
    stop: CancellationToken,
    begun: Instant,
    deadline: Instant,
    time_limit: Duration,
}

/// The kinds of job that this process does.
#[derive(Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

/// One lane's work and rules.
#[derive(Clone)]
pub struct Entry {
    /// Queue and destination.
    pub lane: Lane,
    /// What is done.
    pub work: Arc<dyn Work>,
    /// Limits and retries.
    pub policy: Policy,
}

// === impl Turn ===

impl Turn {
    /// A turn that begins now and is over at `deadline`; one job may take `time_limit`.
    #[must_use]
    pub fn new(stop: CancellationToken, deadline: Instant, time_limit: Duration) -> Self {
        let begun = Instant::now();
        Self {
            stop,
            begun,
            deadline,
            time_limit,
        }
    }

    /// Cancelled when the worker is asked to stop.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// When the batch began.
    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// What is not done by then is dropped.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long one job may take.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        self.time_limit
    }
}

// === impl Registry ===

impl Registry {
    /// Has the jobs of `lane` done by `work`. A second work for the same lane takes the place of the first.
    pub fn register(&mut self, lane: Lane, work: impl Work, policy: Policy) {
        let entry = Entry {
            lane,
            work: Arc::new(work),
            policy,
        };
        match self.entries.iter_mut().find(|e| e.lane == lane) {
            Some(there) => *there = entry,
            None => self.entries.push(entry),
        }
    }

    /// What was registered, in that order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
