//! The keys of one reading of the file.

use super::{Row, VaultError, envelope};
use aes_gcm::aead::Generate as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sha2::Sha256;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What stands on a line that holds a key.
const EXPECTED: &str = "`name:base64`, the name of 1 to 32 of `a-z 0-9 - _`, the rest being 32 bytes";
/// The length of a key.
const KEY_BYTES: usize = 32;

/// One key.
pub(super) struct NamedKey {
    pub(super) id: String,
    /// Eight bytes that tell this key from another one, in hexadecimal, and nothing about it.
    pub(super) check: String,
    pub(super) key: SecretBox<[u8; KEY_BYTES]>,
}

/// Keys by name, the current one first.
pub struct Ring {
    path: PathBuf,
    keys: Vec<NamedKey>,
}

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The text for the table.
    pub text: String,
    /// The name of the key that it needs.
    pub key_id: String,
}

// === impl Ring ===

impl Ring {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, VaultError> {
        let bad = |line: usize, expected| VaultError::Malformed {
            path: path.to_owned(),
            line,
            expected,
        };
        let mut keys: Vec<NamedKey> = Vec::new();
        for (line, content) in (1..).zip(text.lines().map(str::trim)) {
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let key = named_key(content).ok_or_else(|| bad(line, EXPECTED))?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(bad(line, "a name that no line before has"));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(bad(1, EXPECTED));
        }
        Ok(Self {
            path: path.to_owned(),
            keys,
        })
    }

    /// The names of the keys, the current one first.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.id.as_str()).collect()
    }

    /// The name of the key that seals.
    #[must_use]
    pub fn current(&self) -> &str {
        self.keys.first().map_or("", |key| key.id.as_str())
    }

    /// Seals `value` for `row` with the current key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, row: Row<'_>, value: &str) -> Result<Sealed, VaultError> {
        let key = self.keys.first().ok_or(VaultError::NoRandomness)?;
        Ok(Sealed {
            text: envelope::seal(key, row, value)?,
            key_id: key.id.clone(),
        })
    }

    /// Opens what was sealed for `row`.
    ///
    /// # Errors
    /// Which of the four troubles it is: no such key, another key, a value that was moved, or damaged.
    pub fn open(&self, row: Row<'_>, sealed: &str) -> Result<SecretString, VaultError> {
        use envelope::Unopened;
        let (row_name, path) = (row.to_string(), self.path.clone());
        envelope::open(&self.keys, row, sealed).map_err(|why| match why {
            Unopened::Damaged => VaultError::Damaged { row: row_name },
            Unopened::Moved { sealed_for } => VaultError::Moved {
                row: row_name,
                sealed_for,
            },
            Unopened::KeyMissing { key_id } => VaultError::KeyMissing {
                row: row_name,
                key_id,
                known: format!("`{}`", self.ids().join("`, `")),
                path,
            },
            Unopened::WrongKey { key_id } => VaultError::WrongKey {
                row: row_name,
                key_id,
                path,
            },
        })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("path", &self.path)
            .field("ids", &self.ids())
            .finish_non_exhaustive()
    }
}

fn named_key(line: &str) -> Option<NamedKey> {
    let (id, encoded) = line.split_once(':')?;
    let named = (1..=32).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    if !named || bytes.len() != KEY_BYTES {
        return None;
    }
    let key = SecretBox::init_with_mut(|key: &mut [u8; KEY_BYTES]| key.copy_from_slice(&bytes));
    Some(NamedKey {
        id: id.to_owned(),
        check: check(key.expose_secret()),
        key,
    })
}

/// What tells a key from another one of the same name. It follows from the key and says nothing about it.
fn check(key: &[u8; KEY_BYTES]) -> String {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(b"zaikoban key check v1");
    hex(mac.finalize().into_bytes().iter().take(8))
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The line of a new random key; its name follows from it.
pub(super) fn new_line() -> Result<Zeroizing<String>, VaultError> {
    let mut key = <[u8; KEY_BYTES]>::try_generate().map_err(|_no_more_is_known| VaultError::NoRandomness)?;
    let bytes = SecretBox::init_with_mut(|own: &mut [u8; KEY_BYTES]| own.copy_from_slice(&key));
    key.zeroize();
    let check = check(bytes.expose_secret());
    let name = check.get(..8).unwrap_or_default();
    let mut line = Zeroizing::new(String::with_capacity(64));
    line.push_str("k-");
    line.push_str(name);
    line.push(':');
    STANDARD.encode_string(bytes.expose_secret(), &mut line);
    line.push('\n');
    Ok(line)
}
