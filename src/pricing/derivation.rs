//! A kept price in the steps by which it was reckoned, for a person with a calculator.
//!
//! Told from what was kept beside the price alone: neither the rules nor the rates of today are asked.

use super::book::{OneWay, Quoted};
use super::price::{Limit, Rounded};
use super::reckoning::Reckoning;
use super::rounding::Rounding;
use crate::domain::{BasisPoints, Currency, Money};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

/// The part of a kept [`super::Cause`] that a price comes from.
#[derive(Deserialize)]
struct Kept {
    cost: Money,
    yen_per_unit: Decimal,
    #[serde(default)]
    rate: Option<Quoted>,
    landed: Decimal,
    needed: Decimal,
    reckoning: Reckoning,
}

/// How the price in `cause` came about, a step a line; `None` where no price was reckoned, or one of a time when its
/// reckoning was not kept yet.
#[must_use]
pub fn derivation(cause: &Value) -> Option<Vec<String>> {
    let kept = Kept::deserialize(cause).ok()?;
    let steps = [
        Some(kept.in_yen()),
        kept.landed(),
        Some(kept.margin()),
        Some(kept.needed()),
        Some(kept.break_even()),
        kept.limits(),
        kept.rounded(),
        kept.earned(),
    ];
    Some(steps.into_iter().flatten().collect())
}

impl Kept {
    /// An amount of the listing's currency.
    fn own(&self, amount: Decimal) -> String {
        money(amount, self.reckoning.currency)
    }

    /// Whose rates were used, in brackets.
    fn whose(&self) -> String {
        let fixed = || "fixed in the settings".to_owned();
        self.rate
            .map_or_else(fixed, |own| format!("{}, {}", own.source, own.day))
    }

    fn in_yen(&self) -> String {
        let r = &self.reckoning;
        let cost = money(self.cost.amount(), self.cost.currency());
        let cost = match r.cost_yen_per_unit {
            Some(rate) => {
                let (rate, of, whose) = (plain(rate), self.cost.currency(), self.whose());
                format!("{cost} × {rate} JPY for 1 {of} ({whose})")
            }
            None => cost,
        };
        let (shipping, sum) = (yen(r.shipping_jpy), yen(r.landed_jpy));
        format!("cost {cost} + shipping {shipping} = {sum}")
    }

    fn landed(&self) -> Option<String> {
        let of = self.reckoning.currency;
        if of == Currency::Jpy {
            return None;
        }
        Some(format!(
            "{} ÷ {} JPY for 1 {of} ({}) = landed {}, rounded up at the sixth digit",
            yen(self.reckoning.landed_jpy),
            plain(self.yen_per_unit),
            self.whose(),
            self.own(self.landed),
        ))
    }

    fn margin(&self) -> String {
        let r = &self.reckoning;
        format!(
            "landed {} + margin {} of it, {} = {} to be left after fees",
            self.own(self.landed),
            percent(r.margin_bp),
            self.own(r.margin),
            self.own(self.net()),
        )
    }

    /// What the destination is to leave of the price.
    fn net(&self) -> Decimal {
        self.landed.saturating_add(self.reckoning.margin)
    }

    fn needed(&self) -> String {
        let r = &self.reckoning;
        let (net, fixed) = (plain(self.net()), plain(r.fee_fixed));
        let sum = match self.reached() {
            Part::Minimum => format!("{net} + {fixed} + {}", plain(r.fee_minimum)),
            Part::First => format!("({net} + {fixed}) ÷ (1 − {})", percent(r.fee_bp)),
            Part::Beyond(above, rate) => {
                let (first, rate) = (percent(r.fee_bp), percent(rate));
                let above = plain(above);
                format!("({net} + {fixed} + {above} × ({first} − {rate})) ÷ (1 − {rate})")
            }
        };
        format!(
            "fees are {}: needed {sum} = {}",
            self.fees(),
            self.own(self.needed)
        )
    }

    /// Which part of the destination's fees decides at the price that is needed.
    fn reached(&self) -> Part {
        let r = &self.reckoning;
        let at_minimum = self
            .net()
            .saturating_add(r.fee_fixed)
            .saturating_add(r.fee_minimum);
        // What is needed was rounded up at the sixth digit, so it is never below by more than that.
        if !r.fee_minimum.is_zero() && self.needed.saturating_sub(at_minimum) <= Decimal::new(1, 6) {
            return Part::Minimum;
        }
        match (r.fee_above, r.fee_above_bp) {
            (Some(above), Some(rate)) if self.needed > above => Part::Beyond(above, rate),
            _ => Part::First,
        }
    }

    /// What the destination takes, in words.
    fn fees(&self) -> String {
        let r = &self.reckoning;
        let mut words = percent(r.fee_bp);
        if let (Some(above), Some(rate)) = (r.fee_above, r.fee_above_bp) {
            words.push_str(&format!(
                " up to {} and {} of the rest",
                self.own(above),
                percent(rate)
            ));
        }
        if !r.fee_minimum.is_zero() {
            words.push_str(&format!(" but at least {}", self.own(r.fee_minimum)));
        }
        if !r.fee_fixed.is_zero() {
            words.push_str(&format!(" and {} a sale", self.own(r.fee_fixed)));
        }
        words
    }

    fn break_even(&self) -> String {
        let price = self.own(self.reckoning.break_even);
        format!("without margin, by the same steps, {price}: below it a sale loses money")
    }

    /// The limits that were set, and what they left; `None` where none was.
    fn limits(&self) -> Option<String> {
        let r = &self.reckoning;
        let floor = r.floor.map(|at| format!("floor {}", self.own(at)));
        let ceiling = r.ceiling.map(|at| format!("ceiling {}", self.own(at)));
        let parts: Vec<String> = floor
            .into_iter()
            .chain(ceiling)
            .chain(self.step_per_change())
            .chain(self.step_per_day())
            .chain(self.one_way())
            .collect();
        if parts.is_empty() {
            return None;
        }
        let end = |at: Option<Decimal>, by: Option<Limit>| {
            at.zip(by).map_or_else(
                || "any".to_owned(),
                |(at, by)| format!("{} ({})", self.own(at), name(by)),
            )
        };
        let lowest = end(r.lowest, r.lowest_by);
        let highest = end(r.highest, r.highest_by);
        Some(format!(
            "limits: {}: lowest {lowest}, highest {highest}",
            parts.join("; ")
        ))
    }

    /// From what a change and a direction are measured.
    fn measured_from(&self) -> Option<String> {
        let r = &self.reckoning;
        let shown = r.shown.map(|at| format!("{} shown", self.own(at)));
        let coming = r.on_its_way.map(|at| format!("{} on its way", self.own(at)));
        let from: Vec<String> = shown.into_iter().chain(coming).collect();
        (!from.is_empty()).then(|| from.join(" and "))
    }

    fn step_per_change(&self) -> Option<String> {
        let (step, from) = self.reckoning.step_per_change_bp.zip(self.measured_from())?;
        Some(format!("at most {} a change from {from}", percent(step)))
    }

    fn step_per_day(&self) -> Option<String> {
        let r = &self.reckoning;
        let (step, from) = r.step_per_day_bp.zip(r.day_began_at)?;
        Some(format!("at most {} a day from {}", percent(step), self.own(from)))
    }

    fn one_way(&self) -> Option<String> {
        let way = self.reckoning.one_way;
        let from = self.measured_from().filter(|_| way != OneWay::Both)?;
        Some(format!("only {way} from {from}"))
    }

    /// From what is needed to the price.
    fn rounded(&self) -> Option<String> {
        let r = &self.reckoning;
        let price = r.price.map(|price| self.own(price));
        let Some((rounded, price)) = r.rounded.zip(price.clone()) else {
            let stands = price.map_or_else(String::new, |price| format!("; {price} stands"));
            return Some(format!("no price lies within the limits{stands}"));
        };
        let (ending, unit) = (ending(r.rounding), ending(Rounding::Unit));
        let from = self.from();
        Some(match rounded {
            Rounded::Up => format!("{from} rounded up to {ending} = {price}"),
            Rounded::UpToUnit => {
                format!("{from} rounded up to {unit} = {price}, as {ending} lies above the highest")
            }
            Rounded::DownFromHighest => {
                format!("{from} is above the highest, which is rounded down to {ending} = {price}")
            }
            Rounded::Highest => format!("{from} is above the highest, which counts = {price}"),
        })
    }

    /// What is rounded: what is needed, or the lowest that may be asked.
    fn from(&self) -> String {
        let needed = self.own(self.needed);
        match self.reckoning.lowest.filter(|lowest| *lowest > self.needed) {
            Some(lowest) => format!("{needed} is below the lowest: {}", self.own(lowest)),
            None => needed,
        }
    }

    /// What a sale at this price brings.
    fn earned(&self) -> Option<String> {
        let r = &self.reckoning;
        let ((price, fee), gain) = r.price.zip(r.fee).zip(r.gain)?;
        let (price, fee, landed) = (self.own(price), self.own(fee), self.own(self.landed));
        let loses = gain.is_sign_negative() && !gain.is_zero();
        let word = match (loses, r.sell_at_loss) {
            (false, _) => "earned",
            (true, true) => "lost, which the rules allow",
            (true, false) => "lost",
        };
        let amount = self.own(gain.abs());
        Some(format!(
            "at {price}: fee {fee}; {price} − {fee} − landed {landed}: {amount} {word}"
        ))
    }
}

/// A part of a destination's fees.
enum Part {
    /// The least that its share comes to.
    Minimum,
    /// Its share.
    First,
    /// Its share up to a price, and another one beyond.
    Beyond(Decimal, BasisPoints),
}

fn name(limit: Limit) -> &'static str {
    match limit {
        Limit::Floor => "floor",
        Limit::Ceiling => "ceiling",
        Limit::Step => "step",
        Limit::OneWay => "one way",
    }
}

/// An ending as a thing to be rounded to.
fn ending(rounding: Rounding) -> String {
    match rounding {
        Rounding::Unit => "the smallest unit".to_owned(),
        Rounding::Whole => "the whole unit".to_owned(),
        Rounding::Tens => "tens".to_owned(),
        Rounding::Hundreds => "hundreds".to_owned(),
        Rounding::Ends99 | Rounding::Ends95 | Rounding::Ends80 | Rounding::Ends980 => {
            format!("the ending {rounding}")
        }
    }
}

fn percent(share: BasisPoints) -> String {
    format!("{} %", Decimal::new(share.0.into(), 2).normalize())
}

fn plain(number: Decimal) -> String {
    number.normalize().to_string()
}

fn yen(amount: Decimal) -> String {
    money(amount, Currency::Jpy)
}

/// An amount with at least the digits of its currency, and none of its own cut off.
fn money(amount: Decimal, currency: Currency) -> String {
    let amount = amount.normalize();
    let digits = amount.scale().max(currency.minor_digits());
    let digits = usize::try_from(digits).unwrap_or(2);
    format!("{amount:.digits$} {currency}")
}
