//! Where the shop's token comes from.

use crate::platform::oauth::NoGrant;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use secrecy::SecretString;

/// A personal access token (`msp_…`) from the settings, from what is kept sealed, or from both.
pub trait Keys: Send + Sync + 'static {
    /// The token as it is now. Asked before each request, so that a new one counts from then on.
    fn token(&self) -> BoxFuture<'_, Result<SecretString, NoGrant>>;

    /// Whether there was none when that was last looked at; nothing is asked meanwhile.
    fn is_lacking(&self) -> bool {
        false
    }
}

/// One that never changes.
impl Keys for SecretString {
    fn token(&self) -> BoxFuture<'_, Result<SecretString, NoGrant>> {
        ready(Ok(self.clone())).boxed()
    }
}
