//! How many workers a lane has: a number, or as many as its waiting time asks for.

use crate::store::jobs::QueueName;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// More would only wait for each other's locks.
pub const MOST: u16 = 64;
/// A job that waits longer than this asks for one more worker …
const LATE: Duration = Duration::from_secs(5);
/// … and one that waits less than this needs none of those that were added.
const SOON: Duration = Duration::from_secs(1);
/// So many calm looks, a second apart, before a worker goes: work often comes in waves.
const CALM_LOOKS: u32 = 30;

/// From how many to how many workers; the same twice is a fixed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Crew {
    min: u16,
    max: u16,
}

/// Numbers that describe no crew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is no number of workers; expected 1 to {MOST}, such as `3`, or a range such as `1..6`")]
pub struct BadCrew {
    /// What was given.
    pub got: String,
}

/// How a crew grows and shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Muster {
    now: u16,
    calm: u32,
}

// === impl Crew ===

impl Crew {
    /// From `min` to `max` workers.
    ///
    /// # Errors
    /// When it is not 1 ≤ `min` ≤ `max` ≤ [`MOST`].
    pub fn new(min: u16, max: u16) -> Result<Self, BadCrew> {
        if 1 <= min && min <= max && max <= MOST {
            Ok(Self { min, max })
        } else {
            let got = Self { min, max }.to_string();
            Err(BadCrew { got })
        }
    }

    /// What a queue has unless somebody says otherwise.
    #[must_use]
    pub fn of(queue: QueueName) -> Self {
        let n = match queue {
            QueueName::StockCheck => 3,
            QueueName::PriceSync | QueueName::PlatformSync => 2,
            QueueName::Validation | QueueName::ProductRegistration => 1,
        };
        Self { min: n, max: n }
    }

    /// The fewest.
    #[must_use]
    pub fn min(self) -> u16 {
        self.min
    }

    /// The most.
    #[must_use]
    pub fn max(self) -> u16 {
        self.max
    }
}

impl fmt::Display for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            self.min.fmt(f)
        } else {
            write!(f, "{}..{}", self.min, self.max)
        }
    }
}

impl FromStr for Crew {
    type Err = BadCrew;

    fn from_str(text: &str) -> Result<Self, BadCrew> {
        let bad = || BadCrew { got: text.to_owned() };
        let number = |part: &str| part.trim().parse::<u16>().ok();
        let (min, max) = match text.split_once("..") {
            Some((min, max)) => (number(min), number(max)),
            None => (number(text), number(text)),
        };
        min.zip(max)
            .and_then(|(min, max)| Self::new(min, max).ok())
            .ok_or_else(bad)
    }
}

// === impl Muster ===

impl Muster {
    /// Begins with the fewest.
    #[must_use]
    pub fn new(crew: Crew) -> Self {
        Self {
            now: crew.min,
            calm: 0,
        }
    }

    /// How many there are now.
    #[must_use]
    pub fn workers(self) -> u16 {
        self.now
    }

    /// A look, one a second: the oldest job that is due has waited `oldest_wait`.
    #[must_use]
    pub fn looked(self, crew: Crew, oldest_wait: Duration) -> Self {
        let here = self.now.clamp(crew.min, crew.max);
        let calm = if oldest_wait < SOON {
            self.calm.saturating_add(1)
        } else {
            0
        };
        if oldest_wait > LATE {
            let now = here.saturating_add(1).min(crew.max);
            return Self { now, calm: 0 };
        }
        if calm >= CALM_LOOKS {
            let now = here.saturating_sub(1).max(crew.min);
            return Self { now, calm: 0 };
        }
        Self { now: here, calm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_crew_is_a_number_or_a_range() {
        let read = |text: &str| text.parse::<Crew>().map(|c| (c.min(), c.max()));
        assert_eq!(read("3"), Ok((3, 3)));
        assert_eq!(read("1..6"), Ok((1, 6)));
        for text in ["0", "65", "", "x", "4..2", "1..", "..3", "-1", "1..2..3"] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(&format!("`{text}`")), "{refused}");
        }
        assert_eq!("2..5".parse::<Crew>().unwrap().to_string(), "2..5");
        assert_eq!("2".parse::<Crew>().unwrap().to_string(), "2");
    }

    #[test]
    fn late_jobs_call_workers_and_calm_sends_them_home() {
        let crew = Crew::new(1, 3).unwrap();
        let mut muster = Muster::new(crew);
        for want in [2, 3, 3] {
            muster = muster.looked(crew, Duration::from_secs(6));
            assert_eq!(muster.workers(), want);
        }
        for _ in 0..CALM_LOOKS - 1 {
            muster = muster.looked(crew, Duration::ZERO);
            assert_eq!(muster.workers(), 3, "too soon");
        }
        assert_eq!(muster.looked(crew, Duration::ZERO).workers(), 2);
        let neither = muster.looked(crew, Duration::from_secs(2));
        assert_eq!(
            neither.looked(crew, Duration::ZERO).workers(),
            3,
            "the calm was broken"
        );
    }

    proptest! {
        #[test]
        fn a_crew_stays_within_its_bounds_even_when_they_move(
            looks in prop::collection::vec((1_u16..=MOST, 0_u16..10, 0_u64..20_000), 1..200),
        ) {
            let mut muster = Muster::new(Crew::of(QueueName::StockCheck));
            for (min, more, wait_ms) in looks {
                let crew = Crew::new(min, (min + more).min(MOST)).unwrap();
                muster = muster.looked(crew, Duration::from_millis(wait_ms));
                prop_assert!(muster.workers() >= crew.min() && muster.workers() <= crew.max());
            }
        }
    }
}
