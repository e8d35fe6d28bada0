//! Prices that end the way a shop's prices end.
//!
//! A rounding is a grid of amounts: `step · k + offset` for k = 0, 1, 2 … Rounding is always asked for in one direction,
//! because "nearest" would lose money half of the time.

use crate::domain::{Currency, UnknownName, names};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

names!(
    /// How prices end.
    Rounding {
        /// The currency's smallest unit: a cent, a yen.
        Unit = "unit",
        /// Whole units: 13 USD.
        Whole = "whole",
        /// One cent under the whole: 12.99 USD.
        Ends99 = ".99",
        /// Five cents under the whole: 12.95 USD.
        Ends95 = ".95",
        /// Whole tens: 1,280 JPY.
        Tens = "10",
        /// Whole hundreds: 1,300 JPY.
        Hundreds = "100",
        /// The Japanese shop's ending: 1,280, 1,380 JPY.
        Ends80 = "80",
        /// The same on the thousand: 1,980, 2,980 JPY.
        Ends980 = "980",
    }
);

impl Rounding {
    /// Distance and offset of the grid.
    fn grid(self, currency: Currency) -> (Decimal, Decimal) {
        let whole = |n: i64| Decimal::from(n);
        match self {
            Self::Unit => (unit(currency), Decimal::ZERO),
            Self::Whole => (whole(1), Decimal::ZERO),
            Self::Ends99 => (whole(1), Decimal::new(99, 2)),
            Self::Ends95 => (whole(1), Decimal::new(95, 2)),
            Self::Tens => (whole(10), Decimal::ZERO),
            Self::Hundreds => (whole(100), Decimal::ZERO),
            Self::Ends80 => (whole(100), whole(80)),
            Self::Ends980 => (whole(1000), whole(980)),
        }
    }

    /// Whether the currency has the digits that this ending needs.
    pub(super) fn fits(self, currency: Currency) -> bool {
        !matches!(self, Self::Ends99 | Self::Ends95) || currency.minor_digits() >= 2
    }

    /// The smallest ending at or above `amount`; `None` when it is too large to be counted.
    pub(super) fn up(self, amount: Decimal, currency: Currency) -> Option<Decimal> {
        let (step, offset) = self.grid(currency);
        let steps = amount.checked_sub(offset)?.checked_div(step)?.ceil();
        steps.max(Decimal::ZERO).checked_mul(step)?.checked_add(offset)
    }

    /// The largest ending at or below `amount`; `None` when there is none.
    pub(super) fn down(self, amount: Decimal, currency: Currency) -> Option<Decimal> {
        let (step, offset) = self.grid(currency);
        let steps = amount.checked_sub(offset)?.checked_div(step)?.floor();
        if steps.is_sign_negative() && !steps.is_zero() {
            return None;
        }
        steps.checked_mul(step)?.checked_add(offset)
    }
}

/// The smallest amount of a currency.
pub(super) fn unit(currency: Currency) -> Decimal {
    Decimal::new(1, currency.minor_digits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn each_ending_is_met_from_below_and_from_above() {
        let usd = Currency::Usd;
        let jpy = Currency::Jpy;
        for (rounding, currency, amount, up, down) in [
            (Rounding::Unit, usd, "12.341", "12.35", "12.34"),
            (Rounding::Unit, jpy, "1280.2", "1281", "1280"),
            (Rounding::Whole, usd, "12.01", "13", "12"),
            (Rounding::Ends99, usd, "12.99", "12.99", "12.99"),
            (Rounding::Ends99, usd, "13.00", "13.99", "12.99"),
            (Rounding::Ends95, usd, "12.96", "13.95", "12.95"),
            (Rounding::Tens, jpy, "1281", "1290", "1280"),
            (Rounding::Hundreds, jpy, "1281", "1300", "1200"),
            (Rounding::Ends80, jpy, "1281", "1380", "1280"),
            (Rounding::Ends980, jpy, "1281", "1980", "980"),
        ] {
            assert_eq!(rounding.up(d(amount), currency), Some(d(up)), "{rounding} up");
            assert_eq!(
                rounding.down(d(amount), currency),
                Some(d(down)),
                "{rounding} down"
            );
        }
    }

    #[test]
    fn below_the_first_ending_there_is_none() {
        assert_eq!(Rounding::Ends99.down(d("0.50"), Currency::Usd), None);
        assert_eq!(Rounding::Ends99.up(d("0.50"), Currency::Usd), Some(d("0.99")));
    }

    proptest! {
        #[test]
        fn up_is_never_below_and_down_never_above(cents in 0_i64..10_000_000_000, which in 0_usize..8) {
            let rounding = Rounding::ALL[which];
            let amount = Decimal::new(cents, 3);
            for currency in Currency::ALL {
                prop_assert!(rounding.up(amount, currency).unwrap() >= amount);
                if let Some(down) = rounding.down(amount, currency) {
                    prop_assert!(down <= amount);
                    prop_assert_eq!(rounding.up(down, currency), Some(down));
                }
            }
        }
    }
}
