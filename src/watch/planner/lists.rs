//! The lists of the planner: a slab of slots, and a FIFO for each cell.
//!
//! Links are indices into the slab, so that a product costs about a hundred bytes and no allocation of its own. There is no
//! list of all by age: the oldest of all is the oldest of the cells' heads, which are looked through at every pick anyway,
//! and a product that comes back in the middle need not be walked to in a list of a hundred thousand.

use super::Why;
use crate::domain::WatchId;
use crate::watch::estimator::Rate;
use std::collections::HashMap;

/// No link.
pub(super) const NONE: u32 = u32::MAX;
/// The last good look of a product never seen: as old as can be.
pub(super) const NEVER: i64 = i64::MIN / 4;
/// The time of no appointment.
pub(super) const NO_EVENT: i64 = i64::MAX;
/// Cells are this factor wide, in weight and in rate: exact to half a percent of the optimum.
const CELL_FACTOR: f64 = 1.5;

/// Where a product stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// In its cell.
    Queued,
    /// Picked for this reason, in no list.
    InFlight(Why),
    /// Waiting after a failed check, in no list.
    Parked,
}

/// Why a product has an appointment. The order is that in which they are served when several are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    /// It has never been seen.
    First,
    /// Its auction ends, or something about it is to be confirmed.
    Appointment,
    /// A person asked, and waits.
    Person,
}

/// One product.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: WatchId,
    pub(super) weight: f32,
    pub(super) rate: Rate,
    /// Milliseconds since 1970; [`NEVER`] before the first good look.
    pub(super) last_ok: i64,
    /// The appointment; [`NO_EVENT`] for none.
    pub(super) event_at: i64,
    pub(super) call: Call,
    /// Whether the heaps hold an entry for the appointment. One that comes due in flight is dropped.
    pub(super) event_written: bool,
    /// Whether a sweep wants it seen.
    pub(super) swept: bool,
    /// Whether the heap of the parked holds an entry with the present stamp.
    pub(super) park_written: bool,
    pub(super) state: State,
    pub(super) failures: u8,
    /// Tells a back-off from an earlier one of the same slot.
    pub(super) stamp: u32,
    /// Tells a slot's product from the one that had it before.
    pub(super) generation: u32,
    cell: u32,
    link: Link,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

const UNLINKED: Link = Link {
    before: NONE,
    after: NONE,
};

/// The slab. Slots of removed products are used again.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    by_id: HashMap<WatchId, u32>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn find(&self, id: WatchId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "indices are made by `insert` and slots are never taken out of the slab"
    )]
    pub(super) fn get(&self, at: u32) -> &Slot {
        &self.slots[place(at)]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "indices are made by `insert` and slots are never taken out of the slab"
    )]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[place(at)]
    }

    pub(super) fn insert(&mut self, id: WatchId, weight: f32, rate: Rate, last_ok: i64) -> u32 {
        let at = match self.free.pop() {
            Some(at) => at,
            None => u32::try_from(self.slots.len()).unwrap_or(NONE),
        };
        let (stamp, generation) = self.slots.get(place(at)).map_or((0, 0), |old| {
            (old.stamp.wrapping_add(1), old.generation.wrapping_add(1))
        });
        let slot = Slot {
            id,
            weight: if weight.is_finite() { weight.max(0.0) } else { 0.0 },
            rate,
            last_ok,
            event_at: NO_EVENT,
            call: Call::Appointment,
            event_written: false,
            swept: false,
            park_written: false,
            state: State::Queued,
            failures: 0,
            stamp,
            generation,
            cell: NONE,
            link: UNLINKED,
        };
        match self.slots.get_mut(place(at)) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        self.by_id.insert(id, at);
        at
    }

    pub(super) fn remove(&mut self, at: u32) {
        let slot = self.get_mut(at);
        slot.event_at = NO_EVENT;
        slot.stamp = slot.stamp.wrapping_add(1);
        slot.generation = slot.generation.wrapping_add(1);
        let id = slot.id;
        self.by_id.remove(&id);
        self.free.push(at);
    }

    /// Whether the slot still has this appointment, and its product is still the one that made it.
    pub(super) fn event_is(&self, at: u32, when: i64, generation: u32) -> bool {
        let slot = self.get(at);
        slot.generation == generation && slot.event_at == when
    }

    /// Moves every good look by `ms`, for a clock that was set back.
    pub(super) fn shift(&mut self, ms: i64) {
        for slot in self.slots.iter_mut().filter(|slot| slot.last_ok != NEVER) {
            slot.last_ok = slot.last_ok.saturating_add(ms);
        }
    }
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// A doubly linked list by age: the one looked at longest ago is first.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List {
    first: NONE,
    last: NONE,
};

/// The cells.
#[derive(Debug, Default)]
pub(super) struct Cells {
    lists: Vec<List>,
    by_class: HashMap<(i16, i16), u32>,
}

impl Cells {
    /// The first of each cell that holds one.
    pub(super) fn heads(&self) -> impl Iterator<Item = u32> {
        self.lists.iter().map(|l| l.first).filter(|first| *first != NONE)
    }

    /// Puts a slot into its cell, in the order of age.
    pub(super) fn link(&mut self, slots: &mut Slots, at: u32) {
        let cell = self.cell_of(slots.get(at));
        slots.get_mut(at).cell = cell;
        if let Some(list) = self.lists.get_mut(place(cell)) {
            insert(list, slots, at);
        }
    }

    /// Takes a slot out of its cell.
    pub(super) fn unlink(&mut self, slots: &mut Slots, at: u32) {
        let cell = slots.get(at).cell;
        if let Some(list) = self.lists.get_mut(place(cell)) {
            take_out(list, slots, at);
        }
        slots.get_mut(at).cell = NONE;
    }

    fn cell_of(&mut self, slot: &Slot) -> u32 {
        let class = (class(f64::from(slot.weight)), class(slot.rate.per_hour()));
        let next = u32::try_from(self.lists.len()).unwrap_or(NONE);
        let cell = *self.by_class.entry(class).or_insert(next);
        if cell == next {
            self.lists.push(EMPTY);
        }
        cell
    }
}

/// Which power of the cell factor a number lies at; nothing at all has a class of its own.
fn class(number: f64) -> i16 {
    if number <= 0.0 {
        return i16::MIN;
    }
    let power = (number.ln() / CELL_FACTOR.ln())
        .floor()
        .clamp(-10_000.0, 10_000.0);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "clamped right above"
    )]
    let power = power as i16;
    power
}

/// Puts `at` behind the last one that is not younger, or before the first that is not older. The search goes from both
/// ends: one just looked at belongs at the end, one that is back from a back-off or was never seen at the front.
fn insert(list: &mut List, slots: &mut Slots, at: u32) {
    let age = slots.get(at).last_ok;
    let (mut front, mut back) = (list.first, list.last);
    // Behind `before`, in front of `after`.
    let (before, after) = loop {
        if back == NONE || slots.get(back).last_ok <= age {
            let after = if back == NONE {
                list.first
            } else {
                slots.get(back).link.after
            };
            break (back, after);
        }
        if slots.get(front).last_ok >= age {
            break (slots.get(front).link.before, front);
        }
        front = slots.get(front).link.after;
        back = slots.get(back).link.before;
    };
    slots.get_mut(at).link = Link { before, after };
    match before {
        NONE => list.first = at,
        before => slots.get_mut(before).link.after = at,
    }
    match after {
        NONE => list.last = at,
        after => slots.get_mut(after).link.before = at,
    }
}

fn take_out(list: &mut List, slots: &mut Slots, at: u32) {
    let Link { before, after } = slots.get(at).link;
    match before {
        NONE => list.first = after,
        before => slots.get_mut(before).link.after = after,
    }
    match after {
        NONE => list.last = before,
        after => slots.get_mut(after).link.before = before,
    }
    slots.get_mut(at).link = UNLINKED;
}
