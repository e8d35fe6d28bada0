//! Changes of one item on someone's order, past the script.

use super::{DAY, ItemState, Micros, SECOND, Status, World};
use crate::simulator::draw::{at, micros};
use crate::simulator::faults::PageFault;
use serde::Deserialize;

/// The dearest item, so that no sum on a page overflows.
const MOST_YEN: u32 = 900_000_000;

/// What changes in one item at once, on someone's order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetItem {
    /// Which item.
    pub id: String,
    /// Pieces listed; 0 ends the item, another number opens it again.
    pub stock: Option<u32>,
    /// The price as the page says it (without tax for a store); a fixed price moves the buy-now price with it.
    pub price: Option<u32>,
    /// The buy-now price; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub buy_now: Option<Option<u32>>,
    /// Open, ended or removed.
    pub status: Option<Status>,
    /// Number of bids.
    pub bids: Option<u32>,
    /// When it ends, in seconds from now; may be negative.
    pub ends_in_s: Option<f64>,
    /// Another title.
    pub title: Option<String>,
    /// Whether the script leaves it alone from now on.
    pub pinned: Option<bool>,
    /// The fault that each of its pages has; `null` takes it away.
    #[serde(deserialize_with = "given")]
    pub fault: Option<Option<PageFault>>,
}

/// Tells a key that is `null` from one that is not there.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl World {
    /// Why `order` cannot be carried out, if it cannot.
    pub(in crate::simulator) fn cannot_set(&self, order: &SetItem) -> Option<String> {
        if self.find(&order.id).is_none() {
            return Some(format!(
                "`set.id`: expected the id of an item, got {:?}",
                order.id
            ));
        }
        let most = 1_000_000_000.0;
        let bad_end = order.ends_in_s.filter(|s| !(-most..=most).contains(s));
        let dear = [order.price, order.buy_now.flatten()].into_iter().flatten();
        match (bad_end, dear.max()) {
            (Some(s), _) => Some(format!("`set.ends_in_s`: expected seconds within 1e9, got {s}")),
            (None, Some(price)) if price > MOST_YEN => {
                Some(format!("`set.price`: expected at most {MOST_YEN}, got {price}"))
            }
            _ => None,
        }
    }

    /// Does what someone ordered for one item, which [`cannot_set`](Self::cannot_set) has found possible.
    pub(in crate::simulator) fn set(&mut self, order: &SetItem, now: Micros) {
        let Some(index) = self.find(&order.id) else {
            return;
        };
        if let Some(title) = &order.title {
            self.titles.insert(index, title.as_str().into());
        }
        match order.fault {
            Some(Some(fault)) => drop(self.forced.insert(index, fault)),
            Some(None) => drop(self.forced.remove(&index)),
            None => {}
        }
        if let (Some(pinned), Some(item)) = (order.pinned, self.items.get_mut(at(index))) {
            item.pinned = pinned;
        }
        self.change(index, now, |item| apply(order, item, now));
    }
}

fn apply(order: &SetItem, item: &mut ItemState, now: Micros) {
    if let Some(stock) = order.stock {
        if stock == 0 {
            item.status = Status::Ended;
        } else {
            item.status = Status::Open;
            item.quantity = stock;
            item.ends_at = item.ends_at.max((now + DAY) / SECOND * SECOND);
        }
    }
    if let Some(price) = order.price {
        item.price = price;
        if !item.auction && item.buy_now.is_some() {
            item.buy_now = Some(price);
        }
    }
    item.buy_now = order.buy_now.unwrap_or(item.buy_now);
    item.bids = order.bids.unwrap_or(item.bids);
    item.status = order.status.unwrap_or(item.status);
    if let Some(seconds) = order.ends_in_s {
        let by = micros(seconds.abs());
        let end = if seconds < 0.0 { now - by } else { now + by };
        item.ends_at = end / SECOND * SECOND;
    }
    if order.title.is_some() {
        // A page with another title is another page, even when nothing else moved.
        item.since = now;
    }
}
