//! Deletes what is done and old. Dead letters stay until a person has decided.
//!
//! The log of pushes goes, too: what limits and delays count is a day old at most, and what a person may want to look up
//! stays for a season. A listing's last push, and one without an answer, stay whatever their age.

use crate::nodes::{Ownership, PRUNE};
use crate::store::jobs::{prune_completed, prune_pushes};
use crate::store::{Db, StoreError, looping};
use crate::supervision::Life;
use std::time::Duration;

/// How long completed jobs can be looked at.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long pushes can be looked up, in days.
pub const KEEP_PUSHES_DAYS: i32 = 90;
/// Rows in one statement: no lock is held for long, and vacuum keeps pace.
const BATCH: i64 = 1_000;

/// A week's jobs leave in small bites.
const EVERY: Duration = Duration::from_secs(3_600);
/// One sweep after a long stop may have much to delete.
const SWEEP_LIMIT: Duration = Duration::from_secs(600);

/// Sweeps every hour until it is asked to stop.
pub(super) async fn keep_pruning(db: Db, ownership: Ownership, life: Life) {
    looping::every(&life, "Pruning", EVERY, SWEEP_LIMIT, || async {
        let Some(_part) = ownership.enter(PRUNE) else {
            return Ok(());
        };
        let deleted = sweep(&db, KEEP).await?;
        let pushes = sweep_pushes(&db, KEEP_PUSHES_DAYS).await?;
        tracing::debug!("Pruned {deleted} completed jobs and {pushes} pushes");
        Ok(())
    })
    .await;
}

/// Deletes all jobs that were completed longer ago than `keep`; answers how many.
///
/// # Errors
/// Those of the database; what was deleted before stays so.
pub async fn sweep(db: &Db, keep: Duration) -> Result<usize, StoreError> {
    let mut all = 0_usize;
    loop {
        let deleted = prune_completed(&mut *db.conn().await?, keep, BATCH).await?;
        all = all.saturating_add(deleted);
        if i64::try_from(deleted).unwrap_or(BATCH) < BATCH {
            return Ok(all);
        }
    }
}

/// Deletes all pushes that were sent more than `keep_days` days ago and that nothing names any more; answers how many.
///
/// # Errors
/// Those of the database; what was deleted before stays so.
pub async fn sweep_pushes(db: &Db, keep_days: i32) -> Result<usize, StoreError> {
    let mut all = 0_usize;
    loop {
        let deleted = prune_pushes(&mut *db.conn().await?, keep_days, BATCH).await?;
        all = all.saturating_add(deleted);
        if i64::try_from(deleted).unwrap_or(BATCH) < BATCH {
            return Ok(all);
        }
    }
}
