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
//! The rules are pure ([`job`], [`policy`]); SQL stands in [`crate::store::jobs`].

pub mod finish;
pub mod job;
pub mod notifier;
pub mod outcome;
pub mod policy;
pub mod pruner;
pub mod rescuer;

pub use finish::{Finished, finish_in, finish_many_in};
pub use notifier::{Notice, Notices};
pub use outcome::{JobError, Outcome};
pub use policy::Policy;

use crate::store::Db;
use crate::store::jobs::WorkerId;
use crate::store::looping;
use crate::supervision::ChildSpec;

/// The queue's own children, in the order they start.
pub fn children(db: &Db, notices: &Notices, worker: &WorkerId, policy: Policy) -> Vec<ChildSpec> {
    let (listening, notices) = (db.clone(), notices.clone());
    let (rescuing, worker) = (db.clone(), worker.clone());
    let pruning = db.clone();
    vec![
        looping::child("notifier", move |life| {
            notifier::keep_listening(listening.clone(), notices.clone(), life)
        }),
        looping::child("rescuer", move |life| {
            rescuer::keep_rescuing(rescuing.clone(), worker.clone(), policy, life)
        }),
        looping::child("pruner", move |life| pruner::keep_pruning(pruning.clone(), life)),
    ]
}
