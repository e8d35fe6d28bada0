//! Who goes next: the line in front of a guard.
//!
//! One line per priority, the most urgent first, first come first served within one. Nobody drives the line but those
//! who stand in it: the one at its head looks at pace, slots and gate, sleeps until the instant they name, and wakes its
//! successor when it leaves, also when it leaves by being dropped. So there is no task to supervise, and a guard without
//! callers costs nothing.
//!
//! The line is bounded. When it is full, a more urgent caller takes the place of the youngest of the least urgent, who is
//! told; anyone else is refused.

use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Notify;

/// How urgent a call is. Within one priority, first come is first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// A quantity that must become zero: before anything else, or something is sold that cannot be bought.
    Zero,
    /// A person or an appointment waits.
    Urgent,
    /// What is due.
    Normal,
    /// What may wait: sampling, comparing, reports.
    Low,
}

impl Priority {
    /// All, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Zero, Self::Urgent, Self::Normal, Self::Low];
}

/// The line, as a value under the guard's lock.
#[derive(Debug, Default)]
pub(super) struct Line {
    zero: VecDeque<Arc<Waiter>>,
    urgent: VecDeque<Arc<Waiter>>,
    normal: VecDeque<Arc<Waiter>>,
    low: VecDeque<Arc<Waiter>>,
}

/// One who waits.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    /// Look again.
    pub(super) woken: Notify,
    /// A more urgent one took the place.
    pub(super) ousted: AtomicBool,
}

/// Where in its priority a newcomer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Last, as a newcomer does.
    Back,
    /// First: it had a permit already and lost its turn through no fault of the line.
    Front,
}

// === impl Line ===

impl Line {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        Priority::ALL
            .iter()
            .map(|priority| self.of(*priority).len())
            .sum()
    }

    /// How many wait at this priority or a more urgent one: those whom a newcomer goes behind.
    pub(super) fn ahead_of(&self, priority: Priority) -> usize {
        Priority::ALL
            .iter()
            .filter(|p| **p <= priority)
            .map(|p| self.of(*p).len())
            .sum()
    }

    /// Puts a newcomer in, if there is a place below `bound` or a less urgent one to oust.
    pub(super) fn enter(&mut self, priority: Priority, end: End, bound: usize) -> Option<Arc<Waiter>> {
        if self.len() >= bound {
            let least = Priority::ALL
                .into_iter()
                .rev()
                .find(|p| !self.of(*p).is_empty())?;
            if least <= priority {
                return None;
            }
            let ousted = self.of_mut(least).pop_back()?;
            ousted.ousted.store(true, Ordering::Release);
            ousted.woken.notify_one();
        }
        let waiter = Arc::new(Waiter::default());
        match end {
            End::Back => self.of_mut(priority).push_back(waiter.clone()),
            End::Front => self.of_mut(priority).push_front(waiter.clone()),
        }
        Some(waiter)
    }

    /// Whether nobody goes before this one.
    pub(super) fn is_head(&self, waiter: &Arc<Waiter>) -> bool {
        self.head().is_some_and(|head| Arc::ptr_eq(head, waiter))
    }

    /// Takes one out, wherever it stands.
    pub(super) fn leave(&mut self, priority: Priority, waiter: &Arc<Waiter>) {
        let line = self.of_mut(priority);
        // Those who leave are nearly always at the front.
        if let Some(at) = line.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            line.remove(at);
        }
    }

    /// Something changed that the head waits for.
    pub(super) fn wake_head(&self) {
        if let Some(head) = self.head() {
            head.woken.notify_one();
        }
    }

    /// Something changed that may send anyone away.
    pub(super) fn wake_all(&self) {
        for priority in Priority::ALL {
            self.of(priority)
                .iter()
                .for_each(|waiter| waiter.woken.notify_one());
        }
    }

    fn head(&self) -> Option<&Arc<Waiter>> {
        Priority::ALL
            .iter()
            .find_map(|priority| self.of(*priority).front())
    }

    fn of(&self, priority: Priority) -> &VecDeque<Arc<Waiter>> {
        match priority {
            Priority::Zero => &self.zero,
            Priority::Urgent => &self.urgent,
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        }
    }

    fn of_mut(&mut self, priority: Priority) -> &mut VecDeque<Arc<Waiter>> {
        match priority {
            Priority::Zero => &mut self.zero,
            Priority::Urgent => &mut self.urgent,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}
