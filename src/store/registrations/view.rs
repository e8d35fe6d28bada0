//! What a person looks at.

use crate::domain::{DestinationPlatform, JobId, ProductId, RegistrationId};
use crate::store::StoreError;
use crate::store::listings::parse;
use crate::store::views::Window;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;
use serde_json::Value;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Jsonb)]
    view: Value,
}

/// A registration that is not done and that no job goes on with: its job is a dead letter, or was discarded.
const STOPPED: &str = "(r.state <> 'failed' AND r.listing_id IS NULL AND NOT EXISTS ( \
     SELECT FROM processing_queue AS q WHERE q.unique_key = 'product_registration:' || r.id \
     AND q.status IN ('pending', 'processing', 'failed')))";

/// How many registrations stand where. Those in `waiting` to `linking` are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, QueryableByName)]
pub struct Counts {
    /// Nothing is made yet.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// The goods are described.
    #[diesel(sql_type = BigInt)]
    pub item_made: i64,
    /// The offer is made.
    #[diesel(sql_type = BigInt)]
    pub offer_made: i64,
    /// On sale, and not yet a listing of ours.
    #[diesel(sql_type = BigInt)]
    pub linking: i64,
    /// On sale, and a listing.
    #[diesel(sql_type = BigInt)]
    pub listed: i64,
    /// Its job was given up or discarded: goes on when a person says so.
    #[diesel(sql_type = BigInt)]
    pub stopped: i64,
    /// Will not get further by itself.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
}

/// How many registrations of a destination, or of all, stand where.
///
/// # Errors
/// When the database is away or refuses.
pub async fn counts(conn: &mut AsyncPgConnection, destination: Option<&str>) -> Result<Counts, StoreError> {
    let counts = diesel::sql_query(format!(
        "WITH r AS (SELECT r.state, r.listing_id, {STOPPED} AS stopped FROM registrations AS r \
             WHERE $1 IS NULL OR r.platform = $1) \
         SELECT count(*) FILTER (WHERE state = 'waiting' AND NOT stopped) AS waiting, \
             count(*) FILTER (WHERE state = 'item_made' AND NOT stopped) AS item_made, \
             count(*) FILTER (WHERE state = 'offer_made' AND NOT stopped) AS offer_made, \
             count(*) FILTER (WHERE state = 'published' AND listing_id IS NULL AND NOT stopped) AS linking, \
             count(*) FILTER (WHERE state = 'published' AND listing_id IS NOT NULL) AS listed, \
             count(*) FILTER (WHERE stopped) AS stopped, \
             count(*) FILTER (WHERE state = 'failed') AS failed \
         FROM r",
    ))
    .bind::<Nullable<Text>, _>(destination)
    .get_result(conn)
    .await?;
    Ok(counts)
}

/// Registrations in the order of their ids; `state` is one of the words of the table.
///
/// # Errors
/// When the database is away or refuses.
pub async fn list(
    conn: &mut AsyncPgConnection,
    window: Window,
    destination: Option<&str>,
    state: Option<&str>,
) -> Result<Vec<Value>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT to_jsonb(v) AS view FROM (
             SELECT r.id, r.product_id, r.platform, r.sku, r.content->>'title' AS title, r.state, {STOPPED} AS stopped,
                    r.auto_sync, r.offer_id,
                    r.quantity, trim_scale(r.price)::text AS price, r.currency::text AS currency, r.listing_id, r.tries,
                    r.error_code, r.error, r.requested_by, r.created_at, r.updated_at, r.published_at
             FROM registrations r
             WHERE r.id > $1 AND ($3 IS NULL OR r.platform = $3) AND ($4 IS NULL OR r.state = $4)
             ORDER BY r.id LIMIT $2) v ORDER BY v.id",
    ))
    .bind::<BigInt, _>(window.after)
    .bind::<BigInt, _>(window.limit)
    .bind::<Nullable<Text>, _>(destination)
    .bind::<Nullable<Text>, _>(state)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}

/// A registration that nothing goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Which.
    pub id: RegistrationId,
    /// Its product.
    pub product: ProductId,
    /// Where to.
    pub destination: DestinationPlatform,
    /// The newest dead letter about it; none when it was discarded.
    pub letter: Option<JobId>,
}

/// Registrations of a destination, or of all, that nothing goes on with; the first `limit` by their ids.
///
/// # Errors
/// When the database is away, refuses, or holds a destination that there is not.
pub async fn stopped(
    conn: &mut AsyncPgConnection,
    destination: Option<&str>,
    limit: i64,
) -> Result<Vec<Stopped>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        product_id: i64,
        #[diesel(sql_type = Text)]
        platform: String,
        #[diesel(sql_type = Nullable<BigInt>)]
        letter: Option<i64>,
    }
    let rows: Vec<Found> = diesel::sql_query(format!(
        "SELECT r.id, r.product_id, r.platform, ( \
             SELECT max(d.id) FROM processing_queue AS d WHERE d.status = 'dead' \
             AND d.unique_key = 'product_registration:' || r.id) AS letter \
         FROM registrations AS r WHERE ($1 IS NULL OR r.platform = $1) AND {STOPPED} ORDER BY r.id LIMIT $2"
    ))
    .bind::<Nullable<Text>, _>(destination)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    let read = |row: Found| {
        let at = format!("registrations.platform of registration `{}`", row.id);
        Ok(Stopped {
            id: RegistrationId(row.id),
            product: ProductId(row.product_id),
            destination: parse(&at, &row.platform)?,
            letter: row.letter.map(JobId),
        })
    };
    rows.into_iter().map(read).collect()
}

/// Why a product or SKU cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Named {
    /// The product that stands there.
    #[diesel(sql_type = BigInt)]
    pub product: i64,
    /// Its SKU.
    #[diesel(sql_type = Text)]
    pub sku: String,
    /// `listed`, or how far its registration is.
    #[diesel(sql_type = Text)]
    pub standing: String,
}

/// What is at a destination already, or on its way there, of these products or under these SKUs; registrations that
/// failed are left out.
///
/// # Errors
/// When the database is away or refuses.
pub async fn named(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    products: &[i64],
    skus: &[String],
) -> Result<Vec<Named>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT product_id AS product, sku::text AS sku, 'listed' AS standing FROM listing_platforms \
         WHERE platform = $1 AND (product_id = ANY($2) OR sku = ANY($3)) \
         UNION ALL SELECT product_id, sku::text, state FROM registrations \
         WHERE platform = $1 AND (product_id = ANY($2) OR sku = ANY($3)) AND listing_id IS NULL \
             AND NOT (state = 'failed' AND product_id = ANY($2))",
    )
    .bind::<Text, _>(destination.as_str())
    .bind::<Array<BigInt>, _>(products)
    .bind::<Array<Text>, _>(skus)
    .load(conn)
    .await?;
    Ok(rows)
}
