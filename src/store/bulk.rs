//! `bulk_feeds`: prices on their way to a destination in one document, and how far each document is.
//!
//! A feed is gathered in small transactions, each of which locks its listings' rows, writes down the prices ([`add`]) and
//! takes the listings' jobs away; from then on a listing that wants that very price is left alone by its syncer, and found
//! again by the row: an item is *open* until it has an outcome. Whatever becomes of a feed, [`settle`] gives every open
//! item its outcome, has the listing read back, and puts its job into the queue again, in one transaction.
//!
//! Only the syncer of the destination writes here, and compares its epoch in each transaction.

mod gather;
mod items;
mod view;

pub use gather::{Candidates, NewItem, add, backlog, begin, candidates, close, gathering};
pub use items::{Item, Settled, open_items, open_messages, settle};
pub use view::{SHOWN, list};

use super::listings::parse;
use super::{StoreError, hot, text};
use crate::domain::{BulkFeedId, DestinationPlatform, UnknownName, names};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use std::{fmt, str::FromStr};

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

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
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
    let next = row
        .seconds
        .map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::ZERO));
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
