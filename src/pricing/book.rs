//! The rules that turn what a source costs into what a shop asks, ready for use.

use super::rounding::Rounding;
use super::settings::{Problem, RuleSettings};
use crate::domain::{
    BasisPoints, Currency, DestinationPlatform, Money, QuoteInUse, RateSource, UnknownName, names,
};
use chrono::NaiveDate;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::{fmt, str::FromStr};

names!(
    /// Which way a price may move by itself.
    OneWay {
        /// Up and down.
        Both = "both",
        /// Only up: a cheaper source is the seller's gain.
        Up = "up",
        /// Only down.
        Down = "down",
    }
);
names!(
    /// What a listing does when its product cannot be bought.
    OutOfStock {
        /// Its quantity is 0; it stays listed and keeps its place in the search. At eBay the account needs out-of-stock
        /// control for that.
        Zero = "zero",
        /// It is ended, for whatever reason it would have no pieces.
        End = "end",
    }
);

/// The pricing and shaping rules of one destination or listing. Amounts are in `currency` unless the name says yen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// What the destination sells in.
    pub currency: Currency,
    /// The destination's share of the price.
    pub fee: BasisPoints,
    /// The destination's fixed part per sale.
    pub fee_fixed: Decimal,
    /// Of the part of a price above this …
    pub fee_above: Option<Decimal>,
    /// … the destination's share is this.
    pub fee_above_rate: BasisPoints,
    /// The least that its share comes to.
    pub fee_minimum: Decimal,
    /// What sending one piece costs the seller, in yen.
    pub shipping_jpy: Decimal,
    /// What the seller wants on top of cost and shipping.
    pub margin: BasisPoints,
    /// Never below.
    pub floor: Option<Decimal>,
    /// Never above.
    pub ceiling: Option<Decimal>,
    /// How prices end.
    pub rounding: Rounding,
    /// The largest move away from the price that stands, in one change.
    pub step_per_change: Option<BasisPoints>,
    /// The largest move away from the price at the start of the day (Asia/Tokyo).
    pub step_per_day: Option<BasisPoints>,
    /// Which way the price may move by itself.
    pub one_way: OneWay,
    /// Whether a price that loses money is acceptable.
    pub sell_at_loss: bool,
    /// Pieces of the source's stock that are never offered.
    pub buffer: u32,
    /// The most pieces to offer.
    pub cap: Option<u32>,
    /// The share of the source's stock to offer, rounded down.
    pub share: BasisPoints,
    /// With fewer pieces than this, none are offered.
    pub minimum: u32,
    /// What happens when there are none.
    pub out_of_stock: OutOfStock,
}

impl Rules {
    /// What holds where nothing was set: fees as published, a fifth of margin, at most 30 % a change and 50 % a day.
    #[must_use]
    pub fn default_for(destination: DestinationPlatform) -> Self {
        let none = Decimal::ZERO;
        let (currency, fee, fee_fixed, rounding) = match destination {
            // eBay: 13.25 % in most categories and 0.40 USD an order.
            DestinationPlatform::Ebay => (Currency::Usd, 1_325, Decimal::new(40, 2), Rounding::Ends99),
            // Mercari Shops: 10 %.
            DestinationPlatform::Mercari => (Currency::Jpy, 1_000, none, Rounding::Ends80),
            // Amazon.co.jp: 15 % in most categories.
            DestinationPlatform::AmazonSeller => (Currency::Jpy, 1_500, none, Rounding::Tens),
        };
        let (fee_above, fee_above_rate, fee_minimum) = match destination {
            // Of what goes beyond 7,500 USD eBay takes 2.35 %.
            DestinationPlatform::Ebay => (Some(Decimal::from(7_500)), 235, none),
            DestinationPlatform::Mercari => (None, 0, none),
            // Amazon's fee for a sale is at least 30 yen.
            DestinationPlatform::AmazonSeller => (None, 0, Decimal::from(30)),
        };
        // Mercari Shops takes prices from 300 to 9,999,999 yen and no others.
        let bounds = match destination {
            DestinationPlatform::Mercari => Some((Decimal::from(300), Decimal::from(9_999_999))),
            DestinationPlatform::Ebay | DestinationPlatform::AmazonSeller => None,
        };
        Self {
            currency,
            fee: BasisPoints(fee),
            fee_fixed,
            fee_above,
            fee_above_rate: BasisPoints(fee_above_rate),
            fee_minimum,
            shipping_jpy: Decimal::ZERO,
            margin: BasisPoints(2_000),
            floor: bounds.map(|(floor, _)| floor),
            ceiling: bounds.map(|(_, ceiling)| ceiling),
            rounding,
            step_per_change: Some(BasisPoints(3_000)),
            step_per_day: Some(BasisPoints(5_000)),
            one_way: OneWay::Both,
            sell_at_loss: false,
            buffer: 0,
            cap: None,
            share: BasisPoints(10_000),
            minimum: 0,
            out_of_stock: OutOfStock::Zero,
        }
    }
}

/// Exchange rates, counted in yen: a fixed table of the settings, or what a source quoted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    yen: BTreeMap<Currency, Decimal>,
    /// `None` for the settings' own.
    #[serde(skip_serializing_if = "Option::is_none")]
    quoted: Option<Quoted>,
}

/// Whose rates, and of which day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// Who quoted them.
    pub source: RateSource,
    /// For which day.
    pub day: NaiveDate,
    /// They are known, and nothing is priced by them any more.
    pub too_old: bool,
}

impl Rates {
    /// One unit of `currency` costs so many yen.
    pub(super) fn set(&mut self, currency: Currency, yen: Decimal) {
        self.yen.insert(currency, yen);
    }

    /// What a source quoted.
    fn of(own: &QuoteInUse) -> Self {
        Self {
            yen: own.quote.yen().clone(),
            quoted: Some(Quoted {
                source: own.quote.source(),
                day: own.quote.day(),
                too_old: own.too_old,
            }),
        }
    }

    /// Whose they are; `None` for the settings' own.
    #[must_use]
    pub fn quoted(&self) -> Option<Quoted> {
        self.quoted
    }

    /// The table, whether or not anything is priced by it.
    #[must_use]
    pub fn table(&self) -> &BTreeMap<Currency, Decimal> {
        &self.yen
    }

    /// For people: whose, of which day, how much.
    #[must_use]
    pub fn told(&self) -> Value {
        json!({
            "source": self.quoted.map_or(RateSource::Fixed, |own| own.source),
            "day": self.quoted.map(|own| own.day),
            "too_old": self.quoted.is_some_and(|own| own.too_old),
            "rates": self.yen,
        })
    }

    /// Yen for one unit, if it is known and may be priced by; 1 for the yen.
    #[must_use]
    pub fn yen_per_unit(&self, currency: Currency) -> Option<Decimal> {
        if currency == Currency::Jpy {
            return Some(Decimal::ONE);
        }
        let usable = !self.quoted.is_some_and(|own| own.too_old);
        self.yen.get(&currency).copied().filter(|_| usable)
    }

    /// `money` in yen; `None` without a rate or when it cannot be counted.
    pub(super) fn to_yen(&self, money: Money) -> Option<Decimal> {
        money.amount().checked_mul(self.yen_per_unit(money.currency())?)
    }

    /// Yen in `currency`, rounded up at the sixth digit so that a cost is never made smaller by counting.
    pub(super) fn in_currency(&self, yen: Decimal, currency: Currency) -> Option<Decimal> {
        let amount = yen.checked_div(self.yen_per_unit(currency)?)?;
        Some(amount.round_dp_with_strategy(6, RoundingStrategy::AwayFromZero))
    }
}

/// Every rule that turns what was seen into what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceBook {
    rates: Rates,
    destinations: BTreeMap<DestinationPlatform, Rules>,
}

impl PriceBook {
    /// A book of these rates and rules; a destination that is left out follows [`Rules::default_for`].
    #[must_use]
    pub fn new(rates: Rates, mut destinations: BTreeMap<DestinationPlatform, Rules>) -> Self {
        for &destination in DestinationPlatform::ALL {
            destinations
                .entry(destination)
                .or_insert_with(|| Rules::default_for(destination));
        }
        Self { rates, destinations }
    }

    /// The same rules with the rates that a source quoted.
    #[must_use]
    pub fn quoted(&self, own: &QuoteInUse) -> Self {
        Self {
            rates: Rates::of(own),
            destinations: self.destinations.clone(),
        }
    }

    /// The exchange rates.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The rules of a destination.
    #[must_use]
    pub fn rules(&self, destination: DestinationPlatform) -> Cow<'_, Rules> {
        self.destinations
            .get(&destination)
            .map_or_else(|| Cow::Owned(Rules::default_for(destination)), Cow::Borrowed)
    }

    /// Everything that is wrong with a listing's own rules, where a person gives them. `sold_in` is what the listing is
    /// sold in, as far as it is known.
    #[must_use]
    pub fn problems_of(
        &self,
        destination: DestinationPlatform,
        own: &Value,
        sold_in: Option<Currency>,
    ) -> Vec<Problem> {
        let mut problems = self.rules_for(destination, Some(own)).err().unwrap_or_default();
        let asked = own.get("currency").and_then(Value::as_str);
        let Some(currency) = asked.and_then(|code| Currency::from_str(code).ok()) else {
            return problems;
        };
        let mut problem = |expected: String| {
            problems.push(Problem {
                key: "rules.currency".to_owned(),
                expected,
                got: currency.to_string(),
            });
        };
        // By rules in another currency nothing could be priced: the listing would be held at once.
        if let Some(sold_in) = sold_in.filter(|sold_in| *sold_in != currency) {
            problem(format!("{sold_in}, which the listing is sold in"));
        }
        if currency != Currency::Jpy && !self.rates.table().contains_key(&currency) {
            problem("a currency with an exchange rate (`pricing.exchange_rates`)".to_owned());
        }
        problems
    }

    /// The rules of one listing: its own differences laid over its destination's.
    ///
    /// # Errors
    /// Every mistake in the listing's own rules.
    pub fn rules_for(
        &self,
        destination: DestinationPlatform,
        own: Option<&Value>,
    ) -> Result<Cow<'_, Rules>, Vec<Problem>> {
        let base = self.rules(destination);
        let Some(own) = own else {
            return Ok(base);
        };
        let settings = RuleSettings::from_json(own).map_err(|error| {
            vec![Problem {
                key: "rules".to_owned(),
                expected: "a table of rules".to_owned(),
                got: error.to_string(),
            }]
        })?;
        settings.over(destination, &base, "rules.").map(Cow::Owned)
    }
}
