//! Tokens in files of their own, readable by the daemon alone.

use super::{Kept, TokenStore, TokenStoreError};
use crate::domain::Platform;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Keeps each platform's tokens in `<folder>/<platform>.tokens.json`, mode 0600.
///
/// A new content is written beside the old one, synced and put in its place, so that a crash leaves the one or the other.
/// A file that cannot be understood counts as none: the refresh token of the settings is used then.
#[derive(Clone, Debug)]
pub struct TokenFile {
    folder: PathBuf,
}

#[derive(Serialize)]
struct Written<'a> {
    seed: &'a str,
    refresh: &'a str,
    previous: Option<&'a str>,
    access: Option<(&'a str, DateTime<Utc>)>,
}

#[derive(Deserialize)]
struct Found {
    seed: String,
    refresh: String,
    previous: Option<String>,
    access: Option<(String, DateTime<Utc>)>,
}

impl TokenFile {
    /// Files in `folder`, which must be there.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, platform: Platform) -> PathBuf {
        self.folder.join(format!("{platform}.tokens.json"))
    }
}

impl TokenStore for TokenFile {
    fn load(&self, platform: Platform) -> BoxFuture<'_, Result<Option<Kept>, TokenStoreError>> {
        let path = self.path(platform);
        Box::pin(async move { blocking(move || read(&path)).await })
    }

    fn save<'a>(
        &'a self,
        platform: Platform,
        tokens: &'a Kept,
    ) -> BoxFuture<'a, Result<(), TokenStoreError>> {
        let (path, tokens) = (self.path(platform), tokens.clone());
        Box::pin(async move { blocking(move || write(&path, &tokens)).await })
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TokenStoreError> + Send + 'static,
) -> Result<T, TokenStoreError> {
    tokio::task::spawn_blocking(work).await?
}

fn read(path: &Path) -> Result<Option<Kept>, TokenStoreError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told("read", path, &error)),
    };
    match serde_json::from_slice::<Found>(&text) {
        Ok(found) => Ok(Some(Kept {
            seed: found.seed,
            refresh: found.refresh.into(),
            previous: found.previous.map(SecretString::from),
            access: found.access.map(|(token, ends_at)| (token.into(), ends_at)),
        })),
        // The parser's words may quote a token.
        Err(_unreadable) => {
            tracing::warn!(
                path = %path.display(),
                "The tokens in `{}` cannot be understood; the refresh token of the settings is used instead",
                path.display()
            );
            Ok(None)
        }
    }
}

fn write(path: &Path, tokens: &Kept) -> Result<(), TokenStoreError> {
    let access = tokens.access.as_ref();
    let text = serde_json::to_vec(&Written {
        seed: &tokens.seed,
        refresh: tokens.refresh.expose_secret(),
        previous: tokens.previous.as_ref().map(ExposeSecret::expose_secret),
        access: access.map(|(token, ends_at)| (token.expose_secret(), *ends_at)),
    })?;
    let beside = path.with_extension("json.new");
    let put = || {
        // One that a crash left behind may have another mode.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        match path.parent() {
            Some(folder) => std::fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    put().map_err(|error| told("write", path, &error))
}

fn told(verb: &str, path: &Path, error: &std::io::Error) -> TokenStoreError {
    format!("failed to {verb} the tokens in `{}`: {error}", path.display()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn tokens(refresh: &str) -> Kept {
        Kept {
            seed: "seed".into(),
            refresh: refresh.into(),
            previous: Some("old".into()),
            access: Some(("access".into(), DateTime::UNIX_EPOCH)),
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_and_only_the_daemon_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenFile::new(folder.path().to_owned());
        assert!(store.load(Platform::Ebay).await.unwrap().is_none());
        for refresh in ["first", "second"] {
            store.save(Platform::Ebay, &tokens(refresh)).await.unwrap();
            let kept = store.load(Platform::Ebay).await.unwrap().unwrap();
            assert_eq!(kept.refresh.expose_secret(), refresh);
            assert_eq!(kept.previous.unwrap().expose_secret(), "old");
            assert_eq!(kept.access.unwrap().1, DateTime::UNIX_EPOCH);
        }
        let mode = std::fs::metadata(store.path(Platform::Ebay))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(store.load(Platform::Mercari).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_file_cut_anywhere_counts_as_none_and_can_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenFile::new(folder.path().to_owned());
        store.save(Platform::Ebay, &tokens("first")).await.unwrap();
        let whole = std::fs::read(store.path(Platform::Ebay)).unwrap();
        for length in 0..whole.len() {
            std::fs::write(store.path(Platform::Ebay), &whole[..length]).unwrap();
            assert!(store.load(Platform::Ebay).await.unwrap().is_none(), "{length}");
        }
        std::fs::write(folder.path().join("ebay.tokens.json.new"), "left by a crash").unwrap();
        store.save(Platform::Ebay, &tokens("second")).await.unwrap();
        assert!(store.load(Platform::Ebay).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
        let store = TokenFile::new("/nonexistent/zaikoban".into());
        let error = store.save(Platform::Ebay, &tokens("first")).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("/nonexistent/zaikoban/ebay.tokens.json"),
            "{error}"
        );
    }
}
