//! What the entries do, on real tables.

use super::kit::{Node, run, usual};
use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use zaikoban::alert::{Desk, summary};
use zaikoban::clock::Clock;
use zaikoban::domain::SourcePlatform;
use zaikoban::nodes::{self, Ownership};
use zaikoban::ops::check_health;
use zaikoban::ops::doctor::{Check, Found, Probe, Probes};
use zaikoban::pricing::Settings;
use zaikoban::queue::{Turn, Work as _};
use zaikoban::schedule::{Action, Keep, ScheduleName, Sweep, SweepKind, clean_up, summarise, validate};
use zaikoban::simulator::{SinkMood, Sinks};
use zaikoban::store::jobs::{Lane, QueueName, WorkerId, claim};
use zaikoban::store::sweeps;
use zaikoban::supervision::Life;
use zaikoban::sync::PriceSync;

const KEEP: Keep = Keep {
    executions_days: 90,
    health_days: 30,
    resolved_days: 90,
    summaries_days: 730,
    drift_days: 90,
    backups: 4,
};

/// Products 1 to `n`, each with a watch and a listing.
async fn shop(t: &TestDb, n: u32) {
    t.run(&format!(
        "INSERT INTO yahoo_scraped_products (id, title) SELECT n, 'product ' || n FROM generate_series(1, {n}) n;
         INSERT INTO inventory_management (id, product_id, source_platform, source_url, source_product_id, current_stock,
             current_price, version, last_verified_at, title_hash)
         SELECT n, n, 'yahoo', 'https://example/' || n, 'x' || n, 1, 1000, 1, now(), repeat('0', 64)
             FROM generate_series(1, {n}) n;
         INSERT INTO listing_platforms (id, product_id, platform, platform_product_id, sku, current_quantity, listed_price)
         SELECT n, n, 'ebay', 'offer' || n, 'sku' || n, 1, 9.99 FROM generate_series(1, {n}) n"
    ))
    .await;
}

#[tokio::test]
async fn a_sweep_is_a_job_for_each_product_and_ends_when_none_is_left() {
    let t = TestDb::new().await;
    shop(&t, 5).await;
    t.run(
        "UPDATE inventory_management SET monitoring_enabled = false WHERE id = 5;
         INSERT INTO yahoo_scraped_products (id, title) SELECT n, 'product ' || n FROM generate_series(6, 7) n;
         INSERT INTO inventory_management (id, product_id, source_platform, source_url, source_product_id) VALUES
             (6, 6, 'yahoo', 'https://example/6', NULL), (7, 7, 'amazon', 'https://example/7', 'x7')",
    )
    .await;
    // one of an earlier sweep, unfinished
    let earlier = Uuid::now_v7();
    let enqueue = async |execution| {
        t.db()
            .transaction(move |conn| {
                async move { sweeps::enqueue(conn, SweepKind::Stock, &[SourcePlatform::Yahoo], execution).await }.boxed()
            })
            .await
            .unwrap()
    };
    assert_eq!(enqueue(earlier).await, 4);
    let sweep: Arc<dyn Action> = Arc::new(Sweep {
        kind: SweepKind::Stock,
        sources: [SourcePlatform::Yahoo].into(),
        db: t.db().clone(),
    });
    let node = Node::start(
        t.db(),
        WorkerId::new("a"),
        usual(),
        BTreeMap::from([(ScheduleName::StockSweep, sweep)]),
    );
    let id = node
        .scheduler
        .run_now(ScheduleName::StockSweep, "me")
        .await
        .unwrap();
    let mine = format!(
        "SELECT count(*) FROM processing_queue WHERE execution_id = '{id}' AND queue_name = 'stock_check'"
    );
    assert_eq!(
        t.text(&mine).await,
        "4",
        "those of the earlier sweep belong to this one"
    );
    assert_eq!(t.text("SELECT count(*) FROM processing_queue").await, "4");
    t.run(
        "UPDATE processing_queue SET status = 'completed', completed_at = now(), result = '{\"looked\": true}'
             WHERE product_id <= 2;
         UPDATE processing_queue SET status = 'completed', completed_at = now(),
             result = '{\"looked\": false, \"why\": \"unread\"}' WHERE product_id = 3;
         UPDATE processing_queue SET status = 'dead', completed_at = now(), error_message = 'not_verified: no'
             WHERE product_id = 4",
    )
    .await;
    let row = format!(
        "SELECT concat_ws('|', status, total_products, processed_products, error_products, \
         jsonb_path_query_array(details, '$.failed[*].error')) FROM inventory_execution_logs WHERE execution_id = '{id}'"
    );
    super::kit::reads(&t, &row, r#"partial|4|4|2|["unread", "not_verified: no"]"#).await;
}

#[tokio::test]
async fn a_great_sweep_is_enqueued_in_pieces_and_whole() {
    let t = TestDb::new().await;
    shop(&t, 5_001).await;
    let enqueued = t.db().transaction(|conn| {
        async move { sweeps::enqueue(conn, SweepKind::Stock, &[SourcePlatform::Yahoo], Uuid::now_v7()).await }.boxed()
    });
    assert_eq!(enqueued.await.unwrap(), 5_001);
    let jobs = "SELECT count(DISTINCT product_id) FROM processing_queue WHERE queue_name = 'stock_check'";
    assert_eq!(t.text(jobs).await, "5001");
}

#[tokio::test]
async fn products_count_as_looked_at_when_all_their_watches_were() {
    let t = TestDb::new().await;
    shop(&t, 3).await;
    t.run(
        "UPDATE inventory_management SET last_verified_at = now() - interval '1 hour' WHERE id = 2;
         UPDATE inventory_management SET held_reason = 'quarantined', last_verified_at = NULL WHERE id = 3",
    )
    .await;
    let since = Clock::system().now() - chrono::TimeDelta::minutes(1);
    let asked: Vec<_> = (1..=4)
        .map(|id| (zaikoban::domain::ProductId(id), since))
        .collect();
    let unseen = async || {
        let mut conn = t.db().conn().await.unwrap();
        let mut looked = sweeps::unseen(&mut conn, &[SourcePlatform::Yahoo], &asked)
            .await
            .unwrap();
        looked.sort_by_key(|l| l.product);
        let left = looked.iter().map(|l| l.unseen.len());
        left.collect::<Vec<_>>()
    };
    assert_eq!(
        unseen().await,
        [0, 1, 0, 0],
        "the third is in quarantine, the fourth is gone"
    );
    // by a daemon's clock that is two hours behind, and by one that is two minutes ahead
    for (ahead_ms, expected) in [
        (-7_200_000_i64, [0, 0, 0, 0]),
        (120_000, [1, 1, 0, 0]),
        (i64::MIN, [0; 4]),
    ] {
        t.run(&format!(
            "DELETE FROM nodes; INSERT INTO nodes (boot, name, version, host, place, pid, can, until, clock_ahead_ms)
                 VALUES (gen_random_uuid(), 'a', '0', 'h', 'p', 1, '{{}}', now(), {ahead_ms})"
        ))
        .await;
        assert_eq!(unseen().await, expected, "{ahead_ms}");
    }
}

#[tokio::test]
async fn a_price_sweep_works_every_listing_out_anew() {
    let t = TestDb::new().await;
    shop(&t, 3).await;
    let execution = Uuid::now_v7();
    t.db()
        .transaction(move |conn| {
            async move { sweeps::enqueue(conn, SweepKind::Price, &[SourcePlatform::Yahoo], execution).await }
                .boxed()
        })
        .await
        .unwrap();
    let settings: Settings = serde_json::from_value(json!({ "exchange_rates": { "USD": 150 } })).unwrap();
    let work = PriceSync {
        db: t.db().clone(),
        book: Arc::new(arc_swap::ArcSwap::from_pointee(settings.resolve().unwrap())),
        clock: Clock::system(),
    };
    let lane = Lane {
        queue: QueueName::PriceSync,
        destination: None,
    };
    let limit = Duration::from_secs(60);
    let jobs = claim(
        &mut t.db().conn().await.unwrap(),
        lane,
        &WorkerId::new("a"),
        limit,
        10,
    )
    .await
    .unwrap();
    assert_eq!(jobs.len(), 3);
    let turn = Turn::new(Default::default(), tokio::time::Instant::now() + limit, limit);
    let outcomes = work.run(jobs.clone(), turn.clone()).await;
    let moved = |outcome: &zaikoban::queue::Outcome| format!("{outcome:?}").contains("\"moved\": Number(1)");
    assert!(outcomes.iter().all(moved), "{outcomes:?}");
    assert_eq!(
        t.text("SELECT count(*) FROM listing_platforms WHERE wanted_price IS NOT NULL")
            .await,
        "3"
    );
    let again = work.run(jobs, turn).await;
    assert!(!again.iter().any(moved), "nothing moved since: {again:?}");
}

#[tokio::test]
async fn the_validation_names_what_is_wrong_and_counts_it() {
    let t = TestDb::new().await;
    shop(&t, 60).await;
    t.run(
        "UPDATE inventory_management SET url_status = 'dead' WHERE id <= 30;
         UPDATE inventory_management SET url_status = 'changed' WHERE id = 31;
         UPDATE inventory_management SET last_verified_at = now() - interval '3 days' WHERE id = 32;
         UPDATE listing_platforms SET wanted_quantity = 0, wanted_version = 2, wanted_at = now() - interval '1 h'
             WHERE id = 33;
         UPDATE listing_platforms SET wanted_quantity = 0, wanted_version = 2, wanted_at = now() WHERE id = 34;
         INSERT INTO inventory_errors (error_type, error_code, error_message, product_id, platform, severity, fingerprint)
             VALUES ('api_error', 'contract', 'item.price is missing', 35, 'yahoo_auction', 'high', 'x');
         INSERT INTO holds (product_id, watch_id, reason, detail, base_version, meanwhile, default_action, deadline)
             VALUES (36, 36, 'price_step', '{}', 1, 'keep', 'accept', now() + interval '1 day')",
    )
    .await;
    let run = run(&t, ScheduleName::Validation).await;
    let done = validate(t.db(), Duration::from_secs(2 * 86_400), &run)
        .await
        .unwrap();
    let report = done.details.unwrap();
    assert_eq!(
        report["findings"],
        json!({ "gone": 30, "changed": 1, "quarantined": 0, "unverified": 1, "unreadable": 1, "held": 1, "differs": 1 }),
    );
    assert_eq!(
        report["url_status"],
        json!({ "active": 29, "dead": 30, "changed": 1 })
    );
    assert_eq!(report["holds"], json!({ "price_step": 1 }));
    assert_eq!(report["products_with_findings"], 35);
    let first = |kind: &str| report["first"][kind].as_array().unwrap().clone();
    assert_eq!(first("gone").len(), 20, "the first twenty");
    assert_eq!(first("gone")[0]["product_id"], 1);
    assert_eq!(
        first("differs")[0]["listing_id"],
        33,
        "what is a moment behind is not told"
    );
    assert_eq!(first("unreadable")[0]["message"], "item.price is missing");
    assert_eq!(run.progress.counts().processed, 60);
}

#[tokio::test]
async fn a_clean_up_removes_what_is_old_and_nothing_else() {
    let t = TestDb::new().await;
    t.run(
        "INSERT INTO inventory_execution_logs (execution_id, process_type, status, execution_end) SELECT gen_random_uuid(),
             'health', 'completed', now() - make_interval(days => d) FROM generate_series(1, 2100, 1) g, LATERAL
             (SELECT CASE WHEN g <= 2050 THEN 91 ELSE 89 END AS d) x;
         INSERT INTO inventory_execution_logs (execution_id, process_type, status, execution_start)
             VALUES (gen_random_uuid(), 'backup', 'running', now() - interval '1 year');
         INSERT INTO health_check_results (check_timestamp, overall_status, test_results)
             VALUES (now() - interval '31 days', 'healthy', '[]'), (now(), 'healthy', '[]');
         INSERT INTO inventory_errors (error_type, error_message, fingerprint, resolved, resolved_at)
             VALUES ('api_error', 'x', 'a', true, now() - interval '91 days'), ('api_error', 'x', 'b', false, NULL),
                    ('api_error', 'x', 'c', true, now());
         INSERT INTO daily_summaries (day, figures, mail, created_at)
             VALUES ('2020-01-01', '{}', 'expired', '2020-01-01'), ('2020-01-02', '{}', 'pending', '2020-01-02');
         INSERT INTO yahoo_scraped_products (id, title) VALUES (1, 'a lamp');
         INSERT INTO listing_platforms (id, product_id, platform, sku) VALUES (1, 1, 'ebay', 'lamp');
         INSERT INTO drift (listing_id, kind, believed, policy, done, seen_at, resolved_at)
             VALUES (1, 'fewer', '{}', 'overwrite', 'adopted', now() - interval '91 days', now() - interval '91 days'),
                    (1, 'ended', '{}', 'overwrite', 'asked', now() - interval '91 days', NULL);
         INSERT INTO reconcile_runs (execution_id, platform, began_at)
             VALUES (gen_random_uuid(), 'ebay', now() - interval '91 days'), (gen_random_uuid(), 'ebay', now());
         INSERT INTO bulk_feeds (platform, state, result, settled_at)
             VALUES ('ebay', 'settled', 'done', now() - interval '91 days'), ('ebay', 'settled', 'done', now()),
                    ('ebay', 'ended', 'done', NULL)",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let run = run(&t, ScheduleName::CleanUp).await;
    let done = clean_up(t.db(), KEEP, folder.path(), &run).await.unwrap();
    let details = done.details.unwrap();
    assert_eq!(
        details["removed"],
        json!({ "inventory_execution_logs": 2050, "health_check_results": 1, "inventory_errors": 1, "daily_summaries": 1,
                "drift": 1, "reconcile_runs": 1, "bulk_feeds": 1 }),
        "{details}"
    );
    assert_eq!(
        t.text("SELECT count(*) FROM inventory_execution_logs").await,
        "51"
    );
    assert_eq!(
        t.text("SELECT string_agg(fingerprint, ',' ORDER BY 1) FROM inventory_errors")
            .await,
        "b,c"
    );
    assert_eq!(t.text("SELECT string_agg(kind, ',') FROM drift").await, "ended");
    assert_eq!(details["vacuumed"].as_object().unwrap().len(), 10, "{details}");
    let counts = run.progress.counts();
    assert_eq!((counts.processed, counts.errors), (counts.total, 0));
    let vacuumed = "SELECT last_vacuum IS NOT NULL AND last_analyze IS NOT NULL FROM pg_stat_user_tables \
                    WHERE relname = 'inventory_management'";
    super::kit::reads(&t, vacuumed, "true").await;
}

struct Sick(bool);

impl Probe for Sick {
    fn name(&self) -> &'static str {
        "sick"
    }

    fn look(&self) -> futures_util::future::BoxFuture<'static, Found> {
        let check = if self.0 {
            Check::failed("sick", "it does not work", "mend it")
        } else {
            Check::ok("sick", "as it should be")
        };
        std::future::ready(Found::from(check)).boxed()
    }
}

#[tokio::test]
async fn a_health_check_is_kept_whether_well_or_not() {
    let t = TestDb::new().await;
    for (sick, expected) in [(false, "healthy|0"), (true, "unhealthy|1")] {
        let probes: Probes = vec![Arc::new(Sick(sick))];
        let run = run(&t, ScheduleName::Health).await;
        let done = check_health(&probes, t.db(), &run).await.unwrap();
        let row =
            "SELECT overall_status || '|' || failed_tests FROM health_check_results ORDER BY id DESC LIMIT 1";
        assert_eq!(t.text(row).await, expected);
        let failed = done.details.unwrap()["failed"].clone();
        assert_eq!(failed.as_array().unwrap().len(), usize::from(sick));
    }
}

#[tokio::test]
async fn a_days_summary_is_kept_and_mailed_once_however_often_the_server_refuses() {
    zaikoban::app::install_tls();
    let t = TestDb::new().await;
    shop(&t, 7).await;
    t.run(
        "INSERT INTO stock_history (product_id, previous_stock, new_stock, previous_price, new_price, change_type,
             change_source, watch_id, version) VALUES (1, 1, 0, 1000, 1000, 'stock_change', 'yahoo', 1, 2),
             (2, 1, 1, 1000, 900, 'price_change', 'yahoo', 2, 2);
         INSERT INTO inventory_errors (error_type, error_code, error_message, severity, fingerprint, count)
             SELECT 'api_error', 'code_' || n, '<b>' || n || '</b>', 'critical', 'f' || n, n FROM generate_series(1, 7) n",
    )
    .await;
    let sinks = Sinks::start().unwrap();
    sinks.mail(SinkMood::Unavailable);
    let desk = Desk::new(crate::alert::stage::settings(&sinks, &[]), Clock::system()).unwrap();
    let run = run(&t, ScheduleName::DailySummary).await;
    summarise(t.db(), &run).await.unwrap();
    let figures: Value = serde_json::from_str(&t.text("SELECT figures FROM daily_summaries").await).unwrap();
    assert_eq!(
        figures["changes"],
        json!({ "stock": 1, "price": 1, "sold_out": 1, "back": 0 })
    );
    let codes: Vec<&str> = figures["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        ["code_7", "code_6", "code_5", "code_4", "code_3"],
        "the five commonest"
    );
    assert_eq!(figures["critical"], json!({ "new": 7, "open": 7 }));
    let mailer = |desk: &Desk, ownership: Ownership| {
        let life = Life::detached("alert/summary");
        #[expect(clippy::disallowed_methods, reason = "a test that ends it by hand")]
        tokio::spawn(summary::mailer(desk.clone(), t.db().clone(), ownership, life))
    };
    // not the node that tells, and first
    let elsewhere = nodes::alone(t.db(), &["prune".to_owned()]).await.unwrap();
    let other = mailer(&desk, elsewhere);
    for _ in 0..50 {
        assert_eq!(t.text("SELECT attempt FROM daily_summaries").await, "0");
    }
    other.abort();
    t.run("DELETE FROM leases WHERE shard IS NULL; UPDATE leases SET owner = NULL")
        .await;
    let mailer = mailer(&desk, alone(&t).await);
    super::kit::reads(
        &t,
        "SELECT mail = 'pending' AND attempt = 1 AND error IS NOT NULL FROM daily_summaries",
        "true",
    )
    .await;
    sinks.mail(SinkMood::Well);
    t.run("UPDATE daily_summaries SET next_at = now()").await;
    until("the mail", || async { (!sinks.mails().is_empty()).then_some(()) }).await;
    super::kit::reads(&t, "SELECT mail FROM daily_summaries", "delivered").await;
    assert_eq!(sinks.mails().len(), 1);
    let mail = sinks.mails().remove(0);
    assert!(
        mail.contains("text/plain") && mail.contains("text/html"),
        "{mail}"
    );
    assert!(mail.contains("<zaikoban-summary-"), "{mail}");
    mailer.abort();
}
