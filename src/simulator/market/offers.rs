//! Offers: made, read, replaced, published as a listing, withdrawn from sale.

use super::answer::Refusal;
use super::docs::money;
use super::{Answer, Listing, MARKETPLACE, Market, listing_name};
use crate::domain::Money;
use crate::simulator::world::Micros;
use serde_json::{Value, json};

/// What an offer's document says that the register needs.
struct Terms {
    available: Option<u32>,
    price: Option<Money>,
}

impl Terms {
    fn read(body: &Value) -> Result<Self, Refusal> {
        let available = match body.get("availableQuantity") {
            None | Some(Value::Null) => None,
            Some(count) => {
                let count = count.as_u64().and_then(|q| u32::try_from(q).ok());
                Some(count.ok_or_else(|| Refusal::quantity("It must be a whole number, not negative."))?)
            }
        };
        let price = match body.pointer("/pricingSummary/price") {
            None | Some(Value::Null) => None,
            Some(amount) => Some(money(amount)?),
        };
        Ok(Self { available, price })
    }
}

impl Market {
    fn offer(&self, offer_id: &str) -> Result<usize, Refusal> {
        let missing = || Refusal::no_offer(404, offer_id);
        self.by_offer.get(offer_id).copied().ok_or_else(missing)
    }

    fn listing(&self, at: usize) -> Result<&Listing, Refusal> {
        self.listings.get(at).ok_or_else(|| Refusal::system(500))
    }

    /// Notes what became of a call about one offer and answers it.
    fn answer_offer(
        &mut self,
        operation: &str,
        now: Micros,
        at: Option<usize>,
        result: Result<Answer, Refusal>,
    ) -> Answer {
        self.note_listing(operation, now, at, result.as_ref().map(|a| a.status));
        result.unwrap_or_else(|refusal| Answer::refused(&refusal))
    }

    pub(super) fn get_offers(&mut self, sku: Option<&str>, now: Micros) -> Answer {
        let at = sku.and_then(|sku| self.by_sku.get(sku).copied());
        let result = match sku {
            None => Err(Refusal::invalid("sku", "It is required.")),
            Some(sku) => {
                let offer = at
                    .and_then(|at| self.listings.get(at))
                    .filter(|l| !l.offer_id.is_empty());
                offer
                    .map(|listing| {
                        let href = format!("/sell/inventory/v1/offer?sku={sku}&offset=0&limit=100");
                        let offers = [listing.offer_json()];
                        let body =
                            json!({ "href": href, "limit": 100, "size": 1, "total": 1, "offers": offers });
                        Answer::ok(200, body)
                    })
                    .ok_or_else(|| Refusal::no_offer(404, sku))
            }
        };
        self.answer_offer("getOffers", now, at, result)
    }

    pub(super) fn get_offer(&mut self, offer_id: &str, now: Micros) -> Answer {
        let at = self.offer(offer_id);
        let result = match &at {
            Ok(at) => self.listing(*at).map(|l| Answer::ok(200, l.offer_json())),
            Err(_) => Err(Refusal::no_offer(404, offer_id)),
        };
        self.answer_offer("getOffer", now, at.ok(), result)
    }

    pub(super) fn create_offer(&mut self, language: bool, body: &Value, now: Micros) -> Answer {
        let sku = body.get("sku").and_then(Value::as_str).unwrap_or_default();
        let result = self.new_offer(sku, language, body, now);
        let at = self.by_sku.get(sku).copied();
        self.answer_offer("createOffer", now, at, result)
    }

    pub(super) fn new_offer(
        &mut self,
        sku: &str,
        language: bool,
        body: &Value,
        now: Micros,
    ) -> Result<Answer, Refusal> {
        if !language {
            return Err(Refusal::invalid("header Content-Language", "It is required."));
        }
        for (field, known) in [("marketplaceId", MARKETPLACE), ("format", "FIXED_PRICE")] {
            if body.get(field).and_then(Value::as_str) != Some(known) {
                return Err(Refusal::invalid(
                    field,
                    "This simulator knows EBAY_US and FIXED_PRICE.",
                ));
            }
        }
        let mut missing = Refusal::no_sku(sku);
        missing.status = 400;
        let at = self.by_sku.get(sku).copied().ok_or(missing)?;
        let terms = Terms::read(body)?;
        let offer_id: Box<str> = (self.next_offer + 1).to_string().into();
        let listing = self.listings.get_mut(at).ok_or_else(|| Refusal::system(500))?;
        if !listing.offer_id.is_empty() {
            return Err(Refusal::exists(&listing.offer_id));
        }
        listing.offer_id = offer_id.clone();
        listing.available = terms.available;
        listing.price = terms.price;
        listing.offer_doc = Some(Box::new(body.clone()));
        self.next_offer += 1;
        self.by_offer.insert(offer_id.clone(), at);
        self.written(at, now);
        Ok(Answer::ok(201, json!({ "offerId": offer_id })))
    }

    pub(super) fn put_offer(&mut self, offer_id: &str, language: bool, body: &Value, now: Micros) -> Answer {
        let result = self.replace_offer(offer_id, language, body, now);
        let at = self.offer(offer_id).ok();
        self.answer_offer("updateOffer", now, at, result)
    }

    fn replace_offer(
        &mut self,
        offer_id: &str,
        language: bool,
        body: &Value,
        now: Micros,
    ) -> Result<Answer, Refusal> {
        if !language {
            return Err(Refusal::invalid("header Content-Language", "It is required."));
        }
        let at = self.offer(offer_id)?;
        let terms = Terms::read(body)?;
        let published = self.listing(at)?.published;
        if published && terms.price.is_none() {
            return Err(Refusal::price("A published offer needs a price."));
        }
        if published && !self.settings.allow_zero && terms.available == Some(0) {
            return Err(Refusal::quantity("It must be at least 1."));
        }
        self.count_revision(at, now)?;
        if let Some(listing) = self.listings.get_mut(at) {
            listing.available = terms.available;
            listing.price = terms.price;
            listing.offer_doc = Some(Box::new(body.clone()));
        }
        self.written(at, now);
        Ok(Answer::ok(200, json!({ "offerId": offer_id })))
    }

    pub(super) fn publish(&mut self, offer_id: &str, now: Micros) -> Answer {
        let result = self.put_on_sale(offer_id, now);
        let at = self.offer(offer_id).ok();
        self.answer_offer("publishOffer", now, at, result)
    }

    pub(super) fn put_on_sale(&mut self, offer_id: &str, now: Micros) -> Result<Answer, Refusal> {
        let at = self.offer(offer_id)?;
        let listing = self.listing(at)?;
        if listing.published {
            return Ok(Answer::ok(200, json!({ "listingId": listing_name(listing) })));
        }
        if listing.price.is_none() {
            return Err(Refusal::price("It has none."));
        }
        if listing.quantity() == 0 {
            return Err(Refusal::quantity("It must be at least 1 to publish."));
        }
        self.publishable(at)?;
        self.put_up(at);
        self.written(at, now);
        let listing_id = listing_name(self.listing(at)?);
        Ok(Answer::ok(200, json!({ "listingId": listing_id })))
    }

    pub(super) fn withdraw(&mut self, offer_id: &str, now: Micros) -> Answer {
        let result = self.take_off_sale(offer_id, now);
        let at = self.offer(offer_id).ok();
        self.answer_offer("withdrawOffer", now, at, result)
    }

    fn take_off_sale(&mut self, offer_id: &str, now: Micros) -> Result<Answer, Refusal> {
        let at = self.offer(offer_id)?;
        let listing = self.listing(at)?;
        if !listing.published {
            return Err(Refusal::no_offer(400, "it is not published"));
        }
        let listing_id = listing_name(listing);
        if let Some(listing) = self.listings.get_mut(at) {
            listing.published = false;
        }
        self.written(at, now);
        Ok(Answer::ok(200, json!({ "listingId": listing_id })))
    }
}
