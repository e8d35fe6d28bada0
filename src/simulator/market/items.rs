//! Inventory items: what there is, whether or not it is offered.

use super::answer::Refusal;
use super::{Answer, Listing, Market};
use crate::simulator::world::Micros;
use serde_json::{Value, json};

/// The longest SKU.
const LONGEST_SKU: usize = 50;

impl Market {
    pub(super) fn get_item(&mut self, sku: &str, now: Micros) -> Answer {
        let at = self.by_sku.get(sku).copied();
        let found = at.and_then(|at| self.listings.get(at));
        let result = found.map(Listing::item_json).ok_or_else(|| Refusal::no_sku(sku));
        self.note_listing("getInventoryItem", now, at, result.as_ref().map(|_| 200));
        match result {
            Ok(item) => Answer::ok(200, item),
            Err(refusal) => Answer::refused(&refusal),
        }
    }

    pub(super) fn put_item(&mut self, sku: &str, language: bool, body: &Value, now: Micros) -> Answer {
        let before = self.by_sku.get(sku).copied();
        let result = self.replace_item(sku, language, body, now);
        let at = self.by_sku.get(sku).copied();
        let created = before.is_none() && at.is_some();
        let status = if created { 201 } else { 204 };
        self.note_listing(
            "createOrReplaceInventoryItem",
            now,
            at,
            result.as_ref().map(|()| status),
        );
        match result {
            Ok(()) if created => Answer::ok(201, json!({})),
            Ok(()) => Answer::no_content(),
            Err(refusal) => Answer::refused(&refusal),
        }
    }

    pub(super) fn replace_item(
        &mut self,
        sku: &str,
        language: bool,
        body: &Value,
        now: Micros,
    ) -> Result<(), Refusal> {
        if !language {
            return Err(Refusal::invalid("header Content-Language", "It is required."));
        }
        if sku.is_empty() || sku.chars().count() > LONGEST_SKU {
            return Err(Refusal::invalid("sku", "It must have 1 to 50 characters."));
        }
        if !body.is_object() {
            return Err(Refusal::invalid("body", "It must be an inventory item."));
        }
        let quantity = body.pointer("/availability/shipToLocationAvailability/quantity");
        let quantity = match quantity {
            // A full replacement: what is left out is gone.
            None => 0,
            Some(count) => count
                .as_u64()
                .and_then(|q| u32::try_from(q).ok())
                .ok_or_else(|| Refusal::quantity("It must be a whole number, not negative."))?,
        };
        let at = match self.by_sku.get(sku).copied() {
            Some(at) => at,
            None => {
                let at = self.listings.len();
                self.by_sku.insert(sku.into(), at);
                self.listings.push(Listing {
                    sku: sku.into(),
                    offer_id: "".into(),
                    listing_id: 0,
                    published: false,
                    inventory: 0,
                    available: None,
                    price: None,
                    version: 0,
                    revised_on: 0,
                    revisions: 0,
                    sold: 0,
                    written_at: None,
                    item_doc: None,
                    offer_doc: None,
                });
                at
            }
        };
        self.count_revision(at, now)?;
        if let Some(listing) = self.listings.get_mut(at) {
            listing.inventory = quantity;
            listing.item_doc = Some(Box::new(body.clone()));
        }
        self.written(at, now);
        Ok(())
    }
}
