//! Access tokens: asked for early, by one caller at a time, and kept.
//!
//! The grant is RFC 6749's `refresh_token`, with the client's name and secret where the platform wants them
//! ([`ClientAuth`]). A marketplace's client
//! asks [`OAuth::access`] before every request, and [`OAuth::renew`] once when a request was answered with 401.
//!
//! # Guarantees
//! - **One at a time.** However many callers need a token, one request goes out; the others wait for its answer and
//!   share it, a failure too. The request runs as a task of its own, so a caller that gives up cancels nothing: an
//!   answer that rotated the refresh token is never thrown away.
//! - **Early.** A token is replaced at least 60 s before its end. When that fails, the old one serves until its end.
//! - **What is asked with is looked up each time** through [`Grants`], so that credentials which a person sets count with
//!   the next request. While some are lacking nothing is asked, and every call says `needs_credentials`.
//! - **Saved before used.** What a refresh brought goes through the [`TokenStore`] first. A rotated refresh token that
//!   could not be saved is not used; it is kept and saved at the next call. The one before it is kept until the new one
//!   has worked once.
//! - **No hammering.** After a failure the endpoint is left alone for 1, 2, 4 … 15 s (or its `Retry-After`); after it
//!   refused the grant or the client, for 15 minutes, and every call says `needs_reauth` and what to do. Of tokens that
//!   are refused within their first minute and never worked three in a row are replaced; then none for the rest of that
//!   minute.
//! - **Secrets stay secret.** They are [`SecretString`]s; no error holds a part of the endpoint's answer but its RFC
//!   6749 error code.
//!
//! Time in memory is monotonic; the calendar is used only for what is kept over a restart.

pub mod app;
pub mod consent;
mod grant;
mod rule;

pub use grant::{Grant, Grants, NoGrant};
pub use rule::Consented;

use crate::clock::Clock;
use crate::domain::{Classified, ErrorClass, Platform};
use crate::http;
use crate::platform::PlatformError;
use crate::supervision::{OwnedTask, spawn_owned};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use rule::{Granted, Refused};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// The code of the error that says a person must sign in again.
pub const NEEDS_REAUTH: &str = "needs_reauth";
/// The code of the error that says a person must give the credentials first.
pub const NEEDS_CREDENTIALS: &str = "needs_credentials";
/// A token is not handed out this shortly before its end.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Where tokens are asked for, and for what.
#[derive(Clone, Debug)]
pub struct OAuthSettings {
    /// Whose tokens these are.
    pub platform: Platform,
    /// The token endpoint.
    pub token_url: Url,
    /// The scopes asked for; none asks for those of the grant.
    pub scopes: Vec<String>,
    /// Where the client's name and secret stand.
    pub client_auth: ClientAuth,
}

/// Where a token request names the client (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In a Basic header (eBay).
    Basic,
    /// As `client_id` and `client_secret` in the form (Login with Amazon).
    Form,
}

impl ClientAuth {
    /// Puts the client's name and secret where they belong.
    fn sign<'a>(
        self,
        request: http::Request,
        form: &mut Vec<(&'a str, &'a str)>,
        client_id: &'a str,
        client_secret: &'a SecretString,
    ) -> http::Request {
        match self {
            Self::Basic => request.basic(client_id, client_secret),
            Self::Form => {
                form.push(("client_id", client_id));
                form.push(("client_secret", client_secret.expose_secret()));
                request
            }
        }
    }
}

/// What is kept over a restart.
#[derive(Clone, Debug)]
pub struct Kept {
    /// SHA-256 (hexadecimal) of the granted refresh token from which these descend.
    pub seed: String,
    /// The refresh token to use.
    pub refresh: SecretString,
    /// The one before it, until `refresh` has worked once.
    pub previous: Option<SecretString>,
    /// The access token and when it ends.
    pub access: Option<(SecretString, DateTime<Utc>)>,
}

/// Why tokens could not be loaded or saved. Its text holds no secret.
pub type TokenStoreError = Box<dyn std::error::Error + Send + Sync>;

/// Where tokens are kept.
pub trait TokenStore: Send + Sync + 'static {
    /// What was saved last; `None` when nothing was, or it can no longer be read. The granted refresh token is used then.
    ///
    /// # Errors
    /// When it may be there but cannot be reached now, the database being away for example.
    fn load(&self, platform: Platform) -> BoxFuture<'_, Result<Option<Kept>, TokenStoreError>>;

    /// Keeps `tokens`, durably before the answer.
    ///
    /// # Errors
    /// When they are not certainly kept.
    fn save<'a>(&'a self, platform: Platform, tokens: &'a Kept)
    -> BoxFuture<'a, Result<(), TokenStoreError>>;
}

/// An access token to send, and which one it is.
#[derive(Clone, Debug)]
pub struct Bearer {
    token: SecretString,
    generation: u64,
}

impl Bearer {
    /// The token.
    #[must_use]
    pub fn token(&self) -> &SecretString {
        &self.token
    }
}

/// The access token in use.
#[derive(Clone, Debug)]
struct Held {
    bearer: Bearer,
    replace_at: Instant,
    ends_at: Instant,
}

/// What only one caller at a time sees.
#[derive(Default)]
struct Renewal {
    task: Option<OwnedTask<Result<Fresh, PlatformError>>>,
    rest: Option<Rest>,
    failures: u32,
    generation: u64,
    /// How many tokens in a row were refused within their first minute without ever having worked.
    young_refused: u32,
    /// When the newest token was issued, if that was seen.
    issued_at: Option<Instant>,
}

/// No request before `until`; callers get `error`.
struct Rest {
    until: Instant,
    error: PlatformError,
}

/// A token as the task brings it.
struct Fresh {
    token: SecretString,
    lifetime: Duration,
    /// When its lifetime began to count.
    from: Instant,
    /// The endpoint has just issued it; it was not kept from before.
    is_new: bool,
}

/// The tokens of one platform. Cheap to clone.
#[derive(Clone)]
pub struct OAuth {
    endpoint: Arc<Endpoint>,
    held: Arc<RwLock<Option<Held>>>,
    /// The newest generation that the platform took.
    worked: Arc<AtomicU64>,
    renewal: Arc<tokio::sync::Mutex<Renewal>>,
}

impl OAuth {
    /// Tokens by `settings` for what `grants` gives, kept in `store`, asked for through `http`.
    #[must_use]
    pub fn new(
        settings: OAuthSettings,
        grants: Arc<dyn Grants>,
        http: http::Client,
        store: Arc<dyn TokenStore>,
        clock: Clock,
    ) -> Self {
        Self {
            endpoint: Arc::new(Endpoint {
                settings,
                grants,
                http,
                store,
                clock,
                unsaved: Mutex::new(None),
            }),
            held: Arc::default(),
            worked: Arc::default(),
            renewal: Arc::default(),
        }
    }

    /// A token that will last the next request.
    ///
    /// # Errors
    /// When there is none and none is to be had: class `Unauthorized` and code [`NEEDS_REAUTH`] when a person must act.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a refresh that has begun to go on; the next caller takes its answer.
    pub async fn access(&self) -> Result<Bearer, PlatformError> {
        let now = Instant::now();
        let held = self.held.read().clone();
        match held {
            Some(held) if now < held.replace_at => Ok(held.bearer),
            // Early: whoever comes first renews, the others go on with the old one.
            Some(held) if now + LAST_MOMENT < held.ends_at => match self.renewal.try_lock() {
                Ok(renewal) => self.under_lock(renewal, None).await,
                Err(_busy) => Ok(held.bearer),
            },
            _ => {
                let renewal = self.renewal.lock().await;
                self.under_lock(renewal, None).await
            }
        }
    }

    /// Another token than `refused`, which the platform answered with 401.
    ///
    /// # Errors
    /// As [`access`](Self::access), and when `refused` is so young that another would fare no better.
    ///
    /// # Cancel safety
    /// As [`access`](Self::access).
    pub async fn renew(&self, refused: &Bearer) -> Result<Bearer, PlatformError> {
        let renewal = self.renewal.lock().await;
        self.under_lock(renewal, Some(refused.generation)).await
    }

    /// Says that the platform took this token.
    pub fn worked(&self, bearer: &Bearer) {
        self.worked.fetch_max(bearer.generation, Ordering::Relaxed);
    }

    /// How long no token is to be had: the endpoint refused or failed and is left alone, or new tokens are refused as soon
    /// as they are used. `None` when one is held or may be asked for.
    #[must_use]
    pub fn rests_for(&self) -> Option<Duration> {
        let now = Instant::now();
        if self
            .held
            .read()
            .as_ref()
            .is_some_and(|h| now + LAST_MOMENT < h.ends_at)
        {
            return None;
        }
        if !self.endpoint.grants.lacking().is_empty() {
            return Some(rule::REFUSED_REST);
        }
        // Locked: somebody is asking, and callers wait for the answer.
        let renewal = self.renewal.try_lock().ok()?;
        let rest = renewal.rest.as_ref().map(|rest| rest.until);
        let never_worked = self.worked.load(Ordering::Relaxed) < renewal.generation;
        let hopeless = never_worked && renewal.young_refused >= rule::YOUNG_REPLACED;
        let grown_up = renewal.issued_at.filter(|_| hopeless).map(|at| at + rule::YOUNG);
        let until = rest.max(grown_up)?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Forgets what was refused, so that the next call asks at once: the operator says that it was put right.
    pub async fn retry_now(&self) {
        let mut renewal = self.renewal.lock().await;
        renewal.rest = None;
        renewal.failures = 0;
        renewal.young_refused = 0;
    }

    /// Says that what is asked with has changed: the token held is of the old account and goes, and the next call asks at
    /// once. A request under way is waited for, and what it brings is not used.
    ///
    /// # Cancel safety
    /// Dropped while it waits, nothing has changed yet.
    pub async fn credentials_changed(&self) {
        let mut renewal = self.renewal.lock().await;
        if let Some(task) = renewal.task.as_mut() {
            drop(task.await);
        }
        let generation = renewal.generation;
        *renewal = Renewal {
            // Later tokens are told from those that are still under way with a request.
            generation,
            ..Renewal::default()
        };
        *self.held.write() = None;
    }

    /// Where tokens are asked for.
    #[must_use]
    pub fn settings(&self) -> &OAuthSettings {
        &self.endpoint.settings
    }

    /// The rest of `access` and `renew`, by one caller at a time. `stale` is the generation that is not wanted.
    async fn under_lock(
        &self,
        mut renewal: tokio::sync::MutexGuard<'_, Renewal>,
        stale: Option<u64>,
    ) -> Result<Bearer, PlatformError> {
        let now = Instant::now();
        let held = self.held_but(stale);
        let usable = held
            .clone()
            .filter(|h| now + LAST_MOMENT < h.ends_at)
            .map(|h| h.bearer);
        if let Some(held) = held.filter(|h| now < h.replace_at) {
            return Ok(held.bearer);
        }
        if renewal.task.is_none() {
            // Nothing held, and yet issued just now: it was refused.
            let never_worked = self.worked.load(Ordering::Relaxed) < renewal.generation;
            if usable.is_none() && never_worked && renewal.is_young(now) {
                if renewal.young_refused >= rule::YOUNG_REPLACED {
                    return Err(self.endpoint.young_token_refused());
                }
                renewal.young_refused += 1;
            } else {
                renewal.young_refused = 0;
            }
            match &renewal.rest {
                Some(rest) if now < rest.until => return usable.ok_or_else(|| rest.error.clone()),
                _ => {}
            }
            let endpoint = Arc::clone(&self.endpoint);
            // A token that was just refused is not to be taken from the store again.
            let may_load = renewal.generation == 0 && stale.is_none();
            renewal.task = Some(
                spawn_owned("oauth refresh", async move { endpoint.obtain(may_load).await }).to_its_end(),
            );
        }
        let Some(task) = renewal.task.as_mut() else {
            return Err(self
                .endpoint
                .refused(ErrorClass::Transient, "no_task", "the refresh did not start"));
        };
        // Waits with the lock held: that is what makes the others wait. Dropped here, the task stays where it is.
        let answer = match task.await {
            Ok(answer) => answer,
            Err(crash) => Err(self
                .endpoint
                .refused(ErrorClass::Transient, "panicked", &crash.to_string())),
        };
        renewal.task = None;
        match answer {
            Ok(fresh) => Ok(self.install(&mut renewal, fresh)),
            Err(error) => {
                renewal.failures = renewal.failures.saturating_add(1);
                let until = Instant::now() + rule::rest(renewal.failures, error.class);
                renewal.rest = Some(Rest {
                    until,
                    error: error.clone(),
                });
                usable.ok_or(error)
            }
        }
    }

    /// The token held, unless it is the one that was refused: that one is dropped, so that nobody sends it again.
    fn held_but(&self, refused: Option<u64>) -> Option<Held> {
        let mut held = self.held.write();
        if held
            .as_ref()
            .is_some_and(|h| Some(h.bearer.generation) == refused)
        {
            *held = None;
        }
        held.clone()
    }

    fn install(&self, renewal: &mut Renewal, fresh: Fresh) -> Bearer {
        renewal.generation += 1;
        renewal.failures = 0;
        renewal.rest = None;
        renewal.issued_at = fresh.is_new.then_some(fresh.from);
        let bearer = Bearer {
            token: fresh.token,
            generation: renewal.generation,
        };
        *self.held.write() = Some(Held {
            bearer: bearer.clone(),
            replace_at: fresh.from + fresh.lifetime.saturating_sub(rule::margin(fresh.lifetime)),
            ends_at: fresh.from + fresh.lifetime,
        });
        bearer
    }
}

impl Renewal {
    fn is_young(&self, now: Instant) -> bool {
        self.issued_at
            .is_some_and(|at| now.saturating_duration_since(at) < rule::YOUNG)
    }
}

/// The token endpoint and what belongs to asking it.
struct Endpoint {
    settings: OAuthSettings,
    grants: Arc<dyn Grants>,
    http: http::Client,
    store: Arc<dyn TokenStore>,
    clock: Clock,
    /// What a refresh brought and the store did not take.
    unsaved: Mutex<Option<Kept>>,
}

impl Endpoint {
    /// A token from what is kept, if `may_load` and it lasts, else from the endpoint.
    async fn obtain(&self, may_load: bool) -> Result<Fresh, PlatformError> {
        let grant = self.grant().await?;
        let seed = grant.seed();
        let unsaved = self.unsaved.lock().clone();
        // What descends from another grant is of no more use to anybody.
        if let Some(kept) = unsaved.filter(|kept| kept.seed == seed) {
            self.save(&kept).await?;
            *self.unsaved.lock() = None;
            if let Some(fresh) = self.still_good(&kept) {
                return Ok(fresh);
            }
        }
        let kept = self.load(&seed).await?;
        match kept.as_ref().and_then(|kept| self.still_good(kept)) {
            Some(fresh) if may_load => Ok(fresh),
            _ => self.refresh(grant, kept).await,
        }
    }

    async fn grant(&self) -> Result<Grant, PlatformError> {
        let why = match self.grants.grant().await {
            Ok(grant) => return Ok(grant),
            Err(NoGrant::Away(error)) => {
                return Err(self.refused(ErrorClass::Transient, "token_store", &error.to_string()));
            }
            Err(NoGrant::Lacking(fields)) => lacks(self.settings.platform, &fields),
            Err(NoGrant::Unreadable(why)) => why,
        };
        let platform = self.settings.platform;
        Err(PlatformError {
            class: ErrorClass::Unauthorized,
            code: NEEDS_CREDENTIALS.into(),
            message: format!("nothing is sent to `{platform}`: {why}").into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        })
    }

    /// The kept access token, when it lasts long enough to be worth using.
    fn still_good(&self, kept: &Kept) -> Option<Fresh> {
        let (token, ends_at) = kept.access.as_ref()?;
        let left = (*ends_at - self.clock.now()).to_std().ok()?;
        // A day is the longest that is ever believed; more means that the calendar moved.
        let credible = Duration::from_secs(120)..=Duration::from_secs(86_400);
        credible.contains(&left).then(|| Fresh {
            token: token.clone(),
            lifetime: left,
            from: Instant::now(),
            is_new: false,
        })
    }

    /// What is kept and descends from the grant of this seed.
    async fn load(&self, seed: &str) -> Result<Option<Kept>, PlatformError> {
        let kept = self.store.load(self.settings.platform).await;
        let kept = kept.map_err(|e| self.refused(ErrorClass::Transient, "token_store", &e.to_string()))?;
        Ok(kept.filter(|kept| kept.seed == seed))
    }

    async fn save(&self, kept: &Kept) -> Result<(), PlatformError> {
        let saved = self.store.save(self.settings.platform, kept).await;
        saved.map_err(|e| self.refused(ErrorClass::Transient, "token_store", &e.to_string()))
    }

    async fn refresh(&self, grant: Grant, kept: Option<Kept>) -> Result<Fresh, PlatformError> {
        let (mut used, previous) = match kept {
            Some(kept) => (kept.refresh, kept.previous),
            None => (grant.refresh_token.clone(), None),
        };
        // Counted from before the request: the token is a little younger than believed, never older.
        let mut from = Instant::now();
        let mut answer = self.ask(&grant, &used).await;
        if let (Err(refusal), Some(previous)) = (&answer, previous)
            && *refusal.code == *"invalid_grant"
        {
            // The rotated token never worked: perhaps the server did not keep it either.
            from = Instant::now();
            answer = self.ask(&grant, &previous).await;
            used = previous;
        }
        let granted = answer.map_err(|refusal| self.refused(refusal.class, &refusal.code, &refusal.why))?;
        self.keep(grant.seed(), used, granted, from).await
    }

    /// Saves before anything is used.
    async fn keep(
        &self,
        seed: String,
        used: SecretString,
        granted: Granted,
        from: Instant,
    ) -> Result<Fresh, PlatformError> {
        let Granted {
            access,
            lifetime,
            rotated,
        } = granted;
        let lasting = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::minutes(5));
        let is_new = rotated
            .as_ref()
            .is_some_and(|new| new.expose_secret() != used.expose_secret());
        let (refresh, previous) = match rotated {
            Some(new) if is_new => (new, Some(used)),
            _ => (used, None),
        };
        let kept = Kept {
            seed,
            refresh,
            previous,
            access: Some((access.clone(), self.clock.now() + lasting)),
        };
        match self.save(&kept).await {
            Ok(()) => {}
            Err(error) if is_new => {
                *self.unsaved.lock() = Some(kept);
                return Err(error);
            }
            // Nothing is lost but one refresh after a restart.
            Err(error) => tracing::warn!(
                platform = %self.settings.platform,
                error = %error,
                "The access token of `{}` is used, but not kept for a restart",
                self.settings.platform
            ),
        }
        Ok(Fresh {
            token: access,
            lifetime,
            from,
            is_new: true,
        })
    }

    async fn ask(&self, grant: &Grant, refresh_token: &SecretString) -> Result<Granted, Refused> {
        let settings = &self.settings;
        let scopes = settings.scopes.join(" ");
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose_secret()),
        ];
        if !scopes.is_empty() {
            form.push(("scope", &scopes));
        }
        let request = self.http.post(settings.token_url.clone());
        let request = settings
            .client_auth
            .sign(request, &mut form, &grant.client_id, &grant.client_secret);
        let answer = request
            .form(&form)
            .header("accept", "application/json")
            .send()
            .await;
        let answer = answer.map_err(|error| rfc_refusal(&error))?;
        rule::read(answer.status, &answer.body, answer.retry_after(self.clock.now()))
    }

    /// A token was refused that another would not better.
    fn young_token_refused(&self) -> PlatformError {
        let platform = self.settings.platform;
        PlatformError {
            class: ErrorClass::Unauthorized,
            code: "new_token_refused".into(),
            message: format!(
                "`{platform}` refused an access token that it issued less than a minute ago; check that the \
                 application has the scopes it needs and that the account is not suspended"
            )
            .into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        }
    }

    /// An error for a token that was not to be had.
    fn refused(&self, class: ErrorClass, code: &str, why: &str) -> PlatformError {
        let platform = self.settings.platform;
        let said = code;
        let (code, next) = match class {
            ErrorClass::Unauthorized => (
                NEEDS_REAUTH,
                format!(
                    "; nothing is sent to `{platform}` and the grant is tried again in 15 minutes. {}; keys that were \
                     typed into the settings must be replaced there. `zaikoban platforms reset {platform}` tries at once",
                    sign_in_again(platform)
                ),
            ),
            _ => (code, String::new()),
        };
        PlatformError {
            class,
            code: code.into(),
            message: format!("no access token for `{platform}`: {why} ({said}){next}").into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        }
    }
}

/// What a person does when a grant is refused.
fn sign_in_again(platform: Platform) -> String {
    if platform.asks_for_consent() {
        return format!("Sign in again with `zaikoban credentials authorize {platform}`");
    }
    format!(
        "Authorise the application anew at the platform (Amazon: Seller Central, Develop Apps, Authorize) and give the new \
         refresh token to `zaikoban credentials set {platform}`"
    )
}

/// What a person has to give, and how.
#[must_use]
pub fn lacks(platform: Platform, fields: &[&str]) -> String {
    let next = match fields {
        ["refresh_token"] if platform.asks_for_consent() => format!(
            "`zaikoban credentials authorize {platform}` asks for your consent (or `zaikoban credentials set {platform} \
             --field refresh_token`)"
        ),
        _ => format!("`zaikoban credentials set {platform}`"),
    };
    format!("`{platform}` needs credentials ({}): {next}", fields.join(", "))
}

/// An exchange without an answer, as a refusal.
fn rfc_refusal(error: &http::HttpError) -> Refused {
    Refused {
        class: error.class(),
        code: error.code().into(),
        why: error.to_string().into(),
    }
}
