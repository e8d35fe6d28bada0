//! What takes effect at once and what waits: the holds of a watch.

use super::{Accepted, HoldRules, HoldStep, Rules, Step};
use crate::domain::{HoldReason, KnownHold, Meanwhile, Money, NewHold, Proposal, SourceState, UrlStatus};
use crate::watch::diff::Change;
use chrono::{DateTime, Utc};

/// What stands at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    TheItem,
    NoPage,
    AnotherItem,
}

/// Whether the emptying by what the address `shows` waits for a person, or was turned down by one.
pub(super) fn is_held_in_mass(hold: &KnownHold, shows: Shows) -> bool {
    let was_about_it = match hold.url_status.unwrap_or(UrlStatus::Active) {
        UrlStatus::Active => shows == Shows::TheItem,
        // An ended page is dead as well as one that is gone.
        UrlStatus::Dead => shows != Shows::AnotherItem,
        UrlStatus::Changed => shows == Shows::AnotherItem,
    };
    hold.reason == HoldReason::MassChange && (hold.is_open() || was_about_it)
}

/// Nothing is odd: `after` takes effect, unless it empties a watch whose emptying waits.
pub(super) fn settle(
    accepted: &Accepted,
    step: &mut Step,
    after: SourceState,
    at: DateTime<Utc>,
    (shows, explained): (Shows, bool),
) {
    let known = accepted.hold.as_deref();
    step.passes_radius = explained;
    step.change = Change::between(accepted.state, after, explained);
    step.hold = match known {
        None => HoldStep::Keep,
        Some(_) => HoldStep::Clear,
    };
    let Some(change) = step.change.filter(Change::empties) else {
        return;
    };
    let Some(mass) = known.filter(|h| is_held_in_mass(h, shows)) else {
        return;
    };
    if explained {
        // The appointment came while it waited: nothing is left to ask.
    } else if mass.released_by_reading(at) {
        step.hold = HoldStep::Release(mass.id);
        step.passes_radius = true;
    } else {
        // It waits, or a person said that it is not so. A dearer price does not wait with it.
        step.change = change.without_stock();
        step.hold = HoldStep::Keep;
    }
}

/// Something is odd: what is safe takes effect, the rest becomes a proposal.
pub(super) fn withhold(
    accepted: &Accepted,
    step: &mut Step,
    shown: SourceState,
    (reason, detail): (HoldReason, serde_json::Value),
    at: DateTime<Utc>,
    rules: &Rules,
) {
    let known = accepted.hold.as_deref();
    let proposed = Proposal {
        stock: shown.stock,
        price: shown.price,
    };
    let same = known.filter(|h| h.reason == reason && h.proposed == proposed);
    if let Some(known) = same.filter(|h| h.released_by_reading(at)) {
        step.change = Change::between(accepted.state, shown, true);
        step.hold = HoldStep::Release(known.id);
        return;
    }
    let Some(before) = accepted.state else {
        // Never observed: there is nothing safe to fall back on, so nothing counts yet.
        if same.is_none() {
            step.hold = open_hold(reason, detail, proposed, Meanwhile::Keep, at, rules, None);
        }
        return;
    };
    let after = safe_part(before, shown);
    step.change = Change::between(accepted.state, after, true);
    if after == shown {
        step.hold = if known.is_some() {
            HoldStep::Clear
        } else {
            HoldStep::Keep
        };
        return;
    }
    let meanwhile = match reason {
        // What one costs is unknown: selling on could be at any loss.
        HoldReason::CurrencyChanged => Meanwhile::Zero,
        _ => Meanwhile::Keep,
    };
    // A cheaper one has not waited yet: or a slip of the price just before the deadline would be through at once.
    let deadline = known
        .filter(|h| h.is_open() && h.reason == reason && is_no_cheaper(proposed.price, h.proposed.price))
        .map(|h| h.deadline);
    step.hold = match same {
        // An open hold stands on a version; when the safe part moves it, the proposal is made anew on the new one.
        Some(known) if known.is_open() && step.change.is_some() => {
            open_hold(reason, detail, proposed, meanwhile, at, rules, deadline)
        }
        Some(_) => HoldStep::Keep,
        None => open_hold(reason, detail, proposed, meanwhile, at, rules, deadline),
    };
}

/// Whether `new` costs as much as `old` or more, in the same currency.
fn is_no_cheaper(new: Option<Money>, old: Option<Money>) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => new.compare(old).is_ok_and(std::cmp::Ordering::is_ge),
        _ => new == old,
    }
}

/// Quantity down and price up; everything else as it was.
fn safe_part(before: SourceState, shown: SourceState) -> SourceState {
    let dearer = match (before.price, shown.price) {
        (Some(b), Some(s)) => !s.is_zero() && b.compare(s).is_ok_and(std::cmp::Ordering::is_lt),
        _ => false,
    };
    SourceState {
        stock: before.stock.min(shown.stock),
        price: if dearer { shown.price } else { before.price },
        url_status: before.url_status,
    }
}

pub(super) fn open_hold(
    reason: HoldReason,
    detail: serde_json::Value,
    proposed: Proposal,
    meanwhile: Meanwhile,
    at: DateTime<Utc>,
    rules: &Rules,
    inherited: Option<DateTime<Utc>>,
) -> HoldStep {
    HoldStep::Open(Box::new(new_hold(
        reason,
        detail,
        proposed,
        meanwhile,
        at,
        &rules.holds,
        inherited,
    )))
}

/// A hold with the wait and the default of its reason, or with the deadline of the one it takes the place of.
#[must_use]
pub fn new_hold(
    reason: HoldReason,
    detail: serde_json::Value,
    proposed: Proposal,
    meanwhile: Meanwhile,
    at: DateTime<Utc>,
    rules: &HoldRules,
    inherited: Option<DateTime<Utc>>,
) -> NewHold {
    let (wait, default_action) = rules.of(reason);
    NewHold {
        reason,
        detail,
        proposed,
        meanwhile,
        default_action,
        deadline: inherited.unwrap_or_else(|| at.checked_add_signed(wait).unwrap_or(at)),
        fetched_at: at,
    }
}
