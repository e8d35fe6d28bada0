//! The judge itself, and the answers that the other tests build on.

use super::{BATCH, CATALOG, COMPETITIVE, JAPAN, ONE, offered, titles};
use crate::ebay::server::{Said, Seen};
use crate::support::swagger::Models;
use serde_json::{Value, json};

#[test]
fn the_judge_lets_what_is_right_pass_and_finds_what_is_wrong() {
    let Some(models) = Models::load() else { return };
    let problems = |method: &str, path: &str, body: &Value| {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        models.problems_of_request(method, path, &body)
    };
    let request = json!({"uri": "/products/pricing/v0/items/B000000001/offers", "method": "GET",
        "MarketplaceId": JAPAN, "ItemCondition": "New"});
    let right = json!({ "requests": [request] });
    assert_eq!(problems("POST", BATCH, &right), Vec::<String>::new());
    for wrong in [
        json!({"requests": []}),
        json!({"Requests": [request]}),
        json!({"requests": vec![request.clone(); 21]}),
        json!({"requests": [{"uri": "x", "method": "GET", "MarketplaceId": JAPAN}]}),
        json!({"requests": [{"uri": "x", "method": "FETCH", "MarketplaceId": JAPAN, "ItemCondition": "New"}]}),
    ] {
        assert!(!problems("POST", BATCH, &wrong).is_empty(), "{wrong}");
    }
    let nothing = Value::Null;
    assert!(
        problems(
            "GET",
            &format!("{COMPETITIVE}?MarketplaceId=X&ItemType=Asin&Asins=a,b"),
            &nothing
        )
        .is_empty()
    );
    for wrong in [
        "ItemType=Asin",
        "MarketplaceId=X&ItemType=Jan",
        "MarketplaceId=X&ItemType=Asin&asins=a",
    ] {
        assert!(
            !problems("GET", &format!("{COMPETITIVE}?{wrong}"), &nothing).is_empty(),
            "{wrong}"
        );
    }
    let listing = "/listings/2021-08-01/items/S/a?marketplaceIds=X";
    let patch =
        json!({"productType": "P", "patches": [{"op": "merge", "path": "/attributes/x", "value": [{}]}]});
    assert!(problems("PATCH", listing, &patch).is_empty());
    assert!(!problems("PATCH", listing, &json!({"productType": "P", "patches": []})).is_empty());
    assert!(!problems("PATCH", listing, &json!({"product_type": "P", "patches": [{}]})).is_empty());
    assert!(!problems("GET", "/listings/2021-08-01/items/S/a", &nothing).is_empty());
}

#[test]
fn the_answers_of_these_tests_are_amazons() {
    let Some(models) = Models::load() else { return };
    let batch = json!({"responses": [offered(ONE, 100)]}).to_string();
    let found = models.problems_of_answer("POST", BATCH, 200, batch.as_bytes());
    assert!(found.is_empty(), "{found:?}");
    let path = format!("{CATALOG}?identifiers={ONE}");
    let seen = Seen {
        method: "GET".into(),
        path: path.clone(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    let Said::Answer(200, _, body) = titles(&seen) else {
        panic!()
    };
    assert!(models.problems_of_answer("GET", &path, 200, &body).is_empty());
    assert!(!models.problems_of_answer("GET", &path, 200, b"{}").is_empty());
    assert!(!models.problems_of_answer("GET", &path, 418, b"{}").is_empty());
}
