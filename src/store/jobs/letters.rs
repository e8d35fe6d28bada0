//! Looking at jobs, and what a person may do with them.

use super::{JobStatus, Lane, QueueName};
use crate::domain::{DestinationPlatform, JobId, ListingId, ProductId};
use crate::store::StoreError;
use crate::store::cell::Json;
use crate::store::schema::processing_queue as q;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, PgTextExpressionMethods as _, QueryDsl as _, Queryable,
    QueryableByName, Selectable, SelectableHelper as _,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;
use std::time::Duration;

/// Which jobs are meant. An empty filter means all of them.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only these.
    pub ids: Vec<JobId>,
    /// Only in this state.
    pub status: Option<JobStatus>,
    /// Only of this queue.
    pub queue: Option<QueueName>,
    /// Only for this destination.
    pub destination: Option<DestinationPlatform>,
    /// Only about this product.
    pub product_id: Option<ProductId>,
    /// Only with an error that holds this text, in any case.
    pub error_contains: Option<String>,
}

/// A job as a person sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobRow {
    /// The row.
    pub id: JobId,
    /// Queue and destination.
    pub lane: Lane,
    /// Where it stands.
    pub status: JobStatus,
    /// 1 (first) to 10 (last).
    pub priority: i16,
    /// The product it is about.
    pub product_id: Option<ProductId>,
    /// The listing it is about.
    pub listing_id: Option<ListingId>,
    /// How often it was taken.
    pub attempt: i64,
    /// Retries used.
    pub retry_count: i32,
    /// Retries after the first try.
    pub max_retries: i32,
    /// How many workers died holding it lately.
    pub crash_count: i32,
    /// What the worker needs to know.
    pub payload: serde_json::Value,
    /// What came of it.
    pub result: Option<serde_json::Value>,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Not before this moment.
    pub scheduled_at: DateTime<Utc>,
    /// When it was taken last.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was finished or given up.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// Who holds it.
    pub worker_id: Option<String>,
    /// Until when.
    pub lease_until: Option<DateTime<Utc>>,
    /// The intent it stands for.
    pub unique_key: Option<String>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = q)]
struct Row {
    id: i64,
    queue_name: String,
    destination: Option<String>,
    status: String,
    priority: i16,
    product_id: Option<i64>,
    listing_id: Option<i64>,
    attempt: i64,
    retry_count: i32,
    max_retries: i32,
    crash_count: i32,
    payload: Json,
    result: Option<Json>,
    error_message: Option<String>,
    scheduled_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    worker_id: Option<String>,
    lease_until: Option<DateTime<Utc>>,
    unique_key: Option<String>,
}

impl TryFrom<Row> for JobRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: JobId(row.id),
            lane: Lane::read(&row.queue_name, row.destination.as_deref())?,
            status: row.status.parse().map_err(StoreError::bad_row)?,
            priority: row.priority,
            product_id: row.product_id.map(ProductId),
            listing_id: row.listing_id.map(ListingId),
            attempt: row.attempt,
            retry_count: row.retry_count,
            max_retries: row.max_retries,
            crash_count: row.crash_count,
            payload: row.payload.0,
            result: row.result.map(|result| result.0),
            error: row.error_message,
            scheduled_at: row.scheduled_at,
            started_at: row.started_at,
            completed_at: row.completed_at,
            created_at: row.created_at,
            worker_id: row.worker_id,
            lease_until: row.lease_until,
            unique_key: row.unique_key,
        })
    }
}

/// Up to `limit` jobs below `before` (for the next page: the last id seen), newest first.
///
/// # Errors
/// Those of the database.
pub async fn list(
    conn: &mut AsyncPgConnection,
    filter: &JobFilter,
    before: Option<JobId>,
    limit: i64,
) -> Result<Vec<JobRow>, StoreError> {
    let mut query = q::table.select(Row::as_select()).into_boxed();
    if !filter.ids.is_empty() {
        query = query.filter(q::id.eq_any(filter.ids.iter().map(|id| id.0)));
    }
    if let Some(status) = filter.status {
        query = query.filter(q::status.eq(status.as_str()));
    }
    if let Some(queue) = filter.queue {
        query = query.filter(q::queue_name.eq(queue.as_str()));
    }
    if let Some(destination) = filter.destination {
        query = query.filter(q::destination.eq(destination.as_str()));
    }
    if let Some(product) = filter.product_id {
        query = query.filter(q::product_id.eq(product.0));
    }
    if let Some(text) = &filter.error_contains {
        query = query.filter(q::error_message.ilike(format!("%{}%", escape_like(text))));
    }
    if let Some(before) = before {
        query = query.filter(q::id.lt(before.0));
    }
    let rows: Vec<Row> = query.order(q::id.desc()).limit(limit).load(conn).await?;
    rows.into_iter().map(JobRow::try_from).collect()
}

/// One job.
///
/// # Errors
/// [`StoreError::NotFound`] when there is none.
pub async fn get(conn: &mut AsyncPgConnection, id: JobId) -> Result<JobRow, StoreError> {
    let row: Option<Row> = q::table
        .find(id.0)
        .select(Row::as_select())
        .first(conn)
        .await
        .optional()?;
    row.ok_or_else(|| StoreError::not_found(format!("job `{id}`")))?
        .try_into()
}

/// How many jobs of a lane are in a state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LaneCount {
    /// The queue.
    pub queue: String,
    /// The destination, or nothing.
    pub destination: Option<String>,
    /// The state.
    pub status: String,
    /// How many.
    pub count: i64,
    /// How long the oldest of them has been due, in seconds; 0 where none is.
    pub oldest_due_s: f64,
}

/// The queue in numbers.
///
/// # Errors
/// Those of the database.
pub async fn counts(conn: &mut AsyncPgConnection) -> Result<Vec<LaneCount>, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = Text)]
        queue_name: String,
        #[diesel(sql_type = Nullable<Text>)]
        destination: Option<String>,
        #[diesel(sql_type = Text)]
        status: String,
        #[diesel(sql_type = BigInt)]
        count: i64,
        #[diesel(sql_type = Double)]
        oldest_due_s: f64,
    }
    let rows: Vec<Count> = diesel::sql_query(
        "SELECT queue_name, destination, status, count(*) AS count, \
         GREATEST(0, EXTRACT(EPOCH FROM clock_timestamp() - min(scheduled_at)))::float8 AS oldest_due_s \
         FROM processing_queue GROUP BY queue_name, destination, status ORDER BY queue_name, destination, status",
    )
    .load(conn)
    .await?;
    let lane_count = |row: Count| LaneCount {
        queue: row.queue_name,
        destination: row.destination,
        oldest_due_s: if matches!(row.status.as_str(), "pending" | "failed") {
            row.oldest_due_s
        } else {
            0.0
        },
        status: row.status,
        count: row.count,
    };
    Ok(rows.into_iter().map(lane_count).collect())
}

/// What became of a request to repeat jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repeated {
    /// These are waiting again, with all their retries.
    pub repeated: Vec<JobId>,
    /// These were not touched: they are in work or done, or another job with their key is waiting already.
    pub left: Vec<JobId>,
}

#[derive(QueryableByName)]
struct Touched {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct Chosen {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Bool)]
    chosen: bool,
}

/// Lets dead and waiting jobs run now, with all their retries and none of their crashes.
///
/// A dead letter that is repeated takes back what set its listing aside when it died: the destination refused the values,
/// or took them and showed others. Without that the job would find its listing held and do nothing. What else holds a
/// listing is decided among the holds.
///
/// Two statements, to be run in a transaction: a listing that is let go while its letter stays dead is pushed by nobody.
///
/// # Errors
/// Those of the database.
pub async fn repeat(conn: &mut AsyncPgConnection, ids: &[JobId]) -> Result<Repeated, StoreError> {
    // Listings before jobs, as everywhere.
    diesel::sql_query(
        "WITH locked AS MATERIALIZED ( \
           SELECT l.id FROM listing_platforms AS l \
           WHERE l.held_reason IN ('refused', 'not_applied') AND l.id IN ( \
             SELECT listing_id FROM processing_queue WHERE id = ANY($1) AND status = 'dead') \
           ORDER BY l.id FOR NO KEY UPDATE), \
         decided AS ( \
           UPDATE holds AS h SET status = 'superseded', decided_at = now(), decided_by = 'zaikoban', \
             note = 'its dead letter was repeated' \
           FROM locked WHERE h.listing_id = locked.id AND h.status = 'open') \
         UPDATE listing_platforms AS l SET held_reason = NULL, updated_at = now() FROM locked WHERE l.id = locked.id",
    )
    .bind::<Array<BigInt>, _>(raw(ids))
    .execute(conn)
    .await?;
    // Of several jobs with one key only one may wait; of dead ones, the newest knows best.
    let rows: Vec<Chosen> = diesel::sql_query(
        "WITH locked AS MATERIALIZED ( \
           SELECT id, status, unique_key FROM processing_queue WHERE id = ANY($1) ORDER BY id FOR UPDATE), \
         chosen AS ( \
           SELECT DISTINCT ON (COALESCE(unique_key, id::text)) id FROM locked AS l \
           WHERE status IN ('pending', 'failed') OR status = 'dead' AND NOT EXISTS ( \
             SELECT 1 FROM processing_queue AS o WHERE o.unique_key = l.unique_key \
             AND o.status IN ('pending', 'processing', 'failed')) \
           ORDER BY COALESCE(unique_key, id::text), id DESC), \
         done AS ( \
           UPDATE processing_queue AS q SET status = 'pending', retry_count = 0, crash_count = 0, crashed_at = '{}', \
             scheduled_at = clock_timestamp(), completed_at = NULL \
           FROM chosen WHERE q.id = chosen.id RETURNING q.id) \
         SELECT l.id, d.id IS NOT NULL AS chosen FROM locked AS l LEFT JOIN done AS d ON d.id = l.id ORDER BY l.id",
    )
    .bind::<Array<BigInt>, _>(raw(ids))
    .load(conn)
    .await?;
    let (repeated, left): (Vec<Chosen>, Vec<Chosen>) = rows.into_iter().partition(|row| row.chosen);
    let ids = |rows: Vec<Chosen>| rows.into_iter().map(|row| JobId(row.id)).collect();
    Ok(Repeated {
        repeated: ids(repeated),
        left: ids(left),
    })
}

/// Takes jobs that are not in work out of the queue, saying who did it; answers those that were taken.
///
/// # Errors
/// Those of the database.
pub async fn discard(
    conn: &mut AsyncPgConnection,
    ids: &[JobId],
    by: &str,
) -> Result<Vec<JobId>, StoreError> {
    let rows: Vec<Touched> = diesel::sql_query(
        "UPDATE processing_queue SET status = 'completed', completed_at = clock_timestamp(), \
         result = jsonb_build_object('discarded_by', $2) \
         WHERE id = ANY($1) AND status IN ('pending', 'failed', 'dead') RETURNING id",
    )
    .bind::<Array<BigInt>, _>(raw(ids))
    .bind::<Text, _>(by)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}

/// Changes the priority (1 to 10) of jobs that wait; answers those that were changed.
///
/// # Errors
/// [`StoreError::Query`] with SQLSTATE 23514 for a priority outside 1 to 10.
pub async fn set_priority(
    conn: &mut AsyncPgConnection,
    ids: &[JobId],
    priority: i16,
) -> Result<Vec<JobId>, StoreError> {
    let changed: Vec<i64> = diesel::update(q::table)
        .filter(q::id.eq_any(raw(ids)))
        .filter(q::status.eq_any([JobStatus::Pending.as_str(), JobStatus::Failed.as_str()]))
        .set(q::priority.eq(priority))
        .returning(q::id)
        .get_results(conn)
        .await?;
    Ok(changed.into_iter().map(JobId).collect())
}

/// Deletes up to `limit` jobs that were completed longer ago than `keep`; answers how many.
///
/// # Errors
/// Those of the database.
pub async fn prune_completed(
    conn: &mut AsyncPgConnection,
    keep: Duration,
    limit: i64,
) -> Result<usize, StoreError> {
    let deleted = diesel::sql_query(
        "DELETE FROM processing_queue WHERE id IN (SELECT id FROM processing_queue WHERE status = 'completed' \
         AND completed_at < now() - make_interval(secs => $1) ORDER BY completed_at LIMIT $2 \
         FOR UPDATE SKIP LOCKED)",
    )
    .bind::<Double, _>(keep.as_secs_f64())
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await?;
    Ok(deleted)
}

fn raw(ids: &[JobId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

/// What a person typed is looked for as it stands.
pub(super) fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
