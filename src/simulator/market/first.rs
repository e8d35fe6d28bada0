//! First listings: the bulk calls that make items and offers and publish them, and what an offer needs to be published.
//!
//! Entries are judged and applied one after the other, as the single calls are; the whole answers 207 when one failed.

use super::answer::Refusal;
use super::{Answer, Market};
use crate::simulator::draw::{count, mix, unit};
use crate::simulator::faults::EbayFaults;
use crate::simulator::world::Micros;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Entries in one call.
const MOST: usize = 25;
const LONGEST_TITLE: usize = 80;
const MOST_PICTURES: usize = 24;
/// `ConditionEnum`, as the documents name its members.
const CONDITIONS: &str = "NEW LIKE_NEW NEW_OTHER NEW_WITH_DEFECTS CERTIFIED_REFURBISHED EXCELLENT_REFURBISHED \
     VERY_GOOD_REFURBISHED GOOD_REFURBISHED SELLER_REFURBISHED USED_EXCELLENT USED_VERY_GOOD USED_GOOD USED_ACCEPTABLE \
     FOR_PARTS_OR_NOT_WORKING PRE_OWNED_EXCELLENT PRE_OWNED_FAIR";

/// A bulk call of several entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::simulator) enum Bulk {
    Items,
    Offers,
    Publish,
}

impl Bulk {
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Items => "bulkCreateOrReplaceInventoryItem",
            Self::Offers => "bulkCreateOffer",
            Self::Publish => "bulkPublishOffer",
        }
    }

    /// The operation that one entry stands for.
    fn single(self) -> &'static str {
        match self {
            Self::Items => "createOrReplaceInventoryItem",
            Self::Offers => "createOffer",
            Self::Publish => "publishOffer",
        }
    }

    /// The members that name an entry, in request and answer.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Items => &["sku", "locale"],
            Self::Offers => &["sku", "marketplaceId", "format"],
            Self::Publish => &["offerId"],
        }
    }
}

impl Market {
    /// Answers one bulk call; `language` is whether it had `Content-Language`.
    pub(super) fn bulk_first(
        &mut self,
        bulk: Bulk,
        language: bool,
        body: &Value,
        (faults, word): (&EbayFaults, u64),
        now: Micros,
    ) -> Answer {
        let refused = |market: &mut Self, refusal: &Refusal| {
            market.note_listing(bulk.operation(), now, None, Err(refusal));
            Answer::refused(refusal)
        };
        if bulk != Bulk::Publish && !language {
            return refused(
                self,
                &Refusal::invalid("header Content-Language", "It is required."),
            );
        }
        let Some(requests) = body.get("requests").and_then(Value::as_array) else {
            return refused(self, &Refusal::invalid("requests", "It is required."));
        };
        if requests.is_empty() || requests.len() > MOST {
            return refused(self, &Refusal::too_large(bulk == Bulk::Items, MOST));
        }
        let mut seen = HashSet::new();
        let name = |request: &Value| {
            let parts = bulk
                .names()
                .iter()
                .map(|key| request.get(*key).map(Value::to_string));
            parts.collect::<Vec<_>>()
        };
        if !requests.iter().all(|request| seen.insert(name(request))) {
            return refused(self, &Refusal::twice(bulk));
        }
        let (mut answers, mut failed) = (Vec::new(), false);
        for request in requests {
            let word = mix(word, 0xf1, count(answers.len()));
            let outcome = if unit(word) < faults.p_entry_fails {
                Err(Refusal::system(500))
            } else {
                self.first_entry(bulk, request, now)
            };
            failed |= outcome.is_err();
            answers.push(self.entry_answer(
                bulk,
                request,
                outcome,
                unit(mix(word, 3, 0)) < faults.p_entry_warns,
                now,
            ));
        }
        let status = if failed && !faults.failures_as_200 {
            207
        } else {
            200
        };
        Answer::ok(status, json!({ "responses": answers }))
    }

    fn first_entry(&mut self, bulk: Bulk, request: &Value, now: Micros) -> Result<Answer, Refusal> {
        let text = |key: &str| request.get(key).and_then(Value::as_str);
        match bulk {
            Bulk::Items => {
                let (Some(sku), Some(_)) = (text("sku"), text("locale").filter(|l| l.contains('_'))) else {
                    return Err(Refusal::no_locale());
                };
                judge_item(request)?;
                let created = !self.by_sku.contains_key(sku);
                self.replace_item(sku, true, request, now)?;
                Ok(Answer::ok(if created { 201 } else { 200 }, json!({})))
            }
            Bulk::Offers => self.new_offer(text("sku").unwrap_or_default(), true, request, now),
            Bulk::Publish => self.put_on_sale(text("offerId").unwrap_or_default(), now),
        }
    }

    /// One entry of the answer, noted in the ledger as the single call would be.
    fn entry_answer(
        &mut self,
        bulk: Bulk,
        request: &Value,
        outcome: Result<Answer, Refusal>,
        warned: bool,
        now: Micros,
    ) -> Value {
        let named = |key: &str| request.get(key).and_then(Value::as_str);
        let at = match bulk {
            Bulk::Publish => named("offerId").and_then(|id| self.by_offer.get(id)).copied(),
            Bulk::Items | Bulk::Offers => named("sku").and_then(|sku| self.by_sku.get(sku)).copied(),
        };
        self.note_listing(bulk.single(), now, at, outcome.as_ref().map(|a| a.status));
        let mut entry = Map::new();
        for key in bulk.names() {
            if let Some(value) = request.get(*key) {
                entry.insert((*key).to_owned(), value.clone());
            }
        }
        match outcome {
            Ok(answer) => {
                entry.insert("statusCode".into(), json!(answer.status));
                if let Some(Value::Object(made)) = answer.body {
                    entry.extend(made);
                }
                if warned {
                    entry.insert("warnings".into(), json!([super::answer::warning()]));
                }
            }
            Err(refusal) => {
                entry.insert("statusCode".into(), json!(refusal.status));
                entry.insert("errors".into(), json!([refusal.json()]));
            }
        }
        Value::Object(entry)
    }

    /// Whether the offer at `at` has all that a listing needs. What was there from the start has.
    pub(super) fn publishable(&self, at: usize) -> Result<(), Refusal> {
        let Some(listing) = self.listings.get(at) else {
            return Err(Refusal::system(500));
        };
        let (item, offer) = (listing.item_doc.as_deref(), listing.offer_doc.as_deref());
        let text = |doc: &Value, at: &str| {
            let text = doc.pointer(at).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        if let Some(item) = item {
            judge_item(item)?;
            if text(item, "/product/title").is_none() {
                return Err(Refusal::field(25_016, "title"));
            }
            let pictures = item.pointer("/product/imageUrls").and_then(Value::as_array);
            if pictures.is_none_or(Vec::is_empty) {
                return Err(Refusal::field(25_014, "imageUrls"));
            }
            if text(item, "/condition").is_none() {
                return Err(Refusal::field(25_021, "condition"));
            }
            let aspects = item.pointer("/product/aspects").and_then(Value::as_object);
            if aspects.is_none_or(Map::is_empty) {
                return Err(Refusal::field(25_002, "aspects"));
            }
        }
        let Some(offer) = offer else { return Ok(()) };
        let described = text(offer, "/listingDescription").or_else(|| text(item?, "/product/description"));
        if described.is_none() && item.is_some() {
            return Err(Refusal::field(25_016, "listingDescription"));
        }
        let category = text(offer, "/categoryId");
        if !category.is_some_and(|id| super::asked::is_category(&id)) {
            return Err(Refusal::field(25_005, "categoryId"));
        }
        for (id, field) in [
            (25_007, "fulfillmentPolicyId"),
            (25_008, "paymentPolicyId"),
            (25_009, "returnPolicyId"),
        ] {
            if text(offer, &format!("/listingPolicies/{field}")).is_none() {
                return Err(Refusal::field(id, field));
            }
        }
        if text(offer, "/merchantLocationKey").is_none() {
            return Err(Refusal::field(25_012, "merchantLocationKey"));
        }
        Ok(())
    }
}

/// What of an item may not be, whether or not it is offered.
fn judge_item(item: &Value) -> Result<(), Refusal> {
    let title = item.pointer("/product/title").and_then(Value::as_str);
    if title.is_some_and(|title| title.chars().count() > LONGEST_TITLE) {
        return Err(Refusal::invalid("product.title", "It may have 80 characters."));
    }
    let pictures = item.pointer("/product/imageUrls").and_then(Value::as_array);
    if let Some(pictures) = pictures {
        let good = |url: &Value| url.as_str().is_some_and(|url| url.starts_with("https://"));
        if pictures.len() > MOST_PICTURES {
            return Err(Refusal::field(25_014, "imageUrls"));
        }
        if !pictures.iter().all(good) {
            return Err(Refusal::field(25_015, "imageUrls"));
        }
    }
    let condition = item.get("condition").and_then(Value::as_str);
    if condition.is_some_and(|word| !CONDITIONS.split(' ').any(|known| known == word)) {
        return Err(Refusal::field(25_021, "condition"));
    }
    if let Some(aspects) = item.pointer("/product/aspects") {
        let of_texts = |values: &Value| {
            let values = values.as_array();
            values.is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
        };
        if !aspects
            .as_object()
            .is_some_and(|names| names.values().all(of_texts))
        {
            return Err(Refusal::invalid(
                "product.aspects",
                "Each name needs a list of values.",
            ));
        }
    }
    Ok(())
}
