//! Amazon's own examples, from the static sandbox: what they say is what we read.
//!
//! They are of the marketplace of the United States and in dollars; the adapters take both from their settings. A server
//! replays the answer of each case. Questions that only others ask (by SKU, for companies, by keywords) are answered the
//! same, and read for what they are worth to us.

use super::{BATCH, CATALOG, COMPETITIVE, account, amazon_by, observe, seller_by, server, settings, told};
use crate::ebay::server::{Seen, Server, say};
use crate::support::swagger::Models;
use serde_json::{Value, json};
use zaikoban::domain::{
    Currency, DestinationPlatform, ErrorClass, ListingId, ListingRef, ListingState, ListingStatus, Money,
    Quantity,
};
use zaikoban::platform::amazon::{Amazon, AmazonSeller, INVALID, ReadBy};
use zaikoban::platform::{Destination, EntryOutcome, Revision};

const US: &str = "ATVPDKIKX0DER";
const SKU: &str = "GM-ZDPI-9B4E";

/// A server that answers `path` as the case does, and the catalogue with titles.
async fn replaying(path: &'static str, status: u16, answer: Value) -> Server {
    server(move |seen: &Seen| {
        if seen.path.starts_with(path) {
            return say(status, &answer);
        }
        let (_, query) = seen.path.split_once('?').unwrap();
        let asins = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "identifiers");
        let asins = asins.unwrap().1.into_owned();
        let summaries = json!([{"marketplaceId": US, "itemName": "an example"}]);
        let items: Vec<Value> = asins
            .split(',')
            .map(|asin| json!({"asin": asin, "summaries": summaries}))
            .collect();
        say(200, &json!({"numberOfResults": items.len(), "items": items}))
    })
    .await
}

fn source(server: &Server, read: ReadBy) -> Amazon {
    let mut settings = settings(server);
    settings.account.marketplace = US.into();
    settings.account.currency = Currency::Usd;
    settings.read = read;
    amazon_by(server, settings)
}

fn seller(server: &Server) -> AmazonSeller {
    let mut account = account(server);
    account.marketplace = US.into();
    account.currency = Currency::Usd;
    seller_by(server, account)
}

#[tokio::test]
async fn the_examples_of_offers_are_read_into_their_documented_prices() {
    let Some(models) = Models::load() else { return };
    let expected = [
        ("B000P6Q7MY", "21.00 USD x1"),
        ("B001Q3KU9Q", "24.99 USD x1"),
        ("B007Z07UK6", "1.00 USD x1"),
        ("B000OQA3N4", "10.00 USD x1"),
        ("B07PTMKYS7", "12.00 USD x1"),
        ("B001PYUTII", "0.50 USD x1"),
        ("B00505DW2I", "14.99 USD x1"),
        ("B00CGZQU42", "50.00 USD x1"),
        ("B01LY2ZYRF", "22.00 USD x1"),
        ("B00KFRNZY6", "none x0"),
    ];
    for (status, case) in models.cases("getItemOffersBatch") {
        let server = replaying(BATCH, status, case["response"].clone()).await;
        let asins: Vec<&str> = expected.iter().map(|(asin, _)| *asin).collect();
        let seen = told(&observe(&source(&server, ReadBy::Offers), &asins).await);
        if status == 200 {
            let expected: Vec<&str> = expected.iter().map(|(_, cost)| *cost).collect();
            assert_eq!(seen, expected);
            // Ours are the questions of the example, in another order.
            let calls = server.calls();
            let asked = calls.iter().find(|call| call.path == BATCH).unwrap().json();
            let sorted = |value: &Value| {
                let mut list: Vec<String> = value["requests"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(Value::to_string)
                    .collect();
                list.sort();
                list
            };
            assert_eq!(
                sorted(&asked),
                sorted(&case["request"]["parameters"]["body"]["value"])
            );
        } else {
            assert_eq!(seen, vec!["rejected amazon_invalidinput"; 10]);
        }
    }
}

#[tokio::test]
async fn the_examples_of_competitive_prices_are_read_and_our_own_are_none() {
    let Some(models) = Models::load() else { return };
    let asins = ["B00V5DG6IQ", "B00551Q3CS"];
    let cases = models.cases("getCompetitivePricing");
    assert_eq!(cases.len(), 4);
    for (status, case) in cases {
        let asked = &case["request"]["parameters"];
        let expected: [&str; 2] = match (
            status,
            asked["ItemType"]["value"].as_str(),
            &asked["CustomerType"],
        ) {
            (400, ..) => ["rejected amazon_invalidinput"; 2],
            // Named by SKU alone: about nothing that we asked.
            (_, Some("Sku"), _) => ["protocol contract"; 2],
            // 130 and 10 for shipping, whatever the points are worth. The second has a price for companies only.
            (_, _, Value::Object(_)) => ["140.00 USD x1", "protocol contract"],
            // 130 and 120 for shipping.
            _ => ["250.00 USD x1"; 2],
        };
        // The examples are all of the requester's own offers, which are no source.
        let own = replaying(COMPETITIVE, status, case["response"].clone()).await;
        let seen = told(&observe(&source(&own, ReadBy::Competitive), &asins).await);
        if status == 200 {
            assert_eq!(seen, ["protocol contract"; 2], "{asked}");
        }
        let text = case["response"]
            .to_string()
            .replace("\"belongsToRequester\":true", "\"belongsToRequester\":false");
        let of_others = replaying(COMPETITIVE, status, serde_json::from_str(&text).unwrap()).await;
        let seen = told(&observe(&source(&of_others, ReadBy::Competitive), &asins).await);
        assert_eq!(seen, expected, "{asked}");
    }
}

#[tokio::test]
async fn the_examples_of_the_catalogue_give_a_title_or_none() {
    let Some(models) = Models::load() else { return };
    for (status, case) in models.cases("searchCatalogItems") {
        let answer = case["response"].clone();
        let asin = "B07N4M94X4";
        let server = server(move |seen: &Seen| {
            if seen.path.starts_with(CATALOG) {
                return say(status, &answer);
            }
            let mut payload = super::payload(asin, 5);
            let text = payload
                .to_string()
                .replace("JPY", "USD")
                .replace(super::JAPAN, US);
            payload = serde_json::from_str(&text).unwrap();
            say(
                200,
                &json!({"responses": [super::entry(asin, 200, &json!({ "payload": payload }))]}),
            )
        })
        .await;
        let seen = observe(&source(&server, ReadBy::Offers), &[asin]).await;
        if status == 200 {
            let title = case["response"]["items"][0]["summaries"][0]["itemName"]
                .as_str()
                .unwrap();
            assert_eq!(&*seen[0].as_ref().unwrap().title, title);
        } else {
            assert_eq!(told(&seen), ["rejected amazon_400"]);
        }
    }
}

fn listing(sku: &str) -> ListingRef {
    ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::AmazonSeller,
        sku: sku.into(),
        platform_product_id: sku.into(),
    }
}

#[tokio::test]
async fn the_examples_of_listings_are_read() {
    let Some(models) = Models::load() else { return };
    for (status, case) in models.cases("getListingsItem") {
        let server = replaying("/listings/", status, case["response"].clone()).await;
        let read = seller(&server).read(&listing(SKU)).await;
        if status == 200 {
            let expected = ListingState {
                status: ListingStatus::Active,
                quantity: Quantity::new(100).unwrap(),
                price: Some(Money::new("100".parse().unwrap(), Currency::Usd).unwrap()),
            };
            assert_eq!(read.unwrap(), expected);
            let found = seller(&server).find(SKU).await.unwrap();
            assert_eq!(
                found[0].url.as_deref(),
                Some("https://www.amazon.co.jp/dp/B071VG5N9D")
            );
        } else {
            assert_eq!(&*read.unwrap_err().code, "amazon_bad_request");
        }
    }
}

#[tokio::test]
async fn the_examples_of_changes_are_taken_refused_or_previewed() {
    let Some(models) = Models::load() else { return };
    let shown = models.cases("getListingsItem")[0].1["response"].clone();
    let cases = models.cases("patchListingsItem");
    assert_eq!(cases.len(), 4);
    for (status, case) in cases {
        let asked = &case["request"]["parameters"];
        let answer = case["response"].clone();
        let sku = answer["sku"].as_str().unwrap_or("BadSKU").to_owned();
        let mut shown = shown.clone();
        shown["sku"] = sku.as_str().into();
        let server = server(move |seen: &Seen| match seen.method.as_str() {
            "GET" => say(200, &shown),
            _ => say(status, &answer),
        })
        .await;
        let seller = seller(&server);
        let revision = Revision {
            listing: listing(&sku),
            quantity: Some(Quantity::new(2).unwrap()),
            price: None,
            confirmed: seller.read(&listing(&sku)).await.unwrap(),
        };
        if asked["mode"]["value"] == "VALIDATION_PREVIEW" {
            let told = seller.preview(&revision).await;
            match case["response"]["status"].as_str().unwrap() {
                "VALID" => assert!(told.unwrap().is_empty()),
                _ => assert_eq!(&*told.unwrap_err().code, INVALID),
            }
            continue;
        }
        let outcomes = seller.revise(&[revision]).await;
        match &outcomes[0] {
            EntryOutcome::Accepted { warnings } => assert!(status == 200 && warnings.is_empty()),
            EntryOutcome::Failed { error, unknown } => {
                assert_eq!(
                    (status, error.class, *unknown),
                    (400, ErrorClass::Rejected, false)
                );
            }
        }
    }
}
