//! eBay's account as the orders see it: what it lacks, a person's consent, and that its credentials changed.

use super::ports::credentials::{SealedGrants, needs};
use crate::clock::Clock;
use crate::domain::ErrorClass;
use crate::http;
use crate::ops::{Account, Consent, NoConsent};
use crate::platform::oauth::consent::{self, Asking};
use crate::platform::oauth::{Consented, NoGrant, OAuth};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use url::Url;

/// See the module.
pub(super) struct EbayAccount {
    pub(super) oauth: OAuth,
    pub(super) grants: Arc<SealedGrants>,
    pub(super) http: http::Client,
    pub(super) consent_page: Url,
    pub(super) ru_name: Option<String>,
    pub(super) clock: Clock,
}

impl EbayAccount {
    /// Who asks for consent, and the secret to prove it.
    async fn asking(&self) -> Result<(Asking, Option<SecretString>), NoConsent> {
        let secrets = self.grants.secrets().await.map_err(|why| match why {
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
        self.grants.typed()
    }

    fn needs(&self) -> Option<String> {
        needs(&self.grants)
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        async move {
            if let Err(error) = self.grants.look().await {
                // The next request for a token looks by itself.
                tracing::debug!(%error, "Changed credentials were not looked at yet");
            }
            self.oauth.credentials_changed().await;
        }
        .boxed()
    }

    fn sign_in_again(&self) -> BoxFuture<'_, ()> {
        async move {
            // Whether that works is told with the next request for a token, if the database is away now.
            drop(self.grants.look().await);
            self.oauth.retry_now().await;
        }
        .boxed()
    }

    fn consent<'a>(&'a self, state: &'a str) -> BoxFuture<'a, Result<Consent, NoConsent>> {
        async move {
            let (asking, secret) = self.asking().await?;
            if secret.is_none() {
                let why = "the client secret: `zaikoban credentials set ebay --field client_secret`";
                return Err(NoConsent::Lacking(why.to_owned()));
            }
            let scopes = &self.oauth.settings().scopes;
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
            let settings = self.oauth.settings();
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
