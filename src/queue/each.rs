//! A [`Work`] from a function of one job.

use super::outcome::{JobError, Outcome};
use super::policy::BUDGET;
use super::registry::{Turn, Work};
use crate::store::jobs::ClaimedJob;
use crate::supervision::{TaskError, spawn_owned};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Does jobs one after the other, each in a task of its own: its panic and its time limit are its own.
///
/// What is not begun when the worker is asked to stop, or when the batch has used up its budget, goes back without using
/// a try.
pub fn each<F, Fut>(work: F) -> impl Work
where
    F: Fn(ClaimedJob, Turn) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    Each(Arc::new(work))
}

struct Each<F>(Arc<F>);

impl<F, Fut> Work for Each<F>
where
    F: Fn(ClaimedJob, Turn) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    fn run(&self, jobs: Vec<ClaimedJob>, turn: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        let work = Arc::clone(&self.0);
        async move {
            let mut outcomes = Vec::with_capacity(jobs.len());
            for job in jobs {
                outcomes.push(one(&*work, job, &turn).await);
            }
            outcomes
        }
        .boxed()
    }

    fn limits_each(&self) -> bool {
        true
    }
}

async fn one<F, Fut>(work: &F, job: ClaimedJob, turn: &Turn) -> Outcome
where
    F: Fn(ClaimedJob, Turn) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    if turn.stopping().is_cancelled() || Instant::now() >= turn.begun() + BUDGET {
        return Outcome::Snooze(Duration::ZERO);
    }
    let limit = turn.time_limit();
    let deadline = turn.deadline().min(Instant::now() + limit);
    let own = Turn::new(turn.stopping().clone(), deadline, limit);
    // the call itself may panic, too
    let made = std::panic::AssertUnwindSafe(|| work(job, own));
    let future = match std::panic::catch_unwind(made) {
        Ok(future) => future,
        Err(_) => return panicked("the job panicked before its first await"),
    };
    let task = spawn_owned("job", future);
    match tokio::time::timeout_at(deadline, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error @ (TaskError::Panicked { .. } | TaskError::Aborted { .. }))) => {
            panicked(&error.to_string())
        }
        Err(_) => over_time(limit),
    }
}

/// A try that ended in a panic.
pub(super) fn panicked(what: &str) -> Outcome {
    Outcome::Retry(JobError::new("panic", what))
}

/// A try that took too long.
pub(super) fn over_time(limit: Duration) -> Outcome {
    let message = format!("the job was not done within {} s", limit.as_secs_f32());
    Outcome::Retry(JobError::new("time_limit", message))
}
