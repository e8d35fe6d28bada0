//! What can be wrong with Redis, in one word each.

use deadpool_redis::redis::{ErrorKind, RedisError};
use serde::Serialize;
use std::fmt;

/// No message of a server is kept longer.
const LONGEST_MESSAGE: usize = 200;

/// Why Redis gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", colon(message))]
pub struct Trouble {
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// The server's or the system's own words, cut.
    pub message: String,
}

/// The kinds of trouble; each says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// Known to be away since an earlier trouble: nothing was sent.
    Away,
    /// No connection comes about.
    Refused,
    /// No answer in time.
    Slow,
    /// The connection ended.
    Dropped,
    /// `OOM`: its memory is used up.
    Full,
    /// `READONLY`: a replica, or a master that became one.
    ReadOnly,
    /// `LOADING`, `MASTERDOWN`, `BUSY`: it starts, or is kept busy.
    Starting,
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`: it does not let us.
    Denied,
    /// `MISCONF`: it cannot save to its disk and takes no writes.
    CannotSave,
    /// `WRONGTYPE`: something that is not ours stands under our name.
    WrongType,
    /// Not what Redis says, or too much of it.
    Garbage,
    /// It refuses in words that are not known here.
    Refuses,
}

// === impl Trouble ===

impl Trouble {
    pub(super) fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        let message: String = message.into();
        let message = message.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE);
        Self {
            kind,
            message: message.collect(),
        }
    }

    /// Away since an earlier trouble.
    pub(super) fn away() -> Self {
        Self::new(TroubleKind::Away, "")
    }

    /// Whether the link is of no use until the keeper has looked.
    pub(super) fn is_outage(&self) -> bool {
        self.kind != TroubleKind::WrongType
    }

    /// By what the client says.
    pub(super) fn of(error: &RedisError) -> Self {
        // Several commands that were sent together: the first that failed speaks for them.
        if let Some(errors) = error.clone().into_server_errors()
            && let Some((_, first)) = errors.first()
        {
            let (code, detail) = (first.code(), first.details().unwrap_or_default());
            return Self::new(server(code, detail), format!("{code} {detail}"));
        }
        Self::new(kind(error), message(error))
    }
}

fn message(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (None, Some(detail)) => format!("{}: {detail}", error.category()),
        _ => error.to_string(),
    }
}

fn kind(error: &RedisError) -> TroubleKind {
    match error.kind() {
        ErrorKind::AuthenticationFailed => TroubleKind::Denied,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::RESP3NotSupported => {
            TroubleKind::Garbage
        }
        ErrorKind::Io if error.is_timeout() => TroubleKind::Slow,
        ErrorKind::Io if error.is_connection_refusal() => TroubleKind::Refused,
        ErrorKind::Io if error.is_connection_dropped() => TroubleKind::Dropped,
        // the bounded stream's word
        ErrorKind::Io if error.to_string().contains("an answer of more than") => TroubleKind::Garbage,
        ErrorKind::Io => TroubleKind::Dropped,
        _ => server(
            error.code().unwrap_or_default(),
            error.detail().unwrap_or_default(),
        ),
    }
}

/// By the server's first word; servers before 7 hide it behind `ERR` when a script met the trouble.
fn server(code: &str, detail: &str) -> TroubleKind {
    let first = |word: &str| code == word || (code == "ERR" && detail.contains(&format!(": {word} ")));
    if first("OOM") || (code == "ERR" && detail.contains("OOM command not allowed")) {
        TroubleKind::Full
    } else if first("NOAUTH") || first("WRONGPASS") || first("NOPERM") || detail.contains("invalid password")
    {
        TroubleKind::Denied
    } else if first("MISCONF") {
        TroubleKind::CannotSave
    } else if first("WRONGTYPE") {
        TroubleKind::WrongType
    } else if first("READONLY") {
        TroubleKind::ReadOnly
    } else if first("BUSY") || first("LOADING") || first("MASTERDOWN") {
        TroubleKind::Starting
    } else {
        TroubleKind::Refuses
    }
}

fn colon(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

// === impl TroubleKind ===

impl TroubleKind {
    /// What a person does about it.
    #[must_use]
    pub fn to_do(self) -> &'static str {
        match self {
            Self::Away | Self::Refused | Self::Dropped => {
                "see that Redis runs and that `redis.url` leads to it: `redis-cli -u URL ping`"
            }
            Self::Slow => "see what keeps it busy: `redis-cli -u URL slowlog get`, and the network between",
            Self::Full => {
                "give it more memory, or let it hold less: `redis-cli -u URL config get maxmemory`; zaikoban wants \
                 `maxmemory-policy noeviction`"
            }
            Self::ReadOnly => "name the master in `redis.url`; this is a replica",
            Self::Starting => "wait: it reads its file, or a script keeps it busy",
            Self::Denied => "mend `redis.password` (or its file) and the user in `redis.url`",
            Self::CannotSave => "see its disk: `redis-cli -u URL info persistence`, and its log",
            Self::WrongType => {
                "nothing: what is not ours is removed; find out who else writes under our prefix"
            }
            Self::Garbage => "see who listens at the address in `redis.url`: that is not Redis",
            Self::Refuses => "see its log; zaikoban wants Redis 6 or newer",
        }
    }
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "it is away",
            Self::Refused => "it cannot be reached",
            Self::Slow => "it does not answer in time",
            Self::Dropped => "the connection ended",
            Self::Full => "its memory is full",
            Self::ReadOnly => "it takes no writes",
            Self::Starting => "it is starting or busy",
            Self::Denied => "it does not let us in",
            Self::CannotSave => "it cannot save and takes no writes",
            Self::WrongType => "something else stands under our name",
            Self::Garbage => "it does not speak as Redis does",
            Self::Refuses => "it refuses",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_decides_also_behind_a_script_error_of_older_servers() {
        for (code, detail, kind) in [
            (
                "OOM",
                "command not allowed when used memory > 'maxmemory'.",
                TroubleKind::Full,
            ),
            (
                "ERR",
                "Error running script (call to f_1): @user_script:3: OOM command not allowed",
                TroubleKind::Full,
            ),
            ("NOAUTH", "Authentication required.", TroubleKind::Denied),
            ("WRONGPASS", "invalid username-password pair", TroubleKind::Denied),
            ("ERR", "invalid password", TroubleKind::Denied),
            (
                "MISCONF",
                "Redis is configured to save RDB",
                TroubleKind::CannotSave,
            ),
            (
                "ERR",
                "Error running script: @user_script: 3: WRONGTYPE Operation against a key",
                TroubleKind::WrongType,
            ),
            ("BUSY", "Redis is busy running a script", TroubleKind::Starting),
            ("ERR", "unknown command 'EVALSHA'", TroubleKind::Refuses),
            ("", "", TroubleKind::Refuses),
        ] {
            assert_eq!(server(code, detail), kind, "{code} {detail}");
        }
    }

    #[test]
    fn what_a_server_says_is_cut_and_cannot_break_a_line() {
        let trouble = Trouble::new(TroubleKind::Refuses, format!("a\nb{}", "x".repeat(5_000)));
        assert!(trouble.message.starts_with("abx"));
        assert_eq!(trouble.message.chars().count(), LONGEST_MESSAGE);
    }
}
