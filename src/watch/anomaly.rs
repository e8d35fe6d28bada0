//! Which prices are too odd to act on (requirement A6).
//!
//! A price is measured against the watch's own recent history, not against the last value alone: the last value may
//! itself be a slip, and a product whose price moves daily must not ask a person daily. The measure is robust: the median
//! of the last accepted prices, and around it a band as wide as the larger of
//! - the *floor*: a factor of the median. It alone speaks for young products and for prices that never moved, whose
//!   spread is 0 and would make every wiggle an anomaly;
//! - the *spread*: so many (scaled) median absolute deviations, which grows with what the product is used to.
//!
//! A slip of the decimal point (ten times or a tenth of the median, or beyond) is odd however wide the band is.
//!
//! Everything here is arithmetic on decimals; an amount of another currency is never compared.

use crate::domain::{BasisPoints, Money};
use rust_decimal::Decimal;

/// When a price or a title is odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalyRules {
    /// The floor of the band: a price within `median / factor … median * factor` is never odd. In basis points: 20000
    /// lets a price halve or double.
    pub price_factor: BasisPoints,
    /// How many scaled median absolute deviations from the median are still usual, in basis points (50000 is 5).
    pub spread_factor: BasisPoints,
    /// How many accepted prices the spread needs; with fewer the product is young and only the floor counts.
    pub spread_needs: usize,
    /// A slip of the decimal point, in basis points (100000 is ten times).
    pub slip_factor: BasisPoints,
    /// A title that is less alike than this is another item's.
    pub title_similarity: BasisPoints,
}

impl Default for AnomalyRules {
    /// Half to double, 5 deviations from 5 prices on, a slip at ten times, titles at 0.35.
    fn default() -> Self {
        Self {
            price_factor: BasisPoints(20_000),
            spread_factor: BasisPoints(50_000),
            spread_needs: 5,
            slip_factor: BasisPoints(100_000),
            title_similarity: BasisPoints(3_500),
        }
    }
}

/// How a price stands against the history before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PriceVerdict {
    /// As usual, or nothing to compare with.
    Usual,
    /// Further down than believed; what it was measured against.
    Low(Band),
    /// Further up than believed.
    High(Band),
}

/// What a price was measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    /// The median of the recent prices.
    pub median: Decimal,
    /// The lowest usual price.
    pub low: Decimal,
    /// The highest usual price.
    pub high: Decimal,
    /// How many prices there were.
    pub prices: usize,
}

/// Scales the median absolute deviation to the standard deviation of a normal distribution.
const MAD_SCALE: Decimal = Decimal::from_parts(14_826, 0, 0, false, 4);

/// Judges `price` against `history` (any order; amounts of another currency are left out).
#[must_use]
pub(super) fn judge_price(price: Money, history: &[Money], rules: &AnomalyRules) -> PriceVerdict {
    let Some(band) = band(price, history, rules) else {
        return PriceVerdict::Usual;
    };
    if price.amount() < band.low {
        PriceVerdict::Low(band)
    } else if price.amount() > band.high {
        PriceVerdict::High(band)
    } else {
        PriceVerdict::Usual
    }
}

/// The band around the median of the prices in `price`'s currency; `None` without any, or when they were all free.
fn band(price: Money, history: &[Money], rules: &AnomalyRules) -> Option<Band> {
    let prices: Vec<Decimal> = history
        .iter()
        .filter(|p| p.currency() == price.currency() && !p.is_zero())
        .map(|p| p.amount())
        .collect();
    let median = median(prices.clone())?;
    let factor = rules.price_factor.factor().max(Decimal::ONE);
    let mut low = median.checked_div(factor)?;
    let mut high = median.checked_mul(factor)?;
    if prices.len() >= rules.spread_needs.max(1) {
        let away = prices.iter().map(|p| (*p - median).abs()).collect();
        let spread = median_of(away)
            .checked_mul(MAD_SCALE)?
            .checked_mul(rules.spread_factor.factor())?;
        low = low.min(median - spread);
        high = high.max(median + spread);
    }
    let slip = rules.slip_factor.factor().max(factor);
    // Beyond the slip nothing is usual; exactly ten times or a tenth is a slip too, hence the strict bounds below.
    let slip_low = median.checked_div(slip)?;
    let slip_high = median.checked_mul(slip)?;
    let epsilon = Decimal::new(1, 6);
    Some(Band {
        median,
        low: low.max(slip_low + epsilon),
        high: high.min(slip_high - epsilon),
        prices: prices.len(),
    })
}

/// The middle value; the mean of the middle two of an even number.
fn median(mut values: Vec<Decimal>) -> Option<Decimal> {
    values.sort_unstable();
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(half.checked_sub(1)?)?;
    Some((lower + upper) / Decimal::TWO)
}

/// [`median`] of values that are known to be there.
fn median_of(values: Vec<Decimal>) -> Decimal {
    median(values).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn yen(amount: i64) -> Money {
        Money::yen(amount).unwrap()
    }

    fn history(amounts: &[i64]) -> Vec<Money> {
        amounts.iter().copied().map(yen).collect()
    }

    #[test]
    fn a_young_product_may_halve_or_double_and_no_more() {
        let rules = AnomalyRules::default();
        let past = history(&[1_000]);
        for usual in [500, 999, 1_000, 2_000] {
            assert_eq!(
                judge_price(yen(usual), &past, &rules),
                PriceVerdict::Usual,
                "{usual}"
            );
        }
        assert!(matches!(
            judge_price(yen(499), &past, &rules),
            PriceVerdict::Low(_)
        ));
        assert!(matches!(
            judge_price(yen(2_001), &past, &rules),
            PriceVerdict::High(_)
        ));
    }

    #[test]
    fn without_any_history_nothing_is_odd() {
        assert_eq!(
            judge_price(yen(1), &[], &AnomalyRules::default()),
            PriceVerdict::Usual
        );
    }

    #[test]
    fn a_product_that_moves_a_lot_is_allowed_more_but_never_a_slip_of_the_point() {
        let rules = AnomalyRules::default();
        let past = history(&[1_000, 1_600, 700, 1_300, 2_000, 800]);
        assert_eq!(judge_price(yen(400), &past, &rules), PriceVerdict::Usual);
        assert!(matches!(
            judge_price(yen(115), &past, &rules),
            PriceVerdict::Low(_)
        ));
        assert!(matches!(
            judge_price(yen(11_500), &past, &rules),
            PriceVerdict::High(_)
        ));
    }

    #[test]
    fn one_slip_in_the_past_does_not_make_the_usual_price_odd() {
        let rules = AnomalyRules::default();
        let past = history(&[1_000, 1_050, 100_000]);
        assert_eq!(judge_price(yen(1_020), &past, &rules), PriceVerdict::Usual);
    }

    #[test]
    fn amounts_of_another_currency_are_never_compared() {
        let rules = AnomalyRules::default();
        let dollars = Money::new(Decimal::from(7), crate::domain::Currency::Usd).unwrap();
        assert_eq!(
            judge_price(dollars, &history(&[1_000]), &rules),
            PriceVerdict::Usual
        );
    }

    proptest! {
        #[test]
        fn a_price_within_the_factor_of_the_median_is_never_odd(
            past in prop::collection::vec(1_i64..1_000_000, 1..30), share in 50_u32..=200,
        ) {
            let past = history(&past);
            let rules = AnomalyRules::default();
            let median = median(past.iter().map(|m| m.amount()).collect()).unwrap();
            let amount = (median * Decimal::from(share) / Decimal::ONE_HUNDRED).round();
            prop_assume!(amount >= median / Decimal::TWO && amount <= median * Decimal::TWO);
            let price = Money::new(amount, crate::domain::Currency::Jpy).unwrap();
            prop_assert_eq!(judge_price(price, &past, &rules), PriceVerdict::Usual);
        }

        #[test]
        fn a_tenth_or_ten_times_the_median_is_always_odd(past in prop::collection::vec(100_i64..1_000_000, 1..30)) {
            let past = history(&past);
            let rules = AnomalyRules::default();
            let median = median(past.iter().map(|m| m.amount()).collect()).unwrap();
            let tenth = Money::new((median / Decimal::TEN).floor(), crate::domain::Currency::Jpy).unwrap();
            prop_assert!(matches!(judge_price(tenth, &past, &rules), PriceVerdict::Low(_)));
            let tenfold = Money::new((median * Decimal::TEN).ceil(), crate::domain::Currency::Jpy).unwrap();
            prop_assert!(matches!(judge_price(tenfold, &past, &rules), PriceVerdict::High(_)));
        }
    }
}
