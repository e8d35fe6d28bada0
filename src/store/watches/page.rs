//! Watches as people see them: filtered, a page at a time.

use super::{StoreError, money, parse, quantity};
use crate::domain::{CostRule, Money, ProductId, Quantity, SourcePlatform, UrlStatus, Version, WatchId};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Float, Integer, Nullable, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde::Serialize;

/// Which watches to list. `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFilter {
    /// Where they look.
    pub source: Option<SourcePlatform>,
    /// Watched or paused.
    pub enabled: Option<bool>,
    /// What became of the address.
    pub url_status: Option<UrlStatus>,
    /// With pieces to buy, or without.
    pub in_stock: Option<bool>,
    /// With something that waits, or without.
    pub held: Option<bool>,
    /// Of this product.
    pub product_id: Option<ProductId>,
    /// Part of the title, or the whole item id.
    pub text: Option<String>,
}

/// A watch as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WatchView {
    /// The row.
    pub watch_id: WatchId,
    /// The product that it watches.
    pub product_id: ProductId,
    /// Where it looks.
    pub source: SourcePlatform,
    /// The address.
    pub source_url: String,
    /// What it looks at.
    pub source_product_id: Option<String>,
    /// The title that the page showed last.
    pub title: String,
    /// Pieces that can be bought.
    pub stock: Quantity,
    /// What one costs.
    pub price: Option<Money>,
    /// What an item costs, as a rule.
    pub cost_rule: CostRule,
    /// What became of the address.
    pub url_status: UrlStatus,
    /// How many states were accepted; 0 has never been observed.
    pub version: Version,
    /// Whether it is watched.
    pub enabled: bool,
    /// Why something of it waits.
    pub held_reason: Option<String>,
    /// When the auction is to end.
    pub ends_at: Option<DateTime<Utc>>,
    /// When the last understood page was read.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
    /// Yen lost per hour while the listing is wrong.
    pub value_at_risk_jpy_per_hour: f32,
    /// How often it is thought to change.
    pub changes_per_hour: f32,
}

macro_rules! view_sql {
    () => {
        "SELECT m.id, m.product_id, m.source_platform, m.source_url, m.source_product_id, m.title, m.current_stock, \
         m.current_price, m.currency::text AS currency, m.cost_rule, m.url_status, m.version, m.monitoring_enabled, \
         m.held_reason, m.ends_at, m.last_verified_at, m.updated_at, m.value_at_risk, \
         (m.rate_shape / m.rate_hours)::real AS changes_per_hour FROM inventory_management m"
    };
}

/// The watches that `filter` lets through, by id, after `after`; at most `limit`.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn page(
    conn: &mut AsyncPgConnection,
    filter: &WatchFilter,
    after: WatchId,
    limit: i64,
) -> Result<Vec<WatchView>, StoreError> {
    let text = filter.text.as_deref().filter(|t| !t.is_empty());
    let records: Vec<Record> = diesel::sql_query(concat!(
        view_sql!(),
        " WHERE m.id > $1 AND ($2::text IS NULL OR m.source_platform = $2) \
         AND ($3::bool IS NULL OR m.monitoring_enabled = $3) AND ($4::text IS NULL OR m.url_status = $4) \
         AND ($5::bool IS NULL OR (m.current_stock > 0) = $5) \
         AND ($6::bool IS NULL OR (m.held_reason IS NOT NULL) = $6) AND ($7::bigint IS NULL OR m.product_id = $7) \
         AND ($8::text IS NULL OR strpos(lower(m.title), lower($8)) > 0 OR m.source_product_id = $8) \
         ORDER BY m.id LIMIT $9"
    ))
    .bind::<BigInt, _>(after.0)
    .bind::<Nullable<Text>, _>(filter.source.map(SourcePlatform::as_str))
    .bind::<Nullable<Bool>, _>(filter.enabled)
    .bind::<Nullable<Text>, _>(filter.url_status.map(UrlStatus::as_str))
    .bind::<Nullable<Bool>, _>(filter.in_stock)
    .bind::<Nullable<Bool>, _>(filter.held)
    .bind::<Nullable<BigInt>, _>(filter.product_id.map(|p| p.0))
    .bind::<Nullable<Text>, _>(text)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

/// One watch.
///
/// # Errors
/// When the database is away or refuses, or the row cannot be understood.
pub async fn find_view(conn: &mut AsyncPgConnection, id: WatchId) -> Result<Option<WatchView>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(concat!(view_sql!(), " WHERE m.id = $1"))
        .bind::<BigInt, _>(id.0)
        .load(conn)
        .await?;
    records.into_iter().next().map(Record::read).transpose()
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Text)]
    source_platform: String,
    #[diesel(sql_type = Text)]
    source_url: String,
    #[diesel(sql_type = Nullable<Text>)]
    source_product_id: Option<String>,
    #[diesel(sql_type = Text)]
    title: String,
    #[diesel(sql_type = Integer)]
    current_stock: i32,
    #[diesel(sql_type = Nullable<Numeric>)]
    current_price: Option<Decimal>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Text)]
    cost_rule: String,
    #[diesel(sql_type = Text)]
    url_status: String,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Bool)]
    monitoring_enabled: bool,
    #[diesel(sql_type = Nullable<Text>)]
    held_reason: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ends_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_verified_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = Float)]
    value_at_risk: f32,
    #[diesel(sql_type = Float)]
    changes_per_hour: f32,
}

impl Record {
    fn read(self) -> Result<WatchView, StoreError> {
        let id = self.id;
        self.try_read()
            .map_err(|problem| StoreError::bad_row(format!("watch `{id}`: {problem}")))
    }

    fn try_read(self) -> Result<WatchView, String> {
        Ok(WatchView {
            watch_id: WatchId(self.id),
            product_id: ProductId(self.product_id),
            source: parse("source_platform", &self.source_platform)?,
            source_url: self.source_url,
            source_product_id: self.source_product_id,
            title: self.title,
            stock: quantity("current_stock", self.current_stock)?,
            price: money("current_price", self.current_price, &self.currency)?,
            cost_rule: parse("cost_rule", &self.cost_rule)?,
            url_status: parse("url_status", &self.url_status)?,
            version: Version(self.version),
            enabled: self.monitoring_enabled,
            held_reason: self.held_reason,
            ends_at: self.ends_at,
            last_verified_at: self.last_verified_at,
            updated_at: self.updated_at,
            value_at_risk_jpy_per_hour: self.value_at_risk,
            changes_per_hour: self.changes_per_hour,
        })
    }
}
