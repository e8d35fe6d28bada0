//! Whether newly quoted exchange rates are taken into use. Pure.
//!
//! A rate multiplies every price in a shop, so a wrong one is a wrong shop. What moves further than a market does in days
//! waits for a person; what no market does at all is refused; what is of an older day, or the same, changes nothing. And a
//! rate grows old: with one of more than so many days nothing new is priced, for nobody knows what it is now.

use crate::domain::{Currency, Quote};
use chrono::{NaiveDate, TimeDelta};
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::BTreeMap;

/// From here on a move is no market's: a digit lost, a file of something else.
const NO_MARKET: Decimal = Decimal::TWO;

/// What a quote is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateGuards {
    /// The furthest that a rate may move by itself, in percent of the smaller of old and new.
    pub largest_move_percent: Decimal,
    /// After so many days a rate is too old to price by.
    pub longest_days: u16,
}

/// The rates in use before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Which day they are of; rates of the settings have none.
    pub day: Option<NaiveDate>,
    /// Yen for one unit.
    pub yen: BTreeMap<Currency, Decimal>,
}

/// One currency's move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateMove {
    /// Of which.
    pub currency: Currency,
    /// Yen before.
    pub from: Decimal,
    /// Yen now.
    pub to: Decimal,
    /// How far, in percent of the smaller of both: up and back down are equally far.
    pub percent: Decimal,
}

/// What becomes of a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateVerdict {
    /// It comes into use; its furthest move, if there was something to move from.
    Taken(Option<RateMove>),
    /// It is the one in use.
    Same,
    /// A newer one is in use.
    Older,
    /// It moved too far: a person has to say whether it is right.
    Jumped(RateMove),
    /// It cannot be right.
    Implausible(Implausible),
}

/// Why a quote cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Implausible {
    /// Its day has not come.
    #[error("they are of {day}, which has not come yet")]
    Future {
        /// Which.
        day: NaiveDate,
    },
    /// It was too old to price by when it came.
    #[error("they are of {day}, which is longer ago than `exchange.longest_days` says")]
    Old {
        /// Which.
        day: NaiveDate,
    },
    /// No market does that.
    #[error(
        "{} would cost {} yen in place of {}: if that is so, set `exchange.source = \"fixed\"` and the rate by hand",
        .0.currency, .0.to, .0.from
    )]
    NoMarket(RateMove),
}

/// Judges `new` against what is in use.
#[must_use]
pub fn judge(new: &Quote, before: &Before, guards: RateGuards, today: NaiveDate) -> RateVerdict {
    let day = new.day();
    match before.day {
        Some(used) if day < used => return RateVerdict::Older,
        Some(used) if day == used && *new.yen() == before.yen => return RateVerdict::Same,
        _ => {}
    }
    if day > today {
        return RateVerdict::Implausible(Implausible::Future { day });
    }
    if is_too_old(day, today, guards) {
        return RateVerdict::Implausible(Implausible::Old { day });
    }
    let furthest = furthest(&before.yen, new.yen());
    match furthest {
        Some(far) if far.percent >= (NO_MARKET - Decimal::ONE) * Decimal::ONE_HUNDRED => {
            RateVerdict::Implausible(Implausible::NoMarket(far))
        }
        Some(far) if far.percent > guards.largest_move_percent => RateVerdict::Jumped(far),
        _ => RateVerdict::Taken(furthest),
    }
}

/// Whether nothing new may be priced by rates of `day` any more.
#[must_use]
pub fn is_too_old(day: NaiveDate, today: NaiveDate, guards: RateGuards) -> bool {
    today.signed_duration_since(day) > TimeDelta::days(i64::from(guards.longest_days))
}

/// The furthest move of a currency that both have.
fn furthest(before: &BTreeMap<Currency, Decimal>, now: &BTreeMap<Currency, Decimal>) -> Option<RateMove> {
    let moves = now.iter().filter_map(|(currency, to)| {
        let from = before.get(currency)?;
        Some(RateMove {
            currency: *currency,
            from: *from,
            to: *to,
            percent: percent(*from, *to),
        })
    });
    moves.max_by_key(|far| far.percent)
}

/// How far apart two rates above zero are; as far as can be where that cannot be counted.
fn percent(from: Decimal, to: Decimal) -> Decimal {
    let (low, high) = (from.min(to), from.max(to));
    let counted = high
        .checked_sub(low)
        .and_then(|apart| apart.checked_div(low))
        .and_then(|share| share.checked_mul(Decimal::ONE_HUNDRED));
    // The tables keep four digits, and no more than eight before the point.
    counted.map_or(Decimal::from(99_999_999), |p| {
        p.round_dp(4).min(Decimal::from(99_999_999))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RateSource;
    use proptest::prelude::*;

    const GUARDS: RateGuards = RateGuards {
        largest_move_percent: Decimal::from_parts(5, 0, 0, false, 0),
        longest_days: 7,
    };

    fn day(of_november: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, of_november).unwrap()
    }

    fn yen(usd_cents: i64) -> BTreeMap<Currency, Decimal> {
        let mut yen: BTreeMap<Currency, Decimal> = Currency::ALL
            .into_iter()
            .filter(|c| *c != Currency::Jpy)
            .map(|c| (c, Decimal::from(160)))
            .collect();
        yen.insert(Currency::Usd, Decimal::new(usd_cents, 2));
        yen
    }

    fn quote(on: u32, usd_cents: i64) -> Quote {
        Quote::new(RateSource::Ecb, day(on), yen(usd_cents)).unwrap()
    }

    fn before(on: u32, usd_cents: i64) -> Before {
        Before {
            day: Some(day(on)),
            yen: yen(usd_cents),
        }
    }

    #[test]
    fn each_quote_gets_its_verdict() {
        let judged = |new: &Quote| judge(new, &before(19, 15_000), GUARDS, day(20));
        assert!(matches!(judged(&quote(20, 15_100)), RateVerdict::Taken(Some(_))));
        assert!(
            matches!(judged(&quote(20, 15_000)), RateVerdict::Taken(_)),
            "a new day renews the age"
        );
        assert_eq!(judged(&quote(19, 15_000)), RateVerdict::Same);
        assert!(
            matches!(judged(&quote(19, 15_010)), RateVerdict::Taken(_)),
            "a day's rates that were put right"
        );
        assert_eq!(judged(&quote(18, 15_000)), RateVerdict::Older);
        let RateVerdict::Jumped(far) = judged(&quote(20, 15_751)) else {
            panic!("a jump up");
        };
        assert_eq!(
            (far.currency, far.percent.to_string()),
            (Currency::Usd, "5.0067".to_owned())
        );
        assert!(
            matches!(judged(&quote(20, 15_750)), RateVerdict::Taken(_)),
            "at the limit"
        );
        assert!(
            matches!(judged(&quote(20, 14_200)), RateVerdict::Jumped(_)),
            "a jump down"
        );
        for wrong in [150, 1500, 7500, 30_000, 150_000] {
            let judged = judged(&quote(20, wrong));
            assert!(
                matches!(judged, RateVerdict::Implausible(Implausible::NoMarket(_))),
                "{wrong}: {judged:?}"
            );
        }
        let future = Implausible::Future { day: day(21) };
        assert_eq!(judged(&quote(21, 15_000)), RateVerdict::Implausible(future));
    }

    #[test]
    fn what_is_first_is_measured_by_the_settings_and_must_be_of_these_days() {
        let typed = Before {
            day: None,
            yen: [(Currency::Usd, Decimal::from(150))].into(),
        };
        let judged = |on, cents, before: &Before| judge(&quote(on, cents), before, GUARDS, day(20));
        assert!(matches!(judged(20, 15_100, &typed), RateVerdict::Taken(Some(_))));
        assert!(matches!(judged(20, 17_000, &typed), RateVerdict::Jumped(_)));
        assert_eq!(judged(20, 17_000, &Before::default()), RateVerdict::Taken(None));
        assert!(matches!(judged(13, 15_000, &typed), RateVerdict::Taken(_)));
        let old = Implausible::Old { day: day(12) };
        assert_eq!(judged(12, 15_000, &typed), RateVerdict::Implausible(old));
    }

    #[test]
    fn a_rate_grows_too_old_after_its_last_day() {
        assert!(!is_too_old(day(13), day(20), GUARDS));
        assert!(is_too_old(day(12), day(20), GUARDS));
        assert!(
            !is_too_old(day(21), day(20), GUARDS),
            "a clock that went back makes nothing old"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_moved_too_far_is_ever_taken(from in 1_i64..1_000_000, to in 1_i64..1_000_000, limit in 1_i64..50) {
            let guards = RateGuards { largest_move_percent: Decimal::from(limit), ..GUARDS };
            let judged = judge(&quote(20, to), &before(19, from), guards, day(20));
            let (low, high) = (from.min(to), from.max(to));
            // As whole numbers, half a ten-thousandth of a percent aside.
            let far = (i128::from(high) - i128::from(low)) * 100 * 20_000;
            let bound = i128::from(low) * (i128::from(limit) * 20_000 + 1);
            if far > bound {
                prop_assert!(!matches!(judged, RateVerdict::Taken(_)), "{judged:?}");
            }
            if high >= 2 * low {
                prop_assert!(matches!(judged, RateVerdict::Implausible(_)), "{judged:?}");
            }
        }

        #[test]
        fn a_move_and_its_way_back_are_judged_alike(from in 1_i64..1_000_000, to in 1_i64..1_000_000) {
            let there = judge(&quote(20, to), &before(19, from), GUARDS, day(20));
            let back = judge(&quote(20, from), &before(19, to), GUARDS, day(20));
            prop_assert_eq!(std::mem::discriminant(&there), std::mem::discriminant(&back));
        }
    }
}
