//! What was pushed, why, and what became of it.
//!
//! Rows are written by [`super::pushes`]; here they are read: for `explain` (L7), for the counts of the blast radius
//! (L4) and for the measured delay from page to answer (L10).

use super::listings::{money, parse, quantity};
use super::pushes::{PushKind, PushOutcome};
use super::{StoreError, hot};
use crate::domain::{
    BY_DEADLINE, Currency, DestinationPlatform, ListingId, Money, Quantity, SyncLogId, Version,
};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// One push.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Push {
    /// The row.
    pub id: SyncLogId,
    /// The listing.
    pub listing: ListingId,
    /// The wanted version that it carried.
    pub wanted_version: Version,
    /// What was confirmed before.
    pub old_quantity: Option<Quantity>,
    /// What was sent; `None` when the quantity was not.
    pub new_quantity: Option<Quantity>,
    /// What was confirmed before.
    pub old_price: Option<Money>,
    /// What was sent; `None` when the price was not.
    pub new_price: Option<Money>,
    /// What was asked of the destination.
    pub kind: PushKind,
    /// Why.
    pub cause: Value,
    /// What became of it.
    pub outcome: PushOutcome,
    /// The destination's word on it.
    pub error: Option<Value>,
    /// When the page behind it was read.
    pub fetched_at: Option<DateTime<Utc>>,
    /// When it was written down, just before it was sent.
    pub sent_at: DateTime<Utc>,
    /// When its answer was settled.
    pub answered_at: Option<DateTime<Utc>>,
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    listing_id: i64,
    #[diesel(sql_type = BigInt)]
    wanted_version: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    old_quantity: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    new_quantity: Option<i32>,
    #[diesel(sql_type = Nullable<Numeric>)]
    old_price: Option<Decimal>,
    #[diesel(sql_type = Nullable<Numeric>)]
    new_price: Option<Decimal>,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Jsonb)]
    cause: Value,
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    error: Option<Value>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    fetched_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    sent_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    answered_at: Option<DateTime<Utc>>,
}

impl TryFrom<Record> for Push {
    type Error = StoreError;

    fn try_from(r: Record) -> Result<Self, StoreError> {
        let at = |column: &str| format!("sync_log.{column} of row `{}`", r.id);
        let currency: Currency = parse(&at("currency"), &r.currency)?;
        let pieces = |column: &str, n: Option<i32>| n.map(|n| quantity(&at(column), n)).transpose();
        let price = |column: &str, a: Option<Decimal>| a.map(|a| money(&at(column), a, currency)).transpose();
        Ok(Self {
            id: SyncLogId(r.id),
            listing: ListingId(r.listing_id),
            wanted_version: Version(r.wanted_version),
            old_quantity: pieces("old_quantity", r.old_quantity)?,
            new_quantity: pieces("new_quantity", r.new_quantity)?,
            old_price: price("old_price", r.old_price)?,
            new_price: price("new_price", r.new_price)?,
            kind: parse(&at("kind"), &r.kind)?,
            outcome: parse(&at("outcome"), &r.outcome)?,
            cause: r.cause,
            error: r.error,
            fetched_at: r.fetched_at,
            sent_at: r.sent_at,
            answered_at: r.answered_at,
        })
    }
}

/// The newest pushes of a listing, newest first.
///
/// # Errors
/// When the database is away or refuses.
pub async fn of_listing(
    conn: &mut AsyncPgConnection,
    listing: ListingId,
    limit: u32,
) -> Result<Vec<Push>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(
        "SELECT id, listing_id, wanted_version, old_quantity, new_quantity, old_price, new_price, \
             currency::text AS currency, kind, cause, outcome, error, fetched_at, sent_at, answered_at \
         FROM sync_log WHERE listing_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind::<BigInt, _>(listing.0)
    .bind::<BigInt, _>(i64::from(limit))
    .get_results(conn)
    .await?;
    records.into_iter().map(Push::try_from).collect()
}

/// What may stand at a destination because of us, whatever was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PossibleWrites {
    /// The listing may have been ended.
    pub ended: bool,
    /// The smallest quantity that may have been set.
    pub least: Option<Quantity>,
}

/// For each of these listings, what was written since its destination was last read for sure, and what came to light
/// after that read (a request of a worker that was stopped and woke up later).
///
/// # Errors
/// When the database is away or refuses.
pub async fn possible_writes(
    conn: &mut AsyncPgConnection,
    listings: &[ListingId],
) -> Result<Vec<(ListingId, PossibleWrites)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        listing_id: i64,
        #[diesel(sql_type = Bool)]
        ended: bool,
        #[diesel(sql_type = Nullable<Integer>)]
        least: Option<i32>,
    }
    let rows: Vec<Row> = hot(diesel::sql_query(
        "SELECT i.id AS listing_id, COALESCE(bool_or(s.kind = 'end'), FALSE) AS ended, min(s.new_quantity) AS least \
         FROM unnest($1::bigint[]) AS i (id) \
         LEFT JOIN LATERAL (SELECT id, answered_at FROM sync_log WHERE listing_id = i.id AND kind = 'read' \
                            AND outcome IN ('accepted', 'held') ORDER BY id DESC LIMIT 1) r ON TRUE \
         JOIN sync_log s ON s.listing_id = i.id AND s.kind <> 'read' AND s.sent_at > now() - interval '1 day' \
              AND (s.id > COALESCE(r.id, 0) OR (s.error ? 'overtaken' AND s.answered_at > r.answered_at)) \
         GROUP BY i.id",
    )
    .bind::<Array<BigInt>, _>(listings.iter().map(|l| l.0).collect::<Vec<_>>()))
    .get_results(conn)
    .await?;
    rows.into_iter()
        .map(|r| {
            let least = r
                .least
                .map(|n| quantity("sync_log.new_quantity", n))
                .transpose()?;
            let writes = PossibleWrites {
                ended: r.ended,
                least,
            };
            Ok((ListingId(r.listing_id), writes))
        })
        .collect()
}

/// A push that counts against the blast radius.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Counted {
    /// The listing.
    #[diesel(sql_type = BigInt)]
    listing_id: i64,
    /// It took the offer away without a page explaining it.
    #[diesel(sql_type = Bool)]
    pub ended: bool,
    /// It moved the price.
    #[diesel(sql_type = Bool)]
    pub repriced: bool,
    /// When it was sent.
    #[diesel(sql_type = Timestamptz)]
    pub sent_at: DateTime<Utc>,
}

impl Counted {
    /// The listing.
    #[must_use]
    pub fn listing(&self) -> ListingId {
        ListingId(self.listing_id)
    }
}

/// What was pushed to a destination within `window`, as the blast radius counts it: not what a page explains or a
/// person approved.
///
/// # Errors
/// When the database is away or refuses.
pub async fn counted(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    window: Duration,
) -> Result<Vec<Counted>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT listing_id, bool_or(ended) AS ended, bool_or(repriced) AS repriced, max(sent_at) AS sent_at FROM ( \
             SELECT listing_id, sent_at, new_price IS NOT NULL AS repriced, \
                    (kind = 'end' OR COALESCE(new_quantity = 0, FALSE)) AND (cause->'explained') IS DISTINCT FROM 'true'::jsonb AS ended \
             FROM sync_log WHERE platform = $1 AND sent_at > clock_timestamp() - make_interval(secs => $2) \
               AND kind IN ('revise', 'end') AND outcome IN ('sending', 'accepted', 'unknown') \
               AND COALESCE(cause->>'approved_by', $3) = $3) AS s \
         WHERE ended OR repriced GROUP BY listing_id, date_trunc('minute', sent_at)",
    )
    .bind::<Text, _>(destination.as_str())
    .bind::<Double, _>(window.as_secs_f64())
    .bind::<Text, _>(BY_DEADLINE)
    .get_results(conn)
    .await?;
    Ok(rows)
}

/// The delay from the page's last byte to the settled answer, of the pushes answered within a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, QueryableByName)]
pub struct Delays {
    /// Pushes measured.
    #[diesel(sql_type = BigInt)]
    pub pushes: i64,
    /// Half were faster, in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p50_ms: Option<f64>,
    /// 95 % were faster, in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p95_ms: Option<f64>,
    /// 99 % were faster, in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p99_ms: Option<f64>,
}

/// Delays of accepted pushes to a destination since an instant.
///
/// # Errors
/// When the database is away or refuses.
pub async fn delays(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    since: DateTime<Utc>,
) -> Result<Delays, StoreError> {
    let row = diesel::sql_query(
        "SELECT count(*) AS pushes, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS p50_ms, \
             percentile_cont(0.95) WITHIN GROUP (ORDER BY ms) AS p95_ms, \
             percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) AS p99_ms \
         FROM (SELECT (extract(epoch FROM answered_at - fetched_at) * 1000)::float8 AS ms FROM sync_log \
               WHERE platform = $1 AND sent_at > $2 AND outcome = 'accepted' AND kind <> 'read' \
                 AND fetched_at IS NOT NULL AND answered_at IS NOT NULL) AS s",
    )
    .bind::<Text, _>(destination.as_str())
    .bind::<Timestamptz, _>(since)
    .get_result(conn)
    .await?;
    Ok(row)
}
