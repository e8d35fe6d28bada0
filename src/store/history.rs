//! `stock_history`: every accepted change, once.

use super::watches::{money, parse, quantity};
use super::{StoreError, hot};
use crate::domain::{
    ChangeSource, ChangeType, Currency, Money, ProductId, Quantity, SourcePlatform, Version, WatchId,
};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde::Serialize;

/// One accepted change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryRow {
    /// The row.
    pub id: i64,
    /// The product.
    pub product_id: ProductId,
    /// The watch.
    pub watch_id: WatchId,
    /// The version that it made.
    pub version: Version,
    /// What moved.
    pub change_type: ChangeType,
    /// Who said so.
    pub change_source: ChangeSource,
    /// Pieces before; `None` for the first observation.
    pub previous_stock: Option<Quantity>,
    /// Pieces after.
    pub new_stock: Quantity,
    /// What one cost before.
    pub previous_price: Option<Money>,
    /// What one costs since.
    pub new_price: Option<Money>,
    /// Whether going out of stock was announced.
    pub explained: bool,
    /// When the page was read.
    pub fetched_at: Option<DateTime<Utc>>,
    /// When it was written, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// How many prices an anomaly is measured against: enough for a spread, few enough to follow a trend.
const RECENT_PRICES: i64 = 20;

/// The last accepted prices of a watch, newest first.
///
/// # Errors
/// When the database is away or refuses.
pub async fn recent_prices(conn: &mut AsyncPgConnection, watch: WatchId) -> Result<Vec<Money>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Numeric)]
        new_price: Decimal,
        #[diesel(sql_type = Text)]
        currency: String,
    }
    let query = diesel::sql_query(
        "SELECT new_price, currency::text AS currency FROM stock_history \
         WHERE watch_id = $1 AND new_price IS NOT NULL AND change_type <> 'stock_change' \
         ORDER BY version DESC LIMIT $2",
    )
    .bind::<BigInt, _>(watch.0)
    .bind::<BigInt, _>(RECENT_PRICES);
    let rows: Vec<Row> = hot(query).load(conn).await?;
    // A row that cannot be read is no price to measure against; it is not a reason to stop watching.
    Ok(rows
        .into_iter()
        .filter_map(|r| Money::new(r.new_price, r.currency.parse::<Currency>().ok()?).ok())
        .collect())
}

/// Which watches of `source` went out of stock unexplained since `since`, or wait to, and when: the window of the blast
/// radius.
///
/// # Errors
/// When the database is away or refuses.
pub async fn emptied_since(
    conn: &mut AsyncPgConnection,
    source: SourcePlatform,
    since: DateTime<Utc>,
) -> Result<Vec<(WatchId, DateTime<Utc>)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        watch_id: i64,
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT watch_id, max(at) AS at FROM ( \
             SELECT watch_id, COALESCE(fetched_at, created_at) AS at FROM stock_history \
             WHERE created_at >= $2 AND change_source = $1 AND new_stock = 0 AND previous_stock > 0 AND NOT explained \
             UNION ALL \
             SELECT h.watch_id, COALESCE(h.fetched_at, h.created_at) FROM holds h \
             JOIN inventory_management m ON m.id = h.watch_id \
             WHERE h.created_at >= $2 AND h.reason = 'mass_change' AND m.source_platform = $1) AS all_of_them \
         GROUP BY watch_id",
    )
    .bind::<Text, _>(source.as_str())
    .bind::<Timestamptz, _>(since)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (WatchId(r.watch_id), r.at)).collect())
}

/// The changes of a product, newest first, before row `before`; at most `limit`.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn page(
    conn: &mut AsyncPgConnection,
    product: ProductId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<HistoryRow>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(
        "SELECT id, product_id, watch_id, version, change_type, change_source, previous_stock, new_stock, \
             previous_price, new_price, currency::text AS currency, explained, fetched_at, created_at \
         FROM stock_history WHERE product_id = $1 AND ($2::bigint IS NULL OR id < $2) \
         ORDER BY created_at DESC, id DESC LIMIT $3",
    )
    .bind::<BigInt, _>(product.0)
    .bind::<Nullable<BigInt>, _>(before)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = BigInt)]
    watch_id: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    change_type: String,
    #[diesel(sql_type = Text)]
    change_source: String,
    #[diesel(sql_type = Nullable<Integer>)]
    previous_stock: Option<i32>,
    #[diesel(sql_type = Integer)]
    new_stock: i32,
    #[diesel(sql_type = Nullable<Numeric>)]
    previous_price: Option<Decimal>,
    #[diesel(sql_type = Nullable<Numeric>)]
    new_price: Option<Decimal>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Bool)]
    explained: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    fetched_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
}

impl Record {
    fn read(self) -> Result<HistoryRow, StoreError> {
        let id = self.id;
        self.try_read()
            .map_err(|problem| StoreError::bad_row(format!("stock_history `{id}`: {problem}")))
    }

    fn try_read(self) -> Result<HistoryRow, String> {
        Ok(HistoryRow {
            id: self.id,
            product_id: ProductId(self.product_id),
            watch_id: WatchId(self.watch_id),
            version: Version(self.version),
            change_type: parse("change_type", &self.change_type)?,
            change_source: parse("change_source", &self.change_source)?,
            previous_stock: self
                .previous_stock
                .map(|s| quantity("previous_stock", s))
                .transpose()?,
            new_stock: quantity("new_stock", self.new_stock)?,
            // The currency is the new price's; an amount before that is too fine for it was of another, and is left out.
            previous_price: money("previous_price", self.previous_price, &self.currency).unwrap_or_default(),
            new_price: money("new_price", self.new_price, &self.currency)?,
            explained: self.explained,
            fetched_at: self.fetched_at,
            created_at: self.created_at,
        })
    }
}
