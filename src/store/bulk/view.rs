//! What a person looks at.

use crate::store::StoreError;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;

/// Refused prices that are shown beside their feed.
pub const SHOWN: i64 = 20;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Jsonb)]
    view: Value,
}

/// The newest feeds first, those before `before`: state, times, counts, and the first refused prices of each.
///
/// # Errors
/// When the database is away or refuses.
pub async fn list(
    conn: &mut AsyncPgConnection,
    (before, limit): (Option<i64>, i64),
    destination: Option<&str>,
) -> Result<Vec<Value>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT to_jsonb(v) AS view FROM (
             SELECT f.id, f.platform, f.state, f.result, f.feed_id, f.items, f.sent, c.open, c.accepted, c.refused,
                    c.unknown, c.left_out, f.tries, f.error_code, f.error, f.said, f.created_at, f.submitted_at,
                    f.ended_at, f.settled_at, f.next_at,
                    COALESCE((SELECT jsonb_agg(r) FROM (
                        SELECT i.listing_id, i.sku, trim_scale(i.price)::text AS price, i.currency::text AS currency,
                               i.error
                        FROM bulk_feed_items i WHERE i.feed = f.id AND i.outcome = 'refused'
                        ORDER BY i.message LIMIT $4) r), '[]'::jsonb) AS refusals
             FROM bulk_feeds f CROSS JOIN LATERAL (
                 SELECT count(*) FILTER (WHERE outcome IS NULL) AS open,
                        count(*) FILTER (WHERE outcome = 'accepted') AS accepted,
                        count(*) FILTER (WHERE outcome = 'refused') AS refused,
                        count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
                        count(*) FILTER (WHERE outcome = 'left_out') AS left_out
                 FROM bulk_feed_items WHERE feed = f.id) c
             WHERE ($1 IS NULL OR f.id < $1) AND ($3 IS NULL OR f.platform = $3)
             ORDER BY f.id DESC LIMIT $2) v ORDER BY v.id DESC",
    )
    .bind::<Nullable<BigInt>, _>(before)
    .bind::<BigInt, _>(limit)
    .bind::<Nullable<Text>, _>(destination)
    .bind::<BigInt, _>(SHOWN)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}
