//! What persons have ordered of the queues: how many workers, and whether anything is done at all.
//!
//! The settings say how many workers a queue has; a person's order stands over them, is kept in the database, and reaches
//! every daemon on it within a second, because each reads the table again. While the database is away the last orders
//! stay.

use super::crew::Crew;
use crate::store::jobs::{self, QueueName, QueueOrder};
use crate::store::{Db, StoreError, looping};
use crate::supervision::Life;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How soon an order given elsewhere is heard of.
const EVERY: Duration = Duration::from_secs(1);
/// One look at five rows.
const LIMIT: Duration = Duration::from_secs(30);

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

/// Where the orders in force stand. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OrdersBoard {
    base: Arc<Orders>,
    in_force: watch::Sender<Arc<Orders>>,
}

// === impl Orders ===

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

    /// Persons' orders over these.
    #[must_use]
    pub fn under(&self, ordered: &[QueueOrder]) -> Self {
        let mut all = self.clone();
        for order in ordered {
            let base = self.of(order.queue);
            let crew = order
                .workers
                .and_then(|(min, max)| Crew::new(min, max).ok())
                .unwrap_or(base.crew);
            let paused = order.paused;
            all.set(order.queue, Order { crew, paused });
        }
        all
    }
}

// === impl OrdersBoard ===

impl OrdersBoard {
    /// A board on which nobody has ordered anything yet: `base` is in force.
    #[must_use]
    pub fn new(base: Orders) -> Self {
        let base = Arc::new(base);
        let in_force = watch::Sender::new(Arc::clone(&base));
        Self { base, in_force }
    }

    /// The orders in force, now and later.
    #[must_use]
    pub fn subscribe(&self) -> OrdersNow {
        self.in_force.subscribe()
    }

    /// Reads what persons have ordered; who listens is told when it is something else than before.
    ///
    /// # Errors
    /// Those of the database; the orders in force stay.
    pub async fn read(&self, db: &Db) -> Result<(), StoreError> {
        let ordered = jobs::orders(&mut *db.conn().await?).await?;
        let now = self.base.under(&ordered);
        self.in_force.send_if_modified(|in_force| {
            let differs = **in_force != now;
            if differs {
                *in_force = Arc::new(now);
            }
            differs
        });
        Ok(())
    }
}

/// Reads the orders again and again until it is asked to stop.
pub(super) async fn keep_reading(db: Db, board: OrdersBoard, life: Life) {
    looping::every(&life, "Reading the queues' orders", EVERY, LIMIT, || {
        board.read(&db)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn a_persons_order_stands_over_the_settings_and_leaves_what_it_does_not_name() {
        let mut base = Orders::default();
        let crew = Crew::new(2, 5).unwrap();
        let queue = QueueName::StockCheck;
        base.set(queue, Order { crew, paused: false });
        let ordered = |workers, paused| QueueOrder {
            queue,
            workers,
            paused,
            changed_by: "akira".into(),
            changed_at: DateTime::UNIX_EPOCH,
        };
        assert_eq!(
            base.under(&[ordered(None, true)]).of(queue),
            Order { crew, paused: true }
        );
        let one = Crew::new(1, 1).unwrap();
        let under = base.under(&[ordered(Some((1, 1)), false)]);
        assert_eq!(
            under.of(queue),
            Order {
                crew: one,
                paused: false
            }
        );
        assert_eq!(
            under.of(QueueName::Validation).crew,
            Crew::of(QueueName::Validation)
        );
    }
}
