//! `daily_summaries`: each day in figures, and the durable work of mailing it.

use super::StoreError;
use super::text;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Date, Double, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

const FIGURES: &str = "
SELECT jsonb_build_object(
    'from', $1, 'until', $2,
    'executions', COALESCE((SELECT jsonb_agg(to_jsonb(e) ORDER BY e.process) FROM (
        SELECT process_type AS process, count(*) FILTER (WHERE status = 'completed') AS completed,
               count(*) FILTER (WHERE status = 'partial') AS partial,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               count(*) FILTER (WHERE status = 'running') AS running
        FROM inventory_execution_logs WHERE execution_start >= $1 AND execution_start < $2 GROUP BY process_type) e), '[]'),
    'jobs', (SELECT jsonb_build_object('completed', count(*) FILTER (WHERE status = 'completed'),
               'dead', count(*) FILTER (WHERE status = 'dead'))
        FROM processing_queue WHERE completed_at >= $1 AND completed_at < $2 AND status IN ('completed', 'dead')),
    'pushes', (SELECT jsonb_build_object('accepted', count(*) FILTER (WHERE outcome = 'accepted'),
               'rejected', count(*) FILTER (WHERE outcome = 'rejected'),
               'failed', count(*) FILTER (WHERE outcome IN ('failed', 'unknown')),
               'held', count(*) FILTER (WHERE outcome = 'held'))
        FROM sync_log WHERE kind <> 'read' AND sent_at >= $1 AND sent_at < $2),
    'delay_ms', (SELECT CASE WHEN count(*) = 0 THEN NULL ELSE jsonb_build_object('count', count(*),
               'p50', round((percentile_cont(0.5) WITHIN GROUP (ORDER BY d))::numeric),
               'p95', round((percentile_cont(0.95) WITHIN GROUP (ORDER BY d))::numeric),
               'longest', round(max(d)::numeric)) END
        FROM (SELECT extract(epoch FROM answered_at - fetched_at)::float8 * 1000 AS d FROM sync_log
              WHERE outcome = 'accepted' AND kind <> 'read' AND fetched_at IS NOT NULL AND answered_at IS NOT NULL
                AND sent_at >= $1 AND sent_at < $2) s),
    'changes', (SELECT jsonb_build_object('stock', count(*) FILTER (WHERE change_type IN ('stock_change', 'both')),
               'price', count(*) FILTER (WHERE change_type IN ('price_change', 'both')),
               'sold_out', count(*) FILTER (WHERE previous_stock > 0 AND new_stock = 0),
               'back', count(*) FILTER (WHERE previous_stock = 0 AND new_stock > 0))
        FROM stock_history WHERE created_at >= $1 AND created_at < $2),
    'errors', COALESCE((SELECT jsonb_agg(to_jsonb(e)) FROM (
        SELECT COALESCE(error_code, error_type) AS code, platform, LEAST(sum(count), 9e18)::bigint AS count,
               (array_agg(left(error_message, 300) ORDER BY last_seen_at DESC))[1] AS message
        FROM inventory_errors WHERE last_seen_at >= $1 AND last_seen_at < $2
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 5) e), '[]'),
    'critical', jsonb_build_object(
        'new', (SELECT count(*) FROM inventory_errors WHERE severity = 'critical' AND created_at >= $1 AND created_at < $2),
        'open', (SELECT count(*) FROM inventory_errors WHERE severity = 'critical' AND NOT resolved)),
    'products', jsonb_build_object(
        'monitored', (SELECT count(DISTINCT product_id) FROM inventory_management WHERE monitoring_enabled),
        'in_stock', (SELECT count(DISTINCT product_id) FROM inventory_management
                     WHERE monitoring_enabled AND current_stock > 0 AND url_status = 'active'),
        'verified', (SELECT count(DISTINCT product_id) FROM inventory_management
                     WHERE monitoring_enabled AND last_verified_at >= $1)),
    'listings', jsonb_build_object(
        'synced', (SELECT count(*) FROM listing_platforms WHERE auto_sync_enabled AND listing_status = 'active'),
        'behind', (SELECT count(*) FROM listing_platforms WHERE wanted_version > synced_version)),
    'read_back', (SELECT jsonb_build_object('looked', COALESCE(sum(looked), 0), 'drifted', COALESCE(sum(drifted), 0))
        FROM reconcile_runs WHERE began_at >= $1 AND began_at < $2),
    'holds_open', (SELECT count(*) FROM holds WHERE status = 'open')
) AS view";

#[derive(QueryableByName)]
struct View {
    #[diesel(sql_type = Jsonb)]
    view: Value,
}

/// The figures of what happened from `from` until `until`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn figures(
    conn: &mut AsyncPgConnection,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Value, StoreError> {
    let row: View = diesel::sql_query(FIGURES)
        .bind::<Timestamptz, _>(from)
        .bind::<Timestamptz, _>(until)
        .get_result(conn)
        .await?;
    Ok(row.view)
}

/// Keeps a day's figures, in place of those that it had, to be mailed.
///
/// # Errors
/// When the database is away or refuses.
pub async fn keep(
    conn: &mut AsyncPgConnection,
    day: NaiveDate,
    figures: Value,
    execution: Uuid,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "INSERT INTO daily_summaries (day, figures, execution_id, next_at) VALUES ($1, $2, $3, clock_timestamp()) \
         ON CONFLICT (day) DO UPDATE SET figures = excluded.figures, execution_id = excluded.execution_id, \
           created_at = now(), mail = 'pending', attempt = 0, next_at = clock_timestamp(), lease_token = NULL, \
           lease_until = NULL, error = NULL, delivered_at = NULL",
    )
    .bind::<Date, _>(day)
    .bind::<Jsonb, _>(text::json(figures))
    .bind::<SqlUuid, _>(execution)
    .execute(conn)
    .await?;
    Ok(())
}

const SHOWN: &str = "day, figures, created_at, mail, attempt, error, delivered_at, execution_id";

/// One day; the newest without a day.
///
/// # Errors
/// When the database is away or refuses.
pub async fn find(conn: &mut AsyncPgConnection, day: Option<NaiveDate>) -> Result<Option<Value>, StoreError> {
    let rows: Vec<View> = diesel::sql_query(format!(
        "SELECT to_jsonb(v) AS view FROM (SELECT {SHOWN} FROM daily_summaries \
         WHERE $1::date IS NULL OR day = $1 ORDER BY day DESC LIMIT 1) v"
    ))
    .bind::<Nullable<Date>, _>(day)
    .load(conn)
    .await?;
    Ok(rows.into_iter().next().map(|row| row.view))
}

/// A day that is to be mailed, held under a lease.
#[derive(Clone, Debug, PartialEq, QueryableByName)]
pub struct Unsent {
    /// Which.
    #[diesel(sql_type = Date)]
    pub day: NaiveDate,
    /// What is told.
    #[diesel(sql_type = Jsonb)]
    pub figures: Value,
    /// When it was written: a day that is written anew is another letter.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// What holds it.
    #[diesel(sql_type = SqlUuid)]
    pub token: Uuid,
    /// Which try this is.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub attempt: i32,
}

/// Takes the oldest day that is due, for so long; those that have waited for a week are given up.
///
/// # Errors
/// When the database is away or refuses.
pub async fn claim(conn: &mut AsyncPgConnection, lease: Duration) -> Result<Option<Unsent>, StoreError> {
    diesel::sql_query(
        "UPDATE daily_summaries SET mail = 'expired', lease_token = NULL, lease_until = NULL \
         WHERE mail IN ('pending', 'sending') AND created_at < clock_timestamp() - interval '7 days'",
    )
    .execute(conn)
    .await?;
    let rows = diesel::sql_query(
        "UPDATE daily_summaries s SET mail = 'sending', attempt = LEAST(attempt, 1000000) + 1, lease_token = $1, \
           lease_until = clock_timestamp() + make_interval(secs => $2) \
         FROM (SELECT day FROM daily_summaries WHERE mail = 'pending' AND next_at <= clock_timestamp() \
                 OR mail = 'sending' AND lease_until <= clock_timestamp() \
               ORDER BY day LIMIT 1 FOR UPDATE SKIP LOCKED) due WHERE s.day = due.day \
         RETURNING s.day, s.figures, s.created_at, s.lease_token AS token, s.attempt",
    )
    .bind::<SqlUuid, _>(Uuid::new_v4())
    .bind::<Double, _>(lease.as_secs_f64())
    .load(conn)
    .await?;
    Ok(rows.into_iter().next())
}

/// It has arrived; false when the lease is not ours any more.
///
/// # Errors
/// When the database is away or refuses.
pub async fn delivered(conn: &mut AsyncPgConnection, token: Uuid) -> Result<bool, StoreError> {
    let settled = diesel::sql_query(
        "UPDATE daily_summaries SET mail = 'delivered', delivered_at = clock_timestamp(), lease_token = NULL, \
         lease_until = NULL, error = NULL WHERE lease_token = $1 AND mail = 'sending'",
    )
    .bind::<SqlUuid, _>(token)
    .execute(conn)
    .await?;
    Ok(settled > 0)
}

/// It was not taken, and is tried again after `wait`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn put_back(
    conn: &mut AsyncPgConnection,
    token: Uuid,
    error: &str,
    wait: Duration,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE daily_summaries SET mail = 'pending', next_at = clock_timestamp() + make_interval(secs => $2), \
         lease_token = NULL, lease_until = NULL, error = $3 WHERE lease_token = $1 AND mail = 'sending'",
    )
    .bind::<SqlUuid, _>(token)
    .bind::<Double, _>(wait.as_secs_f64())
    .bind::<Text, _>(text::text(error))
    .execute(conn)
    .await?;
    Ok(())
}

/// Days that wait to be mailed.
///
/// # Errors
/// When the database is away or refuses.
pub async fn waiting(conn: &mut AsyncPgConnection) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let row: Row =
        diesel::sql_query("SELECT count(*) AS n FROM daily_summaries WHERE mail IN ('pending', 'sending')")
            .get_result(conn)
            .await?;
    Ok(row.n)
}
