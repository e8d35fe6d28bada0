//! `schedules`: when each entry of the time-table fires next.
//!
//! The moment is the fence: whoever fires, skips or plans says which next moment it saw, and of several only one finds
//! it still there. All moments are the database's, so that nodes whose clocks differ agree.

use super::StoreError;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;
use uuid::Uuid;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, QueryableByName)]
pub struct ScheduleRow {
    /// Which entry.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// What the next moment was worked out from.
    #[diesel(sql_type = Text)]
    pub expression: String,
    /// When it fires next.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next_fire_at: Option<DateTime<Utc>>,
    /// Which moment was served last.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_due_at: Option<DateTime<Utc>>,
    /// When that was done.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_fired_at: Option<DateTime<Utc>>,
    /// The run that came of it.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub last_execution_id: Option<Uuid>,
    /// When a firing was left out last.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_skipped_at: Option<DateTime<Utc>>,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_skipped_why: Option<String>,
    /// A person has stopped it.
    #[diesel(sql_type = Bool)]
    pub paused: bool,
    /// Who.
    #[diesel(sql_type = Nullable<Text>)]
    pub paused_by: Option<String>,
    /// When.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub paused_at: Option<DateTime<Utc>>,
}

/// A moment as far as there is a calendar for it. A hand may write `infinity` or the year 200000 into any of the columns,
/// and one value that cannot be read would cost all rows, at every look. What is none is planned anew.
macro_rules! moment {
    ($column:literal) => {
        concat!(
            "CASE WHEN ",
            $column,
            " BETWEEN '0001-01-01 UTC' AND '9999-12-31 UTC' THEN ",
            $column,
            " END"
        )
    };
}

/// Why a firing does not take place, beside another scheduler having it.
pub const MISSED: &str = "missed";
/// See [`MISSED`].
pub const STILL_RUNNING: &str = "the run before it was still going on";

#[derive(QueryableByName)]
struct Now {
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

/// What the database's clock says.
///
/// # Errors
/// When the database is away.
pub async fn now(conn: &mut AsyncPgConnection) -> Result<DateTime<Utc>, StoreError> {
    let row: Now = diesel::sql_query("SELECT clock_timestamp() AS now")
        .get_result(conn)
        .await?;
    Ok(row.now)
}

/// Every row.
///
/// # Errors
/// When the database is away or refuses.
pub async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<ScheduleRow>, StoreError> {
    let rows = diesel::sql_query(concat!(
        "SELECT name, expression, last_execution_id, last_skipped_why, paused, paused_by, ",
        moment!("next_fire_at"),
        " AS next_fire_at, ",
        moment!("last_due_at"),
        " AS last_due_at, ",
        moment!("last_fired_at"),
        " AS last_fired_at, ",
        moment!("last_skipped_at"),
        " AS last_skipped_at, ",
        moment!("paused_at"),
        " AS paused_at FROM schedules ORDER BY name"
    ))
    .load(conn)
    .await?;
    Ok(rows)
}

/// The next moment of an entry is this, unless somebody planned or fired meanwhile; whether it is.
///
/// # Errors
/// When the database is away or refuses.
pub async fn plan(
    conn: &mut AsyncPgConnection,
    name: &str,
    seen: Option<&ScheduleRow>,
    expression: &str,
    next: Option<DateTime<Utc>>,
) -> Result<bool, StoreError> {
    let planned = match seen {
        None => diesel::sql_query(
            "INSERT INTO schedules (name, expression, next_fire_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind::<Text, _>(name)
        .bind::<Text, _>(expression)
        .bind::<Nullable<Timestamptz>, _>(next)
        .execute(conn)
        .await?,
        Some(row) => diesel::sql_query(concat!(
            "UPDATE schedules SET expression = $2, next_fire_at = $3, updated_at = now() \
             WHERE name = $1 AND ",
            moment!("next_fire_at"),
            " IS NOT DISTINCT FROM $4 AND expression = $5"
        ))
        .bind::<Text, _>(name)
        .bind::<Text, _>(expression)
        .bind::<Nullable<Timestamptz>, _>(next)
        .bind::<Nullable<Timestamptz>, _>(row.next_fire_at)
        .bind::<Text, _>(&row.expression)
        .execute(conn)
        .await?,
    };
    Ok(planned > 0)
}

/// Takes the firing for `due`, inside the transaction that begins its run; false when somebody else has it or is taking
/// it, it is paused, or the database's clock has not come so far.
///
/// Nobody waits for another's: while a great sweep is enqueued that would be ended by the lock's limit.
///
/// # Errors
/// When the database is away or refuses.
pub async fn take(
    conn: &mut AsyncPgConnection,
    name: &str,
    due: DateTime<Utc>,
    next: Option<DateTime<Utc>>,
) -> Result<bool, StoreError> {
    let taken = diesel::sql_query(
        "UPDATE schedules SET next_fire_at = $3, last_due_at = $2, updated_at = now() \
         WHERE name = (SELECT name FROM schedules WHERE name = $1 AND next_fire_at = $2 AND NOT paused \
           AND next_fire_at <= clock_timestamp() FOR NO KEY UPDATE SKIP LOCKED)",
    )
    .bind::<Text, _>(name)
    .bind::<Timestamptz, _>(due)
    .bind::<Nullable<Timestamptz>, _>(next)
    .execute(conn)
    .await?;
    Ok(taken > 0)
}

/// A firing was left out, for this reason.
///
/// # Errors
/// When the database is away or refuses.
pub async fn note_skip(conn: &mut AsyncPgConnection, name: &str, why: &str) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE schedules SET last_skipped_at = clock_timestamp(), last_skipped_why = $2 WHERE name = $1",
    )
    .bind::<Text, _>(name)
    .bind::<Text, _>(why)
    .execute(conn)
    .await?;
    Ok(())
}

/// So often one moment is begun: what ends each of its runs is likely the run itself.
const BEGUN_AT_MOST: i64 = 3;

/// Has the moments of these runs, which were broken off, fire again, where they are of `names` and the entry has not
/// fired since; answers those that will.
///
/// # Errors
/// When the database is away or refuses.
pub async fn put_back(
    conn: &mut AsyncPgConnection,
    runs: &[Uuid],
    names: &[&str],
) -> Result<Vec<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        execution_id: Uuid,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "UPDATE schedules s SET next_fire_at = e.due_at, updated_at = now() FROM inventory_execution_logs e \
         WHERE e.execution_id = ANY($1) AND s.name = e.process_type AND s.name = ANY($2) \
           AND s.last_execution_id = e.execution_id AND e.due_at IS NOT NULL \
           AND (SELECT count(*) FROM inventory_execution_logs x \
                WHERE x.process_type = e.process_type AND x.due_at = e.due_at) < $3 \
         RETURNING e.execution_id",
    )
    .bind::<Array<SqlUuid>, _>(runs.to_vec())
    .bind::<Array<Text>, _>(names.to_vec())
    .bind::<BigInt, _>(BEGUN_AT_MOST)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.execution_id).collect())
}

/// This run is the entry's last one.
///
/// # Errors
/// When the database is away or refuses.
pub async fn note_run(conn: &mut AsyncPgConnection, name: &str, execution: Uuid) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE schedules SET last_fired_at = clock_timestamp(), last_execution_id = $2, updated_at = now() \
         WHERE name = $1",
    )
    .bind::<Text, _>(name)
    .bind::<SqlUuid, _>(execution)
    .execute(conn)
    .await?;
    Ok(())
}

/// Stops an entry (`by` somebody) or lets it go on (`None`); whether that changes anything. `None` when it is not there.
///
/// # Errors
/// When the database is away or refuses.
pub async fn set_paused(
    conn: &mut AsyncPgConnection,
    name: &str,
    by: Option<&str>,
) -> Result<Option<bool>, StoreError> {
    #[derive(QueryableByName)]
    struct Changed {
        #[diesel(sql_type = Bool)]
        changed: bool,
    }
    let rows: Vec<Changed> = diesel::sql_query(
        "WITH before AS (SELECT name, paused FROM schedules WHERE name = $1 FOR UPDATE), \
         done AS (UPDATE schedules s SET paused = $2 IS NOT NULL, paused_by = $2, \
           paused_at = CASE WHEN $2 IS NOT NULL THEN clock_timestamp() END, updated_at = now() \
           FROM before b WHERE s.name = b.name AND b.paused <> ($2 IS NOT NULL)) \
         SELECT paused <> ($2 IS NOT NULL) AS changed FROM before",
    )
    .bind::<Text, _>(name)
    .bind::<Nullable<Text>, _>(by)
    .load(conn)
    .await?;
    Ok(rows.into_iter().next().map(|row| row.changed))
}
