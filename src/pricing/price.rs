//! One price: what the rules call for, and how far the limits let it go.
//!
//! *Limits are hard, endings are not.* The price that covers cost, shipping, fees and margin is worked out first; then
//! floor, ceiling, one-way rule and steps make a closed interval, and the price is the nicest one inside it. When
//! nothing is inside (a floor that lies further away than one step), no price is set at all and a person has to act.

use super::HeldReason;
use super::book::{OneWay, Rates, Rules};
use super::rounding::{Rounding, unit};
use crate::domain::{BasisPoints, Money};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// The prices that a new one is measured against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// What the destination shows.
    pub(super) current: Option<Decimal>,
    /// What it may show in a moment, because a push is under way.
    pub(super) in_flight: Option<Decimal>,
    /// What it showed when the day began.
    pub(super) day: Option<Decimal>,
}

/// A limit that kept the price from where the rules would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Never below the floor.
    Floor,
    /// Never above the ceiling.
    Ceiling,
    /// The largest step of one change or of a day.
    Step,
    /// Only up, or only down.
    OneWay,
}

/// How a price came onto its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounded {
    /// Up to the next ending.
    Up,
    /// Up to the currency's smallest unit: the next ending lies above the highest price allowed.
    UpToUnit,
    /// Down from the highest price allowed to the ending before it.
    DownFromHighest,
    /// It is the highest price allowed, whatever its ending.
    Highest,
}

/// One end of what the limits leave, and the limit that made it; `None` where only the tables and the currency bound it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// The price.
    pub(super) amount: Decimal,
    /// Whose.
    pub(super) by: Option<Limit>,
}

/// What one piece costs and what must be asked for it, all in the listing's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Costing {
    /// Cost and shipping, still in yen.
    pub(super) landed_jpy: Decimal,
    /// Cost and shipping.
    pub(super) landed: Decimal,
    /// What the seller wants on top of it.
    pub(super) margin: Decimal,
    /// The price at which nothing is won or lost.
    pub(super) break_even: Decimal,
    /// The price that brings the margin.
    pub(super) needed: Decimal,
}

/// A price and what bounded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priced {
    /// The price; `None` when no price satisfies every limit.
    pub(super) price: Option<Decimal>,
    /// Which limit decided.
    pub(super) limit: Option<Limit>,
    /// How it was rounded; `None` without a price.
    pub(super) rounded: Option<Rounded>,
    /// The lowest that the limits allow.
    pub(super) lowest: Bound,
    /// The highest.
    pub(super) highest: Bound,
}

/// What one piece costs in the listing's currency.
pub(super) fn cost(cost: Money, rules: &Rules, rates: &Rates) -> Result<Costing, HeldReason> {
    for currency in [cost.currency(), rules.currency] {
        if rates.yen_per_unit(currency).is_none() {
            return Err(match rates.quoted() {
                Some(own) if own.too_old => HeldReason::RateTooOld {
                    currency,
                    day: own.day,
                },
                _ => HeldReason::NoExchangeRate { currency },
            });
        }
    }
    reckon(cost, rules, rates).ok_or(HeldReason::TooLarge)
}

/// `None` when a number no longer fits.
fn reckon(cost: Money, rules: &Rules, rates: &Rates) -> Option<Costing> {
    let yen = rates.to_yen(cost)?.checked_add(rules.shipping_jpy)?;
    let landed = rates.in_currency(yen, rules.currency)?;
    let margin = landed.checked_mul(rules.margin.factor())?;
    let with_margin = landed.checked_add(margin)?;
    Some(Costing {
        landed_jpy: yen,
        landed,
        margin,
        break_even: rules.price_leaving(landed)?,
        needed: rules.price_leaving(with_margin)?,
    })
}

/// The closed interval that limits leave.
#[derive(Clone, Copy, Debug)]
struct Room {
    low: Bound,
    high: Bound,
}

impl Room {
    fn at_least(&mut self, amount: Decimal, limit: Limit) {
        if amount > self.low.amount {
            let by = Some(limit);
            self.low = Bound { amount, by };
        }
    }

    fn at_most(&mut self, amount: Decimal, limit: Limit) {
        if amount < self.high.amount {
            let by = Some(limit);
            self.high = Bound { amount, by };
        }
    }

    fn step(&mut self, base: Option<Decimal>, step: Option<BasisPoints>) {
        let (Some(base), Some(step)) = (base, step) else {
            return;
        };
        let far = base.saturating_mul(step.factor());
        self.at_least(base.saturating_sub(far), Limit::Step);
        self.at_most(base.saturating_add(far), Limit::Step);
    }
}

fn room(rules: &Rules, standing: Standing) -> Room {
    let smallest = unit(rules.currency);
    let largest = Money::MAX.round_dp_with_strategy(rules.currency.minor_digits(), RoundingStrategy::ToZero);
    let free = |amount| Bound { amount, by: None };
    let mut room = Room {
        low: free(smallest),
        high: free(largest),
    };
    for base in [standing.current, standing.in_flight] {
        room.step(base, rules.step_per_change);
        if let Some(base) = base {
            match rules.one_way {
                OneWay::Both => {}
                OneWay::Up => room.at_least(base, Limit::OneWay),
                OneWay::Down => room.at_most(base, Limit::OneWay),
            }
        }
    }
    room.step(standing.day.or(standing.current), rules.step_per_day);
    if let Some(ceiling) = rules.ceiling {
        // A price that stands far above the ceiling comes down to it by steps: the ceiling never asks for more.
        let reachable = ceiling.max(room.low.amount);
        room.at_most(reachable, Limit::Ceiling);
    }
    if let Some(floor) = rules.floor {
        room.at_least(floor, Limit::Floor);
    }
    // Onto the currency's own grid, inward.
    room.low.amount = Rounding::Unit
        .up(room.low.amount, rules.currency)
        .unwrap_or(room.low.amount);
    room.high.amount = Rounding::Unit
        .down(room.high.amount, rules.currency)
        .unwrap_or(Decimal::ZERO);
    room
}

/// The price for `costing` under the limits.
pub(super) fn price(costing: Costing, rules: &Rules, standing: Standing) -> Priced {
    let room = room(rules, standing);
    let (low, high) = (room.low.amount, room.high.amount);
    let priced = |price, rounded, limit| Priced {
        price,
        limit,
        rounded,
        lowest: room.low,
        highest: room.high,
    };
    if low > high {
        return priced(None, None, room.low.by.or(room.high.by));
    }
    let wish = costing.needed.max(low);
    let limit = if costing.needed < low { room.low.by } else { None };
    if let Some(nice) = rules
        .rounding
        .up(wish, rules.currency)
        .filter(|nice| *nice <= high)
    {
        return priced(Some(nice), Some(Rounded::Up), limit);
    }
    if wish <= high {
        // The next ending lies beyond a limit, and the one before it would cut the margin: no ending then.
        let plain = Rounding::Unit.up(wish, rules.currency).unwrap_or(high).min(high);
        return priced(Some(plain), Some(Rounded::UpToUnit), limit);
    }
    let nice = rules
        .rounding
        .down(high, rules.currency)
        .filter(|nice| *nice >= low && (*nice >= costing.break_even || high < costing.break_even));
    let rounded = nice.map_or(Rounded::Highest, |_| Rounded::DownFromHighest);
    priced(Some(nice.unwrap_or(high)), Some(rounded), room.high.by)
}
