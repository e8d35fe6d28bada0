//! `inventory_execution_logs`: one row for each run, with its counts and what came of it.
//!
//! A run is a lock as well: of each kind one can be `running`, because an index allows no second one. Its owner gives a
//! sign of life; a run whose owner has given none for a while, or is an earlier life of this node, is `failed`, and the
//! next one may begin. Every write of the owner is for a row that still runs, so that one who was given up finishes
//! nothing.

use super::StoreError;
use super::jobs::WorkerId;
use super::text;
use crate::domain::{UnknownName, names};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use std::{fmt, str::FromStr};
use uuid::Uuid;

names!(
    /// What became of a run.
    ExecutionStatus {
        /// It goes on.
        Running = "running",
        /// All of it succeeded.
        Completed = "completed",
        /// Nothing of it did, or it was broken off.
        Failed = "failed",
        /// Some of it did.
        Partial = "partial",
    }
);

/// How far a run is, in products (or in whatever it works on).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that are to be worked on.
    pub total: i32,
    /// Those that were, well or not.
    pub processed: i32,
    /// Those of them that brought a change.
    pub updated: i32,
    /// Those of them that failed.
    pub errors: i32,
}

/// A run that is to begin.
#[derive(Clone, Debug)]
pub struct NewExecution<'a> {
    /// Its number.
    pub id: Uuid,
    /// Of which kind; one of a kind runs at a time.
    pub process: &'a str,
    /// Who does it.
    pub worker: &'a WorkerId,
    /// Who asked for it: `schedule`, or a person.
    pub by: &'a str,
    /// The moment of the time-table that it serves.
    pub due: Option<DateTime<Utc>>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// What became of it.
    pub status: ExecutionStatus,
    /// How far it came.
    pub counts: Counts,
    /// What it found.
    pub details: Option<Value>,
    /// What went wrong.
    pub error: Option<String>,
}

/// A run that was given up.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Broken {
    /// Its number.
    #[diesel(sql_type = SqlUuid)]
    pub execution_id: Uuid,
    /// Its kind.
    #[diesel(sql_type = Text)]
    pub process_type: String,
    /// Why.
    #[diesel(sql_type = Text)]
    pub error_message: String,
}

/// Begins a run; false when one of its kind goes on.
///
/// # Errors
/// When the database is away or refuses.
pub async fn begin(conn: &mut AsyncPgConnection, new: &NewExecution<'_>) -> Result<bool, StoreError> {
    let begun = diesel::sql_query(
        "INSERT INTO inventory_execution_logs (execution_id, process_type, execution_start, status, worker_id, \
         heartbeat_at, started_by, due_at) \
         VALUES ($1, $2, clock_timestamp(), 'running', $3, clock_timestamp(), $4, $5) \
         ON CONFLICT (process_type) WHERE status = 'running' DO NOTHING",
    )
    .bind::<SqlUuid, _>(new.id)
    .bind::<Text, _>(new.process)
    .bind::<Text, _>(new.worker.to_string())
    .bind::<Text, _>(new.by)
    .bind::<Nullable<Timestamptz>, _>(new.due)
    .execute(conn)
    .await?;
    Ok(begun > 0)
}

/// A sign of life, and how far the run is; false when it was given up meanwhile.
///
/// # Errors
/// When the database is away or refuses.
pub async fn beat(conn: &mut AsyncPgConnection, id: Uuid, counts: Counts) -> Result<bool, StoreError> {
    let beaten = diesel::sql_query(
        "UPDATE inventory_execution_logs SET heartbeat_at = clock_timestamp(), total_products = $2, \
         processed_products = $3, updated_products = $4, error_products = $5 \
         WHERE execution_id = $1 AND status = 'running'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Integer, _>(counts.total)
    .bind::<Integer, _>(counts.processed)
    .bind::<Integer, _>(counts.updated)
    .bind::<Integer, _>(counts.errors)
    .execute(conn)
    .await?;
    Ok(beaten > 0)
}

/// Writes what came of a run; false when it was given up meanwhile.
///
/// # Errors
/// When the database is away or refuses.
pub async fn finish(conn: &mut AsyncPgConnection, id: Uuid, ending: &Ending) -> Result<bool, StoreError> {
    let Counts {
        total,
        processed,
        updated,
        errors,
    } = ending.counts;
    let finished = diesel::sql_query(
        "UPDATE inventory_execution_logs SET status = $2, execution_end = clock_timestamp(), \
         heartbeat_at = clock_timestamp(), total_products = $3, processed_products = $4, updated_products = $5, \
         error_products = $6, details = $7, error_message = $8 \
         WHERE execution_id = $1 AND status = 'running'",
    )
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(ending.status.as_str())
    .bind::<Integer, _>(total)
    .bind::<Integer, _>(processed)
    .bind::<Integer, _>(updated)
    .bind::<Integer, _>(errors)
    .bind::<Nullable<Jsonb>, _>(ending.details.clone().map(text::json))
    .bind::<Nullable<Text>, _>(ending.error.as_deref().map(text::text))
    .execute(conn)
    .await?;
    Ok(finished > 0)
}

/// An owner that the nodes know to live may be silent for so long, in seconds: the database was away, or its clock was
/// set forward.
const SILENT_ALIVE_S: i32 = 300;

/// Gives up the runs whose owner is an earlier life of this node, is dead or gone to the nodes, or has given no sign of
/// life: for `silence`, or for longer where the nodes know it to live.
///
/// A sign of life from the future is none of an owner that nobody knows: the clock was set back since.
///
/// # Errors
/// When the database is away or refuses.
pub async fn give_up_dead(
    conn: &mut AsyncPgConnection,
    worker: &WorkerId,
    silence: Duration,
) -> Result<Vec<Broken>, StoreError> {
    let broken = diesel::sql_query(format!(
        "WITH gone AS (SELECT boot FROM nodes WHERE dead_at IS NOT NULL OR left_at IS NOT NULL), \
           here AS (SELECT boot FROM nodes WHERE dead_at IS NULL AND left_at IS NULL) \
         UPDATE inventory_execution_logs SET status = 'failed', execution_end = clock_timestamp(), \
         error_message = CASE WHEN starts_with(worker_id, $2) AND worker_id <> $1 \
             OR split_part(worker_id, '/', 2) IN (SELECT boot::text FROM gone) \
           THEN 'its owner ' || worker_id || ' ended before it was done' \
           ELSE 'its owner ' || COALESCE(worker_id, '?') || ' gave no sign of life since ' || \
             COALESCE(to_char(heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), '?') || ' UTC' END \
         WHERE status = 'running' AND worker_id IS DISTINCT FROM $1 \
           AND (starts_with(worker_id, $2) OR split_part(worker_id, '/', 2) IN (SELECT boot::text FROM gone) \
             OR heartbeat_at < clock_timestamp() - CASE WHEN split_part(worker_id, '/', 2) IN (SELECT boot::text FROM here) \
                  THEN make_interval(secs => {SILENT_ALIVE_S}) ELSE make_interval(secs => $3) END \
             OR heartbeat_at > clock_timestamp() + interval '1 min' \
                AND split_part(worker_id, '/', 2) NOT IN (SELECT boot::text FROM here)) \
         RETURNING execution_id, process_type, error_message"
    ))
    .bind::<Text, _>(worker.to_string())
    .bind::<Text, _>(worker.node_prefix())
    .bind::<Double, _>(silence.as_secs_f64())
    .load(conn)
    .await?;
    Ok(broken)
}

/// Gives up runs that this life owns but that nobody works on: its scheduler crashed and began anew.
///
/// # Errors
/// When the database is away or refuses.
pub async fn give_up_orphans(
    conn: &mut AsyncPgConnection,
    worker: &WorkerId,
    alive: &[Uuid],
) -> Result<Vec<Broken>, StoreError> {
    let broken = diesel::sql_query(
        "UPDATE inventory_execution_logs SET status = 'failed', execution_end = clock_timestamp(), \
         error_message = 'the scheduler began anew while it ran' \
         WHERE status = 'running' AND worker_id = $1 AND execution_id <> ALL($2) \
         RETURNING execution_id, process_type, error_message",
    )
    .bind::<Text, _>(worker.to_string())
    .bind::<Array<SqlUuid>, _>(alive.to_vec())
    .load(conn)
    .await?;
    Ok(broken)
}

#[derive(QueryableByName)]
struct View {
    #[diesel(sql_type = Jsonb)]
    view: Value,
}

const SHOWN: &str = "e.id, e.execution_id, e.process_type AS process, e.status, e.started_by, e.due_at, \
    e.execution_start AS started_at, e.execution_end AS ended_at, e.heartbeat_at, e.worker_id AS worker, \
    CASE WHEN isfinite(e.execution_start) AND isfinite(COALESCE(e.execution_end, clock_timestamp())) THEN (extract( \
      epoch FROM COALESCE(e.execution_end, clock_timestamp()) - e.execution_start) * 1000)::bigint END AS took_ms, \
    e.total_products AS total, e.processed_products AS processed, e.updated_products AS updated, \
    e.error_products AS errors, e.error_message AS error";

/// The latest runs before the row `before` (0: from the newest), the newest first.
///
/// # Errors
/// When the database is away or refuses.
pub async fn list(
    conn: &mut AsyncPgConnection,
    before: i64,
    limit: i64,
    process: Option<&str>,
    status: Option<&str>,
) -> Result<Vec<Value>, StoreError> {
    let sql = format!(
        "SELECT to_jsonb(v) AS view FROM (SELECT {SHOWN} FROM inventory_execution_logs e \
         WHERE ($1 = 0 OR e.id < $1) AND ($3::text IS NULL OR e.process_type = $3) \
           AND ($4::text IS NULL OR e.status = $4) ORDER BY e.id DESC LIMIT $2) v"
    );
    let rows: Vec<View> = diesel::sql_query(sql)
        .bind::<BigInt, _>(before)
        .bind::<BigInt, _>(limit)
        .bind::<Nullable<Text>, _>(process)
        .bind::<Nullable<Text>, _>(status)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}

/// One run with all that it found, by its row or its number.
///
/// # Errors
/// When the database is away or refuses.
pub async fn find(conn: &mut AsyncPgConnection, which: &str) -> Result<Option<Value>, StoreError> {
    let sql = format!(
        "SELECT to_jsonb(v) AS view FROM (SELECT {SHOWN}, e.details FROM inventory_execution_logs e \
         WHERE e.id::text = $1 OR e.execution_id::text = lower($1) LIMIT 1) v"
    );
    let rows: Vec<View> = diesel::sql_query(sql).bind::<Text, _>(which).load(conn).await?;
    Ok(rows.into_iter().next().map(|row| row.view))
}

/// Runs by their numbers.
///
/// # Errors
/// When the database is away or refuses.
pub async fn of(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> Result<Vec<Value>, StoreError> {
    let sql = format!(
        "SELECT to_jsonb(v) AS view FROM (SELECT {SHOWN} FROM inventory_execution_logs e \
         WHERE e.execution_id = ANY($1)) v"
    );
    let rows: Vec<View> = diesel::sql_query(sql)
        .bind::<Array<SqlUuid>, _>(ids.to_vec())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}
