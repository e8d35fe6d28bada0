//! What came back.

use super::{retry_after::retry_after, shown};
use crate::domain::ErrorClass;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use std::{fmt, time::Duration};
use url::Url;

/// A whole answer, whatever its status.
#[derive(Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The address that was asked.
    pub url: Url,
    /// The body, unpacked.
    pub body: Bytes,
    /// How many bytes of body were on the wire.
    pub received_bytes: usize,
    pub(super) headers: HeaderMap,
}

impl Answer {
    /// The first value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the server's clock said when it answered, to the second.
    #[must_use]
    pub fn date(&self) -> Option<DateTime<Utc>> {
        let date = DateTime::parse_from_rfc2822(self.header("date")?).ok()?;
        Some(date.with_timezone(&Utc))
    }

    /// Where a redirect points, made absolute. It was not followed: only the caller knows whether that place is his.
    #[must_use]
    pub fn location(&self) -> Option<Url> {
        self.header("location")
            .and_then(|location| self.url.join(location).ok())
    }

    /// How long the server asks us to wait, within our bounds; see [`retry_after`].
    #[must_use]
    pub fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        retry_after(
            self.headers
                .get_all("retry-after")
                .iter()
                .filter_map(|value| value.to_str().ok()),
            now,
        )
    }

    /// What the status alone means; `None` for 2xx and 3xx. See [`status_class`].
    #[must_use]
    pub fn status_class(&self, now: DateTime<Utc>) -> Option<ErrorClass> {
        status_class(self.status, self.retry_after(now))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither headers nor body: cookies and tokens may be in them.
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("url", &shown(&self.url))
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a status means for the next call, the same for all adapters; `None` for 2xx and 3xx, which are not failures.
///
/// 403 is [`Blocked`](ErrorClass::Blocked), a host that turns us away; an adapter whose service uses it for missing
/// permissions says [`Unauthorized`](ErrorClass::Unauthorized) itself.
#[must_use]
pub fn status_class(status: u16, retry_after: Option<Duration>) -> Option<ErrorClass> {
    match status {
        200..400 => None,
        401 => Some(ErrorClass::Unauthorized),
        403 => Some(ErrorClass::Blocked),
        404 | 410 => Some(ErrorClass::NotFound),
        429 => Some(ErrorClass::RateLimited { retry_after }),
        // Request time-out, misdirected, too early: the moment's fault, not the request's.
        408 | 421 | 425 | 500..600 => Some(ErrorClass::Transient),
        400..500 => Some(ErrorClass::Rejected),
        _ => Some(ErrorClass::Protocol),
    }
}
