//! Nothing is lost when the daemon, its database or the marketplaces go away in the middle of work.

use super::world::{READY, SETTLE, SETTLE_AFTER_OUTAGE, World};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use std::time::Duration;
use zaikoban::simulator::{CallFault, PageFault};

const CHANGES_PER_S: f64 = 15.0;

#[tokio::test]
async fn kill_nine_at_random_times_loses_nothing() {
    let mut world = World::settled("random-kills", 101, 150).await;
    let mut rng = StdRng::seed_from_u64(101);
    world.changes(CHANGES_PER_S);
    for death in 0..60 {
        // Every tenth life is long enough to have written something, however slow the machine is.
        if death % 10 == 0 {
            let before = world.asked();
            world.until_written(before, SETTLE_AFTER_OUTAGE).await;
        }
        let span = Duration::from_millis(rng.random_range(50..=400));
        world.run_for(span).await;
        world.kill().await;
        world.launch().await;
    }
    world.assert_nothing_lost(SETTLE).await;
    world.finish().await;
}

#[tokio::test]
async fn kill_nine_before_it_is_ready_loses_nothing() {
    let mut world = World::settled("early-kills", 102, 60).await;
    let mut rng = StdRng::seed_from_u64(102);
    world.changes(CHANGES_PER_S);
    for _ in 0..15 {
        world.kill().await;
        world.daemon.start().unwrap();
        let span = Duration::from_millis(rng.random_range(5..=400));
        world.run_for(span).await;
    }
    world.daemon.ready(READY, |_| ()).await.unwrap();
    world.assert_nothing_lost(SETTLE).await;
    world.finish().await;
}

#[tokio::test]
async fn a_killed_database_server_loses_nothing() {
    let mut world = World::settled("killed-database", 103, 150).await;
    let daemon = world.daemon.pid();
    world.changes(CHANGES_PER_S);
    for _ in 0..3 {
        world.run_for(Duration::from_secs(3)).await;
        world.kill_server().await;
    }
    world.assert_nothing_lost(SETTLE_AFTER_OUTAGE).await;
    assert_eq!(world.daemon.pid(), daemon, "the same process all the time");
    world.finish().await;
}

#[tokio::test]
async fn marketplaces_that_answer_503_for_a_while_lose_nothing() {
    let mut world = World::settled("storm", 104, 150).await;
    world.changes(CHANGES_PER_S);
    world.run_for(Duration::from_secs(2)).await;
    // A storm that lasts as long as its span never pauses.
    let storm = json!({ "fault": "http_503", "every_s": 1.0, "lasts_s": 1.0 });
    world.faults(json!({ "yahoo": { "storm": storm }, "ebay": { "storm": storm } }));
    let before = world.asked();
    world.run_for(Duration::from_secs(8)).await;
    let calls = world.simulator.ledger(before, 100_000).entries;
    let refused = calls.iter().filter(|c| c.fault == Some(CallFault::Http503));
    assert!(refused.count() > 0, "eBay refused calls");
    let pages = world.simulator.stats().page_faults;
    assert!(
        pages.contains_key(PageFault::Http503.as_str()),
        "Yahoo! refused pages: {pages:?}"
    );
    // Changes go on while the marketplaces come back.
    world.faults(json!({ "yahoo": { "storm": [] }, "ebay": { "storm": [] } }));
    world.run_for(Duration::from_secs(2)).await;
    world.assert_nothing_lost(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}
