//! Looking at items: each alone, and none by guessing.

use super::{
    BATCH, CATALOG, COMPETITIVE, ONE, THREE, TWO, amazon, amazon_by, entry, errors, observe, offered,
    payload, refused, server, settings, titles, token, told, yen,
};
use crate::ebay::server::{Said, Seen, Server, say};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use zaikoban::domain::{DataSource, ErrorClass};
use zaikoban::platform::Source;
use zaikoban::platform::amazon::ReadBy;

/// A server with all titles that answers a batch with these entries.
async fn batch(entries: Vec<Value>) -> Server {
    let body = json!({ "responses": entries });
    server(move |seen| {
        if seen.path.starts_with(CATALOG) {
            titles(seen)
        } else {
            say(200, &body)
        }
    })
    .await
}

fn is_batch(seen: &Seen) -> bool {
    seen.path == BATCH
}

#[tokio::test]
async fn twenty_items_go_in_one_call_and_titles_are_asked_for_once() {
    let asins: Vec<String> = (0..25).map(|n| format!("B0000000{n:02}")).collect();
    let all: Vec<Value> = asins.iter().map(|asin| offered(asin, 1000)).collect();
    let body = json!({ "responses": all });
    let server = server(move |seen| {
        if seen.path.starts_with(CATALOG) {
            return titles(seen);
        }
        let asked = seen.json();
        let uris: Vec<&str> = asked["requests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["uri"].as_str().unwrap())
            .collect();
        let own = body["responses"].as_array().unwrap().iter().filter(|entry| {
            let asin = entry["request"]["Asin"].as_str().unwrap();
            uris.iter().any(|uri| uri.contains(asin))
        });
        let headers = vec![("x-amzn-RateLimit-Limit", "1000".to_owned())];
        let body = json!({"responses": own.collect::<Vec<_>>()});
        Said::Answer(200, headers, body.to_string().into_bytes())
    })
    .await;
    let mut settings = settings(&server);
    settings.account.patience = std::time::Duration::from_secs(30);
    let amazon = amazon_by(&server, settings);
    assert_eq!(amazon.batch_size(), 20);
    let names: Vec<&str> = asins.iter().map(String::as_str).take(20).collect();
    let seen = observe(&amazon, &names).await;
    assert!(seen.iter().all(Result::is_ok), "{seen:?}");
    let first = seen[0].as_ref().unwrap();
    assert_eq!(
        (&*first.title, first.data_source),
        ("品 B000000000", DataSource::AmazonOffers)
    );
    assert_eq!(first.seller_id, None);
    let calls = server.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].json()["requests"].as_array().unwrap().len(), 20);
    assert!(calls[0].path.contains("includedData=summaries"));
}

#[tokio::test]
async fn a_batch_fails_in_parts() {
    let mut strange = payload(THREE, 5);
    strange["status"] = "Pondering".into();
    let server = batch(vec![
        offered(ONE, 1200),
        refused(TWO, 400, "InvalidInput", "Invalid ASIN"),
        entry(THREE, 200, &json!({ "payload": strange })),
        refused("B000000004", 503, "ServiceUnavailable", "later"),
        refused("B000000005", 429, "QuotaExceeded", "slower"),
        refused("B000000006", 403, "Unauthorized", "no role"),
        // Left out: 7. Twice: 8. A stranger: 9.
        offered("B000000008", 1),
        offered("B000000008", 2),
        offered("B000000009", 3),
        json!({"status": {"statusCode": 200}}),
    ])
    .await;
    let mut asins = vec![ONE, TWO, THREE];
    asins.extend([
        "B000000004",
        "B000000005",
        "B000000006",
        "B000000007",
        "B000000008",
    ]);
    let seen = observe(&amazon(&server), &asins).await;
    assert_eq!(
        told(&seen),
        [
            "1200 JPY x1",
            "not_found amazon_no_such_item",
            "protocol contract",
            "transient http_503",
            "rate_limited http_429",
            "unauthorized amazon_access_denied",
            "protocol contract",
            "protocol contract",
        ]
    );
    let missing = &seen[2].as_ref().unwrap_err().missing;
    assert!(missing[0].ends_with("payload.status"), "{missing:?}");
}

#[tokio::test]
async fn what_is_said_of_every_item_is_not_believed() {
    let said = |asin: &str| format!("{asin} is an invalid ASIN for marketplace A1VC38T7YXB528");
    let gone = |asin| refused(asin, 400, "InvalidInput", &said(asin));
    let both = batch(vec![gone(ONE), gone(TWO)]).await;
    let seen = observe(&amazon(&both), &[ONE, TWO]).await;
    assert_eq!(told(&seen), ["rejected amazon_all_refused"; 2]);
    let one = batch(vec![gone(ONE)]).await;
    assert_eq!(
        told(&observe(&amazon(&one), &[ONE]).await),
        ["not_found amazon_no_such_item"]
    );
    // Of what is invalid nothing is said.
    let unsaid = batch(vec![refused(ONE, 400, "InvalidInput", "Invalid Input")]).await;
    assert_eq!(
        told(&observe(&amazon(&unsaid), &[ONE]).await),
        ["rejected amazon_invalidinput"]
    );
}

#[tokio::test]
async fn nobody_offers_it_is_a_stock_of_zero_and_nothing_else_is() {
    let mut none = payload(ONE, 1);
    none["status"] = "NoBuyableOffers".into();
    none["Offers"] = json!([]);
    none["Summary"] = json!({"TotalOfferCount": 0});
    let mut unsaid = none.clone();
    unsaid["ASIN"] = TWO.into();
    unsaid["status"] = "Success".into();
    unsaid["Summary"].as_object_mut().unwrap().clear();
    let entries = vec![
        entry(ONE, 200, &json!({ "payload": none })),
        entry(TWO, 200, &json!({ "payload": unsaid })),
        entry(THREE, 200, &json!({})),
    ];
    let server = batch(entries).await;
    let seen = observe(&amazon(&server), &[ONE, TWO, THREE]).await;
    assert_eq!(told(&seen), ["none x0", "protocol contract", "protocol contract"]);
}

#[tokio::test]
async fn unknown_fields_do_not_matter_and_another_currency_does() {
    let mut odd = payload(ONE, 700);
    odd["Weather"] = json!({"sun": true});
    odd["Offers"][0]["PrimeInformation"] = json!("renamed");
    odd["Summary"]["BuyBoxPrices"] = json!([{"LandedPrice": "free"}]);
    let mut dollars = payload(TWO, 700);
    dollars["Offers"][0]["ListingPrice"]["CurrencyCode"] = "USD".into();
    let server = batch(vec![
        entry(ONE, 200, &json!({ "payload": odd })),
        entry(TWO, 200, &json!({ "payload": dollars })),
    ])
    .await;
    let seen = observe(&amazon(&server), &[ONE, TWO]).await;
    assert_eq!(told(&seen), ["700 JPY x1", "protocol contract"]);
}

#[tokio::test]
async fn a_call_that_fails_fails_for_every_item() {
    for (said, expected) in [
        (
            say(400, &errors("InvalidInput", "Invalid Input")),
            "rejected amazon_invalidinput",
        ),
        (say(429, &errors("QuotaExceeded", "x")), "rate_limited http_429"),
        (say(500, &errors("InternalFailure", "x")), "transient http_500"),
        (say(503, &errors("ServiceUnavailable", "x")), "transient http_503"),
        (
            say(
                403,
                &errors("Unauthorized", "Access to requested resource is denied."),
            ),
            "unauthorized amazon_access_denied",
        ),
        (say(200, &json!({})), "protocol contract"),
        (say(200, &json!({"responses": 7})), "protocol contract"),
        (Said::Answer(200, vec![], b"<html>".to_vec()), "protocol contract"),
        (
            Said::CutAfter(150, Box::new(say(200, &json!({"responses": [offered(ONE, 1)]})))),
            "transient",
        ),
        (Said::Silence, "transient"),
        (Said::Close, "transient"),
    ] {
        let what = format!("{said:?}");
        let server = server(move |seen| {
            if is_batch(seen) {
                said.clone()
            } else {
                titles(seen)
            }
        })
        .await;
        let seen = told(&observe(&amazon(&server), &[ONE, TWO]).await);
        assert!(
            seen.iter().all(|one| one.starts_with(expected)),
            "{what}: {seen:?}"
        );
        assert_eq!(seen.len(), 2);
    }
}

#[tokio::test]
async fn retry_after_and_our_own_quota_say_when_to_come_back() {
    let limited = |seen: &Seen| {
        if is_batch(seen) {
            let wait = vec![("Retry-After", "17".to_owned())];
            Said::Answer(429, wait, errors("QuotaExceeded", "x").to_string().into_bytes())
        } else {
            titles(seen)
        }
    };
    let server = server(limited).await;
    let amazon = amazon(&server);
    let seconds = |look: &super::Look| match look.as_ref().unwrap_err().class {
        ErrorClass::RateLimited { retry_after } => retry_after.unwrap().as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(seconds(&observe(&amazon, &[ONE]).await[0]), 17);
    // The bucket of one is empty now, and nothing is sent.
    let again = observe(&amazon, &[ONE]).await;
    assert_eq!(told(&again), ["rate_limited amazon_own_quota"]);
    assert!((9..=10).contains(&seconds(&again[0])));
    assert_eq!(server.calls().iter().filter(|s| is_batch(s)).count(), 1);
}

#[tokio::test]
async fn a_title_that_cannot_be_had_is_no_observation() {
    let server = server(|seen| {
        if is_batch(seen) {
            return say(200, &json!({"responses": [offered(ONE, 1), offered(TWO, 2)]}));
        }
        let japan = super::JAPAN;
        let summary = json!([{"marketplaceId": japan, "itemName": "壺"}]);
        say(
            200,
            &json!({"numberOfResults": 1, "items": [{"asin": ONE, "summaries": summary}]}),
        )
    })
    .await;
    let seen = observe(&amazon(&server), &[ONE, TWO]).await;
    assert_eq!(told(&seen), ["1 JPY x1", "protocol contract"]);
    assert!(seen[1].as_ref().unwrap_err().message.contains("title"));
}

#[tokio::test]
async fn a_token_that_ended_between_is_renewed_once() {
    let asked = AtomicUsize::new(0);
    let handler = move |seen: &Seen| {
        if seen.is_token() {
            return token(&format!(
                "Atza|token-number-{}",
                asked.fetch_add(1, Ordering::SeqCst)
            ));
        }
        let first = seen.header("x-amz-access-token").unwrap().ends_with('0');
        match (first, is_batch(seen)) {
            (true, _) => {
                let text = "The access token you provided has expired: Atza|token-number-0";
                say(403, &errors("Unauthorized", text))
            }
            (false, true) => say(200, &json!({"responses": [offered(ONE, 9)]})),
            (false, false) => titles(seen),
        }
    };
    let server = Server::judged(handler, super::problems_of).await;
    let seen = observe(&amazon(&server), &[ONE]).await;
    assert_eq!(told(&seen), ["9 JPY x1"]);
    assert_eq!(server.refreshes(), 2);
    let form = String::from_utf8(server.seen()[0].body.clone()).unwrap();
    for part in [
        "grant_type=refresh_token",
        "client_id=amzn1.client",
        "client_secret=canary",
        "refresh_token=",
    ] {
        assert!(form.contains(part), "{form}");
    }
    assert!(!form.contains("scope") && server.seen()[0].header("authorization").is_none());
}

#[tokio::test]
async fn a_revoked_authorisation_asks_for_a_person_and_shows_no_secret() {
    let handler = |seen: &Seen| {
        assert!(seen.is_token());
        say(
            400,
            &json!({"error": "invalid_grant", "error_description": "canary-secret-7f3a"}),
        )
    };
    let server = Server::judged(handler, super::problems_of).await;
    let amazon = amazon(&server);
    let seen = observe(&amazon, &[ONE, TWO]).await;
    assert_eq!(told(&seen), ["unauthorized needs_reauth"; 2]);
    assert!(!format!("{seen:?}").contains("canary"));
    assert!(amazon.oauth().rests_for().is_some());
    assert_eq!(server.refreshes(), 1);
}

#[tokio::test]
async fn no_error_repeats_the_token() {
    let server = server(|seen| {
        let text = format!("you sent {}", seen.header("x-amz-access-token").unwrap());
        say(400, &errors("InvalidInput", &text))
    })
    .await;
    let seen = observe(&amazon(&server), &[ONE]).await;
    assert!(!format!("{seen:?}").contains("token-of-the-test"), "{seen:?}");
}

#[tokio::test]
async fn competitive_prices_are_read_alone_too() {
    let member = |asin: &str, status: &str, price: i64| {
        json!({"status": status, "ASIN": asin, "Product": {
            "Identifiers": {"MarketplaceASIN": {"MarketplaceId": super::JAPAN, "ASIN": asin}},
            "CompetitivePricing": {
                "CompetitivePrices": [{"CompetitivePriceId": "1", "condition": "New", "Price": {
                    "LandedPrice": yen(price), "ListingPrice": yen(price)}}],
                "NumberOfOfferListings": [{"condition": "New", "Count": 3}]}}})
    };
    let body = json!({"payload": [
        member(ONE, "Success", 800), {"status": "ClientError", "ASIN": TWO}, member(THREE, "Success", 900)]});
    let server = server(move |seen| {
        if seen.path.starts_with(COMPETITIVE) {
            say(200, &body)
        } else {
            titles(seen)
        }
    })
    .await;
    let mut settings = settings(&server);
    settings.read = ReadBy::Competitive;
    let seen = observe(&amazon_by(&server, settings), &[ONE, TWO, THREE]).await;
    assert_eq!(
        told(&seen),
        ["800 JPY x1", "not_found amazon_no_such_item", "900 JPY x1"]
    );
    assert_eq!(
        seen[0].as_ref().unwrap().data_source,
        DataSource::AmazonCompetitive
    );
}

#[tokio::test]
async fn a_harmless_question_is_about_no_product() {
    let server = server(titles).await;
    assert!(amazon(&server).reach().await.is_ok());
    assert!(server.calls()[0].path.contains("B000000000"));
}
