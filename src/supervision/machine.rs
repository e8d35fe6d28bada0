//! What a group does next, as a pure machine: it is told what happened and when, and answers with [`Step`]s.
//!
//! The shell around it (`group`) owns channels and timers; everything that OTP's supervisor *decides* is here, so the
//! order of starts and stops, the intensity and the parking are tested without an actor in sight.
//!
//! **Starts** go in listed order. A child that depends on those before it (`rest_for_one`, `one_for_all`) waits until
//! they are up; under `one_for_one` a child that fails does not hold up its neighbours, and only the very first start
//! of the group waits for each in turn. **Stops** go in reverse order, one at a time, each within its limit; what
//! outlives the limit is killed, and what does not even notice that (its arbiter is blocked) is abandoned after
//! [`GRACE`] and named.

use super::decide::{Decision, Exit, affected, decide};
use super::intensity::{Hits, park_delay, restart_delay};
use super::spec::{GiveUp, Intensity, Restart, Shutdown, Strategy};
use super::step::{Rules, Step};
use std::time::Duration;
use tokio::time::Instant;

/// How long a killed child may take to be gone. Its guard needs one turn on its arbiter; more means it is blocked.
pub(super) const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Not running; to be started at this time, when those before it allow it.
    Down {
        at: Instant,
    },
    Starting,
    Up,
    /// Asked to stop.
    Stopping {
        kill_at: Option<Instant>,
    },
    /// Killed. `why`: the end is not ours but counts as this (stuck).
    Killed {
        abandon_at: Option<Instant>,
        why: Option<Exit>,
    },
    Finished,
}

/// What an ordered stop is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    StartAt(Instant),
    Finish,
}

struct Slot {
    rules: Rules,
    phase: Phase,
    /// A stop is ordered (perhaps not yet begun); this follows.
    after_stop: Option<After>,
    up_since: Option<Instant>,
    /// Restarts in a row without having lived a whole period.
    streak: u32,
    /// Times parked in a row; above 0 the child is on trial: one crash parks it again.
    parks: u32,
    /// Down because it, or one it depends on, is parked.
    parked: bool,
    attempted: bool,
}

pub(super) struct Machine {
    strategy: Strategy,
    intensity: Intensity,
    give_up: GiveUp,
    slots: Vec<Slot>,
    hits: Hits,
    /// Once set, nothing is started any more.
    closing: Option<Exit>,
    kill_all: bool,
    opened: bool,
    ended: bool,
    /// Decided already, to be handed out by the next `advance`.
    steps: Vec<Step>,
}

// === impl Machine ===

impl Machine {
    pub(super) fn new(
        strategy: Strategy,
        intensity: Intensity,
        give_up: GiveUp,
        rules: impl IntoIterator<Item = Rules>,
        now: Instant,
    ) -> Self {
        let slots = rules.into_iter().map(|rules| Slot {
            rules,
            phase: Phase::Down { at: now },
            after_stop: None,
            up_since: None,
            streak: 0,
            parks: 0,
            parked: false,
            attempted: false,
        });
        Self {
            strategy,
            intensity,
            give_up,
            slots: slots.collect(),
            hits: Hits::default(),
            closing: None,
            kill_all: false,
            opened: false,
            ended: false,
            steps: Vec::new(),
        }
    }

    /// A child said that it is up.
    pub(super) fn started(&mut self, child: usize, now: Instant) {
        if let Some(slot) = self.slots.get_mut(child)
            && slot.phase == Phase::Starting
        {
            slot.phase = Phase::Up;
            slot.up_since = Some(now);
            slot.parked = false;
        }
    }

    /// A child's life ended. Answers with the exit to remember: a stuck child's guard only knows that it was killed.
    pub(super) fn ended(&mut self, child: usize, exit: Exit, now: Instant) -> Exit {
        let closing = self.closing.is_some();
        let Some(slot) = self.slots.get_mut(child) else {
            return exit;
        };
        let exit = match std::mem::replace(&mut slot.phase, Phase::Finished) {
            Phase::Killed { why: Some(why), .. } => why,
            _ => exit,
        };
        let lived = slot
            .up_since
            .take()
            .map(|since| now.saturating_duration_since(since));
        if let Some(after) = slot.after_stop.take() {
            if let After::StartAt(at) = after {
                slot.phase = Phase::Down { at };
            }
            if slot.parked || after == After::Finish {
                self.steps.push(Step::Close(child));
            }
        } else if closing {
            self.steps.push(Step::Close(child));
        } else if decide(slot.rules.restart, &exit) == Decision::Leave {
            self.steps.extend([Step::Close(child), Step::Left(child)]);
        } else {
            if lived.is_some_and(|lived| lived >= self.intensity.within) {
                (slot.streak, slot.parks) = (0, 0);
            }
            self.restart(child, &exit, now);
        }
        exit
    }

    /// A child's heart stands still: end it, and treat its end as a crash.
    pub(super) fn stuck(&mut self, child: usize, why: Exit, now: Instant) {
        if let Some(slot) = self.slots.get_mut(child)
            && slot.phase == Phase::Up
            && slot.after_stop.is_none()
        {
            slot.phase = Phase::Killed {
                abandon_at: now.checked_add(GRACE),
                why: Some(why),
            };
            self.steps.push(Step::Kill(child));
        }
    }

    /// Stop everything, in reverse order, and end as `reason`.
    pub(super) fn stop(&mut self, reason: Exit) {
        if self.closing.is_none() {
            self.closing = Some(reason);
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            match slot.phase {
                Phase::Down { .. } => {
                    slot.phase = Phase::Finished;
                    self.steps.push(Step::Close(index));
                }
                Phase::Finished => {}
                _ => slot.after_stop = Some(After::Finish),
            }
        }
    }

    /// The time for an orderly stop is over.
    pub(super) fn kill_all(&mut self) {
        self.stop(Exit::Killed);
        self.kill_all = true;
    }

    /// Whether this child runs undisturbed, so that its heart may be judged.
    pub(super) fn is_up(&self, child: usize) -> bool {
        self.slots
            .get(child)
            .is_some_and(|slot| slot.phase == Phase::Up && slot.after_stop.is_none())
    }

    /// When a child that is down will be started again, and whether it is parked.
    pub(super) fn coming_back(&self, child: usize) -> Option<(Instant, bool)> {
        match self.slots.get(child) {
            Some(Slot {
                phase: Phase::Down { at },
                parked,
                ..
            }) if self.closing.is_none() => Some((*at, *parked)),
            _ => None,
        }
    }

    /// Everything that can be done now.
    pub(super) fn advance(&mut self, now: Instant) -> Vec<Step> {
        while self.advance_stops(now) {}
        if self.closing.is_some() {
            self.advance_end();
        } else {
            self.advance_starts(now);
            self.advance_opened();
        }
        std::mem::take(&mut self.steps)
    }

    /// When to ask again although nothing happened.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let times = self.slots.iter().filter_map(|slot| match slot.phase {
            // A start that is due but not done waits for an event, not for the clock.
            Phase::Down { at } => (at > now).then_some(at),
            Phase::Stopping { kill_at } => kill_at,
            Phase::Killed { abandon_at, .. } => abandon_at,
            _ => None,
        });
        times.min()
    }

    fn restart(&mut self, child: usize, exit: &Exit, now: Instant) {
        let Some(slot) = self.slots.get_mut(child) else {
            return;
        };
        let on_trial = slot.parks > 0;
        let allowed = self.hits.allow(self.intensity, child, now);
        if allowed && !on_trial {
            let at = now + restart_delay(slot.streak, self.intensity);
            slot.streak = slot.streak.saturating_add(1);
            self.steps.push(Step::Restarting { child, at });
            self.take_down(child, at, false);
            return;
        }
        match self.give_up {
            GiveUp::Escalate => {
                let restarts = self.hits.count().saturating_sub(1);
                let (child_path, last) = (slot.rules.path.clone(), Box::new(exit.clone()));
                self.steps.extend([Step::Close(child), Step::GaveUp(child)]);
                self.stop(Exit::GaveUp {
                    child: child_path,
                    restarts,
                    last,
                });
            }
            GiveUp::Park => {
                let until = now + park_delay(slot.parks);
                slot.parks = slot.parks.saturating_add(1);
                self.hits.forget(child);
                self.steps.push(Step::Parked { child, until });
                self.take_down(child, until, true);
            }
        }
    }

    /// Takes down whoever shares the fate of `child` (which is down already), to come up again at `at`.
    fn take_down(&mut self, child: usize, at: Instant, parked: bool) {
        let set = affected(self.strategy, child, self.slots.len());
        for index in set {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            let temporary = index != child && slot.rules.restart == Restart::Temporary;
            match slot.phase {
                _ if index == child => slot.phase = Phase::Down { at },
                Phase::Finished if temporary => continue,
                // As in OTP, a transient child that had finished comes up again with its group.
                Phase::Finished => slot.phase = Phase::Down { at },
                // Never sooner than it was to start anyway.
                Phase::Down { at: own } => slot.phase = Phase::Down { at: own.max(at) },
                // A temporary child is never restarted, not even for a neighbour's sake.
                _ if temporary => slot.after_stop = Some(After::Finish),
                _ => slot.after_stop = Some(After::StartAt(at)),
            }
            slot.parked = parked;
            if parked && matches!(slot.phase, Phase::Down { .. }) {
                self.steps.push(Step::Close(index));
            }
        }
    }

    /// One pass over the stops, from the last child to the first; true when another pass is due.
    fn advance_stops(&mut self, now: Instant) -> bool {
        let finally = self.closing.is_some();
        for (child, slot) in self.slots.iter_mut().enumerate().rev() {
            let overdue = |at: &Option<Instant>| at.is_some_and(|at| at <= now);
            let killed = Phase::Killed {
                abandon_at: slot.rules.shutdown.map(|_| now + GRACE),
                why: None,
            };
            match &slot.phase {
                Phase::Up | Phase::Starting | Phase::Stopping { .. } if self.kill_all => {
                    slot.phase = killed;
                    self.steps.push(Step::Kill(child));
                    continue;
                }
                Phase::Up | Phase::Starting if slot.after_stop.is_some() => match slot.rules.shutdown {
                    Some(Shutdown::Immediate) => {
                        slot.phase = killed;
                        self.steps.push(Step::Kill(child));
                    }
                    limit => {
                        let kill_at = match limit {
                            Some(Shutdown::After(limit)) => now.checked_add(limit),
                            _ => None,
                        };
                        slot.phase = Phase::Stopping { kill_at };
                        let finally = finally || slot.after_stop == Some(After::Finish);
                        self.steps.push(Step::AskStop { child, finally });
                    }
                },
                Phase::Stopping { kill_at } if overdue(kill_at) => {
                    slot.phase = killed;
                    self.steps.push(Step::Kill(child));
                }
                Phase::Killed { abandon_at, .. } if overdue(abandon_at) => {
                    let before = self.steps.len();
                    let exit = self.ended(child, Exit::Lost, now);
                    self.steps.insert(before, Step::Abandon { child, exit });
                    return true;
                }
                Phase::Stopping { .. } => {}
                // A stuck child that is being replaced is nobody's turn; a killed one in a stop is.
                Phase::Killed { .. } if slot.after_stop.is_some() => {}
                _ => continue,
            }
            if !self.kill_all {
                return false; // one at a time
            }
        }
        false
    }

    fn advance_starts(&mut self, now: Instant) {
        let alone = self.strategy == Strategy::OneForOne;
        let going_down =
            |slot: &Slot| slot.after_stop.is_some() || matches!(slot.phase, Phase::Killed { .. });
        if !alone && self.slots.iter().any(going_down) {
            return;
        }
        for (child, slot) in self.slots.iter_mut().enumerate() {
            let next_may_start = match slot.phase {
                Phase::Down { at } if at <= now => {
                    slot.phase = Phase::Starting;
                    slot.attempted = true;
                    self.steps.push(Step::Start(child));
                    alone && self.opened
                }
                Phase::Down { .. } => alone,
                Phase::Starting => alone && self.opened,
                Phase::Up | Phase::Finished | Phase::Stopping { .. } | Phase::Killed { .. } => true,
            };
            if !next_may_start {
                break;
            }
        }
    }

    fn advance_opened(&mut self) {
        let alone = self.strategy == Strategy::OneForOne;
        let settled = |slot: &Slot| match slot.phase {
            Phase::Up | Phase::Finished => true,
            Phase::Down { .. } => slot.parked || (alone && slot.attempted),
            _ => false,
        };
        if !self.opened && self.slots.iter().all(settled) {
            self.opened = true;
            self.steps.push(Step::Opened);
        }
    }

    fn advance_end(&mut self) {
        let down = |slot: &Slot| matches!(slot.phase, Phase::Down { .. } | Phase::Finished);
        if !self.ended && self.slots.iter().all(down) {
            self.ended = true;
            let reason = self.closing.clone().unwrap_or(Exit::Stopped);
            self.steps.push(Step::Ended(reason));
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
