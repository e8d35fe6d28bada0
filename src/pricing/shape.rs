//! How many pieces a destination may offer, given how many the source has (requirement L6).

use super::book::Rules;
use crate::domain::Quantity;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;

/// What became of the source's stock on its way to the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shaped {
    /// Pieces to offer.
    pub quantity: Quantity,
    /// Which rule decided, when one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<ShapeRule>,
}

/// The rule that made the offer smaller than the stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeRule {
    /// Pieces kept back.
    Buffer,
    /// Only a share of the stock is offered.
    Share,
    /// No more than the cap.
    Cap,
    /// Fewer than the least worth offering: none.
    Minimum,
}

/// Buffer, then share (rounded down), then cap, then minimum: each can only take away.
///
/// The order matters: the buffer protects against the last piece being sold at the source, so it comes off the real
/// stock before anything is shared out.
pub(super) fn shape(stock: Quantity, rules: &Rules) -> Shaped {
    let mut shaped = (stock.get(), None);
    let cut = |(left, rule): (u32, Option<ShapeRule>), to: u32, by: ShapeRule| {
        if to < left { (to, Some(by)) } else { (left, rule) }
    };
    shaped = cut(
        shaped,
        stock.get().saturating_sub(rules.buffer),
        ShapeRule::Buffer,
    );
    let share = (Decimal::from(shaped.0) * rules.share.factor()).floor();
    shaped = cut(shaped, share.to_u32().unwrap_or(0), ShapeRule::Share);
    shaped = cut(shaped, rules.cap.unwrap_or(u32::MAX), ShapeRule::Cap);
    if shaped.0 < rules.minimum {
        shaped = cut(shaped, 0, ShapeRule::Minimum);
    }
    let (left, rule) = shaped;
    Shaped {
        quantity: Quantity::new(i64::from(left)).unwrap_or(Quantity::ZERO),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BasisPoints, DestinationPlatform};
    use proptest::prelude::*;

    fn rules() -> Rules {
        Rules::default_for(DestinationPlatform::Ebay)
    }

    fn q(n: u32) -> Quantity {
        Quantity::new(i64::from(n)).unwrap()
    }

    #[test]
    fn buffer_share_cap_and_minimum_each_take_their_part() {
        let plain = rules();
        assert_eq!(shape(q(7), &plain).quantity, q(7));
        let buffer = Rules { buffer: 2, ..rules() };
        assert_eq!(shape(q(7), &buffer).quantity, q(5));
        assert_eq!(shape(q(1), &buffer).quantity, q(0));
        let share = Rules {
            share: BasisPoints(5000),
            ..rules()
        };
        assert_eq!(shape(q(7), &share).quantity, q(3));
        let cap = Rules {
            cap: Some(3),
            ..rules()
        };
        assert_eq!(
            shape(q(7), &cap),
            Shaped {
                quantity: q(3),
                rule: Some(ShapeRule::Cap)
            }
        );
        let minimum = Rules {
            minimum: 3,
            ..rules()
        };
        assert_eq!(
            shape(q(2), &minimum),
            Shaped {
                quantity: q(0),
                rule: Some(ShapeRule::Minimum)
            }
        );
        assert_eq!(shape(q(3), &minimum).quantity, q(3));
    }

    proptest! {
        #[test]
        fn never_more_than_the_source_has_less_the_buffer_nor_more_than_the_cap(
            stock in 0_u32..=1_000_000, buffer in 0_u32..100, cap in proptest::option::of(1_u32..50),
            share in 1_u32..=10_000, minimum in 0_u32..20,
        ) {
            let rules = Rules { buffer, cap, share: BasisPoints(share), minimum, ..rules() };
            let shaped = shape(q(stock), &rules).quantity.get();
            prop_assert!(shaped <= stock.saturating_sub(buffer));
            prop_assert!(cap.is_none_or(|c| shaped <= c));
            prop_assert!(shaped == 0 || shaped >= minimum);
        }
    }
}
