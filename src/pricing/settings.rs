//! The settings as typed, and what they mean.
//!
//! Two stages: [`Settings`] takes whatever was typed, even a text where a number belongs, so that nothing stops at the
//! first mistake; [`Settings::resolve`] turns it into a [`PriceBook`] or into *all* [`Problem`]s. A listing's own rules
//! (`listing_platforms.rules`) are a [`RuleSettings`] too, laid over those of its destination.

use super::book::{OutOfStock, PriceBook, Rates, Rules};
use super::rounding::Rounding;
use crate::domain::{BasisPoints, Currency, DestinationPlatform};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The `[pricing]` table as typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Yen for one unit of each other currency: `{ USD = 150.25 }`. Money is always counted from yen.
    pub exchange_rates: BTreeMap<String, Value>,
    /// The rules of each destination by its name: `ebay`, `mercari`, `amazon_seller`.
    pub destinations: BTreeMap<String, RuleSettings>,
    /// Anything else, which is a mistake.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// The rules of one destination or the differences of one listing, as typed. What is left out stays as it was.
#[derive(Clone, Debug, Default)]
pub struct RuleSettings(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for RuleSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self)
    }
}

/// One mistake in the settings: where, what was expected, what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key below `pricing`: `destinations.ebay.fee_bp`.
    pub key: String,
    /// What would have been understood, with an example.
    pub expected: String,
    /// What stands there, cut to 60 characters.
    pub got: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}, got {}", self.key, self.expected, self.got)
    }
}

/// Every key of a rule table.
pub const RULE_KEYS: [&str; 20] = [
    "currency",
    "fee_bp",
    "fee_fixed",
    "fee_above",
    "fee_above_bp",
    "fee_minimum",
    "shipping_jpy",
    "margin_bp",
    "floor",
    "ceiling",
    "rounding",
    "step_per_change_bp",
    "step_per_day_bp",
    "one_way",
    "sell_at_loss",
    "buffer",
    "cap",
    "share_bp",
    "minimum_before_end",
    "out_of_stock",
];

/// Rules whose values are words, even those that look like numbers.
const WORDS: [&str; 4] = ["currency", "rounding", "one_way", "out_of_stock"];

/// The value of the rule `key`, as somebody means it who types it without quotes.
#[must_use]
pub fn typed_rule(key: &str, text: &str) -> Value {
    let read = (!WORDS.contains(&key)).then(|| serde_json::from_str::<Value>(text));
    match read {
        Some(Ok(value @ (Value::Number(_) | Value::Bool(_)))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Reads fields one by one and remembers what was wrong with each.
struct Reader<'a> {
    prefix: String,
    fields: &'a BTreeMap<String, Value>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, key: &str, expected: &str, got: &str) {
        self.problems.push(Problem {
            key: format!("{}{key}", self.prefix),
            expected: expected.to_owned(),
            got: got.chars().take(60).collect(),
        });
    }

    /// Takes `key` through `read` into `into`; leaves it alone when the key is absent.
    fn take<T>(&mut self, key: &str, expected: &str, into: &mut T, read: impl Fn(&Value) -> Option<T>) {
        let Some(value) = self.fields.get(key) else {
            return;
        };
        match read(value) {
            Some(read) => *into = read,
            None => self.problem(key, expected, &value.to_string()),
        }
    }
}

impl RuleSettings {
    /// Reads a listing's own rules.
    ///
    /// # Errors
    /// When `value` is no table.
    pub fn from_json(value: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(value)
    }

    /// Lays these settings over `base`, the rules of `destination`.
    ///
    /// # Errors
    /// Every mistake, with `prefix` before its key.
    pub fn over(
        &self,
        destination: DestinationPlatform,
        base: &Rules,
        prefix: &str,
    ) -> Result<Rules, Vec<Problem>> {
        let mut rules = base.clone();
        let mut r = Reader {
            prefix: prefix.to_owned(),
            fields: &self.0,
            problems: Vec::new(),
        };
        for key in self.0.keys().filter(|k| !RULE_KEYS.contains(&k.as_str())) {
            let known = RULE_KEYS.join(", ");
            r.problem(key, &format!("one of {known}"), "an unknown key");
        }
        r.take(
            "currency",
            "a currency code, such as \"USD\"",
            &mut rules.currency,
            named,
        );
        r.take(
            "fee_bp",
            "basis points from 0 to 9000, such as 1325 for 13.25 %",
            &mut rules.fee,
            |v| bp(v, 0, 9_000),
        );
        r.take(
            "fee_fixed",
            "an amount from 0, such as 0.40",
            &mut rules.fee_fixed,
            amount,
        );
        r.take(
            "fee_above",
            "an amount above 0, or \"none\"",
            &mut rules.fee_above,
            |v| optional(v, above_zero),
        );
        r.take(
            "fee_above_bp",
            "basis points from 0 to 9000, such as 235 for 2.35 %",
            &mut rules.fee_above_rate,
            |v| bp(v, 0, 9_000),
        );
        r.take(
            "fee_minimum",
            "an amount from 0, such as 30",
            &mut rules.fee_minimum,
            amount,
        );
        r.take(
            "shipping_jpy",
            "yen from 0, such as 1800",
            &mut rules.shipping_jpy,
            amount,
        );
        r.take(
            "margin_bp",
            "basis points from 0 to 100000, such as 2000 for 20 %",
            &mut rules.margin,
            |v| bp(v, 0, 100_000),
        );
        r.take("floor", "an amount above 0, or \"none\"", &mut rules.floor, |v| {
            optional(v, above_zero)
        });
        r.take(
            "ceiling",
            "an amount above 0, or \"none\"",
            &mut rules.ceiling,
            |v| optional(v, above_zero),
        );
        let endings = Rounding::ALL
            .iter()
            .map(|n| n.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        r.take(
            "rounding",
            &format!("one of {endings}"),
            &mut rules.rounding,
            named,
        );
        let step = "basis points from 1 to 1000000, such as 3000 for 30 %, or \"none\"";
        r.take("step_per_change_bp", step, &mut rules.step_per_change, |v| {
            optional(v, |v| bp(v, 1, 1_000_000))
        });
        r.take("step_per_day_bp", step, &mut rules.step_per_day, |v| {
            optional(v, |v| bp(v, 1, 1_000_000))
        });
        r.take("one_way", "one of both, up, down", &mut rules.one_way, named);
        r.take(
            "sell_at_loss",
            "true or false",
            &mut rules.sell_at_loss,
            Value::as_bool,
        );
        r.take("buffer", "pieces from 0 to 1000000", &mut rules.buffer, |v| {
            pieces(v, 0)
        });
        r.take(
            "cap",
            "pieces from 1 to 1000000, or \"none\"",
            &mut rules.cap,
            |v| optional(v, |v| pieces(v, 1)),
        );
        r.take(
            "share_bp",
            "basis points from 1 to 10000, such as 5000 for half",
            &mut rules.share,
            |v| bp(v, 1, 10_000),
        );
        r.take(
            "minimum_before_end",
            "pieces from 0 to 1000000",
            &mut rules.minimum,
            |v| pieces(v, 0),
        );
        r.take("out_of_stock", "one of zero, end", &mut rules.out_of_stock, named);
        if destination == DestinationPlatform::AmazonSeller && rules.out_of_stock == OutOfStock::End {
            // Asked for again and again, it would never be seen to have happened.
            r.problem(
                "out_of_stock",
                "zero, as Amazon has no end of a listing that could be undone",
                "end",
            );
        }
        together(&rules, &mut r);
        if r.problems.is_empty() {
            Ok(rules)
        } else {
            Err(r.problems)
        }
    }
}

/// What no field can say alone.
fn together(rules: &Rules, r: &mut Reader<'_>) {
    let digits = rules.currency.minor_digits();
    for (key, amount) in [
        ("floor", rules.floor),
        ("ceiling", rules.ceiling),
        ("fee_fixed", Some(rules.fee_fixed)),
        ("fee_above", rules.fee_above),
        ("fee_minimum", Some(rules.fee_minimum)),
    ] {
        if let Some(amount) = amount
            && amount.normalize().scale() > digits
        {
            let expected = format!("at most {digits} digits behind the point in {}", rules.currency);
            r.problem(key, &expected, &amount.to_string());
        }
    }
    if let (Some(floor), Some(ceiling)) = (rules.floor, rules.ceiling)
        && floor > ceiling
    {
        r.problem(
            "floor",
            &format!("no more than the ceiling {ceiling}"),
            &floor.to_string(),
        );
    }
    if !rules.rounding.fits(rules.currency) {
        let expected = format!("an ending that {} has, such as \"80\"", rules.currency);
        r.problem("rounding", &expected, rules.rounding.as_str());
    }
    if let Some(cap) = rules.cap
        && rules.minimum > cap
    {
        let expected = format!("no more than the cap {cap}, or nothing is ever offered");
        r.problem("minimum_before_end", &expected, &rules.minimum.to_string());
    }
}

impl Settings {
    /// What these settings mean.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn resolve(&self) -> Result<PriceBook, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut problem = |key: String, expected: String, got: String| {
            let got = got.chars().take(60).collect();
            problems.push(Problem { key, expected, got });
        };
        for key in self.unknown.keys() {
            problem(
                key.clone(),
                "exchange_rates or destinations".into(),
                "an unknown key".into(),
            );
        }
        let mut rates = Rates::default();
        for (code, value) in &self.exchange_rates {
            let key = format!("exchange_rates.{code}");
            match (Currency::from_str(code), above_zero(value)) {
                (Ok(Currency::Jpy), _) => problem(
                    key,
                    "another currency than JPY, which all are counted in".into(),
                    value.to_string(),
                ),
                (Err(error), _) => problem(key, error.to_string(), format!("`{code}`")),
                (_, None) => problem(
                    key,
                    "yen for one unit, above 0, such as 150.25".into(),
                    value.to_string(),
                ),
                (Ok(currency), Some(yen)) => rates.set(currency, yen),
            }
        }
        let mut destinations = BTreeMap::new();
        let mut nested = Vec::new();
        for &destination in DestinationPlatform::ALL {
            destinations.insert(destination, Rules::default_for(destination));
        }
        for (name, settings) in &self.destinations {
            match DestinationPlatform::from_str(name) {
                Err(error) => problem(
                    format!("destinations.{name}"),
                    error.to_string(),
                    format!("`{name}`"),
                ),
                Ok(destination) => {
                    let base = Rules::default_for(destination);
                    match settings.over(destination, &base, &format!("destinations.{name}.")) {
                        Err(found) => nested.extend(found),
                        Ok(rules) => {
                            if rates.yen_per_unit(rules.currency).is_none() {
                                let key = format!("exchange_rates.{}", rules.currency);
                                let expected = format!(
                                    "yen for one {}, because `destinations.{name}` sells in it",
                                    rules.currency
                                );
                                problem(key, expected, "nothing".into());
                            }
                            destinations.insert(destination, rules);
                        }
                    }
                }
            }
        }
        problems.extend(nested);
        if problems.is_empty() {
            Ok(PriceBook::new(rates, destinations))
        } else {
            Err(problems)
        }
    }
}

/// A number or the text of one, without going through a float: `0.1` typed is `0.1` meant.
fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => Decimal::from_str(text).ok(),
        Value::Number(n) => Decimal::from_str(&n.to_string())
            .ok()
            .or_else(|| n.as_f64().and_then(Decimal::from_f64)),
        _ => None,
    }
    .filter(|n| n.abs() <= Decimal::from(10_000_000_000_i64))
}

fn amount(value: &Value) -> Option<Decimal> {
    number(value).filter(|n| !n.is_sign_negative() || n.is_zero())
}

fn above_zero(value: &Value) -> Option<Decimal> {
    amount(value).filter(|n| !n.is_zero())
}

fn pieces(value: &Value, least: u32) -> Option<u32> {
    let n = u32::try_from(value.as_u64()?).ok()?;
    (least..=1_000_000).contains(&n).then_some(n)
}

fn bp(value: &Value, least: u32, most: u32) -> Option<BasisPoints> {
    let n = u32::try_from(value.as_u64()?).ok()?;
    (least..=most).contains(&n).then_some(BasisPoints(n))
}

fn named<T: FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// `"none"` (or null in a listing's own rules) takes a limit away.
#[expect(
    clippy::option_option,
    reason = "the outer says readable, the inner says limited"
)]
fn optional<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    if value.is_null() || value.as_str() == Some("none") {
        return Some(None);
    }
    read(value).map(Some)
}

impl<'de> Deserialize<'de> for PriceBook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Settings::deserialize(deserializer)?
            .resolve()
            .map_err(|problems| {
                let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
                serde::de::Error::custom(lines.join("; "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resolve(value: Value) -> Result<PriceBook, Vec<Problem>> {
        Settings::deserialize(value).unwrap().resolve()
    }

    fn keys(problems: &[Problem]) -> Vec<&str> {
        let mut keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_key() {
        let problems = resolve(json!({
            "exchange_rate": 1,
            "exchange_rates": { "USD": 0, "XXX": 3, "JPY": 1, "EUR": "160.5" },
            "destinations": {
                "ebay": { "fee_bp": "much", "floor": 20, "ceiling": 10, "rounding": ".98", "marjin": 3, "cap": 0 },
                "etsy": {},
            },
        }))
        .unwrap_err();
        assert_eq!(
            keys(&problems),
            [
                "destinations.ebay.cap",
                "destinations.ebay.fee_bp",
                "destinations.ebay.floor",
                "destinations.ebay.marjin",
                "destinations.ebay.rounding",
                "destinations.etsy",
                "exchange_rate",
                "exchange_rates.JPY",
                "exchange_rates.USD",
                "exchange_rates.XXX",
            ]
        );
        let shown = problems.iter().find(|p| p.key.ends_with("fee_bp")).unwrap();
        assert_eq!(
            shown.to_string(),
            "`destinations.ebay.fee_bp`: expected basis points from 0 to 9000, such as 1325 for 13.25 %, got \"much\""
        );
    }

    #[test]
    fn a_destination_needs_the_rate_of_its_currency() {
        let problems = resolve(json!({ "destinations": { "ebay": {} } })).unwrap_err();
        assert_eq!(keys(&problems), ["exchange_rates.USD"]);
    }

    #[test]
    fn an_ending_with_cents_does_not_go_with_yen() {
        let problems = resolve(json!({ "destinations": { "mercari": { "rounding": ".99" } } })).unwrap_err();
        assert_eq!(keys(&problems), ["destinations.mercari.rounding"]);
    }

    #[test]
    fn a_limit_is_taken_away_by_none_and_kept_by_silence() {
        let book = resolve(json!({
            "exchange_rates": { "USD": 150 },
            "destinations": { "ebay": { "step_per_day_bp": "none", "floor": "9.99" } },
        }))
        .unwrap();
        let rules = book.rules(DestinationPlatform::Ebay);
        assert_eq!(rules.step_per_day, None);
        assert_eq!(rules.floor, Some("9.99".parse().unwrap()));
        assert_eq!(rules.fee, Rules::default_for(DestinationPlatform::Ebay).fee);
    }

    #[test]
    fn a_number_with_a_point_is_read_as_typed() {
        assert_eq!(number(&json!(0.1)), Some("0.1".parse().unwrap()));
        assert_eq!(number(&json!(150.25)), Some("150.25".parse().unwrap()));
        assert_eq!(number(&json!(1e300)), None);
    }

    #[test]
    fn a_rule_typed_without_quotes_means_what_it_means_in_the_settings() {
        let typed: Value = [
            ("rounding", "80"),
            ("one_way", "up"),
            ("floor", "1000"),
            ("ceiling", "none"),
            ("margin_bp", "1500"),
            ("sell_at_loss", "true"),
            ("fee_fixed", "40"),
        ]
        .into_iter()
        .map(|(key, text)| (key.to_owned(), typed_rule(key, text)))
        .collect();
        let base = Rules::default_for(DestinationPlatform::Mercari);
        let rules = RuleSettings::from_json(&typed)
            .unwrap()
            .over(DestinationPlatform::Mercari, &base, "")
            .unwrap();
        assert_eq!(
            (rules.rounding, rules.margin),
            (Rounding::Ends80, BasisPoints(1_500))
        );
        assert_eq!((rules.floor, rules.ceiling), (Some(Decimal::from(1_000)), None));
        assert!(rules.sell_at_loss);
    }

    #[test]
    fn own_rules_in_a_currency_that_cannot_be_sold_in_are_refused_with_all_the_rest() {
        let book = resolve(json!({ "exchange_rates": { "USD": 150 } })).unwrap();
        let problems = |own: Value| {
            let found = book.problems_of(DestinationPlatform::Ebay, &own, Some(Currency::Usd));
            keys(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(problems(json!({ "currency": "USD", "cap": 3 })), [""; 0]);
        assert_eq!(
            problems(json!({ "currency": "EUR", "cap": 0, "marjin": 1 })),
            ["rules.cap", "rules.currency", "rules.currency", "rules.marjin"]
        );
    }

    #[test]
    fn a_price_book_reads_straight_from_settings_and_names_what_is_wrong() {
        let error = serde_json::from_value::<PriceBook>(json!({ "destinations": { "ebay": { "cap": -1 } } }))
            .unwrap_err();
        assert!(error.to_string().contains("destinations.ebay.cap"), "{error}");
    }
}
