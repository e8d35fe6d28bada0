//! eBay's API over its door: tokens, and every answer against the published description.

use super::{client, sets, standing, token};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use zaikoban::simulator::Running;

/// Where the published description lies beside this repository, or beside a folder that holds it, if it is there.
const SPEC: &str = "shared/data/ebay/sell_inventory_v1_oas3.json";

/// The published description of the Inventory API.
struct Spec(Value);

impl Spec {
    fn load() -> Option<Self> {
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1);
        let text = folders
            .take(2)
            .find_map(|f| std::fs::read_to_string(f.join(SPEC)).ok())?;
        let mut spec: Value = serde_json::from_str(&text).unwrap();
        close(&mut spec["components"]);
        Some(Self(spec))
    }

    /// Checks a body against the schema that the description names for this answer.
    fn check(&self, path: &str, method: &str, status: u16, body: &Value) {
        let operation = &self.0["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        let answer = &operation["responses"][status.to_string()];
        let known = answer.is_object() || [401, 415, 429, 503].contains(&status);
        assert!(known, "{method} {path} does not describe {status}");
        let named = &answer["content"]["application/json"]["schema"]["$ref"];
        let schema = match (named.as_str(), status) {
            (Some(name), _) => json!({ "$ref": name }),
            // 207 has no schema of its own; it is the same body as 200.
            (None, 207) => json!({ "$ref": "#/components/schemas/BulkPriceQuantityResponse" }),
            (None, 204) => return assert!(body.is_null()),
            (None, _) => json!({
                "type": "object", "required": ["errors"], "additionalProperties": false,
                "properties": { "errors": {
                    "type": "array", "minItems": 1, "items": { "$ref": "#/components/schemas/Error" },
                } },
            }),
        };
        self.valid(schema, body, &format!("{method} {path} {status}"));
    }

    /// Checks a request's body.
    fn check_request(&self, path: &str, method: &str, body: &Value) {
        let content = &self.0["paths"][path][method]["requestBody"]["content"];
        let schema = content["application/json"]["schema"]["$ref"].as_str().unwrap();
        self.valid(
            json!({ "$ref": schema }),
            body,
            &format!("request {method} {path}"),
        );
    }

    fn valid(&self, mut schema: Value, body: &Value, what: &str) {
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::draft4::options().build(&schema).unwrap();
        let problems: Vec<String> = validator
            .iter_errors(body)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{what}: {problems:?} in {body}");
    }
}

/// No schema takes a member that it does not name: a misspelt key must not pass.
fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object)
                && map.get("type") == Some(&json!("object"))
            {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// A seller's program: one client, one token.
struct Seller<'a> {
    client: reqwest::Client,
    running: &'a Running,
    token: String,
    spec: Option<Spec>,
}

impl<'a> Seller<'a> {
    async fn new(running: &'a Running) -> Self {
        let client = client();
        let token = token(&client, running).await;
        let spec = Spec::load();
        if spec.is_none() {
            println!("{SPEC} is not there: answers are not compared with it");
        }
        Self {
            client,
            running,
            token,
            spec,
        }
    }

    /// Asks; `place` is the path as the description names it, `path` as it is called.
    async fn ask(&self, method: Method, place: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/sell/inventory/v1{path}", self.running.urls.ebay);
        let mut request = self.client.request(method.clone(), url).bearer_auth(&self.token);
        if let Some(body) = &body {
            if let Some(spec) = &self.spec {
                spec.check_request(place, &method.as_str().to_lowercase(), body);
            }
            request = request.header("content-language", "en-US").json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if let Some(spec) = &self.spec {
            spec.check(place, &method.as_str().to_lowercase(), status, &body);
        }
        (status, body)
    }

    async fn get(&self, place: &str, path: &str) -> (u16, Value) {
        self.ask(Method::GET, place, path, None).await
    }

    async fn bulk(&self, requests: Vec<Value>) -> (u16, Value) {
        let body = json!({ "requests": requests });
        let place = "/bulk_update_price_quantity";
        self.ask(Method::POST, place, place, Some(body)).await
    }
}

#[tokio::test]
async fn every_answer_is_as_the_published_description_says() {
    let (running, _clock) = standing(4);
    let seller = Seller::new(&running).await;
    let listings: Vec<_> = running
        .catalogue()
        .products
        .into_iter()
        .flat_map(|p| p.listings)
        .collect();
    let (sku, offer) = (&listings[0].sku, &listings[0].offer_id);

    let (status, body) = seller.bulk(vec![sets(sku, offer, 3, "19.99")]).await;
    assert_eq!((status, &body["responses"][0]["statusCode"]), (200, &json!(200)));
    let warns = json!({ "faults": { "ebay": { "p_entry_warns": 1.0 } } });
    running.script(&warns).unwrap();
    let (status, body) = seller
        .bulk(vec![sets(sku, offer, 4, "20.99"), sets("?", "1", 1, "1.00")])
        .await;
    assert_eq!(
        (status, &body["responses"][1]["errors"][0]["errorId"]),
        (207, &json!(25_713))
    );
    running.script(&json!({ "stop_faults": true })).unwrap();
    let too_many = (0..26).map(|_| sets(sku, offer, 1, "1.00")).collect();
    assert_eq!(seller.bulk(too_many).await.0, 400);

    let item = format!("/inventory_item/{sku}");
    let (status, body) = seller.get("/inventory_item/{sku}", &item).await;
    let quantity = &body["availability"]["shipToLocationAvailability"]["quantity"];
    assert_eq!((status, quantity, &body["sku"]), (200, &json!(4), &json!(sku)));
    assert_eq!(
        seller
            .get("/inventory_item/{sku}", "/inventory_item/none")
            .await
            .0,
        404
    );
    let (status, body) = seller.get("/offer", &format!("/offer?sku={sku}")).await;
    assert_eq!((status, &body["offers"][0]["offerId"]), (200, &json!(offer)));
    assert_eq!(body["offers"][0]["status"], "PUBLISHED");
    assert_eq!(seller.get("/offer", "/offer?sku=none").await.0, 404);
    assert_eq!(seller.get("/offer", "/offer").await.0, 400);
    let one = format!("/offer/{offer}");
    let (status, body) = seller.get("/offer/{offerId}", &one).await;
    assert_eq!((status, &body["availableQuantity"]), (200, &json!(4)));
    assert_eq!(
        body["pricingSummary"]["price"],
        json!({ "value": "20.99", "currency": "USD" })
    );
    assert_eq!(seller.get("/offer/{offerId}", "/offer/1").await.0, 404);

    let withdraw = "/offer/{offerId}/withdraw";
    assert_eq!(
        seller
            .ask(Method::POST, withdraw, &format!("{one}/withdraw"), None)
            .await
            .0,
        200
    );
    assert_eq!(
        seller
            .ask(Method::POST, withdraw, &format!("{one}/withdraw"), None)
            .await
            .0,
        400
    );
    let publish = "/offer/{offerId}/publish";
    assert_eq!(
        seller
            .ask(Method::POST, publish, &format!("{one}/publish"), None)
            .await
            .0,
        200
    );
    assert_eq!(
        seller
            .ask(Method::POST, publish, "/offer/1/publish", None)
            .await
            .0,
        404
    );

    let item = json!({
        "condition": "NEW",
        "product": { "title": "A clock", "description": "It ticks." },
        "availability": { "shipToLocationAvailability": { "quantity": 2 } },
    });
    let place = "/inventory_item/{sku}";
    let put = |body: &Value| seller.ask(Method::PUT, place, "/inventory_item/NEW-1", Some(body.clone()));
    assert_eq!(put(&item).await.0, 201);
    assert_eq!(put(&item).await.0, 204);
    let new = json!({
        "sku": "NEW-1", "marketplaceId": "EBAY_US", "format": "FIXED_PRICE", "availableQuantity": 2,
        "pricingSummary": { "price": { "value": "33.00", "currency": "USD" } },
    });
    let (status, body) = seller
        .ask(Method::POST, "/offer", "/offer", Some(new.clone()))
        .await;
    assert_eq!(status, 201);
    let path = format!("/offer/{}", body["offerId"].as_str().unwrap());
    assert_eq!(
        seller.ask(Method::POST, "/offer", "/offer", Some(new)).await.0,
        400
    );
    let update = json!({ "availableQuantity": 1, "pricingSummary": { "price": { "value": "30.00", "currency": "USD" } } });
    assert_eq!(
        seller
            .ask(Method::PUT, "/offer/{offerId}", &path, Some(update.clone()))
            .await
            .0,
        200
    );
    assert_eq!(
        seller
            .ask(Method::PUT, "/offer/{offerId}", "/offer/1", Some(update))
            .await
            .0,
        404
    );

    for (fault, status) in [
        ("p_500", 500),
        ("p_503", 503),
        ("p_429", 429),
        ("p_401", 401),
        ("p_concurrent", 500),
    ] {
        running
            .script(&json!({ "stop_faults": true, "faults": { "ebay": { fault: 1.0 } } }))
            .unwrap();
        assert_eq!(
            seller.bulk(vec![sets(sku, offer, 1, "1.00")]).await.0,
            status,
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_token_ends_and_a_new_one_works() {
    let (running, clock) = standing(2);
    running.script(&json!({ "token_lifetime_s": 100 })).unwrap();
    let mut seller = Seller::new(&running).await;
    let listing = running.catalogue().products[0].listings[0].clone();
    let entry = || vec![sets(&listing.sku, &listing.offer_id, 5, "9.00")];
    assert_eq!(seller.bulk(entry()).await.0, 200);
    clock.advance(chrono::Duration::seconds(99));
    assert_eq!(seller.bulk(entry()).await.0, 200);
    clock.advance(chrono::Duration::seconds(1));
    let (status, body) = seller.bulk(entry()).await;
    assert_eq!((status, &body["errors"][0]["errorId"]), (401, &json!(1_001)));
    assert_eq!(running.register()[0].version, 2);
    seller.token = token(&seller.client, &running).await;
    assert_eq!(seller.bulk(entry()).await.0, 200);
    running.script(&json!({ "expire_tokens": true })).unwrap();
    assert_eq!(seller.bulk(entry()).await.0, 401);
    let operations: Vec<_> = running
        .ledger(0, 100)
        .entries
        .into_iter()
        .map(|e| e.operation)
        .collect();
    let turned_away = operations.iter().filter(|o| &***o == "unauthorized").count();
    assert_eq!((operations.len(), turned_away, running.stats().tokens), (7, 2, 2));
}

#[tokio::test]
async fn headers_that_the_description_requires_are_required() {
    let (running, _clock) = standing(1);
    let seller = Seller::new(&running).await;
    let url = |path: &str| format!("{}/sell/inventory/v1{path}", running.urls.ebay);
    let put = |url: String| seller.client.put(url).bearer_auth(&seller.token);
    let answer = put(url("/inventory_item/ZK-000001"))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
    assert_eq!((status, &body["errors"][0]["errorId"]), (400, &json!(25_709)));
    assert!(
        body["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("Content-Language")
    );
    let bulk = url("/bulk_update_price_quantity");
    let post = || seller.client.post(&bulk).bearer_auth(&seller.token);
    assert_eq!(post().body("{}").send().await.unwrap().status(), 415);
    let broken = post()
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(broken.status(), 400);
    assert_eq!(running.register()[0].version, 0);
}

#[tokio::test]
async fn a_call_whose_answer_is_cut_was_applied_and_says_so_in_the_ledger() {
    let (running, _clock) = standing(1);
    let seller = Seller::new(&running).await;
    running
        .script(&json!({ "faults": { "ebay": { "p_cut": 1.0 } } }))
        .unwrap();
    let listing = running.catalogue().products[0].listings[0].clone();
    let request = seller
        .client
        .post(format!(
            "{}/sell/inventory/v1/bulk_update_price_quantity",
            running.urls.ebay
        ))
        .bearer_auth(&seller.token)
        .json(&json!({ "requests": [sets(&listing.sku, &listing.offer_id, 6, "7.00")] }));
    let answer = request.send().await.unwrap();
    assert!(answer.bytes().await.is_err());
    let line = running.ledger(0, 10).entries.pop().unwrap();
    assert_eq!(
        (line.accepted, line.quantity, line.version),
        (true, Some(6), Some(1))
    );
    assert_eq!(running.register()[0].quantity, 6);
}

#[tokio::test]
async fn long_ledgers_are_read_in_parts() {
    let (running, _clock) = standing(2);
    let seller = Seller::new(&running).await;
    let listing = running.catalogue().products[0].listings[0].clone();
    for quantity in 0..9 {
        seller
            .bulk(vec![sets(&listing.sku, &listing.offer_id, quantity, "7.00")])
            .await;
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let part = running.ledger(after, 4);
        assert_eq!((part.total, part.dropped), (10, 0));
        if part.entries.is_empty() {
            break;
        }
        seen.extend(part.entries.iter().map(|e| e.seq));
        after = part.next;
    }
    assert_eq!(seen, (1..=10).collect::<Vec<u64>>());
}
