//! What is due or soon will be, for a copy of it elsewhere.

use super::Lane;
use crate::domain::JobId;
use crate::store::redis::lane::Due;
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Double, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::time::Duration;

/// What [`due_soon`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct DueSoon {
    /// The database's clock at the look.
    pub now: DateTime<Utc>,
    /// Jobs that wait, of each level the first ones.
    pub jobs: Vec<(Due, DateTime<Utc>)>,
}

/// Looks for jobs of a lane that are due within `soon`: of each level of `levels` that were due at its time or later (all
/// without one), the first `most`.
///
/// Locks nothing. Suspects are left out: only the table gives them away.
///
/// # Errors
/// Those of the database.
pub async fn due_soon(
    conn: &mut AsyncPgConnection,
    lane: Lane,
    levels: &[(i16, Option<DateTime<Utc>>)],
    soon: Duration,
    most: usize,
) -> Result<DueSoon, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
        #[diesel(sql_type = Nullable<SmallInt>)]
        priority: Option<i16>,
        #[diesel(sql_type = Nullable<BigInt>)]
        id: Option<i64>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        scheduled_at: Option<DateTime<Utc>>,
    }
    let (priorities, since): (Vec<i16>, Vec<Option<DateTime<Utc>>>) = levels.iter().copied().unzip();
    // The outer row is there also when nothing is due: the clock is wanted in any case.
    let statement = diesel::sql_query(
        "SELECT clock.now, j.priority, j.id, j.scheduled_at \
         FROM (SELECT statement_timestamp() AS now) AS clock LEFT JOIN LATERAL ( \
           SELECT level.priority, first.id, first.scheduled_at \
           FROM unnest($3::smallint[], $4::timestamptz[]) AS level (priority, since) CROSS JOIN LATERAL ( \
             SELECT q.id, q.scheduled_at FROM processing_queue AS q \
             WHERE q.queue_name = $1 AND COALESCE(q.destination, '') = $2 AND q.status IN ('pending', 'failed') \
               AND q.priority = level.priority AND q.scheduled_at >= COALESCE(level.since, '-infinity') \
               AND q.scheduled_at <= statement_timestamp() + make_interval(secs => $5) AND q.crash_count = 0 \
             ORDER BY q.scheduled_at, q.id LIMIT $6) AS first) AS j ON true",
    )
    .bind::<Text, _>(lane.queue.as_str())
    .bind::<Text, _>(lane.destination_text())
    .bind::<Array<SmallInt>, _>(priorities)
    .bind::<Array<Nullable<Timestamptz>>, _>(since)
    .bind::<Double, _>(soon.as_secs_f64())
    .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX));
    let rows: Vec<Row> = hot(statement).load(conn).await?;
    let now = rows.iter().map(|row| row.now).max().unwrap_or_default();
    let jobs = rows.into_iter().filter_map(|row| {
        let (priority, job, at) = (row.priority?, JobId(row.id?), row.scheduled_at?);
        let at_ms = millis_up(at);
        Some((Due { job, priority, at_ms }, at))
    });
    Ok(DueSoon {
        now,
        jobs: jobs.collect(),
    })
}

/// Milliseconds, rounded up: what is due by them is due.
fn millis_up(at: DateTime<Utc>) -> i64 {
    let micros = at.timestamp_micros();
    micros
        .div_euclid(1_000)
        .saturating_add(i64::from(micros.rem_euclid(1_000) > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_between_two_milliseconds_is_the_later_one() {
        let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        assert_eq!(millis_up(at(1_000)), 1);
        assert_eq!(millis_up(at(1_001)), 2);
        assert_eq!(millis_up(at(-1_001)), -1);
    }
}
