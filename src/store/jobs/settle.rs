//! Writing what became of held jobs, as far as they are still held.

use super::{JobStatus, Lease};
use crate::domain::JobId;
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Double, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::json;
use std::time::Duration;

/// What a held job becomes. Any lease it had ends with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The next state; never [`JobStatus::Processing`].
    pub status: JobStatus,
    /// For a state that waits: how long, from now by the database's clock.
    pub delay: Duration,
    /// Retries used, this one included.
    pub retry_count: i32,
    /// Why it did not succeed; `None` keeps what stands there.
    pub error: Option<String>,
    /// What came of it; `None` keeps what stands there.
    pub result: Option<serde_json::Value>,
    /// When workers died holding it; `None` keeps what stands there.
    pub crashed_at: Option<Vec<DateTime<Utc>>>,
}

/// Writes each settlement whose lease still holds, and answers the jobs that were written.
///
/// What is simply done takes one statement, anything else another; each stands for itself, because each job does.
///
/// A job that is missing from the answer belongs to somebody else by now, and its result is to be thrown away.
///
/// # Errors
/// Those of the database.
pub async fn settle(
    conn: &mut AsyncPgConnection,
    settled: &[(Lease, Settlement)],
) -> Result<Vec<JobId>, StoreError> {
    let (plain, rest): (Vec<&Settled>, Vec<&Settled>) = settled.iter().partition(|(_, s)| s.is_plain());
    let mut written = if plain.is_empty() {
        Vec::new()
    } else {
        complete(conn, &plain).await?
    };
    if !rest.is_empty() {
        written.extend(change(conn, &rest).await?);
    }
    Ok(written)
}

// Only a job in work has a token (a CHECK says so), so the token says what `status = 'processing'` would. Asking for the
// status as well lets the planner read all of the small index of leases instead of the few ids; it is small only until
// somebody holds a snapshot open, and then holds every job that was done since.

type Settled = (Lease, Settlement);

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

impl Settlement {
    /// Done, and nothing more to say than perhaps a result: by far the most.
    fn is_plain(&self) -> bool {
        self.status == JobStatus::Completed && self.error.is_none() && self.crashed_at.is_none()
    }

    /// A result of nothing is none.
    fn kept_result(&self) -> Option<&serde_json::Value> {
        self.result.as_ref().filter(|result| !result.is_null())
    }
}

async fn complete(conn: &mut AsyncPgConnection, done: &[&Settled]) -> Result<Vec<JobId>, StoreError> {
    let statement = diesel::sql_query(
        "UPDATE processing_queue AS q SET status = 'completed', retry_count = s.retry_count, \
           completed_at = clock_timestamp(), result = COALESCE(s.result, q.result), \
           lease_token = NULL, lease_until = NULL, worker_id = NULL \
         FROM unnest($1, $2, $3, $4, $5) AS s (id, attempt, token, retry_count, result) \
         WHERE q.id = s.id AND q.attempt = s.attempt AND q.lease_token = s.token \
         RETURNING q.id",
    )
    .bind::<Array<BigInt>, _>(column(done, |(lease, _)| lease.job.0))
    .bind::<Array<BigInt>, _>(column(done, |(lease, _)| lease.attempt))
    .bind::<Array<SqlUuid>, _>(column(done, |(lease, _)| lease.token))
    .bind::<Array<Integer>, _>(column(done, |(_, s)| s.retry_count))
    .bind::<Array<Nullable<Jsonb>>, _>(column(done, |(_, s)| s.kept_result()));
    let rows: Vec<Id> = hot(statement).load(conn).await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}

async fn change(conn: &mut AsyncPgConnection, settled: &[&Settled]) -> Result<Vec<JobId>, StoreError> {
    // Arrays of arrays must be of one length each, so the deaths of all stand in one row of JSON.
    let deaths = |s: &Settlement| s.crashed_at.as_ref().map(|at| json!(at));
    let statement = diesel::sql_query(
        "UPDATE processing_queue AS q SET status = s.status, retry_count = s.retry_count, \
           scheduled_at = CASE WHEN s.status IN ('pending', 'failed') \
             THEN clock_timestamp() + make_interval(secs => s.delay_s) ELSE q.scheduled_at END, \
           completed_at = CASE WHEN s.status IN ('completed', 'dead') THEN clock_timestamp() END, \
           error_message = COALESCE(s.error, q.error_message), result = COALESCE(s.result, q.result), \
           crashed_at = COALESCE(d.crashed_at, q.crashed_at), \
           crash_count = COALESCE(cardinality(d.crashed_at), q.crash_count), \
           lease_token = NULL, lease_until = NULL, worker_id = NULL \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) \
           AS s (id, attempt, token, status, delay_s, retry_count, error, result, deaths) \
         LEFT JOIN LATERAL (SELECT array_agg(at::timestamptz) AS crashed_at \
           FROM jsonb_array_elements_text(s.deaths) AS at) AS d ON s.deaths IS NOT NULL \
         WHERE q.id = s.id AND q.attempt = s.attempt AND q.lease_token = s.token \
         RETURNING q.id",
    )
    .bind::<Array<BigInt>, _>(column(settled, |(lease, _)| lease.job.0))
    .bind::<Array<BigInt>, _>(column(settled, |(lease, _)| lease.attempt))
    .bind::<Array<SqlUuid>, _>(column(settled, |(lease, _)| lease.token))
    .bind::<Array<Text>, _>(column(settled, |(_, s)| s.status.as_str()))
    .bind::<Array<Double>, _>(column(settled, |(_, s)| s.delay.as_secs_f64()))
    .bind::<Array<Integer>, _>(column(settled, |(_, s)| s.retry_count))
    .bind::<Array<Nullable<Text>>, _>(column(settled, |(_, s)| s.error.as_deref()))
    .bind::<Array<Nullable<Jsonb>>, _>(column(settled, |(_, s)| s.kept_result()))
    .bind::<Array<Nullable<Jsonb>>, _>(column(settled, |(_, s)| deaths(s)));
    let rows: Vec<Id> = hot(statement).load(conn).await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}

fn column<'a, T>(rows: &[&'a Settled], of: impl Fn(&'a Settled) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}
