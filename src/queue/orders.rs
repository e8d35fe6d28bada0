//! What persons have ordered of the queues: how many workers, and whether anything is done at all.

use super::crew::Crew;
use crate::store::jobs::QueueName;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What is ordered of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// How many workers each of its lanes has.
    pub crew: Crew,
    /// Nothing is taken.
    pub paused: bool,
}

/// What is ordered of all queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders(HashMap<QueueName, Order>);

/// The orders as they are now, and their changes.
pub type OrdersNow = watch::Receiver<Arc<Orders>>;

impl Orders {
    /// What is ordered of `queue`; its default when nothing is.
    #[must_use]
    pub fn of(&self, queue: QueueName) -> Order {
        let default = Order {
            crew: Crew::of(queue),
            paused: false,
        };
        self.0.get(&queue).copied().unwrap_or(default)
    }

    /// Orders something of a queue.
    pub fn set(&mut self, queue: QueueName, order: Order) {
        self.0.insert(queue, order);
    }
}
