//! Secrets at rest: AES-256-GCM, the key in a file of its own.
//!
//! A value is sealed **for its row**: platform, field and the key's name are authenticated with it, so that a sealed value
//! which is copied to another row opens nothing there. Each sealing draws a nonce of 96 random bits; at a few thousand
//! sealings a year the chance that two are alike is nil.
//!
//! **Keys.** The file holds one key a line, `name:base64`, the current one first: it seals, all open. So a key is replaced
//! without a moment in which something cannot be read: the new one is put in front, everything is sealed again, and the
//! old one stays for backups of the database. The file is read for each use and forgotten afterwards; a key that was
//! changed on disk counts from then on, and none lies in memory for long.
//!
//! **What can go wrong** is told apart, because each calls for something else: no key, another key of the same name, a
//! value that was moved, a value that was damaged. For that, a sealed value names its row, its key and eight bytes of the
//! key's HMAC in the clear. All of them are only hints for the message; it is the cipher that decides.
//!
//! Nothing in here shows a key or a value in `Debug` or an error.

mod envelope;
mod file;
mod ring;
mod secrets;

pub use file::{KeyFile, KeyFileKind};
pub use ring::{Ring, Sealed};
pub use secrets::Secrets;

use std::fmt;
use std::path::PathBuf;

/// What a sealed value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The platform, or whatever else the row is named by: `[a-z0-9_]`.
    pub platform: &'a str,
    /// Which value of it: `credentials`, `tokens`.
    pub field: &'a str,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.platform, self.field)
    }
}

/// Why a value was not sealed or opened. The text says what to do, and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no key file.
    #[error(
        "the key file `{}` is not there. Put it back from your backup (chmod 600). If it is lost, so is what it sealed: \
         `zaikoban credentials remove PLATFORM` for each that `zaikoban credentials list` shows, then set them again",
        path.display()
    )]
    NoFile {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others may read it.
    #[error(
        "the key file `{}` can be read by others (mode {mode:04o}) and is not used: `chmod 600 {}`, and \
         `zaikoban credentials rotate --new-key` if somebody may have read it",
        path.display(), path.display()
    )]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key file.
    #[error(
        "line {line} of the key file `{}`: expected {expected}; nothing of the file is used", path.display()
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What should stand there. Never what does.
        expected: &'static str,
    },
    /// The system refused.
    #[error("failed to {doing} the key file `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A key was to be added where only somebody else writes.
    #[error(
        "the key file `{}` is handed in by systemd and cannot be changed from here: put a new line `name:base64` of 32 \
         random bytes first in the file that `LoadCredential=` names, restart, then `zaikoban credentials rotate`",
        path.display()
    )]
    NotOurs {
        /// Which file.
        path: PathBuf,
    },
    /// A key was to be added where the daemon may not write.
    #[error(
        "the key file `{}` cannot be changed by the daemon ({source}): put a new line `name:base64` of 32 random bytes \
         (`openssl rand -base64 32`) first in it yourself, keep the other lines, then `zaikoban credentials rotate`",
        path.display()
    )]
    ReadOnly {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file lacks the key that sealed this.
    #[error(
        "`{row}` is sealed with the key `{key_id}`, which the key file `{}` does not hold (it has {known}): add the line \
         of `{key_id}` from your backup, or remove these credentials and set them again",
        path.display()
    )]
    KeyMissing {
        /// Which value.
        row: String,
        /// The key's name.
        key_id: String,
        /// The names in the file.
        known: String,
        /// The file.
        path: PathBuf,
    },
    /// A key of that name is there, and is another one.
    #[error(
        "`{row}` is sealed with another key than the one that the key file `{}` names `{key_id}`: that key was replaced \
         under its old name. Put the old one back, and give a new key a new name",
        path.display()
    )]
    WrongKey {
        /// Which value.
        row: String,
        /// The key's name.
        key_id: String,
        /// The file.
        path: PathBuf,
    },
    /// The bytes are not those that were sealed.
    #[error(
        "what is kept sealed for `{row}` is damaged and cannot be opened: restore the row from a backup of the database, \
         or remove these credentials and set them again"
    )]
    Damaged {
        /// Which value.
        row: String,
    },
    /// It was sealed for another row.
    #[error(
        "what is kept sealed for `{row}` was sealed for `{sealed_for}`: somebody moved it in the database. It is not \
         used; remove these credentials and set them again, and find out who writes to the table"
    )]
    Moved {
        /// The row in which it stands.
        row: String,
        /// The row for which it was made.
        sealed_for: String,
    },
    /// No randomness.
    #[error("the system gave no random bytes; nothing was sealed")]
    NoRandomness,
}

/// Where the keys are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    file: KeyFile,
}

// === impl Vault ===

impl Vault {
    /// The keys of `file`; nothing is read yet.
    #[must_use]
    pub fn new(file: KeyFile) -> Self {
        Self { file }
    }

    /// Where the keys are.
    #[must_use]
    pub fn file(&self) -> &KeyFile {
        &self.file
    }

    /// The keys as the file has them now. Blocks for a small local file.
    ///
    /// # Errors
    /// When there are none that can be used.
    pub fn keys(&self) -> Result<Ring, VaultError> {
        Ring::parse(self.file.path(), &self.file.read()?)
    }

    /// The keys; the first one is made when there is no file and making it is ours. Only for whoever knows that nothing is
    /// sealed yet: a new key opens nothing old.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and when the file cannot be made.
    pub fn keys_or_first(&self) -> Result<Ring, VaultError> {
        match self.keys() {
            Err(VaultError::NoFile { .. }) if self.file.kind() == KeyFileKind::Own => {
                self.file.create(&ring::new_line()?)?;
                tracing::info!(
                    path = %self.file.path().display(),
                    "Made the key file `{}`: without it, stored credentials cannot be read. Keep a copy apart from \
                     the database's backups",
                    self.file.path().display()
                );
                self.keys()
            }
            read => read,
        }
    }

    /// Puts a new key in front of the others; answers all of them.
    ///
    /// # Errors
    /// When the file is not ours or cannot be written; nothing is changed then.
    pub fn add_key(&self) -> Result<Ring, VaultError> {
        let text = self.file.read()?;
        Ring::parse(self.file.path(), &text)?;
        let mut all = ring::new_line()?;
        all.push_str(&text);
        self.file.replace(&all)?;
        self.keys()
    }
}

#[cfg(test)]
mod tests;
