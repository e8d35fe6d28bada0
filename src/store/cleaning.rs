//! Removing what is old, in small bites, and keeping the tables that change most in order.
//!
//! What belongs to others is left to them: completed jobs to the queue's pruner, alerts to the alerter.

use super::{Db, StoreError};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use std::time::Duration;

/// Rows in one statement: no lock is held for long, and vacuum keeps pace.
const BATCH: i64 = 1_000;

/// What is kept for a number of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// Runs that ended.
    Executions,
    /// Health checks.
    Health,
    /// Errors that were resolved.
    ResolvedErrors,
    /// Daily summaries.
    Summaries,
    /// What differed at the destinations, and does so no longer.
    Drift,
    /// How often that was.
    ReadBacks,
    /// Documents of many prices, with their prices.
    BulkFeeds,
}

impl Old {
    /// The table, as a report names it.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Executions => "inventory_execution_logs",
            Self::Health => "health_check_results",
            Self::ResolvedErrors => "inventory_errors",
            Self::Summaries => "daily_summaries",
            Self::Drift => "drift",
            Self::ReadBacks => "reconcile_runs",
            Self::BulkFeeds => "bulk_feeds",
        }
    }

    fn condition(self) -> &'static str {
        match self {
            Self::Executions => "status <> 'running' AND execution_end < $AGE",
            Self::Health => "check_timestamp < $AGE",
            Self::ResolvedErrors => "resolved AND resolved_at < $AGE",
            // What was stopped or waits is told while it lasts, but not for ever.
            Self::Drift => "COALESCE(resolved_at, seen_at + interval '1 year') < $AGE",
            Self::ReadBacks => "began_at < $AGE",
            Self::BulkFeeds => "settled_at < $AGE",
            Self::Summaries => "created_at < $AGE AND mail NOT IN ('pending', 'sending')",
        }
    }
}

/// Removes what is older than `days`; how many rows.
///
/// # Errors
/// Those of the database; what was removed before stays so.
pub async fn remove_old(db: &Db, what: Old, days: u32) -> Result<u64, StoreError> {
    let age = "clock_timestamp() - make_interval(days => $1)";
    let sql = format!(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT $2))",
        table = what.table(),
        condition = what.condition().replace("$AGE", age),
    );
    let mut all = 0_u64;
    loop {
        let removed = diesel::sql_query(&sql)
            .bind::<Integer, _>(i32::try_from(days).unwrap_or(i32::MAX))
            .bind::<BigInt, _>(BATCH)
            .execute(&mut *db.conn().await?)
            .await?;
        let removed = i64::try_from(removed).unwrap_or(BATCH);
        all = all.saturating_add(removed.unsigned_abs());
        if removed < BATCH {
            return Ok(all);
        }
    }
}

/// The tables that every check or push writes to.
pub const HOT: &[&str] = &[
    "inventory_management",
    "listing_platforms",
    "listing_reads",
    "processing_queue",
    "platform_state",
    "inventory_execution_logs",
    "inventory_errors",
    "alerts",
    "alert_deliveries",
    "sync_log",
];

/// How one table was found and left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacuumed {
    /// Which.
    pub table: &'static str,
    /// Rows that were dead before.
    pub dead_before: i64,
    /// And after it.
    pub dead_after: i64,
}

/// Vacuums and analyses one table, outside of any transaction and of the pool's time limits. It waits for nobody: a table
/// that somebody has locked is left for the next time.
///
/// # Errors
/// Those of the database.
pub async fn vacuum(db: &Db, table: &'static str, limit: Duration) -> Result<Vacuumed, StoreError> {
    #[derive(QueryableByName)]
    struct Dead {
        #[diesel(sql_type = BigInt)]
        dead: i64,
    }
    let mut conn = db.own_conn().await?;
    conn.batch_execute(&format!("SET statement_timeout = {}", limit.as_millis()))
        .await?;
    let count =
        "SELECT COALESCE(sum(n_dead_tup), 0)::bigint AS dead FROM pg_stat_user_tables WHERE relname = $1";
    let before: Dead = diesel::sql_query(count)
        .bind::<Text, _>(table)
        .get_result(&mut conn)
        .await?;
    conn.batch_execute(&format!("VACUUM (ANALYZE, SKIP_LOCKED) {table}"))
        .await?;
    let after: Dead = diesel::sql_query(count)
        .bind::<Text, _>(table)
        .get_result(&mut conn)
        .await?;
    Ok(Vacuumed {
        table,
        dead_before: before.dead,
        dead_after: after.dead,
    })
}
