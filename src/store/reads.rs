//! Reading listings back: who is to be read, what was seen once, what was left as it was found, and what differed.
//!
//! All of it lies beside the listing's row, in `listing_reads`, and is written under that row's lock. [`mark`] says which
//! are to be read; the syncer reads them when it has nothing more urgent to do, and [`note`] writes down what it made of
//! each. A run's counts are kept in `reconcile_runs`, so that the share of what differs is known while it goes on.

use super::jobs::{self, Lane, NewJob};
use super::{StoreError, hot, text};
use crate::domain::{
    DestinationPlatform, ListingId, ListingState, ListingStatus, Money, ProductId, Quantity, Version, Wanted,
};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a listing's job has as its priority when it is only to be read: behind everything that changes something.
pub const PRIORITY_READ: i16 = 8;

/// What is remembered of a listing for reading it back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadBack {
    /// It is to be read.
    pub asked: bool,
    /// Not before this.
    pub look_at: Option<DateTime<Utc>>,
    /// The run that asked; `None` is a person.
    pub execution: Option<Uuid>,
    /// A difference that was seen once.
    pub suspect: Option<Suspect>,
    /// Pushes of this round that did not take.
    pub repairs: i32,
    /// What is left as it was found.
    pub adopted: Option<Adopted>,
}

/// A difference that was seen once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// When.
    pub at: DateTime<Utc>,
    /// What was shown; `None` when the destination did not know the listing.
    pub shown: Option<ListingState>,
}

/// What is left as it was found at the destination, and while what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// The wanted version at that time: a price is left while it is the newest.
    pub version: Version,
    /// The quantity wanted at that time: while the same is wanted, no source has said anything new …
    pub wanted_quantity: Quantity,
    /// … and no more than this is offered.
    pub most: Quantity,
    /// The price that is left.
    pub price: Option<Money>,
    /// It was ended over there, and is left so while the same quantity is wanted.
    pub ended: bool,
}

impl Adopted {
    /// Whether a source has said something new since: another quantity is wanted.
    #[must_use]
    pub fn is_over(&self, wanted: Option<Wanted>) -> bool {
        wanted.is_none_or(|wanted| wanted.quantity != self.wanted_quantity)
    }

    /// What is to be shown at the destination when the rules want `wanted`. Never more than that.
    #[must_use]
    pub fn over(&self, wanted: Wanted, version: Version) -> Wanted {
        let mut target = wanted;
        if wanted.quantity == self.wanted_quantity {
            target.quantity = wanted.quantity.min(self.most);
            if self.ended {
                target.status = ListingStatus::Ended;
            }
        }
        if version == self.version && wanted.price.is_some() && self.price.is_some() {
            target.price = self.price;
        }
        target
    }
}

/// One difference to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDrift {
    /// Which kind, by its name.
    pub kind: &'static str,
    /// What was believed.
    pub believed: ListingState,
    /// What was shown; `None` when the destination does not know the listing.
    pub shown: Option<ListingState>,
    /// What is wanted.
    pub wanted: Option<Wanted>,
    /// The destination's policy, by its name.
    pub policy: &'static str,
    /// What was done, by its name.
    pub done: &'static str,
    /// Both agree again by what was done.
    pub resolved: bool,
}

/// By how much a run's counts move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Listings that were compared.
    pub looked: i32,
    /// Those that showed something else.
    pub differed: i32,
    /// Those that are believed.
    pub drifted: i32,
    /// Those that could not be read.
    pub failed: i32,
    /// Nothing is repaired any more.
    pub stopped: bool,
}

/// What a look, or a push, made of one listing.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadNote {
    /// Which; its row is locked.
    pub listing: ListingId,
    /// What is remembered from now on.
    pub back: ReadBack,
    /// It was compared just now.
    pub compared: bool,
    /// It agrees: what differed before is over.
    pub agrees: bool,
    /// What differs.
    pub drift: Vec<NewDrift>,
    /// By how much the run's counts move.
    pub moved: Moved,
}

fn value<T: Serialize>(of: &T) -> Value {
    // Our own plain structs: they always have a form.
    text::json(serde_json::to_value(of).unwrap_or(Value::Null))
}

/// Writes down what was made of listings. Their rows must be locked.
///
/// # Errors
/// When the database is away or refuses.
pub async fn note(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    notes: &[ReadNote],
) -> Result<(), StoreError> {
    for note in notes {
        note_one(conn, destination, note).await?;
    }
    Ok(())
}

async fn note_one(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    note: &ReadNote,
) -> Result<(), StoreError> {
    let back = &note.back;
    hot(diesel::sql_query(
        "UPDATE listing_reads SET asked_at = CASE WHEN $2 THEN COALESCE(asked_at, clock_timestamp()) END, \
             look_at = CASE WHEN $2 THEN $3 END, suspect = $4, repairs = $5, adopted = $6, \
             read_at = CASE WHEN $7 THEN clock_timestamp() ELSE read_at END WHERE listing_id = $1",
    )
    .bind::<BigInt, _>(note.listing.0)
    .bind::<Bool, _>(back.asked)
    .bind::<Nullable<Timestamptz>, _>(back.look_at)
    .bind::<Nullable<Jsonb>, _>(back.suspect.as_ref().map(value))
    .bind::<Integer, _>(back.repairs)
    .bind::<Nullable<Jsonb>, _>(back.adopted.as_ref().map(value))
    .bind::<Bool, _>(note.compared))
    .execute(conn)
    .await?;
    if note.agrees || !note.drift.is_empty() {
        // What differs now takes the place of what differed before.
        hot(diesel::sql_query(
            "UPDATE drift SET resolved_at = clock_timestamp() WHERE listing_id = $1 AND resolved_at IS NULL",
        )
        .bind::<BigInt, _>(note.listing.0))
        .execute(conn)
        .await?;
    }
    for drift in &note.drift {
        diesel::sql_query(
            "INSERT INTO drift (listing_id, execution_id, kind, believed, shown, wanted, policy, done, resolved_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $9 THEN clock_timestamp() END)",
        )
        .bind::<BigInt, _>(note.listing.0)
        .bind::<Nullable<SqlUuid>, _>(back.execution)
        .bind::<Text, _>(drift.kind)
        .bind::<Jsonb, _>(value(&drift.believed))
        .bind::<Nullable<Jsonb>, _>(drift.shown.as_ref().map(value))
        .bind::<Nullable<Jsonb>, _>(drift.wanted.as_ref().map(value))
        .bind::<Text, _>(drift.policy)
        .bind::<Text, _>(drift.done)
        .bind::<Bool, _>(drift.resolved)
        .execute(conn)
        .await?;
    }
    let moved = note.moved;
    if let (Some(execution), true) = (back.execution, moved != Moved::default()) {
        hot(diesel::sql_query(
            "UPDATE reconcile_runs SET looked = looked + $3, differed = differed + $4, drifted = drifted + $5, \
                 failed = failed + $6, stopped = stopped OR $7 WHERE execution_id = $1 AND platform = $2",
        )
        .bind::<SqlUuid, _>(execution)
        .bind::<Text, _>(destination.as_str())
        .bind::<Integer, _>(moved.looked)
        .bind::<Integer, _>(moved.differed)
        .bind::<Integer, _>(moved.drifted)
        .bind::<Integer, _>(moved.failed)
        .bind::<Bool, _>(moved.stopped))
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// When something was last sent to these listings, or answered; those to which nothing was sent within a day are left out.
///
/// # Errors
/// When the database is away or refuses.
pub async fn last_writes(
    conn: &mut AsyncPgConnection,
    listings: &[ListingId],
) -> Result<Vec<(ListingId, DateTime<Utc>)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        listing_id: i64,
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
    }
    let rows: Vec<Row> = hot(diesel::sql_query(
        "SELECT listing_id, max(GREATEST(sent_at, answered_at)) AS at FROM sync_log \
         WHERE listing_id = ANY($1) AND kind <> 'read' AND sent_at > now() - interval '1 day' GROUP BY listing_id",
    )
    .bind::<Array<BigInt>, _>(listings.iter().map(|l| l.0).collect::<Vec<_>>()))
    .get_results(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| (ListingId(r.listing_id), r.at))
        .collect())
}

/// A run's counts at one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, QueryableByName)]
pub struct RunCounts {
    /// Listings that were to be read.
    #[diesel(sql_type = Integer)]
    pub marked: i32,
    /// Of them, those that were.
    #[diesel(sql_type = Integer)]
    pub looked: i32,
    /// Of them, those that showed something else, seen once or believed.
    #[diesel(sql_type = Integer)]
    pub differed: i32,
    /// Of them, those that are believed.
    #[diesel(sql_type = Integer)]
    pub drifted: i32,
    /// Could not be read.
    #[diesel(sql_type = Integer)]
    pub failed: i32,
    /// So many differ that nothing was repaired any more.
    #[diesel(sql_type = Bool)]
    pub stopped: bool,
}

/// How far a run is at one destination; nothing of one that has marked nothing there.
///
/// # Errors
/// When the database is away or refuses.
pub async fn counts(
    conn: &mut AsyncPgConnection,
    execution: Uuid,
    destination: DestinationPlatform,
) -> Result<RunCounts, StoreError> {
    let rows: Vec<RunCounts> = hot(diesel::sql_query(
        "SELECT marked, looked, differed, drifted, failed, stopped FROM reconcile_runs \
         WHERE execution_id = $1 AND platform = $2",
    )
    .bind::<SqlUuid, _>(execution)
    .bind::<Text, _>(destination.as_str()))
    .get_results(conn)
    .await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

#[derive(QueryableByName)]
struct Chosen {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
}

/// Listings that get their row at once.
const PIECE: i64 = 5_000;

/// Gives listings of a destination that have none a row to be compared by; how many, and none when all have one.
///
/// # Errors
/// When the database is away or refuses.
pub async fn enrol(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
) -> Result<usize, StoreError> {
    let enrolled = diesel::sql_query(
        "INSERT INTO listing_reads (listing_id) \
         SELECT l.id FROM listing_platforms l LEFT JOIN listing_reads r ON r.listing_id = l.id \
         WHERE l.platform = $1 AND r.listing_id IS NULL ORDER BY l.id LIMIT $2 ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(destination.as_str())
    .bind::<BigInt, _>(PIECE)
    .execute(conn)
    .await?;
    Ok(enrolled)
}

/// Has at most `limit` more listings of a destination read in this run; how many.
///
/// Of those that are [enrolled](enrol) those come first that were compared longest ago. Left out are those that are
/// paused, by a person or at the destination, that have something to push or an unknown outcome, and those that somebody
/// has locked. Call it inside a transaction.
///
/// # Errors
/// When the database is away or refuses.
pub async fn mark(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    execution: Uuid,
    limit: u32,
) -> Result<usize, StoreError> {
    let chosen: Vec<Chosen> = diesel::sql_query(
        // In the order of an index: a run asks this every few seconds, of a hundred thousand listings too.
        "SELECT l.id, l.product_id FROM listing_reads r JOIN listing_platforms l ON l.id = r.listing_id \
         WHERE l.platform = $1 AND l.auto_sync_enabled AND l.listing_status <> 'paused' \
           AND NOT l.needs_read_back AND l.pushing_version IS NULL \
           AND (l.wanted_version <= l.synced_version OR l.held_reason IS NOT NULL) \
           AND r.execution_id IS DISTINCT FROM $2 \
         ORDER BY r.read_at NULLS FIRST, r.listing_id LIMIT $3 FOR NO KEY UPDATE OF l SKIP LOCKED",
    )
    .bind::<Text, _>(destination.as_str())
    .bind::<SqlUuid, _>(execution)
    .bind::<BigInt, _>(i64::from(limit))
    .get_results(conn)
    .await?;
    ask(conn, destination, chosen, Some(execution), PRIORITY_READ).await
}

/// Has these listings read by a person's order; how many of them are kept in line and will be. Call it inside a
/// transaction.
///
/// # Errors
/// When the database is away or refuses.
pub async fn ask_now(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    ids: &[ListingId],
) -> Result<usize, StoreError> {
    let chosen: Vec<Chosen> = diesel::sql_query(
        "SELECT id, product_id FROM listing_platforms WHERE id = ANY($1) AND platform = $2 AND auto_sync_enabled \
         ORDER BY id FOR NO KEY UPDATE",
    )
    .bind::<Array<BigInt>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind::<Text, _>(destination.as_str())
    .get_results(conn)
    .await?;
    ask(conn, destination, chosen, None, PRIORITY_READ.saturating_sub(2)).await
}

async fn ask(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    mut chosen: Vec<Chosen>,
    execution: Option<Uuid>,
    priority: i16,
) -> Result<usize, StoreError> {
    if chosen.is_empty() {
        return Ok(0);
    }
    // In one order: two who ask for the same rows wait for each other.
    chosen.sort_by_key(|row| row.id);
    diesel::sql_query(
        "INSERT INTO listing_reads AS r (listing_id, asked_at, execution_id) \
         SELECT id, clock_timestamp(), $2 FROM unnest($1::bigint[]) AS i (id) \
         ON CONFLICT (listing_id) DO UPDATE SET asked_at = excluded.asked_at, execution_id = excluded.execution_id, \
             look_at = NULL, suspect = NULL, repairs = 0",
    )
    .bind::<Array<BigInt>, _>(chosen.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind::<Nullable<SqlUuid>, _>(execution)
    .execute(conn)
    .await?;
    if let Some(execution) = execution {
        diesel::sql_query(
            "INSERT INTO reconcile_runs AS c (execution_id, platform, marked) VALUES ($1, $2, $3) \
             ON CONFLICT (execution_id, platform) DO UPDATE SET marked = c.marked + excluded.marked",
        )
        .bind::<SqlUuid, _>(execution)
        .bind::<Text, _>(destination.as_str())
        .bind::<Integer, _>(i32::try_from(chosen.len()).unwrap_or(i32::MAX))
        .execute(conn)
        .await?;
    }
    let hints: Vec<NewJob> = chosen
        .iter()
        .map(|row| {
            NewJob::sync_listing(
                Lane::sync(destination),
                ProductId(row.product_id),
                ListingId(row.id),
                priority,
            )
        })
        .collect();
    jobs::enqueue(conn, &hints).await?;
    Ok(chosen.len())
}

/// Listings that a run waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, QueryableByName)]
pub struct Waiting {
    /// All of them.
    #[diesel(sql_type = BigInt)]
    pub all: i64,
    /// Those that could be read now.
    #[diesel(sql_type = BigInt)]
    pub due: i64,
}

/// Listings of a destination that are still to be read in this run.
///
/// # Errors
/// When the database is away or refuses.
pub async fn waiting(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    execution: Uuid,
) -> Result<Waiting, StoreError> {
    let row = diesel::sql_query(
        "SELECT count(*) AS all, count(*) FILTER (WHERE r.look_at IS NULL OR r.look_at <= clock_timestamp()) AS due \
         FROM listing_reads r JOIN listing_platforms l ON l.id = r.listing_id \
         WHERE r.asked_at IS NOT NULL AND r.execution_id = $1 AND l.platform = $2 AND l.auto_sync_enabled",
    )
    .bind::<SqlUuid, _>(execution)
    .bind::<Text, _>(destination.as_str())
    .get_result(conn)
    .await?;
    Ok(row)
}

/// Ends a run: what it has not read by now is left to the next, which begins with it.
///
/// # Errors
/// When the database is away or refuses.
pub async fn withdraw(conn: &mut AsyncPgConnection, execution: Uuid) -> Result<usize, StoreError> {
    // Whoever holds a row is about to write what it read: that one is left to him.
    let left = diesel::sql_query(
        "WITH mine AS (SELECT l.id FROM listing_platforms l JOIN listing_reads r ON r.listing_id = l.id \
                       WHERE r.execution_id = $1 AND r.asked_at IS NOT NULL \
                       ORDER BY l.id FOR NO KEY UPDATE OF l SKIP LOCKED) \
         UPDATE listing_reads r SET asked_at = NULL, look_at = NULL, suspect = NULL FROM mine WHERE r.listing_id = mine.id",
    )
    .bind::<SqlUuid, _>(execution)
    .execute(conn)
    .await?;
    Ok(left)
}

/// The first listings that differed in a run, by their keys at the destination.
///
/// # Errors
/// When the database is away or refuses.
pub async fn drifted(
    conn: &mut AsyncPgConnection,
    execution: Uuid,
    destination: DestinationPlatform,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        sku: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT l.sku FROM listing_platforms l WHERE l.platform = $2 AND EXISTS \
             (SELECT 1 FROM drift d WHERE d.listing_id = l.id AND d.execution_id = $1) ORDER BY l.id LIMIT $3",
    )
    .bind::<SqlUuid, _>(execution)
    .bind::<Text, _>(destination.as_str())
    .bind::<BigInt, _>(limit)
    .get_results(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.sku).collect())
}

/// A page of differences, the newest first, before `before`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn page(
    conn: &mut AsyncPgConnection,
    (before, limit): (Option<i64>, i64),
    destination: Option<&str>,
    open: bool,
) -> Result<Vec<Value>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Jsonb)]
        view: Value,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT to_jsonb(v) AS view FROM ( \
             SELECT d.id, d.listing_id, l.platform AS destination, l.sku, d.kind, d.believed, d.shown, d.wanted, \
                    d.policy, d.done, d.seen_at, d.resolved_at, d.execution_id \
             FROM drift d JOIN listing_platforms l ON l.id = d.listing_id \
             WHERE ($1::bigint IS NULL OR d.id < $1) AND ($3::text IS NULL OR l.platform = $3) \
               AND (NOT $4 OR d.resolved_at IS NULL) ORDER BY d.id DESC LIMIT $2) v ORDER BY v.id DESC",
    )
    .bind::<Nullable<BigInt>, _>(before)
    .bind::<BigInt, _>(limit)
    .bind::<Nullable<Text>, _>(destination)
    .bind::<Bool, _>(open)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}

/// Forgets what was left as it was found at these listings: another quantity is wanted by now. Their rows must be locked.
///
/// # Errors
/// When the database is away or refuses.
pub async fn forget_adopted(conn: &mut AsyncPgConnection, ids: &[ListingId]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    hot(
        diesel::sql_query("UPDATE listing_reads SET adopted = NULL WHERE listing_id = ANY($1)")
            .bind::<Array<BigInt>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends what was left as it was found at these listings, by a person's word: what the rules want counts again.
///
/// # Errors
/// When the database is away or refuses.
pub(super) async fn disown(conn: &mut AsyncPgConnection, ids: &[ListingId]) -> Result<(), StoreError> {
    diesel::sql_query(
        "WITH ended AS (UPDATE listing_reads SET adopted = NULL WHERE listing_id = ANY($1) AND adopted IS NOT NULL \
                        RETURNING listing_id) \
         UPDATE listing_platforms l SET synced_version = LEAST(l.synced_version, GREATEST(l.wanted_version - 1, 0)) \
         FROM ended WHERE l.id = ended.listing_id",
    )
    .bind::<Array<BigInt>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
