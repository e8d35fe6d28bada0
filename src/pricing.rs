//! From what sources show to what a listing should be.
//!
//! [`wanted`] is one pure function: the states of a product's watches, the standing of a listing, the [`PriceBook`] and
//! `now` in; quantity, price, status and the whole reasoning out. The ledger calls it for a change, a person's decision
//! calls it, `sync` calls it when rules move, and the dry run calls it to show what would be: one reckoning for all.
//!
//! # What is promised
//! - On sale is never below the floor, and never at a loss unless the rules say so: the quantity is 0 instead, with a
//!   stated reason.
//! - A price never moves further than the step limits say, counted from what the destination shows, from what it may
//!   show in a moment (a push under way), and from the start of the day in Asia/Tokyo.
//! - Where something needed is *unknown* (an exchange rate, a rule that cannot be read), no price is set and the
//!   quantity may only go down: not knowing never sells more, and never empties a shop either.
//! - Of several watches the cheapest in stock counts, the older watch on equal cost. A watch that is paused says
//!   nothing; one that has never been observed, or waits for a person with "zero meanwhile", has no stock.
//!
//! Steps that were cut short say in [`WantedDecision::again_at`] when to work them out again.

mod book;
mod derivation;
mod exchange;
mod fees;
mod price;
mod reckoning;
mod rounding;
mod settings;
mod shape;
mod shown;

pub use book::{OneWay, OutOfStock, PriceBook, Quoted, Rates, Rules};
pub use derivation::derivation;
pub use exchange::{
    Before, Implausible, RateGuards, RateMove, RateVerdict, is_too_old, judge as judge_rates,
};
pub use price::{Limit, Rounded};
pub use reckoning::Reckoning;
pub use rounding::Rounding;
pub use settings::{Problem, RULE_KEYS, RuleSettings, Settings, typed_rule};
pub use shape::{ShapeRule, Shaped};

use crate::domain::{
    Currency, ListingBasis, ListingStatus, Meanwhile, Money, Quantity, SourcePlatform, UrlStatus, Version,
    Wanted, WatchId, WatchState,
};
use chrono::{DateTime, Days, NaiveDate, TimeZone, Utc};
use price::{Costing, Standing};
use reckoning::Reckoned;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;

/// What a listing should be, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedDecision {
    /// Pieces on sale.
    pub quantity: Quantity,
    /// The price of one; `None` leaves the price that stands alone.
    pub price: Option<Money>,
    /// Active or ended.
    pub status: ListingStatus,
    /// The reasoning, for `wanted_cause`; [`Cause`] as JSON.
    pub cause: Value,
    /// Why this is not what the stock and cost call for, when it is not.
    pub held: Option<HeldReason>,
    /// When a step limit that cut this price short opens again.
    pub again_at: Option<DateTime<Utc>>,
}

impl WantedDecision {
    /// The three values.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            quantity: self.quantity,
            price: self.price,
            status: self.status,
        }
    }

    /// The same where a listing without pieces cannot stay: whatever the reason for a zero, the listing is ended.
    fn ended_at_zero(self) -> Self {
        let status = if self.quantity.is_zero() {
            ListingStatus::Ended
        } else {
            self.status
        };
        Self { status, ..self }
    }

    /// The queue's priority: taking an offer away goes before everything.
    #[must_use]
    pub fn priority(&self) -> i16 {
        if self.quantity.is_zero() || self.status == ListingStatus::Ended {
            1
        } else {
            5
        }
    }
}

/// Why a listing is not what stock and cost call for. A person can change each of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "code")]
pub enum HeldReason {
    /// The best price that the limits allow loses money.
    #[error("at {price} {currency} one sale loses {loss} {currency}: the limits allow no higher price")]
    Loss {
        /// The best price.
        price: Decimal,
        /// What one sale would lose.
        loss: Decimal,
        /// The listing's currency.
        currency: Currency,
    },
    /// No price satisfies every limit, and the one that stands may not be sold at.
    #[error("no price lies within all limits: raise the step limit or set the price by hand")]
    OutOfReach,
    /// A currency without a rate.
    #[error("no exchange rate for {currency}: set `pricing.exchange_rates.{currency}`")]
    NoExchangeRate {
        /// The currency.
        currency: Currency,
    },
    /// A source's rate that was not renewed for too long.
    #[error(
        "the exchange rate for {currency} is of {day}, too old to price by: `zaikoban schedule run exchange_rates` asks for a new one"
    )]
    RateTooOld {
        /// The currency.
        currency: Currency,
        /// The day of the rate.
        day: NaiveDate,
    },
    /// The listing is sold in another currency than its rules count in.
    #[error("the listing is sold in {listing}, its rules count in {rules}: set `currency` in its rules")]
    CurrencyDiffers {
        /// The listing's.
        listing: Currency,
        /// The rules'.
        rules: Currency,
    },
    /// The listing's own rules cannot be read.
    #[error("the listing's own rules are wrong: {problems}")]
    BadRules {
        /// Every mistake, joined.
        problems: String,
    },
    /// A number that cannot be counted.
    #[error("the cost is too large to be counted")]
    TooLarge,
}

/// The reasoning behind a wanted state, as kept in `wanted_cause` and shown by `explain`.
///
/// Writers may add keys of their own beside these (`approved_by`, `explained`, `hold_id`, …).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// What decided: `in_stock`, `out_of_stock`, `loss`, `unknown`.
    pub rule: &'static str,
    /// The watch that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_id: Option<WatchId>,
    /// Where it looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourcePlatform>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// When its page was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<DateTime<Utc>>,
    /// Pieces at the source.
    pub stock: Quantity,
    /// What one costs there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// Cost and shipping in the listing's currency, rounded up at the sixth digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landed: Option<Decimal>,
    /// The price that brings the margin, in the listing's currency, rounded up at the sixth digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<Decimal>,
    /// Yen for one unit of the listing's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yen_per_unit: Option<Decimal>,
    /// Whose rate that is, and of which day, where it is not the settings' own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Quoted>,
    /// The limit that decided the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The rules that the price was reckoned by, and the amounts that they came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reckoning: Option<Reckoning>,
    /// The rule that made the quantity smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shaped_by: Option<ShapeRule>,
    /// Why this is not what stock and cost call for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// When to work it out again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_at: Option<DateTime<Utc>>,
}

/// What `listing` should be, given what its product's watches show; `None` while nothing is known of the product.
///
/// Nothing is known when every watch is paused or none has ever been observed: then what is wanted stays as it is.
#[must_use]
pub fn wanted(
    product: &[WatchState],
    listing: &ListingBasis,
    book: &PriceBook,
    now: DateTime<Utc>,
) -> Option<WantedDecision> {
    let told = product.iter().filter(|w| w.enabled).any(|w| w.state.is_some());
    if !told {
        return None;
    }
    let rules = match book.rules_for(listing.listing.destination, listing.rules.as_ref()) {
        Ok(rules) => Ok(rules),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            Err(HeldReason::BadRules {
                problems: lines.join("; "),
            })
        }
    };
    let zero_ends = rules.as_deref().is_ok_and(|r| r.out_of_stock == OutOfStock::End);
    let decision = match cheapest(product, book.rates()) {
        None => nothing_to_sell(product, rules.as_deref().ok()),
        Some(offer) => match rules {
            Ok(rules) => on_offer(&offer, listing, &rules, book.rates(), now),
            Err(reason) => {
                let rules = book.rules(listing.listing.destination);
                unknown(&offer, listing, &rules, reason)
            }
        },
    };
    Some(if zero_ends {
        decision.ended_at_zero()
    } else {
        decision
    })
}

/// The watch that counts, and what it offers.
struct Offer<'a> {
    watch: &'a WatchState,
    stock: Quantity,
    cost: Money,
}

impl Offer<'_> {
    fn cause(&self, rule: &'static str) -> Cause {
        Cause {
            rule,
            stock: self.stock,
            cost: Some(self.cost),
            ..Cause::of(rule, Some(self.watch))
        }
    }
}

impl Cause {
    fn of(rule: &'static str, watch: Option<&WatchState>) -> Self {
        Self {
            rule,
            watch_id: watch.map(|w| w.watch_id),
            source: watch.map(|w| w.source),
            version: watch.map(|w| w.version),
            fetched_at: watch.and_then(|w| w.fetched_at),
            stock: Quantity::ZERO,
            cost: watch.and_then(|w| w.state).and_then(|s| s.price),
            landed: None,
            needed: None,
            yen_per_unit: None,
            rate: None,
            limit: None,
            reckoning: None,
            shaped_by: None,
            held: None,
            again_at: None,
        }
    }

    fn decide(mut self, wanted: Wanted, held: Option<HeldReason>) -> WantedDecision {
        self.held = held.as_ref().map(ToString::to_string);
        let again_at = self.again_at;
        WantedDecision {
            quantity: wanted.quantity,
            price: wanted.price,
            status: wanted.status,
            // A struct of plain values always becomes JSON.
            cause: serde_json::to_value(self).unwrap_or(Value::Null),
            held,
            again_at,
        }
    }
}

/// Whether a watch has pieces to buy, and for how much.
fn offer(watch: &WatchState) -> Option<Offer<'_>> {
    let state = watch.state?;
    let on_sale = watch.enabled
        && watch.held != Some(Meanwhile::Zero)
        && state.url_status == UrlStatus::Active
        && !state.stock.is_zero();
    let cost = state.price.filter(|cost| on_sale && !cost.is_zero())?;
    Some(Offer {
        watch,
        stock: state.stock,
        cost,
    })
}

/// The cheapest in stock; costs without a rate come last, because they cannot be compared.
fn cheapest<'a>(product: &'a [WatchState], rates: &Rates) -> Option<Offer<'a>> {
    product.iter().filter_map(offer).min_by_key(|offer| {
        let yen = rates.to_yen(offer.cost);
        (yen.is_none(), yen, offer.watch.watch_id)
    })
}

fn out_of_stock(rules: Option<&Rules>, cause: Cause) -> WantedDecision {
    let status = match rules.map(|r| r.out_of_stock) {
        Some(OutOfStock::End) => ListingStatus::Ended,
        Some(OutOfStock::Zero) | None => ListingStatus::Active,
    };
    let wanted = Wanted {
        quantity: Quantity::ZERO,
        price: None,
        status,
    };
    cause.decide(wanted, None)
}

/// No watch has a piece. The newest reading is named as the reason.
fn nothing_to_sell(product: &[WatchState], rules: Option<&Rules>) -> WantedDecision {
    let newest = product
        .iter()
        .filter(|w| w.enabled && w.state.is_some())
        .max_by_key(|w| w.fetched_at);
    out_of_stock(rules, Cause::of("out_of_stock", newest))
}

/// Something needed is not known: no price, and never more than now.
fn unknown(offer: &Offer<'_>, listing: &ListingBasis, rules: &Rules, reason: HeldReason) -> WantedDecision {
    let shown = match listing.confirmed.status {
        ListingStatus::Ended => Quantity::ZERO,
        _ => listing.confirmed.quantity,
    };
    // The lesser of what a buyer sees and what is on its way: neither is raised at a price that nobody has worked out.
    let now = listing.wanted.map_or(shown, |w| w.quantity.min(shown));
    let shaped = shape::shape(offer.stock, rules);
    let cause = Cause {
        shaped_by: shaped.rule,
        ..offer.cause("unknown")
    };
    let wanted = Wanted {
        quantity: shaped.quantity.min(now),
        price: None,
        status: listing.wanted.map_or(listing.confirmed.status, |w| w.status),
    };
    cause.decide(wanted, Some(reason))
}

fn on_offer(
    offer: &Offer<'_>,
    listing: &ListingBasis,
    rules: &Rules,
    rates: &Rates,
    now: DateTime<Utc>,
) -> WantedDecision {
    let shaped = shape::shape(offer.stock, rules);
    let cause = Cause {
        shaped_by: shaped.rule,
        yen_per_unit: rates.yen_per_unit(rules.currency),
        rate: rates.quoted(),
        ..offer.cause("in_stock")
    };
    if shaped.quantity.is_zero() {
        return out_of_stock(
            Some(rules),
            Cause {
                rule: "out_of_stock",
                ..cause
            },
        );
    }
    if listing.currency != rules.currency {
        let reason = HeldReason::CurrencyDiffers {
            listing: listing.currency,
            rules: rules.currency,
        };
        return unknown(offer, listing, rules, reason);
    }
    let costing = match price::cost(offer.cost, rules, rates) {
        Ok(costing) => costing,
        Err(reason) => return unknown(offer, listing, rules, reason),
    };
    let cause = Cause {
        landed: Some(costing.landed),
        needed: Some(costing.needed),
        ..cause
    };
    let standing = standing(listing, now);
    let priced = price::price(costing, rules, standing);
    let cut_short = priced.limit == Some(Limit::Step);
    let cause = Cause {
        limit: priced.limit,
        again_at: cut_short.then(|| next_day(now)).flatten(),
        ..cause
    };
    let money = priced
        .price
        .and_then(|amount| Money::new(amount, rules.currency).ok());
    // Without a new price the one that stands is judged: it is what a buyer would pay.
    let asked = money.map(Money::amount).or(standing.current);
    let reckoning = Reckoning::new(&Reckoned {
        cost: offer.cost,
        costing,
        standing,
        priced,
        asked,
        rules,
        rates,
    });
    let cause = Cause {
        reckoning: Some(reckoning),
        ..cause
    };
    match judge(asked, costing, rules) {
        Some(reason) => not_at_this_price(cause, money, reason),
        None => {
            let wanted = Wanted {
                quantity: shaped.quantity,
                price: money,
                status: ListingStatus::Active,
            };
            let held = money.is_none().then_some(HeldReason::OutOfReach);
            cause.decide(wanted, held)
        }
    }
}

/// Known and bad: nothing is offered, but the price may go where it is allowed to.
fn not_at_this_price(cause: Cause, price: Option<Money>, reason: HeldReason) -> WantedDecision {
    let wanted = Wanted {
        quantity: Quantity::ZERO,
        price,
        status: ListingStatus::Active,
    };
    Cause {
        rule: "loss",
        ..cause
    }
    .decide(wanted, Some(reason))
}

/// Why `asked` may not be sold at, if it may not.
fn judge(asked: Option<Decimal>, costing: Costing, rules: &Rules) -> Option<HeldReason> {
    let Some(price) = asked else {
        return Some(HeldReason::OutOfReach);
    };
    if rules.floor.is_some_and(|floor| price < floor) {
        return Some(HeldReason::OutOfReach);
    }
    if price < costing.break_even && !rules.sell_at_loss {
        // What would be left of the price, against what the piece costs.
        let left = rules.fee_of(price).map_or(Decimal::ZERO, |fee| price - fee);
        return Some(HeldReason::Loss {
            price,
            loss: (costing.landed - left).round_dp(2),
            currency: rules.currency,
        });
    }
    None
}

/// The prices to measure steps from.
fn standing(listing: &ListingBasis, now: DateTime<Utc>) -> Standing {
    let amount = |money: Option<Money>| {
        money
            .filter(|m| m.currency() == listing.currency && !m.is_zero())
            .map(Money::amount)
    };
    let today = Some(day_of(now));
    Standing {
        current: amount(listing.confirmed.price),
        in_flight: amount(listing.wanted.filter(|_| listing.in_flight).and_then(|w| w.price)),
        day: amount(listing.day_price.filter(|_| listing.day_price_on == today)),
    }
}

/// The day in Asia/Tokyo, which step limits per day are counted by.
#[must_use]
pub fn day_of(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&chrono_tz::Asia::Tokyo).date_naive()
}

/// When the next day begins in Asia/Tokyo.
fn next_day(now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let midnight = day_of(now).checked_add_days(Days::new(1))?.and_hms_opt(0, 0, 0)?;
    let start = chrono_tz::Asia::Tokyo.from_local_datetime(&midnight).earliest()?;
    Some(start.with_timezone(&Utc))
}

#[cfg(test)]
mod tests;
