//! A lane's work by way of Redis, with the table behind it.
//!
//! Redis says which jobs are due; PostgreSQL claims them, and its word is the only one that counts: an id that stands
//! there twice, of a job that is done, of one that never was, is dropped. What Redis does not know is found in the table:
//!
//! - at once, when something was told of the lane and Redis has less than was asked for;
//! - every second, while there is room for more;
//! - every few seconds, however much Redis has: something more urgent may be missing there;
//! - always, while Redis is away, is being filled, or meets trouble in the middle of this very take.
//!
//! So nothing is waited for but the one answer that shows that Redis is away, and the two can be switched at any moment.

use super::share::{self, LEAST_URGENT};
use super::staged::{Staged, StagedFigures};
use super::supply::{Ask, FromTable, Supply, Taken};
use crate::domain::JobId;
use crate::store::jobs::{self, Claim, Head, Lane, WorkerId};
use crate::store::redis::Link;
use crate::store::redis::lane::{self, Popped};
use crate::store::{Db, StoreError};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex as Lock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// How often the table is looked at while there is room for more.
const POLL: Duration = Duration::from_secs(1);
/// How often it is looked at first, however much Redis has.
const TRUTH: Duration = Duration::from_secs(5);

/// The link to Redis, and what is known of each lane's copy there. Cheap to clone.
#[derive(Clone)]
pub struct FastLanes {
    link: Link,
    staged: Arc<Lock<BTreeMap<String, Arc<Staged>>>>,
}

impl FastLanes {
    /// Nothing is known of any lane yet.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let staged = Arc::default();
        Self { link, staged }
    }

    /// The link.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What is known of a lane's copy.
    #[must_use]
    pub fn of(&self, lane: Lane) -> Arc<Staged> {
        Arc::clone(self.staged.lock().entry(lane.to_string()).or_default())
    }

    /// What was done with each lane's copy.
    #[must_use]
    pub fn figures(&self) -> BTreeMap<String, StagedFigures> {
        let all = self.staged.lock();
        all.iter()
            .map(|(lane, staged)| (lane.clone(), staged.figures()))
            .collect()
    }
}

/// The supply of one lane.
#[derive(Clone)]
pub struct FromRedis {
    db: Db,
    link: Link,
    lane: Lane,
    worker: WorkerId,
    staged: Arc<Staged>,
    table: FromTable,
    memory: Arc<Mutex<Memory>>,
}

/// What is remembered from take to take.
#[derive(Default)]
struct Memory {
    /// What Redis had left after the last pop.
    heads: Vec<Head>,
    turn: usize,
    /// Something was told that the table has not been asked for yet.
    told: bool,
    table_at: Option<Instant>,
}

// === impl FromRedis ===

impl FromRedis {
    /// The supply of `lane`; `staged` is what its stager knows.
    #[must_use]
    pub fn new(db: Db, link: Link, lane: Lane, worker: WorkerId, staged: Arc<Staged>) -> Self {
        Self {
            table: FromTable::new(db.clone(), lane, worker.clone()),
            db,
            link,
            lane,
            worker,
            staged,
            memory: Arc::default(),
        }
    }

    async fn look(self, ask: Ask) -> Result<Taken, StoreError> {
        let mut memory = self.memory.lock().await;
        memory.told |= ask.told;
        let since_table = memory.table_at.map_or(TRUTH, |at| at.elapsed());
        let now_ms = self.staged.now_ms(Instant::now()).filter(|_| self.link.is_up());
        let (Some(now_ms), true) = (now_ms, since_table < TRUTH) else {
            memory.heads.clear();
            return self.by_table(&mut memory, ask).await;
        };
        let Some(mut taken) = self.by_redis(&mut memory, ask, now_ms).await? else {
            return self.by_table(&mut memory, ask).await;
        };
        let left = ask.limit.saturating_sub(taken.jobs.len());
        if left > 0 && (memory.told || since_table >= POLL) {
            // What is held already must not be put back with what has no answer.
            let is_alone = taken.jobs.is_empty();
            let token = if is_alone { ask.token } else { Uuid::new_v4() };
            let rest = Ask {
                limit: left,
                token,
                ..ask
            };
            let rest = self.by_table(&mut memory, rest).await;
            // What is held already must come into somebody's hands whatever the table says.
            match rest {
                Ok(rest) => {
                    taken.jobs.extend(rest.jobs);
                    taken.again = taken.again.into_iter().chain(rest.again).min();
                    taken.oldest_wait = rest.oldest_wait.or(taken.oldest_wait);
                }
                Err(error) if is_alone => return Err(error),
                Err(_) => (memory.told, taken.unsure) = (true, Some(token)),
            }
        }
        Ok(taken)
    }

    async fn by_table(&self, memory: &mut Memory, ask: Ask) -> Result<Taken, StoreError> {
        let told = memory.told;
        let taken = self.table.take(Ask { told, ..ask }).await?;
        (memory.told, memory.table_at) = (false, Some(Instant::now()));
        self.staged.took_from_table(taken.jobs.len());
        Ok(taken)
    }

    /// Pops and claims; `None` when Redis met trouble, and nothing was taken.
    async fn by_redis(
        &self,
        memory: &mut Memory,
        ask: Ask,
        now_ms: i64,
    ) -> Result<Option<Taken>, StoreError> {
        memory.turn = memory.turn.wrapping_add(1);
        let now = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let due: Vec<Head> = memory
            .heads
            .iter()
            .filter(|head| head.due_at <= now)
            .copied()
            .collect();
        let quotas = if due.is_empty() {
            (1..=LEAST_URGENT).map(|priority| (priority, ask.limit)).collect()
        } else {
            share::quotas(&due, ask.limit, memory.turn, now)
        };
        let Ok(popped) = lane::pop(&self.link, self.lane, &quotas, ask.limit, now_ms).await else {
            memory.heads.clear();
            return Ok(None);
        };
        let Popped { jobs: ids, heads } = popped;
        memory.heads = heads.into_iter().filter_map(head).collect();
        let jobs = self.claim(&ids, ask).await?;
        self.staged.popped(ids.len(), jobs.len(), ask.limit);
        Ok(Some(Taken {
            again: memory.heads.iter().map(|head| until(head.due_at, now)).min(),
            oldest_wait: (!due.is_empty()).then(|| share::oldest_wait(&due, now)),
            jobs,
            unsure: None,
        }))
    }

    /// What cannot be claimed is dropped. After an error the ids are missing in Redis: the stager puts them there again.
    async fn claim(&self, ids: &[JobId], ask: Ask) -> Result<Vec<jobs::ClaimedJob>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.db.conn().await?;
        let claim = Claim {
            lane: self.lane,
            worker: &self.worker,
            lease: ask.lease,
            token: ask.token,
        };
        jobs::claim_these(&mut conn, &claim, ids).await
    }
}

impl Supply for FromRedis {
    fn take(&self, ask: Ask) -> BoxFuture<'static, Result<Taken, StoreError>> {
        self.clone().look(ask).boxed()
    }
}

fn head((priority, due_ms): (i16, i64)) -> Option<Head> {
    let due_at = DateTime::from_timestamp_millis(due_ms)?;
    Some(Head { priority, due_at })
}

/// How long until then; nothing when it is due.
fn until(due: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    due.signed_duration_since(now).to_std().unwrap_or_default()
}
