//! Removing what is old, and keeping the tables in order.

use super::action::{Done, Failure, Run};
use super::backup::{UNFINISHED, named};
use crate::store::Db;
use crate::store::cleaning::{self, HOT, Old};
use crate::store::executions::Counts;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one table's vacuum may take.
const VACUUM_LIMIT: Duration = Duration::from_secs(1_800);
/// Temporary files that are older have no owner any more.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// How long what is left behind is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Days that runs are kept.
    pub executions_days: u32,
    /// Days that health checks are kept.
    pub health_days: u32,
    /// Days that errors are kept which are over.
    pub resolved_days: u32,
    /// Days that daily summaries are kept.
    pub summaries_days: u32,
    /// Days that differences at the destinations are kept which are over.
    pub drift_days: u32,
    /// How many backups are kept.
    pub backups: usize,
}

/// Cleans up; a step that fails does not keep the others from being done.
///
/// # Errors
/// When the database is away.
pub async fn clean_up(db: &Db, keep: Keep, state_dir: &Path, run: &Run) -> Result<Done, Failure> {
    let ages = [
        (Old::Executions, keep.executions_days),
        (Old::Health, keep.health_days),
        (Old::ResolvedErrors, keep.resolved_days),
        (Old::Summaries, keep.summaries_days),
        (Old::Drift, keep.drift_days),
        (Old::ReadBacks, keep.drift_days),
        (Old::BulkFeeds, keep.drift_days),
    ];
    let steps = ages.len().saturating_add(HOT.len()).saturating_add(1);
    let mut counts = Counts {
        total: i32::try_from(steps).unwrap_or(i32::MAX),
        ..Counts::default()
    };
    let (mut removed, mut vacuumed, mut failed) = (Map::new(), Map::new(), Map::new());
    let step = |counts: &mut Counts, moved: bool, well: bool| {
        counts.processed = counts.processed.saturating_add(1);
        counts.updated = counts.updated.saturating_add(i32::from(moved));
        counts.errors = counts.errors.saturating_add(i32::from(!well));
        run.progress.set(*counts);
    };
    for (what, days) in ages {
        let done = cleaning::remove_old(db, what, days).await;
        step(&mut counts, done.as_ref().is_ok_and(|n| *n > 0), done.is_ok());
        match done {
            Ok(rows) => drop(removed.insert(what.table().to_owned(), json!(rows))),
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => drop(failed.insert(what.table().to_owned(), json!(error.to_string()))),
        }
    }
    for table in HOT {
        let done = cleaning::vacuum(db, table, VACUUM_LIMIT).await;
        step(&mut counts, done.is_ok(), done.is_ok());
        match done {
            Ok(seen) => {
                let seen = json!({ "dead_before": seen.dead_before, "dead_after": seen.dead_after });
                vacuumed.insert((*table).to_owned(), seen);
            }
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => drop(failed.insert((*table).to_owned(), json!(error.to_string()))),
        }
    }
    let state_dir = state_dir.to_owned();
    let files = tokio::task::spawn_blocking(move || remove_forgotten(&state_dir)).await;
    let files = files.map_err(|lost| Failure::new(format!("a file's worker was lost: {lost}")))?;
    step(&mut counts, !files.is_empty(), true);
    let mut details = json!({ "removed": removed, "vacuumed": vacuumed, "files": files });
    if let (false, Some(all)) = (failed.is_empty(), details.as_object_mut()) {
        all.insert("failed".to_owned(), Value::Object(failed));
    }
    Ok(Done {
        details: Some(details),
    })
}

/// Removes our own temporary files that nobody has touched for a day; those that were.
fn remove_forgotten(state_dir: &Path) -> Vec<PathBuf> {
    let unfinished = named(&state_dir.join("backups"), UNFINISHED).unwrap_or_default();
    let spool = state_dir.join("database-away.json.new");
    let is_forgotten = |file: &PathBuf| {
        let age = fs::symlink_metadata(file)
            .and_then(|has| has.modified())
            .map(|at| at.elapsed().unwrap_or_default());
        age.is_ok_and(|age| age > FORGOTTEN)
    };
    unfinished
        .into_iter()
        .chain([spool])
        .filter(is_forgotten)
        .filter(|file| match fs::remove_file(file) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "`{}` cannot be removed", file.display());
                false
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_our_own_temporary_files_that_are_a_day_old_are_removed() {
        let state = tempfile::tempdir().unwrap();
        let backups = state.path().join("backups");
        fs::create_dir(&backups).unwrap();
        let put = |name: &str, old: bool| {
            let path = backups.join(name);
            let file = fs::File::create(&path).unwrap();
            if old {
                let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
                file.set_modified(epoch).unwrap();
            }
            path
        };
        let forgotten = put("zaikoban-20261101T160000Z.dump.tmp", true);
        put("zaikoban-20261122T160000Z.dump.tmp", false);
        put("zaikoban-20261101T160000Z.dump", true);
        put("other.tmp", true);
        assert_eq!(remove_forgotten(state.path()), [forgotten]);
        assert_eq!(fs::read_dir(&backups).unwrap().count(), 3);
    }
}
