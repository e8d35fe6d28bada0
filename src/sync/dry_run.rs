//! What would be sent now, without sending it (requirement L8).
//!
//! Wanted states are worked out afresh from what the tables say of the sources, so that a change of rules can be looked
//! at before it takes effect; then the very rules of the syncer are followed step by step, each taken as accepted.

use super::plan::{self, Known, Step};
use super::take::spend;
use crate::domain::{
    DestinationPlatform, ListingId, ListingRef, ListingState, ListingStatus, ProductId, Wanted, WatchState,
};
use crate::pricing::{self, PriceBook};
use crate::store::Connection as AsyncPgConnection;
use crate::store::listings::{self, Filter, Listing};
use crate::store::platform_state::{self, Scope};
use crate::store::{StoreError, wanted};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// The most requests that one listing can need: a price, a look, a quantity, and one to spare for each way of being ended.
const MOST_STEPS: usize = 6;

/// What would become of one listing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// The listing.
    pub listing_id: ListingId,
    /// The same, as its destination names it.
    #[serde(skip)]
    pub listing: ListingRef,
    /// The product.
    pub product_id: ProductId,
    /// The destination.
    pub destination: DestinationPlatform,
    /// The seller's own key there.
    pub sku: Box<str>,
    /// What it shows, as far as we know.
    pub confirmed: ListingState,
    /// What it should be; `None` while nothing is known of its product.
    pub wanted: Option<Wanted>,
    /// The requests, in order.
    pub steps: Vec<Step>,
    /// What keeps them from being sent, if something does.
    pub kept_back: Vec<KeptBack>,
    /// Why it should be so.
    pub cause: Option<Value>,
}

/// What keeps a request from being sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBack {
    /// Auto-sync is off.
    AutoSyncOff,
    /// The listing is held for this reason; only a zero passes.
    Held(Box<str>),
    /// The destination, or everything, is paused.
    Paused,
    /// A request is under way, or its outcome is not known yet.
    InFlight,
    /// The listing's revisions of today are used up, as far as its next request may use them.
    RevisionsUsedUp,
}

/// A page of what would be sent, by ascending listing id.
///
/// # Errors
/// When the database is away or refuses.
pub async fn dry_run(
    conn: &mut AsyncPgConnection,
    book: &PriceBook,
    filter: &Filter,
    after: Option<ListingId>,
    limit: u32,
    now: DateTime<Utc>,
) -> Result<Vec<Planned>, StoreError> {
    let rows = listings::list(conn, filter, after, limit).await?;
    let products: Vec<ProductId> = rows.iter().map(|l| l.basis.product_id).collect();
    let mut watches: HashMap<ProductId, Vec<WatchState>> = HashMap::new();
    for watch in wanted::watches_of(conn, &products).await? {
        watches.entry(watch.product_id).or_default().push(watch);
    }
    let mut paused = HashMap::new();
    for destination in DestinationPlatform::ALL {
        let scope = Scope::One((*destination).into());
        paused.insert(*destination, platform_state::is_paused(conn, scope).await?);
    }
    Ok(rows
        .into_iter()
        .map(|listing| {
            let seen = watches.get(&listing.basis.product_id);
            let stopped = paused.get(&listing.basis.listing.destination) == Some(&true);
            planned(listing, seen.map_or(&[], Vec::as_slice), book, stopped, now)
        })
        .collect())
}

/// What would become of one listing, given its product's watches.
#[must_use]
pub fn planned(
    mut listing: Listing,
    watches: &[WatchState],
    book: &PriceBook,
    paused: bool,
    now: DateTime<Utc>,
) -> Planned {
    let decision = pricing::wanted(watches, &listing.basis, book, now);
    let cause = match &decision {
        Some(decision) => Some(decision.cause.clone()),
        None => listing.wanted_cause.clone(),
    };
    let wanted = decision.map(|d| d.wanted()).or(listing.basis.wanted);
    let mut kept_back = Vec::new();
    if paused {
        kept_back.push(KeptBack::Paused);
    }
    if !listing.auto_sync {
        kept_back.push(KeptBack::AutoSyncOff);
    }
    if let Some(reason) = listing.held_reason.clone() {
        kept_back.push(KeptBack::Held(reason));
    }
    if listing.pushing.is_some() {
        kept_back.push(KeptBack::InFlight);
    }
    let confirmed = listing.basis.confirmed;
    listing.basis.wanted = wanted;
    listing.auto_sync = true;
    listing.held_reason = None;
    listing.pushing = None;
    listing.needs_read_back = false;
    let steps = if confirmed.status == ListingStatus::Paused {
        Vec::new()
    } else {
        steps(&mut listing, now)
    };
    let write = steps.iter().find(|step| step.is_write());
    if write.is_some_and(|step| spend(&listing, *step, now).is_err()) {
        kept_back.push(KeptBack::RevisionsUsedUp);
    }
    if steps.is_empty() {
        // Nothing would be sent anyway.
        kept_back.clear();
    }
    Planned {
        listing_id: listing.id(),
        listing: listing.basis.listing.clone(),
        product_id: listing.basis.product_id,
        destination: listing.basis.listing.destination,
        sku: listing.basis.listing.sku.clone(),
        confirmed,
        wanted,
        steps,
        kept_back,
        cause,
    }
}

fn steps(listing: &mut Listing, now: DateTime<Utc>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut known = Known::default();
    while steps.len() < MOST_STEPS {
        let step = plan::next(listing, known, now);
        match step {
            Step::Nothing | Step::Leave(_) | Step::Wait { .. } => break,
            Step::Read(_) => known.fresh = true,
            Step::Revise { .. } | Step::End | Step::Relist => {
                known.fresh = false;
                listing.basis.confirmed = step.applied(listing.basis.confirmed);
            }
        }
        steps.push(step);
    }
    steps
}
