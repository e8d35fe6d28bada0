//! Finishing held jobs, inside the caller's transaction.

use super::job::{self, IllegalTransition};
use super::outcome::Outcome;
use super::policy::Policy;
use crate::store::jobs::{ClaimedJob, JobStatus, Lease, Settlement, settle};
use crate::store::{Connection, StoreError};
use std::collections::HashSet;

/// What became of a worker's word about its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It stands: the job is now this.
    Settled(JobStatus),
    /// The lease had run out and somebody else has the job: throw the result away.
    LostLease,
}

/// Writes what became of one job.
///
/// A caller whose job concerns a row (a listing) locks that row first, looks whether more
/// is wanted by now, and then finishes with [`Outcome::Snooze`] of nothing instead of [`Outcome::Done`].
///
/// # Errors
/// Those of the database.
pub async fn finish_in(
    conn: &mut Connection,
    claimed: &ClaimedJob,
    outcome: Outcome,
    policy: &Policy,
) -> Result<Finished, StoreError> {
    let all = finish_many_in(conn, vec![(claimed, outcome)], policy).await?;
    Ok(all.into_iter().next().unwrap_or(Finished::LostLease))
}

/// Writes what became of several jobs together; one answer for each, in order.
///
/// # Errors
/// Those of the database.
pub async fn finish_many_in(
    conn: &mut Connection,
    finished: Vec<(&ClaimedJob, Outcome)>,
    policy: &Policy,
) -> Result<Vec<Finished>, StoreError> {
    let settled = decide(finished, policy).map_err(StoreError::bad_row)?;
    let held: HashSet<_> = settle(conn, &settled).await?.into_iter().collect();
    let answer = settled.into_iter().map(|(lease, next)| {
        if held.contains(&lease.job) {
            Finished::Settled(next.status)
        } else {
            Finished::LostLease
        }
    });
    Ok(answer.collect())
}

fn decide(
    finished: Vec<(&ClaimedJob, Outcome)>,
    policy: &Policy,
) -> Result<Vec<(Lease, Settlement)>, IllegalTransition> {
    let mut rng = rand::rng();
    finished
        .into_iter()
        .map(|(claimed, outcome)| {
            let (used, most) = (claimed.retry_count, claimed.max_retries);
            let next = job::settled(JobStatus::Processing, used, most, outcome, policy, &mut rng)?;
            Ok((claimed.lease, next))
        })
        .collect()
}
