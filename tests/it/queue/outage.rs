//! The database goes away while jobs are in hand.

use super::executor::{Running, Setup, checks, numbered, states, system, until_states};
use crate::support::pg::TestDb;
use crate::support::wait::until;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Notify;
use zaikoban::queue::{Outcome, each};
use zaikoban::store::jobs::enqueue;

#[test]
fn results_wait_for_the_database_and_are_settled_when_it_is_back() {
    system(async {
        let t = TestDb::new().await;
        enqueue(&mut t.db().conn().await.unwrap(), &numbered(3))
            .await
            .unwrap();
        let begun = Arc::new(Mutex::new(0));
        let (count, go) = (Arc::clone(&begun), Arc::new(Notify::new()));
        let gate = Arc::clone(&go);
        let work = each(move |_, _| {
            *count.lock() += 1;
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                Outcome::Done(json!(null))
            }
        });
        let setup = Setup {
            workers: 3,
            ..Setup::default()
        };
        let running = Running::start(&t, work, setup).await;
        until("all at work", || async { (*begun.lock() == 3).then_some(()) }).await;
        // from outside: nobody gets in, and whoever is in is out
        let name = t.name();
        let admin = |sql: String| async move {
            use diesel_async::SimpleAsyncConnection as _;
            crate::support::pg::admin()
                .await
                .batch_execute(&sql)
                .await
                .unwrap();
        };
        admin(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
        admin(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
        for _ in 0..3 {
            go.notify_one();
        }
        until("the workers are free although nothing can be written", || async {
            let figures = running.tallies.of(checks()).figures();
            (figures.busy == 0 && figures.completed == 0).then_some(())
        })
        .await;
        admin(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
        until("the settled results", || async {
            (running.tallies.of(checks()).figures().completed == 3).then_some(())
        })
        .await;
        until_states(&t, "completed 3").await;
        assert_eq!(*begun.lock(), 3, "none was done again");
        assert_eq!(states(&t).await, "completed 3");
        running.stop().await;
    });
}
