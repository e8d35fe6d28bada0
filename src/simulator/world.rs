//! The truth of the source: what each item on Yahoo! is at this moment, what its pages said, and how both changed.
//!
//! Plain data that is told the time. [`World::advance`] plays everything that happens until `now` in the order of its
//! time; between two calls nothing moves. Prices are what the *page* says: without tax for a store, as on the real one.

mod first;
mod set;

pub use set::SetItem;

use super::draw::{at, mix};
use super::faults::PageFault;
use super::goods;
use super::ledger::Ring;
use super::script::Script;
use super::settings::SimulatorSettings;
use chrono::{DateTime, Utc};
use first::first_state;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Calendar time in microseconds since 1970.
pub(super) type Micros = i64;
const SECOND: Micros = 1_000_000;
const DAY: Micros = 86_400 * SECOND;

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
    pub(super) fn change(&mut self, index: u32, now: Micros, change: impl FnOnce(&mut ItemState)) {
        let Some(item) = self.items.get_mut(at(index)) else {
            return;
        };
        let mut next = item.now;
        change(&mut next);
        if next == item.now {
            return;
        }
        if item.now.status == Status::Open && next.status == Status::Ended && next.ends_at > now {
            // What is sold or closed early has ended now, and its page says so.
            next.ends_at = now / SECOND * SECOND;
        }
        next.version = item.now.version.wrapping_add(1);
        next.since = now;
        let moved = (next.status, next.ends_at) != (item.now.status, item.now.ends_at);
        item.before = Some(item.now);
        item.now = next;
        self.history.push((index, next));
        if moved {
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
