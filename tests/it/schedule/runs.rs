//! Runs: locks, owners that die, limits, and what is written of them.

use super::kit::{Node, all, done, planned, reads, still, usual};
use crate::support::pg::TestDb;
use crate::support::wait::until;
use futures_util::FutureExt as _;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use zaikoban::schedule::{Done, Failure, Missed, ScheduleName, Timetable};
use zaikoban::store::executions::{self, Counts};
use zaikoban::store::jobs::WorkerId;

const ALL: usize = ScheduleName::ALL.len();
const STATUS: &str = "SELECT string_agg(status, ',' ORDER BY id) FROM inventory_execution_logs";

#[tokio::test]
async fn a_run_whose_owner_died_is_given_up_and_the_next_may_begin() {
    let t = TestDb::new().await;
    let hangs = || all(|_| std::future::pending().boxed());
    let dies = Node::start(t.db(), WorkerId::new("a"), usual(), hangs());
    planned(&t, ALL).await;
    dies.scheduler
        .run_now(ScheduleName::Backup, "somebody")
        .await
        .unwrap();
    dies.kill().await;
    let other = Node::start(t.db(), WorkerId::new("b"), usual(), all(|_| done()));
    let refused = other.scheduler.run_now(ScheduleName::Backup, "somebody").await;
    assert!(refused.is_err(), "its owner may live");
    // a minute of silence
    t.run("UPDATE inventory_execution_logs SET heartbeat_at = heartbeat_at - interval '61 s'")
        .await;
    other.scheduler.look_now();
    reads(&t, STATUS, "failed").await;
    let why = t.text("SELECT error_message FROM inventory_execution_logs").await;
    assert!(
        why.starts_with("its owner a/") && why.contains("gave no sign of life since"),
        "{why}"
    );
    other
        .scheduler
        .run_now(ScheduleName::Backup, "somebody")
        .await
        .unwrap();
    reads(&t, STATUS, "failed,completed").await;
}

#[tokio::test]
async fn the_next_life_of_a_node_gives_up_at_once_what_the_last_one_ran() {
    let t = TestDb::new().await;
    let dies = Node::start(
        t.db(),
        WorkerId::new("a"),
        usual(),
        all(|_| std::future::pending().boxed()),
    );
    planned(&t, ALL).await;
    dies.scheduler
        .run_now(ScheduleName::Backup, "somebody")
        .await
        .unwrap();
    dies.kill().await;
    let next = Node::start(t.db(), WorkerId::new("a"), usual(), all(|_| done()));
    reads(&t, STATUS, "failed").await;
    let why = t.text("SELECT error_message FROM inventory_execution_logs").await;
    assert!(why.ends_with("ended before it was done"), "{why}");
    next.scheduler
        .run_now(ScheduleName::Backup, "somebody")
        .await
        .unwrap();
    reads(&t, STATUS, "failed,completed").await;
}

/// Says when what holds it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_run_that_was_given_up_by_others_is_broken_off_and_writes_nothing() {
    let t = TestDb::new().await;
    let broken_off = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&broken_off);
    let hangs = move |_| {
        let held = Dropped(Arc::clone(&seen));
        async move {
            let _held = held;
            std::future::pending().await
        }
        .boxed()
    };
    let node = Node::start(t.db(), WorkerId::new("a"), usual(), all(hangs));
    planned(&t, ALL).await;
    node.scheduler
        .run_now(ScheduleName::Backup, "somebody")
        .await
        .unwrap();
    t.run("UPDATE inventory_execution_logs SET status = 'failed', error_message = 'another gave it up'")
        .await;
    until("that it is broken off", || async {
        broken_off.load(Ordering::SeqCst).then_some(())
    })
    .await;
    // a run after it shows that its own has nothing more to write
    node.scheduler
        .run_now(ScheduleName::Health, "somebody")
        .await
        .unwrap();
    let row = "SELECT concat_ws('|', status, error_message) FROM inventory_execution_logs WHERE process_type = 'backup'";
    assert_eq!(t.text(row).await, "failed|another gave it up");
}

#[tokio::test]
async fn limits_panics_and_failures_are_written_with_their_reason_and_told() {
    let t = TestDb::new().await;
    let what = |run: zaikoban::schedule::Run| {
        async move {
            let counts = |processed, errors| Counts {
                total: 10,
                processed,
                updated: 1,
                errors,
            };
            match run.name {
                ScheduleName::Backup => Err(Failure::new("no `pg_dump`: install it")),
                ScheduleName::Validation => panic!("a fault"),
                ScheduleName::PriceSweep => {
                    run.progress.set(counts(10, 2));
                    Ok(Done {
                        details: Some(json!({ "failed": [1, 2] })),
                    })
                }
                ScheduleName::StockSweep => {
                    run.progress.set(counts(4, 0));
                    std::future::pending().await
                }
                _ => Ok(Done::default()),
            }
        }
        .boxed()
    };
    let table: Timetable = still(Missed::Once, Duration::from_secs(1));
    let node = Node::start(t.db(), WorkerId::new("a"), table, all(what));
    planned(&t, ALL).await;
    for name in [
        ScheduleName::Backup,
        ScheduleName::Validation,
        ScheduleName::PriceSweep,
        ScheduleName::StockSweep,
        ScheduleName::Health,
    ] {
        node.scheduler.run_now(name, "uid 1 (me)").await.unwrap();
    }
    let row = async |name: &str, expected: &str| {
        let sql = format!(
            "SELECT concat_ws('|', status, processed_products, error_products, details, error_message, started_by) \
             FROM inventory_execution_logs WHERE process_type = '{name}'"
        );
        let limit =
            format!("SELECT status <> 'running' FROM inventory_execution_logs WHERE process_type = '{name}'");
        reads(&t, &limit, "true").await;
        let got = t.text(&sql).await;
        assert!(got.contains(expected), "{got}, expected {expected}");
    };
    row("backup", "failed|0|0|no `pg_dump`: install it|uid 1 (me)").await;
    row("validation", "failed|0|0|a fault of zaikoban").await;
    row("price_sweep", "partial|10|2|{\"failed\": [1, 2]}|2 of 10 failed").await;
    row("stock_sweep", "partial|4|0|not done within its time limit of 1 s").await;
    row("health", "completed|0|0|uid 1 (me)").await;
    // what failed is a trouble for a person, until it succeeds
    let open =
        "SELECT string_agg(fingerprint, ',' ORDER BY fingerprint) FROM inventory_errors WHERE NOT resolved";
    reads(&t, open, "run_failed:backup,run_failed:validation").await;
    let codes = "SELECT count(DISTINCT error_code) FROM inventory_errors";
    assert_eq!(t.text(codes).await, "2", "alerts go by the code");
    drop(node);
    let well = Node::start(t.db(), WorkerId::new("b"), usual(), all(|_| done()));
    well.scheduler.run_now(ScheduleName::Backup, "me").await.unwrap();
    reads(&t, open, "run_failed:validation").await;
}

const BACKUPS: &str = "SELECT string_agg(status, ',' ORDER BY id) || '|' || count(DISTINCT due_at) \
                       FROM inventory_execution_logs WHERE process_type = 'backup'";
const TROUBLE: &str = "SELECT string_agg(error_code || ' ' || resolved, ',') FROM inventory_errors";

/// A node that dies while the backup that is due runs for the `n`th time.
async fn dies_in_its_backup(t: &TestDb, n: usize) {
    let dies = Node::start(
        t.db(),
        WorkerId::new("a"),
        usual(),
        all(|_| std::future::pending().boxed()),
    );
    planned(t, ALL).await;
    if n == 1 {
        t.run("UPDATE schedules SET next_fire_at = clock_timestamp() WHERE name = 'backup'")
            .await;
        dies.scheduler.look_now();
    }
    let running = format!("{}running|1", "failed,".repeat(n - 1));
    reads(t, BACKUPS, &running).await;
    dies.kill().await;
}

#[tokio::test]
async fn a_run_that_was_broken_off_is_told_and_its_moment_fires_again() {
    let t = TestDb::new().await;
    dies_in_its_backup(&t, 1).await;
    let _next = Node::start(t.db(), WorkerId::new("a"), usual(), all(|_| done()));
    reads(&t, BACKUPS, "failed,completed|1").await;
    reads(&t, TROUBLE, "run_failed_backup true").await;
}

#[tokio::test]
async fn a_moment_whose_runs_all_die_is_given_up_after_three() {
    let t = TestDb::new().await;
    for n in 1..=3 {
        dies_in_its_backup(&t, n).await;
    }
    let next = Node::start(t.db(), WorkerId::new("a"), usual(), all(|_| done()));
    reads(&t, BACKUPS, "failed,failed,failed|1").await;
    reads(&t, TROUBLE, "run_failed_backup false").await;
    // a run by hand shows that the look is over
    next.scheduler.run_now(ScheduleName::Health, "me").await.unwrap();
    let planned = "SELECT next_fire_at > now() FROM schedules WHERE name = 'backup'";
    assert_eq!(t.text(planned).await, "true");
}

#[tokio::test]
async fn a_run_waits_an_outage_of_the_database_out() {
    let t = TestDb::new().await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let what = move |_| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if n < 2 {
                return Err(Failure {
                    outage: true,
                    ..Failure::new("away")
                });
            }
            Ok(Done::default())
        }
        .boxed()
    };
    let node = Node::start(t.db(), WorkerId::new("a"), usual(), all(what));
    planned(&t, ALL).await;
    node.scheduler
        .run_now(ScheduleName::Validation, "me")
        .await
        .unwrap();
    reads(&t, STATUS, "completed").await;
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_owner_that_the_nodes_know_is_judged_by_them() {
    let t = TestDb::new().await;
    let node = |n: i64, state: &str| {
        format!(
            "INSERT INTO nodes (boot, name, version, host, place, pid, can, until, {state}) VALUES
                 ('00000000-0000-0000-0000-00000000000{n}', 'n{n}', '0', 'h', 'p', 1, '{{}}', now(), now());"
        )
    };
    let run = |n: i64, age: &str| {
        format!(
            "INSERT INTO inventory_execution_logs (execution_id, process_type, status, worker_id, heartbeat_at) VALUES
                 (gen_random_uuid(), 'kind {n}', 'running', 'n{n}/00000000-0000-0000-0000-00000000000{n}',
                  now() - interval '{age}');"
        )
    };
    t.run(
        &[
            // lives: an outage of two minutes, six minutes, a clock that was set back
            (node(1, "heartbeat_at") + &run(1, "2 min")),
            (node(2, "heartbeat_at") + &run(2, "6 min")),
            (node(3, "heartbeat_at") + &run(3, "-1 h")),
            // dead, and gone in order, a moment ago
            (node(4, "dead_at") + &run(4, "1 s")),
            (node(5, "left_at") + &run(5, "1 s")),
            // nobody knows it: silent, not silent, and from the future
            run(6, "2 min"),
            run(7, "30 s"),
            run(8, "-1 h"),
        ]
        .concat(),
    )
    .await;
    let mut conn = t.db().conn().await.unwrap();
    let silence = Duration::from_secs(60);
    let broken = executions::give_up_dead(&mut conn, &WorkerId::new("a"), silence)
        .await
        .unwrap();
    let mut kinds: Vec<&str> = broken.iter().map(|one| &*one.process_type).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["kind 2", "kind 4", "kind 5", "kind 6", "kind 8"]);
}
