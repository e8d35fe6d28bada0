//! An application's own access token: for what is about no seller, such as categories and quotas.
//!
//! RFC 6749's `client_credentials` with the same name and secret as the seller's tokens. It is kept in memory only: it
//! takes one request to get another, and it opens nobody's account.

use super::rule::{self, Refused};
use super::{
    Bearer, Grants, LAST_MOMENT, NEEDS_CREDENTIALS, NEEDS_REAUTH, NoGrant, OAuthSettings, rfc_refusal,
};
use crate::clock::Clock;
use crate::domain::ErrorClass;
use crate::http;
use crate::platform::PlatformError;
use std::sync::Arc;
use tokio::time::Instant;

/// The token of one application.
pub struct AppToken {
    settings: OAuthSettings,
    grants: Arc<dyn Grants>,
    http: http::Client,
    clock: Clock,
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<(Bearer, Instant)>,
    generation: u64,
    /// The endpoint is left alone until then, and callers get this.
    rest: Option<(Instant, PlatformError)>,
    failures: u32,
}

impl AppToken {
    /// A token by `settings` for the application that `grants` names.
    #[must_use]
    pub fn new(settings: OAuthSettings, grants: Arc<dyn Grants>, http: http::Client, clock: Clock) -> Self {
        Self {
            settings,
            grants,
            http,
            clock,
            held: tokio::sync::Mutex::default(),
        }
    }

    /// A token that will last the next request.
    ///
    /// # Errors
    /// When there is none and none is to be had.
    ///
    /// # Cancel safety
    /// A token that was on its way is asked for anew.
    pub async fn access(&self) -> Result<Bearer, PlatformError> {
        // Held while it is asked for: that is what makes the others wait.
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some((bearer, ends_at)) = &held.token
            && now + LAST_MOMENT < *ends_at
        {
            return Ok(bearer.clone());
        }
        if let Some((until, error)) = &held.rest
            && now < *until
        {
            return Err(error.clone());
        }
        match self.ask().await {
            Ok(granted) => {
                held.generation = held.generation.wrapping_add(1);
                let bearer = Bearer {
                    token: granted.access,
                    generation: held.generation,
                };
                let ends_at = now + (granted.lifetime - rule::margin(granted.lifetime));
                (held.rest, held.failures) = (None, 0);
                held.token = Some((bearer.clone(), ends_at));
                Ok(bearer)
            }
            Err(error) => {
                held.failures = held.failures.saturating_add(1);
                let until = now + rule::rest(held.failures, error.class);
                held.rest = Some((until, error.clone()));
                Err(error)
            }
        }
    }

    /// Does not hand out `refused` again, which the platform answered with 401.
    pub async fn forget(&self, refused: &Bearer) {
        let mut held = self.held.lock().await;
        if held
            .token
            .as_ref()
            .is_some_and(|(b, _)| b.generation == refused.generation)
        {
            held.token = None;
        }
    }

    async fn ask(&self) -> Result<rule::Granted, PlatformError> {
        let grant = self.grants.grant().await.map_err(|none| self.no_grant(&none))?;
        let scopes = self.settings.scopes.join(" ");
        let form = [("grant_type", "client_credentials"), ("scope", scopes.as_str())];
        let request = self.http.post(self.settings.token_url.clone());
        let request = request.basic(&grant.client_id, &grant.client_secret).form(&form);
        let answer = request.header("accept", "application/json").send().await;
        let answer = answer.map_err(|error| self.refused(&rfc_refusal(&error)))?;
        rule::read(answer.status, &answer.body, answer.retry_after(self.clock.now()))
            .map_err(|refusal| self.refused(&refusal))
    }

    fn refused(&self, refusal: &Refused) -> PlatformError {
        let (code, next) = match refusal.class {
            ErrorClass::Unauthorized => (NEEDS_REAUTH, "; check the application's id and secret"),
            _ => (&*refusal.code, ""),
        };
        let said = format!("{} ({}){next}", refusal.why, refusal.code);
        self.error(refusal.class, code, &said)
    }

    fn no_grant(&self, none: &NoGrant) -> PlatformError {
        match none {
            NoGrant::Lacking(names) => {
                let said = format!("{} not given yet", names.join(", "));
                self.error(ErrorClass::Unauthorized, NEEDS_CREDENTIALS, &said)
            }
            NoGrant::Unreadable(why) => self.error(ErrorClass::Unauthorized, NEEDS_CREDENTIALS, why),
            NoGrant::Away(error) => self.error(ErrorClass::Transient, "credentials_away", &error.to_string()),
        }
    }

    fn error(&self, class: ErrorClass, code: &str, said: &str) -> PlatformError {
        let platform = self.settings.platform;
        PlatformError {
            class,
            code: code.into(),
            message: format!("`{platform}` gave the application no access token: {said}").into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        }
    }
}
