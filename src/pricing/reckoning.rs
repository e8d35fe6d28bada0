//! What a price was reckoned by, kept beside it.
//!
//! Rules change, and a price that was made by the old ones is asked about later. So the values that were used are kept,
//! not the place where they stand in the settings, and with them the amounts that they came to: who has them can reckon
//! the price anew without knowing anything else ([`super::derivation()`] does it in words).

use super::book::{OneWay, Rates, Rules};
use super::price::{Bound, Costing, Limit, Priced, Rounded, Standing};
use super::rounding::Rounding;
use crate::domain::{BasisPoints, Currency, Money};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// How a price came about: the rules of that moment and the amounts that they came to.
///
/// Amounts are in `currency` unless the name says yen. What does not apply is left out; an amount left out is zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reckoning {
    /// What the listing is sold in.
    pub currency: Currency,
    /// Yen for one unit of what the source asks, where it does not ask yen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_yen_per_unit: Option<Decimal>,
    /// What sending one piece costs.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub shipping_jpy: Decimal,
    /// Cost and shipping, before they were counted in `currency`.
    pub landed_jpy: Decimal,
    /// The seller's share on top of cost and shipping …
    pub margin_bp: BasisPoints,
    /// … and what it came to.
    pub margin: Decimal,
    /// The destination's share of a price.
    pub fee_bp: BasisPoints,
    /// Of the part of a price above this …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_above: Option<Decimal>,
    /// … its share is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_above_bp: Option<BasisPoints>,
    /// The least that its share comes to.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub fee_minimum: Decimal,
    /// Its fixed part per sale.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub fee_fixed: Decimal,
    /// The price at which nothing is won or lost.
    pub break_even: Decimal,
    /// Never below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Decimal>,
    /// Never above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Decimal>,
    /// The largest move in one change, away from `shown` and from `on_its_way`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_per_change_bp: Option<BasisPoints>,
    /// The largest move away from `day_began_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_per_day_bp: Option<BasisPoints>,
    /// Which way the price may move by itself.
    pub one_way: OneWay,
    /// What the destination showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Decimal>,
    /// What it may have shown in a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_its_way: Option<Decimal>,
    /// What it showed when the day began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_began_at: Option<Decimal>,
    /// The lowest price that these limits left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest: Option<Decimal>,
    /// Which of them made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_by: Option<Limit>,
    /// The highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<Decimal>,
    /// Which of them made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_by: Option<Limit>,
    /// How prices end.
    pub rounding: Rounding,
    /// How this one came there; left out when no price was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounded: Option<Rounded>,
    /// Whether a price that loses money was acceptable.
    pub sell_at_loss: bool,
    /// The price; where none was set, the one that stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Decimal>,
    /// What the destination keeps of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Decimal>,
    /// What is left of it then, over cost and shipping; below zero is a loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<Decimal>,
}

/// What a [`Reckoning`] is made of.
pub(super) struct Reckoned<'a> {
    /// What the source asks.
    pub(super) cost: Money,
    /// What that makes.
    pub(super) costing: Costing,
    /// The prices that steps were measured from.
    pub(super) standing: Standing,
    /// What came out.
    pub(super) priced: Priced,
    /// The price that a buyer would pay.
    pub(super) asked: Option<Decimal>,
    /// The rules used.
    pub(super) rules: &'a Rules,
    /// The rates used.
    pub(super) rates: &'a Rates,
}

impl Reckoning {
    pub(super) fn new(of: &Reckoned<'_>) -> Self {
        let (rules, costing, standing) = (of.rules, of.costing, of.standing);
        let (lowest, lowest_by) = bound(of.priced.lowest);
        let (highest, highest_by) = bound(of.priced.highest);
        let fee = of.asked.and_then(|price| rules.fee_of(price));
        let left = of.asked.zip(fee).and_then(|(price, fee)| price.checked_sub(fee));
        let gain = left.and_then(|left| left.checked_sub(costing.landed));
        let day_began_at = standing.day.or(standing.current);
        Self {
            currency: rules.currency,
            cost_yen_per_unit: foreign(of.cost, of.rates),
            shipping_jpy: rules.shipping_jpy.normalize(),
            landed_jpy: costing.landed_jpy.normalize(),
            margin_bp: rules.margin,
            margin: costing.margin.normalize(),
            fee_bp: rules.fee,
            fee_above: tidy(rules.fee_above),
            fee_above_bp: rules.fee_above.map(|_| rules.fee_above_rate),
            fee_minimum: rules.fee_minimum.normalize(),
            fee_fixed: rules.fee_fixed.normalize(),
            break_even: costing.break_even.normalize(),
            floor: tidy(rules.floor),
            ceiling: tidy(rules.ceiling),
            step_per_change_bp: rules.step_per_change,
            step_per_day_bp: rules.step_per_day,
            one_way: rules.one_way,
            shown: tidy(standing.current),
            on_its_way: tidy(standing.in_flight),
            day_began_at: tidy(day_began_at),
            lowest,
            lowest_by,
            highest,
            highest_by,
            rounding: rules.rounding,
            rounded: of.priced.rounded,
            sell_at_loss: rules.sell_at_loss,
            price: tidy(of.asked),
            fee: tidy(fee),
            gain: tidy(gain),
        }
    }
}

/// Yen for one unit of what the source asks, where it does not ask yen.
fn foreign(cost: Money, rates: &Rates) -> Option<Decimal> {
    let rate = rates.yen_per_unit(cost.currency());
    rate.filter(|_| cost.currency() != Currency::Jpy)
}

/// A bound that no limit made is the tables' own, and nobody's rule.
fn bound(bound: Bound) -> (Option<Decimal>, Option<Limit>) {
    (bound.by.map(|_| bound.amount.normalize()), bound.by)
}

/// Without the zeros that arithmetic leaves behind.
fn tidy(amount: Option<Decimal>) -> Option<Decimal> {
    amount.map(|amount| amount.normalize())
}
