//! Listings: shown, changed, emptied; what was said kept, and what is not known said.

use super::{JAPAN, account, errors, seller_by, server};
use crate::ebay::server::{Said, Seen, Server, say};
use serde_json::{Value, json};
use std::time::Duration;
use zaikoban::domain::{
    Currency, DestinationPlatform, ErrorClass, ListingId, ListingRef, ListingState, ListingStatus, Money,
    Quantity,
};
use zaikoban::platform::amazon::{AmazonSeller, FBA, INVALID};
use zaikoban::platform::{Call, Destination, EntryOutcome, Revision};

fn shown() -> Value {
    json!({
        "sku": "A-1",
        "summaries": [{"marketplaceId": JAPAN, "asin": "B000000001", "productType": "LUGGAGE",
            "status": ["BUYABLE"], "createdDate": "2021-02-01T00:00:00Z", "lastUpdatedDate": "2021-03-01T00:00:00Z"}],
        "offers": [{"marketplaceId": JAPAN, "offerType": "B2C", "price": {"currencyCode": "JPY", "amount": "1980"}}],
        "fulfillmentAvailability": [{"fulfillmentChannelCode": "DEFAULT", "quantity": 3}],
        "issues": [],
    })
}

fn accepted() -> Value {
    json!({"sku": "A-1", "status": "ACCEPTED", "submissionId": "s-1", "issues": []})
}

/// A server that shows `item` and answers a change with `said`.
async fn showing(item: Value, said: Said) -> Server {
    server(move |seen: &Seen| match seen.method.as_str() {
        "GET" => say(200, &item),
        _ => said.clone(),
    })
    .await
}

fn seller(server: &Server) -> AmazonSeller {
    seller_by(server, account(server))
}

fn listing() -> ListingRef {
    ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::AmazonSeller,
        sku: "A-1".into(),
        platform_product_id: "A-1".into(),
    }
}

fn revision(quantity: Option<i64>, price: Option<i64>) -> Revision {
    Revision {
        listing: listing(),
        quantity: quantity.map(|n| Quantity::new(n).unwrap()),
        price: price.map(|n| Money::yen(n).unwrap()),
        confirmed: ListingState {
            status: ListingStatus::Active,
            quantity: Quantity::new(3).unwrap(),
            price: Some(Money::yen(1980).unwrap()),
        },
    }
}

/// The class, code and "unknown" of a failure.
fn failed(outcome: &EntryOutcome) -> (ErrorClass, String, bool) {
    match outcome {
        EntryOutcome::Failed { error, unknown } => (error.class, error.code.to_string(), *unknown),
        EntryOutcome::Accepted { .. } => panic!("expected a failure, got {outcome:?}"),
    }
}

#[tokio::test]
async fn the_product_type_is_read_once_and_kept() {
    let server = showing(shown(), say(200, &accepted())).await;
    let seller = seller(&server);
    let both = revision(Some(2), Some(2480));
    assert_eq!(seller.requests(Call::Revise(std::slice::from_ref(&both))), 2);
    let outcomes = seller.revise(std::slice::from_ref(&both)).await;
    assert!(matches!(&outcomes[0], EntryOutcome::Accepted { warnings } if warnings.is_empty()));
    assert_eq!(seller.requests(Call::Revise(std::slice::from_ref(&both))), 1);
    seller.revise(&[revision(Some(0), None)]).await;
    let calls = server.calls();
    let methods: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["GET", "PATCH", "PATCH"]);
    let sent = calls[1].json();
    assert_eq!(sent["productType"], "LUGGAGE");
    assert_eq!(sent["patches"].as_array().unwrap().len(), 2);
    assert_eq!(calls[2].json()["patches"][0]["value"][0]["quantity"], 0);
    assert!(seller.settles_within() > Duration::ZERO);
    assert_eq!(seller.batch_size(), 1);
}

#[tokio::test]
async fn a_200_that_says_invalid_is_a_refusal_with_its_issues() {
    let issue = json!({"code": "90000900", "message": "The price is too low.", "severity": "ERROR", "categories": []});
    let answer = json!({"sku": "A-1", "status": "INVALID", "submissionId": "s", "issues": [issue]});
    let server = showing(shown(), say(200, &answer)).await;
    let outcomes = seller(&server).revise(&[revision(None, Some(1))]).await;
    assert_eq!(
        failed(&outcomes[0]),
        (ErrorClass::Rejected, INVALID.into(), false)
    );
    let EntryOutcome::Failed { error, .. } = &outcomes[0] else {
        panic!()
    };
    assert!(error.message.contains("too low") && error.body.as_ref().unwrap().contains("90000900"));
}

#[tokio::test]
async fn what_became_of_a_change_is_unknown_unless_it_was_said() {
    use ErrorClass::{NotFound, Protocol, Rejected, Transient, Unauthorized};
    let limited = ErrorClass::RateLimited { retry_after: None };
    for (said, class, unknown) in [
        (say(400, &errors("BAD_REQUEST", "x")), Rejected, false),
        (say(404, &errors("NOT_FOUND", "x")), NotFound, false),
        (say(403, &errors("Unauthorized", "no role")), Unauthorized, false),
        (say(429, &errors("QuotaExceeded", "x")), limited, false),
        (say(408, &json!({})), Transient, true),
        (say(404, &json!({})), Protocol, false),
        (say(500, &errors("InternalFailure", "x")), Transient, true),
        (say(503, &errors("ServiceUnavailable", "x")), Transient, true),
        (
            say(200, &json!({"sku": "A-1", "status": "ACCEPTED"})),
            Protocol,
            true,
        ),
        (
            say(
                200,
                &json!({"sku": "B-2", "status": "ACCEPTED", "submissionId": "s"}),
            ),
            Protocol,
            true,
        ),
        (
            say(
                200,
                &json!({"sku": "A-1", "status": "PONDERING", "submissionId": "s"}),
            ),
            Protocol,
            true,
        ),
        (Said::Answer(200, vec![], b"{".to_vec()), Protocol, true),
        (
            Said::CutAfter(100, Box::new(say(200, &accepted()))),
            Transient,
            true,
        ),
        (Said::Silence, Transient, true),
        (Said::Close, Transient, true),
    ] {
        let what = format!("{said:?}");
        let server = showing(shown(), said).await;
        let outcomes = seller(&server).revise(&[revision(Some(0), None)]).await;
        let (seen, _, is_unknown) = failed(&outcomes[0]);
        assert_eq!((seen, is_unknown), (class, unknown), "{what}");
        assert_eq!(
            server.calls().iter().filter(|c| c.method == "PATCH").count(),
            1,
            "{what}"
        );
    }
}

#[tokio::test]
async fn what_a_change_must_name_is_read_anew_after_a_refusal() {
    let server = showing(shown(), say(400, &errors("InvalidInput", "productType"))).await;
    let seller = seller(&server);
    for _again in 0..2 {
        let outcomes = seller.revise(&[revision(Some(0), None)]).await;
        assert_eq!(failed(&outcomes[0]).0, ErrorClass::Rejected);
    }
    let calls = server.calls();
    let methods: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["GET", "PATCH", "GET", "PATCH"]);
}

#[tokio::test]
async fn what_amazon_ships_takes_no_quantity_from_us() {
    let mut fba = shown();
    fba["fulfillmentAvailability"][0]["fulfillmentChannelCode"] = "AMAZON_JP".into();
    let server = showing(fba, say(200, &accepted())).await;
    let seller = seller(&server);
    let outcomes = seller.revise(&[revision(Some(0), Some(2000))]).await;
    assert_eq!(failed(&outcomes[0]), (ErrorClass::Rejected, FBA.into(), false));
    assert_eq!(&*seller.end(&listing()).await.unwrap_err().code, FBA);
    // Its price is ours to set.
    let outcomes = seller.revise(&[revision(None, Some(2000))]).await;
    assert!(matches!(outcomes[0], EntryOutcome::Accepted { .. }));
    assert_eq!(server.calls().iter().filter(|c| c.method == "PATCH").count(), 1);
}

#[tokio::test]
async fn ending_empties_the_listing_and_relisting_sees_that_it_is_there() {
    let server = showing(shown(), say(200, &accepted())).await;
    let seller = seller(&server);
    seller.end(&listing()).await.unwrap();
    seller.relist(&listing()).await.unwrap();
    let calls = server.calls();
    assert_eq!(calls[1].json()["patches"][0]["value"][0]["quantity"], 0);
    let methods: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["GET", "PATCH", "GET"], "nothing was deleted");
    let lost = showing(shown(), Said::Close).await;
    let error = self::seller(&lost).end(&listing()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
}

#[tokio::test]
async fn a_preview_changes_nothing_and_says_what_would_be() {
    let answer = json!({"sku": "A-1", "status": "VALID", "submissionId": "s", "issues": []});
    let server = showing(shown(), say(200, &answer)).await;
    let seller = seller(&server);
    assert!(seller.preview(&revision(Some(1), None)).await.unwrap().is_empty());
    assert!(server.calls()[1].path.contains("mode=VALIDATION_PREVIEW"));
    let taken = showing(shown(), say(200, &accepted())).await;
    let error = self::seller(&taken)
        .preview(&revision(Some(1), None))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Protocol);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_here() {
    let server = showing(shown(), say(200, &accepted())).await;
    let seller = seller(&server);
    for sku in ["", "..", "a\nb", &"x".repeat(41)] {
        let mut odd = listing();
        odd.sku = sku.into();
        assert_eq!(
            &*seller.read(&odd).await.unwrap_err().code,
            "amazon_bad_key",
            "{sku}"
        );
    }
    let mut dollars = revision(None, Some(5));
    dollars.price = Some(Money::new(5.into(), Currency::Usd).unwrap());
    let outcomes = seller.revise(&[dollars]).await;
    assert_eq!(failed(&outcomes[0]).1, "amazon_currency");
    let nothing = seller.revise(&[revision(None, None)]).await;
    assert!(matches!(nothing[0], EntryOutcome::Accepted { .. }));
    assert_eq!(server.calls().len(), 0);
    // A slash belongs to the SKU, not to the path.
    let mut slash = listing();
    slash.sku = "a/b c".into();
    let _read = seller.read(&slash).await;
    assert!(
        server.calls()[0]
            .path
            .starts_with("/listings/2021-08-01/items/A2TEST/a%2Fb%20c?")
    );
}

#[tokio::test]
async fn a_sku_that_is_not_there_is_found_nowhere() {
    let server = server(|_| say(404, &errors("NOT_FOUND", "SKU not found"))).await;
    let seller = seller(&server);
    assert!(seller.find("A-1").await.unwrap().is_empty());
    assert_eq!(
        seller.read(&listing()).await.unwrap_err().class,
        ErrorClass::NotFound
    );
    assert!(seller.reach().await.is_ok());
}
