//! Which prices go into a feed, and how they get there.

use super::{FEED, Feed, FeedRecord, Id};
use crate::domain::{BulkFeedId, DestinationPlatform, ListingId, Money};
use crate::store::listings::{COLUMNS, Listing, Record};
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Jsonb, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde_json::Value;

/// A price to be added to a feed; its listing's row is locked.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// The listing.
    pub listing: Listing,
    /// The price.
    pub price: Money,
}

/// Listings whose next step is a price alone, as far as a statement can tell; whoever takes one decides by its row.
///
/// A price that went in a feed within a day goes by itself the next time, whatever became of it: a price that is refused,
/// or taken and never shown, must come to where that is counted and held.
const CANDIDATE: &str = "j.queue_name = 'platform_sync' AND COALESCE(j.destination, '') = $1 \
     AND j.status IN ('pending', 'failed') AND j.scheduled_at <= clock_timestamp() AND cardinality(j.crashed_at) = 0 \
     AND l.auto_sync_enabled AND l.held_reason IS NULL AND l.listing_status = 'active' AND NOT l.needs_read_back \
     AND l.pushing_version IS NULL AND l.wanted_quantity = l.current_quantity AND l.wanted_quantity > 0 \
     AND l.wanted_price IS NOT NULL AND l.listed_price IS NOT NULL AND l.wanted_price <> l.listed_price \
     AND NOT EXISTS (SELECT 1 FROM bulk_feed_items i JOIN bulk_feeds f ON f.id = i.feed WHERE i.listing_id = l.id \
                     AND (i.outcome IS NULL \
                          OR i.price = l.wanted_price AND f.created_at > clock_timestamp() - interval '1 day'))";

/// How many listings of a destination wait with a price alone, counted up to `most`.
///
/// None while it is paused, nor for an hour after a feed that did not go well: what is wrong with it would be wrong with the
/// next one, and prices that go into it wait for that.
///
/// # Errors
/// When the database is away or refuses.
pub async fn backlog(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    most: usize,
) -> Result<usize, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let row: Row = hot(diesel::sql_query(format!(
        "SELECT count(*) AS n FROM (SELECT 1 FROM processing_queue j JOIN listing_platforms l ON l.id = j.listing_id \
         WHERE {CANDIDATE} AND NOT EXISTS (SELECT 1 FROM platform_state s WHERE s.platform IN ('*', $1) AND s.paused) \
         AND NOT EXISTS (SELECT 1 FROM bulk_feeds b WHERE b.platform = $1 AND b.result <> 'done' \
                         AND b.ended_at > clock_timestamp() - interval '1 hour') \
         LIMIT $2) x"
    ))
    .bind::<Text, _>(destination.as_str())
    .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX)))
    .get_result(conn)
    .await?;
    Ok(usize::try_from(row.n).unwrap_or(0))
}

/// Listings that may go into a feed, locked.
#[derive(Debug)]
pub struct Candidates {
    /// Them.
    pub listings: Vec<Listing>,
    /// Those whose rows cannot be read: they are left to their jobs.
    pub unreadable: Vec<ListingId>,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

/// Locks up to `limit` of those listings, the last in the line first: the first ones go out one by one meanwhile. Rows that
/// are locked are passed by, and so are those that were `passed_by` before.
///
/// # Errors
/// When the database is away or refuses.
pub async fn candidates(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    passed_by: &[ListingId],
    limit: usize,
) -> Result<Candidates, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        listing: Record,
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
    }
    let passed_by: Vec<i64> = passed_by.iter().map(|id| id.0).collect();
    let rows: Vec<Row> = hot(diesel::sql_query(format!(
        "SELECT {COLUMNS}, clock_timestamp() AS now FROM processing_queue j \
             JOIN listing_platforms l ON l.id = j.listing_id WHERE {CANDIDATE} AND l.id <> ALL ($3) \
         ORDER BY j.priority DESC, j.scheduled_at DESC, j.id DESC LIMIT $2 FOR NO KEY UPDATE OF l SKIP LOCKED"
    ))
    .bind::<Text, _>(destination.as_str())
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind::<Array<BigInt>, _>(passed_by))
    .get_results(conn)
    .await?;
    let mut found = Candidates {
        listings: Vec::with_capacity(rows.len()),
        unreadable: Vec::new(),
        now: rows
            .as_slice()
            .first()
            .map_or(DateTime::UNIX_EPOCH, |row| row.now),
    };
    for row in rows {
        let id = row.listing.id();
        match Listing::try_from(row.listing) {
            Ok(listing) => found.listings.push(listing),
            Err(_unreadable) => found.unreadable.push(id),
        }
    }
    Ok(found)
}

/// The feed that prices are still added to.
///
/// # Errors
/// When the database is away or refuses.
pub async fn gathering(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
) -> Result<Option<Feed>, StoreError> {
    let feeds: Vec<FeedRecord> = hot(diesel::sql_query(format!(
        "{FEED} WHERE platform = $1 AND state = 'gathering' ORDER BY id LIMIT 1 FOR UPDATE"
    ))
    .bind::<Text, _>(destination.as_str()))
    .get_results(conn)
    .await?;
    feeds.into_iter().next().map(Feed::try_from).transpose()
}

/// Begins a feed without prices.
///
/// # Errors
/// When the database is away or refuses.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
) -> Result<BulkFeedId, StoreError> {
    let row: Id = diesel::sql_query("INSERT INTO bulk_feeds (platform) VALUES ($1) RETURNING id")
        .bind::<Text, _>(destination.as_str())
        .get_result(conn)
        .await?;
    Ok(BulkFeedId(row.id))
}

/// Adds prices to a feed behind number `after`: each with its `sync_log` row, as what is about to be sent. The listings'
/// waiting jobs are done by it.
///
/// # Errors
/// When the database is away or refuses, or a listing is in an open feed already.
pub async fn add(
    conn: &mut AsyncPgConnection,
    feed: BulkFeedId,
    after: i32,
    items: &[NewItem],
) -> Result<(), StoreError> {
    let listings: Vec<i64> = items.iter().map(|item| item.listing.id().0).collect();
    let prices: Vec<Decimal> = items.iter().map(|item| item.price.amount()).collect();
    let cause = |item: &NewItem| item.listing.wanted_cause.clone().unwrap_or(Value::Null);
    hot(diesel::sql_query(
        "WITH given AS (SELECT * FROM unnest($3::bigint[], $4::numeric[], $5::jsonb[]) WITH ORDINALITY \
                        AS i (id, price, cause, n)), \
         logs AS (INSERT INTO sync_log (listing_id, platform, wanted_version, old_quantity, old_price, new_price, \
                      currency, kind, cause, outcome) \
                  SELECT l.id, l.platform, l.wanted_version, l.current_quantity, l.listed_price, g.price, l.currency, \
                      'revise', g.cause, 'sending' \
                  FROM given g JOIN listing_platforms l ON l.id = g.id RETURNING id, listing_id), \
         counted AS (UPDATE bulk_feeds SET items = $2 + cardinality($3::bigint[]) WHERE id = $1) \
         INSERT INTO bulk_feed_items (feed, message, listing_id, sku, price, currency, log_id) \
         SELECT $1, $2 + g.n::int, l.id, l.sku, g.price, l.currency, s.id \
         FROM given g JOIN listing_platforms l ON l.id = g.id JOIN logs s ON s.listing_id = l.id",
    )
    .bind::<BigInt, _>(feed.0)
    .bind::<Integer, _>(after)
    .bind::<Array<BigInt>, _>(&listings)
    .bind::<Array<Numeric>, _>(prices)
    .bind::<Array<Jsonb>, _>(items.iter().map(cause).collect::<Vec<_>>()))
    .execute(conn)
    .await?;
    hot(diesel::sql_query(
        "WITH idle AS (UPDATE listing_platforms SET sync_queue_status = 'idle' WHERE id = ANY($1)) \
         UPDATE processing_queue SET status = 'completed', completed_at = clock_timestamp(), error_message = NULL \
         WHERE listing_id = ANY($1) AND queue_name = 'platform_sync' AND status IN ('pending', 'failed')",
    )
    .bind::<Array<BigInt>, _>(&listings))
    .execute(conn)
    .await?;
    Ok(())
}

/// A feed that got all its prices; one that got none is gone.
///
/// # Errors
/// When the database is away or refuses.
pub async fn close(conn: &mut AsyncPgConnection, feed: BulkFeedId) -> Result<(), StoreError> {
    hot(diesel::sql_query(
        "WITH empty AS (DELETE FROM bulk_feeds WHERE id = $1 AND items = 0) \
         UPDATE bulk_feeds SET state = 'waiting', next_at = clock_timestamp() \
         WHERE id = $1 AND state = 'gathering' AND items > 0",
    )
    .bind::<BigInt, _>(feed.0))
    .execute(conn)
    .await?;
    Ok(())
}
