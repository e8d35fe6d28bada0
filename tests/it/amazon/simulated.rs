//! The adapters against the simulator, which was written from the documents and not from them.

use super::told;
use crate::ebay::memory::Memory;
use crate::support::swagger::Models;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use zaikoban::clock::Clock;
use zaikoban::domain::{
    Currency, DestinationPlatform, ErrorClass, ListingId, ListingRef, ListingState, ListingStatus, Money,
    Quantity, SourceProductId,
};
use zaikoban::http::{Client, ClientSettings, Limits, Origin};
use zaikoban::platform::amazon::{
    AccountSettings, Amazon, AmazonSeller, AmazonSellerSettings, AmazonSettings as SourceSettings, FBA,
    Filters, INVALID, ReadBy, TOKEN_REFUSED,
};
use zaikoban::platform::oauth::Grant;
use zaikoban::platform::{Destination, EntryOutcome, PlatformError, Revision, Source};
use zaikoban::simulator::{
    AmazonItem, AmazonOperation, AmazonSettings, Running, Simulator, SimulatorSettings,
};

/// A simulator with twenty items, and the clock that it stands by.
fn simulator(settings: AmazonSettings) -> (Running, Clock) {
    let clock = Clock::manual(chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    let settings = SimulatorSettings {
        amazon_products: 20,
        amazon_listings: 20,
        amazon: settings,
        ..SimulatorSettings::default()
    };
    (Simulator::start_at(settings, clock.clone()).unwrap(), clock)
}

/// One that has no quotas, and applies changes at once.
fn free() -> (Running, Clock) {
    simulator(AmazonSettings {
        quota_factor: 0.0,
        ..AmazonSettings::default()
    })
}

fn order(running: &Running, order: &Value) {
    running.script(order).unwrap();
}

fn account(running: &Running) -> AccountSettings {
    let url: Url = running.urls.amazon.parse().unwrap();
    AccountSettings {
        endpoint: url.clone(),
        token_endpoint: url,
        marketplace: running.catalogue().amazon.marketplace.to_string(),
        currency: Currency::Jpy,
        requests_per_hour: None,
        patience: Duration::ZERO,
    }
}

fn client(running: &Running) -> Client {
    Client::new(&ClientSettings {
        origins: vec![Origin::parse(&running.urls.amazon).unwrap()],
        user_agent: "zaikoban-test".into(),
        ca_file: None,
        gzip: false,
        limits: Limits {
            total: Duration::from_millis(1500),
            ..Limits::default()
        },
    })
    .unwrap()
}

fn grant(running: &Running) -> Arc<Grant> {
    let keys = running.catalogue().amazon;
    Arc::new(Grant {
        client_id: keys.client_id.to_string(),
        client_secret: keys.client_secret.to_string().into(),
        refresh_token: keys.refresh_token.to_string().into(),
    })
}

fn source(running: &Running, read: ReadBy) -> Amazon {
    let settings = SourceSettings {
        account: account(running),
        read,
        filters: Filters::default(),
        pieces: Quantity::new(1).unwrap(),
        title_age: Duration::from_secs(3600),
    };
    let tokens = Arc::<Memory>::default();
    Amazon::new(settings, grant(running), client(running), tokens, Clock::system()).unwrap()
}

fn seller(running: &Running) -> AmazonSeller {
    let settings = AmazonSellerSettings {
        account: account(running),
        seller_id: running.catalogue().amazon.seller_id.to_string(),
        settles_within: Duration::from_secs(900),
    };
    let tokens = Arc::<Memory>::default();
    AmazonSeller::new(settings, grant(running), client(running), tokens, Clock::system()).unwrap()
}

fn asins(running: &Running) -> Vec<SourceProductId> {
    let products = running.catalogue().amazon.products;
    products
        .iter()
        .map(|p| SourceProductId::new(&p.asin).unwrap())
        .collect()
}

fn expected(item: &AmazonItem) -> String {
    if item.removed {
        "not_found amazon_no_such_item".into()
    } else if item.offered {
        format!("{} JPY x1", item.price_jpy)
    } else {
        "none x0".into()
    }
}

#[tokio::test]
async fn both_ways_of_reading_tell_the_truth() {
    let (running, clock) = free();
    order(
        &running,
        &json!({"amazon_change_rate_per_s": 20.0, "faults": {"amazon": {"unknown_fields": true}}}),
    );
    clock.advance(chrono::TimeDelta::minutes(1));
    let ids = asins(&running);
    let gone = json!({"set_amazon": [{"asin": ids[3].as_str(), "removed": true}]});
    order(&running, &gone);
    order(&running, &json!({"stop_changes": true}));
    let truth: Vec<String> = running.amazon_truth().iter().map(expected).collect();
    assert!(truth.iter().any(|one| one == "none x0"), "{truth:?}");
    for read in [ReadBy::Offers, ReadBy::Competitive] {
        let seen = source(&running, read).observe(&ids).await;
        assert_eq!(told(&seen), truth, "{read}");
        let titles: HashMap<_, _> = running
            .catalogue()
            .amazon
            .products
            .into_iter()
            .map(|p| (p.asin.to_string(), p.title))
            .collect();
        for seen in seen.iter().flatten() {
            assert_eq!(seen.title, titles[seen.source_product_id.as_str()]);
        }
    }
    assert_eq!(running.amazon_served().len(), 19);
}

#[tokio::test]
async fn each_fault_is_of_its_class_and_none_is_a_value() {
    let (running, _clock) = free();
    let ids = asins(&running);
    for (fault, class) in [
        (json!({"p_500": 1.0}), "transient http_500"),
        (json!({"p_503": 1.0}), "transient http_503"),
        (json!({"p_429": 1.0}), "rate_limited http_429"),
        (json!({"p_cut": 1.0}), "transient"),
        (json!({"p_hang_before": 1.0}), "transient"),
        (json!({"p_hang_after": 1.0}), "transient"),
        (json!({"p_entry_500": 1.0}), "transient http_500"),
        (json!({"p_entry_429": 1.0}), "rate_limited http_429"),
        (json!({"p_token_500": 1.0}), "transient"),
        (json!({"revoked": true}), "unauthorized needs_reauth"),
    ] {
        order(&running, &json!({"stop_faults": true}));
        order(&running, &json!({"faults": {"amazon": fault}}));
        let seen = told(&source(&running, ReadBy::Offers).observe(&ids[..3]).await);
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|one| one.starts_with(class)), "{fault}: {seen:?}");
    }
    assert!(running.amazon_served().iter().all(|item| item.version == 0));
}

#[tokio::test]
async fn a_token_that_is_refused_again_and_again_asks_for_a_person() {
    let (running, _clock) = free();
    order(&running, &json!({"faults": {"amazon": {"p_withdrawn": 1.0}}}));
    let seller = seller(&running);
    let error = seller.read(&listing(SKU)).await.unwrap_err();
    assert_eq!(
        (error.class, &*error.code),
        (ErrorClass::Unauthorized, TOKEN_REFUSED)
    );
    for _ in 0..5 {
        let error = seller.read(&listing(SKU)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unauthorized, "{error}");
    }
    assert!(
        running.stats().amazon_tokens <= 5,
        "{}",
        running.stats().amazon_tokens
    );
}

#[tokio::test]
async fn some_entries_fail_and_the_others_are_read() {
    let (running, _clock) = free();
    order(&running, &json!({"faults": {"amazon": {"p_entry_500": 0.4}}}));
    let seen = source(&running, ReadBy::Offers).observe(&asins(&running)).await;
    let failed = seen.iter().filter(|look| look.is_err()).count();
    assert!((1..20).contains(&failed), "{failed}");
    for (look, truth) in seen.iter().zip(running.amazon_truth()) {
        if look.is_ok() {
            assert_eq!(told(std::slice::from_ref(look))[0], expected(&truth));
        }
    }
}

#[tokio::test]
async fn the_quota_of_the_other_side_is_heard_too() {
    let (running, clock) = simulator(AmazonSettings::default());
    let ids = asins(&running);
    assert!(
        source(&running, ReadBy::Offers)
            .observe(&ids)
            .await
            .iter()
            .all(Result::is_ok)
    );
    // Another process of the same account knows nothing of the first.
    let second = source(&running, ReadBy::Offers).observe(&ids[..2]).await;
    assert_eq!(told(&second), ["rate_limited http_429"; 2]);
    clock.advance(chrono::TimeDelta::seconds(10));
    assert!(
        source(&running, ReadBy::Offers)
            .observe(&ids[..2])
            .await
            .iter()
            .all(Result::is_ok)
    );
}

#[tokio::test]
async fn a_token_that_ends_between_two_calls_costs_one_renewal() {
    let (running, _clock) = free();
    let (source, ids) = (source(&running, ReadBy::Competitive), asins(&running));
    assert!(source.observe(&ids[..1]).await[0].is_ok());
    order(&running, &json!({"expire_tokens": true}));
    let mut seen = Vec::new();
    for _ in 0..30 {
        // Our own bucket is refilled within two seconds.
        seen = source.observe(&ids[1..2]).await;
        match &seen[0] {
            Err(error) if matches!(error.class, ErrorClass::RateLimited { .. }) => {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            _ => break,
        }
    }
    assert!(seen[0].is_ok(), "{seen:?}");
    assert_eq!(running.stats().amazon_tokens, 2);
}

fn listing(sku: &str) -> ListingRef {
    ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::AmazonSeller,
        sku: sku.into(),
        platform_product_id: sku.into(),
    }
}

fn revision(sku: &str, quantity: Option<i64>, price: Option<i64>) -> Revision {
    Revision {
        listing: listing(sku),
        quantity: quantity.map(|n| Quantity::new(n).unwrap()),
        price: price.map(|n| Money::yen(n).unwrap()),
        confirmed: ListingState {
            status: ListingStatus::Active,
            quantity: Quantity::new(1).unwrap(),
            price: None,
        },
    }
}

/// Quantity and price in the register.
fn held(running: &Running, sku: &str) -> (u32, u32) {
    let register = running.amazon_register();
    let listing = register.iter().find(|l| *l.sku == *sku).unwrap();
    (listing.quantity, listing.price_jpy)
}

/// The failure, and whether its effect is unknown.
fn failure(outcomes: &[EntryOutcome]) -> (&PlatformError, bool) {
    match &outcomes[0] {
        EntryOutcome::Failed { error, unknown } => (error, *unknown),
        EntryOutcome::Accepted { .. } => panic!("expected a failure, got {outcomes:?}"),
    }
}

const SKU: &str = "AMZ-00001";

#[tokio::test]
async fn a_change_is_accepted_first_and_seen_later() {
    let (running, clock) = simulator(AmazonSettings {
        settle_ms: 60_000,
        ..AmazonSettings::default()
    });
    let seller = seller(&running);
    let before = seller.read(&listing(SKU)).await.unwrap();
    let outcomes = seller.revise(&[revision(SKU, Some(7), Some(4980))]).await;
    assert!(
        matches!(outcomes[0], EntryOutcome::Accepted { .. }),
        "{outcomes:?}"
    );
    assert_eq!(
        seller.read(&listing(SKU)).await.unwrap(),
        before,
        "not applied yet"
    );
    assert!(seller.settles_within() > Duration::from_secs(60));
    clock.advance(chrono::TimeDelta::seconds(61));
    let after = seller.read(&listing(SKU)).await.unwrap();
    assert_eq!(
        (after.quantity.get(), after.price),
        (7, Some(Money::yen(4980).unwrap()))
    );
    let words: Vec<_> = running
        .amazon_ledger(0, 100)
        .entries
        .iter()
        .map(|e| e.operation)
        .collect();
    use AmazonOperation::{Apply, GetListingsItem, PatchListingsItem};
    assert_eq!(
        words,
        [
            GetListingsItem,
            PatchListingsItem,
            GetListingsItem,
            Apply,
            GetListingsItem
        ]
    );
}

#[tokio::test]
async fn ending_and_coming_back_keep_the_listing() {
    let (running, _clock) = free();
    let seller = seller(&running);
    let price = held(&running, SKU).1;
    seller.end(&listing(SKU)).await.unwrap();
    assert_eq!(held(&running, SKU), (0, price));
    assert_eq!(
        seller.read(&listing(SKU)).await.unwrap().status,
        ListingStatus::Active
    );
    seller.relist(&listing(SKU)).await.unwrap();
    seller.revise(&[revision(SKU, Some(3), None)]).await;
    assert_eq!(held(&running, SKU), (3, price));
    let found = seller.find(SKU).await.unwrap();
    assert_eq!((found.len(), found[0].state.quantity.get()), (1, 3));
    assert!(seller.find("NOT-THERE").await.unwrap().is_empty());
    assert!(seller.reach().await.is_ok());
}

#[tokio::test]
async fn a_lost_answer_is_unknown_whether_or_not_it_had_its_effect() {
    let (running, _clock) = free();
    let seller = seller(&running);
    seller.read(&listing(SKU)).await.unwrap();
    for (fault, quantity, applied) in [
        ("p_hang_before", 11, false),
        ("p_hang_after", 12, true),
        ("p_cut", 13, true),
    ] {
        order(&running, &json!({"stop_faults": true}));
        order(&running, &json!({"faults": {"amazon": {fault: 1.0}}}));
        let outcomes = seller.revise(&[revision(SKU, Some(quantity), None)]).await;
        let (error, unknown) = failure(&outcomes);
        assert_eq!((error.class, unknown), (ErrorClass::Transient, true), "{fault}");
        let holds = i64::from(held(&running, SKU).0) == quantity;
        assert_eq!(holds, applied, "{fault}");
    }
    order(&running, &json!({"stop_faults": true}));
    assert_eq!(seller.read(&listing(SKU)).await.unwrap().quantity.get(), 13);
}

#[tokio::test]
async fn refusals_change_nothing_and_say_why() {
    let (running, _clock) = free();
    let seller = seller(&running);
    let before = held(&running, SKU);
    order(&running, &json!({"faults": {"amazon": {"p_invalid": 1.0}}}));
    let outcomes = seller.revise(&[revision(SKU, Some(9), None)]).await;
    let (error, unknown) = failure(&outcomes);
    assert_eq!((&*error.code, unknown), (INVALID, false));
    assert!(error.message.contains("under review"), "{error}");
    order(&running, &json!({"stop_faults": true}));
    let preview = seller.preview(&revision(SKU, Some(9), Some(1000))).await;
    assert!(preview.unwrap().is_empty());
    assert_eq!(held(&running, SKU), before);
    let fba = json!({"set_amazon_listing": {"sku": "AMZ-00002", "fba": true}});
    order(&running, &fba);
    let outcomes = seller.revise(&[revision("AMZ-00002", Some(0), None)]).await;
    assert_eq!(&*failure(&outcomes).0.code, FBA);
    let outcomes = seller.revise(&[revision("AMZ-00002", None, Some(3333))]).await;
    assert!(matches!(outcomes[0], EntryOutcome::Accepted { .. }));
    assert_eq!(held(&running, "AMZ-00002").1, 3333);
    // Accepted and forgotten: only a later reading tells.
    order(&running, &json!({"faults": {"amazon": {"p_never": 1.0}}}));
    let outcomes = seller.revise(&[revision(SKU, Some(9), None)]).await;
    assert!(matches!(outcomes[0], EntryOutcome::Accepted { .. }));
    assert_eq!(held(&running, SKU), before);
}

#[tokio::test]
async fn what_the_simulator_says_is_in_the_models() {
    let Some(models) = Models::load() else { return };
    let (running, _clock) = free();
    let keys = running.catalogue().amazon;
    let http = crate::simulator::client();
    let base = &running.urls.amazon;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*keys.refresh_token),
        ("client_id", &*keys.client_id),
        ("client_secret", &*keys.client_secret),
    ];
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let asked = http
        .post(format!("{base}/auth/o2/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let given: Value = serde_json::from_slice(&asked.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let token = given["access_token"].as_str().unwrap();
    assert!(token.starts_with("Atza|") && given["expires_in"] == 3600);
    let (known, market) = (&keys.products[0].asin, &keys.marketplace);
    let request = |asin: &str| {
        json!({"uri": format!("/products/pricing/v0/items/{asin}/offers"), "method": "GET",
            "MarketplaceId": market, "ItemCondition": "New", "CustomerType": "Consumer"})
    };
    let both = json!({"requests": [request(known), request("B0NOTTHERE")]});
    let listing = format!("/listings/2021-08-01/items/{}", keys.seller_id);
    let parts = "summaries,offers,fulfillmentAvailability,issues";
    let patch = json!({"productType": "CAMERA", "patches": [{"op": "merge",
        "path": "/attributes/fulfillment_availability",
        "value": [{"fulfillment_channel_code": "DEFAULT", "quantity": 2}]}]});
    let wrong = json!({"productType": "SHOES", "patches": patch["patches"]});
    let nothing = Value::Null;
    for (method, path, body, status) in [
        ("POST", super::BATCH.to_owned(), &both, 200),
        ("POST", super::BATCH.to_owned(), &json!({"requests": []}), 400),
        (
            "GET",
            format!(
                "{}?MarketplaceId={market}&ItemType=Asin&Asins={known}",
                super::COMPETITIVE
            ),
            &nothing,
            200,
        ),
        (
            "GET",
            format!(
                "{}?MarketplaceId=X&ItemType=Asin&Asins={known}",
                super::COMPETITIVE
            ),
            &nothing,
            400,
        ),
        (
            "GET",
            format!(
                "{}?marketplaceIds={market}&identifiersType=ASIN&identifiers={known},B0NOTTHERE",
                super::CATALOG
            ),
            &nothing,
            200,
        ),
        (
            "GET",
            format!("{}?marketplaceIds=X&identifiers={known}", super::CATALOG),
            &nothing,
            400,
        ),
        (
            "GET",
            format!("{listing}/{SKU}?marketplaceIds={market}&includedData={parts}"),
            &nothing,
            200,
        ),
        (
            "GET",
            format!("{listing}/nobody?marketplaceIds={market}"),
            &nothing,
            404,
        ),
        ("GET", format!("{listing}/{SKU}?marketplaceIds=X"), &nothing, 400),
        (
            "GET",
            format!("/listings/2021-08-01/items/OTHER/{SKU}?marketplaceIds={market}"),
            &nothing,
            403,
        ),
        (
            "PATCH",
            format!("{listing}/{SKU}?marketplaceIds={market}"),
            &patch,
            200,
        ),
        (
            "PATCH",
            format!("{listing}/{SKU}?marketplaceIds={market}"),
            &wrong,
            200,
        ),
        (
            "PATCH",
            format!("{listing}/{SKU}?marketplaceIds={market}&mode=VALIDATION_PREVIEW"),
            &patch,
            200,
        ),
    ] {
        let mut asked = http
            .request(method.parse().unwrap(), format!("{base}{path}"))
            .header("x-amz-access-token", token);
        if !body.is_null() {
            asked = asked
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        assert!(answer.headers().contains_key("x-amzn-requestid"));
        let bytes = answer.bytes().await.unwrap();
        let problems = models.problems_of_answer(method, &path, status, &bytes);
        assert!(problems.is_empty(), "{method} {path}: {problems:?}");
    }
}
