//! Taking work.

use super::{Lane, WorkerId};
use crate::domain::{JobId, ListingId, ProductId};
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    BigInt, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::time::Duration;
use uuid::Uuid;

/// The right to finish a job: this attempt, by this token, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Counts the claims of the job, from 1.
    pub attempt: i64,
    /// Made by the database at the claim.
    pub token: Uuid,
}

/// A job in work.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedJob {
    /// The right to finish it.
    pub lease: Lease,
    /// Queue and destination.
    pub lane: Lane,
    /// The product it is about.
    pub product_id: Option<ProductId>,
    /// The listing it is about.
    pub listing_id: Option<ListingId>,
    /// 1 (first) to 10 (last).
    pub priority: i16,
    /// Retries used so far.
    pub retry_count: i32,
    /// Retries after the first try.
    pub max_retries: i32,
    /// What the worker needs to know.
    pub payload: serde_json::Value,
    /// When it was due.
    pub scheduled_at: DateTime<Utc>,
    /// Until when the lease holds, by the database's clock.
    pub lease_until: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    attempt: i64,
    #[diesel(sql_type = SqlUuid)]
    lease_token: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    product_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    listing_id: Option<i64>,
    #[diesel(sql_type = SmallInt)]
    priority: i16,
    #[diesel(sql_type = Integer)]
    retry_count: i32,
    #[diesel(sql_type = Integer)]
    max_retries: i32,
    #[diesel(sql_type = Jsonb)]
    payload: serde_json::Value,
    #[diesel(sql_type = Timestamptz)]
    scheduled_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    lease_until: DateTime<Utc>,
}

/// Takes up to `limit` jobs of a lane that are due, most urgent first, for `lease_for`.
///
/// # Errors
/// Those of the database. When the connection breaks around COMMIT the claim may stand: the rescuer finds it.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    lane: Lane,
    worker: &WorkerId,
    lease_for: Duration,
    limit: usize,
) -> Result<Vec<ClaimedJob>, StoreError> {
    // MATERIALIZED is the fence: without it the planner may run the inner SELECT more than once, and lock and skip other
    // rows each time.
    let statement = diesel::sql_query(
        "WITH picked AS MATERIALIZED ( \
           SELECT id FROM processing_queue \
           WHERE queue_name = $1 AND COALESCE(destination, '') = $2 AND status IN ('pending', 'failed') \
             AND scheduled_at <= clock_timestamp() \
           ORDER BY priority, scheduled_at, id LIMIT $3 FOR UPDATE SKIP LOCKED) \
         UPDATE processing_queue AS q SET status = 'processing', attempt = q.attempt + 1, \
           lease_token = gen_random_uuid(), lease_until = clock_timestamp() + make_interval(secs => $4), \
           started_at = clock_timestamp(), worker_id = $5 \
         FROM picked WHERE q.id = picked.id \
         RETURNING q.id, q.attempt, q.lease_token, q.product_id, q.listing_id, q.priority, q.retry_count, \
           q.max_retries, q.payload, q.scheduled_at, q.lease_until",
    )
    .bind::<Text, _>(lane.queue.as_str())
    .bind::<Text, _>(lane.destination_text())
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind::<Double, _>(lease_for.as_secs_f64())
    .bind::<Text, _>(worker.to_string());
    let rows: Vec<Row> = hot(statement).load(conn).await?;
    let mut jobs: Vec<ClaimedJob> = rows.into_iter().map(|row| row.claimed(lane)).collect();
    // RETURNING keeps no order
    jobs.sort_by_key(|job| (job.priority, job.scheduled_at, job.lease.job));
    Ok(jobs)
}

impl Row {
    fn claimed(self, lane: Lane) -> ClaimedJob {
        ClaimedJob {
            lease: Lease {
                job: JobId(self.id),
                attempt: self.attempt,
                token: self.lease_token,
            },
            lane,
            product_id: self.product_id.map(ProductId),
            listing_id: self.listing_id.map(ListingId),
            priority: self.priority,
            retry_count: self.retry_count,
            max_retries: self.max_retries,
            payload: self.payload,
            scheduled_at: self.scheduled_at,
            lease_until: self.lease_until,
        }
    }
}
