//! The way to the database is cut, held or lost.

use crate::support::pg::{TestDb, socket_folder};
use crate::support::proxy::Proxy;
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use std::time::Duration;
use zaikoban::store::{Db, PoolSettings};

async fn through(proxy: &Proxy, t: &TestDb) -> Db {
    let mut settings = PoolSettings::new(proxy.url(t.name()));
    settings.accept_loss = true;
    settings.connections = 1;
    settings.statement_limit = Duration::from_millis(300);
    settings.connect_limit = Duration::from_secs(2);
    Db::connect(&settings).await.unwrap()
}

/// B4: whether a transaction whose COMMIT was cut stands is unknown to the caller, and the table tells.
#[tokio::test]
async fn b4_a_commit_that_is_cut_at_any_byte_stands_whole_or_not_at_all() {
    let t = TestDb::new().await;
    let proxy = Proxy::before(&socket_folder()).await;
    let mut outcomes = [0, 0];
    for cut in 0..16 {
        let db = through(&proxy, &t).await;
        let at_commit = proxy.clone();
        let key = format!("cut{cut}");
        let row = key.clone();
        let told = db
            .transaction(move |conn| {
                Box::pin(async move {
                    let sql = format!("INSERT INTO platform_state (platform) VALUES ('{row}')");
                    conn.batch_execute(&sql).await?;
                    // COMMIT is 12 bytes on the wire: type, length, text, zero
                    at_commit.cut_after(Some(cut));
                    Ok(())
                })
            })
            .await;
        proxy.cut_after(None);
        let stands = until("the server to have settled the session", || async {
            let active = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                 AND state <> 'idle'";
            if t.text(active).await != "0" {
                return None;
            }
            Some(t.text(&format!("SELECT count(*) FROM platform_state WHERE platform = '{key}'")).await)
        })
        .await;
        match told {
            Ok(()) => assert_eq!(stands, "1", "cut {cut}: told committed"),
            Err(error) => assert!(error.is_outage() && error.is_retryable(), "cut {cut}: {error}"),
        }
        outcomes[usize::from(stands == "1")] += 1;
        db.close();
    }
    assert!(
        outcomes.iter().all(|n| *n > 0),
        "the cuts must meet both outcomes: {outcomes:?}"
    );
}

/// B5: a peer that neither answers nor hangs up.
#[tokio::test]
async fn b5_a_connection_on_which_nothing_comes_is_given_up_and_replaced() {
    let t = TestDb::new().await;
    let proxy = Proxy::before(&socket_folder()).await;
    let mut settings = PoolSettings::new(proxy.url(t.name()));
    settings.accept_loss = true;
    settings.connections = 1;
    settings.statement_limit = Duration::from_millis(100);
    let db = Db::connect(&settings).await.unwrap();
    proxy.hold(true);
    let mut conn = db.conn().await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(30), conn.batch_execute("SELECT 1")).await;
    let error = answer.expect("it hangs").unwrap_err();
    let error = zaikoban::store::StoreError::from(error);
    assert!(error.is_outage(), "{error}");
    drop(conn);
    proxy.hold(false);
    db.conn().await.unwrap().batch_execute("SELECT 1").await.unwrap();
}

/// B3: `kill -9` of one backend makes the whole cluster start anew; everybody's session is gone.
#[tokio::test]
async fn after_all_sessions_were_cut_the_next_call_gets_a_new_one() {
    let t = TestDb::new().await;
    let db = t.db();
    let held: Vec<_> = futures_util::future::join_all((0..4).map(|_| db.conn())).await;
    drop(held);
    t.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    until("four sound connections", || async {
        let all = futures_util::future::join_all((0..4).map(|_| async {
            let mut conn = db.conn().await.ok()?;
            conn.batch_execute("SELECT 1").await.ok()
        }));
        all.await.into_iter().all(|one| one.is_some()).then_some(())
    })
    .await;
}
