//! How a destination is kept in line.

use super::radius::RadiusSettings;
use super::reconcile::ReconcileSettings;
use crate::backoff::{Backoff, Jitter};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an answer is kept for a database that is away. Later the outcome is unknown and is read back.
pub(super) const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// A database that takes longer to write down a request is as good as away.
const MOST_SLACK: Duration = Duration::from_secs(60);

/// Settings of one syncer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncSettings {
    /// How long a first change waits for company, in milliseconds: what comes within goes in one request.
    pub gather_ms: u64,
    /// Listings that take an offer away, under way at once.
    pub zeros_at_once: usize,
    /// Listings with another change, under way at once.
    pub changes_at_once: usize,
    /// Listings that are only looked at, under way at once.
    pub checks_at_once: usize,
    /// How long a request may wait for its turn after it was written down, in seconds. Then it is not sent any more.
    pub send_within_s: u64,
    /// The time limit of the destination's calls, in seconds: after it a request that was sent can no longer act.
    pub call_limit_s: u64,
    /// How often listings that were forgotten are looked for, in seconds.
    pub sweep_s: u64,
    /// From an accepted zero to the look afterwards, in milliseconds: destinations show a new value with a delay.
    pub read_back_after_ms: u64,
    /// Prices go in one document where more wait than can be sent one by one within so many seconds; 0: never. Only where
    /// the destination takes such documents.
    pub bulk_after_s: u64,
    /// How often a document that was handed in is looked at, at first, in milliseconds.
    pub bulk_poll_ms: u64,
    /// How many listings may be ended or repriced without a person's word.
    pub radius: RadiusSettings,
    /// How what somebody else has changed at the destination is found and treated.
    pub reconcile: ReconcileSettings,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            gather_ms: 3,
            zeros_at_once: 200,
            changes_at_once: 100,
            checks_at_once: 25,
            send_within_s: 3,
            call_limit_s: 10,
            sweep_s: 5,
            read_back_after_ms: 2_000,
            bulk_after_s: 600,
            bulk_poll_ms: 15_000,
            radius: RadiusSettings::default(),
            reconcile: ReconcileSettings::default(),
        }
    }
}

impl SyncSettings {
    /// How long the first change waits for company.
    #[must_use]
    pub fn gather(&self) -> Duration {
        Duration::from_millis(self.gather_ms)
    }

    /// How long a request may wait for its turn.
    #[must_use]
    pub fn send_within(&self) -> Duration {
        Duration::from_secs(self.send_within_s)
    }

    /// From the commit before a request is sent to the moment when it can no longer act. One second more than the sum,
    /// because the database's clock is read a little after ours.
    #[must_use]
    pub fn push_limit(&self) -> Duration {
        Duration::from_secs(
            self.send_within_s
                .saturating_add(self.call_limit_s)
                .saturating_add(1),
        )
    }

    /// How long a read may wait for its turn: nothing depends on its moment, so the line may be long.
    #[must_use]
    pub fn read_within(&self) -> Duration {
        self.send_within().saturating_mul(10)
    }

    /// How long a job is held: longer than anything it may wait for, so that nobody takes it away from the living. The
    /// dead are no trouble: a syncer that starts takes its whole lane back.
    #[must_use]
    pub fn job_lease(&self) -> Duration {
        self.read_within()
            .saturating_add(self.push_limit())
            .saturating_add(SETTLE_WITHIN)
    }

    /// How much later requests may leave after it took `spent` to write down what they say, and `slack` was given before.
    ///
    /// That time is part of [`send_within`](Self::send_within), so a slow database would use all of it, and nothing would
    /// ever be sent. Twice what was seen, up to a minute, once that is more than half of the limit; then less and less.
    #[must_use]
    pub(super) fn slack_after(&self, spent: Duration, slack: Duration) -> Duration {
        let rest = slack / 2;
        if spent > self.send_within() / 2 {
            spent.saturating_mul(2).clamp(rest.min(MOST_SLACK), MOST_SLACK)
        } else if rest < Duration::from_secs(1) {
            Duration::ZERO
        } else {
            rest
        }
    }

    /// How often to look for the forgotten.
    #[must_use]
    pub fn sweep(&self) -> Duration {
        Duration::from_secs(self.sweep_s.max(1))
    }

    /// From an accepted zero to the look afterwards.
    #[must_use]
    pub fn read_back_after(&self) -> Duration {
        Duration::from_millis(self.read_back_after_ms)
    }

    /// How long prices may take one by one before they go in one document; `None`: for ever.
    #[must_use]
    pub fn bulk_after(&self) -> Option<Duration> {
        (self.bulk_after_s > 0).then(|| Duration::from_secs(self.bulk_after_s))
    }

    /// How often a document that was handed in is looked at, at first.
    #[must_use]
    pub fn bulk_poll(&self) -> Duration {
        Duration::from_millis(self.bulk_poll_ms)
    }

    /// What is wrong with these settings: key below the destination's table, and what was expected.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let radius = &self.radius;
        [
            ("zeros_at_once", self.zeros_at_once == 0, "at least 1"),
            ("changes_at_once", self.changes_at_once == 0, "at least 1"),
            ("checks_at_once", self.checks_at_once == 0, "at least 1"),
            (
                "gather_ms",
                self.gather_ms > 1_000,
                "at most 1000: it is part of every delay",
            ),
            (
                "send_within_s",
                !(1..=60).contains(&self.send_within_s),
                "1 to 60",
            ),
            (
                "call_limit_s",
                !(1..=120).contains(&self.call_limit_s),
                "1 to 120",
            ),
            ("sweep_s", !(1..=3_600).contains(&self.sweep_s), "1 to 3600"),
            (
                "read_back_after_ms",
                self.read_back_after_ms > 600_000,
                "at most 600000",
            ),
            (
                "bulk_after_s",
                self.bulk_after_s > 86_400,
                "at most 86400; 0 sends every price by itself",
            ),
            (
                "radius.share_per_hour_bp",
                radius.share_per_hour_bp > 10_000,
                "at most 10000",
            ),
            (
                "radius.share_per_day_bp",
                radius.share_per_day_bp > 10_000,
                "at most 10000",
            ),
        ]
        .into_iter()
        .filter(|(_, wrong, _)| *wrong)
        .map(|(key, _, expected)| (key, expected))
        .collect()
    }
}

/// Waits after an outage: from a quarter of a second, because the gate measures the outage itself, to half a minute.
pub(super) fn outage_backoff() -> Option<Backoff> {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(30), Jitter::FULL).ok()
}

/// Waits between attempts: 1, 2, 4 s, fully jittered.
pub(super) fn attempt_backoff() -> Option<Backoff> {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(60), Jitter::FULL).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_slowly_may_leave_later_and_only_while_it_is() {
        let (settings, s) = (SyncSettings::default(), Duration::from_secs);
        let after = |spent, slack| settings.slack_after(spent, slack);
        assert_eq!(after(s(1), Duration::ZERO), Duration::ZERO);
        // the next try has its time, and the usual limit beside it
        assert_eq!(after(s(5), Duration::ZERO), s(10));
        assert_eq!(after(s(2), s(10)), s(5), "never less than half at once");
        assert_eq!(after(s(1_000), s(10)), s(60));
        assert_eq!(after(s(1_000), Duration::MAX), s(60));
        let quiet = (0..7).fold(s(60), |slack, _| after(Duration::from_millis(3), slack));
        assert_eq!(quiet, Duration::ZERO);
    }
}
