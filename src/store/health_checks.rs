//! `health_check_results`: how everything the daemon stands on was, look by look.

use super::StoreError;
use super::text;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;
use uuid::Uuid;

/// Keeps one look; `failed` of its checks did.
///
/// # Errors
/// When the database is away or refuses.
pub async fn record(
    conn: &mut AsyncPgConnection,
    checks: Value,
    failed: i32,
    execution: Option<Uuid>,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "INSERT INTO health_check_results (overall_status, test_results, failed_tests, execution_id) \
         VALUES ($1, $2, $3, $4)",
    )
    .bind::<Text, _>(if failed > 0 { "unhealthy" } else { "healthy" })
    .bind::<Jsonb, _>(text::json(checks))
    .bind::<Integer, _>(failed)
    .bind::<Nullable<SqlUuid>, _>(execution)
    .execute(conn)
    .await?;
    Ok(())
}

/// The latest looks, the newest first.
///
/// # Errors
/// When the database is away or refuses.
pub async fn latest(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<Value>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Jsonb)]
        view: Value,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT to_jsonb(v) AS view FROM (SELECT id, check_timestamp AS at, overall_status AS status, \
         failed_tests AS failed, test_results AS checks FROM health_check_results ORDER BY id DESC LIMIT $1) v",
    )
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}
