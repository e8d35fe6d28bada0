//! Deletes what is done and old. Dead letters stay until a person has decided.

use crate::store::jobs::prune_completed;
use crate::store::{Db, StoreError, looping};
use crate::supervision::Life;
use std::time::Duration;

/// How long completed jobs can be looked at.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rows in one statement: no lock is held for long, and vacuum keeps pace.
const BATCH: i64 = 1_000;

/// A week's jobs leave in small bites.
const EVERY: Duration = Duration::from_secs(3_600);
/// One sweep after a long stop may have much to delete.
const SWEEP_LIMIT: Duration = Duration::from_secs(600);

/// Sweeps every hour until it is asked to stop.
pub(super) async fn keep_pruning(db: Db, life: Life) {
    looping::every(&life, "Pruning", EVERY, SWEEP_LIMIT, || async {
        let deleted = sweep(&db, KEEP).await?;
        tracing::debug!("Pruned {deleted} completed jobs");
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
