//! `holds`: changes that wait for a person, and what was decided.
//!
//! A hold is opened and settled together with the state of its watch, in [`super::ledger`]; here it is listed, locked and
//! read. The order of locks is the watch's row first, then the hold: the ledger takes them so too.

use super::watches::{money, parse, quantity};
use super::{StoreError, hot};
use crate::domain::{
    HoldDefault, HoldId, HoldReason, HoldStatus, ListingId, Meanwhile, Money, ProductId, Quantity, Shard,
    Version, WatchId,
};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde::Serialize;

/// A hold as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hold {
    /// The row.
    pub id: HoldId,
    /// The product.
    pub product_id: ProductId,
    /// The watch whose change waits.
    pub watch_id: Option<WatchId>,
    /// The listing whose push waits.
    pub listing_id: Option<ListingId>,
    /// Why; a [`HoldReason`] where it is ours.
    pub reason: String,
    /// What was seen and what it was measured against.
    pub detail: serde_json::Value,
    /// Pieces that would count.
    pub proposed_stock: Option<Quantity>,
    /// What one would cost.
    pub proposed_price: Option<Money>,
    /// The version that it stands on.
    pub base_version: Version,
    /// When the page behind it was read.
    pub fetched_at: Option<DateTime<Utc>>,
    /// What the listings do meanwhile.
    pub meanwhile: Meanwhile,
    /// What became of it.
    pub status: HoldStatus,
    /// What happens at the deadline.
    pub default_action: HoldDefault,
    /// The deadline.
    pub deadline: DateTime<Utc>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<DateTime<Utc>>,
    /// What was said about it.
    pub note: Option<String>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// The title of what it is about.
    pub title: String,
}

impl Hold {
    /// The reason, where it is one of ours.
    #[must_use]
    pub fn known_reason(&self) -> Option<HoldReason> {
        self.reason.parse().ok()
    }

    /// Nobody has decided yet.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] with who did.
    pub fn expect_open(&self) -> Result<(), StoreError> {
        if self.status == HoldStatus::Open {
            return Ok(());
        }
        let by = self.decided_by.as_deref().unwrap_or("nobody known");
        Err(StoreError::conflict(format!(
            "hold `{}` is {} already, by {by}",
            self.id, self.status
        )))
    }
}

/// Which holds to list. `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldFilter {
    /// What became of them.
    pub status: Option<HoldStatus>,
    /// Why.
    pub reason: Option<String>,
    /// Of this product.
    pub product_id: Option<ProductId>,
}

macro_rules! hold_sql {
    () => {
        "SELECT h.id, h.product_id, h.watch_id, h.listing_id, h.reason, h.detail, h.proposed_stock, h.proposed_price, \
         h.currency::text AS currency, h.base_version, h.fetched_at, h.meanwhile, h.status, h.default_action, \
         h.deadline, h.decided_by, h.decided_at, h.note, h.created_at, \
         COALESCE(NULLIF(m.title, ''), p.title, '') AS title FROM holds h \
         LEFT JOIN inventory_management m ON m.id = h.watch_id \
         LEFT JOIN yahoo_scraped_products p ON p.id = h.product_id"
    };
}

/// The holds that `filter` lets through, newest first, before `before`; at most `limit`.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn page(
    conn: &mut AsyncPgConnection,
    filter: &HoldFilter,
    before: Option<HoldId>,
    limit: i64,
) -> Result<Vec<Hold>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(concat!(
        hold_sql!(),
        " WHERE ($1::bigint IS NULL OR h.id < $1) AND ($2::text IS NULL OR h.status = $2) \
         AND ($3::text IS NULL OR h.reason = $3) AND ($4::bigint IS NULL OR h.product_id = $4) \
         ORDER BY h.id DESC LIMIT $5"
    ))
    .bind::<Nullable<BigInt>, _>(before.map(|id| id.0))
    .bind::<Nullable<Text>, _>(filter.status.map(HoldStatus::as_str))
    .bind::<Nullable<Text>, _>(filter.reason.as_deref())
    .bind::<Nullable<BigInt>, _>(filter.product_id.map(|p| p.0))
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

/// One hold.
///
/// # Errors
/// [`StoreError::NotFound`] without it; when the row cannot be understood.
pub async fn get(conn: &mut AsyncPgConnection, id: HoldId) -> Result<Hold, StoreError> {
    let records: Vec<Record> = diesel::sql_query(concat!(hold_sql!(), " WHERE h.id = $1"))
        .bind::<BigInt, _>(id.0)
        .load(conn)
        .await?;
    first(records, id)
}

/// One hold, locked until the transaction ends. Lock its watch or listing first.
///
/// # Errors
/// [`StoreError::NotFound`] without it; when the row cannot be understood.
pub async fn lock(conn: &mut AsyncPgConnection, id: HoldId) -> Result<Hold, StoreError> {
    let records: Vec<Record> = diesel::sql_query(concat!(hold_sql!(), " WHERE h.id = $1 FOR UPDATE OF h"))
        .bind::<BigInt, _>(id.0)
        .load(conn)
        .await?;
    first(records, id)
}

/// An open hold of a watch whose deadline has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverdueHold {
    /// The row.
    pub id: HoldId,
    /// The watch.
    pub watch_id: WatchId,
    /// What happens now; what stands there when it is none of ours.
    pub default_action: Result<HoldDefault, String>,
}

/// Open holds of watches whose deadline has passed at `now`, by id, after `after`; at most `limit`. Only what is needed to
/// settle them, and a row that cannot be understood is that row's trouble.
///
/// # Errors
/// When the database is away or refuses.
pub async fn overdue(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    after: HoldId,
    shards: &[Shard],
    limit: i64,
) -> Result<Vec<OverdueHold>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        watch_id: i64,
        #[diesel(sql_type = Text)]
        default_action: String,
    }
    let query = diesel::sql_query(
        "SELECT id, watch_id, default_action FROM holds \
         WHERE status = 'open' AND watch_id IS NOT NULL AND deadline <= $1 AND id > $2 \
         AND (product_id & 255) = ANY($4) ORDER BY id LIMIT $3",
    )
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(after.0)
    .bind::<BigInt, _>(limit)
    .bind::<Array<SmallInt>, _>(shards.iter().map(|s| s.number()).collect::<Vec<_>>());
    let rows: Vec<Row> = hot(query).load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|row| OverdueHold {
            id: HoldId(row.id),
            watch_id: WatchId(row.watch_id),
            default_action: parse("default_action", &row.default_action),
        })
        .collect())
}

fn first(records: Vec<Record>, id: HoldId) -> Result<Hold, StoreError> {
    records
        .into_iter()
        .next()
        .ok_or_else(|| StoreError::not_found(format!("hold `{id}`")))?
        .read()
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    watch_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    listing_id: Option<i64>,
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = Jsonb)]
    detail: serde_json::Value,
    #[diesel(sql_type = Nullable<Integer>)]
    proposed_stock: Option<i32>,
    #[diesel(sql_type = Nullable<Numeric>)]
    proposed_price: Option<Decimal>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    base_version: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    fetched_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    meanwhile: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    default_action: String,
    #[diesel(sql_type = Timestamptz)]
    deadline: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    decided_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    decided_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    note: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    title: String,
}

impl Record {
    fn read(self) -> Result<Hold, StoreError> {
        let id = self.id;
        self.try_read()
            .map_err(|problem| StoreError::bad_row(format!("hold `{id}`: {problem}")))
    }

    fn try_read(self) -> Result<Hold, String> {
        Ok(Hold {
            id: HoldId(self.id),
            product_id: ProductId(self.product_id),
            watch_id: self.watch_id.map(WatchId),
            listing_id: self.listing_id.map(ListingId),
            reason: self.reason,
            detail: self.detail,
            proposed_stock: self
                .proposed_stock
                .map(|s| quantity("proposed_stock", s))
                .transpose()?,
            proposed_price: money("proposed_price", self.proposed_price, &self.currency)?,
            base_version: Version(self.base_version),
            fetched_at: self.fetched_at,
            meanwhile: parse("meanwhile", &self.meanwhile)?,
            status: parse("status", &self.status)?,
            default_action: parse("default_action", &self.default_action)?,
            deadline: self.deadline,
            decided_by: self.decided_by,
            decided_at: self.decided_at,
            note: self.note,
            created_at: self.created_at,
            title: self.title,
        })
    }
}
