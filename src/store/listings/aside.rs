//! Listings that are not, or not quite, kept in line: paused by a person, or set aside until one has decided.
//!
//! A hold keeps back everything but a zero. Accepting it lets the listing go on. Rejecting it leaves the listing as it
//! stands, and nothing but [`resume`] ends that.

use super::{Id, lock, lock_all};
use crate::domain::ListingId;
use crate::store::StoreError;
use crate::store::pushes::ListingHold;
use crate::store::reads;
use crate::store::text;
use crate::store::wanted::enqueue_behind;
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use std::collections::HashSet;

/// What became of an order to keep listings in line, or to stop doing so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Switched {
    /// These were switched.
    pub changed: Vec<ListingId>,
    /// These stood so already.
    pub unchanged: Vec<ListingId>,
    /// Of both, those whose rejected hold has ended with it.
    pub released: Vec<ListingId>,
    /// Of both, those whose hold still waits for a person: nothing but a zero is sent.
    pub held: Vec<ListingId>,
}

/// Stops keeping listings in line. What is wanted goes on being worked out; nothing is sent.
///
/// # Errors
/// [`StoreError::NotFound`] when one of them is not there; call it inside a transaction.
pub async fn pause(conn: &mut AsyncPgConnection, ids: &[ListingId]) -> Result<Switched, StoreError> {
    switch(conn, ids, false).await
}

/// Keeps listings in line from now on, and sees to those at once that are behind.
///
/// A hold that was rejected ends with it; one that is open stays with the person who is asked. What was left as it was
/// found over there is so no longer.
///
/// # Errors
/// [`StoreError::NotFound`] when one of them is not there; call it inside a transaction.
pub async fn resume(conn: &mut AsyncPgConnection, ids: &[ListingId]) -> Result<Switched, StoreError> {
    let switched = switch(conn, ids, true).await?;
    reads::disown(conn, ids).await?;
    enqueue_behind(conn, ids).await?;
    Ok(switched)
}

async fn switch(conn: &mut AsyncPgConnection, ids: &[ListingId], on: bool) -> Result<Switched, StoreError> {
    let before = lock_all(conn, ids).await?;
    if let Some(gone) = ids.iter().find(|id| before.iter().all(|l| l.id() != **id)) {
        return Err(StoreError::not_found(format!("listing `{gone}`")));
    }
    let still_held: Vec<Id> = diesel::sql_query(
        "WITH switched AS ( \
           UPDATE listing_platforms l SET auto_sync_enabled = $2, updated_at = now(), \
             held_reason = CASE WHEN NOT $2 OR EXISTS (SELECT 1 FROM holds h WHERE h.listing_id = l.id \
                                                       AND h.status = 'open') THEN l.held_reason END \
           WHERE l.id = ANY($1) RETURNING l.id, l.held_reason) \
         SELECT id FROM switched WHERE held_reason IS NOT NULL",
    )
    .bind::<Array<BigInt>, _>(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind::<Bool, _>(on)
    .get_results(conn)
    .await?;
    let still_held: HashSet<i64> = still_held.into_iter().map(|row| row.id).collect();
    let mut switched = Switched::default();
    for listing in before {
        let id = listing.id();
        if listing.auto_sync == on {
            switched.unchanged.push(id);
        } else {
            switched.changed.push(id);
        }
        if still_held.contains(&id.0) {
            switched.held.push(id);
        } else if listing.held_reason.is_some() {
            switched.released.push(id);
        }
    }
    Ok(switched)
}

/// Sets a listing aside for a person: only a zero is pushed from now on. Its row must be locked. A hold that is open
/// already stands, as one about what is wanted now; only the blast radius, which a zero does not pass, takes its place.
pub(in crate::store) async fn hold(
    conn: &mut AsyncPgConnection,
    id: ListingId,
    hold: &ListingHold,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE listing_platforms SET updated_at = now(), \
             held_reason = CASE WHEN $2 = 'radius' THEN $2 ELSE COALESCE(held_reason, $2) END WHERE id = $1",
    )
    .bind::<BigInt, _>(id.0)
    .bind::<Text, _>(hold.reason)
    .execute(conn)
    .await?;
    diesel::sql_query(
        "UPDATE holds SET status = 'superseded', decided_at = now(), decided_by = 'zaikoban' \
         WHERE listing_id = $1 AND status = 'open' AND reason <> $2 AND $2 = 'radius'",
    )
    .bind::<BigInt, _>(id.0)
    .bind::<Text, _>(hold.reason)
    .execute(conn)
    .await?;
    // Nothing happens by itself at the deadline: `reject` of such a hold leaves the listing as it stands.
    diesel::sql_query(
        "INSERT INTO holds (product_id, listing_id, reason, detail, proposed_stock, proposed_price, currency, \
             base_version, meanwhile, default_action, deadline) \
         SELECT l.product_id, l.id, $2, $3, l.wanted_quantity, l.wanted_price, l.currency, l.wanted_version, 'keep', \
             'reject', now() + interval '100 years' \
         FROM listing_platforms l WHERE l.id = $1 \
         ON CONFLICT (listing_id) WHERE status = 'open' AND listing_id IS NOT NULL \
         DO UPDATE SET base_version = excluded.base_version",
    )
    .bind::<BigInt, _>(id.0)
    .bind::<Text, _>(hold.reason)
    .bind::<Jsonb, _>(text::json(hold.detail.clone()))
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a held listing go on, by a person's word: the hold is decided, the word stands beside the reason of what is
/// wanted (where the blast radius looks for it), and the listing is seen to at once.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such listing; [`StoreError::Conflict`] when it is not held.
pub async fn release(
    conn: &mut AsyncPgConnection,
    id: ListingId,
    by: &str,
    note: Option<&str>,
) -> Result<(), StoreError> {
    let listing = lock(conn, id).await?;
    if listing.held_reason.is_none() {
        return Err(StoreError::conflict(format!("listing `{id}` is not held")));
    }
    diesel::sql_query(
        "UPDATE listing_platforms SET held_reason = NULL, updated_at = now(), \
             wanted_cause = wanted_cause || jsonb_build_object('approved_by', $2::text, 'approved_at', now()) \
         WHERE id = $1",
    )
    .bind::<BigInt, _>(id.0)
    .bind::<Text, _>(by)
    .execute(conn)
    .await?;
    decide(conn, id, "accepted", by, note).await?;
    reads::disown(conn, &[id]).await?;
    enqueue_behind(conn, &[id]).await?;
    Ok(())
}

/// Turns a listing's hold down, by a person's word: the listing stays as it stands, and only a zero is pushed until it
/// is resumed.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such listing; [`StoreError::Conflict`] when nothing of it waits.
pub async fn reject_hold(
    conn: &mut AsyncPgConnection,
    id: ListingId,
    by: &str,
    note: Option<&str>,
) -> Result<(), StoreError> {
    if decide(conn, id, "rejected", by, note).await? == 0 {
        return Err(StoreError::conflict(format!(
            "nothing of listing `{id}` waits for a person"
        )));
    }
    Ok(())
}

/// Writes down what a person decided of a listing's open hold; answers how many there were.
async fn decide(
    conn: &mut AsyncPgConnection,
    id: ListingId,
    status: &str,
    by: &str,
    note: Option<&str>,
) -> Result<usize, StoreError> {
    let decided = diesel::sql_query(
        "UPDATE holds SET status = $2, decided_at = now(), decided_by = $3, note = $4 \
         WHERE listing_id = $1 AND status = 'open'",
    )
    .bind::<BigInt, _>(id.0)
    .bind::<Text, _>(status)
    .bind::<Text, _>(by)
    .bind::<Nullable<Text>, _>(note);
    Ok(decided.execute(conn).await?)
}
