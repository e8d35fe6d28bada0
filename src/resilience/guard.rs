//! The guard of one outside service: the order around a call, in code. The words and the table are in the
//! [room's essay](super).

mod hearing;
mod outcome;
mod shared;

pub use shared::Permit;

use super::{
    breaker::Breaker,
    gate::{Gate, Stand},
    pace::{KeptPace, Pace},
    peers::News,
    permits::{End, Line, Priority},
    policy::{BadPolicy, Policy},
    portion::Portion,
    record::{Counts, GateStore, GateView, GuardStatus},
};
use crate::{
    clock::Clock,
    domain::{Classified, ErrorClass},
};
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use outcome::{Outcome, calendar};
use parking_lot::Mutex;
use shared::{Core, Patience, Refused, State};
use std::{
    fmt::Display,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time::Instant;
use tracing::info;

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

/// Why a guarded call gave no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// The service is down or told us to wait; nothing was sent.
    #[error("not sent: the service is left alone until its breaker lets a call through")]
    Shut {
        /// When it is worth asking again.
        until: Instant,
    },
    /// An operator paused the service, or stopped everything; nothing was sent.
    #[error("not sent: the service is paused by an operator")]
    Paused,
    /// Too many callers wait already, or it was not this one's turn within the policy's longest wait; nothing was sent.
    #[error("not sent: too many calls wait for this service already")]
    Busy,
    /// Its last moment came before its turn; nothing was sent.
    #[error("not sent: its turn would have come after its last moment")]
    Late,
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
            Self::Shut { .. } | Self::Paused | Self::Busy | Self::Late | Self::TimedOut => {
                ErrorClass::Transient
            }
        }
    }
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
            portion: Portion::default(),
            heard: 0,
            told_at: None,
            in_flight: 0,
            paused: false,
            stopped: false,
            counts: Counts::default(),
            last_ok: None,
            last_error: None,
        };
        let breaker = Breaker::new(policy.trip, now);
        let core = Core {
            service: service.to_owned(),
            policy: ArcSwap::from_pointee(policy),
            clock,
            store,
            breaker,
            peers: OnceLock::new(),
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
    pub fn policy(&self) -> Arc<Policy> {
        self.core.policy.load_full()
    }

    /// Follows another policy from the next token on. Calls that are under way end by the one they began with. A change
    /// of rate admits nothing by itself, a tripped breaker stays shut until its time, and when the breaker trips stays as
    /// it was: what it has counted is counted by that rule.
    ///
    /// # Errors
    /// When the policy cannot be followed; the one before stays.
    pub fn change(&self, policy: Policy) -> Result<(), BadPolicy> {
        let problems = policy.problems();
        if !problems.is_empty() {
            return Err(BadPolicy {
                service: self.core.service.clone(),
                problems,
            });
        }
        let now = Instant::now();
        let mut state = self.core.state.lock();
        let before = self.core.policy.load();
        state.pace.change(&policy, now);
        let probe_time_limit = policy.time_limit + policy.longest_wait;
        state.gate.change(policy.opening.clone(), probe_time_limit);
        let trip = before.trip;
        self.core.policy.store(Arc::new(Policy { trip, ..policy }));
        // More slots, another spacing: whoever waits looks again.
        state.line.wake_all();
        Ok(())
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
                Err(_full) => {
                    let interval = self.core.policy.load().rate.interval();
                    tokio::time::sleep(interval.min(LINE_IS_FULL)).await;
                }
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

    /// As [`call`](Self::call), but not after `before`: whoever cannot have a turn until then leaves the line without taking
    /// one away from those behind.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::Late`].
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_before<T, E, Fut>(
        &self,
        priority: Priority,
        before: Instant,
        f: impl FnOnce() -> Fut,
    ) -> Result<T, CallError<E>>
    where
        E: Classified + Display,
        Fut: Future<Output = Result<T, E>>,
    {
        let patience = Patience::AsksBefore(before);
        let permit = self.core.acquire(priority, End::Back, patience).await?;
        // The last look at the watch: between the grant and here this task may have been kept from running.
        if Instant::now() >= before {
            return Err(CallError::Late);
        }
        self.call_with(permit, f).await
    }

    /// Takes the permit of one more request of a call that has been made and recorded, so that the rate counts requests
    /// and not calls. It is no call: breaker and counts hear nothing of it. Answers whether it was to be had.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the line.
    pub async fn pay(&self, priority: Priority) -> bool {
        match self.core.acquire(priority, End::Back, Patience::Asks).await {
            // A probe decides over the gate, and this asks nothing: it goes back to whoever does.
            Ok(permit) if permit.pass.probe => false,
            Ok(permit) => {
                self.core.spent(permit);
                true
            }
            Err(_) => false,
        }
    }

    /// For how long it is useless to ask: the gate is shut, a probe is out, the service told us to wait, or an operator
    /// paused it. `None` when a call would have its turn by the rate alone.
    #[must_use]
    pub fn shut_for(&self) -> Option<Duration> {
        let now = Instant::now();
        let state = self.core.state.lock();
        if state.switched_off() {
            return Some(self.core.policy.load().longest_wait);
        }
        let shut = match state.gate.stand(now) {
            Stand::Shut(until) => Some(until),
            Stand::Open | Stand::Limited => None,
        };
        let until = shut.max(state.pace.told_until(now))?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// How many calls more at this priority would have their turn `within`, with `under_way` of the caller's own begun and
    /// not ended. What is open at the service is past the line; what is not may still be on its way into it.
    #[must_use]
    pub fn room(&self, priority: Priority, under_way: usize, within: Duration) -> usize {
        let now = Instant::now();
        let state = self.core.state.lock();
        let turns = match state.gate.stand(now) {
            _ if state.switched_off() => 0,
            Stand::Shut(_) => 0,
            Stand::Limited => 1,
            // Who waits for a slot waits as long as the service pleases.
            Stand::Open if state.in_flight >= self.core.policy.load().concurrency => 1,
            Stand::Open => Portion::expected(
                state.pace.turns(now, within),
                self.core.around(&self.core.policy.load()),
            ),
        };
        let ahead = state.line.ahead_of(priority);
        turns.saturating_sub(ahead.max(under_way.saturating_sub(state.in_flight)))
    }

    /// How many calls the rate has turns for `within`, whoever stands in line; `None` while not all goes through: what is
    /// shut or tried again now says nothing of the time after.
    #[must_use]
    pub fn turns(&self, within: Duration) -> Option<usize> {
        let now = Instant::now();
        let state = self.core.state.lock();
        match state.gate.stand(now) {
            Stand::Open if !state.switched_off() => Some(Portion::expected(
                state.pace.turns(now, within),
                self.core.around(&self.core.policy.load()),
            )),
            _ => None,
        }
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
        let time_limit = self.core.policy.load().time_limit;
        match tokio::time::timeout(time_limit, caught).await {
            Ok(Ok(Ok(value))) => {
                call.ended(&Outcome::Ok);
                Ok(value)
            }
            Ok(Ok(Err(error))) => {
                call.ended(&Outcome::Failed {
                    class: error.class(),
                    unavailable: error.unavailable(),
                    away_for: error.away_for(),
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
            _ if state.stopped => GateView::Stopped,
            _ if state.paused => GateView::Paused,
            Stand::Open => GateView::Open,
            Stand::Shut(_) if state.gate.is_probing(now) => GateView::Limited,
            Stand::Shut(until) => GateView::Shut {
                until: calendar(until, now, at),
            },
            Stand::Limited => GateView::Limited,
        };
        let full = self.core.policy.load().rate.requests_per_second();
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
            last_ok: state.last_ok,
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

    /// The emergency stop, or its end: a switch beside that of [`pause`](Self::pause), so that the end of the stop does not
    /// forget what an operator said about this one service. Calls under way end by themselves.
    pub fn set_stopped(&self, stopped: bool) {
        let mut state = self.core.state.lock();
        state.stopped = stopped;
        state.line.wake_all();
    }

    /// The operator knows better: gate open, full rate, doublings forgotten. A pause and the emergency stop
    /// stay.
    pub fn reset(&self) {
        let now = Instant::now();
        let mut state = self.core.state.lock();
        state.gate.reset(now);
        state.pace.reset(now);
        self.core.breaker.reset();
        self.core.keep(&state, now);
        self.core.tell(&mut state, News::Open);
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
        let policy = self.core.policy.load_full();
        let longest = policy.opening.longest * 2 + policy.slow_down.wait_max;
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
        let lasts = (self.core.policy.load().rate.interval() / 10).max(PERMIT_LASTS_AT_LEAST);
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
            Refused::Late => Self::Late,
        }
    }
}

#[cfg(test)]
mod tests;
