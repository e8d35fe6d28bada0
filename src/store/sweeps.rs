//! The jobs of a sweep: one for each product, found again by the run that they belong to.
//!
//! A product whose job of an earlier sweep is unfinished gets none beside it: that job now belongs to this run, so that
//! it counts where somebody waits for it.

use super::StoreError;
use super::executions::Counts;
use super::jobs::QueueName;
use crate::domain::{ProductId, SourcePlatform, WatchId};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Jsonb, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;
use uuid::Uuid;

/// Over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepKind {
    /// Every product that is watched, to be looked at.
    Stock,
    /// Every product that has an offer which is kept in line, its price to be worked out anew.
    Price,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// In products.
    pub counts: Counts,
    /// Jobs that are not finished.
    pub left: i64,
}

/// Background work: what a change asks for goes before it.
const PRIORITY: i32 = 8;
/// A look counts that was taken so shortly before the sweep: by a clock that is a little behind, it was after it.
const SKEW_S: i32 = 10;
/// Products whose jobs are enqueued by one statement: each has the pool's limit for itself, however many there are.
const PIECE: usize = 5_000;
/// Failed jobs that a run names.
const NAMED: i64 = 20;
/// Watches that a patrol has; the others are nobody's to look at. As `watches::enabled_after` reads them, of the sources
/// that are watched.
macro_rules! watched {
    ($sources:literal) => {
        concat!(
            "monitoring_enabled AND source_product_id IS NOT NULL AND source_platform = ANY(",
            $sources,
            ")"
        )
    };
}
/// How far the daemons' clocks are ahead of the database's, the slowest of them: `since` is told by the database, and when
/// a page was read by the daemon. What one of several with another clock has read may count that is as much older. (A wild
/// number that a hand wrote is cut off at a hundred years: an interval has bounds.)
macro_rules! clocks {
    () => {
        "SELECT make_interval(secs => LEAST(GREATEST(COALESCE(min(clock_ahead_ms), 0), -3e12), 3e12) / 1000) AS ahead \
         FROM nodes WHERE left_at IS NULL AND dead_at IS NULL"
    };
}
/// A job that is not done as it should be: dead, or done by its last try without a look.
macro_rules! in_vain {
    () => {
        "(status = 'dead' OR (status = 'completed' AND result->>'looked' = 'false'))"
    };
}

impl SweepKind {
    fn queue(self) -> QueueName {
        match self {
            Self::Stock => QueueName::StockCheck,
            Self::Price => QueueName::PriceSync,
        }
    }

    fn products(self) -> &'static str {
        match self {
            Self::Stock => concat!(
                "SELECT DISTINCT product_id FROM inventory_management WHERE ",
                watched!("$1")
            ),
            Self::Price => {
                "SELECT DISTINCT product_id FROM listing_platforms \
                 WHERE auto_sync_enabled AND listing_status <> 'ended' AND $1 IS NOT NULL"
            }
        }
    }
}

fn names(sources: &[SourcePlatform]) -> Vec<&'static str> {
    sources.iter().map(|source| source.as_str()).collect()
}

/// Enqueues a sweep's jobs over what is watched at `sources`, in the caller's transaction; how many there are.
///
/// # Errors
/// When the database is away or refuses.
pub async fn enqueue(
    conn: &mut AsyncPgConnection,
    kind: SweepKind,
    sources: &[SourcePlatform],
    execution: Uuid,
) -> Result<i32, StoreError> {
    #[derive(QueryableByName)]
    struct Of {
        #[diesel(sql_type = BigInt)]
        product_id: i64,
    }
    let queue = kind.queue();
    // In the order of the key, as `jobs::enqueue`: two callers with the same keys in another order would deadlock.
    let all: Vec<Of> = diesel::sql_query(format!(
        "SELECT product_id FROM ({}) AS p ORDER BY product_id::text COLLATE \"C\"",
        kind.products()
    ))
    .bind::<Array<Text>, _>(names(sources))
    .load(conn)
    .await?;
    let mut enqueued = 0_usize;
    for some in all.chunks(PIECE) {
        let ids: Vec<i64> = some.iter().map(|of| of.product_id).collect();
        enqueued = enqueued.saturating_add(enqueue_some(conn, queue, execution, ids).await?);
    }
    Ok(i32::try_from(enqueued).unwrap_or(i32::MAX))
}

async fn enqueue_some(
    conn: &mut AsyncPgConnection,
    queue: QueueName,
    execution: Uuid,
    products: Vec<i64>,
) -> Result<usize, StoreError> {
    let enqueued = diesel::sql_query(format!(
        "INSERT INTO processing_queue AS q (queue_name, product_id, priority, unique_key, execution_id, payload) \
         SELECT '{queue}', product_id, {PRIORITY}, '{queue}:' || product_id, $1, \
           jsonb_build_object('since', transaction_timestamp() - interval '{SKEW_S} s') \
         FROM unnest($2) AS p(product_id) \
         ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'processing', 'failed') \
         DO UPDATE SET priority = LEAST(q.priority, excluded.priority), \
           scheduled_at = LEAST(q.scheduled_at, excluded.scheduled_at), execution_id = excluded.execution_id, \
           payload = excluded.payload"
    ))
    .bind::<SqlUuid, _>(execution)
    .bind::<Array<BigInt>, _>(products)
    .execute(conn)
    .await?;
    Ok(enqueued)
}

/// How far a sweep that began at `began` with `total` products is.
///
/// # Errors
/// When the database is away or refuses.
pub async fn progress(
    conn: &mut AsyncPgConnection,
    kind: SweepKind,
    execution: Uuid,
    began: DateTime<Utc>,
    total: i32,
) -> Result<Found, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        done: i64,
        #[diesel(sql_type = BigInt)]
        in_vain: i64,
        #[diesel(sql_type = BigInt)]
        left: i64,
        #[diesel(sql_type = BigInt)]
        updated: i64,
    }
    let updated = match kind {
        SweepKind::Stock => "(SELECT count(DISTINCT product_id) FROM stock_history WHERE created_at >= $2)",
        SweepKind::Price => {
            "count(*) FILTER (WHERE status = 'completed' AND (result->>'moved')::bigint > 0 AND $2 IS NOT NULL)"
        }
    };
    let row: Row = diesel::sql_query(format!(
        "SELECT count(*) FILTER (WHERE status IN ('completed', 'dead')) AS done, \
           count(*) FILTER (WHERE {in_vain}) AS in_vain, \
           count(*) FILTER (WHERE status NOT IN ('completed', 'dead')) AS left, {updated} AS updated \
         FROM processing_queue WHERE execution_id = $1",
        in_vain = in_vain!()
    ))
    .bind::<SqlUuid, _>(execution)
    .bind::<Timestamptz, _>(began)
    .get_result(conn)
    .await?;
    let int = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
    Ok(Found {
        counts: Counts {
            total,
            processed: int(row.done),
            updated: int(row.updated),
            errors: int(row.in_vain),
        },
        left: row.left,
    })
}

/// The first of a run's jobs that were in vain: product and reason.
///
/// # Errors
/// When the database is away or refuses.
pub async fn failed(conn: &mut AsyncPgConnection, execution: Uuid) -> Result<Vec<Value>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Jsonb)]
        view: Value,
    }
    let rows: Vec<Row> = diesel::sql_query(concat!(
        "SELECT jsonb_build_object('job', id, 'product_id', product_id, \
           'error', left(CASE WHEN status = 'dead' THEN error_message ELSE result->>'why' END, 300)) AS view \
         FROM processing_queue WHERE execution_id = $1 AND ",
        in_vain!(),
        " ORDER BY id LIMIT $2"
    ))
    .bind::<SqlUuid, _>(execution)
    .bind::<BigInt, _>(NAMED)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}

/// A product of a sweep, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Which product.
    pub product: ProductId,
    /// Its watches that are to be looked at and were not, since the given moment.
    pub unseen: Vec<WatchId>,
}

/// Which of these products' watches at `sources` were not verified since `since`. A product that is not watched any more has none.
///
/// # Errors
/// When the database is away or refuses.
pub async fn unseen(
    conn: &mut AsyncPgConnection,
    sources: &[SourcePlatform],
    products: &[(ProductId, DateTime<Utc>)],
) -> Result<Vec<Looked>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        product_id: i64,
        #[diesel(sql_type = Array<BigInt>)]
        unseen: Vec<i64>,
    }
    let (ids, since): (Vec<i64>, Vec<DateTime<Utc>>) = products.iter().map(|(id, at)| (id.0, *at)).unzip();
    let rows: Vec<Row> = diesel::sql_query(concat!(
        "SELECT a.product_id, COALESCE(array_agg(w.id) FILTER (WHERE w.id IS NOT NULL), '{}') AS unseen \
         FROM unnest($1, $2) AS a(product_id, since) CROSS JOIN (",
        clocks!(),
        ") AS c \
         LEFT JOIN (SELECT id, product_id, last_verified_at FROM inventory_management WHERE ",
        watched!("$3"),
        " AND held_reason IS DISTINCT FROM 'quarantined') w ON w.product_id = a.product_id \
           AND (w.last_verified_at IS NULL OR w.last_verified_at < a.since + c.ahead) \
         GROUP BY a.product_id"
    ))
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Array<Timestamptz>, _>(since)
    .bind::<Array<Text>, _>(names(sources))
    .load(conn)
    .await?;
    let looked = rows.into_iter().map(|row| Looked {
        product: ProductId(row.product_id),
        unseen: row.unseen.into_iter().map(WatchId).collect(),
    });
    Ok(looked.collect())
}
