//! `bulk_feeds`: prices on their way to a destination in one document, and how far each document is.
//!
//! A feed is gathered in small transactions, each of which locks its listings' rows, writes down the prices ([`add`]) and
//! takes the listings' jobs away; from then on a listing that wants that very price is left alone by its syncer, and found
//! again by the row: an item is *open* until it has an outcome. Whatever becomes of a feed, [`settle`] gives every open
//! item its outcome, has the listing read back, and puts its job into the queue again, in one transaction.
//!
//! Only the syncer of the destination writes here, and compares its epoch in each transaction.

mod view;

pub use view::{SHOWN, list};

use super::jobs::{self, NewJob};
use super::listings::{COLUMNS, Listing, Record, money, parse};
use super::wanted::hint;
use super::{StoreError, hot, text};
use crate::domain::{
    BulkFeedId, Currency, DestinationPlatform, ListingId, Money, UnknownName, names,
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use std::{fmt, str::FromStr};

/// The priority of the look after a feed: behind everything that changes something.
const PRIORITY_LOOK: i16 = 8;

names!(
    /// How far a feed is.
    FeedState {
        /// Prices are still added.
        Gathering = "gathering",
        /// It is whole, and nothing was sent.
        Waiting = "waiting",
        /// The document is at the destination; nothing happens by that.
        Uploaded = "uploaded",
        /// It is being handed in, or was: which, is not known.
        Submitting = "submitting",
        /// The destination works on it.
        Submitted = "submitted",
        /// The destination is done with it, and its listings are not.
        Ended = "ended",
        /// Every listing of it goes on by itself.
        Settled = "settled",
    }
);
names!(
    /// How a feed ended.
    FeedResult {
        /// It was worked off; its report says the rest.
        Done = "done",
        /// The destination dropped it before anything of it was done.
        Cancelled = "cancelled",
        /// The destination gave it up halfway.
        Fatal = "fatal",
        /// The destination did not take it.
        Refused = "refused",
        /// It was handed in, and is not there.
        Lost = "lost",
        /// It took too long.
        Late = "late",
        /// It was worked off, and its report cannot be read.
        Unreadable = "unreadable",
    }
);
names!(
    /// What became of one price of a feed.
    ItemOutcome {
        /// The destination took it.
        Accepted = "accepted",
        /// The destination refused it.
        Refused = "refused",
        /// Nobody knows.
        Unknown = "unknown",
        /// It was not sent.
        LeftOut = "left_out",
    }
);

impl ItemOutcome {
    /// The outcome of its `sync_log` row.
    fn of_push(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "rejected",
            Self::Unknown => "unknown",
            Self::LeftOut => "failed",
        }
    }
}

/// A feed, as its syncer works on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// The row.
    pub id: BulkFeedId,
    /// How far it is.
    pub state: FeedState,
    /// How it ended, from [`FeedState::Ended`] on.
    pub result: Option<FeedResult>,
    /// The destination's key of the document.
    pub document: Option<String>,
    /// … of the work …
    pub feed: Option<String>,
    /// … and of its report.
    pub report: Option<String>,
    /// Prices gathered; the highest number in the document.
    pub items: i32,
    /// Prices in the document.
    pub sent: Option<i32>,
    /// Tries without getting further.
    pub tries: i32,
    /// What went wrong last: code and sentence.
    pub error: Option<(String, String)>,
    /// What was said of the document as a whole.
    pub said: Option<Value>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// Just before it was handed in.
    pub submitted_at: Option<DateTime<Utc>>,
    /// The database's clock when this was read.
    pub now: DateTime<Utc>,
}

#[derive(QueryableByName)]
struct FeedRecord {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<Text>)]
    result: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    document_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    feed_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    report_id: Option<String>,
    #[diesel(sql_type = Integer)]
    items: i32,
    #[diesel(sql_type = Nullable<Integer>)]
    sent: Option<i32>,
    #[diesel(sql_type = Integer)]
    tries: i32,
    #[diesel(sql_type = Nullable<Text>)]
    error_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    said: Option<Value>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    submitted_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

const FEED: &str = "SELECT id, state, result, document_id, feed_id, report_id, items, sent, tries, error_code, error, said, \
     created_at, submitted_at, clock_timestamp() AS now FROM bulk_feeds";

impl TryFrom<FeedRecord> for Feed {
    type Error = StoreError;

    fn try_from(r: FeedRecord) -> Result<Self, StoreError> {
        let at = |column: &str| format!("bulk_feeds.{column} of feed `{}`", r.id);
        let result = r.result.map(|name| parse(&at("result"), &name)).transpose()?;
        Ok(Self {
            id: BulkFeedId(r.id),
            state: parse(&at("state"), &r.state)?,
            result,
            document: r.document_id,
            feed: r.feed_id,
            report: r.report_id,
            items: r.items,
            sent: r.sent,
            tries: r.tries,
            error: r.error_code.zip(r.error),
            said: r.said,
            created_at: r.created_at,
            submitted_at: r.submitted_at,
            now: r.now,
        })
    }
}

/// A price to be added to a feed; its listing's row is locked.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// The listing.
    pub listing: Listing,
    /// The price.
    pub price: Money,
}

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

/// Listings whose next step is a price alone, as far as a statement can tell; whoever takes one decides by its row.
const CANDIDATE: &str = "j.queue_name = 'platform_sync' AND COALESCE(j.destination, '') = $1 \
     AND j.status IN ('pending', 'failed') AND j.scheduled_at <= clock_timestamp() AND cardinality(j.crashed_at) = 0 \
     AND l.auto_sync_enabled AND l.held_reason IS NULL AND l.listing_status = 'active' AND NOT l.needs_read_back \
     AND l.pushing_version IS NULL AND l.wanted_quantity = l.current_quantity AND l.wanted_quantity > 0 \
     AND l.wanted_price IS NOT NULL AND l.listed_price IS NOT NULL AND l.wanted_price <> l.listed_price \
     AND NOT EXISTS (SELECT 1 FROM bulk_feed_items i WHERE i.listing_id = l.id AND i.outcome IS NULL)";

/// How many listings of a destination wait with a price alone, counted up to `most`. None while it is paused.
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
         LIMIT $2) x"
    ))
    .bind::<Text, _>(destination.as_str())
    .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX)))
    .get_result(conn)
    .await?;
    Ok(usize::try_from(row.n).unwrap_or(0))
}

/// Locks up to `limit` of those listings, the last in the line first: the first ones go out one by one meanwhile. Rows that
/// are locked are passed by, and rows that cannot be read are left to their jobs. Answers the database's clock as well.
///
/// # Errors
/// When the database is away or refuses.
pub async fn candidates(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    limit: usize,
) -> Result<(Vec<Listing>, DateTime<Utc>), StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        listing: Record,
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
    }
    let rows: Vec<Row> = hot(diesel::sql_query(format!(
        "SELECT {COLUMNS}, clock_timestamp() AS now FROM processing_queue j \
             JOIN listing_platforms l ON l.id = j.listing_id WHERE {CANDIDATE} \
         ORDER BY j.priority DESC, j.scheduled_at DESC, j.id DESC LIMIT $2 FOR NO KEY UPDATE OF l SKIP LOCKED"
    ))
    .bind::<Text, _>(destination.as_str())
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX)))
    .get_results(conn)
    .await?;
    let now = rows.as_slice().first().map_or(DateTime::UNIX_EPOCH, |row| row.now);
    let listings = rows.into_iter().filter_map(|row| Listing::try_from(row.listing).ok());
    Ok((listings.collect(), now))
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

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
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

/// The feed whose turn it is to be taken further, and how long until the next one is due, not more than `at_most`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn due(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    at_most: Duration,
) -> Result<(Option<Feed>, Duration), StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Double>)]
        seconds: Option<f64>,
    }
    let open = "platform = $1 AND state NOT IN ('gathering', 'settled')";
    let feeds: Vec<FeedRecord> = hot(diesel::sql_query(format!(
        "{FEED} WHERE {open} AND next_at <= clock_timestamp() ORDER BY next_at, id LIMIT 1"
    ))
    .bind::<Text, _>(destination.as_str()))
    .get_results(conn)
    .await?;
    if let Some(record) = feeds.into_iter().next() {
        return Ok((Some(record.try_into()?), Duration::ZERO));
    }
    let row: Row = hot(diesel::sql_query(format!(
        "SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 AS seconds FROM bulk_feeds WHERE {open}"
    ))
    .bind::<Text, _>(destination.as_str()))
    .get_result(conn)
    .await?;
    let next = row.seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::ZERO));
    Ok((None, next.unwrap_or(at_most).min(at_most)))
}

/// Writes down how far a feed is; it is taken further `after` a while.
///
/// # Errors
/// When the database is away or refuses.
pub async fn save(conn: &mut AsyncPgConnection, feed: &Feed, after: Duration) -> Result<(), StoreError> {
    hot(diesel::sql_query(
        "UPDATE bulk_feeds SET state = $2, result = $3, document_id = $4, feed_id = $5, report_id = $6, sent = $7, \
             tries = $8, error_code = $9, error = $10, said = $11, submitted_at = $12, \
             ended_at = CASE WHEN $3 IS NULL THEN NULL ELSE COALESCE(ended_at, clock_timestamp()) END, \
             settled_at = CASE WHEN $2 = 'settled' THEN COALESCE(settled_at, clock_timestamp()) END, \
             next_at = clock_timestamp() + make_interval(secs => $13) \
         WHERE id = $1 AND state <> 'settled'",
    )
    .bind::<BigInt, _>(feed.id.0)
    .bind::<Text, _>(feed.state.as_str())
    .bind::<Nullable<Text>, _>(feed.result.map(|result| result.as_str()))
    .bind::<Nullable<Text>, _>(feed.document.as_deref())
    .bind::<Nullable<Text>, _>(feed.feed.as_deref())
    .bind::<Nullable<Text>, _>(feed.report.as_deref())
    .bind::<Nullable<Integer>, _>(feed.sent)
    .bind::<Integer, _>(feed.tries)
    .bind::<Nullable<Text>, _>(feed.error.as_ref().map(|(code, _)| text::text(code)))
    .bind::<Nullable<Text>, _>(feed.error.as_ref().map(|(_, why)| text::text(why)))
    .bind::<Nullable<Jsonb>, _>(feed.said.clone().map(text::json))
    .bind::<Nullable<Timestamptz>, _>(feed.submitted_at)
    .bind::<Double, _>(after.as_secs_f64()))
    .execute(conn)
    .await?;
    Ok(())
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
    Ok(rows.into_iter().map(|r| (r.message, ListingId(r.listing_id))).collect())
}

/// Whether a feed of ours is known at the destination by this key.
///
/// # Errors
/// When the database is away or refuses.
pub async fn is_known(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    key: &str,
) -> Result<bool, StoreError> {
    let rows: Vec<Id> =
        diesel::sql_query("SELECT id FROM bulk_feeds WHERE platform = $1 AND feed_id = $2 LIMIT 1")
            .bind::<Text, _>(destination.as_str())
            .bind::<Text, _>(key)
            .get_results(conn)
            .await?;
    Ok(!rows.is_empty())
}

/// Gives open prices their outcomes: their listings are read back, those whose price was taken `after` a while, and go on
/// by themselves. What was left out was not sent, and is not read. Inside the caller's transaction.
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
                   RETURNING b.listing_id, b.log_id, g.outcome, g.error, g.pushed), \
         logs AS (UPDATE sync_log s SET outcome = i.pushed, error = i.error, answered_at = clock_timestamp() \
                  FROM items i WHERE s.id = i.log_id) \
         UPDATE listing_platforms l SET needs_read_back = l.needs_read_back OR i.outcome <> 'left_out', \
             updated_at = now() FROM items i WHERE l.id = i.listing_id \
         RETURNING l.id, l.product_id, l.platform, i.outcome = 'accepted' AS later, \
             i.outcome <> 'left_out' AS sent, clock_timestamp() AS now",
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
        let priority = if row.sent { PRIORITY_LOOK } else { 5 };
        let product = crate::domain::ProductId(row.product_id);
        again.push(NewJob {
            scheduled_at: row.later.then_some(row.now + wait),
            ..hint(destination, product, ListingId(row.id), priority)
        });
    }
    jobs::enqueue(conn, &again).await?;
    Ok(())
}
