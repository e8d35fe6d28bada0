//! What persons do to many jobs, and what goes by itself with time.

use super::executor::{checks, numbered, states};
use crate::support::pg::TestDb;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::json;
use std::time::Duration;
use zaikoban::domain::JobId;
use zaikoban::queue::pruner;
use zaikoban::store::jobs::{
    self, JobFilter, JobStatus, NewJob, QueueName, WorkerId, edit_payload, enqueue, meant,
};

async fn put(t: &TestDb, jobs: &[NewJob]) -> Vec<JobId> {
    enqueue(&mut t.db().conn().await.unwrap(), jobs).await.unwrap()
}

#[tokio::test]
async fn a_filter_means_only_jobs_that_can_be_touched_and_counts_them_all() {
    let t = TestDb::new().await;
    put(&t, &numbered(6)).await;
    t.run("UPDATE processing_queue SET status = 'dead', completed_at = now(), error_message = 'http_503: a%b' WHERE id <= (SELECT min(id) + 3 FROM processing_queue)").await;
    let mut conn = t.db().conn().await.unwrap();
    let touchable = [JobStatus::Pending, JobStatus::Failed, JobStatus::Dead];
    let filter = JobFilter {
        queue: Some(QueueName::StockCheck),
        error_contains: Some("A%B".into()),
        ..JobFilter::default()
    };
    let found = meant(&mut conn, &filter, &touchable, 3).await.unwrap();
    assert_eq!((found.count, found.ids.len()), (4, 3));
    let waiting = meant(&mut conn, &filter, &[JobStatus::Pending], 3).await.unwrap();
    assert_eq!(waiting.count, 0, "the dead are not waiting");
    // what a person typed is looked for as it stands
    t.run("UPDATE processing_queue SET error_message = 'http_503: a123b' WHERE id = (SELECT min(id) FROM processing_queue)").await;
    assert_eq!(meant(&mut conn, &filter, &touchable, 3).await.unwrap().count, 3);
}

#[tokio::test]
async fn the_payload_of_a_job_is_edited_unless_it_is_in_work() {
    let t = TestDb::new().await;
    let ids = put(&t, &numbered(2)).await;
    let mut conn = t.db().conn().await.unwrap();
    let worker = jobs::WorkerId::new("node");
    jobs::claim(&mut conn, checks(), &worker, Duration::from_secs(60), 1)
        .await
        .unwrap();
    let new = json!({"watch_id": 7});
    assert!(!edit_payload(&mut conn, ids[0], &new).await.unwrap());
    assert!(edit_payload(&mut conn, ids[1], &new).await.unwrap());
    assert_eq!(jobs::get(&mut conn, ids[1]).await.unwrap().payload, new);
}

#[tokio::test]
async fn what_persons_ordered_of_queues_is_kept() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let queue = QueueName::PriceSync;
    jobs::order_workers(&mut conn, queue, (2, 6), "akira")
        .await
        .unwrap();
    assert!(jobs::order_pause(&mut conn, queue, true, "beni").await.unwrap());
    let orders = jobs::orders(&mut conn).await.unwrap();
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].workers, orders[0].paused), (Some((2, 6)), true));
    assert_eq!(orders[0].changed_by, "beni");
}

#[tokio::test]
async fn rows_that_the_states_chart_does_not_know_are_refused() {
    let t = TestDb::new().await;
    put(&t, &numbered(1)).await;
    for (change, constraint) in [
        ("status = 'dead', completed_at = now()", "processing_queue_cause"),
        (
            "status = 'processing', lease_token = gen_random_uuid(), lease_until = now()",
            "processing_queue_taken",
        ),
        ("queue_name = 'platform_sync'", "processing_queue_lane"),
        ("attempt = -1", "processing_queue_attempt"),
        ("crash_count = 1", "processing_queue_crashes"),
        ("scheduled_at = '-infinity'", "processing_queue_times"),
        ("started_at = '200000-01-01'", "processing_queue_times"),
        (
            "crash_count = 1, crashed_at = '{infinity}'",
            "processing_queue_crash_times",
        ),
        (
            "crash_count = 1, crashed_at = '{NULL}'",
            "processing_queue_crash_times",
        ),
    ] {
        let mut conn = t.db().conn().await.unwrap();
        let change = format!("UPDATE processing_queue SET {change}");
        let refused = conn.batch_execute(&change).await.unwrap_err().to_string();
        assert!(refused.contains(constraint), "{change}: {refused}");
    }
}

#[tokio::test]
async fn old_pushes_are_pruned_but_never_a_listings_last_one() {
    let t = TestDb::new().await;
    t.run(
        "INSERT INTO yahoo_scraped_products (id) VALUES (1); \
         INSERT INTO listing_platforms (product_id, platform, platform_product_id, sku, listed_price) VALUES (1, 'ebay', 'o1', 'A', 20); \
         INSERT INTO sync_log (listing_id, platform, wanted_version, currency, kind, cause, outcome, sent_at) \
         SELECT l.id, 'ebay', n, 'USD', 'revise', '{}', CASE WHEN n = 3 THEN 'sending' ELSE 'accepted' END, \
           CASE WHEN n = 4 THEN now() - interval '89 days' ELSE now() - interval '91 days' END \
         FROM listing_platforms AS l, generate_series(1, 4) AS n; \
         UPDATE listing_platforms SET last_sync_log_id = (SELECT id FROM sync_log WHERE wanted_version = 2)",
    )
    .await;
    assert_eq!(
        pruner::sweep_pushes(t.db(), pruner::KEEP_PUSHES_DAYS)
            .await
            .unwrap(),
        1
    );
    let left = "SELECT string_agg(wanted_version::text, ' ' ORDER BY id) FROM sync_log";
    assert_eq!(t.text(left).await, "2 3 4", "the last, the unanswered, the young");
}

#[tokio::test]
async fn what_a_stopped_worker_still_holds_is_put_back_without_a_death_and_nobody_elses() {
    let t = TestDb::new().await;
    put(&t, &numbered(4)).await;
    let (stopped, other) = (WorkerId::new("node"), WorkerId::new("node"));
    let mut conn = t.db().conn().await.unwrap();
    for (worker, n) in [(&stopped, 3), (&other, 1)] {
        let held = jobs::claim(&mut conn, checks(), worker, Duration::from_secs(60), n).await;
        assert_eq!(held.unwrap().len(), n);
    }
    assert_eq!(jobs::release_all(&mut conn, &stopped).await.unwrap().len(), 3);
    assert_eq!(states(&t).await, "pending 3, processing 1");
    assert_eq!(t.text("SELECT sum(crash_count) FROM processing_queue").await, "0");
}
