//! Which database this is, as a word that no other database bears.
//!
//! Two daemons that share a Redis must share its keys exactly when they share a database. The word is PostgreSQL's own:
//! the cluster's system identifier, which `initdb` draws, and the database's number in it. A standby that takes over
//! keeps it; a dump that is read in elsewhere, for a rehearsal say, does not, whereas a row in a table of ours would have
//! come along with the dump and mixed the two. Only a copy of the files themselves bears the same word; even then nothing
//! is done twice, because PostgreSQL decides whose a job is.

use super::super::StoreError;
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

/// Reads the word, such as `7412345678901234567-16384`.
///
/// # Errors
/// Those of the database; [`StoreError::Query`] when the role may not read it.
pub async fn instance(conn: &mut AsyncPgConnection) -> Result<String, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        word: String,
    }
    let row: Row = diesel::sql_query(
        "SELECT system_identifier::text || '-' || oid::text AS word \
         FROM pg_control_system(), pg_database WHERE datname = current_database()",
    )
    .get_result(conn)
    .await?;
    Ok(row.word)
}
