//! Reading, finding, ending and listing again.

use super::server::{Said, Seen, Server, say, token};
use super::{listing, pieces, quantity, usd};
use serde_json::{Value, json};
use zaikoban::domain::{ErrorClass, ListingState, ListingStatus};
use zaikoban::platform::registrar::Registrar;
use zaikoban::platform::{Destination, EntryOutcome, Revision};

fn item() -> Value {
    json!({"sku": "a", "locale": "en_US", "condition": "USED_GOOD",
        "availability": {"shipToLocationAvailability": {"quantity": 3, "allocationByFormat": {"fixedPrice": 3}}}})
}

fn offer() -> Value {
    json!({
        "offerId": "1", "sku": "a", "marketplaceId": "EBAY_US", "format": "FIXED_PRICE", "status": "PUBLISHED",
        "availableQuantity": 3,
        "pricingSummary": {"price": {"value": "20.50", "currency": "USD"}},
        "listing": {"listingId": "110", "listingStatus": "ACTIVE", "soldQuantity": 0}
    })
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match new {
        Value::Null => drop(parent.remove(key)),
        new => drop(parent.insert(key.into(), new)),
    }
    value
}

/// A server that shows `item` and `offer`.
async fn showing(item: Value, offer: Value) -> Server {
    Server::start(move |seen| match seen.path.as_str() {
        _ if seen.is_token() => token("t", 7200),
        path if path.contains("/inventory_item/") => say(200, &item),
        path if path.contains("/offer?") => say(200, &json!({"total": 1, "size": 1, "offers": [offer]})),
        _ => say(200, &offer),
    })
    .await
}

async fn read(item: Value, offer: Value) -> Result<ListingState, (ErrorClass, Vec<Box<str>>)> {
    let server = showing(item, offer).await;
    let read = server.ebay().read(&listing("a", "1")).await;
    read.map_err(|error| (error.class, error.missing))
}

#[tokio::test]
async fn a_listing_is_read_from_its_item_and_its_offer() {
    let expected = ListingState {
        status: ListingStatus::Active,
        quantity: pieces(3),
        price: Some(usd("20.5")),
    };
    assert_eq!(read(item(), offer()).await, Ok(expected));
    // What the offer holds overrides what the SKU holds.
    let fewer = with(offer(), "/availableQuantity", json!(1));
    assert_eq!(read(item(), fewer).await.unwrap().quantity, pieces(1));
    let fewer = with(
        item(),
        "/availability/shipToLocationAvailability/quantity",
        json!(0),
    );
    assert_eq!(read(fewer, offer()).await.unwrap().quantity, pieces(3));
    let unset = with(offer(), "/availableQuantity", Value::Null);
    assert_eq!(read(item(), unset).await.unwrap().quantity, pieces(3));
    let unset = with(item(), "/availability", Value::Null);
    assert_eq!(read(unset, offer()).await.unwrap().quantity, pieces(3));
}

#[tokio::test]
async fn the_states_of_a_listing_are_told_apart() {
    for (shown, on_hold, expected) in [
        ("ACTIVE", false, ListingStatus::Active),
        ("OUT_OF_STOCK", false, ListingStatus::Active),
        ("ACTIVE", true, ListingStatus::Paused),
        ("ENDED", false, ListingStatus::Ended),
        ("EBAY_ENDED", false, ListingStatus::Ended),
        ("INACTIVE", false, ListingStatus::Ended),
        ("NOT_LISTED", false, ListingStatus::Ended),
    ] {
        let shown = with(offer(), "/listing/listingStatus", json!(shown));
        let shown = with(shown, "/listing/listingOnHold", json!(on_hold));
        assert_eq!(read(item(), shown).await.unwrap().status, expected);
    }
    let withdrawn = with(
        with(offer(), "/status", json!("UNPUBLISHED")),
        "/listing",
        Value::Null,
    );
    assert_eq!(
        read(item(), withdrawn.clone()).await.unwrap().status,
        ListingStatus::Ended
    );
    let priceless = with(withdrawn, "/pricingSummary", Value::Null);
    assert_eq!(read(item(), priceless).await.unwrap().price, None);
}

#[tokio::test]
async fn what_is_missing_wrong_or_about_another_is_an_error_that_names_it() {
    let total = "/availability/shipToLocationAvailability/quantity";
    for (item, offer, path) in [
        (item(), with(offer(), "/status", Value::Null), "offer.status"),
        (item(), with(offer(), "/status", json!("SOLD")), "offer.status"),
        (item(), with(offer(), "/listing", Value::Null), "offer.listing"),
        (
            item(),
            with(offer(), "/listing/listingStatus", json!("GONE")),
            "offer.listing.listingStatus",
        ),
        (item(), with(offer(), "/offerId", json!("2")), "offer.offerId"),
        (item(), with(offer(), "/offerId", json!(1)), "offer.offerId"),
        (item(), with(offer(), "/sku", json!("b")), "offer.sku"),
        (
            item(),
            with(offer(), "/availableQuantity", json!(-1)),
            "offer.availableQuantity",
        ),
        (
            item(),
            with(offer(), "/availableQuantity", json!("3")),
            "offer.availableQuantity",
        ),
        (
            item(),
            with(offer(), "/availableQuantity", json!(1.5)),
            "offer.availableQuantity",
        ),
        (
            item(),
            with(offer(), "/pricingSummary", Value::Null),
            "offer.pricingSummary",
        ),
        (
            item(),
            with(offer(), "/pricingSummary/price", Value::Null),
            "offer.pricingSummary.price",
        ),
        (
            item(),
            with(offer(), "/pricingSummary/price/value", json!(20.5)),
            "offer.pricingSummary.price.value",
        ),
        (
            item(),
            with(offer(), "/pricingSummary/price/value", json!("0.00")),
            "offer.pricingSummary.price",
        ),
        (json!({}), offer(), "item.sku"),
        (
            item(),
            with(offer(), "/pricingSummary/price/value", json!("-1")),
            "offer.pricingSummary.price.value",
        ),
        (
            item(),
            with(offer(), "/pricingSummary/price/value", json!("1.005")),
            "offer.pricingSummary.price.value",
        ),
        (
            item(),
            with(offer(), "/pricingSummary/price/currency", json!("XXX")),
            "offer.pricingSummary.price.currency",
        ),
        (with(item(), "/sku", json!("b")), offer(), "item.sku"),
        (
            with(item(), total, json!(2_000_000)),
            offer(),
            "item.availability.shipToLocationAvailability.quantity",
        ),
        (
            with(item(), "/availability", json!([])),
            offer(),
            "item.availability",
        ),
        (
            with(item(), "/availability", Value::Null),
            with(offer(), "/availableQuantity", Value::Null),
            "offer.availableQuantity",
        ),
        (item(), json!([]), "offer"),
        (json!("x"), offer(), "item"),
    ] {
        let result = read(item, offer).await;
        assert_eq!(result, Err((ErrorClass::Protocol, vec![path.into()])));
    }
}

#[tokio::test]
async fn a_listing_that_is_gone_is_not_found() {
    let server = Server::start(|seen| match seen.is_token() {
        true => token("t", 7200),
        false => say(
            404,
            &json!({"errors": [{"errorId": 25713, "category": "REQUEST", "message": "gone"}]}),
        ),
    })
    .await;
    let ebay = server.ebay();
    assert_eq!(
        ebay.read(&listing("a", "1")).await.unwrap_err().class,
        ErrorClass::NotFound
    );
    assert_eq!(ebay.find("a").await.unwrap(), []);
}

#[tokio::test]
async fn keys_are_escaped_whole() {
    let server = Server::start(|seen| match seen.is_token() {
        true => token("t", 7200),
        false => gone(),
    })
    .await;
    let ebay = server.ebay();
    assert!(ebay.read(&listing("a/../b?c#d e%2f", "1")).await.is_err());
    assert!(ebay.find("a&sku=b+c").await.is_ok());
    let paths: Vec<String> = server.calls().into_iter().map(|c| c.path).collect();
    assert_eq!(
        paths,
        [
            "/sell/inventory/v1/inventory_item/a%2F..%2Fb%3Fc%23d%20e%252f",
            "/sell/inventory/v1/offer?sku=a%26sku%3Db%2Bc",
        ]
    );
}

#[tokio::test]
async fn a_sku_is_found_with_its_page() {
    let server = showing(item(), offer()).await;
    let found = server.ebay().find("a").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&*found[0].platform_product_id, found[0].is_active()),
        ("1", true)
    );
    assert_eq!(found[0].url.as_deref(), Some("https://www.ebay.com/itm/110"));
    assert_eq!(found[0].state.quantity, pieces(3));
}

#[tokio::test]
async fn an_auction_is_no_listing_of_ours_and_another_sku_no_answer() {
    let auction = with(
        with(offer(), "/format", json!("AUCTION")),
        "/pricingSummary/price",
        Value::Null,
    );
    let server = showing(item(), auction).await;
    assert_eq!(server.ebay().find("a").await.unwrap(), []);
    let server = showing(item(), with(offer(), "/sku", json!("b"))).await;
    let error = server.ebay().find("a").await.unwrap_err();
    assert_eq!(
        (error.class, error.missing),
        (ErrorClass::Protocol, vec!["offers.offers[0].sku".into()])
    );
}

#[tokio::test]
async fn offers_that_are_not_shown_are_not_none() {
    for (answer, found) in [
        (json!({"total": 0, "size": 0, "offers": []}), Ok(0)),
        (json!({"total": 0}), Ok(0)),
        (json!({"total": 1, "offers": [offer()]}), Ok(1)),
        (json!({"offers": [offer()]}), Ok(1)),
        (json!({}), Err("offers.offers")),
        (json!({"total": 1}), Err("offers.offers")),
        (json!({"total": 1, "offers": null}), Err("offers.offers")),
        (json!({"total": 2, "offers": [offer()]}), Err("offers.total")),
        (json!({"total": 1, "offers": []}), Err("offers.total")),
        (
            json!({"total": 1, "offers": [offer()], "next": "https://elsewhere.example/"}),
            Err("offers.next"),
        ),
    ] {
        let text = answer.to_string();
        let server = Server::start(move |seen| match seen.path.as_str() {
            _ if seen.is_token() => token("t", 7200),
            path if path.contains("/inventory_item/") => say(200, &item()),
            _ => say(200, &answer),
        })
        .await;
        let ebay = server.ebay();
        let seen = ebay.find("a").await.map(|found| found.len());
        let told = seen.map_err(|error| error.missing.concat());
        assert_eq!(told, found.map_err(str::to_owned), "{text}");
        // The same for whoever makes a listing: an offer that is not shown would be made a second time.
        let standing = Registrar::offers(&ebay, "a").await.map(|found| found.len());
        let told = standing.map_err(|error| error.missing.concat());
        assert_eq!(told, found.map_err(str::to_owned), "{text}");
    }
}

/// What becomes of replacing an offer that is not on sale when the replacement is answered so.
async fn replacing(said: Said) -> EntryOutcome {
    let server = Server::start(move |seen| match seen.path.as_str() {
        _ if seen.is_token() => token("t", 7200),
        _ if seen.method == "PUT" => said.clone(),
        _ => say(200, &withdrawn()),
    })
    .await;
    let mut revision = Revision {
        price: Some(usd("21")),
        quantity: None,
        ..quantity("a", "1", 0)
    };
    revision.confirmed.status = ListingStatus::Ended;
    let outcomes = server.ebay().revise(&[revision]).await;
    outcomes.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_sku_that_is_answered_twice_is_set_only_when_both_say_so() {
    let entry = |status: u16| json!({"sku": "a", "statusCode": status});
    for (first, second, accepted) in [
        (200, 200, true),
        (200, 400, false),
        (400, 200, false),
        (200, 500, false),
    ] {
        let answer = json!({"responses": [entry(first), entry(second)]});
        let server = Server::start(move |seen| match seen.path.as_str() {
            _ if seen.is_token() => token("t", 7200),
            path if path.ends_with("/bulk_update_price_quantity") => say(207, &answer),
            _ if seen.method == "PUT" => Said::Answer(204, Vec::new(), Vec::new()),
            _ => say(200, &withdrawn()),
        })
        .await;
        let mut revision = quantity("a", "1", 0);
        revision.confirmed.status = ListingStatus::Ended;
        let outcomes = server.ebay().revise(&[revision]).await;
        let done = matches!(outcomes[0], EntryOutcome::Accepted { .. });
        assert_eq!(done, accepted, "{first} {second}: {outcomes:?}");
    }
}

#[tokio::test]
async fn an_offer_is_replaced_only_when_the_answer_is_one() {
    let plain = |status, body: &[u8]| Said::Answer(status, Vec::new(), body.to_vec());
    for said in [
        plain(204, b""),
        plain(200, b"{}"),
        say(200, &json!({"offerId": "1", "warnings": []})),
    ] {
        let outcome = replacing(said).await;
        assert!(matches!(outcome, EntryOutcome::Accepted { .. }), "{outcome:?}");
    }
    for said in [
        plain(200, b""),
        plain(200, b"<html>captcha</html>"),
        plain(200, b"[]"),
        plain(200, b"null"),
        say(
            200,
            &json!({"errors": [{"errorId": 25003, "category": "REQUEST", "message": "price"}]}),
        ),
        say(200, &json!({"errors": "price"})),
    ] {
        let outcome = replacing(said).await;
        assert!(
            matches!(outcome, EntryOutcome::Failed { unknown: true, .. }),
            "{outcome:?}"
        );
    }
}

/// A server that answers `verb` with `said` and shows the offer as it stands afterwards.
async fn turning(verb: &'static str, said: Said, afterwards: Value) -> Server {
    Server::start(move |seen: &Seen| match seen.path.as_str() {
        _ if seen.is_token() => token("t", 7200),
        path if path.ends_with(verb) => said.clone(),
        _ => say(200, &afterwards),
    })
    .await
}

fn gone() -> Said {
    say(
        400,
        &json!({"errors": [{"errorId": 25713, "category": "REQUEST", "message": "This Offer is not available"}]}),
    )
}

fn withdrawn() -> Value {
    with(
        with(offer(), "/status", json!("UNPUBLISHED")),
        "/listing",
        Value::Null,
    )
}

#[tokio::test]
async fn ending_what_is_ended_succeeds_and_other_refusals_do_not() {
    let taken = say(200, &json!({"listingId": "110"}));
    for (said, afterwards, class, requests) in [
        (taken, offer(), None, 1),
        // "This field will not be returned if the eBay listing was not successfully ended."
        (say(200, &json!({})), offer(), Some(ErrorClass::Transient), 2),
        (
            say(200, &json!({"listingId": null, "warnings": []})),
            offer(),
            Some(ErrorClass::Transient),
            2,
        ),
        (
            say(200, &json!({"listingId": "110", "errors": [{"errorId": 25001}]})),
            offer(),
            Some(ErrorClass::Transient),
            2,
        ),
        (
            Said::Answer(200, Vec::new(), b"<html>".to_vec()),
            offer(),
            Some(ErrorClass::Transient),
            2,
        ),
        (
            Said::Answer(204, Vec::new(), Vec::new()),
            offer(),
            Some(ErrorClass::Transient),
            2,
        ),
        (say(200, &json!({})), withdrawn(), None, 2),
        (gone(), withdrawn(), None, 2),
        (gone(), offer(), Some(ErrorClass::NotFound), 2),
        (say(500, &json!({})), withdrawn(), Some(ErrorClass::Transient), 1),
        (Said::Close, withdrawn(), Some(ErrorClass::Transient), 1),
        (say(302, &json!({})), withdrawn(), Some(ErrorClass::Transient), 1),
    ] {
        let server = turning("/withdraw", said, afterwards).await;
        let ended = server.ebay().end(&listing("a", "1")).await;
        assert_eq!(ended.err().map(|e| e.class), class);
        assert_eq!(server.calls().len(), requests);
    }
}

#[tokio::test]
async fn listing_again_is_confirmed_by_looking() {
    let taken = || say(200, &json!({"listingId": "111"}));
    let refused = say(
        400,
        &json!({"errors": [{"errorId": 25003, "category": "REQUEST", "message": "price"}]}),
    );
    for (said, afterwards, class) in [
        (taken(), offer(), None),
        (taken(), withdrawn(), Some(ErrorClass::Transient)),
        (taken(), json!([]), Some(ErrorClass::Transient)),
        (gone(), offer(), None),
        (refused, withdrawn(), Some(ErrorClass::Rejected)),
        (say(503, &json!({})), offer(), Some(ErrorClass::Transient)),
    ] {
        let server = turning("/publish", said, afterwards).await;
        let listed = server.ebay().relist(&listing("a", "1")).await;
        assert_eq!(listed.err().map(|e| e.class), class);
    }
}
