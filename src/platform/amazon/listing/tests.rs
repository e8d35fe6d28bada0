use super::*;
use crate::domain::{DestinationPlatform, ListingId, ListingRef};

const JAPAN: &str = crate::platform::amazon::JAPAN;

fn body() -> Value {
    json!({
        "sku": "A-1",
        "summaries": [
            {"marketplaceId": "ATVPDKIKX0DER", "productType": "OTHER", "status": []},
            {"marketplaceId": JAPAN, "asin": "B07FZ8S74R", "productType": "LUGGAGE",
                "status": ["BUYABLE", "DISCOVERABLE", "NEW_WORD"]},
        ],
        "offers": [
            {"marketplaceId": JAPAN, "offerType": "B2B", "price": {"currencyCode": "JPY", "amount": "1"}},
            {"marketplaceId": JAPAN, "offerType": "B2C", "price": {"currencyCode": "JPY", "amount": "1980"}},
        ],
        "fulfillmentAvailability": [{"fulfillmentChannelCode": "DEFAULT", "quantity": 3}],
        "issues": [],
    })
}

fn read(body: &Value) -> Result<Shown, String> {
    shown(&At::root("item", body), "A-1", JAPAN, Currency::Jpy).map_err(|drift| drift.path)
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

#[test]
fn a_listing_is_read_from_its_own_marketplace() {
    let shown = read(&body()).unwrap();
    assert_eq!(&*shown.kind.product_type, "LUGGAGE");
    assert!(!shown.kind.is_fba);
    assert_eq!(shown.state.status, ListingStatus::Active);
    assert_eq!(shown.state.quantity.get(), 3);
    assert_eq!(shown.state.price, Some(Money::yen(1980).unwrap()));
    let suppressed = with("/summaries/1/status", json!(["DISCOVERABLE"]));
    let hidden = read(&suppressed).unwrap();
    assert_eq!(
        hidden.state, shown.state,
        "what was taken away must still go there"
    );
    assert_eq!(
        hidden.objection.as_deref(),
        Some("it cannot be bought, and no issue is named")
    );
    let mut named = suppressed.clone();
    named["issues"] = json!([
        {"severity": "WARNING", "code": "1", "message": "Small picture"},
        {"severity": "ERROR", "code": "18027", "message": "Too dear"},
    ]);
    assert_eq!(
        read(&named).unwrap().objection.as_deref(),
        Some("it cannot be bought: Too dear (18027); Small picture (1)")
    );
    // On sale, only errors are worth a person's look.
    named["summaries"][1]["status"] = json!(["BUYABLE"]);
    assert_eq!(
        read(&named).unwrap().objection.as_deref(),
        Some("Too dear (18027)")
    );
    named["issues"].as_array_mut().unwrap().truncate(1);
    assert_eq!(read(&named).unwrap().objection, None);
    let mut sold = suppressed;
    sold["fulfillmentAvailability"][0]["quantity"] = 0.into();
    let sold = read(&sold).unwrap();
    assert_eq!((sold.state.status, sold.objection), (ListingStatus::Active, None));
    let fba = with(
        "/fulfillmentAvailability/0/fulfillmentChannelCode",
        json!("AMAZON_JP"),
    );
    assert!(read(&fba).unwrap().kind.is_fba);
}

#[test]
fn what_is_missing_is_an_error_never_a_zero() {
    for (pointer, value, path) in [
        ("/sku", json!("B"), "item.sku"),
        ("/summaries", json!([]), "item.summaries"),
        (
            "/summaries/1/productType",
            json!(null),
            "item.summaries[1].productType",
        ),
        ("/summaries/1/status", json!(null), "item.summaries[1].status"),
        (
            "/fulfillmentAvailability",
            json!(null),
            "item.fulfillmentAvailability",
        ),
        (
            "/fulfillmentAvailability",
            json!([]),
            "item.fulfillmentAvailability",
        ),
        (
            "/fulfillmentAvailability/0/quantity",
            json!(null),
            "item.fulfillmentAvailability[0].quantity",
        ),
        (
            "/fulfillmentAvailability/0/quantity",
            json!(-1),
            "item.fulfillmentAvailability[0].quantity",
        ),
        (
            "/offers/1/price/currencyCode",
            json!("USD"),
            "item.offers[1].price.currencyCode",
        ),
        (
            "/offers/1/price/amount",
            json!("x"),
            "item.offers[1].price.amount",
        ),
        ("/offers/1/price/amount", json!("0.00"), "item.offers[1].price"),
    ] {
        assert_eq!(read(&with(pointer, value)), Err(path.into()), "{pointer}");
    }
}

#[test]
fn two_that_say_different_things_are_no_answer_and_twice_the_same_is_one() {
    for (list, changed, other) in [
        ("summaries", "/2/status", json!([])),
        ("offers", "/2/price/amount", json!("1500")),
        ("offers", "/2/price/amount", json!("2980")),
        ("fulfillmentAvailability", "/1/quantity", json!(0)),
        ("fulfillmentAvailability", "/1/quantity", json!(30)),
    ] {
        let mut body = body();
        let entries = body[list].as_array_mut().unwrap();
        entries.push(entries.last().unwrap().clone());
        let last = entries.len() - 1;
        assert_eq!(read(&body), read(&super::tests::body()), "{list}");
        *body[list].pointer_mut(changed).unwrap() = other;
        let path = read(&body).unwrap_err();
        assert!(path.starts_with(&format!("item.{list}[{last}]")), "{path}");
    }
}

#[test]
fn what_lies_with_amazon_beside_our_own_is_not_overlooked() {
    let both = |theirs: Value| {
        let own = json!({"fulfillmentChannelCode": "DEFAULT", "quantity": 0});
        read(&with("/fulfillmentAvailability", json!([own, theirs])))
    };
    let empty = both(json!({"fulfillmentChannelCode": "AMAZON_JP", "quantity": 0})).unwrap();
    assert!(!empty.kind.is_fba && empty.state.quantity.is_zero());
    for theirs in [
        json!({"fulfillmentChannelCode": "AMAZON_JP", "quantity": 2}),
        json!({"fulfillmentChannelCode": "AMAZON_JP"}),
        json!({"fulfillmentChannelCode": "SOMEWHERE", "quantity": 0}),
    ] {
        assert!(
            both(theirs)
                .unwrap_err()
                .starts_with("item.fulfillmentAvailability")
        );
    }
}

#[test]
fn what_a_part_of_the_buyers_pays_is_not_the_price() {
    let mut body = body();
    body["offers"][1]["audience"] = json!({"value": "ALL", "displayName": "Sell on Amazon"});
    let mut few = body["offers"][1].clone();
    few["price"]["amount"] = "900".into();
    few["audience"] = json!({"value": "SOME", "displayName": "a program"});
    body["offers"].as_array_mut().unwrap().insert(0, few);
    assert_eq!(read(&body).unwrap().state.price, Some(Money::yen(1980).unwrap()));
    body["offers"].as_array_mut().unwrap().pop();
    assert_eq!(
        read(&body),
        Err("item".into()),
        "it can be bought, and for what is not told"
    );
}

#[test]
fn a_change_names_only_what_differs() {
    let kind = Kind {
        product_type: "LUGGAGE".into(),
        is_fba: false,
    };
    let mut revision = Revision {
        listing: ListingRef {
            listing_id: ListingId(1),
            destination: DestinationPlatform::AmazonSeller,
            sku: "A-1".into(),
            platform_product_id: "A-1".into(),
        },
        quantity: Some(Quantity::ZERO),
        price: None,
        confirmed: read(&body()).unwrap().state,
    };
    let sent = patch(&kind, JAPAN, &revision);
    assert_eq!(sent["patches"].as_array().unwrap().len(), 1);
    assert_eq!(sent["patches"][0]["value"][0]["quantity"], 0);
    revision.price = Some(Money::yen(2480).unwrap());
    let sent = patch(&kind, JAPAN, &revision);
    let offer = &sent["patches"][0]["value"][0];
    assert_eq!(offer["our_price"][0]["schedule"][0]["value_with_tax"], 2480);
    assert_eq!(
        (&offer["currency"], &offer["marketplace_id"]),
        (&json!("JPY"), &json!(JAPAN))
    );
}

#[test]
fn invalid_is_a_refusal_and_an_unknown_word_tells_nothing() {
    let said = |status: &str, preview| {
        let body = json!({"sku": "A-1", "status": status, "submissionId": "s", "issues": [
            {"code": "1", "message": "soft", "severity": "WARNING", "categories": []},
            {"code": "2", "message": "hard", "severity": "ERROR", "categories": []}]});
        submitted("x", &At::root("answer", &body), "A-1", preview)
    };
    assert_eq!(said("ACCEPTED", false).unwrap().len(), 2);
    assert_eq!(said("VALID", true).unwrap().len(), 2);
    let refused = said("INVALID", false).unwrap_err();
    assert_eq!((refused.class, &*refused.code), (ErrorClass::Rejected, INVALID));
    assert!(refused.message.contains("hard (2)") && refused.body.is_some());
    for (word, preview) in [("VALID", false), ("ACCEPTED", true), ("QUEUED", false)] {
        assert_eq!(
            said(word, preview).unwrap_err().class,
            ErrorClass::Protocol,
            "{word}"
        );
    }
}

/// Amazon does not count what lies in its warehouses where it does not want to; the price can be set all the same.
#[test]
fn what_a_change_names_is_read_also_where_amazon_counts_nothing() {
    let uncounted = with(
        "/fulfillmentAvailability",
        json!([{"fulfillmentChannelCode": "AMAZON_JP"}]),
    );
    let kind = kind(&At::root("item", &uncounted), "A-1", JAPAN).unwrap();
    assert_eq!((&*kind.product_type, kind.is_fba), ("LUGGAGE", true));
    let at = "item.fulfillmentAvailability[0].quantity";
    assert_eq!(read(&uncounted), Err(at.into()), "and its pieces are not zero");
}
