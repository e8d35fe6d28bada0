//! What is worth taking from the queue now.
//!
//! A request that is written down has its last moment, and the destination's rate says how many have their turn before
//! it. More than that is not taken: what waits in the line grows old, a zero behind it is a zero that waits, and what
//! comes too late was written down for nothing. So jobs are chosen by the *requests* they lead to, while their rows are
//! locked and before they are leased: a batch of zeros is one request, a look at one listing is two of eBay's.
//!
//! Urgencies are counted apart. Whoever is more urgent goes first in the destination's line, so a zero waits only for
//! other zeros, and a thousand restocks waiting to be read leave room for it.

use super::outlet::{Outlet, Urgency};
use super::settings::SyncSettings;
use super::settle::{PRIORITY_CHECK, PRIORITY_RAISE, PRIORITY_ZERO};
use std::time::Duration;

/// The least urgent priority there is.
const PRIORITY_LAST: i16 = 10;
/// Jobs looked at in one look: four full requests, so that a wave is answered in large bites and a single change in one.
const LOOK: usize = 100;

/// Something for each urgency, the most urgent first.
type ByUrgency<T> = [(Urgency, T); 4];

fn each<T>(mut of: impl FnMut(Urgency) -> T) -> ByUrgency<T> {
    [Urgency::Zero, Urgency::Raise, Urgency::Change, Urgency::Check].map(|urgency| (urgency, of(urgency)))
}

/// What requests take: turns at the destination, and places of listings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) permits: usize,
    pub(super) listings: usize,
}

/// What is under way.
#[derive(Debug)]
pub(super) struct InFlight(ByUrgency<Load>);

impl Default for InFlight {
    fn default() -> Self {
        Self(each(|_| Load::default()))
    }
}

impl InFlight {
    pub(super) fn add(&mut self, urgency: Urgency, load: Load) {
        for (_, sum) in self.0.iter_mut().filter(|(u, _)| *u == urgency) {
            sum.permits = sum.permits.saturating_add(load.permits);
            sum.listings = sum.listings.saturating_add(load.listings);
        }
    }

    pub(super) fn remove(&mut self, urgency: Urgency, load: Load) {
        for (_, sum) in self.0.iter_mut().filter(|(u, _)| *u == urgency) {
            sum.permits = sum.permits.saturating_sub(load.permits);
            sum.listings = sum.listings.saturating_sub(load.listings);
        }
    }

    pub(super) fn listings(&self) -> usize {
        self.0.iter().map(|(_, load)| load.listings).sum()
    }

    /// Listings under way that share their places with those of `urgency`.
    fn beside(&self, urgency: Urgency) -> usize {
        let beside = self.0.iter().filter(|(u, _)| class(*u) == class(urgency));
        beside.map(|(_, load)| load.listings).sum()
    }

    /// Turns taken by those that go before or with `urgency`.
    fn ahead(&self, urgency: Urgency) -> usize {
        let ahead = self.0.iter().filter(|(u, _)| *u <= urgency);
        ahead.map(|(_, load)| load.permits).sum()
    }
}

/// A raise is a change; it only goes first.
fn class(urgency: Urgency) -> Urgency {
    match urgency {
        Urgency::Raise => Urgency::Change,
        other => other,
    }
}

/// What a job leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing is sent.
    Nothing,
    /// A place in a request that several listings of a kind share.
    Shared {
        /// Takes offers away; these share with nothing else.
        zero: bool,
    },
    /// Requests of its own: so many permits.
    Alone(usize),
}

/// What is left, and what was chosen.
#[derive(Debug)]
pub(super) struct Room {
    permits: ByUrgency<usize>,
    listings: ByUrgency<usize>,
    batch_size: usize,
    /// Places left in the open batch of zeros, and in that of all else.
    open: (usize, usize),
}

impl Room {
    /// What there is room for, with `in_flight` not answered yet.
    pub(super) fn new(outlet: &dyn Outlet, settings: &SyncSettings, in_flight: &InFlight) -> Self {
        let limit = |urgency| match class(urgency) {
            Urgency::Zero => settings.zeros_at_once,
            Urgency::Check => settings.checks_at_once,
            _ => settings.changes_at_once,
        };
        let batch_size = outlet.batch_size().max(1);
        Self {
            permits: each(|u| outlet.room(u, in_flight.ahead(u), turns_within(settings))),
            listings: each(|u| free(u, limit(u), in_flight.beside(u), batch_size)),
            batch_size,
            open: (0, 0),
        }
    }

    /// The least urgent priority there is room for, and how many jobs to look at; `None` when everything is full.
    pub(super) fn up_to(&self) -> Option<(i16, u32)> {
        let last = |urgency| match urgency {
            Urgency::Zero => PRIORITY_ZERO,
            Urgency::Raise => PRIORITY_RAISE,
            Urgency::Change => PRIORITY_CHECK - 1,
            Urgency::Check => PRIORITY_LAST,
        };
        // The queue answers the most urgent first: behind a kind that is full nothing else would be found, only its rows
        // be read in vain.
        let kinds = self.permits.iter().zip(&self.listings);
        let open: Vec<_> = kinds
            .take_while(|((_, permits), (_, places))| *permits > 0 && *places > 0)
            .collect();
        let ((urgency, permits), _) = open.last()?;
        // Raises and changes share theirs.
        let own = open
            .iter()
            .filter(|((urgency, _), _)| *urgency != Urgency::Change);
        let places: usize = own.map(|(_, (_, places))| *places).sum();
        let jobs = permits.saturating_mul(self.batch_size).min(places).min(LOOK);
        Some((last(*urgency), u32::try_from(jobs).unwrap_or(u32::MAX)))
    }

    /// Chooses a job if there is room for what it leads to.
    pub(super) fn takes(&mut self, urgency: Urgency, need: Need) -> bool {
        let permits = match need {
            Need::Nothing => return true,
            Need::Shared { zero: true } if self.open.0 > 0 => 0,
            Need::Shared { zero: false } if self.open.1 > 0 => 0,
            Need::Shared { .. } => 1,
            Need::Alone(permits) => permits,
        };
        let left = |of: &ByUrgency<usize>| {
            of.iter()
                .find(|(u, _)| *u == urgency)
                .map_or(0, |(_, left)| *left)
        };
        // The first permit has its turn in time; what a call takes beside it is taken afterwards.
        if left(&self.listings) == 0 || permits > 0 && left(&self.permits) == 0 {
            return false;
        }
        for (_, left) in self.permits.iter_mut().filter(|(u, _)| *u >= urgency) {
            *left = left.saturating_sub(permits);
        }
        for (_, left) in self
            .listings
            .iter_mut()
            .filter(|(u, _)| class(*u) == class(urgency))
        {
            *left = left.saturating_sub(1);
        }
        if let Need::Shared { zero } = need {
            let places = if zero { &mut self.open.0 } else { &mut self.open.1 };
            *places = if permits > 0 { self.batch_size } else { *places }.saturating_sub(1);
        }
        true
    }
}

/// Places left for `urgency`, of `limit`, with `taken` of them. Few are none while answers are on their way: else each
/// answer is followed by a look for the one job that fits, and what could go in one request goes in many. Zeros do not
/// wait for company.
fn free(urgency: Urgency, limit: usize, taken: usize, batch_size: usize) -> usize {
    let left = limit.saturating_sub(taken);
    let is_few = taken > 0 && left < batch_size.min(limit.div_ceil(4));
    if urgency != Urgency::Zero && is_few {
        0
    } else {
        left
    }
}

/// The span that turns are counted in: half of what a request may wait, so that one that is late by a slow statement or a
/// slow answer before it still goes out.
fn turns_within(settings: &SyncSettings) -> Duration {
    settings.send_within() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_places_are_none_while_answers_are_on_their_way_but_zeros_take_each() {
        assert_eq!(free(Urgency::Change, 100, 0, 25), 100);
        assert_eq!(free(Urgency::Change, 100, 75, 25), 25);
        assert_eq!(free(Urgency::Change, 100, 76, 25), 0);
        assert_eq!(free(Urgency::Check, 20, 15, 25), 5, "a quarter of few is not few");
        assert_eq!(free(Urgency::Check, 20, 16, 25), 0);
        assert_eq!(free(Urgency::Zero, 100, 99, 25), 1);
    }

    fn room(permits: usize, listings: usize) -> Room {
        Room {
            permits: each(|_| permits),
            listings: each(|_| listings),
            batch_size: 3,
            open: (0, 0),
        }
    }

    #[test]
    fn a_batch_is_one_request_however_many_share_it() {
        let mut room = room(2, 100);
        let zero = Need::Shared { zero: true };
        let taken = (0..10).filter(|_| room.takes(Urgency::Zero, zero)).count();
        assert_eq!(taken, 6);
        assert!(
            !room.takes(Urgency::Change, Need::Shared { zero: false }),
            "no turn is left"
        );
        assert!(
            room.takes(Urgency::Change, Need::Nothing),
            "what sends nothing is always settled"
        );
    }

    #[test]
    fn a_zero_does_not_wait_for_the_room_of_what_goes_after_it() {
        let mut room = room(4, 100);
        assert!(room.takes(Urgency::Change, Need::Alone(2)));
        assert!(room.takes(Urgency::Change, Need::Alone(2)));
        assert!(!room.takes(Urgency::Change, Need::Alone(2)));
        assert_eq!(room.up_to(), Some((PRIORITY_RAISE, 12)));
        for _ in 0..4 {
            assert!(room.takes(Urgency::Zero, Need::Alone(1)));
        }
        assert_eq!(room.up_to(), None);
    }

    #[test]
    fn behind_a_kind_that_is_full_nothing_is_looked_for() {
        let full = |urgency, places| {
            let mut room = room(100, 40);
            let left = room.listings.iter_mut().filter(|(u, _)| class(*u) == urgency);
            left.for_each(|(_, left)| *left = places);
            room.up_to()
        };
        assert_eq!(
            full(Urgency::Check, 10),
            Some((PRIORITY_LAST, 90)),
            "no more than have places"
        );
        assert_eq!(full(Urgency::Check, 0), Some((PRIORITY_CHECK - 1, 80)));
        assert_eq!(full(Urgency::Change, 0), Some((PRIORITY_ZERO, 40)));
        assert_eq!(full(Urgency::Zero, 0), None);
    }

    #[test]
    fn listings_have_places_of_their_own_and_raises_share_those_of_changes() {
        let mut room = room(100, 2);
        assert!(room.takes(Urgency::Raise, Need::Shared { zero: false }));
        assert!(room.takes(Urgency::Change, Need::Shared { zero: false }));
        assert!(!room.takes(Urgency::Raise, Need::Shared { zero: false }));
        assert!(room.takes(Urgency::Check, Need::Alone(2)));
        assert!(room.takes(Urgency::Zero, Need::Alone(1)));
    }

    #[test]
    fn what_is_under_way_counts_for_those_behind_it() {
        let mut in_flight = InFlight::default();
        let load = Load {
            permits: 2,
            listings: 5,
        };
        in_flight.add(Urgency::Raise, load);
        in_flight.add(Urgency::Zero, load);
        assert_eq!(
            (in_flight.ahead(Urgency::Zero), in_flight.ahead(Urgency::Check)),
            (2, 4)
        );
        assert_eq!((in_flight.beside(Urgency::Change), in_flight.listings()), (5, 10));
        in_flight.remove(Urgency::Raise, load);
        assert_eq!(in_flight.ahead(Urgency::Check), 2);
    }
}
