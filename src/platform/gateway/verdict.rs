//! What a batch means for the guard, which counts calls.

use crate::domain::{Classified, ErrorClass};
use crate::platform::registrar::Step;
use crate::platform::{EntryOutcome, PlatformError};
use std::fmt;
use std::time::Duration;

/// One entry of an answer, as the guard sees it.
pub(super) trait Entry {
    /// Its failure, if it is one.
    fn failure(&self) -> Option<&PlatformError>;
}

impl<T> Entry for Result<T, PlatformError> {
    fn failure(&self) -> Option<&PlatformError> {
        self.as_ref().err()
    }
}

impl Entry for EntryOutcome {
    fn failure(&self) -> Option<&PlatformError> {
        match self {
            Self::Accepted { .. } => None,
            Self::Failed { error, .. } => Some(error),
        }
    }
}

impl Entry for Step {
    fn failure(&self) -> Option<&PlatformError> {
        self.as_ref().err().map(|not_done| &not_done.error)
    }
}

/// A batch that counts as a failed call, with all its entries.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) entries: Vec<T>,
    class: ErrorClass,
    unavailable: bool,
    away_for: Option<Duration>,
    message: Box<str>,
}

impl<T> fmt::Display for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<T> Classified for Batch<T> {
    fn class(&self) -> ErrorClass {
        self.class
    }

    fn unavailable(&self) -> bool {
        self.unavailable
    }

    fn away_for(&self) -> Option<Duration> {
        self.away_for
    }
}

/// How much a class says against the service as a whole.
fn gravity(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::NotFound => 0,
        ErrorClass::Rejected => 1,
        ErrorClass::Protocol => 2,
        ErrorClass::Transient => 3,
        ErrorClass::Unauthorized => 4,
        ErrorClass::Blocked => 5,
        ErrorClass::RateLimited { .. } => 6,
    }
}

/// `entries` as the outcome of one call: well when nothing failed, or only some and none of them turned us away.
pub(super) fn judge<T: Entry>(entries: Vec<T>) -> Result<Vec<T>, Batch<T>> {
    let failures = || entries.iter().filter_map(Entry::failure);
    let Some(gravest) = failures().max_by_key(|error| gravity(error.class)) else {
        return Ok(entries);
    };
    let all = failures().count() == entries.len();
    let turned_away = matches!(
        gravest.class,
        ErrorClass::RateLimited { .. } | ErrorClass::Blocked
    );
    if !all && !turned_away {
        return Ok(entries);
    }
    let (class, unavailable, away_for) = (gravest.class, gravest.unavailable(), gravest.away_for);
    let message = gravest.message.clone();
    Err(Batch {
        entries,
        class,
        unavailable,
        away_for,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(class: ErrorClass) -> Result<(), PlatformError> {
        Err(PlatformError {
            class,
            code: "x".into(),
            message: "x".into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        })
    }

    #[test]
    fn a_batch_fails_when_all_entries_do_or_one_was_turned_away() {
        use ErrorClass::{Blocked, NotFound, Rejected, Transient};
        let limited = ErrorClass::RateLimited { retry_after: None };
        for (entries, expected) in [
            (vec![], None),
            (vec![Ok(())], None),
            (vec![Ok(()), failed(Transient)], None),
            (vec![Ok(()), failed(limited)], Some(limited)),
            (vec![Ok(()), failed(Blocked)], Some(Blocked)),
            (vec![failed(NotFound), failed(Transient)], Some(Transient)),
            (vec![failed(Rejected)], Some(Rejected)),
        ] {
            let shown = format!("{entries:?}");
            assert_eq!(judge(entries).err().map(|b| b.class()), expected, "{shown}");
        }
    }
}
