//! Credentials and tokens as the adapters ask for them: sealed rows of the database, opened for the moment of use.

use crate::domain::Platform;
use crate::platform::mercari;
use crate::platform::oauth::{self, Grant, Grants, Kept, NoGrant, TokenStore, TokenStoreError};
use crate::store::credentials::{self, SealedRow};
use crate::store::{Conn, Db, StoreError};
use crate::vault::{Secrets, Vault, VaultError};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// Tokens in `oauth_tokens`.
#[derive(Clone)]
pub struct SealedTokens {
    db: Db,
    vault: Vault,
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

// === impl SealedTokens ===

impl SealedTokens {
    /// Tokens in `db`, sealed by `vault`.
    #[must_use]
    pub fn new(db: Db, vault: Vault) -> Self {
        Self { db, vault }
    }
}

impl TokenStore for SealedTokens {
    fn load(&self, platform: Platform) -> BoxFuture<'_, Result<Option<Kept>, TokenStoreError>> {
        async move {
            let mut conn = self.db.conn().await?;
            let Some(found) = credentials::find_tokens(&mut conn, platform).await? else {
                return Ok(None);
            };
            drop(conn);
            match opened(&self.vault, &found) {
                Ok(text) => Ok(read(&text)),
                // They can be had anew with the refresh token of the grant; what that needs is told by its own failure.
                Err(error) => {
                    tracing::warn!(
                        platform = %platform,
                        "The kept tokens of `{platform}` are not used: {error}"
                    );
                    Ok(None)
                }
            }
        }
        .boxed()
    }

    fn save<'a>(
        &'a self,
        platform: Platform,
        tokens: &'a Kept,
    ) -> BoxFuture<'a, Result<(), TokenStoreError>> {
        let text = written(tokens);
        let vault = self.vault.clone();
        async move {
            let text = text?;
            // A task of its own, committed or not as a whole, though the caller go away.
            let saved = self.db.transaction(move |conn| {
                async move {
                    let keys = match credentials::keys_to_seal(conn, &vault).await? {
                        Ok(keys) => keys,
                        Err(error) => return Ok(Err(error)),
                    };
                    let row = crate::vault::Row {
                        platform: platform.as_str(),
                        field: credentials::TOKENS,
                    };
                    let sealed = match keys.seal(row, &text) {
                        Ok(sealed) => sealed,
                        Err(error) => return Ok(Err(error)),
                    };
                    credentials::save_tokens(conn, platform, &sealed).await?;
                    Ok(Ok(()))
                }
                .boxed()
            });
            saved.await??;
            Ok(())
        }
        .boxed()
    }
}

fn opened(vault: &Vault, found: &SealedRow) -> Result<SecretString, VaultError> {
    vault.keys()?.open(found.row(), &found.sealed)
}

/// `None` for what an older or newer program wrote otherwise. The parser's words may quote a token, and are not passed on.
fn read(text: &SecretString) -> Option<Kept> {
    let found: Found = serde_json::from_str(text.expose_secret()).ok()?;
    Some(Kept {
        seed: found.seed,
        refresh: found.refresh.into(),
        previous: found.previous.map(SecretString::from),
        access: found.access.map(|(token, ends_at)| (token.into(), ends_at)),
    })
}

fn written(tokens: &Kept) -> Result<Zeroizing<String>, serde_json::Error> {
    let access = tokens.access.as_ref();
    let text = serde_json::to_string(&Written {
        seed: &tokens.seed,
        refresh: tokens.refresh.expose_secret(),
        previous: tokens.previous.as_ref().map(ExposeSecret::expose_secret),
        access: access.map(|(token, ends_at)| (token.expose_secret(), *ends_at)),
    })?;
    Ok(Zeroizing::new(text))
}

/// An account's grant: what the settings give stands over what is kept sealed.
pub struct SealedGrants {
    db: Db,
    vault: Vault,
    platform: Platform,
    fields: &'static [&'static str],
    typed: Secrets,
    /// What was lacking when the rows were looked at last.
    lacking: Mutex<Vec<&'static str>>,
    /// Why what is kept could not be opened when that was last tried.
    trouble: Mutex<Option<String>>,
}

// === impl SealedGrants ===

impl SealedGrants {
    /// The grant of `platform`, which needs `fields`; of them the settings give `typed`, and `kept` were set when the
    /// database was opened.
    #[must_use]
    pub fn new(
        db: Db,
        vault: Vault,
        platform: Platform,
        fields: &'static [&'static str],
        typed: Secrets,
        kept: &[String],
    ) -> Self {
        let grants = Self {
            db,
            vault,
            platform,
            fields,
            typed,
            lacking: Mutex::default(),
            trouble: Mutex::default(),
        };
        grants.found(kept);
        grants
    }

    /// The fields that the settings give.
    #[must_use]
    pub fn typed(&self) -> Vec<&'static str> {
        let given = |field: &&&'static str| self.typed.get(field).is_some();
        self.fields.iter().filter(given).copied().collect()
    }

    /// Looks at the rows again.
    ///
    /// # Errors
    /// When the database is away; what was known stands.
    pub async fn look(&self) -> Result<(), StoreError> {
        let mut conn = self.db.conn().await?;
        let rows = credentials::list(&mut conn).await?;
        let own = rows
            .into_iter()
            .find(|row| row.platform == self.platform.as_str());
        self.found(&own.map(|row| row.fields).unwrap_or_default());
        Ok(())
    }

    /// What is kept, and whether there is a key for it: told at once, not only with the first request for a token.
    fn found(&self, kept: &[String]) {
        self.note(kept);
        let keys = (!kept.is_empty() && self.asks_the_vault()).then(|| self.vault.keys());
        let trouble = keys.and_then(|keys| keys.err().map(|error| error.to_string()));
        *self.trouble.lock() = trouble;
    }

    fn note(&self, kept: &[String]) {
        let has = |field: &str| self.typed.get(field).is_some() || kept.iter().any(|k| k == field);
        let lacking = self.fields.iter().filter(|field| !has(field)).copied();
        *self.lacking.lock() = lacking.collect();
    }

    /// Whether the settings leave something to be looked up.
    fn asks_the_vault(&self) -> bool {
        self.fields.iter().any(|field| self.typed.get(field).is_none())
    }

    /// All that is known of the account now, the settings' word first.
    ///
    /// # Errors
    /// When what is kept cannot be told or opened.
    pub async fn secrets(&self) -> Result<Secrets, NoGrant> {
        let known = self.read().await;
        *self.trouble.lock() = match &known {
            Err(NoGrant::Unreadable(why)) => Some(why.clone()),
            _ => None,
        };
        known
    }

    async fn read(&self) -> Result<Secrets, NoGrant> {
        let away = |error: StoreError| NoGrant::Away(error.into());
        let mut all = Secrets::default();
        // What is typed needs no database: a rehearsal, and a start while it is away.
        if self.asks_the_vault() {
            let mut conn: Conn = self.db.conn().await.map_err(away)?;
            let found = credentials::find(&mut conn, self.platform).await.map_err(away)?;
            drop(conn);
            if let Some(found) = found {
                let text = opened(&self.vault, &found).map_err(|e| NoGrant::Unreadable(e.to_string()))?;
                all = Secrets::parse(&text).ok_or_else(|| {
                    let row = found.row().to_string();
                    NoGrant::Unreadable(VaultError::Damaged { row }.to_string())
                })?;
            }
        }
        for (name, value) in self.typed.iter() {
            all.set(name, value.clone());
        }
        self.note(&all.names());
        Ok(all)
    }
}

impl Grants for SealedGrants {
    fn grant(&self) -> BoxFuture<'_, Result<Grant, NoGrant>> {
        async move {
            let secrets = self.secrets().await?;
            let get = |name: &str| secrets.get(name).cloned();
            let (id, secret, refresh) = (get("client_id"), get("client_secret"), get("refresh_token"));
            match (id, secret, refresh) {
                (Some(id), Some(client_secret), Some(refresh_token)) => Ok(Grant {
                    client_id: id.expose_secret().to_owned(),
                    client_secret,
                    refresh_token,
                }),
                _ => Err(NoGrant::Lacking(self.lacking())),
            }
        }
        .boxed()
    }

    fn lacking(&self) -> Vec<&'static str> {
        self.lacking.lock().clone()
    }
}

impl mercari::Keys for SealedGrants {
    fn token(&self) -> BoxFuture<'_, Result<SecretString, NoGrant>> {
        async move {
            let secrets = self.secrets().await?;
            let token = secrets.get("token").cloned();
            token.ok_or_else(|| NoGrant::Lacking(Grants::lacking(self)))
        }
        .boxed()
    }

    fn is_lacking(&self) -> bool {
        !Grants::lacking(self).is_empty()
    }
}

/// What `status` says of an account that lacks something.
pub(in crate::app) fn needs(grants: &SealedGrants) -> Option<String> {
    if let Some(trouble) = grants.trouble.lock().clone() {
        let platform = grants.platform;
        return Some(format!(
            "the credentials of `{platform}` cannot be used: {trouble}. Afterwards: `zaikoban platforms reset {platform}`"
        ));
    }
    let lacking = grants.lacking();
    (!lacking.is_empty()).then(|| oauth::lacks(grants.platform, &lacking))
}
