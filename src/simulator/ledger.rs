//! A list that forgets its oldest entries and counts what it forgot.

use std::collections::VecDeque;

/// Numbered entries, the newest `capacity` of them. Numbers start at 1 and are never given twice.
pub(super) struct Ring<T> {
    entries: VecDeque<T>,
    capacity: usize,
    total: u64,
}

impl<T> Ring<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity,
            total: 0,
        }
    }

    /// Keeps `entry` and says its number.
    pub(super) fn push(&mut self, entry: T) -> u64 {
        if self.entries.len() >= self.capacity {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.total += 1;
        self.total
    }

    /// How many there ever were.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many are forgotten.
    pub(super) fn dropped(&self) -> u64 {
        self.total - super::draw::count(self.entries.len())
    }

    /// At most `limit` entries whose number is above `after`, with their numbers.
    pub(super) fn after(&self, after: u64, limit: usize) -> impl Iterator<Item = (u64, &T)> {
        let first = self.dropped();
        let skip = usize::try_from(after.saturating_sub(first)).unwrap_or(usize::MAX);
        (first + 1..).zip(&self.entries).skip(skip).take(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_stay_and_keep_their_numbers() {
        let mut ring = Ring::new(3);
        for word in ["a", "b", "c", "d", "e"] {
            ring.push(word);
        }
        let from = |after, limit| ring.after(after, limit).map(|(n, w)| (n, *w)).collect::<Vec<_>>();
        assert_eq!(from(0, 10), [(3, "c"), (4, "d"), (5, "e")]);
        assert_eq!(from(3, 1), [(4, "d")]);
        assert_eq!(from(5, 10), []);
        assert_eq!((ring.total(), ring.dropped()), (5, 2));
    }
}
