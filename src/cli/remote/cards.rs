//! What is shown of one thing.

use super::tables::{HISTORY, LISTINGS, PUSHES, array};
use crate::cli::output::{at, card, plain, table, time};
use serde_json::Value;

/// Prices that are shown in their steps; further ones would drive the story off the screen.
const DERIVATIONS: usize = 3;

/// A product: its watches, its listings, its latest changes.
pub(super) fn product(product: &Value) -> String {
    let mut parts = Vec::new();
    for watch in array(at(product, "watches")) {
        parts.push(card(watch));
    }
    parts.push(section("listings", at(product, "listings"), LISTINGS));
    parts.push(section("latest changes", at(product, "history"), HISTORY));
    parts.join("\n\n")
}

/// A listing with its latest pushes.
pub(super) fn listing(listing: &Value) -> String {
    let mut own = listing.clone();
    let pushes = own
        .as_object_mut()
        .and_then(|fields| fields.remove("pushes"))
        .unwrap_or_default();
    format!("{}\n\n{}", card(&own), section("latest pushes", &pushes, PUSHES))
}

fn section(title: &str, items: &Value, columns: &[crate::cli::output::Column]) -> String {
    match array(items) {
        [] => format!("{title}: none"),
        items => format!("{title}\n{}", table(items, columns)),
    }
}

/// Why a listing is what it is: how it stands, then the story, oldest first.
pub(super) fn explanation(told: &Value) -> String {
    let listing = at(told, "listing");
    let basis = at(listing, "basis");
    let state = |state: &Value| {
        let quantity = plain(at(state, "quantity"));
        let price = plain(at(state, "price"));
        let status = plain(at(state, "status"));
        format!("{quantity} pieces at {price}, {status}")
    };
    let wanted = match at(basis, "wanted") {
        Value::Null => "nothing yet: its product has not been observed".to_owned(),
        wanted => state(wanted),
    };
    let mut lines = vec![
        format!(
            "listing {} of product {}, SKU `{}` at {}",
            plain(at(basis, "listing.listing_id")),
            plain(at(basis, "product_id")),
            plain(at(basis, "listing.sku")),
            plain(at(basis, "listing.destination")),
        ),
        format!("shows   {}", state(at(basis, "confirmed"))),
        format!(
            "wanted  {wanted} (version {}, confirmed up to {})",
            plain(at(listing, "wanted_version")),
            plain(at(listing, "synced_version")),
        ),
    ];
    if at(listing, "auto_sync") == false {
        lines.push("paused  nothing is sent until `zaikoban listings resume`".to_owned());
    }
    if let Some(reason) = at(listing, "held_reason").as_str() {
        lines.push(format!("held    for {reason}: nothing but a zero is sent"));
    }
    let story = array(at(told, "story"));
    if story.is_empty() {
        lines.push("nothing has happened to it yet".to_owned());
    }
    lines.extend(
        story
            .iter()
            .map(|sentence| format!("- {}", sentence_in_jst(sentence))),
    );
    lines.extend(derivations(array(at(told, "derivations"))));
    lines.join("\n")
}

/// The newest prices in the steps that led to them.
fn derivations(all: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for one in all.iter().take(DERIVATIONS) {
        lines.push(format!("price of version {}", plain(at(one, "version"))));
        let steps = array(at(one, "steps")).iter();
        lines.extend(steps.map(|step| format!("  {}", plain(step))));
    }
    let more = all.len().saturating_sub(DERIVATIONS);
    if more > 0 {
        lines.push(format!("{more} earlier prices: the same command with --json"));
    }
    lines
}

/// Sentences of the story begin with their moment.
fn sentence_in_jst(sentence: &Value) -> String {
    let text = plain(sentence);
    let told = text.split_once(": ").and_then(|(moment, rest)| {
        let moment = moment.strip_suffix(" UTC")?.replacen(' ', "T", 1);
        let shown = time(&Value::from(format!("{moment}Z")));
        shown.ends_with("JST").then(|| format!("{shown}: {rest}"))
    });
    told.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Currency, DestinationPlatform, ListingBasis, ListingId, ListingRef, ListingState, ListingStatus,
        Money, ProductId, Quantity, Version, Wanted,
    };
    use crate::store::listings::Listing;
    use crate::sync::explain::{Derived, Explanation};
    use serde_json::json;

    pub(super) fn row() -> Listing {
        let usd = |units: i64| Money::new(units.into(), Currency::Usd).ok();
        Listing {
            basis: ListingBasis {
                listing: ListingRef {
                    listing_id: ListingId(7),
                    destination: DestinationPlatform::Ebay,
                    sku: "A-1".into(),
                    platform_product_id: "offer-1".into(),
                },
                product_id: ProductId(3),
                currency: Currency::Usd,
                confirmed: ListingState {
                    status: ListingStatus::Active,
                    quantity: Quantity::new(1).unwrap(),
                    price: usd(50),
                },
                wanted: Some(Wanted {
                    quantity: Quantity::ZERO,
                    price: usd(55),
                    status: ListingStatus::Active,
                }),
                in_flight: false,
                day_price: None,
                day_price_on: None,
                rules: None,
            },
            url: None,
            wanted_version: Version(4),
            synced_version: Version(3),
            pushing: None,
            needs_read_back: false,
            auto_sync: false,
            held_reason: Some("radius".into()),
            wanted_cause: None,
            wanted_at: None,
            last_synced_at: None,
            last_sync_log_id: None,
            revisions_day: None,
            revisions: 0,
            read_back: None,
            bulk_price: None,
            bulk_waits: false,
        }
    }

    #[test]
    fn an_explanation_says_how_it_stands_and_then_the_story() {
        let told = Explanation {
            listing: row(),
            observation: None,
            approved_by: None,
            holds: Vec::new(),
            pushes: Vec::new(),
            story: vec![
                "2026-11-22 04:14:07.250 UTC: version 4 wants 0 pieces".into(),
                "`hana` let it through".into(),
            ],
            derivations: (1..=5)
                .rev()
                .map(|version| Derived {
                    version: Version(version),
                    steps: vec!["cost 1000 JPY".into(), "earned".into()],
                })
                .collect(),
        };
        let expected = "\
listing 7 of product 3, SKU `A-1` at ebay
shows   1 pieces at 50 USD, active
wanted  0 pieces at 55 USD, active (version 4, confirmed up to 3)
paused  nothing is sent until `zaikoban listings resume`
held    for radius: nothing but a zero is sent
- 2026-11-22 13:14:07 JST: version 4 wants 0 pieces
- `hana` let it through
price of version 5
  cost 1000 JPY
  earned
price of version 4
  cost 1000 JPY
  earned
price of version 3
  cost 1000 JPY
  earned
2 earlier prices: the same command with --json";
        assert_eq!(explanation(&json!(told)), expected);
    }

    #[test]
    fn a_listing_is_a_card_with_a_table_of_its_pushes() {
        let push = json!({
            "sent_at": "2026-11-22T04:14:07Z", "kind": "revise", "wanted_version": 4, "old_quantity": 1, "new_quantity": 0,
            "old_price": null, "new_price": null, "currency": "USD", "outcome": "accepted", "delay_ms": 31.75,
        });
        let expected = "\
id                   7
sku                  A-1

latest pushes
 SENT                     KIND    VERSION  QTY  TO  PRICE  TO  IN   OUTCOME   MS
 2026-11-22 13:14:07 JST  revise  4        1    0   -      -   USD  accepted  32";
        assert_eq!(
            listing(&json!({ "id": 7, "sku": "A-1", "pushes": [push] })),
            expected
        );
        assert!(listing(&json!({ "id": 7, "pushes": [] })).ends_with("latest pushes: none"));
    }

    #[test]
    fn a_product_shows_its_watches_its_listings_and_what_changed() {
        let shown = product(&json!({
            "id": 3, "title": "a lamp", "listings": [],
            "watches": [{ "watch_id": 5, "price": { "amount": "4980", "currency": "JPY" }, "ends_at": null }],
            "history": [{
                "created_at": "2026-11-22T04:14:07Z", "version": 2, "previous_stock": 1, "new_stock": 0,
                "previous_price": "4980", "new_price": "4980", "currency": "JPY", "change_source": "yahoo" }],
        }));
        let expected = "\
ends_at              -
price                4980 JPY
watch_id             5

listings: none

latest changes
 WHEN                     VERSION  STOCK  TO  PRICE  TO    IN   BY
 2026-11-22 13:14:07 JST  2        1      0   4980   4980  JPY  yahoo";
        assert_eq!(shown, expected);
    }
}
