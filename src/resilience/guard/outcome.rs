//! The second half of the order: classify and record.

use super::super::{
    gate::Pass,
    pace::Slowed,
    peers::News,
    record::{GateRecord, LastError},
};
use super::shared::{Core, State};
use crate::domain::ErrorClass;
use chrono::{DateTime, TimeDelta, Utc};
use std::{fmt::Display, time::Duration};
use tokio::time::Instant;
use tracing::{info, warn};

/// How a call ended.
pub(super) enum Outcome<'a> {
    Ok,
    Failed {
        class: ErrorClass,
        unavailable: bool,
        away_for: Option<Duration>,
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
    Failure {
        at_once: bool,
        away_for: Option<Duration>,
    },
    RateLimited {
        retry_after: Option<Duration>,
    },
    Nothing,
    Cancelled,
}

// === impl Core: classify and record ===

impl Core {
    pub(super) fn record(&self, pass: Pass, sent: Instant, outcome: &Outcome<'_>) {
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
            (_, false) => match verdict {
                Verdict::RateLimited { retry_after } => {
                    state.pace.slow_down(now, sent, retry_after);
                }
                Verdict::Failure {
                    away_for: Some(told), ..
                } => state.pace.wait(now, told),
                _ => {}
            },
        }
        state.line.wake_head();
    }

    fn record_call(&self, state: &mut State, now: Instant, sent: Instant, verdict: &Verdict) {
        match *verdict {
            Verdict::Well => {
                self.breaker.succeeded();
                state.pace.went_well();
            }
            Verdict::Failure { at_once, away_for } => {
                let at_once = at_once && self.policy.load().trip.at_once_when_unavailable;
                if self.breaker.failed(at_once) {
                    self.trip(state, now, away_for);
                } else if let Some(told) = away_for {
                    state.pace.wait(now, told);
                    self.keep(state, now);
                }
            }
            Verdict::RateLimited { retry_after } => {
                let slowed = state.pace.slow_down(now, sent, retry_after);
                let share = state.pace.share_at(now);
                warn!(
                    service = self.service,
                    "`{}` lets no more through (its 429, or a quota that we keep); rate is {:.1} % of the full one",
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
                    self.tell(state, News::Open);
                    info!(
                        service = self.service,
                        "`{}` answers again; the rate grows back in steps", self.service
                    );
                }
                state.line.wake_all();
            }
            Verdict::Failure { away_for, .. } => self.trip(state, now, away_for),
            Verdict::Nothing => self.trip(state, now, None),
            Verdict::RateLimited { retry_after } => self.trip(state, now, retry_after),
            Verdict::Cancelled => {
                state.gate.probe_returned();
                self.tell(state, News::ProbeReturned);
            }
        }
    }

    pub(super) fn trip(&self, state: &mut State, now: Instant, at_least: Option<Duration>) {
        let at_least = at_least.map(|told| told.min(self.policy.load().slow_down.wait_max));
        let until = state.gate.trip(now, at_least, &mut rand::rng());
        state.counts.trips += 1;
        self.keep(state, now);
        state.line.wake_all();
        let wait = until.saturating_duration_since(now);
        let trips = state.gate.trips_at(now);
        self.tell(state, News::Shut { lasts: wait, trips });
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
            Outcome::Ok => {
                state.last_ok = Some(self.clock.now());
                return;
            }
            Outcome::Cancelled => return,
            Outcome::Failed { class, error, .. } => (Some(*class), error.to_string()),
            Outcome::TimedOut => {
                let limit = self.policy.load().time_limit;
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
    pub(super) fn keep(&self, state: &State, now: Instant) {
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
        Outcome::TimedOut | Outcome::Panicked { .. } => Verdict::Failure {
            at_once: false,
            away_for: None,
        },
        Outcome::Cancelled => Verdict::Cancelled,
        Outcome::Failed {
            class,
            unavailable,
            away_for,
            ..
        } => match *class {
            ErrorClass::NotFound | ErrorClass::Rejected | ErrorClass::Unauthorized => Verdict::Well,
            ErrorClass::Transient | ErrorClass::Blocked => Verdict::Failure {
                at_once: *unavailable,
                away_for: *away_for,
            },
            ErrorClass::RateLimited { retry_after } => Verdict::RateLimited { retry_after },
            ErrorClass::Protocol => Verdict::Nothing,
        },
    }
}

/// The calendar's word for an instant.
pub(super) fn calendar(until: Instant, now: Instant, at: DateTime<Utc>) -> DateTime<Utc> {
    let ahead = TimeDelta::from_std(until.saturating_duration_since(now)).unwrap_or_default();
    at.checked_add_signed(ahead).unwrap_or(at)
}
