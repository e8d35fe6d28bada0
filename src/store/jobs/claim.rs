//! Taking work.

use super::{Lane, WorkerId};
use crate::domain::{JobId, ListingId, ProductId};
use crate::store::cell::Json;
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
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
    /// Made anew for each claim; jobs that are claimed together share it.
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
    /// The execution it belongs to.
    pub execution_id: Option<Uuid>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    attempt: i64,
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
    payload: Json,
    #[diesel(sql_type = Timestamptz)]
    scheduled_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    lease_until: DateTime<Utc>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    execution_id: Option<Uuid>,
}

/// A job's place within its priority: by due time, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it is due.
    pub scheduled_at: DateTime<Utc>,
    /// Its row.
    pub id: JobId,
}

/// What a claim takes of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// 1 to 10.
    pub priority: i16,
    /// So many at most.
    pub quota: usize,
    /// Only behind this place; `None` looks from the beginning.
    pub after: Option<Place>,
}

/// The job of a priority that is due longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 1 to 10.
    pub priority: i16,
    /// When it was due.
    pub due_at: DateTime<Utc>,
}

/// What a look at a lane's beginning shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Each priority in which something is due.
    pub heads: Vec<Head>,
    /// Something is due that a worker has died with: see [`claim_suspect`].
    pub has_suspect: bool,
}

/// Who takes, from which lane, and for how long.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// Queue and destination.
    pub lane: Lane,
    /// Who holds them.
    pub worker: &'a WorkerId,
    /// For how long.
    pub lease: Duration,
    /// What the leases will be known by, drawn anew for each look: when no answer comes, it finds what was taken.
    pub token: Uuid,
}

/// "zaikpois" in bytes: nobody else's advisory lock. Whoever takes a suspect holds it until that is committed.
const SUSPECTS_KEY: i64 = i64::from_be_bytes(*b"zaikpois");

/// Takes up to `limit` jobs of a lane that are due, most urgent first, for `lease_for`; where there is room, one suspect.
///
/// # Errors
/// As [`claim_levels`].
pub async fn claim(
    conn: &mut AsyncPgConnection,
    lane: Lane,
    worker: &WorkerId,
    lease_for: Duration,
    limit: usize,
) -> Result<Vec<ClaimedJob>, StoreError> {
    let level = |priority| Level {
        priority,
        quota: limit,
        after: None,
    };
    let levels: Vec<Level> = (1..=10).map(level).collect();
    let claim = Claim {
        lane,
        worker,
        lease: lease_for,
        token: Uuid::new_v4(),
    };
    let mut jobs = claim_levels(conn, &claim, &levels, limit).await?;
    if jobs.len() < limit {
        jobs.extend(claim_suspect(conn, &claim).await?);
    }
    Ok(jobs)
}

/// Takes up to `limit` jobs that are due: of each level its quota, in the order of `levels`. No suspects.
///
/// # Errors
/// Those of the database. When the connection breaks around COMMIT the claim may stand: release its token
/// ([`release_unsure`](super::release_unsure)).
pub async fn claim_levels(
    conn: &mut AsyncPgConnection,
    claim: &Claim<'_>,
    levels: &[Level],
    limit: usize,
) -> Result<Vec<ClaimedJob>, StoreError> {
    // MATERIALIZED is the fence: without it the planner may run the inner SELECT more than once, and lock and skip other
    // rows each time. The outer LIMIT ends the scans: a level is not even looked at when those before it gave enough. The
    // statement's time, not the clock's: that one could not bound an index scan, and each claim would walk over all that
    // is not yet due. A number at its end begins anew: the token tells the attempts apart as well, and an overflow would
    // fail for all.
    let statement = diesel::sql_query(
        "WITH picked AS MATERIALIZED ( \
           SELECT due.id FROM unnest($5::smallint[], $6::bigint[], $7::timestamptz[], $8::bigint[]) \
             AS level (priority, quota, after_at, after_id) \
           CROSS JOIN LATERAL ( \
             SELECT j.id FROM processing_queue AS j \
             WHERE j.queue_name = $1 AND COALESCE(j.destination, '') = $2 AND j.status IN ('pending', 'failed') \
               AND j.priority = level.priority AND j.scheduled_at <= statement_timestamp() AND j.crash_count = 0 \
               AND (j.scheduled_at, j.id) > (COALESCE(level.after_at, '-infinity'), COALESCE(level.after_id, 0)) \
             ORDER BY j.scheduled_at, j.id LIMIT level.quota FOR UPDATE SKIP LOCKED) AS due \
           LIMIT $9) \
         UPDATE processing_queue AS q SET status = 'processing', \
           attempt = CASE WHEN q.attempt < 9223372036854775807 THEN q.attempt + 1 ELSE 1 END, \
           lease_token = $10, lease_until = clock_timestamp() + make_interval(secs => $3), \
           started_at = clock_timestamp(), worker_id = $4 \
         FROM picked WHERE q.id = picked.id \
         RETURNING q.id, q.attempt, q.product_id, q.listing_id, q.priority, q.retry_count, \
           q.max_retries, q.payload, q.scheduled_at, q.lease_until, q.execution_id",
    )
    .bind::<Text, _>(claim.lane.queue.as_str())
    .bind::<Text, _>(claim.lane.destination_text())
    .bind::<Double, _>(claim.lease.as_secs_f64())
    .bind::<Text, _>(claim.worker.to_string())
    .bind::<Array<SmallInt>, _>(column(levels, |l| l.priority))
    .bind::<Array<BigInt>, _>(column(levels, |l| i64::try_from(l.quota).unwrap_or(i64::MAX)))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(levels, |l| l.after.map(|p| p.scheduled_at)))
    .bind::<Array<Nullable<BigInt>>, _>(column(levels, |l| l.after.map(|p| p.id.0)))
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind::<SqlUuid, _>(claim.token);
    let rows: Vec<Row> = hot(statement).load(conn).await?;
    Ok(claimed(rows, claim.lane, claim.token))
}

/// Takes those of `ids` that wait in the lane and are due. What was taken, finished or moved meanwhile is left out, and so
/// are suspects.
///
/// # Errors
/// As [`claim_levels`].
pub async fn claim_these(
    conn: &mut AsyncPgConnection,
    claim: &Claim<'_>,
    ids: &[JobId],
) -> Result<Vec<ClaimedJob>, StoreError> {
    let statement = diesel::sql_query(
        "WITH picked AS MATERIALIZED ( \
           SELECT j.id FROM processing_queue AS j \
           WHERE j.id = ANY($5) AND j.queue_name = $1 AND COALESCE(j.destination, '') = $2 \
             AND j.status IN ('pending', 'failed') AND j.scheduled_at <= statement_timestamp() AND j.crash_count = 0 \
           FOR UPDATE SKIP LOCKED) \
         UPDATE processing_queue AS q SET status = 'processing', \
           attempt = CASE WHEN q.attempt < 9223372036854775807 THEN q.attempt + 1 ELSE 1 END, \
           lease_token = $6, lease_until = clock_timestamp() + make_interval(secs => $3), \
           started_at = clock_timestamp(), worker_id = $4 \
         FROM picked WHERE q.id = picked.id \
         RETURNING q.id, q.attempt, q.product_id, q.listing_id, q.priority, q.retry_count, \
           q.max_retries, q.payload, q.scheduled_at, q.lease_until, q.execution_id",
    )
    .bind::<Text, _>(claim.lane.queue.as_str())
    .bind::<Text, _>(claim.lane.destination_text())
    .bind::<Double, _>(claim.lease.as_secs_f64())
    .bind::<Text, _>(claim.worker.to_string())
    .bind::<Array<BigInt>, _>(column(ids, |id| id.0))
    .bind::<SqlUuid, _>(claim.token);
    let rows: Vec<Row> = hot(statement).load(conn).await?;
    Ok(claimed(rows, claim.lane, claim.token))
}

/// Takes the suspect of the lane that has been due longest, unless somebody has one in hand: here, in another lane or on
/// another node. To be run in a transaction.
///
/// A suspect is a job that a worker has died with. Whoever holds jobs dies with all of them, so a job that kills makes
/// suspects of its neighbours. Taken one at a time, only the guilty one is there at each further death. (What is no
/// suspect may be beside it: that costs it one death.) The syncing queue has its own way and is not looked at.
///
/// # Errors
/// As [`claim_levels`].
pub async fn claim_suspect(
    conn: &mut AsyncPgConnection,
    claim: &Claim<'_>,
) -> Result<Option<ClaimedJob>, StoreError> {
    #[derive(QueryableByName)]
    struct Right {
        #[diesel(sql_type = Bool)]
        got: bool,
    }
    // Two statements: the second must see what was committed before the lock was had.
    let asked =
        diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS got").bind::<BigInt, _>(SUSPECTS_KEY);
    let right: Right = hot(asked).get_result(conn).await?;
    if !right.got {
        return Ok(None);
    }
    let statement = diesel::sql_query(
        "WITH picked AS MATERIALIZED ( \
           SELECT j.id FROM processing_queue AS j \
           WHERE j.queue_name = $1 AND COALESCE(j.destination, '') = $2 AND j.status IN ('pending', 'failed') \
             AND j.scheduled_at <= statement_timestamp() AND j.crash_count > 0 AND NOT EXISTS ( \
               SELECT 1 FROM processing_queue AS held \
               WHERE held.status = 'processing' AND held.crash_count > 0 AND held.queue_name <> 'platform_sync') \
           ORDER BY j.scheduled_at, j.id LIMIT 1 FOR UPDATE SKIP LOCKED) \
         UPDATE processing_queue AS q SET status = 'processing', \
           attempt = CASE WHEN q.attempt < 9223372036854775807 THEN q.attempt + 1 ELSE 1 END, \
           lease_token = $5, lease_until = clock_timestamp() + make_interval(secs => $3), \
           started_at = clock_timestamp(), worker_id = $4 \
         FROM picked WHERE q.id = picked.id \
         RETURNING q.id, q.attempt, q.product_id, q.listing_id, q.priority, q.retry_count, \
           q.max_retries, q.payload, q.scheduled_at, q.lease_until, q.execution_id",
    )
    .bind::<Text, _>(claim.lane.queue.as_str())
    .bind::<Text, _>(claim.lane.destination_text())
    .bind::<Double, _>(claim.lease.as_secs_f64())
    .bind::<Text, _>(claim.worker.to_string())
    .bind::<SqlUuid, _>(claim.token);
    let rows: Vec<Row> = hot(statement).load(conn).await?;
    Ok(claimed(rows, claim.lane, claim.token).pop())
}

/// Looks at a lane's beginning: since when something is due in each priority, suspects aside.
///
/// # Errors
/// Those of the database.
pub async fn heads(conn: &mut AsyncPgConnection, lane: Lane) -> Result<Seen, StoreError> {
    #[derive(QueryableByName)]
    struct HeadRow {
        #[diesel(sql_type = SmallInt)]
        priority: i16,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        due_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
        #[diesel(sql_type = Bool)]
        has_suspect: bool,
    }
    // One probe of the index for each priority; an outer join, so that the clock comes even when nothing is due.
    let statement = diesel::sql_query(
        "SELECT level.priority::smallint AS priority, head.scheduled_at AS due_at, statement_timestamp() AS now, \
           EXISTS (SELECT 1 FROM processing_queue AS s \
             WHERE s.queue_name = $1 AND COALESCE(s.destination, '') = $2 AND s.status IN ('pending', 'failed') \
               AND s.crash_count > 0 AND s.scheduled_at <= statement_timestamp()) AS has_suspect \
         FROM generate_series(1, 10) AS level (priority) LEFT JOIN LATERAL ( \
           SELECT j.scheduled_at FROM processing_queue AS j \
           WHERE j.queue_name = $1 AND COALESCE(j.destination, '') = $2 AND j.status IN ('pending', 'failed') \
             AND j.priority = level.priority::smallint AND j.scheduled_at <= statement_timestamp() \
             AND j.crash_count = 0 \
           ORDER BY j.scheduled_at, j.id LIMIT 1) AS head ON true ORDER BY level.priority",
    )
    .bind::<Text, _>(lane.queue.as_str())
    .bind::<Text, _>(lane.destination_text());
    let rows: Vec<HeadRow> = hot(statement).load(conn).await?;
    let clock = rows.iter().map(|row| row.now).max();
    let now = clock.unwrap_or(DateTime::UNIX_EPOCH);
    let has_suspect = rows.iter().any(|row| row.has_suspect);
    let head = |row: HeadRow| {
        let priority = row.priority;
        row.due_at.map(|due_at| Head { priority, due_at })
    };
    Ok(Seen {
        now,
        heads: rows.into_iter().filter_map(head).collect(),
        has_suspect,
    })
}

fn column<T, C>(rows: &[T], of: impl Fn(&T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

/// RETURNING keeps no order: most urgent first.
fn claimed(rows: Vec<Row>, lane: Lane, token: Uuid) -> Vec<ClaimedJob> {
    let mut jobs: Vec<ClaimedJob> = rows.into_iter().map(|row| row.claimed(lane, token)).collect();
    jobs.sort_unstable_by_key(|job| (job.priority, job.scheduled_at, job.lease.job));
    jobs
}

impl Row {
    fn claimed(self, lane: Lane, token: Uuid) -> ClaimedJob {
        ClaimedJob {
            lease: Lease {
                job: JobId(self.id),
                attempt: self.attempt,
                token,
            },
            lane,
            product_id: self.product_id.map(ProductId),
            listing_id: self.listing_id.map(ListingId),
            priority: self.priority,
            retry_count: self.retry_count,
            max_retries: self.max_retries,
            payload: self.payload.0,
            scheduled_at: self.scheduled_at,
            lease_until: self.lease_until,
            execution_id: self.execution_id,
        }
    }
}
