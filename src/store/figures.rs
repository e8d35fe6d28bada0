//! The counts of `/metrics`: what an index knows, and nothing that reads a whole table.

use super::error::StoreError;
use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Double, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

/// One count under its name.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Counted {
    /// What is counted.
    #[diesel(sql_type = Text)]
    pub what: String,
    /// Its state, or severity, or destination.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// How many there are.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// From the page read to the listing accepted, for one destination.
#[derive(Clone, Debug, PartialEq, QueryableByName)]
pub struct Delay {
    /// Where.
    #[diesel(sql_type = Text)]
    pub platform: String,
    /// How many pushes.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Half were faster, in seconds.
    #[diesel(sql_type = Double)]
    pub p50: f64,
    /// 95 of 100 were.
    #[diesel(sql_type = Double)]
    pub p95: f64,
    /// 99 of 100 were.
    #[diesel(sql_type = Double)]
    pub p99: f64,
}

/// Jobs that are not done by state, open holds, open errors by severity, listings behind by destination.
///
/// Each is answered by an index on just these rows, so that a hundred thousand products cost what ten do.
///
/// # Errors
/// When the database is away or refuses.
pub async fn counts(conn: &mut AsyncPgConnection) -> Result<Vec<Counted>, StoreError> {
    let counts = sql_query(
        "SELECT 'jobs' AS what, status AS name, count(*) AS count FROM processing_queue
             WHERE status IN ('pending', 'failed') GROUP BY status
         UNION ALL SELECT 'jobs', 'processing', count(*) FROM processing_queue WHERE status = 'processing'
         UNION ALL SELECT 'jobs', 'dead', count(*) FROM processing_queue WHERE status = 'dead'
         UNION ALL SELECT 'holds', 'open', count(*) FROM holds WHERE status = 'open'
         UNION ALL SELECT 'errors', severity, count(*) FROM inventory_errors WHERE NOT resolved GROUP BY severity
         UNION ALL SELECT 'behind', platform, count(*) FROM listing_platforms
             WHERE wanted_version > synced_version GROUP BY platform",
    )
    .load(conn)
    .await?;
    Ok(counts)
}

/// The delays of pushes that were accepted within the last `window_s` seconds.
///
/// # Errors
/// When the database is away or refuses.
pub async fn delays(conn: &mut AsyncPgConnection, window_s: i64) -> Result<Vec<Delay>, StoreError> {
    let delays = sql_query(
        "SELECT platform, count(*) AS count, percentile_cont(0.5) WITHIN GROUP (ORDER BY d) AS p50,
                percentile_cont(0.95) WITHIN GROUP (ORDER BY d) AS p95,
                percentile_cont(0.99) WITHIN GROUP (ORDER BY d) AS p99
         FROM (SELECT platform, extract(epoch FROM answered_at - fetched_at)::float8 AS d FROM sync_log
               WHERE outcome = 'accepted' AND kind <> 'read' AND fetched_at IS NOT NULL AND answered_at IS NOT NULL
                 AND platform IN ('ebay', 'mercari', 'amazon_seller')
                 AND sent_at > now() - make_interval(secs => $1)) s
         GROUP BY platform",
    )
    .bind::<BigInt, _>(window_s)
    .load(conn)
    .await?;
    Ok(delays)
}
