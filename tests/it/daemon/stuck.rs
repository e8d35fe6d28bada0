//! Actors that hang instead of falling over: wedged ones, full mailboxes, a thread that is never given back. Only builds
//! with the feature `failpoints` can order this.

use super::tree::{actors, find};
use super::world::{SETTLE_AFTER_OUTAGE, World, ends_within};
use std::time::Duration;

const CHANGES_PER_S: f64 = 15.0;
/// An actor in which nothing has moved for a minute is replaced; one that nobody asks because who would ask it hangs too,
/// a minute after that one.
const REPLACED: Duration = Duration::from_secs(180);
/// A mailbox that is full by order is free again after two seconds.
const FREE_AGAIN: Duration = Duration::from_secs(20);
/// What is promised for a blocked thread.
const BLOCKED: Duration = Duration::from_secs(35);

/// All at once, so that each has neighbours that hang as well.
#[tokio::test]
async fn wedged_actors_are_replaced_and_swallow_nothing() {
    let mut world = World::settled("wedged", 501, 150).await;
    let process = world.daemon.pid();
    world.changes(CHANGES_PER_S);
    let wedged = [
        "platforms/yahoo_auction",
        "platforms/ebay",
        "ledger/writer",
        "sync/ebay",
        "watch/yahoo",
    ];
    for child in wedged {
        world.fault("wedge", child).await;
    }
    for child in wedged {
        world
            .until(
                &format!("a new life of `{child}`"),
                REPLACED,
                "/v1/tree",
                |tree| {
                    let node = find(&tree["root"], child)?;
                    let again = node["restarts"].as_u64()? > 0 && node["state"] == "running";
                    again.then_some(())
                },
            )
            .await;
    }
    assert_eq!(world.daemon.pid(), process, "the same process all the time");
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}

#[tokio::test]
async fn full_mailboxes_refuse_and_swallow_nothing() {
    let mut world = World::settled("full", 502, 150).await;
    world.changes(CHANGES_PER_S);
    let client = world.client();
    let all = actors(&client.get("/v1/tree").await.unwrap());
    for child in &all {
        world.fault("fill", child).await;
    }
    let full = |tree: &serde_json::Value, child: &str| {
        let mailbox = &find(&tree["root"], child)?["mailbox"];
        Some(mailbox["taken"].as_u64()? >= mailbox["capacity"].as_u64()?)
    };
    for child in &all {
        world
            .until(&format!("room in `{child}`"), FREE_AGAIN, "/v1/tree", |tree| {
                (!full(tree, child)?).then_some(())
            })
            .await;
    }
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}

#[tokio::test]
async fn a_blocked_thread_ends_the_process_in_time_and_the_next_one_loses_nothing() {
    let mut world = World::settled("blocked", 503, 60).await;
    world.changes(CHANGES_PER_S);
    world.fault("block", "watch/yahoo").await;
    let status = ends_within(&mut world.daemon, BLOCKED).await;
    assert_eq!(
        status.as_deref(),
        Some("exit status: 70"),
        "{}",
        world.daemon.log_tail()
    );
    let log = world.daemon.log_tail();
    assert!(log.contains("has not answered for"), "{log}");
    world.launch().await;
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}

/// The keeper of the database sits on the blocked thread, and with it what the stop wants to have.
#[tokio::test]
async fn a_blocked_thread_keeps_neither_the_stop_nor_the_server_from_ending() {
    let mut world = World::new("blocked-stop", 504, 10).await;
    let mut set = world.settings.environment.clone();
    for (name, value) in [("DAEMON__DRAIN_S", "2"), ("DAEMON__BLOCKED_S", "300")] {
        set.push((format!("ZAIKOBAN_{name}"), value.to_owned()));
    }
    world.daemon.set_environment(set);
    world.launch().await;
    world.fault("block", "store/server").await;
    world.run_for(Duration::from_secs(1)).await;
    let status = world.daemon.stop(Duration::from_secs(90)).await.unwrap();
    println!("{status}");
    assert_eq!(world.server(), None, "{}", world.daemon.log_tail());
    let log = world.daemon.log_tail();
    let left = log
        .lines()
        .find(|line| line.contains("Not stopped within their limit"));
    assert!(left.is_some_and(|line| line.contains("store/server")), "{log}");
}
