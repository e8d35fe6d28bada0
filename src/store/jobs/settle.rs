//! Writing what became of held jobs, as far as they are still held.

use super::{JobStatus, Lease};
use crate::domain::JobId;
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Jsonb};
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

/// Writes each settlement whose lease still holds, in one statement, and answers the jobs that were written.
///
/// A job that is missing from the answer belongs to somebody else by now, and its result is to be thrown away.
///
/// # Errors
/// Those of the database.
pub async fn settle(
    conn: &mut AsyncPgConnection,
    settled: &[(Lease, Settlement)],
) -> Result<Vec<JobId>, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    if settled.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<serde_json::Value> = settled
        .iter()
        .map(|(lease, s)| {
            json!({
                "id": lease.job, "attempt": lease.attempt, "token": lease.token, "status": s.status,
                "delay_s": s.delay.as_secs_f64(), "retry_count": s.retry_count, "error": s.error, "result": s.result,
                "crashed_at": s.crashed_at,
            })
        })
        .collect();
    let statement = diesel::sql_query(
        "UPDATE processing_queue AS q SET status = s.status, retry_count = s.retry_count, \
           scheduled_at = CASE WHEN s.status IN ('pending', 'failed') \
             THEN clock_timestamp() + make_interval(secs => s.delay_s) ELSE q.scheduled_at END, \
           completed_at = CASE WHEN s.status IN ('completed', 'dead') THEN clock_timestamp() END, \
           error_message = COALESCE(s.error, q.error_message), result = COALESCE(s.result, q.result), \
           crashed_at = COALESCE(s.crashed_at, q.crashed_at), \
           crash_count = COALESCE(cardinality(s.crashed_at), q.crash_count), \
           lease_token = NULL, lease_until = NULL, worker_id = NULL \
         FROM jsonb_to_recordset($1) AS s(id bigint, attempt bigint, token uuid, status text, delay_s float8, \
           retry_count int, error text, result jsonb, crashed_at timestamptz[]) \
         WHERE q.id = s.id AND q.status = 'processing' AND q.attempt = s.attempt AND q.lease_token = s.token \
         RETURNING q.id",
    )
    .bind::<Jsonb, _>(serde_json::Value::from(rows));
    let rows: Vec<Id> = hot(statement).load(conn).await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}
