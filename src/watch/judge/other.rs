//! Another item under the same address: how it is told, and what follows from it.

use super::waiting::{Shows, is_held_in_mass, open_hold};
use super::{Accepted, Background, HoldStep, Judgement, NeedsBackground, Rules, Step, a_little_after};
use crate::domain::{
    BasisPoints, CostRule, HoldReason, ItemStatus, Meanwhile, Observation, Proposal, Quantity, SellerMark,
    SourceState, UrlStatus,
};
use crate::watch::diff::Change;
use crate::watch::similarity::similarity;
use chrono::{DateTime, Utc};
use serde_json::json;

/// Why the page shows another item, if it does, and what tells.
pub(super) struct Other {
    reason: HoldReason,
    stored_title: Box<str>,
    similarity: Option<BasisPoints>,
}

pub(super) fn other_item(
    accepted: &Accepted,
    page: &Observation,
    background: Option<&Background>,
    rules: &Rules,
) -> Result<Option<Other>, NeedsBackground> {
    let other = |reason, stored_title, similarity| {
        Some(Other {
            reason,
            stored_title,
            similarity,
        })
    };
    if page.url_status == UrlStatus::Changed {
        return Ok(other(HoldReason::OtherItem, Box::default(), None));
    }
    let seller = page.seller_id.as_deref().map(SellerMark::of);
    if let (Some(known), Some(now)) = (accepted.seller, seller)
        && known != now
    {
        return Ok(other(HoldReason::SellerChanged, Box::default(), None));
    }
    if accepted.title_hash.is_none_or(|known| known == page.title_hash) {
        return Ok(None);
    }
    let past = background.ok_or(NeedsBackground)?;
    if past.title.is_empty() {
        return Ok(None);
    }
    let alike = similarity(&past.title, &page.title);
    if alike >= rules.anomaly.title_similarity {
        return Ok(None);
    }
    Ok(other(HoldReason::TitleChanged, past.title.clone(), Some(alike)))
}

/// Another item's page: nothing can be bought until a person says that it is the same after all.
pub(super) fn changed(
    accepted: &Accepted,
    page: &Observation,
    other: Option<Other>,
    cost_rule: CostRule,
    rules: &Rules,
) -> Judgement {
    let shown = page.state(cost_rule, page.fetched_at);
    let open = accepted.hold.as_deref().filter(|h| h.is_open());
    let another = Another {
        reason: match (&other, open) {
            (Some(other), _) => other.reason,
            (None, Some(open)) => open.reason,
            (None, None) => HoldReason::OtherItem,
        },
        proposed: Proposal {
            stock: shown.stock,
            price: shown.price,
        },
        at: page.fetched_at,
        ends_at: page.ends_at,
        is_open: page.status == ItemStatus::Open,
    };
    let detail = || {
        json!({
            "title": page.title,
            "seller_id": page.seller_id,
            "stored_title": other.as_ref().map(|o| &o.stored_title),
            "similarity_bp": other.as_ref().and_then(|o| o.similarity),
        })
    };
    Judgement::Step(Box::new(another.step(accepted, detail, rules)))
}

/// The address leads to another item: one that does so for a minute is as good as one that shows it.
pub(super) fn moved(accepted: &Accepted, at: DateTime<Utc>, how: &str, rules: &Rules) -> Judgement {
    let since = accepted.moved_since(at);
    let confirmed_at = since.checked_add_signed(rules.confirm_after).unwrap_or(since);
    if at < confirmed_at {
        let reread_at = a_little_after(confirmed_at).unwrap_or(confirmed_at);
        return Judgement::Unclear { reread_at };
    }
    let another = Another {
        reason: HoldReason::OtherItem,
        // Nothing is known of what could be bought there.
        proposed: Proposal {
            stock: Quantity::ZERO,
            price: accepted.state.and_then(|s| s.price),
        },
        at,
        ends_at: accepted.ends_at,
        is_open: false,
    };
    let detail = || json!({ "redirect": how });
    Judgement::Step(Box::new(another.step(accepted, detail, rules)))
}

/// What is known of another item under the same address.
struct Another {
    reason: HoldReason,
    proposed: Proposal,
    at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    is_open: bool,
}

impl Another {
    fn step(&self, accepted: &Accepted, detail: impl Fn() -> serde_json::Value, rules: &Rules) -> Step {
        let Self {
            reason,
            proposed,
            at,
            ends_at,
            is_open,
        } = *self;
        let before = accepted.state;
        let known = accepted.hold.as_deref();
        let mut step = Step {
            change: None,
            hold: HoldStep::Keep,
            ends_at,
            gone_since: None,
            adopt_title: false,
            notice: None,
            recheck_at: None,
            is_open,
            passes_radius: false,
        };
        if before.is_some_and(|b| b.url_status == UrlStatus::Changed) {
            // The person who looks at it should see what the page shows now. One who has turned it down is not asked
            // again, but where nothing waits and nobody was asked, nobody could ever lead back.
            if known.is_none_or(|h| h.is_open() && h.proposed != proposed) {
                let deadline = known.map(|h| h.deadline);
                step.hold = open_hold(reason, detail(), proposed, Meanwhile::Zero, at, rules, deadline);
            }
            return step;
        }
        // Many at once were put on hold by the ledger: the emptying waits for its deadline like any other.
        let mass = known.filter(|h| is_held_in_mass(h, Shows::AnotherItem));
        if mass.is_some_and(|m| !m.released_by_reading(at)) {
            return step;
        }
        step.passes_radius = mass.is_some();
        let after = SourceState {
            stock: Quantity::ZERO,
            price: before.and_then(|b| b.price).or(proposed.price),
            url_status: UrlStatus::Changed,
        };
        step.change = Change::between(before, after, false);
        step.hold = open_hold(reason, detail(), proposed, Meanwhile::Zero, at, rules, None);
        step
    }
}
