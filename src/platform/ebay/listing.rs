//! The first listing of a product: `bulkCreateOrReplaceInventoryItem`, `bulkCreateOffer`, `bulkPublishOffer`.
//!
//! Each takes up to 25 entries, which are judged one by one; a call with one entry stands for the single calls. An offer
//! that is there already is replaced by `updateOffer`, so that a listing which was begun once is finished with today's
//! content.

mod asked;
mod content;
mod wire;

use super::client::Ask;
use super::json::At;
use super::{Ebay, check_key, contract};
use crate::domain::{Currency, ErrorClass};
use crate::platform::PlatformError;
use crate::platform::lost::Lost;
use crate::platform::registrar::{
    ContentProblem, Done, ListingContent, NewListing, NotDone, Quota, Registrar, StandingOffer, Step,
    Suggestion,
};
use futures_util::future::BoxFuture;
use wire::Bulk;

/// The most entries of one call.
const MAX_ENTRIES: usize = 25;

impl Ebay {
    /// One bulk call about `keys`, each named once.
    async fn bulk(&self, path: &str, ask: Ask, keys: &[&str], bulk: Bulk<'_>) -> Vec<Step> {
        let url = self.client.address(&[path], &[]);
        let doing = match keys {
            [one] => format!("{} `{one}`", bulk.verb),
            many => format!("{}s ({} of them)", bulk.verb, many.len()),
        };
        match self.client.send(&doing, ask, url).await {
            Ok(reply) => bulk.read(keys, &reply),
            Err(lost) => keys.iter().map(|_| Err(not_done(lost.clone()))).collect(),
        }
    }
}

impl Registrar for Ebay {
    fn batch_size(&self) -> usize {
        MAX_ENTRIES
    }

    fn problems(&self, content: &ListingContent) -> Vec<ContentProblem> {
        content::problems(content)
    }

    fn currency(&self, marketplace: &str) -> Option<Currency> {
        content::currency(marketplace)
    }

    fn offers<'a>(&'a self, sku: &'a str) -> BoxFuture<'a, Result<Vec<StandingOffer>, PlatformError>> {
        Box::pin(async move {
            let doing = format!("look for offers of SKU `{sku}`");
            check_key("SKU", sku, 50)?;
            let url = self.client.address(&["offer"], &[("sku", sku)]);
            let body = match self.get(&doing, url).await {
                Ok(body) => body,
                Err(lost) if lost.error.class == ErrorClass::NotFound => return Ok(Vec::new()),
                Err(lost) => return Err(lost.error),
            };
            wire::standing(&At::root("offers", &body), sku).map_err(|drift| contract(&doing, &drift, &body))
        })
    }

    fn put_items<'a>(&'a self, new: &'a [NewListing]) -> BoxFuture<'a, Vec<Step>> {
        Box::pin(async move {
            let keys: Vec<&str> = new.iter().map(|n| &*n.sku).collect();
            let ask = Ask::PostIn(wire::items(new, &self.client.locale()));
            let bulk = Bulk {
                verb: "describe SKU",
                key: "sku",
                made: None,
            };
            self.bulk("bulk_create_or_replace_inventory_item", ask, &keys, bulk)
                .await
        })
    }

    fn make_offers<'a>(&'a self, new: &'a [NewListing]) -> BoxFuture<'a, Vec<Step>> {
        Box::pin(async move {
            let keys: Vec<&str> = new.iter().map(|n| &*n.sku).collect();
            let bulk = Bulk {
                verb: "make an offer of SKU",
                key: "sku",
                made: Some("offerId"),
            };
            self.bulk("bulk_create_offer", Ask::PostIn(wire::offers(new)), &keys, bulk)
                .await
        })
    }

    fn replace_offer<'a>(&'a self, offer_id: &'a str, new: &'a NewListing) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            let refused = |error| NotDone {
                error,
                unknown: false,
            };
            check_key("offer id", offer_id, 100).map_err(refused)?;
            let doing = format!("replace offer `{offer_id}` of SKU `{}`", new.sku);
            let url = self.client.address(&["offer", offer_id], &[]);
            let sent = self.client.send(&doing, Ask::Put(wire::replacement(new)), url);
            let reply = sent.await.map_err(not_done)?;
            if !reply.is_success() {
                return Err(not_done(reply.refused(&doing)));
            }
            let warnings = super::taken::replaced(&doing, &reply).map_err(not_done)?;
            Ok(Done {
                id: offer_id.into(),
                warnings,
            })
        })
    }

    fn publish<'a>(&'a self, offer_ids: &'a [Box<str>]) -> BoxFuture<'a, Vec<Step>> {
        Box::pin(async move {
            let keys: Vec<&str> = offer_ids.iter().map(|id| &**id).collect();
            let bulk = Bulk {
                verb: "publish offer",
                key: "offerId",
                made: Some("listingId"),
            };
            let ask = Ask::Post(Some(wire::publications(offer_ids)));
            self.bulk("bulk_publish_offer", ask, &keys, bulk).await
        })
    }

    fn suggest<'a>(
        &'a self,
        marketplace: &'a str,
        words: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Suggestion>, PlatformError>> {
        Box::pin(self.suggestions(marketplace, words))
    }

    fn quotas(&self) -> BoxFuture<'_, Result<Vec<Quota>, PlatformError>> {
        Box::pin(self.quotas_left())
    }
}

fn not_done(lost: Lost) -> NotDone {
    NotDone {
        error: lost.error,
        unknown: lost.maybe_applied,
    }
}
