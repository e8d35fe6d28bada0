//! How often is too often, and how long to wait in between. Pure.
//!
//! The rule is OTP's: a group that must restart *more than* `restarts` times `within` its period gives up. Choose the
//! burst first (how many children may fall at once for one outside reason), then the period that makes the sustained
//! rate bearable, and few at the top, because levels multiply: 3 at the root over 5 in a group is 15 crashes.
//!
//! The first restart is immediate, because most crashes are single; later ones wait twice as long each time, so that a
//! child that crashes at once does not burn a processor. The wait is bounded by half the period's share of one
//! restart: a child that crashes on every start must still exceed its intensity, or waiting would hide it for ever.

use super::spec::Intensity;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The second restart's wait. Long enough for a socket or a pool to be closed by whoever held it.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// No restart waits longer than this, however long the period: an operator watches.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// The first wait of a parked child; it doubles up to [`MAX_PARK`].
const FIRST_PARK: Duration = Duration::from_secs(5);
/// A parked child is tried again at least this often.
const MAX_PARK: Duration = Duration::from_secs(60);

/// The restarts of one group (or of one dynamic child) that still count.
#[derive(Clone, Debug, Default)]
pub(super) struct Hits {
    /// When, and for which child, oldest first.
    at: VecDeque<(Instant, usize)>,
}

// === impl Hits ===

impl Hits {
    /// Counts a restart of child `who` and says whether it is still allowed.
    pub(super) fn allow(&mut self, intensity: Intensity, who: usize, now: Instant) -> bool {
        self.at.push_back((now, who));
        // A restart exactly `within` ago still counts, as in OTP.
        while let Some((oldest, _)) = self.at.front()
            && now.saturating_duration_since(*oldest) > intensity.within
        {
            self.at.pop_front();
        }
        self.count() <= intensity.restarts
    }

    /// How many restarts count now.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.at.len()).unwrap_or(u32::MAX)
    }

    /// Forgets one child's restarts: it was parked, and its neighbours must not pay for it.
    pub(super) fn forget(&mut self, who: usize) {
        self.at.retain(|(_, by)| *by != who);
    }
}

/// How long the restart number `streak` in a row (0 is the first) waits.
pub(super) fn restart_delay(streak: u32, intensity: Intensity) -> Duration {
    let Some(doublings) = streak.checked_sub(1) else {
        return Duration::ZERO;
    };
    // Half the share of one restart in the period: all of them together take half the period at most.
    let share = intensity.within / intensity.restarts.max(1).saturating_mul(2);
    doubled(FIRST_DELAY, doublings).min(MAX_DELAY).min(share)
}

/// How long a child parked for the time number `parks` in a row (0 is the first) waits: 5, 10, 20, 40, 60, 60 … s.
pub(super) fn park_delay(parks: u32) -> Duration {
    doubled(FIRST_PARK, parks).min(MAX_PARK)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every(secs: u64, restarts: u32) -> Intensity {
        Intensity {
            restarts,
            within: Duration::from_secs(secs),
        }
    }

    #[test]
    fn the_restart_after_the_last_allowed_one_is_refused() {
        let (now, rule) = (Instant::now(), every(60, 3));
        let mut hits = Hits::default();
        for _ in 0..3 {
            assert!(hits.allow(rule, 0, now));
        }
        assert!(!hits.allow(rule, 0, now));
    }

    #[test]
    fn zero_restarts_allow_none() {
        assert!(!Hits::default().allow(every(60, 0), 0, Instant::now()));
    }

    #[test]
    fn a_restart_counts_until_its_period_is_over() {
        let (now, rule) = (Instant::now(), every(60, 1));
        let mut hits = Hits::default();
        assert!(hits.allow(rule, 0, now));
        assert!(!hits.clone().allow(rule, 0, now + Duration::from_secs(60)));
        assert!(hits.allow(rule, 0, now + Duration::from_millis(60_001)));
    }

    #[test]
    fn a_parked_childs_restarts_are_forgotten_and_no_others() {
        let (now, rule) = (Instant::now(), every(60, 2));
        let mut hits = Hits::default();
        assert!(hits.allow(rule, 0, now));
        assert!(hits.allow(rule, 1, now));
        hits.forget(0);
        assert_eq!(hits.count(), 1);
        assert!(hits.allow(rule, 1, now));
        assert!(!hits.allow(rule, 1, now));
    }

    #[test]
    fn parked_children_are_tried_after_5_10_up_to_60_seconds() {
        let waits: Vec<u64> = (0..6).map(|parks| park_delay(parks).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert_eq!(park_delay(u32::MAX), MAX_PARK);
    }

    proptest! {
        #[test]
        fn the_first_restart_is_at_once_and_later_ones_never_wait_less(
            streak in 0u32..40, secs in 1u64..3_600, restarts in 0u32..100,
        ) {
            let rule = every(secs, restarts);
            prop_assert_eq!(restart_delay(0, rule), Duration::ZERO);
            prop_assert!(restart_delay(streak + 1, rule) >= restart_delay(streak, rule));
            prop_assert!(restart_delay(streak, rule) <= MAX_DELAY);
        }

        #[test]
        fn a_child_that_crashes_on_every_start_exceeds_its_intensity(secs in 1u64..3_600, restarts in 0u32..100) {
            let rule = every(secs, restarts);
            let (mut now, mut hits) = (Instant::now(), Hits::default());
            let mut refused = false;
            for streak in 0..=restarts {
                refused = !hits.allow(rule, 0, now);
                now += restart_delay(streak, rule);
            }
            prop_assert!(refused);
        }
    }
}
