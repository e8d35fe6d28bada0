//! The table of restarts: how a life ended, and what follows from it. Pure.
//!
//! | restart type | normal end | panic, stuck, lost, failed start, group gave up |
//! |---|---|---|
//! | [`Permanent`](Restart::Permanent) | restart | restart |
//! | [`Transient`](Restart::Transient) | leave | restart |
//! | [`Temporary`](Restart::Temporary) | leave | leave |
//!
//! An end that the group itself ordered (a planned stop, a neighbour's crash under `one_for_all`) never comes here.

use super::spec::{Restart, Strategy};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// How a child's life ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Exit {
    /// It stopped by its own wish (`ctx.stop()`).
    Normal,
    /// Its group asked it to stop, and it did within its limit.
    Stopped,
    /// It did not stop within its limit and was ended.
    Killed,
    /// A handler, an actor future, a timer, a stream, `started`, the factory, `stopping`, `stopped` or `Drop` panicked.
    Panic {
        /// The panic's text.
        message: String,
        /// File, line and column of the panic.
        location: String,
    },
    /// Its heart did not beat, or its oldest message waited, for longer than its `stuck_after`.
    Stuck {
        /// For how long nothing had moved, in milliseconds.
        silent_ms: u64,
    },
    /// Its arbiter is gone or did not answer, or its task vanished without a word.
    Lost,
    /// It could not be started at all (no thread for its arbiter).
    NotStarted {
        /// What was in the way.
        reason: String,
    },
    /// A group whose child crashed more often than its intensity allows.
    GaveUp {
        /// The path of the child that crashed last.
        child: String,
        /// How often the group had restarted within its period.
        restarts: u32,
        /// How that child ended.
        last: Box<Exit>,
    },
}

// === impl Exit ===

impl Exit {
    /// Whether the end calls for a restart of a transient child.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        !matches!(self, Self::Normal | Self::Stopped)
    }

    pub(super) fn stuck(silent_for: Duration) -> Self {
        Self::Stuck {
            silent_ms: u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => write!(f, "stopped by itself"),
            Self::Stopped => write!(f, "stopped when asked"),
            Self::Killed => write!(f, "did not stop within its limit and was ended"),
            Self::Panic { message, location } => write!(f, "panicked at {location}: {message}"),
            Self::Stuck { silent_ms } => write!(f, "was stuck: nothing moved for {silent_ms} ms"),
            Self::Lost => write!(f, "was lost with its arbiter"),
            Self::NotStarted { reason } => write!(f, "could not be started: {reason}"),
            Self::GaveUp {
                child,
                restarts,
                last,
            } => write!(f, "gave up after {restarts} restarts: `{child}` {last}"),
        }
    }
}

/// What follows from an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is started again; counted.
    Restart,
    /// It stays down; its work is over.
    Leave,
}

/// The table at the head of this file.
pub(super) fn decide(restart: Restart, exit: &Exit) -> Decision {
    match (restart, exit.is_crash()) {
        (Restart::Permanent, _) | (Restart::Transient, true) => Decision::Restart,
        (Restart::Transient, false) | (Restart::Temporary, _) => Decision::Leave,
    }
}

/// Which of `count` children go down with child `index` and come up again with it.
pub(super) fn affected(strategy: Strategy, index: usize, count: usize) -> Range<usize> {
    match strategy {
        Strategy::OneForOne => index..index.saturating_add(1),
        Strategy::OneForAll => 0..count,
        Strategy::RestForOne => index..count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_restarts_holds() {
        let crash = Exit::Lost;
        assert_eq!(decide(Restart::Permanent, &Exit::Normal), Decision::Restart);
        assert_eq!(decide(Restart::Permanent, &crash), Decision::Restart);
        assert_eq!(decide(Restart::Transient, &Exit::Normal), Decision::Leave);
        assert_eq!(decide(Restart::Transient, &crash), Decision::Restart);
        assert_eq!(decide(Restart::Temporary, &Exit::Normal), Decision::Leave);
        assert_eq!(decide(Restart::Temporary, &crash), Decision::Leave);
    }

    #[test]
    fn a_strategy_says_who_goes_down_with_whom() {
        assert_eq!(affected(Strategy::OneForOne, 1, 4), 1..2);
        assert_eq!(affected(Strategy::OneForAll, 1, 4), 0..4);
        assert_eq!(affected(Strategy::RestForOne, 1, 4), 1..4);
    }
}
