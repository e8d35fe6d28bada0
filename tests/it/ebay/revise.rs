//! Setting quantities and prices.

use super::server::{BULK_PATH, Said, Server, say, token};
use super::{failure, is_accepted, quantity, usd};
use crate::support::oas::Contract;
use serde_json::{Value, json};
use zaikoban::domain::{ErrorClass, ListingStatus};
use zaikoban::platform::ebay::{CONTRACT, REVISION_LIMIT};
use zaikoban::platform::{Destination, EntryOutcome, Revision};

/// A server that gives tokens and answers bulk calls with what `handler` says.
async fn server(handler: impl Fn(&Value) -> Said + Send + Sync + 'static) -> Server {
    Server::start(move |seen| match seen.is_token() {
        true => token("canary-access-t1", 7200),
        false => handler(&seen.json()),
    })
    .await
}

/// Every entry taken.
fn all_taken(asked: &Value) -> Said {
    let mut responses = Vec::new();
    for request in asked["requests"].as_array().unwrap() {
        for offer in request["offers"].as_array().unwrap() {
            responses.push(json!({"sku": request["sku"], "offerId": offer["offerId"], "statusCode": 200}));
        }
    }
    let body = json!({ "responses": responses });
    if let Some(contract) = Contract::load() {
        let problems = contract.problems_of_answer("POST", BULK_PATH, 200, body.to_string().as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
    }
    say(200, &body)
}

async fn revise(server: &Server, revisions: &[Revision]) -> Vec<EntryOutcome> {
    server.ebay().revise(revisions).await
}

#[tokio::test]
async fn twenty_five_listings_go_in_one_call_and_more_in_more() {
    let server = server(all_taken).await;
    let many: Vec<Revision> = (0..60)
        .map(|i| quantity(&format!("s{i}"), &format!("{i}"), 0))
        .collect();
    let outcomes = revise(&server, &many).await;
    assert_eq!(outcomes.iter().filter(|o| is_accepted(o)).count(), 60);
    let sizes: Vec<usize> = server
        .calls()
        .iter()
        .map(|c| c.json()["requests"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [25, 25, 10]);
    let call = &server.calls()[0];
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", BULK_PATH));
    assert_eq!(call.header("authorization").unwrap(), "Bearer canary-access-t1");
}

/// The stricter of the two readings of eBay's document, unless the settings say the other.
#[tokio::test]
async fn each_sku_goes_in_a_call_of_its_own_where_nothing_else_is_set() {
    let server = server(all_taken).await;
    let some: Vec<Revision> = (0..3)
        .map(|i| quantity(&format!("s{i}"), &format!("{i}"), 0))
        .collect();
    let ebay = server.ebay_with(1);
    assert_eq!(ebay.batch_size(), 1);
    let outcomes = ebay.revise(&some).await;
    assert_eq!(outcomes.iter().filter(|o| is_accepted(o)).count(), 3);
    assert_eq!(server.calls().len(), 3);
}

/// Without eBay's out-of-stock control no zero is taken, and the offer goes on selling: it is told what to do.
#[tokio::test]
async fn a_zero_that_is_refused_for_its_quantity_says_what_to_switch_on() {
    let error =
        json!({"errorId": 25_004, "category": "REQUEST", "message": "The listing has an invalid quantity."});
    let refused = json!({"responses": [{"sku": "a", "offerId": "1", "statusCode": 400, "errors": [error]}]});
    let server = server(move |_| say(200, &refused)).await;
    let said = |outcome: &EntryOutcome| failure(outcome).0.message.to_string();
    let zero = revise(&server, &[quantity("a", "1", 0)]).await;
    assert!(
        said(&zero[0]).contains("out-of-stock control"),
        "{}",
        said(&zero[0])
    );
    assert!(
        said(&zero[0]).contains("out_of_stock = \"end\""),
        "{}",
        said(&zero[0])
    );
    let some = revise(&server, &[quantity("a", "1", 2)]).await;
    assert!(!said(&some[0]).contains("out-of-stock"), "{}", said(&some[0]));
}

#[tokio::test]
async fn d22_a_part_that_failed_is_told_apart_from_the_rest() {
    let server = server(|_| {
        let error =
            json!({"errorId": 25713, "category": "REQUEST", "message": "This Offer is not available : 2."});
        say(
            207,
            &json!({"responses": [
                {"sku": "b", "offerId": "2", "statusCode": 404, "errors": [error]},
                {"sku": "a", "offerId": "1", "statusCode": 200},
            ]}),
        )
    })
    .await;
    let outcomes = revise(
        &server,
        &[
            quantity("a", "1", 0),
            quantity("b", "2", 0),
            quantity("c", "3", 0),
        ],
    )
    .await;
    assert!(is_accepted(&outcomes[0]));
    let (gone, unknown) = failure(&outcomes[1]);
    assert_eq!(
        (gone.class, &*gone.code, unknown),
        (ErrorClass::NotFound, "ebay_25713", false)
    );
    assert_eq!(
        &*gone.message,
        "eBay did not revise offer `2` of SKU `b`: This Offer is not available : 2. (404, ebay_25713); the offer is \
         gone: link the listing again, or remove it"
    );
    let (silent, unknown) = failure(&outcomes[2]);
    assert_eq!(
        (silent.class, &*silent.code, unknown),
        (ErrorClass::Protocol, CONTRACT, true)
    );
    assert_eq!(silent.missing, [Box::<str>::from("responses[offerId=3]")]);
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown_and_what_was_not_sent_is_not() {
    let whole = || {
        Box::new(say(
            200,
            &json!({"responses": [{"sku": "a", "offerId": "1", "statusCode": 200}]}),
        ))
    };
    for (said, code) in [
        (Said::Silence, "timed_out"),
        (Said::Close, "no_answer"),
        (Said::CutAfter(30, whole()), "no_answer"),
        (Said::CutAfter(110, whole()), "cut"),
        (say(500, &json!({})), "http_500"),
        (say(503, &json!({})), "http_503"),
        (say(200, &json!({})), "contract"),
        (
            Said::Answer(200, vec![], b"{\"responses\":[{".to_vec()),
            "contract",
        ),
    ] {
        let server = server(move |_| said.clone()).await;
        let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
        let (error, unknown) = failure(&outcomes[0]);
        assert_eq!((&*error.code, unknown), (code, true), "{error}");
        assert_eq!(server.calls().len(), 1, "{code}: not repeated inside");
    }
    // Nobody listens.
    let server = server(all_taken).await;
    let ebay = server.ebay();
    let first = ebay.revise(&[quantity("a", "1", 0)]).await;
    assert!(is_accepted(&first[0]));
    drop(server);
    let outcomes = ebay.revise(&[quantity("a", "1", 0)]).await;
    let (error, unknown) = failure(&outcomes[0]);
    // The kept connection is lost, or a new one is refused: only the latter is certain.
    assert_eq!(unknown, &*error.code != "refused", "{error}");
    let outcomes = ebay.revise(&[quantity("a", "1", 0)]).await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!((&*error.code, unknown), ("refused", false));
}

#[tokio::test]
async fn an_answer_cut_anywhere_is_never_taken_for_a_yes() {
    let body = json!({"responses": [{"sku": "a", "offerId": "1", "statusCode": 200}]});
    let whole = say(200, &body);
    let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 62\r\n\r\n".len();
    let length = head + body.to_string().len();
    for at in (0..length).step_by(9) {
        let said = Said::CutAfter(at, Box::new(whole.clone()));
        let server = server(move |_| said.clone()).await;
        let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
        assert!(failure(&outcomes[0]).1, "cut after {at} bytes");
    }
}

#[tokio::test]
async fn f8_a_401_is_answered_with_one_new_token_and_one_more_try() {
    let server = Server::start(
        |seen| match (seen.is_token(), seen.header("authorization").as_deref()) {
            (true, _) if String::from_utf8_lossy(&seen.body).contains("never") => token("x", 1),
            (true, _) => token(TOKENS[next()], 7200),
            (_, Some("Bearer t-old")) => say(
                401,
                &json!({"errors": [{"errorId": 1001, "message": "Invalid access token"}]}),
            ),
            _ => all_taken(&seen.json()),
        },
    )
    .await;
    static TOKENS: [&str; 2] = ["t-old", "t-new"];
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    fn next() -> usize {
        NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
    }
    let ebay = server.ebay();
    let revisions: Vec<[Revision; 1]> = (0..64).map(|i| [quantity("a", &i.to_string(), 0)]).collect();
    let outcomes = futures_util::future::join_all(revisions.iter().map(|r| ebay.revise(r))).await;
    assert!(outcomes.iter().flatten().all(is_accepted));
    assert_eq!(server.refreshes(), 2, "64 refused at once, one refresh");
    let old = server
        .calls()
        .iter()
        .filter(|c| c.header("authorization").unwrap().ends_with("old"))
        .count();
    assert_eq!((old, server.calls().len()), (64, 128));
}

#[tokio::test]
async fn a_token_that_stays_refused_is_an_error_and_was_certainly_not_applied() {
    let server = server(|_| say(401, &json!({"errors": [{"errorId": 1001, "message": "no"}]}))).await;
    let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!(
        (error.class, &*error.code, unknown),
        (ErrorClass::Unauthorized, "ebay_token_refused", false)
    );
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_body_that_repeats_the_token_is_kept_without_it() {
    let server = server(|_| {
        say(
            400,
            &json!({"errors": [{"errorId": 25002, "category": "REQUEST",
        "message": "Bearer canary-access-t1 canary-access-t1"}]}),
        )
    })
    .await;
    let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
    let (error, _) = failure(&outcomes[0]);
    assert!(
        error.body.as_ref().unwrap().contains("Bearer *** ***"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn error_bodies_are_kept_up_to_sixteen_kibibytes() {
    let server = server(|_| Said::Answer(400, vec![], vec![b'x'; 100_000])).await;
    let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
    assert_eq!(failure(&outcomes[0]).0.body.as_ref().unwrap().len(), 16 * 1024);
}

#[tokio::test]
async fn a_429_carries_its_wait() {
    let server = server(|_| Said::Answer(429, vec![("retry-after", "7".into())], vec![])).await;
    let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
    let (error, unknown) = failure(&outcomes[0]);
    let retry_after = Some(std::time::Duration::from_secs(7));
    assert_eq!(
        (error.class, unknown),
        (ErrorClass::RateLimited { retry_after }, false)
    );
}

#[tokio::test]
async fn a_503_says_how_long_it_is_away() {
    let server = server(|_| Said::Answer(503, vec![("retry-after", "7".into())], vec![])).await;
    let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
    let (error, _) = failure(&outcomes[0]);
    assert_eq!(error.away_for, Some(std::time::Duration::from_secs(7)));
}

#[tokio::test]
async fn the_days_revisions_used_up_has_a_code_of_its_own() {
    let server = server(|_| {
        let message =
            "Cannot revise the listing. It was revised 250 times today; try on the next calendar day.";
        let error = json!({"errorId": 25019, "category": "REQUEST", "message": message});
        say(
            207,
            &json!({"responses": [{"sku": "a", "offerId": "1", "statusCode": 400, "errors": [error]}]}),
        )
    })
    .await;
    let outcomes = revise(&server, &[quantity("a", "1", 0)]).await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!(
        (error.class, &*error.code, unknown),
        (ErrorClass::Rejected, REVISION_LIMIT, false)
    );
}

#[tokio::test]
async fn one_sku_only_is_remembered() {
    let server = server(|asked| match asked["requests"].as_array().unwrap().len() {
        1 => all_taken(asked),
        _ => say(
            400,
            &json!({"errors": [{"errorId": 25002, "category": "REQUEST",
            "message": "Only one SKU can be updated per call."}]}),
        ),
    })
    .await;
    let ebay = server.ebay();
    assert_eq!(ebay.batch_size(), 25);
    let outcomes = ebay.revise(&[quantity("a", "1", 0), quantity("b", "2", 0)]).await;
    for outcome in &outcomes {
        let (error, unknown) = failure(outcome);
        assert_eq!(
            (&*error.code, unknown),
            (zaikoban::platform::gateway::BATCH_REFUSED, false)
        );
    }
    assert_eq!(ebay.batch_size(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_here_and_the_rest_goes_on() {
    let server = server(all_taken).await;
    let mut nothing = quantity("d", "4", 0);
    nothing.quantity = None;
    let outcomes = revise(
        &server,
        &[
            quantity("a", "1", 0),
            quantity("a", "1", 5),
            quantity("..", "2", 0),
            quantity(&"x".repeat(51), "3", 0),
            nothing,
            quantity("e\r\nx", "5", 0),
            quantity("f", "6", 0),
        ],
    )
    .await;
    let accepted: Vec<bool> = outcomes.iter().map(is_accepted).collect();
    assert_eq!(accepted, [true, false, false, false, true, false, true]);
    for (at, code) in [
        (1, "ebay_named_twice"),
        (2, "ebay_bad_key"),
        (3, "ebay_bad_key"),
        (5, "ebay_bad_key"),
    ] {
        let (error, unknown) = failure(&outcomes[at]);
        assert_eq!(
            (error.class, &*error.code, unknown),
            (ErrorClass::Rejected, code, false)
        );
    }
    assert_eq!(server.calls()[0].json()["requests"].as_array().unwrap().len(), 2);
}

/// An offer that is not on sale, as `getOffer` shows it.
fn unpublished() -> Value {
    json!({
        "offerId": "1", "sku": "a", "marketplaceId": "EBAY_US", "format": "FIXED_PRICE", "status": "UNPUBLISHED",
        "availableQuantity": 2, "categoryId": "123", "listingDescription": "<p>在庫</p>", "merchantLocationKey": "tokyo",
        "pricingSummary": {"price": {"value": "20.00", "currency": "USD"}, "pricingVisibility": "NONE"},
        "listingPolicies": {"fulfillmentPolicyId": "1", "paymentPolicyId": "2", "returnPolicyId": "3"},
        "quantityLimitPerBuyer": 1, "aMemberOfTheFuture": true
    })
}

fn off_sale() -> Revision {
    let mut revision = quantity("a", "1", 7);
    revision.price = Some(usd("31.5"));
    revision.confirmed.status = ListingStatus::Ended;
    revision
}

#[tokio::test]
async fn an_offer_off_sale_is_replaced_whole_with_only_the_changes() {
    let server = Server::start(|seen| match seen.method.as_str() {
        "POST" if seen.is_token() => token("t", 7200),
        "POST" => say(200, &json!({"responses": [{"sku": "a", "statusCode": 200}]})),
        "GET" => say(200, &unpublished()),
        _ => say(
            200,
            &json!({"offerId": "1", "warnings": [{"errorId": 25402, "message": "System warning."}]}),
        ),
    })
    .await;
    let outcomes = revise(&server, &[off_sale()]).await;
    let EntryOutcome::Accepted { warnings } = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert!(warnings[0].contains("25402"));
    let calls = server.calls();
    assert_eq!(
        calls.iter().map(|c| c.method.as_str()).collect::<Vec<_>>(),
        ["POST", "GET", "PUT"]
    );
    assert_eq!(
        calls[0].json(),
        json!({"requests": [{"sku": "a", "shipToLocationAvailability": {"quantity": 7}}]})
    );
    assert_eq!(calls[2].header("content-language").unwrap(), "en-US");
    let mut expected = unpublished();
    for gone in [
        "offerId",
        "sku",
        "marketplaceId",
        "format",
        "status",
        "aMemberOfTheFuture",
    ] {
        expected.as_object_mut().unwrap().remove(gone);
    }
    expected["availableQuantity"] = json!(7);
    expected["pricingSummary"]["price"]["value"] = json!("31.50");
    assert_eq!(calls[2].json(), expected);
}

#[tokio::test]
async fn an_offer_off_sale_that_is_not_the_one_meant_is_not_replaced() {
    for (key, value) in [
        ("offerId", json!("2")),
        ("sku", json!("b")),
        ("status", json!(null)),
        ("pricingSummary", json!([])),
    ] {
        let mut shown = unpublished();
        shown[key] = value;
        let server = Server::start(move |seen| match seen.method.as_str() {
            "POST" if seen.is_token() => token("t", 7200),
            "POST" => say(200, &json!({"responses": [{"sku": "a", "statusCode": 200}]})),
            _ => say(200, &shown),
        })
        .await;
        let outcomes = revise(&server, &[off_sale()]).await;
        let (error, unknown) = failure(&outcomes[0]);
        assert_eq!(
            (error.class, unknown),
            (ErrorClass::Protocol, true),
            "{key}: the SKU's part is done"
        );
        let mut price_alone = off_sale();
        price_alone.quantity = None;
        let outcomes = revise(&server, &[price_alone]).await;
        assert!(!failure(&outcomes[0]).1, "{key}: nothing is done");
        assert!(error.missing[0].contains(key), "{error:?}");
        assert!(server.calls().iter().all(|c| c.method != "PUT"));
    }
}

#[tokio::test]
async fn a_replacement_without_an_answer_is_unknown() {
    for (said, unknown) in [
        (Said::Close, true),
        (say(500, &json!({})), true),
        (say(400, &json!({})), false),
    ] {
        let server = Server::start(move |seen| match seen.method.as_str() {
            "POST" if seen.is_token() => token("t", 7200),
            "POST" => say(200, &json!({"responses": [{"sku": "a", "statusCode": 200}]})),
            "GET" => say(200, &unpublished()),
            _ => said.clone(),
        })
        .await;
        let mut price_alone = off_sale();
        price_alone.quantity = None;
        let outcomes = revise(&server, &[price_alone]).await;
        assert_eq!(failure(&outcomes[0]).1, unknown);
    }
}
