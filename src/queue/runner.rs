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

#[cfg(test)]
mod tests {
    use super::super::each::each;
    use super::*;
    use crate::domain::JobId;
    use crate::store::jobs::{Lane, Lease, QueueName};
    use chrono::DateTime;
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use serde_json::{Value, json};

    fn job(n: i64) -> ClaimedJob {
        ClaimedJob {
            lease: Lease {
                job: JobId(n),
                attempt: 1,
                token: uuid::Uuid::nil(),
            },
            lane: Lane {
                queue: QueueName::Validation,
                destination: None,
            },
            product_id: None,
            listing_id: None,
            priority: 5,
            retry_count: 0,
            max_retries: 3,
            payload: json!({}),
            scheduled_at: DateTime::UNIX_EPOCH,
            lease_until: DateTime::UNIX_EPOCH,
            execution_id: None,
        }
    }

    async fn run(work: impl Work, jobs: i64, stop: &CancellationToken) -> Vec<String> {
        let runner = Runner {
            work: Arc::new(work),
            policy: Policy::default(),
            stop: stop.clone(),
        };
        let held = Held {
            jobs: (0..jobs).map(job).collect(),
            lease_ends: Instant::now() + Policy::default().lease(),
        };
        let ended = runner.run(held).await;
        let word = |outcome: Outcome| match outcome {
            Outcome::Done(_) => "done".to_owned(),
            Outcome::Snooze(_) => "back".to_owned(),
            Outcome::Retry(error) => error.code.into(),
            Outcome::Discard(error) => format!("discard {}", error.code),
        };
        ended.jobs.into_iter().map(|(_, outcome)| word(outcome)).collect()
    }

    /// Never ends.
    struct Endless;

    impl Work for Endless {
        fn run(&self, _: Vec<ClaimedJob>, _: Turn) -> BoxFuture<'static, Vec<Outcome>> {
            std::future::pending().boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_never_ends_is_over_at_its_limit() {
        let began = Instant::now();
        let ended = run(Endless, 2, &CancellationToken::new()).await;
        assert_eq!(ended, ["time_limit", "time_limit"]);
        assert_eq!(began.elapsed().as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_begun_within_the_budget_goes_back_without_using_a_try() {
        let slow = each(|_, _| async {
            tokio::time::sleep(Duration::from_secs(120)).await;
            Outcome::Done(Value::Null)
        });
        let ended = run(slow, 5, &CancellationToken::new()).await;
        assert_eq!(ended, ["done", "done", "done", "back", "back"]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_job_has_its_own_limit_and_its_own_panic() {
        let odd = each(|job: ClaimedJob, _| async move {
            match job.lease.job.0 {
                0 => panic!("the first"),
                1 => std::future::pending().await,
                _ => Outcome::Done(Value::Null),
            }
        });
        let ended = run(odd, 2, &CancellationToken::new()).await;
        assert_eq!(ended, ["panic", "time_limit"]);
        let begins = each(|_, _| -> std::future::Ready<Outcome> { panic!("before its first await") });
        assert_eq!(run(begins, 1, &CancellationToken::new()).await, ["panic"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_begun_at_a_stop_goes_back() {
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let work = each(move |_, _| {
            asked.cancel();
            async { Outcome::Done(Value::Null) }
        });
        assert_eq!(run(work, 3, &stop).await, ["done", "back", "back"]);
    }
}
