//! Why an exchange gave no answer.

use super::address::RefusedAddress;
use crate::domain::{Classified, ErrorClass};
use std::{error::Error, fmt, io, time::Duration};

/// Why an exchange gave no answer. An answer with a bad status is an [`Answer`](super::Answer), not one of these.
///
/// `place` is method and address without query.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is none of those the client may reach; nothing was sent.
    #[error("{place}: not sent, because this client may reach only {allowed}")]
    NotAllowed {
        /// Where it should have gone.
        place: String,
        /// Where it may go.
        allowed: String,
    },
    /// The request cannot be put into HTTP: a header with a line break, a body that is no JSON; nothing was sent.
    #[error("{place}: not sent, because {what}")]
    Unsendable {
        /// Where it should have gone.
        place: String,
        /// What is wrong with it. Never the value.
        what: String,
    },
    /// No connection; nothing was sent.
    #[error("{place}: no connection ({failure}): {detail}")]
    Connect {
        /// Where it should have gone.
        place: String,
        /// At which step.
        failure: ConnectFailure,
        /// What the library said.
        detail: String,
    },
    /// The connection was lost, or what came was no HTTP, before there was an answer. The request may have been served.
    #[error("{place}: no answer: {detail}")]
    NoAnswer {
        /// Where it went.
        place: String,
        /// What the library said.
        detail: String,
    },
    /// It took too long. The request may have been served.
    #[error("{place}: nothing for {after:?} while {waiting_for}")]
    TimedOut {
        /// Where it went.
        place: String,
        /// What was waited for.
        waiting_for: &'static str,
        /// How long.
        after: Duration,
    },
    /// The answer ended before it was whole.
    #[error("{place}: the answer was cut after {received_bytes} bytes: {detail}")]
    Cut {
        /// Where it went.
        place: String,
        /// How much of the body came.
        received_bytes: usize,
        /// What the library said.
        detail: String,
    },
    /// The answer is larger than allowed, as it came or after unpacking.
    #[error("{place}: the answer is larger than {limit_bytes} bytes {what}")]
    TooLarge {
        /// Where it went.
        place: String,
        /// The bound that it broke.
        limit_bytes: usize,
        /// Which bound.
        what: &'static str,
    },
    /// The answer is packed in a way that was not asked for.
    #[error("{place}: the answer is encoded as `{encoding}`; expected gzip or nothing")]
    Encoding {
        /// Where it went.
        place: String,
        /// What the header says, cut to 40 characters.
        encoding: String,
    },
}

/// At which step there was no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The name has no address.
    Name,
    /// The name leads where nothing is sent to.
    Address,
    /// The machine refused.
    Refused,
    /// The certificate or the handshake. Never passed over.
    Tls,
    /// Nothing in time.
    TimedOut,
    /// The network said no in another way.
    Network,
}

impl Classified for HttpError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotAllowed { .. } | Self::Unsendable { .. } => ErrorClass::Rejected,
            Self::TooLarge { .. } | Self::Encoding { .. } => ErrorClass::Protocol,
            Self::Connect { .. } | Self::NoAnswer { .. } | Self::TimedOut { .. } | Self::Cut { .. } => {
                ErrorClass::Transient
            }
        }
    }
}

impl HttpError {
    /// A short, stable name for tables and alerts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed { .. } => "not_allowed",
            Self::Unsendable { .. } => "unsendable",
            Self::Connect { failure, .. } => failure.code(),
            Self::NoAnswer { .. } => "no_answer",
            Self::TimedOut { .. } => "timed_out",
            Self::Cut { .. } => "cut",
            Self::TooLarge { .. } => "too_large",
            Self::Encoding { .. } => "encoding",
        }
    }

    /// Whether the request may have had its effect although no answer came: read back before anything else is sent.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        !matches!(
            self,
            Self::NotAllowed { .. } | Self::Unsendable { .. } | Self::Connect { .. }
        )
    }

    /// What reqwest's error means when it came instead of an answer's head.
    pub(super) fn before_head(place: &str, error: &reqwest::Error) -> Self {
        let (place, detail) = (place.to_owned(), chain(error));
        if error.is_connect() {
            return Self::Connect {
                place,
                failure: ConnectFailure::of(error, &detail),
                detail,
            };
        }
        if error.is_builder() {
            return Self::Unsendable { place, what: detail };
        }
        Self::NoAnswer { place, detail }
    }
}

// === impl ConnectFailure ===

impl ConnectFailure {
    fn of(error: &reqwest::Error, detail: &str) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        let mut next: Option<&(dyn Error + 'static)> = error.source();
        while let Some(cause) = next {
            if cause.is::<rustls::Error>() {
                return Self::Tls;
            }
            if cause.is::<RefusedAddress>() {
                return Self::Address;
            }
            // An `io::Error` hides what it wraps from `source`, and TLS errors come wrapped in two of them.
            next = match cause.downcast_ref::<io::Error>() {
                Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => return Self::Refused,
                Some(io) if io.kind() == io::ErrorKind::TimedOut => return Self::TimedOut,
                Some(io) => match io.get_ref() {
                    Some(inner) => Some(inner),
                    None => io.source(),
                },
                None => cause.source(),
            };
        }
        // The connector's own type is private; its words are all there is, and a test holds them.
        if detail.contains("dns error") {
            Self::Name
        } else {
            Self::Network
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Name => "dns",
            Self::Address => "address_refused",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::TimedOut => "connect_timed_out",
            Self::Network => "network",
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name not found",
            Self::Address => "address refused",
            Self::Refused => "refused",
            Self::Tls => "TLS",
            Self::TimedOut => "nothing in time",
            Self::Network => "network",
        })
    }
}

/// The causes below a reqwest error in one line, without the address that its own words hold.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = cause.source();
    }
    if text.is_empty() {
        "the library gave no cause".to_owned()
    } else {
        text
    }
}
