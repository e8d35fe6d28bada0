//! The log as files: one for each channel, put aside when it is full, opened anew when it is asked for.
//!
//! `tracing-appender` was looked at: it turns files by the clock only, and a storm fills a disk within an hour. What is
//! needed beside its writing is this file. Only the log's own thread is ever in here, so that a slow disk costs nobody
//! else anything.
//!
//! A file that cannot be written (the disk is full, the folder is gone) is tried again with each line; meanwhile the line
//! goes to standard error, where journald may still keep it.

use super::channel::Channel;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where, and how much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// The folder, made when it is not there.
    pub dir: PathBuf,
    /// A file that would grow over this is put aside.
    pub rotate_bytes: u64,
    /// How many that were put aside are kept of each channel.
    pub keep: u32,
}

/// Asks for the files to be opened anew, with the next line of each: something else may have moved them.
#[derive(Clone, Debug, Default)]
pub(super) struct Reopen(Arc<AtomicBool>);

/// The files.
pub(super) struct Files {
    settings: FileSettings,
    reopen: Reopen,
    open: Vec<(Channel, Open)>,
    other: Box<dyn Write + Send>,
}

struct Open {
    file: File,
    bytes: u64,
    /// The last line was written in part: the next one begins on a line of its own.
    torn: bool,
}

// === impl Reopen ===

impl Reopen {
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }
}

// === impl Files ===

impl Files {
    /// Makes the folder and opens every file, so that what is in the way is told at the start. `other` takes the lines
    /// that no file takes.
    pub(super) fn open(
        settings: FileSettings,
        reopen: Reopen,
        other: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&settings.dir)?;
        let mut files = Self {
            settings,
            reopen,
            open: Vec::new(),
            other: Box::new(other),
        };
        for channel in Channel::ALL {
            files.file(channel)?;
        }
        Ok(files)
    }

    fn path(&self, channel: Channel) -> PathBuf {
        self.settings.dir.join(format!("{}.log", channel.as_str()))
    }

    fn file(&mut self, channel: Channel) -> io::Result<&mut Open> {
        if !self.open.iter().any(|(of, _)| *of == channel) {
            let path = self.path(channel);
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                // What stands in a log is not for everybody on the machine.
                .mode(0o640)
                .open(path)?;
            let bytes = file.metadata()?.len();
            let torn = false;
            self.open.push((channel, Open { file, bytes, torn }));
        }
        let found = self.open.iter_mut().find(|(of, _)| *of == channel);
        found
            .map(|(_, open)| open)
            .ok_or_else(|| io::Error::other("a file that was just opened is gone"))
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let channel = Channel::of_line(line);
        let most = self.settings.rotate_bytes;
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let open = self.file(channel)?;
        if open.bytes > 0 && open.bytes.saturating_add(length) > most {
            self.open.retain(|(of, _)| *of != channel);
            put_aside(&self.path(channel), self.settings.keep)?;
        }
        let open = self.file(channel)?;
        if open.torn {
            open.file.write_all(b"\n")?;
        }
        open.torn = true;
        open.file.write_all(line)?;
        open.torn = false;
        open.bytes = open.bytes.saturating_add(length);
        Ok(())
    }
}

impl Write for Files {
    /// Takes whole lines, as the log hands them over.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.reopen.0.swap(false, Ordering::AcqRel) {
            self.open.clear();
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if self.line(line).is_err() {
                // Lost, if that cannot be written either.
                drop(self.other.write_all(line));
            }
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `a.log` becomes `a.log.1`, that `a.log.2`, and so on; the last one goes.
fn put_aside(path: &Path, keep: u32) -> io::Result<()> {
    let aside = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..keep).rev() {
        // Gaps are no trouble.
        drop(std::fs::rename(aside(n), aside(n.saturating_add(1))));
    }
    std::fs::rename(path, aside(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path, rotate_bytes: u64, keep: u32) -> (Files, Reopen) {
        let settings = FileSettings {
            dir: dir.to_path_buf(),
            rotate_bytes,
            keep,
        };
        let reopen = Reopen::default();
        (Files::open(settings, reopen.clone(), io::sink()).unwrap(), reopen)
    }

    fn line(channel: &str, n: u32) -> Vec<u8> {
        format!("{{\"channel\":\"{channel}\",\"n\":{n}}}\n").into_bytes()
    }

    fn read(dir: &Path, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap_or_default()
    }

    #[test]
    fn each_channel_has_its_file_also_for_lines_that_come_together() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, _) = files(&dir.path().join("made"), 1 << 20, 3);
        let mut both = line("errors", 1);
        both.extend(line("security", 2));
        files.write_all(&both).unwrap();
        files.write_all(b"no object\n").unwrap();
        let made = dir.path().join("made");
        assert_eq!(read(&made, "errors.log").into_bytes(), line("errors", 1));
        assert_eq!(read(&made, "security.log").into_bytes(), line("security", 2));
        assert_eq!(read(&made, "execution.log"), "no object\n");
        assert_eq!(read(&made, "performance.log"), "");
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let one = u64::try_from(line("errors", 0).len()).unwrap();
        {
            let (mut files, _) = files(dir.path(), one * 3, 2);
            for n in 0..8 {
                files.write_all(&line("errors", n)).unwrap();
            }
        }
        // Another life goes on where the first one ended.
        let (mut files, _) = files(dir.path(), one * 3, 2);
        for n in 8..10 {
            files.write_all(&line("errors", n)).unwrap();
        }
        let numbers = |name: &str| -> Vec<u32> {
            let text = read(dir.path(), name);
            let number = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                u32::try_from(line["n"].as_u64().unwrap()).unwrap()
            };
            text.lines().map(number).collect()
        };
        assert_eq!(numbers("errors.log"), [9]);
        assert_eq!(numbers("errors.log.1"), [6, 7, 8]);
        assert_eq!(numbers("errors.log.2"), [3, 4, 5]);
        assert!(!dir.path().join("errors.log.3").exists());
    }

    #[test]
    fn a_file_that_was_moved_is_opened_anew_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, reopen) = files(dir.path(), 1 << 20, 3);
        files.write_all(&line("errors", 1)).unwrap();
        std::fs::rename(dir.path().join("errors.log"), dir.path().join("moved")).unwrap();
        files.write_all(&line("errors", 2)).unwrap();
        assert_eq!(
            read(dir.path(), "moved").lines().count(),
            2,
            "still the same file"
        );
        reopen.ask();
        files.write_all(&line("errors", 3)).unwrap();
        assert_eq!(read(dir.path(), "errors.log").into_bytes(), line("errors", 3));
        assert_eq!(read(dir.path(), "moved").lines().count(), 2);
    }

    #[test]
    fn what_no_file_takes_goes_elsewhere_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let settings = FileSettings {
            dir: logs.clone(),
            rotate_bytes: 1 << 20,
            keep: 1,
        };
        let other = dir.path().join("other");
        let reopen = Reopen::default();
        let mut files = Files::open(settings, reopen.clone(), File::create(&other).unwrap()).unwrap();
        std::fs::remove_dir_all(&logs).unwrap();
        std::fs::write(&logs, "in the way").unwrap();
        reopen.ask();
        files.write_all(&line("errors", 1)).unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), line("errors", 1));
        std::fs::remove_file(&logs).unwrap();
        std::fs::create_dir(&logs).unwrap();
        files.write_all(&line("errors", 2)).unwrap();
        assert_eq!(read(&logs, "errors.log").into_bytes(), line("errors", 2));
    }
}
