//! Which product to look at next: the one whose look is worth most.
//!
//! A source's budget is a stream of permits. Each is spent, in this order, on
//! 1. an **event** that is due: a person's "check now", then appointments (an auction's end, a confirmation), then products
//!    never seen; among those of a kind the dearest first, so that 5,000 auctions ending at 22:00 are followed in the order
//!    of what is lost by being late. An event is never taken early. One that fails is taken again when its back-off ends.
//! 2. a **sweep's** wish: what a sweep wants seen, in the order of its asking. A class of its own, because it is never empty
//!    while a sweep goes on, which may take hours: in the events' line it would keep them all waiting.
//! 3. the **floor**: a product not looked at for `max_interval`, however quiet it is. The floor is left out while the
//!    budget could not even keep it, because then it would eat everything.
//! 4. the **index** ([`estimator::index`](super::estimator::index)): what a look is worth, from yen lost per hour, the
//!    learnt rate of change and the age of the last look.
//!
//! *Class FIFO.* Products are put into cells by the logarithms of weight and rate, a factor of 1.5 each; within a cell the
//! one looked at longest ago has the largest index, so only the heads are weighed. There are no due times and no price
//! that could go stale: after an outage or a change of rate the order is right as it stands.
//!
//! A picked product is *in flight* and in no list, so it is never picked twice. A failed check *parks* it for a growing
//! time and teaches nothing; only good looks feed the estimator, and of those not the ones by appointment nor the first.
//!
//! *Time* is the calendar's, because the last looks come from the tables. A clock that goes forward makes everything a
//! little more urgent, in the same order. One that is set back by more than a minute would make all look fresh and stop
//! the patrol for as long: the last looks and the back-offs are then moved back with it; appointments stay where they are.

mod lists;
#[cfg(test)]
mod tests;

use super::estimator::{Rate, index};
use crate::domain::WatchId;
use chrono::{DateTime, Utc};
use lists::{Call, Cells, NEVER, NO_EVENT, Slots, State};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// The longest back-off: 6 hours.
const PARK_LONGEST_MS: i64 = 6 * 3_600_000;
/// With less than this many times what the floor alone needs, there is no floor.
const FLOOR_HEADROOM: f64 = 1.2;
/// How fast the price of a request follows: a hundred picks.
const PRICE_SMOOTHING: f64 = 0.01;
const MS_PER_HOUR: f64 = 3_600_000.0;
/// A clock may be set back by this much (one minute, in milliseconds) without anything being moved.
const CLOCK_SLACK_MS: i64 = 60_000;

/// The bounds within which the planner chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannerSettings {
    /// Every product at least this often.
    pub max_interval: Duration,
    /// No product more often than this, but for events.
    pub min_interval: Duration,
    /// How long after an auction's end its page is read.
    pub event_delay: Duration,
    /// The first back-off after a failed check; it doubles up to 6 hours.
    pub back_off: Duration,
    /// The budget, for deciding whether the floor can be kept.
    pub requests_per_hour: f64,
}

impl Default for PlannerSettings {
    fn default() -> Self {
        Self {
            max_interval: Duration::from_secs(24 * 3600),
            min_interval: Duration::from_secs(60),
            event_delay: Duration::from_secs(15),
            back_off: Duration::from_secs(60),
            requests_per_hour: 3600.0,
        }
    }
}

/// A product as it enters the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedItem {
    /// Yen lost per hour while its listing is wrong.
    pub weight_jpy_per_hour: f32,
    /// What is known of its rate of change.
    pub rate: Rate,
    /// The last good look; `None` puts it among the events, dearest first.
    pub last_ok: Option<DateTime<Utc>>,
    /// The end of its auction while that is still to come.
    pub ends_at: Option<DateTime<Utc>>,
}

/// Why a product was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// An appointment: an auction's end, a confirmation.
    Event,
    /// It had not been looked at for `max_interval`.
    Floor,
    /// Its look was worth most.
    Index,
    /// A person asked, or it had never been seen.
    Requested,
    /// A sweep wanted it seen.
    Sweep,
}

/// How the plan stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PlannerStats {
    /// Products planned.
    pub products: usize,
    /// Picked and not answered yet.
    pub in_flight: usize,
    /// Waiting after a failed check.
    pub parked: usize,
    /// Cells that hold a product.
    pub cells: usize,
    /// Picks by reason: event, floor, index, requested, sweep.
    pub picked: [u64; 5],
    /// What the last looks were worth, in yen: what one more request would bring.
    pub yen_per_request: f64,
    /// The longest time since a good look, in milliseconds.
    pub oldest_ms: i64,
}

/// An entry of a heap of times: when, whom, and the slot's stamp at the time of writing.
type Timed = Reverse<(i64, u32, u32)>;

/// The plan of one source.
#[derive(Debug)]
pub struct Planner {
    settings: PlannerSettings,
    slots: Slots,
    cells: Cells,
    /// Appointments to come.
    future: BinaryHeap<Timed>,
    /// Appointments that are due: the most pressing kind, of those the dearest, of those the earliest.
    due: BinaryHeap<(Call, u32, Reverse<i64>, u32, u32)>,
    /// What a sweep wants seen. First come, first served: whoever sweeps tops the line up, and what is cheap must not
    /// wait for ever. An entry whose slot does not say so any more is dropped.
    swept: VecDeque<(u32, u32)>,
    /// Ends of back-offs.
    parked: BinaryHeap<Timed>,
    stats: PlannerStats,
    /// The latest time told, in milliseconds since 1970.
    latest: i64,
}

// === impl Planner ===

impl Planner {
    /// An empty plan.
    #[must_use]
    pub fn new(settings: PlannerSettings) -> Self {
        Self {
            settings,
            slots: Slots::default(),
            cells: Cells::default(),
            future: BinaryHeap::new(),
            due: BinaryHeap::new(),
            swept: VecDeque::new(),
            parked: BinaryHeap::new(),
            stats: PlannerStats::default(),
            latest: i64::MIN,
        }
    }

    /// Plans by other bounds from here on. Appointments and back-offs that were made stay as they are.
    pub fn change(&mut self, settings: PlannerSettings) {
        self.settings = settings;
    }

    /// Takes a product in; one that is there already is taken in anew. Fastest in the order of `last_ok`.
    pub fn insert(&mut self, id: WatchId, item: PlannedItem, now: DateTime<Utc>) {
        self.remove(id);
        let now = self.tell(now);
        // A product never seen is as old as can be, so that a failed first look does not make it look fresh.
        let last_ok = item.last_ok.map_or(NEVER, |t| t.timestamp_millis().min(now));
        let at = self
            .slots
            .insert(id, item.weight_jpy_per_hour, item.rate, last_ok);
        self.cells.link(&mut self.slots, at);
        if item.last_ok.is_none() {
            self.set_event(at, now, Call::First);
        } else {
            self.appoint_end(at, item.ends_at, now);
        }
    }

    /// Takes a product out, also one in flight.
    pub fn remove(&mut self, id: WatchId) {
        let Some(at) = self.slots.find(id) else { return };
        match self.slots.get(at).state {
            State::Queued => self.cells.unlink(&mut self.slots, at),
            State::InFlight(_) => self.stats.in_flight = self.stats.in_flight.saturating_sub(1),
            State::Parked => self.stats.parked = self.stats.parked.saturating_sub(1),
        }
        self.slots.remove(at);
    }

    /// Looks at a product before all others.
    pub fn check_now(&mut self, id: WatchId, now: DateTime<Utc>) {
        let now = self.tell(now);
        if let Some(at) = self.slots.find(id) {
            self.set_event(at, now, Call::Person);
        }
    }

    /// Looks at a product soon, behind every event that is due; its appointments stay as they are.
    pub fn look_soon(&mut self, id: WatchId) {
        if let Some(at) = self.slots.find(id) {
            self.want(at);
        }
    }

    /// Looks at a product at `when`, not before. The earlier of two appointments stands; the next good look replaces both.
    pub fn appoint(&mut self, id: WatchId, when: DateTime<Utc>) {
        if let Some(at) = self.slots.find(id) {
            self.set_earlier_event(at, when.timestamp_millis(), Call::Appointment);
        }
    }

    /// Looks at a product for a confirmation, among the appointments that are due. Nobody waits for it: one that is backed
    /// off after a failure and has its appointment at the end of that keeps it.
    pub fn confirm(&mut self, id: WatchId, now: DateTime<Utc>) {
        let now = self.tell(now);
        let Some(at) = self.slots.find(id) else { return };
        let slot = self.slots.get(at);
        if slot.state != State::Parked || slot.event_at == NO_EVENT {
            self.set_earlier_event(at, now, Call::Appointment);
        }
    }

    /// At most `n` products to look at now, the most valuable first; each is in flight from now on.
    pub fn pick(&mut self, now: DateTime<Utc>, n: usize) -> Vec<(WatchId, Why)> {
        let now = self.tell(now);
        self.release(now);
        let mut picked = Vec::with_capacity(n.min(64));
        while picked.len() < n {
            let Some((at, why)) = self.next(now) else { break };
            picked.push((self.take(at, why), why));
        }
        picked
    }

    /// A good look: the product goes to the end of its lists, and the estimator learns, unless it was looked at by
    /// appointment. `seen_at` is when its page was read, which may be long ago when the database was away: its age counts
    /// from then, but it says nothing of the clock. `ends_at` is the end of its auction while it is open. Gives what is
    /// known of its rate now.
    pub fn on_ok(
        &mut self,
        id: WatchId,
        now: DateTime<Utc>,
        seen_at: DateTime<Utc>,
        changed: bool,
        ends_at: Option<DateTime<Utc>>,
    ) -> Option<Rate> {
        let now = self.tell(now);
        let seen_at = seen_at.timestamp_millis().min(now);
        let at = self.slots.find(id)?;
        let why = self.land(at)?;
        let slot = self.slots.get_mut(at);
        if matches!(why, Why::Index | Why::Floor) && slot.last_ok != NEVER {
            slot.rate = slot.rate.learnt(hours_between(slot.last_ok, seen_at), changed);
        }
        slot.failures = 0;
        slot.swept = false;
        slot.last_ok = seen_at;
        slot.stamp = slot.stamp.wrapping_add(1);
        slot.park_written = false;
        let rate = slot.rate;
        self.cells.link(&mut self.slots, at);
        // What this look shows of the end stands in place of what was appointed before.
        if self.slots.get(at).call == Call::Appointment {
            let when = ends_at.map_or(NO_EVENT, |end| self.after_end(end, now));
            self.set_event(at, when, Call::Appointment);
        } else {
            self.appoint_end(at, ends_at, now);
        }
        Some(rate)
    }

    /// A check that gave no observation: the product waits, a minute at first; nothing is learnt.
    pub fn on_err(&mut self, id: WatchId, now: DateTime<Utc>) {
        let now = self.tell(now);
        let Some(at) = self.slots.find(id) else { return };
        let Some(why) = self.land(at) else { return };
        let first = millis(self.settings.back_off);
        let slot = self.slots.get_mut(at);
        let wait = first.saturating_mul(1_i64.checked_shl(u32::from(slot.failures)).unwrap_or(i64::MAX));
        let until = now.saturating_add(wait.min(PARK_LONGEST_MS.max(first)));
        slot.failures = slot.failures.saturating_add(1).min(20);
        self.park(at, until);
        if matches!(why, Why::Event | Why::Requested) {
            // What was due is still due; a person no longer waits for it.
            self.set_earlier_event(at, until, slot_call(why));
        }
        self.wake_event(at);
    }

    /// A look at a page that means nothing yet: it is looked at again at `reread_at`. The age of what is known goes on
    /// counting, and nothing is learnt, neither that it changed nor that it did not.
    pub fn on_unclear(&mut self, id: WatchId, now: DateTime<Utc>, reread_at: DateTime<Utc>) {
        let now = self.tell(now);
        let Some(at) = self.slots.find(id) else { return };
        if self.land(at).is_none() {
            return;
        }
        let until = reread_at.timestamp_millis().max(now);
        self.slots.get_mut(at).failures = 0;
        self.park(at, until);
        self.set_earlier_event(at, until, Call::Appointment);
        self.wake_event(at);
    }

    /// A pick that was not carried out (the gate is shut, the daemon stops): as if it had never been picked.
    pub fn give_back(&mut self, id: WatchId, now: DateTime<Utc>) {
        let now = self.tell(now);
        let Some(at) = self.slots.find(id) else { return };
        let Some(why) = self.land(at) else { return };
        if self.slots.get(at).park_written {
            // It had been called for out of a back-off that goes on.
            self.slots.get_mut(at).state = State::Parked;
            self.stats.parked = self.stats.parked.saturating_add(1);
        } else {
            self.cells.link(&mut self.slots, at);
        }
        if why == Why::Sweep {
            self.want(at);
        }
        if matches!(why, Why::Event | Why::Requested) {
            let call = self.slots.get(at).call;
            self.set_event(at, now, call);
        } else {
            self.wake_event(at);
        }
    }

    /// How long until a pick can succeed: nothing when one can now, `None` when all are in flight or there are none.
    ///
    /// An idle patrol asks nothing else, so it is here that a clock which was set back is noticed.
    pub fn next_due(&mut self, now: DateTime<Utc>) -> Option<Duration> {
        let now = self.tell(now);
        if !self.due.is_empty() || !self.swept.is_empty() {
            return Some(Duration::ZERO);
        }
        let min = millis(self.settings.min_interval);
        let heads = self
            .cells
            .heads()
            .map(|at| self.slots.get(at).last_ok.saturating_add(min));
        let timed = [self.future.peek(), self.parked.peek()]
            .into_iter()
            .flatten()
            .map(|Reverse((t, ..))| *t);
        let earliest = heads.chain(timed).min()?;
        Some(Duration::from_millis(
            u64::try_from(earliest.saturating_sub(now)).unwrap_or(0),
        ))
    }

    /// Events that are due and were not picked, at the last pick.
    #[must_use]
    pub fn events_waiting(&self) -> usize {
        self.due.len()
    }

    /// How the plan stands.
    #[must_use]
    pub fn stats(&self, now: DateTime<Utc>) -> PlannerStats {
        let heads = self.cells.heads().map(|at| self.slots.get(at).last_ok);
        let oldest = heads
            .filter(|last_ok| *last_ok != NEVER)
            .min()
            .map_or(0, |last_ok| now.timestamp_millis().saturating_sub(last_ok));
        PlannerStats {
            products: self.slots.len(),
            cells: self.cells.heads().count(),
            oldest_ms: oldest,
            ..self.stats
        }
    }

    /// The next one and why; it is still in its lists.
    fn next(&mut self, now: i64) -> Option<(u32, Why)> {
        if let Some(found) = self.next_event(now) {
            return Some(found);
        }
        if let Some(at) = self.next_swept() {
            return Some((at, Why::Sweep));
        }
        let oldest = self.cells.heads().min_by_key(|at| self.slots.get(*at).last_ok);
        if let Some(at) = oldest
            && self.has_floor()
            && now.saturating_sub(self.slots.get(at).last_ok) > millis(self.settings.max_interval)
        {
            return Some((at, Why::Floor));
        }
        self.best(now).map(|at| (at, Why::Index))
    }

    fn next_event(&mut self, now: i64) -> Option<(u32, Why)> {
        while let Some(Reverse((when, at, generation))) = self.future.peek().copied() {
            if when > now {
                break;
            }
            self.future.pop();
            if self.slots.event_is(at, when, generation) {
                let slot = self.slots.get(at);
                self.due
                    .push((slot.call, order(slot.weight), Reverse(when), at, generation));
            }
        }
        while let Some((_, _, Reverse(when), at, generation)) = self.due.pop() {
            if !self.slots.event_is(at, when, generation) {
                continue;
            }
            let slot = self.slots.get_mut(at);
            slot.event_written = false;
            // One in flight is looked at again when it has landed: see `wake_event`.
            if !matches!(slot.state, State::InFlight(_)) {
                let why = match slot.call {
                    Call::Appointment => Why::Event,
                    Call::First | Call::Person => Why::Requested,
                };
                return Some((at, why));
            }
        }
        None
    }

    fn next_swept(&mut self) -> Option<u32> {
        while let Some((at, generation)) = self.swept.pop_front() {
            let slot = self.slots.get_mut(at);
            if slot.generation != generation || !std::mem::take(&mut slot.swept) {
                continue;
            }
            // One in flight is being looked at; whoever sweeps asks again for what was not.
            if !matches!(slot.state, State::InFlight(_)) {
                return Some(at);
            }
        }
        None
    }

    fn want(&mut self, at: u32) {
        let slot = self.slots.get_mut(at);
        if !slot.swept {
            slot.swept = true;
            self.swept.push_back((at, slot.generation));
        }
    }

    fn has_floor(&self) -> bool {
        let hours = self.settings.max_interval.as_secs_f64() / 3600.0;
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a count of products is exact in f64"
        )]
        let products = self.slots.len() as f64;
        self.settings.requests_per_hour >= FLOOR_HEADROOM * products / hours
    }

    /// The head with the largest index among those old enough.
    fn best(&mut self, now: i64) -> Option<u32> {
        let min = millis(self.settings.min_interval);
        let mut best: Option<(f64, u32)> = None;
        for at in self.cells.heads() {
            let slot = self.slots.get(at);
            if now.saturating_sub(slot.last_ok) < min {
                continue;
            }
            let worth = index(
                f64::from(slot.weight),
                slot.rate.per_hour(),
                hours_between(slot.last_ok, now),
            );
            if best.is_none_or(|(most, _)| worth > most) {
                best = Some((worth, at));
            }
        }
        let (worth, at) = best?;
        self.stats.yen_per_request += PRICE_SMOOTHING * (worth - self.stats.yen_per_request);
        Some(at)
    }

    fn take(&mut self, at: u32, why: Why) -> WatchId {
        match self.slots.get(at).state {
            State::Queued => self.cells.unlink(&mut self.slots, at),
            State::Parked => self.stats.parked = self.stats.parked.saturating_sub(1),
            State::InFlight(_) => {}
        }
        let slot = self.slots.get_mut(at);
        if matches!(why, Why::Event | Why::Requested) {
            slot.event_at = NO_EVENT;
        }
        slot.state = State::InFlight(why);
        self.stats.in_flight = self.stats.in_flight.saturating_add(1);
        let place = match why {
            Why::Event => 0,
            Why::Floor => 1,
            Why::Index => 2,
            Why::Requested => 3,
            Why::Sweep => 4,
        };
        if let Some(count) = self.stats.picked.get_mut::<usize>(place) {
            *count = count.saturating_add(1);
        }
        slot.id
    }

    /// Takes one out of flight; why it had been picked.
    fn land(&mut self, at: u32) -> Option<Why> {
        let State::InFlight(why) = self.slots.get(at).state else {
            return None;
        };
        self.stats.in_flight = self.stats.in_flight.saturating_sub(1);
        self.slots.get_mut(at).state = State::Queued;
        Some(why)
    }

    /// Lets one that has landed wait until then.
    fn park(&mut self, at: u32, until: i64) {
        let slot = self.slots.get_mut(at);
        slot.stamp = slot.stamp.wrapping_add(1);
        self.parked.push(Reverse((until, at, slot.stamp)));
        slot.park_written = true;
        slot.state = State::Parked;
        self.stats.parked = self.stats.parked.saturating_add(1);
    }

    /// Puts those whose back-off has ended into their cells, in the order of their last good look.
    fn release(&mut self, now: i64) {
        while let Some(Reverse((until, at, stamp))) = self.parked.peek().copied() {
            if until > now {
                break;
            }
            self.parked.pop();
            let slot = self.slots.get_mut(at);
            if slot.stamp != stamp {
                continue;
            }
            slot.park_written = false;
            if slot.state == State::Parked {
                slot.state = State::Queued;
                self.stats.parked = self.stats.parked.saturating_sub(1);
                self.cells.link(&mut self.slots, at);
            }
        }
    }

    /// The time told, in milliseconds; never before one told earlier, unless the clock was set back: then everything that
    /// was measured by it is moved.
    fn tell(&mut self, now: DateTime<Utc>) -> i64 {
        let now = now.timestamp_millis();
        if now < self.latest.saturating_sub(CLOCK_SLACK_MS) {
            let back = now.saturating_sub(self.latest);
            self.slots.shift(back);
            let parked = std::mem::take(&mut self.parked);
            self.parked = parked
                .into_iter()
                .map(|Reverse((until, at, stamp))| Reverse((until.saturating_add(back), at, stamp)))
                .collect();
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        self.latest
    }

    /// When to look for an auction's end; when it has passed and the page still says open, soon, and then less and less
    /// soon: each time after a quarter of what has passed since.
    fn after_end(&self, ends_at: DateTime<Utc>, now: i64) -> i64 {
        let end = ends_at.timestamp_millis();
        let delay = millis(self.settings.event_delay).max(1);
        let after_end = end.saturating_add(delay);
        if after_end > now {
            after_end
        } else {
            now.saturating_add(delay.max(now.saturating_sub(end) / 4))
        }
    }

    fn appoint_end(&mut self, at: u32, ends_at: Option<DateTime<Utc>>, now: i64) {
        if let Some(ends_at) = ends_at {
            let when = self.after_end(ends_at, now);
            self.set_earlier_event(at, when, Call::Appointment);
        }
        self.wake_event(at);
    }

    fn set_earlier_event(&mut self, at: u32, when: i64, call: Call) {
        if when < self.slots.get(at).event_at {
            self.set_event(at, when, call);
        }
    }

    fn set_event(&mut self, at: u32, when: i64, call: Call) {
        let slot = self.slots.get_mut(at);
        slot.event_written &= slot.event_at == when && slot.call == call;
        slot.event_at = when;
        slot.call = call;
        self.wake_event(at);
    }

    /// Writes the slot's appointment, if it has one, into the heap, unless it stands there: its entry is dropped when it
    /// comes due in flight.
    fn wake_event(&mut self, at: u32) {
        let slot = self.slots.get_mut(at);
        if slot.event_at != NO_EVENT && !slot.event_written {
            slot.event_written = true;
            self.future.push(Reverse((slot.event_at, at, slot.generation)));
        }
    }
}

/// As what a failed look is called for again.
fn slot_call(why: Why) -> Call {
    match why {
        Why::Requested => Call::First,
        Why::Event | Why::Floor | Why::Index | Why::Sweep => Call::Appointment,
    }
}

/// A weight's place in an order of integers; weights are not negative.
fn order(weight: f32) -> u32 {
    if weight > 0.0 { weight.to_bits() } else { 0 }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Never negative, at most 30 days: a clock that jumps makes nothing urgent for ever.
fn hours_between(from: i64, to: i64) -> f64 {
    let ms = to.saturating_sub(from).clamp(0, 30 * 24 * 3_600_000);
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "30 days in milliseconds are exact in f64"
    )]
    let ms = ms as f64;
    ms / MS_PER_HOUR
}
