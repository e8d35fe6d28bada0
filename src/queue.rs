//! The durable queue: states, outcomes, retries, leases, rescue.
//!
//! ```text
//!                 ┌────────────── Snooze, rescue ─────────────┐
//!                 ▼                                           │
//!  enqueue ──▶ pending ──claim──▶ processing ──Done──▶ completed ──7 days──▶ pruned
//!                 ▲                 ▲   │
//!                 │               claim ├──Retry, retries left──▶ failed ──┐
//!                 │                 └──────────────────────────────────────┘
//!                 │                     ├──Retry, none left──▶ dead
//!                 │                     ├──Discard───────────▶ dead
//!                 │                     └──third dead worker in 72 h──▶ dead
//!                 └──── a person repeats ───────────────────────┘
//! ```
//!
//! - **At least once.** A job is enqueued when its transaction commits, and is seen until it is completed, dead or
//!   discarded by a person. A worker that dies leaves a lease behind, which the rescuer finds.
//! - **Fenced.** Each claim makes a new token; a worker that has lost its lease cannot finish anything. It is told so by
//!   [`Finished::LostLease`] and throws its result away.
//! - **Waiting is not failing.** `Snooze` (gate shut, limit reached, shutdown) uses no retry.
//! - **A job that kills its worker** three times in 72 hours is a dead letter, not a loop.
//! - **Notices only make it sooner.** A consumer registers for a notice *before* it looks, looks, and then waits for the
//!   notice or for the poll. Without the link to the database's notices everything still runs, by polling.
//!
//! - **Urgent first, nobody starved.** Priorities 1–3 are high, 4–6 normal, 7–10 low; a level whose oldest job has waited a
//!   minute gets a tenth of each batch ([`share`]).
//!
//! Who does what is said in a [`registry`]; each lane in it has an [`executor`], which takes batches from a [`supply`] and
//! hands them to its workers. Lanes without a work wait for a process that knows them. How many workers there are, and
//! whether they take anything, stands in the [`orders`].
//!
//! The rules are pure ([`job`], [`policy`], [`batch`], [`crew`], [`share`], [`cursor`]); SQL stands in
//! [`crate::store::jobs`].

pub mod batch;
pub mod crew;
pub mod cursor;
pub mod each;
pub mod executor;
pub mod fast;
pub mod finish;
pub mod job;
pub mod notifier;
pub mod orders;
pub mod outcome;
pub mod policy;
pub mod pruner;
pub mod registry;
pub mod rescuer;
mod runner;
mod settler;
pub mod share;
pub mod staged;
mod stager;
pub mod supply;
pub mod tally;

pub use crate::store::jobs::ClaimedJob;
pub use each::each;
pub use finish::{Finished, finish_in, finish_many_in};
pub use notifier::{Notice, Notices};
pub use orders::{Order, Orders, OrdersBoard};
pub use outcome::{JobError, Outcome};
pub use policy::Policy;
pub use registry::{Registry, Turn, Work};
pub use tally::Tallies;

use crate::nodes::Ownership;
use crate::store::Db;
use crate::store::jobs::WorkerId;
use crate::store::looping;
use crate::supervision::ChildSpec;
use executor::ExecutorParts;
use fast::{FastLanes, FromRedis};
use std::sync::Arc;
use std::time::Duration;
use supply::{FromTable, Supply};

/// What the queue's children are made from.
#[derive(Clone)]
pub struct QueueParts {
    /// The database.
    pub db: Db,
    /// What of the work is this node's.
    pub ownership: Ownership,
    /// What the database tells.
    pub notices: Notices,
    /// This life of this node.
    pub worker: WorkerId,
    /// Limits and retries of what is rescued.
    pub policy: Policy,
    /// Who does what.
    pub registry: Registry,
    /// What persons have ordered.
    pub orders: OrdersBoard,
    /// What the executors have done.
    pub tallies: Tallies,
    /// How long running work may take to end at a stop.
    pub grace: Duration,
    /// Says by way of Redis which jobs are due; without it the table alone does.
    pub fast: Option<FastLanes>,
}

/// The queue's own children, in the order they start: whoever takes work comes after whoever puts it back.
pub fn children(parts: &QueueParts) -> Vec<ChildSpec> {
    let (listening, notices) = (parts.db.clone(), parts.notices.clone());
    let (rescuing, worker, policy) = (parts.db.clone(), parts.worker.clone(), parts.policy);
    let pruning = parts.db.clone();
    let (rescues, prunes) = (parts.ownership.clone(), parts.ownership.clone());
    let mut children = vec![looping::child("notifier", move |life| {
        notifier::keep_listening(listening.clone(), notices.clone(), life)
    })];
    children.extend(stagers(parts));
    children.extend([
        looping::child("rescuer", move |life| {
            rescuer::keep_rescuing(rescuing.clone(), rescues.clone(), worker.clone(), policy, life)
        }),
        looping::child("pruner", move |life| {
            pruner::keep_pruning(pruning.clone(), prunes.clone(), life)
        }),
    ]);
    let (reading, board) = (parts.db.clone(), parts.orders.clone());
    children.push(looping::child("orders", move |life| {
        orders::keep_reading(reading.clone(), board.clone(), life)
    }));
    children.extend(executors(parts));
    children
}

/// How the sessions plan that claim and settle: by the indexes, always.
///
/// A plan is made once for each session, often while the table is empty or nearly so. Then reading all of it looks
/// cheapest, and that plan stays when a hundred thousand jobs have come, until the server analyses the table again.
const BY_INDEX: &str = "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off -c enable_mergejoin=off \
                        -c enable_sort=off -c jit=off";

fn by_index(parts: &QueueParts, connections: usize) -> Db {
    parts.db.beside(connections, BY_INDEX).unwrap_or_else(|error| {
        tracing::warn!("The queue shares the others' connections: {error}");
        parts.db.clone()
    })
}

/// One stager for each lane that has a work, where there is a Redis to stage for.
pub fn stagers(parts: &QueueParts) -> Vec<ChildSpec> {
    let lanes = parts.registry.entries().iter().map(|entry| entry.lane);
    let Some(fast) = &parts.fast else {
        return Vec::new();
    };
    let pool = by_index(parts, 1);
    let one = |lane| {
        let (db, notices) = (pool.clone(), parts.notices.clone());
        stager::child(db, notices, fast.link().clone(), lane, fast.of(lane))
    };
    lanes.map(one).collect()
}

/// One executor for each lane that has a work.
pub fn executors(parts: &QueueParts) -> Vec<ChildSpec> {
    // A claim and a settlement at a time for each lane; a few lanes are busy at once.
    let connections = parts.registry.entries().len().saturating_mul(2).clamp(1, 6);
    let pool = by_index(parts, connections);
    let one = |entry: &registry::Entry| {
        let (db, lane, worker) = (pool.clone(), entry.lane, parts.worker.clone());
        let supply: Arc<dyn Supply> = match &parts.fast {
            Some(fast) => {
                let (link, staged) = (fast.link().clone(), fast.of(lane));
                Arc::new(FromRedis::new(db.clone(), link, lane, worker, staged))
            }
            None => Arc::new(FromTable::new(db.clone(), lane, worker)),
        };
        executor::child(ExecutorParts {
            db,
            worker: parts.worker.clone(),
            notices: parts.notices.clone(),
            entry: entry.clone(),
            supply,
            ownership: parts.ownership.clone(),
            orders: parts.orders.subscribe(),
            tally: parts.tallies.of(lane),
            grace: parts.grace,
        })
    };
    parts.registry.entries().iter().map(one).collect()
}
