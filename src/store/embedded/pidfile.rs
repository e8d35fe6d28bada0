//! Reading `postmaster.pid`, and telling our server from a stranger with its number.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
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

    /// Whether somebody takes connections on its socket.
    fn answers(&self) -> bool {
        let socket = self.socket.join(format!(".s.PGSQL.{}", self.port));
        UnixStream::connect(socket).is_ok()
    }
}

/// What can be told of a process that may be our server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody has the number, or it is a process that has ended and was not fetched yet.
    Nobody,
    /// It works in the data folder, or was started on it.
    Ours,
    /// Its current folder was read, and is another one.
    Stranger,
    /// It lives, and nothing about it can be read.
    Unknown,
}

impl Who {
    /// Nothing rules out that it works on the cluster.
    pub(super) fn may_be_ours(self) -> bool {
        matches!(self, Self::Ours | Self::Unknown)
    }
}

/// The server that runs on this data folder, whoever started it.
///
/// A number alone proves nothing: after a crash another program may have it. A server works in its data folder, so the
/// process's current folder tells. Where that may not be read, the command line tells, and where that says nothing, an
/// answer on the socket does: only the server's user and root may enter its folder.
pub(super) fn running(data: &Path) -> Option<PidFile> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    PidFile::parse(&text).filter(|file| match who(file.pid, data) {
        Who::Ours => true,
        Who::Unknown => file.answers(),
        Who::Nobody | Who::Stranger => false,
    })
}

/// Who has this number.
pub(super) fn who(pid: Pid, data: &Path) -> Who {
    look(Path::new("/proc"), pid, data)
}

/// Only a current folder that was read and differs proves a stranger. Root without `CAP_SYS_PTRACE`, as in many
/// containers, may not read that of another user's process; to take "may not look" for "is not ours" would start a second
/// server on one cluster.
fn look(proc: &Path, pid: Pid, data: &Path) -> Who {
    if kill(pid, None) == Err(Errno::ESRCH) {
        return Who::Nobody;
    }
    let own = proc.join(pid.to_string());
    match fs::read_link(own.join("cwd")) {
        Ok(cwd) if cwd == data => Who::Ours,
        Ok(_) => Who::Stranger,
        Err(_) if started_on(&own, data) => Who::Ours,
        // one that ends has no folder any more, and one that has ended and was not fetched has nothing
        Err(error) => match state(&own) {
            Some('Z' | 'X') => Who::Nobody,
            Some(_) if error.kind() == io::ErrorKind::NotFound => Who::Nobody,
            None if kill(pid, None) == Err(Errno::ESRCH) => Who::Nobody,
            _ => Who::Unknown,
        },
    }
}

/// The letter of "4711 (postgres) S …", which is open to everybody, unless processes are hidden altogether.
fn state(own: &Path) -> Option<char> {
    let stat = fs::read_to_string(own.join("stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether the command line holds `-D <data>`; it is open to everybody, and only a server's first process keeps it.
fn started_on(own: &Path, data: &Path) -> bool {
    let line = fs::read(own.join("cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words
        .windows(2)
        .any(|pair| *pair == [b"-D".as_slice(), data.as_os_str().as_encoded_bytes()])
}

/// Takes away a file that names a process which is not ours, so that the server does not refuse to start because of it.
///
/// The server itself deals with a number that nobody has. It cannot tell a stranger with that number from another server,
/// and refuses. Children of a dead server may still write for a moment: while there may be one of them, the file stays.
/// It stays on every doubt: a server that does not start is told on the status board, a second one would eat the data.
pub(super) fn clear_stranger(data: &Path) -> bool {
    let path = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&path) else {
        return false;
    };
    let named: Option<i32> = text.lines().next().and_then(|line| line.trim().parse().ok());
    let stranger = named.is_none_or(|pid| who(Pid::from_raw(pid), data) == Who::Stranger);
    if stranger && !anybody_may_work_in(data) {
        return fs::remove_file(&path).is_ok();
    }
    false
}

fn anybody_may_work_in(data: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return true;
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .any(|pid| match who(Pid::from_raw(pid), data) {
            Who::Ours => true,
            // there may always be one that may not be looked at, such as a container's first process
            Who::Unknown => is_postgres(Path::new("/proc"), pid),
            Who::Nobody | Who::Stranger => false,
        })
}

/// Whether a process bears the name that a server's children have, or none that can be read.
fn is_postgres(proc: &Path, pid: i32) -> bool {
    fs::read_to_string(proc.join(pid.to_string()).join("comm")).map_or(true, |name| name.trim() == "postgres")
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
    fn a14_a_file_cut_anywhere_is_no_server_or_the_right_one() {
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

    /// A process as `/proc` shows it: with or without a current folder that may be read.
    fn shown(cwd: Option<&Path>, stat: &str, cmdline: &str) -> (tempfile::TempDir, Pid) {
        let proc = tempfile::tempdir().unwrap();
        let pid = Pid::this();
        let own = proc.path().join(pid.to_string());
        fs::create_dir(&own).unwrap();
        fs::write(own.join("stat"), stat).unwrap();
        fs::write(own.join("cmdline"), cmdline).unwrap();
        match cwd {
            Some(cwd) => std::os::unix::fs::symlink(cwd, own.join("cwd")).unwrap(),
            // not a link: reading it as one fails, as it does where it is not allowed
            None => fs::write(own.join("cwd"), "").unwrap(),
        }
        (proc, pid)
    }

    #[test]
    fn only_a_current_folder_that_was_read_proves_a_stranger() {
        let data = Path::new("/var/lib/x/data");
        let told = |cwd: Option<&str>, stat: &str, cmdline: &str| {
            let (proc, pid) = shown(cwd.map(Path::new), stat, cmdline);
            look(proc.path(), pid, data)
        };
        let runs = "4711 (postgres) S 1 2 3";
        let ours = "/usr/bin/postgres\0-D\0/var/lib/x/data\0-c\0port=5432\0";
        let others = "/usr/bin/postgres\0-D\0/var/lib/x/data2\0";
        assert_eq!(told(Some("/var/lib/x/data"), runs, ""), Who::Ours);
        assert_eq!(told(Some("/"), runs, ours), Who::Stranger);
        assert_eq!(told(None, runs, ours), Who::Ours);
        assert_eq!(told(None, runs, others), Who::Unknown);
        assert_eq!(
            told(None, runs, "postgres: zaikoban: checkpointer \0"),
            Who::Unknown
        );
        assert_eq!(told(None, "4711 (a) b) Z 1 2 3", ""), Who::Nobody);
    }
}
