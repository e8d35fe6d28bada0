//! Finding work whose worker is gone.

use super::{Lease, WorkerId};
use crate::domain::JobId;
use crate::store::StoreError;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

/// A job whose worker let it go without a word.
#[derive(Clone, Debug, PartialEq)]
pub struct Abandoned {
    /// The lease of the worker that is gone.
    pub lease: Lease,
    /// Retries used so far.
    pub retry_count: i32,
    /// When earlier workers died holding it.
    pub crashed_at: Vec<DateTime<Utc>>,
    /// Who held it.
    pub worker: String,
    /// Now, by the database's clock.
    pub now: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    attempt: i64,
    #[diesel(sql_type = SqlUuid)]
    lease_token: Uuid,
    #[diesel(sql_type = Integer)]
    retry_count: i32,
    #[diesel(sql_type = Array<Timestamptz>)]
    crashed_at: Vec<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    worker_id: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

/// Locks up to `limit` jobs whose lease has run out, the longest overdue first. Settle them in the same transaction.
///
/// # Errors
/// Those of the database.
pub async fn lock_expired(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<Abandoned>, StoreError> {
    let statement = diesel::sql_query(
        "SELECT id, attempt, lease_token, retry_count, crashed_at, worker_id, clock_timestamp() AS now \
         FROM processing_queue WHERE status = 'processing' AND lease_until < now() \
         ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED",
    )
    .bind::<BigInt, _>(limit);
    Ok(statement
        .load::<Row>(conn)
        .await?
        .into_iter()
        .map(Abandoned::from)
        .collect())
}

/// Locks up to `limit` jobs that a node holds which was declared dead or has left, whatever their lease says.
///
/// A node that nobody knows may be well: its leases are waited for.
///
/// # Errors
/// Those of the database.
pub async fn lock_of_the_dead(
    conn: &mut AsyncPgConnection,
    limit: i64,
) -> Result<Vec<Abandoned>, StoreError> {
    let statement = diesel::sql_query(
        "SELECT id, attempt, lease_token, retry_count, crashed_at, worker_id, clock_timestamp() AS now \
         FROM processing_queue WHERE status = 'processing' AND split_part(worker_id, '/', 2) IN ( \
             SELECT boot::text FROM nodes WHERE dead_at IS NOT NULL OR left_at IS NOT NULL) \
         ORDER BY lease_until LIMIT $1 FOR UPDATE OF processing_queue SKIP LOCKED",
    )
    .bind::<BigInt, _>(limit);
    Ok(statement
        .load::<Row>(conn)
        .await?
        .into_iter()
        .map(Abandoned::from)
        .collect())
}

/// Locks up to `limit` jobs that an earlier life of this worker's node holds, whatever their lease says.
///
/// That life is over. Without this a daemon that was killed would leave its work lying until the leases run out.
///
/// # Errors
/// Those of the database.
pub async fn lock_orphans(
    conn: &mut AsyncPgConnection,
    worker: &WorkerId,
    limit: i64,
) -> Result<Vec<Abandoned>, StoreError> {
    // What begins with this life's own name is held by its actors, each a worker of its own.
    let statement = diesel::sql_query(
        "SELECT id, attempt, lease_token, retry_count, crashed_at, worker_id, clock_timestamp() AS now \
         FROM processing_queue WHERE status = 'processing' AND starts_with(worker_id, $1) AND NOT starts_with(worker_id, $2) \
         ORDER BY lease_until LIMIT $3 FOR UPDATE SKIP LOCKED",
    )
    .bind::<Text, _>(worker.node_prefix())
    .bind::<Text, _>(worker.to_string())
    .bind::<BigInt, _>(limit);
    Ok(statement
        .load::<Row>(conn)
        .await?
        .into_iter()
        .map(Abandoned::from)
        .collect())
}

/// What waits and was put there, or begun, in what is the future by the database's clock: that clock was set back, and due
/// times were reckoned by the other one. They are due now. Answers how many.
///
/// # Errors
/// Those of the database.
pub async fn due_by_a_clock_that_was_ahead(conn: &mut AsyncPgConnection) -> Result<usize, StoreError> {
    let changed = diesel::sql_query(
        "UPDATE processing_queue SET scheduled_at = clock_timestamp() \
         WHERE status IN ('pending', 'failed') AND scheduled_at > clock_timestamp() \
           AND GREATEST(created_at, started_at) > clock_timestamp() + interval '2 seconds'",
    )
    .execute(conn)
    .await?;
    Ok(changed)
}

impl From<Row> for Abandoned {
    fn from(row: Row) -> Self {
        Self {
            lease: Lease {
                job: JobId(row.id),
                attempt: row.attempt,
                token: row.lease_token,
            },
            retry_count: row.retry_count,
            crashed_at: row.crashed_at,
            worker: row.worker_id.unwrap_or_else(|| "an unnamed worker".to_owned()),
            now: row.now,
        }
    }
}
