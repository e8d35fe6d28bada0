//! Calendar time for the rest of the house.
//!
//! Durations and deadlines are `tokio::time::Instant` (paused in tests); calendar time is `DateTime<Utc>`, asked here
//! at the edges and passed as `now` to everything that decides.

use chrono::{DateTime, Duration, Utc};
use parking_lot::Mutex;
use std::sync::Arc;

/// Tells the calendar time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// `None` is the machine's clock.
    manual: Option<Arc<Mutex<DateTime<Utc>>>>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start` until told otherwise.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self {
            manual: Some(Arc::new(Mutex::new(start))),
        }
    }

    /// The calendar time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.manual {
            Some(at) => *at.lock(),
            None => Utc::now(),
        }
    }

    /// Moves a manual clock by `by`; the machine's clock is not ours to move.
    pub fn advance(&self, by: Duration) {
        if let Some(at) = &self.manual {
            let mut at = at.lock();
            *at = at.checked_add_signed(by).unwrap_or(*at);
        }
    }
}
