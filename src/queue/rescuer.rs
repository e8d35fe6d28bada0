//! Puts back the work of workers that are gone.
//!
//! A job is rescued when its lease has run out, when its node was declared dead or has left, or, once at the start, when
//! an earlier life of this very node holds it. Of several nodes one does so at a time, its own earlier lives aside. A
//! rescue is fenced like every other write: it settles the lease it saw, so a worker that finishes in between wins, and a
//! job that was taken again is left alone. Each rescue counts as a death of its worker.
//!
//! Beside it, every node looks after the database's clock: when that is set back, what waits would be due as much later.

use super::job::{self, IllegalTransition};
use super::policy::Policy;
use crate::nodes::{Ownership, RESCUE};
use crate::store::jobs::{
    Abandoned, JobStatus, Lease, Settlement, WorkerId, due_by_a_clock_that_was_ahead, lock_expired,
    lock_of_the_dead, lock_orphans, settle,
};
use crate::store::{Db, StoreError, looping, schedules};
use crate::supervision::Life;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// Jobs in one transaction: enough to clear a crashed daemon's work at once, few enough to hold no lock for long.
const BATCH: i64 = 500;

/// Leases last minutes: a job is back within seconds of its lease's end, or of its node's burial.
const EVERY: Duration = Duration::from_secs(5);
/// One sweep after a crash of everything may have much to put back.
const SWEEP_LIMIT: Duration = Duration::from_secs(120);

/// Puts back the work of this node's earlier lives, then what runs out, until it is asked to stop.
pub(super) async fn keep_rescuing(
    db: Db,
    ownership: Ownership,
    worker: WorkerId,
    policy: Policy,
    life: Life,
) {
    let earlier_done = std::cell::Cell::new(false);
    let seen = std::cell::Cell::new(None);
    let earlier = Whose::EarlierLivesOf(worker);
    looping::every(&life, "Rescuing", EVERY, SWEEP_LIMIT, || async {
        if !earlier_done.get() {
            sweep(&db, &earlier, &policy).await?;
            earlier_done.set(true);
        }
        let now = look_after_the_clock(&db, seen.get()).await?;
        seen.set(Some(now));
        let Some(_part) = ownership.enter(RESCUE) else {
            return Ok(());
        };
        sweep(&db, &Whose::Dead, &policy).await?;
        sweep(&db, &Whose::Expired, &policy).await?;
        Ok(())
    })
    .await;
}

/// A moment by our own clock, which is never set, and by the database's.
type Moment = (Instant, DateTime<Utc>);

/// Less than this is drift, or a clock that is being brought nearer in steps.
const SET_BACK: TimeDelta = TimeDelta::seconds(2);

async fn look_after_the_clock(db: &Db, seen: Option<Moment>) -> Result<Moment, StoreError> {
    let mut conn = db.conn().await?;
    // An answer that takes long must not look like a clock that was set back: now is reckoned from before it, and the
    // next time from behind it.
    let asked = Instant::now();
    let clock = schedules::now(&mut conn).await?;
    let answered = Instant::now();
    if seen.is_some_and(|seen| was_set_back(seen, (asked, clock))) {
        let due = due_by_a_clock_that_was_ahead(&mut conn).await?;
        tracing::warn!(
            "The database's clock was set back: {due} job(s) that wait by the other one are due now"
        );
    }
    Ok((answered, clock))
}

fn was_set_back(seen: Moment, now: Moment) -> bool {
    let passed = TimeDelta::from_std(now.0.saturating_duration_since(seen.0)).unwrap_or(TimeDelta::MAX);
    let behind = passed.checked_sub(&now.1.signed_duration_since(seen.1));
    behind.is_some_and(|behind| behind > SET_BACK)
}

/// What one sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rescued {
    /// Waiting again.
    pub again: usize,
    /// Dead letters by now.
    pub dead: usize,
}

/// Whose work is put back.
#[derive(Clone, Debug)]
pub enum Whose {
    /// Everybody's whose lease has run out.
    Expired,
    /// That of nodes that were declared dead, or have left.
    Dead,
    /// That of earlier lives of this worker's node.
    EarlierLivesOf(WorkerId),
}

/// Puts back all there is.
///
/// # Errors
/// Those of the database; what was put back before stays so.
pub async fn sweep(db: &Db, whose: &Whose, policy: &Policy) -> Result<Rescued, StoreError> {
    let mut all = Rescued::default();
    loop {
        let (whose, policy) = (whose.clone(), *policy);
        let (found, batch) = db
            .transaction(move |conn| {
                async move {
                    let abandoned = match &whose {
                        Whose::Expired => lock_expired(conn, BATCH).await?,
                        Whose::Dead => lock_of_the_dead(conn, BATCH).await?,
                        Whose::EarlierLivesOf(worker) => lock_orphans(conn, worker, BATCH).await?,
                    };
                    let decided = decide(&abandoned, &policy).map_err(StoreError::bad_row)?;
                    settle(conn, &decided).await?;
                    Ok((abandoned.len(), count(&abandoned, &decided)))
                }
                .boxed()
            })
            .await?;
        all.again = all.again.saturating_add(batch.again);
        all.dead = all.dead.saturating_add(batch.dead);
        if i64::try_from(found).unwrap_or(BATCH) < BATCH {
            return Ok(all);
        }
    }
}

fn decide(abandoned: &[Abandoned], policy: &Policy) -> Result<Vec<(Lease, Settlement)>, IllegalTransition> {
    abandoned
        .iter()
        .map(|a| {
            let next = job::orphaned(
                JobStatus::Processing,
                a.retry_count,
                &a.crashed_at,
                &a.worker,
                a.now,
                policy,
            )?;
            Ok((a.lease, next))
        })
        .collect()
}

fn count(abandoned: &[Abandoned], decided: &[(Lease, Settlement)]) -> Rescued {
    let dead = decided
        .iter()
        .filter(|(_, s)| s.status == JobStatus::Dead)
        .count();
    for ((lease, s), a) in decided.iter().zip(abandoned) {
        if s.status == JobStatus::Dead {
            let why = s.error.as_deref().unwrap_or_default();
            tracing::error!(job.id = %lease.job, "Job `{}` is a dead letter: {why}", lease.job);
        } else {
            tracing::warn!(job.id = %lease.job, "Job `{}` was left by {} and waits again", lease.job, a.worker);
        }
    }
    Rescued {
        again: decided.len().saturating_sub(dead),
        dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_falls_behind_ours_was_set_back() {
        let (began, noon) = (
            Instant::now(),
            DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        );
        let after = |ours_s, theirs_s| {
            let ours = began + Duration::from_secs(ours_s);
            was_set_back((began, noon), (ours, noon + TimeDelta::seconds(theirs_s)))
        };
        assert!(!after(5, 5) && !after(5, 4), "drift");
        assert!(!after(5, 32_400), "set forward");
        assert!(after(5, 1) && after(5, -32_400));
    }
}
