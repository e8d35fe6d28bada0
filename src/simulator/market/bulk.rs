//! `bulkUpdatePriceQuantity`, entry by entry.
//!
//! The published text contradicts itself on whether one call may name several SKUs; both readings can be set
//! ([`EbaySettings::one_sku_per_call`](super::EbaySettings)). Entries are judged and applied one after the other: one
//! that fails leaves the others alone, and the whole answers 207.

use super::answer::{Refusal, warning};
use super::docs::money;
use super::{Answer, Change, Late, Market};
use crate::simulator::draw::{mix, unit};
use crate::simulator::faults::EbayFaults;
use crate::simulator::world::Micros;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

const OPERATION: &str = "bulkUpdatePriceQuantity";
/// Requests in one call, and offers in one call.
const MOST: usize = 25;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    requests: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    sku: Option<String>,
    ship_to_location_availability: Option<ShipTo>,
    #[serde(default)]
    offers: Vec<Offer>,
}

#[derive(Deserialize)]
struct ShipTo {
    quantity: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    offer_id: Option<String>,
    available_quantity: Option<i64>,
    price: Option<Value>,
}

/// One thing to change: an offer, or an inventory item alone.
struct Entry<'a> {
    sku: Option<&'a str>,
    ship_to: Option<i64>,
    offer: Option<&'a Offer>,
}

impl Market {
    pub(super) fn bulk(&mut self, body: &Value, faults: &EbayFaults, word: u64, now: Micros) -> Answer {
        let body = match Body::deserialize(body) {
            Ok(body) => body,
            Err(bad) => return self.bulk_refused(&Refusal::invalid("requests", &bad.to_string()), now),
        };
        let offers = body.requests.iter().map(|r| r.offers.len().max(1)).sum::<usize>();
        if body.requests.is_empty() || body.requests.len() > MOST || offers > MOST {
            let info =
                format!("1 to {MOST} inventory items and offers can be updated with one call, not {offers}.");
            return self.bulk_refused(&Refusal::invalid("requests", &info), now);
        }
        let skus: HashSet<&str> = body.requests.iter().filter_map(|r| self.sku_of(r)).collect();
        if self.settings.one_sku_per_call && skus.len() > 1 {
            let refusal = Refusal::user("Only one SKU can be updated per call.");
            return self.bulk_refused(&refusal, now);
        }
        let (mut answers, mut failed, mut seen) = (Vec::new(), false, HashSet::new());
        for request in &body.requests {
            for entry in entries(request) {
                let number = crate::simulator::draw::count(answers.len());
                let answer = self.entry(&entry, &mut seen, faults, mix(word, 0xe7, number), now);
                failed |= answer.get("statusCode") != Some(&json!(200));
                answers.push(Value::Object(answer));
            }
        }
        let status = if failed && !faults.failures_as_200 {
            207
        } else {
            200
        };
        Answer::ok(status, json!({ "responses": answers }))
    }

    fn bulk_refused(&mut self, refusal: &Refusal, now: Micros) -> Answer {
        self.note_listing(OPERATION, now, None, Err(refusal));
        Answer::refused(refusal)
    }

    fn sku_of<'a>(&'a self, request: &'a Request) -> Option<&'a str> {
        let by_offer = || {
            let offer = request.offers.first()?.offer_id.as_deref()?;
            let listing = self.listings.get(*self.by_offer.get(offer)?)?;
            Some(&*listing.sku)
        };
        request.sku.as_deref().or_else(by_offer)
    }

    /// Judges and applies one entry, and notes it.
    fn entry(
        &mut self,
        entry: &Entry<'_>,
        seen: &mut HashSet<String>,
        faults: &EbayFaults,
        word: u64,
        now: Micros,
    ) -> Map<String, Value> {
        let asked = Asked::of(entry);
        let outcome = self.judge(entry, seen, faults, word, now);
        let at = match &outcome {
            Ok((at, _)) => Some(*at),
            Err(_) => self.place(entry),
        };
        let mut warned = false;
        if let Ok((at, change)) = &outcome {
            self.written(*at, now);
            let share = unit(mix(word, 2, 0));
            if share < faults.p_entry_late {
                let at_time = now.saturating_add(i64::from(faults.late_ms) * 1_000);
                self.late.push(Late {
                    at: at_time,
                    listing: *at,
                    change: *change,
                });
            } else if share >= faults.p_entry_late + faults.p_entry_ignored {
                self.apply(*at, *change);
            }
            warned = unit(mix(word, 3, 0)) < faults.p_entry_warns;
        }
        let known = at.and_then(|at| self.listings.get(at));
        let sku = known.map(|l| l.sku.clone()).or_else(|| entry.sku.map(Into::into));
        let version = known.map(|l| l.version);
        let offer_id: Option<Box<str>> = entry.offer.and_then(|o| o.offer_id.as_deref()).map(Into::into);
        let mut answer = Map::new();
        if let Some(sku) = &sku {
            answer.insert("sku".into(), json!(sku));
        }
        if let Some(offer_id) = &offer_id {
            answer.insert("offerId".into(), json!(offer_id));
        }
        let status = match &outcome {
            Ok(_) => 200,
            Err(refusal) => refusal.status,
        };
        answer.insert("statusCode".into(), json!(status));
        if let Err(refusal) = &outcome {
            answer.insert("errors".into(), json!([refusal.json()]));
        }
        if warned {
            answer.insert("warnings".into(), json!([warning()]));
        }
        self.note(OPERATION, now, |line| {
            line.sku = sku;
            line.offer_id = offer_id;
            line.quantity = asked.quantity;
            line.price = asked.price;
            line.accepted = outcome.is_ok();
            line.status = status;
            line.error_id = outcome.err().map(|r| r.id);
            line.version = version;
        });
        answer
    }

    fn place(&self, entry: &Entry<'_>) -> Option<usize> {
        match entry.offer {
            Some(offer) => self.by_offer.get(offer.offer_id.as_deref()?).copied(),
            None => self.by_sku.get(entry.sku?).copied(),
        }
    }

    /// Where the entry applies and what it sets, or why it cannot.
    fn judge(
        &mut self,
        entry: &Entry<'_>,
        seen: &mut HashSet<String>,
        faults: &EbayFaults,
        word: u64,
        now: Micros,
    ) -> Result<(usize, Change), Refusal> {
        if unit(mix(word, 1, 0)) < faults.p_entry_fails {
            return Err(Refusal::system(500));
        }
        let at = match entry.offer {
            Some(offer) => {
                let id = offer.offer_id.as_deref();
                let id = id.ok_or_else(|| Refusal::invalid("offerId", "It is required for each offer."))?;
                if !seen.insert(id.to_owned()) {
                    return Err(Refusal::invalid(
                        "offerId",
                        "The offer is named twice in one call.",
                    ));
                }
                let missing = || Refusal::no_offer(404, id);
                self.by_offer.get(id).copied().ok_or_else(missing)?
            }
            None => {
                let sku = entry
                    .sku
                    .ok_or_else(|| Refusal::invalid("sku", "A SKU or an offer is required."))?;
                self.by_sku
                    .get(sku)
                    .copied()
                    .ok_or_else(|| Refusal::no_sku(sku))?
            }
        };
        let listing = self.listings.get(at).ok_or_else(|| Refusal::system(500))?;
        if entry.sku.is_some_and(|sku| sku != &*listing.sku) {
            return Err(Refusal::user("The offer belongs to another SKU."));
        }
        let change = Change {
            inventory: whole("shipToLocationAvailability.quantity", entry.ship_to)?,
            available: whole(
                "availableQuantity",
                entry.offer.and_then(|o| o.available_quantity),
            )?,
            price: match entry.offer.and_then(|o| o.price.as_ref()) {
                Some(price) => Some(money(price)?),
                None => None,
            },
        };
        if entry.offer.is_some() {
            if !listing.published {
                return Err(Refusal::user("The offer is not published; use updateOffer."));
            }
            if change.available.is_none() && change.price.is_none() && change.inventory.is_none() {
                return Err(Refusal::invalid(
                    "offers",
                    "Either availableQuantity or price is required.",
                ));
            }
        } else if change.inventory.is_none() {
            return Err(Refusal::invalid(
                "shipToLocationAvailability",
                "There is nothing to update.",
            ));
        }
        if let (Some(old), Some(new)) = (listing.price, change.price)
            && old.currency() != new.currency()
        {
            return Err(Refusal::invalid(
                "price.currency",
                "It is not the listing's currency.",
            ));
        }
        let quantity = change.available.or(listing.available).or(change.inventory);
        if !self.settings.allow_zero && quantity == Some(0) {
            return Err(Refusal::quantity("It must be at least 1."));
        }
        self.count_revision(at, now)?;
        Ok((at, change))
    }
}

/// What an entry asks for, for the ledger.
struct Asked {
    quantity: Option<u32>,
    price: Option<crate::domain::Money>,
}

impl Asked {
    fn of(entry: &Entry<'_>) -> Self {
        let offer = entry.offer.and_then(|o| o.available_quantity);
        Self {
            quantity: offer.or(entry.ship_to).and_then(|q| u32::try_from(q).ok()),
            price: entry
                .offer
                .and_then(|o| o.price.as_ref())
                .and_then(|p| money(p).ok()),
        }
    }
}

fn entries(request: &Request) -> Vec<Entry<'_>> {
    let entry = |offer| Entry {
        sku: request.sku.as_deref(),
        ship_to: request
            .ship_to_location_availability
            .as_ref()
            .and_then(|s| s.quantity),
        offer,
    };
    if request.offers.is_empty() {
        vec![entry(None)]
    } else {
        request.offers.iter().map(|offer| entry(Some(offer))).collect()
    }
}

/// A quantity as the API takes it.
fn whole(field: &'static str, count: Option<i64>) -> Result<Option<u32>, Refusal> {
    let Some(count) = count else { return Ok(None) };
    match u32::try_from(count) {
        Ok(count) if count <= 1_000_000 => Ok(Some(count)),
        _ => Err(Refusal::invalid(field, "It must be from 0 to 1000000.")),
    }
}
