//! Saving the database: written beside, verified, and only then a backup.
//!
//! A file that is named as a backup is whole: it was written under another name, read back by `pg_restore`, brought to the
//! disk and renamed. An older one is removed only when there is a newer whole one.

use super::action::{Done, Failure, Run};
use crate::store::Db;
use crate::store::dump::{self, DumpError, Programs};
use chrono::{DateTime, Utc};
use nix::sys::statvfs::statvfs;
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What every backup of ours is called.
const PREFIX: &str = "zaikoban-";
const SUFFIX: &str = ".dump";
/// What one is called that is being written.
pub(super) const UNFINISHED: &str = ".dump.tmp";
/// Left free beside a backup: the database itself must go on.
const SPARE: u64 = 64 << 20;
/// A backup without the rows of these is none.
const EXPECTED: &[&str] = &["inventory_management", "listing_platforms", "processing_queue"];

/// Where backups go, and where the programs are.
#[derive(Clone, Debug)]
pub struct BackupPlace {
    /// The folder; made when it is not there.
    pub folder: PathBuf,
    /// Where the programs are, when not on the PATH or in Debian's folders.
    pub binaries: Option<PathBuf>,
    /// The PATH.
    pub search: Option<OsString>,
}

/// Saves the database, and keeps the newest `keep` backups.
///
/// # Errors
/// With what to do: a program to be installed, room to be made. No backup was removed then.
pub async fn back_up(db: &Db, place: &BackupPlace, keep: usize, run: &Run) -> Result<Done, Failure> {
    let size = dump::size(db).await?;
    let (at, began) = (place.clone(), run.began);
    let prepared = blocking(move || prepare(&at, size, began)).await?;
    let Prepared {
        programs,
        unfinished,
        finished,
    } = prepared;
    let written = write(db, &programs, &unfinished).await;
    let (from, to, folder) = (unfinished.clone(), finished.clone(), place.folder.clone());
    let entries = match written {
        Ok(entries) => entries,
        Err(error) => {
            // What is left of it is removed by the next backup otherwise.
            drop(blocking(move || Ok(fs::remove_file(&from)?)).await);
            return Err(error.into());
        }
    };
    let (bytes, removed) = blocking(move || finish(&from, &to, &folder, keep)).await?;
    tracing::info!(bytes, "The database is saved in `{}`", finished.display());
    Ok(Done {
        details: Some(json!({
            "file": finished, "bytes": bytes, "entries": entries, "database_bytes": size.bytes,
            "pg_dump": programs.major, "removed": removed,
        })),
    })
}

async fn write(db: &Db, programs: &Programs, file: &Path) -> Result<usize, DumpError> {
    dump::dump(db.settings(), programs, file).await?;
    dump::verify(programs, file, EXPECTED).await
}

struct Prepared {
    programs: Programs,
    unfinished: PathBuf,
    finished: PathBuf,
}

/// Programs, room, and an empty file that only we can read.
fn prepare(place: &BackupPlace, size: dump::Size, began: DateTime<Utc>) -> Result<Prepared, Failure> {
    let BackupPlace {
        folder,
        binaries,
        search,
    } = place;
    let programs = dump::programs(binaries.as_deref(), search.as_deref(), size.major)?;
    let failed = |error: io::Error| Failure::new(format!("`{}` cannot be used: {error}", folder.display()));
    if !folder.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
    }
    // Another run's that was broken off: there is one at a time.
    for left in named(folder, UNFINISHED).map_err(failed)? {
        fs::remove_file(left).map_err(failed)?;
    }
    let free = statvfs(folder).map_err(|errno| failed(errno.into()))?;
    let free = free.blocks_available().saturating_mul(free.fragment_size());
    let wanted = size.bytes.saturating_add(SPARE);
    if free < wanted {
        return Err(Failure::new(format!(
            "`{}` has {} MiB free and the database takes {} MiB: make room, or keep fewer backups \
             (`schedules.keep.backups`)",
            folder.display(),
            free >> 20,
            size.bytes >> 20
        )));
    }
    let stem = format!("{PREFIX}{}", began.format("%Y%m%dT%H%M%SZ"));
    let unfinished = folder.join(format!("{stem}{UNFINISHED}"));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed)?;
    Ok(Prepared {
        programs,
        unfinished,
        finished: folder.join(format!("{stem}{SUFFIX}")),
    })
}

/// Makes it a backup, and removes those that are one too many; its size, and what was removed.
fn finish(from: &Path, to: &Path, folder: &Path, keep: usize) -> Result<(u64, Vec<PathBuf>), Failure> {
    let done = || -> io::Result<(u64, Vec<PathBuf>)> {
        let file = File::open(from)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(from, to)?;
        File::open(folder)?.sync_all()?;
        // Their names are in the order of their age, unless a clock was wrong: what was made just now is never removed.
        let mut all = named(folder, SUFFIX)?;
        all.retain(|file| file != to);
        all.sort();
        let many = all.len().saturating_sub(keep.max(1) - 1);
        let old: Vec<PathBuf> = all.into_iter().take(many).collect();
        for file in &old {
            fs::remove_file(file)?;
        }
        Ok((bytes, old))
    };
    done().map_err(|error| Failure::new(format!("`{}` cannot be used: {error}", folder.display())))
}

/// Our files in the folder that end so.
pub(super) fn named(folder: &Path, end: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(end) && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(lost) => Err(Failure::new(format!("a file's worker was lost: {lost}"))),
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<DumpError> for Failure {
    fn from(error: DumpError) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_future_do_not_take_the_place_of_what_was_made_just_now() {
        let folder = tempfile::tempdir().unwrap();
        for day in 1..=4 {
            fs::write(
                folder.path().join(format!("zaikoban-2038010{day}T160000Z.dump")),
                "x",
            )
            .unwrap();
        }
        let from = folder.path().join("zaikoban-20261122T160000Z.dump.tmp");
        fs::write(&from, "x").unwrap();
        let to = folder.path().join("zaikoban-20261122T160000Z.dump");
        let (_, removed) = finish(&from, &to, folder.path(), 4).unwrap();
        assert_eq!(removed, [folder.path().join("zaikoban-20380101T160000Z.dump")]);
        assert!(to.exists());
    }

    #[test]
    fn the_newest_are_kept_and_nothing_else_in_the_folder_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(folder.path().join(name), "x").unwrap();
        for day in 1..=5 {
            put(&format!("zaikoban-2026110{day}T160000Z.dump"));
        }
        put("mine.dump");
        put("zaikoban-notes.txt");
        put("zaikoban-20261122T160000Z.dump.tmp");
        let from = folder.path().join("zaikoban-20261122T160000Z.dump.tmp");
        let to = folder.path().join("zaikoban-20261122T160000Z.dump");
        let (bytes, removed) = finish(&from, &to, folder.path(), 4).unwrap();
        assert_eq!((bytes, removed.len()), (1, 2));
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "mine.dump",
                "zaikoban-20261103T160000Z.dump",
                "zaikoban-20261104T160000Z.dump",
                "zaikoban-20261105T160000Z.dump",
                "zaikoban-20261122T160000Z.dump",
                "zaikoban-notes.txt",
            ]
        );
    }
}
