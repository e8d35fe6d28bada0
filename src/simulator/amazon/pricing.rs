//! Product Pricing v0 and the catalogue, from their published models.

use super::answer::{Answer, errors};
use super::goods::{Goods, ItemState, asin, title};
use super::{MARKETPLACE, Plan};
use crate::simulator::draw::{mix, unit};
use crate::simulator::world::Micros;
use serde_json::{Map, Value, json};

/// The most that one call may name.
const MOST: usize = 20;
const CATALOGUE: [&str; 10] = [
    "attributes",
    "classifications",
    "dimensions",
    "identifiers",
    "images",
    "productTypes",
    "relationships",
    "salesRanks",
    "summaries",
    "vendorDetails",
];

fn yen(amount: u32) -> Value {
    json!({"CurrencyCode": "JPY", "Amount": amount})
}

fn invalid(details: &str) -> Answer {
    Answer::error(400, "InvalidInput", "Invalid Input", details)
}

/// `POST /batches/products/pricing/v0/itemOffers`.
pub(super) fn batch(goods: &mut Goods, body: &Value, plan: &Plan<'_>, now: Micros) -> Answer {
    let Some(requests) = body.get("requests").and_then(Value::as_array) else {
        return invalid("`requests` is missing.");
    };
    if !(1..=MOST).contains(&requests.len()) {
        return invalid("The batch must hold 1 to 20 requests.");
    }
    let mut responses: Vec<Value> = (0_u64..)
        .zip(requests)
        .map(|(place, request)| one_of_batch(goods, request, plan, place, now))
        .collect();
    // The order of the answers is not promised.
    if mix(plan.word, 0xb0, 0).is_multiple_of(2) {
        responses.reverse();
    }
    Answer::ok(json!({ "responses": responses }))
}

fn one_of_batch(goods: &mut Goods, request: &Value, plan: &Plan<'_>, place: u64, now: Micros) -> Value {
    let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default();
    let asin = text("uri")
        .strip_prefix("/products/pricing/v0/items/")
        .and_then(|rest| rest.strip_suffix("/offers"))
        .unwrap_or_default();
    let (status, body) = if text("method") != "GET" || text("MarketplaceId") != MARKETPLACE || asin.is_empty()
    {
        (400, errors("InvalidInput", "Invalid MarketplaceId or uri", ""))
    } else if plan.hits(place, 0xb1, plan.faults.p_entry_500) {
        (500, errors("InternalFailure", "Internal failure", ""))
    } else if plan.hits(place, 0xb2, plan.faults.p_entry_429) {
        (
            429,
            errors(
                "QuotaExceeded",
                "You exceeded your quota for the requested resource.",
                "",
            ),
        )
    } else {
        match goods.find(asin) {
            Some((index, state)) => {
                if !plan.is_lost() {
                    goods.served(index, now);
                }
                let payload = payload(asin, &state, text("ItemCondition"), index);
                (200, json!({ "payload": plan.odd(payload) }))
            }
            None => {
                let said = format!(
                    "{asin} is an invalid ASIN for marketplace {}",
                    text("MarketplaceId")
                );
                (400, errors("InvalidInput", &said, ""))
            }
        }
    };
    let reason = if status == 200 { "OK" } else { "Error" };
    json!({
        "status": {"statusCode": status, "reasonPhrase": reason},
        "headers": {"x-amzn-RequestId": format!("{:016x}", mix(plan.word, 0xb3, place))},
        "body": body,
        "request": {
            "MarketplaceId": text("MarketplaceId"), "ItemCondition": text("ItemCondition"),
            "CustomerType": "Consumer", "Asin": asin,
        },
    })
}

/// What is offered in a condition: everything is new. Beside the cheapest stand a dearer one, and for each fifth item one
/// that is cheaper and shipped later.
fn payload(asin: &str, state: &ItemState, condition: &str, index: u32) -> Value {
    let mut offers = Vec::new();
    if state.offered && condition == "New" {
        if index % 5 == 2 {
            offers.push(offer(state.price / 2, 0, false, "FUTURE_WITH_DATE"));
        }
        offers.push(offer(
            state.price - state.shipping,
            state.shipping,
            state.by_amazon,
            "NOW",
        ));
        offers.push(offer(state.price.saturating_add(900), 0, !state.by_amazon, "NOW"));
    }
    let total = if state.offered { offers.len() } else { 0 };
    let status = if offers.is_empty() {
        "NoBuyableOffers"
    } else {
        "Success"
    };
    let mut summary = json!({"TotalOfferCount": total});
    if total > 0 {
        put(
            &mut summary,
            "NumberOfOffers",
            json!([
            {"condition": "new", "fulfillmentChannel": "Merchant", "OfferCount": total}]),
        );
        put(
            &mut summary,
            "LowestPrices",
            json!([{
                "condition": "new", "fulfillmentChannel": "Merchant",
                "LandedPrice": yen(state.price), "ListingPrice": yen(state.price - state.shipping),
                "Shipping": yen(state.shipping),
            }]),
        );
    }
    json!({
        "ASIN": asin, "status": status, "ItemCondition": condition, "marketplaceId": MARKETPLACE,
        "Identifier": {"MarketplaceId": MARKETPLACE, "ItemCondition": condition, "ASIN": asin},
        "Summary": summary, "Offers": offers,
    })
}

fn offer(price: u32, shipping: u32, by_amazon: bool, when: &str) -> Value {
    json!({
        "SubCondition": "new",
        "SellerId": if by_amazon { "AN1VRQENFRJN5" } else { "A3SIMULATED00" },
        "SellerFeedbackRating": {"FeedbackCount": 812, "SellerPositiveFeedbackRating": 96},
        "ShippingTime": {"minimumHours": 24, "maximumHours": 48, "availabilityType": when},
        "ListingPrice": yen(price), "Shipping": yen(shipping),
        "ShipsFrom": {"Country": "JP"},
        "IsFulfilledByAmazon": by_amazon, "IsBuyBoxWinner": when == "NOW", "IsFeaturedMerchant": true,
    })
}

/// `GET /products/pricing/v0/competitivePrice`.
pub(super) fn competitive(
    goods: &mut Goods,
    query: &[(String, String)],
    plan: &Plan<'_>,
    now: Micros,
) -> Answer {
    let asins = match asked(query, "MarketplaceId", "Asins") {
        Ok(asins) => asins,
        Err(answer) => return answer,
    };
    if value(query, "ItemType") != Some("Asin") {
        return invalid("ItemType");
    }
    let mut members = Vec::new();
    for asin in asins {
        members.push(match goods.find(asin) {
            Some((index, state)) => {
                if !plan.is_lost() {
                    goods.served(index, now);
                }
                member(asin, &state, plan)
            }
            None => json!({"status": "ClientError", "ASIN": asin}),
        });
    }
    Answer::ok(json!({ "payload": members }))
}

fn member(asin: &str, state: &ItemState, plan: &Plan<'_>) -> Value {
    let (mut prices, mut counts) = (Vec::new(), Vec::new());
    if state.offered {
        let price = json!({
            "LandedPrice": yen(state.price), "ListingPrice": yen(state.price - state.shipping),
            "Shipping": yen(state.shipping)});
        prices.push(json!({
            "CompetitivePriceId": "1", "Price": price, "condition": "New", "belongsToRequester": false}));
        counts.push(json!({"Count": 2, "condition": "New"}));
    }
    counts.push(json!({"Count": prices.len() * 2, "condition": "Any"}));
    let product = json!({
        "Identifiers": {"MarketplaceASIN": {"MarketplaceId": MARKETPLACE, "ASIN": asin}},
        "CompetitivePricing": {"CompetitivePrices": prices, "NumberOfOfferListings": counts},
    });
    json!({"status": "Success", "ASIN": asin, "Product": plan.odd(product)})
}

/// `GET /catalog/2022-04-01/items`.
pub(super) fn catalogue(goods: &Goods, query: &[(String, String)], plan: &Plan<'_>) -> Answer {
    let refuse = |details: &str| {
        let message = "Request has missing or invalid parameters and cannot be parsed.";
        Answer::error(400, "InvalidInput", message, details)
    };
    let Ok(asins) = asked(query, "marketplaceIds", "identifiers") else {
        return refuse("marketplaceIds or identifiers");
    };
    let parts: Vec<&str> = value(query, "includedData")
        .unwrap_or("summaries")
        .split(',')
        .collect();
    if value(query, "identifiersType") != Some("ASIN") || parts.iter().any(|part| !CATALOGUE.contains(part)) {
        return refuse("identifiersType or includedData");
    }
    let page_size = value(query, "pageSize").map_or(Ok(10), str::parse::<usize>);
    let Some(page_size) = page_size.ok().filter(|size| (1..=MOST).contains(size)) else {
        return refuse("pageSize");
    };
    let found: Vec<Value> = asins
        .iter()
        .filter_map(|asin| {
            let (index, _) = goods.find(asin)?;
            let summary = json!({"marketplaceId": MARKETPLACE, "itemName": title(goods.seed, index)});
            let mut item = json!({ "asin": asin });
            if parts.contains(&"summaries") {
                put(&mut item, "summaries", json!([plan.odd(summary)]));
            }
            Some(item)
        })
        .collect();
    let total = found.len();
    let items: Vec<Value> = found.into_iter().take(page_size).collect();
    Answer::ok(json!({"numberOfResults": total, "items": items}))
}

/// The items that a query names.
fn asked<'a>(query: &'a [(String, String)], marketplace: &str, items: &str) -> Result<Vec<&'a str>, Answer> {
    if value(query, marketplace) != Some(MARKETPLACE) {
        return Err(invalid(marketplace));
    }
    let asins: Vec<&str> = value(query, items).unwrap_or_default().split(',').collect();
    if asins.len() > MOST || asins.iter().any(|asin| asin.is_empty()) {
        return Err(invalid(items));
    }
    Ok(asins)
}

/// Enters a member into an object.
pub(super) fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

pub(super) fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

impl Plan<'_> {
    /// Whether the `place`-th part of a call meets what so large a share of them meets.
    pub(super) fn hits(&self, place: u64, question: u64, share: f64) -> bool {
        unit(mix(self.word, question, place)) < share
    }

    /// An object with a member that no document knows, when the plan says so.
    pub(super) fn odd(&self, mut value: Value) -> Value {
        if self.faults.unknown_fields
            && let Some(members) = value.as_object_mut()
        {
            let news = Map::from_iter([("weather".to_owned(), json!("SUNNY"))]);
            members.insert("somethingNew".to_owned(), Value::Object(news));
        }
        value
    }
}

/// The key and the title of every item, for the catalogue of the simulator itself.
pub(super) fn names(seed: u64, products: u32) -> impl Iterator<Item = (String, String)> {
    (0..products).map(move |index| (asin(seed, index), title(seed, index)))
}
