//! One exchange: a request under way, and how its answer is read.

use super::{
    answer::Answer,
    client::Client,
    error::HttpError,
    shown,
    unpack::{self, Packed},
};
use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, Response,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::{fmt, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};
use url::{Url, form_urlencoded};

/// Room for a body in several pieces that does not say its length: most pages fit without growing.
const FIRST_ROOM: usize = 192 * 1024;

/// A request being put together; [`send`](Self::send) sends it.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    repeatable: bool,
    total: Duration,
    /// What made it unsendable, told on sending.
    problem: Option<String>,
}

// === impl Request ===

impl Request {
    pub(super) fn new(client: Client, method: Method, url: Url) -> Self {
        let total = client.inner.limits.total;
        let repeatable = method.is_idempotent();
        Self {
            client,
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            repeatable,
            total,
            problem: None,
        }
    }

    /// Sets a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            _ => self.problem = Some(format!("`{name}` would not be a valid header")),
        }
        self
    }

    /// Sets a header that nobody may see.
    pub fn secret_header(mut self, name: &'static str, value: &SecretString) -> Self {
        match (
            HeaderName::try_from(name),
            HeaderValue::try_from(value.expose_secret()),
        ) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            _ => self.problem = Some(format!("`{name}` would not be a valid header")),
        }
        self
    }

    /// Authorises with a token.
    pub fn bearer(self, token: &SecretString) -> Self {
        let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
        self.secret_header("authorization", &value)
    }

    /// Authorises with user and password.
    pub fn basic(self, user: &str, password: &SecretString) -> Self {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        self.secret_header("authorization", &SecretString::from(format!("Basic {pair}")))
    }

    /// Sends a value as JSON.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.body = Some(body.into()),
            Err(error) => self.problem = Some(format!("its body is no JSON: {error}")),
        }
        self.content_type("application/json")
    }

    /// Sends these very bytes, for a body that is signed.
    pub fn raw(mut self, content_type: &'static str, body: Vec<u8>) -> Self {
        self.body = Some(body.into());
        self.content_type(content_type)
    }

    /// Sends pairs as a form.
    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        self.body = Some(body.into());
        self.content_type("application/x-www-form-urlencoded")
    }

    /// Allows this exchange another time than the client's settings do.
    pub fn total_time(mut self, limit: Duration) -> Self {
        self.total = limit;
        self
    }

    /// Says that serving it twice is the same as once, although it is a POST.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Sends it and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is no whole answer within the client's limits.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the request may have been served.
    pub async fn send(mut self) -> Result<Answer, HttpError> {
        let place = format!("{} {}", self.method, shown(&self.url));
        let inner = self.client.inner.clone();
        if !inner.may_reach(&self.url) {
            let allowed = inner
                .origins
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            return Err(HttpError::NotAllowed { place, allowed });
        }
        if let Some(what) = self.problem.take() {
            return Err(HttpError::Unsendable { place, what });
        }
        if inner.gzip {
            self.headers
                .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let deadline = Instant::now() + self.total;
        let late = |waiting_for| HttpError::TimedOut {
            place: place.clone(),
            waiting_for,
            after: self.total,
        };

        let mut response = match timeout_at(deadline, self.head(&place)).await {
            Ok(head) => head?,
            Err(_elapsed) => return Err(late("waiting for the answer's head")),
        };
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let body = match timeout_at(deadline, self.body(&place, response)).await {
            Ok(body) => body?,
            Err(_elapsed) => return Err(late("reading the answer's body to its end")),
        };
        inner.answered();
        let received_bytes = body.len();
        let body = match Packed::of(&headers) {
            Ok(Packed::Gzip) => unpack::gunzip(&place, body, &inner.limits)?,
            Ok(Packed::No) => body,
            Err(encoding) => return Err(HttpError::Encoding { place, encoding }),
        };
        Ok(Answer {
            status,
            url: self.url,
            headers,
            body,
            received_bytes,
        })
    }

    /// Sends and waits for the head; once more when a kept connection was lost.
    async fn head(&self, place: &str) -> Result<Response, HttpError> {
        // Asked before sending: an answer that comes meanwhile says nothing of the connection used here.
        let may_be_stale = self.repeatable && self.client.inner.keeps_connections();
        match self.once().await {
            Err(error) if may_be_stale && is_lost(&error) => self
                .once()
                .await
                .map_err(|error| HttpError::before_head(place, &error)),
            sent => sent.map_err(|error| HttpError::before_head(place, &error)),
        }
    }

    async fn once(&self) -> Result<Response, reqwest::Error> {
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = self.body.clone().map(Into::into);
        self.client.inner.http.execute(request).await
    }

    /// Reads the body to its end. One piece is passed on as it is; several are put together once.
    async fn body(&self, place: &str, mut response: Response) -> Result<Bytes, HttpError> {
        let limits = &self.client.inner.limits;
        let too_large = || HttpError::TooLarge {
            place: place.to_owned(),
            limit_bytes: limits.body_bytes,
            what: "on the wire",
        };
        let stated = response
            .content_length()
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if stated.is_some_and(|length| length > limits.body_bytes) {
            return Err(too_large());
        }
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        loop {
            let received_bytes = first.len().max(whole.len());
            let piece = match timeout(limits.idle, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(if whole.is_empty() { first } else { whole.freeze() }),
                Ok(Err(error)) => {
                    let detail = super::error::chain(&error);
                    return Err(HttpError::Cut {
                        place: place.to_owned(),
                        received_bytes,
                        detail,
                    });
                }
                Err(_elapsed) => {
                    return Err(HttpError::TimedOut {
                        place: place.to_owned(),
                        waiting_for: "waiting for more of the answer's body",
                        after: limits.idle,
                    });
                }
            };
            if received_bytes + piece.len() > limits.body_bytes {
                return Err(too_large());
            }
            if first.is_empty() {
                first = piece;
                continue;
            }
            // Pieces are not collected in a list: a server that sends single bytes would make it larger than the body.
            if whole.is_empty() {
                whole.reserve(stated.unwrap_or(FIRST_ROOM.min(limits.body_bytes)));
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&piece);
        }
    }

    fn content_type(mut self, media: &'static str) -> Self {
        self.headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        self
    }
}

/// Whether the connection went away before an answer began, as one does that the server closed while it was idle.
fn is_lost(error: &reqwest::Error) -> bool {
    !error.is_connect() && !error.is_timeout() && !error.is_builder() && error.is_request()
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither headers nor body: a token may be in the one and a refresh token in the other.
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &shown(&self.url))
            .finish_non_exhaustive()
    }
}
