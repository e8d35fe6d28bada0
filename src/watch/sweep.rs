//! Has the products of a sweep looked at: the jobs of the queue `stock_check`.
//!
//! A job is done when every watch of its product was verified since the sweep began, whoever asked for that: the patrol
//! looks all the time, and most of a sweep is done by it. What is left is moved to the front of the patrol's line, a few
//! at a time and more only as fast as they come back, but behind everything that is due: the planner has a class for it,
//! so that a sweep over everything never makes an appointment or a person's order wait for it.

use super::roster::{LookSoon, Roster};
use crate::domain::{ProductId, WatchId};
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
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the tables are asked what is left of a batch.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Watches that a batch has at the front of the line, at least …
const FRONT_AT_LEAST: usize = 8;
/// … and at most.
const FRONT_AT_MOST: usize = 100;
/// A watch that was moved there and not verified since is moved there again.
const AGAIN: Duration = Duration::from_secs(120);
/// What is left so shortly before the batch would be dropped gets its outcome.
const BEFORE_THE_END: Duration = Duration::from_secs(10);
/// How long what cannot be looked at now is left alone: a shut gate.
const REST: Duration = Duration::from_secs(60);

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
    /// The sources' guards, by name.
    pub sources: Vec<String>,
}

/// How far one batch is.
struct Batch {
    asked: Vec<(ProductId, DateTime<Utc>)>,
    /// What is left of each product that is not done.
    left: HashMap<ProductId, Vec<WatchId>>,
    /// When a watch was moved to the front.
    fronted: HashMap<WatchId, Instant>,
    width: usize,
}

impl Work for StockCheck {
    fn run(&self, jobs: Vec<ClaimedJob>, turn: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        let (db, guards) = (self.db.clone(), self.guards.clone());
        let (roster, ownership) = (self.roster.clone(), self.ownership.clone());
        let sources = self.sources.clone();
        async move {
            let mut batch = Batch::of(&jobs);
            let end = turn.deadline().checked_sub(BEFORE_THE_END);
            let end = end.unwrap_or_else(|| turn.deadline());
            loop {
                match batch.ask(&db).await {
                    Ok(()) if batch.left.is_empty() => break,
                    Ok(()) => front(&db, &roster, &ownership, batch.next(Instant::now())).await,
                    Err(error) => tracing::debug!(%error, "Which products were looked at is not known yet"),
                }
                tokio::select! {
                    () = turn.stopping().cancelled() => break,
                    () = sleep(ASK_EVERY) => {}
                }
                if Instant::now() >= end {
                    break;
                }
            }
            let stopped = turn.stopping().is_cancelled();
            let shut = sources.iter().any(|name| is_shut(&guards, name));
            jobs.iter().map(|job| batch.outcome(job, stopped, shut)).collect()
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
    fn of(jobs: &[ClaimedJob]) -> Self {
        let asked = jobs.iter().filter_map(|job| Some((job.product_id?, since(job))));
        let asked: Vec<_> = asked.collect();
        Self {
            left: asked.iter().map(|(product, _)| (*product, Vec::new())).collect(),
            asked,
            fronted: HashMap::new(),
            width: FRONT_AT_LEAST,
        }
    }

    async fn ask(&mut self, db: &Db) -> Result<(), StoreError> {
        self.asked.retain(|(product, _)| self.left.contains_key(product));
        let looked = sweeps::unseen(&mut *db.conn().await?, &self.asked).await?;
        self.heard(looked);
        Ok(())
    }

    fn heard(&mut self, looked: Vec<Looked>) {
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
        self.width = came_back
            .saturating_mul(2)
            .clamp(FRONT_AT_LEAST, FRONT_AT_MOST)
            .max(self.width / 2);
    }

    /// Those to be moved to the front now.
    fn next(&mut self, now: Instant) -> Vec<WatchId> {
        let waiting = |at: &Instant| now.saturating_duration_since(*at) < AGAIN;
        let there = self.fronted.values().filter(|at| waiting(at)).count();
        let free = self.width.saturating_sub(there);
        let mut left: Vec<WatchId> = self.left.values().flatten().copied().collect();
        left.sort_unstable();
        let next: Vec<WatchId> = left
            .into_iter()
            .filter(|watch| !self.fronted.get(watch).is_some_and(waiting))
            .take(free)
            .collect();
        self.fronted.extend(next.iter().map(|watch| (*watch, now)));
        next
    }

    fn outcome(&self, job: &ClaimedJob, stopped: bool, shut: bool) -> Outcome {
        let Some(product) = job.product_id else {
            return Outcome::Discard(JobError::new("no_product", "the job names no product"));
        };
        match self.left.get(&product) {
            None => Outcome::Done(json!({ "looked": true })),
            Some(_) if stopped => Outcome::Snooze(Duration::ZERO),
            Some(_) if shut => Outcome::Snooze(REST),
            Some(_) => Outcome::Retry(JobError::new(
                "not_verified",
                format!(
                    "product `{product}` was not verified in time: its page may be unreadable, or the source slow"
                ),
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

    fn batch(products: i64) -> Batch {
        let asked: Vec<_> = (1..=products)
            .map(|id| (ProductId(id), DateTime::UNIX_EPOCH))
            .collect();
        Batch {
            left: asked.iter().map(|(p, _)| (*p, Vec::new())).collect(),
            asked,
            fronted: HashMap::new(),
            width: FRONT_AT_LEAST,
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
        batch.heard(unseen(1..=200));
        assert_eq!(batch.next(now).len(), FRONT_AT_LEAST);
        batch.heard(unseen(1..=200));
        assert!(batch.next(now + ASK_EVERY).is_empty(), "none came back");
        // all of them came back at once
        let mut looked = unseen(9..=200);
        looked.extend((1..=8).map(|id| Looked {
            product: ProductId(id),
            unseen: Vec::new(),
        }));
        batch.heard(looked);
        assert_eq!(batch.next(now + ASK_EVERY * 2).len(), 2 * FRONT_AT_LEAST);
        assert_eq!(batch.left.len(), 192);
    }

    #[test]
    fn what_was_asked_for_in_vain_is_asked_for_again() {
        let (mut batch, now) = (batch(3), Instant::now());
        batch.heard(unseen(1..=3));
        assert_eq!(batch.next(now).len(), 3);
        assert!(batch.next(now + AGAIN / 2).is_empty());
        assert_eq!(batch.next(now + AGAIN).len(), 3);
    }
}
