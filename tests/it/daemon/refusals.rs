//! What is refused: told with everything that is wrong, and nothing is changed by it.

use super::world::World;
use serde_json::{Value, json};
use zaikoban::control::client::ControlError;

/// What an order could have changed: switches, decisions, rows.
const STATE: &str = "SELECT concat_ws(chr(10), \
    (SELECT string_agg(concat(id, monitoring_enabled, value_at_risk), ',' ORDER BY id) FROM inventory_management), \
    (SELECT string_agg(concat(id, auto_sync_enabled, held_reason), ',' ORDER BY id) FROM listing_platforms), \
    (SELECT string_agg(concat(id, status, note), ',' ORDER BY id) FROM holds), \
    (SELECT count(*) FROM processing_queue WHERE status <> 'completed'), \
    (SELECT string_agg(concat(platform, paused), ',' ORDER BY platform) FROM platform_state))";

/// An order, the status it must meet, and what the answer must hold.
struct Case {
    path: &'static str,
    body: Vec<u8>,
    status: u16,
    says: &'static [&'static str],
}

fn case(path: &'static str, body: &Value, status: u16, says: &'static [&'static str]) -> Case {
    raw(path, body.to_string().into_bytes(), status, says)
}

fn raw(path: &'static str, body: Vec<u8>, status: u16, says: &'static [&'static str]) -> Case {
    Case {
        path,
        body,
        status,
        says,
    }
}

fn orders() -> Vec<Case> {
    let nobody = json!({ "ids": [999_991, 999_992, 999_991] });
    let both: &[&str] = &[
        "there is no product `999991`, no product `999992`",
        "`zaikoban products list`",
    ];
    vec![
        case("/v1/products/pause", &nobody, 404, both),
        case("/v1/products/resume", &nobody, 404, both),
        case("/v1/products/check", &nobody, 404, both),
        case(
            "/v1/products/remove",
            &json!({ "ids": [1, 999_991] }),
            404,
            &["no product `999991`"],
        ),
        case(
            "/v1/products/pause",
            &json!({ "ids": [] }),
            422,
            &["ids", "1 to 1000 numbers", "0 of them"],
        ),
        case(
            "/v1/listings/pause",
            &nobody,
            404,
            &["no listing `999991`, no listing `999992`"],
        ),
        case(
            "/v1/listings/push",
            &nobody,
            404,
            &["no listing `999992`", "`zaikoban listings list`"],
        ),
        case(
            "/v1/listings/999991/rules",
            &json!({ "set": { "cap": 3 } }),
            404,
            &["no listing `999991`"],
        ),
        case(
            "/v1/listings/999991/rules",
            &json!({}),
            422,
            &["set, unset, clear", "one of them at least"],
        ),
        case(
            "/v1/listings/resume",
            &json!({}),
            422,
            &["ids, destination", "one of them", "neither"],
        ),
        case(
            "/v1/listings/pause",
            &json!({ "ids": [1], "destination": "ebay" }),
            422,
            &["ids, destination", "both"],
        ),
        case(
            "/v1/listings/pause",
            &json!({ "destination": "etsy" }),
            422,
            &["one of ebay, mercari, amazon_seller", "etsy"],
        ),
        case(
            "/v1/listings",
            &json!({ "product_id": 999_991, "destination": "mercari", "sku": "" }),
            422,
            &[
                "2 problem(s)",
                "a destination that is enabled in the settings",
                "`platforms.mercari.enabled`",
                "1 to 50 characters",
            ],
        ),
        case(
            "/v1/listings",
            &json!({ "product_id": 999_991, "destination": "ebay", "sku": "A" }),
            404,
            &["no product `999991`"],
        ),
        case("/v1/holds/accept", &nobody, 404, &["no hold `999991`"]),
        case(
            "/v1/holds/reject",
            &json!({ "ids": [1], "note": "a\u{0}b" }),
            422,
            &["note", "control character"],
        ),
        case(
            "/v1/holds/edit",
            &json!({ "id": 999_991, "stock": 1 }),
            404,
            &["no hold `999991`"],
        ),
        case(
            "/v1/queue/retry",
            &nobody,
            404,
            &["no job `999991`, no job `999992`", "`zaikoban queue list`"],
        ),
        case("/v1/queue/discard", &nobody, 404, &["no job `999991`"]),
        case(
            "/v1/platforms/etsy/pause",
            &json!({}),
            404,
            &["no platform `etsy`", "`zaikoban platforms list`"],
        ),
        case(
            "/v1/platforms/mercari/reset",
            &json!({}),
            404,
            &["no platform `mercari`"],
        ),
        case(
            "/v1/platforms/ebay/destroy",
            &json!({}),
            404,
            &["no address `POST /v1/platforms/ebay/destroy`"],
        ),
        case(
            "/v1/products",
            &json!({ "source_url": "http://127.0.0.1/", "title": "a\nb", "cost_rule": "cheap", "value_at_risk": -1 }),
            422,
            &[
                "4 problem(s)",
                "source_url",
                "title",
                "one of buy_now, current_bid",
                "yen per hour",
            ],
        ),
        case(
            "/v1/products",
            &json!({ "sauce_url": "x" }),
            422,
            &["sauce_url", "the request's body", "buy_now"],
        ),
        raw(
            "/v1/products/pause",
            b"{\"ids\": [1,".to_vec(),
            422,
            &["the request's body", r#"{"ids": [1, 2]}"#, "line 1 column"],
        ),
        raw(
            "/v1/products/pause",
            Vec::new(),
            422,
            &["the request's body", "nothing"],
        ),
        raw(
            "/v1/products/pause",
            vec![b' '; (1 << 20) + 1],
            413,
            &["larger than 1048576 bytes", "in several parts"],
        ),
        raw(
            "/v1/products/import",
            vec![b','; (32 << 20) + 1],
            413,
            &["larger than 33554432 bytes"],
        ),
        raw(
            "/v1/products/import",
            Vec::new(),
            422,
            &["line 1", "a column `source_url`"],
        ),
        raw(
            "/v1/products/import",
            b"source_url\n\xff\xfe\n".to_vec(),
            422,
            &["line 2", "text in UTF-8 or CP932", "CSV UTF-8"],
        ),
        case("/v1/nowhere", &json!({}), 404, &["no address `POST /v1/nowhere`"]),
        case("/v1/status", &json!({}), 404, &["no address `POST /v1/status`"]),
    ]
}

/// A question and what its refusal must hold.
const QUESTIONS: [(&str, u16, &[&str]); 13] = [
    ("/v1/products/999991", 404, &["no product `999991`"]),
    (
        "/v1/products/lamp",
        422,
        &["path `/v1/products/lamp`", "a number"],
    ),
    ("/v1/listings/999991", 404, &["no listing `999991`"]),
    ("/v1/listings/999991/explain", 404, &["no listing `999991`"]),
    ("/v1/listings/999991/rules", 404, &["no listing `999991`"]),
    ("/v1/plan?id=999991", 404, &["no listing `999991`"]),
    ("/v1/queue/999991", 404, &["no job `999991`"]),
    ("/", 404, &["no address `GET /`", "`/v1/`"]),
    (
        "/v1/products?limit=0&after=x&state=lost&sort=id",
        422,
        &[
            "4 problem(s)",
            "a whole number from 1 to 1000",
            "after",
            "one of in_stock, out_of_stock",
            "limit, after, state, search",
        ],
    ),
    ("/v1/products?search=%00", 422, &["search", "control character"]),
    (
        "/v1/listings?destination=etsy&state=lost",
        422,
        &["2 problem(s)", "one of ebay", "one of behind"],
    ),
    (
        "/v1/queue?status=lost&queue=mine",
        422,
        &["2 problem(s)", "one of pending", "one of stock_check"],
    ),
    ("/v1/holds?limit=1001", 422, &["a whole number from 1 to 1000"]),
];

pub async fn nothing_is_changed_by_what_is_refused(world: &World) {
    let client = world.client();
    let before = world.text(STATE).await;
    for case in orders() {
        let answer = client
            .post_text(case.path, "application/octet-stream", case.body)
            .await;
        assert_refused(case.path, answer, case.status, case.says);
    }
    for (path, status, says) in QUESTIONS {
        assert_refused(path, client.get(path).await, status, says);
    }
    assert_eq!(world.text(STATE).await, before, "something was changed");
}

fn assert_refused(path: &str, answer: Result<Value, ControlError>, expected: u16, says: &[&str]) {
    let Err(ControlError::Refused {
        status,
        code,
        message,
        problems,
        hint,
    }) = answer
    else {
        panic!("{path}: expected a refusal, got {answer:?}");
    };
    let told = format!("{code}: {message} {problems:?} {hint:?}").replace("\\\"", "\"");
    assert_eq!(status, expected, "{path}: {told}");
    assert!(!code.is_empty() && !message.is_empty(), "{path}: {told}");
    for words in says {
        assert!(told.contains(words), "{path}: `{words}` in {told}");
    }
    for problem in problems {
        let given = |key: &str| problem[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(given("place") && given("expected"), "{path}: {problem}");
    }
}
