//! Revising several listings: the stock first, as few calls as may be, then the prices, each by itself.

use super::operation::{self, SET_STOCK, SET_STOCKS, points};
use super::stock::{self, Bulk};
use super::variant::{self, Shows};
use super::{Mercari, check, fault, named};
use crate::domain::ErrorClass;
use crate::platform::gateway::BATCH_REFUSED;
use crate::platform::lost::Lost;
use crate::platform::{Destination as _, EntryOutcome, PlatformError, Revision};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// How many prices of one batch are on their way at once, so that a whole batch fits into one call's time limit.
const PRICES_AT_ONCE: usize = 4;

/// A revision under way.
struct Entry<'a> {
    revision: &'a Revision,
    /// `None` while nothing is settled.
    outcome: Option<EntryOutcome>,
    /// Its stock was set.
    part_is_done: bool,
}

impl Mercari {
    /// One outcome for each of `revisions`, in order.
    pub(super) async fn revise_all(&self, revisions: &[Revision]) -> Vec<EntryOutcome> {
        let mut named = HashSet::new();
        let mut entries: Vec<Entry<'_>> = revisions
            .iter()
            .map(|revision| {
                let first = named.insert(&revision.listing.platform_product_id);
                let refused = check(&revision.listing).and_then(|()| self.admits(revision));
                let refused = refused.and_then(|()| if first { Ok(()) } else { Err(named_twice(revision)) });
                Entry {
                    revision,
                    outcome: refused.err().map(|error| EntryOutcome::from(Lost::from(error))),
                    part_is_done: false,
                }
            })
            .collect();
        self.stocks(&mut entries).await;
        self.prices(&mut entries).await;
        // One for each, in order: what the stock left open, the prices settled.
        entries.into_iter().filter_map(|entry| entry.outcome).collect()
    }

    /// Sets the stock of all entries that name one, as few calls as may be.
    async fn stocks(&self, entries: &mut [Entry<'_>]) {
        let mut open: Vec<&mut Entry<'_>> = entries
            .iter_mut()
            .filter(|e| e.outcome.is_none() && e.revision.quantity.is_some())
            .collect();
        for chunk in open.chunks_mut(self.batch_size()) {
            let sent: Vec<&Revision> = chunk.iter().map(|entry| entry.revision).collect();
            let results = match sent.as_slice() {
                [one] => vec![self.set_stock(one).await],
                many => match self.set_stocks(many).await {
                    Bulk::Each(results) => results,
                    Bulk::NotUnderstood(lost) => {
                        // The gateway's order to send each alone.
                        let error = PlatformError {
                            code: BATCH_REFUSED.into(),
                            ..lost.error
                        };
                        many.iter().map(|_| Err(Lost::from(error.clone()))).collect()
                    }
                },
            };
            for (entry, result) in chunk.iter_mut().zip(results) {
                match result {
                    Ok(()) => entry.part_is_done = true,
                    Err(lost) => entry.outcome = Some(lost.into()),
                }
            }
        }
    }

    /// Sets the price of all entries that name one and have not failed, and settles all that are left.
    async fn prices(&self, entries: &mut [Entry<'_>]) {
        let mut open: Vec<BoxFuture<'_, ()>> = Vec::with_capacity(entries.len());
        for entry in entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
            open.push(Box::pin(self.settle(entry)));
        }
        stream::iter(open)
            .buffer_unordered(PRICES_AT_ONCE)
            .collect::<()>()
            .await;
    }

    async fn settle(&self, entry: &mut Entry<'_>) {
        entry.outcome = Some(match self.set_price(entry.revision).await {
            Ok(()) => EntryOutcome::Accepted { warnings: Vec::new() },
            // Of both values one is over there, whatever became of the other.
            Err(lost) => EntryOutcome::from(Lost {
                maybe_applied: lost.maybe_applied || entry.part_is_done,
                ..lost
            }),
        });
    }

    /// Sets the stock of one SKU.
    async fn set_stock(&self, revision: &Revision) -> Result<(), Lost> {
        let Some(wanted) = revision.quantity else {
            return Ok(());
        };
        let (doing, sku) = (stock::doing(revision), &revision.listing.sku);
        let variables = operation::stock(sku, wanted.get());
        let reply = self.client.ask(&doing, &SET_STOCK, variables, points(1)).await?;
        let payload = reply.value(&doing)?.ok_or_else(|| reply.nothing(&doing))?;
        let shown = payload
            .get("productVariant")
            .and_then(|at| variant::holds(&at, sku, wanted));
        shown.map_err(|drift| reply.drifted(&doing, &drift))
    }

    /// Sets the stock of several listings in one call.
    async fn set_stocks(&self, sent: &[&Revision]) -> Bulk {
        let doing = format!("set the stock of {} SKUs", sent.len());
        let variables = operation::stocks(sent);
        let answer = self
            .client
            .ask(&doing, &SET_STOCKS, variables, points(sent.len()))
            .await;
        let read = stock::read(sent, answer);
        if matches!(read, Bulk::NotUnderstood(_)) && !self.one_by_one.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                platform = "mercari",
                "Mercari does not understand the call for several SKUs; from now on each is sent alone"
            );
        }
        read
    }

    /// Sets a product's price.
    async fn set_price(&self, revision: &Revision) -> Result<(), Lost> {
        let Some(price) = revision.price else {
            return Ok(());
        };
        let yen = variant::yen_of(price).map_err(Lost::from)?;
        let listing = &revision.listing;
        let doing = format!("set the price of {} to {yen} JPY", named(listing));
        self.set_product(&doing, listing, operation::price(listing, yen), Shows::Price(yen))
            .await
    }
}

fn named_twice(revision: &Revision) -> PlatformError {
    let message = format!(
        "did not revise {}: the batch names the product twice; send the newest alone",
        named(&revision.listing)
    );
    fault::error(ErrorClass::Rejected, "mercari_named_twice", message, None)
}
