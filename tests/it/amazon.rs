//! The Amazon adapters against a server that misbehaves on order, and against the simulator. All that the adapters send is
//! held against the published models on the way, where those are at hand.

mod bulk;
mod contract;
mod feeds;
mod sandbox;
mod seller;
mod simulated;
mod source;

use crate::ebay::memory::Memory;
use crate::ebay::server::{CANARY_REFRESH, CANARY_SECRET, Said, Seen, Server, say};
use crate::support::swagger::Models;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::domain::{Currency, Observation, Quantity, SourceProductId};
use zaikoban::platform::amazon::{
    AccountSettings, Amazon, AmazonSeller, AmazonSellerSettings, AmazonSettings, Filters, JAPAN, ReadBy,
};
use zaikoban::platform::oauth::Grant;
use zaikoban::platform::{PlatformError, Source};

const BATCH: &str = "/batches/products/pricing/v0/itemOffers";
const CATALOG: &str = "/catalog/2022-04-01/items";
const COMPETITIVE: &str = "/products/pricing/v0/competitivePrice";
const ONE: &str = "B000000001";
const TWO: &str = "B000000002";
const THREE: &str = "B000000003";

fn id(asin: &str) -> SourceProductId {
    SourceProductId::new(asin).unwrap()
}

fn token(name: &str) -> Said {
    say(
        200,
        &json!({"access_token": name, "expires_in": 3600, "token_type": "bearer"}),
    )
}

/// What is wrong with what the adapters send.
fn problems_of(asked: &Seen) -> Vec<String> {
    let (Some(models), false) = (Models::load(), asked.is_token()) else {
        return Vec::new();
    };
    if asked.path.starts_with("/feed-files/") {
        return feeds::problems_of_file(models, asked);
    }
    let mut problems = models.problems_of_request(&asked.method, &asked.path, &asked.body);
    for header in ["x-amz-access-token", "x-amz-date", "user-agent"] {
        if asked.header(header).is_none() {
            problems.push(format!("the header {header} is required"));
        }
    }
    problems
        .iter()
        .map(|p| format!("{} {}: {p}", asked.method, asked.path))
        .collect()
}

/// A server that gives tokens, and answers what the API is asked.
async fn server(handler: impl Fn(&Seen) -> Said + Send + Sync + 'static) -> Server {
    let whole = move |seen: &Seen| {
        if seen.is_token() {
            token("Atza|token-of-the-test")
        } else {
            handler(seen)
        }
    };
    Server::judged(whole, problems_of).await
}

fn account(server: &Server) -> AccountSettings {
    AccountSettings {
        endpoint: server.url.clone(),
        token_endpoint: server.url.clone(),
        marketplace: JAPAN.into(),
        currency: Currency::Jpy,
        requests_per_hour: None,
        patience: Duration::ZERO,
    }
}

fn settings(server: &Server) -> AmazonSettings {
    AmazonSettings {
        account: account(server),
        read: ReadBy::Offers,
        filters: Filters::default(),
        pieces: Quantity::new(1).unwrap(),
        title_age: Duration::from_secs(3600),
    }
}

fn grant() -> Arc<Grant> {
    Arc::new(Grant {
        client_id: "amzn1.client".into(),
        client_secret: CANARY_SECRET.into(),
        refresh_token: CANARY_REFRESH.into(),
    })
}

fn amazon_by(server: &Server, settings: AmazonSettings) -> Amazon {
    let tokens = Arc::<Memory>::default();
    Amazon::new(settings, grant(), server.client(), tokens, Clock::system()).unwrap()
}

fn amazon(server: &Server) -> Amazon {
    amazon_by(server, settings(server))
}

fn seller_by(server: &Server, account: AccountSettings) -> AmazonSeller {
    let tokens = Arc::<Memory>::default();
    let settings = AmazonSellerSettings {
        account,
        seller_id: "A2TEST".into(),
        settles_within: Duration::from_secs(900),
    };
    AmazonSeller::new(settings, grant(), server.client(), tokens, Clock::system()).unwrap()
}

type Look = Result<Observation, PlatformError>;

async fn observe(amazon: &Amazon, asins: &[&str]) -> Vec<Look> {
    let ids: Vec<_> = asins.iter().map(|asin| id(asin)).collect();
    amazon.observe(&ids).await
}

/// The class and code of each failure; the price and the stock of each success.
fn told(looks: &[Look]) -> Vec<String> {
    let one = |look: &Look| match look {
        Ok(seen) => match seen.buy_now_price {
            Some(price) => format!("{price} x{}", seen.stock),
            None => format!("none x{}", seen.stock),
        },
        Err(error) => format!("{} {}", error.class.as_str(), error.code),
    };
    looks.iter().map(one).collect()
}

fn yen(amount: i64) -> Value {
    json!({"CurrencyCode": "JPY", "Amount": amount})
}

/// What Amazon says of an item that is offered once for so much.
fn payload(asin: &str, price: i64) -> Value {
    json!({
        "ASIN": asin, "status": "Success", "ItemCondition": "New", "marketplaceId": JAPAN,
        "Identifier": {"MarketplaceId": JAPAN, "ItemCondition": "New", "ASIN": asin},
        "Summary": {"TotalOfferCount": 1, "NumberOfOffers": [
            {"condition": "new", "fulfillmentChannel": "Merchant", "OfferCount": 1}]},
        "Offers": [{
            "SubCondition": "new", "IsFulfilledByAmazon": false, "SellerId": "A1",
            "ListingPrice": yen(price), "Shipping": yen(0),
            "ShippingTime": {"minimumHours": 24, "maximumHours": 48, "availabilityType": "NOW"},
        }],
    })
}

/// The entry of an item in the answer of a batch.
fn entry(asin: &str, status: u16, body: &Value) -> Value {
    json!({
        "status": {"statusCode": status, "reasonPhrase": "x"}, "body": body,
        "headers": {"x-amzn-RequestId": "r"},
        "request": {"MarketplaceId": JAPAN, "ItemCondition": "New", "CustomerType": "Consumer", "Asin": asin},
    })
}

fn offered(asin: &str, price: i64) -> Value {
    entry(asin, 200, &json!({"payload": payload(asin, price)}))
}

fn refused(asin: &str, status: u16, code: &str, message: &str) -> Value {
    entry(
        asin,
        status,
        &json!({"errors": [{"code": code, "message": message}]}),
    )
}

/// The catalogue's answer about everything that was asked.
fn titles(seen: &Seen) -> Said {
    let (_, query) = seen.path.split_once('?').unwrap();
    let asked = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "identifiers")
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    let items: Vec<Value> = asked
        .split(',')
        .map(|asin| {
            let summary = json!({"marketplaceId": JAPAN, "itemName": format!("品 {asin}")});
            json!({"asin": asin, "summaries": [summary]})
        })
        .collect();
    say(200, &json!({"numberOfResults": items.len(), "items": items}))
}

fn errors(code: &str, message: &str) -> Value {
    json!({"errors": [{"code": code, "message": message}]})
}
