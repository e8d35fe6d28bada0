//! The probes of the machine: disk, memory, open files, time zone.

use super::{Check, Found, Probe, judge};
use crate::ops::process;
use chrono::{TimeZone as _, Utc};
use chrono_tz::Asia::Tokyo;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use nix::sys::statvfs::statvfs;
use std::path::{Path, PathBuf};

/// How full the file system of a folder is.
pub struct DiskProbe {
    /// What is kept there: `state`, `database`.
    pub what: &'static str,
    /// The folder; one that is not there yet is looked at where it would be.
    pub folder: PathBuf,
}

impl Probe for DiskProbe {
    fn name(&self) -> &'static str {
        self.what
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (what, folder) = (self.what, self.folder.clone());
        // A file system on another machine can hang.
        let task = tokio::task::spawn_blocking(move || disk(what, &folder));
        async move {
            match task.await {
                Ok(check) => check.into(),
                Err(ended) => Check::skipped(what, format!("not known: {ended}")).into(),
            }
        }
        .boxed()
    }
}

fn disk(what: &str, folder: &Path) -> Check {
    let there = folder.ancestors().find(|step| step.exists());
    let there = there.unwrap_or_else(|| Path::new("/"));
    let seen = statvfs(there).map(|fs| judge::Space {
        block_bytes: fs.fragment_size(),
        blocks: fs.blocks(),
        free: fs.blocks_free(),
        available: fs.blocks_available(),
        inodes: fs.files(),
        inodes_available: fs.files_available(),
    });
    judge::disk(what, folder, &seen.map_err(|errno| errno.to_string()))
}

/// Memory of process, cgroup and machine.
pub struct MemoryProbe {
    /// This process is the daemon, so that its own memory means something.
    pub daemon: bool,
}

impl Probe for MemoryProbe {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let rss = process::process().rss_bytes.filter(|_| self.daemon);
        let check = judge::memory(rss, &process::memory());
        async move { Found::from(check) }.boxed()
    }
}

/// How many files the daemon may have open.
pub struct FilesProbe;

impl Probe for FilesProbe {
    fn name(&self) -> &'static str {
        "open files"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let check = judge::files(&process::process());
        async move { Found::from(check) }.boxed()
    }
}

/// Whether the program knows Japan's time.
pub struct ZoneProbe;

impl Probe for ZoneProbe {
    fn name(&self) -> &'static str {
        "time zone"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        // The program carries its own table; it would be a broken build that does not.
        let noon = Utc.with_ymd_and_hms(2026, 1, 1, 3, 0, 0).single();
        let shown = noon.map(|noon| noon.with_timezone(&Tokyo).format("%H:%M").to_string());
        let check = judge::time_zone(shown.as_deref());
        async move { Found::from(check) }.boxed()
    }
}
