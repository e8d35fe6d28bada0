//! How the database is, as a value that others can watch; and waiting for one that is away.
//!
//! A database that is away at the start delays the start, with a status that says since when, why and what is being done;
//! one that goes away later is seen within seconds, and again when it is back. Only what waiting cannot heal ends the
//! wait: an address that cannot be read, a server that forgets what it has acknowledged, a schema from the future.

use super::error::StoreError;
use super::looping::{self, pause};
use super::pool::{Db, PoolSettings};
use crate::backoff::{Backoff, Jitter};
use crate::clock::Clock;
use crate::supervision::{ChildSpec, Life};
use chrono::{DateTime, Utc};
use diesel_async::SimpleAsyncConnection as _;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a healthy database is asked: an outage is noticed by whoever works with it anyway.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// An answer later than this is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// A refused password or a missing database is not asked for again sooner.
const PERSON_WAIT: Duration = Duration::from_secs(10);

/// How the database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DatabaseStatus {
    /// Not asked yet.
    Unknown,
    /// It answers.
    Up {
        /// Since when.
        since: DateTime<Utc>,
        /// How long its last answer took, in milliseconds.
        answer_ms: u64,
    },
    /// It does not; it is being waited for.
    Away {
        /// Since when.
        since: DateTime<Utc>,
        /// What was tried and what happened.
        reason: String,
        /// How often.
        tries: u32,
        /// Waiting alone will not help: a password, a missing database, a full disk.
        needs_a_person: bool,
    },
}

impl DatabaseStatus {
    /// Whether it answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    fn up(&self, now: DateTime<Utc>, took: Duration) -> Self {
        let since = match self {
            Self::Up { since, .. } => *since,
            Self::Unknown | Self::Away { .. } => now,
        };
        let answer_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self::Up { since, answer_ms }
    }

    /// One more failure.
    #[must_use]
    pub(super) fn away(&self, now: DateTime<Utc>, reason: String, needs_a_person: bool) -> Self {
        let (since, tries) = match self {
            Self::Away { since, tries, .. } => (*since, *tries),
            Self::Unknown | Self::Up { .. } => (now, 0),
        };
        Self::Away {
            since,
            reason,
            tries: tries.saturating_add(1),
            needs_a_person,
        }
    }
}

/// Where the status is told and read. Cheap to clone.
#[derive(Clone)]
pub struct StatusBoard {
    told: watch::Sender<DatabaseStatus>,
    clock: Clock,
}

// === impl StatusBoard ===

impl StatusBoard {
    /// A board on which nothing stands yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let told = watch::Sender::new(DatabaseStatus::Unknown);
        Self { told, clock }
    }

    /// For whoever wants to know, and to hear when it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<DatabaseStatus> {
        self.told.subscribe()
    }

    /// Tells that it answered in `took`. Logs only a return.
    pub(super) fn up(&self, what: &str, took: Duration) {
        let was_away = matches!(*self.told.borrow(), DatabaseStatus::Away { .. });
        if was_away {
            tracing::info!("{what} is back");
        }
        let now = self.clock.now();
        self.told.send_modify(|status| *status = status.up(now, took));
    }

    /// Tells that it did not. Logs the first time, and when the reason changes.
    pub(super) fn away(&self, what: &str, reason: String, needs_a_person: bool) {
        let known = matches!(&*self.told.borrow(), DatabaseStatus::Away { reason: r, .. } if *r == reason);
        if !known && needs_a_person {
            tracing::error!("{what} is away and needs a person: {reason}");
        } else if !known {
            tracing::warn!("{what} is away, waiting for it: {reason}");
        }
        let now = self.clock.now();
        self.told
            .send_modify(|status| *status = status.away(now, reason, needs_a_person));
    }
}

/// The waits between tries: soon at first, since a server that starts is there in moments.
#[expect(
    clippy::expect_used,
    reason = "the bounds are the constants beside it, and a test builds them"
)]
pub(super) fn retry_waits() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(10), Jitter::TENTH).expect("0.2 to 10 s")
}

/// Connects, however long the database is away, telling `board` meanwhile. `None` when the child was asked to stop.
///
/// # Errors
/// Only what waiting cannot heal: [`StoreError::Unfit`].
pub async fn connect_waiting(
    settings: &PoolSettings,
    board: &StatusBoard,
    life: &Life,
) -> Result<Option<Db>, StoreError> {
    let opened = open_waiting(settings, board, life, async |_db| Ok(())).await?;
    Ok(opened.map(|(db, ())| db))
}

/// Connects, and does with the database what must be done before it is used.
///
/// However long it is away, and as often as it goes away in the middle of that: `prepare` is begun anew, on a new pool, so
/// it must be fit to be repeated.
///
/// # Errors
/// What waiting cannot heal: [`StoreError::Unfit`], and what `prepare` meets that is no outage and would be met again.
pub async fn open_waiting<T>(
    settings: &PoolSettings,
    board: &StatusBoard,
    life: &Life,
    prepare: impl AsyncFn(&Db) -> Result<T, StoreError>,
) -> Result<Option<(Db, T)>, StoreError> {
    let what = settings.shown();
    let waits = retry_waits();
    for tries in 0.. {
        let began = Instant::now();
        life.waiting_until(began + settings.wait_limit + settings.connect_limit);
        let error = match Db::connect(settings).await {
            Ok(db) => match prepare(&db).await {
                Ok(prepared) => {
                    board.up(&what, began.elapsed());
                    return Ok(Some((db, prepared)));
                }
                Err(error) => {
                    db.close();
                    if !error.is_outage() && !error.is_retryable() {
                        return Err(error);
                    }
                    error
                }
            },
            Err(error @ StoreError::Unfit { .. }) => return Err(error),
            Err(error) => error,
        };
        let person = error.needs_a_person();
        board.away(&what, error.to_string(), person);
        let wait = waits.delay(tries, &mut rand::rng());
        if !pause(life, if person { wait.max(PERSON_WAIT) } else { wait }).await {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The child that asks the database again and again and tells `board`.
pub fn child(name: &str, db: Db, board: StatusBoard) -> ChildSpec {
    looping::child(name, move |life| keep_watch(db.clone(), board.clone(), life))
}

async fn keep_watch(db: Db, board: StatusBoard, life: Life) {
    let what = db.settings().shown();
    let waits = retry_waits();
    let mut failed = 0;
    loop {
        let began = Instant::now();
        life.beat();
        life.waiting_until(began + ANSWER_LIMIT);
        let next = match tokio::time::timeout(ANSWER_LIMIT, ask(&db)).await {
            Ok(Ok(())) => {
                failed = 0;
                board.up(&what, began.elapsed());
                ASK_EVERY
            }
            other => {
                let (reason, person) = match other {
                    Ok(Err(error)) => (error.to_string(), error.needs_a_person()),
                    _ => (format!("no answer within {} s", ANSWER_LIMIT.as_secs()), false),
                };
                board.away(&what, reason, person);
                failed += 1;
                waits.delay(failed, &mut rand::rng()).min(ASK_EVERY)
            }
        };
        if !pause(&life, next).await {
            return;
        }
    }
}

async fn ask(db: &Db) -> Result<(), StoreError> {
    db.conn().await?.batch_execute("SELECT 1").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_keeps_its_beginning_and_counts_its_tries() {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        let first = DatabaseStatus::Unknown.away(at(1), "refused".into(), false);
        let second = first.away(at(5), "starting".into(), false);
        let DatabaseStatus::Away {
            since, tries, reason, ..
        } = &second
        else {
            panic!("{second:?}")
        };
        assert_eq!((*since, *tries, reason.as_str()), (at(1), 2, "starting"));
        let up = second.up(at(9), Duration::from_millis(3));
        assert_eq!(
            up,
            DatabaseStatus::Up {
                since: at(9),
                answer_ms: 3
            }
        );
        assert_eq!(
            up.up(at(20), Duration::ZERO),
            DatabaseStatus::Up {
                since: at(9),
                answer_ms: 0
            }
        );
    }

    #[test]
    fn the_waits_between_tries_are_a_backoff() {
        assert_eq!(retry_waits().ceiling(9), Duration::from_secs(10));
    }
}
