//! The schema, embedded in the program and brought up to date under a lock.
//!
//! Each migration runs in a transaction of its own, so a crash in the middle leaves the version before it. An advisory
//! lock lets one process at a time work on the schema; a second one waits, then finds nothing to do. A database whose
//! schema is newer than the program is refused: an old program would write rows that the new one has redefined.

use super::error::StoreError;
use super::pool::Db;
use diesel::connection::SimpleConnection;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::{QueryableByName, sql_types::Text};
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use serde::Serialize;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// "zaikoban" in bytes: nobody else's advisory lock.
const LOCK_KEY: i64 = 0x7a61_696b_6f62_616e;

/// Where the database's schema stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SchemaStatus {
    /// Versions in the database, oldest first.
    pub applied: Vec<String>,
    /// Versions that this program would add.
    pub pending: Vec<String>,
}

/// Adds what is missing; answers the versions that were added.
///
/// # Errors
/// [`StoreError::Unfit`] when the database is newer than this program or a migration fails;
/// [`StoreError::Unavailable`] when it is away.
pub async fn up(db: &Db) -> Result<Vec<String>, StoreError> {
    on_locked_connection(db, |conn| {
        let done = conn.run_pending_migrations(MIGRATIONS)?;
        Ok(done.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Takes back the latest `steps` migrations; answers their versions. What they made is deleted.
///
/// # Errors
/// As [`up`].
pub async fn down(db: &Db, steps: usize) -> Result<Vec<String>, StoreError> {
    on_locked_connection(db, move |conn| {
        let applied = conn.applied_migrations()?.len();
        (0..steps.min(applied))
            .map(|_| Ok(conn.revert_last_migration(MIGRATIONS)?.to_string()))
            .collect()
    })
    .await
}

/// Takes back the latest migration and runs it again.
///
/// # Errors
/// As [`up`].
pub async fn redo(db: &Db) -> Result<Vec<String>, StoreError> {
    on_locked_connection(db, |conn| {
        conn.revert_last_migration(MIGRATIONS)?;
        let done = conn.run_pending_migrations(MIGRATIONS)?;
        Ok(done.iter().map(ToString::to_string).collect())
    })
    .await
}

/// The versions that this program would add to a new database.
///
/// # Errors
/// When the program was built with migrations that cannot be read.
pub fn all() -> Result<Vec<String>, StoreError> {
    known()
}

/// Compares the database with this program, changing nothing.
///
/// # Errors
/// As [`up`].
pub async fn status(db: &Db) -> Result<SchemaStatus, StoreError> {
    let mut conn = db.conn().await?;
    let applied = applied(&mut conn).await?;
    let known = known()?;
    refuse_newer(&applied, &known)?;
    let pending = known.into_iter().filter(|v| !applied.contains(v)).collect();
    Ok(SchemaStatus { applied, pending })
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Blocking = AsyncConnectionWrapper<AsyncPgConnection>;

/// diesel's migrations speak to a blocking connection; this lends them one, on a thread that may block, inside the lock.
async fn on_locked_connection<T, F>(db: &Db, work: F) -> Result<T, StoreError>
where
    F: FnOnce(&mut Blocking) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    let mut conn = db.own_conn().await?;
    // building an index may take long, and so may whoever has the lock
    conn.batch_execute(
        "SET statement_timeout = 0; SET lock_timeout = '60s'; SET idle_in_transaction_session_timeout = 0",
    )
    .await?;
    conn.batch_execute(&format!("SELECT pg_advisory_lock({LOCK_KEY})"))
        .await?;
    refuse_newer(&applied(&mut conn).await?, &known()?)?;
    let work = tokio::task::spawn_blocking(move || {
        // the lock goes with the connection
        let mut conn = Blocking::from(conn);
        work(&mut conn).map_err(|failure| {
            // diesel's error of a migration is private; whether the database went away, its connection tells
            let away = SimpleConnection::batch_execute(&mut conn, "SELECT 1")
                .err()
                .map(StoreError::from);
            (failure.to_string(), away.filter(StoreError::is_outage))
        })
    });
    match work.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err((_, Some(away)))) => Err(away),
        Ok(Err((failure, None))) => Err(StoreError::Unfit {
            problem: format!(
                "a migration of {} failed and was rolled back: {failure}",
                db.settings().shown()
            ),
        }),
        Err(e) => Err(StoreError::unavailable(format!("migrating was broken off: {e}"))),
    }
}

fn known() -> Result<Vec<String>, StoreError> {
    let all = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(StoreError::bad_row)?;
    let mut versions: Vec<String> = all
        .iter()
        .map(|m| MigrationVersion::to_string(&m.name().version()))
        .collect();
    versions.sort();
    Ok(versions)
}

async fn applied(conn: &mut AsyncPgConnection) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let there = diesel::sql_query(
        "SELECT relname::text AS version FROM pg_class WHERE oid = to_regclass('__diesel_schema_migrations')",
    )
    .load::<Row>(conn)
    .await?;
    if there.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> =
        diesel::sql_query("SELECT version::text AS version FROM __diesel_schema_migrations ORDER BY version")
            .load(conn)
            .await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// An unknown version in the database means that a newer program has been here.
fn refuse_newer(applied: &[String], known: &[String]) -> Result<(), StoreError> {
    let Some(stranger) = applied.iter().filter(|v| !known.contains(v)).max() else {
        return Ok(());
    };
    let newest = known.last().map_or("none", String::as_str);
    Err(StoreError::Unfit {
        problem: format!(
            "the database has schema {stranger}, this binary knows ≤ {newest}: start the newer program again, or restore \
             the backup made before it"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_newer_than_the_program_is_refused_with_both_versions() {
        let known = vec!["20261122000001".to_owned()];
        assert!(refuse_newer(&[], &known).is_ok());
        assert!(refuse_newer(&known, &known).is_ok());
        let newer = vec!["20261122000001".to_owned(), "20270101000001".to_owned()];
        let text = refuse_newer(&newer, &known).unwrap_err().to_string();
        assert!(
            text.contains("schema 20270101000001, this binary knows ≤ 20261122000001"),
            "{text}"
        );
    }
}
