//! The emergency stop: at once, over a restart, and without forgetting what else was switched off.

use super::world::{SETTLE_AFTER_OUTAGE, World};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

fn platform<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["platforms"].as_array().unwrap();
    all.iter().find(|p| p["name"] == name).unwrap()
}

#[tokio::test]
async fn a_stop_keeps_what_is_written_down_outlives_a_restart_and_forgets_no_pause() {
    let mut world = World::new("stop", 601, 8).await;
    // One call at a time: while one is slow, the others stand in line.
    world.set(&[("PLATFORMS__EBAY__OPEN_REQUESTS", "1")]);
    world.launch().await;
    world.register().await;
    world.settle(SETTLE_AFTER_OUTAGE).await;

    // Changes go on, so that requests are written down one after another behind the slow one.
    world.faults(json!({ "ebay": { "p_delay": 1.0, "delay_ms": 1_000 } }));
    world.changes(10.0);
    world
        .until("two requests in line", SOON, "/v1/status", |status| {
            (platform(status, "ebay")["waiting"].as_u64()? >= 2).then_some(())
        })
        .await;
    let said = world.said("stop-all").await;
    assert!(
        said.starts_with("emergency stop: nothing is sent to any destination until "),
        "{said}"
    );
    let asked = world.asked();
    assert!(world.said("stop-all").await.contains("(it was on already)"));
    world
        .until("the requests to be taken back", SOON, "/v1/status", |status| {
            let processing = status["database"]["counts"]["jobs"]["processing"].as_u64();
            let waiting = platform(status, "ebay")["waiting"].as_u64()?;
            (processing.unwrap_or(0) == 0 && waiting == 0).then_some(())
        })
        .await;
    // The slow one had its turn before the stop, and eBay notes a call when it comes.
    let late = world.simulator.ledger(asked, 10_000).entries;
    assert!(late.is_empty(), "left after the stop: {late:?}");
    let status = world.shown("status").await;
    assert!(
        status.contains("the emergency stop is on, nothing is sent: `zaikoban resume-all` ends it"),
        "{status}"
    );

    // A platform cannot be taken out of the stop, and its own pause is another switch.
    let said = world.said("platforms resume ebay").await;
    assert!(
        said.contains("its gate is stopped\nthe emergency stop holds it"),
        "{said}"
    );
    world.said("platforms pause ebay").await;
    let asked = world.asked();
    world.kill().await;
    world.launch().await;
    let status = world.client().get("/v1/status").await.unwrap();
    assert_eq!(
        platform(&status, "ebay")["gate"]["state"],
        "stopped",
        "from the first moment"
    );
    assert_eq!(
        platform(&status, "yahoo_auction")["gate"]["state"],
        "open",
        "watching goes on"
    );
    assert_eq!(status["database"]["emergency_stop"], true);

    let said = world.said("resume-all").await;
    assert_eq!(
        said,
        "the emergency stop is over\nstill paused by itself: platform: ebay\n"
    );
    let status = world.client().get("/v1/status").await.unwrap();
    assert_eq!(platform(&status, "ebay")["gate"]["state"], "paused");
    assert_eq!(world.asked(), asked, "nothing was asked since the stop");
    assert_eq!(
        world.said("platforms resume ebay").await,
        "resume: ebay; its gate is open\n"
    );
    world.settle(SETTLE_AFTER_OUTAGE).await;
    assert!(!world.writes(asked).is_empty());
    assert_eq!(world.said("resume-all").await, "there was no emergency stop\n");
    world.finish().await;
}
