//! The platforms' accounts as the orders see them: what they lack, a person's consent, and that credentials changed.

use super::ports::credentials::{SealedGrants, needs};
use crate::clock::Clock;
use crate::domain::{ErrorClass, Platform};
use crate::http;
use crate::ops::{Account, Consent, NoConsent};
use crate::platform::mercari::Mercari;
use crate::platform::oauth::consent::{self, Asking};
use crate::platform::oauth::{Consented, NoGrant, OAuth};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use url::Url;

/// An account with an OAuth grant. Its refresh token comes from the platform's own page, and is typed.
pub(super) struct OwnAccount {
    pub(super) oauth: OAuth,
    pub(super) grants: Arc<SealedGrants>,
    pub(super) platform: Platform,
}

impl Account for OwnAccount {
    fn typed(&self) -> Vec<&'static str> {
        self.grants.typed()
    }

    fn needs(&self) -> Option<String> {
        needs(&self.grants)
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        async move {
            looked(&self.grants).await;
            self.oauth.credentials_changed().await;
        }
        .boxed()
    }

    fn sign_in_again(&self) -> BoxFuture<'_, ()> {
        async move {
            looked(&self.grants).await;
            self.oauth.retry_now().await;
        }
        .boxed()
    }

    fn consent<'a>(&'a self, _state: &'a str) -> BoxFuture<'a, Result<Consent, NoConsent>> {
        ready(Err(by_hand(self.platform))).boxed()
    }

    fn exchange<'a>(&'a self, _code: &'a SecretString) -> BoxFuture<'a, Result<Consented, NoConsent>> {
        ready(Err(by_hand(self.platform))).boxed()
    }
}

/// Mercari Shops: one token, which the shop's page gives.
pub(super) struct MercariAccount {
    pub(super) adapter: Arc<Mercari>,
    pub(super) keys: Arc<SealedGrants>,
}

impl Account for MercariAccount {
    fn typed(&self) -> Vec<&'static str> {
        self.keys.typed()
    }

    fn needs(&self) -> Option<String> {
        needs(&self.keys)
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.sign_in_again()
    }

    fn sign_in_again(&self) -> BoxFuture<'_, ()> {
        async move {
            looked(&self.keys).await;
            self.adapter.retry_now();
        }
        .boxed()
    }

    fn consent<'a>(&'a self, _state: &'a str) -> BoxFuture<'a, Result<Consent, NoConsent>> {
        ready(Err(by_hand(Platform::Mercari))).boxed()
    }

    fn exchange<'a>(&'a self, _code: &'a SecretString) -> BoxFuture<'a, Result<Consented, NoConsent>> {
        ready(Err(by_hand(Platform::Mercari))).boxed()
    }
}

/// Looks at what is kept now. Where that fails, the next request looks by itself.
async fn looked(grants: &SealedGrants) {
    if let Err(error) = grants.look().await {
        tracing::debug!(%error, "Changed credentials were not looked at yet");
    }
}

/// Where a consent is not asked for by us.
fn by_hand(platform: Platform) -> NoConsent {
    let page = match platform {
        Platform::Mercari => "the token that Mercari Shops' page for API access gives",
        _ => {
            "the refresh token that Seller Central gives for the application (Apps and services, Develop apps, Authorise)"
        }
    };
    NoConsent::Lacking(format!("{page}: `{}`", platform.sign_in_command()))
}

/// eBay's, whose seller consents.
pub(super) struct EbayAccount {
    pub(super) own: OwnAccount,
    pub(super) http: http::Client,
    pub(super) consent_page: Url,
    pub(super) ru_name: Option<String>,
    pub(super) clock: Clock,
}

impl EbayAccount {
    /// Who asks for consent, and the secret to prove it.
    async fn asking(&self) -> Result<(Asking, Option<SecretString>), NoConsent> {
        let secrets = self.own.grants.secrets().await.map_err(|why| match why {
            NoGrant::Away(error) => NoConsent::Away(error.to_string()),
            NoGrant::Unreadable(why) => NoConsent::Lacking(why),
            NoGrant::Lacking(fields) => NoConsent::Lacking(fields.join(", ")),
        })?;
        let id = secrets.get("client_id");
        let (Some(id), Some(redirect)) = (id, self.ru_name.clone()) else {
            let mut lacks = Vec::new();
            if id.is_none() {
                lacks.push("the client id: `zaikoban credentials set ebay --field client_id`");
            }
            if self.ru_name.is_none() {
                lacks.push(
                    "the RuName: `platforms.ebay.ru_name` in the settings, from eBay's developer pages",
                );
            }
            return Err(NoConsent::Lacking(lacks.join("; ")));
        };
        let asking = Asking {
            client_id: id.expose_secret().to_owned(),
            redirect,
        };
        Ok((asking, secrets.get("client_secret").cloned()))
    }
}

impl Account for EbayAccount {
    fn typed(&self) -> Vec<&'static str> {
        self.own.typed()
    }

    fn needs(&self) -> Option<String> {
        self.own.needs()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.own.changed()
    }

    fn sign_in_again(&self) -> BoxFuture<'_, ()> {
        self.own.sign_in_again()
    }

    fn consent<'a>(&'a self, state: &'a str) -> BoxFuture<'a, Result<Consent, NoConsent>> {
        async move {
            let (asking, secret) = self.asking().await?;
            if secret.is_none() {
                let why = "the client secret: `zaikoban credentials set ebay --field client_secret`";
                return Err(NoConsent::Lacking(why.to_owned()));
            }
            let scopes = &self.own.oauth.settings().scopes;
            let address = consent::address(&self.consent_page, &asking, scopes, state);
            Ok(Consent {
                address: address.into(),
            })
        }
        .boxed()
    }

    fn exchange<'a>(&'a self, code: &'a SecretString) -> BoxFuture<'a, Result<Consented, NoConsent>> {
        async move {
            let (asking, secret) = self.asking().await?;
            let secret = secret.unwrap_or_default();
            let settings = self.own.oauth.settings();
            let now = self.clock.now();
            consent::exchange(settings, &asking, &secret, code, &self.http, now)
                .await
                .map_err(|error| match error.class {
                    ErrorClass::Unauthorized => NoConsent::Refused(error.message.into()),
                    _ => NoConsent::Away(error.message.into()),
                })
        }
        .boxed()
    }
}
