//! What an observation means for a watch: the law of the flow, as one pure function.
//!
//! [`judge`] takes what counts ([`Accepted`]), what was seen and the rules, and says what takes effect, what waits for a
//! person, and what is only remembered. It asks nobody: where it needs the past (the stored title, the recent prices) it
//! answers [`Judgement::NeedsBackground`] and is called again with it, so that a watcher can stay at a kilobyte.
//!
//! # The rules, in the order in which they win
//! 1. An observation that is not newer than what counts is refused, unless it is older by more than a minute: then the
//!    clock was set back, by which nothing may come to a standstill, and it counts from now on.
//! 2. A page that is gone (404, 410, removed) means nothing the first time; seen again a minute later it is *dead* and its
//!    stock is 0. Only then.
//! 3. Another item under the same address (title, seller or id) is *changed*: stock 0 at once, and back only by a person.
//!    An address that leads to another item is one when it still does so a minute later.
//! 4. An open page whose end has passed is not yet anything: caches, extensions. It is read again until it says so itself
//!    or until [`Rules::terminal_grace`] has passed.
//! 5. What is out of stock has no price worth judging: the last one stays.
//! 6. **Quantity down and price up take effect at once**, whatever else is odd and whether or not something already
//!    waits. Quantity up and price down only when nothing is odd. What is left over waits as a hold with a proposal.
//! 7. A proposal that a person has turned down is not made again as long as the page shows the same.
//! 8. A hold that is void (the page is normal again, or the version moved) is superseded in the same transaction.
//!
//! The blast radius is not judged here: it needs to see all products, and so belongs to the ledger. An open
//! `mass_change` hold is honoured here: the emptying waits until the deadline, and a reading after it that still shows
//! none releases it. One that a person turned down is honoured for what they turned down: who said that a page is wrong
//! to say "sold out" has not said so of a page that is gone, nor of another item.

mod other;
mod rules;
mod waiting;

pub use rules::{HoldRules, Rules};
pub use waiting::new_hold;

use super::anomaly::{Band, PriceVerdict, judge_price};
use super::diff::Change;
use crate::domain::{
    CostRule, HoldId, HoldReason, ItemStatus, KnownHold, Money, NewHold, Observation, Quantity, SellerMark,
    SourceState, TitleHash, UrlStatus, Version,
};
use chrono::{DateTime, TimeDelta, Utc};
use other::{changed, moved, other_item};
use serde_json::json;
use waiting::{Shows, settle, withhold};

/// What counts for a watch: the last state that was committed, and what is needed to judge the next page.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// How many states there were.
    pub version: Version,
    /// The last; `None` while never observed.
    pub state: Option<SourceState>,
    /// The hash of the stored title.
    pub title_hash: Option<TitleHash>,
    /// Who sold it.
    pub seller: Option<SellerMark>,
    /// The appointment: when the auction is to end.
    pub ends_at: Option<DateTime<Utc>>,
    /// When the page was first seen gone or ended.
    pub gone_since: Option<DateTime<Utc>>,
    /// Since when the address leads to another item. In memory alone: after a restart its minute begins anew.
    pub moved_since: Option<DateTime<Utc>>,
    /// When the page behind all this was read.
    pub fetched_at: Option<DateTime<Utc>>,
    /// What waits, or was turned down.
    pub hold: Option<Box<KnownHold>>,
}

impl Accepted {
    /// Since when it is gone, seen gone at `at`. What lies ahead was written by a clock that was set back since: the
    /// minute of confirmation begins anew.
    fn gone_since(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        self.gone_since.filter(|since| *since <= at).unwrap_or(at)
    }

    /// Since when it leads elsewhere, seen to do so at `at`.
    pub(super) fn moved_since(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        self.moved_since.filter(|since| *since <= at).unwrap_or(at)
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A page that was understood.
    Page(&'a Observation),
    /// Confirmed by the server: there is no such page.
    Gone {
        /// When it said so.
        at: DateTime<Utc>,
    },
    /// The server leads to another item.
    Moved {
        /// When it did so.
        at: DateTime<Utc>,
        /// Its words, with where it leads.
        how: &'a str,
    },
}

impl Seen<'_> {
    /// When the answer's last byte was read.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Page(page) => page.fetched_at,
            Self::Gone { at } | Self::Moved { at, .. } => *at,
        }
    }
}

/// The past of a watch, loaded when it is needed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Background {
    /// The stored title; empty when none is known.
    pub title: Box<str>,
    /// The last accepted prices, newest first.
    pub prices: Vec<Money>,
}

/// What follows from an observation.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It is not newer than what counts.
    Older,
    /// It cannot be judged without the past.
    NeedsBackground,
    /// It means nothing yet: read again then.
    Unclear {
        /// When.
        reread_at: DateTime<Utc>,
    },
    /// It means this.
    Step(Box<Step>),
}

/// What an observation does.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What takes effect.
    pub change: Option<Change>,
    /// What becomes of holds.
    pub hold: HoldStep,
    /// The appointment from now on.
    pub ends_at: Option<DateTime<Utc>>,
    /// Since when the page is gone or ended.
    pub gone_since: Option<DateTime<Utc>>,
    /// Whether the page's title and seller are those of the item from now on.
    pub adopt_title: bool,
    /// Something a person should know, though nothing waits for them.
    pub notice: Option<Notice>,
    /// Look again then, to confirm.
    pub recheck_at: Option<DateTime<Utc>>,
    /// Whether the page is one whose appointment still lies ahead.
    pub is_open: bool,
    /// Whether the blast radius has nothing to say: the end was announced, or confirmed after the deadline.
    pub passes_radius: bool,
}

impl Step {
    /// Whether something happened that the change rate should learn from: stock or price moved, and nobody had said
    /// when. An end that was announced is none, whatever made us look.
    #[must_use]
    pub fn is_material(&self) -> bool {
        let unforeseen = |c: Change| c.kind().is_some() && !(c.explained && c.empties());
        self.change.is_some_and(unforeseen) || matches!(self.hold, HoldStep::Open(_))
    }
}

/// What becomes of holds with a step.
#[derive(Clone, Debug, PartialEq)]
pub enum HoldStep {
    /// Nothing: what waits goes on waiting, what was turned down stays so.
    Keep,
    /// What is known is void: an open one is superseded.
    Clear,
    /// The reading after the deadline confirmed it: it is accepted.
    Release(HoldId),
    /// A new one, in the place of any that is open.
    Open(Box<NewHold>),
}

/// Something that took effect and that a person should know about.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// A stable code: `price_rise`.
    pub code: &'static str,
    /// What was seen, in one sentence.
    pub message: String,
    /// The numbers.
    pub detail: serde_json::Value,
}

/// A watch has one look under way at a time, stamped by our own clock when the last byte was read. What is older by
/// more than this can only come from a clock that was set back; refusing it would watch nothing for as long. The same
/// slack as the planner's.
const CLOCK_SLACK: TimeDelta = TimeDelta::seconds(60);

/// What `seen` means for a watch of which `accepted` counts.
#[must_use]
pub fn judge(
    accepted: &Accepted,
    seen: Seen<'_>,
    cost_rule: CostRule,
    background: Option<&Background>,
    rules: &Rules,
) -> Judgement {
    let at = seen.at();
    let is_older = |last: DateTime<Utc>| at <= last && last.signed_duration_since(at) <= CLOCK_SLACK;
    if accepted.fetched_at.is_some_and(is_older) {
        return Judgement::Older;
    }
    let page = match seen {
        Seen::Gone { .. } => return gone(accepted, at, rules),
        Seen::Moved { how, .. } => return moved(accepted, at, how, rules),
        Seen::Page(page) if page.status == ItemStatus::Removed || page.url_status == UrlStatus::Dead => {
            return gone(accepted, at, rules);
        }
        Seen::Page(page) => page,
    };
    let other = match other_item(accepted, page, background, rules) {
        Ok(other) => other,
        Err(NeedsBackground) => return Judgement::NeedsBackground,
    };
    if other.is_some() || accepted.state.is_some_and(|s| s.url_status == UrlStatus::Changed) {
        return changed(accepted, page, other, cost_rule, rules);
    }
    let passed = page.ends_at.filter(|end| *end <= at);
    if let (ItemStatus::Open, Some(end)) = (page.status, passed)
        && at.signed_duration_since(end) < rules.terminal_grace
    {
        let reread_at = at.checked_add_signed(rules.reread_after).unwrap_or(at);
        return Judgement::Unclear { reread_at };
    }
    ordinary(accepted, page, cost_rule, background, rules)
}

/// The past is needed and not there.
struct NeedsBackground;

/// The server says that there is no such page.
fn gone(accepted: &Accepted, at: DateTime<Utc>, rules: &Rules) -> Judgement {
    let since = accepted.gone_since(at);
    let confirmed_at = since.checked_add_signed(rules.confirm_after).unwrap_or(since);
    let before = accepted.state;
    let mut step = Step {
        change: None,
        hold: HoldStep::Keep,
        ends_at: accepted.ends_at,
        gone_since: Some(since),
        adopt_title: false,
        notice: None,
        recheck_at: None,
        is_open: false,
        passes_radius: false,
    };
    if at < confirmed_at {
        step.recheck_at = a_little_after(confirmed_at);
        return Judgement::Step(Box::new(step));
    }
    if before.is_some_and(|b| b.url_status == UrlStatus::Changed) {
        // Back from `changed` only by a person: a gap in between must neither lead back by itself, nor take away what
        // they would say so to.
        return Judgement::Step(Box::new(step));
    }
    let after = SourceState {
        stock: Quantity::ZERO,
        price: before.and_then(|b| b.price),
        url_status: UrlStatus::Dead,
    };
    settle(accepted, &mut step, after, at, (Shows::NoPage, false));
    Judgement::Step(Box::new(step))
}

/// When to look for a confirmation: the second sighting must not come too soon by a rounding.
fn a_little_after(confirmed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    confirmed_at.checked_add_signed(TimeDelta::seconds(2))
}

/// The page shows the item.
fn ordinary(
    accepted: &Accepted,
    page: &Observation,
    cost_rule: CostRule,
    background: Option<&Background>,
    rules: &Rules,
) -> Judgement {
    let at = page.fetched_at;
    let shown = page.state(cost_rule, at);
    let ended = page.status == ItemStatus::Ended;
    let before = accepted.state;
    let gone_since = ended.then(|| accepted.gone_since(at));
    let mut step = Step {
        change: None,
        hold: HoldStep::Keep,
        ends_at: page.ends_at,
        gone_since,
        adopt_title: true,
        notice: None,
        recheck_at: None,
        is_open: !ended,
        passes_radius: false,
    };
    if shown.stock.is_zero() {
        let over_for = gone_since.map(|since| at.signed_duration_since(since));
        let dead = over_for.is_some_and(|over| over >= rules.confirm_after)
            || before.is_some_and(|b| b.url_status == UrlStatus::Dead);
        let after = SourceState {
            stock: Quantity::ZERO,
            price: before.and_then(|b| b.price).or(shown.price),
            url_status: if ended && dead {
                UrlStatus::Dead
            } else {
                UrlStatus::Active
            },
        };
        let appointed = accepted.ends_at.is_some_and(|end| end <= at);
        let explained = ended && appointed;
        // An end nobody announced is looked at once more; one that was announced is confirmed on the usual round.
        if ended && !explained && !dead {
            step.recheck_at = at
                .checked_add_signed(rules.confirm_after)
                .and_then(a_little_after);
        }
        settle(accepted, &mut step, after, at, (Shows::TheItem, explained));
        return Judgement::Step(Box::new(step));
    }
    let odd = match odd_price(before, shown, background, rules, &mut step) {
        Ok(odd) => odd,
        Err(NeedsBackground) => return Judgement::NeedsBackground,
    };
    match odd {
        None => settle(accepted, &mut step, shown, at, (Shows::TheItem, true)),
        Some((reason, detail)) => withhold(accepted, &mut step, shown, (reason, detail), at, rules),
    }
    Judgement::Step(Box::new(step))
}

type Odd = Option<(HoldReason, serde_json::Value)>;

/// What is odd about the price of what is in stock. A rise is only noted: it takes effect at once.
fn odd_price(
    before: Option<SourceState>,
    shown: SourceState,
    background: Option<&Background>,
    rules: &Rules,
    step: &mut Step,
) -> Result<Odd, NeedsBackground> {
    let Some(price) = shown.price else {
        return Ok(None);
    };
    if price.is_zero() {
        let detail = json!({ "price": price, "before": before.and_then(|b| b.price) });
        return Ok(Some((HoldReason::PriceZero, detail)));
    }
    let Some(before) = before else {
        return Ok(None);
    };
    if before.price == Some(price) && before.url_status == UrlStatus::Active && before.stock >= shown.stock {
        return Ok(None);
    }
    // Up by less than the factor is never odd, and it is the commonest move of an auction: no need to ask the past.
    if before.price.is_some_and(|b| is_small_rise(b, price, rules)) {
        return Ok(None);
    }
    let past = background.ok_or(NeedsBackground)?;
    let last = before.price.or_else(|| past.prices.first().copied());
    if let Some(last) = last.filter(|last| last.currency() != price.currency()) {
        let detail = json!({ "price": price, "before": last });
        return Ok(Some((HoldReason::CurrencyChanged, detail)));
    }
    let mut history = past.prices.clone();
    if history.is_empty() {
        history.extend(before.price);
    }
    match judge_price(price, &history, &rules.anomaly) {
        PriceVerdict::Usual => Ok(None),
        PriceVerdict::Low(band) => Ok(Some((HoldReason::PriceStep, band_detail(price, before, band)))),
        PriceVerdict::High(band) => {
            step.notice = Some(Notice {
                code: "price_rise",
                message: format!(
                    "the price rose to {price}; usual is {} to {} from {} prices. It took effect at once",
                    band.low.round_dp(2),
                    band.high.round_dp(2),
                    band.prices
                ),
                detail: band_detail(price, before, band),
            });
            Ok(None)
        }
    }
}

fn is_small_rise(before: Money, price: Money, rules: &Rules) -> bool {
    let factor = rules.anomaly.price_factor.factor();
    before.currency() == price.currency()
        && price.amount() >= before.amount()
        && before
            .amount()
            .checked_mul(factor)
            .is_some_and(|most| price.amount() <= most)
}

fn band_detail(price: Money, before: SourceState, band: Band) -> serde_json::Value {
    json!({
        "price": price,
        "before": before.price,
        "median": band.median,
        "usual_from": band.low.round_dp(2),
        "usual_to": band.high.round_dp(2),
        "prices": band.prices,
    })
}

#[cfg(test)]
mod tests;
