//! `stock_history` by months, made before they are needed.
//!
//! Months are UTC months, because `created_at` is the database's clock. The DEFAULT partition takes what has no month of
//! its own (the maker was not run for long, a clock was wrong), so nothing is ever refused; when the month is made later,
//! its rows move there in the same transaction. A month is made beside the table and then attached, which stops nobody
//! who reads or writes other months.

use super::error::StoreError;
use super::pool::Db;
use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use futures_util::FutureExt as _;

/// This month and the next two: a maker that does not run for two months is noticed.
const AHEAD: u32 = 3;
/// One maker at a time.
const LOCK_KEY: i64 = 0x7a61_6b6f_7061_7274;

/// One month of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Month {
    name: String,
    from: NaiveDate,
    to: NaiveDate,
}

/// The months that must be there at `now`.
fn months(now: DateTime<Utc>) -> Vec<Month> {
    let first = now.date_naive().with_day(1);
    let first = first.unwrap_or_else(|| now.date_naive());
    (0..AHEAD)
        .filter_map(|n| {
            let from = first.checked_add_months(Months::new(n))?;
            let to = from.checked_add_months(Months::new(1))?;
            let name = format!("stock_history_{}", from.format("%Y_%m"));
            Some(Month { name, from, to })
        })
        .collect()
}

/// Makes this month's partition and the next two, as far as they are missing; answers the names of those it made.
///
/// # Errors
/// Those of the database; a month is made whole or not at all.
pub async fn ensure_partitions(db: &Db, now: DateTime<Utc>) -> Result<Vec<String>, StoreError> {
    let mut made = Vec::new();
    for month in months(now) {
        let name = month.name.clone();
        let new = db
            .transaction(move |conn| async move { make(conn, &month).await }.boxed())
            .await?;
        if new {
            tracing::info!("Made the partition `{name}`");
            made.push(name);
        }
    }
    Ok(made)
}

async fn make(conn: &mut AsyncPgConnection, month: &Month) -> Result<bool, StoreError> {
    conn.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        .await?;
    if exists(conn, &month.name).await? {
        return Ok(false);
    }
    let Month { name, from, to } = month;
    // The DEFAULT partition is locked first: nothing can slip into it between the move and the attaching, which checks it.
    // The copied CHECK spares attaching a look at each row.
    conn.batch_execute(&format!(
        "LOCK TABLE stock_history_default IN ACCESS EXCLUSIVE MODE; \
         CREATE TABLE {name} (LIKE stock_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS, \
           CONSTRAINT month CHECK (created_at >= '{from} 00:00+00' AND created_at < '{to} 00:00+00')); \
         WITH moved AS (DELETE FROM stock_history_default \
           WHERE created_at >= '{from} 00:00+00' AND created_at < '{to} 00:00+00' RETURNING *) \
           INSERT INTO {name} SELECT * FROM moved; \
         ALTER TABLE stock_history ATTACH PARTITION {name} FOR VALUES FROM ('{from} 00:00+00') TO ('{to} 00:00+00'); \
         ALTER TABLE {name} DROP CONSTRAINT month"
    ))
    .await?;
    Ok(true)
}

async fn exists(conn: &mut AsyncPgConnection, name: &str) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct There {
        #[diesel(sql_type = Bool)]
        there: bool,
    }
    let row: There = diesel::sql_query("SELECT to_regclass($1) IS NOT NULL AS there")
        .bind::<Text, _>(name)
        .get_result(conn)
        .await?;
    Ok(row.there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_month_and_the_next_two_over_the_turn_of_the_year() {
        let now = DateTime::parse_from_rfc3339("2026-11-30T23:59:59Z")
            .unwrap()
            .to_utc();
        let names: Vec<_> = months(now).into_iter().map(|m| m.name).collect();
        assert_eq!(
            names,
            [
                "stock_history_2026_11",
                "stock_history_2026_12",
                "stock_history_2027_01"
            ]
        );
    }

    proptest! {
        #[test]
        fn the_months_join_without_gap_and_hold_now(at in 0_i64..4_000_000_000) {
            let now = DateTime::from_timestamp(at, 0).unwrap();
            let all = months(now);
            prop_assert_eq!(all.len(), 3);
            prop_assert!(all[0].from <= now.date_naive() && now.date_naive() < all[0].to);
            prop_assert!(all.windows(2).all(|w| w[0].to == w[1].from));
        }
    }
}
