//! One classification of what went wrong outside, used by breaker, retry, alert and operator alike,
//! so that no two of them drift apart.

use serde::Serialize;
use std::time::Duration;

/// What a failed call to an outside service means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "class")]
pub enum ErrorClass {
    /// Connection, TLS, time limit, 5xx, a cut body: may work next time; counts against the breaker.
    Transient,
    /// 429 or its like: go slower; counts against the breaker only when it persists.
    RateLimited {
        /// The server's own word, already clamped.
        retry_after: Option<Duration>,
    },
    /// A captcha, a login page, "access is concentrated": the host turns us away; counts against the breaker.
    Blocked,
    /// Credentials refused: a person is needed; retrying at once is useless.
    Unauthorized,
    /// The thing asked for is not there.
    NotFound,
    /// Understood and refused for what it says: the same call will never succeed.
    Rejected,
    /// The answer is not what the contract says (drift): never a value, never a zero.
    Protocol,
}

impl ErrorClass {
    /// The class's name in tables and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited { .. } => "rate_limited",
            Self::Blocked => "blocked",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Rejected => "rejected",
            Self::Protocol => "protocol",
        }
    }

    /// Whether the same call is worth another try later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Transient | Self::RateLimited { .. } | Self::Blocked | Self::Unauthorized
        )
    }
}

/// An error that knows its class.
pub trait Classified {
    /// What the failure means for the next call.
    fn class(&self) -> ErrorClass;

    /// Whether the service itself said that it is away (503): some breakers open at once on that word.
    fn unavailable(&self) -> bool {
        false
    }

    /// How long the service said that it is away (`Retry-After` of a 503), already clamped.
    fn away_for(&self) -> Option<Duration> {
        None
    }
}
