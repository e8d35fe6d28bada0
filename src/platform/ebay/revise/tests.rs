use super::*;
use crate::domain::{
    Currency, DestinationPlatform, ErrorClass, ListingId, ListingRef, ListingState, ListingStatus, Quantity,
};
use crate::platform::PlatformError;
use serde_json::json;
use std::time::Duration;

fn revision(sku: &str, offer: &str, quantity: Option<i64>, price: Option<&str>) -> Revision {
    Revision {
        listing: ListingRef {
            listing_id: ListingId(1),
            destination: DestinationPlatform::Ebay,
            sku: sku.into(),
            platform_product_id: offer.into(),
        },
        quantity: quantity.map(|q| Quantity::new(q).unwrap()),
        price: price.map(|p| Money::new(p.parse().unwrap(), Currency::Usd).unwrap()),
        confirmed: ListingState {
            status: ListingStatus::Active,
            quantity: Quantity::new(4).unwrap(),
            price: None,
        },
    }
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        body: body.to_string().into(),
        retry_after: Some(Duration::from_secs(7)),
        date: None,
    }
}

/// The outcomes of an answer to one call about (a, 1) and (b, 2).
fn read_two(status: u16, body: &Value) -> Read {
    let (a, b) = (
        revision("a", "1", Some(0), None),
        revision("b", "2", Some(0), None),
    );
    let read = read(&[&a, &b], &reply(status, body));
    assert_eq!(read.outcomes.len(), 2, "one outcome for each");
    read
}

fn failure(outcome: &EntryOutcome) -> (&PlatformError, bool) {
    match outcome {
        EntryOutcome::Failed { error, unknown } => (error, *unknown),
        EntryOutcome::Accepted { .. } => panic!("expected a failure, got {outcome:?}"),
    }
}

fn is_accepted(outcome: &EntryOutcome) -> bool {
    matches!(outcome, EntryOutcome::Accepted { .. })
}

fn entry(sku: &str, offer: &str, status: u16) -> Value {
    json!({"sku": sku, "offerId": offer, "statusCode": status})
}

fn error_entry(sku: &str, offer: &str, status: u16, id: i64) -> Value {
    let error = json!({"errorId": id, "category": "REQUEST", "message": "no"});
    json!({"sku": sku, "offerId": offer, "statusCode": status, "errors": [error]})
}

#[test]
fn a_price_alone_leaves_both_quantities_out_and_a_quantity_sets_both() {
    let price = revision("a", "1", None, Some("19.9"));
    let both = revision("b", "2", Some(3), Some("20"));
    assert_eq!(
        body(&[&price, &both]),
        json!({"requests": [
            {"sku": "a", "offers": [{"offerId": "1", "price": {"value": "19.90", "currency": "USD"}}]},
            {"sku": "b", "shipToLocationAvailability": {"quantity": 3}, "offers": [
                {"offerId": "2", "availableQuantity": 3, "price": {"value": "20.00", "currency": "USD"}}
            ]},
        ]})
    );
}

#[test]
fn offers_of_one_sku_share_an_entry_whose_total_is_the_largest_of_theirs() {
    let (first, other) = (
        revision("a", "1", Some(0), None),
        revision("b", "2", Some(9), None),
    );
    let second = revision("a", "3", None, Some("5"));
    let body = body(&[&first, &other, &second]);
    let requests = body["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2);
    // The second offer is not touched and still holds 4.
    assert_eq!(requests[0]["shipToLocationAvailability"]["quantity"], 4);
    assert_eq!(requests[0]["offers"].as_array().unwrap().len(), 2);
}

#[test]
fn both_200_and_207_are_read_entry_by_entry() {
    for status in [200, 207] {
        let body = json!({"responses": [error_entry("b", "2", 400, 25709), entry("a", "1", 200)]});
        let read = read_two(status, &body);
        assert!(is_accepted(&read.outcomes[0]));
        let (error, unknown) = failure(&read.outcomes[1]);
        assert_eq!(
            (&*error.code, error.class, unknown),
            ("ebay_25709", ErrorClass::Rejected, false)
        );
        assert!(error.body.as_ref().unwrap().contains("25709"));
        assert_eq!(read.strangers, 0);
    }
}

#[test]
fn warnings_are_kept_whole() {
    let warning = json!({"errorId": 25402, "message": "System warning. x"});
    let mut first = entry("a", "1", 200);
    first["warnings"] = json!([warning]);
    let read = read_two(200, &json!({"responses": [first, entry("b", "2", 200)]}));
    let EntryOutcome::Accepted { warnings } = &read.outcomes[0] else {
        panic!("{:?}", read.outcomes[0])
    };
    assert_eq!(serde_json::from_str::<Value>(&warnings[0]).unwrap(), warning);
}

#[test]
fn every_shape_of_an_entry_that_does_not_certainly_say_no_or_yes_is_unknown() {
    let good = entry("b", "2", 200);
    for (what, entries) in [
        ("missing", vec![]),
        ("twice", vec![entry("a", "1", 200), entry("a", "1", 200)]),
        (
            "twice and contradictory",
            vec![entry("a", "1", 200), error_entry("a", "1", 400, 25002)],
        ),
        ("another SKU", vec![entry("x", "1", 200)]),
        ("another offer", vec![entry("a", "9", 200)]),
        ("no status", vec![json!({"sku": "a", "offerId": "1"})]),
        (
            "a status that is text",
            vec![json!({"sku": "a", "offerId": "1", "statusCode": "200"})],
        ),
        (
            "a status that is none",
            vec![json!({"sku": "a", "offerId": "1", "statusCode": 70_000})],
        ),
        ("a status of the future", vec![entry("a", "1", 302)]),
        (
            "an offer id that is a number",
            vec![json!({"sku": "a", "offerId": 1, "statusCode": 200})],
        ),
        ("no object", vec![json!("a")]),
        ("null", vec![Value::Null]),
        ("trouble over there", vec![error_entry("a", "1", 500, 25001)]),
        ("success with an error", vec![error_entry("a", "1", 200, 25002)]),
        ("time-out over there", vec![entry("a", "1", 408)]),
        ("only the SKU", vec![json!({"sku": "a", "statusCode": 200})]),
        (
            "the SKU failed",
            vec![json!({"sku": "a", "statusCode": 400}), entry("a", "1", 200)],
        ),
        (
            "only the SKU, failed",
            vec![json!({"sku": "a", "statusCode": 400})],
        ),
        (
            "the offer failed beside it",
            vec![json!({"sku": "a", "statusCode": 200}), entry("a", "1", 400)],
        ),
    ] {
        let responses: Vec<Value> = entries.into_iter().chain([good.clone()]).collect();
        let read = read_two(200, &json!({"responses": responses}));
        assert!(failure(&read.outcomes[0]).1, "{what}");
        assert!(is_accepted(&read.outcomes[1]), "{what}: the other entry stands");
    }
}

#[test]
fn an_entry_for_the_sku_beside_that_of_the_offer_is_fine() {
    let body = json!({"responses": [
        {"sku": "a", "statusCode": 200}, entry("a", "1", 200), {"offerId": "2", "statusCode": 204},
    ]});
    let read = read_two(200, &body);
    assert!(read.outcomes.iter().all(is_accepted));
    assert_eq!(read.strangers, 0);
}

#[test]
fn entries_that_nobody_asked_for_are_counted_and_change_nothing() {
    let body = json!({"responses": [
        entry("a", "1", 200), entry("b", "2", 200), entry("c", "3", 400), {"sku": "d", "statusCode": 500}, 7, {},
    ]});
    let read = read_two(207, &body);
    assert!(read.outcomes.iter().all(is_accepted));
    assert_eq!(read.strangers, 4);
}

#[test]
fn a_success_without_a_list_is_unknown_for_all() {
    for body in [
        json!({}),
        json!({"responses": null}),
        json!({"responses": {}}),
        json!([]),
        json!("ok"),
    ] {
        let read = read_two(200, &body);
        for outcome in &read.outcomes {
            let (error, unknown) = failure(outcome);
            assert!(unknown && error.class == ErrorClass::Protocol, "{body}");
            assert_eq!(error.missing, [Box::<str>::from("responses")]);
        }
    }
    let (a, status) = (revision("a", "1", Some(0), None), 200);
    let broken = Reply {
        body: r#"{"responses":[{"sku":"a","offerId":"1","statusCode":200}"#.into(),
        ..reply(status, &json!({}))
    };
    assert!(failure(&read(&[&a], &broken).outcomes[0]).1, "cut JSON");
}

#[test]
fn a_key_twice_in_an_entry_spoils_the_answer() {
    let a = revision("a", "1", Some(0), None);
    let twice = Reply {
        body: r#"{"responses":[{"sku":"a","offerId":"1","statusCode":400,"statusCode":200}]}"#.into(),
        ..reply(200, &json!({}))
    };
    assert!(failure(&read(&[&a], &twice).outcomes[0]).1);
}

#[test]
fn a_refusal_of_the_whole_says_for_each_whether_it_may_have_been_applied() {
    let errors =
        |id: i64, category: &str| json!({"errors": [{"errorId": id, "category": category, "message": "m"}]});
    let wait = Some(Duration::from_secs(7));
    let limited = ErrorClass::RateLimited { retry_after: wait };
    for (status, body, class, code, unknown) in [
        (
            400,
            errors(25002, "REQUEST"),
            ErrorClass::Rejected,
            BATCH_REFUSED,
            false,
        ),
        (404, json!({}), ErrorClass::Protocol, BATCH_REFUSED, false),
        (
            400,
            errors(25025, "REQUEST"),
            ErrorClass::Transient,
            "ebay_25025",
            false,
        ),
        (
            401,
            errors(1001, "REQUEST"),
            ErrorClass::Unauthorized,
            "ebay_token_refused",
            false,
        ),
        (429, json!({}), limited, "http_429", false),
        (408, json!({}), ErrorClass::Transient, "http_408", true),
        (
            500,
            errors(25001, "APPLICATION"),
            ErrorClass::Transient,
            "ebay_25001",
            true,
        ),
        (503, json!("<html>"), ErrorClass::Transient, "http_503", true),
        (302, json!({}), ErrorClass::Protocol, "http_302", true),
        (
            200,
            errors(25002, "REQUEST"),
            ErrorClass::Rejected,
            "ebay_25002",
            true,
        ),
    ] {
        for outcome in &read_two(status, &body).outcomes {
            let (error, is_unknown) = failure(outcome);
            assert_eq!(
                (error.class, &*error.code, is_unknown),
                (class, code, unknown),
                "{status} {body}"
            );
        }
    }
}

#[test]
fn one_that_was_sent_alone_keeps_its_own_code() {
    let a = revision("a", "1", Some(0), None);
    let body = json!({"errors": [{"errorId": 25002, "category": "REQUEST", "message": "m"}]});
    let read = read(&[&a], &reply(400, &body));
    assert_eq!(&*failure(&read.outcomes[0]).0.code, "ebay_25002");
}

#[test]
fn a_400_with_a_list_is_read_entry_by_entry() {
    let body = json!({"responses": [error_entry("a", "1", 400, 25713), error_entry("b", "2", 400, 25002)]});
    let read = read_two(400, &body);
    assert_eq!(failure(&read.outcomes[0]).0.class, ErrorClass::NotFound);
    assert_eq!(failure(&read.outcomes[1]).0.class, ErrorClass::Rejected);
}

#[test]
fn a_refusal_that_speaks_of_one_sku_is_recognised() {
    let text = "Only one SKU (one product) can be updated per call.";
    let body = json!({"errors": [{"errorId": 25002, "category": "REQUEST", "message": text}]});
    assert!(read_two(400, &body).one_sku_only);
    let other =
        json!({"errors": [{"errorId": 25709, "category": "REQUEST", "message": "Invalid value for sku."}]});
    assert!(!read_two(400, &other).one_sku_only);
}

#[test]
fn the_answer_about_a_sku_alone_is_read_as_strictly() {
    let ok = json!({"responses": [{"sku": "a", "statusCode": 200}]});
    assert!(read_of_sku("a", "x", &reply(200, &ok)).is_ok());
    for (status, body, maybe) in [
        (200, json!({"responses": []}), true),
        (200, json!({"responses": [{"sku": "b", "statusCode": 200}]}), true),
        (200, json!({}), true),
        (
            207,
            json!({"responses": [{"sku": "a", "statusCode": 400}]}),
            false,
        ),
        (400, json!({"errors": []}), false),
        (500, json!({}), true),
    ] {
        let lost = read_of_sku("a", "x", &reply(status, &body)).unwrap_err();
        assert_eq!(lost.maybe_applied, maybe, "{status} {body}");
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            prop_oneof![Just(200_i64), Just(400), Just(500), any::<i64>()].prop_map(Value::from),
            prop_oneof!["a", "b", "1", "2", ".{0,8}"].prop_map(Value::from),
        ];
        let keys = prop_oneof![
            Just("sku".to_owned()),
            Just("offerId".to_owned()),
            Just("statusCode".to_owned()),
            Just("errors".to_owned()),
            Just("responses".to_owned()),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(keys.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever is answered: an outcome for each, and *accepted* only on one entry that says so.
        #[test]
        fn nothing_is_accepted_that_was_not_said(status in 100_u16..600, list in any_json()) {
            let read = read_two(status, &json!({"responses": list}));
            for (outcome, (sku, offer)) in read.outcomes.iter().zip([("a", "1"), ("b", "2")]) {
                if is_accepted(outcome) {
                    prop_assert!((200..300).contains(&status) || status == 400);
                    let own: Vec<&Value> = list.as_array().unwrap().iter().filter(|e| e["offerId"] == offer).collect();
                    prop_assert!(own.iter().any(|e| (200..300).contains(&e["statusCode"].as_i64().unwrap_or(0))));
                    prop_assert!(own.iter().all(|e| e["sku"].is_null() || e["sku"] == sku || !e["sku"].is_string()));
                }
            }
        }
    }
}
