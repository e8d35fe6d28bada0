//! Reading `postmaster.pid`, and telling our server from a stranger with its number.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};

/// What a running server has written about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: Pid,
    pub(super) port: u16,
    pub(super) socket: PathBuf,
}

impl PidFile {
    /// Lines: number, data folder, start, port, socket folder, address, shared memory, state.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid: i32 = lines.first()?.parse().ok()?;
        let socket = lines.get(4).filter(|s| !s.is_empty())?;
        Some(Self {
            pid: Pid::from_raw(pid),
            port: lines.get(3)?.parse().ok()?,
            socket: PathBuf::from(socket),
        })
    }
}

/// The server that runs on this data folder, whoever started it.
///
/// A number alone proves nothing: after a crash another program may have it. A server works in its data folder, so the
/// process's current folder tells.
pub(super) fn running(data: &Path) -> Option<PidFile> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    PidFile::parse(&text).filter(|file| works_in(file.pid, data))
}

/// Whether `pid` lives and works in `data`.
pub(super) fn works_in(pid: Pid, data: &Path) -> bool {
    let alive = kill(pid, None).is_ok();
    alive && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

/// Takes away a file that names a process which is not ours, so that the server does not refuse to start because of it.
///
/// The server itself deals with a number that nobody has. It cannot tell a stranger with that number from another server,
/// and refuses. Children of a dead server may still write for a moment: while one of them lives, the file stays.
pub(super) fn clear_stranger(data: &Path) -> bool {
    let path = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&path) else {
        return false;
    };
    let named = text.lines().next().and_then(|line| line.trim().parse().ok());
    let stranger = named
        .is_some_and(|pid| kill(Pid::from_raw(pid), None).is_ok() && !works_in(Pid::from_raw(pid), data));
    let garbage = named.is_none();
    if (stranger || garbage) && !anybody_works_in(data) {
        return fs::remove_file(&path).is_ok();
    }
    false
}

fn anybody_works_in(data: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .any(|pid| works_in(Pid::from_raw(pid), data))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str =
        "4711\n/var/lib/x/data\n1700000000\n5432\n/var/lib/x/run\n\n  5432001    32769\nready   \n";

    #[test]
    fn a_servers_own_words_are_read() {
        let file = PidFile::parse(REAL).unwrap();
        assert_eq!(
            (file.pid, file.port, file.socket),
            (Pid::from_raw(4711), 5432, "/var/lib/x/run".into())
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_no_server_or_the_right_one() {
        let whole = PidFile::parse(REAL).unwrap();
        for cut in 0..REAL.len() {
            if let Some(file) = PidFile::parse(&REAL[..cut]) {
                assert_eq!(file.pid, whole.pid, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_stranger_with_the_number_is_not_taken_for_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().canonicalize().unwrap();
        let us = std::process::id();
        fs::write(data.join("postmaster.pid"), REAL.replace("4711", &us.to_string())).unwrap();
        assert_eq!(running(&data), None);
        assert!(clear_stranger(&data), "nobody works there: the file goes");
        assert!(!data.join("postmaster.pid").exists());
    }

    #[test]
    fn a_number_that_nobody_has_is_left_to_the_server() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("postmaster.pid"),
            REAL.replace("4711", "999999999"),
        )
        .unwrap();
        assert!(!clear_stranger(folder.path()));
    }
}
