//! Several daemons on one database against the same marketplaces: one is killed, stands still, is drained, is replaced.

use super::proof::{BROKEN_HISTORY, busy};
use super::world::{LOOK, READY, SETTLE_AFTER_OUTAGE, World};
use crate::support::pg::TestDb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use zaikoban::app::rehearsal::compare::compare;
use zaikoban::app::rehearsal::{Rehearsal, csv};
use zaikoban::control::client::Client;
use zaikoban::simulator::Order;

const CHANGES_PER_S: f64 = 10.0;
const PRODUCTS: u32 = 120;
/// How soon a part of the work has changed hands in order, on a machine that is busy with other things.
const HANDED_OVER: Duration = Duration::from_secs(20);
/// How soon the products of a node that is dead are watched again.
const TAKEN_OVER: Duration = Duration::from_secs(30);

/// Daemons of one house.
struct House {
    nodes: Vec<Rehearsal>,
    t: TestDb,
    world: World,
}

impl House {
    /// So many daemons, the first of which has registered everything; each watches its share, and every listing is what
    /// its page calls for.
    async fn settled(name: &'static str, seed: u64, nodes: usize) -> Self {
        let mut world = World::new(name, seed, PRODUCTS).await;
        let t = TestDb::empty().await;
        world.settings.database_url = Some(t.url().to_owned());
        let mut house = Self {
            nodes: Vec::new(),
            t,
            world,
        };
        for n in 0..nodes {
            let mut settings = house.world.settings.clone();
            settings.state_dir = settings.state_dir.with_file_name(format!("node-{n}"));
            let set = |name: &str, value: String| (format!("ZAIKOBAN_{name}"), value);
            settings.environment = vec![
                set("WATCH__MASS_CHANGE_PRODUCTS", "1000000".to_owned()),
                set("DATABASE__ACCEPT_LOSS", "true".to_owned()),
                set("NODE__NAME", format!("node-{n}")),
            ];
            house.nodes.push(Rehearsal::new(settings).unwrap());
            house.launch(n).await;
            if n == 0 {
                house.register().await;
            }
        }
        house
            .shared_by(&(0..nodes).collect::<Vec<_>>(), HANDED_OVER)
            .await;
        house.settle(0, SETTLE_AFTER_OUTAGE).await;
        house
    }

    async fn launch(&mut self, n: usize) {
        self.nodes[n].start().unwrap();
        self.nodes[n].ready(READY, |_| ()).await.unwrap();
    }

    async fn register(&self) {
        let catalogue = self.world.simulator.catalogue();
        let answer = self
            .client(0)
            .post_text("/v1/products/import", "text/csv", csv(&catalogue))
            .await;
        assert_eq!(answer.unwrap()["linked"].as_u64(), Some(u64::from(PRODUCTS)));
    }

    fn client(&self, n: usize) -> Client {
        self.nodes[n].client().unwrap()
    }

    fn pid(&self, n: usize) -> Pid {
        Pid::from_raw(i32::try_from(self.nodes[n].pid().expect("it runs")).unwrap())
    }

    /// The node that has a part of the work, by the tables.
    async fn owner(&self, part: &str) -> usize {
        let sql =
            format!("SELECT n.name FROM leases l JOIN nodes n ON n.boot = l.owner WHERE l.name = '{part}'");
        let name = self.t.text(&sql).await;
        name.strip_prefix("node-")
            .unwrap_or_else(|| panic!("nobody has {part}"))
            .parse()
            .unwrap()
    }

    /// How many products a node watches.
    async fn watches(&self, n: usize) -> Option<u64> {
        let asked = timeout(Duration::from_secs(2), async {
            self.client(n).get("/v1/status").await.ok()
        });
        asked.await.ok()??["watch"]["yahoo"]["products"].as_u64()
    }

    /// Waits until exactly these nodes watch all products, each product by one of them, and each node some.
    async fn shared_by(&self, living: &[usize], limit: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let mut counts = Vec::new();
            for n in living {
                counts.push(self.watches(*n).await.unwrap_or(0));
            }
            let owned = self
                .t
                .text("SELECT count(*) FROM leases WHERE owner IS NOT NULL AND shard IS NOT NULL")
                .await;
            if counts.iter().sum::<u64>() == u64::from(PRODUCTS)
                && counts.iter().all(|n| *n > 0)
                && owned == "256"
            {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < limit,
                "{living:?} watch {counts:?} of {PRODUCTS} after {limit:?}, {owned} shards have owners\n{}",
                self.logs()
            );
            sleep(LOOK).await;
        }
    }

    fn logs(&self) -> String {
        let tails = self
            .nodes
            .iter()
            .map(|node| format!("--- {}\n{}", node.log().display(), node.log_tail()));
        tails.collect::<Vec<_>>().join("\n")
    }

    /// Ends changes, and waits until every listing is what it should be, as node `n` sees it.
    async fn settle(&self, n: usize, limit: Duration) {
        let quiet = Order {
            stop_faults: true,
            stop_changes: Some(true),
            ..Order::default()
        };
        self.world.simulator.order(&quiet).unwrap();
        let client = self.client(n);
        let deadline = Instant::now() + limit;
        loop {
            let busy = busy(&client).await;
            let comparison = compare(&self.world.book, &self.world.simulator, &client).await;
            if let (None, Ok(settled)) = (&busy, &comparison)
                && settled.is_settled()
                && settled.sold == 0
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not settled after {limit:?}: busy: {busy:?}, {comparison:#?}\n{}",
                self.logs()
            );
            sleep(LOOK * 5).await;
        }
    }

    /// Settles, then looks for anything that was lost, doubled or overtaken.
    async fn assert_nothing_lost(&self, n: usize) {
        self.settle(n, SETTLE_AFTER_OUTAGE).await;
        for (what, sql) in BROKEN_HISTORY {
            assert_eq!(self.t.text(sql).await, "", "{what}");
        }
        self.world.assert_no_stale_write_stands();
    }

    async fn finish(mut self) {
        for node in &mut self.nodes {
            let status = node.stop(Duration::from_secs(60)).await.unwrap();
            assert_eq!(status, "exit status: 0", "{}", node.log_tail());
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Some(pid) = node.pid().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if std::thread::panicking() {
                let name = node.log().parent().unwrap().file_name().unwrap().to_owned();
                let kept = format!("{}/daemon-{}.log", env!("CARGO_TARGET_TMPDIR"), name.display());
                let _ = fs::copy(node.log(), kept);
            }
        }
    }
}

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
    while house.t.text(told).await != "1" {
        assert!(Instant::now() < deadline, "nobody was told\n{}", house.logs());
        sleep(LOOK).await;
    }
    house.launch(syncs).await;
    house.shared_by(&[0, 1], HANDED_OVER).await;
    house.assert_nothing_lost(other).await;
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
    house.assert_nothing_lost(other).await;
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
    let product: i64 = house
        .t
        .text(&format!(
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
            .t
            .text("SELECT count(*) FROM nodes WHERE dead_at IS NOT NULL")
            .await,
        "0"
    );
    house.assert_nothing_lost(0).await;
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
