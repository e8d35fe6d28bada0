//! `registrations`: products on their way to a destination, and how far each one is.
//!
//! A job of the queue works on a row under the token of its lease: it takes the row by writing the token into it, and
//! whatever it writes afterwards is written only while the token still stands there. So a worker that was given up for
//! dead cannot undo what the next one did.

mod view;

pub use view::{Counts, Named, Stopped, counts, list, named, stopped};

use super::cell::{self, Cell};
use super::listings::{money, parse, quantity};
use super::{StoreError, text};
use crate::domain::{
    Currency, DestinationPlatform, ListingId, Money, ProductId, Quantity, RegistrationId, UnknownName, names,
};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Numeric, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr};
use uuid::Uuid;

names!(
    /// How far a registration is.
    RegistrationState {
        /// Nothing is made yet, or what is made has to be made anew.
        Waiting = "waiting",
        /// The destination knows the goods.
        ItemMade = "item_made",
        /// There is an offer, not on sale.
        OfferMade = "offer_made",
        /// It is on sale; with a listing of ours it is done.
        Published = "published",
        /// It will not get further by itself.
        Failed = "failed",
    }
);

/// A registration to be.
#[derive(Clone, Debug)]
pub struct NewRegistration {
    /// The product.
    pub product: ProductId,
    /// The seller's own key.
    pub sku: String,
    /// What a buyer will read.
    pub content: Value,
    /// Whether the listing is kept in line once it is there.
    pub auto_sync: bool,
}

/// A row, as whoever works on it needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The row.
    pub id: RegistrationId,
    /// The product.
    pub product: ProductId,
    /// Where to.
    pub destination: DestinationPlatform,
    /// The seller's own key.
    pub sku: String,
    /// What a buyer will read.
    pub content: Value,
    /// Whether the listing is kept in line once it is there.
    pub auto_sync: bool,
    /// How far it is.
    pub state: RegistrationState,
    /// An offer of this SKU may be ours.
    pub offer_sent: bool,
    /// The destination's key of the offer.
    pub offer_id: Option<String>,
    /// What was sent last: pieces and price.
    pub sent: Option<(Quantity, Money)>,
    /// The listing that came of it.
    pub listing: Option<ListingId>,
    /// What went wrong last: code and sentence.
    pub error: Option<(String, String)>,
    /// Tries without getting further.
    pub tries: i32,
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Text)]
    platform: String,
    #[diesel(sql_type = Text)]
    sku: String,
    #[diesel(sql_type = Jsonb)]
    content: Cell<Value>,
    #[diesel(sql_type = Bool)]
    auto_sync: bool,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Bool)]
    offer_sent: bool,
    #[diesel(sql_type = Nullable<Text>)]
    offer_id: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    quantity: Option<i32>,
    #[diesel(sql_type = Nullable<Numeric>)]
    price: Option<Cell<Decimal>>,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    listing_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    error_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
    #[diesel(sql_type = Integer)]
    tries: i32,
}

const COLUMNS: &str = "r.id, r.product_id, r.platform, r.sku, r.content, r.auto_sync, r.state, r.offer_sent, r.offer_id, \
     r.quantity, r.price, r.currency::text AS currency, r.listing_id, r.error_code, r.error, r.tries";

impl TryFrom<Record> for Registration {
    type Error = StoreError;

    fn try_from(r: Record) -> Result<Self, StoreError> {
        let at = |column: &str| format!("registrations.{column} of registration `{}`", r.id);
        let price = cell::read(r.price, &at("price")).map_err(StoreError::bad_row)?;
        let sent = match (r.quantity, price, &r.currency) {
            (Some(count), Some(amount), Some(currency)) => {
                let currency: Currency = parse(&at("currency"), currency)?;
                Some((
                    quantity(&at("quantity"), count)?,
                    money(&at("price"), amount, currency)?,
                ))
            }
            _ => None,
        };
        Ok(Self {
            id: RegistrationId(r.id),
            product: ProductId(r.product_id),
            destination: parse(&at("platform"), &r.platform)?,
            content: r.content.read(&at("content")).map_err(StoreError::bad_row)?,
            state: parse(&at("state"), &r.state)?,
            sku: r.sku,
            auto_sync: r.auto_sync,
            offer_sent: r.offer_sent,
            offer_id: r.offer_id,
            sent,
            listing: r.listing_id.map(ListingId),
            error: r.error_code.zip(r.error),
            tries: r.tries,
        })
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Begins registrations, or one that failed anew; inside the caller's transaction, in the order given.
///
/// # Errors
/// [`StoreError::Conflict`] when a product is, or is about to be, at the destination, or a SKU is another product's;
/// [`StoreError::NotFound`] without such a product.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    new: &[NewRegistration],
    by: &str,
) -> Result<Vec<RegistrationId>, StoreError> {
    let mut begun = Vec::with_capacity(new.len());
    for one in new {
        let row: Result<Vec<Id>, _> = diesel::sql_query(
            "INSERT INTO registrations AS r (product_id, platform, sku, content, auto_sync, requested_by) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (product_id, platform) DO UPDATE SET sku = excluded.sku, content = excluded.content, \
                 auto_sync = excluded.auto_sync, requested_by = excluded.requested_by, state = 'waiting', error = NULL, \
                 error_code = NULL, tries = 0, worker = NULL, updated_at = now(), \
                 offer_sent = r.offer_sent AND r.sku = excluded.sku, offer_id = NULL \
             WHERE r.state = 'failed' RETURNING r.id",
        )
        .bind::<BigInt, _>(one.product.0)
        .bind::<Text, _>(destination.as_str())
        .bind::<Text, _>(&one.sku)
        .bind::<Jsonb, _>(&one.content)
        .bind::<Bool, _>(one.auto_sync)
        .bind::<Text, _>(by)
        .get_results(conn)
        .await;
        let (product, sku) = (one.product, &one.sku);
        let row = row
            .map_err(StoreError::from)
            .map_err(|error| match error.constraint() {
                Some("registrations_platform_sku_key") => {
                    StoreError::conflict(format!("SKU `{sku}` is another product's at {destination}"))
                }
                Some("registrations_product_id_fkey") => {
                    StoreError::not_found(format!("product `{product}`"))
                }
                _ => error,
            })?;
        let id = row.as_slice().first().ok_or_else(|| {
            StoreError::conflict(format!(
                "product `{product}` is registered at {destination} already"
            ))
        })?;
        begun.push(RegistrationId(id.id));
    }
    Ok(begun)
}

/// Takes rows for the leases that work on them; those that are gone or cannot be read are left out, the latter with a
/// word in the log.
///
/// # Errors
/// When the database is away or refuses.
pub async fn take(
    conn: &mut AsyncPgConnection,
    leases: &[(RegistrationId, Uuid)],
) -> Result<Vec<Registration>, StoreError> {
    let ids: Vec<i64> = leases.iter().map(|(id, _)| id.0).collect();
    let tokens: Vec<Uuid> = leases.iter().map(|(_, token)| *token).collect();
    let records: Vec<Record> = diesel::sql_query(format!(
        "UPDATE registrations AS r SET worker = l.token, updated_at = now() \
         FROM unnest($1::bigint[], $2::uuid[]) AS l (id, token) WHERE r.id = l.id RETURNING {COLUMNS}"
    ))
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Array<SqlUuid>, _>(tokens)
    .get_results(conn)
    .await?;
    let read = records.into_iter().filter_map(|record| {
        let id = record.id;
        Registration::try_from(record)
            .inspect_err(|error| tracing::error!(error = %error, "Registration `{id}` is left out"))
            .ok()
    });
    Ok(read.collect())
}

/// Writes down how far a registration is; `false` when another worker has it by now, and then nothing was written.
///
/// # Errors
/// When the database is away or refuses.
pub async fn save(conn: &mut AsyncPgConnection, row: &Registration, token: Uuid) -> Result<bool, StoreError> {
    let saved = diesel::sql_query(
        "UPDATE registrations SET state = $3, offer_sent = $4, offer_id = $5, quantity = $6, price = $7, currency = $8, \
             listing_id = $9, error_code = $10, error = $11, tries = $12, updated_at = now(), \
             published_at = CASE WHEN $3 = 'published' THEN COALESCE(published_at, now()) END \
         WHERE id = $1 AND worker = $2",
    )
    .bind::<BigInt, _>(row.id.0)
    .bind::<SqlUuid, _>(token)
    .bind::<Text, _>(row.state.as_str())
    .bind::<Bool, _>(row.offer_sent)
    .bind::<Nullable<Text>, _>(row.offer_id.as_deref())
    .bind::<Nullable<Integer>, _>(row.sent.map(|(quantity, _)| quantity.as_i32()))
    .bind::<Nullable<Numeric>, _>(row.sent.map(|(_, price)| price.amount()))
    .bind::<Nullable<Text>, _>(row.sent.map(|(_, price)| price.currency().code()))
    .bind::<Nullable<BigInt>, _>(row.listing.map(|id| id.0))
    .bind::<Nullable<Text>, _>(row.error.as_ref().map(|(code, _)| text::text(code)))
    .bind::<Nullable<Text>, _>(row.error.as_ref().map(|(_, why)| text::text(why)))
    .bind::<Integer, _>(row.tries)
    .execute(conn)
    .await?;
    Ok(saved > 0)
}
