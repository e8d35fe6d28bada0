//! The database goes away while jobs are in hand.

use super::executor::{Running, Setup, checks, numbered, states, system, until_states};
use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use zaikoban::queue::executor::{self, ExecutorParts};
use zaikoban::queue::supply::{Ask, FromTable, Supply, Taken};
use zaikoban::queue::{Notices, Orders, OrdersBoard, Outcome, Policy, Registry, Tallies, each};
use zaikoban::store::StoreError;
use zaikoban::store::jobs::{WorkerId, enqueue};
use zaikoban::supervision::{GiveUp, GroupSpec, Intensity, Strategy, Tree, TreeOptions};

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

/// The first answer is lost on its way: the claim stands, and nobody knows what it took.
struct LosesOne(FromTable, Arc<AtomicBool>);

impl Supply for LosesOne {
    fn take(&self, ask: Ask) -> BoxFuture<'static, Result<Taken, StoreError>> {
        let (taken, lost) = (self.0.take(ask), Arc::clone(&self.1));
        async move {
            let taken = taken.await?;
            if taken.jobs.is_empty() || lost.swap(true, Ordering::SeqCst) {
                return Ok(taken);
            }
            Err(StoreError::Unavailable {
                reason: "the connection broke".to_owned(),
                sqlstate: None,
            })
        }
        .boxed()
    }
}

#[test]
fn jobs_that_were_taken_without_an_answer_are_done_long_before_their_leases_end() {
    system(async {
        let t = TestDb::new().await;
        enqueue(&mut t.db().conn().await.unwrap(), &numbered(3))
            .await
            .unwrap();
        let (mut registry, worker) = (Registry::default(), WorkerId::new("node"));
        let work = each(|_, _| async { Outcome::Done(json!(null)) });
        registry.register(checks(), work, Policy::default());
        let lost = Arc::new(AtomicBool::new(false));
        let supply = LosesOne(
            FromTable::new(t.db().clone(), checks(), worker.clone()),
            Arc::clone(&lost),
        );
        let parts = ExecutorParts {
            db: t.db().clone(),
            worker,
            notices: Notices::default(),
            ownership: alone(&t).await,
            entry: registry.entries()[0].clone(),
            supply: Arc::new(supply),
            orders: OrdersBoard::new(Orders::default()).subscribe(),
            tally: Tallies::default().of(checks()),
            grace: Duration::from_secs(5),
        };
        let spec = GroupSpec {
            name: "queue".into(),
            strategy: Strategy::OneForOne,
            intensity: Intensity {
                restarts: 0,
                within: Duration::from_secs(60),
            },
            give_up: GiveUp::Escalate,
            children: vec![executor::child(parts)],
        };
        let tree = Tree::start(spec, TreeOptions::default()).unwrap();
        until_states(&t, "completed 3").await;
        assert!(lost.load(Ordering::SeqCst));
        assert_eq!(t.text("SELECT sum(crash_count) FROM processing_queue").await, "0");
        tree.stop(Duration::from_secs(30)).await;
    });
}

#[test]
fn an_outage_while_a_group_is_settled_one_by_one_costs_no_result() {
    system(async {
        let t = TestDb::new().await;
        // The database goes away once, in the middle: a sequence remembers it over the rollback.
        t.run(
            "CREATE SEQUENCE tries; \
             CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               IF nextval('tries') = 1 THEN RAISE 'going away' USING ERRCODE = '57P01'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER away BEFORE UPDATE ON processing_queue FOR EACH ROW \
               WHEN (NEW.status = 'completed' AND NEW.payload = '1') EXECUTE FUNCTION away()",
        )
        .await;
        enqueue(&mut t.db().conn().await.unwrap(), &numbered(3))
            .await
            .unwrap();
        let work = each(|job, _| async move {
            let says = if job.payload == json!(0) { "\0" } else { "well" };
            Outcome::Done(json!(says))
        });
        let setup = Setup {
            workers: 1,
            ..Setup::default()
        };
        let running = Running::start(&t, work, setup).await;
        until_states(&t, "completed 3").await;
        let results = t.text(
            "SELECT string_agg(COALESCE(result::text, '-'), ' ' ORDER BY payload) FROM processing_queue",
        );
        assert_eq!(
            results.await,
            r#"- "well" "well""#,
            "only what cannot be kept is lost"
        );
        assert_eq!(running.tallies.of(checks()).figures().lost, 0);
        running.stop().await;
    });
}
