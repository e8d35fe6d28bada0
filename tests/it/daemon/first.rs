//! First listings: from a product that is only watched to a listing that is kept.

use super::world::{LOOK, SETTLE_AFTER_OUTAGE, World};
use crate::support::seed;
use rand::Rng as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::simulator::Order;

/// What a person writes.
fn order(products: &[i64]) -> Value {
    let listings = products.iter().map(|product| {
        json!({ "product": product, "sku": format!("FIRST-{product}"), "title": format!("Thing number {product}"),
                "images": [format!("https://img.example/{product}.jpg")] })
    });
    json!({
        "destination": "ebay",
        "defaults": {
            "marketplace": "EBAY_US", "location": "tokyo", "condition": "USED_EXCELLENT", "category": "30120",
            "description": "<p>{{title}}: {{aspects.Brand}}</p>", "aspects": { "Brand": ["Zaiko & Co"] },
            "policies": { "fulfillment": "6000000001", "payment": "6000000002", "returns": "6000000003" },
        },
        "listings": listings.collect::<Vec<_>>(),
    })
}

/// Watches every product, links none, and waits until every page was read.
async fn watched(name: &'static str, seed: u64, products: u32) -> World {
    let mut world = World::new(name, seed, products).await;
    world.launch().await;
    let mut list = String::from("source_url,cost_rule\n");
    for product in world.simulator.catalogue().products {
        list.push_str(&format!("{},{}\n", product.url, product.cost_rule));
    }
    let client = world.client();
    let added = client.post_text("/v1/products/import", "text/csv", list.into_bytes());
    assert_eq!(added.await.unwrap()["added"], json!(products));
    let unread = "SELECT count(*) FROM inventory_management WHERE version = 0";
    let deadline = Instant::now() + world.patience();
    while world.text(unread).await != "0" {
        assert!(
            Instant::now() < deadline,
            "pages are not read: {}",
            world.daemon.log_tail()
        );
        sleep(LOOK * 5).await;
    }
    world
}

/// Those that can be sold now, at most `many`.
async fn sellable(world: &World, many: usize) -> Vec<i64> {
    let all: Vec<i64> = serde_json::from_str(
        &world
            .text("SELECT json_agg(DISTINCT product_id)::text FROM inventory_management")
            .await,
    )
    .unwrap();
    let tried = world
        .client()
        .post("/v1/listings/create/try", &order(&all))
        .await
        .unwrap();
    let items = tried["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), all.len());
    let good = items.iter().filter(|item| item["why"].is_null());
    good.take(many)
        .map(|item| item["product_id"].as_i64().unwrap())
        .collect()
}

/// How often each of our SKUs met each operation with success.
fn accepted(world: &World) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for entry in world.simulator.ledger(0, 4_000_000).entries {
        let Some(sku) = entry.sku.filter(|sku| sku.starts_with("FIRST-")) else {
            continue;
        };
        if entry.accepted {
            *counts
                .entry((entry.operation.to_string(), sku.to_string()))
                .or_default() += 1;
        }
    }
    counts
}

/// A hundred products are listed while eBay fails in every way and the daemon dies again and again.
#[tokio::test]
async fn a_hundred_first_listings_are_each_made_once_through_faults_and_deaths() {
    let mut world = watched("b1", 131, 160).await;
    let products = sellable(&world, 100).await;
    assert_eq!(products.len(), 100, "so many can be sold");
    world.faults(
        json!({ "ebay": { "p_500": 0.04, "p_503": 0.02, "p_concurrent": 0.03, "p_cut": 0.05,
                                   "p_entry_fails": 0.05, "p_entry_warns": 0.05 } }),
    );
    let begun = world
        .client()
        .post("/v1/listings/create", &order(&products))
        .await
        .unwrap();
    assert_eq!(begun["begun"].as_array().unwrap().len(), 100, "{begun}");
    let mut rng = seed::rng("b1 times", 131);
    // A third death in the same job's hands would make it a dead letter, which waits for a person.
    for _ in 0..2 {
        world
            .run_for(Duration::from_millis(rng.random_range(100..=1_200)))
            .await;
        world.kill().await;
        world.launch().await;
    }
    world.run_for(Duration::from_secs(2)).await;
    let quiet = Order {
        stop_faults: true,
        ..Order::default()
    };
    world.simulator.order(&quiet).unwrap();
    let limit = world.patience() + SETTLE_AFTER_OUTAGE;
    let through = |answer: &Value| {
        let counts = &answer["counts"];
        (counts["listed"] == json!(100) || counts["failed"] != json!(0)).then(|| counts.clone())
    };
    let counts = world
        .until("a hundred listings", limit, "/v1/registrations", through)
        .await;
    assert_eq!(counts["listed"], json!(100), "{counts}");

    let shown = world.simulator.register();
    let ours: Vec<_> = shown.iter().filter(|e| e.sku.starts_with("FIRST-")).collect();
    assert_eq!(ours.len(), 100);
    let accepted = accepted(&world);
    for entry in ours {
        let sku = entry.sku.to_string();
        assert_eq!(&*entry.status, "PUBLISHED", "{sku}");
        for operation in ["createOffer", "publishOffer"] {
            let times = accepted.get(&(operation.to_owned(), sku.clone()));
            assert_eq!(times, Some(&1), "{operation} of {sku}");
        }
        let row = world
            .text(&format!(
                "SELECT concat_ws('/', platform_product_id, current_quantity, trim_scale(listed_price), listing_status, \
                 auto_sync_enabled) FROM listing_platforms WHERE sku = '{sku}'"
            ))
            .await;
        let price = entry.price.unwrap().amount().normalize();
        let expected = format!("{}/{}/{price}/active/f", entry.offer_id, entry.quantity);
        assert_eq!(row, expected, "{sku}");
    }
    assert_eq!(world.text("SELECT count(*) FROM listing_platforms").await, "100");
    world.finish().await;
}

/// What is there is not listed again, what is wrong is told whole, and a refusal by eBay ends with its reason.
#[tokio::test]
async fn a_first_listing_is_refused_with_every_reason_before_anything_is_sent() {
    let mut world = watched("first", 132, 12).await;
    let products = sellable(&world, 3).await;
    let client = world.client();
    let mut wrong = order(&products);
    wrong["defaults"]["policies"] = json!({});
    wrong["listings"][0]["title"] = json!("x".repeat(81));
    let refused = client.post("/v1/listings/create", &wrong).await.unwrap_err();
    let refused = format!("{refused:?}");
    for told in [
        "policies.fulfillment",
        "policies.payment",
        "policies.returns",
        "title",
    ] {
        assert!(refused.contains(told), "{told}: {refused}");
    }
    // A category that eBay does not have is refused by eBay alone.
    let mut unknown = order(&products[..1]);
    unknown["defaults"]["category"] = json!("1");
    client.post("/v1/listings/create", &unknown).await.unwrap();
    let failed = |answer: &Value| {
        let item = answer["items"][0].clone();
        (item["state"] == "failed").then_some(item)
    };
    let limit = Duration::from_secs(30);
    let item = world
        .until("the refusal", limit, "/v1/registrations", failed)
        .await;
    assert_eq!(item["error_code"], "ebay_25005", "{item}");
    // What failed may be begun again, and goes on with the offer that is there. Work that was discarded is
    // told, and goes on when a person says so.
    let queue = |verb: &str| format!("/v1/queues/product_registration/{verb}");
    client.post(&queue("pause"), &json!({})).await.unwrap();
    client
        .post("/v1/listings/create", &order(&products))
        .await
        .unwrap();
    let waiting = "queue_name = 'product_registration' AND status IN ('pending', 'failed')";
    let ids = format!("SELECT json_agg(id ORDER BY id)::text FROM processing_queue WHERE {waiting}");
    let ids: Vec<i64> = serde_json::from_str(&world.text(&ids).await).unwrap();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let two = json!({ "ids": ids[..2] });
    let discarded = client.post("/v1/queue/discard", &two).await.unwrap();
    assert_eq!(discarded["discarded"], two["ids"]);
    let shown = client.get("/v1/registrations").await.unwrap();
    assert_eq!(shown["counts"]["stopped"], 2, "{shown}");
    assert_eq!(shown["counts"]["waiting"], 1, "{shown}");
    let mut stopped: Vec<bool> = shown["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["stopped"] == true)
        .collect();
    stopped.sort_unstable();
    assert_eq!(stopped, [false, true, true]);
    let mercari = json!({ "destination": "mercari" });
    let elsewhere = client
        .post("/v1/registrations/retry", &mercari)
        .await
        .unwrap_err();
    assert!(format!("{elsewhere:?}").contains("enabled"), "{elsewhere:?}");
    let retried = client.post("/v1/registrations/retry", &json!({})).await.unwrap();
    assert_eq!(retried["retried"].as_array().unwrap().len(), 2, "{retried}");
    client.post(&queue("resume"), &json!({})).await.unwrap();
    let listed = |answer: &Value| (answer["counts"]["listed"] == json!(3)).then_some(());
    world
        .until("three listings", limit, "/v1/registrations", listed)
        .await;
    let first = format!("FIRST-{}", products[0]);
    assert_eq!(accepted(&world)[&("createOffer".to_owned(), first)], 1);
    let again = client
        .post("/v1/listings/create", &order(&products))
        .await
        .unwrap_err();
    assert!(again.to_string().contains("already"), "{again}");
    let found = client
        .get("/v1/categories?marketplace=EBAY_US&words=old%20film%20camera")
        .await;
    assert_eq!(found.unwrap()["items"][0]["category"], "15230");
    let quotas = client.get("/v1/platforms/ebay/quotas").await.unwrap();
    assert_eq!(quotas["items"].as_array().unwrap().len(), 2, "{quotas}");
    world.finish().await;
}
