//! One process's queue: real executors and stagers on a database and a Redis, with a work that counts its effects.

use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::domain::JobId;
use zaikoban::queue::crew::Crew;
use zaikoban::queue::fast::FastLanes;
use zaikoban::queue::staged::StagedFigures;
use zaikoban::queue::{
    ClaimedJob, Notices, Order, Orders, OrdersBoard, Outcome, Policy, QueueParts, Registry, Tallies,
    children, each,
};
use zaikoban::store::jobs::{Lane, NewJob, QueueName, WorkerId, enqueue};
use zaikoban::store::redis::{self, Link, RedisSettings, RedisStatus, TroubleKind, instance};
use zaikoban::supervision::{GiveUp, GroupSpec, Intensity, Strategy, Tree, TreeOptions};

pub const LANE: Lane = Lane {
    queue: QueueName::StockCheck,
    destination: None,
};

/// How often each job was done, over all shops that share this.
pub type Effects = Arc<Mutex<HashMap<JobId, u32>>>;

/// See the module.
pub struct Shop {
    pub link: Link,
    pub fast: FastLanes,
    pub effects: Effects,
    tree: Tree,
}

pub fn system<F: std::future::Future>(test: F) -> F::Output {
    actix::System::new().block_on(test)
}

impl Shop {
    pub async fn open(t: &TestDb, url: &str) -> Self {
        Self::with(t, url, "node", Effects::default()).await
    }

    pub async fn with(t: &TestDb, url: &str, node: &str, effects: Effects) -> Self {
        let link = link(t, url).await;
        let fast = FastLanes::new(link.clone());
        let mut registry = Registry::default();
        let count = Arc::clone(&effects);
        let work = each(move |job: ClaimedJob, _| {
            *count.lock().entry(job.lease.job).or_default() += 1;
            async { Outcome::Done(json!({})) }
        });
        registry.register(LANE, work, Policy::default());
        let mut orders = Orders::default();
        let crew = Crew::new(2, 2).unwrap();
        orders.set(LANE.queue, Order { crew, paused: false });
        let parts = QueueParts {
            db: t.db().clone(),
            ownership: alone(t).await,
            notices: Notices::default(),
            worker: WorkerId::new(node),
            policy: Policy::default(),
            registry,
            orders: OrdersBoard::new(orders),
            tallies: Tallies::default(),
            grace: Duration::from_secs(10),
            fast: Some(fast.clone()),
        };
        let mut all = vec![redis::child("redis", link.clone())];
        all.extend(children(&parts));
        let spec = GroupSpec {
            name: "queue".into(),
            strategy: Strategy::OneForOne,
            intensity: Intensity {
                restarts: 5,
                within: Duration::from_secs(60),
            },
            give_up: GiveUp::Escalate,
            children: all,
        };
        let tree = Tree::start(spec, TreeOptions::default()).unwrap();
        tree.opened().await.unwrap();
        Self {
            link,
            fast,
            effects,
            tree,
        }
    }

    pub fn figures(&self) -> StagedFigures {
        self.fast.of(LANE).figures()
    }

    pub async fn until_up(&self) {
        until("Redis is used", || async { self.link.is_up().then_some(()) }).await;
    }

    /// Waits until it is known to be away for this reason.
    pub async fn until_away(&self, kind: TroubleKind) {
        let mut seen = self.link.watch();
        let away = seen.wait_for(|now| matches!(now, RedisStatus::Away { kind: k, .. } if *k == kind));
        let found = tokio::time::timeout(Duration::from_secs(20), away).await;
        assert!(
            found.is_ok(),
            "expected {kind:?}, got {:?}",
            *self.link.watch().borrow()
        );
    }

    /// Ends it; nothing crashed meanwhile.
    pub async fn close(self) {
        let report = self.tree.report();
        assert!(!format!("{report:?}").contains("Crashed"), "{report:?}");
        let stopped = self.tree.stop(Duration::from_secs(60)).await;
        assert!(stopped.leftovers.is_empty(), "{stopped:?}");
    }
}

/// A link that nobody keeps yet.
pub async fn link(t: &TestDb, url: &str) -> Link {
    let settings = RedisSettings::new(url, None, "zt").unwrap();
    let word = instance::instance(&mut t.db().conn().await.unwrap())
        .await
        .unwrap();
    Link::new(settings, &word, Clock::system())
}

/// Enqueues so many jobs, of all priorities.
pub async fn put(t: &TestDb, n: usize) {
    put_at(t, n, Duration::ZERO).await;
}

/// The same, due later.
pub async fn put_at(t: &TestDb, n: usize, delay: Duration) {
    let job = |n: usize| NewJob {
        priority: i16::try_from(n % 10).unwrap() + 1,
        scheduled_at: (!delay.is_zero()).then(|| Clock::system().now() + delay),
        ..NewJob::new(LANE)
    };
    let jobs: Vec<NewJob> = (0..n).map(job).collect();
    enqueue(&mut t.db().conn().await.unwrap(), &jobs).await.unwrap();
}

/// Waits until every job is completed, and none but this many there are.
pub async fn until_done(t: &TestDb, n: usize) {
    let sql = "SELECT string_agg(status || ' ' || n, ', ') FROM \
               (SELECT status, count(*) AS n FROM processing_queue GROUP BY status ORDER BY status) s";
    let want = format!("completed {n}");
    let seen = Mutex::new(String::new());
    let done = tokio::time::timeout(Duration::from_secs(29), async {
        until(&want, || async {
            let now = t.text(sql).await;
            *seen.lock() = now.clone();
            (now == want).then_some(())
        })
        .await;
    });
    assert!(done.await.is_ok(), "expected {want}, got {}", seen.lock());
}

/// Every one of so many jobs had its effect once.
pub fn assert_once(effects: &Effects, n: usize) {
    let effects = effects.lock();
    let twice: Vec<_> = effects.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
    assert_eq!(effects.len(), n);
}

/// Other seeds by `ZAIKOBAN_TEST_SEED`; a test that fails shows its own.
#[expect(clippy::print_stderr, reason = "whoever repeats a failed test needs it")]
#[expect(
    clippy::disallowed_methods,
    reason = "tests take their seed from the environment"
)]
pub fn seed(own: u64) -> u64 {
    let set = std::env::var("ZAIKOBAN_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = set.unwrap_or(own);
    eprintln!("seed {seed}");
    seed
}
