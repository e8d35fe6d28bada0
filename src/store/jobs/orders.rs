//! `queue_orders`: what persons have ordered of the queues. Every daemon on this database reads it again each second.

use super::QueueName;
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

/// What is ordered of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOrder {
    /// The queue.
    pub queue: QueueName,
    /// From how many to how many workers; `None` leaves it to the settings.
    pub workers: Option<(u16, u16)>,
    /// Nothing is taken.
    pub paused: bool,
    /// Who ordered it last.
    pub changed_by: String,
    /// When.
    pub changed_at: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    queue_name: String,
    #[diesel(sql_type = Nullable<SmallInt>)]
    workers_min: Option<i16>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    workers_max: Option<i16>,
    #[diesel(sql_type = Bool)]
    paused: bool,
    #[diesel(sql_type = Text)]
    changed_by: String,
    #[diesel(sql_type = Timestamptz)]
    changed_at: DateTime<Utc>,
}

/// All that is ordered.
///
/// # Errors
/// Those of the database.
pub async fn orders(conn: &mut AsyncPgConnection) -> Result<Vec<QueueOrder>, StoreError> {
    let rows: Vec<Row> = hot(diesel::sql_query(
        "SELECT queue_name, workers_min, workers_max, paused, changed_by, changed_at FROM queue_orders \
         ORDER BY queue_name",
    ))
    .load(conn)
    .await?;
    rows.into_iter().map(QueueOrder::try_from).collect()
}

impl TryFrom<Row> for QueueOrder {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let number = |n: Option<i16>| n.and_then(|n| u16::try_from(n).ok());
        Ok(Self {
            queue: row.queue_name.parse().map_err(StoreError::bad_row)?,
            workers: number(row.workers_min).zip(number(row.workers_max)),
            paused: row.paused,
            changed_by: row.changed_by,
            changed_at: row.changed_at,
        })
    }
}

/// Orders from `min` to `max` workers for each lane of a queue.
///
/// # Errors
/// Those of the database.
pub async fn order_workers(
    conn: &mut AsyncPgConnection,
    queue: QueueName,
    (min, max): (u16, u16),
    by: &str,
) -> Result<(), StoreError> {
    let small = |n: u16| i16::try_from(n).unwrap_or(i16::MAX);
    diesel::sql_query(
        "INSERT INTO queue_orders (queue_name, workers_min, workers_max, changed_by) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (queue_name) DO UPDATE SET workers_min = excluded.workers_min, \
         workers_max = excluded.workers_max, changed_by = excluded.changed_by, changed_at = now()",
    )
    .bind::<Text, _>(queue.as_str())
    .bind::<SmallInt, _>(small(min))
    .bind::<SmallInt, _>(small(max))
    .bind::<Text, _>(by)
    .execute(conn)
    .await?;
    Ok(())
}

/// Pauses a queue or lets it go on; answers whether that was news.
///
/// # Errors
/// Those of the database.
pub async fn order_pause(
    conn: &mut AsyncPgConnection,
    queue: QueueName,
    paused: bool,
    by: &str,
) -> Result<bool, StoreError> {
    let changed = diesel::sql_query(
        "INSERT INTO queue_orders AS o (queue_name, paused, changed_by) VALUES ($1, $2, $3) \
         ON CONFLICT (queue_name) DO UPDATE SET paused = excluded.paused, changed_by = excluded.changed_by, \
         changed_at = now() WHERE o.paused <> excluded.paused",
    )
    .bind::<Text, _>(queue.as_str())
    .bind::<Bool, _>(paused)
    .bind::<Text, _>(by)
    .execute(conn)
    .await?;
    Ok(changed > 0)
}
