//! What a token is asked for with, and where it comes from.

use super::TokenStoreError;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// An application's keys and a person's consent.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The application's name at the platform.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// The refresh token that a person's consent gave. A kept one that descends from it is preferred; one that descends
    /// from another is not used, so that a new token takes effect.
    pub refresh_token: SecretString,
}

/// Why there is nothing to ask with.
#[derive(Debug)]
pub enum NoGrant {
    /// A person has not given these yet.
    Lacking(Vec<&'static str>),
    /// They are there and cannot be read; a person must act. Why, and what to do; holds no secret.
    Unreadable(String),
    /// Whether they are there cannot be told now.
    Away(TokenStoreError),
}

/// Where grants come from: the settings, what is kept sealed, or both.
pub trait Grants: Send + Sync + 'static {
    /// The grant as it is now. Asked before each request for a token, so that a new one counts from then on.
    fn grant(&self) -> BoxFuture<'_, Result<Grant, NoGrant>>;

    /// What was lacking when that was last looked at; nothing is asked for meanwhile.
    fn lacking(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// One that never changes.
impl Grants for Grant {
    fn grant(&self) -> BoxFuture<'_, Result<Grant, NoGrant>> {
        ready(Ok(self.clone())).boxed()
    }
}

impl Grant {
    /// SHA-256 (hexadecimal) of the refresh token: by it what descends from it is known again.
    pub(super) fn seed(&self) -> String {
        let digest = Sha256::digest(self.refresh_token.expose_secret().as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
