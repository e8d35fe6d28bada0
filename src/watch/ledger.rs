//! The ledger: the only writer between a page that was read and a change that counts.
//!
//! # Group commit
//! Watchers send [`Record`]s and wait. The ledger collects what comes in (for how long: [`pace`]) and writes it in one
//! transaction: unchanged checks as one batched update that touches no index, changes with their row of history, their
//! holds, what the listings should be now, and the jobs for it. One transaction is under way at a time: what comes in
//! meanwhile is the next group, so a slower database makes larger groups and not a queue of small ones.
//!
//! # Versions
//! Every row is written `WHERE version = base_version`. Where the version is another, the answer is the row that stands,
//! and its watcher goes on from there. The same comparison settles a COMMIT whose answer was lost: the group is
//! written again, and a row that already is what the record would have made counts as committed. So a record is in
//! history once or not at all, whatever breaks when.
//!
//! # Several nodes
//! A record belongs to a shard of the watching, and says under which epoch its page was asked for. Every group compares
//! both with what stands in the tables; a record whose shard is another's by now, or was in between, is not written.
//!
//! # What can go wrong
//! - **The database is away, full, read-only, or does not know our tables.** Nothing is acknowledged and nothing is
//!   forgotten: the group is written again with growing waits, and [`LedgerEnv::can_commit`] says `false` meanwhile, by which
//!   the patrols stop picking. It goes on by itself.
//! - **Another transaction is in the way.** The group is written again at once.
//! - **The database refuses the data** (a value out of range, a broken constraint, a listing's row that cannot be read).
//!   One record is bad, not the group: it is halved until the bad one stands alone, which is rejected as an error row;
//!   the rest is committed.
//!
//! # The blast radius
//! It alone sees all products, so it alone can tell one that sold from hundreds that "sold" at once ([`blast`]).
//!
//! # Events
//! A change is told on [`CommittedSender`] after its COMMIT and never before. Nobody relies on hearing it: the tables
//! say the same.

mod blast;
mod commit;
mod pace;
mod record;

pub(super) use blast::MassHeld;
pub use record::{News, Record, Recorded};

use super::counters::{Counters, add};
use super::judge::HoldRules;
use super::radius::RadiusRules;
use super::trouble;
use crate::backoff::Jitter;
use crate::clock::Clock;
use crate::domain::{CommittedSender, SourcePlatform};
use crate::nodes::Ownership;
use crate::pricing::PriceBook;
use crate::store::{Db, StoreError};
use crate::supervision::Life;
use crate::telemetry::ErrorChain;
use actix::dev::{MessageResponse, OneshotSender};
use actix::prelude::*;
use arc_swap::ArcSwap;
use blast::Blast;
use chrono::{DateTime, Utc};
use commit::Commit;
use pace::Pace;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What the ledger works with. Outlives every life of the actor.
#[derive(Clone)]
pub struct LedgerEnv {
    /// Where it writes.
    pub db: Db,
    /// Which parts of the watching are this node's.
    pub ownership: Ownership,
    /// What listings should cost; swapped when the settings change.
    pub book: Arc<ArcSwap<PriceBook>>,
    /// Who hears of committed changes.
    pub committed: CommittedSender,
    /// What time it is.
    pub clock: Clock,
    /// When a change waits for a person; swapped when the settings change.
    pub rules: Arc<ArcSwap<LedgerRules>>,
    /// The numbers of each source.
    pub counters: Arc<HashMap<SourcePlatform, Arc<Counters>>>,
    /// Whether records can be committed now; the patrols listen.
    pub can_commit: watch::Sender<bool>,
}

/// When a change waits for a person instead of being followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LedgerRules {
    /// When too many products go out of stock.
    pub radius: RadiusRules,
    /// How long holds wait.
    pub holds: HoldRules,
}

/// The actor. See the module.
pub struct Ledger {
    env: LedgerEnv,
    life: Life,
    intake: mpsc::UnboundedSender<Entry>,
    taken: Option<mpsc::UnboundedReceiver<Entry>>,
}

/// A record, and who waits for it.
struct Entry {
    record: Record,
    answer: Answer,
}

/// Nobody waits for a record that was only told.
type Answer = Option<OneshotSender<Recorded>>;

/// The first wait for a database that is away; it doubles up to [`LONGEST_WAIT`]. A restart takes a fifth of a second.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The transaction in the way is over within milliseconds.
const FIRST_CONTENTION_WAIT: Duration = Duration::from_millis(5);
/// Short enough that everything runs again within a few seconds of the database.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// How often an idle ledger says that it lives.
const BEAT: Duration = Duration::from_secs(10);

// === impl Ledger ===

impl Ledger {
    /// A ledger that begins to write once it is started.
    #[must_use]
    pub fn new(env: LedgerEnv, life: &Life) -> Self {
        // Unbounded, because each entry holds a place of the child's own capacity until it is answered.
        let (intake, taken) = mpsc::unbounded_channel();
        Self {
            env,
            life: life.clone(),
            intake,
            taken: Some(taken),
        }
    }
}

impl Actor for Ledger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(taken) = self.taken.take() else {
            return;
        };
        let writer = Writer {
            env: self.env.clone(),
            life: self.life.clone(),
            taken,
            pace: Pace::new(Instant::now()),
        };
        // On the actor's own context, so that a panic in it is the actor's end and is seen by the tree.
        ctx.spawn(writer.run().into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

impl Handler<Record> for Ledger {
    type Result = Taken;

    fn handle(&mut self, record: Record, _: &mut Self::Context) -> Self::Result {
        Taken {
            record,
            intake: self.intake.clone(),
        }
    }
}

/// A record on its way to the writer, which answers by itself: the sender's own channel goes with the record. No future
/// waits in between, which costs a task for each and, detached from the actor as actix has it, would outlive it and keep
/// the sender waiting for an answer that cannot come. When the writer ends, however it ends, the channel is dropped with
/// it and the sender hears that at once.
pub struct Taken {
    record: Record,
    intake: mpsc::UnboundedSender<Entry>,
}

impl MessageResponse<Ledger, Record> for Taken {
    fn handle(self, _: &mut Context<Ledger>, answer: Option<OneshotSender<Recorded>>) {
        // Refused only when the writer is gone, and the answer is dropped with what was sent.
        let _ = self.intake.send(Entry {
            record: self.record,
            answer,
        });
    }
}

/// The loop of one life.
struct Writer {
    env: LedgerEnv,
    life: Life,
    taken: mpsc::UnboundedReceiver<Entry>,
    pace: Pace,
}

/// Records that are written together, and who waits for them, in the same order.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    answers: Vec<Answer>,
}

/// It is to stop, and the database is away.
struct Stopped;

// === impl Writer ===

impl Writer {
    async fn run(mut self) {
        let Ok(mut blast) = self.load().await else {
            return;
        };
        while let Some(mut group) = self.collect().await {
            self.life.beat();
            let Ok(held) = self.guard(&mut blast, &mut group.records).await else {
                return;
            };
            if self.commit(group).await.is_err() {
                return;
            }
            for mass in held {
                trouble::mass_change(&self.env.db, mass).await;
            }
        }
    }

    /// Rebuilds the windows of the blast radius.
    async fn load(&self) -> Result<Blast, Stopped> {
        let env = &self.env;
        let mut tried = 0;
        loop {
            match Blast::load(&env.db, &env.clock, &env.rules).await {
                Ok(blast) => {
                    env.can_commit.send_replace(true);
                    return Ok(blast);
                }
                Err(error) => self.wait_out(&error, &mut tried).await?,
            }
        }
    }

    async fn guard(&self, blast: &mut Blast, records: &mut [Record]) -> Result<Vec<MassHeld>, Stopped> {
        let mut tried = 0;
        loop {
            match blast.guard(&self.env, records).await {
                Ok(held) => return Ok(held),
                Err(error) => self.wait_out(&error, &mut tried).await?,
            }
        }
    }

    /// The next group; `None` when it is to stop and nothing is left.
    async fn collect(&mut self) -> Option<Group> {
        let stopping = self.life.stopping();
        let mut group = Group::default();
        let mut urgent = loop {
            tokio::select! {
                biased;
                entry = self.taken.recv() => break group.take(entry?),
                () = stopping.cancelled() => return None,
                () = tokio::time::sleep(BEAT) => self.life.beat(),
            }
        };
        let began = Instant::now();
        while group.records.len() < pace::MOST {
            // What is there already costs no wait.
            if let Ok(entry) = self.taken.try_recv() {
                urgent |= group.take(entry);
                continue;
            }
            let deadline = began + self.pace.wait(urgent);
            if deadline <= Instant::now() || stopping.is_cancelled() {
                break;
            }
            match tokio::time::timeout_at(deadline, self.taken.recv()).await {
                Ok(Some(entry)) => urgent |= group.take(entry),
                Ok(None) | Err(_) => break,
            }
        }
        self.pace.took(group.records.len(), Instant::now());
        Some(group)
    }

    /// Writes a group and answers it, in parts where one record of it is bad.
    async fn commit(&self, group: Group) -> Result<(), Stopped> {
        let mut parts = vec![group];
        while let Some(group) = parts.pop() {
            let Group { records, answers } = group;
            let records = Arc::new(records);
            match self.write(&records).await? {
                Ok(recorded) => {
                    let notices = trouble::notices(&records, &recorded);
                    self.tell(&records, answers, recorded);
                    if !notices.is_empty() {
                        trouble::write(&self.env.db, &notices).await;
                    }
                }
                Err(error) if records.len() > 1 => {
                    tracing::debug!(records = records.len(), %error, "A group of records is refused: it is halved");
                    let records = Arc::try_unwrap(records).unwrap_or_else(|shared| (*shared).clone());
                    parts.extend(Group { records, answers }.halves());
                }
                Err(error) => self.reject(&records, answers, &error).await,
            }
        }
        Ok(())
    }

    /// Writes one group; the inner error is about what stands in it, everything else is waited out.
    async fn write(&self, records: &Arc<Vec<Record>>) -> Result<Result<Vec<Recorded>, StoreError>, Stopped> {
        let commit = Commit {
            db: self.env.db.clone(),
            book: self.env.book.load_full(),
            boot: self.env.ownership.boot(),
        };
        let mut tried = 0;
        loop {
            match commit.write(records, self.env.clock.now()).await {
                Ok(recorded) => {
                    if !self.env.can_commit.send_replace(true) {
                        tracing::info!("The ledger commits again");
                    }
                    return Ok(Ok(recorded));
                }
                Err(error) if is_about_a_record(&error) => return Ok(Err(error)),
                Err(error) => self.wait_out(&error, &mut tried).await?,
            }
        }
    }

    /// Waits before the next try. The patrols hear at once that nothing can be committed.
    async fn wait_out(&self, error: &StoreError, tried: &mut u32) -> Result<(), Stopped> {
        // Losing against another transaction is no outage; losing again and again is.
        if (!error.is_contention() || *tried > 3) && self.env.can_commit.send_replace(false) {
            tracing::warn!(
                error = %ErrorChain(error),
                "The ledger cannot commit: checks wait, nothing is acknowledged, nothing is lost"
            );
        }
        let delay = wait(error, *tried);
        *tried = tried.saturating_add(1);
        self.life.waiting_until(Instant::now() + delay);
        tokio::select! {
            () = tokio::time::sleep(delay) => Ok(()),
            () = self.stopping_for_good() => Err(Stopped),
        }
    }

    async fn stopping_for_good(&self) {
        self.life.stopping().cancelled().await;
    }

    /// After the COMMIT: events, then answers.
    fn tell(&self, records: &[Record], answers: Vec<Answer>, recorded: Vec<Recorded>) {
        let now = self.env.clock.now();
        fail::fail_point!("fp5_committed");
        for (record, recorded) in records.iter().zip(&recorded) {
            self.count(record, recorded, now);
            if let Some(event) = commit::event(record, recorded, now) {
                // Without a receiver there is nobody to tell: the tables say the same.
                let _ = self.env.committed.send(Arc::new(event));
            }
        }
        fail::fail_point!("fp6_told");
        for (answer, recorded) in answers.into_iter().zip(recorded) {
            if let Some(answer) = answer {
                // A watcher that is no more reads the row when it lives again.
                let _ = answer.send(recorded);
            }
        }
    }

    fn count(&self, record: &Record, recorded: &Recorded, now: DateTime<Utc>) {
        let Some(counters) = self.env.counters.get(&record.source) else {
            return;
        };
        let news = record.news.as_deref();
        let change = news.and_then(|n| n.change);
        match recorded {
            Recorded::Committed { opened, .. } => {
                add(&counters.holds_opened, u64::from(opened.is_some()));
                match change {
                    None => add(&counters.unchanged, 1),
                    Some(change) => {
                        let counter = match change.before {
                            None => &counters.first_observations,
                            Some(_) => &counters.changes,
                        };
                        add(counter, 1);
                        let delay = now.signed_duration_since(record.fetched_at).to_std();
                        counters.committed_after(delay.unwrap_or_default());
                    }
                }
            }
            Recorded::MassHeld { .. } => {
                add(&counters.holds_opened, 1);
                add(&counters.mass_holds, 1);
            }
            Recorded::Stale(_) | Recorded::Missing | Recorded::Lost => add(&counters.stale_versions, 1),
            Recorded::Rejected { .. } => add(&counters.rejected, 1),
        }
    }

    /// One record that the database will never take: an error row, and the watcher keeps what counts.
    async fn reject(&self, records: &[Record], answers: Vec<Answer>, error: &StoreError) {
        for record in records {
            tracing::error!(
                watch.id = %record.watch_id, product.id = %record.product_id, error = %ErrorChain(error),
                "What was read of product `{}` cannot be stored; the page is not believed", record.product_id
            );
            trouble::rejected(&self.env.db, record, error).await;
        }
        let why: Box<str> = error.to_string().into();
        let recorded = records
            .iter()
            .map(|_| Recorded::Rejected { why: why.clone() })
            .collect();
        self.tell(records, answers, recorded);
    }
}

/// Whether an error is about what stands in a group, so that a smaller group may pass: bad data, or a row that cannot be
/// read. A statement that is wrong (class 42) is wrong for every record: halving would reject them all.
fn is_about_a_record(error: &StoreError) -> bool {
    match error {
        StoreError::Query { sqlstate: None, .. }
        | StoreError::Conflict { .. }
        | StoreError::NotFound { .. } => true,
        other => other.is_bad_data(),
    }
}

/// The wait before the next try: longer each time, a tenth of it by lot.
fn wait(error: &StoreError, tried: u32) -> Duration {
    let first = if error.is_contention() {
        FIRST_CONTENTION_WAIT
    } else {
        FIRST_WAIT
    };
    let ceiling = first.saturating_mul(1 << tried.min(8)).min(LONGEST_WAIT);
    ceiling.saturating_sub(Jitter::TENTH.draw(ceiling, &mut rand::rng()))
}

// === impl Group ===

impl Group {
    /// Takes a record in; whether somebody waits for it.
    fn take(&mut self, entry: Entry) -> bool {
        let urgent = entry.record.is_urgent();
        self.records.push(entry.record);
        self.answers.push(entry.answer);
        urgent
    }

    fn halves(mut self) -> [Self; 2] {
        let half = self.records.len() / 2;
        let second = Self {
            records: self.records.split_off(half),
            answers: self.answers.split_off(half),
        };
        [self, second]
    }
}
