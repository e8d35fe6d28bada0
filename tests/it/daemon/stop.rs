//! The emergency stop: at once, over a restart, and without forgetting what else was switched off.

use super::world::{SETTLE_AFTER_OUTAGE, World};
use serde_json::Value;
use std::time::Duration;
use zaikoban::simulator::{Order, SetItem, Status};

const SOON: Duration = Duration::from_secs(30);

fn platform<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["platforms"].as_array().unwrap();
    all.iter().find(|p| p["name"] == name).unwrap()
}

#[tokio::test]
async fn a_stop_keeps_what_is_written_down_outlives_a_restart_and_forgets_no_pause() {
    let mut world = World::new("stop", 601, 8).await;
    // One call a second: requests stand in line for it.
    world.set("ZAIKOBAN_PLATFORMS__EBAY__REQUESTS_PER_SECOND", "1");
    world.launch().await;
    world.register().await;
    world.settle(SETTLE_AFTER_OUTAGE).await;

    // Every listing changes; their requests are written down one after another and wait for their turn.
    let open = world
        .simulator
        .truth()
        .into_iter()
        .filter(|item| item.status == Status::Open);
    let dearer = open.map(|item| SetItem {
        id: item.id.to_string(),
        price: Some(item.price_jpy * 12 / 10),
        buy_now: item.buy_now_jpy.map(|price| Some(price * 12 / 10)),
        pinned: Some(true),
        ..SetItem::default()
    });
    let order = Order {
        set: dearer.collect(),
        ..Order::default()
    };
    world.simulator.order(&order).unwrap();
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
    // What had its turn before the stop may be written down a moment after its answer.
    let late = world.asked() - asked;
    assert!(
        late <= 1,
        "{late} requests left after the stop: {:?}",
        world.writes(asked)
    );
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
