//! What differs between what counts and what a page shows.

use crate::domain::{ChangeType, SourceState};
use serde::Serialize;

/// A difference that takes effect: one version, one event, and one row of history when stock or price moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What counted; `None` for the first observation.
    pub before: Option<SourceState>,
    /// What counts from now on.
    pub after: SourceState,
    /// Whether the end was announced: an auction that ended at its appointment and says so. Going out of stock
    /// unexplained counts against the blast radius.
    pub explained: bool,
}

impl Change {
    /// The difference from `before` to `after`, if there is one.
    #[must_use]
    pub fn between(before: Option<SourceState>, after: SourceState, explained: bool) -> Option<Self> {
        (before != Some(after)).then_some(Self {
            before,
            after,
            explained,
        })
    }

    /// What history calls it; `None` when only the address changed its status. A first observation is both.
    #[must_use]
    pub fn kind(&self) -> Option<ChangeType> {
        let Some(before) = self.before else {
            return Some(ChangeType::Both);
        };
        match (before.stock != self.after.stock, before.price != self.after.price) {
            (true, true) => Some(ChangeType::Both),
            (true, false) => Some(ChangeType::Stock),
            (false, true) => Some(ChangeType::Price),
            (false, false) => None,
        }
    }

    /// Whether there were pieces before and are none now.
    #[must_use]
    pub fn empties(&self) -> bool {
        self.before.is_some_and(|b| !b.stock.is_zero()) && self.after.stock.is_zero()
    }

    /// The same difference with the stock left as it was: what may take effect while an emptying waits.
    #[must_use]
    pub fn without_stock(&self) -> Option<Self> {
        let before = self.before?;
        let mut after = before;
        let dearer = match (before.price, self.after.price) {
            (Some(b), Some(a)) => b.compare(a).is_ok_and(std::cmp::Ordering::is_lt),
            _ => false,
        };
        if dearer {
            after.price = self.after.price;
        }
        Self::between(Some(before), after, self.explained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Money, Quantity, UrlStatus};

    fn state(stock: i64, price: i64) -> SourceState {
        SourceState {
            stock: Quantity::new(stock).unwrap(),
            price: Some(Money::yen(price).unwrap()),
            url_status: UrlStatus::Active,
        }
    }

    #[test]
    fn the_kind_of_a_change_says_what_moved() {
        let kind = |b, a| Change::between(b, a, true).and_then(|c| c.kind());
        assert_eq!(kind(None, state(1, 5)), Some(ChangeType::Both));
        assert_eq!(kind(Some(state(1, 5)), state(0, 5)), Some(ChangeType::Stock));
        assert_eq!(kind(Some(state(1, 5)), state(1, 6)), Some(ChangeType::Price));
        assert_eq!(kind(Some(state(1, 5)), state(2, 6)), Some(ChangeType::Both));
        assert_eq!(Change::between(Some(state(1, 5)), state(1, 5), true), None);
        let dead = SourceState {
            url_status: UrlStatus::Dead,
            ..state(0, 5)
        };
        assert_eq!(kind(Some(state(0, 5)), dead), None);
    }

    #[test]
    fn while_an_emptying_waits_a_dearer_price_still_takes_effect_and_a_cheaper_one_does_not() {
        let dearer = Change::between(Some(state(2, 5)), state(0, 9), false).unwrap();
        assert_eq!(dearer.without_stock().unwrap().after, state(2, 9));
        let cheaper = Change::between(Some(state(2, 5)), state(0, 4), false).unwrap();
        assert_eq!(cheaper.without_stock(), None);
    }
}
