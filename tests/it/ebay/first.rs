//! The first listing of a product, over the wire: against a server that misbehaves on order, and against the simulator with
//! every answer held against the published contracts.

use super::server::{Said, Seen, Server, say, token};
use super::usd;
use super::{pieces, server};
use crate::support::oas::Contract;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use zaikoban::app::install_tls;
use zaikoban::domain::ErrorClass;
use zaikoban::platform::registrar::{ListingContent, NewListing, Policies, Registrar as _, Step};
use zaikoban::simulator::{Simulator, SimulatorSettings};

const ROOT: &str = "/sell/inventory/v1";

fn new(sku: &str) -> NewListing {
    NewListing {
        sku: sku.into(),
        content: ListingContent {
            title: "A camera".into(),
            description: "<p>It works.</p>".into(),
            images: vec!["https://img.example/1.jpg".into()],
            category: "15230".into(),
            condition: "USED_EXCELLENT".into(),
            condition_description: Some("as new".into()),
            aspects: BTreeMap::from([("Brand".into(), vec!["Zaiko".into()])]),
            marketplace: "EBAY_US".into(),
            location: "tokyo".into(),
            policies: Policies {
                fulfillment: "1".into(),
                payment: "2".into(),
                returns: "3".into(),
            },
        },
        quantity: pieces(2),
        price: usd("20.50"),
    }
}

/// Answers each bulk call with these entries.
async fn answering(status: u16, entries: Value) -> Server {
    Server::start(move |seen: &Seen| match seen.is_token() {
        true => token("t", 7200),
        false => say(status, &json!({ "responses": entries })),
    })
    .await
}

fn code(step: &Step) -> (&str, bool) {
    let not_done = step.as_ref().unwrap_err();
    (&not_done.error.code, not_done.unknown)
}

#[tokio::test]
async fn what_is_sent_is_what_the_contract_asks_for() {
    let made = json!([{"sku": "a", "offerId": "9", "statusCode": 201}, {"sku": "b", "offerId": "8", "statusCode": 201}]);
    // The server holds every request against the contract when it ends.
    let server = answering(200, made).await;
    let ebay = server.ebay();
    let both = [new("a"), new("b")];
    assert!(ebay.put_items(&both).await.iter().all(Result::is_ok));
    let steps = ebay.make_offers(&both).await;
    assert_eq!(&*steps[1].as_ref().unwrap().id, "8");
    let calls = server.calls();
    let sent = calls[0].json();
    let item = &sent["requests"][0];
    assert_eq!(item["locale"], "en_US");
    assert_eq!(item["product"]["aspects"], json!({"Brand": ["Zaiko"]}));
    assert_eq!(item["availability"]["shipToLocationAvailability"]["quantity"], 2);
    let offer = &calls[1].json()["requests"][1];
    assert_eq!(
        offer["pricingSummary"]["price"],
        json!({"value": "20.50", "currency": "USD"})
    );
    assert_eq!(
        (&offer["format"], &offer["listingDuration"]),
        (&json!("FIXED_PRICE"), &json!("GTC"))
    );
}

#[tokio::test]
async fn every_entry_is_judged_by_itself() {
    let refused = json!({"errorId": 25005, "category": "REQUEST", "message": "Invalid category."});
    let entries = json!([
        {"sku": "a", "offerId": "9", "statusCode": 201},
        {"sku": "b", "statusCode": 400, "errors": [refused]},
        {"sku": "c", "statusCode": 500, "errors": [{"errorId": 25001, "category": "APPLICATION", "message": "x"}]},
        {"sku": "d", "statusCode": 201},
        {"sku": "e", "offerId": "7", "statusCode": 200}, {"sku": "e", "offerId": "7", "statusCode": 200},
        {"sku": "g", "offerId": "6", "statusCode": 200, "errors": [refused]},
        {"sku": "h", "offerId": "5", "statusCode": 200, "errors": "odd"},
    ]);
    let server = answering(207, entries).await;
    let listings = ["a", "b", "c", "d", "e", "f", "g", "h"].map(new);
    let steps = server.ebay().make_offers(&listings).await;
    assert_eq!(&*steps[0].as_ref().unwrap().id, "9");
    assert_eq!(code(&steps[1]), ("ebay_25005", false));
    assert_eq!(code(&steps[2]), ("ebay_25001", true));
    assert_eq!(code(&steps[6]), ("ebay_25005", true), "a success with an error");
    for (at, why) in [
        (3, "no offer id"),
        (4, "named twice"),
        (5, "no entry"),
        (7, "odd errors"),
    ] {
        assert_eq!(code(&steps[at]), ("contract", true), "{why}");
    }
}

#[tokio::test]
async fn a_cut_answer_leaves_every_entry_unknown_and_a_refused_call_none() {
    let cut = Server::start(|seen: &Seen| match seen.is_token() {
        true => token("t", 7200),
        false => Said::CutAfter(70, Box::new(say(200, &json!({"responses": []})))),
    })
    .await;
    let both = [new("a"), new("b")];
    for step in cut.ebay().make_offers(&both).await {
        let not_done = step.unwrap_err();
        assert!(
            not_done.unknown && not_done.error.class == ErrorClass::Transient,
            "{not_done:?}"
        );
    }
    let error = json!({"errors": [{"errorId": 25730, "domain": "API_INVENTORY", "category": "REQUEST", "message": "m"}]});
    let refusing = Server::start(move |seen: &Seen| match seen.is_token() {
        true => token("t", 7200),
        false => say(400, &error),
    })
    .await;
    for step in refusing.ebay().make_offers(&both).await {
        assert_eq!(code(&step), ("batch_refused", false));
    }
    let alone = refusing.ebay().make_offers(&both[..1]).await;
    assert_eq!(code(&alone[0]), ("ebay_25730", false));
}

#[tokio::test]
async fn offers_of_another_sku_or_of_no_known_status_are_no_answer() {
    let offer = |sku: &str, status: &str| json!({"offerId": "9", "sku": sku, "marketplaceId": "EBAY_US", "format": "FIXED_PRICE", "status": status});
    for (offer, good) in [
        (offer("a", "UNPUBLISHED"), true),
        (offer("b", "UNPUBLISHED"), false),
        (offer("a", "DELETED"), false),
    ] {
        let server = Server::start(move |seen: &Seen| match seen.is_token() {
            true => token("t", 7200),
            false => say(200, &json!({"total": 1, "size": 1, "offers": [offer]})),
        })
        .await;
        let found = server.ebay().offers("a").await;
        assert_eq!(found.is_ok(), good, "{found:?}");
    }
}

/// The application's own token is asked for once, and again when it is refused.
#[tokio::test]
async fn categories_are_asked_for_as_the_application() {
    let server = Server::start(|seen: &Seen| {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        match seen.path.split('?').next().unwrap() {
            server::TOKEN_PATH if form.contains("client_credentials") => token("app", 7200),
            server::TOKEN_PATH => token("user", 7200),
            _ if seen.header("authorization").as_deref() != Some("Bearer app") => say(403, &json!({})),
            path if path.ends_with("get_default_category_tree_id") => {
                say(200, &json!({"categoryTreeId": "0", "categoryTreeVersion": "1"}))
            }
            _ => Said::Answer(204, Vec::new(), Vec::new()),
        }
    })
    .await;
    let ebay = server.ebay();
    assert_eq!(ebay.suggest("EBAY_US", "something & nothing").await.unwrap(), []);
    assert_eq!(ebay.suggest("EBAY_US", "more").await.unwrap(), []);
    assert_eq!(server.refreshes(), 1, "one token for all");
}

/// The simulator's answers to all of this are what the contracts say.
#[tokio::test]
async fn the_simulator_answers_first_listings_as_published() {
    install_tls();
    let running = Simulator::start(SimulatorSettings {
        products: 1,
        listings: 1,
        ..SimulatorSettings::default()
    })
    .unwrap();
    let Some(contract) = Contract::load() else { return };
    let client = crate::simulator::client();
    let grant = running.catalogue().credentials;
    let base = running.urls.ebay.trim_end_matches('/').to_owned();
    let token = |form: Vec<(&'static str, String)>| {
        let request = client.post(format!("{base}/identity/v1/oauth2/token"));
        let request = request
            .basic_auth(&grant.client_id, Some(&grant.client_secret))
            .form(&form);
        async move {
            let body: Value = request.send().await.unwrap().json().await.unwrap();
            body["access_token"].as_str().unwrap().to_owned()
        }
    };
    let refresh = grant.refresh_token.to_string();
    let user = token(vec![
        ("grant_type", "refresh_token".into()),
        ("refresh_token", refresh),
    ])
    .await;
    let app = token(vec![("grant_type", "client_credentials".into())]).await;
    let ask = |method: Method, path: String, bearer: &str, body: Value| {
        let request = client.request(method.clone(), format!("{base}{path}"));
        let request = request.bearer_auth(bearer).header("content-language", "en-US");
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.bytes().await.unwrap();
            let problems = contract.problems_of_answer(method.as_str(), &path, status, &body);
            assert!(problems.is_empty(), "{path} {status}: {problems:?}");
            (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
        }
    };
    let post = |path: &str, body: Value| ask(Method::POST, format!("{ROOT}{path}"), &user, body);
    let item = |sku: &str, condition: &str| {
        json!({"sku": sku, "locale": "en_US", "condition": condition,
            "availability": {"shipToLocationAvailability": {"quantity": 2}},
            "product": {"title": "t", "imageUrls": ["https://i.example/1.jpg"], "aspects": {"Brand": ["b"]}}})
    };
    let path = "/bulk_create_or_replace_inventory_item";
    let (status, body) = post(
        path,
        json!({"requests": [item("N-1", "NEW"), item("N-2", "ODD")]}),
    )
    .await;
    assert_eq!((status, &body["responses"][0]["statusCode"]), (207, &json!(201)));
    assert_eq!(body["responses"][1]["errors"][0]["errorId"], 25_021);
    let many: Vec<Value> = (0..26).map(|n| item(&format!("M-{n}"), "NEW")).collect();
    assert_eq!(
        post(path, json!({ "requests": many })).await.1["errors"][0]["errorId"],
        25_727
    );
    let twice = json!({"requests": [item("N-1", "NEW"), item("N-1", "NEW")]});
    assert_eq!(post(path, twice).await.1["errors"][0]["errorId"], 25_728);
    let offer =
        json!({"sku": "N-1", "marketplaceId": "EBAY_US", "format": "FIXED_PRICE", "availableQuantity": 2});
    let (status, body) = post("/bulk_create_offer", json!({"requests": [offer]})).await;
    assert_eq!(status, 200, "{body}");
    let id = body["responses"][0]["offerId"].clone();
    let publish = json!({"requests": [{"offerId": id}]});
    let (_, body) = post("/bulk_publish_offer", publish.clone()).await;
    assert_eq!(body["responses"][0]["errors"][0]["errorId"], 25_003, "no price");
    let terms = json!({"availableQuantity": 2, "categoryId": "15230", "listingDescription": "d",
        "pricingSummary": {"price": {"value": "9.00", "currency": "USD"}}, "merchantLocationKey": "tokyo",
        "listingPolicies": {"fulfillmentPolicyId": "1", "paymentPolicyId": "2"}});
    let offer_path = format!("{ROOT}/offer/{}", id.as_str().unwrap());
    assert_eq!(
        ask(Method::PUT, offer_path.clone(), &user, terms.clone()).await.0,
        200
    );
    let (_, body) = post("/bulk_publish_offer", publish.clone()).await;
    assert_eq!(
        body["responses"][0]["errors"][0]["errorId"], 25_009,
        "no return policy"
    );
    let mut terms = terms;
    terms["listingPolicies"]["returnPolicyId"] = json!("3");
    ask(Method::PUT, offer_path, &user, terms).await;
    let (status, body) = post("/bulk_publish_offer", publish).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["responses"][0]["listingId"].is_string());

    let get = |path: &str, bearer: &str| ask(Method::GET, path.to_owned(), bearer, Value::Null);
    let tree = "/commerce/taxonomy/v1/get_default_category_tree_id?marketplace_id=EBAY_US";
    assert_eq!(get(tree, &app).await.1["categoryTreeId"], "0");
    assert_eq!(get(tree, &user).await.0, 403, "the seller's token");
    let suggest = "/commerce/taxonomy/v1/category_tree/0/get_category_suggestions?q=";
    let (_, found) = get(&format!("{suggest}film%20camera"), &app).await;
    assert_eq!(found["categorySuggestions"][0]["category"]["categoryId"], "15230");
    assert_eq!(get(&format!("{suggest}zzz"), &app).await.0, 204);
    assert_eq!(
        get("/developer/analytics/v1_beta/rate_limit/?api_context=sell", &app)
            .await
            .0,
        200
    );
    assert_eq!(
        get("/developer/analytics/v1_beta/user_rate_limit/", &user)
            .await
            .0,
        200
    );
}
