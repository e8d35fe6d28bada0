//! What the store answers when it has no value.
//!
//! Callers pivot on four things: *not there*, *lost the race*, *the database is away* and *the database refused*. Which
//! of them it is follows from the SQLSTATE and from nothing else, because the server's sentences come in the language of
//! whoever installed it. diesel-async drops the code of most errors, so `wire` reads it from the connection.
//!
//! Retrying helps for connections that break (08), a server that stops or starts (57P01 to 57P03), one that is out of
//! something (53), one that is read-only for now (25006), a transaction that lost against another (40001, 40P01, 55P03)
//! and a statement that ran into its time limit (57014). It never helps for bad data (22), a broken constraint (23) or a
//! wrong statement (42).

use super::wire;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use std::fmt;

/// The five characters by which PostgreSQL names an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `canceling statement due to statement timeout`, or by a person.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `could not serialize access`.
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// `deadlock detected`.
    pub const DEADLOCK_DETECTED: Self = Self(*b"40P01");
    /// `canceling statement due to lock timeout`.
    pub const LOCK_NOT_AVAILABLE: Self = Self(*b"55P03");
    /// A row with this key is there already.
    pub const UNIQUE_VIOLATION: Self = Self(*b"23505");
    /// The database named in the connection does not exist.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// The server takes no writes (a standby, or told so).
    pub const READ_ONLY: Self = Self(*b"25006");

    /// Takes `code` when it has the shape of a SQLSTATE: five digits or capital letters.
    #[must_use]
    pub fn new(code: &[u8]) -> Option<Self> {
        let code: [u8; 5] = code.try_into().ok()?;
        code.iter()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            .then_some(Self(code))
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("?????")
    }

    /// The first two characters: the class.
    fn class(&self) -> &str {
        self.as_str().get(..2).unwrap_or("??")
    }

    /// The server is not there, not ready, out of something, or takes no writes: nothing is wrong with the statement.
    fn is_outage(self) -> bool {
        let class_means_away = matches!(self.class(), "08" | "53" | "28" | "3D");
        class_means_away || matches!(self.as_str(), "57P01" | "57P02" | "57P03" | "57P04" | "25006")
    }

    /// The same statement may succeed when it is sent again later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self.class(), "08" | "53")
            || matches!(
                self.as_str(),
                "57P01" | "57P02" | "57P03" | "25006" | "40001" | "40P01" | "55P03" | "57014"
            )
    }

    /// What was to be made (a database, a role) is there already.
    pub(super) fn is_duplicate(self) -> bool {
        matches!(self.as_str(), "42P04" | "42710" | "23505")
    }

    /// Waiting alone will not help: wrong password, missing database, no right to connect.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        matches!(self.class(), "28" | "3D" | "42")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the store gave no value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row asked for does not exist.
    #[error("{what} is not there")]
    NotFound {
        /// What was asked for, with its identifier: "listing `42`".
        what: String,
    },
    /// Somebody else was first: the row is no longer what the caller based its write on.
    #[error("{what}")]
    Conflict {
        /// What was to be written and what stands there now.
        what: String,
    },
    /// The database is away, not ready, full or read-only. An outage is a value: wait and ask again.
    #[error("the database is away: {reason}")]
    Unavailable {
        /// The server's or the system's own words.
        reason: String,
        /// The server's code, where it was able to give one.
        sqlstate: Option<SqlState>,
    },
    /// The database understood and refused, or its answer could not be read.
    #[error("the database refused ({code}): {message}", code = sqlstate.map_or_else(|| "-----".to_owned(), |s| s.to_string()))]
    Query {
        /// The code; `None` when the trouble is on our side of the wire.
        sqlstate: Option<SqlState>,
        /// The server's sentence, with its detail.
        message: String,
        /// The constraint that was hurt.
        constraint: Option<String>,
    },
    /// The database is up but must not be used: unsafe settings, a schema this program does not know.
    #[error("{problem}")]
    Unfit {
        /// What is wrong, where, what was expected and what to do.
        problem: String,
    },
}

impl StoreError {
    /// "`what` is not there."
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// "Somebody else was first."
    pub fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    /// A row holds something that is none of our values (written by hand, or by a newer version).
    pub fn bad_row(what: impl fmt::Display) -> Self {
        Self::Query {
            sqlstate: None,
            message: format!("a row cannot be understood: {what}"),
            constraint: None,
        }
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            sqlstate: None,
        }
    }

    /// The server's code, where there is one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Unavailable { sqlstate, .. } | Self::Query { sqlstate, .. } => *sqlstate,
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Unfit { .. } => None,
        }
    }

    /// The same work may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { sqlstate, .. } => sqlstate.is_none_or(|s| !s.needs_a_person()),
            Self::Query { sqlstate, .. } => sqlstate.is_some_and(SqlState::is_retryable),
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Unfit { .. } => false,
        }
    }

    /// Waiting alone will not help: a wrong password, a missing database.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        self.sqlstate().is_some_and(SqlState::needs_a_person)
    }

    /// The database is away, as against one that answers and refuses.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// One record is bad, not the group it stands in: data out of range (22) or against a constraint (23).
    #[must_use]
    pub fn is_bad_data(&self) -> bool {
        self.sqlstate().is_some_and(|s| matches!(s.class(), "22" | "23"))
    }

    /// Another transaction was in the way; the same transaction, begun anew, may pass.
    #[must_use]
    pub fn is_contention(&self) -> bool {
        matches!(
            self.sqlstate(),
            Some(SqlState::SERIALIZATION_FAILURE | SqlState::DEADLOCK_DETECTED)
        )
    }

    /// The constraint that was hurt, where one was.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Query { constraint, .. } => constraint.as_deref(),
            _ => None,
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::not_found("the row asked for"),
            DieselError::DatabaseError(kind, info) => {
                from_server(kind, info.message(), info.details(), info.constraint_name())
            }
            DieselError::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            DieselError::BrokenTransactionManager => {
                Self::unavailable("the connection broke inside a transaction")
            }
            other => Self::Query {
                sqlstate: None,
                message: other.to_string(),
                constraint: None,
            },
        }
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        match error {
            diesel::ConnectionError::CouldntSetupConfiguration(inner) => match Self::from(inner) {
                // whatever happens while a connection is made, there is no connection
                Self::Query {
                    sqlstate, message, ..
                } => Self::Unavailable {
                    reason: message,
                    sqlstate,
                },
                other => other,
            },
            other => Self::unavailable(other.to_string()),
        }
    }
}

fn from_server(
    kind: DatabaseErrorKind,
    message: &str,
    details: Option<&str>,
    constraint: Option<&str>,
) -> StoreError {
    let sqlstate = wire::code_of(message).or_else(|| code_of_kind(&kind));
    let full = details.map_or_else(|| message.to_owned(), |d| format!("{message} ({d})"));
    let broken = matches!(
        kind,
        DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection
    );
    if broken || sqlstate.is_some_and(SqlState::is_outage) {
        return StoreError::Unavailable {
            reason: full,
            sqlstate,
        };
    }
    StoreError::Query {
        sqlstate,
        message: full,
        constraint: constraint.map(str::to_owned),
    }
}

/// What diesel kept of the code, for connections that were not opened by us.
fn code_of_kind(kind: &DatabaseErrorKind) -> Option<SqlState> {
    let code = match kind {
        DatabaseErrorKind::UniqueViolation => b"23505",
        DatabaseErrorKind::ForeignKeyViolation => b"23503",
        DatabaseErrorKind::NotNullViolation => b"23502",
        DatabaseErrorKind::CheckViolation => b"23514",
        DatabaseErrorKind::RestrictViolation => b"23001",
        DatabaseErrorKind::ExclusionViolation => b"23P01",
        DatabaseErrorKind::SerializationFailure => b"40001",
        DatabaseErrorKind::ReadOnlyTransaction => b"25006",
        _ => return None,
    };
    SqlState::new(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> StoreError {
        let sqlstate = SqlState::new(code.as_bytes());
        assert!(sqlstate.is_some(), "{code}");
        let message = format!("message of {code}");
        wire::remember(&message, sqlstate.unwrap());
        from_server(DatabaseErrorKind::Unknown, &message, None, None)
    }

    #[test]
    fn outages_and_lost_races_are_retried() {
        for code in [
            "08006", "08P01", "57P01", "57P02", "57P03", "53100", "53200", "53300", "40001", "40P01",
            "25006", "57014", "55P03",
        ] {
            assert!(error(code).is_retryable(), "{code}");
        }
    }

    #[test]
    fn bad_data_and_wrong_statements_are_never_retried() {
        for code in [
            "22001", "22P02", "23505", "23514", "42601", "42P01", "0A000", "21000", "XX000",
        ] {
            assert!(!error(code).is_retryable(), "{code}");
        }
    }

    #[test]
    fn a_server_that_is_away_is_told_from_one_that_refuses() {
        for code in ["57P03", "53300", "25006", "28P01", "3D000"] {
            assert!(error(code).is_outage(), "{code}");
        }
        for code in ["40001", "57014", "23505", "42P01"] {
            assert!(!error(code).is_outage(), "{code}");
        }
        assert!(!error("28P01").is_retryable(), "a wrong password stays wrong");
    }

    #[test]
    fn bad_data_is_told_from_everything_else() {
        assert!(error("22003").is_bad_data() && error("23514").is_bad_data());
        assert!(!error("40001").is_bad_data() && !error("57014").is_bad_data());
    }

    #[test]
    fn a_closed_connection_is_an_outage_without_a_code() {
        let e = from_server(
            DatabaseErrorKind::UnableToSendCommand,
            "connection closed",
            None,
            None,
        );
        assert!(e.is_outage() && e.is_retryable() && e.sqlstate().is_none());
    }

    #[test]
    fn only_five_digits_or_capitals_are_a_sqlstate() {
        assert!(SqlState::new(b"57P01").is_some());
        for bad in ["", "5701", "57p01", "57P011", "57 01"] {
            assert!(SqlState::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
