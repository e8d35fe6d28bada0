//! Several daemons on one database: one is killed, stands still, is drained, is replaced.

use super::house::{HANDED_OVER, House};
use super::proof::Older;
use super::world::LOOK;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const CHANGES_PER_S: f64 = 10.0;
/// How soon the products of a node that is dead are watched again.
const TAKEN_OVER: Duration = Duration::from_secs(30);

#[tokio::test]
async fn g14_two_nodes_share_a_database_and_a_killed_ones_products_are_watched_again() {
    let mut house = House::settled("killed-node", 501, 2).await;
    let syncs = house.owner("sync/ebay").await;
    let other = 1 - syncs;
    house.world.changes(CHANGES_PER_S);
    sleep(Duration::from_secs(2)).await;
    house.nodes[syncs].kill().await.unwrap();
    let took = house.shared_by(&[other], TAKEN_OVER).await;
    println!("watched again after {took:?}");
    assert_eq!(house.owner("sync/ebay").await, other);
    // It is told, and doctor says so too.
    let told = "SELECT count(*) FROM alerts WHERE kind = 'node_down' AND resolved_at IS NULL";
    let deadline = Instant::now() + TAKEN_OVER;
    while house.world.text(told).await != "1" {
        assert!(Instant::now() < deadline, "nobody was told\n{}", house.logs());
        sleep(LOOK).await;
    }
    house.launch(syncs).await;
    house.shared_by(&[0, 1], HANDED_OVER).await;
    house.assert_converged(other, Older::Never).await;
    house.finish().await;
}

#[tokio::test]
async fn a10_paused_worker_is_overwritten() {
    let house = House::settled("paused-node", 502, 2).await;
    let paused = house.owner("sync/ebay").await;
    let other = 1 - paused;
    house.world.changes(CHANGES_PER_S);
    // In the middle of its pushes.
    let before = house.world.asked();
    while house.world.writes(before).is_empty() {
        sleep(LOOK).await;
    }
    kill(house.pid(paused), Signal::SIGSTOP).unwrap();
    house.shared_by(&[other], TAKEN_OVER).await;
    assert_eq!(house.owner("sync/ebay").await, other);
    // What it knows grows old.
    let before = house.world.asked();
    let deadline = Instant::now() + TAKEN_OVER;
    while house.world.writes(before).len() < 20 {
        assert!(Instant::now() < deadline, "nothing is written\n{}", house.logs());
        sleep(LOOK).await;
    }
    kill(house.pid(paused), Signal::SIGCONT).unwrap();
    house.shared_by(&[0, 1], TAKEN_OVER).await;
    house.assert_converged(other, Older::Overwritten).await;
    let log = fs::read_to_string(house.nodes[paused].log()).unwrap();
    assert!(log.contains("declared dead meanwhile"), "{}", house.logs());
    house.finish().await;
}

#[tokio::test]
async fn orders_reach_every_node_and_nodes_are_replaced_one_after_another_without_a_gap() {
    let mut house = House::settled("replaced-nodes", 503, 2).await;
    let syncs = house.owner("sync/ebay").await;
    let other = 1 - syncs;
    // A product that the one watches is paused through the other.
    let all = house.watches(0).await.unwrap() + house.watches(1).await.unwrap();
    let product: i64 = house.world.text(&format!(
            "SELECT min(m.product_id) FROM inventory_management m JOIN leases l ON l.shard = m.product_id & 255 \
             JOIN nodes n ON n.boot = l.owner WHERE n.name = 'node-{syncs}'"
        ))
        .await
        .parse()
        .unwrap();
    let order = json!({ "ids": [product] });
    house
        .client(other)
        .post("/v1/products/pause", &order)
        .await
        .unwrap();
    wait("the product to be let go", || async {
        let now = house.watches(0).await? + house.watches(1).await?;
        (now == all - 1).then_some(())
    })
    .await;
    house
        .client(other)
        .post("/v1/products/resume", &order)
        .await
        .unwrap();
    house.shared_by(&[0, 1], HANDED_OVER).await;
    // An emergency stop through the one stops the other.
    house
        .client(other)
        .post("/v1/stop-all", &json!({}))
        .await
        .unwrap();
    let gate = |value: Value| {
        let rows = value["items"].as_array().cloned().unwrap_or_default();
        let ebay = rows.into_iter().find(|row| row["name"] == "ebay");
        ebay.map(|row| row["gate"]["state"].clone())
    };
    let stands = |state: &'static str| {
        let client = house.client(syncs);
        move || {
            let client = client.clone();
            async move { (gate(client.get("/v1/platforms").await.ok()?)? == state).then_some(()) }
        }
    };
    wait("the stop to be in force", stands("stopped")).await;
    house
        .client(other)
        .post("/v1/resume-all", &json!({}))
        .await
        .unwrap();
    wait("the stop to be over", stands("open")).await;

    // Drained, the one has nothing and the other all; then it takes part again.
    house.world.changes(CHANGES_PER_S);
    let said = house
        .client(syncs)
        .post("/v1/nodes/drain", &json!({}))
        .await
        .unwrap();
    assert_eq!(said["done"], true, "{said}");
    let nodes = house.client(other).get("/v1/nodes").await.unwrap();
    let drained = nodes["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|n| n["this"] == false)
        .unwrap();
    assert_eq!(
        (&drained["state"], &drained["shards"]),
        (&json!("draining"), &json!(0)),
        "{nodes}"
    );
    house.shared_by(&[other], HANDED_OVER).await;
    assert_eq!(house.owner("sync/ebay").await, other);
    house
        .client(syncs)
        .post("/v1/nodes/undrain", &json!({}))
        .await
        .unwrap();
    house.shared_by(&[0, 1], HANDED_OVER).await;
    // A stop hands over first: nothing waits for anybody to be declared dead.
    for n in 0..2 {
        let status = house.nodes[n].stop(Duration::from_secs(60)).await.unwrap();
        assert_eq!(status, "exit status: 0", "{}", house.nodes[n].log_tail());
        let took = house.shared_by(&[1 - n], HANDED_OVER).await;
        println!("handed over {took:?} after the stop");
        house.launch(n).await;
        house.shared_by(&[0, 1], HANDED_OVER).await;
    }
    assert_eq!(
        house
            .world
            .text("SELECT count(*) FROM nodes WHERE dead_at IS NOT NULL")
            .await,
        "0"
    );
    house.assert_converged(0, Older::Never).await;
    house.finish().await;
}

/// Asks again and again, at most for as long as a hand-over may take.
async fn wait<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + HANDED_OVER;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        sleep(LOOK).await;
    }
}
