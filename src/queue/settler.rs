//! Writes what became of jobs, all that ended in the last milliseconds in one statement.
//!
//! While one statement is under way the next results gather, so there is no timer and no waiting: an idle lane settles
//! one job at once, a busy one hundreds together. When the database is away, results are kept and settled when it is
//! back, as long as their leases hold; meanwhile the lane takes nothing new, because [`Desk::put`] waits for room.

use super::finish::{Finished, finish_many_in};
use super::outcome::{JobError, Outcome};
use super::policy::Policy;
use super::runner::Ended;
use super::tally::Tally;
use crate::store::jobs::ClaimedJob;
use crate::store::{Db, StoreError};
use crate::supervision::{OwnedTask, spawn_owned};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Rows in one statement: beyond this a larger one saves nothing.
const GROUP: usize = 1_000;
/// Batches that wait to be settled: a hiccup's worth, so that an outage holds the workers, not our memory.
const ROOM: usize = 16;
/// The wait between tries while the database is away.
const AGAIN: Duration = Duration::from_millis(250);

/// Where workers put what they have done. Cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    line: mpsc::Sender<Ended>,
}

/// The settler at work. It ends when every [`Desk`] is gone and all is written.
pub(super) struct Settler {
    task: OwnedTask<()>,
}

impl Desk {
    /// Hands in what was done; waits while too much is unsettled.
    pub(super) async fn put(&self, ended: Ended) {
        // closed only when the settler is gone, and then the leases run out
        let _ = self.line.send(ended).await;
    }
}

impl Settler {
    /// Starts one.
    pub(super) fn start(db: Db, policy: Policy, tally: Arc<Tally>) -> (Self, Desk) {
        let (line, ended) = mpsc::channel(ROOM);
        let task = spawn_owned("settler", settle_all(db, policy, tally, ended));
        (Self { task }, Desk { line })
    }

    /// Waits until all is written, at most until `deadline`; false when something is left.
    pub(super) async fn finished(&mut self, deadline: Instant) -> bool {
        tokio::time::timeout_at(deadline, &mut self.task).await.is_ok()
    }
}

async fn settle_all(db: Db, policy: Policy, tally: Arc<Tally>, mut line: mpsc::Receiver<Ended>) {
    while let Some(first) = line.recv().await {
        let mut group = vec![first];
        let mut jobs = group.first().map_or(0, |e| e.jobs.len());
        while jobs < GROUP
            && let Ok(more) = line.try_recv()
        {
            jobs += more.jobs.len();
            group.push(more);
        }
        settle_group(&db, &policy, &tally, group).await;
    }
}

async fn settle_group(db: &Db, policy: &Policy, tally: &Tally, group: Vec<Ended>) {
    let lease_ends = group.iter().map(|e| e.lease_ends).max();
    let mut jobs: Vec<(ClaimedJob, Outcome)> = group.into_iter().flat_map(|e| e.jobs).collect();
    let mut again = false;
    loop {
        match write(db, policy, &jobs).await {
            Ok(finished) => {
                told(&jobs, &finished, tally, again);
                return;
            }
            Err(error) if error.is_bad_data() => {
                tracing::debug!("A group of results is settled one by one: {error}");
                jobs = one_by_one(db, policy, tally, jobs).await;
                if jobs.is_empty() {
                    return;
                }
                again = true;
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) if lease_ends.is_some_and(|at| Instant::now() < at) => {
                if !again {
                    tracing::warn!("{} results wait for the database: {error}", jobs.len());
                }
                again = true;
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                tracing::error!(
                    "{} results are thrown away, their leases have run out before the database was back; the jobs \
                     are done again: {error}",
                    jobs.len()
                );
                tally.lost(jobs.len());
                return;
            }
        }
    }
}

async fn write(
    db: &Db,
    policy: &Policy,
    jobs: &[(ClaimedJob, Outcome)],
) -> Result<Vec<Finished>, StoreError> {
    let mut conn = db.conn().await?;
    let finished = jobs.iter().map(|(job, outcome)| (job, outcome.clone()));
    finish_many_in(&mut conn, finished.collect(), policy).await
}

/// One of them holds what the database refuses to keep: it loses its words, not its outcome. Answers those that could not
/// be written because the database went away meanwhile.
async fn one_by_one(
    db: &Db,
    policy: &Policy,
    tally: &Tally,
    jobs: Vec<(ClaimedJob, Outcome)>,
) -> Vec<(ClaimedJob, Outcome)> {
    let mut rest = Vec::new();
    for (job, outcome) in jobs {
        if !rest.is_empty() {
            rest.push((job, outcome));
            continue;
        }
        let id = job.lease.job;
        let mut one = [(job, outcome)];
        let mut written = write(db, policy, &one).await;
        if let Err(error) = &written
            && error.is_bad_data()
        {
            tracing::error!(job.id = %id, "The words of job `{id}` cannot be kept, its outcome is: {error}");
            one = one.map(|(job, outcome)| (job, without_words(outcome)));
            written = write(db, policy, &one).await;
        }
        match written {
            // the group may have been written in part
            Ok(finished) => told(&one, &finished, tally, true),
            Err(error) if error.is_bad_data() => {
                tracing::error!(job.id = %id, "Job `{id}` is left to its lease: {error}");
                tally.lost(1);
            }
            Err(_) => rest.extend(one),
        }
    }
    rest
}

fn without_words(outcome: Outcome) -> Outcome {
    let error = || JobError::new("unprintable", "the error's text cannot be kept in the database");
    match outcome {
        Outcome::Done(_) => Outcome::Done(Value::Null),
        Outcome::Snooze(delay) => Outcome::Snooze(delay),
        Outcome::Retry(_) => Outcome::Retry(error()),
        Outcome::Discard(_) => Outcome::Discard(error()),
    }
}

fn told(jobs: &[(ClaimedJob, Outcome)], finished: &[Finished], tally: &Tally, again: bool) {
    for ((job, _), finished) in jobs.iter().zip(finished) {
        tally.finished(*finished);
        match finished {
            Finished::LostLease if again => tracing::info!(
                job.id = %job.lease.job,
                "Job `{}` was settled before the connection broke, or somebody else has it",
                job.lease.job
            ),
            Finished::LostLease => tracing::warn!(
                job.id = %job.lease.job, "The lease of job `{}` was lost: its result is thrown away", job.lease.job
            ),
            Finished::Settled(crate::store::jobs::JobStatus::Dead) => tracing::error!(
                job.id = %job.lease.job, "Job `{}` of {} is a dead letter", job.lease.job, job.lane
            ),
            Finished::Settled(_) => {}
        }
    }
}
