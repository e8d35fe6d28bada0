//! Deaths at chosen places, and panics of chosen actors. Only builds with the feature `failpoints` have both.

use super::tree::find;
use super::world::{SETTLE_AFTER_OUTAGE, World, ends_within};
use std::time::Duration;
use zaikoban::app::failpoints::PLACES;

const CHANGES_PER_S: f64 = 15.0;
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn kill_nine_at_every_failpoint_loses_nothing() {
    let mut world = World::settled("failpoints", 301, 60).await;
    let mut never = Vec::new();
    for place in PLACES {
        world.kill().await;
        world.changes(CHANGES_PER_S);
        world.arm(Some(format!("{place}=kill:3")));
        world.daemon.start().unwrap();
        match ends_within(&mut world.daemon, LIMIT).await {
            Some(status) => assert!(
                status.starts_with("signal: 9"),
                "`{place}`: ended with {status}:\n{}",
                world.daemon.log_tail()
            ),
            None => never.push(place),
        }
        world.kill().await;
        world.arm(None);
        world.launch().await;
        world.assert_nothing_lost(LIMIT).await;
    }
    assert!(
        never.is_empty(),
        "not passed three times within {LIMIT:?}: {never:?}"
    );
    world.finish().await;
}

#[tokio::test]
async fn every_kind_of_actor_survives_a_panic() {
    let mut world = World::settled("panics", 302, 150).await;
    let process = world.daemon.pid();
    world.changes(CHANGES_PER_S);
    let client = world.client();
    let tree = client.get("/v1/tree").await.unwrap();
    let actors = super::tree::actors(&tree);
    for kind in [
        "platforms/ebay",
        "sync/ebay",
        "watch/roster",
        "watch/yahoo",
        "ledger/writer",
    ] {
        assert!(actors.iter().any(|a| a == kind), "{kind} is not among {actors:?}");
    }
    for actor in &actors {
        let before = client.get("/v1/tree").await.unwrap();
        let before = find(&before["root"], actor).unwrap()["restarts"]
            .as_u64()
            .unwrap();
        world.fault("panic", actor).await;
        let what = format!("`{actor}` after its panic");
        world
            .until(&what, LIMIT, "/v1/tree", |tree| {
                let node = find(&tree["root"], actor)?;
                let again = node["restarts"].as_u64()? > before && node["state"] == "running";
                again.then_some(())
            })
            .await;
    }
    world
        .until("a sound tree", LIMIT, "/v1/tree", |tree| {
            (tree["root"]["degraded"] == false).then_some(())
        })
        .await;
    assert_eq!(world.daemon.pid(), process, "the same process all the time");
    world.assert_nothing_lost(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}
