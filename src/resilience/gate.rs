//! The door of a breaker: *until when* calls are kept out, and who goes first afterwards.
//!
//! Pure: every method takes `now` (tokio's clock, so that tests pause it) and nothing waits here.
//!
//! | state | who passes | left when |
//! |---|---|---|
//! | `Open` | everyone | the breaker [trips](Gate::trip) it: `Shut`, for `first · 2ᵗ` and a lot |
//! | `Shut` | nobody | its time is over and somebody asks: `Limited` |
//! | `Limited` | one probe at a time | the probe succeeds: `Open`; fails: `Shut`, doubled; is dropped: the next may probe |
//!
//! **Epochs.** Each call carries the epoch in which it was let in, and every shutting, opening and probe begins a new
//! one. What a call of an older epoch has to say is not heard: a straggler of the outage can neither open the gate nor,
//! when sixty-four calls fail together, double the wait sixty-four times.
//!
//! **Flapping.** Opening does not forget how often the gate was shut; each `forget_after` of being open forgets one
//! doubling. A service that comes back for half a minute only is asked less and less.

use super::policy::Opening;
use rand::Rng;
use std::time::Duration;
use tokio::time::Instant;

/// No more doublings are counted; 30 s · 2³² is beyond every `longest`.
const MOST_TRIPS: u32 = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    policy: Opening,
    /// How long a probe may be out before it is taken for lost and another is sent.
    probe_time_limit: Duration,
    state: State,
    epoch: u64,
    /// How often it was shut, less what was forgotten: the exponent of the next wait.
    trips: u32,
    /// Probes that succeeded in this probation.
    succeeded: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open {
        since: Instant,
    },
    Shut {
        until: Instant,
    },
    /// `probe` is when the one that is out counts as lost.
    Limited {
        probe: Option<Instant>,
    },
}

/// How the gate stands, without taking anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stand {
    /// Everyone passes.
    Open,
    /// The next one passes, as a probe.
    Limited,
    /// Nobody passes before this.
    Shut(Instant),
}

/// The leave to make one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// When it was given.
    pub(super) epoch: u64,
    /// Whether it is the one that decides.
    pub(super) probe: bool,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(policy: Opening, probe_time_limit: Duration, now: Instant) -> Self {
        Self {
            policy,
            probe_time_limit,
            state: State::Open { since: now },
            epoch: 0,
            trips: 0,
            succeeded: 0,
        }
    }

    /// Another policy for the next time it shuts; how it stands now stays.
    pub(super) fn change(&mut self, policy: Opening, probe_time_limit: Duration) {
        (self.policy, self.probe_time_limit) = (policy, probe_time_limit);
    }

    /// How it stands at `now`.
    pub(super) fn stand(&self, now: Instant) -> Stand {
        match self.state {
            State::Open { .. } => Stand::Open,
            State::Shut { until } if now < until => Stand::Shut(until),
            State::Limited { probe: Some(lost_at) } if now < lost_at => Stand::Shut(lost_at),
            State::Shut { .. } | State::Limited { .. } => Stand::Limited,
        }
    }

    /// Whether a probe is out.
    pub(super) fn is_probing(&self, now: Instant) -> bool {
        matches!(self.state, State::Limited { probe: Some(lost_at) } if now < lost_at)
    }

    /// Lets one call in; the one who asks a gate that stands [`Limited`](Stand::Limited) becomes the probe.
    pub(super) fn pass(&mut self, now: Instant) -> Result<Pass, Instant> {
        match self.stand(now) {
            Stand::Open => Ok(Pass {
                epoch: self.epoch,
                probe: false,
            }),
            Stand::Shut(until) => Err(until),
            Stand::Limited => {
                self.epoch += 1;
                self.state = State::Limited {
                    probe: Some(now + self.probe_time_limit),
                };
                Ok(Pass {
                    epoch: self.epoch,
                    probe: true,
                })
            }
        }
    }

    /// Whether a pass is still of today; only then its outcome counts.
    pub(super) fn knows(&self, pass: Pass) -> bool {
        pass.epoch == self.epoch
    }

    /// Whether a pass given earlier still lets its holder in, and as what.
    pub(super) fn still(&self, pass: Pass, now: Instant) -> Result<Pass, Instant> {
        match self.stand(now) {
            _ if pass.probe && self.knows(pass) => Ok(pass),
            Stand::Open => Ok(Pass {
                epoch: self.epoch,
                probe: false,
            }),
            Stand::Limited => Err(now),
            Stand::Shut(until) => Err(until),
        }
    }

    /// Shuts it: the breaker tripped, or a probe failed. Not before `at_least` it opens again. Answers until when.
    pub(super) fn trip(&mut self, now: Instant, at_least: Option<Duration>, rng: &mut impl Rng) -> Instant {
        let trips = self.trips_at(now);
        let factor = 1_u32.checked_shl(trips).unwrap_or(u32::MAX);
        let wait = self.policy.first.saturating_mul(factor).min(self.policy.longest);
        let wait = (wait + self.policy.jitter.draw(wait, rng)).max(at_least.unwrap_or_default());
        self.trips = (trips + 1).min(MOST_TRIPS);
        self.shut_until(now + wait)
    }

    /// Shuts it until a given time without counting: a state kept over a restart.
    pub(super) fn restore(&mut self, until: Option<Instant>, trips: u32) {
        self.trips = trips.min(MOST_TRIPS);
        if let Some(until) = until {
            self.shut_until(until);
        }
    }

    /// The probe succeeded. Answers whether that opened the gate; if not, another probe is wanted.
    pub(super) fn probe_succeeded(&mut self, now: Instant) -> bool {
        self.succeeded += 1;
        if self.succeeded < self.policy.probes {
            self.state = State::Limited { probe: None };
            return false;
        }
        self.open(now);
        true
    }

    /// The probe was dropped without an outcome: the next one who asks is the probe.
    pub(super) fn probe_returned(&mut self) {
        self.state = State::Limited { probe: None };
    }

    /// Opens it as another node's probe did.
    pub(super) fn opened_elsewhere(&mut self, now: Instant) {
        self.open(now);
    }

    /// Opens it and forgets everything: the operator's word.
    pub(super) fn reset(&mut self, now: Instant) {
        self.open(now);
        self.trips = 0;
    }

    /// The exponent that the next shutting would have.
    pub(super) fn trips_at(&self, now: Instant) -> u32 {
        let State::Open { since } = self.state else {
            return self.trips;
        };
        let open_for = now.saturating_duration_since(since).as_nanos();
        let forgotten = open_for
            .checked_div(self.policy.forget_after.as_nanos())
            .unwrap_or_default();
        self.trips
            .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    /// Until when it is shut by its own time, for keeping; a probation is kept as shut until its beginning.
    pub(super) fn kept_until(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Open { .. } => None,
            State::Shut { until } => Some(until),
            State::Limited { .. } => Some(now),
        }
    }

    fn open(&mut self, now: Instant) {
        self.trips = self.trips_at(now);
        self.epoch += 1;
        self.succeeded = 0;
        self.state = State::Open { since: now };
    }

    fn shut_until(&mut self, until: Instant) -> Instant {
        self.epoch += 1;
        self.succeeded = 0;
        self.state = State::Shut { until };
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Jitter;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    const PROBE_LIMIT: Duration = Duration::from_secs(20);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn gate(now: Instant) -> Gate {
        Gate::new(
            Opening {
                jitter: Jitter::NONE,
                ..Opening::default()
            },
            PROBE_LIMIT,
            now,
        )
    }

    fn trip(gate: &mut Gate, now: Instant) -> Duration {
        gate.trip(now, None, &mut StdRng::seed_from_u64(1)) - now
    }

    #[test]
    fn open_lets_everyone_pass_in_the_same_epoch() {
        let now = Instant::now();
        let mut gate = gate(now);
        let passes: Vec<_> = (0..64).map(|_| gate.pass(now).unwrap()).collect();
        assert!(passes.iter().all(|pass| *pass
            == Pass {
                epoch: 0,
                probe: false
            }));
    }

    #[test]
    fn shut_lets_nobody_pass_until_its_time_is_over() {
        let now = Instant::now();
        let mut gate = gate(now);
        assert_eq!(trip(&mut gate, now), secs(30));
        assert_eq!(gate.pass(now), Err(now + secs(30)));
        let before = now + secs(30) - Duration::from_nanos(1);
        assert_eq!(gate.stand(before), Stand::Shut(now + secs(30)));
        assert_eq!(gate.stand(now + secs(30)), Stand::Limited);
    }

    #[test]
    fn limited_lets_exactly_one_pass() {
        let now = Instant::now();
        let mut gate = gate(now);
        trip(&mut gate, now);
        let later = now + secs(30);
        let probes = (0..64)
            .filter(|_| gate.pass(later).is_ok_and(|pass| pass.probe))
            .count();
        assert_eq!(probes, 1);
        assert_eq!(gate.stand(later), Stand::Shut(later + PROBE_LIMIT));
    }

    #[test]
    fn a_probe_that_succeeds_opens_and_one_that_fails_doubles_up_to_the_longest() {
        let mut now = Instant::now();
        let mut gate = gate(now);
        let mut waits = vec![trip(&mut gate, now)];
        for _ in 0..6 {
            now += *waits.last().unwrap();
            assert!(gate.pass(now).unwrap().probe);
            waits.push(trip(&mut gate, now));
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300, 300].map(secs));
        now += secs(300);
        gate.pass(now).unwrap();
        assert!(gate.probe_succeeded(now));
        assert_eq!(gate.stand(now), Stand::Open);
    }

    #[test]
    fn a_probe_that_is_returned_leaves_its_place_to_the_next() {
        let now = Instant::now();
        let mut gate = gate(now);
        trip(&mut gate, now);
        let later = now + secs(30);
        let first = gate.pass(later).unwrap();
        gate.probe_returned();
        let second = gate.pass(later).unwrap();
        assert!(second.probe && !gate.knows(first) && gate.knows(second));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_is_replaced() {
        let now = Instant::now();
        let mut gate = gate(now);
        trip(&mut gate, now);
        let lost = gate.pass(now + secs(30)).unwrap();
        let later = now + secs(30) + PROBE_LIMIT;
        assert!(gate.pass(later).unwrap().probe);
        assert!(!gate.knows(lost), "what the lost one says is not heard");
        assert!(gate.still(lost, later).is_err());
    }

    #[test]
    fn with_two_probes_wanted_the_first_success_does_not_open() {
        let now = Instant::now();
        let mut gate = Gate::new(
            Opening {
                probes: 2,
                ..Opening::default()
            },
            PROBE_LIMIT,
            now,
        );
        trip(&mut gate, now);
        let later = now + secs(60);
        gate.pass(later).unwrap();
        assert!(!gate.probe_succeeded(later));
        assert_eq!(gate.stand(later), Stand::Limited);
        gate.pass(later).unwrap();
        assert!(gate.probe_succeeded(later));
    }

    #[test]
    fn passes_of_an_older_epoch_are_not_known() {
        let now = Instant::now();
        let mut gate = gate(now);
        let straggler = gate.pass(now).unwrap();
        trip(&mut gate, now);
        assert!(!gate.knows(straggler));
        assert!(gate.still(straggler, now).is_err());
        gate.pass(now + secs(30)).unwrap();
        gate.probe_succeeded(now + secs(30));
        assert!(!gate.knows(straggler), "nor after the gate opened again");
        assert!(
            gate.still(straggler, now + secs(30)).is_ok(),
            "but its holder may call now"
        );
    }

    #[test]
    fn a_service_that_flaps_is_left_alone_longer_and_calm_is_forgiven_step_by_step() {
        let mut now = Instant::now();
        let mut gate = gate(now);
        for expected in [30, 60, 120] {
            let wait = trip(&mut gate, now);
            assert_eq!(wait, secs(expected));
            now += wait;
            gate.pass(now).unwrap();
            gate.probe_succeeded(now);
            now += secs(60);
        }
        assert_eq!(gate.trips_at(now), 3);
        assert_eq!(gate.trips_at(now + secs(600)), 2);
        assert_eq!(gate.trips_at(now + secs(86_400)), 0);
        assert_eq!(trip(&mut gate, now + secs(1200)), secs(60));
    }

    #[test]
    fn a_server_that_asks_for_longer_is_left_alone_for_longer() {
        let now = Instant::now();
        let mut gate = gate(now);
        let until = gate.trip(now, Some(secs(400)), &mut StdRng::seed_from_u64(1));
        assert_eq!(until, now + secs(400));
    }

    #[test]
    fn reset_opens_and_forgets() {
        let now = Instant::now();
        let mut gate = gate(now);
        trip(&mut gate, now);
        gate.reset(now);
        assert_eq!((gate.stand(now), gate.trips_at(now)), (Stand::Open, 0));
    }

    #[test]
    fn what_was_kept_shuts_it_again_without_counting() {
        let now = Instant::now();
        let mut gate = gate(now);
        gate.restore(Some(now + secs(12)), 3);
        assert_eq!(gate.stand(now), Stand::Shut(now + secs(12)));
        gate.pass(now + secs(12)).unwrap();
        assert_eq!(trip(&mut gate, now + secs(12)), secs(240));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_stated_nor_much_longer(trips in 0_u32..40, seed: u64) {
            let now = Instant::now();
            let mut gate = Gate::new(Opening::default(), PROBE_LIMIT, now);
            gate.restore(Some(now), trips);
            let wait = gate.trip(now, None, &mut StdRng::seed_from_u64(seed)) - now;
            let stated = secs(30).saturating_mul(1_u32.checked_shl(trips.min(32)).unwrap_or(u32::MAX)).min(secs(300));
            prop_assert!(wait >= stated && wait <= stated.mul_f64(1.1));
        }
    }
}
