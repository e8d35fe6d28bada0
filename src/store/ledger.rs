//! The writes of the watching path: what counts for a watch, its history and its holds.
//!
//! Both writers use it, the ledger for what pages show and [`crate`]'s hold decisions for what people say, so there is
//! one way in which a version comes about:
//! - every row is written `WHERE version = base_version`; a row that was not written says that somebody was faster, and
//!   the caller reads what stands there;
//! - a look that is written already is not written again: one that moves no version is told by the time of its page;
//! - a version that moves has exactly one row of history when stock or price moved, in the same transaction;
//! - an open hold always stands on the current version: a write that moves the version supersedes the hold, takes its
//!   place, or takes it along;
//! - a hold is decided once: a write that would decide one which is not open any more is not written, so that the
//!   deadline does not apply what a person has turned down.
//!
//! An unchanged check is one row of [`touch`]: it writes three columns that no index knows, so that PostgreSQL can keep
//! the new row version on the same page and touch no index at all (the table leaves room for it).

use super::{StoreError, hot};
use crate::domain::{
    ChangeSource, ChangeType, Epoch, HoldId, HoldStatus, Money, NewHold, ProductId, Shard, SourceState,
    TitleHash, Version, WatchId,
};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Bool, Float, Integer, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz,
    Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// A check that found nothing new.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    /// Which watch.
    pub watch_id: WatchId,
    /// The version it was compared with.
    pub version: Version,
    /// When the page was read.
    pub verified_at: DateTime<Utc>,
    /// The change rate's Gamma shape.
    pub rate_shape: f32,
    /// The change rate's Gamma rate, in hours.
    pub rate_hours: f32,
}

/// What a watch is from now on. `None` in the optional fields leaves the column as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct StateWrite {
    /// Which watch.
    pub watch_id: WatchId,
    /// Its product.
    pub product_id: ProductId,
    /// The version that this is based on.
    pub base_version: Version,
    /// What counted, for history.
    pub before: Option<SourceState>,
    /// What counts now and moves the version; `None` moves nothing.
    pub after: Option<SourceState>,
    /// What history calls it; `None` writes none.
    pub kind: Option<ChangeType>,
    /// Who says so.
    pub source: ChangeSource,
    /// Whether going out of stock was announced.
    pub explained: bool,
    /// The title and its hash.
    pub title: Option<(Box<str>, TitleHash)>,
    /// Who sells it.
    pub seller_id: Option<Box<str>>,
    /// When the auction is to end; written always.
    pub ends_at: Option<DateTime<Utc>>,
    /// Since when the page is gone or ended; written always.
    pub gone_since: Option<DateTime<Utc>>,
    /// When the page was read.
    pub verified_at: Option<DateTime<Utc>>,
    /// The change rate's Gamma shape and rate in hours.
    pub rate: Option<(f32, f32)>,
    /// What becomes of its hold.
    pub hold: HoldWrite,
}

/// What becomes of the hold of a watch with a [`StateWrite`].
#[derive(Clone, Debug, PartialEq)]
pub enum HoldWrite {
    /// An open one goes on waiting, on the new version; one that was turned down is remembered.
    Keep,
    /// An open one is void, one that was turned down forgotten.
    Clear,
    /// The open one is decided.
    Decide {
        /// Which.
        id: HoldId,
        /// How.
        status: HoldStatus,
        /// By whom.
        by: Box<str>,
        /// What was said about it.
        note: Option<Box<str>>,
        /// Whether what it proposed is not to be proposed again while the page shows the same.
        remember: bool,
    },
    /// A new one takes the place of any that is open.
    Open(Box<NewHold>),
}

/// A [`StateWrite`] that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which watch.
    pub watch_id: WatchId,
    /// Its version now.
    pub version: Version,
    /// The hold that was opened.
    pub opened: Option<HoldId>,
}

/// The parts of the watching that a group of records belongs to, as they were when its pages were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The node.
    pub owner: Uuid,
    /// Its shards, each once.
    pub shards: Vec<(Shard, Epoch)>,
}

/// Records unchanged checks; answers the watches whose version was still the one compared with.
///
/// All shards of `fence` are looked at before the first row, once for the statement and not for each of its rows: when one
/// of them is not what it was, nothing is recorded, and the caller leaves that one out.
///
/// # Errors
/// When the database is away or refuses.
pub async fn touch(
    conn: &mut AsyncPgConnection,
    touches: &[Touch],
    fence: &Fence,
) -> Result<HashSet<WatchId>, StoreError> {
    if touches.is_empty() {
        return Ok(HashSet::new());
    }
    let query = diesel::sql_query(
        "UPDATE inventory_management m SET last_verified_at = n.at, rate_shape = n.shape, rate_hours = n.hours \
         FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::real[], $5::real[]) \
             AS n (id, version, at, shape, hours) \
         WHERE m.id = n.id AND m.version = n.version AND EXISTS (SELECT FROM nodes WHERE boot = $8 AND dead_at IS NULL) \
             AND NOT EXISTS (SELECT FROM unnest($6::smallint[], $7::bigint[]) AS f (shard, epoch) LEFT JOIN leases l \
                 ON l.shard = f.shard AND l.epoch = f.epoch AND l.owner = $8 WHERE l.name IS NULL) RETURNING m.id",
    )
    .bind::<Array<BigInt>, _>(ids(touches.iter().map(|t| t.watch_id)))
    .bind::<Array<BigInt>, _>(touches.iter().map(|t| t.version.0).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(touches.iter().map(|t| t.verified_at).collect::<Vec<_>>())
    .bind::<Array<Float>, _>(touches.iter().map(|t| t.rate_shape).collect::<Vec<_>>())
    .bind::<Array<Float>, _>(touches.iter().map(|t| t.rate_hours).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(column(&fence.shards, |(shard, _)| shard.number()))
    .bind::<Array<BigInt>, _>(column(&fence.shards, |(_, epoch)| epoch.0))
    .bind::<SqlUuid, _>(fence.owner);
    let rows: Vec<Id> = hot(query).load(conn).await?;
    Ok(rows.into_iter().map(|r| WatchId(r.id)).collect())
}

/// Writes states, history and holds, inside the caller's transaction; answers those that were written.
///
/// Those are the ones whose version was still the base, whose hold, where they decide one, was still open, and of which
/// the same look was not written already.
///
/// No watch may stand in `writes` twice.
///
/// # Errors
/// When the database is away or refuses; a value out of range is a refusal of them all.
pub async fn apply(conn: &mut AsyncPgConnection, writes: &[StateWrite]) -> Result<Vec<Written>, StoreError> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let decided = decided_already(conn, writes).await?;
    let fresh: Vec<&StateWrite> = writes
        .iter()
        .filter(|w| decides(w).is_none_or(|id| !decided.contains(&id)))
        .collect();
    let versions = update(conn, &fresh).await?;
    let done: Vec<&StateWrite> = fresh
        .into_iter()
        .filter(|w| versions.contains_key(&w.watch_id))
        .collect();
    record_history(conn, &done).await?;
    let opened = settle_holds(conn, &done).await?;
    Ok(done
        .iter()
        .filter_map(|w| {
            Some(Written {
                watch_id: w.watch_id,
                version: *versions.get(&w.watch_id)?,
                opened: opened.get(&w.watch_id).copied(),
            })
        })
        .collect())
}

/// The holds that `writes` would decide and that are decided already.
///
/// Whether one is open is asked in a statement of its own, after the watches' rows are locked: nobody decides a hold
/// without holding its watch's row, and the statement that waited for that lock would still see what was before it.
async fn decided_already(
    conn: &mut AsyncPgConnection,
    writes: &[StateWrite],
) -> Result<HashSet<HoldId>, StoreError> {
    let holds: Vec<i64> = writes.iter().filter_map(decides).map(|id| id.0).collect();
    if holds.is_empty() {
        return Ok(HashSet::new());
    }
    // All of them, not only those that decide: rows are locked in the order of their ids.
    let lock = diesel::sql_query(
        "SELECT id FROM inventory_management WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
    )
    .bind::<Array<BigInt>, _>(ids(writes.iter().map(|w| w.watch_id)));
    hot(lock).execute(conn).await?;
    let query = diesel::sql_query(
        "SELECT n.id FROM unnest($1::bigint[]) AS n (id) \
         WHERE NOT EXISTS (SELECT 1 FROM holds h WHERE h.id = n.id AND h.status = 'open')",
    )
    .bind::<Array<BigInt>, _>(holds);
    let rows: Vec<Id> = hot(query).load(conn).await?;
    Ok(rows.into_iter().map(|r| HoldId(r.id)).collect())
}

/// The hold that a write decides.
fn decides(write: &StateWrite) -> Option<HoldId> {
    match &write.hold {
        HoldWrite::Decide { id, .. } => Some(*id),
        _ => None,
    }
}

async fn update(
    conn: &mut AsyncPgConnection,
    writes: &[&StateWrite],
) -> Result<HashMap<WatchId, Version>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        version: i64,
    }
    // The rows are locked in the order of their ids first: an UPDATE with a join locks in the order of its plan, and two
    // writers would deadlock.
    let query = diesel::sql_query(
        "WITH n AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bool[], $4::int[], \
             $5::numeric[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[], \
             $12::timestamptz[], $13::timestamptz[], $14::real[], $15::real[], $16::bool[], $17::text[]) \
             AS n (id, base, moves, stock, price, currency, url, title, hash, seller, ends_at, gone_since, at, shape, \
                   hours, set_held, held)), \
         locked AS MATERIALIZED (SELECT m.id FROM inventory_management m JOIN n ON n.id = m.id \
             WHERE m.version = n.base AND (n.moves OR n.at IS NULL OR m.last_verified_at IS DISTINCT FROM n.at) \
             ORDER BY m.id FOR NO KEY UPDATE OF m) \
         UPDATE inventory_management m SET \
             current_stock = CASE WHEN n.moves THEN n.stock ELSE m.current_stock END, \
             current_price = CASE WHEN n.moves THEN n.price ELSE m.current_price END, \
             currency = CASE WHEN n.moves AND n.currency IS NOT NULL THEN n.currency ELSE m.currency END, \
             url_status = CASE WHEN n.moves THEN n.url ELSE m.url_status END, \
             version = m.version + n.moves::int, \
             updated_at = CASE WHEN n.moves THEN now() ELSE m.updated_at END, \
             title = COALESCE(n.title, m.title), title_hash = COALESCE(n.hash, m.title_hash), \
             seller_id = COALESCE(n.seller, m.seller_id), ends_at = n.ends_at, gone_since = n.gone_since, \
             last_verified_at = COALESCE(n.at, m.last_verified_at), \
             rate_shape = COALESCE(n.shape, m.rate_shape), rate_hours = COALESCE(n.hours, m.rate_hours), \
             held_reason = CASE WHEN n.set_held AND m.held_reason IS DISTINCT FROM 'quarantined' THEN n.held \
                 ELSE m.held_reason END \
         FROM n JOIN locked USING (id) WHERE m.id = n.id AND m.version = n.base RETURNING m.id, m.version",
    )
    .bind::<Array<BigInt>, _>(ids(writes.iter().map(|w| w.watch_id)))
    .bind::<Array<BigInt>, _>(column(writes, |w| w.base_version.0))
    .bind::<Array<Bool>, _>(column(writes, |w| w.after.is_some()))
    .bind::<Array<Nullable<Integer>>, _>(column(writes, |w| w.after.map(|s| s.stock.as_i32())))
    .bind::<Array<Nullable<Numeric>>, _>(column(writes, |w| price(w.after).map(Money::amount)))
    .bind::<Array<Nullable<Text>>, _>(column(writes, |w| price(w.after).map(|p| p.currency().code())))
    .bind::<Array<Nullable<Text>>, _>(column(writes, |w| w.after.map(|s| s.url_status.as_str())))
    .bind::<Array<Nullable<Text>>, _>(column(writes, |w| w.title.as_ref().map(|t| t.0.to_string())))
    .bind::<Array<Nullable<Text>>, _>(column(writes, |w| w.title.as_ref().map(|t| t.1.to_string())))
    .bind::<Array<Nullable<Text>>, _>(column(writes, |w| w.seller_id.as_deref().map(str::to_owned)))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(writes, |w| w.ends_at))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(writes, |w| w.gone_since))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(writes, |w| w.verified_at))
    .bind::<Array<Nullable<Float>>, _>(column(writes, |w| w.rate.map(|r| r.0)))
    .bind::<Array<Nullable<Float>>, _>(column(writes, |w| w.rate.map(|r| r.1)))
    .bind::<Array<Bool>, _>(column(writes, |w| held(w).is_some()))
    .bind::<Array<Nullable<Text>>, _>(column(writes, |w| held(w).flatten()));
    let rows: Vec<Row> = hot(query).load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|r| (WatchId(r.id), Version(r.version)))
        .collect())
}

/// What `held_reason` becomes: `None` leaves it, `Some(None)` clears it. A quarantine is ended by nobody but a person who
/// resumes the watch.
fn held(write: &StateWrite) -> Option<Option<&'static str>> {
    match &write.hold {
        HoldWrite::Keep | HoldWrite::Decide { remember: true, .. } => None,
        HoldWrite::Clear | HoldWrite::Decide { remember: false, .. } => Some(None),
        HoldWrite::Open(hold) => Some(Some(hold.reason.as_str())),
    }
}

fn price(state: Option<SourceState>) -> Option<Money> {
    state.and_then(|s| s.price)
}

async fn record_history(conn: &mut AsyncPgConnection, writes: &[&StateWrite]) -> Result<(), StoreError> {
    let rows: Vec<(&StateWrite, SourceState, ChangeType)> = writes
        .iter()
        .filter_map(|w| Some((*w, w.after?, w.kind?)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let query = diesel::sql_query(
        "INSERT INTO stock_history (product_id, previous_stock, new_stock, previous_price, new_price, change_type, \
             change_source, watch_id, version, currency, explained, fetched_at) \
         SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::numeric[], $5::numeric[], $6::text[], $7::text[], \
             $8::bigint[], $9::bigint[], $10::text[], $11::bool[], $12::timestamptz[])",
    )
    .bind::<Array<BigInt>, _>(column(&rows, |(w, ..)| w.product_id.0))
    .bind::<Array<Nullable<Integer>>, _>(column(&rows, |(w, ..)| w.before.map(|b| b.stock.as_i32())))
    .bind::<Array<Integer>, _>(column(&rows, |(_, after, _)| after.stock.as_i32()))
    .bind::<Array<Nullable<Numeric>>, _>(column(&rows, |(w, ..)| price(w.before).map(Money::amount)))
    .bind::<Array<Nullable<Numeric>>, _>(column(&rows, |(_, after, _)| after.price.map(Money::amount)))
    .bind::<Array<Text>, _>(column(&rows, |(.., kind)| kind.as_str()))
    .bind::<Array<Text>, _>(column(&rows, |(w, ..)| w.source.as_str()))
    .bind::<Array<BigInt>, _>(column(&rows, |(w, ..)| w.watch_id.0))
    .bind::<Array<BigInt>, _>(column(&rows, |(w, ..)| w.base_version.next().0))
    .bind::<Array<Text>, _>(column(&rows, |(w, after, _)| {
        after.price.or(price(w.before)).map_or("JPY", |p| p.currency().code())
    }))
    .bind::<Array<Bool>, _>(column(&rows, |(w, ..)| w.explained))
    .bind::<Array<Nullable<Timestamptz>>, _>(column(&rows, |(w, ..)| w.verified_at));
    hot(query).execute(conn).await?;
    Ok(())
}

/// Closes, moves and opens the holds of rows that were written.
async fn settle_holds(
    conn: &mut AsyncPgConnection,
    writes: &[&StateWrite],
) -> Result<HashMap<WatchId, HoldId>, StoreError> {
    let void: Vec<&StateWrite> = writes
        .iter()
        .copied()
        .filter(|w| matches!(w.hold, HoldWrite::Clear | HoldWrite::Open(_)))
        .collect();
    if !void.is_empty() {
        let query = diesel::sql_query(
            "UPDATE holds SET status = 'superseded', decided_at = now(), decided_by = 'zaikoban' \
             WHERE watch_id = ANY($1) AND status = 'open'",
        )
        .bind::<Array<BigInt>, _>(ids(void.iter().map(|w| w.watch_id)));
        hot(query).execute(conn).await?;
    }
    let along: Vec<&StateWrite> = writes
        .iter()
        .copied()
        .filter(|w| w.hold == HoldWrite::Keep && w.after.is_some())
        .collect();
    if !along.is_empty() {
        let query = diesel::sql_query(
            "UPDATE holds h SET base_version = n.version FROM unnest($1::bigint[], $2::bigint[]) AS n (id, version) \
             WHERE h.watch_id = n.id AND h.status = 'open'",
        )
        .bind::<Array<BigInt>, _>(ids(along.iter().map(|w| w.watch_id)))
        .bind::<Array<BigInt>, _>(column(&along, |w| w.base_version.next().0));
        hot(query).execute(conn).await?;
    }
    decide(conn, writes).await?;
    open(conn, writes).await
}

async fn decide(conn: &mut AsyncPgConnection, writes: &[&StateWrite]) -> Result<(), StoreError> {
    let decided: Vec<_> = writes
        .iter()
        .filter_map(|w| match &w.hold {
            HoldWrite::Decide {
                id, status, by, note, ..
            } => Some((id, status, by, note)),
            _ => None,
        })
        .collect();
    if decided.is_empty() {
        return Ok(());
    }
    let query = diesel::sql_query(
        "UPDATE holds h SET status = n.status, decided_by = n.by, note = n.note, decided_at = now() \
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS n (id, status, by, note) \
         WHERE h.id = n.id AND h.status = 'open'",
    )
    .bind::<Array<BigInt>, _>(column(&decided, |(id, ..)| id.0))
    .bind::<Array<Text>, _>(column(&decided, |(_, status, ..)| status.as_str()))
    .bind::<Array<Text>, _>(column(&decided, |(.., by, _)| by.to_string()))
    .bind::<Array<Nullable<Text>>, _>(column(&decided, |(.., note)| note.as_deref().map(str::to_owned)));
    hot(query).execute(conn).await?;
    Ok(())
}

async fn open(
    conn: &mut AsyncPgConnection,
    writes: &[&StateWrite],
) -> Result<HashMap<WatchId, HoldId>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        watch_id: i64,
    }
    let new: Vec<(&StateWrite, &NewHold)> = writes
        .iter()
        .filter_map(|w| match &w.hold {
            HoldWrite::Open(hold) => Some((*w, &**hold)),
            _ => None,
        })
        .collect();
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let query = diesel::sql_query(
        "INSERT INTO holds (product_id, watch_id, reason, detail, proposed_stock, proposed_price, currency, \
             base_version, fetched_at, meanwhile, default_action, deadline) \
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::jsonb[], $5::int[], $6::numeric[], $7::text[], \
             $8::bigint[], $9::timestamptz[], $10::text[], $11::text[], $12::timestamptz[]) RETURNING id, watch_id",
    )
    .bind::<Array<BigInt>, _>(column(&new, |(w, _)| w.product_id.0))
    .bind::<Array<BigInt>, _>(column(&new, |(w, _)| w.watch_id.0))
    .bind::<Array<Text>, _>(column(&new, |(_, h)| h.reason.as_str()))
    .bind::<Array<Jsonb>, _>(column(&new, |(_, h)| h.detail.clone()))
    .bind::<Array<Integer>, _>(column(&new, |(_, h)| h.proposed.stock.as_i32()))
    .bind::<Array<Nullable<Numeric>>, _>(column(&new, |(_, h)| h.proposed.price.map(Money::amount)))
    .bind::<Array<Text>, _>(column(&new, |(_, h)| h.proposed.price.map_or("JPY", |p| p.currency().code())))
    .bind::<Array<BigInt>, _>(column(&new, |(w, _)| match w.after {
        Some(_) => w.base_version.next().0,
        None => w.base_version.0,
    }))
    .bind::<Array<Timestamptz>, _>(column(&new, |(_, h)| h.fetched_at))
    .bind::<Array<Text>, _>(column(&new, |(_, h)| h.meanwhile.as_str()))
    .bind::<Array<Text>, _>(column(&new, |(_, h)| h.default_action.as_str()))
    .bind::<Array<Timestamptz>, _>(column(&new, |(_, h)| h.deadline));
    let rows: Vec<Row> = hot(query).load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|r| (WatchId(r.watch_id), HoldId(r.id)))
        .collect())
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

pub(super) fn ids(watches: impl Iterator<Item = WatchId>) -> Vec<i64> {
    watches.map(|w| w.0).collect()
}

fn column<R, T>(rows: &[R], of: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
