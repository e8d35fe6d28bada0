//! What a person may change of many jobs, or of what is in one.

use super::letters::{JobFilter, escape_like};
use super::{JobStatus, WorkerId};
use crate::domain::JobId;
use crate::store::{StoreError, hot};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Double, Integer, Jsonb, Nullable, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;
use uuid::Uuid;

/// Jobs that a filter means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub ids: Vec<JobId>,
}

#[derive(QueryableByName)]
struct Touched {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Counts the jobs in one of `statuses` that `filter` means, and names up to `limit` of them, oldest first.
///
/// # Errors
/// Those of the database.
pub async fn meant(
    conn: &mut AsyncPgConnection,
    filter: &JobFilter,
    statuses: &[JobStatus],
    limit: i64,
) -> Result<Meant, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
        #[diesel(sql_type = Array<BigInt>)]
        ids: Vec<i64>,
    }
    let statuses: Vec<&str> = statuses
        .iter()
        .filter(|s| filter.status.is_none_or(|only| only == **s))
        .map(|s| s.as_str())
        .collect();
    let ids: Vec<i64> = filter.ids.iter().map(|id| id.0).collect();
    let like = filter
        .error_contains
        .as_deref()
        .map(|text| format!("%{}%", escape_like(text)));
    let row: Count = diesel::sql_query(
        "WITH meant AS MATERIALIZED ( \
           SELECT id FROM processing_queue WHERE status = ANY($1) AND (cardinality($2) = 0 OR id = ANY($2)) \
             AND ($3 IS NULL OR queue_name = $3) AND ($4 IS NULL OR destination = $4) \
             AND ($5 IS NULL OR product_id = $5) AND ($6 IS NULL OR error_message ILIKE $6)) \
         SELECT (SELECT count(*) FROM meant) AS count, \
           ARRAY(SELECT id FROM meant ORDER BY id LIMIT $7) AS ids",
    )
    .bind::<Array<Text>, _>(statuses)
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Nullable<Text>, _>(filter.queue.map(|q| q.as_str()))
    .bind::<Nullable<Text>, _>(filter.destination.map(|d| d.as_str()))
    .bind::<Nullable<BigInt>, _>(filter.product_id.map(|p| p.0))
    .bind::<Nullable<Text>, _>(like)
    .bind::<BigInt, _>(limit)
    .get_result(conn)
    .await?;
    Ok(Meant {
        count: u64::try_from(row.count).unwrap_or(0),
        ids: row.ids.into_iter().map(JobId).collect(),
    })
}

/// Replaces the payload of a job that waits or is dead; false when it is in work or done.
///
/// # Errors
/// Those of the database.
pub async fn edit_payload(
    conn: &mut AsyncPgConnection,
    id: JobId,
    payload: &serde_json::Value,
) -> Result<bool, StoreError> {
    let changed = diesel::sql_query(
        "UPDATE processing_queue SET payload = $2 WHERE id = $1 AND status IN ('pending', 'failed', 'dead')",
    )
    .bind::<BigInt, _>(id.0)
    .bind::<Jsonb, _>(payload)
    .execute(conn)
    .await?;
    Ok(changed > 0)
}

/// How many jobs of a lane wait in a priority.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelCount {
    /// The queue.
    pub queue: String,
    /// The destination, or nothing.
    pub destination: Option<String>,
    /// 1 to 10.
    pub priority: i16,
    /// How many wait, due or not.
    pub waiting: i64,
    /// How long the oldest of them has been due, in seconds.
    pub oldest_due_s: f64,
}

/// What waits, by lane and priority.
///
/// # Errors
/// Those of the database.
pub async fn waiting(conn: &mut AsyncPgConnection) -> Result<Vec<LevelCount>, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = Text)]
        queue_name: String,
        #[diesel(sql_type = Nullable<Text>)]
        destination: Option<String>,
        #[diesel(sql_type = SmallInt)]
        priority: i16,
        #[diesel(sql_type = BigInt)]
        waiting: i64,
        #[diesel(sql_type = Double)]
        oldest_due_s: f64,
    }
    let rows: Vec<Count> = diesel::sql_query(
        "SELECT queue_name, destination, priority, count(*) AS waiting, \
         GREATEST(0, EXTRACT(EPOCH FROM clock_timestamp() - min(scheduled_at)))::float8 AS oldest_due_s \
         FROM processing_queue WHERE status IN ('pending', 'failed') \
         GROUP BY queue_name, destination, priority ORDER BY queue_name, destination, priority",
    )
    .load(conn)
    .await?;
    let level = |row: Count| LevelCount {
        queue: row.queue_name,
        destination: row.destination,
        priority: row.priority,
        waiting: row.waiting,
        oldest_due_s: row.oldest_due_s,
    };
    Ok(rows.into_iter().map(level).collect())
}

/// Puts back what `worker` holds of a lane, by its own name: it has lost its memory, not its life, so no crash counts.
///
/// # Errors
/// Those of the database.
pub async fn release(
    conn: &mut AsyncPgConnection,
    lane: super::Lane,
    worker: &WorkerId,
) -> Result<Vec<JobId>, StoreError> {
    let rows: Vec<Touched> = hot(diesel::sql_query(
        "UPDATE processing_queue SET status = 'pending', scheduled_at = clock_timestamp(), lease_token = NULL, \
         lease_until = NULL, worker_id = NULL \
         WHERE status = 'processing' AND queue_name = $1 AND COALESCE(destination, '') = $2 AND worker_id = $3 \
         RETURNING id",
    )
    .bind::<Text, _>(lane.queue.as_str())
    .bind::<Text, _>(lane.destination_text())
    .bind::<Text, _>(worker.to_string()))
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}

/// Puts back what `worker` holds of any lane but the syncing queue's, whose workers have names of their own. Call it when
/// it works no more: it was stopped, so no crash counts.
///
/// # Errors
/// Those of the database.
pub async fn release_all(conn: &mut AsyncPgConnection, worker: &WorkerId) -> Result<Vec<JobId>, StoreError> {
    let rows: Vec<Touched> = diesel::sql_query(
        "UPDATE processing_queue SET status = 'pending', scheduled_at = clock_timestamp(), lease_token = NULL, \
         lease_until = NULL, worker_id = NULL \
         WHERE status = 'processing' AND queue_name <> 'platform_sync' AND worker_id = $1 RETURNING id",
    )
    .bind::<Text, _>(worker.to_string())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}

/// Puts back what `worker` took under one of `tokens` without hearing of it: nobody has begun it, so no crash counts.
///
/// # Errors
/// Those of the database.
pub async fn release_unsure(
    conn: &mut AsyncPgConnection,
    worker: &WorkerId,
    tokens: &[Uuid],
) -> Result<Vec<JobId>, StoreError> {
    let rows: Vec<Touched> = hot(diesel::sql_query(
        "UPDATE processing_queue SET status = 'pending', lease_token = NULL, lease_until = NULL, worker_id = NULL \
         WHERE status = 'processing' AND worker_id = $1 AND lease_token = ANY($2) RETURNING id",
    )
    .bind::<Text, _>(worker.to_string())
    .bind::<Array<SqlUuid>, _>(tokens))
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}

/// Deletes up to `limit` rows of the log of pushes that are older than `keep_days`; answers how many.
///
/// Kept whatever their age: what a listing calls its last push, and what has no answer yet.
///
/// # Errors
/// Those of the database.
pub async fn prune_pushes(
    conn: &mut AsyncPgConnection,
    keep_days: i32,
    limit: i64,
) -> Result<usize, StoreError> {
    let deleted = diesel::sql_query(
        "DELETE FROM sync_log WHERE id IN ( \
           SELECT s.id FROM sync_log AS s WHERE s.sent_at < now() - make_interval(days => $1) \
             AND s.outcome <> 'sending' \
             AND NOT EXISTS (SELECT 1 FROM listing_platforms AS l WHERE l.last_sync_log_id = s.id) \
           ORDER BY s.id LIMIT $2)",
    )
    .bind::<Integer, _>(keep_days)
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await?;
    Ok(deleted)
}
