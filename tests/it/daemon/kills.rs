//! Nothing is lost when the daemon, its database or the marketplaces go away in the middle of work.

use super::world::{READY, SETTLE, SETTLE_AFTER_OUTAGE, World};
use crate::support::long::{kills, long_or};
use crate::support::seed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng as _;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use zaikoban::simulator::{CallFault, PageFault};

const CHANGES_PER_S: f64 = 15.0;

/// A thousand deaths over 10,000 products in a long run. RTO: from a start to the first write that eBay accepts.
#[tokio::test]
async fn a8_kill_nine_at_random_times_loses_nothing() {
    let (deaths, products) = long_or((1_000, 10_000), (60, 150));
    let deaths = kills(deaths);
    let mut world = World::settled("a8", 101, products).await;
    let mut rng = seed::rng("a8 times", 101);
    let mut first_writes = Vec::new();
    world.changes(CHANGES_PER_S);
    for death in 0..deaths {
        let span = Duration::from_millis(rng.random_range(50..=400));
        world.run_for(span).await;
        world.kill().await;
        let (before, began) = (world.asked(), Instant::now());
        world.launch().await;
        // Every tenth life is long enough to have written something, however slow the machine is.
        if death % 10 == 0 {
            world.until_written(before, SETTLE_AFTER_OUTAGE).await;
            first_writes.push(began.elapsed());
        }
        if death % 20 == 19 {
            println!("a8: {} of {deaths} deaths", death + 1);
        }
    }
    world.assert_converged(world.patience()).await;
    first_writes.sort();
    let p95 = first_writes[(first_writes.len() * 95).div_ceil(100) - 1];
    println!("a8: {products} products, from a start to the first write: {first_writes:?}, p95 {p95:?}");
    // Five seconds are promised; in a short run one start in six may meet a machine that is busy with other tests.
    let limit = Duration::from_secs(long_or(5, 15));
    assert!(p95 < limit, "p95 {p95:?}: {first_writes:?}");
    world.finish().await;
}

#[tokio::test]
async fn kill_nine_before_it_is_ready_loses_nothing() {
    let mut world = World::settled("early-kills", 102, 60).await;
    let mut rng = seed::rng("early kills", 102);
    world.changes(CHANGES_PER_S);
    for _ in 0..15 {
        world.kill().await;
        world.daemon.start().unwrap();
        let span = Duration::from_millis(rng.random_range(5..=400));
        world.run_for(span).await;
    }
    world.daemon.ready(READY, |_| ()).await.unwrap();
    world.assert_converged(SETTLE).await;
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
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
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
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}

/// The link that hears of new work is cut again and again; the sweep and the poll find what nobody told of.
#[tokio::test]
async fn b18_a_cut_link_of_notices_loses_no_work() {
    let mut world = World::settled("b18", 118, 20).await;
    world.changes(CHANGES_PER_S);
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' \
               AND pid <> pg_backend_pid()";
    let mut cuts = 0;
    for _ in 0..8 {
        world.run_for(Duration::from_millis(400)).await;
        cuts += world.text(cut).await.parse::<u32>().unwrap();
    }
    assert!(cuts >= 3, "the link was met {cuts} times");
    world.assert_converged(SETTLE).await;
    world.finish().await;
}

/// The whole machine sleeps: nobody is taken for dead afterwards, work goes on at its pace, and listings follow.
#[tokio::test]
async fn f3_a_suspended_daemon_goes_on_where_it_was() {
    let mut world = World::settled("f3", 119, 20).await;
    let pid = world.daemon.pid();
    world.changes(CHANGES_PER_S);
    world.run_for(Duration::from_secs(1)).await;
    let process = Pid::from_raw(pid.unwrap().try_into().unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    // In a long run longer than a blocked thread may be silent (25 s), and than a minute.
    tokio::time::sleep(Duration::from_secs(long_or(70, 8))).await;
    kill(process, Signal::SIGCONT).unwrap();
    world.run_for(Duration::from_secs(3)).await;
    world.assert_converged(SETTLE).await;
    assert_eq!(world.daemon.pid(), pid, "the same process all the time");
    world.finish().await;
}
