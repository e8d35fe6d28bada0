//! Rules in the words in which they are typed, for showing what is in force where nothing was typed.

use super::book::Rules;
use crate::domain::BasisPoints;
use rust_decimal::Decimal;
use serde_json::{Value, json};

impl Rules {
    /// Every key of a rule table with its value.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, Value)> {
        let bp = |points: Option<BasisPoints>| points.map_or_else(none, |points| json!(points.0));
        vec![
            ("currency", json!(self.currency.to_string())),
            ("fee_bp", bp(Some(self.fee))),
            ("fee_fixed", amount(Some(self.fee_fixed))),
            ("fee_above", amount(self.fee_above)),
            ("fee_above_bp", bp(Some(self.fee_above_rate))),
            ("fee_minimum", amount(Some(self.fee_minimum))),
            ("shipping_jpy", amount(Some(self.shipping_jpy))),
            ("margin_bp", bp(Some(self.margin))),
            ("floor", amount(self.floor)),
            ("ceiling", amount(self.ceiling)),
            ("rounding", json!(self.rounding.as_str())),
            ("step_per_change_bp", bp(self.step_per_change)),
            ("step_per_day_bp", bp(self.step_per_day)),
            ("one_way", json!(self.one_way.as_str())),
            ("sell_at_loss", json!(self.sell_at_loss)),
            ("buffer", json!(self.buffer)),
            ("cap", self.cap.map_or_else(none, |cap| json!(cap))),
            ("share_bp", bp(Some(self.share))),
            ("minimum_before_end", json!(self.minimum)),
            ("out_of_stock", json!(self.out_of_stock.as_str())),
        ]
    }
}

fn none() -> Value {
    json!("none")
}

fn amount(amount: Option<Decimal>) -> Value {
    let digits = |amount: Decimal| serde_json::from_str(&amount.to_string()).ok();
    amount.and_then(digits).unwrap_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::super::RuleSettings;
    use super::*;
    use crate::domain::DestinationPlatform;

    #[test]
    fn what_is_shown_can_be_typed_and_means_the_same() {
        for destination in DestinationPlatform::ALL {
            let rules = Rules::default_for(*destination);
            let typed: Value = rules
                .shown()
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect();
            let read = RuleSettings::from_json(&typed).unwrap();
            assert_eq!(read.over(*destination, &rules, "").unwrap(), rules);
            assert_eq!(
                read.over(*destination, &Rules::default_for(DestinationPlatform::Ebay), "")
                    .unwrap(),
                rules
            );
        }
    }
}
