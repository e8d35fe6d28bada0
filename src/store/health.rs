//! What the database says of itself, for `doctor`.
//!
//! One look changes nothing and reads no table of ours. What the role may not see (sessions of other roles) is counted,
//! so that nobody takes silence for health.

use super::error::StoreError;
use super::pool::Conn;
use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::Jsonb;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use serde::Deserialize;
use serde_json::Value;

/// See the module.
#[derive(Clone, Debug, Deserialize)]
pub struct Health {
    /// The server's version.
    pub version: String,
    /// `fsync`.
    pub fsync: String,
    /// `synchronous_commit`.
    pub synchronous_commit: String,
    /// `full_page_writes`.
    pub full_page_writes: String,
    /// Sessions that it admits, what is kept for its superuser left out.
    pub sessions_admitted: i64,
    /// Sessions there are.
    pub sessions: i64,
    /// Sessions of which this role sees nothing.
    pub hidden: i64,
    /// The transaction that has been open longest.
    pub oldest: Option<OpenTransaction>,
    /// The session whose snapshot or transaction keeps back vacuum most.
    pub horizon: Option<Horizon>,
    /// The prepared transaction that has waited longest.
    pub prepared: Option<Prepared>,
    /// The replication slot that holds back vacuum most.
    pub slot: Option<Slot>,
    /// Transactions since the oldest row that is not frozen; the server stops writing at 2 milliards.
    pub unfrozen: i64,
    /// What the database takes on disk.
    pub size_bytes: i64,
}

/// A session inside a transaction.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenTransaction {
    /// The session's process.
    pub pid: i64,
    /// Open for so long.
    pub age_s: f64,
    /// Whose.
    pub user: Option<String>,
    /// Which program's.
    pub application: Option<String>,
    /// `active`, `idle in transaction`, …
    pub state: Option<String>,
}

/// A session that keeps back vacuum: what was deleted since its snapshot stays.
#[derive(Clone, Debug, Deserialize)]
pub struct Horizon {
    /// Who.
    #[serde(flatten)]
    pub session: OpenTransaction,
    /// Since when, in UTC.
    pub since: String,
    /// Transactions since its snapshot.
    pub behind: i64,
}

/// A transaction that was prepared and neither committed nor rolled back.
#[derive(Clone, Debug, Deserialize)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// Prepared so long ago.
    pub age_s: f64,
}

/// A replication slot with a snapshot.
#[derive(Clone, Debug, Deserialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Transactions since its snapshot.
    pub behind: i64,
}

const LOOK: &str = "
SELECT jsonb_build_object(
    'version', current_setting('server_version'),
    'fsync', current_setting('fsync'),
    'synchronous_commit', current_setting('synchronous_commit'),
    'full_page_writes', current_setting('full_page_writes'),
    'sessions_admitted', current_setting('max_connections')::bigint
        - current_setting('superuser_reserved_connections')::bigint
        - COALESCE(current_setting('reserved_connections', true), '0')::bigint,
    'sessions', (SELECT COALESCE(sum(numbackends), 0) FROM pg_stat_database),
    'hidden', (SELECT count(*) FROM pg_stat_activity
               WHERE backend_type IS NULL AND datid IS NOT NULL AND pid <> pg_backend_pid()),
    'oldest', (SELECT to_jsonb(o) FROM (
        SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s, usename::text AS user,
               application_name AS application, state
        FROM pg_stat_activity
        WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        ORDER BY xact_start LIMIT 1) o),
    'horizon', (SELECT to_jsonb(h) FROM (
        SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s, usename::text AS user,
               application_name AS application, state,
               to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS since,
               GREATEST(age(backend_xmin), age(backend_xid)) AS behind
        FROM pg_stat_activity
        WHERE xact_start IS NOT NULL AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
              AND datname = current_database() AND pid <> pg_backend_pid()
        ORDER BY GREATEST(age(backend_xmin), age(backend_xid)) DESC, xact_start LIMIT 1) h),
    'prepared', (SELECT to_jsonb(p) FROM (
        SELECT gid AS name, extract(epoch FROM clock_timestamp() - prepared)::float8 AS age_s
        FROM pg_prepared_xacts ORDER BY prepared LIMIT 1) p),
    'slot', (SELECT to_jsonb(s) FROM (
        SELECT slot_name::text AS name, GREATEST(age(xmin), age(catalog_xmin)) AS behind
        FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
        ORDER BY GREATEST(age(xmin), age(catalog_xmin)) DESC LIMIT 1) s),
    'unfrozen', (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()),
    'size_bytes', pg_database_size(current_database())
) AS view";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Jsonb)]
    view: Value,
}

/// Whether it answers at all.
///
/// # Errors
/// When it does not.
pub async fn ask(conn: &mut Conn) -> Result<(), StoreError> {
    conn.batch_execute("SELECT 1").await?;
    Ok(())
}

/// What it says of itself.
///
/// # Errors
/// When the database is away or refuses.
pub async fn look(conn: &mut Conn) -> Result<Health, StoreError> {
    let row: Row = sql_query(LOOK).get_result(&mut **conn).await?;
    serde_json::from_value(row.view).map_err(StoreError::bad_row)
}

/// Whether it knows Japan's time zone; daily limits are counted in it.
///
/// # Errors
/// When it does not, or is away.
pub async fn knows_tokyo(conn: &mut Conn) -> Result<(), StoreError> {
    conn.batch_execute("SELECT now() AT TIME ZONE 'Asia/Tokyo'")
        .await?;
    Ok(())
}
