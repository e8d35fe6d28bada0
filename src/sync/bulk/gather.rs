//! Gathering: which prices go into the next feed.

use super::super::outlet::Urgency;
use super::super::plan::{self, Step};
use super::super::shared::Shared;
use super::super::take::admit;
use super::{decide, write};
use crate::domain::Epoch;
use crate::platform::Revision;
use crate::platform::gateway::BulkGateway;
use crate::store::bulk::{self, NewItem};
use crate::store::listings::Listing;
use crate::store::{Connection as AsyncPgConnection, StoreError};
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// Listings that one transaction locks: a zero for one of them waits no longer than that takes.
const TOGETHER: usize = 250;

/// Adds some prices to the feed that is being gathered, or begins one when more wait than can be sent one by one in time.
/// Whether there is more to gather at once.
///
/// # Errors
/// When the database is away or refuses; nothing was gathered then.
pub(super) async fn gather(shared: &Arc<Shared>, epoch: Epoch) -> Result<bool, StoreError> {
    let Some(gateway) = shared.bulk.clone() else {
        return Ok(false);
    };
    let within = shared.live.load().bulk_after();
    let turns = within.map(|within| shared.outlet.room(Urgency::Change, 0, within));
    let gathered = write(shared, epoch, move |shared, conn| {
        Box::pin(some(shared, conn, gateway, turns))
    });
    Ok(gathered.await?.unwrap_or(false))
}

async fn some(
    shared: &Arc<Shared>,
    conn: &mut AsyncPgConnection,
    gateway: BulkGateway,
    turns: Option<usize>,
) -> Result<bool, StoreError> {
    let destination = shared.destination;
    let (id, have) = match (bulk::gathering(conn, destination).await?, turns) {
        (Some(feed), Some(_)) => (feed.id, feed.items),
        (Some(feed), None) => {
            // Switched off meanwhile: what was gathered goes.
            bulk::close(conn, feed.id).await?;
            return Ok(false);
        }
        (None, None) => return Ok(false),
        (None, Some(turns)) => {
            let backlog = bulk::backlog(conn, destination, turns.saturating_add(1)).await?;
            if !decide::is_bulk(backlog, turns) {
                return Ok(false);
            }
            (bulk::begin(conn, destination).await?, 0)
        }
    };
    let left = gateway
        .adapter()
        .most()
        .saturating_sub(usize::try_from(have).unwrap_or(usize::MAX));
    let limit = left.min(TOGETHER);
    let (listings, now) = bulk::candidates(conn, destination, limit).await?;
    let found = listings.len();
    let mut items = Vec::with_capacity(found);
    for listing in listings {
        match price_of(shared, &gateway, &listing, now) {
            Pick::Takes(price) => items.push(NewItem { listing, price }),
            Pick::Not => {}
            // The first one that goes alone is held, and says so.
            Pick::Enough => break,
        }
    }
    if !items.is_empty() {
        bulk::add(conn, id, have, &items).await?;
    }
    let more = found == limit && items.len() == found && left > limit;
    if !more {
        bulk::close(conn, id).await?;
    }
    Ok(more)
}

enum Pick {
    Takes(crate::domain::Money),
    Not,
    /// The blast radius is reached.
    Enough,
}

/// The decision that would have sent the price alone.
fn price_of(shared: &Shared, gateway: &BulkGateway, listing: &Listing, now: DateTime<Utc>) -> Pick {
    let known = shared.known(listing.id());
    let step = plan::next(listing, known, now);
    let Some(price) = decide::price_alone(listing, step).filter(|_| !known.verify) else {
        return Pick::Not;
    };
    let revision = Revision {
        listing: listing.basis.listing.clone(),
        quantity: None,
        price: Some(price),
        confirmed: listing.basis.confirmed,
    };
    if !gateway.adapter().takes(&listing.basis.listing.sku, price) || shared.outlet.admits(&revision).is_err()
    {
        return Pick::Not;
    }
    let step = Step::Revise {
        quantity: None,
        price: Some(price),
    };
    match admit(shared, listing, step, now) {
        Ok(()) => Pick::Takes(price),
        Err(_reached) => Pick::Enough,
    }
}
