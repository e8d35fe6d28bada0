//! One request to Mercari: token, points, headers, and what its end means.
//!
//! Nothing is sent twice. A request of which Mercari may have read something is *maybe applied*, whatever became of the
//! answer. A token that was refused is not shown again for a while, unless another one takes its place.

use super::MercariSettings;
use super::fault::{self, Fault, POINTS_SPENT, Refused, TOKEN_REFUSED};
use super::keys::Keys;
use super::operation::Operation;
use super::points::Points;
use crate::clock::Clock;
use crate::domain::ErrorClass;
use crate::http::{self, Answer};
use crate::platform::PlatformError;
use crate::platform::body::{kept, without};
use crate::platform::json::{self, At, Drift};
use crate::platform::lost::Lost;
use crate::platform::oauth::{NEEDS_CREDENTIALS, NoGrant};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// How long a refused token is not shown again. A new one counts at once.
const REFUSED_REST: Duration = Duration::from_secs(5 * 60);

/// An answer with status 200: what it holds, and what it complains of. It holds no token of ours.
#[derive(Debug)]
pub(super) struct Reply {
    /// What stands under the operation's field; null where there is nothing.
    pub(super) value: Value,
    /// The name of that field, for complaints.
    pub(super) field: &'static str,
    pub(super) faults: Vec<Fault>,
    /// The body as it is kept beside an error.
    pub(super) kept: Option<Box<str>>,
    /// What its clock said.
    pub(super) date: Option<DateTime<Utc>>,
    changes: bool,
}

impl Reply {
    /// What was asked for; `None` when nothing is shown, and nothing said of it.
    ///
    /// # Errors
    /// When anything is complained of beside that. A change that is complained of without any doubt, and of which nothing
    /// is shown, was not done; every other may have been.
    pub(super) fn value(&self, doing: &str) -> Result<Option<At<'_>>, Lost> {
        let nothing = self.value.is_null();
        if self.faults.is_empty() {
            return Ok((!nothing).then(|| At::root(self.field, &self.value)));
        }
        Err(Lost {
            error: fault::from_faults(doing, &self.faults, self.kept.clone()),
            maybe_applied: self.changes && !(nothing && fault::nothing_was_done(&self.faults)),
        })
    }

    /// Whether nothing is shown, and nothing but that complained of.
    pub(super) fn says_nothing_is_there(&self) -> bool {
        self.value.is_null() && !self.faults.is_empty() && self.faults.iter().all(Fault::is_not_found)
    }

    /// The failure of an answer that lacks or contradicts something.
    pub(super) fn drifted(&self, doing: &str, drift: &Drift) -> Lost {
        Lost {
            error: fault::contract(doing, drift, self.kept.clone()),
            maybe_applied: self.changes,
        }
    }

    /// The failure of an answer without what was asked for.
    pub(super) fn nothing(&self, doing: &str) -> Lost {
        let drift = Drift {
            path: format!("data.{}", self.field),
            what: "expected a value, got none".into(),
        };
        self.drifted(doing, &drift)
    }
}

/// A token that was refused, by its digest.
struct RefusedToken {
    digest: [u8; 32],
    until: Instant,
    error: PlatformError,
}

/// The way to one shop.
pub(super) struct Client {
    http: http::Client,
    keys: Arc<dyn Keys>,
    url: Url,
    /// `<API client name>/<version>`.
    user_agent: String,
    clock: Clock,
    points: Mutex<Points>,
    refused: Mutex<Option<RefusedToken>>,
}

impl Client {
    /// # Errors
    /// When the endpoint cannot carry a path.
    pub(super) fn new(
        settings: &MercariSettings,
        keys: Arc<dyn Keys>,
        http: http::Client,
        clock: Clock,
    ) -> Result<Self, url::ParseError> {
        Ok(Self {
            http,
            keys,
            url: settings.endpoint.join("/v1/graphql")?,
            user_agent: format!("{}/{}", settings.client_name, env!("CARGO_PKG_VERSION")),
            clock,
            points: Mutex::new(Points::new(settings.points_per_hour)),
            refused: Mutex::new(None),
        })
    }

    /// How long it is useless to ask.
    pub(super) fn rests_for(&self) -> Option<Duration> {
        let now = Instant::now();
        if self.keys.is_lacking() {
            return Some(REFUSED_REST);
        }
        let refused = self.refused.lock().as_ref().map(|refused| refused.until);
        let refused = refused
            .map(|until| until.saturating_duration_since(now))
            .filter(|rest| !rest.is_zero());
        refused.max(self.points.lock().free_in(1, now))
    }

    /// See [`Points::left`].
    pub(super) fn points_left(&self) -> (u32, u32, Duration) {
        self.points.lock().left(Instant::now())
    }

    /// Forgets that a token was refused.
    pub(super) fn retry_now(&self) {
        *self.refused.lock() = None;
    }

    /// Sends one operation, which costs `points`.
    pub(super) async fn ask(
        &self,
        doing: &str,
        operation: &Operation,
        variables: Value,
        points: u32,
    ) -> Result<Reply, Lost> {
        let token = self.token().await.map_err(Lost::from)?;
        let taken = self.points.lock().take(points, Instant::now());
        taken.map_err(|wait| Lost::from(spent(doing, wait)))?;
        let body =
            json!({ "query": operation.text, "operationName": operation.name, "variables": variables });
        let answer = self
            .http
            .post(self.url.clone())
            .header("accept", "application/json")
            .header("user-agent", &self.user_agent)
            .bearer(&token)
            .json(&body)
            .send()
            .await
            .map_err(|error| Lost::unanswered(doing, &error, operation.changes))?;
        let body = without(answer.body.clone(), &token);
        if answer.status != 200 {
            return Err(self.refusal(doing, operation, &answer, &body, &token));
        }
        *self.refused.lock() = None;
        read(doing, operation, &body, answer.date())
    }

    /// The failure of an answer with another status than 200.
    fn refusal(
        &self,
        doing: &str,
        operation: &Operation,
        answer: &Answer,
        body: &[u8],
        token: &SecretString,
    ) -> Lost {
        let faults = json::parse(body)
            .map(|body| fault::faults_in(&body))
            .unwrap_or_default();
        let refused = Refused {
            status: answer.status,
            content_type: answer.header("content-type"),
            faults: &faults,
            retry_after: answer.retry_after(self.clock.now()),
            body: kept(body),
        };
        let maybe_applied = operation.changes && refused.maybe_done();
        let error = refused.error(doing);
        if *error.code == *TOKEN_REFUSED {
            *self.refused.lock() = Some(RefusedToken {
                digest: digest(token),
                until: Instant::now() + REFUSED_REST,
                error: error.clone(),
            });
        }
        Lost { error, maybe_applied }
    }

    /// The token, unless it was refused a moment ago.
    async fn token(&self) -> Result<SecretString, PlatformError> {
        let token = self.keys.token().await.map_err(without_token)?;
        let digest = digest(&token);
        let refused = self.refused.lock();
        match refused
            .as_ref()
            .filter(|r| r.digest == digest && Instant::now() < r.until)
        {
            Some(refused) => Err(refused.error.clone()),
            None => Ok(token),
        }
    }
}

fn digest(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret().as_bytes()).into()
}

/// What it means that there is nothing to ask with.
fn without_token(why: NoGrant) -> PlatformError {
    let (class, code, why) = match why {
        NoGrant::Away(error) => (ErrorClass::Transient, "token_store", error.to_string()),
        NoGrant::Unreadable(why) => (ErrorClass::Unauthorized, NEEDS_CREDENTIALS, why),
        NoGrant::Lacking(_) => {
            let why = "its token is lacking: `zaikoban credentials set mercari`".to_owned();
            (ErrorClass::Unauthorized, NEEDS_CREDENTIALS, why)
        }
    };
    fault::error(class, code, format!("nothing is sent to `mercari`: {why}"), None)
}

/// What it means that the hour's points are spent.
fn spent(doing: &str, wait: Duration) -> PlatformError {
    let class = ErrorClass::RateLimited {
        retry_after: Some(wait),
    };
    let message = format!(
        "did not {doing}: this hour's cost points are spent, and enough are free again in {} s; \
         `platforms.mercari.points_per_hour` says how many there are",
        wait.as_secs().saturating_add(1)
    );
    fault::error(class, POINTS_SPENT, message, None)
}

/// An answer with status 200.
fn read(doing: &str, operation: &Operation, body: &[u8], date: Option<DateTime<Utc>>) -> Result<Reply, Lost> {
    let broken = |path: &str, what: String| Lost {
        error: fault::contract(
            doing,
            &Drift {
                path: path.into(),
                what,
            },
            kept(body),
        ),
        maybe_applied: operation.changes,
    };
    let mut whole = json::parse(body).map_err(|bad| broken("body", format!("expected JSON: {bad}")))?;
    let faults = fault::faults_in(&whole);
    if whole.get("errors").is_some_and(|errors| !errors.is_null()) && faults.is_empty() {
        return Err(broken("errors", "expected a list of errors".into()));
    }
    let data = whole.get_mut("data").map(Value::take).unwrap_or_default();
    if data.is_null() && faults.is_empty() {
        return Err(broken("data", "expected a value, got none".into()));
    }
    let value = match data {
        Value::Null => Value::Null,
        Value::Object(mut members) => match members.remove(operation.field) {
            Some(value) => value,
            None if faults.is_empty() => {
                return Err(broken(
                    &format!("data.{}", operation.field),
                    "expected a value, got none".into(),
                ));
            }
            None => Value::Null,
        },
        _ => return Err(broken("data", "expected an object".into())),
    };
    Ok(Reply {
        value,
        field: operation.field,
        faults,
        kept: kept(body),
        date,
        changes: operation.changes,
    })
}
