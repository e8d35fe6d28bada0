//! Makes listings equal to what they should be, and keeps them so.
//!
//! Wanted and confirmed are two states of a listing's row, and everything here serves to bring the second to the first:
//! [`plan`] says the next step, [`radius`] and the destination's budget whether it may be taken, the [`Syncer`] takes it,
//! [`settle`] says what the answer means. See `docs/ARCHITECTURE.md` §3 and `docs/GUARANTEES.md`.
//!
//! # What is promised
//! - **Late never wins.** One push at a time for a listing; it is written down, with the moment after which it can no
//!   longer be sent, before it leaves; an answer counts only while its push is still the newest one written down; after
//!   an outcome that nobody knows the deadline is waited out and the destination is read before and after the next push.
//! - **Nothing is forgotten.** What is wanted and not confirmed is found by its row, with or without a job or a notice.
//! - **Zeros first**, in the queue, in the destination's line, and past every hold but the blast radius.
//! - **Nothing is undone that a buyer did**: before a quantity is raised the destination is read, and less than was
//!   confirmed is held for a person.
//! - **An outage uses nothing up**: jobs wait, and no attempt is counted.

mod bulk;
pub mod dry_run;
pub mod explain;
pub mod link;
mod look;
#[cfg(test)]
mod model;
pub mod outlet;
pub mod own_rules;
pub mod plan;
pub mod radius;
pub mod reconcile;
pub mod register;
pub mod reprice;
mod room;
mod round;
mod settings;
pub mod settle;
mod shared;
mod sweep;
mod syncer;
mod take;

pub use outlet::Outlet;
pub use reconcile::{Policies, Policy, ReconcileSettings};
pub use settings::SyncSettings;
pub use shared::SyncStatus;
pub use sweep::PriceSync;
pub use syncer::{GetStatus, LookNow, SyncParts, Syncer};
