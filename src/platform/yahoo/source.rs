//! The adapter: asks for one page, follows at most one redirect to the same item, and answers with what [`extract`](super::extract) read.
//!
//! What costs a fraction of a millisecond runs where the answer arrived; a document tree is built on a blocking thread.
//! A reading that differs from what was last accepted or confirmed is checked against the document before it leaves;
//! so is one by which what waits is to be released, and one in a thousand of the others, to notice early that data and
//! document have drifted apart.

use super::refusal::{Code, Refusal};
use super::{Fast, PageBytes, canonical_url, extract_by_document, fast, request_url, source_product_id};
use crate::clock::Clock;
use crate::domain::{Classified, CostRule, ErrorClass, Observation, SellerMark, SourceProductId};
use crate::http::{Answer, BadClient, Client, ClientSettings, HttpError, Limits, Origin};
use crate::platform::{Accepted, PlatformError, Reached, Source};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use url::Url;

/// One page in this many is read twice although it shows nothing new.
const SAMPLE_EVERY: u64 = 1000;
/// No auction of today has this number.
const LONG_GONE: &str = "x1";

/// How the adapter reaches Yahoo! Auctions, or its rehearsal.
#[derive(Clone, Debug)]
pub struct YahooSettings {
    /// Scheme and host of the item pages; `https://auctions.yahoo.co.jp` in earnest.
    pub endpoint: Url,
    /// How Yahoo! can reach the operator: an address or a mailbox, put into the user agent.
    pub contact: String,
    /// Certificates that alone are trusted, for a rehearsal.
    pub ca_file: Option<PathBuf>,
    /// Whether pages are asked for packed.
    pub gzip: bool,
    /// How long one page may take.
    pub time_limit: Duration,
}

/// Yahoo! Auctions as a [`Source`].
pub struct YahooSource {
    client: Client,
    endpoint: Url,
    clock: Clock,
    /// By the hash of an item's id: what needs no second reading. Losing it costs one second reading per item.
    known: Mutex<HashMap<u64, Known>>,
    pages: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    /// What the product costs by; `None` while nobody said, then every number counts.
    rule: Option<CostRule>,
    /// `None` when the next reading is to be confirmed whatever it shows.
    print: Option<u64>,
}

impl YahooSource {
    /// Makes the adapter and its client.
    ///
    /// # Errors
    /// When the endpoint is no place that can be reached, or the certificates cannot be read.
    pub fn new(settings: &YahooSettings, clock: Clock) -> Result<Self, BadClient> {
        let client = Client::new(&ClientSettings {
            origins: vec![Origin::parse(settings.endpoint.as_str())?],
            user_agent: user_agent(&settings.contact),
            ca_file: settings.ca_file.clone(),
            gzip: settings.gzip,
            limits: Limits {
                total: settings.time_limit,
                ..Limits::default()
            },
        })?;
        Ok(Self {
            client,
            endpoint: settings.endpoint.clone(),
            clock,
            known: Mutex::default(),
            pages: AtomicU64::new(0),
        })
    }

    async fn look(&self, id: &SourceProductId) -> Result<Observation, PlatformError> {
        let answer = self.page(id).await?;
        let fetched_at = self.clock.now();
        fail::fail_point!("fp2_fetched");
        self.read(id, answer, fetched_at).await
    }

    /// Reads the page that was asked for.
    async fn read(
        &self,
        id: &SourceProductId,
        answer: Answer,
        fetched_at: DateTime<Utc>,
    ) -> Result<Observation, PlatformError> {
        let page = PageBytes {
            status: answer.status,
            content_type: answer.header("content-type"),
            url: answer.url.as_str(),
            asked: Some(id),
            body: &answer.body,
        };
        let seen = match fast(&page, fetched_at) {
            Fast::Seen(seen) if !self.reads_twice(&seen) => return Ok(*seen),
            Fast::Seen(seen) => {
                let url = canonical_url(id);
                self.blocking(answer, id, move |page| {
                    let page = PageBytes { url: &url, ..*page };
                    super::confirm(&page, &seen).map(|()| *seen)
                })
                .await?
            }
            Fast::Unclear { refusal, item } => {
                let limited = (answer.status == 429)
                    .then(|| answer.status_class(fetched_at))
                    .flatten();
                let away_for = answer.retry_after(fetched_at).filter(|_| answer.status == 503);
                let read = self.blocking(answer, id, move |page| {
                    extract_by_document(page, fetched_at, refusal, item)
                });
                read.await.map_err(|mut error| {
                    if let Some(class) = limited {
                        error.class = class;
                    }
                    error.away_for = away_for;
                    error
                })?
            }
        };
        self.confirmed(&seen);
        Ok(seen)
    }

    /// Asks for the page of `id`.
    async fn page(&self, id: &SourceProductId) -> Result<Answer, PlatformError> {
        let answer = self.ask(id, request_url(&self.endpoint, id)).await?;
        if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let target = self.redirected(id, &answer)?;
        let answer = self.ask(id, target).await?;
        if (300..400).contains(&answer.status) {
            return Err(refused(
                id,
                "redirected twice",
                answer.status,
                ErrorClass::Protocol,
            ));
        }
        Ok(answer)
    }

    async fn ask(&self, id: &SourceProductId, url: Url) -> Result<Answer, PlatformError> {
        self.client
            .get(url)
            .header("accept", "text/html")
            .header("accept-language", "ja")
            .send()
            .await
            .map_err(|error| unreached(id, &error))
    }

    /// Where a redirect may be followed to: the same item at the configured endpoint, and nowhere else.
    fn redirected(&self, id: &SourceProductId, answer: &Answer) -> Result<Url, PlatformError> {
        let Some(target) = answer.location() else {
            return Err(refused(
                id,
                "redirected to nowhere",
                answer.status,
                ErrorClass::Protocol,
            ));
        };
        let shown: String = target.as_str().chars().take(200).collect();
        let told =
            |code, what: &str| Err(Refusal::new(code, format!("{what}: {shown}")).told(&canonical_url(id)));
        let host = target.host_str().unwrap_or_default();
        if host == "login.yahoo.co.jp" {
            return told(Code::LoginPage, "redirected to the login");
        }
        if host.ends_with("paypayfleamarket.yahoo.co.jp") {
            return told(Code::FleaMarketItem, "redirected to the flea market");
        }
        let same = request_url(&self.endpoint, id);
        let to_endpoint =
            target.origin() == same.origin() && target.path().trim_end_matches('/') == same.path();
        if to_endpoint && target.username().is_empty() && target.password().is_none() {
            return Ok(same);
        }
        let other_item = source_product_id(target.as_str()).ok().or_else(|| {
            let other = target.path().strip_prefix("/jp/auction/")?;
            (target.origin() == same.origin()).then(|| SourceProductId::new(other).ok())?
        });
        match other_item {
            Some(other) if other != *id => told(Code::Moved, "redirected to another item"),
            _ => Err(refused(
                id,
                &format!("redirected to {shown}, which is not followed"),
                answer.status,
                ErrorClass::Protocol,
            )),
        }
    }

    /// Runs what builds a document tree on a thread where it holds nobody up.
    async fn blocking<F>(
        &self,
        answer: Answer,
        id: &SourceProductId,
        read: F,
    ) -> Result<Observation, PlatformError>
    where
        F: FnOnce(&PageBytes<'_>) -> Result<Observation, PlatformError> + Send + 'static,
    {
        let asked = id.clone();
        let reading = tokio::task::spawn_blocking(move || {
            read(&PageBytes {
                status: answer.status,
                content_type: answer.header("content-type"),
                url: answer.url.as_str(),
                asked: Some(&asked),
                body: &answer.body,
            })
        });
        match reading.await {
            Ok(read) => read,
            Err(error) => Err(PlatformError {
                class: ErrorClass::Protocol,
                code: "reader_died".into(),
                message: format!("reading the Yahoo! Auctions page of `{id}`: the reader died: {error}")
                    .into(),
                missing: Vec::new(),
                body: None,
                away_for: None,
            }),
        }
    }

    /// Whether `seen` must be checked against its document.
    fn reads_twice(&self, seen: &Observation) -> bool {
        let page = self.pages.fetch_add(1, Ordering::Relaxed);
        let known = self.known.lock().get(&key(&seen.source_product_id)).copied();
        let same = known.is_some_and(|known| known.print == Some(print(seen, known.rule)));
        !same || page % SAMPLE_EVERY == SAMPLE_EVERY - 1
    }

    fn confirmed(&self, seen: &Observation) {
        let mut known = self.known.lock();
        let rule = known
            .get(&key(&seen.source_product_id))
            .and_then(|known| known.rule);
        known.insert(
            key(&seen.source_product_id),
            Known {
                rule,
                print: Some(print(seen, rule)),
            },
        );
    }
}

impl Source for YahooSource {
    fn batch_size(&self) -> usize {
        1
    }

    fn observe<'a>(
        &'a self,
        ids: &'a [SourceProductId],
    ) -> BoxFuture<'a, Vec<Result<Observation, PlatformError>>> {
        Box::pin(async move {
            let mut seen = Vec::with_capacity(ids.len());
            for id in ids {
                seen.push(self.look(id).await);
            }
            seen
        })
    }

    /// The page of an item that is long gone: being turned away (login, captcha, 403) is seen there as it is on every
    /// other item's page, and no watched product is asked for.
    fn reach(&self) -> BoxFuture<'_, Result<Reached, PlatformError>> {
        Box::pin(async move {
            let id = SourceProductId::new(LONG_GONE).map_err(|bad| {
                let what = bad.to_string();
                PlatformError {
                    class: ErrorClass::Protocol,
                    code: "contract".into(),
                    message: what.into(),
                    missing: Vec::new(),
                    body: None,
                    away_for: None,
                }
            })?;
            let answer = self.page(&id).await?;
            let (date, status) = (answer.date(), answer.status);
            match self.read(&id, answer, self.clock.now()).await {
                Ok(_) => Ok(Reached { date }),
                Err(error) if error.class == ErrorClass::NotFound => Ok(Reached { date }),
                // How its words for "gone" look today is no matter here.
                Err(error) if matches!(status, 404 | 410) && error.class == ErrorClass::Protocol => {
                    Ok(Reached { date })
                }
                Err(error) => Err(error),
            }
        })
    }

    fn accepted(&self, id: &SourceProductId, known: Accepted) {
        let Accepted {
            rule,
            state,
            title_hash,
            seller,
        } = known;
        let mut hasher = DefaultHasher::new();
        (state.stock.get(), state.price, title_hash, seller).hash(&mut hasher);
        self.known.lock().insert(
            key(id),
            Known {
                rule: Some(rule),
                print: Some(hasher.finish()),
            },
        );
    }

    fn doubt(&self, id: &SourceProductId) {
        if let Some(known) = self.known.lock().get_mut(&key(id)) {
            known.print = None;
        }
    }
}

/// Who asks, and how Yahoo! can reach the operator, who may not have said.
fn user_agent(contact: &str) -> String {
    let program = concat!("zaikoban/", env!("CARGO_PKG_VERSION"));
    if contact.is_empty() {
        program.to_owned()
    } else {
        format!("{program} (+{contact})")
    }
}

fn key(id: &SourceProductId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// What of a reading would be a change.
fn print(seen: &Observation, rule: Option<CostRule>) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Another seller is another item, and empties the listing: that is asked of the document, too.
    let seller = seen.seller_id.as_deref().map(SellerMark::of);
    match rule {
        Some(rule) => {
            let state = seen.state(rule, seen.fetched_at);
            (state.stock.get(), state.price, seen.title_hash, seller).hash(&mut hasher);
        }
        None => {
            let numbers = (seen.stock.get(), seen.price, seen.buy_now_price);
            (numbers, seen.title_hash, seller, seen.status.as_str()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn unreached(id: &SourceProductId, error: &HttpError) -> PlatformError {
    PlatformError {
        class: error.class(),
        code: error.code().into(),
        message: format!("asking Yahoo! Auctions for `{id}`: {error}").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

fn refused(id: &SourceProductId, what: &str, status: u16, class: ErrorClass) -> PlatformError {
    PlatformError {
        class,
        code: format!("http_{status}").into(),
        message: format!("asking Yahoo! Auctions for `{id}`: {what}").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}
