//! `inventory_execution_logs`: runs of a process, of which only one of a kind may be under way.
//!
//! The row that says `running` is the lock. It carries a heartbeat, so that the lock of a dead owner can be broken: by
//! whoever wants to begin, when nothing was heard for longer than `dead_after`, by the database's clock.

use super::error::StoreError;
use super::jobs::WorkerId;
use crate::domain::{UnknownName, names};
use diesel::QueryableByName;
use diesel::sql_types::{Double, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use std::{fmt, str::FromStr};
use uuid::Uuid;

names!(
    /// How a run ended.
    ExecutionEnd {
        /// All of it.
        Completed = "completed",
        /// None of it, or it was broken off.
        Failed = "failed",
        /// Some products gave an error.
        Partial = "partial",
    }
);

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Products it is about.
    pub total: i32,
    /// Products it has done.
    pub processed: i32,
    /// Products it has changed.
    pub updated: i32,
    /// Products that gave an error.
    pub errors: i32,
}

/// A run under way, and the right to go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Names the run in other tables.
    pub id: Uuid,
}

/// Begins a run of `process`, breaking the lock of one that has not been heard of for `dead_after`.
///
/// # Errors
/// [`StoreError::Conflict`] when one is under way.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    process: &str,
    worker: &WorkerId,
    dead_after: Duration,
) -> Result<Execution, StoreError> {
    #[derive(QueryableByName)]
    struct Holder {
        #[diesel(sql_type = Text)]
        worker: String,
        #[diesel(sql_type = Double)]
        silent_s: f64,
    }
    let broken = diesel::sql_query(
        "UPDATE inventory_execution_logs SET status = 'failed', execution_end = heartbeat_at, \
         error_message = 'its worker is gone' \
         WHERE process_type = $1 AND status = 'running' AND heartbeat_at < clock_timestamp() - make_interval(secs => $2)",
    )
    .bind::<Text, _>(process)
    .bind::<Double, _>(dead_after.as_secs_f64())
    .execute(conn)
    .await?;
    if broken > 0 {
        tracing::warn!("Broke the lock of a run of `{process}` whose worker is gone");
    }
    let id = Uuid::now_v7();
    let begun = diesel::sql_query(
        "INSERT INTO inventory_execution_logs (execution_id, process_type, status, worker_id, execution_start, \
         heartbeat_at) VALUES ($1, $2, 'running', $3, clock_timestamp(), clock_timestamp()) \
         ON CONFLICT (process_type) WHERE status = 'running' DO NOTHING",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(process)
    .bind::<Text, _>(worker.to_string())
    .execute(conn)
    .await?;
    if begun == 1 {
        return Ok(Execution { id });
    }
    let holders: Vec<Holder> = diesel::sql_query(
        "SELECT COALESCE(worker_id, 'an unnamed worker') AS worker, \
         EXTRACT(EPOCH FROM clock_timestamp() - heartbeat_at)::float8 AS silent_s \
         FROM inventory_execution_logs WHERE process_type = $1 AND status = 'running'",
    )
    .bind::<Text, _>(process)
    .load(conn)
    .await?;
    let who = holders.into_iter().next().map_or_else(
        || "one that has just ended".to_owned(),
        |h| format!("{}, last heard of {:.0} s ago", h.worker, h.silent_s),
    );
    Err(StoreError::conflict(format!(
        "`{process}` is run already by {who}"
    )))
}

/// "I live, and have come so far."
///
/// # Errors
/// [`StoreError::Conflict`] when the lock was broken meanwhile: stop.
pub async fn heartbeat(
    conn: &mut AsyncPgConnection,
    run: Execution,
    progress: Progress,
) -> Result<(), StoreError> {
    let written = diesel::sql_query(
        "UPDATE inventory_execution_logs SET heartbeat_at = clock_timestamp(), total_products = $2, \
         processed_products = $3, updated_products = $4, error_products = $5 \
         WHERE execution_id = $1 AND status = 'running'",
    )
    .bind::<SqlUuid, _>(run.id)
    .bind::<Integer, _>(progress.total)
    .bind::<Integer, _>(progress.processed)
    .bind::<Integer, _>(progress.updated)
    .bind::<Integer, _>(progress.errors)
    .execute(conn)
    .await?;
    still_ours(run, written)
}

/// Ends a run.
///
/// # Errors
/// [`StoreError::Conflict`] when the lock was broken meanwhile: somebody else runs by now.
pub async fn finish(
    conn: &mut AsyncPgConnection,
    run: Execution,
    end: ExecutionEnd,
    progress: Progress,
    error: Option<&str>,
    details: Option<&serde_json::Value>,
) -> Result<(), StoreError> {
    let written = diesel::sql_query(
        "UPDATE inventory_execution_logs SET status = $2, execution_end = clock_timestamp(), \
         heartbeat_at = clock_timestamp(), total_products = $3, processed_products = $4, updated_products = $5, \
         error_products = $6, error_message = $7, details = $8 WHERE execution_id = $1 AND status = 'running'",
    )
    .bind::<SqlUuid, _>(run.id)
    .bind::<Text, _>(end.as_str())
    .bind::<Integer, _>(progress.total)
    .bind::<Integer, _>(progress.processed)
    .bind::<Integer, _>(progress.updated)
    .bind::<Integer, _>(progress.errors)
    .bind::<Nullable<Text>, _>(error)
    .bind::<Nullable<Jsonb>, _>(details)
    .execute(conn)
    .await?;
    still_ours(run, written)
}

fn still_ours(run: Execution, written: usize) -> Result<(), StoreError> {
    if written == 1 {
        return Ok(());
    }
    let id = run.id;
    Err(StoreError::conflict(format!(
        "run `{id}` is not ours any more: its lock was broken"
    )))
}
