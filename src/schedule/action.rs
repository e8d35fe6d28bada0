//! What an entry of the time-table does.

use super::timetable::ScheduleName;
use crate::store::executions::Counts;
use crate::store::{Connection, StoreError};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use uuid::Uuid;

/// What an entry does. Dropped at its time limit, when the daemon stops, and when the run was given up, so each step of
/// it must be one that may be the last.
///
/// A run may come twice for the same moment: it is begun again when its owner died, and when the database was away.
pub trait Action: Send + Sync + 'static {
    /// What belongs into the transaction of the firing: jobs. Answers how many things there are to work on.
    fn prepare<'c>(
        &self,
        conn: &'c mut Connection,
        execution: Uuid,
    ) -> BoxFuture<'c, Result<i32, StoreError>> {
        let _ = (conn, execution);
        std::future::ready(Ok(0)).boxed()
    }

    /// Does it, or follows those who do.
    fn run(&self, run: Run) -> BoxFuture<'static, Result<Done, Failure>>;
}

/// One run, as its action knows it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its number.
    pub id: Uuid,
    /// What it is a run of.
    pub name: ScheduleName,
    /// When it began, by the database's clock.
    pub began: DateTime<Utc>,
    /// The moment of the time-table that it serves; `None` when a person asked for it.
    pub due: Option<DateTime<Utc>>,
    /// The zone of the time-table.
    pub zone: Tz,
    /// How far it is; written with each sign of life.
    pub progress: Progress,
}

/// How far a run is.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Counts>>);

impl Progress {
    /// It is so far.
    pub fn set(&self, counts: Counts) {
        *self.0.lock() = counts;
    }

    /// How far it is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.0.lock()
    }
}

/// A run that came to its end. Whether all of it succeeded is seen by its counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// What it found, kept with its row.
    pub details: Option<Value>,
}

/// A run that did not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What happened, and what to do where that is known. Holds no secret.
    pub message: String,
    /// What it found all the same.
    pub details: Option<Value>,
    /// The database was away: it is begun anew within the same run.
    pub outage: bool,
}

impl Failure {
    /// A failure that found nothing.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            details: None,
            outage: false,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            outage: error.is_outage(),
            ..Self::new(error.to_string())
        }
    }
}

/// An action that enqueues nothing, from what it does.
pub fn action<F, Fut>(what: F) -> Arc<dyn Action>
where
    F: Fn(Run) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Done, Failure>> + Send + 'static,
{
    struct Of<F>(F);
    impl<F, Fut> Action for Of<F>
    where
        F: Fn(Run) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Done, Failure>> + Send + 'static,
    {
        fn run(&self, run: Run) -> BoxFuture<'static, Result<Done, Failure>> {
            (self.0)(run).boxed()
        }
    }
    Arc::new(Of(what))
}
