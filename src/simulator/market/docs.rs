//! Inventory items and offers as JSON documents.

use super::answer::Refusal;
use super::{Listing, MARKETPLACE, listing_name};
use crate::domain::{Currency, Money, MoneyError};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

/// An `Amount`: both members are texts.
pub(super) fn money(amount: &Value) -> Result<Money, Refusal> {
    let text = |name| amount.get(name).and_then(Value::as_str);
    let bad = |info: &str| Refusal::invalid("price", info);
    let value = text("value").ok_or_else(|| bad("`value` must be a string with a number."))?;
    let code = text("currency").ok_or_else(|| bad("`currency` must be a three-letter code."))?;
    let currency: Currency = code.parse().map_err(|e: MoneyError| bad(&e.to_string()))?;
    let value: Decimal = value
        .parse()
        .map_err(|e: rust_decimal::Error| bad(&e.to_string()))?;
    let money = Money::new(value, currency).map_err(|e| bad(&e.to_string()))?;
    if money.is_zero() {
        return Err(bad("It must be more than 0."));
    }
    Ok(money)
}

/// A [`Money`] as an `Amount`.
pub(super) fn amount(money: Money) -> Value {
    let digits = usize::try_from(money.currency().minor_digits()).unwrap_or(2);
    json!({ "value": format!("{:.digits$}", money.amount()), "currency": money.currency().code() })
}

impl Listing {
    /// The inventory item as `getInventoryItem` shows it.
    pub(super) fn item_json(&self) -> Value {
        let mut item = match &self.item_doc {
            Some(doc) => (**doc).clone(),
            None => json!({
                "product": {
                    "title": format!("Simulated item {}", self.sku),
                    "description": "A thing that exists only in the simulator.",
                    "imageUrls": ["https://auctions.c.yimg.jp/zk/photo.jpg"],
                },
                "condition": "USED_EXCELLENT",
            }),
        };
        if let Some(item) = item.as_object_mut() {
            item.insert("sku".into(), json!(self.sku));
            item.insert("locale".into(), json!("en_US"));
            let availability = item.entry("availability").or_insert_with(|| json!({}));
            if let Some(availability) = availability.as_object_mut() {
                let ship_to = availability
                    .entry("shipToLocationAvailability")
                    .or_insert_with(|| json!({}));
                if let Some(ship_to) = ship_to.as_object_mut() {
                    ship_to.insert("quantity".into(), json!(self.inventory));
                }
            }
        }
        item
    }

    /// The offer as `getOffer` and `getOffers` show it.
    pub(super) fn offer_json(&self) -> Value {
        let mut offer = match self.offer_doc.as_deref() {
            Some(Value::Object(doc)) => doc.clone(),
            _ => first_offer(),
        };
        offer.insert("offerId".into(), json!(self.offer_id));
        offer.insert("sku".into(), json!(self.sku));
        match self.available {
            Some(quantity) => drop(offer.insert("availableQuantity".into(), json!(quantity))),
            None => drop(offer.remove("availableQuantity")),
        }
        if let Some(price) = self.price {
            let summary = offer.entry("pricingSummary").or_insert_with(|| json!({}));
            if let Some(summary) = summary.as_object_mut() {
                summary.insert("price".into(), amount(price));
            }
        }
        let status = if self.published {
            "PUBLISHED"
        } else {
            "UNPUBLISHED"
        };
        offer.insert("status".into(), json!(status));
        if self.published {
            let shown = if self.quantity() == 0 {
                "OUT_OF_STOCK"
            } else {
                "ACTIVE"
            };
            offer.insert(
                "listing".into(),
                json!({ "listingId": listing_name(self), "listingStatus": shown, "soldQuantity": self.sold }),
            );
        }
        Value::Object(offer)
    }
}

fn first_offer() -> Map<String, Value> {
    let offer = json!({
        "marketplaceId": MARKETPLACE,
        "format": "FIXED_PRICE",
        "categoryId": "30120",
        "listingDescription": "A thing that exists only in the simulator.",
        "listingDuration": "GTC",
        "merchantLocationKey": "tokyo",
        "listingPolicies": {
            "fulfillmentPolicyId": "6000000001",
            "paymentPolicyId": "6000000002",
            "returnPolicyId": "6000000003",
        },
    });
    match offer {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
