//! One request to eBay: address, headers, token, and what its end means.
//!
//! A request answered with 401 is sent once more with a new token. No other is sent twice: the queue repeats what is
//! worth repeating. A request of which eBay may have read something is *maybe applied*, whatever became of the answer.

use super::fault;
use crate::clock::Clock;
use crate::http;
use crate::platform::PlatformError;
use crate::platform::body::without;
use crate::platform::lost::Lost;
use crate::platform::oauth::{Bearer, OAuth};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Get,
    /// `None` is an empty body.
    Post(Option<Value>),
    /// With `Content-Language`, which the calls that make or replace a record need.
    PostIn(Value),
    /// The same.
    Put(Value),
}

/// An answer, of any status. Its body holds no token of ours.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// The server's word, clamped.
    pub(super) retry_after: Option<Duration>,
    /// What its clock said.
    pub(super) date: Option<DateTime<Utc>>,
}

impl Reply {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What a reply that is no success means for `doing`.
    pub(super) fn refusal(&self, doing: &str) -> PlatformError {
        let body = super::json::parse(&self.body).unwrap_or_default();
        let verdict = fault::judge(self.status, &fault::faults_in(&body, "errors"), self.retry_after);
        let mut error = fault::error(doing, self.status, &verdict, fault::kept(&self.body));
        error.away_for = self.away_for();
        error
    }

    /// How long eBay said that it is away.
    pub(super) fn away_for(&self) -> Option<Duration> {
        self.retry_after.filter(|_| self.status == 503)
    }

    /// The same, for `doing` something that changes what is there.
    pub(super) fn refused(&self, doing: &str) -> Lost {
        Lost {
            error: self.refusal(doing),
            maybe_applied: !(400..500).contains(&self.status) || self.status == 408,
        }
    }
}

/// The way to one seller's account.
pub(super) struct Client {
    http: http::Client,
    oauth: OAuth,
    /// Ends without a slash: `https://api.ebay.com`.
    endpoint: Url,
    language: String,
    clock: Clock,
}

impl Client {
    pub(super) fn new(
        http: http::Client,
        oauth: OAuth,
        endpoint: Url,
        language: String,
        clock: Clock,
    ) -> Self {
        Self {
            http,
            oauth,
            endpoint,
            language,
            clock,
        }
    }

    /// The locale of what is written, as inventory items name it: `en_US`.
    pub(super) fn locale(&self) -> String {
        self.language.replace('-', "_")
    }

    /// The address of a resource of the Inventory API. Each part is escaped whole.
    pub(super) fn address(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        self.address_of(&["sell", "inventory", "v1"], parts, query)
    }

    /// The address of a resource of the API at `root`.
    pub(super) fn address_of(&self, root: &[&str], parts: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(root).extend(parts);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Sends, and once more with a new token after 401.
    pub(super) async fn send(&self, doing: &str, ask: Ask, url: Url) -> Result<Reply, Lost> {
        let unsent = |error| Lost {
            error,
            maybe_applied: false,
        };
        let bearer = self.oauth.access().await.map_err(unsent)?;
        let reply = self.once(doing, &ask, &url, &bearer).await?;
        if reply.status != 401 {
            return Ok(self.taken(reply, &bearer));
        }
        let bearer = self.oauth.renew(&bearer).await.map_err(unsent)?;
        let reply = self.once(doing, &ask, &url, &bearer).await?;
        Ok(self.taken(reply, &bearer))
    }

    /// Reads with a token of somebody else's.
    pub(super) async fn get_as(
        &self,
        doing: &str,
        url: &Url,
        bearer: &Bearer,
    ) -> Result<Reply, PlatformError> {
        let reply = self.once(doing, &Ask::Get, url, bearer).await;
        reply.map_err(|lost| lost.error)
    }

    /// A seller's token that was taken has worked.
    fn taken(&self, reply: Reply, bearer: &Bearer) -> Reply {
        if reply.is_success() {
            self.oauth.worked(bearer);
        }
        reply
    }

    async fn once(&self, doing: &str, ask: &Ask, url: &Url, bearer: &Bearer) -> Result<Reply, Lost> {
        fail::fail_point!("fp8_before_send");
        #[cfg(feature = "failpoints")]
        super::half_sent::send_half(url, ask, bearer.token()).await;
        let request = match ask {
            Ask::Get => self.http.get(url.clone()),
            Ask::Post(None) => self
                .http
                .post(url.clone())
                .header("content-type", "application/json"),
            Ask::Post(Some(body)) => self.http.post(url.clone()).json(body),
            Ask::PostIn(body) => {
                let post = self.http.post(url.clone()).json(body);
                post.header("content-language", &self.language)
            }
            Ask::Put(body) => {
                let put = self.http.put(url.clone()).json(body);
                put.header("content-language", &self.language)
            }
        };
        let answer = request
            .header("accept", "application/json")
            .bearer(bearer.token())
            .send()
            .await;
        fail::fail_point!("fp10_unread");
        let answer = answer.map_err(|error| Lost::unanswered(doing, &error, !matches!(ask, Ask::Get)))?;
        Ok(Reply {
            status: answer.status,
            retry_after: answer.retry_after(self.clock.now()),
            date: answer.date(),
            body: without(answer.body, bearer.token()),
        })
    }
}
