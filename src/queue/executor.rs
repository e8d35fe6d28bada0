//! Has the jobs of one lane done: an actor that claims batches and hands them to workers.
//!
//! One fetcher for each lane and process: it asks the [`Supply`] only when a worker is free, for as many batches as there
//! are free workers, so nothing is held that nobody works on. A worker runs its batch (`runner`) and puts the
//! outcomes on the settler's desk (`settler`); then it is free, whether they are written yet or not.
//!
//! **Looks.** A notice or a free worker makes it look; what comes due without a notice is found by the poll. It arms its
//! ear before it looks, so what is enqueued between the look and the wait is not slept over.
//!
//! **Stop.** Nothing new is taken. What runs is told and given its grace; what remains is dropped, named in the log and put
//! back without using a try. What was done is settled before the actor ends.

use super::batch::BatchSize;
use super::crew::Muster;
use super::notifier::Notices;
use super::orders::OrdersNow;
use super::outcome::Outcome;
use super::registry::Entry;
use super::runner::{Ended, Held, Runner};
use super::settler::{Desk, Settler};
use super::supply::{Ask, Supply, Taken};
use super::tally::Tally;
use crate::nodes::Ownership;
use crate::store::jobs::{self, WorkerId};
use crate::store::{Db, StoreError, looping};
use crate::supervision::{ChildSpec, Life, OwnedTask, Shutdown, TaskError, spawn_owned};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What is told to nobody is found this late: work that comes due, and all work while the link for notices is down.
const POLL: Duration = Duration::from_secs(1);
/// The wait after trouble with the database.
const TROUBLE: Duration = Duration::from_secs(1);
/// Jobs in one claim: beyond this a larger one saves nothing and holds its locks longer.
const CLAIM: usize = 1_000;
/// One turn of the loop waits no longer than this for something outside.
const TURN: Duration = Duration::from_secs(60);
/// A claim without an answer may come into force this late: a statement's limit, and time on its way.
const UNSURE_FOR: Duration = Duration::from_secs(60);
/// How long settling may take once the workers have ended: longer than a statement's limit.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// What an executor is made from.
#[derive(Clone)]
pub struct ExecutorParts {
    /// The database.
    pub db: Db,
    /// This life of this node, under whose name the supply claims.
    pub worker: WorkerId,
    /// What the database tells.
    pub notices: Notices,
    /// The lane, its work and its rules.
    pub entry: Entry,
    /// Where its jobs come from.
    pub supply: Arc<dyn Supply>,
    /// Whether this node is to have nothing.
    pub ownership: Ownership,
    /// What persons have ordered.
    pub orders: OrdersNow,
    /// What it has done.
    pub tally: Arc<Tally>,
    /// How long running work may take to end at a stop.
    pub grace: Duration,
}

/// A child that serves one lane.
pub fn child(parts: ExecutorParts) -> ChildSpec {
    let name = parts.entry.lane.to_string();
    let name = name.trim_end_matches('/').replace('/', "-");
    let limit = parts.grace + SETTLED_WITHIN * 2 + Duration::from_secs(1);
    looping::child(&name, move |life| Executor::new(parts.clone(), life).run())
        .shutdown(Shutdown::After(limit))
}

/// What a worker hands back: how many jobs it had, and how long they took.
struct Shift {
    jobs: usize,
    took: Duration,
}

/// What a look brought, and until when it is held.
type Look = Result<(Taken, Instant), NotTaken>;

/// A look that failed.
struct NotTaken {
    error: StoreError,
    /// Something may be held for all that.
    is_unsure: bool,
}

struct Executor {
    parts: ExecutorParts,
    life: Life,
    runner: Runner,
    desk: Desk,
    settler: Settler,
    /// Cancelled when the grace is over: workers drop what they do and put it back.
    cut: CancellationToken,
    running: usize,
    crew: FuturesUnordered<OwnedTask<Shift>>,
    fetching: Option<OwnedTask<Look>>,
    asked: usize,
    /// The token of the look under way.
    token: Uuid,
    /// Looks without an answer, and when they ended.
    unsure: Vec<(Uuid, Instant)>,
    muster: Muster,
    mustered_at: Instant,
    batch: BatchSize,
    look_at: Instant,
    told: bool,
}

/// What made the loop turn.
enum Event {
    Stop,
    Ended(Result<Shift, TaskError>),
    Fetched(Result<Look, TaskError>),
    Told,
    Turned,
}

// === impl Executor ===

impl Executor {
    fn new(parts: ExecutorParts, life: Life) -> Self {
        let (settler, desk) = Settler::start(parts.db.clone(), parts.entry.policy, Arc::clone(&parts.tally));
        let runner = Runner {
            work: Arc::clone(&parts.entry.work),
            policy: parts.entry.policy,
            stop: life.stopping(),
        };
        let batch = if runner.work.limits_each() {
            BatchSize::default()
        } else {
            // all of them have the limit of one
            BatchSize::within(runner.policy.time_limit)
        };
        let muster = Muster::new(parts.orders.borrow().of(parts.entry.lane.queue).crew);
        Self {
            runner,
            desk,
            settler,
            cut: CancellationToken::new(),
            running: 0,
            crew: FuturesUnordered::new(),
            fetching: None,
            asked: 0,
            token: Uuid::nil(),
            unsure: Vec::new(),
            muster,
            mustered_at: Instant::now(),
            batch,
            look_at: Instant::now(),
            told: true,
            parts,
            life,
        }
    }

    async fn run(mut self) {
        let stopping = self.life.stopping();
        if !self.release().await {
            return;
        }
        let mut notice = self.parts.notices.subscribe(self.parts.entry.lane);
        let mut orders = self.parts.orders.clone();
        loop {
            self.life.beat();
            self.life.waiting_until(Instant::now() + TURN + POLL);
            self.muster_workers();
            if self.may_look() {
                notice.arm();
                self.look();
            }
            self.show();
            let looks = self.fetching.is_none() && self.free() > 0 && !self.is_paused();
            let wake = if looks {
                self.look_at
            } else {
                Instant::now() + POLL
            };
            let event = tokio::select! {
                biased;
                () = stopping.cancelled() => Event::Stop,
                Some(ended) = self.crew.next(), if !self.crew.is_empty() => Event::Ended(ended),
                fetched = end_of(&mut self.fetching), if self.fetching.is_some() => Event::Fetched(fetched),
                () = notice.wait(TURN) => Event::Told,
                Ok(()) = orders.changed() => Event::Turned,
                () = tokio::time::sleep_until(wake) => Event::Turned,
            };
            match event {
                Event::Stop => break,
                Event::Ended(ended) => self.ended(ended),
                Event::Fetched(fetched) => self.fetched(fetched),
                Event::Told => {
                    notice.arm();
                    self.told = true;
                    self.look_at = Instant::now();
                }
                Event::Turned => {}
            }
        }
        self.drain().await;
    }

    /// What an earlier life of this actor held is in nobody's hands. False when it is asked to stop meanwhile.
    async fn release(&self) -> bool {
        let lane = self.parts.entry.lane;
        loop {
            self.life.beat();
            self.life.waiting_until(Instant::now() + TURN);
            let released = async {
                let mut conn = self.parts.db.conn().await?;
                jobs::release(&mut conn, lane, &self.parts.worker).await
            };
            match released.await {
                Ok(ids) if ids.is_empty() => return true,
                Ok(ids) => {
                    tracing::warn!(
                        "{} job(s) of {lane} were in hand when their keeper broke: put back",
                        ids.len()
                    );
                    return true;
                }
                Err(error) => tracing::debug!("Jobs of {lane} wait for the database: {error}"),
            }
            if !looping::pause(&self.life, TROUBLE).await {
                return false;
            }
        }
    }

    /// Whether nothing new is to be taken: by order, or because this node is drained and others are to do its work.
    fn is_paused(&self) -> bool {
        self.parts.orders.borrow().of(self.parts.entry.lane.queue).paused
            || self.parts.ownership.view().draining
    }

    /// Workers without a batch.
    fn free(&self) -> usize {
        usize::from(self.muster.workers()).saturating_sub(self.crew.len())
    }

    fn muster_workers(&mut self) {
        let crew = self.parts.orders.borrow().of(self.parts.entry.lane.queue).crew;
        let now = self.muster.workers();
        if now < crew.min() || now > crew.max() {
            self.muster = self.muster.looked(crew, Duration::from_secs(2));
        }
    }

    fn may_look(&self) -> bool {
        self.fetching.is_none() && self.free() > 0 && Instant::now() >= self.look_at && !self.is_paused()
    }

    /// Begins a claim. What an earlier one may have taken without an answer is put back first: it is in nobody's hands.
    fn look(&mut self) {
        self.asked = self.batch.size().saturating_mul(self.free()).min(CLAIM);
        self.token = Uuid::new_v4();
        let ask = Ask {
            limit: self.asked,
            lease: self.parts.entry.policy.lease(),
            token: self.token,
            told: std::mem::take(&mut self.told),
        };
        let lease_ends = Instant::now() + ask.lease;
        let (supply, parts) = (Arc::clone(&self.parts.supply), self.parts.clone());
        let unsure: Vec<Uuid> = self.unsure.iter().map(|(token, _)| *token).collect();
        let claim = async move {
            if let Err(error) = put_back_unsure(&parts, &unsure).await {
                return Err(NotTaken {
                    error,
                    is_unsure: false,
                });
            }
            match supply.take(ask).await {
                Ok(taken) => Ok((taken, lease_ends)),
                Err(error) => Err(NotTaken {
                    error,
                    is_unsure: true,
                }),
            }
        };
        self.fetching = Some(spawn_owned("fetcher", claim));
    }

    fn fetched(&mut self, fetched: Result<Look, TaskError>) {
        self.fetching = None;
        match fetched {
            Ok(Ok((taken, lease_ends))) => {
                self.unsure.retain(|(_, since)| since.elapsed() < UNSURE_FOR);
                self.unsure
                    .extend(taken.unsure.map(|token| (token, Instant::now())));
                // What was told during the look may have come behind its eyes.
                let again = if self.told {
                    Duration::ZERO
                } else {
                    taken.again.unwrap_or(POLL).min(POLL)
                };
                self.look_at = Instant::now() + again;
                if let Some(oldest_wait) = taken.oldest_wait {
                    self.waited(oldest_wait);
                }
                self.hand_out(taken, lease_ends);
            }
            Ok(Err(NotTaken { error, is_unsure })) => {
                if is_unsure {
                    self.unsure.push((self.token, Instant::now()));
                }
                if error.is_outage() {
                    tracing::debug!("Jobs of {} wait for the database: {error}", self.parts.entry.lane);
                } else {
                    tracing::error!(
                        "Jobs of {} cannot be taken, next try in {} s: {error}",
                        self.parts.entry.lane,
                        TROUBLE.as_secs()
                    );
                }
                self.told = true;
                self.look_at = Instant::now() + TROUBLE;
            }
            // Logged where it happened.
            Err(_) => {
                self.unsure.push((self.token, Instant::now()));
                self.told = true;
                self.look_at = Instant::now() + TROUBLE;
            }
        }
    }

    /// Grows or shrinks the crew by how long jobs wait, once a second.
    fn waited(&mut self, oldest_wait: Duration) {
        if self.mustered_at.elapsed() >= POLL {
            self.mustered_at = Instant::now();
            let crew = self.parts.orders.borrow().of(self.parts.entry.lane.queue).crew;
            self.muster = self.muster.looked(crew, oldest_wait);
        }
    }

    /// Gives jobs to free workers: evenly, so that a few long ones run beside each other, and never more than a batch.
    fn hand_out(&mut self, taken: Taken, lease_ends: Instant) {
        let share = taken
            .jobs
            .len()
            .div_ceil(self.free().max(1))
            .clamp(1, self.batch.size());
        let mut jobs = taken.jobs.into_iter();
        loop {
            let batch: Vec<_> = jobs.by_ref().take(share).collect();
            if batch.is_empty() {
                break;
            }
            self.put_to_work(Held {
                jobs: batch,
                lease_ends,
            });
        }
    }

    fn put_to_work(&mut self, held: Held) {
        let jobs = held.jobs.len();
        self.running += jobs;
        let (runner, desk, cut) = (self.runner.clone(), self.desk.clone(), self.cut.clone());
        self.crew.push(spawn_owned("worker", async move {
            let began = Instant::now();
            let kept = held.clone();
            let ended = tokio::select! {
                biased;
                ended = runner.run(held) => ended,
                () = cut.cancelled() => put_back(kept),
            };
            let took = began.elapsed();
            desk.put(ended).await;
            Shift { jobs, took }
        }));
    }

    fn ended(&mut self, ended: Result<Shift, TaskError>) {
        match ended {
            Ok(Shift { jobs, took }) => {
                self.running = self.running.saturating_sub(jobs);
                self.batch.measured(jobs, took);
            }
            // Work runs in tasks of its own, so this is ours, and logged. Its jobs come back when their leases end.
            Err(error) => tracing::error!("A worker of {} is gone: {error}", self.parts.entry.lane),
        }
    }

    fn show(&self) {
        self.parts.tally.set(|figures| {
            figures.workers = usize::from(self.muster.workers());
            figures.busy = self.crew.len();
            figures.running = self.running;
            figures.batch_size = self.batch.size();
            figures.job_ms = self.batch.per_job().map(|d| d.as_secs_f64() * 1e3);
            figures.paused = self.is_paused();
        });
    }

    /// Ends what runs: grace first, then by force; settles all of it.
    async fn drain(mut self) {
        let deadline = Instant::now() + self.parts.grace;
        self.life.beat();
        self.life.waiting_until(deadline + SETTLED_WITHIN * 2);
        if let Some(fetching) = self.fetching.take()
            && let Ok(Ok(Ok((taken, lease_ends)))) = tokio::time::timeout_at(deadline, fetching).await
            && !taken.jobs.is_empty()
        {
            let jobs = taken.jobs;
            self.desk.put(put_back(Held { jobs, lease_ends })).await;
        }
        while !self.crew.is_empty() {
            if tokio::time::timeout_at(deadline, self.crew.next()).await.is_err() {
                // they drop what they do, name it and put it back
                self.cut.cancel();
                let ended = async { while self.crew.next().await.is_some() {} };
                let _ = tokio::time::timeout(SETTLED_WITHIN, ended).await;
                break;
            }
        }
        drop(self.desk);
        if !self.settler.finished(Instant::now() + SETTLED_WITHIN).await {
            tracing::error!(
                "Results of {} could not be settled before the stop: their jobs are done again when their leases end",
                self.parts.entry.lane
            );
        }
    }
}

/// Puts back what looks took whose answer was lost.
async fn put_back_unsure(parts: &ExecutorParts, tokens: &[Uuid]) -> Result<(), StoreError> {
    if tokens.is_empty() {
        return Ok(());
    }
    let mut conn = parts.db.conn().await?;
    let back = jobs::release_unsure(&mut conn, &parts.worker, tokens).await?;
    if !back.is_empty() {
        tracing::warn!(
            "{} job(s) of {} were taken without an answer: put back",
            back.len(),
            parts.entry.lane
        );
    }
    Ok(())
}

/// Jobs that were not done: they wait again, and no try is used.
fn put_back(held: Held) -> Ended {
    let ids: Vec<String> = held.jobs.iter().map(|j| j.lease.job.to_string()).collect();
    tracing::warn!(
        "Stopped before the end of job(s) {}: put back, no try is used",
        ids.join(", ")
    );
    let back = |job| (job, Outcome::Snooze(Duration::ZERO));
    Ended {
        jobs: held.jobs.into_iter().map(back).collect(),
        lease_ends: held.lease_ends,
    }
}

/// The end of a task that may be there.
async fn end_of<T>(task: &mut Option<OwnedTask<T>>) -> Result<T, TaskError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
