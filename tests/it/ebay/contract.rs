//! The judge itself, and the answers that the other tests build on.

use super::server::BULK_PATH;
use crate::support::oas::{Contract, Request};
use serde_json::{Value, json};

fn problems(method: &str, path: &str, body: &Value) -> Option<Vec<String>> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    Some(Contract::load()?.problems_of_request(&Request {
        method,
        path,
        header: &|name| (name == "Content-Type").then(|| "application/json".to_owned()),
        body: &body,
    }))
}

#[test]
fn the_judge_lets_what_is_right_pass_and_finds_what_is_wrong() {
    let right = json!({"requests": [{"sku": "a", "offers": [{"offerId": "1", "availableQuantity": 3}]}]});
    let Some(found) = problems("POST", BULK_PATH, &right) else {
        return;
    };
    assert!(found.is_empty(), "{found:?}");
    for (wrong, path) in [
        (json!({"requests": [{"SKU": "a"}]}), "a misspelt member"),
        (json!({"requests": {"sku": "a"}}), "no list"),
        (json!({"requests": [{"sku": 7}]}), "a number for a text"),
        (
            json!({"requests": [{"offers": [{"availableQuantity": "3"}]}]}),
            "a text for a number",
        ),
        (
            json!({"requests": [{"offers": [{"price": {"value": 3, "currency": "USD"}}]}]}),
            "a number for money",
        ),
    ] {
        assert!(!problems("POST", BULK_PATH, &wrong).unwrap().is_empty(), "{path}");
    }
    let root = "/sell/inventory/v1";
    assert!(
        !problems("PUT", &format!("{root}/offer/7"), &json!({}))
            .unwrap()
            .is_empty(),
        "no Content-Language"
    );
    assert!(
        !problems("POST", &format!("{root}/offer/7/publish"), &json!({}))
            .unwrap()
            .is_empty(),
        "a body"
    );
    assert!(
        problems("POST", &format!("{root}/offer/7/publish"), &Value::Null)
            .unwrap()
            .is_empty()
    );
    assert!(
        !problems("POST", &format!("{root}/offer/7/end"), &Value::Null)
            .unwrap()
            .is_empty(),
        "no such path"
    );
    assert!(
        problems("GET", &format!("{root}/offer?sku=a"), &Value::Null)
            .unwrap()
            .is_empty()
    );
    assert!(
        !problems("GET", &format!("{root}/offer?SKU=a"), &Value::Null)
            .unwrap()
            .is_empty(),
        "no such query"
    );
}

#[test]
fn the_judge_knows_answers_too() {
    let Some(contract) = Contract::load() else { return };
    let problems = |status, body: &Value| {
        contract.problems_of_answer("POST", BULK_PATH, status, body.to_string().as_bytes())
    };
    let entry = json!({"responses": [{"sku": "a", "offerId": "1", "statusCode": 200}]});
    let error = json!({"errors": [{"errorId": 25002, "domain": "API_INVENTORY", "category": "REQUEST", "message": "m"}]});
    for (status, body) in [
        (200, &entry),
        (207, &entry),
        (400, &error),
        (500, &error),
        (429, &error),
    ] {
        assert!(
            problems(status, body).is_empty(),
            "{status}: {:?}",
            problems(status, body)
        );
    }
    assert!(!problems(200, &json!({"responses": [{"statusCode": "200"}]})).is_empty());
    assert!(!problems(200, &json!({"answers": []})).is_empty());
    assert!(!problems(418, &error).is_empty());
    assert!(!problems(400, &json!({"error": "no"})).is_empty());
}
