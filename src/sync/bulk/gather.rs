//! Gathering: which prices go into the next feed.

use super::super::plan::{self, Step};
use super::super::shared::Shared;
use super::super::take::admit;
use super::{decide, write};
use crate::domain::{Epoch, ListingId};
use crate::platform::Revision;
use crate::platform::gateway::BulkGateway;
use crate::store::bulk::{self, NewItem};
use crate::store::listings::Listing;
use crate::store::{Connection as AsyncPgConnection, StoreError};
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// Listings that one transaction locks: a zero for one of them waits no longer than that takes.
const TOGETHER: usize = 250;
/// Transactions of one turn. What is left over then is the next turn's.
const AT_ONCE: usize = 100;

/// Gathers prices into a feed, where more wait than can be sent one by one in time. What a turn did not come to goes into the
/// next feed, or one by one: candidates that go into none would be passed by for ever.
///
/// # Errors
/// When the database is away or refuses; what was gathered until then is gathered.
pub(super) async fn gather(shared: &Arc<Shared>, epoch: Epoch) -> Result<(), StoreError> {
    let Some(gateway) = shared.bulk.clone() else {
        return Ok(());
    };
    let within = shared.live.load().bulk_after();
    let wish = Wish {
        is_on: within.is_some(),
        turns: within.and_then(|within| shared.outlet.turns(within)),
    };
    let mut passed_by = Vec::new();
    for _ in 0..AT_ONCE {
        let (gateway, given) = (gateway.clone(), passed_by.clone());
        let round = write(shared, epoch, move |shared, conn| {
            Box::pin(async move { some(shared, conn, gateway, wish, &given).await })
        });
        match round.await? {
            Some(Round { more: true, refused }) => passed_by.extend(refused),
            _ => return Ok(()),
        }
    }
    let closed = write(shared, epoch, |shared, conn| {
        Box::pin(async move {
            match bulk::gathering(conn, shared.destination).await? {
                Some(feed) => bulk::close(conn, feed.id).await,
                None => Ok(()),
            }
        })
    });
    closed.await.map(|_owned| ())
}

/// Whether feeds are used, and how many requests have their turn in the time that is waited for at most; `None` while
/// nothing can be said: then none is begun.
#[derive(Clone, Copy)]
struct Wish {
    is_on: bool,
    turns: Option<usize>,
}

/// What one transaction did.
struct Round {
    /// There may be more.
    more: bool,
    /// Listings that go one by one, and need not be looked at again for this feed.
    refused: Vec<ListingId>,
}

impl Round {
    const LAST: Self = Self {
        more: false,
        refused: Vec::new(),
    };
}

async fn some(
    shared: &Arc<Shared>,
    conn: &mut AsyncPgConnection,
    gateway: BulkGateway,
    wish: Wish,
    passed_by: &[ListingId],
) -> Result<Round, StoreError> {
    let destination = shared.destination;
    let (id, have) = match (bulk::gathering(conn, destination).await?, wish) {
        (Some(feed), Wish { is_on: true, .. }) => (feed.id, feed.items),
        (Some(feed), _) => {
            // Switched off meanwhile: what was gathered goes.
            bulk::close(conn, feed.id).await?;
            return Ok(Round::LAST);
        }
        (None, Wish { turns: None, .. }) => return Ok(Round::LAST),
        (
            None,
            Wish {
                turns: Some(turns), ..
            },
        ) => {
            let backlog = bulk::backlog(conn, destination, turns.saturating_add(1)).await?;
            if !decide::is_bulk(backlog, turns) {
                return Ok(Round::LAST);
            }
            (bulk::begin(conn, destination).await?, 0)
        }
    };
    let left = gateway
        .adapter()
        .most()
        .saturating_sub(usize::try_from(have).unwrap_or(usize::MAX));
    let limit = left.min(TOGETHER);
    let found = bulk::candidates(conn, destination, passed_by, limit).await?;
    let mut items = Vec::with_capacity(found.listings.len());
    let (mut refused, mut is_enough) = (found.unreadable, false);
    let seen = found.listings.len() + refused.len();
    for listing in found.listings {
        match price_of(shared, &gateway, &listing, found.now) {
            Pick::Takes(price) => items.push(NewItem { listing, price }),
            Pick::Not => refused.push(listing.id()),
            // The first one that goes alone is held, and says so.
            Pick::Enough => {
                is_enough = true;
                break;
            }
        }
    }
    if !items.is_empty() {
        bulk::add(conn, id, have, &items).await?;
    }
    let more = seen == limit && !is_enough && left > items.len();
    if !more {
        bulk::close(conn, id).await?;
    }
    Ok(Round { more, refused })
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
