//! One run from its beginning to the row that says what came of it.

use super::action::{Action, Done, Failure, Run};
use super::timetable::ScheduleName;
use crate::store::errors::{self, ErrorRecord, ErrorType, Severity};
use crate::store::executions::{self, Counts, Ending, ExecutionStatus};
use crate::store::{Db, StoreError, schedules};
use crate::supervision::{TaskError, spawn_owned};
use futures_util::FutureExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

/// How often a run gives a sign of life.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A run that gave none for so long has no owner any more.
pub const SILENCE: Duration = Duration::from_secs(60);
/// How soon an ending that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a daemon that stops tries to write it: the next start finds the row otherwise.
const LAST_WORD: Duration = Duration::from_secs(3);

/// How a run came to its end.
enum Ended {
    Of(Result<Done, Failure>),
    /// It was asked to end.
    Stopped,
    /// Another scheduler took us for dead; the row is no longer ours.
    GivenUp,
}

/// Does `action` under the run's row; ends when the row says what came of it. One that a stop breaks off fires `again`.
pub(super) async fn attend(
    db: Db,
    action: Arc<dyn Action>,
    run: Run,
    (limit, again): (Duration, bool),
    stop: CancellationToken,
) {
    let span = tracing::info_span!("execution", execution = %run.id, process = %run.name);
    async move {
        tracing::info!("`{}` begins", run.name);
        let began = Instant::now();
        let (result, again) = match work(&db, &*action, &run, limit, &stop).await {
            Ended::Of(result) => (result, false),
            Ended::Stopped => (Err(Failure::new("the daemon was stopped while it ran")), again),
            Ended::GivenUp => {
                tracing::warn!(
                    "`{}` was given up by another scheduler: it is broken off here",
                    run.name
                );
                return;
            }
        };
        let ending = ending(result, run.progress.counts());
        tell(&run, &ending, began.elapsed());
        write(&db, &run, &ending, again, &stop).await;
        if !stop.is_cancelled()
            && let Err(error) = note(&db, &run, &ending).await
        {
            tracing::debug!(%error, "Whether `{}` failed is not among the errors", run.name);
        }
    }
    .instrument(span)
    .await;
}

async fn work(db: &Db, action: &dyn Action, run: &Run, limit: Duration, stop: &CancellationToken) -> Ended {
    let begin = |wait: Duration| {
        let begun = action.run(run.clone());
        let later = async move {
            sleep(wait).await;
            begun.await
        };
        spawn_owned("execution", later.instrument(tracing::Span::current()))
    };
    let mut task = begin(Duration::ZERO);
    let deadline = Instant::now() + limit;
    let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            biased;
            ended = &mut task => break match ended {
                Ok(Err(failure)) if failure.outage => {
                    tracing::debug!("`{}` waits for the database: {failure}", run.name);
                    task = begin(AGAIN);
                    continue;
                }
                Ok(result) => result,
                Err(error @ TaskError::Panicked { .. }) => Err(Failure::new(format!(
                    "a fault of zaikoban: {error}; keep the daemon's log and report it"
                ))),
                Err(error) => Err(Failure::new(error.to_string())),
            },
            () = stop.cancelled() => return Ended::Stopped,
            () = sleep_until(deadline) => break Err(Failure::new(format!(
                "not done within its time limit of {} s (`schedules.{}.limit_s`)", limit.as_secs(), run.name
            ))),
            _ = beat.tick() => match alive(db, run).await {
                Ok(true) => {}
                Ok(false) => return Ended::GivenUp,
                Err(error) => tracing::debug!(%error, "A sign of life could not be given"),
            },
        }
    };
    Ended::Of(result)
}

async fn alive(db: &Db, run: &Run) -> Result<bool, StoreError> {
    executions::beat(&mut *db.conn().await?, run.id, run.progress.counts()).await
}

/// What came of it, from what the action said and how far it was.
fn ending(result: Result<Done, Failure>, counts: Counts) -> Ending {
    let some_well = counts.processed > counts.errors;
    match result {
        Ok(done) => Ending {
            status: match (counts.errors > 0, some_well) {
                (false, _) => ExecutionStatus::Completed,
                (true, true) => ExecutionStatus::Partial,
                (true, false) => ExecutionStatus::Failed,
            },
            counts,
            details: done.details,
            error: (counts.errors > 0).then(|| format!("{} of {} failed", counts.errors, counts.total)),
        },
        Err(failure) => Ending {
            status: if some_well {
                ExecutionStatus::Partial
            } else {
                ExecutionStatus::Failed
            },
            counts,
            details: failure.details,
            error: Some(failure.message),
        },
    }
}

fn tell(run: &Run, ending: &Ending, took: Duration) {
    let (name, status) = (run.name, ending.status);
    let Counts {
        total,
        processed,
        updated,
        errors,
    } = ending.counts;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match &ending.error {
        None => tracing::info!(took_ms, total, processed, updated, "`{name}` is {status}"),
        Some(error) if status == ExecutionStatus::Partial => {
            tracing::warn!(
                took_ms,
                total,
                processed,
                updated,
                errors,
                "`{name}` is {status}: {error}"
            );
        }
        Some(error) => tracing::error!(took_ms, total, processed, errors, "`{name}` {status}: {error}"),
    }
}

/// The trouble that is told of `process` until a run of it succeeds; the alerts are made of those. A code of its own for
/// each, because alerts go by it: one that a person knows of must not hide another.
pub(super) fn trouble(process: &str, what: &str, execution: Option<Uuid>) -> ErrorRecord {
    let severity = match process.parse() {
        // the next comes soon, and says the same
        Ok(ScheduleName::StockSweep | ScheduleName::PriceSweep | ScheduleName::Health) => Severity::Medium,
        _ => Severity::High,
    };
    ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some(format!("run_failed_{process}")),
        message: format!("`{process}` {what}"),
        product_id: None,
        platform: None,
        severity,
        fingerprint: fingerprint(process),
        details: Some(serde_json::json!({ "execution_id": execution, "process": process })),
    }
}

fn fingerprint(process: &str) -> String {
    format!("run_failed:{process}")
}

async fn note(db: &Db, run: &Run, ending: &Ending) -> Result<(), StoreError> {
    let mut conn = db.conn().await?;
    let Some(error) = ending
        .error
        .as_deref()
        .filter(|_| ending.status == ExecutionStatus::Failed)
    else {
        return errors::end_recovered(&mut conn, &fingerprint(run.name.as_str())).await;
    };
    let record = trouble(run.name.as_str(), &format!("failed: {error}"), Some(run.id));
    errors::record(&mut conn, &record).await?;
    Ok(())
}

/// Writes the ending, however long the database is away; a daemon that stops does not wait long.
async fn write(db: &Db, run: &Run, ending: &Ending, again: bool, stop: &CancellationToken) {
    let written = async {
        loop {
            match once(db, run, ending, again).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!("`{}` was given up before its end was written", run.name);
                    return;
                }
                Err(error) if error.is_outage() => sleep(AGAIN).await,
                Err(error) => {
                    tracing::error!(%error, "What came of `{}` cannot be written", run.name);
                    return;
                }
            }
        }
    };
    let stopping = async {
        stop.cancelled().await;
        sleep(LAST_WORD).await;
    };
    tokio::select! {
        () = written => {}
        () = stopping => tracing::warn!("What came of `{}` was not written: its next start finds it", run.name),
    }
}

async fn once(db: &Db, run: &Run, ending: &Ending, again: bool) -> Result<bool, StoreError> {
    if !again {
        return executions::finish(&mut *db.conn().await?, run.id, ending).await;
    }
    let (id, name, ending) = (run.id, run.name, ending.clone());
    let finished = db.transaction(move |conn| {
        async move {
            let finished = executions::finish(conn, id, &ending).await?;
            if finished {
                schedules::put_back(conn, &[id], &[name.as_str()]).await?;
            }
            Ok(finished)
        }
        .boxed()
    });
    finished.await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(processed: i32, errors: i32) -> Counts {
        Counts {
            total: 10,
            processed,
            updated: 0,
            errors,
        }
    }

    #[test]
    fn a_run_is_completed_partial_or_failed_by_what_failed() {
        use ExecutionStatus::{Completed, Failed, Partial};
        let failed = || Err(Failure::new("the time limit"));
        let table = [
            (Ok(Done::default()), counts(10, 0), Completed),
            (Ok(Done::default()), counts(0, 0), Completed),
            (Ok(Done::default()), counts(10, 3), Partial),
            (Ok(Done::default()), counts(10, 10), Failed),
            (failed(), counts(0, 0), Failed),
            (failed(), counts(4, 0), Partial),
            (failed(), counts(4, 4), Failed),
        ];
        for (result, counts, expected) in table {
            let ending = ending(result.clone(), counts);
            assert_eq!(ending.status, expected, "{result:?} {counts:?}");
            assert_eq!(ending.error.is_none(), expected == Completed, "{ending:?}");
        }
    }
}
