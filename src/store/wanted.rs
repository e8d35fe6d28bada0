//! What listings should be: the one place that writes `wanted_*`, and the job that goes with it.
//!
//! # Why one function for every writer
//! The ledger, a person's decision, a change of rules and a new exchange rate all move what is wanted. If each wrote
//! for itself, one of them would forget the job, or take its locks the other way round. The order is **listing rows by
//! id, then their jobs**, in every transaction that touches both; two writers then wait for each other and never
//! deadlock.
//!
//! # Why no wake-up is lost
//! `wanted_version > synced_version` is the truth, a job in `platform_sync` is only a hint that somebody should look. The
//! job is unique per listing while unfinished. A writer that finds one does not leave it as it is: it takes the more
//! urgent of the two priorities and the earlier of the two times, so that a waiting price job never swallows a zero.
//! When the job is being worked on, that update changes nothing that its worker would see; therefore finishing takes the
//! listing's row lock *first* and puts the job back to pending when what is wanted has moved
//! ([`super::pushes`]). With the writer before the finish, the finish sees the new version; with the finish before
//! the writer, the job is gone and the writer inserts a new one. (`ON CONFLICT DO NOTHING` without that lock lost the
//! wake-up: `probes/README.md`.)

use super::StoreError;
use super::hot;
use super::jobs::{self, Lane, NewJob};
use super::listings::{self, COLUMNS, Id, Listing, money, parse, quantity};
use crate::domain::{
    Currency, DestinationPlatform, ListingId, ListingStatus, Meanwhile, Money, ProductId, Quantity,
    SourcePlatform, SourceState, UrlStatus, Version, Wanted, WatchId, WatchState,
};
use chrono::{DateTime, SecondsFormat, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::HashMap;

/// A locked listing with all watches of its product.
#[derive(Clone, Debug, PartialEq)]
pub struct ListingRow {
    /// The row.
    pub listing: Listing,
    /// The watches of its product, by id, as the tables have them now.
    pub watches: Vec<WatchState>,
}

/// What one listing should be from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedUpdate {
    /// Which listing.
    pub listing_id: ListingId,
    /// Pieces on sale.
    pub quantity: Quantity,
    /// The price of one; `None` leaves the price that stands alone.
    pub price: Option<Money>,
    /// Active or ended.
    pub status: ListingStatus,
    /// Why: `pricing`'s cause, with what the writer adds. The key `explained: true` says that a zero is expected (an
    /// auction at its appointed end, a person's word) and is not counted against the blast radius; `approved_by` says
    /// that a person let it through.
    pub cause: Value,
    /// 1 (a zero) to 10; of two the smaller counts.
    pub priority: i16,
    /// When it was decided.
    pub at: DateTime<Utc>,
}

impl WantedUpdate {
    /// The three values.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            quantity: self.quantity,
            price: self.price,
            status: self.status,
        }
    }
}

/// Locks the listing rows of these products, by id, and returns them with all watches' states of the product.
///
/// The locks hold until the transaction ends.
///
/// # Errors
/// When the database is away or refuses, or a row holds what is none of our values.
pub async fn lock_listings_of(
    conn: &mut AsyncPgConnection,
    products: &[ProductId],
) -> Result<Vec<ListingRow>, StoreError> {
    let ids: Vec<i64> = products.iter().map(|id| id.0).collect();
    let query = format!(
        "SELECT {COLUMNS} FROM listing_platforms l WHERE l.product_id = ANY($1) ORDER BY l.id FOR NO KEY UPDATE"
    );
    let records = hot(diesel::sql_query(query).bind::<Array<BigInt>, _>(&ids))
        .get_results(conn)
        .await?;
    let listings = listings::all(records)?;
    if listings.is_empty() {
        return Ok(Vec::new());
    }
    let mut watches: HashMap<ProductId, Vec<WatchState>> = HashMap::new();
    for watch in watches_of(conn, products).await? {
        watches.entry(watch.product_id).or_default().push(watch);
    }
    Ok(listings
        .into_iter()
        .map(|listing| ListingRow {
            watches: watches
                .get(&listing.basis.product_id)
                .cloned()
                .unwrap_or_default(),
            listing,
        })
        .collect())
}

/// Keeps the watches of a product as they are until the transaction ends.
///
/// Whoever adds a listing does this first. Otherwise a change that is committed at the same moment sees no listing to
/// move, the new listing sees no change, and it is never brought in line.
///
/// # Errors
/// When the database is away or refuses.
pub async fn lock_watches_of(conn: &mut AsyncPgConnection, product: ProductId) -> Result<(), StoreError> {
    let query = diesel::sql_query(
        "SELECT id FROM inventory_management WHERE product_id = $1 ORDER BY id FOR NO KEY UPDATE",
    )
    .bind::<BigInt, _>(product.0);
    hot(query).execute(conn).await?;
    Ok(())
}

/// The watches of these products, by id.
///
/// # Errors
/// When the database is away or refuses, or a row holds what is none of our values.
pub async fn watches_of(
    conn: &mut AsyncPgConnection,
    products: &[ProductId],
) -> Result<Vec<WatchState>, StoreError> {
    let ids: Vec<i64> = products.iter().map(|id| id.0).collect();
    let records: Vec<WatchRecord> = hot(diesel::sql_query(
        "SELECT w.id, w.product_id, w.source_platform, w.version, w.current_stock, w.current_price, \
             w.currency::text AS currency, w.url_status, w.monitoring_enabled, w.last_verified_at, h.meanwhile \
         FROM inventory_management w LEFT JOIN holds h ON h.watch_id = w.id AND h.status = 'open' \
         WHERE w.product_id = ANY($1) ORDER BY w.id",
    )
    .bind::<Array<BigInt>, _>(&ids))
    .get_results(conn)
    .await?;
    records.into_iter().map(WatchState::try_from).collect()
}

#[derive(QueryableByName)]
struct WatchRecord {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Text)]
    source_platform: String,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Integer)]
    current_stock: i32,
    #[diesel(sql_type = Nullable<Numeric>)]
    current_price: Option<Decimal>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Text)]
    url_status: String,
    #[diesel(sql_type = Bool)]
    monitoring_enabled: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_verified_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    meanwhile: Option<String>,
}

impl TryFrom<WatchRecord> for WatchState {
    type Error = StoreError;

    fn try_from(r: WatchRecord) -> Result<Self, StoreError> {
        let at = |column: &str| format!("inventory_management.{column} of watch `{}`", r.id);
        let currency: Currency = parse(&at("currency"), &r.currency)?;
        let state = SourceState {
            stock: quantity(&at("current_stock"), r.current_stock)?,
            price: r
                .current_price
                .map(|a| money(&at("current_price"), a, currency))
                .transpose()?,
            url_status: parse::<UrlStatus>(&at("url_status"), &r.url_status)?,
        };
        let held = r
            .meanwhile
            .map(|m| parse::<Meanwhile>("holds.meanwhile", &m))
            .transpose()?;
        Ok(Self {
            watch_id: WatchId(r.id),
            product_id: ProductId(r.product_id),
            source: parse::<SourcePlatform>(&at("source_platform"), &r.source_platform)?,
            version: Version(r.version),
            state: (r.version > 0).then_some(state),
            enabled: r.monitoring_enabled,
            held,
            fetched_at: r.last_verified_at,
        })
    }
}

/// A listing whose wanted state moved.
#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Text)]
    platform: String,
    #[diesel(sql_type = Bool)]
    enqueue: bool,
    #[diesel(sql_type = SmallInt)]
    priority: i16,
}

/// The one function that writes `wanted_*` and enqueues. Answers the listings that moved.
///
/// A row whose wanted values do not move is left alone, its cause too: the first reason stands. A hold that was put on
/// values which the destination refused ends here, because other values deserve another try.
///
/// # Errors
/// When the database is away or refuses.
pub async fn write_wanted(
    conn: &mut AsyncPgConnection,
    wanted: &[WantedUpdate],
) -> Result<Vec<ListingId>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = wanted.iter().map(|w| w.listing_id.0).collect();
    // Before the jobs, and in the order of ids, whatever the caller has locked already.
    hot(diesel::sql_query(
        "SELECT id FROM listing_platforms WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
    )
    .bind::<Array<BigInt>, _>(&ids))
    .execute(conn)
    .await?;
    let moved: Vec<Moved> = hot(diesel::sql_query(
        "UPDATE listing_platforms l \
         SET wanted_quantity = i.quantity, wanted_price = i.price, wanted_status = i.status, wanted_cause = i.cause, \
             wanted_at = i.at, wanted_version = l.wanted_version + 1, updated_at = now(), \
             held_reason = NULLIF(l.held_reason, 'refused') \
         FROM unnest($1::bigint[], $2::int[], $3::numeric[], $4::text[], $5::jsonb[], $6::smallint[], \
                     $7::timestamptz[]) AS i (id, quantity, price, status, cause, priority, at) \
         WHERE l.id = i.id AND (l.wanted_quantity, l.wanted_price, l.wanted_status) \
               IS DISTINCT FROM (i.quantity, i.price, i.status) \
         RETURNING l.id, l.product_id, l.platform, l.auto_sync_enabled AS enqueue, i.priority",
    )
    .bind::<Array<BigInt>, _>(&ids)
    .bind::<Array<Integer>, _>(wanted.iter().map(|w| w.quantity.as_i32()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Numeric>>, _>(
        wanted
            .iter()
            .map(|w| w.price.map(Money::amount))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(wanted.iter().map(|w| w.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(wanted.iter().map(|w| w.cause.clone()).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(wanted.iter().map(|w| w.priority).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(wanted.iter().map(|w| w.at).collect::<Vec<_>>()))
    .get_results(conn)
    .await?;
    if moved.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<i64> = moved.iter().map(|m| m.id).collect();
    diesel::sql_query(
        "UPDATE holds SET status = 'superseded', decided_at = now(), decided_by = 'zaikoban' \
         WHERE listing_id = ANY($1) AND status = 'open' AND reason = 'refused'",
    )
    .bind::<Array<BigInt>, _>(&all)
    .execute(conn)
    .await?;
    let mut hints = Vec::new();
    for m in moved.iter().filter(|m| m.enqueue) {
        let destination = parse("listing_platforms.platform", &m.platform)?;
        hints.push(hint(
            destination,
            ProductId(m.product_id),
            ListingId(m.id),
            m.priority,
        ));
    }
    jobs::enqueue(conn, &hints).await?;
    Ok(all.into_iter().map(ListingId).collect())
}

/// "Somebody should look at this listing." Due now; the more urgent of two priorities counts. Its row must be locked.
pub(super) fn hint(
    destination: DestinationPlatform,
    product: ProductId,
    listing: ListingId,
    priority: i16,
) -> NewJob {
    NewJob::sync_listing(Lane::sync(destination), product, listing, priority)
}

/// Puts listings that are behind into the queue: those of `ids`, where auto-sync is on. Locks their rows.
///
/// # Errors
/// When the database is away or refuses.
pub async fn enqueue_behind(conn: &mut AsyncPgConnection, ids: &[ListingId]) -> Result<usize, StoreError> {
    let hints: Vec<NewJob> = listings::lock_all(conn, ids)
        .await?
        .iter()
        .filter(|l| l.auto_sync && l.is_behind())
        .map(|l| {
            let listing = &l.basis.listing;
            hint(
                listing.destination,
                l.basis.product_id,
                listing.listing_id,
                priority_of(l),
            )
        })
        .collect();
    Ok(jobs::enqueue(conn, &hints).await?.len())
}

/// The priority of a listing's job, from what is wanted of it.
fn priority_of(listing: &Listing) -> i16 {
    match listing.basis.wanted {
        Some(w) if w.quantity.is_zero() || w.status == ListingStatus::Ended => 1,
        _ => 5,
    }
}

/// What a sweep looks for: listings that are behind, or to be read back, without an unfinished job. Those on hold at their
/// destination only when they were not read for an hour.
///
/// Held ones are left out: a person has to act first. What takes pieces off sale passes (not the blast radius), while it
/// is newer than what was held last: once it was refused itself, a person has to act for it too.
///
/// Nor those whose price is on its way in a feed and all that is wanted: the feed puts them back itself.
///
/// A job whose workers died three times is a dead letter, and its listing gets a fresh one, since whoever pulls the plug
/// kills jobs that are not to blame. From the third such letter on the job itself is suspected: a fresh one comes after
/// 1, 4, 16 and then every 60 minutes, so that poison costs a start an hour and not one every few seconds.
///
/// # Errors
/// When the database is away or refuses.
pub async fn find_forgotten(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    deep: bool,
    limit: u32,
) -> Result<Vec<ListingId>, StoreError> {
    // With `deep` the rows to be read back too, for which there is no index.
    let which = if deep {
        "(l.wanted_version > l.synced_version OR l.needs_read_back)"
    } else {
        "l.wanted_version > l.synced_version"
    };
    let ids: Vec<Id> = hot(diesel::sql_query(format!(
        "SELECT l.id FROM listing_platforms l \
         WHERE l.platform = $1 AND l.auto_sync_enabled \
           AND (l.listing_status <> 'paused' OR l.last_synced_at IS NULL \
                OR l.last_synced_at < now() - interval '1 hour') \
           AND {which} \
           AND (l.held_reason IS NULL \
                OR (l.held_reason <> 'radius' AND l.listing_status = 'active' AND l.current_quantity > 0 \
                    AND (l.wanted_quantity = 0 OR l.wanted_status = 'ended' \
                         OR (l.held_reason IN ('radius_price', 'drift') AND l.wanted_quantity < l.current_quantity)) \
                    AND l.wanted_version > COALESCE((SELECT max(h.base_version) FROM holds h \
                                                     WHERE h.listing_id = l.id), 0))) \
           AND (l.needs_read_back OR l.pushing_version IS NOT NULL OR l.wanted_quantity <> l.current_quantity \
                OR l.listing_status <> 'active' OR l.wanted_status <> 'active' \
                OR NOT EXISTS (SELECT 1 FROM bulk_feed_items b JOIN bulk_feeds f ON f.id = b.feed \
                               WHERE b.listing_id = l.id AND b.outcome IS NULL AND b.price = l.wanted_price \
                               AND f.created_at > clock_timestamp() - interval '1 hour')) \
           AND NOT EXISTS (SELECT 1 FROM processing_queue j WHERE j.listing_id = l.id \
                           AND j.queue_name = 'platform_sync' AND j.status IN ('pending', 'processing', 'failed')) \
           AND l.id NOT IN (SELECT p.listing_id FROM processing_queue p WHERE p.status = 'dead' \
                            AND p.queue_name = 'platform_sync' AND p.listing_id IS NOT NULL \
                            AND cardinality(p.crashed_at) >= 3 AND p.completed_at > now() - interval '72 hours' \
                            GROUP BY p.listing_id HAVING count(*) >= 3 \
                            AND max(p.completed_at) + LEAST(interval '1 hour', \
                                interval '1 minute' * power(4, LEAST(count(*) - 3, 3))) > now()) \
         ORDER BY l.id LIMIT $2"
    ))
    .bind::<Text, _>(destination.as_str())
    .bind::<BigInt, _>(i64::from(limit)))
    .get_results(conn)
    .await?;
    Ok(ids.into_iter().map(|row| ListingId(row.id)).collect())
}

/// Listings whose price was cut short by a step limit that has opened again at `now`, after `after` by id.
///
/// # Errors
/// When the database is away or refuses.
pub async fn find_again(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    after: Option<ProductId>,
    limit: u32,
) -> Result<Vec<ProductId>, StoreError> {
    // Compared as text, in one form: a cast would fail the whole statement for one value that a hand has spoilt.
    let ids: Vec<Id> = diesel::sql_query(
        "SELECT DISTINCT l.product_id AS id FROM listing_platforms l \
         WHERE l.wanted_cause ? 'again_at' AND (l.wanted_cause->>'again_at') COLLATE \"C\" <= $1 AND l.product_id > $2 \
         ORDER BY l.product_id LIMIT $3",
    )
    .bind::<Text, _>(now.to_rfc3339_opts(SecondsFormat::Secs, true))
    .bind::<BigInt, _>(after.map_or(0, |p| p.0))
    .bind::<BigInt, _>(i64::from(limit))
    .get_results(conn)
    .await?;
    Ok(ids.into_iter().map(|row| ProductId(row.id)).collect())
}

/// Says when what is wanted of these listings is to be worked out again, without a new version: it was, and stayed as it
/// is. `None` is never. Their rows must be locked.
///
/// # Errors
/// When the database is away or refuses.
pub async fn put_off(
    conn: &mut AsyncPgConnection,
    again: &[(ListingId, Option<Value>)],
) -> Result<(), StoreError> {
    if again.is_empty() {
        return Ok(());
    }
    hot(diesel::sql_query(
        "UPDATE listing_platforms l SET wanted_cause = CASE WHEN i.again_at IS NULL THEN l.wanted_cause - 'again_at' \
             ELSE jsonb_set(l.wanted_cause, '{again_at}', i.again_at) END \
         FROM unnest($1::bigint[], $2::jsonb[]) AS i (id, again_at) \
         WHERE l.id = i.id AND l.wanted_cause->'again_at' IS DISTINCT FROM i.again_at",
    )
    .bind::<Array<BigInt>, _>(again.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
    .bind::<Array<Nullable<Jsonb>>, _>(again.iter().map(|(_, at)| at.clone()).collect::<Vec<_>>()))
    .execute(conn)
    .await?;
    Ok(())
}

/// Products that have listings, after `after` by id.
///
/// # Errors
/// When the database is away or refuses.
pub async fn find_listed_products(
    conn: &mut AsyncPgConnection,
    after: Option<ProductId>,
    limit: u32,
) -> Result<Vec<ProductId>, StoreError> {
    let ids: Vec<Id> = diesel::sql_query(
        "SELECT DISTINCT product_id AS id FROM listing_platforms WHERE product_id > $1 ORDER BY product_id LIMIT $2",
    )
    .bind::<BigInt, _>(after.map_or(0, |p| p.0))
    .bind::<BigInt, _>(i64::from(limit))
    .get_results(conn)
    .await?;
    Ok(ids.into_iter().map(|row| ProductId(row.id)).collect())
}
