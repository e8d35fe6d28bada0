//! The guard of one outside service: the order around a call, in code. The words and the table are in the
//! [room's essay](super).

use super::{
    breaker::Breaker,
    gate::{Gate, Pass, Stand},
    pace::{KeptPace, Pace, Slowed},
    permits::{End, Line, Priority, Waiter},
    policy::{BadPolicy, Policy},
    record::{Counts, GateRecord, GateStore, GateView, GuardStatus, LastError},
};
use crate::{
    clock::Clock,
    domain::{Classified, ErrorClass},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use parking_lot::Mutex;
use std::{
    fmt::Display,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;
use tracing::{info, warn};

/// How long a reserved permit may lie unused before it has to be asked for again: it would bring its request close to
/// those let in meanwhile. A tenth of the spacing, but never less than this, which is ample for planner and mailbox.
const PERMIT_LASTS_AT_LEAST: Duration = Duration::from_millis(50);

/// How long one who wants a place in a full line waits at most before asking again.
const LINE_IS_FULL: Duration = Duration::from_secs(1);

/// The rate, breaker and limits of one outside service. Cheap to clone; all clones are the same guard.
#[derive(Clone)]
pub struct Guard {
    core: Arc<Core>,
}

/// The right to make one call now. Dropped unused, it is given back.
#[must_use = "a permit that is not used holds a slot until it is dropped"]
pub struct Permit {
    /// `None` once it is used.
    core: Option<Arc<Core>>,
    priority: Priority,
    token: u64,
    pass: Pass,
    at: Instant,
}

/// Why a guarded call gave no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// The service is down or told us to wait; nothing was sent.
    #[error("not sent: the service is left alone until its breaker lets a call through")]
    Shut {
        /// When it is worth asking again.
        until: Instant,
    },
    /// An operator paused the service; nothing was sent.
    #[error("not sent: the service is paused by an operator")]
    Paused,
    /// Too many callers wait already, or it was not this one's turn within the policy's longest wait; nothing was sent.
    #[error("not sent: too many calls wait for this service already")]
    Busy,
    /// The call took longer than the policy allows and was dropped; it may have had its effect.
    #[error("the call took longer than its time limit")]
    TimedOut,
    /// The call panicked: a fault of ours. It may have had its effect.
    #[error("the call panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The service answered with an error, or not at all.
    #[error("the call failed")]
    Failed(#[source] E),
}

impl<E: Classified> Classified for CallError<E> {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Failed(error) => error.class(),
            Self::Panicked { .. } => ErrorClass::Protocol,
            Self::Shut { .. } | Self::Paused | Self::Busy | Self::TimedOut => ErrorClass::Transient,
        }
    }
}

struct Core {
    service: String,
    policy: Policy,
    clock: Clock,
    store: Option<Arc<dyn GateStore>>,
    breaker: Breaker,
    state: Mutex<State>,
}

struct State {
    pace: Pace,
    gate: Gate,
    line: Line,
    in_flight: usize,
    paused: bool,
    counts: Counts,
    last_error: Option<LastError>,
}

/// Whether a caller waits for the gate to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Yes: it reserves.
    Waits,
    /// No: it wants an answer, and its work waits elsewhere.
    Asks,
}

/// Why no permit is given.
enum Refused {
    Shut(Instant),
    Paused,
    Busy,
}

/// What one who stands in line does next.
enum Step {
    Granted(Permit),
    Refused(Refused),
    Sleep(Instant),
    Wait,
}

/// How a call ended.
enum Outcome<'a> {
    Ok,
    Failed {
        class: ErrorClass,
        unavailable: bool,
        error: &'a dyn Display,
    },
    TimedOut,
    Panicked {
        message: &'a str,
    },
    Cancelled,
}

/// What an outcome says of the service.
enum Verdict {
    Well,
    Failure { at_once: bool },
    RateLimited { retry_after: Option<Duration> },
    Nothing,
    Cancelled,
}

// === impl Guard ===

impl Guard {
    /// A guard for `service`, its gate open, its first request at most a second away.
    ///
    /// # Errors
    /// When the policy cannot be followed; the error names everything that is wrong with it.
    pub fn new(
        service: &str,
        policy: Policy,
        clock: Clock,
        store: Option<Arc<dyn GateStore>>,
    ) -> Result<Self, BadPolicy> {
        let problems = policy.problems();
        if !problems.is_empty() {
            return Err(BadPolicy {
                service: service.to_owned(),
                problems,
            });
        }
        let now = Instant::now();
        let state = State {
            pace: Pace::new(&policy, now),
            gate: Gate::new(
                policy.opening.clone(),
                policy.time_limit + policy.longest_wait,
                now,
            ),
            line: Line::default(),
            in_flight: 0,
            paused: false,
            counts: Counts::default(),
            last_error: None,
        };
        let breaker = Breaker::new(policy.trip, now);
        let core = Core {
            service: service.to_owned(),
            policy,
            clock,
            store,
            breaker,
            state: Mutex::new(state),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Whose guard this is.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.core.service
    }

    /// The policy it follows.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.core.policy
    }

    /// Waits for the right to make one call: a token of the rate, a slot, and a gate that lets it through. A pause is
    /// waited out as well.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the line; dropping the permit gives it back.
    pub async fn reserve(&self, priority: Priority) -> Permit {
        loop {
            // Who waits is refused for one reason only: the line is full. It moves at the pace of the rate.
            match self.core.acquire(priority, End::Back, Patience::Waits).await {
                Ok(permit) => return permit,
                Err(_full) => tokio::time::sleep(self.core.policy.rate.interval().min(LINE_IS_FULL)).await,
            }
        }
    }

    /// Makes one call as soon as rate and slots allow.
    ///
    /// # Errors
    /// At once with [`CallError::Shut`] or [`CallError::Paused`] when nothing may be sent, also when that becomes so while
    /// waiting; otherwise what became of the call.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call, which is recorded as cancelled.
    pub async fn call<T, E, Fut>(
        &self,
        priority: Priority,
        f: impl FnOnce() -> Fut,
    ) -> Result<T, CallError<E>>
    where
        E: Classified + Display,
        Fut: Future<Output = Result<T, E>>,
    {
        let permit = self.core.acquire(priority, End::Back, Patience::Asks).await?;
        self.call_with(permit, f).await
    }

    /// Makes one call with a permit that was reserved. A permit that lay about is exchanged for a fresh one at the head
    /// of its line, so that requests do not come together.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_with<T, E, Fut>(
        &self,
        permit: Permit,
        f: impl FnOnce() -> Fut,
    ) -> Result<T, CallError<E>>
    where
        E: Classified + Display,
        Fut: Future<Output = Result<T, E>>,
    {
        let permit = self.fresh(permit).await?;
        let call = self.core.start(permit)?;
        let caught = AssertUnwindSafe(async { f().await }).catch_unwind();
        match tokio::time::timeout(self.core.policy.time_limit, caught).await {
            Ok(Ok(Ok(value))) => {
                call.ended(&Outcome::Ok);
                Ok(value)
            }
            Ok(Ok(Err(error))) => {
                let (class, unavailable) = (error.class(), error.unavailable());
                call.ended(&Outcome::Failed {
                    class,
                    unavailable,
                    error: &error,
                });
                Err(CallError::Failed(error))
            }
            Ok(Err(panic)) => {
                let message = panic_message(&*panic);
                call.ended(&Outcome::Panicked { message: &message });
                Err(CallError::Panicked { message })
            }
            Err(_elapsed) => {
                call.ended(&Outcome::TimedOut);
                Err(CallError::TimedOut)
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> GuardStatus {
        let (now, at) = (Instant::now(), self.core.clock.now());
        let state = self.core.state.lock();
        let gate = match state.gate.stand(now) {
            _ if state.paused => GateView::Paused,
            Stand::Open => GateView::Open,
            Stand::Shut(_) if state.gate.is_probing(now) => GateView::Limited,
            Stand::Shut(until) => GateView::Shut {
                until: calendar(until, now, at),
            },
            Stand::Limited => GateView::Limited,
        };
        let full = self.core.policy.rate.requests_per_second();
        GuardStatus {
            service: self.core.service.clone(),
            gate,
            told_to_wait_until: state
                .pace
                .kept(now)
                .told_until
                .map(|until| calendar(until, now, at)),
            rate_per_second: full * state.pace.share_at(now),
            full_rate_per_second: full,
            in_flight: state.in_flight,
            waiting: state.line.len(),
            trips: state.gate.trips_at(now),
            counts: state.counts,
            last_error: state.last_error.clone(),
        }
    }

    /// The operator stops all calls; those under way end by themselves.
    pub fn pause(&self) {
        let mut state = self.core.state.lock();
        state.paused = true;
        state.line.wake_all();
    }

    /// The operator lets calls through again, as far as gate and rate do.
    pub fn resume(&self) {
        let mut state = self.core.state.lock();
        state.paused = false;
        state.line.wake_all();
    }

    /// The operator knows better: gate open, full rate, doublings forgotten. A pause stays.
    pub fn reset(&self) {
        let now = Instant::now();
        let mut state = self.core.state.lock();
        state.gate.reset(now);
        state.pace.reset(now);
        self.core.breaker.reset();
        self.core.keep(&state, now);
        state.line.wake_all();
        info!(
            service = self.core.service,
            "Breaker of `{}` reset by an operator", self.core.service
        );
    }

    /// Takes up what was kept over a restart, where it is stricter than how things stand. Called once the store can be
    /// read, which may be later than the first call.
    pub async fn restore(&self) {
        let Some(store) = &self.core.store else { return };
        let Some(record) = store.load(&self.core.service).await else {
            return;
        };
        let (now, at) = (Instant::now(), self.core.clock.now());
        let longest = self.core.policy.opening.longest * 2 + self.core.policy.slow_down.wait_max;
        let instant = |until: DateTime<Utc>| now + (until - at).to_std().unwrap_or_default().min(longest);
        let ago = (at - record.saved_at).to_std().unwrap_or_default();
        let mut state = self.core.state.lock();
        if state.gate.stand(now) == Stand::Open {
            state.gate.restore(record.shut_until.map(instant), record.trips);
        }
        let told_until = record.told_to_wait_until.map(instant);
        state.pace.restore(
            KeptPace {
                share: record.rate_share,
                told_until,
            },
            ago,
            now,
        );
        state.line.wake_all();
    }

    /// A permit that can be used now: this one, or another when it is another guard's or has grown old.
    async fn fresh(&self, permit: Permit) -> Result<Permit, Refused> {
        let lasts = (self.core.policy.rate.interval() / 10).max(PERMIT_LASTS_AT_LEAST);
        let ours = permit
            .core
            .as_ref()
            .is_some_and(|core| Arc::ptr_eq(core, &self.core));
        if ours && (permit.pass.probe || permit.at.elapsed() <= lasts) {
            return Ok(permit);
        }
        let priority = permit.priority;
        drop(permit);
        self.core.acquire(priority, End::Front, Patience::Asks).await
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("service", &self.core.service)
            .finish_non_exhaustive()
    }
}

// === impl Core: permit and gate ===

impl Core {
    async fn acquire(
        self: &Arc<Self>,
        priority: Priority,
        end: End,
        patience: Patience,
    ) -> Result<Permit, Refused> {
        let place = Place::enter(self, priority, end, patience)?;
        let give_up = (patience == Patience::Asks).then(|| Instant::now() + self.policy.longest_wait);
        loop {
            let until = match self.step(&place, patience) {
                Step::Granted(permit) => return Ok(permit),
                Step::Refused(why) => return Err(why),
                Step::Sleep(until) => Some(until),
                Step::Wait => None,
            };
            if give_up.is_some_and(|limit| limit <= Instant::now()) {
                self.state.lock().counts.refused += 1;
                return Err(Refused::Busy);
            }
            let woken = place.waiter.woken.notified();
            // Whichever is first, waking or the time: the answer to both is to look again.
            match [until, give_up].into_iter().flatten().min() {
                Some(until) => drop(tokio::time::timeout_at(until, woken).await),
                None => woken.await,
            }
        }
    }

    /// Looks once for one who stands in line.
    fn step(self: &Arc<Self>, place: &Place, patience: Patience) -> Step {
        let now = Instant::now();
        let mut state = self.state.lock();
        if place.waiter.ousted.load(Ordering::Acquire) {
            state.counts.refused += 1;
            return Step::Refused(Refused::Busy);
        }
        if let Some(why) = self.refusal(&state, now) {
            return match (patience, why) {
                (Patience::Asks, why) => {
                    state.counts.refused += 1;
                    Step::Refused(why)
                }
                (Patience::Waits, Refused::Shut(until)) if state.line.is_head(&place.waiter) => {
                    Step::Sleep(until)
                }
                (Patience::Waits, _) => Step::Wait,
            };
        }
        if !state.line.is_head(&place.waiter) || state.in_flight >= self.policy.concurrency {
            return Step::Wait;
        }
        let token = match state.pace.take(now, &mut rand::rng()) {
            Ok(token) => token,
            Err(until) if patience == Patience::Asks && until > now + self.policy.longest_wait => {
                state.counts.refused += 1;
                return Step::Refused(Refused::Shut(until));
            }
            Err(until) => return Step::Sleep(until),
        };
        let Ok(pass) = state.gate.pass(now) else {
            // Not reached: the gate was looked at above, under this lock.
            state.pace.give_back(token);
            return Step::Wait;
        };
        state.in_flight += 1;
        state.line.leave(place.priority, &place.waiter);
        if pass.probe {
            // Nobody else passes now: those who only ask must hear it.
            state.line.wake_all();
        } else {
            state.line.wake_head();
        }
        Step::Granted(Permit {
            core: Some(self.clone()),
            priority: place.priority,
            token,
            pass,
            at: now,
        })
    }

    /// Why nothing may be sent at `now`, if so.
    fn refusal(&self, state: &State, now: Instant) -> Option<Refused> {
        if state.paused {
            return Some(Refused::Paused);
        }
        match state.gate.stand(now) {
            Stand::Shut(until) => Some(Refused::Shut(until)),
            Stand::Open | Stand::Limited => None,
        }
    }

    /// Uses a permit: the gate's second look.
    fn start(self: &Arc<Self>, mut permit: Permit) -> Result<Call, Refused> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let pass = match state.gate.still(permit.pass, now) {
            Ok(pass) if !state.paused => pass,
            refused => {
                state.counts.refused += 1;
                drop(state);
                drop(permit);
                return Err(refused.map_or_else(Refused::Shut, |_| Refused::Paused));
            }
        };
        permit.core = None;
        Ok(Call {
            core: Some(self.clone()),
            pass,
            sent: now,
        })
    }

    fn give_back(&self, permit: &Permit) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.pace.give_back(permit.token);
        if permit.pass.probe && state.gate.knows(permit.pass) {
            state.gate.probe_returned();
        }
        state.line.wake_head();
    }
}

// === impl Core: classify and record ===

impl Core {
    fn record(&self, pass: Pass, sent: Instant, outcome: &Outcome<'_>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        self.count(&mut state, outcome);
        let verdict = verdict(outcome);
        let current = state.gate.knows(pass);
        match (pass.probe, current) {
            (true, true) => self.record_probe(&mut state, now, &verdict),
            (false, true) => self.record_call(&mut state, now, sent, &verdict),
            // A straggler of an older epoch: only a server's word to wait is heard.
            (_, false) => {
                if let Verdict::RateLimited { retry_after } = verdict {
                    state.pace.slow_down(now, sent, retry_after);
                }
            }
        }
        state.line.wake_head();
    }

    fn record_call(&self, state: &mut State, now: Instant, sent: Instant, verdict: &Verdict) {
        match *verdict {
            Verdict::Well => {
                self.breaker.succeeded();
                state.pace.went_well();
            }
            Verdict::Failure { at_once } => {
                let at_once = at_once && self.policy.trip.at_once_when_unavailable;
                if self.breaker.failed(at_once) {
                    self.trip(state, now, None);
                }
            }
            Verdict::RateLimited { retry_after } => {
                let slowed = state.pace.slow_down(now, sent, retry_after);
                let share = state.pace.share_at(now);
                warn!(
                    service = self.service,
                    "`{}` answered 429; rate is {:.1} % of the full one",
                    self.service,
                    share * 100.0
                );
                if slowed == Slowed::Persists && self.breaker.failed(true) {
                    self.trip(state, now, retry_after);
                } else {
                    self.keep(state, now);
                }
            }
            Verdict::Nothing | Verdict::Cancelled => {}
        }
    }

    fn record_probe(&self, state: &mut State, now: Instant, verdict: &Verdict) {
        match *verdict {
            Verdict::Well => {
                if state.gate.probe_succeeded(now) {
                    self.breaker.reset();
                    state.pace.start_ramp(now);
                    self.keep(state, now);
                    info!(
                        service = self.service,
                        "`{}` answers again; the rate grows back in steps", self.service
                    );
                }
                state.line.wake_all();
            }
            Verdict::Failure { .. } | Verdict::Nothing => self.trip(state, now, None),
            Verdict::RateLimited { retry_after } => self.trip(state, now, retry_after),
            Verdict::Cancelled => state.gate.probe_returned(),
        }
    }

    fn trip(&self, state: &mut State, now: Instant, at_least: Option<Duration>) {
        let at_least = at_least.map(|told| told.min(self.policy.slow_down.wait_max));
        let until = state.gate.trip(now, at_least, &mut rand::rng());
        state.counts.trips += 1;
        self.keep(state, now);
        state.line.wake_all();
        let wait = until.saturating_duration_since(now);
        let why = state
            .last_error
            .as_ref()
            .map_or("", |error| error.message.as_str());
        warn!(
            service = self.service,
            "`{}` fails; it is left alone for {:.0} s, then one call tries again. Last error: {why}",
            self.service,
            wait.as_secs_f64(),
        );
    }

    fn count(&self, state: &mut State, outcome: &Outcome<'_>) {
        let counts = &mut state.counts;
        let counter = match outcome {
            Outcome::Ok => &mut counts.ok,
            Outcome::TimedOut => &mut counts.timed_out,
            Outcome::Panicked { .. } => &mut counts.panicked,
            Outcome::Cancelled => &mut counts.cancelled,
            Outcome::Failed { class, .. } => match class {
                ErrorClass::Transient | ErrorClass::Blocked => &mut counts.failed,
                ErrorClass::RateLimited { .. } => &mut counts.rate_limited,
                ErrorClass::Protocol => &mut counts.protocol,
                ErrorClass::Unauthorized | ErrorClass::NotFound | ErrorClass::Rejected => {
                    &mut counts.answered
                }
            },
        };
        *counter += 1;
        let (class, message) = match outcome {
            Outcome::Ok | Outcome::Cancelled => return,
            Outcome::Failed { class, error, .. } => (Some(*class), error.to_string()),
            Outcome::TimedOut => {
                let limit = self.policy.time_limit;
                (Some(ErrorClass::Transient), format!("no answer within {limit:?}"))
            }
            Outcome::Panicked { message } => (None, format!("panic: {message}")),
        };
        state.last_error = Some(LastError {
            at: self.clock.now(),
            class,
            message,
        });
    }

    /// Hands what must outlive the process to the store.
    fn keep(&self, state: &State, now: Instant) {
        let Some(store) = &self.store else { return };
        let at = self.clock.now();
        let pace = state.pace.kept(now);
        store.save(
            &self.service,
            GateRecord {
                shut_until: state.gate.kept_until(now).map(|until| calendar(until, now, at)),
                trips: state.gate.trips_at(now),
                rate_share: pace.share,
                told_to_wait_until: pace.told_until.map(|until| calendar(until, now, at)),
                saved_at: at,
            },
        );
    }
}

fn verdict(outcome: &Outcome<'_>) -> Verdict {
    match outcome {
        Outcome::Ok => Verdict::Well,
        Outcome::TimedOut | Outcome::Panicked { .. } => Verdict::Failure { at_once: false },
        Outcome::Cancelled => Verdict::Cancelled,
        Outcome::Failed {
            class, unavailable, ..
        } => match *class {
            ErrorClass::NotFound | ErrorClass::Rejected | ErrorClass::Unauthorized => Verdict::Well,
            ErrorClass::Transient | ErrorClass::Blocked => Verdict::Failure {
                at_once: *unavailable,
            },
            ErrorClass::RateLimited { retry_after } => Verdict::RateLimited { retry_after },
            ErrorClass::Protocol => Verdict::Nothing,
        },
    }
}

/// The calendar's word for an instant.
fn calendar(until: Instant, now: Instant, at: DateTime<Utc>) -> DateTime<Utc> {
    let ahead = TimeDelta::from_std(until.saturating_duration_since(now)).unwrap_or_default();
    at.checked_add_signed(ahead).unwrap_or(at)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

impl<E> From<Refused> for CallError<E> {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Shut(until) => Self::Shut { until },
            Refused::Paused => Self::Paused,
            Refused::Busy => Self::Busy,
        }
    }
}

// === impl Place ===

/// A place in line, left on drop.
struct Place {
    core: Arc<Core>,
    priority: Priority,
    waiter: Arc<Waiter>,
}

impl Place {
    fn enter(core: &Arc<Core>, priority: Priority, end: End, patience: Patience) -> Result<Self, Refused> {
        let mut state = core.state.lock();
        if patience == Patience::Asks
            && let Some(why) = core.refusal(&state, Instant::now())
        {
            state.counts.refused += 1;
            return Err(why);
        }
        let Some(waiter) = state.line.enter(priority, end, core.policy.waiting) else {
            state.counts.refused += 1;
            return Err(Refused::Busy);
        };
        Ok(Self {
            core: core.clone(),
            priority,
            waiter,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.core.state.lock();
        state.line.leave(self.priority, &self.waiter);
        state.line.wake_head();
    }
}

// === impl Permit ===

impl Permit {
    /// How urgent the call was said to be.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            core.give_back(self);
        }
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit")
            .field("priority", &self.priority)
            .field("pass", &self.pass)
            .finish_non_exhaustive()
    }
}

// === impl Call ===

/// A call under way; recorded exactly once, as cancelled when it is dropped.
struct Call {
    core: Option<Arc<Core>>,
    pass: Pass,
    sent: Instant,
}

impl Call {
    fn ended(mut self, outcome: &Outcome<'_>) {
        if let Some(core) = self.core.take() {
            core.record(self.pass, self.sent, outcome);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            core.record(self.pass, self.sent, &Outcome::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests;
