//! Each moment once, whoever looks.

use super::kit::{Node, all, done, planned, reads, still, usual};
use crate::support::pg::TestDb;
use crate::support::wait::until;
use chrono::DateTime;
use futures_util::FutureExt as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use uuid::Uuid;
use zaikoban::domain::SourcePlatform;
use zaikoban::schedule::{Missed, ScheduleName, Sweep, SweepKind};
use zaikoban::store::executions::{self, NewExecution};
use zaikoban::store::jobs::WorkerId;
use zaikoban::store::{Db, schedules};

const ALL: usize = ScheduleName::ALL.len();
/// The firings of two schedulers: rounds of all names together.
const ROUNDS: usize = 20;
/// The firings that two try to take from each other.
const MOMENTS: i64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schedulers_fire_everything_once() {
    let t = TestDb::with(|settings| settings.connections = 10).await;
    let fired = Arc::new(AtomicUsize::new(0));
    let node = |name: &str| {
        let fired = Arc::clone(&fired);
        let count = move |_| {
            fired.fetch_add(1, Ordering::SeqCst);
            done()
        };
        Node::start(t.db(), WorkerId::new(name), usual(), all(count))
    };
    let nodes = [node("a"), node("b")];
    planned(&t, ALL).await;
    for round in 1..=ROUNDS {
        t.run("UPDATE schedules SET next_fire_at = clock_timestamp()")
            .await;
        nodes.iter().for_each(|node| node.scheduler.look_now());
        let all = (round * ALL).to_string();
        until("a round", || async {
            let ended = "SELECT count(*) FROM inventory_execution_logs WHERE status = 'completed'";
            (t.text(ended).await == all).then_some(())
        })
        .await;
    }
    assert_eq!(
        fired.load(Ordering::SeqCst),
        ROUNDS * ALL,
        "one run for each moment"
    );
    let twice = "SELECT count(*) FROM (SELECT 1 FROM inventory_execution_logs GROUP BY process_type, due_at \
                 HAVING count(*) > 1) d";
    assert_eq!(t.text(twice).await, "0");
    let nodes = "SELECT count(DISTINCT worker_id) FROM inventory_execution_logs";
    assert_eq!(t.text(nodes).await, "2", "both took part");
}

/// Tries to take every moment of a schedule, and to begin its run, at its own random pace.
async fn takes_all(db: Db, worker: WorkerId, seed: u64) -> Vec<i64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut won = Vec::new();
    for moment in 0..MOMENTS {
        for _ in 0..rng.random_range(0..4) {
            tokio::task::yield_now().await;
        }
        let worker = worker.clone();
        let took = db.transaction(move |conn| {
            async move {
                let due = DateTime::from_timestamp(1_000_000 + moment, 0).unwrap();
                let next = DateTime::from_timestamp(1_000_001 + moment, 0);
                if !schedules::take(conn, "backup", due, next).await? {
                    return Ok(false);
                }
                let new = NewExecution {
                    id: Uuid::now_v7(),
                    // of a kind that only this one runs: the moment alone is the fence here
                    process: &format!("backup {moment} {worker}"),
                    worker: &worker,
                    by: "schedule",
                    due: Some(due),
                };
                executions::begin(conn, &new).await
            }
            .boxed()
        });
        if took.await.unwrap() {
            won.push(moment);
        }
    }
    won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_each_of_a_thousand_moments_is_taken_by_one() {
    let t = TestDb::new().await;
    t.run("INSERT INTO schedules (name, expression, next_fire_at) VALUES ('backup', 'x', to_timestamp(1000000))")
        .await;
    let (a, b) = tokio::join!(
        takes_all(t.db().clone(), WorkerId::new("a"), 1),
        takes_all(t.db().clone(), WorkerId::new("b"), 2)
    );
    // whoever was too early for a moment left it to the other, and none was passed over
    let mut all: Vec<i64> = a.iter().chain(&b).copied().collect();
    all.sort_unstable();
    let twice = all.windows(2).filter(|w| w[0] == w[1]).count();
    assert_eq!((twice, all.len()), (0, 1_000), "taken twice, or by nobody");
    let rows = "SELECT count(*) || '|' || count(DISTINCT due_at) FROM inventory_execution_logs";
    assert_eq!(t.text(rows).await, format!("{n}|{n}", n = all.len()));
    let served = "SELECT extract(epoch FROM next_fire_at)::bigint - 1000000 FROM schedules";
    assert_eq!(t.text(served).await, all.len().to_string(), "each in its turn");
}

#[tokio::test]
async fn missed_firings_are_left_out_or_made_up_for_once_by_policy() {
    for (missed, runs, skipped) in [(Missed::Skip, "0", "missed"), (Missed::Once, "1", "")] {
        let t = TestDb::new().await;
        let table = still(missed, Duration::from_secs(60));
        let expression = table.expression(&table.entries[&ScheduleName::Backup]);
        t.run(&format!(
            "INSERT INTO schedules (name, expression, next_fire_at) \
             VALUES ('backup', '{expression}', now() - interval '3 days')"
        ))
        .await;
        let _node = Node::start(t.db(), WorkerId::new("a"), table, all(|_| done()));
        planned(&t, ALL).await;
        reads(
            &t,
            "SELECT next_fire_at > now() FROM schedules WHERE name = 'backup'",
            "true",
        )
        .await;
        reads(
            &t,
            "SELECT count(*) FROM inventory_execution_logs WHERE status = 'completed'",
            runs,
        )
        .await;
        let why = "SELECT last_skipped_why FROM schedules WHERE name = 'backup'";
        assert_eq!(t.text(why).await, skipped, "{missed}");
    }
}

#[tokio::test]
async fn a_firing_while_the_run_before_goes_on_is_left_out_and_said_to_be() {
    let t = TestDb::new().await;
    let node = Node::start(
        t.db(),
        WorkerId::new("a"),
        usual(),
        all(|_| std::future::pending().boxed()),
    );
    planned(&t, ALL).await;
    node.scheduler
        .run_now(ScheduleName::Health, "somebody")
        .await
        .unwrap();
    let refused = node.scheduler.run_now(ScheduleName::Health, "somebody").await;
    assert_eq!(refused.unwrap_err().to_string(), "`health` is running already");
    t.run("UPDATE schedules SET next_fire_at = now() WHERE name = 'health'")
        .await;
    node.scheduler.look_now();
    let why = "SELECT last_skipped_why FROM schedules WHERE name = 'health'";
    reads(&t, why, "the run before it was still going on").await;
    assert_eq!(t.text("SELECT count(*) FROM inventory_execution_logs").await, "1");
}

#[tokio::test]
async fn what_is_paused_fires_when_it_is_resumed_and_not_before() {
    let t = TestDb::new().await;
    let node = Node::start(t.db(), WorkerId::new("a"), usual(), all(|_| done()));
    planned(&t, ALL).await;
    let pause = async |by: Option<&str>| {
        let mut conn = t.db().conn().await.unwrap();
        zaikoban::store::schedules::set_paused(&mut conn, "backup", by)
            .await
            .unwrap()
    };
    assert_eq!(pause(Some("uid 1")).await, Some(true));
    assert_eq!(pause(Some("uid 1")).await, Some(false), "it was so");
    t.run("UPDATE schedules SET next_fire_at = now() - interval '1 day' WHERE name = 'backup'")
        .await;
    node.scheduler.look_now();
    // a run by hand shows that the look is over
    node.scheduler
        .run_now(ScheduleName::Health, "somebody")
        .await
        .unwrap();
    assert_eq!(
        t.text("SELECT count(*) FROM inventory_execution_logs WHERE process_type = 'backup'")
            .await,
        "0"
    );
    assert_eq!(pause(None).await, Some(true));
    node.scheduler.look_now();
    let ended = "SELECT status FROM inventory_execution_logs WHERE process_type = 'backup'";
    reads(&t, ended, "completed").await;
}

#[tokio::test]
async fn another_expression_is_planned_anew_and_what_was_due_is_made_up_for() {
    let t = TestDb::new().await;
    t.run(
        "INSERT INTO schedules (name, expression, next_fire_at) VALUES ('backup', '0 1 * * 0 UTC', now() - interval '1 h')",
    )
    .await;
    let _node = Node::start(t.db(), WorkerId::new("a"), usual(), all(|_| done()));
    planned(&t, ALL).await;
    let expression = "SELECT expression FROM schedules WHERE name = 'backup'";
    reads(&t, expression, "0 0 1 1 * Asia/Tokyo").await;
    let runs = "SELECT string_agg(process_type || ' ' || status, ',') FROM inventory_execution_logs";
    reads(&t, runs, "backup completed").await;
}

#[tokio::test]
async fn what_cannot_be_begun_keeps_nothing_else_waiting_and_is_told() {
    let t = TestDb::new().await;
    t.run(
        "INSERT INTO yahoo_scraped_products (id, title) VALUES (1, 'x');
         INSERT INTO inventory_management (product_id, source_platform, source_url, source_product_id)
             VALUES (1, 'yahoo', 'https://example/1', 'x1');
         ALTER TABLE processing_queue ADD CONSTRAINT none_of_these CHECK (queue_name <> 'stock_check')",
    )
    .await;
    let mut actions = all(|_| done());
    let sweep = Sweep {
        kind: SweepKind::Stock,
        sources: [SourcePlatform::Yahoo].into(),
        db: t.db().clone(),
    };
    actions.insert(ScheduleName::StockSweep, Arc::new(sweep));
    let node = Node::start(t.db(), WorkerId::new("a"), usual(), actions);
    planned(&t, ALL).await;
    t.run("UPDATE schedules SET next_fire_at = clock_timestamp()")
        .await;
    node.scheduler.look_now();
    let ended = "SELECT count(*) FROM inventory_execution_logs WHERE status = 'completed'";
    reads(&t, ended, &(ALL - 1).to_string()).await;
    let open = "SELECT string_agg(error_code, ',') FROM inventory_errors WHERE NOT resolved";
    reads(&t, open, "run_failed_stock_sweep").await;
    t.run("ALTER TABLE processing_queue DROP CONSTRAINT none_of_these")
        .await;
    node.scheduler.look_now();
    let begun = "SELECT status FROM inventory_execution_logs WHERE process_type = 'stock_sweep'";
    reads(&t, begun, "running").await;
    t.run("UPDATE processing_queue SET status = 'completed', completed_at = now()")
        .await;
    reads(&t, begun, "completed").await;
    reads(&t, open, "").await;
}

#[tokio::test]
async fn b14_a_row_that_no_calendar_holds_costs_nobody_else() {
    let t = TestDb::new().await;
    let node = Node::start(t.db(), WorkerId::new("a"), usual(), all(|_| done()));
    planned(&t, ALL).await;
    t.run(
        "UPDATE schedules SET next_fire_at = 'infinity', last_due_at = '-infinity', last_fired_at = '200000-01-01',
             last_skipped_at = 'infinity', last_skipped_why = 'x' WHERE name = 'health';
         UPDATE schedules SET paused = true, paused_at = '-infinity' WHERE name = 'validation';
         INSERT INTO inventory_execution_logs (execution_id, process_type, status, execution_start, execution_end)
             VALUES (gen_random_uuid(), 'health', 'completed', '-infinity', now());
         UPDATE schedules SET next_fire_at = now() WHERE name = 'backup'",
    )
    .await;
    node.scheduler.look_now();
    let ended = "SELECT status FROM inventory_execution_logs WHERE process_type = 'backup'";
    reads(&t, ended, "completed").await;
    let planned = "SELECT isfinite(next_fire_at) FROM schedules WHERE name = 'health'";
    reads(&t, planned, "true").await;
    let mut conn = t.db().conn().await.unwrap();
    let shown = executions::list(&mut conn, 0, 10, None, None).await.unwrap();
    assert_eq!(shown.len(), 2);
}

#[tokio::test]
async fn who_comes_second_does_not_wait_for_the_first() {
    let t = TestDb::new().await;
    t.run("INSERT INTO schedules (name, expression, next_fire_at) VALUES ('backup', 'x', to_timestamp(1000000))")
        .await;
    let other = t.db().clone();
    let took = t.db().transaction(move |conn| {
        async move {
            let due = DateTime::from_timestamp(1_000_000, 0).unwrap();
            let first = schedules::take(conn, "backup", due, None).await?;
            // an end by the lock's limit would be an error
            let second = schedules::take(&mut *other.conn().await?, "backup", due, None).await?;
            Ok((first, second))
        }
        .boxed()
    });
    assert_eq!(took.await.unwrap(), (true, false));
}

#[tokio::test]
async fn a_drained_node_leaves_what_is_due_to_others() {
    let t = TestDb::new().await;
    let drained = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&drained);
    let yields = move || asked.load(Ordering::SeqCst);
    let node = Node::yielding(t.db(), WorkerId::new("a"), usual(), all(|_| done()), yields);
    planned(&t, ALL).await;
    t.run("UPDATE schedules SET next_fire_at = clock_timestamp() WHERE name = 'backup'")
        .await;
    node.scheduler.look_now();
    // a run by hand shows that the look is over, and is a person's wish
    node.scheduler.run_now(ScheduleName::Health, "me").await.unwrap();
    let runs = "SELECT string_agg(process_type, ',' ORDER BY id) FROM inventory_execution_logs";
    assert_eq!(t.text(runs).await, "health");
    drained.store(false, Ordering::SeqCst);
    node.scheduler.look_now();
    reads(&t, runs, "health,backup").await;
}
