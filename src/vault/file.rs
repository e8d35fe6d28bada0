//! The file of the keys: read by its owner alone, made once, never emptied.

use super::VaultError;
use secrecy::zeroize::Zeroizing;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A key file is some hundred bytes; more is something else.
const MOST_BYTES: u64 = 64 * 1024;

/// Who looks after the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileKind {
    /// The daemon, in its state folder: made at first need.
    Own,
    /// The operator, where the settings say: it must be there. A name that is mistyped must not make a second key.
    Given,
    /// systemd, in a folder that only the service can look into: never written.
    Systemd,
}

/// Where the keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    kind: KeyFileKind,
}

// === impl KeyFile ===

impl KeyFile {
    /// The file at `path`, looked after as `kind` says.
    #[must_use]
    pub fn new(path: PathBuf, kind: KeyFileKind) -> Self {
        Self { path, kind }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who looks after it.
    #[must_use]
    pub fn kind(&self) -> KeyFileKind {
        self.kind
    }

    pub(super) fn read(&self) -> Result<Zeroizing<String>, VaultError> {
        let failed = |source| self.io("read", source);
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(VaultError::NoFile {
                    path: self.path.clone(),
                });
            }
            opened => opened.map_err(failed)?,
        };
        // Asked of what is open, not of the path, which may lead elsewhere by now.
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(failed(io::Error::other("it is no plain file")));
        }
        let mode = meta.permissions().mode() & 0o777;
        // systemd grants its reader by an access list, which shows as the group's bits.
        let forbidden = if self.kind == KeyFileKind::Systemd {
            0o007
        } else {
            0o077
        };
        if mode & forbidden != 0 {
            return Err(VaultError::Open {
                path: self.path.clone(),
                mode,
            });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
        Ok(text)
    }

    /// Makes it, its folder too. What is there already stays, whoever put it there.
    pub(super) fn create(&self, text: &str) -> Result<(), VaultError> {
        let failed = |source| self.io("make", source);
        if let Some(folder) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed)?;
        }
        // A link, unlike a rename, never takes the place of a file that is there.
        self.write_beside(text, |beside| std::fs::hard_link(beside, &self.path))
            .map_err(failed)?;
        // The folder may be new as well: what is sealed in a moment must not outlive the way to its key.
        self.path
            .parent()
            .and_then(Path::parent)
            .map_or(Ok(()), sync)
            .map_err(failed)
    }

    /// Puts another content in its place: a crash leaves the one or the other.
    pub(super) fn replace(&self, text: &str) -> Result<(), VaultError> {
        if self.kind == KeyFileKind::Systemd {
            return Err(VaultError::NotOurs {
                path: self.path.clone(),
            });
        }
        self.write_beside(text, |beside| std::fs::rename(beside, &self.path))
            .map_err(|source| self.not_changed(source))
    }

    fn write_beside(&self, text: &str, put: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        // One that a crash left behind may be half written, or have another mode.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        let done = put(&beside);
        // After a rename it is gone already.
        drop(std::fs::remove_file(&beside));
        done?;
        self.path.parent().map_or(Ok(()), sync)
    }

    /// Below `/etc` a service that is locked in may only read.
    pub(super) fn not_changed(&self, source: io::Error) -> VaultError {
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => VaultError::ReadOnly {
                path: self.path.clone(),
                source,
            },
            _ => self.io("write", source),
        }
    }

    fn io(&self, doing: &'static str, source: io::Error) -> VaultError {
        VaultError::Io {
            doing,
            path: self.path.clone(),
            source,
        }
    }
}

/// Makes what was put into a folder last.
fn sync(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}
