//! The entries of a batch: each item's own, judged alone.

use super::asin::Asin;
use super::fault;
use crate::domain::{ErrorClass, Money};
use crate::platform::PlatformError;
use crate::platform::json::{At, Drift};
use std::collections::HashMap;

/// What an item costs, or that nobody offers it.
pub(super) type Cost = Result<Option<Money>, PlatformError>;

/// What each item's own entry says. Entries about nothing that was asked are ignored, and told.
pub(super) fn each(
    asins: &[Asin],
    entries: &[At<'_>],
    named: impl Fn(&At<'_>) -> Result<String, Drift>,
    read: impl Fn(&At<'_>, &Asin) -> Cost,
) -> HashMap<Asin, Cost> {
    let names: Vec<Option<String>> = entries.iter().map(|entry| named(entry).ok()).collect();
    let is_asked = |name: &&Option<String>| {
        name.as_ref()
            .is_some_and(|name| asins.iter().any(|asin| asin.as_str() == name))
    };
    let strangers = names.len() - names.iter().filter(is_asked).count();
    if strangers > 0 {
        tracing::warn!(
            platform = "amazon",
            strangers,
            "Amazon's answer holds {strangers} entries about nothing that was asked, or unreadable; they are ignored"
        );
    }
    let costs = asins.iter().map(|asin| {
        let mut own = entries
            .iter()
            .zip(&names)
            .filter(|(_, name)| name.as_deref() == Some(asin.as_str()));
        let cost = match (own.next(), own.next()) {
            (Some((entry, _)), None) => read(entry, asin),
            (first, _) => Err(left_out(asin, first.is_some())),
        };
        (asin.clone(), cost)
    });
    all_refused_alike(costs.collect())
}

/// An answer that finds each of several items "invalid" speaks of the question, not of the items: it must not empty the
/// shop.
fn all_refused_alike(mut costs: HashMap<Asin, Cost>) -> HashMap<Asin, Cost> {
    let gone = |cost: &Cost| matches!(cost, Err(error) if error.class == ErrorClass::NotFound);
    if costs.len() > 1 && costs.values().all(gone) {
        for error in costs.values_mut().filter_map(|cost| cost.as_mut().err()) {
            error.class = ErrorClass::Rejected;
            error.code = "amazon_all_refused".into();
            error.message = format!(
                "{}; so it says of each item of the batch, which is not believed: check `marketplace` in \
                 `[platforms.amazon]`, and whether the account may read there",
                error.message
            )
            .into();
        }
    }
    costs
}

/// What an item gets of which the answer does not speak, or speaks more than once.
fn left_out(asin: &Asin, more: bool) -> PlatformError {
    let got = if more { "more" } else { "none" };
    let drift = Drift {
        path: format!("[asin={asin}]"),
        what: format!("expected one entry for the item, got {got}"),
    };
    fault::contract(&format!("speak of `{asin}`"), &drift, None)
}
