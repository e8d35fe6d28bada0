//! How fast: `governor`'s cell-rate algorithm on tokio's clock, and what moves its rate.
//!
//! `governor` waits on real time whatever tokio's clock says, admits a whole hour's budget at once, cannot change its
//! quota, and starts full. So only its `check` is used, with our own clock and a burst of one, and each change of rate
//! makes a new limiter that is drained before its first use: a change never admits anything by itself.
//!
//! Three things bound the rate, and the least of them counts:
//! - **the policy's rate**;
//! - **a share for 429s**: halved by each, down to a floor, and given back step by step while none comes (AIMD). Calls
//!   that were under way when the rate was cut do not cut it again: they were sent at the old rate;
//! - **a ramp** after the gate opened, so that the backlog of an outage does not fall on a service that just stood up.
//!
//! Beside the rate stand the server's word (`Retry-After`), before which nothing goes, and up to a tenth of the spacing
//! added by lot.
//!
//! Above a hundred a second, tokio's timer (1 ms) is coarser than the spacing; there the burst is what falls into
//! [`TICK`], so that a late wake-up does not cost throughput. Below, no two requests are closer than the spacing.

use super::policy::{Policy, Rate, SlowDown};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use rand::Rng;
use std::{num::NonZeroU32, ops::Add, time::Duration};
use tokio::time::Instant;

/// The longest oversleeping that is made up for by a burst.
const TICK: Duration = Duration::from_millis(10);

/// How far the first request of a process keeps from the unknown last one of the process before, at most: a daemon that
/// keeps crashing must not become fast by it, and one that starts must not wait out an hourly budget's spacing.
const AFTER_START: Duration = Duration::from_secs(1);

/// No spacing is longer, so that adding one to an instant cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<TokioInstant>>;

/// tokio's clock as governor reads it.
#[derive(Clone, Copy, Debug)]
struct TokioClock;

/// tokio's instant with governor's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TokioInstant(Instant);

/// See the module.
pub(super) struct Pace {
    rate: Rate,
    slow: SlowDown,
    jitter: crate::backoff::Jitter,
    ramp: Vec<super::policy::RampStep>,
    limiter: Limiter,
    /// The share that `limiter` was made for.
    applied: f64,
    /// What 429s left of the rate, as of `share_since`.
    share: f64,
    share_since: Instant,
    /// When the gate opened last.
    ramp_since: Option<Instant>,
    /// The lot's part of the spacing.
    spaced_until: Option<Instant>,
    /// The server's word.
    told_until: Option<Instant>,
    /// 429s in a row at the floor.
    at_floor: u32,
    /// The number of the newest token.
    issued: u64,
}

/// What a 429 came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slowed {
    /// The rate was cut, or had been cut already for the same trouble.
    Yes,
    /// It persists at the floor: the service is failing.
    Persists,
}

/// The lasting part, for keeping over a restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct KeptPace {
    pub(super) share: f64,
    pub(super) told_until: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(policy: &Policy, now: Instant) -> Self {
        Self {
            rate: policy.rate,
            slow: policy.slow_down,
            jitter: policy.spacing_jitter,
            ramp: policy.opening.ramp.clone(),
            limiter: full(policy.rate, 1.0),
            applied: 1.0,
            share: 1.0,
            share_since: now,
            ramp_since: None,
            spaced_until: Some(now + spacing(policy.rate, 1.0).min(AFTER_START)),
            told_until: None,
            at_floor: 0,
            issued: 0,
        }
    }

    /// Takes the right to send one request, or says when to ask again.
    pub(super) fn take(&mut self, now: Instant, rng: &mut impl Rng) -> Result<u64, Instant> {
        if let Some(until) = self
            .told_until
            .max(self.spaced_until)
            .filter(|until| *until > now)
        {
            return Err(until);
        }
        match self.limiter.check() {
            Ok(()) => {
                (self.told_until, self.spaced_until) = (None, None);
                let share = self.share_at(now);
                if differ(share, self.applied) {
                    self.apply(share);
                }
                if burst(self.rate, self.applied) == NonZeroU32::MIN {
                    let spacing = spacing(self.rate, self.applied);
                    self.spaced_until = Some(now + spacing + self.jitter.draw(spacing, rng));
                }
                self.issued += 1;
                Ok(self.issued)
            }
            Err(not_yet) => {
                let earliest = not_yet.earliest_possible().0;
                let share = self.share_at(now);
                // A rate that recovered during a long wait is applied when that makes the wait shorter, and only then:
                // a drained limiter on each step would put the next token off for ever.
                if share > self.applied && now + spacing(self.rate, share) < earliest {
                    self.apply(share);
                    return Err(now + spacing(self.rate, share));
                }
                Err(self.next_step(now).map_or(earliest, |step| earliest.min(step)))
            }
        }
    }

    /// Gives a token back that was not used. Only the newest can be: an older one has been followed by others, and using
    /// it later would bring two requests together.
    pub(super) fn give_back(&mut self, token: u64) {
        if token == self.issued && burst(self.rate, self.applied) == NonZeroU32::MIN {
            self.limiter = full(self.rate, self.applied);
            self.spaced_until = None;
        }
    }

    /// A good answer came: 429s do not persist.
    pub(super) fn went_well(&mut self) {
        self.at_floor = 0;
    }

    /// A 429 came for a call that was sent at `sent`.
    pub(super) fn slow_down(&mut self, now: Instant, sent: Instant, told: Option<Duration>) -> Slowed {
        let wait = told
            .unwrap_or_default()
            .clamp(self.slow.wait_min, self.slow.wait_max);
        self.told_until = self.told_until.max(Some(now + wait));
        let share = self.recovered(now);
        if sent < self.share_since && share < 1.0 {
            return Slowed::Yes;
        }
        if share <= self.slow.floor_share {
            self.at_floor = self.at_floor.saturating_add(1);
        }
        self.share = (share / 2.0).max(self.slow.floor_share);
        self.share_since = now;
        self.apply(self.share_at(now));
        if self.at_floor >= self.slow.persists {
            self.at_floor = 0;
            return Slowed::Persists;
        }
        Slowed::Yes
    }

    /// The gate opened: begin at the foot of the ramp.
    pub(super) fn start_ramp(&mut self, now: Instant) {
        self.ramp_since = Some(now);
        self.apply(self.share_at(now));
    }

    /// The full rate at once: the operator's word.
    pub(super) fn reset(&mut self, now: Instant) {
        (self.share, self.share_since, self.ramp_since) = (1.0, now, None);
        (self.told_until, self.spaced_until, self.at_floor) = (None, None, 0);
        self.apply(1.0);
    }

    /// What is worth keeping.
    pub(super) fn kept(&self, now: Instant) -> KeptPace {
        KeptPace {
            share: self.recovered(now),
            told_until: self.told_until,
        }
    }

    /// Takes up what was kept `ago`, where it is stricter than what happened since.
    pub(super) fn restore(&mut self, kept: KeptPace, ago: Duration, now: Instant) {
        let told_until = kept.told_until.map(|until| until.min(now + self.slow.wait_max));
        self.told_until = self.told_until.max(told_until);
        // What cannot be understood (a hand in the table, NaN) is taken for nothing kept.
        if kept.share > 0.0 && kept.share < self.recovered(now) {
            self.share = kept.share.max(self.slow.floor_share);
            self.share_since = now.checked_sub(ago).unwrap_or(now);
            self.apply(self.share_at(now));
        }
    }

    /// The share of the policy's rate in force.
    pub(super) fn share_at(&self, now: Instant) -> f64 {
        self.recovered(now)
            .min(self.ramp_at(now).map_or(1.0, |(share, _)| share))
    }

    /// What 429s leave of the rate at `now`.
    fn recovered(&self, now: Instant) -> f64 {
        let steps = now.saturating_duration_since(self.share_since).as_nanos()
            / self.slow.recover_every.as_nanos().max(1);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        (self.share + f64::from(steps) * self.slow.recover_step).min(1.0)
    }

    /// The ramp's share at `now` and when it ends; `None` when there is no ramp.
    fn ramp_at(&self, now: Instant) -> Option<(f64, Instant)> {
        let mut end = self.ramp_since?;
        self.ramp.iter().find_map(|step| {
            end += step.lasts;
            (now < end).then_some((step.share, end))
        })
    }

    /// When the share may next grow by itself.
    fn next_step(&self, now: Instant) -> Option<Instant> {
        let recovery = (self.recovered(now) < 1.0).then(|| now + self.slow.recover_every);
        let ramp = self.ramp_at(now).map(|(_, end)| end);
        [recovery, ramp].into_iter().flatten().min()
    }

    fn apply(&mut self, share: f64) {
        self.limiter = limiter(self.rate, share);
        self.applied = share;
        self.spaced_until = None;
    }
}

/// A limiter whose first cell is one spacing away.
fn limiter(rate: Rate, share: f64) -> Limiter {
    let limiter = full(rate, share);
    // The answer is known: a new limiter has its whole burst, and this takes it.
    let _drained = limiter.check_n(burst(rate, share));
    limiter
}

/// A limiter that admits one at once.
fn full(rate: Rate, share: f64) -> Limiter {
    let spacing = spacing(rate, share);
    let quota = Quota::with_period(spacing).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
    RateLimiter::direct_with_clock(quota.allow_burst(burst(rate, share)), TokioClock)
}

fn spacing(rate: Rate, share: f64) -> Duration {
    let seconds = rate.interval().as_secs_f64() / share;
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(LONGEST)
        .clamp(Duration::from_nanos(1), LONGEST)
}

fn burst(rate: Rate, share: f64) -> NonZeroU32 {
    let cells = TICK.as_nanos() / spacing(rate, share).as_nanos().max(1);
    u32::try_from(cells)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN)
}

fn differ(a: f64, b: f64) -> bool {
    (a - b).abs() > 1e-9
}

// === governor's clock ===

impl Clock for TokioClock {
    type Instant = TokioInstant;

    fn now(&self) -> TokioInstant {
        TokioInstant(Instant::now())
    }
}

impl Reference for TokioInstant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).min(LONGEST).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

impl Add<Nanos> for TokioInstant {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.checked_add(nanos.into()).unwrap_or(self.0))
    }
}
