//! The loop that looks at the time-table, and the runs that it began.

use super::action::{Action, Progress, Run};
use super::decide::{Decision, decide};
use super::run::{SILENCE, attend, trouble};
use super::timetable::{Entry, Missed, ScheduleName, Timetable};
use crate::store::errors;
use crate::store::executions::{self, Broken, NewExecution};
use crate::store::jobs::WorkerId;
use crate::store::schedules::{self, MISSED, STILL_RUNNING, ScheduleRow};
use crate::store::{Db, StoreError, looping};
use crate::supervision::{ChildSpec, Life, OwnedTask, spawn_owned};
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use futures_util::FutureExt as _;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the table is looked at though nothing is due: that is how soon a jump of the clock, another node's change
/// and a dead owner are noticed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The shortest wait for a moment that is nearly there.
const LEAST: Duration = Duration::from_millis(20);
/// How long one look may take before it counts as stuck: it enqueues a sweep's jobs, of a million products in minutes.
const LOOK_LIMIT: Duration = Duration::from_secs(600);
/// How long runs that are broken off have for their last word.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long a person waits for a run to begin.
const ORDER_LIMIT: Duration = Duration::from_secs(30);

/// What the scheduler works with.
pub struct SchedulerParts {
    /// The tables.
    pub db: Db,
    /// Who we are.
    pub worker: WorkerId,
    /// When what is done; changes with the settings.
    pub table: Arc<ArcSwap<Timetable>>,
    /// Whether others are to do what is due: this node is drained, and not the only one.
    pub yields: Arc<dyn Fn() -> bool + Send + Sync>,
    /// What each entry does; one without an action never fires here.
    pub actions: BTreeMap<ScheduleName, Arc<dyn Action>>,
}

/// The scheduler, as those see it who give it orders. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

struct Inner {
    parts: SchedulerParts,
    orders: mpsc::Sender<Order>,
    /// Taken by the life that runs, and given back by its end.
    heard: tokio::sync::Mutex<mpsc::Receiver<Order>>,
    /// The table or a row is another one now.
    wake: Notify,
}

struct Order {
    name: ScheduleName,
    by: String,
    answer: oneshot::Sender<Result<Uuid, Refused>>,
}

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// One of its kind goes on.
    #[error("`{0}` is running already")]
    Running(ScheduleName),
    /// Nothing here can do it.
    #[error("nothing does `{0}` here")]
    Nothing(ScheduleName),
    /// The scheduler does not answer.
    #[error("the scheduler does not answer; it is tried again by itself")]
    Away,
    /// The database refuses, or is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The runs of one life of the loop.
struct Runs {
    tasks: HashMap<Uuid, OwnedTask<()>>,
    stop: CancellationToken,
    ended: mpsc::UnboundedSender<Uuid>,
    /// What this life planned each entry from, and whether another's plan in its place was told.
    planned: HashMap<ScheduleName, (String, bool)>,
}

/// What became of the wish to begin a run.
enum Begun {
    Yes(Run),
    Running,
    Lost,
}

// === impl Scheduler ===

impl Scheduler {
    /// A scheduler that does nothing before its child runs.
    #[must_use]
    pub fn new(parts: SchedulerParts) -> Self {
        let (orders, heard) = mpsc::channel(16);
        Self(Arc::new(Inner {
            parts,
            orders,
            heard: tokio::sync::Mutex::new(heard),
            wake: Notify::new(),
        }))
    }

    /// The child that keeps looking.
    #[must_use]
    pub fn child(&self, name: &str) -> ChildSpec {
        let scheduler = self.clone();
        looping::child(name, move |life| {
            let scheduler = scheduler.clone();
            async move { scheduler.keep(life).await }
        })
    }

    /// Looks at the table now: it or a row is another one.
    pub fn look_now(&self) {
        self.0.wake.notify_one();
    }

    /// When what is done.
    #[must_use]
    pub fn table(&self) -> Arc<Timetable> {
        self.0.parts.table.load_full()
    }

    /// Begins a run now, whatever the time-table says; its number.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn run_now(&self, name: ScheduleName, by: &str) -> Result<Uuid, Refused> {
        let (answer, answered) = oneshot::channel();
        let order = Order {
            name,
            by: by.to_owned(),
            answer,
        };
        if self.0.orders.try_send(order).is_err() {
            return Err(Refused::Away);
        }
        match timeout(ORDER_LIMIT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Refused::Away),
        }
    }

    /// Looks, begins runs, and carries out orders until it is asked to stop.
    pub async fn keep(&self, life: Life) {
        let mut orders = self.0.heard.lock().await;
        let (ended, mut endings) = mpsc::unbounded_channel();
        let mut runs = Runs {
            tasks: HashMap::new(),
            stop: CancellationToken::new(),
            ended,
            planned: HashMap::new(),
        };
        let stopping = life.stopping();
        loop {
            life.beat();
            life.waiting_until(Instant::now() + LOOK_LIMIT);
            let wait = self.look(&mut runs).await.unwrap_or_else(|error| {
                if error.is_outage() {
                    tracing::debug!(%error, "The time-table waits for the database");
                } else {
                    tracing::error!(%error, "The time-table could not be looked at; tried again in {} s", LOOK_EVERY.as_secs());
                }
                LOOK_EVERY
            });
            let until = Instant::now() + wait;
            life.waiting_until(until + LOOK_LIMIT);
            tokio::select! {
                () = stopping.cancelled() => break,
                () = self.0.wake.notified() => {}
                Some(order) = orders.recv() => self.carry_out(order, &mut runs).await,
                Some(id) = endings.recv() => drop(runs.tasks.remove(&id)),
                () = tokio::time::sleep_until(until) => {}
            }
        }
        runs.break_off().await;
    }

    /// One look at everything; how long until the next.
    async fn look(&self, runs: &mut Runs) -> Result<Duration, StoreError> {
        let Inner { parts, .. } = &*self.0;
        let table = self.table();
        let alive = runs.tasks.keys().copied().collect();
        give_up(&parts.db, &parts.worker, alive, &table).await?;
        let (rows, now) = {
            let mut conn = parts.db.conn().await?;
            (
                schedules::list(&mut conn).await?,
                schedules::now(&mut conn).await?,
            )
        };
        let mut soonest: Option<DateTime<Utc>> = None;
        for (name, entry) in &table.entries {
            let row = rows.iter().find(|row| row.name == name.as_str());
            match self.serve(*name, entry, row, &table, now, runs).await {
                Ok(next) => soonest = [soonest, next].into_iter().flatten().min(),
                Err(error) if error.is_outage() => return Err(error),
                // Its own trouble: those behind it are served all the same.
                Err(error) => self.tell_unserved(*name, &error).await,
            }
        }
        let wait = soonest.and_then(|at| at.signed_duration_since(now).to_std().ok());
        Ok(wait.unwrap_or(LOOK_EVERY).clamp(LEAST, LOOK_EVERY))
    }

    /// Does what an entry's row asks for at `now`; when it is to be looked at next.
    async fn serve(
        &self,
        name: ScheduleName,
        entry: &Entry,
        row: Option<&ScheduleRow>,
        table: &Timetable,
        now: DateTime<Utc>,
        runs: &mut Runs,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let Inner { parts, .. } = &*self.0;
        let Some(action) = parts.actions.get(&name) else {
            return Ok(None);
        };
        match decide(row, entry, table, now) {
            Decision::Wait => Ok(row
                .filter(|r| !r.paused && entry.enabled)
                .and_then(|r| r.next_fire_at)),
            Decision::Plan(next) => {
                let mut conn = parts.db.conn().await?;
                let expression = table.expression(entry);
                schedules::plan(&mut conn, name.as_str(), row, &expression, next).await?;
                runs.planned(name, row.map(|row| &*row.expression), expression);
                Ok(next)
            }
            Decision::Skip { due, next } => {
                if leave_out(&parts.db, name, due, next).await? {
                    tracing::warn!(%due, "`{name}` was missed and is left out until its next time");
                }
                Ok(next)
            }
            // It comes again with the next look, for when the others have gone.
            Decision::Fire { .. } if (parts.yields)() => Ok(None),
            Decision::Fire { due, next, late } => {
                let began = begin(
                    &parts.db,
                    &parts.worker,
                    action,
                    name,
                    Why::Due { due, next },
                    table.zone,
                );
                match began.await? {
                    Begun::Yes(run) => {
                        if late {
                            tracing::warn!(%due, "`{name}` was missed and is made up for now");
                        }
                        runs.begin(parts, action, run, entry);
                    }
                    Begun::Running => tracing::warn!(%due, "`{name}` is left out: {STILL_RUNNING}"),
                    Begun::Lost => tracing::debug!(%due, "`{name}` fires elsewhere"),
                }
                Ok(next)
            }
        }
    }

    async fn tell_unserved(&self, name: ScheduleName, error: &StoreError) {
        tracing::error!(%error, "`{name}` cannot be begun; tried again in {} s", LOOK_EVERY.as_secs());
        let record = trouble(name.as_str(), &format!("cannot be begun: {error}"), None);
        let told = async { errors::record(&mut *self.0.parts.db.conn().await?, &record).await };
        if let Err(error) = told.await {
            tracing::debug!(%error, "That `{name}` cannot be begun is not among the errors");
        }
    }

    async fn carry_out(&self, order: Order, runs: &mut Runs) {
        let Order { name, by, answer } = order;
        if answer.is_closed() {
            // It was told that nobody answers: nothing is to begin behind its back.
            return;
        }
        let outcome = self.begin_now(name, &by, runs).await;
        // Whoever asked may be gone; the run goes on.
        let _ = answer.send(outcome);
    }

    async fn begin_now(&self, name: ScheduleName, by: &str, runs: &mut Runs) -> Result<Uuid, Refused> {
        let Inner { parts, .. } = &*self.0;
        let table = self.table();
        let (Some(action), Some(entry)) = (parts.actions.get(&name), table.entries.get(&name)) else {
            return Err(Refused::Nothing(name));
        };
        let why = Why::Asked { by: by.to_owned() };
        match begin(&parts.db, &parts.worker, action, name, why, table.zone).await? {
            Begun::Yes(run) => {
                let id = run.id;
                tracing::info!(by, execution = %id, "A person has `{name}` run now");
                runs.begin(parts, action, run, entry);
                Ok(id)
            }
            Begun::Running | Begun::Lost => Err(Refused::Running(name)),
        }
    }
}

/// Gives up runs that nobody works on any more: each is told, and its moment fires again where the table makes up for
/// what was missed. One transaction, so that none is given up and then forgotten.
async fn give_up(
    db: &Db,
    worker: &WorkerId,
    alive: Vec<Uuid>,
    table: &Arc<Timetable>,
) -> Result<(), StoreError> {
    let (worker, table) = (worker.clone(), Arc::clone(table));
    let given_up = db.transaction_retried(3, move |conn| {
        let (worker, alive, table) = (worker.clone(), alive.clone(), Arc::clone(&table));
        async move {
            let mut broken = executions::give_up_dead(conn, &worker, SILENCE).await?;
            broken.extend(executions::give_up_orphans(conn, &worker, &alive).await?);
            if broken.is_empty() {
                return Ok(Vec::new());
            }
            let ids: Vec<Uuid> = broken.iter().map(|one| one.execution_id).collect();
            let once = table
                .entries
                .iter()
                .filter(|(_, entry)| entry.missed == Missed::Once);
            let once: Vec<&str> = once.map(|(name, _)| name.as_str()).collect();
            let again = schedules::put_back(conn, &ids, &once).await?;
            let mut told = Vec::with_capacity(broken.len());
            for one in broken {
                let what = what_broke(&one, again.contains(&one.execution_id));
                errors::record(conn, &trouble(&one.process_type, &what, Some(one.execution_id))).await?;
                told.push((one, what));
            }
            Ok(told)
        }
        .boxed()
    });
    for (one, what) in given_up.await? {
        tracing::error!(execution = %one.execution_id, "`{}` {what}", one.process_type);
    }
    Ok(())
}

fn what_broke(broken: &Broken, again: bool) -> String {
    let then = if again {
        "it is begun again"
    } else {
        "it is not made up for"
    };
    format!("did not come to its end: {}; {then}", broken.error_message)
}

/// Why a run is to begin.
#[derive(Clone)]
enum Why {
    Due {
        due: DateTime<Utc>,
        next: Option<DateTime<Utc>>,
    },
    Asked {
        by: String,
    },
}

/// Leaves out what was missed; false when another scheduler was first.
async fn leave_out(
    db: &Db,
    name: ScheduleName,
    due: DateTime<Utc>,
    next: Option<DateTime<Utc>>,
) -> Result<bool, StoreError> {
    let left_out = db.transaction_retried(3, move |conn| {
        async move {
            let taken = schedules::take(conn, name.as_str(), due, next).await?;
            if taken {
                schedules::note_skip(conn, name.as_str(), MISSED).await?;
            }
            Ok(taken)
        }
        .boxed()
    });
    left_out.await
}

/// One transaction: the next moment, the run's row, its jobs.
async fn begin(
    db: &Db,
    worker: &WorkerId,
    action: &Arc<dyn Action>,
    name: ScheduleName,
    why: Why,
    zone: Tz,
) -> Result<Begun, StoreError> {
    let (worker, action) = (worker.clone(), Arc::clone(action));
    let began = db.transaction_retried(3, move |conn| {
        let (worker, action, why) = (worker.clone(), Arc::clone(&action), why.clone());
        async move {
            let id = Uuid::now_v7();
            let (by, due) = match &why {
                Why::Due { due, .. } => ("schedule", Some(*due)),
                Why::Asked { by } => (by.as_str(), None),
            };
            if let Why::Due { due, next } = &why
                && !schedules::take(conn, name.as_str(), *due, *next).await?
            {
                return Ok(Begun::Lost);
            }
            let new = NewExecution {
                id,
                process: name.as_str(),
                worker: &worker,
                by,
                due,
            };
            if !executions::begin(conn, &new).await? {
                if due.is_some() {
                    schedules::note_skip(conn, name.as_str(), STILL_RUNNING).await?;
                }
                return Ok(Begun::Running);
            }
            schedules::note_run(conn, name.as_str(), id).await?;
            let run = Run {
                id,
                name,
                began: schedules::now(conn).await?,
                due,
                zone,
                progress: Progress::default(),
            };
            let mut counts = run.progress.counts();
            counts.total = action.prepare(conn, id).await?;
            run.progress.set(counts);
            executions::beat(conn, id, counts).await?;
            Ok(Begun::Yes(run))
        }
        .boxed()
    });
    began.await
}

// === impl Runs ===

impl Runs {
    fn begin(&mut self, parts: &SchedulerParts, action: &Arc<dyn Action>, run: Run, entry: &Entry) {
        let (id, ended) = (run.id, self.ended.clone());
        let attended = attend(
            parts.db.clone(),
            Arc::clone(action),
            run,
            (entry.limit, entry.missed == Missed::Once),
            self.stop.clone(),
        );
        let task = spawn_owned("schedule", async move {
            attended.await;
            let _ = ended.send(id);
        });
        self.tasks.insert(id, task);
    }

    /// This life planned an entry by `ours`. Where `before` stood in the row although it had done so already, another node
    /// has another table, and whoever looks last takes the other's moments away.
    fn planned(&mut self, name: ScheduleName, before: Option<&str>, ours: String) {
        let known = self.planned.get(&name).filter(|(planned, _)| *planned == ours);
        let other = before.filter(|before| known.is_some() && **before != ours);
        let mut told = known.is_some_and(|(_, told)| *told);
        if let Some(other) = other.filter(|_| !told) {
            tracing::warn!(
                "Another node plans `{name}` by `{other}`, this one by `{ours}`, and they lose each other's firings: give \
                 both the same `[schedules]`"
            );
            told = true;
        }
        self.planned.insert(name, (ours, told));
    }

    /// Asks all to end; each writes that it was broken off.
    async fn break_off(self) {
        self.stop.cancel();
        let all = futures_util::future::join_all(self.tasks.into_values());
        if timeout(STOP_LIMIT, all).await.is_err() {
            tracing::warn!("Runs were left without a last word: the next start finds them");
        }
    }
}
