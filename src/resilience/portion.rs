//! How much of the rate is this node's, and by which right.
//!
//! | other nodes | they can be reached | a request goes |
//! |---|---|---|
//! | none | | by the guard's own pace |
//! | some | yes | at a turn of the common rate, which is nobody else's |
//! | some | no | by the guard's own pace, at this node's share of the rate, once the others do not count on it any more |
//!
//! Pure: every method takes `now`, and what is to be asked is said, not asked.

use super::peers::{COUNTED_ON_FOR, Turns, TurnsAsked};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Turns within this are asked for together, so that a fast service does not wait for a round trip at each request.
const AHEAD: Duration = Duration::from_millis(100);
/// The most turns held.
const MOST: u32 = 32;
/// How late a turn may be used: half the distance to the next, and no less than a wake-up may be late.
const LATE_AT_LEAST: Duration = Duration::from_millis(20);
/// The wait after a question that nobody answered.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How long a node without a share waits before it looks at it again.
const NO_SHARE: Duration = Duration::from_secs(1);
/// How long the right to try a service again may lie unused.
const PROBE_KEPT: Duration = Duration::from_secs(5);
/// How soon one who may not try it asks again.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Portion {
    turns: VecDeque<Instant>,
    apart: Duration,
    again_at: Option<Instant>,
    counted_on_until: Option<Instant>,
    probe: Probe,
    /// Somebody in line is asking.
    pub(super) asking: bool,
}

/// Who tries a service again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Probe {
    #[default]
    Unasked,
    /// This node, if it does so before then.
    Ours(Instant),
    /// Another node; worth asking again then.
    Theirs(Instant),
}

/// How things stand with the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// This node's share; 1 is alone.
    pub(super) share: f64,
    pub(super) reachable: bool,
    /// How far two requests are apart by the whole rate.
    pub(super) interval: Duration,
}

/// By which right the next request goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Leave {
    /// By the own pace, at this share of the rate.
    Own(f64),
    /// Now, at a turn; [`Portion::used`] says that it went.
    Turn,
    /// Not before this.
    NotBefore(Instant),
    /// Turns have to be asked for.
    Ask(TurnsAsked),
    /// Somebody is asking.
    Wait,
}

/// Whether the next request may be the one that tries the service again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ProbeLeave {
    /// Yes.
    Go,
    /// Not before this: another node does.
    NotBefore(Instant),
    /// That has to be asked.
    Ask,
    /// Somebody is asking.
    Wait,
}

// === impl Portion ===

impl Portion {
    /// By which right a request may go at `now`.
    pub(super) fn look(&mut self, around: Around, now: Instant) -> Leave {
        if around.share >= 1.0 {
            self.forget();
            return Leave::Own(1.0);
        }
        if around.share <= 0.0 || around.share.is_nan() {
            self.forget();
            return Leave::NotBefore(now + NO_SHARE);
        }
        if !around.reachable {
            self.forget();
            return match self.counted_on_until.filter(|until| *until > now) {
                Some(until) => Leave::NotBefore(until),
                None => Leave::Own(around.share),
            };
        }
        let late = (self.apart / 2).max(LATE_AT_LEAST);
        self.turns.retain(|at| now <= *at + late);
        match (self.turns.front(), self.again_at.filter(|at| *at > now)) {
            (Some(at), _) if *at <= now => Leave::Turn,
            (Some(at), _) => Leave::NotBefore(*at),
            (None, Some(again)) => Leave::NotBefore(again),
            (None, None) if self.asking => Leave::Wait,
            (None, None) => Leave::Ask(TurnsAsked {
                share: around.share,
                interval: around.interval,
                wanted: wanted(around.interval),
            }),
        }
    }

    /// The turn was used.
    pub(super) fn used(&mut self) {
        self.turns.pop_front();
    }

    /// A question for turns is put at `now`: from here on the others may count on this node.
    pub(super) fn asks(&mut self, now: Instant) {
        self.counted_on_until = self.counted_on_until.max(Some(now + COUNTED_ON_FOR));
    }

    /// What came of it.
    pub(super) fn got(&mut self, turns: Option<Turns>, now: Instant) {
        let Some(turns) = turns else {
            self.again_at = Some(now + ASK_AGAIN);
            return;
        };
        self.apart = turns.apart;
        self.again_at = turns.again_at;
        if turns.at.is_empty() && self.again_at.is_none() {
            self.again_at = Some(now + ASK_AGAIN);
        }
        self.turns.extend(turns.at);
    }

    /// Whether a request may try the service again at `now`.
    pub(super) fn may_probe(&self, around: Around, now: Instant) -> ProbeLeave {
        if around.share >= 1.0 || !around.reachable {
            return ProbeLeave::Go;
        }
        match self.probe {
            Probe::Ours(until) if now < until => ProbeLeave::Go,
            Probe::Theirs(until) if now < until => ProbeLeave::NotBefore(until),
            _ if self.asking => ProbeLeave::Wait,
            _ => ProbeLeave::Ask,
        }
    }

    /// Whether this node is the one; `None` when nobody answers, and then each is.
    pub(super) fn probe_told(&mut self, ours: Option<bool>, now: Instant) {
        self.probe = match ours {
            Some(false) => Probe::Theirs(now + PROBE_AGAIN),
            Some(true) | None => Probe::Ours(now + PROBE_KEPT),
        };
    }

    /// The probe is out, or all is well again: next time it is asked anew.
    pub(super) fn probed(&mut self) {
        self.probe = Probe::Unasked;
    }

    /// Of so many turns by the own pace, how many are to be expected with the others there.
    pub(super) fn expected(turns: usize, around: Around) -> usize {
        if around.share >= 1.0 || !around.reachable {
            return turns;
        }
        let all = u32::try_from(turns).unwrap_or(u32::MAX);
        let ours = (f64::from(all) * around.share.max(0.0)).ceil();
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a u32"
        )]
        let ours = ours as usize;
        ours.min(turns)
    }

    fn forget(&mut self) {
        self.turns.clear();
        self.again_at = None;
    }
}

/// How many turns fall into the time that is asked for ahead.
fn wanted(interval: Duration) -> u32 {
    let fit = AHEAD
        .as_nanos()
        .checked_div(interval.as_nanos())
        .unwrap_or_default();
    u32::try_from(fit).unwrap_or(MOST).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn around(share: f64, reachable: bool) -> Around {
        Around {
            share,
            reachable,
            interval: SECOND,
        }
    }

    fn turns(at: Vec<Instant>) -> Option<Turns> {
        let (apart, again_at) = (SECOND, None);
        Some(Turns { at, apart, again_at })
    }

    #[test]
    fn alone_nobody_is_asked_and_without_a_share_nothing_goes() {
        let (mut portion, now) = (Portion::default(), Instant::now());
        assert_eq!(portion.look(around(1.0, true), now), Leave::Own(1.0));
        assert_eq!(portion.look(around(1.0, false), now), Leave::Own(1.0));
        for reachable in [true, false] {
            assert_eq!(
                portion.look(around(0.0, reachable), now),
                Leave::NotBefore(now + SECOND)
            );
        }
    }

    #[test]
    fn a_turn_is_used_about_its_time_and_lost_afterwards() {
        let (mut portion, now) = (Portion::default(), Instant::now());
        let with = around(0.5, true);
        let Leave::Ask(asked) = portion.look(with, now) else {
            panic!("turns are asked for")
        };
        assert_eq!((asked.wanted, asked.interval), (1, SECOND));
        portion.got(turns(vec![now + SECOND, now + 2 * SECOND]), now);
        assert_eq!(portion.look(with, now), Leave::NotBefore(now + SECOND));
        assert_eq!(portion.look(with, now + SECOND * 3 / 2), Leave::Turn);
        portion.used();
        assert_eq!(
            portion.look(with, now + SECOND * 3 / 2),
            Leave::NotBefore(now + 2 * SECOND)
        );
        let late = now + SECOND * 5 / 2 + Duration::from_millis(1);
        assert!(
            matches!(portion.look(with, late), Leave::Ask(_)),
            "a late turn is lost"
        );
    }

    #[test]
    fn cut_off_it_keeps_still_until_the_others_do_not_count_on_it_any_more() {
        let (mut portion, now) = (Portion::default(), Instant::now());
        portion.asks(now);
        portion.got(turns(vec![now]), now);
        let until = now + COUNTED_ON_FOR;
        assert_eq!(portion.look(around(0.5, false), now), Leave::NotBefore(until));
        assert_eq!(portion.look(around(0.5, false), until), Leave::Own(0.5));
        assert!(
            matches!(portion.look(around(0.5, true), until), Leave::Ask(_)),
            "turns of before are gone"
        );
    }

    #[test]
    fn one_node_tries_it_again_and_without_an_answer_each_does() {
        let (mut portion, now) = (Portion::default(), Instant::now());
        let with = around(0.5, true);
        assert_eq!(portion.may_probe(around(1.0, true), now), ProbeLeave::Go);
        assert_eq!(portion.may_probe(around(0.5, false), now), ProbeLeave::Go);
        assert_eq!(portion.may_probe(with, now), ProbeLeave::Ask);
        portion.probe_told(Some(false), now);
        assert_eq!(
            portion.may_probe(with, now),
            ProbeLeave::NotBefore(now + PROBE_AGAIN)
        );
        assert_eq!(portion.may_probe(with, now + PROBE_AGAIN), ProbeLeave::Ask);
        portion.probe_told(None, now);
        assert_eq!(portion.may_probe(with, now), ProbeLeave::Go);
        portion.probed();
        assert_eq!(portion.may_probe(with, now), ProbeLeave::Ask);
    }

    #[test]
    fn a_fast_service_asks_for_many_turns_and_a_slow_one_for_one() {
        assert_eq!(wanted(Duration::from_secs(36)), 1);
        assert_eq!(wanted(Duration::from_millis(10)), 10);
        assert_eq!(wanted(Duration::from_micros(1)), MOST);
        assert_eq!(wanted(Duration::ZERO), 1);
    }
}
