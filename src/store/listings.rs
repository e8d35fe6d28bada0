//! Listings: what a destination confirmed last, what is wanted, and how far the one is behind the other.
//!
//! `wanted_*` is written by [`super::wanted`] alone, the lease of a push and its result by [`super::pushes`] alone; here
//! are reading and linking, in `aside` pausing and holding. Whoever changes a listing locks its row first and its jobs after it.

mod aside;

pub(super) use aside::hold;
pub use aside::{Switched, pause, reject_hold, release, resume};

use super::cell::{self, Cell};
use super::reads::ReadBack;
use super::{StoreError, hot};
use crate::domain::{
    Currency, DestinationPlatform, ListingBasis, ListingId, ListingRef, ListingState, ListingStatus, Money,
    ProductId, Quantity, SyncLogId, Version, Wanted,
};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Jsonb, Nullable, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::str::FromStr;

/// One row of `listing_platforms`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// Which listing, what it confirmed, what is wanted, its own rules.
    pub basis: ListingBasis,
    /// Where a buyer sees it.
    pub url: Option<Box<str>>,
    /// Counts the wanted states; 0 before the first.
    pub wanted_version: Version,
    /// The newest wanted state that the destination confirmed.
    pub synced_version: Version,
    /// The push under way: its version, and until when its request may still act.
    pub pushing: Option<Pushing>,
    /// The destination must be read before or after the next push: an outcome is not known for sure.
    pub needs_read_back: bool,
    /// Whether it is kept in line by itself.
    pub auto_sync: bool,
    /// Why nothing but a zero is pushed.
    pub held_reason: Option<Box<str>>,
    /// Why what is wanted is wanted.
    pub wanted_cause: Option<Value>,
    /// Since when it is wanted.
    pub wanted_at: Option<DateTime<Utc>>,
    /// The last confirmation.
    pub last_synced_at: Option<DateTime<Utc>>,
    /// The last push.
    pub last_sync_log_id: Option<SyncLogId>,
    /// The Pacific day that `revisions` counts.
    pub revisions_day: Option<NaiveDate>,
    /// Revisions sent on that day.
    pub revisions: u32,
    /// What is remembered for reading it back; `None` while there is nothing to it.
    pub read_back: Option<ReadBack>,
    /// The price that is on its way in an open feed ([`super::bulk`]).
    pub bulk_price: Option<Money>,
    /// That feed is young enough to be waited for.
    pub bulk_waits: bool,
}

/// A push that was committed and not yet settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pushing {
    /// The wanted version it carries.
    pub version: Version,
    /// After this, by the database's clock, its request can no longer be sent.
    pub deadline: DateTime<Utc>,
}

impl Listing {
    /// The listing's row.
    #[must_use]
    pub fn id(&self) -> ListingId {
        self.basis.listing.listing_id
    }

    /// What its destination is to show: what is wanted, without what was left as it was found over there.
    #[must_use]
    pub fn target(&self) -> Option<Wanted> {
        let wanted = self.basis.wanted?;
        let adopted = self.read_back.as_ref().and_then(|back| back.adopted);
        Some(adopted.map_or(wanted, |adopted| adopted.over(wanted, self.wanted_version)))
    }

    /// Whether the destination may differ from what is wanted.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.wanted_version > self.synced_version || self.needs_read_back
    }
}

/// Every column of a [`Listing`], of a table named `l`.
pub(super) const COLUMNS: &str = "l.id, l.product_id, l.platform, l.platform_product_id, l.listing_url, \
     l.listing_status, l.current_quantity, l.listed_price, l.auto_sync_enabled, l.last_synced_at, l.sku, \
     l.currency::text AS currency, l.rules, l.wanted_quantity, l.wanted_price, l.wanted_status, l.wanted_cause, \
     l.wanted_at, l.wanted_version, l.synced_version, l.pushing_version, l.push_deadline, l.needs_read_back, \
     l.held_reason, l.last_sync_log_id, l.day_price, l.day_price_on, l.revisions_day, l.revisions, \
     (SELECT jsonb_build_object('asked', r.asked_at IS NOT NULL, 'look_at', r.look_at, 'execution', r.execution_id, \
                                'suspect', r.suspect, 'repairs', r.repairs, 'adopted', r.adopted) \
      FROM listing_reads r \
      WHERE r.listing_id = l.id AND (r.asked_at IS NOT NULL OR r.adopted IS NOT NULL)) AS read_back, \
     (SELECT b.price FROM bulk_feed_items b WHERE b.listing_id = l.id AND b.outcome IS NULL) AS bulk_price, \
     EXISTS (SELECT 1 FROM bulk_feed_items b JOIN bulk_feeds f ON f.id = b.feed WHERE b.listing_id = l.id \
             AND b.outcome IS NULL AND f.created_at > clock_timestamp() - interval '1 hour') AS bulk_waits";

/// A row as the database gives it.
#[derive(QueryableByName)]
pub(super) struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Text)]
    platform: String,
    #[diesel(sql_type = Nullable<Text>)]
    platform_product_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    listing_url: Option<String>,
    #[diesel(sql_type = Text)]
    listing_status: String,
    #[diesel(sql_type = Integer)]
    current_quantity: i32,
    #[diesel(sql_type = Nullable<Numeric>)]
    listed_price: Option<Cell<Decimal>>,
    #[diesel(sql_type = Bool)]
    auto_sync_enabled: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_synced_at: Option<Cell<DateTime<Utc>>>,
    #[diesel(sql_type = Text)]
    sku: String,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    rules: Option<Cell<Value>>,
    #[diesel(sql_type = Nullable<Integer>)]
    wanted_quantity: Option<i32>,
    #[diesel(sql_type = Nullable<Numeric>)]
    wanted_price: Option<Cell<Decimal>>,
    #[diesel(sql_type = Nullable<Text>)]
    wanted_status: Option<String>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    wanted_cause: Option<Cell<Value>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    wanted_at: Option<Cell<DateTime<Utc>>>,
    #[diesel(sql_type = BigInt)]
    wanted_version: i64,
    #[diesel(sql_type = BigInt)]
    synced_version: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pushing_version: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    push_deadline: Option<Cell<DateTime<Utc>>>,
    #[diesel(sql_type = Bool)]
    needs_read_back: bool,
    #[diesel(sql_type = Nullable<Text>)]
    held_reason: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_sync_log_id: Option<i64>,
    #[diesel(sql_type = Nullable<Numeric>)]
    day_price: Option<Cell<Decimal>>,
    #[diesel(sql_type = Nullable<Date>)]
    day_price_on: Option<Cell<NaiveDate>>,
    #[diesel(sql_type = Nullable<Date>)]
    revisions_day: Option<Cell<NaiveDate>>,
    #[diesel(sql_type = Integer)]
    revisions: i32,
    #[diesel(sql_type = Nullable<Jsonb>)]
    read_back: Option<Cell<Value>>,
    #[diesel(sql_type = Nullable<Numeric>)]
    bulk_price: Option<Cell<Decimal>>,
    #[diesel(sql_type = Bool)]
    bulk_waits: bool,
}

impl Record {
    /// The row.
    pub(super) fn id(&self) -> ListingId {
        ListingId(self.id)
    }
}

/// Reads one of our names or values, saying where it stands when it is none.
pub(super) fn parse<T>(what: &str, text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|error: T::Err| StoreError::bad_row(format!("{what}: {error}")))
}

pub(super) fn money(what: &str, amount: Decimal, currency: Currency) -> Result<Money, StoreError> {
    Money::new(amount, currency).map_err(|error| StoreError::bad_row(format!("{what}: {error}")))
}

pub(super) fn quantity(what: &str, count: i32) -> Result<Quantity, StoreError> {
    Quantity::new(i64::from(count)).map_err(|error| StoreError::bad_row(format!("{what}: {error}")))
}

impl TryFrom<Record> for Listing {
    type Error = StoreError;

    fn try_from(r: Record) -> Result<Self, StoreError> {
        let at = |column: &str| format!("listing_platforms.{column} of listing `{}`", r.id);
        let currency: Currency = parse(&at("currency"), &r.currency)?;
        let bad = |problem: String| StoreError::bad_row(problem);
        let price = |column: &str, amount: Option<Cell<Decimal>>| {
            let amount = cell::read(amount, &at(column)).map_err(bad)?;
            amount.map(|a| money(&at(column), a, currency)).transpose()
        };
        let time = |column: &str, cell| cell::read::<DateTime<Utc>>(cell, &at(column)).map_err(bad);
        let day = |column: &str, cell| cell::read::<NaiveDate>(cell, &at(column)).map_err(bad);
        let json = |column: &str, cell| cell::read::<Value>(cell, &at(column)).map_err(bad);
        let confirmed = ListingState {
            status: parse(&at("listing_status"), &r.listing_status)?,
            quantity: quantity(&at("current_quantity"), r.current_quantity)?,
            price: price("listed_price", r.listed_price)?,
        };
        let read_back = json("read_back", r.read_back)?
            .map(serde_json::from_value)
            .transpose();
        let read_back = read_back
            .map_err(|error| StoreError::bad_row(format!("listing_reads of listing `{}`: {error}", r.id)))?;
        let wanted = match r.wanted_quantity {
            None => None,
            Some(count) => Some(Wanted {
                quantity: quantity(&at("wanted_quantity"), count)?,
                price: price("wanted_price", r.wanted_price)?,
                status: match &r.wanted_status {
                    Some(name) => parse(&at("wanted_status"), name)?,
                    None => ListingStatus::Active,
                },
            }),
        };
        let pushing = r.pushing_version.zip(time("push_deadline", r.push_deadline)?);
        let bulk_price = price("bulk_price", r.bulk_price)?;
        let day_price = price("day_price", r.day_price)?;
        let destination = parse(&at("platform"), &r.platform)?;
        Ok(Self {
            basis: ListingBasis {
                listing: ListingRef {
                    listing_id: ListingId(r.id),
                    destination,
                    sku: r.sku.into(),
                    platform_product_id: r.platform_product_id.unwrap_or_default().into(),
                },
                product_id: ProductId(r.product_id),
                currency,
                confirmed,
                wanted,
                in_flight: pushing.is_some(),
                day_price,
                day_price_on: day("day_price_on", r.day_price_on)?,
                rules: json("rules", r.rules)?,
            },
            url: r.listing_url.map(Into::into),
            wanted_version: Version(r.wanted_version),
            synced_version: Version(r.synced_version),
            pushing: pushing.map(|(version, deadline)| Pushing {
                version: Version(version),
                deadline,
            }),
            needs_read_back: r.needs_read_back,
            auto_sync: r.auto_sync_enabled,
            held_reason: r.held_reason.map(Into::into),
            wanted_cause: json("wanted_cause", r.wanted_cause)?,
            wanted_at: time("wanted_at", r.wanted_at)?,
            last_synced_at: time("last_synced_at", r.last_synced_at)?,
            last_sync_log_id: r.last_sync_log_id.map(SyncLogId),
            revisions_day: day("revisions_day", r.revisions_day)?,
            revisions: u32::try_from(r.revisions).unwrap_or(0),
            read_back,
            bulk_price,
            bulk_waits: r.bulk_waits,
        })
    }
}

pub(super) fn all(records: Vec<Record>) -> Result<Vec<Listing>, StoreError> {
    records.into_iter().map(Listing::try_from).collect()
}

/// One listing.
///
/// # Errors
/// [`StoreError::NotFound`] when there is none of this id.
pub async fn get(conn: &mut AsyncPgConnection, id: ListingId) -> Result<Listing, StoreError> {
    let records: Vec<Record> = diesel::sql_query(format!(
        "SELECT {COLUMNS} FROM listing_platforms l WHERE l.id = $1"
    ))
    .bind::<BigInt, _>(id.0)
    .get_results(conn)
    .await?;
    let found = all(records)?.into_iter().next();
    found.ok_or_else(|| StoreError::not_found(format!("listing `{id}`")))
}

/// One listing, locked until the transaction ends.
///
/// # Errors
/// [`StoreError::NotFound`] when there is none of this id.
pub async fn lock(conn: &mut AsyncPgConnection, id: ListingId) -> Result<Listing, StoreError> {
    let found = all(lock_records(conn, &[id]).await?)?.into_iter().next();
    found.ok_or_else(|| StoreError::not_found(format!("listing `{id}`")))
}

/// These listings, locked in the order of their ids until the transaction ends; those that are gone are left out.
///
/// So are those that cannot be read, which the log names: what is done for many must not fail for one.
///
/// # Errors
/// When the database is away or refuses.
pub async fn lock_all(conn: &mut AsyncPgConnection, ids: &[ListingId]) -> Result<Vec<Listing>, StoreError> {
    let mut listings = Vec::with_capacity(ids.len());
    for record in lock_records(conn, ids).await? {
        let id = record.id();
        match Listing::try_from(record) {
            Ok(listing) => listings.push(listing),
            Err(error) => tracing::error!(listing.id = %id, error = %error, "Listing `{id}` is left out"),
        }
    }
    Ok(listings)
}

async fn lock_records(conn: &mut AsyncPgConnection, ids: &[ListingId]) -> Result<Vec<Record>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    // NO KEY: a new `sync_log` row of the listing need not wait.
    let query = format!(
        "SELECT {COLUMNS} FROM listing_platforms l WHERE l.id = ANY($1) ORDER BY l.id FOR NO KEY UPDATE"
    );
    let records: Vec<Record> = hot(diesel::sql_query(query).bind::<Array<BigInt>, _>(&ids))
        .get_results(conn)
        .await?;
    if records
        .iter()
        .all(|record| record.read_back.is_none() && record.bulk_price.is_none())
    {
        return Ok(records);
    }
    // A statement that waited for a lock has the row as it is, and what stands in other tables as it was before.
    let query = format!("SELECT {COLUMNS} FROM listing_platforms l WHERE l.id = ANY($1) ORDER BY l.id");
    let records = hot(diesel::sql_query(query).bind::<Array<BigInt>, _>(ids))
        .get_results(conn)
        .await?;
    Ok(records)
}

/// Which listings to show.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those at this destination.
    pub destination: Option<DestinationPlatform>,
    /// Only those of this product.
    pub product: Option<ProductId>,
    /// Only those whose destination may differ from what is wanted.
    pub behind: bool,
    /// Only those that are held.
    pub held: bool,
}

/// A page of listings by ascending id, after `after` (keyset: a page costs the same however far down it lies).
///
/// # Errors
/// When the database is away or refuses.
pub async fn list(
    conn: &mut AsyncPgConnection,
    filter: &Filter,
    after: Option<ListingId>,
    limit: u32,
) -> Result<Vec<Listing>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM listing_platforms l \
         WHERE l.id > $1 AND ($2::text IS NULL OR l.platform = $2) AND ($3::bigint IS NULL OR l.product_id = $3) \
           AND (NOT $4 OR l.wanted_version > l.synced_version OR l.needs_read_back) \
           AND (NOT $5 OR l.held_reason IS NOT NULL) \
         ORDER BY l.id LIMIT $6"
    );
    let records = diesel::sql_query(query)
        .bind::<BigInt, _>(after.map_or(0, |id| id.0))
        .bind::<Nullable<Text>, _>(filter.destination.map(DestinationPlatform::as_str))
        .bind::<Nullable<BigInt>, _>(filter.product.map(|p| p.0))
        .bind::<Bool, _>(filter.behind)
        .bind::<Bool, _>(filter.held)
        .bind::<BigInt, _>(i64::from(limit))
        .get_results(conn)
        .await?;
    all(records)
}

/// A listing that is linked to a product: what its destination showed when it was read.
#[derive(Clone, Debug)]
pub struct NewListing<'a> {
    /// The product that it offers.
    pub product: ProductId,
    /// The destination.
    pub destination: DestinationPlatform,
    /// The seller's own key there.
    pub sku: &'a str,
    /// The destination's key of the offer.
    pub platform_product_id: &'a str,
    /// Where a buyer sees it.
    pub url: Option<&'a str>,
    /// What it sells in.
    pub currency: Currency,
    /// What it shows.
    pub state: ListingState,
    /// Its own rules.
    pub rules: Option<&'a Value>,
    /// Whether it is kept in line from now on.
    pub auto_sync: bool,
}

/// Links a listing: the row stands for what was read, nothing is wanted yet.
///
/// # Errors
/// [`StoreError::Conflict`] when the offer is linked already; [`StoreError::NotFound`] without such a product.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    new: &NewListing<'_>,
    now: DateTime<Utc>,
) -> Result<ListingId, StoreError> {
    let row: Result<Id, _> = diesel::sql_query(
        "INSERT INTO listing_platforms (product_id, platform, platform_product_id, listing_url, listing_status, \
             current_quantity, listed_price, auto_sync_enabled, last_synced_at, sku, currency, rules) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
    )
    .bind::<BigInt, _>(new.product.0)
    .bind::<Text, _>(new.destination.as_str())
    .bind::<Text, _>(new.platform_product_id)
    .bind::<Nullable<Text>, _>(new.url)
    .bind::<Text, _>(new.state.status.as_str())
    .bind::<Integer, _>(new.state.quantity.as_i32())
    .bind::<Nullable<Numeric>, _>(new.state.price.map(Money::amount))
    .bind::<Bool, _>(new.auto_sync)
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(new.sku)
    .bind::<Text, _>(new.currency.code())
    .bind::<Nullable<Jsonb>, _>(new.rules)
    .get_result(conn)
    .await;
    let offer = new.platform_product_id;
    row.map(|r| ListingId(r.id))
        .map_err(StoreError::from)
        .map_err(|error| match error.constraint() {
            Some("listing_platforms_offer") => StoreError::conflict(format!(
                "offer `{offer}` of {} is linked already",
                new.destination
            )),
            Some("listing_platforms_product_id_fkey") => {
                StoreError::not_found(format!("product `{}`", new.product))
            }
            _ => error,
        })
}

/// Writes a listing's own rules. What is wanted by them is for the caller to work out, in the same transaction.
///
/// # Errors
/// When the database is away or refuses.
pub async fn set_rules(
    conn: &mut AsyncPgConnection,
    id: ListingId,
    rules: Option<&Value>,
) -> Result<(), StoreError> {
    diesel::sql_query("UPDATE listing_platforms SET rules = $2, updated_at = now() WHERE id = $1")
        .bind::<BigInt, _>(id.0)
        .bind::<Nullable<Jsonb>, _>(rules)
        .execute(conn)
        .await?;
    Ok(())
}

/// An id that a statement returns.
#[derive(QueryableByName)]
pub(super) struct Id {
    #[diesel(sql_type = BigInt)]
    pub(super) id: i64,
}

/// Which listing an offer is, and of which product; `None` when it is not linked.
///
/// # Errors
/// When the database is away or refuses.
pub async fn of_offer(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    offer: &str,
) -> Result<Option<(ListingId, ProductId)>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        product_id: i64,
    }
    let rows: Vec<Found> = diesel::sql_query(
        "SELECT id, product_id FROM listing_platforms WHERE platform = $1 AND platform_product_id = $2",
    )
    .bind::<Text, _>(destination.as_str())
    .bind::<Text, _>(offer)
    .get_results(conn)
    .await?;
    let found = rows.into_iter().next();
    Ok(found.map(|row| (ListingId(row.id), ProductId(row.product_id))))
}

/// Every listing of a destination.
///
/// # Errors
/// When the database is away or refuses.
pub async fn ids_of(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
) -> Result<Vec<ListingId>, StoreError> {
    let rows: Vec<Id> = diesel::sql_query("SELECT id FROM listing_platforms WHERE platform = $1 ORDER BY id")
        .bind::<Text, _>(destination.as_str())
        .get_results(conn)
        .await?;
    Ok(rows.into_iter().map(|row| ListingId(row.id)).collect())
}

/// How many listings of a destination are kept in line: what shares are measured against.
///
/// # Errors
/// When the database is away or refuses.
pub async fn count_active(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
) -> Result<u64, StoreError> {
    let row: Id = hot(diesel::sql_query(
        "SELECT count(*) AS id FROM listing_platforms WHERE platform = $1 AND auto_sync_enabled",
    )
    .bind::<Text, _>(destination.as_str()))
    .get_result(conn)
    .await?;
    Ok(u64::try_from(row.id).unwrap_or(0))
}
