//! One request to the Selling Partner API: its turn, address, headers, token, and what its end means.
//!
//! A request whose token was refused (401, or a 403 that speaks of the token) is sent once more with a new one. No other
//! is sent twice. A request of which Amazon may have read something is *maybe applied*, whatever became of the answer.
//!
//! Addresses are built from the API's endpoint alone; the token endpoint's host is asked for tokens and nothing else.

use super::fault;
use super::quota::{Operation, Quotas, RATE_HEADER};
use crate::clock::Clock;
use crate::domain::{Currency, ErrorClass, Platform};
use crate::http;
use crate::platform::body::without;
use crate::platform::json::{self, At, Drift};
use crate::platform::lost::Lost;
use crate::platform::oauth::{Bearer, ClientAuth, Grants, OAuth, OAuthSettings, TokenStore};
use crate::platform::{PlatformError, Reached};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The secrets that an account needs, by their names in settings and orders.
pub const SECRETS: &[&str] = &["client_id", "client_secret", "refresh_token"];

/// Where an account is, and how fast it may be asked.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// `https://sellingpartnerapi-fe.amazon.com`, its sandbox, or the simulator.
    pub endpoint: Url,
    /// `https://api.amazon.com`, where tokens are asked for and nothing else.
    pub token_endpoint: Url,
    /// The marketplace: `A1VC38T7YXB528` is Amazon.co.jp.
    pub marketplace: String,
    /// Its currency; an amount in another is an error.
    pub currency: Currency,
    /// The most requests in any hour; `None` leaves it to the quotas of the operations.
    pub requests_per_hour: Option<u32>,
    /// How long a request may wait for its turn before it is given up unsent.
    pub patience: Duration,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Get,
    /// A question that needs a body: asking it twice is harmless.
    Post(Value),
    /// Makes something: asking it twice makes two.
    Create(Value),
    Patch(Value),
}

/// An answer, of any status. Its body holds no token of ours.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) date: Option<DateTime<Utc>>,
    retry_after: Option<Duration>,
}

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What a reply that is no success means for `doing`.
    pub(super) fn refusal(&self, doing: &str) -> PlatformError {
        let body = json::parse(&self.body).unwrap_or_default();
        let faults = fault::faults_in(&body);
        fault::error(
            doing,
            self.status,
            &faults,
            self.retry_after,
            fault::kept(&self.body),
        )
    }

    /// The same, for `doing` something that changes what is there.
    pub(super) fn refused(&self, doing: &str) -> Lost {
        Lost {
            error: self.refusal(doing),
            maybe_applied: !(400..500).contains(&self.status) || self.status == 408,
        }
    }

    /// A success's body.
    pub(super) fn json(&self, doing: &str) -> Result<Value, PlatformError> {
        if !self.is_success() {
            return Err(self.refusal(doing));
        }
        json::parse(&self.body).map_err(|broken| {
            let drift = Drift {
                path: "body".into(),
                what: format!("expected JSON: {broken}"),
            };
            fault::contract(doing, &drift, fault::kept(&self.body))
        })
    }

    fn is_token_refused(&self) -> bool {
        match self.status {
            401 => true,
            403 => {
                let body = json::parse(&self.body).unwrap_or_default();
                let faults = fault::faults_in(&body);
                faults.iter().any(fault::Fault::is_about_token)
            }
            _ => false,
        }
    }
}

/// The way to one account.
pub(super) struct Account {
    http: http::Client,
    oauth: OAuth,
    quotas: Quotas,
    pub(super) settings: AccountSettings,
    pub(super) clock: Clock,
}

impl Account {
    pub(super) fn new(
        platform: Platform,
        settings: AccountSettings,
        grants: Arc<dyn Grants>,
        http: http::Client,
        tokens: Arc<dyn TokenStore>,
        clock: Clock,
    ) -> Result<Self, url::ParseError> {
        let asked = OAuthSettings {
            platform,
            token_url: settings.token_endpoint.join("/auth/o2/token")?,
            scopes: Vec::new(),
            client_auth: ClientAuth::Form,
        };
        Ok(Self {
            oauth: OAuth::new(asked, grants, http.clone(), tokens, clock.clone()),
            quotas: Quotas::new(settings.requests_per_hour, settings.patience),
            http,
            settings,
            clock,
        })
    }

    pub(super) fn oauth(&self) -> &OAuth {
        &self.oauth
    }

    /// An address of the API. Each part is escaped whole.
    pub(super) fn address(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Waits for its turn and sends; once more with a new token when the first was refused.
    pub(super) async fn send(
        &self,
        doing: &str,
        operation: Operation,
        ask: Ask,
        url: Url,
    ) -> Result<Reply, Lost> {
        let bearer = self.oauth.access().await?;
        let reply = self.once(doing, operation, &ask, &url, &bearer).await?;
        if !reply.is_token_refused() {
            return Ok(reply);
        }
        let bearer = self.oauth.renew(&bearer).await?;
        self.once(doing, operation, &ask, &url, &bearer).await
    }

    /// Asks, and gives the body of a success.
    pub(super) async fn read(
        &self,
        doing: &str,
        operation: Operation,
        ask: Ask,
        url: Url,
    ) -> Result<Value, PlatformError> {
        let reply = self.send(doing, operation, ask, url).await;
        reply.map_err(|lost| lost.error)?.json(doing)
    }

    /// The same for a question about nothing that is there: to be told so is a good answer.
    pub(super) async fn reach(
        &self,
        doing: &str,
        operation: Operation,
        url: Url,
    ) -> Result<Reached, PlatformError> {
        let reply = self.send(doing, operation, Ask::Get, url).await;
        let reply = reply.map_err(|lost| lost.error)?;
        match reply.json(doing) {
            Err(error) if error.class != ErrorClass::NotFound => Err(error),
            Ok(_) | Err(_) => Ok(Reached { date: reply.date }),
        }
    }

    async fn once(
        &self,
        doing: &str,
        operation: Operation,
        ask: &Ask,
        url: &Url,
        bearer: &Bearer,
    ) -> Result<Reply, Lost> {
        self.quotas.turn(doing, operation).await?;
        let request = match ask {
            Ask::Get => self.http.get(url.clone()),
            Ask::Post(body) => self.http.post(url.clone()).json(body).repeatable(),
            Ask::Create(body) => self.http.post(url.clone()).json(body),
            Ask::Patch(body) => self.http.patch(url.clone()).json(body),
        };
        let changes = matches!(ask, Ask::Patch(_) | Ask::Create(_));
        let now = self.clock.now();
        let answer = request
            .header("accept", "application/json")
            .header("x-amz-date", &now.format("%Y%m%dT%H%M%SZ").to_string())
            .secret_header("x-amz-access-token", bearer.token())
            .send()
            .await
            .map_err(|error| Lost::unanswered(doing, &error, changes))?;
        self.quotas
            .hear(operation, answer.status, answer.header(RATE_HEADER));
        if answer.is_success() {
            self.oauth.worked(bearer);
        }
        Ok(Reply {
            status: answer.status,
            retry_after: answer.retry_after(self.clock.now()),
            date: answer.date(),
            body: without(answer.body, bearer.token()),
        })
    }
}

/// The amount `at` (`{CurrencyCode, Amount}` or `{currencyCode, amount}`), in the marketplace's currency.
pub(super) fn amount(
    at: &At<'_>,
    (code, value): (&str, &str),
    currency: Currency,
) -> Result<rust_decimal::Decimal, Drift> {
    let named = at.get(code)?;
    if named.text()? != currency.code() {
        return Err(named.drift(&format!("the marketplace's currency, {currency}")));
    }
    let value = at.get(value)?;
    let digits = match value.value() {
        Value::String(digits) => json::digits(digits).ok_or_else(|| value.drift("a number"))?,
        _ => value.decimal()?,
    };
    if digits < rust_decimal::Decimal::ZERO {
        return Err(value.drift("an amount of money"));
    }
    Ok(digits)
}
