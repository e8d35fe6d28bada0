//! The shop's register: what is written by the interface, by hand and by buyers, and the ledger of all of it.

use super::answer::Refusal;
use super::shop::{Listing, PRICES, Shop, status};
use super::views::{MercariAsked, MercariEntry, MercariListing, SetMercari};
use crate::simulator::draw::{below, count, mix, unit, waiting};
use crate::simulator::faults::MercariFault;
use crate::simulator::world::{Micros, calendar};
use serde_json::Value;

impl Shop {
    /// The listings, in order.
    pub(in crate::simulator) fn catalogue(&self) -> Vec<MercariListing> {
        let keys = |l: &Listing| MercariListing {
            sku: l.sku.clone(),
            product_id: l.product_id.clone(),
        };
        self.listings.iter().map(keys).collect()
    }

    /// What Mercari shows for every SKU.
    pub(in crate::simulator) fn register(&mut self, now: Micros) -> Vec<MercariEntry> {
        self.advance(now);
        let entry = |l: &Listing| MercariEntry {
            sku: l.sku.clone(),
            product_id: l.product_id.clone(),
            status: status(l.opened).into(),
            quantity: l.quantity,
            price: l.price,
            version: l.version,
            sold: l.sold,
            written_at: l.written_at.map(calendar),
        };
        self.listings.iter().map(entry).collect()
    }

    pub(super) fn variant_at(&self, by: &Value) -> Result<usize, Refusal> {
        let found = match (by["skuCode"].as_str(), by["id"].as_str()) {
            (Some(sku), _) => self.by_sku.get(sku).copied(),
            (None, Some(id)) => self.listings.iter().position(|l| *l.variant_id == *id),
            (None, None) => None,
        };
        found.ok_or_else(|| Refusal::new("NOT_FOUND", "product variant not found"))
    }

    pub(super) fn product_at(&self, id: &Value) -> Result<usize, Refusal> {
        let found = id.as_str().and_then(|id| self.by_product.get(id)).copied();
        found.ok_or_else(|| Refusal::new("NOT_FOUND", "product not found"))
    }

    pub(super) fn set_stock(&mut self, by: &Value, input: &Value, now: Micros) -> Result<usize, Refusal> {
        let place = self.variant_at(by)?;
        let refused = || Refusal::new("FAILED_PRECONDITION", "stockQuantity must be 0 or more");
        let stock = input["stockQuantity"]
            .as_i64()
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(refused)?;
        self.write(place, now, |listing| listing.quantity = stock);
        Ok(place)
    }

    pub(super) fn set_product(&mut self, input: &Value, now: Micros) -> Result<usize, Refusal> {
        let place = self.product_at(&input["id"])?;
        let price = input["price"].as_i64();
        if price.is_some_and(|yen| !PRICES.contains(&yen)) {
            return Err(Refusal::new(
                "FAILED_PRECONDITION",
                "price must be between 300 and 9999999",
            ));
        }
        let opened = input["status"].as_str().map(|status| status == "OPENED");
        self.write(place, now, |listing| {
            listing.price = price
                .and_then(|yen| u32::try_from(yen).ok())
                .unwrap_or(listing.price);
            listing.opened = opened.unwrap_or(listing.opened);
        });
        Ok(place)
    }

    fn write(&mut self, place: usize, now: Micros, change: impl FnOnce(&mut Listing)) {
        if let Some(listing) = self.listings.get_mut(place) {
            change(listing);
            listing.version += 1;
            listing.written_at = Some(now);
        }
    }

    /// Writes a line of the ledger.
    pub(super) fn note(
        &mut self,
        operation: &str,
        now: Micros,
        place: Option<usize>,
        outcome: Result<(), &str>,
        http_status: u16,
        fault: Option<MercariFault>,
    ) {
        let listing = place.and_then(|place| self.listings.get(place));
        let entry = MercariAsked {
            seq: self.ledger.total() + 1,
            at_us: now,
            operation: operation.chars().take(60).collect::<String>().into(),
            sku: listing.map(|l| l.sku.clone()),
            product_id: listing.map(|l| l.product_id.clone()),
            quantity: listing.map(|l| l.quantity),
            price: listing.map(|l| l.price),
            status: listing.map(|l| status(l.opened).into()),
            accepted: outcome.is_ok(),
            http_status,
            code: outcome.err().map(Into::into),
            version: listing.map(|l| l.version),
            fault,
        };
        self.ledger.push(entry);
    }

    /// Plays what buyers do until `now`.
    pub(in crate::simulator) fn advance(&mut self, now: Micros) {
        for _ in 0..100_000 {
            let Some(t) = self.next_sale.filter(|t| *t <= now) else {
                break;
            };
            let word = mix(self.seed, 0x3e2f, self.sales);
            let place = usize::try_from(below(word, count(self.listings.len()))).unwrap_or(0);
            self.sell(place, 1);
            self.sales += 1;
            self.appoint(t);
        }
    }

    fn sell(&mut self, place: usize, pieces: u32) {
        if let Some(listing) = self.listings.get_mut(place).filter(|l| l.opened) {
            let sold = pieces.min(listing.quantity);
            listing.quantity -= sold;
            listing.sold += sold;
        }
    }

    pub(super) fn appoint(&mut self, after: Micros) {
        let share = unit(mix(self.seed, 0x3e30, self.sales));
        let rate = if self.stopped || self.listings.is_empty() {
            0.0
        } else {
            self.sale_rate_per_s
        };
        self.next_sale = waiting(share, rate).map(|gap| after.saturating_add(gap));
    }

    /// Whether buyers buy.
    pub(in crate::simulator) fn stop(&mut self, stopped: bool, now: Micros) {
        self.stopped = stopped;
        self.appoint(now);
    }

    /// How many pieces are sold per second from `now` on.
    pub(in crate::simulator) fn set_rate(&mut self, sale_rate_per_s: f64, now: Micros) {
        self.sale_rate_per_s = sale_rate_per_s;
        self.appoint(now);
    }

    /// Why `order` cannot be carried out, if it cannot.
    pub(in crate::simulator) fn cannot_set(&self, order: &SetMercari) -> Option<String> {
        if !self.by_sku.contains_key(order.sku.as_str()) {
            return Some(format!("`set_mercari.sku`: expected a SKU, got {:?}", order.sku));
        }
        let bad = order.price.filter(|yen| !PRICES.contains(&i64::from(*yen)))?;
        Some(format!("`set_mercari.price`: expected 300 to 9999999, got {bad}"))
    }

    /// Does what someone ordered for one listing, past the API: no write is counted.
    pub(in crate::simulator) fn set(&mut self, order: &SetMercari, now: Micros) {
        let Some(place) = self.by_sku.get(order.sku.as_str()).copied() else {
            return;
        };
        if let Some(listing) = self.listings.get_mut(place) {
            listing.quantity = order.quantity.unwrap_or(listing.quantity);
            listing.price = order.price.unwrap_or(listing.price);
            listing.opened = order.opened.unwrap_or(listing.opened);
        }
        if let Some(pieces) = order.sell {
            self.sell(place, pieces);
        }
        self.note("by hand", now, Some(place), Ok(()), 200, None);
    }
}
