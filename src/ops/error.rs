//! What an order can come to, in words that every door shows alike: what was wrong, where, what would have been
//! understood, and what to do.

use crate::store::StoreError;
use crate::store::views::Thing;
use serde::Serialize;

/// One thing wrong with what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputProblem {
    /// Where: `line 12, column price`, or the field's name.
    pub place: String,
    /// What would have been understood.
    pub expected: String,
    /// What was given, cut to 80 characters.
    pub got: String,
    /// What to do, where that is not plain.
    pub hint: Option<String>,
}

impl InputProblem {
    /// A problem with `got` cut to what a terminal shows.
    #[must_use]
    pub fn new(place: impl Into<String>, expected: impl Into<String>, got: &str) -> Self {
        Self {
            place: place.into(),
            expected: expected.into(),
            got: got.chars().take(80).collect(),
            hint: None,
        }
    }

    /// The same with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for InputProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: expected {}", self.place, self.expected)?;
        if !self.got.is_empty() {
            write!(f, ", got {}", self.got)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Why an order was not carried out. Nothing was changed, unless the message says so.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// There are no such things.
    #[error("there is no {}", things.join(", no "))]
    NotFound {
        /// Each with its kind and its name or number: "product `5`".
        things: Vec<String>,
        /// What to do.
        hint: Option<&'static str>,
    },
    /// The order cannot be understood; all problems at once.
    #[error("the request has {} problem(s){}; nothing was changed", problems.len().saturating_add(*more), and_more(problems, *more))]
    Invalid {
        /// Every problem, or the first hundred.
        problems: Vec<InputProblem>,
        /// How many there are beside those.
        more: usize,
    },
    /// The settings cannot be used; all problems at once.
    #[error("the settings have {} problem(s); those in force stay", problems.len())]
    BadSettings {
        /// Every problem.
        problems: Vec<InputProblem>,
    },
    /// The request's body is larger than anything that would be understood.
    #[error("the request's body is larger than {most_bytes} bytes; nothing was changed")]
    TooLarge {
        /// What is taken at most.
        most_bytes: usize,
    },
    /// It was right a moment ago, or collides with what is there.
    #[error("{message}")]
    Conflict {
        /// What collides.
        message: String,
        /// What to do, where that is not plain.
        hint: Option<String>,
    },
    /// The daemon is still starting, or a part is restarting.
    #[error("{what} is not ready: {why}")]
    NotReady {
        /// Which part.
        what: &'static str,
        /// What it waits for.
        why: String,
    },
    /// The database does not answer.
    #[error("the database does not answer; nothing was changed")]
    Away {
        /// What it said.
        #[source]
        source: StoreError,
    },
    /// The emergency stop is in force, but would not outlive a restart.
    #[error(
        "nothing is sent to any destination from now on, but the database did not take the stop: a restart of the \
         daemon would forget it"
    )]
    NotKept {
        /// What the database said.
        #[source]
        source: StoreError,
    },
    /// A platform could not be asked, or failed.
    #[error("{message}; nothing was changed")]
    Platform {
        /// Which, and what happened.
        message: String,
    },
    /// A bug or a broken database: the log has the rest.
    #[error("the order failed inside; the daemon's log says why")]
    Internal {
        /// What happened.
        #[source]
        source: StoreError,
    },
}

fn and_more(problems: &[InputProblem], more: usize) -> String {
    if more == 0 {
        String::new()
    } else {
        format!(", of which the first {} are shown", problems.len())
    }
}

impl OpsError {
    /// An order with one problem.
    #[must_use]
    pub fn invalid(place: impl Into<String>, expected: impl Into<String>, got: &str) -> Self {
        Self::all(vec![InputProblem::new(place, expected, got)])
    }

    /// An order with these problems.
    #[must_use]
    pub fn all(problems: Vec<InputProblem>) -> Self {
        Self::Invalid { problems, more: 0 }
    }

    /// Ends well when there are no problems.
    pub(super) fn unless_none(problems: Vec<InputProblem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self::all(problems))
        }
    }

    /// Rows that are not there.
    #[must_use]
    pub fn missing(thing: Thing, ids: &[i64]) -> Self {
        Self::NotFound {
            things: ids.iter().map(|id| format!("{thing} `{id}`")).collect(),
            hint: Some(match thing {
                Thing::Product => "`zaikoban products list` shows what there is",
                Thing::Listing => "`zaikoban listings list` shows what there is",
                Thing::Hold => "`zaikoban holds list` shows what waits",
                Thing::Job => "`zaikoban queue list` shows what there is",
                Thing::Error => "`zaikoban errors list --all` shows what there is",
                Thing::Alert => "`zaikoban alerts list --all` shows what there is",
            }),
        }
    }

    /// One row, which may not be there.
    pub(super) fn found<T>(thing: Thing, id: i64, row: Option<T>) -> Result<T, Self> {
        row.ok_or_else(|| Self::missing(thing, &[id]))
    }

    /// What happened, for a sentence about something that was done in part: it does not say that nothing was changed.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Away { source } | Self::NotKept { source } | Self::Internal { source } => {
                source.to_string()
            }
            other => other.to_string(),
        }
    }

    /// A collision that explains itself.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict {
            message: message.into(),
            hint: None,
        }
    }

    /// The stable name of this outcome.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::BadSettings { .. } => "bad_settings",
            Self::TooLarge { .. } => "too_large",
            Self::Conflict { .. } => "conflict",
            Self::NotReady { .. } => "not_ready",
            Self::Away { .. } => "database_away",
            Self::NotKept { .. } => "not_kept",
            Self::Platform { .. } => "platform",
            Self::Internal { .. } => "internal",
        }
    }

    /// Every problem of the request.
    #[must_use]
    pub fn problems(&self) -> &[InputProblem] {
        match self {
            Self::Invalid { problems, .. } | Self::BadSettings { problems } => problems,
            _ => &[],
        }
    }

    /// What to do, where that is not plain and no problem says it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NotFound { hint, .. } => *hint,
            Self::Conflict { hint, .. } => hint.as_deref(),
            Self::TooLarge { .. } => Some("send it in several parts"),
            Self::NotReady { .. } | Self::Away { .. } => {
                Some("`zaikoban status` shows what the daemon waits for; ask again then")
            }
            Self::NotKept { .. } => {
                Some("give `zaikoban stop-all` again once `zaikoban status` shows the database up")
            }
            Self::Platform { .. } => Some("`zaikoban platforms list` shows how it stands; ask again later"),
            Self::BadSettings { .. } => {
                Some("`zaikoban config check` reads them without changing anything; then reload again")
            }
            Self::Invalid { .. } | Self::Internal { .. } => None,
        }
    }
}

impl From<StoreError> for OpsError {
    fn from(source: StoreError) -> Self {
        match source {
            StoreError::Unavailable { .. } => Self::Away { source },
            StoreError::Conflict { what } => Self::conflict(what),
            StoreError::NotFound { what } => Self::NotFound {
                things: vec![what],
                hint: None,
            },
            other => {
                tracing::error!(error = %crate::telemetry::ErrorChain(&other), "An order failed in the database");
                Self::Internal { source: other }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once_with_what_to_do() {
        let error = OpsError::missing(Thing::Listing, &[5, 7]);
        assert_eq!(error.to_string(), "there is no listing `5`, no listing `7`");
        assert_eq!(error.hint(), Some("`zaikoban listings list` shows what there is"));
    }

    #[test]
    fn a_request_with_more_problems_than_are_shown_says_how_many_it_has() {
        let problem = InputProblem::new("line 2", "UTF-8 text", "other bytes");
        let error = OpsError::Invalid {
            problems: vec![problem; 2],
            more: 3,
        };
        assert_eq!(
            error.to_string(),
            "the request has 5 problem(s), of which the first 2 are shown; nothing was changed"
        );
    }
}
