//! Connections, transactions and time limits.

use crate::support::pg::TestDb;
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Barrier, oneshot};
use zaikoban::store::{Connection, SqlState, StoreError};

async fn run(conn: &mut Connection, sql: &str) -> Result<(), StoreError> {
    Ok(conn.batch_execute(sql).await?)
}

#[tokio::test]
async fn every_error_carries_its_sqlstate() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    for (sql, code) in [
        ("SELECT 1/0", "22012"),
        ("SELECT nonsense", "42703"),
        ("SELECT * FROM nowhere", "42P01"),
        (
            "INSERT INTO processing_queue (queue_name) VALUES ('nonsense')",
            "23514",
        ),
        ("SET statement_timeout = '20ms'; SELECT pg_sleep(5)", "57014"),
        ("RESET ALL; BEGIN READ ONLY; CREATE TABLE x (n int)", "25006"),
        ("ROLLBACK; SELECT pg_terminate_backend(pg_backend_pid())", "57P01"),
    ] {
        let error = run(&mut conn, sql).await.unwrap_err();
        assert_eq!(
            error.sqlstate().map(|s| s.to_string()).as_deref(),
            Some(code),
            "{sql}: {error}"
        );
    }
}

#[tokio::test]
async fn the_limits_are_set_on_every_connection() {
    let t = TestDb::with(|s| {
        s.statement_limit = Duration::from_millis(1_500);
        s.lock_limit = Duration::from_millis(700);
        s.idle_in_transaction_limit = Duration::from_millis(9_000);
    })
    .await;
    for (setting, want) in [
        ("statement_timeout", "1500ms"),
        ("lock_timeout", "700ms"),
        ("idle_in_transaction_session_timeout", "9s"),
        ("application_name", "zaikoban"),
        ("TimeZone", "UTC"),
    ] {
        assert_eq!(
            t.text(&format!("SELECT current_setting('{setting}')")).await,
            want
        );
    }
}

#[tokio::test]
async fn somebody_elses_long_lock_is_an_error_not_a_hang() {
    let t = TestDb::with(|s| s.lock_limit = Duration::from_millis(50)).await;
    let mut other = t.db().conn().await.unwrap();
    run(
        &mut other,
        "BEGIN; LOCK TABLE processing_queue IN ACCESS EXCLUSIVE MODE",
    )
    .await
    .unwrap();
    let mut conn = t.db().conn().await.unwrap();
    let error = run(&mut conn, "SELECT count(*) FROM processing_queue")
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::LOCK_NOT_AVAILABLE));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_caller_waits_for_a_connection_only_so_long() {
    let t = TestDb::with(|s| {
        s.connections = 1;
        s.wait_limit = Duration::from_millis(50);
    })
    .await;
    let held = t.db().conn().await.unwrap();
    let error = t.db().conn().await.err().unwrap();
    assert!(
        error.is_outage() && error.to_string().contains("none of 1 connections"),
        "{error}"
    );
    drop(held);
    t.db().conn().await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_session_has_ended_is_never_lent_again() {
    let t = TestDb::with(|s| s.connections = 1).await;
    let before = t.text("SELECT pg_backend_pid()").await;
    let mut admin = crate::support::pg::admin().await;
    admin
        .batch_execute(&format!("SELECT pg_terminate_backend({before}, 5000)"))
        .await
        .unwrap();
    // the end comes over the socket a moment after the server has made it
    let after = until("another session", || async {
        let mut conn = t.db().conn().await.ok()?;
        run(&mut conn, "SELECT 1").await.ok()
    });
    after.await;
    assert_ne!(t.text("SELECT pg_backend_pid()").await, before);
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing() {
    let t = TestDb::new().await;
    let failed: Result<(), _> = t
        .db()
        .transaction(|conn| {
            Box::pin(async move {
                run(conn, "INSERT INTO platform_state (platform) VALUES ('ebay')").await?;
                run(conn, "INSERT INTO platform_state (platform) VALUES ('ebay')").await
            })
        })
        .await;
    let error = failed.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::UNIQUE_VIOLATION));
    assert_eq!(error.constraint(), Some("platform_state_pkey"));
    assert_eq!(t.text("SELECT count(*) FROM platform_state").await, "0");
}

#[tokio::test]
async fn a_transaction_whose_caller_goes_away_still_commits_whole() {
    let t = TestDb::with(|s| s.connections = 2).await;
    let (began, has_begun) = oneshot::channel();
    let (go, may_go) = oneshot::channel::<()>();
    let mut caller = Box::pin(t.db().transaction(|conn| {
        Box::pin(async move {
            run(conn, "INSERT INTO platform_state (platform) VALUES ('ebay')").await?;
            began.send(()).unwrap();
            let _ = may_go.await;
            run(
                conn,
                "INSERT INTO platform_state (platform) VALUES ('yahoo_auction')",
            )
            .await
        })
    }));
    tokio::select! {
        ended = &mut caller => panic!("{ended:?}"),
        begun = has_begun => begun.unwrap(),
    }
    drop(caller);
    assert_eq!(
        t.text("SELECT count(*) FROM platform_state").await,
        "0",
        "not committed yet"
    );
    go.send(()).unwrap();
    until("both rows", || async {
        (t.text("SELECT count(*) FROM platform_state").await == "2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_panics_is_rolled_back_and_its_connection_thrown_away() {
    let t = TestDb::with(|s| s.connections = 1).await;
    let before = t.text("SELECT pg_backend_pid()").await;
    let ended: Result<(), StoreError> = t
        .db()
        .transaction(|conn| {
            Box::pin(async move {
                run(conn, "INSERT INTO platform_state (platform) VALUES ('ebay')").await?;
                panic!("a bug")
            })
        })
        .await;
    assert!(ended.unwrap_err().to_string().contains("a bug"));
    assert_ne!(t.text("SELECT pg_backend_pid()").await, before);
    assert_eq!(t.text("SELECT count(*) FROM platform_state").await, "0");
}

#[tokio::test]
async fn b11_deadlocks_are_begun_anew_when_the_caller_asks_for_it() {
    let t = TestDb::new().await;
    t.run("INSERT INTO platform_state (platform) VALUES ('a'), ('b')")
        .await;
    let met = Arc::new(Barrier::new(2));
    let tries = Arc::new(AtomicU32::new(0));
    let cross = |first: &'static str, second: &'static str| {
        let (met, tries) = (Arc::clone(&met), Arc::clone(&tries));
        t.db().transaction_retried(5, move |conn: &mut Connection| {
            let (met, tries) = (Arc::clone(&met), Arc::clone(&tries));
            Box::pin(async move {
                let add = |key| {
                    format!(
                        "UPDATE platform_state SET budget_used = budget_used + 1 WHERE platform = '{key}'"
                    )
                };
                run(conn, &add(first)).await?;
                // only the first two must meet: the loser's next try goes through
                if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                    met.wait().await;
                }
                run(conn, &add(second)).await
            })
        })
    };
    let (one, other) = tokio::join!(cross("a", "b"), cross("b", "a"));
    one.unwrap();
    other.unwrap();
    assert_eq!(tries.load(Ordering::SeqCst), 3, "one of them lost once");
    assert_eq!(
        t.text("SELECT string_agg(budget_used::text, ' ') FROM platform_state")
            .await,
        "2 2"
    );
}

#[tokio::test]
async fn a_refusal_is_not_begun_anew() {
    let t = TestDb::new().await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let refused: Result<(), _> = t
        .db()
        .transaction_retried(5, move |conn: &mut Connection| {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(run(conn, "SELECT 1/0"))
        })
        .await;
    assert!(refused.unwrap_err().is_bad_data());
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}
