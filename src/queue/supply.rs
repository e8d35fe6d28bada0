//! Where a lane's work comes from.
//!
//! The table is the truth and always enough ([`FromTable`]). The seam is here so that something faster may say *which*
//! jobs are due: it then claims them by their ids ([`jobs::claim_these`]), under the same leases.

use super::cursor::{Cursor, Look};
use super::share::{self, LEAST_URGENT};
use crate::store::jobs::{self, Claim, ClaimedJob, Head, Lane, Level, WorkerId};
use crate::store::{Connection, Db, StoreError};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// So many jobs at most.
    pub limit: usize,
    /// How long they are held.
    pub lease: Duration,
    /// What the leases are known by; a new one for each look.
    pub token: Uuid,
    /// Something was told of the lane since the last look, or the lane has slept: what sorts earlier may have come.
    pub told: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Claimed, most urgent first.
    pub jobs: Vec<ClaimedJob>,
    /// When to look again at the latest; `None` leaves it to the poll.
    pub again: Option<Duration>,
    /// How long the oldest job that is due has waited; `None` when nobody looked.
    pub oldest_wait: Option<Duration>,
    /// A part of the look had no answer: what it may have taken is known by this.
    pub unsure: Option<Uuid>,
}

/// Takes jobs for one lane. There is one for each lane and process; it is asked again only when it has answered.
pub trait Supply: Send + Sync + 'static {
    /// Claims what is most urgent. What it answers is held by a lease; nothing else is. After an error more may be held,
    /// under the token that was asked with.
    fn take(&self, ask: Ask) -> BoxFuture<'static, Result<Taken, StoreError>>;
}

/// Jobs straight from the table.
#[derive(Clone)]
pub struct FromTable {
    db: Db,
    lane: Lane,
    worker: WorkerId,
    memory: Arc<Mutex<Memory>>,
}

/// What is remembered from look to look.
#[derive(Default)]
struct Memory {
    cursor: Cursor,
    heads: Vec<Head>,
    /// The database's clock at the last full look.
    seen_at: DateTime<Utc>,
    /// Counts the claims.
    turn: usize,
    /// Something was told that no full look has followed yet.
    told: bool,
}

// === impl FromTable ===

impl FromTable {
    /// The supply of `lane`.
    #[must_use]
    pub fn new(db: Db, lane: Lane, worker: WorkerId) -> Self {
        let memory = Arc::default();
        Self {
            db,
            lane,
            worker,
            memory,
        }
    }

    async fn look(self, ask: Ask) -> Result<Taken, StoreError> {
        let mut conn = self.db.conn().await?;
        let mut memory = self.memory.lock().await;
        let began = Instant::now();
        memory.told |= ask.told;
        let look = memory.cursor.look(began, memory.told);
        let mut taken = Taken::default();
        let mut suspect = None;
        if look == Look::Full {
            memory.told = false;
            let seen = jobs::heads(&mut conn, self.lane).await?;
            memory.cursor.begin_full(began);
            taken.oldest_wait = Some(share::oldest_wait(&seen.heads, seen.now));
            (memory.seen_at, memory.heads) = (seen.now, seen.heads);
            if seen.has_suspect {
                // one connection at a time
                drop(conn);
                suspect = self.suspect(ask).await?;
                conn = self.db.conn().await?;
            }
        }
        let limit = ask.limit.saturating_sub(usize::from(suspect.is_some()));
        if limit > 0 && (look == Look::Onward || !memory.heads.is_empty()) {
            taken.jobs = self.fill(&mut conn, &mut memory, Ask { limit, ..ask }).await?;
        }
        // Not before: the cursor must not know it, it stands elsewhere.
        taken.jobs.extend(suspect);
        if look == Look::Full {
            memory.cursor.end_full(began.elapsed());
        }
        let is_all = taken.jobs.len() < ask.limit;
        memory.cursor.ended(is_all);
        taken.again = if is_all {
            // what was told of may sort before the places
            memory.told.then(|| memory.cursor.next_full(Instant::now(), true))
        } else {
            Some(Duration::ZERO)
        };
        Ok(taken)
    }

    /// A job that a worker has died with, one at a time.
    async fn suspect(&self, ask: Ask) -> Result<Option<ClaimedJob>, StoreError> {
        let (lane, worker) = (self.lane, self.worker.clone());
        self.db
            .transaction(move |conn| {
                async move {
                    let claim = Claim {
                        lane,
                        worker: &worker,
                        lease: ask.lease,
                        token: ask.token,
                    };
                    jobs::claim_suspect(conn, &claim).await
                }
                .boxed()
            })
            .await
    }

    /// Claims up to what is asked for, by shares and then in strict order.
    async fn fill(
        &self,
        conn: &mut Connection,
        memory: &mut Memory,
        ask: Ask,
    ) -> Result<Vec<ClaimedJob>, StoreError> {
        memory.turn = memory.turn.wrapping_add(1);
        let quotas = share::quotas(&memory.heads, ask.limit, memory.turn, memory.seen_at);
        let mut jobs = self.claim(conn, &memory.cursor, &quotas, ask, ask.limit).await?;
        memory.cursor.took(&jobs);
        let left = ask.limit.saturating_sub(jobs.len());
        if left > 0 && is_shared(&quotas, ask.limit) {
            // A share bounds those that have aged, and the others took less: the rest is theirs, too.
            let rest = self.claim(conn, &memory.cursor, &strict(left), ask, left).await?;
            memory.cursor.took(&rest);
            jobs.extend(rest);
        }
        Ok(jobs)
    }

    async fn claim(
        &self,
        conn: &mut Connection,
        cursor: &Cursor,
        quotas: &[(i16, usize)],
        ask: Ask,
        limit: usize,
    ) -> Result<Vec<ClaimedJob>, StoreError> {
        let level = |(priority, quota): &(i16, usize)| Level {
            priority: *priority,
            quota: *quota,
            after: cursor.after(*priority),
        };
        let levels: Vec<Level> = quotas.iter().map(level).collect();
        let claim = Claim {
            lane: self.lane,
            worker: &self.worker,
            lease: ask.lease,
            token: ask.token,
        };
        jobs::claim_levels(conn, &claim, &levels, limit).await
    }
}

impl Supply for FromTable {
    fn take(&self, ask: Ask) -> BoxFuture<'static, Result<Taken, StoreError>> {
        self.clone().look(ask).boxed()
    }
}

/// Strict order.
fn strict(n: usize) -> Vec<(i16, usize)> {
    (1..=LEAST_URGENT).map(|priority| (priority, n)).collect()
}

/// Whether some level gets a share only.
fn is_shared(quotas: &[(i16, usize)], n: usize) -> bool {
    quotas.iter().any(|(_, quota)| *quota < n)
}
