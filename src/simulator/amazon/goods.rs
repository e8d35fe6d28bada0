//! What Amazon sells: items whose key, title and offers are functions of the seed, and whose state the script moves.

use super::super::draw::{at, below, below_u32, mix, unit, waiting};
use super::super::goods;
use super::super::ledger::Ring;
use super::super::world::{Micros, calendar};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Questions to the seed.
const KEY: u64 = 0xa1;
const FIRST: u64 = 0xa2;
/// At most this many moves are made up for at once.
const MOST_AT_ONCE: u32 = 200_000;

/// What an item is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ItemState {
    /// Counts the changes; 0 at the start.
    pub(super) version: u32,
    /// Whether somebody offers it new, at once.
    pub(super) offered: bool,
    /// What the cheapest of those asks, with shipping, in yen.
    pub(super) price: u32,
    /// How much of that is shipping.
    pub(super) shipping: u32,
    /// Whether Amazon ships it.
    pub(super) by_amazon: bool,
    /// The marketplace does not know it any more.
    pub(super) removed: bool,
    pub(super) since: Micros,
}

/// An item of Amazon as others may read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmazonItem {
    /// Its key.
    pub asin: Box<str>,
    /// Counts the changes; 0 at the start.
    pub version: u32,
    /// Whether somebody offers it new, shipped at once.
    pub offered: bool,
    /// What the cheapest of those asks, with shipping, in yen.
    pub price_jpy: u32,
    /// The marketplace does not know it any more.
    pub removed: bool,
    /// For the truth: since when; for what was served: when it was answered.
    pub at: DateTime<Utc>,
}

/// A change of an item by hand. What is not named stays; the script leaves the item alone from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAmazonItem {
    /// Which.
    pub asin: Box<str>,
    /// Whether somebody offers it.
    pub offered: Option<bool>,
    /// What it costs, with shipping, in yen.
    pub price_jpy: Option<u32>,
    /// Whether the marketplace has forgotten it.
    pub removed: Option<bool>,
}

struct Item {
    now: ItemState,
    served: Option<(ItemState, Micros)>,
    pinned: bool,
}

/// All items, and what moves them.
pub(super) struct Goods {
    pub(super) seed: u64,
    items: Vec<Item>,
    by_asin: HashMap<Box<str>, u32>,
    rng: StdRng,
    rate_per_s: f64,
    stopped: bool,
    next: Option<Micros>,
    pub(super) changes: Ring<u32>,
}

impl Goods {
    pub(super) fn new(seed: u64, products: u32, rate_per_s: f64, capacity: usize, now: Micros) -> Self {
        let items = (0..products).map(|index| Item {
            now: first(seed, index, now),
            served: None,
            pinned: false,
        });
        let mut goods = Self {
            seed,
            items: items.collect(),
            by_asin: (0..products)
                .map(|index| (asin(seed, index).into(), index))
                .collect(),
            rng: StdRng::seed_from_u64(mix(seed, 0xa5, 0)),
            rate_per_s,
            stopped: false,
            next: None,
            changes: Ring::new(capacity),
        };
        goods.appoint(now);
        goods
    }

    pub(super) fn set_rate(&mut self, rate_per_s: f64, now: Micros) {
        self.rate_per_s = rate_per_s;
        self.appoint(now);
    }

    pub(super) fn stop(&mut self, stopped: bool, now: Micros) {
        self.stopped = stopped;
        self.appoint(now);
    }

    fn appoint(&mut self, after: Micros) {
        let share = self.rng.random::<f64>();
        let rate = if self.stopped { 0.0 } else { self.rate_per_s };
        self.next = waiting(share, rate).map(|gap| after.saturating_add(gap));
    }

    /// Plays what happens until `now`.
    pub(super) fn advance(&mut self, now: Micros) {
        for _ in 0..MOST_AT_ONCE {
            let Some(t) = self.next.filter(|t| *t <= now) else {
                return;
            };
            self.appoint(t);
            let Ok(len) = u32::try_from(self.items.len()) else {
                return;
            };
            let index = self.rng.random_range(0..len.max(1));
            let (what, bp) = (
                self.rng.random_range(0..100_u32),
                self.rng.random_range(100..=1_200_u32),
            );
            let up = self.rng.random::<bool>();
            if self
                .items
                .get(at(index))
                .is_some_and(|item| !item.pinned && !item.now.removed)
            {
                self.change(index, t, |item| move_item(item, what, bp, up));
            }
        }
    }

    fn change(&mut self, index: u32, now: Micros, change: impl FnOnce(&mut ItemState)) {
        let Some(item) = self.items.get_mut(at(index)) else {
            return;
        };
        let mut next = item.now;
        change(&mut next);
        if next == item.now {
            return;
        }
        next.version = item.now.version.wrapping_add(1);
        next.since = now;
        item.now = next;
        self.changes.push(index);
    }

    /// Why an order about an item cannot be.
    pub(super) fn cannot_set(&self, set: &SetAmazonItem) -> Option<String> {
        if !self.by_asin.contains_key(&set.asin) {
            return Some(format!("`set_amazon`: no item has the ASIN `{}`", set.asin));
        }
        let price = set.price_jpy.filter(|price| !(100..=9_000_000).contains(price))?;
        Some(format!(
            "`set_amazon.price_jpy`: expected 100 to 9000000, got {price}"
        ))
    }

    pub(super) fn set(&mut self, set: &SetAmazonItem, now: Micros) {
        let Some(index) = self.by_asin.get(&set.asin).copied() else {
            return;
        };
        if let Some(item) = self.items.get_mut(at(index)) {
            item.pinned = true;
        }
        self.change(index, now, |item| {
            item.offered = set.offered.unwrap_or(item.offered);
            item.removed = set.removed.unwrap_or(item.removed);
            if let Some(price) = set.price_jpy {
                item.price = price;
                item.shipping = item.shipping.min(price);
            }
        });
    }

    /// The item of an ASIN that the marketplace knows.
    pub(super) fn find(&self, asin: &str) -> Option<(u32, ItemState)> {
        let index = self.by_asin.get(asin).copied()?;
        let item = self.items.get(at(index)).filter(|item| !item.now.removed)?;
        Some((index, item.now))
    }

    /// Takes note that an item's state was answered.
    pub(super) fn served(&mut self, index: u32, now: Micros) {
        if let Some(item) = self.items.get_mut(at(index)) {
            item.served = Some((item.now, now));
        }
    }

    pub(super) fn truth(&self) -> Vec<AmazonItem> {
        let each = (0_u32..).zip(&self.items);
        each.map(|(index, item)| self.view(index, &item.now, item.now.since))
            .collect()
    }

    pub(super) fn last_served(&self) -> Vec<AmazonItem> {
        let each = (0_u32..).zip(&self.items);
        each.filter_map(|(index, item)| item.served.map(|(state, at)| self.view(index, &state, at)))
            .collect()
    }

    fn view(&self, index: u32, state: &ItemState, when: Micros) -> AmazonItem {
        AmazonItem {
            asin: asin(self.seed, index).into(),
            version: state.version,
            offered: state.offered && !state.removed,
            price_jpy: state.price,
            removed: state.removed,
            at: calendar(when),
        }
    }
}

/// The key of item `index`: `B0` and eight digits of base 36. No two items share one.
pub(super) fn asin(seed: u64, index: u32) -> String {
    let word = mix(seed, KEY, u64::from(index));
    let mut number = 40_000_000_000 + u64::from(index) * 31 + below(word, 31);
    let mut digits = [b'0'; 8];
    for digit in digits.iter_mut().rev() {
        let value = u8::try_from(number % 36).unwrap_or(0);
        *digit = if value < 10 {
            b'0' + value
        } else {
            b'A' + value - 10
        };
        number /= 36;
    }
    format!("B0{}", String::from_utf8_lossy(&digits))
}

/// The title of item `index`.
pub(super) fn title(seed: u64, index: u32) -> String {
    format!("{} (Amazon)", goods::title(seed ^ 0xa3, index))
}

fn first(seed: u64, index: u32, now: Micros) -> ItemState {
    let word = mix(seed, FIRST, u64::from(index));
    let price = 800 + below_u32(word, 40_000);
    ItemState {
        version: 0,
        offered: unit(word.rotate_left(17)) < 0.9,
        price,
        shipping: if word.is_multiple_of(3) { 350.min(price) } else { 0 },
        by_amazon: word.is_multiple_of(2),
        removed: false,
        since: now,
    }
}

/// One move by chance.
fn move_item(item: &mut ItemState, what: u32, bp: u32, up: bool) {
    let by = u32::try_from(u64::from(item.price) * u64::from(bp) / 10_000)
        .unwrap_or(0)
        .max(1);
    let moved = if up {
        item.price.saturating_add(by)
    } else {
        item.price.saturating_sub(by)
    };
    match what {
        0..55 => item.price = moved.clamp(400, 9_000_000),
        55..75 => item.offered = false,
        _ => item.offered = true,
    }
    item.shipping = item.shipping.min(item.price);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn asins_are_unique_and_well_shaped() {
        let all: HashSet<String> = (0..20_000).map(|index| asin(7, index)).collect();
        assert_eq!(all.len(), 20_000);
        let shaped = |asin: &String| {
            asin.len() == 10
                && asin.starts_with("B0")
                && asin.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        };
        assert!(all.iter().all(shaped));
    }

    #[test]
    fn one_seed_gives_one_truth_however_often_the_time_is_asked() {
        let (mut once, mut often) = (Goods::new(3, 20, 5.0, 100, 0), Goods::new(3, 20, 5.0, 100, 0));
        once.advance(60_000_000);
        for second in 0..=60 {
            often.advance(second * 1_000_000);
        }
        assert_eq!(once.truth(), often.truth());
        assert!(once.changes.total() > 100);
    }

    #[test]
    fn what_is_set_by_hand_stays() {
        let mut goods = Goods::new(3, 2, 50.0, 100, 0);
        let asin = asin(3, 0);
        let set = SetAmazonItem {
            asin: asin.as_str().into(),
            offered: Some(true),
            price_jpy: Some(1234),
            removed: None,
        };
        assert_eq!(goods.cannot_set(&set), None);
        goods.set(&set, 0);
        goods.advance(60_000_000);
        let (_, state) = goods.find(&asin).unwrap();
        assert_eq!((state.offered, state.price), (true, 1234));
        let gone = SetAmazonItem {
            removed: Some(true),
            ..set
        };
        goods.set(&gone, 0);
        assert_eq!(goods.find(&asin), None);
        let unknown = SetAmazonItem {
            asin: "B000000000".into(),
            ..gone
        };
        assert!(goods.cannot_set(&unknown).is_some());
    }
}
