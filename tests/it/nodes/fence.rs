//! What a node writes that has lost its part of the work.

use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use crate::sync::stage::Stage;
use crate::watch::kit::{Shop, is_committed, state};
use std::time::Duration;
use uuid::Uuid;
use zaikoban::domain::{Epoch, JobId};
use zaikoban::queue::Policy;
use zaikoban::queue::rescuer::{Whose, sweep};
use zaikoban::store::jobs::{Lane, NewJob, QueueName, WorkerId, claim, enqueue};
use zaikoban::watch::Recorded;

/// The version that is under way, if one is.
const PUSHING: &str = "SELECT pushing_version FROM listing_platforms";
/// What the last round of this part was begun under is another's by now.
const NEXT_OWNER: &str = "UPDATE leases SET owner = gen_random_uuid(), epoch = epoch + 1 WHERE name = ";

#[actix::test]
async fn records_of_a_shard_that_is_anothers_are_refused_and_the_others_of_their_group_are_not() {
    let shop = Shop::new(4).await;
    let (tree, ledger) = shop.ledger().await;
    let late = [shop.change(1, state(0, 1_000), true), shop.record(2, None)];
    let well = [shop.change(3, state(0, 1_000), true), shop.record(4, None)];
    shop.t
        .run(&format!("{NEXT_OWNER} 'watch/001'; {NEXT_OWNER} 'watch/002'"))
        .await;
    let all = late.into_iter().chain(well).map(|record| ledger.send(record));
    let answers = futures_util::future::join_all(all).await;
    for answer in &answers[..2] {
        assert!(matches!(answer, Ok(Recorded::Lost)), "{answer:?}");
    }
    assert!(is_committed(answers[2].as_ref().unwrap(), 2), "{:?}", answers[2]);
    assert!(is_committed(answers[3].as_ref().unwrap(), 1), "{:?}", answers[3]);
    assert_eq!(shop.row(1).await.state, Some(state(1, 1_000)));
    assert_ne!(shop.row(2).await.last_verified_at, Some(shop.clock.now()));
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 1);
    tree.stop(Duration::from_secs(5)).await;
}

#[actix::test]
async fn a_page_that_was_asked_for_before_a_shard_went_and_came_back_is_refused() {
    let shop = Shop::new(2).await;
    let (tree, ledger) = shop.ledger().await;
    let mut late = shop.change(1, state(0, 1_000), true);
    late.epoch = Epoch(late.epoch.0 - 1);
    let mut unchanged = shop.record(2, None);
    unchanged.epoch = Epoch(unchanged.epoch.0 - 1);
    // Alone, it is one statement without a transaction around it.
    let answer = ledger.send(unchanged).await;
    assert!(matches!(answer, Ok(Recorded::Lost)), "{answer:?}");
    let answer = ledger.send(late).await;
    assert!(matches!(answer, Ok(Recorded::Lost)), "{answer:?}");
    tree.stop(Duration::from_secs(5)).await;
}

#[actix::test]
async fn records_of_a_node_that_was_declared_dead_are_refused() {
    let shop = Shop::new(1).await;
    let (tree, ledger) = shop.ledger().await;
    shop.t.run("UPDATE nodes SET dead_at = now()").await;
    let answer = ledger.send(shop.record(1, None)).await;
    assert!(matches!(answer, Ok(Recorded::Lost)), "{answer:?}");
    tree.stop(Duration::from_secs(5)).await;
}

#[actix::test]
async fn a_syncer_takes_nothing_of_a_destination_that_is_anothers() {
    let mut s = Stage::new(1).await;
    s.t.run(&format!("{NEXT_OWNER} 'sync/ebay'")).await;
    s.want(1, 0, None).await;
    s.start();
    s.look().await;
    until("three looks", || async {
        s.look().await;
        (s.status().await.taken == 0 && s.status().await.last_look_at.is_some()).then_some(())
    })
    .await;
    let waits = "SELECT status || ' ' || attempt FROM processing_queue";
    assert_eq!(s.t.text(waits).await, "pending 0");
    assert!(s.fake.asked().is_empty());
}

/// The answer comes when the destination is another's already: whatever stands over there, its owner looks.
#[actix::test]
async fn what_was_sent_before_a_destination_was_lost_is_read_back_by_its_owner() {
    let mut s = Stage::new(1).await;
    s.fake.slow(Duration::from_millis(700));
    s.start();
    s.want(1, 3, None).await;
    s.look().await;
    until("the request to be under way", || async {
        (!s.t.text(PUSHING).await.is_empty()).then_some(())
    })
    .await;
    s.t.run(&format!("{NEXT_OWNER} 'sync/ebay'")).await;
    until("the answer to be written down", || async {
        s.t.text(PUSHING).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(
        s.t.text("SELECT needs_read_back FROM listing_platforms").await,
        "true"
    );
    assert_eq!(
        s.t.text("SELECT count(*) FROM processing_queue WHERE status = 'pending' AND scheduled_at <= now()")
            .await,
        "1",
        "the owner finds it at once"
    );
}

#[tokio::test]
async fn jobs_of_a_dead_node_are_put_back_at_once_and_nobody_elses() {
    let t = TestDb::new().await;
    let me = alone(&t).await;
    let dead = Uuid::now_v7();
    t.run(&format!(
        "INSERT INTO nodes (boot, name, version, host, place, pid, can, until, dead_at) \
         VALUES ('{dead}', 'b', '1', 'b', '', 1, '{{}}', now(), now())"
    ))
    .await;
    let workers = [
        WorkerId::of("a", me.boot()),
        WorkerId::of("b", dead),
        WorkerId::new("nobody-knows"),
    ];
    let lane = Lane {
        queue: QueueName::StockCheck,
        destination: None,
    };
    let mut conn = t.db().conn().await.unwrap();
    let mut jobs: Vec<JobId> = Vec::new();
    for worker in &workers {
        enqueue(&mut conn, &[NewJob::new(lane)]).await.unwrap();
        let claimed = claim(&mut conn, lane, worker, Duration::from_secs(600), 1)
            .await
            .unwrap();
        jobs.extend(claimed.iter().map(|job| job.lease.job));
    }
    let back = sweep(t.db(), &Whose::Dead, &Policy::default()).await.unwrap();
    assert_eq!((back.again, back.dead), (1, 0));
    let waits = t
        .text("SELECT string_agg(id::text, ',') FROM processing_queue WHERE status = 'pending'")
        .await;
    assert_eq!(waits, jobs[1].to_string());
}
