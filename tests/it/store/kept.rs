//! Errors and runs, kept for people.

use crate::support::pg::TestDb;
use chrono::DateTime;
use serde_json::json;
use std::time::Duration;
use zaikoban::domain::{Platform, ProductId};
use zaikoban::store::errors::{self, ErrorFilter, ErrorRecord, ErrorType, Severity};
use zaikoban::store::executions::{self, ExecutionEnd, Progress};
use zaikoban::store::jobs::WorkerId;
use zaikoban::store::{Conn, StoreError};

fn trouble(message: &str, severity: Severity) -> ErrorRecord {
    ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some("contract".into()),
        message: message.into(),
        product_id: Some(ProductId(7)),
        platform: Some(Platform::YahooAuction),
        severity,
        fingerprint: "yahoo contract item.bidorbuy".into(),
        details: Some(json!({"missing": ["item.bidorbuy"]})),
    }
}

#[tokio::test]
async fn one_trouble_is_one_row_until_it_is_resolved() {
    let t = TestDb::new().await;
    t.run("INSERT INTO yahoo_scraped_products (id, title, source_url) VALUES (7, '時計', 'https://x/7')")
        .await;
    let mut conn = t.db().conn().await.unwrap();
    let first = errors::record(&mut conn, &trouble("first", Severity::High))
        .await
        .unwrap();
    let second = errors::record(&mut conn, &trouble("second", Severity::Low))
        .await
        .unwrap();
    assert_eq!((first.id, first.count, second.count), (second.id, 1, 2));
    let open = errors::list(&mut conn, &ErrorFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (
            open[0].error_message.as_str(),
            open[0].severity.as_str(),
            open[0].count
        ),
        ("second", "high", 2)
    );
    assert_eq!(open[0].product_title.as_deref(), Some("時計"));

    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let done = errors::resolve(&mut conn, &[first.id, 999], "akira", Some("fixed"), now)
        .await
        .unwrap();
    assert_eq!(done, [first.id]);
    assert_eq!(
        errors::resolve(&mut conn, &done, "akira", None, now)
            .await
            .unwrap(),
        Vec::<i64>::new()
    );
    let again = errors::record(&mut conn, &trouble("again", Severity::Low))
        .await
        .unwrap();
    assert_eq!(again.count, 1);
    let all = ErrorFilter {
        with_resolved: true,
        severity: Some(Severity::High),
        ..Default::default()
    };
    let all = errors::list(&mut conn, &all, None, 10).await.unwrap();
    assert_eq!((all.len(), all[0].resolved_by.as_deref()), (1, Some("akira")));
}

#[tokio::test]
async fn a_trouble_of_a_product_that_is_not_there_is_kept_too() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    errors::record(&mut conn, &trouble("gone", Severity::Low))
        .await
        .unwrap();
    let without = ErrorRecord {
        product_id: None,
        fingerprint: "x".into(),
        details: None,
        ..trouble("all", Severity::Critical)
    };
    errors::record(&mut conn, &without).await.unwrap();
    assert_eq!(
        errors::list(&mut conn, &ErrorFilter::default(), None, 10)
            .await
            .unwrap()
            .len(),
        2
    );
}

const DEAD_AFTER: Duration = Duration::from_secs(60);

async fn begin(conn: &mut Conn) -> Result<executions::Execution, StoreError> {
    executions::begin(conn, "stock_check", &WorkerId::new("node"), DEAD_AFTER).await
}

#[tokio::test]
async fn two_runs_of_one_process_at_once_are_impossible() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let run = begin(&mut conn).await.unwrap();
    let refused = begin(&mut conn).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Conflict { .. }) && refused.to_string().contains("node/"),
        "{refused}"
    );
    executions::begin(&mut conn, "price_check", &WorkerId::new("node"), DEAD_AFTER)
        .await
        .unwrap();
    let progress = Progress {
        total: 3,
        processed: 3,
        updated: 1,
        errors: 1,
    };
    executions::heartbeat(&mut conn, run, progress).await.unwrap();
    executions::finish(
        &mut conn,
        run,
        ExecutionEnd::Partial,
        progress,
        Some("one failed"),
        None,
    )
    .await
    .unwrap();
    begin(&mut conn).await.unwrap();
}

#[tokio::test]
async fn the_lock_of_a_dead_worker_is_broken_and_it_learns_so() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let dead = begin(&mut conn).await.unwrap();
    t.run("UPDATE inventory_execution_logs SET heartbeat_at = now() - interval '61 s'")
        .await;
    let next = begin(&mut conn).await.unwrap();
    for late in [
        executions::heartbeat(&mut conn, dead, Progress::default()).await,
        executions::finish(
            &mut conn,
            dead,
            ExecutionEnd::Completed,
            Progress::default(),
            None,
            None,
        )
        .await,
    ] {
        assert!(matches!(late, Err(StoreError::Conflict { .. })));
    }
    executions::heartbeat(&mut conn, next, Progress::default())
        .await
        .unwrap();
    assert_eq!(
        t.text("SELECT string_agg(status, ' ' ORDER BY id) FROM inventory_execution_logs")
            .await,
        "failed running"
    );
}
