//! `inventory_management`: what is watched, and what counts for it.
//!
//! The watching path writes these rows through [`super::ledger`] alone; here they are added, listed, paused, removed
//! and read for the roster. A row that holds something which is none of our values is an error of that row, never of
//! the whole list: the rest is watched.

mod add;

pub use add::{Added, NewWatch, add, known};

use super::cell::{self, Cell};
use super::{StoreError, hot};
use crate::domain::{
    CostRule, Currency, HoldDefault, HoldId, HoldReason, HoldStatus, KnownHold, Money, ProductId, Proposal,
    Quantity, Shard, SourcePlatform, SourceProductId, SourceState, TitleHash, Version, WatchId,
};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Float, Integer, Nullable, Numeric, SmallInt, Text, Timestamptz,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// The columns of a [`WatchRow`] and where they come from.
macro_rules! row_sql {
    () => {
        "SELECT m.id, m.product_id, m.source_platform, m.source_product_id, m.version, m.current_stock, \
         m.current_price, m.currency::text AS currency, m.title_hash, m.url_status, m.seller_id, m.cost_rule, m.ends_at, \
         m.gone_since, m.last_verified_at, m.value_at_risk, m.rate_shape, m.rate_hours, m.monitoring_enabled, \
         m.held_reason, h.id AS hold_id, h.reason AS hold_reason, h.status AS hold_status, h.proposed_stock, \
         h.proposed_price, h.currency::text AS hold_currency, h.default_action, h.deadline, \
         h.detail->>'url_status' AS hold_url_status \
         FROM inventory_management m LEFT JOIN LATERAL (SELECT * FROM holds WHERE m.held_reason IS NOT NULL \
         AND watch_id = m.id AND (status = 'open' OR reason = m.held_reason) \
         ORDER BY status = 'open' DESC, id DESC LIMIT 1) h ON TRUE"
    };
}
/// A watch as the roster needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchRow {
    /// The row.
    pub watch_id: WatchId,
    /// The product that it watches.
    pub product_id: ProductId,
    /// Where it looks.
    pub source: SourcePlatform,
    /// What it looks at there.
    pub source_product_id: SourceProductId,
    /// How many accepted states there were.
    pub version: Version,
    /// The last; `None` while never observed.
    pub state: Option<SourceState>,
    /// The hash of the stored title.
    pub title_hash: Option<TitleHash>,
    /// Who sells it.
    pub seller_id: Option<Box<str>>,
    /// What an item costs.
    pub cost_rule: CostRule,
    /// When the auction is to end.
    pub ends_at: Option<DateTime<Utc>>,
    /// When the page was first seen gone or ended.
    pub gone_since: Option<DateTime<Utc>>,
    /// When the last understood page was read.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// Yen lost per hour while the listing is wrong.
    pub value_at_risk_jpy_per_hour: f32,
    /// The change rate's Gamma shape.
    pub rate_shape: f32,
    /// The change rate's Gamma rate, in hours.
    pub rate_hours: f32,
    /// Whether it is to be watched.
    pub enabled: bool,
    /// Why something of it waits, if it does: a [`HoldReason`], or `quarantined`.
    pub held_reason: Option<Box<str>>,
    /// The open one, whatever `held_reason` says; else the one behind it, that a person turned down.
    pub hold: Option<KnownHold>,
}

/// A row that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("watch `{watch_id}` cannot be watched: {problem}")]
pub struct BadWatch {
    /// The row.
    pub watch_id: WatchId,
    /// Which column, what was expected, what stands there.
    pub problem: String,
}

/// The next watches of `source` that are to be watched, by id, after `after`; at most `limit`, of these shards or of all.
///
/// # Errors
/// When the database is away or refuses.
pub async fn enabled_after(
    conn: &mut AsyncPgConnection,
    source: SourcePlatform,
    after: WatchId,
    shards: Option<&[Shard]>,
    limit: i64,
) -> Result<Vec<Result<WatchRow, BadWatch>>, StoreError> {
    let query = diesel::sql_query(concat!(
        row_sql!(),
        " WHERE m.source_platform = $1 AND m.monitoring_enabled AND m.source_product_id IS NOT NULL AND m.id > $2 \
         AND ($4 IS NULL OR (m.product_id & 255) = ANY($4)) ORDER BY m.id LIMIT $3"
    ))
    .bind::<Text, _>(source.as_str())
    .bind::<BigInt, _>(after.0)
    .bind::<BigInt, _>(limit)
    .bind::<Nullable<Array<SmallInt>>, _>(shards.map(|all| all.iter().map(|s| s.number()).collect::<Vec<_>>()));
    let records: Vec<Record> = hot(query).load(conn).await?;
    Ok(records.into_iter().map(Record::read).collect())
}

/// A watch whose row was written lately, and whether it is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The watch.
    pub watch_id: WatchId,
    /// Its product.
    pub product_id: ProductId,
    /// Whether it is to be watched.
    pub watched: bool,
}

/// The watches whose rows were written within the last `within`, or all.
///
/// # Errors
/// When the database is away or refuses.
pub async fn moved(conn: &mut AsyncPgConnection, within: Option<Duration>) -> Result<Vec<Moved>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        product_id: i64,
        #[diesel(sql_type = Bool)]
        watched: bool,
    }
    let query = diesel::sql_query(
        "SELECT id, product_id, monitoring_enabled AND source_product_id IS NOT NULL \
             AND held_reason IS DISTINCT FROM 'quarantined' AS watched FROM inventory_management \
         WHERE updated_at > COALESCE(now() - make_interval(secs => $1), '-infinity')",
    )
    .bind::<Nullable<Double>, _>(within.map(|span| span.as_secs_f64()));
    let rows: Vec<Row> = hot(query).load(conn).await?;
    let moved = |r: Row| Moved {
        watch_id: WatchId(r.id),
        product_id: ProductId(r.product_id),
        watched: r.watched,
    };
    Ok(rows.into_iter().map(moved).collect())
}

/// These watches as they stand now, in no order; those that are not there are left out.
///
/// # Errors
/// When the database is away or refuses.
pub async fn rows_of(
    conn: &mut AsyncPgConnection,
    ids: &[WatchId],
) -> Result<Vec<Result<WatchRow, BadWatch>>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = diesel::sql_query(concat!(row_sql!(), " WHERE m.id = ANY($1)"))
        .bind::<Array<BigInt>, _>(super::ledger::ids(ids.iter().copied()));
    let records: Vec<Record> = hot(query).load(conn).await?;
    Ok(records.into_iter().map(Record::read).collect())
}

/// One watch, its row locked until the transaction ends.
///
/// # Errors
/// [`StoreError::NotFound`] without it; [`StoreError::Query`] when the row cannot be understood.
pub async fn lock(conn: &mut AsyncPgConnection, id: WatchId) -> Result<WatchRow, StoreError> {
    let query = diesel::sql_query(concat!(row_sql!(), " WHERE m.id = $1 FOR NO KEY UPDATE OF m"))
        .bind::<BigInt, _>(id.0);
    let record: Option<Record> = hot(query).load(conn).await?.into_iter().next();
    let record = record.ok_or_else(|| StoreError::not_found(format!("watch `{id}`")))?;
    record.read().map_err(StoreError::bad_row)
}

/// The stored title of a watch; empty when there is none.
///
/// # Errors
/// When the database is away or refuses.
pub async fn title_of(conn: &mut AsyncPgConnection, id: WatchId) -> Result<Box<str>, StoreError> {
    #[derive(QueryableByName)]
    struct Title {
        #[diesel(sql_type = Text)]
        title: String,
    }
    let query =
        diesel::sql_query("SELECT title FROM inventory_management WHERE id = $1").bind::<BigInt, _>(id.0);
    let rows: Vec<Title> = hot(query).load(conn).await?;
    Ok(rows
        .into_iter()
        .next()
        .map(|r| r.title.into())
        .unwrap_or_default())
}

/// How many watches `source` has that are to be watched.
///
/// # Errors
/// When the database is away or refuses.
pub async fn count_enabled(conn: &mut AsyncPgConnection, source: SourcePlatform) -> Result<u64, StoreError> {
    let query = diesel::sql_query(
        "SELECT count(*) AS n FROM inventory_management WHERE source_platform = $1 AND monitoring_enabled",
    )
    .bind::<Text, _>(source.as_str());
    count(conn, query).await
}

/// How many watches of `source` were looked at after `since`, each counted once.
///
/// # Errors
/// When the database is away or refuses.
pub async fn count_seen_since(
    conn: &mut AsyncPgConnection,
    source: SourcePlatform,
    since: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let query = diesel::sql_query(
        "SELECT count(*) AS n FROM inventory_management WHERE source_platform = $1 AND last_verified_at > $2",
    )
    .bind::<Text, _>(source.as_str())
    .bind::<Timestamptz, _>(since);
    count(conn, query).await
}

/// Stops or takes up watching; answers those that moved. Resuming ends a quarantine; what waited before it still waits.
///
/// # Errors
/// When the database is away or refuses.
pub async fn set_enabled(
    conn: &mut AsyncPgConnection,
    watches: &[WatchId],
    enabled: bool,
) -> Result<Vec<WatchId>, StoreError> {
    let query = diesel::sql_query(
        "UPDATE inventory_management SET monitoring_enabled = $2, updated_at = now(), \
             held_reason = CASE WHEN $2 AND held_reason = 'quarantined' \
                 THEN (SELECT reason FROM holds h WHERE h.watch_id = inventory_management.id AND h.status = 'open') \
                 ELSE held_reason END \
         WHERE id = ANY($1) AND (monitoring_enabled <> $2 OR ($2 AND held_reason = 'quarantined')) RETURNING id",
    )
    .bind::<Array<BigInt>, _>(super::ledger::ids(watches.iter().copied()))
    .bind::<Bool, _>(enabled);
    changed(conn, query).await
}

/// Marks a watch whose watcher keeps crashing, so that a restart leaves it alone until a person resumes it.
///
/// # Errors
/// When the database is away or refuses.
pub async fn quarantine(conn: &mut AsyncPgConnection, watch: WatchId) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE inventory_management SET held_reason = 'quarantined', updated_at = now() WHERE id = $1",
    )
    .bind::<BigInt, _>(watch.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// A person's word that what a page shows now is the item after all, or is to be learnt anew.
///
/// Its title, seller and status are forgotten, and the next observation sets them. Stock and price stay, so that they are judged as ever.
///
/// # Errors
/// [`StoreError::NotFound`] without it.
pub async fn forget_identity(conn: &mut AsyncPgConnection, watch: WatchId) -> Result<(), StoreError> {
    let rows = diesel::sql_query(
        "UPDATE inventory_management SET title = '', title_hash = NULL, seller_id = NULL, url_status = 'active', \
             held_reason = CASE WHEN held_reason = 'quarantined' THEN held_reason END, gone_since = NULL, \
             version = version + (version > 0)::int, updated_at = now() \
         WHERE id = $1",
    )
    .bind::<BigInt, _>(watch.0)
    .execute(conn)
    .await?;
    if rows == 0 {
        return Err(StoreError::not_found(format!("watch `{watch}`")));
    }
    diesel::sql_query(
        "UPDATE holds SET status = 'superseded', decided_at = now(), decided_by = 'zaikoban', note = 'identity forgotten' \
         WHERE watch_id = $1 AND status = 'open'",
    )
    .bind::<BigInt, _>(watch.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes watches, and products that nothing watches or offers any more; answers those removed. History stays.
///
/// # Errors
/// When the database is away or refuses.
pub async fn remove(conn: &mut AsyncPgConnection, watches: &[WatchId]) -> Result<Vec<WatchId>, StoreError> {
    let query = diesel::sql_query(
        "WITH gone AS (DELETE FROM inventory_management WHERE id = ANY($1) RETURNING id, product_id), \
         bare AS (DELETE FROM yahoo_scraped_products p USING gone g WHERE p.id = g.product_id \
             AND NOT EXISTS (SELECT 1 FROM inventory_management m WHERE m.product_id = p.id AND m.id <> ALL($1)) \
             AND NOT EXISTS (SELECT 1 FROM listing_platforms l WHERE l.product_id = p.id)) \
         SELECT id FROM gone",
    )
    .bind::<Array<BigInt>, _>(super::ledger::ids(watches.iter().copied()));
    changed(conn, query).await
}

/// A watch and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The watch.
    pub watch_id: WatchId,
    /// Its product.
    pub product_id: ProductId,
    /// Whether it is watched.
    pub enabled: bool,
}

/// The watches of these products, by product.
///
/// # Errors
/// When the database is away or refuses.
pub async fn of_products(
    conn: &mut AsyncPgConnection,
    products: &[ProductId],
) -> Result<Vec<Owned>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        product_id: i64,
        #[diesel(sql_type = Bool)]
        enabled: bool,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT id, product_id, monitoring_enabled AS enabled FROM inventory_management WHERE product_id = ANY($1) \
         ORDER BY product_id, id",
    )
    .bind::<Array<BigInt>, _>(products.iter().map(|p| p.0).collect::<Vec<_>>())
    .load(conn)
    .await?;
    let owned = |r: Row| Owned {
        watch_id: WatchId(r.id),
        product_id: ProductId(r.product_id),
        enabled: r.enabled,
    };
    Ok(rows.into_iter().map(owned).collect())
}

/// Forgets products with their watches and listings; their history stays. Call it inside a transaction.
///
/// # Errors
/// When the database is away or refuses.
pub async fn remove_products(conn: &mut AsyncPgConnection, products: &[ProductId]) -> Result<(), StoreError> {
    // Watches, then listings, each by id, as the ledger takes them: a deletion alone takes them as it finds them, and
    // would meet a change that is being committed head on.
    for statement in [
        "SELECT id FROM inventory_management WHERE product_id = ANY($1) ORDER BY id FOR UPDATE",
        "SELECT id FROM listing_platforms WHERE product_id = ANY($1) ORDER BY id FOR UPDATE",
        "DELETE FROM yahoo_scraped_products WHERE id = ANY($1)",
    ] {
        diesel::sql_query(statement)
            .bind::<Array<BigInt>, _>(products.iter().map(|p| p.0).collect::<Vec<_>>())
            .execute(conn)
            .await?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

async fn count<Q>(conn: &mut AsyncPgConnection, query: Q) -> Result<u64, StoreError>
where
    Q: diesel::query_builder::QueryFragment<diesel::pg::Pg>
        + diesel::query_builder::QueryId
        + diesel::query_builder::Query<SqlType = diesel::sql_types::Untyped>
        + Send,
{
    let rows: Vec<Count> = query.load(conn).await?;
    let n = rows.into_iter().next().map_or(0, |r| r.n);
    Ok(u64::try_from(n).unwrap_or(0))
}

async fn changed<Q>(conn: &mut AsyncPgConnection, query: Q) -> Result<Vec<WatchId>, StoreError>
where
    Q: diesel::query_builder::QueryFragment<diesel::pg::Pg>
        + diesel::query_builder::QueryId
        + diesel::query_builder::Query<SqlType = diesel::sql_types::Untyped>
        + Send,
{
    let rows: Vec<Id> = query.load(conn).await?;
    Ok(rows.into_iter().map(|r| WatchId(r.id)).collect())
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Text)]
    source_platform: String,
    #[diesel(sql_type = Nullable<Text>)]
    source_product_id: Option<String>,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Integer)]
    current_stock: i32,
    #[diesel(sql_type = Nullable<Numeric>)]
    current_price: Option<Cell<Decimal>>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Nullable<Text>)]
    title_hash: Option<String>,
    #[diesel(sql_type = Text)]
    url_status: String,
    #[diesel(sql_type = Nullable<Text>)]
    seller_id: Option<String>,
    #[diesel(sql_type = Text)]
    cost_rule: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ends_at: Option<Cell<DateTime<Utc>>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    gone_since: Option<Cell<DateTime<Utc>>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_verified_at: Option<Cell<DateTime<Utc>>>,
    #[diesel(sql_type = Float)]
    value_at_risk: f32,
    #[diesel(sql_type = Float)]
    rate_shape: f32,
    #[diesel(sql_type = Float)]
    rate_hours: f32,
    #[diesel(sql_type = Bool)]
    monitoring_enabled: bool,
    #[diesel(sql_type = Nullable<Text>)]
    held_reason: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    hold_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    hold_reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    hold_status: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    proposed_stock: Option<i32>,
    #[diesel(sql_type = Nullable<Numeric>)]
    proposed_price: Option<Cell<Decimal>>,
    #[diesel(sql_type = Nullable<Text>)]
    hold_currency: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    default_action: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    deadline: Option<Cell<DateTime<Utc>>>,
    #[diesel(sql_type = Nullable<Text>)]
    hold_url_status: Option<String>,
}

impl Record {
    fn read(self) -> Result<WatchRow, BadWatch> {
        let watch_id = WatchId(self.id);
        self.try_read().map_err(|problem| BadWatch { watch_id, problem })
    }

    fn try_read(mut self) -> Result<WatchRow, String> {
        let price = cell::read(self.current_price.take(), "current_price")?;
        let state = SourceState {
            stock: quantity("current_stock", self.current_stock)?,
            price: money("current_price", price, &self.currency)?,
            url_status: parse("url_status", &self.url_status)?,
        };
        let hold = self.hold()?;
        let source_product_id = self.source_product_id.as_deref().unwrap_or_default();
        Ok(WatchRow {
            watch_id: WatchId(self.id),
            product_id: ProductId(self.product_id),
            source: parse("source_platform", &self.source_platform)?,
            source_product_id: SourceProductId::new(source_product_id)
                .map_err(|e| format!("`source_product_id`: {e}"))?,
            version: Version(self.version),
            state: (self.version > 0).then_some(state),
            title_hash: self.title_hash.as_deref().and_then(TitleHash::from_hex),
            seller_id: self.seller_id.map(Into::into),
            cost_rule: parse("cost_rule", &self.cost_rule)?,
            ends_at: cell::read(self.ends_at, "ends_at")?,
            gone_since: cell::read(self.gone_since, "gone_since")?,
            last_verified_at: cell::read(self.last_verified_at, "last_verified_at")?,
            value_at_risk_jpy_per_hour: finite("value_at_risk", self.value_at_risk)?,
            rate_shape: finite("rate_shape", self.rate_shape)?,
            rate_hours: finite("rate_hours", self.rate_hours)?,
            enabled: self.monitoring_enabled,
            held_reason: self.held_reason.map(Into::into),
            hold,
        })
    }

    fn hold(&mut self) -> Result<Option<KnownHold>, String> {
        let deadline = cell::read(self.deadline.take(), "holds.deadline")?;
        let price = cell::read(self.proposed_price.take(), "holds.proposed_price")?;
        let (Some(id), Some(reason), Some(status), Some(stock), Some(default), Some(deadline)) = (
            self.hold_id,
            &self.hold_reason,
            &self.hold_status,
            self.proposed_stock,
            &self.default_action,
            deadline,
        ) else {
            return Ok(None);
        };
        let currency = self.hold_currency.as_deref().unwrap_or("JPY");
        Ok(Some(KnownHold {
            id: HoldId(id),
            reason: parse::<HoldReason>("holds.reason", reason)?,
            status: parse::<HoldStatus>("holds.status", status)?,
            proposed: Proposal {
                stock: quantity("holds.proposed_stock", stock)?,
                price: money("holds.proposed_price", price, currency)?,
            },
            default_action: parse::<HoldDefault>("holds.default_action", default)?,
            deadline,
            // Written for people beside what they are told: what cannot be read here is no reason not to watch.
            url_status: self.hold_url_status.as_deref().and_then(|s| s.parse().ok()),
        }))
    }
}

/// A number that can be reckoned with.
fn finite(column: &str, number: f32) -> Result<f32, String> {
    let problem = || format!("`{column}`: expected a finite number, got {number}");
    number.is_finite().then_some(number).ok_or_else(problem)
}

pub(super) fn parse<T: FromStr>(column: &str, text: &str) -> Result<T, String>
where
    T::Err: Display,
{
    text.parse().map_err(|e| format!("`{column}`: {e}"))
}

pub(super) fn quantity(column: &str, count: i32) -> Result<Quantity, String> {
    Quantity::new(i64::from(count)).map_err(|e| format!("`{column}`: {e}"))
}

pub(super) fn money(column: &str, amount: Option<Decimal>, currency: &str) -> Result<Option<Money>, String> {
    let currency: Currency = parse(column, currency)?;
    amount
        .map(|amount| Money::new(amount, currency).map_err(|e| format!("`{column}`: {e}")))
        .transpose()
}
