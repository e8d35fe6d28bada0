//! The guard's shared state, and the first half of the order: permit and gate.

use super::super::{
    breaker::Breaker,
    gate::{Gate, Pass, Stand},
    pace::Pace,
    peers::{News, Peers, TurnsAsked},
    permits::{End, Line, Priority, Waiter},
    policy::Policy,
    portion::{Around, Leave, Portion, ProbeLeave},
    record::{Counts, GateStore, LastError},
};
use super::outcome::Outcome;
use crate::clock::Clock;
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock, atomic::Ordering};
use tokio::time::Instant;

/// What all clones of a guard share.
pub(super) struct Core {
    pub(super) service: String,
    pub(super) policy: ArcSwap<Policy>,
    pub(super) clock: Clock,
    pub(super) store: Option<Arc<dyn GateStore>>,
    pub(super) breaker: Breaker,
    /// The guards of the other nodes, once there are some to be heard of.
    pub(super) peers: OnceLock<Arc<dyn Peers>>,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) pace: Pace,
    pub(super) gate: Gate,
    pub(super) line: Line,
    pub(super) portion: Portion,
    /// The number of the last news that were heard of other nodes.
    pub(super) heard: i64,
    /// When this node told some of its own.
    pub(super) told_at: Option<Instant>,
    pub(super) in_flight: usize,
    pub(super) paused: bool,
    pub(super) stopped: bool,
    pub(super) counts: Counts,
    pub(super) last_ok: Option<DateTime<Utc>>,
    pub(super) last_error: Option<LastError>,
}

/// Whether a caller waits for the gate to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Yes: it reserves.
    Waits,
    /// No: it wants an answer, and its work waits elsewhere.
    Asks,
    /// As `Asks`, and from this moment on a turn is worth nothing to it.
    AsksBefore(Instant),
}

/// Why no permit is given.
pub(super) enum Refused {
    Shut(Instant),
    Paused,
    Busy,
    Late,
}

// === impl Patience ===

impl Patience {
    fn waits(self) -> bool {
        self == Self::Waits
    }

    /// Whether `moment` is too late for it.
    fn is_late_at(self, moment: Instant) -> bool {
        matches!(self, Self::AsksBefore(last) if last <= moment)
    }

    /// From when on it waits no longer, and why, given the policy's word.
    fn gives_up(self, busy_at: Instant) -> Option<(Instant, Refused)> {
        match self {
            Self::Waits => None,
            Self::AsksBefore(last) if last < busy_at => Some((last, Refused::Late)),
            Self::Asks | Self::AsksBefore(_) => Some((busy_at, Refused::Busy)),
        }
    }
}

/// What one who stands in line does next.
enum Step {
    Granted(Permit),
    Refused(Refused),
    Sleep(Instant),
    Wait,
    Ask(Question),
}

/// What one in line asks of the other nodes, for all behind it.
enum Question {
    Turns(TurnsAsked),
    Probe,
}

/// The right to make one call now. Dropped unused, it is given back.
#[must_use = "a permit that is not used holds a slot until it is dropped"]
pub struct Permit {
    /// `None` once it is used.
    pub(super) core: Option<Arc<Core>>,
    pub(super) priority: Priority,
    pub(super) token: u64,
    pub(super) pass: Pass,
    pub(super) at: Instant,
}

// === impl State ===

impl State {
    /// Whether a person lets nothing through, by either switch.
    pub(super) fn switched_off(&self) -> bool {
        self.paused || self.stopped
    }
}

// === impl Core: permit and gate ===

impl Core {
    pub(super) async fn acquire(
        self: &Arc<Self>,
        priority: Priority,
        end: End,
        patience: Patience,
    ) -> Result<Permit, Refused> {
        let place = Place::enter(self, priority, end, patience)?;
        let busy_at = Instant::now() + self.policy.load().longest_wait;
        loop {
            let until = match self.step(&place, patience) {
                Step::Granted(permit) => return Ok(permit),
                Step::Refused(why) => return Err(why),
                Step::Sleep(until) => Some(until),
                Step::Wait => None,
                Step::Ask(question) => {
                    self.ask_peers(question).await;
                    continue;
                }
            };
            let give_up = match patience.gives_up(busy_at) {
                Some((limit, why)) if limit <= Instant::now() => {
                    self.state.lock().counts.refused += 1;
                    return Err(why);
                }
                limit => limit.map(|(limit, _)| limit),
            };
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
        let policy = self.policy.load();
        if place.waiter.ousted.load(Ordering::Acquire) {
            state.counts.refused += 1;
            return Step::Refused(Refused::Busy);
        }
        if let Some(why) = self.refusal(&state, now) {
            return match why {
                why if !patience.waits() => {
                    state.counts.refused += 1;
                    Step::Refused(why)
                }
                Refused::Shut(until) if state.line.is_head(&place.waiter) => Step::Sleep(until),
                _ => Step::Wait,
            };
        }
        // Before a token is taken: one that is burnt on a turn that comes too late is missing for those behind.
        if patience.is_late_at(now) {
            state.counts.refused += 1;
            return Step::Refused(Refused::Late);
        }
        if !state.line.is_head(&place.waiter) || state.in_flight >= policy.concurrency {
            return Step::Wait;
        }
        if state.gate.stand(now) == Stand::Limited {
            match state.portion.may_probe(self.around(&policy), now) {
                ProbeLeave::Go => {}
                ProbeLeave::Ask => return self.asks(&mut state, Question::Probe),
                ProbeLeave::Wait => return Step::Wait,
                ProbeLeave::NotBefore(until) if patience.waits() => return Step::Sleep(until),
                ProbeLeave::NotBefore(until) => {
                    state.counts.refused += 1;
                    return Step::Refused(Refused::Shut(until));
                }
            }
        }
        let leave = match state.portion.look(self.around(&policy), now) {
            Leave::Ask(turns) => return self.asks(&mut state, Question::Turns(turns)),
            Leave::Wait => return Step::Wait,
            Leave::NotBefore(until) => Err(until),
            Leave::Own(portion) => {
                state.pace.set_portion(portion, now);
                Ok(())
            }
            Leave::Turn => {
                state.pace.set_portion(1.0, now);
                Ok(())
            }
        };
        let token = match leave.and_then(|()| state.pace.take(now, &mut rand::rng())) {
            Ok(token) => token,
            Err(until) if !patience.waits() && until > now + policy.longest_wait => {
                state.counts.refused += 1;
                return Step::Refused(Refused::Shut(until));
            }
            Err(until) if patience.is_late_at(until) => {
                state.counts.refused += 1;
                return Step::Refused(Refused::Late);
            }
            Err(until) => return Step::Sleep(until),
        };
        let Ok(pass) = state.gate.pass(now) else {
            // Not reached: the gate was looked at above, under this lock.
            state.pace.give_back(token);
            return Step::Wait;
        };
        state.in_flight += 1;
        state.portion.used();
        state.line.leave(place.priority, &place.waiter);
        if pass.probe {
            state.portion.probed();
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

    /// How things stand with the other nodes.
    pub(super) fn around(&self, policy: &Policy) -> Around {
        let (share, reachable) = self.peers.get().map_or((1.0, false), |peers| {
            (peers.share(&self.service), peers.are_reachable())
        });
        Around {
            share,
            reachable,
            interval: policy.rate.interval(),
        }
    }

    fn asks(&self, state: &mut State, question: Question) -> Step {
        state.portion.asking = true;
        Step::Ask(question)
    }

    /// Asks the other nodes. Whoever is at the head of the line asks for all; dropped meanwhile, the next one does.
    async fn ask_peers(self: &Arc<Self>, question: Question) {
        let _asking = Asking(self.clone());
        let Some(peers) = self.peers.get() else { return };
        match question {
            Question::Turns(asked) => {
                self.state.lock().portion.asks(Instant::now());
                let got = peers.turns(&self.service, asked).await;
                self.state.lock().portion.got(got, Instant::now());
            }
            Question::Probe => {
                let policy = self.policy.load_full();
                let lasts = policy.time_limit + policy.longest_wait;
                let ours = peers.may_probe(&self.service, lasts).await;
                self.state.lock().portion.probe_told(ours, Instant::now());
            }
        }
    }

    /// Tells the other nodes.
    pub(super) fn tell(&self, state: &mut State, news: News) {
        if let Some(peers) = self.peers.get() {
            state.told_at = Some(Instant::now());
            peers.tell(&self.service, news);
        }
    }

    /// Why nothing may be sent at `now`, if so.
    fn refusal(&self, state: &State, now: Instant) -> Option<Refused> {
        if state.switched_off() {
            return Some(Refused::Paused);
        }
        match state.gate.stand(now) {
            Stand::Shut(until) => Some(Refused::Shut(until)),
            Stand::Open | Stand::Limited => None,
        }
    }

    /// Uses a permit: the gate's second look.
    pub(super) fn start(self: &Arc<Self>, mut permit: Permit) -> Result<Call, Refused> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let pass = match state.gate.still(permit.pass, now) {
            Ok(pass) if !state.switched_off() => pass,
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

    /// Keeps a permit's token for a request that another call has made.
    pub(super) fn spent(&self, mut permit: Permit) {
        permit.core = None;
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.line.wake_head();
    }

    fn give_back(&self, permit: &Permit) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.pace.give_back(permit.token);
        if permit.pass.probe && state.gate.knows(permit.pass) {
            state.gate.probe_returned();
            self.tell(&mut state, News::ProbeReturned);
        }
        state.line.wake_head();
    }
}

/// Somebody asks the other nodes; over when this is dropped.
struct Asking(Arc<Core>);

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.portion.asking = false;
        state.line.wake_head();
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
        if !patience.waits()
            && let Some(why) = core.refusal(&state, Instant::now())
        {
            state.counts.refused += 1;
            return Err(why);
        }
        let Some(waiter) = state.line.enter(priority, end, core.policy.load().waiting) else {
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
pub(super) struct Call {
    core: Option<Arc<Core>>,
    pass: Pass,
    sent: Instant,
}

impl Call {
    pub(super) fn ended(mut self, outcome: &Outcome<'_>) {
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
