//! What was asked for a moment ago, so that a tick of five seconds does not ask for it twelve times a minute.

use crate::domain::HoldId;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How soon a confirmation that was asked for is asked for again: its page may have been unreadable.
const AGAIN: Duration = Duration::from_secs(60);

/// Holds that were asked about, and when.
#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<HoldId, Instant>);

impl Asked {
    /// Whether `hold` is to be asked about at `now`. If so, it counts as asked.
    pub(super) fn is_due(&mut self, hold: HoldId, now: Instant) -> bool {
        let is_due = self
            .0
            .get(&hold)
            .is_none_or(|at| now.saturating_duration_since(*at) >= AGAIN);
        if is_due {
            self.0.insert(hold, now);
        }
        is_due
    }

    /// Forgets what may be asked again anyway: most of it is settled.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_settled_is_asked_again_every_minute() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        let due = (0..=24).map(|tick| {
            let now = start + Duration::from_secs(5 * tick);
            asked.forget_old(now);
            asked.is_due(HoldId(1), now)
        });
        assert_eq!(
            due.filter(|due| *due).count(),
            3,
            "at once, after one minute and after two"
        );
        asked.forget_old(start + Duration::from_secs(600));
        assert!(asked.0.is_empty());
    }
}
