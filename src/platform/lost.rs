//! A request that did not do what was asked, or of which nobody knows whether it did. The same for every API.

use super::{EntryOutcome, PlatformError};
use crate::domain::{Classified as _, ErrorClass};
use crate::http::HttpError;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) error: PlatformError,
    /// The platform may have done what was asked.
    pub(super) maybe_applied: bool,
}

impl From<PlatformError> for Lost {
    /// A failure that surely had no effect.
    fn from(error: PlatformError) -> Self {
        Self {
            error,
            maybe_applied: false,
        }
    }
}

impl From<Lost> for EntryOutcome {
    fn from(lost: Lost) -> Self {
        Self::Failed {
            error: lost.error,
            unknown: lost.maybe_applied,
        }
    }
}

impl Lost {
    /// An exchange without an answer; `changes`: what was asked changes something.
    pub(super) fn unanswered(doing: &str, error: &HttpError, changes: bool) -> Self {
        let maybe_applied = error.outcome_unknown() && changes;
        let but = if maybe_applied {
            "; whether it was done is unknown"
        } else {
            ""
        };
        Self {
            error: PlatformError {
                class: error.class(),
                code: error.code().into(),
                message: format!("could not {doing}: {error}{but}").into(),
                missing: Vec::new(),
                body: None,
                away_for: None,
            },
            maybe_applied,
        }
    }
}

/// A failure of a single call that may have had its effect: whatever it is, it says "look", and that is `Transient`. What
/// turns us away keeps its class; asking again is then harmless.
pub(super) fn unconfirmed(error: PlatformError) -> PlatformError {
    let class = match error.class {
        ErrorClass::Protocol | ErrorClass::NotFound | ErrorClass::Rejected => ErrorClass::Transient,
        class => class,
    };
    PlatformError { class, ..error }
}
