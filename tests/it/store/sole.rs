//! One daemon works on a database, also when its session breaks.

use crate::support::pg::{TestDb, socket_folder};
use crate::support::proxy::Proxy;
use crate::support::wait::until;
use std::time::Duration;
use tokio::time::timeout;
use zaikoban::store::{Db, PoolSettings, Sole};
use zaikoban::supervision::Life;

const AT_ONCE: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(30);
/// The session that holds the lock.
const HOLDER: &str = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[tokio::test]
async fn a_second_daemon_is_refused_while_the_first_lives() {
    let t = TestDb::new().await;
    let first = Sole::take(t.db(), "first", AT_ONCE).await.unwrap().unwrap();
    assert!(Sole::take(t.db(), "second", AT_ONCE).await.unwrap().is_none());
    let other = TestDb::new().await;
    let elsewhere = Sole::take(other.db(), "second", AT_ONCE).await.unwrap();
    assert!(elsewhere.is_some(), "another database has a lock of its own");
    drop(first);
    // the session ends a moment after its owner, which the patience is for
    let second = Sole::take(t.db(), "second", SOON).await.unwrap();
    assert!(second.is_some());
}

#[tokio::test]
async fn a_broken_session_is_replaced_and_the_lock_is_taken_again() {
    let t = TestDb::new().await;
    let sole = Sole::take(t.db(), "first", AT_ONCE).await.unwrap().unwrap();
    let before = t.text(HOLDER).await;
    let life = Life::detached("store/sole");
    let broken = async {
        t.run(&format!("SELECT pg_terminate_backend({before})")).await;
        until("another session with the lock", || async {
            let now = t.text(HOLDER).await;
            (!now.is_empty() && now != before).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = sole.keep(&life) => panic!("the keeper gave up"),
        () = sole.lost() => panic!("nobody else wanted it"),
        () = broken => {}
    }
    assert!(Sole::take(t.db(), "second", AT_ONCE).await.unwrap().is_none());
}

/// The way to the server vanishes without a word: the server believes in the old session for a while.
#[tokio::test]
async fn a_session_of_ours_that_the_server_still_believes_in_is_ended() {
    let t = TestDb::new().await;
    let _dead = Sole::take(t.db(), "first", AT_ONCE).await.unwrap().unwrap();
    let again = Sole::take(t.db(), "first", SOON).await.unwrap();
    assert!(again.is_some());
}

#[tokio::test]
async fn whoever_finds_the_lock_taken_by_another_after_a_break_says_so() {
    let t = TestDb::new().await;
    let proxy = Proxy::before(&socket_folder()).await;
    let mut settings = PoolSettings::new(proxy.url(t.name()));
    settings.accept_loss = true;
    let through = Db::connect(&settings).await.unwrap();
    let first = Sole::take(&through, "first", AT_ONCE).await.unwrap().unwrap();
    proxy.cut_after(Some(0));
    let life = Life::detached("store/sole");
    let taken = async {
        let second = until("the lock of the broken session", || async {
            Sole::take(t.db(), "second", AT_ONCE).await.unwrap()
        });
        let second = second.await;
        proxy.cut_after(None);
        timeout(SOON, first.lost()).await.expect("nobody said so");
        drop(second);
    };
    tokio::select! {
        () = first.keep(&life) => panic!("the keeper ended by itself"),
        () = taken => {}
    }
}
