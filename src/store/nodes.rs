//! Who works on this database; what is whose stands in [`super::leases`].
//!
//! What these rows mean, and why two nodes never both own a part, is told by the room that works with them; here are the
//! statements. Each is a transaction of its own, and each that decides compares what it was decided on.

use super::StoreError;
use super::pool::Db;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::time::Duration;
use uuid::Uuid;

/// Where nodes tell each other that there is something to look at.
pub const CHANNEL: &str = "zaikoban_nodes";
/// The word that says: look who is there and what is free.
pub const MEMBERS: &str = "members";

/// What the sessions of a life of a daemon are called, so that others can tell them, and end them.
#[must_use]
pub fn application(boot: Uuid) -> String {
    format!("zaikoban {boot}")
}

/// A node that introduces itself.
#[derive(Clone, Debug)]
pub struct NewMember {
    /// This life of the daemon.
    pub boot: Uuid,
    /// What a person calls it.
    pub name: String,
    /// The program's.
    pub version: String,
    /// The machine's name.
    pub host: String,
    /// The machine's boot and the namespace of processes.
    pub place: String,
    /// The process.
    pub pid: i32,
    /// The kinds of work it is set up for.
    pub can: Vec<String>,
}

/// A node, as the tables have it.
#[derive(Clone, Debug, PartialEq, QueryableByName)]
pub struct Member {
    /// This life of the daemon.
    #[diesel(sql_type = SqlUuid)]
    pub boot: Uuid,
    /// What a person calls it.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The program's.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// The machine's name.
    #[diesel(sql_type = Text)]
    pub host: String,
    /// Where `pid` means something.
    #[diesel(sql_type = Text)]
    pub place: String,
    /// The process.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// The kinds of work it is set up for.
    #[diesel(sql_type = Array<Text>)]
    pub can: Vec<String>,
    /// Since when it runs.
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
    /// Milliseconds since it was heard of, by the database's clock.
    #[diesel(sql_type = BigInt)]
    pub silent_ms: i64,
    /// Its clock less the database's, in milliseconds.
    #[diesel(sql_type = BigInt)]
    pub clock_ahead_ms: i64,
    /// Whether it may be counted on: heard of in time, not declared dead, not gone.
    #[diesel(sql_type = Bool)]
    pub lives: bool,
    /// It hands over all it has.
    #[diesel(sql_type = Bool)]
    pub draining: bool,
    /// It has ended in order.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub left_at: Option<DateTime<Utc>>,
    /// It was declared dead.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub dead_at: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct Boot {
    #[diesel(sql_type = SqlUuid)]
    boot: Uuid,
}

/// A connection outside the pool, for whoever must be heard of although the pool is exhausted.
///
/// # Errors
/// [`StoreError::Unavailable`] when the server is away.
pub async fn session(db: &Db) -> Result<AsyncPgConnection, StoreError> {
    db.session().await
}

/// Introduces a node, or takes one up again that was declared dead or is not known any more: with nothing that was its own.
///
/// # Errors
/// When the database is away or refuses.
pub async fn join(
    conn: &mut AsyncPgConnection,
    new: &NewMember,
    draining: bool,
    ttl: Duration,
) -> Result<(), StoreError> {
    // One statement, one snapshot and one COMMIT: nobody sees it alive with what it had before.
    diesel::sql_query(
        "WITH me AS (INSERT INTO nodes (boot, name, version, host, place, pid, can, until, draining) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8), $9) \
             ON CONFLICT (boot) DO UPDATE SET heartbeat_at = clock_timestamp(), until = EXCLUDED.until, \
                 draining = EXCLUDED.draining, dead_at = NULL, left_at = NULL RETURNING boot), \
         freed AS (UPDATE leases SET owner = NULL, epoch = epoch + 1, since = NULL FROM me WHERE owner = me.boot) \
         SELECT pg_notify($10, $11) FROM me",
    )
    .bind::<SqlUuid, _>(new.boot)
    .bind::<Text, _>(&new.name)
    .bind::<Text, _>(&new.version)
    .bind::<Text, _>(&new.host)
    .bind::<Text, _>(&new.place)
    .bind::<Integer, _>(new.pid)
    .bind::<Array<Text>, _>(&new.can)
    .bind::<Double, _>(ttl.as_secs_f64())
    .bind::<Bool, _>(draining)
    .bind::<Text, _>(CHANNEL)
    .bind::<Text, _>(MEMBERS)
    .execute(conn)
    .await?;
    Ok(())
}

/// What the database says to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It came in time.
    InTime,
    /// It came when the node might have been declared dead already, or before the last one, by the database's clock:
    /// the node was cut off, or that clock was set. Nobody has declared it dead.
    OutOfTime,
    /// The node was declared dead, or is not known: it owns nothing.
    Dead,
}

/// Says that a node lives.
///
/// # Errors
/// When the database is away or refuses.
pub async fn beat(
    conn: &mut AsyncPgConnection,
    boot: Uuid,
    now: DateTime<Utc>,
    draining: bool,
    ttl: Duration,
) -> Result<Heard, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        in_time: bool,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "UPDATE nodes n SET heartbeat_at = clock_timestamp(), draining = $3, \
             until = clock_timestamp() + make_interval(secs => $4), \
             clock_ahead_ms = round(extract(epoch FROM $2 - clock_timestamp()) * 1000) \
         FROM nodes last WHERE n.boot = $1 AND n.dead_at IS NULL AND n.left_at IS NULL AND last.boot = n.boot \
         RETURNING n.heartbeat_at BETWEEN last.heartbeat_at AND last.until AS in_time",
    )
    .bind::<SqlUuid, _>(boot)
    .bind::<Timestamptz, _>(now)
    .bind::<Bool, _>(draining)
    .bind::<Double, _>(ttl.as_secs_f64())
    .load(conn)
    .await?;
    Ok(match rows.as_slice() {
        [] => Heard::Dead,
        [row, ..] if row.in_time => Heard::InTime,
        _ => Heard::OutOfTime,
    })
}

/// Every node that is remembered, the newest life of each name first.
///
/// # Errors
/// When the database is away or refuses.
pub async fn members(conn: &mut AsyncPgConnection) -> Result<Vec<Member>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT boot, name, version, host, place, pid, can, started_at, clock_ahead_ms, draining, left_at, dead_at, \
             greatest(round(extract(epoch FROM clock_timestamp() - heartbeat_at) * 1000), 0)::bigint AS silent_ms, \
             dead_at IS NULL AND left_at IS NULL AND until >= clock_timestamp() AS lives \
         FROM nodes ORDER BY name, started_at DESC, boot",
    )
    .load(conn)
    .await?;
    Ok(rows)
}

/// Declares those dead that were not heard of in time, or were heard of at a time that has not come yet: by a clock of the
/// database that was set back since. Answers whom.
///
/// What they own is not free yet: first [`end_sessions`] until none is [`still_there`], then [`free`](super::leases::free).
///
/// # Errors
/// When the database is away or refuses.
pub async fn bury_silent(
    conn: &mut AsyncPgConnection,
    me: Uuid,
    ttl: Duration,
) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<Boot> = diesel::sql_query(
        "WITH due AS MATERIALIZED (SELECT boot FROM nodes WHERE boot <> $1 AND dead_at IS NULL AND left_at IS NULL \
             AND (until < clock_timestamp() OR heartbeat_at > clock_timestamp() + make_interval(secs => $2)) \
             ORDER BY boot FOR UPDATE SKIP LOCKED), \
         buried AS (UPDATE nodes n SET dead_at = clock_timestamp() FROM due WHERE n.boot = due.boot RETURNING n.boot) \
         SELECT boot FROM buried",
    )
    .bind::<SqlUuid, _>(me)
    .bind::<Double, _>(ttl.as_secs_f64())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.boot).collect())
}

/// Declares those dead whose process is known to have ended, whatever was heard of them; see [`bury_silent`].
///
/// # Errors
/// When the database is away or refuses.
pub async fn bury(conn: &mut AsyncPgConnection, surely: &[Uuid]) -> Result<(), StoreError> {
    diesel::sql_query(
        "WITH due AS MATERIALIZED (SELECT boot FROM nodes WHERE boot = ANY($1) AND dead_at IS NULL \
             AND left_at IS NULL ORDER BY boot FOR UPDATE SKIP LOCKED) \
         UPDATE nodes n SET dead_at = clock_timestamp() FROM due WHERE n.boot = due.boot",
    )
    .bind::<Array<SqlUuid>, _>(surely)
    .execute(conn)
    .await?;
    Ok(())
}

/// A session that was told to end.
#[derive(Clone, Debug, QueryableByName)]
pub struct Ending {
    /// Whose it is.
    #[diesel(sql_type = SqlUuid)]
    boot: Uuid,
    #[diesel(sql_type = Integer)]
    pid: i32,
    /// A process's number may be another's by now.
    #[diesel(sql_type = Timestamptz)]
    since: DateTime<Utc>,
}

/// Tells every session of those of `boots` to end that were declared dead, and of `me` but this one.
///
/// It waits for none of them: each takes its time, and all take theirs together. What they had begun and not committed is undone, and holds no lock any more, when
/// [`still_there`] says so. Sessions that are made later find in the tables that their node was declared dead.
///
/// # Errors
/// When the database is away or refuses.
pub async fn end_sessions(
    conn: &mut AsyncPgConnection,
    me: Uuid,
    boots: &[Uuid],
) -> Result<Vec<Ending>, StoreError> {
    let applications: Vec<String> = boots.iter().copied().map(application).collect();
    let rows = diesel::sql_query(
        "SELECT d.boot, a.pid, a.backend_start AS since, pg_terminate_backend(a.pid) AS told FROM pg_stat_activity a \
         JOIN unnest($1::text[], $2::uuid[]) AS d (application, boot) ON d.application = a.application_name \
         WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid() \
         AND (d.boot = $3 OR EXISTS (SELECT 1 FROM nodes n WHERE n.boot = d.boot AND n.dead_at IS NOT NULL))",
    )
    .bind::<Array<Text>, _>(applications)
    .bind::<Array<SqlUuid>, _>(boots)
    .bind::<SqlUuid, _>(me)
    .load(conn)
    .await?;
    Ok(rows)
}

/// Whose sessions have not ended yet.
///
/// # Errors
/// When the database is away or refuses.
pub async fn still_there(conn: &mut AsyncPgConnection, ending: &[Ending]) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<Boot> = diesel::sql_query(
        "SELECT DISTINCT e.boot FROM unnest($1::uuid[], $2::int[], $3::timestamptz[]) AS e (boot, pid, since) \
         JOIN pg_stat_activity a ON a.pid = e.pid AND a.backend_start = e.since",
    )
    .bind::<Array<SqlUuid>, _>(ending.iter().map(|e| e.boot).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(ending.iter().map(|e| e.pid).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(ending.iter().map(|e| e.since).collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.boot).collect())
}

/// The node ends in order: all it has is free.
///
/// # Errors
/// When the database is away or refuses.
pub async fn leave(conn: &mut AsyncPgConnection, boot: Uuid) -> Result<(), StoreError> {
    diesel::sql_query(
        "WITH me AS (UPDATE nodes SET left_at = clock_timestamp() WHERE boot = $1 AND left_at IS NULL RETURNING boot), \
         given AS (UPDATE leases SET owner = NULL, epoch = epoch + 1, since = NULL FROM me WHERE owner = me.boot) \
         SELECT pg_notify($2, $3) FROM me",
    )
    .bind::<SqlUuid, _>(boot)
    .bind::<Text, _>(CHANNEL)
    .bind::<Text, _>(MEMBERS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets nodes that have left or died longer ago than `keep`; answers how many.
///
/// # Errors
/// When the database is away or refuses.
pub async fn prune(conn: &mut AsyncPgConnection, keep: Duration) -> Result<usize, StoreError> {
    let gone = diesel::sql_query(
        "DELETE FROM nodes n WHERE COALESCE(left_at, dead_at) < clock_timestamp() - make_interval(secs => $1) \
         AND NOT EXISTS (SELECT 1 FROM leases WHERE owner = n.boot)",
    )
    .bind::<Double, _>(keep.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(gone)
}

/// Tells every node something, at once or, inside a transaction, with its COMMIT.
///
/// # Errors
/// When the database is away or refuses.
pub async fn tell(conn: &mut AsyncPgConnection, words: &[String]) -> Result<(), StoreError> {
    if words.is_empty() {
        return Ok(());
    }
    diesel::sql_query("SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word")
        .bind::<Text, _>(CHANNEL)
        .bind::<Array<Text>, _>(words)
        .execute(conn)
        .await?;
    Ok(())
}
