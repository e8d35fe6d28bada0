//! One batch in one worker's hands: limits, panics, and what becomes of each job.

use super::each::{over_time, panicked};
use super::outcome::{JobError, Outcome};
use super::policy::{BUDGET, Policy};
use super::registry::{Turn, Work};
use crate::store::jobs::ClaimedJob;
use crate::supervision::{TaskError, spawn_owned};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A future that is dropped at its time limit ends at once; one that does not is blocking its thread.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Jobs that a worker holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// What was taken, most urgent first.
    pub(super) jobs: Vec<ClaimedJob>,
    /// By our clock, reckoned from before the claim: the lease holds at least until then.
    pub(super) lease_ends: Instant,
}

/// Jobs with what their worker says of them.
#[derive(Debug)]
pub(super) struct Ended {
    /// Each with its outcome.
    pub(super) jobs: Vec<(ClaimedJob, Outcome)>,
    /// See [`Held::lease_ends`].
    pub(super) lease_ends: Instant,
}

/// What is needed to run a batch.
#[derive(Clone)]
pub(super) struct Runner {
    pub(super) work: Arc<dyn Work>,
    pub(super) policy: Policy,
    pub(super) stop: CancellationToken,
}

/// Why a batch gave no outcomes.
enum Trouble {
    Panicked(String),
    TimeLimit,
    Count { got: usize },
}

// === impl Runner ===

impl Runner {
    /// Runs a batch. Whatever happens, there is one outcome for each job.
    pub(super) async fn run(&self, held: Held) -> Ended {
        let Held { jobs, lease_ends } = held;
        let outcomes = match self.attempt(&jobs).await {
            Ok(outcomes) => outcomes,
            Err(Trouble::TimeLimit) => {
                let over = || over_time(self.policy.time_limit);
                jobs.iter().map(|_| over()).collect()
            }
            Err(trouble) if jobs.len() > 1 => {
                // One of them is guilty: alone, only that one fails.
                tracing::warn!(
                    "A batch of {} jobs {trouble}: they are run one by one",
                    jobs.len()
                );
                self.one_by_one(&jobs, lease_ends).await
            }
            Err(trouble) => jobs.iter().map(|_| trouble.outcome()).collect(),
        };
        let jobs = jobs.into_iter().zip(outcomes).collect();
        Ended { jobs, lease_ends }
    }

    async fn one_by_one(&self, jobs: &[ClaimedJob], lease_ends: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            // what cannot be done within the lease is not begun
            let in_time = Instant::now() + self.policy.time_limit < lease_ends;
            if self.stop.is_cancelled() || !in_time {
                outcomes.push(Outcome::Snooze(Duration::ZERO));
                continue;
            }
            let one = match self.attempt(std::slice::from_ref(job)).await {
                Ok(mut one) => one.pop().unwrap_or_else(|| Trouble::Count { got: 0 }.outcome()),
                Err(Trouble::TimeLimit) => over_time(self.policy.time_limit),
                Err(trouble) => trouble.outcome(),
            };
            outcomes.push(one);
        }
        outcomes
    }

    /// Runs jobs together, in a task of their own, so that a panic ends with it.
    async fn attempt(&self, jobs: &[ClaimedJob]) -> Result<Vec<Outcome>, Trouble> {
        let limit = self.policy.time_limit;
        let whole = if self.work.limits_each() {
            // begins the last one within the budget; a moment more, so that it is the one that says so
            BUDGET + limit + Duration::from_secs(1)
        } else {
            limit
        };
        let deadline = Instant::now() + whole;
        let turn = Turn::new(self.stop.clone(), deadline, limit);
        let (work, given) = (Arc::clone(&self.work), jobs.to_vec());
        let mut task = spawn_owned("batch", async move {
            tokio::time::timeout_at(deadline, async move { work.run(given, turn).await }).await
        });
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = tokio::time::sleep_until(deadline + STUCK_AFTER) => {
                let ids: Vec<String> = jobs.iter().map(|j| j.lease.job.to_string()).collect();
                tracing::error!(
                    "Stuck: job(s) {} block a thread beyond their limit of {} s and cannot be ended; the worker waits",
                    ids.join(", "), whole.as_secs()
                );
                task.await
            }
        };
        match ended {
            Ok(Ok(outcomes)) if outcomes.len() == jobs.len() => Ok(outcomes),
            Ok(Ok(outcomes)) => Err(Trouble::Count { got: outcomes.len() }),
            Ok(Err(_)) => Err(Trouble::TimeLimit),
            Err(error @ (TaskError::Panicked { .. } | TaskError::Aborted { .. })) => {
                Err(Trouble::Panicked(error.to_string()))
            }
        }
    }
}

// === impl Trouble ===

impl Trouble {
    /// What it is for the one job it happened to.
    fn outcome(&self) -> Outcome {
        match self {
            Self::Panicked(what) => panicked(what),
            other => Outcome::Retry(JobError::new("outcome_count", format!("the work {other}"))),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Panicked(what) => write!(f, "ended in a panic ({what})"),
            Self::TimeLimit => f.write_str("took too long"),
            Self::Count { got } => write!(f, "gave {got} outcomes, expected one for each job"),
        }
    }
}
