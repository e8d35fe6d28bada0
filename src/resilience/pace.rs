//! How fast: `governor`'s cell-rate algorithm on tokio's clock, and what moves its rate.
//!
//! `governor` waits on real time whatever tokio's clock says, admits a whole hour's budget at once, cannot change its
//! quota, and starts full. So only its `check` is used, with our own clock and a burst of one, and each change of rate
//! makes a new limiter that is drained before its first use: a change never admits anything by itself.
//!
//! Three things bound the rate, and the least of them counts, times the part of it that is this node's:
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
    /// The part of the rate that is this node's.
    portion: f64,
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
            portion: 1.0,
            ramp_since: None,
            spaced_until: Some(now + spacing(policy.rate, 1.0).min(AFTER_START)),
            told_until: None,
            at_floor: 0,
            issued: 0,
        }
    }

    /// Another policy from here on. A rate that is another begins with a whole spacing of its own; what 429s left of it,
    /// the ramp and the server's word stay.
    pub(super) fn change(&mut self, policy: &Policy, now: Instant) {
        self.slow = policy.slow_down;
        self.jitter = policy.spacing_jitter;
        self.ramp.clone_from(&policy.opening.ramp);
        if self.rate != policy.rate {
            self.rate = policy.rate;
            self.apply(self.share_at(now));
        }
    }

    /// Another part of the rate from here on. A smaller one begins with a spacing of its own; a larger one is taken up
    /// with the next token.
    pub(super) fn set_portion(&mut self, portion: f64, now: Instant) {
        let smaller = portion < self.portion;
        self.portion = portion;
        if smaller {
            self.apply(self.share_at(now));
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
                let mut earliest = not_yet.earliest_possible().0;
                let share = self.share_at(now);
                // A rate that recovered during a long wait is applied when that makes the wait shorter, and only then:
                // a drained limiter on each step would put the next token off for ever.
                if share > self.applied && now + spacing(self.rate, share) < earliest {
                    self.apply(share);
                    earliest = now + spacing(self.rate, share);
                }
                Err(self.next_step(now).map_or(earliest, |step| earliest.min(step)))
            }
        }
    }

    /// How many tokens there will be `within`, by the rate in force and with all that the lot may add.
    pub(super) fn turns(&self, now: Instant, within: Duration) -> usize {
        let next = self
            .told_until
            .max(self.spaced_until)
            .map_or(now, |at| at.max(now));
        let Some(left) = within.checked_sub(next - now) else {
            return 0;
        };
        let spacing = spacing(self.rate, self.share_at(now)).mul_f64(1.0 + self.jitter.as_share());
        let further = left
            .as_nanos()
            .checked_div(spacing.as_nanos())
            .unwrap_or_default();
        usize::try_from(further).unwrap_or(usize::MAX).saturating_add(1)
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
        self.wait(now, told.unwrap_or_default());
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

    /// The service is away for so long by its own word; that says nothing about the rate.
    pub(super) fn wait(&mut self, now: Instant, told: Duration) {
        let wait = told.clamp(self.slow.wait_min, self.slow.wait_max);
        self.told_until = self.told_until.max(Some(now + wait));
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
        self.apply(self.portion);
    }

    /// The server's word, while it counts.
    pub(super) fn told_until(&self, now: Instant) -> Option<Instant> {
        self.told_until.filter(|until| *until > now)
    }

    /// What is worth keeping.
    pub(super) fn kept(&self, now: Instant) -> KeptPace {
        KeptPace {
            share: self.recovered(now),
            told_until: self.told_until(now),
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
        let allowed = self
            .recovered(now)
            .min(self.ramp_at(now).map_or(1.0, |(share, _)| share));
        allowed * self.portion
    }

    /// What 429s leave of the rate at `now`.
    fn recovered(&self, now: Instant) -> f64 {
        (self.share + f64::from(self.steps(now)) * self.slow.recover_step).min(1.0)
    }

    /// How many steps came back since the last cut.
    fn steps(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.share_since).as_nanos();
        u32::try_from(since / self.slow.recover_every.as_nanos().max(1)).unwrap_or(u32::MAX)
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
        let step = self
            .slow
            .recover_every
            .saturating_mul(self.steps(now).saturating_add(1));
        let recovery = self
            .share_since
            .checked_add(step)
            .filter(|_| self.recovered(now) < 1.0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Jitter;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn pace(rate: Rate, jitter: Jitter) -> Pace {
        Pace::new(
            &Policy {
                rate,
                spacing_jitter: jitter,
                ..Policy::default()
            },
            Instant::now(),
        )
    }

    fn per_second(rate: f64) -> Rate {
        Rate::per_second(rate).unwrap()
    }

    /// Takes tokens as fast as they come until `end`, and says when.
    async fn drain(pace: &mut Pace, end: Instant, rng: &mut StdRng) -> Vec<Instant> {
        let mut taken = Vec::new();
        while Instant::now() < end {
            match pace.take(Instant::now(), rng) {
                Ok(_) => taken.push(Instant::now()),
                Err(until) => {
                    assert!(until > Instant::now(), "a wait of nothing would spin");
                    tokio::time::sleep_until(until.min(end)).await;
                }
            }
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_of_a_hundred_an_hour_is_spread_and_never_admitted_at_once() {
        let mut pace = pace(Rate::per_hour(100).unwrap(), Jitter::NONE);
        let start = Instant::now();
        let taken = drain(&mut pace, start + secs(3600), &mut StdRng::seed_from_u64(1)).await;
        assert_eq!(taken.len(), 100);
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] >= secs(36)));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_is_not_saved_up() {
        let mut pace = pace(per_second(1.0), Jitter::NONE);
        tokio::time::advance(secs(3600)).await;
        let now = Instant::now();
        let taken = drain(&mut pace, now + secs(10), &mut StdRng::seed_from_u64(1)).await;
        assert_eq!(taken.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_high_rate_is_reached_although_the_timer_is_coarse() {
        let mut pace = pace(per_second(500.0), Jitter::TENTH);
        let start = Instant::now();
        let taken = drain(&mut pace, start + secs(10), &mut StdRng::seed_from_u64(1)).await;
        assert!((4_950..=5_005).contains(&taken.len()), "{}", taken.len());
        let most = taken
            .iter()
            .map(|at| taken.iter().filter(|t| **t >= *at && **t < *at + secs(1)).count())
            .max();
        assert!(most <= Some(505), "{most:?} in one second");
    }

    #[tokio::test(start_paused = true)]
    async fn each_429_halves_down_to_the_floor_and_the_third_there_persists() {
        let mut pace = pace(per_second(1.0), Jitter::NONE);
        let mut seen = Vec::new();
        for _ in 0..7 {
            tokio::time::advance(Duration::from_millis(1500)).await;
            let now = Instant::now();
            let slowed = pace.slow_down(now, now, None);
            seen.push((pace.share_at(now), slowed == Slowed::Persists));
        }
        let shares = [0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625, 0.0625];
        assert_eq!(
            seen,
            shares
                .into_iter()
                .zip([false, false, false, false, false, false, true])
                .collect::<Vec<_>>()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_answer_between_them_means_that_429s_do_not_persist() {
        let mut pace = pace(per_second(1.0), Jitter::NONE);
        for _ in 0..50 {
            tokio::time::advance(secs(2)).await;
            let now = Instant::now();
            pace.went_well();
            assert_eq!(pace.slow_down(now, now, None), Slowed::Yes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_under_way_when_the_rate_was_cut_do_not_cut_it_again() {
        let mut pace = pace(per_second(1.0), Jitter::NONE);
        let sent = Instant::now();
        tokio::time::advance(secs(1)).await;
        for _ in 0..64 {
            pace.slow_down(Instant::now(), sent, None);
        }
        assert!((pace.share_at(Instant::now()) - 0.5).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_comes_back_step_by_step() {
        let mut pace = pace(per_second(1.0), Jitter::NONE);
        let now = Instant::now();
        pace.slow_down(now, now, None);
        let shares = [0, 29, 30, 60, 270, 300, 3600].map(|at| pace.share_at(now + secs(at)));
        let expected = [0.5, 0.5, 0.55, 0.6, 0.95, 1.0, 1.0];
        assert!(
            shares.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
            "{shares:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_before_the_servers_word_and_the_word_is_bounded() {
        for (told, expected) in [(None, 1), (Some(7), 7), (Some(1_000_000), 900)] {
            let mut pace = pace(per_second(100.0), Jitter::NONE);
            let start = Instant::now();
            pace.slow_down(start, start, told.map(secs));
            let taken = drain(&mut pace, start + secs(1000), &mut StdRng::seed_from_u64(1)).await;
            assert_eq!((taken[0] - start).as_secs(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_rate_admits_nothing_by_itself() {
        let mut pace = pace(per_second(1.0), Jitter::NONE);
        tokio::time::advance(secs(100)).await;
        let now = Instant::now();
        pace.start_ramp(now);
        assert_eq!(pace.take(now, &mut StdRng::seed_from_u64(1)), Err(now + secs(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_opening_the_rate_grows_in_steps_and_never_overshoots() {
        let mut pace = pace(per_second(10.0), Jitter::NONE);
        let start = Instant::now();
        pace.start_ramp(start);
        let taken = drain(&mut pace, start + secs(90), &mut StdRng::seed_from_u64(1)).await;
        let within = |from, to| {
            let range = start + secs(from)..start + secs(to);
            taken.iter().filter(|at| range.contains(at)).count()
        };
        assert!((70..=76).contains(&within(0, 30)), "{}", within(0, 30));
        assert!((145..=151).contains(&within(30, 60)), "{}", within(30, 60));
        assert!((295..=301).contains(&within(60, 90)), "{}", within(60, 90));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_recovers_shortens_a_long_wait_and_does_not_put_it_off() {
        let mut pace = pace(Rate::per_hour(100).unwrap(), Jitter::NONE);
        let start = Instant::now();
        for _ in 0..5 {
            let now = Instant::now();
            pace.slow_down(now, now, None);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // The floor's spacing is 576 s, but steps come back every 30 s.
        let taken = drain(&mut pace, start + secs(2000), &mut StdRng::seed_from_u64(1)).await;
        let first = taken[0] - start;
        // The best of `30 k + 36 / (1/16 + k/20)` seconds is 257, at the fourth step.
        assert!(first > secs(256) && first < secs(258), "{first:?}");
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] >= secs(36)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_given_back_is_used_by_the_next_without_bringing_requests_together() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pace = pace(per_second(1.0), Jitter::NONE);
        tokio::time::advance(secs(5)).await;
        let token = pace.take(Instant::now(), &mut rng).unwrap();
        assert!(pace.take(Instant::now(), &mut rng).is_err());
        pace.give_back(token);
        let newer = pace.take(Instant::now(), &mut rng).unwrap();
        tokio::time::advance(secs(1)).await;
        pace.take(Instant::now(), &mut rng).unwrap();
        pace.give_back(newer);
        assert!(
            pace.take(Instant::now(), &mut rng).is_err(),
            "an older token has been followed by another"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_starts_keeps_its_distance_from_the_one_before() {
        for (rate, expected_ms) in [(per_second(2.0), 500), (Rate::per_hour(100).unwrap(), 1000)] {
            let mut pace = pace(rate, Jitter::NONE);
            let start = Instant::now();
            let taken = drain(&mut pace, start + secs(30), &mut StdRng::seed_from_u64(1)).await;
            assert_eq!((taken[0] - start).as_millis(), expected_ms);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn requests_are_never_closer_than_the_spacing_nor_a_tenth_farther(
            rate in 0.05_f64..100.0, seed: u64, idle_ms in proptest::collection::vec(0_u64..3_000, 30),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let mut rng = StdRng::seed_from_u64(seed);
                let mut pace = pace(per_second(rate), Jitter::TENTH);
                let spacing = per_second(rate).interval();
                let mut last: Option<Instant> = None;
                for idle in idle_ms {
                    tokio::time::advance(Duration::from_millis(idle)).await;
                    let ready = Instant::now();
                    while let Err(until) = pace.take(Instant::now(), &mut rng) {
                        tokio::time::sleep_until(until).await;
                    }
                    let now = Instant::now();
                    if let Some(last) = last {
                        assert!(now - last >= spacing, "{:?} is closer than {spacing:?}", now - last);
                        // One tick for each of the two sleeps that a wait can take.
                        let latest = (last + spacing.mul_f64(1.1)).max(ready) + Duration::from_millis(2);
                        assert!(now <= latest, "{:?} late", now - latest);
                    }
                    last = Some(now);
                }
            });
        }
    }
}
