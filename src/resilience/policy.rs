//! Every number of a guard, as data, with the reason for its default.
//!
//! Nothing here acts. `config` turns what the operator typed into a [`Policy`], [`Policy::problems`] names everything
//! that is wrong with it at once, and [`Guard`](super::Guard) refuses to be built from one that has problems.

use crate::backoff::Jitter;
use serde::Serialize;
use std::{fmt, num::NonZeroU32, time::Duration};

/// No budget is spread over more: a platform that counts by the month is the slowest known.
const LONGEST_SPAN: Duration = Duration::from_secs(31 * 86_400);

/// How often something may happen: so many requests per span of time.
///
/// Kept as the two numbers a platform's document states (100 an hour), so that nothing is lost by rounding; the guard
/// spreads them evenly and never admits the whole budget at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: NonZeroU32,
    per: Duration,
}

/// A rate that is none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BadRate {
    /// Zero, negative, not a number, or faster than a nanosecond's clock can tell.
    #[error(
        "the rate is {got} requests per second; expected more than 0 and at most 1000000, such as 1 or 0.5"
    )]
    PerSecond {
        /// What was given.
        got: f64,
    },
    /// A budget of nothing, or over no time.
    #[error("the budget is {requests} requests in {per:?}; expected at least one request in 1 ms to 31 days")]
    Budget {
        /// The requests given.
        requests: u32,
        /// The span given.
        per: Duration,
    },
}

/// How a guard treats one outside service. See the fields for the defaults and their reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The most requests. Default: one a second, the polite rate for pages made for people.
    pub rate: Rate,
    /// Which share of the spacing is added by lot, 0 to 0.1. Default 0.1: two daemons do not step together.
    pub spacing_jitter: Jitter,
    /// The most calls open at the same time, reserved permits included. Default 4.
    pub concurrency: usize,
    /// The most callers that wait for a permit. Default 1024; above it the least urgent are refused.
    pub waiting: usize,
    /// The longest that a caller who asked for an answer, not for a place in the line, is made to wait by a slow rate or a
    /// server's word. Default 60 s; a durable queue waits better than a task does.
    pub longest_wait: Duration,
    /// How long one call may take. Default 20 s.
    pub time_limit: Duration,
    /// What a 429 does.
    pub slow_down: SlowDown,
    /// When the breaker trips.
    pub trip: Trip,
    /// How long the gate then stays shut, and how it opens again.
    pub opening: Opening,
}

/// What a 429 does to the rate: halve at once, come back slowly (AIMD, as TCP does).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowDown {
    /// The least share of the rate that is left. Default 1/16.
    pub floor_share: f64,
    /// How much of the full rate comes back each time. Default 0.05.
    pub recover_step: f64,
    /// How often a step comes back without a new 429. Default 30 s: from half to full in five minutes.
    pub recover_every: Duration,
    /// The least wait after a 429 that names none, or names less. Default 1 s.
    pub wait_min: Duration,
    /// The longest wait a server may order. Default 15 min: a wrong header must not silence a shop for a day.
    pub wait_max: Duration,
    /// How many 429 in a row at the floor rate are a failure of the service. Default 3.
    pub persists: u32,
}

/// When the breaker trips: a run of failures reacts at once, a ratio sees the half-broken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// So many failures in a row. Default 5.
    pub consecutive: u32,
    /// This share of failures, and …. Default 0.5.
    pub failed_share: f64,
    /// … at least so many answers, … Default 20: a ratio of three answers says nothing.
    pub sample: u32,
    /// … within this time. Default 60 s.
    pub window: Duration,
    /// Whether a service's own "unavailable" (503) trips at once. Default no.
    pub at_once_when_unavailable: bool,
}

/// How long the gate stays shut, and how it opens again.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// The first time. Default 30 s.
    pub first: Duration,
    /// It doubles up to this. Default 300 s.
    pub longest: Duration,
    /// Which share is added by lot. Default 0.1: never shorter than stated, so a storm's requests can be counted.
    pub jitter: Jitter,
    /// How long it must stay open for one doubling to be forgotten. Default 10 min: a service that flaps is left alone
    /// for longer each time.
    pub forget_after: Duration,
    /// How many probes, one after another, must succeed. Default 1.
    pub probes: u32,
    /// The shares of the rate after it opened, and how long each lasts. Default 25 % and 50 % for 30 s each, then all.
    pub ramp: Vec<RampStep>,
}

/// One step on the way back to the full rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RampStep {
    /// The share of the rate, above 0 and up to 1.
    pub share: f64,
    /// How long it lasts.
    pub lasts: Duration,
}

/// One thing that is wrong with a [`Policy`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyProblem {
    /// Which field, with its path: `trip.failed_share`.
    pub field: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub got: String,
}

/// A policy that cannot be followed, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy of `{service}` cannot be followed: {}", join(.problems))]
pub struct BadPolicy {
    /// Whose policy.
    pub service: String,
    /// What is wrong, never empty.
    pub problems: Vec<PolicyProblem>,
}

fn join(problems: &[PolicyProblem]) -> String {
    problems
        .iter()
        .map(PolicyProblem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

// === impl Rate ===

impl Rate {
    /// `requests` spread over `per`.
    ///
    /// # Errors
    /// When there is no request, or the span is shorter than 1 ms or longer than 31 days.
    pub fn new(requests: u32, per: Duration) -> Result<Self, BadRate> {
        let bad = BadRate::Budget { requests, per };
        if per < Duration::from_millis(1) || per > LONGEST_SPAN {
            return Err(bad);
        }
        NonZeroU32::new(requests)
            .map(|requests| Self { requests, per })
            .ok_or(bad)
    }

    /// So many requests an hour, spread evenly.
    ///
    /// # Errors
    /// When it is zero.
    pub fn per_hour(requests: u32) -> Result<Self, BadRate> {
        Self::new(requests, Duration::from_secs(3_600))
    }

    /// So many requests a second, fractions allowed: 0.5 is one every two seconds.
    ///
    /// # Errors
    /// When it is not above 0 and at most 1,000,000, or slower than one in 31 days.
    pub fn per_second(requests_per_second: f64) -> Result<Self, BadRate> {
        let bad = BadRate::PerSecond {
            got: requests_per_second,
        };
        // A thousand requests over a thousand times their spacing keep fractions such as 1/3 true to a nanosecond.
        let kilo = Duration::try_from_secs_f64(1000.0 / requests_per_second);
        match kilo {
            Ok(kilo) if requests_per_second > 0.0 && requests_per_second <= 1_000_000.0 => {
                if kilo > LONGEST_SPAN {
                    Self::new(1, kilo / 1000)
                } else {
                    Self::new(1000, kilo)
                }
            }
            _ => Err(bad),
        }
    }

    /// The time from one request to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        (self.per / self.requests.get()).max(Duration::from_nanos(1))
    }

    /// Requests per second, for people and for `status`.
    #[must_use]
    pub fn requests_per_second(self) -> f64 {
        f64::from(self.requests.get()) / self.per.as_secs_f64()
    }

    const fn one_a_second() -> Self {
        Self {
            requests: NonZeroU32::MIN,
            per: Duration::from_secs(1),
        }
    }
}

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        Self {
            rate: Rate::one_a_second(),
            spacing_jitter: Jitter::TENTH,
            concurrency: 4,
            waiting: 1024,
            longest_wait: Duration::from_secs(60),
            time_limit: Duration::from_secs(20),
            slow_down: SlowDown::default(),
            trip: Trip::default(),
            opening: Opening::default(),
        }
    }
}

impl Default for SlowDown {
    fn default() -> Self {
        Self {
            floor_share: 1.0 / 16.0,
            recover_step: 0.05,
            recover_every: Duration::from_secs(30),
            wait_min: Duration::from_secs(1),
            wait_max: Duration::from_secs(900),
            persists: 3,
        }
    }
}

impl Default for Trip {
    fn default() -> Self {
        Self {
            consecutive: 5,
            failed_share: 0.5,
            sample: 20,
            window: Duration::from_secs(60),
            at_once_when_unavailable: false,
        }
    }
}

impl Default for Opening {
    fn default() -> Self {
        let step = |share| RampStep {
            share,
            lasts: Duration::from_secs(30),
        };
        Self {
            first: Duration::from_secs(30),
            longest: Duration::from_secs(300),
            jitter: Jitter::TENTH,
            forget_after: Duration::from_secs(600),
            probes: 1,
            ramp: vec![step(0.25), step(0.5)],
        }
    }
}

impl Policy {
    /// Everything that is wrong, so that an operator mends it in one go. Empty when it can be followed.
    #[must_use]
    pub fn problems(&self) -> Vec<PolicyProblem> {
        let mut found = Problems::default();
        let share = "a share above 0 and at most 1, such as 0.5";
        let day = Duration::from_secs(86_400);
        let (slow, trip, opening) = (&self.slow_down, &self.trip, &self.opening);

        found.unless(
            self.spacing_jitter.as_share() <= 0.1,
            "spacing_jitter",
            "a share from 0 to 0.1",
            self.spacing_jitter,
        );
        found.unless(
            (1..=10_000).contains(&self.concurrency),
            "concurrency",
            "1 to 10000 calls",
            self.concurrency,
        );
        found.unless(
            (1..=100_000).contains(&self.waiting),
            "waiting",
            "1 to 100000 callers",
            self.waiting,
        );
        found.span("longest_wait", self.longest_wait, Duration::from_millis(1), day);
        found.span(
            "time_limit",
            self.time_limit,
            Duration::from_millis(1),
            Duration::from_secs(3_600),
        );

        found.unless(
            is_share(slow.floor_share),
            "slow_down.floor_share",
            share,
            slow.floor_share,
        );
        found.unless(
            is_share(slow.recover_step),
            "slow_down.recover_step",
            share,
            slow.recover_step,
        );
        found.span(
            "slow_down.recover_every",
            slow.recover_every,
            Duration::from_millis(1),
            day,
        );
        found.span("slow_down.wait_max", slow.wait_max, Duration::from_millis(1), day);
        found.unless(
            slow.wait_min <= slow.wait_max,
            "slow_down.wait_min",
            "at most slow_down.wait_max",
            Shown(slow.wait_min),
        );
        found.unless(
            slow.persists >= 1,
            "slow_down.persists",
            "at least 1",
            slow.persists,
        );

        found.unless(
            trip.consecutive >= 1,
            "trip.consecutive",
            "at least 1",
            trip.consecutive,
        );
        found.unless(
            is_share(trip.failed_share),
            "trip.failed_share",
            share,
            trip.failed_share,
        );
        found.unless(trip.sample >= 1, "trip.sample", "at least 1", trip.sample);
        found.span("trip.window", trip.window, Duration::from_secs(1), day);

        found.span("opening.first", opening.first, Duration::from_millis(1), day);
        found.span("opening.longest", opening.longest, opening.first, day);
        found.span(
            "opening.forget_after",
            opening.forget_after,
            Duration::from_millis(1),
            day * 31,
        );
        found.unless(
            opening.probes >= 1,
            "opening.probes",
            "at least 1",
            opening.probes,
        );
        for step in &opening.ramp {
            found.unless(is_share(step.share), "opening.ramp.share", share, step.share);
            found.span("opening.ramp.lasts", step.lasts, Duration::from_millis(1), day);
        }
        found.0
    }
}

fn is_share(share: f64) -> bool {
    share > 0.0 && share <= 1.0
}

/// Collects what is wrong.
#[derive(Default)]
struct Problems(Vec<PolicyProblem>);

impl Problems {
    fn unless(&mut self, good: bool, field: &'static str, expected: &'static str, got: impl fmt::Display) {
        if !good {
            self.0.push(PolicyProblem {
                field,
                expected,
                got: got.to_string(),
            });
        }
    }

    fn span(&mut self, field: &'static str, got: Duration, least: Duration, most: Duration) {
        self.unless(got >= least, field, "a longer time", Shown(got));
        self.unless(got <= most, field, "a shorter time", Shown(got));
    }
}

/// A duration as people write it.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, expected {}", self.field, self.got, self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_policy_can_be_followed() {
        assert_eq!(Policy::default().problems(), []);
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let bad = Policy {
            concurrency: 0,
            trip: Trip {
                failed_share: f64::NAN,
                consecutive: 0,
                ..Trip::default()
            },
            opening: Opening {
                longest: Duration::from_secs(1),
                ..Opening::default()
            },
            ..Policy::default()
        };
        let fields: Vec<_> = bad.problems().iter().map(|p| p.field).collect();
        assert_eq!(
            fields,
            [
                "concurrency",
                "trip.consecutive",
                "trip.failed_share",
                "opening.longest"
            ]
        );
        let error = BadPolicy {
            service: "ebay".into(),
            problems: bad.problems(),
        };
        assert!(
            error
                .to_string()
                .contains("`concurrency` is 0, expected 1 to 10000 calls"),
            "{error}"
        );
    }

    #[test]
    fn rates_keep_what_was_stated() {
        assert_eq!(Rate::per_hour(100).unwrap().interval(), Duration::from_secs(36));
        assert_eq!(Rate::per_second(1.0).unwrap().interval(), Duration::from_secs(1));
        assert_eq!(Rate::per_second(0.5).unwrap().interval(), Duration::from_secs(2));
        assert_eq!(
            Rate::per_second(500.0).unwrap().interval(),
            Duration::from_millis(2)
        );
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6, 1e-9] {
            assert!(Rate::per_second(bad).is_err(), "{bad} was taken");
        }
        assert!(Rate::per_hour(0).is_err());
        assert!(Rate::new(1, Duration::ZERO).is_err());
    }

    proptest! {
        #[test]
        fn a_rate_says_the_same_both_ways(per_second in 0.001_f64..100_000.0) {
            let rate = Rate::per_second(per_second).unwrap();
            prop_assert!((rate.requests_per_second() / per_second - 1.0).abs() < 1e-6);
            prop_assert!((rate.interval().as_secs_f64() * per_second - 1.0).abs() < 1e-3);
        }
    }
}
