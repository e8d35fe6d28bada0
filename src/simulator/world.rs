//! The truth of the source: what each item on Yahoo! is at this moment, what its pages said, and how both changed.
//!
//! Plain data that is told the time. [`World::advance`] plays everything that happens until `now` in the order of its
//! time; between two calls nothing moves. Prices are what the *page* says: without tax for a store, as on the real one.

use super::draw::{at, below, below_u32, mix, one_of};
use super::faults::PageFault;
use super::goods;
use super::ledger::Ring;
use super::script::Script;
use super::settings::SimulatorSettings;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Calendar time in microseconds since 1970.
pub(super) type Micros = i64;
const SECOND: Micros = 1_000_000;
const DAY: Micros = 86_400 * SECOND;
/// The dearest item, so that no sum on a page overflows.
const MOST_YEN: u32 = 900_000_000;

/// Whether an item can still be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On offer.
    Open,
    /// Sold or over.
    Ended,
    /// The page is gone.
    Removed,
}

/// One item as its page says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ItemState {
    /// Counts the changes; 0 at the start.
    pub version: u32,
    /// Open, ended or removed.
    pub status: Status,
    /// Pieces listed; stays when the item has ended.
    pub quantity: u32,
    /// The price as the page says it (current bid of an auction), without tax for a store.
    pub price: u32,
    /// The buy-now price, likewise.
    pub buy_now: Option<u32>,
    /// The price it started with, likewise.
    pub init_price: u32,
    /// Number of bids.
    pub bids: u32,
    /// Whether the seller is a store, whose prices come without tax.
    pub store: bool,
    /// Whether it runs as an auction; otherwise at a fixed price.
    pub auction: bool,
    /// Whether its end was moved.
    pub extended: bool,
    /// When it began.
    pub starts_at: Micros,
    /// When it ends or ended.
    pub ends_at: Micros,
    /// When this state began.
    pub since: Micros,
}

impl ItemState {
    /// A page price with tax: a tenth more for a store, rounded down.
    pub(super) fn with_tax(&self, price: u32) -> u32 {
        if self.store {
            u32::try_from(u64::from(price) * 110 / 100).unwrap_or(u32::MAX)
        } else {
            price
        }
    }
}

/// What an item is, or what a page said of it, as others may read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemView {
    /// The auction id.
    pub id: Box<str>,
    /// Counts the changes of the item; 0 at the start.
    pub version: u32,
    /// Open, ended or removed.
    pub status: Status,
    /// Pieces that can be had: the listed quantity while open, otherwise 0.
    pub stock: u32,
    /// What the page asks now, tax included, in yen.
    pub price_jpy: u32,
    /// The buy-now price, tax included, in yen.
    pub buy_now_jpy: Option<u32>,
    /// Number of bids.
    pub bids: u32,
    /// When it ends or ended.
    pub ends_at: DateTime<Utc>,
    /// Whether the seller is a store.
    pub seller_is_store: bool,
    /// For the truth: since when; for a served page: when its last byte was handed out.
    pub at: DateTime<Utc>,
}

/// One change of the truth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TruthChange {
    /// Its place in the order of changes; starts at 1.
    pub seq: u64,
    /// The item since then.
    pub item: ItemView,
}

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

/// One item with its past.
pub(super) struct Item {
    pub now: ItemState,
    pub before: Option<ItemState>,
    served: Option<Served>,
    asked: u32,
    pub pinned: bool,
}

#[derive(Clone, Copy)]
struct Served {
    state: ItemState,
    ask: u64,
    at: Micros,
}

/// Everything that a page needs, taken out of the world in one moment.
pub(super) struct Asked {
    pub index: u32,
    pub state: ItemState,
    pub title: String,
    pub fault: Option<PageFault>,
    /// The request's own draw.
    pub word: u64,
    /// The request's place among all requests.
    pub ask: u64,
    /// Another item, for swapped bodies.
    pub other: Option<(u32, ItemState, String)>,
}

/// One request for a page.
#[derive(Clone, Copy)]
pub(super) struct PageAsked {
    pub at: Micros,
    /// `None` when no item has that id.
    pub index: Option<u32>,
    pub version: u32,
    pub fault: Option<PageFault>,
}

/// See the module's head.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) items: Vec<Item>,
    by_id: HashMap<Box<str>, u32>,
    titles: HashMap<u32, Box<str>>,
    forced: HashMap<u32, PageFault>,
    pub(super) script: Script,
    pub(super) history: Ring<(u32, ItemState)>,
    pub(super) asks: Ring<PageAsked>,
    started: Micros,
}

impl World {
    /// The world at `now`, before anything has happened.
    pub(super) fn new(settings: &SimulatorSettings, now: Micros) -> Self {
        let seed = settings.seed;
        let mut by_id = HashMap::with_capacity(at(settings.products));
        let mut items = Vec::with_capacity(at(settings.products));
        for index in 0..settings.products {
            by_id.insert(goods::item_id(seed, index).into_boxed_str(), index);
            items.push(Item {
                now: first_state(settings, index, now),
                before: None,
                served: None,
                asked: 0,
                pinned: false,
            });
        }
        let mut world = Self {
            seed,
            items,
            by_id,
            titles: HashMap::new(),
            forced: HashMap::new(),
            script: Script::new(settings, now),
            history: Ring::new(settings.ledger_capacity),
            asks: Ring::new(settings.ledger_capacity),
            started: now,
        };
        world.expect_ends();
        world
    }

    /// The number of the item called `id`.
    pub(super) fn find(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// The title of item `index`.
    pub(super) fn title(&self, index: u32) -> String {
        match self.titles.get(&index) {
            Some(title) => title.to_string(),
            None => goods::title(self.seed, index),
        }
    }

    /// Microseconds since the start.
    pub(super) fn offset(&self, now: Micros) -> Micros {
        now.saturating_sub(self.started)
    }

    /// Takes note of a request for the page of `id` and says what it is to show; `None` when there is no such item.
    pub(super) fn ask(
        &mut self,
        id: &str,
        now: Micros,
        decide: impl FnOnce(u64, u64, Micros) -> Option<PageFault>,
    ) -> Option<Asked> {
        self.advance(now);
        let Some(index) = self.find(id) else {
            self.asks.push(PageAsked {
                at: now,
                index: None,
                version: 0,
                fault: None,
            });
            return None;
        };
        let offset = self.offset(now);
        let item = self.items.get_mut(at(index))?;
        let word = mix(self.seed, 0xa5_0000 + u64::from(index), u64::from(item.asked));
        item.asked = item.asked.wrapping_add(1);
        let fault = match self.forced.get(&index) {
            Some(fault) => Some(*fault),
            None => decide(self.seed, word, offset),
        };
        let stale = fault == Some(PageFault::Stale);
        let state = if stale {
            item.before.unwrap_or(item.now)
        } else {
            item.now
        };
        let other = (fault == Some(PageFault::OtherItem))
            .then(|| self.neighbour(index))
            .flatten();
        let ask = self.asks.push(PageAsked {
            at: now,
            index: Some(index),
            version: state.version,
            fault,
        });
        Some(Asked {
            index,
            state,
            title: self.title(index),
            fault,
            word,
            ask,
            other,
        })
    }

    fn neighbour(&self, index: u32) -> Option<(u32, ItemState, String)> {
        let len = u32::try_from(self.items.len()).ok()?;
        let other = index.checked_add(1)?.checked_rem(len)?;
        let item = self.items.get(at(other))?;
        Some((other, item.now, self.title(other)))
    }

    /// Takes note that a good page with `state` has been handed out whole.
    pub(super) fn served(&mut self, index: u32, state: ItemState, ask: u64, now: Micros) {
        if let Some(item) = self.items.get_mut(at(index))
            && item.served.is_none_or(|s| s.ask < ask)
        {
            item.served = Some(Served { state, ask, at: now });
        }
    }

    /// Changes item `index`; nothing happens when `change` leaves it as it is.
    pub(super) fn change(&mut self, index: u32, now: Micros, change: impl FnOnce(&mut ItemState)) -> bool {
        let Some(item) = self.items.get_mut(at(index)) else {
            return false;
        };
        let mut next = item.now;
        change(&mut next);
        if next == item.now {
            return false;
        }
        if item.now.status == Status::Open && next.status == Status::Ended && next.ends_at > now {
            // What is sold or closed early has ended now, and its page says so.
            next.ends_at = now / SECOND * SECOND;
        }
        next.version = item.now.version.wrapping_add(1);
        next.since = now;
        item.before = Some(item.now);
        item.now = next;
        self.history.push((index, next));
        true
    }

    /// Why `order` cannot be carried out, if it cannot.
    pub(super) fn cannot_set(&self, order: &SetItem) -> Option<String> {
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
    pub(super) fn set(&mut self, order: &SetItem, now: Micros) {
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
        if self.change(index, now, |item| apply(order, item, now)) {
            self.expect_end(index);
        }
    }

    /// What every item is now.
    pub(super) fn truth(&self) -> Vec<ItemView> {
        let states = self.items.iter().zip(0_u32..);
        states
            .map(|(item, index)| self.view(index, &item.now, item.now.since))
            .collect()
    }

    /// What the last good page of each item said; items whose page was never served are left out.
    pub(super) fn last_served(&self) -> Vec<ItemView> {
        let states = self.items.iter().zip(0_u32..);
        states
            .filter_map(|(item, index)| item.served.map(|s| self.view(index, &s.state, s.at)))
            .collect()
    }

    pub(super) fn view(&self, index: u32, state: &ItemState, when: Micros) -> ItemView {
        ItemView {
            id: goods::item_id(self.seed, index).into_boxed_str(),
            version: state.version,
            status: state.status,
            stock: match state.status {
                Status::Open => state.quantity,
                Status::Ended | Status::Removed => 0,
            },
            price_jpy: state.with_tax(state.price),
            buy_now_jpy: state.buy_now.map(|p| state.with_tax(p)),
            bids: state.bids,
            ends_at: calendar(state.ends_at),
            seller_is_store: state.store,
            at: calendar(when),
        }
    }
}

/// Microseconds as a calendar time.
pub(super) fn calendar(micros: Micros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
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
        let by = super::draw::micros(seconds.abs());
        let end = if seconds < 0.0 { now - by } else { now + by };
        item.ends_at = end / SECOND * SECOND;
    }
    if order.title.is_some() {
        // A page with another title is another page, even when nothing else moved.
        item.since = now;
    }
}

/// What item `index` is at the start.
fn first_state(settings: &SimulatorSettings, index: u32, now: Micros) -> ItemState {
    let draw = |question: u64| mix(settings.seed, question, u64::from(index));
    let auction = super::draw::unit(draw(0x20)) < settings.auctions.share;
    let store = below(draw(0x21), 100) < 18;
    // Three classes of price, so that neither cheap nor dear goods are rare.
    let (floor, room) = one_of(
        draw(0x22),
        &[(800, 4_000), (5_000, 20_000), (20_000, 60_000)],
        (5_000, 20_000),
    );
    let price = floor + below_u32(draw(0x23), room);
    let started = now - SECOND * i64::from(3_600 + below_u32(draw(0x24), 5 * 86_400));
    let (price, buy_now, quantity, bids, ends_at) = if auction {
        let first = super::draw::micros(settings.auctions.ends_after_s);
        let last = super::draw::micros(settings.auctions.ends_within_s);
        let room = u64::try_from(last - first).unwrap_or(0);
        let ends_in = first + i64::try_from(below(draw(0x25), room + 1)).unwrap_or(0);
        let buy_now = (below(draw(0x26), 100) < 50).then(|| price + price / 2);
        (price, buy_now, 1, below_u32(draw(0x27), 26), now + ends_in)
    } else {
        let many = one_of(draw(0x28), &[1, 1, 1, 2, 3, 5], 1);
        let ends_in = DAY + SECOND * i64::from(below_u32(draw(0x29), 6 * 86_400));
        (price, Some(price), many, 0, now + ends_in)
    };
    ItemState {
        version: 0,
        status: Status::Open,
        quantity,
        price,
        buy_now,
        init_price: if auction && bids > 0 { price / 3 + 1 } else { price },
        bids,
        store,
        auction,
        extended: false,
        starts_at: started / SECOND * SECOND,
        // Pages tell whole seconds; the truth is no finer than what they can say.
        ends_at: ends_at / SECOND * SECOND,
        since: now,
    }
}
