//! What accounts are made with: a client for their hosts, and what is kept of them sealed.

use crate::app::database::Database;
use crate::app::ports::credentials::{SealedGrants, SealedTokens};
use crate::domain::Platform;
use crate::http;
use crate::vault::{Secrets, Vault};
use secrecy::SecretString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// A client that reaches these hosts and no other.
///
/// # Errors
/// When an endpoint or the certificate cannot be used.
pub(in crate::app) fn client(
    endpoints: &[&Url],
    ca_file: Option<PathBuf>,
    time_limit: Duration,
) -> anyhow::Result<http::Client> {
    let origins: Result<Vec<_>, _> = endpoints
        .iter()
        .map(|url| http::Origin::parse(url.as_str()))
        .collect();
    Ok(http::Client::new(&http::ClientSettings {
        origins: origins?,
        user_agent: format!("zaikoban/{}", env!("CARGO_PKG_VERSION")),
        ca_file,
        gzip: true,
        limits: http::Limits {
            total: time_limit,
            ..http::Limits::default()
        },
    })?)
}

/// What the settings give of an account's secrets, in the order of their names.
pub(super) fn typed<const N: usize>(names: &[&'static str], given: [Option<SecretString>; N]) -> Secrets {
    let mut typed = Secrets::default();
    for (name, value) in names.iter().zip(given) {
        if let Some(value) = value {
            typed.set(*name, value);
        }
    }
    typed
}

/// Where secrets and tokens are kept.
pub(super) struct Keeping<'a> {
    database: &'a Database,
    vault: &'a Vault,
}

// === impl Keeping ===

impl<'a> Keeping<'a> {
    pub(super) fn new(database: &'a Database, vault: &'a Vault) -> Self {
        Self { database, vault }
    }

    /// The secrets of an account, by these names; what is typed stands over what is kept.
    pub(super) fn grants(
        &self,
        platform: Platform,
        names: &'static [&'static str],
        typed: Secrets,
    ) -> Arc<SealedGrants> {
        let kept = self
            .database
            .kept
            .iter()
            .find(|row| row.platform == platform.as_str());
        Arc::new(SealedGrants::new(
            self.database.db.clone(),
            self.vault.clone(),
            platform,
            names,
            typed,
            kept.map(|row| row.fields.as_slice()).unwrap_or_default(),
        ))
    }

    /// The tokens of any account.
    pub(super) fn tokens(&self) -> Arc<SealedTokens> {
        Arc::new(SealedTokens::new(self.database.db.clone(), self.vault.clone()))
    }
}
