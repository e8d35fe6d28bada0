//! The seller's listings, and Listings Items 2021-08-01 from its published model.
//!
//! A change that is taken is answered with `ACCEPTED` and applied some time later, as on the real one; the register and
//! the ledger know the moment.

use super::super::world::Micros;
use super::answer::Answer;
use super::goods::asin;
use super::pricing::{put, value};
use super::{MARKETPLACE, Plan, SELLER_ID};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a listing holds; an item of the register, as others may read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmazonListing {
    /// The seller's key.
    pub sku: Box<str>,
    /// What it sells.
    pub asin: Box<str>,
    /// Amazon's kind of product.
    pub product_type: Box<str>,
    /// Pieces for sale.
    pub quantity: u32,
    /// The price in yen.
    pub price_jpy: u32,
    /// Amazon ships it and counts its pieces.
    pub fba: bool,
    /// Counts the changes that were applied.
    pub version: u32,
    /// Changes that are accepted and not applied yet.
    pub pending: u32,
}

/// A change of a listing by hand, at once. What is not named stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAmazonListing {
    /// Which.
    pub sku: Box<str>,
    /// Pieces for sale.
    pub quantity: Option<u32>,
    /// The price in yen.
    pub price_jpy: Option<u32>,
    /// Whether Amazon ships it.
    pub fba: Option<bool>,
}

/// What a change sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) quantity: Option<u32>,
    pub(super) price: Option<u32>,
}

/// A change that will be applied.
struct Due {
    at: Micros,
    /// In the order of acceptance, which two of one moment keep.
    number: u64,
    sku: Box<str>,
    change: Change,
}

/// All listings of the one seller.
pub(super) struct Listings {
    all: BTreeMap<Box<str>, AmazonListing>,
    due: Vec<Due>,
}

impl Listings {
    pub(super) fn new(seed: u64, listings: u32, products: u32) -> Self {
        let all = (0..listings).map(|index| {
            let sku: Box<str> = sku(index).into();
            let listing = AmazonListing {
                sku: sku.clone(),
                asin: asin(seed, index % products.max(1)).into(),
                product_type: if index % 2 == 0 { "CAMERA" } else { "TOY_FIGURE" }.into(),
                quantity: 1 + index % 4,
                price_jpy: 2_000 + index % 50 * 100,
                fba: false,
                version: 0,
                pending: 0,
            };
            (sku, listing)
        });
        Self {
            all: all.collect(),
            due: Vec::new(),
        }
    }

    pub(super) fn register(&self) -> Vec<AmazonListing> {
        self.all.values().cloned().collect()
    }

    pub(super) fn find(&self, sku: &str) -> Option<&AmazonListing> {
        self.all.get(sku)
    }

    /// Applies what is due until `now`; what was applied when, in order.
    pub(super) fn advance(&mut self, now: Micros) -> Vec<(Micros, AmazonListing)> {
        self.due.sort_by_key(|due| (due.at, due.number));
        let ready = self.due.partition_point(|due| due.at <= now);
        let ready: Vec<Due> = self.due.drain(..ready).collect();
        let mut applied = Vec::new();
        for due in ready {
            if let Some(listing) = self.all.get_mut(&due.sku) {
                listing.quantity = due.change.quantity.unwrap_or(listing.quantity);
                listing.price_jpy = due.change.price.unwrap_or(listing.price_jpy);
                listing.version = listing.version.wrapping_add(1);
                listing.pending = listing.pending.saturating_sub(1);
                applied.push((due.at, listing.clone()));
            }
        }
        applied
    }

    /// Takes a change that is to be applied at `at`.
    pub(super) fn accept(&mut self, sku: &str, change: Change, at: Micros, number: u64) {
        if let Some(listing) = self.all.get_mut(sku) {
            listing.pending = listing.pending.saturating_add(1);
            let sku = sku.into();
            self.due.push(Due {
                at,
                number,
                sku,
                change,
            });
        }
    }

    pub(super) fn cannot_set(&self, set: &SetAmazonListing) -> Option<String> {
        (!self.all.contains_key(&set.sku))
            .then(|| format!("`set_amazon_listing`: no listing has the SKU `{}`", set.sku))
    }

    pub(super) fn set(&mut self, set: &SetAmazonListing) {
        if let Some(listing) = self.all.get_mut(&set.sku) {
            listing.quantity = set.quantity.unwrap_or(listing.quantity);
            listing.price_jpy = set.price_jpy.unwrap_or(listing.price_jpy);
            listing.fba = set.fba.unwrap_or(listing.fba);
            listing.version = listing.version.wrapping_add(1);
        }
    }
}

/// The SKU of listing `index`.
pub(super) fn sku(index: u32) -> String {
    format!("AMZ-{:05}", index + 1)
}

/// Whether a call is of the one seller, in the one marketplace.
pub(super) fn refusal(seller: &str, query: &[(String, String)]) -> Option<Answer> {
    if seller != SELLER_ID {
        return Some(Answer::denied("The seller has not authorized this application."));
    }
    (value(query, "marketplaceIds") != Some(MARKETPLACE))
        .then(|| Answer::error(400, "BAD_REQUEST", "Invalid input", "marketplaceIds"))
}

pub(super) fn not_found(sku: &str) -> Answer {
    let message = format!("SKU '{sku}' not found in marketplace {MARKETPLACE}");
    Answer::error(404, "NOT_FOUND", &message, "")
}

/// `GET /listings/2021-08-01/items/{sellerId}/{sku}`.
pub(super) fn show(listing: &AmazonListing, query: &[(String, String)], plan: &Plan<'_>) -> Answer {
    let parts: Vec<&str> = value(query, "includedData")
        .unwrap_or("summaries")
        .split(',')
        .collect();
    let mut item = json!({"sku": listing.sku});
    if parts.contains(&"summaries") {
        let mut words = vec!["DISCOVERABLE"];
        if listing.quantity > 0 {
            words.insert(0, "BUYABLE");
        }
        let summary = json!({
            "marketplaceId": MARKETPLACE, "asin": listing.asin, "productType": listing.product_type,
            "conditionType": "new_new", "status": words, "itemName": "出品",
            "createdDate": "2026-01-01T00:00:00Z", "lastUpdatedDate": "2026-01-01T00:00:00Z",
        });
        put(&mut item, "summaries", json!([plan.odd(summary)]));
    }
    if parts.contains(&"offers") {
        put(
            &mut item,
            "offers",
            json!([{
                "marketplaceId": MARKETPLACE, "offerType": "B2C",
                "price": {"currencyCode": "JPY", "amount": listing.price_jpy.to_string()},
                "audience": {"value": "ALL", "displayName": "Sell on Amazon"},
            }]),
        );
    }
    if parts.contains(&"fulfillmentAvailability") {
        let code = if listing.fba { "AMAZON_JP" } else { "DEFAULT" };
        put(
            &mut item,
            "fulfillmentAvailability",
            json!([{"fulfillmentChannelCode": code, "quantity": listing.quantity}]),
        );
    }
    if parts.contains(&"issues") {
        put(&mut item, "issues", json!([]));
    }
    Answer::ok(plan.odd(item))
}

/// `GET /listings/2021-08-01/items/{sellerId}` for up to 20 SKUs, by their kinds of product.
pub(super) fn search(all: &Listings, query: &[(String, String)], plan: &Plan<'_>) -> Answer {
    let asked: Vec<&str> = value(query, "identifiers")
        .unwrap_or_default()
        .split(',')
        .collect();
    let by_sku = value(query, "identifiersType") == Some("SKU") && value(query, "pageSize") == Some("20");
    if !by_sku || asked.len() > 20 || value(query, "includedData") != Some("summaries") {
        return Answer::error(400, "BAD_REQUEST", "Invalid input", "identifiers");
    }
    let items: Vec<Value> = asked
        .iter()
        .filter_map(|sku| all.find(sku))
        .map(|listing| show(listing, query, plan).body)
        .collect();
    Answer::ok(plan.odd(json!({"numberOfResults": items.len(), "pagination": {}, "items": items})))
}

/// What a patch sets, or the issue for which it is refused.
pub(super) fn read_patch(listing: &AmazonListing, body: &Value) -> Result<Change, Value> {
    if body.get("productType").and_then(Value::as_str) != Some(&*listing.product_type) {
        return Err(issue(
            "90000901",
            "The product type is not that of the listing.",
            "productType",
        ));
    }
    let patches = body.get("patches").and_then(Value::as_array);
    let patches = patches.filter(|list| !list.is_empty());
    let patches = patches.ok_or_else(|| issue("90000902", "There are no patches.", "patches"))?;
    let mut change = Change::default();
    for patch in patches {
        let text = |key: &str| patch.get(key).and_then(Value::as_str).unwrap_or_default();
        let first = patch.pointer("/value/0");
        if !["add", "replace", "merge"].contains(&text("op")) {
            return Err(issue("90000903", "The operation is not known.", "op"));
        }
        match (text("path"), first) {
            ("/attributes/fulfillment_availability", Some(_)) if listing.fba => {
                let why = "The quantity of a listing that Amazon fulfills cannot be set.";
                return Err(issue("90000904", why, "fulfillment_availability"));
            }
            ("/attributes/fulfillment_availability", Some(value)) => {
                change.quantity = Some(quantity(value)?);
            }
            ("/attributes/purchasable_offer", Some(value)) => change.price = Some(price(value)?),
            _ => return Err(issue("90000900", "The attributes are invalid.", text("path"))),
        }
    }
    Ok(change)
}

fn quantity(value: &Value) -> Result<u32, Value> {
    let own = value.get("fulfillment_channel_code").and_then(Value::as_str) == Some("DEFAULT");
    let count = value.get("quantity").and_then(Value::as_u64).filter(|_| own);
    let count = count.and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| issue("90000905", "The quantity is invalid.", "fulfillment_availability"))
}

fn price(value: &Value) -> Result<u32, Value> {
    let is = |key: &str, word: &str| value.get(key).and_then(Value::as_str) == Some(word);
    let here = is("marketplace_id", MARKETPLACE) && is("currency", "JPY");
    let price = value
        .pointer("/our_price/0/schedule/0/value_with_tax")
        .and_then(Value::as_u64);
    let price = price.filter(|_| here).and_then(|price| u32::try_from(price).ok());
    price
        .filter(|price| *price > 0)
        .ok_or_else(|| issue("90000906", "The price is invalid.", "purchasable_offer"))
}

fn issue(code: &str, message: &str, attribute: &str) -> Value {
    json!({"code": code, "message": message, "severity": "ERROR", "attributeNames": [attribute],
        "categories": ["INVALID_ATTRIBUTE"]})
}

/// What a submission is answered with.
pub(super) fn submitted(sku: &str, status: &str, number: u64, issues: &[Value]) -> Answer {
    Answer::ok(json!({
        "sku": sku, "status": status, "submissionId": format!("{number:032x}"), "issues": issues}))
}
