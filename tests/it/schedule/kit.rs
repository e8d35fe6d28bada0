//! Schedulers over one database, with actions that the test writes.

use crate::support::pg::TestDb;
use crate::support::wait::until;
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;
use zaikoban::schedule::{
    Action, Done, Failure, Missed, Progress, Run, ScheduleName, Scheduler, SchedulerParts, Timetable, action,
};
use zaikoban::store::Db;
use zaikoban::store::jobs::WorkerId;
use zaikoban::supervision::Life;

/// A table that never fires by itself while a test runs: each first of January.
pub fn still(missed: Missed, limit: Duration) -> Timetable {
    let mut table = Timetable::default();
    for entry in table.entries.values_mut() {
        entry.cron = "0 0 1 1 *".parse().unwrap();
        entry.missed = missed;
        entry.limit = limit;
    }
    table
}

pub fn usual() -> Timetable {
    still(Missed::Once, Duration::from_secs(60))
}

/// The same for every name.
pub fn all<F>(what: F) -> BTreeMap<ScheduleName, Arc<dyn Action>>
where
    F: Fn(Run) -> BoxFuture<'static, Result<Done, Failure>> + Send + Sync + Clone + 'static,
{
    let one = |name: &ScheduleName| (*name, action(what.clone()));
    ScheduleName::ALL.iter().map(one).collect()
}

pub fn done() -> BoxFuture<'static, Result<Done, Failure>> {
    async { Ok(Done::default()) }.boxed()
}

/// A scheduler that runs; aborting its task is its death.
pub struct Node {
    pub scheduler: Scheduler,
    task: JoinHandle<()>,
}

impl Node {
    pub fn start(
        db: &Db,
        worker: WorkerId,
        table: Timetable,
        actions: BTreeMap<ScheduleName, Arc<dyn Action>>,
    ) -> Self {
        Self::yielding(db, worker, table, actions, || false)
    }

    pub fn yielding(
        db: &Db,
        worker: WorkerId,
        table: Timetable,
        actions: BTreeMap<ScheduleName, Arc<dyn Action>>,
        yields: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let scheduler = Scheduler::new(SchedulerParts {
            db: db.clone(),
            worker,
            table: Arc::new(ArcSwap::from_pointee(table)),
            yields: Arc::new(yields),
            actions,
        });
        let keeping = scheduler.clone();
        #[expect(clippy::disallowed_methods, reason = "a test that ends it by hand")]
        let task = tokio::spawn(async move { keeping.keep(Life::detached("schedule/timetable")).await });
        Self { scheduler, task }
    }

    /// As a power cut ends it: no last word.
    pub async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn planned(t: &TestDb, n: usize) {
    until("that everything is planned", || async {
        (t.text("SELECT count(*) FROM schedules").await == n.to_string()).then_some(())
    })
    .await;
}

/// What a table says, once it says so.
pub async fn reads(t: &TestDb, sql: &str, expected: &str) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let got = t.text(sql).await;
        if got == expected {
            return;
        }
        assert!(
            tokio::time::Instant::now() < limit,
            "{sql}: {got}, expected {expected}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A run for an action that is called by hand.
pub async fn run(t: &TestDb, name: ScheduleName) -> Run {
    let now = zaikoban::store::schedules::now(&mut t.db().conn().await.unwrap())
        .await
        .unwrap();
    Run {
        id: Uuid::now_v7(),
        name,
        began: now,
        due: None,
        zone: Timetable::default().zone,
        progress: Progress::default(),
    }
}
