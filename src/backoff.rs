//! How long to wait before the next try.
//!
//! One shape for the whole house: the longest wait of attempt `n` is `min · 2ⁿ`, never above `max`, and the wait itself
//! is drawn between that and a share of it. With *full* jitter the draw goes down to zero, which spreads a crowd that
//! failed together best (AWS, "Exponential backoff and jitter"); with a small share the wait stays recognisable, which
//! is what a person wants who reads "next try in 30 s". Pure: the generator is a parameter, so a test may seed it.

use rand::Rng;
use std::{fmt, time::Duration};

/// A growing, jittered wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The longest wait before the first repetition (attempt 0).
    min: Duration,
    /// No wait is longer.
    max: Duration,
    /// Which share of the wait is drawn by lot.
    jitter: Jitter,
}

/// Which part of a wait is left to chance: 0 is none, 1 is all of it (*full* jitter).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(f64);

/// Settings that describe no backoff.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadBackoff {
    /// The first wait is zero, which would be a busy loop.
    #[error("the shortest wait is zero; expected at least one millisecond, such as 1 s")]
    ZeroMin,
    /// The bounds are the wrong way round.
    #[error("the shortest wait {min:?} is above the longest {max:?}; expected min ≤ max")]
    MinAboveMax {
        /// The shortest wait given.
        min: Duration,
        /// The longest wait given.
        max: Duration,
    },
    /// A share outside of 0 to 1.
    #[error("the jitter is {got}; expected a share from 0 (none) to 1 (full)")]
    Jitter {
        /// What was given.
        got: f64,
    },
}

// === impl Jitter ===

impl Jitter {
    /// No chance at all; for tests and for waits that a person should recognise.
    pub const NONE: Self = Self(0.0);
    /// The whole wait is drawn.
    pub const FULL: Self = Self(1.0);
    /// A tenth, enough that two loops do not step together.
    pub const TENTH: Self = Self(0.1);

    /// A share of the wait.
    ///
    /// # Errors
    /// When `share` is not within 0 to 1.
    pub fn share(share: f64) -> Result<Self, BadBackoff> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(BadBackoff::Jitter { got: share })
        }
    }

    /// The share as a number, 0 to 1.
    #[must_use]
    pub const fn as_share(self) -> f64 {
        self.0
    }

    /// Draws the part of `whole` that chance decides: between zero and `share · whole`.
    pub fn draw(self, whole: Duration, rng: &mut impl Rng) -> Duration {
        let seconds = whole.as_secs_f64() * self.0;
        if seconds <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(rng.random_range(0.0..=seconds)).unwrap_or(Duration::ZERO)
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Backoff ===

impl Backoff {
    /// A backoff from its numbers.
    ///
    /// # Errors
    /// When `min` is zero or above `max`.
    pub fn new(min: Duration, max: Duration, jitter: Jitter) -> Result<Self, BadBackoff> {
        if min.is_zero() {
            return Err(BadBackoff::ZeroMin);
        }
        if min > max {
            return Err(BadBackoff::MinAboveMax { min, max });
        }
        Ok(Self { min, max, jitter })
    }

    /// The longest wait after `attempt` failures before this one (0 for the first): doubles up to `max`.
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }

    /// The wait after `attempt` failures before this one, drawn from `[ceiling · (1 − jitter), ceiling]`.
    pub fn delay(&self, attempt: u32, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling(attempt);
        ceiling.saturating_sub(self.jitter.draw(ceiling, rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn the_known_row_is_one_two_four_seconds_up_to_the_maximum() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), Jitter::NONE).unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let row: Vec<_> = (0..8).map(|n| backoff.delay(n, &mut rng).as_secs()).collect();
        assert_eq!(row, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_secs(60));
    }

    #[test]
    fn numbers_that_describe_no_backoff_are_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(
            Backoff::new(Duration::ZERO, second, Jitter::NONE),
            Err(BadBackoff::ZeroMin)
        );
        assert!(Backoff::new(second * 2, second, Jitter::NONE).is_err());
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Jitter::share(share).is_err(), "{share} was taken");
        }
    }

    #[test]
    fn full_jitter_spreads_over_the_whole_range() {
        let backoff = Backoff::new(Duration::from_secs(8), Duration::from_secs(8), Jitter::FULL).unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let mut eighths = [0_u32; 9];
        for _ in 0..8_000 {
            eighths[usize::try_from(backoff.delay(0, &mut rng).as_secs()).unwrap()] += 1;
        }
        assert!(
            eighths[..8].iter().all(|n| (800..1_200).contains(n)),
            "{eighths:?}"
        );
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_bounds_and_ceilings_never_fall(
            min_ms in 1_u64..100_000, extra_ms in 0_u64..10_000_000, share in 0.0_f64..=1.0, attempt in 0_u32..200, seed: u64,
        ) {
            let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(min_ms + extra_ms));
            let backoff = Backoff::new(min, max, Jitter::share(share).unwrap()).unwrap();
            let ceiling = backoff.ceiling(attempt);
            let delay = backoff.delay(attempt, &mut StdRng::seed_from_u64(seed));
            prop_assert!(ceiling >= min && ceiling <= max);
            prop_assert!(backoff.ceiling(attempt + 1) >= ceiling);
            prop_assert!(delay <= ceiling);
            prop_assert!(delay.as_secs_f64() >= ceiling.as_secs_f64() * (1.0 - share) - 1e-6);
        }

        #[test]
        fn without_jitter_the_delay_is_the_ceiling(min_ms in 1_u64..100_000, attempt in 0_u32..64, seed: u64) {
            let min = Duration::from_millis(min_ms);
            let backoff = Backoff::new(min, min * 300, Jitter::NONE).unwrap();
            prop_assert_eq!(backoff.delay(attempt, &mut StdRng::seed_from_u64(seed)), backoff.ceiling(attempt));
        }
    }
}
