//! What happens at the source without being asked: prices move, things sell out and come back, auctions end.
//!
//! Changes of open items are one Poisson stream over all items; ends of auctions and returns of sold-out items wait in
//! a heap. Both are played in the order of their times, so that the same seed and the same orders at the same offsets
//! give the same truth, however often and by whom the clock was asked. An entry of the heap is only a hint: what has
//! moved since (an end that was extended, an item that someone closed) makes it stale, and stale entries do nothing.

use super::draw::{at, below, micros, mix, unit, waiting};
use super::settings::{AuctionSettings, SimulatorSettings};
use super::world::{ItemState, Micros, Status, World};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const SECOND: Micros = 1_000_000;
/// After a machine slept for hours, at most this many happenings are made up for at once; the rest follow with the
/// next question, so that no request waits for seconds.
const MOST_AT_ONCE: u32 = 200_000;
/// How often one auction is extended at most.
const MOST_EXTENSIONS: u32 = 6;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    End,
    Relist,
}

/// See the module's head.
pub(super) struct Script {
    rng: StdRng,
    change_rate_per_s: f64,
    wild_share: f64,
    relist_after_s: f64,
    auctions: AuctionSettings,
    stopped: bool,
    next_change: Option<Micros>,
    due: BinaryHeap<Reverse<(Micros, u32, Due)>>,
}

impl Script {
    pub(super) fn new(settings: &SimulatorSettings, now: Micros) -> Self {
        let mut script = Self {
            rng: StdRng::seed_from_u64(mix(settings.seed, 0x5c, 0)),
            change_rate_per_s: settings.change_rate_per_s,
            wild_share: settings.wild_share,
            relist_after_s: settings.relist_after_s,
            auctions: settings.auctions.clone(),
            stopped: false,
            next_change: None,
            due: BinaryHeap::new(),
        };
        script.appoint(now);
        script
    }

    /// Whether nothing happens by chance any more (auctions still end: nobody can stop the time).
    pub(super) fn stop(&mut self, stopped: bool, now: Micros) {
        self.stopped = stopped;
        self.appoint(now);
    }

    /// Sets how much happens from `now` on.
    pub(super) fn set_rates(&mut self, change_rate_per_s: Option<f64>, wild_share: Option<f64>, now: Micros) {
        self.wild_share = wild_share.unwrap_or(self.wild_share);
        if let Some(rate) = change_rate_per_s {
            self.change_rate_per_s = rate;
            self.appoint(now);
        }
    }

    fn appoint(&mut self, after: Micros) {
        let share = self.rng.random::<f64>();
        let rate = if self.stopped { 0.0 } else { self.change_rate_per_s };
        self.next_change = waiting(share, rate).map(|gap| after.saturating_add(gap));
    }
}

impl World {
    /// Plays what happens until `now`.
    pub(super) fn advance(&mut self, now: Micros) {
        for _ in 0..MOST_AT_ONCE {
            let change = self.script.next_change.filter(|t| *t <= now);
            let due = self.script.due.peek().map(|Reverse(d)| d.0).filter(|t| *t <= now);
            match (change, due) {
                (Some(t), d) if d.is_none_or(|d| t < d) => {
                    self.script.appoint(t);
                    self.random_change(t);
                }
                (_, Some(_)) => self.happen(),
                _ => break,
            }
        }
    }

    /// Puts the end of every open item into the heap.
    pub(super) fn expect_ends(&mut self) {
        let ends: Vec<_> = (0_u32..)
            .zip(&self.items)
            .filter(|(_, item)| item.now.status == Status::Open)
            .map(|(index, item)| Reverse((item.now.ends_at, index, Due::End)))
            .collect();
        self.script.due.extend(ends);
    }

    /// Puts the end of item `index` into the heap, or its return when it is over.
    pub(super) fn expect_end(&mut self, index: u32) {
        let Some(item) = self.items.get(at(index)) else {
            return;
        };
        let entry = match item.now.status {
            Status::Open => (item.now.ends_at, Due::End),
            Status::Ended => {
                let word = mix(
                    self.seed,
                    0x4e,
                    (u64::from(index) << 32) + u64::from(item.now.version),
                );
                let rate = 1.0 / self.script.relist_after_s;
                let Some(wait) = waiting(unit(word), rate) else {
                    return;
                };
                (item.now.since.saturating_add(wait), Due::Relist)
            }
            Status::Removed => return,
        };
        self.script.due.push(Reverse((entry.0, index, entry.1)));
    }

    /// Plays the first entry of the heap.
    fn happen(&mut self) {
        let Some(Reverse((t, index, due))) = self.script.due.pop() else {
            return;
        };
        let Some(item) = self.items.get(at(index)) else {
            return;
        };
        let (state, pinned) = (item.now, item.pinned);
        let changed = match due {
            Due::End if state.status == Status::Open && state.ends_at == t => self.end(index, &state, t),
            Due::Relist if state.status == Status::Ended && !pinned => {
                if self.script.stopped {
                    let again = t.saturating_add(micros(self.script.relist_after_s).max(SECOND));
                    self.script.due.push(Reverse((again, index, Due::Relist)));
                    return;
                }
                self.relist(index, t)
            }
            Due::End | Due::Relist => false,
        };
        if changed {
            self.expect_end(index);
        }
    }

    fn end(&mut self, index: u32, state: &ItemState, t: Micros) -> bool {
        if !state.auction {
            // A fixed price that was not taken is offered on: the same page, another end.
            return self.change(index, t, |item| {
                item.starts_at = t / SECOND * SECOND;
                item.ends_at = item.starts_at + 7 * 86_400 * SECOND;
            });
        }
        let word = mix(
            self.seed,
            0xe0d,
            (u64::from(index) << 32) + u64::from(state.version),
        );
        let extension = micros(self.script.auctions.extension_s) / SECOND * SECOND;
        let so_far = mix(self.seed, 0xe0e, u64::from(index)) % u64::from(MOST_EXTENSIONS);
        let may_extend = state.bids > 0 && !(state.extended && so_far == 0);
        let extended = may_extend && unit(word) < self.script.auctions.extended_share;
        self.change(index, t, |item| {
            if extended {
                item.extended = true;
                item.bids += 1;
                item.price = item.price.saturating_add(step(item.price));
                item.ends_at = t + extension.max(SECOND);
            } else {
                item.status = Status::Ended;
            }
        })
    }

    fn relist(&mut self, index: u32, t: Micros) -> bool {
        let auctions = &self.script.auctions;
        let (first, last) = (micros(auctions.ends_after_s), micros(auctions.ends_within_s));
        let word = mix(
            self.seed,
            0x4e1,
            (u64::from(index) << 32) ^ u64::try_from(t).unwrap_or(0),
        );
        let room = u64::try_from(last - first).unwrap_or(0) + 1;
        let auction_ends = t + first + i64::try_from(below(word, room)).unwrap_or(0);
        self.change(index, t, |item| {
            item.status = Status::Open;
            item.starts_at = t / SECOND * SECOND;
            item.extended = false;
            item.ends_at = if item.auction {
                item.price = item.init_price;
                item.bids = 0;
                auction_ends / SECOND * SECOND
            } else {
                item.quantity = 1 + super::draw::below_u32(word >> 32, 4);
                item.starts_at + 7 * 86_400 * SECOND
            };
        })
    }

    fn random_change(&mut self, t: Micros) {
        let Ok(len) = u32::try_from(self.items.len()) else {
            return;
        };
        // Most items are open; a few tries find one, and a miss is only one change less.
        for _ in 0..8 {
            let index = self.script.rng.random_range(0..len.max(1));
            let open = |i: &&super::world::Item| i.now.status == Status::Open && !i.pinned;
            if self.items.get(at(index)).filter(open).is_none() {
                continue;
            }
            let what = self.script.rng.random_range(0..100_u32);
            let wild = self.script.rng.random::<f64>() < self.script.wild_share;
            let bp = self.script.rng.random_range(100..=1_200_u32);
            let up = self.script.rng.random::<bool>();
            let changed = self.change(index, t, |item| move_item(item, what, wild, bp, up));
            if changed {
                self.expect_end(index);
            }
            return;
        }
    }
}

/// One change by chance: `what` of a hundred, a step of `bp` basis points upwards or downwards.
fn move_item(item: &mut ItemState, what: u32, wild: bool, bp: u32, up: bool) {
    if wild {
        let price = if up {
            item.price.saturating_mul(10)
        } else {
            item.price / 10
        };
        reprice(item, price);
        return;
    }
    if item.auction {
        item.bids += 1;
        item.price = item.price.saturating_add(step(item.price));
        let taken = item.buy_now.is_some_and(|buy_now| item.price >= buy_now);
        if taken {
            item.status = Status::Ended;
        }
        return;
    }
    match what {
        0..45 => reprice(item, moved(item.price, bp, up)),
        45..70 if item.quantity > 1 => item.quantity -= 1,
        45..70 => item.status = Status::Ended,
        70..85 => item.quantity = (item.quantity + 1 + bp % 3).min(99),
        85..95 => item.status = Status::Ended,
        _ => {
            item.quantity = 1 + bp % 5;
            reprice(item, moved(item.price, bp, up));
        }
    }
}

fn reprice(item: &mut ItemState, price: u32) {
    let price = price.clamp(100, 9_000_000);
    if !item.auction && item.buy_now.is_some() {
        item.buy_now = Some(price);
    }
    item.price = price;
}

fn moved(price: u32, bp: u32, up: bool) -> u32 {
    let by = u32::try_from(u64::from(price) * u64::from(bp) / 10_000)
        .unwrap_or(0)
        .max(1);
    if up {
        price.saturating_add(by)
    } else {
        price.saturating_sub(by)
    }
}

/// The least step of a bid at `price`.
fn step(price: u32) -> u32 {
    match price {
        0..1_000 => 10,
        1_000..5_000 => 100,
        5_000..10_000 => 250,
        10_000..50_000 => 500,
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Micros = 1_790_000_000_000_000;

    fn world(settings: &SimulatorSettings) -> World {
        World::new(settings, START)
    }

    fn busy() -> SimulatorSettings {
        SimulatorSettings {
            products: 300,
            change_rate_per_s: 50.0,
            relist_after_s: 2.0,
            auctions: AuctionSettings {
                share: 0.3,
                ends_after_s: 5.0,
                ends_within_s: 40.0,
                extension_s: 3.0,
                ..AuctionSettings::default()
            },
            ..SimulatorSettings::default()
        }
    }

    #[test]
    fn one_seed_gives_one_truth_however_often_the_clock_is_asked() {
        let settings = busy();
        let (mut once, mut often, mut other) = (
            world(&settings),
            world(&settings),
            world(&SimulatorSettings { seed: 2, ..busy() }),
        );
        once.advance(START + 60 * SECOND);
        other.advance(START + 60 * SECOND);
        for tick in 0..=6_000 {
            often.advance(START + tick * 10_000);
        }
        assert!(once.history.total() > 2_000, "{}", once.history.total());
        assert_eq!(once.truth(), often.truth());
        assert_ne!(once.truth(), other.truth());
    }

    #[test]
    fn every_kind_of_change_happens() {
        let mut world = world(&busy());
        let before = world.truth();
        world.advance(START + 60 * SECOND);
        let seen: Vec<(u32, ItemState)> = world.history.after(0, usize::MAX).map(|(_, c)| *c).collect();
        let zero = seen.iter().filter(|(_, s)| s.status == Status::Ended).count();
        let extended = seen.iter().filter(|(_, s)| s.extended).count();
        let back = seen
            .iter()
            .filter(|(i, s)| {
                s.status == Status::Open
                    && seen
                        .iter()
                        .any(|(j, e)| i == j && e.version + 1 == s.version && e.status == Status::Ended)
            })
            .count();
        assert!(zero > 50 && extended > 5 && back > 20, "{zero} {extended} {back}");
        let dearer = before
            .iter()
            .zip(world.truth())
            .any(|(a, b)| b.price_jpy > a.price_jpy && !b.seller_is_store);
        assert!(dearer);
    }

    #[test]
    fn about_two_in_five_auctions_with_bids_are_extended() {
        let settings = SimulatorSettings {
            products: 2_000,
            auctions: AuctionSettings {
                share: 1.0,
                ends_after_s: 1.0,
                ends_within_s: 2.0,
                extension_s: 60.0,
                extended_share: 0.4,
            },
            relist_after_s: 1.0e6,
            ..SimulatorSettings::default()
        };
        let mut world = world(&settings);
        let with_bids = world.items.iter().filter(|i| i.now.bids > 0).count();
        world.advance(START + 3 * SECOND);
        let extended = world.items.iter().filter(|i| i.now.extended).count();
        let percent = extended * 100 / with_bids;
        assert!((36..=44).contains(&percent), "{extended} of {with_bids}");
        let over = world
            .items
            .iter()
            .filter(|i| i.now.status == Status::Ended)
            .count();
        assert_eq!(over + extended, 2_000);
    }

    #[test]
    fn a_stopped_script_moves_nothing_but_the_ends_of_auctions() {
        let mut world = world(&busy());
        world.advance(START + 10 * SECOND);
        world.script.stop(true, START + 10 * SECOND);
        let changes = world.history.total();
        world.advance(START + 60 * SECOND);
        let later: Vec<_> = world
            .history
            .after(changes, usize::MAX)
            .map(|(_, c)| *c)
            .collect();
        assert!(
            later
                .iter()
                .all(|(_, s)| s.auction && (s.extended || s.status == Status::Ended))
        );
        world.script.stop(false, START + 60 * SECOND);
        let changes = world.history.total();
        world.advance(START + 70 * SECOND);
        assert!(world.history.total() > changes + 200);
    }

    #[test]
    fn a_pinned_item_is_left_alone() {
        let mut world = world(&busy());
        for item in &mut world.items {
            item.pinned = !item.now.auction;
        }
        world.advance(START + 30 * SECOND);
        assert!(
            world
                .items
                .iter()
                .filter(|i| i.pinned)
                .all(|i| i.now.version == 0)
        );
    }
}
