//! Registered work, done by executors under a real tree.

use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;
use zaikoban::clock::Clock;
use zaikoban::nodes::{Identity, Keeper, Ownership, Timing};
use zaikoban::queue::crew::Crew;
use zaikoban::queue::{
    ClaimedJob, JobError, Notices, Order, Orders, OrdersBoard, Outcome, Policy, QueueParts, Registry,
    Tallies, Turn, Work, each, executors,
};
use zaikoban::store::jobs::{self, Lane, NewJob, QueueName, WorkerId, enqueue};
use zaikoban::supervision::{GiveUp, GroupSpec, Intensity, Strategy, Tree, TreeOptions};

pub fn checks() -> Lane {
    Lane {
        queue: QueueName::StockCheck,
        destination: None,
    }
}

/// Jobs whose payload is their number.
pub fn numbered(n: usize) -> Vec<NewJob> {
    (0..n)
        .map(|n| NewJob {
            payload: json!(n),
            ..NewJob::new(checks())
        })
        .collect()
}

fn number(job: &ClaimedJob) -> u64 {
    job.payload.as_u64().unwrap_or_default()
}

/// A process's executors on a test's database.
pub struct Running {
    tree: Tree,
    pub board: OrdersBoard,
    pub tallies: Tallies,
}

/// How the executors of a test are made.
pub struct Setup {
    pub workers: u16,
    pub policy: Policy,
    pub grace: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 2,
            policy: Policy::default(),
            grace: Duration::from_secs(10),
        }
    }
}

impl Running {
    pub async fn start(t: &TestDb, work: impl Work, setup: Setup) -> Self {
        Self::owning(t, alone(t).await, work, setup).await
    }

    async fn owning(t: &TestDb, ownership: Ownership, work: impl Work, setup: Setup) -> Self {
        let mut registry = Registry::default();
        registry.register(checks(), work, setup.policy);
        let mut orders = Orders::default();
        let crew = Crew::new(setup.workers, setup.workers).unwrap();
        orders.set(QueueName::StockCheck, Order { crew, paused: false });
        let board = OrdersBoard::new(orders);
        let tallies = Tallies::default();
        let parts = QueueParts {
            fast: None,
            db: t.db().clone(),
            ownership,
            notices: Notices::default(),
            worker: WorkerId::new("node"),
            policy: setup.policy,
            registry,
            orders: board.clone(),
            tallies: tallies.clone(),
            grace: setup.grace,
        };
        let spec = GroupSpec {
            name: "queue".into(),
            strategy: Strategy::OneForOne,
            intensity: Intensity {
                restarts: 5,
                within: Duration::from_secs(60),
            },
            give_up: GiveUp::Escalate,
            children: executors(&parts),
        };
        let tree = Tree::start(spec, TreeOptions::default()).unwrap();
        tree.opened().await.unwrap();
        Self { tree, board, tallies }
    }

    pub async fn stop(self) {
        let report = self.tree.report();
        assert!(!format!("{report:?}").contains("Crashed"), "{report:?}");
        let stopped = self.tree.stop(Duration::from_secs(60)).await;
        assert!(stopped.leftovers.is_empty(), "{stopped:?}");
    }
}

async fn put(t: &TestDb, jobs: &[NewJob]) {
    enqueue(&mut t.db().conn().await.unwrap(), jobs).await.unwrap();
}

/// How many jobs stand in each state, such as `completed 3, failed 1`.
pub async fn states(t: &TestDb) -> String {
    t.text(
        "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM \
         (SELECT status, count(*) AS n FROM processing_queue GROUP BY status) s",
    )
    .await
}

pub async fn until_states(t: &TestDb, want: &str) {
    let seen = Mutex::new(String::new());
    let found = tokio::time::timeout(Duration::from_secs(29), async {
        until(want, || async {
            let now = states(t).await;
            *seen.lock() = now.clone();
            (now == want).then_some(())
        })
        .await;
    });
    assert!(found.await.is_ok(), "expected {want}, got {}", seen.lock());
}

pub fn system<F: std::future::Future>(test: F) -> F::Output {
    actix::System::new().block_on(test)
}

#[test]
fn registered_work_is_done_once_for_each_job_and_other_lanes_are_left_alone() {
    system(async {
        let t = TestDb::new().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let work = each(move |job: ClaimedJob, _| {
            told.lock().push(number(&job));
            async { Outcome::Done(json!({"ok": true})) }
        });
        put(&t, &numbered(700)).await;
        let other = Lane {
            queue: QueueName::Validation,
            destination: None,
        };
        put(&t, &[NewJob::new(other)]).await;
        let running = Running::start(&t, work, Setup::default()).await;
        until_states(&t, "completed 700, pending 1").await;
        running.stop().await;
        let mut seen = seen.lock().clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..700).collect::<Vec<u64>>());
    });
}

/// A work for whole batches: the job numbered 3 panics, and takes its batch with it.
struct Fragile(Arc<Mutex<Vec<usize>>>);

impl Work for Fragile {
    fn run(&self, jobs: Vec<ClaimedJob>, _: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        self.0.lock().push(jobs.len());
        async move {
            assert!(!jobs.iter().any(|j| number(j) == 3), "the third is guilty");
            jobs.iter().map(|_| Outcome::Done(json!(null))).collect()
        }
        .boxed()
    }
}

#[test]
fn of_a_batch_that_panics_only_the_guilty_job_fails() {
    system(async {
        let t = TestDb::new().await;
        let batches = Arc::new(Mutex::new(Vec::new()));
        put(&t, &numbered(8)).await;
        let setup = Setup {
            workers: 1,
            ..Setup::default()
        };
        let running = Running::start(&t, Fragile(Arc::clone(&batches)), setup).await;
        until_states(&t, "completed 7, failed 1").await;
        running.stop().await;
        assert_eq!(*batches.lock(), [8, 1, 1, 1, 1, 1, 1, 1, 1]);
        let row = t.text("SELECT concat(payload, ' ', retry_count, ' ', error_message) FROM processing_queue WHERE status = 'failed'").await;
        assert!(
            row.starts_with("3 1 panic: ") && row.contains("the third is guilty"),
            "{row}"
        );
    });
}

/// Says too little.
struct Taciturn;

impl Work for Taciturn {
    fn run(&self, jobs: Vec<ClaimedJob>, _: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        let said = jobs.iter().filter(|j| number(j) != 1);
        let said: Vec<Outcome> = said.map(|_| Outcome::Done(json!(null))).collect();
        async { said }.boxed()
    }
}

#[test]
fn a_work_that_gives_too_few_outcomes_fails_only_where_it_gives_none() {
    system(async {
        let t = TestDb::new().await;
        put(&t, &numbered(4)).await;
        let running = Running::start(&t, Taciturn, Setup::default()).await;
        until_states(&t, "completed 3, failed 1").await;
        running.stop().await;
        let error = t
            .text("SELECT concat(payload, error_message) FROM processing_queue WHERE status = 'failed'")
            .await;
        assert!(
            error.starts_with("1outcome_count: the work gave 0 outcomes"),
            "{error}"
        );
    });
}

#[test]
fn a_job_over_its_time_limit_is_tried_again_and_its_neighbours_are_done() {
    system(async {
        let t = TestDb::new().await;
        put(&t, &numbered(3)).await;
        let setup = Setup {
            workers: 1,
            policy: Policy {
                time_limit: Duration::from_millis(200),
                ..Policy::default()
            },
            ..Setup::default()
        };
        let work = each(|job: ClaimedJob, _| async move {
            if number(&job) == 1 {
                std::future::pending::<()>().await;
            }
            Outcome::Done(json!(null))
        });
        let running = Running::start(&t, work, setup).await;
        until_states(&t, "completed 2, failed 1").await;
        running.stop().await;
        let error = t
            .text("SELECT error_message FROM processing_queue WHERE status = 'failed'")
            .await;
        assert_eq!(error, "time_limit: the job was not done within 0.2 s");
    });
}

#[test]
fn what_runs_at_a_stop_gets_its_grace_and_is_then_put_back_without_using_a_try() {
    system(async {
        let t = TestDb::new().await;
        put(&t, &numbered(3)).await;
        let setup = Setup {
            workers: 3,
            grace: Duration::from_millis(300),
            ..Setup::default()
        };
        let begun = Arc::new(Mutex::new(0));
        let count = Arc::clone(&begun);
        let heeded = Arc::new(Notify::new());
        let work = each(move |job: ClaimedJob, turn: Turn| {
            *count.lock() += 1;
            let heeded = Arc::clone(&heeded);
            async move {
                match number(&job) {
                    // ends when it is asked to
                    0 => turn.stopping().cancelled().await,
                    1 => {
                        turn.stopping().cancelled().await;
                        return Outcome::Retry(JobError::new("cut", "short"));
                    }
                    // heeds nothing
                    _ => heeded.notified().await,
                }
                Outcome::Done(json!(null))
            }
        });
        let running = Running::start(&t, work, setup).await;
        until("all three at work", || async {
            (*begun.lock() == 3).then_some(())
        })
        .await;
        running.stop().await;
        assert_eq!(states(&t).await, "completed 1, failed 1, pending 1");
        let left = t
            .text("SELECT concat(payload, ' ', retry_count, ' ', attempt) FROM processing_queue WHERE status = 'pending'")
            .await;
        assert_eq!(left, "2 0 1");
    });
}

#[test]
fn a_paused_queue_takes_nothing_until_it_goes_on() {
    system(async {
        let t = TestDb::new().await;
        let work = each(|_, _| async { Outcome::Done(json!(null)) });
        let running = Running::start(&t, work, Setup::default()).await;
        let db = t.db();
        let order = async |paused| {
            let mut conn = db.conn().await.unwrap();
            let queue = QueueName::StockCheck;
            let news = jobs::order_pause(&mut conn, queue, paused, "akira")
                .await
                .unwrap();
            drop(conn);
            running.board.read(db).await.unwrap();
            news
        };
        assert!(order(true).await);
        assert!(!order(true).await, "no news");
        until("the pause", || async {
            running.tallies.of(checks()).figures().paused.then_some(())
        })
        .await;
        put(&t, &numbered(3)).await;
        // a look would come within a poll
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(states(&t).await, "pending 3");
        assert!(order(false).await);
        until_states(&t, "completed 3").await;
        running.stop().await;
    });
}

#[test]
fn a_drained_node_takes_no_job_until_it_takes_part_again() {
    system(async {
        let t = TestDb::new().await;
        let who = Identity {
            boot: Uuid::now_v7(),
            name: "a".to_owned(),
            can: Vec::new(),
        };
        let keeper = Keeper::join(t.db(), who, &Clock::system(), Timing::default())
            .await
            .unwrap();
        keeper.drain(Duration::ZERO).await;
        keeper.look().await.unwrap();
        put(&t, &numbered(3)).await;
        let work = each(|_, _| async { Outcome::Done(json!(null)) });
        let running = Running::owning(&t, keeper.ownership().clone(), work, Setup::default()).await;
        until("the pause", || async {
            running.tallies.of(checks()).figures().paused.then_some(())
        })
        .await;
        assert_eq!(states(&t).await, "pending 3");
        keeper.undrain();
        keeper.look().await.unwrap();
        until_states(&t, "completed 3").await;
        running.stop().await;
    });
}
