//! `processing_queue`: durable work.
//!
//! A worker holds a job by a *lease*, `(attempt, token)` until a moment of the database's clock, never by an open
//! transaction. Every write to a held job compares the lease; zero rows means that the lease was lost, and the worker's
//! result is thrown away. What a job becomes next is decided in [`crate::queue`](crate), purely; here it is written.
//!
//! A *lane* is a queue and, for the syncing queue, a destination: what one consumer takes from. A unique key stands for an
//! intent ("bring listing 42 up to date"); while such a job is unfinished, enqueueing it again only makes it more urgent.

mod enqueue;
mod row;

pub use enqueue::{NewJob, enqueue};
pub use row::{JobStatus, Lane, QueueName};
