//! What happens at eBay without the API: buyers buy, late writes take hold, somebody edits a listing by hand.

use super::{Late, Market, SetListing};
use crate::domain::Money;
use crate::simulator::draw::{below, count, mix, unit, waiting};
use crate::simulator::world::Micros;

impl Market {
    /// Plays what happens at eBay until `now`: late writes take hold, buyers buy.
    pub(in crate::simulator) fn advance(&mut self, now: Micros) {
        if !self.late.is_empty() {
            let (due, rest): (Vec<Late>, Vec<Late>) = std::mem::take(&mut self.late)
                .into_iter()
                .partition(|late| late.at <= now);
            self.late = rest;
            for late in due {
                self.apply(late.listing, late.change);
            }
        }
        for _ in 0..100_000 {
            let Some(t) = self.next_sale.filter(|t| *t <= now) else {
                break;
            };
            let word = mix(self.seed, 0x5a1e, self.sales);
            let many = count(self.listings.len());
            let listing = usize::try_from(below(word, many)).unwrap_or(0);
            self.sell(listing, 1);
            self.sales += 1;
            self.appoint(t);
        }
    }

    /// A buyer takes up to `pieces` of the listing at `at`.
    fn sell(&mut self, at: usize, pieces: u32) {
        let Some(listing) = self.listings.get_mut(at).filter(|l| l.published) else {
            return;
        };
        let sold = pieces.min(listing.quantity());
        listing.inventory = listing.inventory.saturating_sub(sold);
        listing.available = listing.available.map(|q| q.saturating_sub(sold));
        listing.sold += sold;
    }

    pub(super) fn appoint(&mut self, after: Micros) {
        let share = unit(mix(self.seed, 0x5a1f, self.sales));
        let rate = if self.stopped { 0.0 } else { self.sale_rate_per_s };
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
    pub(in crate::simulator) fn cannot_set(&self, order: &SetListing) -> Option<String> {
        let Some(listing) = self.place_of(order).and_then(|at| self.listings.get(at)) else {
            return Some(format!("`set_listing.sku`: expected a SKU, got {:?}", order.sku));
        };
        let price = order.price.map(|price| Money::new(price, listing.currency()))?;
        price.err().map(|bad| format!("`set_listing.price`: {bad}"))
    }

    /// Does what someone ordered for one listing, past the API: no write is counted.
    pub(in crate::simulator) fn set(&mut self, order: &SetListing, now: Micros) {
        let Some(at) = self.place_of(order) else { return };
        if order.published == Some(true) && self.listings.get(at).is_some_and(|l| !l.published) {
            self.put_up(at);
        }
        let Some(listing) = self.listings.get_mut(at) else {
            return;
        };
        if let Some(price) = order.price {
            listing.price = Money::new(price, listing.currency()).ok().or(listing.price);
        }
        if let Some(quantity) = order.quantity {
            listing.inventory = quantity;
            listing.available = Some(quantity);
        }
        listing.published = order.published.unwrap_or(listing.published);
        if let Some(pieces) = order.sell {
            self.sell(at, pieces);
        }
        self.note_listing("by hand", now, Some(at), Ok(200));
    }

    fn place_of(&self, order: &SetListing) -> Option<usize> {
        self.by_sku.get(order.sku.as_str()).copied()
    }
}
