//! Deaths at chosen places, and panics of chosen actors. Only builds with the feature `failpoints` have both.

use super::tree::find;
use super::world::{LOOK, SETTLE_AFTER_OUTAGE, World, ends_within};
use crate::support::long::long_or;
use crate::support::seed;
use rand::seq::SliceRandom as _;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::app::failpoints::PLACES;
use zaikoban::simulator::{CatalogueProduct, LedgerEntry, Status};

const CHANGES_PER_S: f64 = 15.0;
const LIMIT: Duration = Duration::from_secs(30);

/// The shorter a call may take, the sooner a successor may take over from a push that it knows nothing of.
const SHORT_CALLS: (&str, &str) = ("PLATFORMS__EBAY__TIME_LIMIT_S", "2");

/// Starts the daemon with `place` armed and waits until it has died there; whether it did.
async fn dies_at(world: &mut World, place: &str, passes: u32) -> bool {
    world.kill().await;
    let plan = format!("{place}=kill:{passes}");
    world.set(&[SHORT_CALLS, ("FAILPOINTS", &plan)]);
    world.daemon.start().unwrap();
    let ended = ends_within(&mut world.daemon, LIMIT).await;
    if let Some(status) = &ended {
        assert!(
            status.starts_with("signal: 9"),
            "`{place}`: ended with {status}:\n{}",
            world.daemon.log_tail()
        );
    }
    world.kill().await;
    ended.is_some()
}

/// The same under load at each of `places` in turn; then the daemon runs unharmed.
async fn dies_at_each(world: &mut World, places: &[&str]) {
    let mut never = Vec::new();
    for place in places {
        world.changes(CHANGES_PER_S);
        if !dies_at(world, place, 3).await {
            never.push(*place);
        }
    }
    assert!(
        never.is_empty(),
        "not passed three times within {LIMIT:?}: {never:?}"
    );
    world.set(&[SHORT_CALLS]);
    world.launch().await;
}

#[tokio::test]
async fn a1_a_check_that_was_cut_off_is_made_again_and_teaches_once() {
    let mut world = World::settled("a1", 301, 60).await;
    let began = Instant::now();
    dies_at_each(&mut world, &["fp1_picked", "fp2_fetched", "fp3_parsed"]).await;
    // Every product is looked at again, which is what settling waits for.
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    // What the looks taught is no more time than has gone by: an interval that was fed twice would be.
    let hours = (began.elapsed() + SETTLE_AFTER_OUTAGE).as_secs_f64() / 3_600.0;
    let taught = world
        .text("SELECT max(rate_hours) - 32.1 FROM inventory_management")
        .await;
    let taught: f64 = taught.parse().unwrap();
    assert!(taught <= hours, "{taught} hours were taught in {hours}");
    world.finish().await;
}

#[tokio::test]
async fn a2_a_death_before_commit_leaves_nothing_half_written() {
    let mut world = World::settled("a2", 302, 60).await;
    for _ in 0..3 {
        world.changes(CHANGES_PER_S);
        assert!(dies_at(&mut world, "fp4_before_commit", 3).await);
        world.set(&[SHORT_CALLS]);
        world.launch().await;
        for (what, sql) in [
            (
                "jobs for listings that want nothing",
                "SELECT count(*) FROM processing_queue q LEFT JOIN listing_platforms l ON l.id = q.listing_id \
                 WHERE q.status IN ('pending', 'failed', 'processing') AND q.queue_name = 'platform_sync' \
                 AND COALESCE(l.wanted_version, 0) = 0",
            ),
            (
                "history ahead of what counts",
                "SELECT count(*) FROM stock_history h JOIN inventory_management m ON m.id = h.watch_id \
                 WHERE h.version > m.version",
            ),
        ] {
            assert_eq!(world.text(sql).await, "0", "{what}");
        }
    }
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}

#[tokio::test]
async fn a3_what_was_committed_and_not_told_is_found_and_pushed() {
    let mut world = World::settled("a3", 303, 60).await;
    dies_at_each(&mut world, &["fp5_committed", "fp6_told"]).await;
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}

/// The `nth` item at a fixed price becomes a tenth dearer: what takes effect at once and is one write.
fn dearer(world: &World, nth: usize) -> CatalogueProduct {
    let fixed: HashMap<Box<str>, u32> = world
        .simulator
        .truth()
        .into_iter()
        .filter(|item| item.status == Status::Open && item.buy_now_jpy == Some(item.price_jpy))
        .map(|item| (item.id, item.price_jpy))
        .collect();
    let mut products = world.simulator.catalogue().products.into_iter();
    let product = products
        .by_ref()
        .filter(|p| fixed.contains_key(&p.item_id))
        .nth(nth)
        .unwrap();
    let price = fixed[&product.item_id] / 10 * 11 + 10;
    let order = json!({ "set": { "id": product.item_id, "price": price, "pinned": true } });
    world.simulator.script(&order).unwrap();
    product
}

/// One item changes while nothing else does, and the daemon dies at `place` on its way. What eBay accepted for it.
async fn one_change(world: &mut World, place: &str, nth: usize) -> Vec<LedgerEntry> {
    world.kill().await;
    let before = world.asked();
    let product = dearer(world, nth);
    assert!(dies_at(world, place, 1).await, "`{place}` was not passed");
    world.set(&[SHORT_CALLS]);
    world.launch().await;
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    let sku = &product.listings[0].sku;
    let mut writes = world.writes(before);
    writes.retain(|write| write.sku.as_ref() == Some(sku));
    writes
}

/// How often the same values were accepted again.
fn repeats(writes: &[LedgerEntry]) -> usize {
    let pairs = writes.windows(2);
    pairs
        .filter(|two| (two[0].quantity, two[0].price) == (two[1].quantity, two[1].price))
        .count()
}

#[tokio::test]
async fn a4_what_died_before_its_request_was_whole_is_pushed_once() {
    let mut world = World::settled("a4", 304, 20).await;
    for (nth, place) in ["fp7_leased", "fp8_before_send", "fp9_half_sent"]
        .iter()
        .enumerate()
    {
        let writes = one_change(&mut world, place, nth).await;
        assert!(
            !writes.is_empty() && repeats(&writes) == 0,
            "`{place}`: {writes:#?}"
        );
    }
    world.finish().await;
}

#[tokio::test]
async fn a5_what_was_sent_and_not_answered_is_set_again_or_read() {
    let mut world = World::settled("a5", 305, 20).await;
    let writes = one_change(&mut world, "fp10_unread", 3).await;
    assert!(!writes.is_empty() && repeats(&writes) <= 1, "{writes:#?}");
    let created = writes.iter().filter(|w| &*w.operation == "createOffer").count();
    assert_eq!(created, 0, "nothing is created twice: {writes:#?}");
    world.finish().await;
}

#[tokio::test]
async fn a6_what_was_answered_and_not_confirmed_is_at_most_said_again() {
    let mut world = World::settled("a6", 306, 20).await;
    for (nth, place) in ["fp11_answered", "fp12_confirmed"].iter().enumerate() {
        let writes = one_change(&mut world, place, 5 + nth).await;
        assert!(
            !writes.is_empty() && repeats(&writes) <= 1,
            "`{place}`: {writes:#?}"
        );
    }
    world.finish().await;
}

/// All pairs in a long run, otherwise a few that the seed chooses.
#[tokio::test]
async fn a7_a_death_during_the_way_back_from_a_death_loses_nothing() {
    let mut world = World::settled("a7", 307, long_or(600, 60)).await;
    let mut rng = seed::rng("a7 pairs", 307);
    let mut pairs: Vec<(&str, &str)> = PLACES
        .iter()
        .flat_map(|one| PLACES.iter().map(move |other| (*one, *other)))
        .collect();
    pairs.shuffle(&mut rng);
    pairs.truncate(long_or(usize::MAX, 3));
    let all = pairs.len();
    for (nth, (one, other)) in pairs.into_iter().enumerate() {
        world.changes(CHANGES_PER_S);
        let died = dies_at(&mut world, one, 3).await;
        // The second meets a start that has the first death's work to put back.
        let again = dies_at(&mut world, other, 1).await;
        assert!(died && again, "`{one}` {died}, then `{other}` {again}");
        world.set(&[SHORT_CALLS]);
        world.launch().await;
        if nth % 4 == 3 || nth + 1 == all {
            world.assert_converged(SETTLE_AFTER_OUTAGE).await;
            println!("a7: {} of {all} pairs", nth + 1);
        }
    }
    world.finish().await;
}

/// The process dies each time that one listing is taken. That job is given up with a cause, and the others get through.
#[tokio::test]
async fn a13_a_job_that_kills_the_process_is_a_dead_letter_and_the_rest_goes_on() {
    let mut world = World::settled("a13", 313, 20).await;
    world.kill().await;
    let before = world.asked();
    let (poison, sound) = (dearer(&world, 0), [1, 2, 3, 4].map(|nth| dearer(&world, nth)));
    let poisoned = &poison.listings[0].sku;
    let plan = format!("fp7_leased@{poisoned}=kill:1");
    world.set(&[SHORT_CALLS, ("FAILPOINTS", &plan)]);
    let letter = format!(
        "SELECT q.crash_count || ' ' || q.error_message FROM processing_queue q JOIN listing_platforms l ON l.id = q.listing_id \
         WHERE q.status = 'dead' AND l.sku = '{poisoned}'"
    );
    let skus: HashSet<Box<str>> = sound
        .iter()
        .map(|product| product.listings[0].sku.clone())
        .collect();
    let (deadline, mut deaths, mut told) = (Instant::now() + LIMIT * 3, 0, String::new());
    world.daemon.start().unwrap();
    loop {
        if let Some(status) = world.daemon.exited().unwrap() {
            assert!(
                status.starts_with("signal: 9"),
                "{status}:\n{}",
                world.daemon.log_tail()
            );
            deaths += 1;
            // What the service manager does.
            world.daemon.start().unwrap();
        }
        let written: HashSet<Box<str>> = world.writes(before).into_iter().filter_map(|w| w.sku).collect();
        assert!(!written.contains(poisoned), "the poisoned one is never sent");
        if told.is_empty() && world.server().is_some() {
            told = world.text(&letter).await;
        }
        if !told.is_empty() && skus.is_subset(&written) {
            break;
        }
        if Instant::now() >= deadline {
            let jobs = "SELECT string_agg(concat_ws(' ', q.id, l.sku, q.status, q.crash_count, q.started_at, \
                        q.error_message), E'\n' ORDER BY q.id) FROM processing_queue q \
                        JOIN listing_platforms l ON l.id = q.listing_id";
            let jobs = world.text(jobs).await;
            panic!("{deaths} deaths, `{told}`, {written:?} of {skus:?}:\n{jobs}");
        }
        sleep(LOOK).await;
    }
    assert!(deaths >= 3, "{deaths} deaths");
    assert!(
        told.contains("3 workers died holding this job within 72 h"),
        "{told}"
    );
    world.kill().await;
    world.set(&[SHORT_CALLS]);
    world.launch().await;
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
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
    world.assert_converged(SETTLE_AFTER_OUTAGE).await;
    world.finish().await;
}
