//! The prices of a feed, until each has its outcome.

use super::ItemOutcome;
use crate::domain::{BulkFeedId, Currency, ListingId, Money, ProductId};
use crate::store::jobs::{self, NewJob};
use crate::store::listings::{COLUMNS, Listing, Record, money, parse};
use crate::store::wanted::hint;
use crate::store::{StoreError, hot, text};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde_json::Value;
use std::time::Duration;

/// The priority of the look after a feed: behind everything that changes something.
const PRIORITY_LOOK: i16 = 8;
/// The priority of what was left out: that of any other change.
const PRIORITY_CHANGE: i16 = 5;

/// An open price of a feed, and its listing as it is now.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its number within the document.
    pub message: i32,
    /// The price.
    pub price: Money,
    /// The listing.
    pub listing: Listing,
}

/// What became of one price.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its number within the document.
    pub message: i32,
    /// The listing.
    pub listing: ListingId,
    /// What became of it.
    pub outcome: ItemOutcome,
    /// The destination's words, where it said some.
    pub error: Option<Value>,
}

/// The open prices of a feed in the order of their numbers, at most `limit`, with their listings as they are now. A listing
/// whose row cannot be read is not among them.
///
/// # Errors
/// When the database is away or refuses.
pub async fn open_items(
    conn: &mut AsyncPgConnection,
    feed: BulkFeedId,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        listing: Record,
        #[diesel(sql_type = Integer)]
        message: i32,
        #[diesel(sql_type = Numeric)]
        price: Decimal,
        #[diesel(sql_type = Text)]
        priced_in: String,
    }
    let rows: Vec<Row> = hot(diesel::sql_query(format!(
        "SELECT {COLUMNS}, b.message, b.price, b.currency::text AS priced_in FROM bulk_feed_items b \
             JOIN listing_platforms l ON l.id = b.listing_id \
         WHERE b.feed = $1 AND b.outcome IS NULL ORDER BY b.message LIMIT $2"
    ))
    .bind::<BigInt, _>(feed.0)
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX)))
    .get_results(conn)
    .await?;
    let read = rows.into_iter().filter_map(|row| {
        let what = format!("bulk_feed_items of feed `{feed}`, message {}", row.message);
        let currency: Currency = parse(&what, &row.priced_in).ok()?;
        Some(Item {
            message: row.message,
            price: money(&what, row.price, currency).ok()?,
            listing: Listing::try_from(row.listing).ok()?,
        })
    });
    Ok(read.collect())
}

/// The numbers and listings of a feed's open prices, at most `limit`, whether their rows can be read or not.
///
/// # Errors
/// When the database is away or refuses.
pub async fn open_messages(
    conn: &mut AsyncPgConnection,
    feed: BulkFeedId,
    limit: usize,
) -> Result<Vec<(i32, ListingId)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        message: i32,
        #[diesel(sql_type = BigInt)]
        listing_id: i64,
    }
    let rows: Vec<Row> = hot(diesel::sql_query(
        "SELECT message, listing_id FROM bulk_feed_items WHERE feed = $1 AND outcome IS NULL ORDER BY message LIMIT $2",
    )
    .bind::<BigInt, _>(feed.0)
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX)))
    .get_results(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| (r.message, ListingId(r.listing_id)))
        .collect())
}

/// Gives open prices their outcomes: their listings are read back, and go on by themselves.
///
/// Those whose price was taken are read `after` a while. What was left out was not sent, and is not read. Where another
/// price is wanted by now, the feed's may have come after it over there: the feed's is believed, so that what is wanted is
/// sent once more, at once, whatever the destination happens to show until then; but for listings that nothing may be sent
/// to now, or that are looked at anyway. A look that is under way may have come before the feed's price: it loses its fence,
/// and is taken anew. Inside the caller's transaction.
///
/// # Errors
/// When the database is away or refuses.
pub async fn settle(
    conn: &mut AsyncPgConnection,
    feed: BulkFeedId,
    settled: &[Settled],
    after: Duration,
) -> Result<(), StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        product_id: i64,
        #[diesel(sql_type = Text)]
        platform: String,
        #[diesel(sql_type = Bool)]
        later: bool,
        #[diesel(sql_type = Bool)]
        sent: bool,
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
    }
    let ids: Vec<i64> = settled.iter().map(|one| one.listing.0).collect();
    // In the house's order; a row that cannot be read is locked like any other.
    diesel::sql_query("SELECT 1 FROM listing_platforms WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE")
        .bind::<Array<BigInt>, _>(&ids)
        .execute(conn)
        .await?;
    let rows: Vec<Row> = hot(diesel::sql_query(
        "WITH given AS (SELECT * FROM unnest($2::int[], $3::text[], $4::jsonb[], $5::text[]) \
                        AS i (message, outcome, error, pushed)), \
         items AS (UPDATE bulk_feed_items b SET outcome = g.outcome, error = g.error FROM given g \
                   WHERE b.feed = $1 AND b.message = g.message AND b.outcome IS NULL \
                   RETURNING b.listing_id, b.log_id, b.price, b.currency, g.outcome, g.error, g.pushed), \
         logs AS (UPDATE sync_log s SET outcome = i.pushed, error = i.error, answered_at = clock_timestamp() \
                  FROM items i WHERE s.id = i.log_id), \
         late AS (SELECT i.*, i.outcome IN ('accepted', 'unknown') AND l.wanted_price <> i.price \
                      AND l.currency = i.currency AND l.listing_status = 'active' AND l.auto_sync_enabled \
                      AND l.held_reason IS NULL AND l.pushing_version IS NULL AND NOT l.needs_read_back AS is_late \
                  FROM items i JOIN listing_platforms l ON l.id = i.listing_id) \
         UPDATE listing_platforms l SET \
             needs_read_back = l.needs_read_back OR i.outcome <> 'left_out' AND i.is_late IS NOT TRUE, \
             listed_price = CASE WHEN i.is_late THEN i.price ELSE l.listed_price END, \
             synced_version = CASE WHEN i.is_late THEN LEAST(l.synced_version, l.wanted_version - 1) \
                              ELSE l.synced_version END, \
             last_sync_log_id = CASE WHEN i.is_late THEN NULL ELSE l.last_sync_log_id END, \
             updated_at = now() FROM late i WHERE l.id = i.listing_id \
         RETURNING l.id, l.product_id, l.platform, i.outcome = 'accepted' AND i.is_late IS NOT TRUE AS later, \
             i.outcome <> 'left_out' AND i.is_late IS NOT TRUE AS sent, clock_timestamp() AS now",
    )
    .bind::<BigInt, _>(feed.0)
    .bind::<Array<Integer>, _>(settled.iter().map(|one| one.message).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(settled.iter().map(|one| one.outcome.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Jsonb>>, _>(
        settled
            .iter()
            .map(|one| one.error.clone().map(text::json))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(
        settled
            .iter()
            .map(|one| one.outcome.of_push())
            .collect::<Vec<_>>(),
    ))
    .get_results(conn)
    .await?;
    let wait = TimeDelta::from_std(after).unwrap_or_default();
    let mut again = Vec::with_capacity(rows.len());
    for row in &rows {
        let destination = parse("listing_platforms.platform", &row.platform)?;
        let priority = if row.sent { PRIORITY_LOOK } else { PRIORITY_CHANGE };
        let product = ProductId(row.product_id);
        again.push(NewJob {
            scheduled_at: row.later.then_some(row.now + wait),
            ..hint(destination, product, ListingId(row.id), priority)
        });
    }
    jobs::enqueue(conn, &again).await?;
    Ok(())
}
