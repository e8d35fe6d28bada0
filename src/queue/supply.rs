//! Where a lane's work comes from.

use crate::store::jobs::{self, ClaimedJob, Lane, WorkerId};
use crate::store::{Db, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// So many jobs at most.
    pub limit: usize,
    /// How long they are held.
    pub lease: Duration,
    /// Something was told of the lane since the last look, or the lane has slept: what sorts earlier may have come.
    pub told: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Claimed, most urgent first.
    pub jobs: Vec<ClaimedJob>,
    /// More is due than was taken: look again at once.
    pub more: bool,
    /// How long the oldest job that is due has waited, as far as it is known.
    pub oldest_wait: Duration,
}

/// Takes jobs for one lane. There is one for each lane and process; it is asked again only when it has answered.
pub trait Supply: Send + Sync + 'static {
    /// Claims what is most urgent. What it answers is held by a lease; nothing else is.
    fn take(&self, ask: Ask) -> BoxFuture<'static, Result<Taken, StoreError>>;
}

/// Jobs straight from the table.
#[derive(Clone)]
pub struct FromTable {
    db: Db,
    lane: Lane,
    worker: WorkerId,
}

impl FromTable {
    /// The supply of `lane`.
    #[must_use]
    pub fn new(db: Db, lane: Lane, worker: WorkerId) -> Self {
        Self { db, lane, worker }
    }
}

impl Supply for FromTable {
    fn take(&self, ask: Ask) -> BoxFuture<'static, Result<Taken, StoreError>> {
        let this = self.clone();
        async move {
            let mut conn = this.db.conn().await?;
            let jobs = jobs::claim(&mut conn, this.lane, &this.worker, ask.lease, ask.limit).await?;
            Ok(Taken {
                more: jobs.len() >= ask.limit,
                oldest_wait: Duration::ZERO,
                jobs,
            })
        }
        .boxed()
    }
}
