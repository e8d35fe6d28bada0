//! What a destination keeps of a price, and the price that leaves a given sum.
//!
//! A destination takes a share of the price, of the part above a line another share, at least so much, and a fixed sum a
//! sale: `fee(p) = max(minimum, rate · min(p, above) + above_rate · max(0, p − above)) + fixed`. Every share is below
//! one, so what is left grows with the price, and each sum is left by exactly one price.

use super::book::Rules;
use rust_decimal::{Decimal, RoundingStrategy};

impl Rules {
    /// What the destination keeps of `price`, in the listing's currency; `None` when a number no longer fits.
    #[must_use]
    pub fn fee_of(&self, price: Decimal) -> Option<Decimal> {
        let (below, beyond) = match self.fee_above {
            Some(above) if price > above => (above, price.checked_sub(above)?),
            _ => (price, Decimal::ZERO),
        };
        let share = below.checked_mul(self.fee.factor())?;
        let share = share.checked_add(beyond.checked_mul(self.fee_above_rate.factor())?)?;
        share.max(self.fee_minimum).checked_add(self.fee_fixed)
    }

    /// The price of which `net` is left, rounded up at the sixth digit: a price equal to the result never hides a loss
    /// behind the last one. `None` when a number no longer fits.
    pub(super) fn price_leaving(&self, net: Decimal) -> Option<Decimal> {
        let with_fixed = net.checked_add(self.fee_fixed)?;
        let by_share = with_fixed.checked_div(Decimal::ONE.checked_sub(self.fee.factor())?)?;
        let by_share = match self.fee_above {
            Some(above) if by_share > above => {
                // What the first part costs more than it would by the second share is owed beside it.
                let dearer = self.fee.factor().checked_sub(self.fee_above_rate.factor())?;
                let owed = with_fixed.checked_add(above.checked_mul(dearer)?)?;
                owed.checked_div(Decimal::ONE.checked_sub(self.fee_above_rate.factor())?)?
            }
            _ => by_share,
        };
        let by_minimum = with_fixed.checked_add(self.fee_minimum)?;
        let price = by_share.max(by_minimum);
        Some(price.round_dp_with_strategy(6, RoundingStrategy::AwayFromZero))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BasisPoints, DestinationPlatform};
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn each_platform_takes_what_it_publishes() {
        for (at, price, fee) in [
            (DestinationPlatform::Ebay, "100", "13.65"),
            // 13.25 % of 7,500, 2.35 % of the rest, and 0.40.
            (DestinationPlatform::Ebay, "10000", "1052.90"),
            (DestinationPlatform::Mercari, "3000", "300"),
            (DestinationPlatform::AmazonSeller, "3000", "450"),
            // At least 30 yen.
            (DestinationPlatform::AmazonSeller, "100", "30"),
        ] {
            let rules = Rules::default_for(at);
            assert_eq!(rules.fee_of(d(price)), Some(d(fee)), "{at} {price}");
            let net = d(price) - d(fee);
            assert_eq!(rules.price_leaving(net), Some(d(price)), "{at} {net}");
        }
    }

    proptest! {
        #[test]
        fn the_price_leaves_what_is_asked_for_and_hardly_more(
            net in 0_i64..10_000_000, fee in 0_u32..9_000, beyond in 0_u32..9_000, above in 1_i64..2_000_000,
            fixed in 0_i64..5_000, minimum in 0_i64..20_000, two in proptest::bool::ANY,
        ) {
            let rules = Rules {
                fee: BasisPoints(fee),
                fee_above: two.then(|| Decimal::new(above, 2)),
                fee_above_rate: BasisPoints(beyond),
                fee_fixed: Decimal::new(fixed, 2),
                fee_minimum: Decimal::new(minimum, 2),
                ..Rules::default_for(DestinationPlatform::Ebay)
            };
            let net = Decimal::new(net, 2);
            let price = rules.price_leaving(net).unwrap();
            let left = price - rules.fee_of(price).unwrap();
            prop_assert!(left >= net && left - net <= d("0.000002"), "{price} leaves {left} of {net}");
        }
    }
}
