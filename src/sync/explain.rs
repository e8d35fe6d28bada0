//! Why a listing is what it is (requirement L7): which observation, which rule, which version, who approved.
//!
//! Everything is taken from what was written down when it was decided; nothing is worked out again. So an old number
//! explains itself by the rules of its own day, and a price by the very steps that led to it.

use crate::domain::{Currency, ListingId, Version, WatchId};
use crate::pricing::derivation;
use crate::store::Connection as AsyncPgConnection;
use crate::store::StoreError;
use crate::store::history::{self, HistoryRow};
use crate::store::holds::{self, Hold, HoldFilter};
use crate::store::listings::{self, Listing};
use crate::store::sync_log::{self, Push};
use serde::Serialize;
use serde_json::Value;

/// Pushes shown.
const PUSHES: u32 = 20;
/// Rows of history and holds looked through for the ones that belong.
const ROWS: i64 = 200;

/// The whole story of one listing.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The row: confirmed, wanted, versions.
    pub listing: Listing,
    /// The change of the source behind what is wanted.
    pub observation: Option<HistoryRow>,
    /// Who let it through, where somebody had to.
    pub approved_by: Option<String>,
    /// Holds of the listing and of the watch behind it, newest first.
    pub holds: Vec<Hold>,
    /// The newest pushes, newest first.
    pub pushes: Vec<Push>,
    /// The story in sentences, oldest first.
    pub story: Vec<String>,
    /// How the price that is wanted came about, and before it those that were sent, newest first.
    pub derivations: Vec<Derived>,
}

/// How one price came about.
#[derive(Clone, Debug, Serialize)]
pub struct Derived {
    /// The wanted version that the price is of.
    pub version: Version,
    /// Its steps, a line each; the values are in the cause that it was told from.
    pub steps: Vec<String>,
}

/// Assembles the story.
///
/// # Errors
/// [`StoreError::NotFound`] without such a listing; when the database is away or refuses.
pub async fn explain(conn: &mut AsyncPgConnection, id: ListingId) -> Result<Explanation, StoreError> {
    let listing = listings::get(conn, id).await?;
    let product = listing.basis.product_id;
    let says = |key: &str| listing.wanted_cause.as_ref().and_then(|c| c.get(key));
    let number = |key: &str| says(key).and_then(Value::as_i64);
    let source = number("watch_id")
        .map(WatchId)
        .zip(number("version").map(Version));
    let observation = match source {
        Some((watch, version)) => history::page(conn, product, None, ROWS)
            .await?
            .into_iter()
            .find(|row| row.watch_id == watch && row.version == version),
        None => None,
    };
    let filter = HoldFilter {
        product_id: Some(product),
        ..HoldFilter::default()
    };
    let holds: Vec<Hold> = holds::page(conn, &filter, None, ROWS)
        .await?
        .into_iter()
        .filter(|h| h.listing_id == Some(id) || (h.listing_id.is_none() && h.watch_id == source.map(|s| s.0)))
        .collect();
    let approved_by = says("approved_by").and_then(Value::as_str).map(str::to_owned);
    let pushes = sync_log::of_listing(conn, id, PUSHES).await?;
    let story = tell(
        &listing,
        observation.as_ref(),
        approved_by.as_deref(),
        &holds,
        &pushes,
    );
    let derivations = derivations(&listing, &pushes);
    Ok(Explanation {
        listing,
        observation,
        approved_by,
        holds,
        pushes,
        story,
        derivations,
    })
}

/// A price is told once, however many pushes carried it; one that was not sent is nobody's question any more.
fn derivations(listing: &Listing, pushes: &[Push]) -> Vec<Derived> {
    let wanted = listing.wanted_cause.as_ref();
    let wanted = wanted.map(|cause| (listing.wanted_version, cause));
    let sent = pushes.iter().filter(|push| push.new_price.is_some());
    let sent = sent.map(|push| (push.wanted_version, &push.cause));
    let mut told: Vec<Derived> = Vec::new();
    for (version, cause) in wanted.into_iter().chain(sent) {
        if told.iter().any(|one| one.version == version) {
            continue;
        }
        if let Some(steps) = derivation(cause) {
            told.push(Derived { version, steps });
        }
    }
    told
}

fn tell(
    listing: &Listing,
    observation: Option<&HistoryRow>,
    approved_by: Option<&str>,
    holds: &[Hold],
    pushes: &[Push],
) -> Vec<String> {
    let mut story = Vec::new();
    let money = |m: Option<crate::domain::Money>| m.map_or_else(|| "no price".to_owned(), |m| m.to_string());
    if let Some(seen) = observation {
        story.push(format!(
            "{}: watch `{}` showed {} pieces at {} (version {}, {})",
            seen.fetched_at.unwrap_or(seen.created_at),
            seen.watch_id,
            seen.new_stock,
            money(seen.new_price),
            seen.version,
            seen.change_source,
        ));
    }
    if let Some(price) = listing.bulk_price {
        story.push(format!(
            "{price} is on its way in one document with other prices: see `zaikoban listings bulk`"
        ));
    }
    if let (Some(wanted), Some(at)) = (listing.basis.wanted, listing.wanted_at) {
        let cause = listing.wanted_cause.as_ref();
        let rule = cause.and_then(|cause| cause.get("rule")).map(plain);
        let price = wanted.price.map(|price| price.to_string());
        let mut line = format!(
            "{at}: version {} wants {} pieces at {}, {}: {}",
            listing.wanted_version,
            wanted.quantity,
            price.unwrap_or_else(|| "the price that stands".to_owned()),
            wanted.status,
            rule.unwrap_or_else(|| "by hand".to_owned()),
        );
        if let Some(cause) = cause {
            line.push_str(&reasons(cause, listing.basis.currency));
        }
        story.push(line);
    }
    if let Some(by) = approved_by {
        story.push(format!("`{by}` let it through"));
    }
    for hold in holds.iter().rev().filter(|h| h.listing_id.is_some()) {
        story.push(format!(
            "{}: held for {} ({}{})",
            hold.created_at,
            hold.reason,
            hold.status,
            hold.decided_by
                .as_ref()
                .map(|by| format!(" by `{by}`"))
                .unwrap_or_default(),
        ));
    }
    for push in pushes.iter().rev() {
        story.push(format!(
            "{}: {} of version {}{}{}: {}",
            push.sent_at,
            push.kind,
            push.wanted_version,
            push.new_quantity
                .map(|q| format!(", quantity {q}"))
                .unwrap_or_default(),
            push.new_price.map(|p| format!(", price {p}")).unwrap_or_default(),
            push.outcome,
        ));
    }
    story
}

/// What a cause gives as reasons, each behind a semicolon. Where the steps to a price were not kept yet, this is all that
/// is told of it.
fn reasons(cause: &Value, currency: Currency) -> String {
    let text = |key: &str| match key {
        "rate" => rate(cause),
        "landed" | "needed" => cause.get(key).map(|n| format!("{} {currency}", plain(n))),
        key => cause.get(key).map(plain),
    };
    [
        ("cost", "cost"),
        ("rate", "counted with"),
        ("landed", "with shipping"),
        ("needed", "needed for the margin"),
        ("limit", "limited by the"),
        ("shaped_by", "quantity cut by the"),
        ("held", "because"),
    ]
    .into_iter()
    .filter_map(|(key, words)| Some(format!("; {words} {}", text(key)?)))
    .collect()
}

/// By which exchange rate a price was worked out: how much, whose, of which day.
fn rate(cause: &Value) -> Option<String> {
    let yen = cause.get("yen_per_unit").map(plain);
    // A price in yen needs none.
    if yen.as_deref() == Some("1") {
        return None;
    }
    let Some(quoted) = cause.get("rate") else {
        // The settings' own.
        return yen.map(|yen| format!("{yen} yen for one unit (fixed)"));
    };
    let of = |key: &str| quoted.get(key).map(plain).unwrap_or_default();
    let yen = yen.unwrap_or_else(|| "no".to_owned());
    Some(format!(
        "{yen} yen for one unit ({}, {})",
        of("source"),
        of("day")
    ))
}

/// A value of the cause as a person reads it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(money) => match (money.get("amount"), money.get("currency")) {
            (Some(amount), Some(currency)) => format!("{} {}", plain(amount), plain(currency)),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cause_of_before_is_told_with_its_currency_and_its_rate_once() {
        let mut cause = json!({
            "rule": "in_stock", "stock": 3, "cost": { "amount": "2500", "currency": "JPY" }, "landed": "25.5",
            "needed": "30", "yen_per_unit": "100", "limit": "step",
        });
        assert_eq!(
            reasons(&cause, Currency::Usd),
            "; cost 2500 JPY; counted with 100 yen for one unit (fixed); with shipping 25.5 USD; \
             needed for the margin 30 USD; limited by the step"
        );
        cause["rate"] = json!({ "source": "ecb", "day": "2026-11-20", "too_old": false });
        let told = reasons(&cause, Currency::Usd);
        assert!(
            told.contains("; counted with 100 yen for one unit (ecb, 2026-11-20); "),
            "{told}"
        );
        cause["yen_per_unit"] = json!("1");
        assert!(!reasons(&cause, Currency::Jpy).contains("counted with"));
        assert_eq!(reasons(&json!("by hand"), Currency::Jpy), "");
    }
}
