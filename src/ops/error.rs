//! What an order can come to, in words that every door shows alike.

use crate::platform::PlatformError;
use crate::store::StoreError;
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
}

/// Why an order was not carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name or number.
        id: String,
    },
    /// The order cannot be understood; all problems at once.
    #[error("the request has {} problem(s); nothing was changed", problems.len())]
    Invalid {
        /// Every problem.
        problems: Vec<InputProblem>,
    },
    /// It was right a moment ago, or collides with what is there.
    #[error("{message}")]
    Conflict {
        /// What collides, and what to do.
        message: String,
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
    /// A platform refused or failed.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A bug or a broken database: the log has the rest.
    #[error("the order failed inside; the log says why")]
    Internal {
        /// What happened.
        #[source]
        source: StoreError,
    },
}

impl OpsError {
    /// An order with one problem.
    #[must_use]
    pub fn invalid(place: impl Into<String>, expected: impl Into<String>, got: &str) -> Self {
        Self::Invalid {
            problems: vec![InputProblem::new(place, expected, got)],
        }
    }

    /// The stable name of this outcome.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::Conflict { .. } => "conflict",
            Self::NotReady { .. } => "not_ready",
            Self::Away { .. } => "database_away",
            Self::NotKept { .. } => "not_kept",
            Self::Platform(_) => "platform",
            Self::Internal { .. } => "internal",
        }
    }

    /// Every problem of the request.
    #[must_use]
    pub fn problems(&self) -> &[InputProblem] {
        match self {
            Self::Invalid { problems } => problems,
            _ => &[],
        }
    }
}
