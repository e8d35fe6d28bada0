//! Deciding what waits: by a person, or by the deadline.
//!
//! A decision takes the same road as a page: one transaction writes the state, its row of history, the hold and what the
//! listings should be, and compares versions. A hold stands on the version that was current when it was opened; when
//! the product has moved since, the decision is refused, because the person decided on something else. A proposal that
//! is turned down, or replaced by a person's own value, is remembered for as long as the page shows it.

use super::diff::Change;
use super::follow::{Origin, follow};
use crate::clock::Clock;
use crate::domain::{
    BY_DEADLINE, ChangeSource, Committed, CommittedSender, HoldDefault, HoldId, HoldReason, HoldStatus,
    ListingId, Money, ProductId, Quantity, Shard, SourceState, TitleHash, UrlStatus, Version, WatchId,
};
use crate::pricing::PriceBook;
use crate::store::Connection as AsyncPgConnection;
use crate::store::holds::{self, Hold, OverdueHold};
use crate::store::ledger::{HoldWrite, StateWrite, apply};
use crate::store::watches::{self, WatchRow};
use crate::store::{Db, StoreError};
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// What decisions work with. Cheap to clone.
#[derive(Clone)]
pub struct HoldsEnv {
    /// Where they are written.
    pub db: Db,
    /// What listings should cost.
    pub book: Arc<ArcSwap<PriceBook>>,
    /// Who hears of committed changes.
    pub committed: CommittedSender,
    /// What time it is.
    pub clock: Clock,
}

/// What is to become of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// What it proposes takes effect.
    Accept,
    /// It does not.
    Reject,
    /// These values take effect; one that is not given stays as it is.
    Edit {
        /// Pieces that can be bought.
        stock: Option<Quantity>,
        /// What one costs.
        price: Option<Money>,
    },
}

/// A decision that is committed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// The hold.
    pub hold_id: HoldId,
    /// Its watch.
    pub watch_id: WatchId,
    /// Its product.
    pub product_id: ProductId,
    /// What became of it.
    pub status: HoldStatus,
    /// The watch's version now.
    pub version: Version,
    /// What counts now; `None` when the watch was never observed.
    pub state: Option<SourceState>,
    /// The listings whose wanted state moved.
    pub listings: Vec<ListingId>,
}

/// Holds whose deadline has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// Watches whose hold was decided by its default.
    pub decided: Vec<WatchId>,
    /// Holds that a new reading decides.
    pub recheck: Vec<(HoldId, WatchId)>,
    /// Holds that cannot be decided, and why.
    pub failed: Vec<(HoldId, String)>,
}

/// How many overdue holds are read in one go.
const OVERDUE_AT_ONCE: i64 = 500;
/// Another transaction in the way is tried again this often.
const TRIES: u32 = 5;

/// Decides the hold of a watch. `by` is who, for the audit; `note` what was said about it.
///
/// The watcher does not hear of it: send [`Reconsider`](super::Reconsider). One that is not told goes on thinking that
/// the hold is open, and the ledger refuses what follows from that.
///
/// # Errors
/// [`StoreError::NotFound`] without it. [`StoreError::Conflict`] when it is decided already, when the product has moved
/// since it was opened, when it is a listing's hold, or when an edit names nothing.
pub async fn decide(
    env: &HoldsEnv,
    id: HoldId,
    decision: Decision,
    by: &str,
    note: Option<&str>,
) -> Result<Decided, StoreError> {
    let (by, note): (Box<str>, Option<Box<str>>) = (by.into(), note.map(Into::into));
    let (book, now) = (env.book.load_full(), env.clock.now());
    let (decided, event) = env
        .db
        .transaction_retried(TRIES, move |conn| {
            let (by, note, book) = (by.clone(), note.clone(), Arc::clone(&book));
            async move { write(conn, id, decision, by, note, &book, now).await }.boxed()
        })
        .await?;
    if let Some(mut event) = event {
        event.committed_at = env.clock.now();
        // Without a receiver there is nobody to tell: the tables say the same.
        let _ = env.committed.send(Arc::new(event));
    }
    tracing::info!(
        hold.id = %id, watch.id = %decided.watch_id, product.id = %decided.product_id, status = %decided.status,
        "Hold `{id}` of product `{}` is {}", decided.product_id, decided.status
    );
    Ok(decided)
}

/// Decides the holds of these shards whose deadline has passed and whose default needs no reading; names the others.
///
/// All that are overdue, however many cannot be resolved (a page that stays unreadable, a watch that is paused): these
/// wait for a person and must not stand before the rest. One that cannot be decided is named and left alone.
///
/// # Errors
/// When the database is away; what was decided before stays decided.
pub async fn settle_overdue(env: &HoldsEnv, shards: &[Shard]) -> Result<Overdue, StoreError> {
    let (mut settled, mut after) = (Overdue::default(), HoldId(0));
    loop {
        let overdue = {
            let mut conn = env.db.conn().await?;
            holds::overdue(&mut conn, env.clock.now(), after, shards, OVERDUE_AT_ONCE).await?
        };
        let Some(last) = overdue.last() else {
            return Ok(settled);
        };
        after = last.id;
        for hold in overdue {
            settle_one(env, hold, &mut settled).await?;
        }
    }
}

async fn settle_one(env: &HoldsEnv, hold: OverdueHold, settled: &mut Overdue) -> Result<(), StoreError> {
    let OverdueHold { id, watch_id, .. } = hold;
    let decision = match hold.default_action {
        Ok(HoldDefault::Recheck) => {
            settled.recheck.push((id, watch_id));
            return Ok(());
        }
        Ok(HoldDefault::Accept) => Decision::Accept,
        Ok(HoldDefault::Reject) => Decision::Reject,
        Err(problem) => {
            settled.failed.push((id, problem));
            return Ok(());
        }
    };
    match decide(env, id, decision, BY_DEADLINE, None).await {
        Ok(_) => settled.decided.push(watch_id),
        // A person or a newer page was faster.
        Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
        Err(error) if error.is_outage() => return Err(error),
        Err(error) => settled.failed.push((id, error.to_string())),
    }
    Ok(())
}

async fn write(
    conn: &mut AsyncPgConnection,
    id: HoldId,
    decision: Decision,
    by: Box<str>,
    note: Option<Box<str>>,
    book: &PriceBook,
    now: DateTime<Utc>,
) -> Result<(Decided, Option<Committed>), StoreError> {
    // The watch's row is locked before the hold, as the ledger does; to know the watch, the hold is read once without.
    let watch_id = watch_of(&holds::get(conn, id).await?)?;
    let row = watches::lock(conn, watch_id).await?;
    let hold = holds::lock(conn, id).await?;
    still_decidable(&hold, &row)?;
    let (status, after) = match decision {
        Decision::Accept => (HoldStatus::Accepted, Some(proposed(&hold, &row))),
        Decision::Reject => (HoldStatus::Rejected, None),
        Decision::Edit { stock, price } => (HoldStatus::Edited, Some(edited(&hold, &row, stock, price)?)),
    };
    let source = match decision {
        Decision::Edit { .. } => ChangeSource::Manual,
        _ => ChangeSource::from(row.source),
    };
    let change = after.and_then(|after| Change::between(row.state, after, true));
    let (title, seller_id) = if after.is_some() {
        identity(&hold)
    } else {
        (None, None)
    };
    let state = StateWrite {
        watch_id,
        product_id: row.product_id,
        base_version: row.version,
        before: row.state,
        after: change.map(|c| c.after),
        kind: change.and_then(|c| c.kind()),
        source,
        explained: true,
        title,
        seller_id,
        ends_at: row.ends_at,
        gone_since: row.gone_since,
        verified_at: None,
        rate: None,
        hold: HoldWrite::Decide {
            id,
            status,
            by: by.clone(),
            note,
            remember: status != HoldStatus::Accepted,
        },
    };
    let written = apply(conn, std::slice::from_ref(&state)).await?;
    let version = written.first().map(|w| w.version).ok_or_else(|| {
        StoreError::conflict(format!("watch `{watch_id}` moved while hold `{id}` was decided"))
    })?;
    let origin = Origin {
        explained: true,
        approved_by: Some(by),
        hold_id: Some(id),
    };
    let mut moved = follow(conn, &HashMap::from([(row.product_id, origin)]), book, now).await?;
    let listings = moved.remove(&row.product_id).unwrap_or_default();
    let now_counts = change.map(|c| c.after).or(row.state);
    let event = now_counts
        .filter(|_| change.is_some() || !listings.is_empty())
        .map(|after| Committed {
            product_id: row.product_id,
            watch_id,
            version,
            source,
            before: row.state,
            after,
            listings: listings.clone(),
            fetched_at: hold.fetched_at.unwrap_or(now),
            committed_at: now,
        });
    let decided = Decided {
        hold_id: id,
        watch_id,
        product_id: row.product_id,
        status,
        version,
        state: now_counts,
        listings,
    };
    Ok((decided, event))
}

fn watch_of(hold: &Hold) -> Result<WatchId, StoreError> {
    hold.watch_id.ok_or_else(|| {
        StoreError::conflict(format!(
            "hold `{}` is about a listing, not about a watch",
            hold.id
        ))
    })
}

fn still_decidable(hold: &Hold, row: &WatchRow) -> Result<(), StoreError> {
    hold.expect_open()?;
    if hold.base_version != row.version {
        return Err(StoreError::conflict(format!(
            "hold `{}` was opened on version {}, its product stands at version {}: look at what waits now",
            hold.id, hold.base_version, row.version
        )));
    }
    Ok(())
}

/// What accepting makes of the watch.
fn proposed(hold: &Hold, row: &WatchRow) -> SourceState {
    let price = row.state.and_then(|s| s.price);
    if hold.known_reason() == Some(HoldReason::MassChange) {
        // Only the emptying waited; the price may have moved since.
        let url_status = hold.detail.get("url_status").and_then(|s| s.as_str());
        return SourceState {
            stock: Quantity::ZERO,
            price: price.or(hold.proposed_price),
            url_status: url_status
                .and_then(|s| s.parse().ok())
                .unwrap_or(UrlStatus::Active),
        };
    }
    SourceState {
        stock: hold.proposed_stock.unwrap_or_default(),
        price: hold.proposed_price.or(price),
        url_status: UrlStatus::Active,
    }
}

/// What a person's own values make of the watch: of what is not named, the stock is the proposed one and the price stays.
fn edited(
    hold: &Hold,
    row: &WatchRow,
    stock: Option<Quantity>,
    price: Option<Money>,
) -> Result<SourceState, StoreError> {
    if stock.is_none() && price.is_none() {
        let what = format!(
            "hold `{}` is to be edited, but neither a stock nor a price is given",
            hold.id
        );
        return Err(StoreError::conflict(what));
    }
    Ok(SourceState {
        stock: stock.or(hold.proposed_stock).unwrap_or_default(),
        price: price.or(row.state.and_then(|s| s.price)).or(hold.proposed_price),
        url_status: UrlStatus::Active,
    })
}

/// A title that counts from now on, with its hash.
type NewTitle = Option<(Box<str>, TitleHash)>;

/// Whose title and seller count from now on, when a person says that another item is the item.
fn identity(hold: &Hold) -> (NewTitle, Option<Box<str>>) {
    let is_about_identity = matches!(
        hold.known_reason(),
        Some(HoldReason::TitleChanged | HoldReason::SellerChanged | HoldReason::OtherItem)
    );
    let text = |key: &str| {
        let text = hold.detail.get(key).and_then(|v| v.as_str());
        text.filter(|t| is_about_identity && !t.is_empty())
    };
    let title = text("title").map(|t| (Box::from(t), TitleHash::of(t)));
    (title, text("seller_id").map(Box::from))
}
