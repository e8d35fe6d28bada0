//! `processing_queue`: durable work.
//!
//! A worker holds a job by a *lease*, `(attempt, token)` until a moment of the database's clock, never by an open
//! transaction. Every write to a held job compares the lease; a job that is not among those written has a new owner, and
//! the worker's result is thrown away. What a job becomes next is decided purely, in `queue`; here it is only written.
//!
//! A *lane* is a queue and, for the syncing queue, a destination: what one consumer takes from. A unique key stands for an
//! intent ("bring listing 42 up to date"); while such a job is unfinished, enqueueing it again only makes it more urgent.
//! That holds for a job in work too: whoever finishes it looks at the thing itself once more, under its lock, and puts
//! the job back when more is wanted by then.
//!
//! Leases, due times and crashes are measured by the database's clock alone, so a daemon whose clock is wrong neither
//! takes work early nor holds it for ever.

mod claim;
mod due;
mod enqueue;
mod hands;
mod letters;
mod orders;
mod rescue;
mod row;
mod settle;

pub use claim::{
    Claim, ClaimedJob, Head, Lease, Level, Place, Seen, claim, claim_levels, claim_suspect, claim_these,
    heads,
};
pub use due::{DueSoon, due_soon};
pub use enqueue::{NewJob, enqueue};
pub use hands::{
    LevelCount, Meant, edit_payload, meant, prune_pushes, release, release_all, release_unsure, waiting,
};
pub use letters::{
    JobFilter, JobRow, LaneCount, Repeated, counts, discard, get, list, prune_completed, repeat, set_priority,
};
pub use orders::{QueueOrder, order_pause, order_workers, orders};
pub use rescue::{Abandoned, due_by_a_clock_that_was_ahead, lock_expired, lock_of_the_dead, lock_orphans};
pub use row::{JobStatus, Lane, QueueName, WorkerId};
pub use settle::{Settlement, settle};
