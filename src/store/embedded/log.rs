//! What the server says: a file that it appends to by itself, so that it can outlive a daemon that is killed.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The log is begun anew beyond this size; one old one is kept.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// So much of the log's end is told when the server does not start.
const TAIL_BYTES: u64 = 65_536;

/// Opens the log for a server that starts; one that has grown too large is begun anew.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).map_or(0, |has| has.len()) > MOST_BYTES {
        fs::rename(path, old_of(path))?;
    }
    File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)
}

fn old_of(path: &Path) -> PathBuf {
    path.with_extension("log.old")
}

/// Begins the log anew when it has grown too large, under a server that goes on writing into it: it appends, so the file
/// is copied and cut. What is written between the two is lost. On a full disk there is no copy, and the log is cut.
///
/// A log that the server hands to us was weighed: it would end, or block, with a daemon that is killed.
pub(super) fn bound(path: &Path) -> io::Result<()> {
    if fs::metadata(path).map_or(0, |has| has.len()) <= MOST_BYTES {
        return Ok(());
    }
    let old = old_of(path);
    if let Err(error) = fs::copy(path, &old) {
        tracing::warn!(error = %error, "The private database's log is cut without a copy");
        // half a copy is worth less than its room
        drop(fs::remove_file(&old));
    }
    File::options()
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)?
        .set_len(0)
}

/// The end of the log, for people.
pub(super) fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_or_else(
        |e| format!("its log cannot be read: {e}"),
        |text| last_lines(&text),
    )
}

/// How many lines of a complaint are shown.
const SHOWN: usize = 6;
/// What the server says to those who knock while it starts or stops: it fills the log's end and explains nothing.
const TO_CALLERS: [&str; 5] = [
    "the database system is starting up",
    "the database system is not yet accepting connections",
    "Consistent recovery state has not been yet reached",
    "the database system is in recovery mode",
    "the database system is shutting down",
];

/// What a person wants to see of a long complaint: its end, after the panic that led to it.
pub(super) fn last_lines(text: &str) -> String {
    let all: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    // The log goes on over restarts; an earlier life's trouble is not this one's.
    let born = all.iter().rposition(|line| line.contains("starting PostgreSQL"));
    let life = all.get(born.unwrap_or(0)..).unwrap_or_default();
    let explains = |line: &&str| !TO_CALLERS.iter().any(|words| line.contains(words));
    let mut lines: Vec<&str> = life.iter().copied().filter(explains).collect();
    if lines.is_empty() {
        lines = life.to_vec();
    }
    let (before, end) = lines.split_at(lines.len().saturating_sub(SHOWN));
    let has_panic = |line: &&&str| line.contains("PANIC:");
    let cause = match end.iter().find(has_panic) {
        Some(_) => None,
        None => before.iter().rfind(has_panic),
    };
    let shown: Vec<&str> = cause.into_iter().chain(end).copied().collect();
    shown.join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_callers_and_at_the_end_does_not_hide_the_cause() {
        let cause = "PANIC:  could not write to file: No space left on device";
        let end = "LOG:  database system is shut down";
        let knocking = "FATAL:  the database system is not yet accepting connections\n\
                        DETAIL:  Consistent recovery state has not been yet reached.\n";
        let log = format!("LOG:  redo starts\n{cause}\n{}{end}\n", knocking.repeat(5));
        assert_eq!(last_lines(&log), format!("LOG:  redo starts / {cause} / {end}"));
        let long = format!("{cause}\n{}{end}\n", "LOG:  terminating\n".repeat(9));
        let said = last_lines(&long);
        assert!(said.starts_with(cause) && said.ends_with(end), "{said}");
        assert_eq!(said.matches(" / ").count(), SHOWN, "{said}");
        let next = format!("{long}LOG:  starting PostgreSQL 15\nLOG:  listening\n");
        assert_eq!(
            last_lines(&next),
            "LOG:  starting PostgreSQL 15 / LOG:  listening"
        );
        assert!(!last_lines(knocking).is_empty());
    }
}
