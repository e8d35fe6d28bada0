//! Has the products of a sweep looked at: the jobs of the queue `stock_check`.
//!
//! A job is done when every watch of its product was verified since the sweep began, whoever asked for that: the patrol
//! looks all the time, and most of a sweep is done by it. What is left is moved to the front of the patrol's line, a few
//! at a time and more only as fast as they come back, but behind everything that is due: the planner has a class for it,
//! so that a sweep over everything never makes an appointment or a person's order wait for it.
//!
//! A batch is over when nothing came back to it for a while although the sources were open and had nothing more urgent to
//! do: the pages of what is left cannot be read, and the products that are done do not wait for them. That is a try of
//! the job; the last one ends it as done but not looked at, which the run counts as an error. It makes no dead letter: the
//! trouble has its own row, the patrol goes on trying, and the next sweep would make another one each time.

use super::counters::Counters;
use super::roster::{LookSoon, Roster};
use crate::domain::{Platform, ProductId, SourcePlatform, WatchId};
use crate::nodes::{self, Concern, Ownership};
use crate::queue::{ClaimedJob, JobError, Outcome, Turn, Work};
use crate::resilience::{GateView, Registry};
use crate::store::sweeps::{self, Looked};
use crate::store::{Db, StoreError, nodes as rows};
use crate::supervision::Handle;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the tables are asked what is left of a batch.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Watches that a batch has at the front of the line, at least …
const FRONT_AT_LEAST: usize = 8;
/// … and at most.
const FRONT_AT_MOST: usize = 100;
/// A watch holds its place there for so long: one whose page cannot be read is not heard of, and others wait behind it.
const PLACE: Duration = Duration::from_secs(30);
/// A watch that was moved there and not verified since is moved there again.
const AGAIN: Duration = Duration::from_secs(120);
/// A batch to which nothing came back for so long is over: each was moved to the front twice by then.
const QUIET: Duration = Duration::from_secs(150);
/// What is left so shortly before the batch would be dropped gets its outcome.
const BEFORE_THE_END: Duration = Duration::from_secs(10);
/// How long what cannot be looked at now is left alone: a shut gate.
const REST: Duration = Duration::from_secs(60);
/// Why a product was not looked at.
const UNREAD: &str = "it was asked for, and no page of it came that could be understood";

/// See the module.
pub struct StockCheck {
    /// The tables.
    pub db: Db,
    /// Who has the watches of this node.
    pub roster: Handle<Roster>,
    /// Whether other nodes have some, too.
    pub ownership: Ownership,
    /// How the sources stand.
    pub guards: Registry,
    /// Which sources are watched here.
    pub sources: Arc<[CheckedSource]>,
}

/// A source that is watched.
#[derive(Clone)]
pub struct CheckedSource {
    /// Which.
    pub source: SourcePlatform,
    /// What its patrol says of its line.
    pub counters: Arc<Counters>,
}

/// How far one batch is.
struct Batch {
    asked: Vec<(ProductId, DateTime<Utc>)>,
    /// What is left of each product that is not done.
    left: HashMap<ProductId, Vec<WatchId>>,
    /// When a watch was moved to the front.
    fronted: HashMap<WatchId, Instant>,
    width: usize,
    /// When something came back, was asked for the first time, or could not be looked at at all.
    stirred: Instant,
}

impl Work for StockCheck {
    fn run(&self, jobs: Vec<ClaimedJob>, turn: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        let (db, guards) = (self.db.clone(), self.guards.clone());
        let (roster, ownership) = (self.roster.clone(), self.ownership.clone());
        let sources = Arc::clone(&self.sources);
        async move {
            let names: Vec<SourcePlatform> = sources.iter().map(|checked| checked.source).collect();
            let is_busy = |checked: &CheckedSource| {
                is_shut(&guards, Platform::from(checked.source).as_str())
                    || checked.counters.has_events_waiting()
            };
            let mut batch = Batch::of(&jobs, Instant::now());
            let end = turn.deadline().checked_sub(BEFORE_THE_END);
            let end = end.unwrap_or_else(|| turn.deadline());
            loop {
                let asked = batch.ask(&db, &names).await;
                let now = Instant::now();
                match asked {
                    Ok(()) if batch.left.is_empty() => break,
                    Ok(()) => front(&db, &roster, &ownership, batch.next(now)).await,
                    Err(error) => {
                        tracing::debug!(%error, "Which products were looked at is not known yet");
                        batch.stirred = now;
                    }
                }
                // A batch holds products of every source: what is asked for at one that is shut, too.
                if sources.iter().any(is_busy) {
                    batch.stirred = now;
                }
                tokio::select! {
                    () = turn.stopping().cancelled() => break,
                    () = sleep(ASK_EVERY) => {}
                }
                if batch.is_quiet(Instant::now()) || Instant::now() >= end {
                    break;
                }
            }
            let stopped = turn.stopping().is_cancelled();
            let quiet = batch.is_quiet(Instant::now());
            jobs.iter()
                .map(|job| batch.outcome(job, stopped, quiet))
                .collect()
        }
        .boxed()
    }
}

/// Has these looked at before others, by whoever has them: this node or another.
async fn front(db: &Db, roster: &Handle<Roster>, ownership: &Ownership, watches: Vec<WatchId>) {
    if watches.is_empty() {
        return;
    }
    if ownership.has_company() {
        let words = nodes::watches(ownership.boot(), Concern::Sweep, &watches);
        let told = async { rows::tell(&mut *db.conn().await?, &words).await };
        if let Err(error) = told.await {
            tracing::debug!(%error, "The other nodes were not asked; they are again");
        }
    }
    if let Err(error) = roster.send(LookSoon { watches }).await {
        tracing::debug!(%error, "The roster was not asked; it is again");
    }
}

fn is_shut(guards: &Registry, name: &str) -> bool {
    guards
        .get(name)
        .is_some_and(|guard| !matches!(guard.status().gate, GateView::Open | GateView::Limited))
}

impl Batch {
    fn of(jobs: &[ClaimedJob], now: Instant) -> Self {
        let asked = jobs.iter().filter_map(|job| Some((job.product_id?, since(job))));
        let asked: Vec<_> = asked.collect();
        Self {
            left: asked.iter().map(|(product, _)| (*product, Vec::new())).collect(),
            asked,
            fronted: HashMap::new(),
            width: FRONT_AT_LEAST,
            stirred: now,
        }
    }

    async fn ask(&mut self, db: &Db, sources: &[SourcePlatform]) -> Result<(), StoreError> {
        self.asked.retain(|(product, _)| self.left.contains_key(product));
        let looked = sweeps::unseen(&mut *db.conn().await?, sources, &self.asked).await?;
        self.heard(looked, Instant::now());
        Ok(())
    }

    fn heard(&mut self, looked: Vec<Looked>, now: Instant) {
        let products = self.left.len();
        let mut unseen = HashSet::new();
        for Looked {
            product,
            unseen: left,
        } in looked
        {
            if left.is_empty() {
                self.left.remove(&product);
            } else {
                unseen.extend(left.iter().copied());
                self.left.insert(product, left);
            }
        }
        let before = self.fronted.len();
        self.fronted.retain(|watch, _| unseen.contains(watch));
        // As many again as came back: the line in front stays short at any speed.
        let came_back = before.saturating_sub(self.fronted.len());
        if came_back > 0 || self.left.len() < products {
            self.stirred = now;
        }
        self.width = came_back
            .saturating_mul(2)
            .clamp(FRONT_AT_LEAST, FRONT_AT_MOST)
            .max(self.width / 2);
    }

    /// Those to be moved to the front now.
    fn next(&mut self, now: Instant) -> Vec<WatchId> {
        let since = |at: &Instant| now.saturating_duration_since(*at);
        let there = self.fronted.values().filter(|at| since(at) < PLACE).count();
        let free = self.width.saturating_sub(there);
        let mut left: Vec<WatchId> = self.left.values().flatten().copied().collect();
        // Those never asked for before those asked for in vain: a few unreadable pages must not keep the others out.
        left.sort_unstable_by_key(|watch| (self.fronted.get(watch).copied(), *watch));
        let next: Vec<WatchId> = left
            .into_iter()
            .filter(|watch| self.fronted.get(watch).is_none_or(|at| since(at) >= AGAIN))
            .take(free)
            .collect();
        if next.iter().any(|watch| !self.fronted.contains_key(watch)) {
            self.stirred = now;
        }
        self.fronted.extend(next.iter().map(|watch| (*watch, now)));
        next
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.stirred) >= QUIET
    }

    /// `quiet`: nothing more came. Else the batch's time is over, and what is left had no fair try.
    fn outcome(&self, job: &ClaimedJob, stopped: bool, quiet: bool) -> Outcome {
        let Some(product) = job.product_id else {
            return Outcome::Discard(JobError::new("no_product", "the job names no product"));
        };
        match self.left.get(&product) {
            None => Outcome::Done(json!({ "looked": true })),
            Some(_) if stopped => Outcome::Snooze(Duration::ZERO),
            Some(_) if !quiet => Outcome::Snooze(REST),
            Some(_) if job.retry_count >= job.max_retries => {
                Outcome::Done(json!({ "looked": false, "why": UNREAD }))
            }
            Some(_) => Outcome::Retry(JobError::new(
                "not_verified",
                format!("product `{product}` was not verified: {UNREAD}"),
            )),
        }
    }
}

/// Since when a look counts: the sweep's beginning, else the moment when the job was due.
fn since(job: &ClaimedJob) -> DateTime<Utc> {
    let typed = job.payload.get("since").and_then(serde_json::Value::as_str);
    typed
        .and_then(|text| text.parse().ok())
        .unwrap_or(job.scheduled_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JobId;
    use crate::store::jobs::{Lane, Lease, QueueName};

    fn batch(products: i64) -> Batch {
        let asked: Vec<_> = (1..=products)
            .map(|id| (ProductId(id), DateTime::UNIX_EPOCH))
            .collect();
        Batch {
            left: asked.iter().map(|(p, _)| (*p, Vec::new())).collect(),
            asked,
            fronted: HashMap::new(),
            width: FRONT_AT_LEAST,
            stirred: Instant::now(),
        }
    }

    fn unseen(ids: impl IntoIterator<Item = i64>) -> Vec<Looked> {
        let one = |id: i64| Looked {
            product: ProductId(id),
            unseen: vec![WatchId(id)],
        };
        ids.into_iter().map(one).collect()
    }

    #[test]
    fn the_line_in_front_is_short_and_grows_only_as_fast_as_it_is_worked_off() {
        let (mut batch, now) = (batch(200), Instant::now());
        batch.heard(unseen(1..=200), now);
        assert_eq!(batch.next(now).len(), FRONT_AT_LEAST);
        batch.heard(unseen(1..=200), now);
        assert!(batch.next(now + ASK_EVERY).is_empty(), "none came back");
        // all of them came back at once
        let mut looked = unseen(9..=200);
        looked.extend((1..=8).map(|id| Looked {
            product: ProductId(id),
            unseen: Vec::new(),
        }));
        batch.heard(looked, now);
        assert_eq!(batch.next(now + ASK_EVERY * 2).len(), 2 * FRONT_AT_LEAST);
        assert_eq!(batch.left.len(), 192);
    }

    #[test]
    fn what_was_asked_for_in_vain_is_asked_for_again() {
        let (mut batch, now) = (batch(3), Instant::now());
        batch.heard(unseen(1..=3), now);
        assert_eq!(batch.next(now).len(), 3);
        assert!(batch.next(now + AGAIN / 2).is_empty());
        assert_eq!(batch.next(now + AGAIN).len(), 3);
    }

    #[test]
    fn pages_that_cannot_be_read_keep_no_others_out() {
        let (mut batch, now) = (batch(20), Instant::now());
        batch.heard(unseen(1..=20), now);
        let mut asked: Vec<WatchId> = Vec::new();
        for turn in 0..3 {
            asked.extend(batch.next(now + PLACE * turn));
            batch.heard(unseen(1..=20), now + PLACE * turn);
        }
        assert_eq!(asked, (1..=20).map(WatchId).collect::<Vec<_>>());
        assert!(!batch.is_quiet(now + PLACE * 2 + QUIET - ASK_EVERY));
        assert!(batch.is_quiet(now + PLACE * 2 + QUIET));
    }

    #[test]
    fn a_batch_is_over_when_nothing_comes_back_any_more_and_not_before() {
        let (mut batch, now) = (batch(2), Instant::now());
        batch.heard(unseen(1..=2), now);
        batch.next(now);
        let later = now + QUIET - ASK_EVERY;
        batch.heard(unseen(1..=2), later);
        assert!(batch.is_quiet(now + QUIET));
        let mut looked = unseen(2..=2);
        looked.extend([Looked {
            product: ProductId(1),
            unseen: Vec::new(),
        }]);
        batch.heard(looked, later);
        assert!(!batch.is_quiet(now + QUIET), "one was done");
        assert!(batch.is_quiet(later + QUIET));
    }

    #[test]
    fn an_unread_page_costs_tries_and_ends_as_done_but_not_looked_at() {
        let mut job = ClaimedJob {
            lease: Lease {
                job: JobId(1),
                attempt: 1,
                token: uuid::Uuid::nil(),
            },
            lane: Lane {
                queue: QueueName::StockCheck,
                destination: None,
            },
            product_id: Some(ProductId(1)),
            listing_id: None,
            priority: 8,
            retry_count: 0,
            max_retries: 3,
            payload: json!({}),
            scheduled_at: DateTime::UNIX_EPOCH,
            lease_until: DateTime::UNIX_EPOCH,
            execution_id: None,
        };
        let batch = batch(1);
        assert_eq!(batch.outcome(&job, true, true), Outcome::Snooze(Duration::ZERO));
        assert_eq!(
            batch.outcome(&job, false, false),
            Outcome::Snooze(REST),
            "no fair try"
        );
        assert!(matches!(batch.outcome(&job, false, true), Outcome::Retry(_)));
        job.retry_count = job.max_retries;
        let last = batch.outcome(&job, false, true);
        assert_eq!(last, Outcome::Done(json!({ "looked": false, "why": UNREAD })));
    }
}
