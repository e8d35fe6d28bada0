use super::*;
use crate::simulator::faults::CallFault;
use chrono::DateTime;
use serde_json::json;

const NOW: Micros = 1_790_000_000_000_000;
const SECOND: Micros = 1_000_000;

fn market(settings: &SimulatorSettings) -> Market {
    Market::new(settings, NOW)
}

fn small() -> SimulatorSettings {
    SimulatorSettings {
        products: 5,
        listings: 5,
        ..SimulatorSettings::default()
    }
}

fn sets(listing: &CatalogueListing, quantity: i64, price: &str) -> Value {
    json!({
        "sku": listing.sku,
        "shipToLocationAvailability": { "quantity": quantity },
        "offers": [{
            "offerId": listing.offer_id,
            "availableQuantity": quantity,
            "price": { "value": price, "currency": "USD" },
        }],
    })
}

fn bulk(market: &mut Market, requests: Vec<Value>, faults: &EbayFaults, now: Micros) -> (u16, Value) {
    let answer = market.call(&Call::Bulk(json!({ "requests": requests })), faults, now);
    (answer.status, answer.body.unwrap())
}

fn codes(body: &Value) -> Vec<(u64, Option<u64>)> {
    let entries = body["responses"].as_array().unwrap().iter();
    entries
        .map(|e| {
            (
                e["statusCode"].as_u64().unwrap(),
                e["errors"][0]["errorId"].as_u64(),
            )
        })
        .collect()
}

#[test]
fn a_bulk_call_sets_what_it_names_and_counts_one_write_an_entry() {
    let mut market = market(&small());
    let listings = market.catalogue();
    let requests = vec![sets(&listings[0], 3, "12.50"), sets(&listings[1], 0, "99")];
    let (status, body) = bulk(&mut market, requests, &EbayFaults::default(), NOW);
    assert_eq!((status, codes(&body)), (200, vec![(200, None), (200, None)]));
    let register = market.register(NOW);
    assert_eq!((register[0].quantity, register[0].version), (3, 1));
    assert_eq!(register[0].price.unwrap().to_string(), "12.50 USD");
    assert_eq!((register[1].quantity, register[1].revisions_today), (0, 1));
    assert_eq!(register[2].version, 0);
    let lines: Vec<_> = market.ledger.after(0, 10).map(|(_, l)| l.clone()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[0].quantity, lines[0].accepted, lines[0].version),
        (Some(3), true, Some(1))
    );
}

#[test]
fn the_offers_own_quantity_outranks_the_items() {
    let mut market = market(&small());
    let listing = market.catalogue()[0].clone();
    let alone = json!({ "sku": listing.sku, "shipToLocationAvailability": { "quantity": 7 } });
    let (status, body) = bulk(&mut market, vec![alone], &EbayFaults::default(), NOW);
    assert_eq!((status, codes(&body)), (200, vec![(200, None)]));
    assert!(body["responses"][0].get("offerId").is_none());
    assert_eq!(market.register(NOW)[0].quantity, 1);
}

#[test]
fn entries_fail_alone_and_the_whole_says_207() {
    let mut market = market(&small());
    let listings = market.catalogue();
    let mut foreign = sets(&listings[1], 1, "5");
    foreign["sku"] = json!(listings[2].sku);
    let mut unknown = sets(&listings[1], 1, "5");
    unknown["offers"][0]["offerId"] = json!("1");
    unknown["sku"] = Value::Null;
    let requests = vec![
        sets(&listings[0], 2, "5.00"),
        sets(&listings[0], 4, "5.00"),
        foreign,
        unknown,
        sets(&listings[3], -1, "5"),
        sets(&listings[4], 1, "0"),
        json!({ "offers": [{ "offerId": listings[2].offer_id }] }),
    ];
    let (status, body) = bulk(&mut market, requests, &EbayFaults::default(), NOW);
    let expected = vec![
        (200, None),
        (400, Some(25_709)),
        (400, Some(25_002)),
        (404, Some(25_713)),
        (400, Some(25_709)),
        (400, Some(25_709)),
        (400, Some(25_709)),
    ];
    assert_eq!((status, codes(&body)), (207, expected));
    let versions: Vec<u32> = market.register(NOW).iter().map(|l| l.version).collect();
    assert_eq!(versions, [1, 0, 0, 0, 0]);
    assert_eq!(market.register(NOW)[0].quantity, 2);
}

#[test]
fn more_than_twenty_five_are_refused_whole() {
    let mut market = market(&SimulatorSettings {
        listings: 26,
        ..small()
    });
    let listings = market.catalogue();
    let requests = |n: usize| listings.iter().take(n).map(|l| sets(l, 1, "5")).collect();
    let plan = EbayFaults::default();
    assert_eq!(bulk(&mut market, requests(25), &plan, NOW).0, 200);
    let (status, body) = bulk(&mut market, requests(26), &plan, NOW);
    assert_eq!((status, &body["errors"][0]["errorId"]), (400, &json!(25_709)));
    assert_eq!(bulk(&mut market, Vec::new(), &plan, NOW).0, 400);
}

#[test]
fn both_readings_of_one_sku_per_call_can_be_set() {
    let mut settings = small();
    settings.ebay.one_sku_per_call = true;
    let mut market = market(&settings);
    let listings = market.catalogue();
    let plan = EbayFaults::default();
    let two = vec![sets(&listings[0], 1, "5"), sets(&listings[1], 1, "5")];
    assert_eq!(bulk(&mut market, two, &plan, NOW).0, 400);
    assert_eq!(
        bulk(&mut market, vec![sets(&listings[0], 1, "5")], &plan, NOW).0,
        200
    );
}

#[test]
fn a_listing_is_revised_250_times_a_pacific_day_and_again_the_next() {
    let mut market = market(&small());
    let listing = market.catalogue()[0].clone();
    let plan = EbayFaults::default();
    // 2026-09-21 23:00 in Los Angeles is 06:00 UTC of the 22nd.
    let evening = DateTime::parse_from_rfc3339("2026-09-22T06:00:00Z")
        .unwrap()
        .timestamp_micros();
    for n in 0..250_i64 {
        assert_eq!(
            bulk(&mut market, vec![sets(&listing, n % 9, "5")], &plan, evening).0,
            200
        );
    }
    let (status, body) = bulk(&mut market, vec![sets(&listing, 1, "5")], &plan, evening);
    assert_eq!((status, codes(&body)), (207, vec![(400, Some(25_019))]));
    assert_eq!(market.register(evening)[0].revisions_today, 250);
    let before_midnight = evening + 3_599 * SECOND;
    assert_eq!(
        bulk(&mut market, vec![sets(&listing, 1, "5")], &plan, before_midnight).0,
        207
    );
    let midnight = evening + 3_600 * SECOND;
    assert_eq!(market.register(midnight)[0].revisions_today, 0);
    assert_eq!(
        bulk(&mut market, vec![sets(&listing, 1, "5")], &plan, midnight).0,
        200
    );
}

#[test]
fn entries_are_ignored_late_warned_and_failed_as_the_plan_says() {
    let mut market = market(&small());
    let listing = market.catalogue()[0].clone();
    let plan = |fill: fn(&mut EbayFaults)| {
        let mut plan = EbayFaults::default();
        fill(&mut plan);
        plan
    };
    let ignored = plan(|p| p.p_entry_ignored = 1.0);
    assert_eq!(
        bulk(&mut market, vec![sets(&listing, 9, "5")], &ignored, NOW).0,
        200
    );
    assert_eq!(
        (market.register(NOW)[0].quantity, market.register(NOW)[0].version),
        (1, 1)
    );
    let late = plan(|p| p.p_entry_late = 1.0);
    assert_eq!(bulk(&mut market, vec![sets(&listing, 8, "5")], &late, NOW).0, 200);
    assert_eq!(market.register(NOW + 4 * SECOND)[0].quantity, 1);
    assert_eq!(market.register(NOW + 5 * SECOND)[0].quantity, 8);
    let warned = plan(|p| p.p_entry_warns = 1.0);
    let (_, body) = bulk(
        &mut market,
        vec![sets(&listing, 7, "5")],
        &warned,
        NOW + 5 * SECOND,
    );
    assert_eq!(body["responses"][0]["warnings"][0]["errorId"], 25_402);
    let fails = plan(|p| {
        p.p_entry_fails = 1.0;
        p.failures_as_200 = true;
    });
    let (status, body) = bulk(
        &mut market,
        vec![sets(&listing, 6, "5")],
        &fails,
        NOW + 5 * SECOND,
    );
    assert_eq!((status, codes(&body)), (200, vec![(500, Some(25_001))]));
    assert_eq!(market.register(NOW + 5 * SECOND)[0].quantity, 7);
}

#[test]
fn buyers_reduce_what_is_on_sale_and_never_below_nothing() {
    let mut market = market(&SimulatorSettings {
        sale_rate_per_s: 10.0,
        ..small()
    });
    let sold = |market: &mut Market, now| market.register(now).iter().map(|l| l.sold).sum::<u32>();
    assert_eq!(sold(&mut market, NOW), 0);
    assert_eq!(sold(&mut market, NOW + 60 * SECOND), 5);
    assert!(
        market
            .register(NOW + 60 * SECOND)
            .iter()
            .all(|l| l.quantity == 0 && l.version == 0)
    );
    market.set(
        &SetListing {
            sku: "ZK-000002".into(),
            quantity: Some(4),
            sell: Some(3),
            ..SetListing::default()
        },
        NOW + 60 * SECOND,
    );
    assert_eq!(market.register(NOW + 60 * SECOND)[1].quantity, 1);
}

/// What an offer needs beside its key.
fn terms(price: &str) -> Value {
    json!({
        "categoryId": "30120", "listingDescription": "<p>It ticks.</p>", "merchantLocationKey": "tokyo",
        "listingPolicies": { "fulfillmentPolicyId": "1", "paymentPolicyId": "2", "returnPolicyId": "3" },
        "pricingSummary": { "price": { "value": price, "currency": "USD" } },
    })
}

#[test]
fn a_withdrawn_offer_is_published_again_as_a_new_listing() {
    let mut market = market(&small());
    let listing = market.catalogue()[0].clone();
    let plan = EbayFaults::default();
    let offer = || listing.offer_id.to_string();
    let ended = market.call(&Call::Withdraw(offer()), &plan, NOW);
    assert_eq!(
        (ended.status, &ended.body.unwrap()["listingId"]),
        (200, &json!(listing.listing_id))
    );
    assert_eq!(&*market.register(NOW)[0].status, "UNPUBLISHED");
    let again = market.call(&Call::Withdraw(offer()), &plan, NOW);
    assert_eq!(
        (again.status, &again.body.unwrap()["errors"][0]["errorId"]),
        (400, &json!(25_713))
    );
    let (_, body) = bulk(&mut market, vec![sets(&listing, 2, "5")], &plan, NOW);
    assert_eq!(codes(&body), [(400, Some(25_002))]);
    let mut body = terms("8.00");
    body["availableQuantity"] = json!(0);
    let put = |market: &mut Market, body: &Value| {
        let call = Call::PutOffer {
            offer_id: offer(),
            language: true,
            body: body.clone(),
        };
        market.call(&call, &plan, NOW).status
    };
    assert_eq!(put(&mut market, &body), 200);
    let empty = market.call(&Call::Publish(offer()), &plan, NOW);
    assert_eq!(
        (empty.status, &empty.body.unwrap()["errors"][0]["errorId"]),
        (400, &json!(25_004))
    );
    body["availableQuantity"] = json!(2);
    assert_eq!(put(&mut market, &body), 200);
    let published = market.call(&Call::Publish(offer()), &plan, NOW);
    let new_id = published.body.unwrap()["listingId"].as_str().unwrap().to_owned();
    assert_ne!(new_id, &*listing.listing_id);
    let once_more = market.call(&Call::Publish(offer()), &plan, NOW).body.unwrap();
    assert_eq!(once_more["listingId"], json!(new_id));
}

#[test]
fn a_new_thing_is_listed_from_item_to_listing() {
    let mut market = market(&small());
    let plan = EbayFaults::default();
    let sku = "NEW-1";
    let item = json!({
        "availability": { "shipToLocationAvailability": { "quantity": 4 } }, "condition": "NEW",
        "product": { "title": "A clock", "imageUrls": ["https://i.example/1.jpg"], "aspects": { "Brand": ["ZK"] } },
    });
    let put = |language| Call::PutItem {
        sku: sku.into(),
        language,
        body: item.clone(),
    };
    assert_eq!(market.call(&put(false), &plan, NOW).status, 400);
    assert_eq!(market.call(&put(true), &plan, NOW).status, 201);
    assert_eq!(market.call(&put(true), &plan, NOW).status, 204);
    assert_eq!(
        market.call(&Call::GetOffers(Some(sku.into())), &plan, NOW).status,
        404
    );
    let mut body = terms("15.00");
    body["sku"] = json!(sku);
    body["marketplaceId"] = json!("EBAY_US");
    body["format"] = json!("FIXED_PRICE");
    let create = Call::CreateOffer { language: true, body };
    let created = market.call(&create, &plan, NOW);
    assert_eq!(created.status, 201);
    let offer_id = created.body.unwrap()["offerId"].as_str().unwrap().to_owned();
    let twice = market.call(&create, &plan, NOW);
    let error = &twice.body.unwrap()["errors"][0];
    assert_eq!((twice.status, &error["errorId"]), (400, &json!(25_002)));
    assert_eq!(
        error["parameters"][0],
        json!({ "name": "offerId", "value": offer_id })
    );
    assert_eq!(market.call(&Call::Publish(offer_id), &plan, NOW).status, 200);
    let shown = market.register(NOW).pop().unwrap();
    assert_eq!(
        (&*shown.sku, shown.quantity, &*shown.status),
        (sku, 4, "PUBLISHED")
    );
}

#[test]
fn a_call_that_meets_a_fault_changes_nothing_unless_only_its_answer_is_lost() {
    let mut market = market(&small());
    let listing = market.catalogue()[0].clone();
    let plan = |fill: fn(&mut EbayFaults)| {
        let mut plan = EbayFaults::default();
        fill(&mut plan);
        plan
    };
    for (status, plan) in [
        (500, plan(|p| p.p_500 = 1.0)),
        (503, plan(|p| p.p_503 = 1.0)),
        (429, plan(|p| p.p_429 = 1.0)),
        (401, plan(|p| p.p_401 = 1.0)),
        (500, plan(|p| p.p_concurrent = 1.0)),
    ] {
        let (got, body) = bulk(&mut market, vec![sets(&listing, 5, "5")], &plan, NOW);
        assert_eq!(got, status);
        assert!(body["errors"][0]["errorId"].is_u64());
    }
    assert_eq!(market.register(NOW)[0].version, 0);
    let call = Call::Bulk(json!({ "requests": [sets(&listing, 5, "5")] }));
    let cut = market.call(&call, &plan(|p| p.p_cut = 1.0), NOW);
    assert_eq!(cut.fault, Some(CallFault::Cut));
    assert_eq!(
        (market.register(NOW)[0].version, market.register(NOW)[0].quantity),
        (1, 5)
    );
}

#[test]
fn tokens_are_given_to_the_known_application_and_end_at_their_time() {
    let mut market = market(&small());
    let plan = EbayFaults::default();
    let basic = |id: &str| {
        use base64::Engine;
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(format!("{id}:{CLIENT_SECRET}"))
        )
    };
    let form = |kind: &str, token: &str| {
        vec![
            ("grant_type".to_owned(), kind.to_owned()),
            ("refresh_token".to_owned(), token.to_owned()),
        ]
    };
    let good = form("refresh_token", REFRESH_TOKEN);
    let mut ask = |id: &str, form: &[(String, String)], plan: &EbayFaults| {
        let answer = market.grant(Some(&basic(id)), form, plan, NOW);
        (answer.status, answer.body.unwrap())
    };
    let (status, body) = ask("nobody", &good, &plan);
    assert_eq!((status, &body["error"]), (401, &json!("invalid_client")));
    let (status, body) = ask(CLIENT_ID, &form("refresh_token", "x"), &plan);
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
    let revoked = EbayFaults {
        revoked: true,
        ..EbayFaults::default()
    };
    assert_eq!(ask(CLIENT_ID, &good, &revoked).1["error"], "invalid_grant");
    assert_eq!(
        ask(CLIENT_ID, &form("password", ""), &plan).1["error"],
        "unsupported_grant_type"
    );
    let (status, body) = ask(CLIENT_ID, &good, &plan);
    assert_eq!((status, &body["expires_in"]), (200, &json!(7_200)));
    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    let allows = |market: &Market, after_s: i64| market.tokens.allows(Some(&bearer), NOW + after_s * SECOND);
    assert!(allows(&market, 7_199) && !allows(&market, 7_200));
    assert!(!market.tokens.allows(None, NOW) && !market.tokens.allows(Some("Bearer x"), NOW));
    market.tokens.expire_all();
    assert!(!allows(&market, 1));
}

#[test]
fn a_code_of_a_consent_gives_a_refresh_token_once_and_for_some_minutes() {
    let mut market = market(&small());
    let plan = EbayFaults::default();
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let asked = [
        ("client_id", CLIENT_ID),
        ("redirect_uri", RU_NAME),
        ("response_type", "code"),
        ("scope", "https://api.ebay.com/oauth/api_scope/sell.inventory"),
        ("state", "s 1"),
    ];
    for at in 0..4 {
        let mut wrong = asked;
        wrong[at].1 = "x";
        assert!(market.tokens.consent(&pairs(&wrong), NOW).is_err(), "{wrong:?}");
    }
    let mut code = || {
        let back = market.tokens.consent(&pairs(&asked), NOW).unwrap();
        assert!(back.contains("state=s+1"), "{back}");
        let mut fields = url::form_urlencoded::parse(back.as_bytes()).into_owned();
        fields.find(|(name, _)| name == "code").unwrap().1
    };
    let (one, two) = (code(), code());
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    let basic = format!("Basic {basic}");
    let mut ask = |form: &[(&str, &str)], at| {
        let answer = market.grant(Some(&basic), &pairs(form), &plan, at);
        (answer.status, answer.body.unwrap())
    };
    let exchange = |code| {
        [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", RU_NAME),
        ]
    };
    let (status, body) = ask(&exchange(&one), NOW);
    assert_eq!(
        (status, &body["refresh_token_expires_in"]),
        (200, &json!(47_304_000))
    );
    assert_eq!(ask(&exchange(&one), NOW).0, 400, "once");
    assert_eq!(
        ask(&exchange(&two), NOW + 299 * SECOND).0,
        400,
        "for some minutes"
    );
    let refresh = body["refresh_token"].as_str().unwrap().to_owned();
    let again = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(ask(&again, NOW).0, 200);
}
