//! The machine alone: rules that hold whatever happens.

use super::super::spec::Strategy;
use super::*;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

const SEC: Duration = Duration::from_secs(1);

fn machine(strategy: Strategy, give_up: GiveUp, restarts: &[Restart], now: Instant) -> Machine {
    let intensity = Intensity {
        restarts: 3,
        within: 60 * SEC,
    };
    let rules = restarts.iter().map(|restart| Rules {
        path: "x".to_owned(),
        restart: *restart,
        shutdown: Some(Shutdown::After(5 * SEC)),
    });
    Machine::new(strategy, intensity, give_up, rules, now)
}

/// The children as a world outside of the machine: who lives, who was asked to stop.
struct World {
    machine: Machine,
    now: Instant,
    alive: Vec<bool>,
    asked: Vec<bool>,
    stops: Vec<usize>,
    ended: Option<Exit>,
    dependent: bool,
}

impl World {
    fn new(strategy: Strategy, give_up: GiveUp, restarts: &[Restart]) -> Self {
        let now = Instant::now();
        let alive = vec![false; restarts.len()];
        let dependent = strategy != Strategy::OneForOne;
        let machine = machine(strategy, give_up, restarts, now);
        Self {
            machine,
            now,
            asked: alive.clone(),
            alive,
            stops: vec![],
            ended: None,
            dependent,
        }
    }

    /// Carries out all steps; children start at once, and stop when `obeys` says so.
    fn run(&mut self, obeys: bool) {
        loop {
            let steps = self.machine.advance(self.now);
            if steps.is_empty() {
                break;
            }
            for step in steps {
                assert_eq!(self.ended, None, "{step:?} after the end");
                match step {
                    Step::Start(child) => {
                        assert!(!self.alive[child], "two lives of one child");
                        assert!(self.machine.closing.is_none(), "a start while closing");
                        if self.dependent {
                            let ready = |slot: &Slot| matches!(slot.phase, Phase::Up | Phase::Finished);
                            assert!(
                                self.machine.slots[..child].iter().all(ready),
                                "started before its base"
                            );
                        }
                        (self.alive[child], self.asked[child]) = (true, false);
                        self.machine.started(child, self.now);
                    }
                    Step::AskStop { child, .. } => {
                        assert!(self.alive[child], "asked a dead child to stop");
                        self.asked[child] = true;
                        self.stops.push(child);
                        if obeys {
                            self.end(child, Exit::Stopped);
                        }
                    }
                    Step::Kill(child) => {
                        assert!(self.alive[child], "killed a dead child");
                        self.end(child, Exit::Killed);
                    }
                    Step::Abandon { child, .. } => panic!("{child} was abandoned although it died"),
                    Step::Ended(exit) => {
                        assert!(
                            self.alive.iter().all(|alive| !alive),
                            "ended above living children"
                        );
                        self.ended = Some(exit);
                    }
                    _ => {}
                }
            }
        }
    }

    fn end(&mut self, child: usize, exit: Exit) {
        self.alive[child] = false;
        self.machine.ended(child, exit, self.now);
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Crash(usize),
    Quit(usize),
    Stuck(usize),
    Pass(u64),
    Stop,
}

fn happening() -> impl Generator<Value = Happening> {
    prop_oneof![
        6 => (0usize..4).prop_map(Happening::Crash),
        2 => (0usize..4).prop_map(Happening::Quit),
        2 => (0usize..4).prop_map(Happening::Stuck),
        6 => (0u64..30_000).prop_map(Happening::Pass),
        1 => Just(Happening::Stop),
    ]
}

fn restart() -> impl Generator<Value = Restart> {
    prop_oneof![
        Just(Restart::Permanent),
        Just(Restart::Transient),
        Just(Restart::Temporary)
    ]
}

fn strategy() -> impl Generator<Value = Strategy> {
    prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Nobody is started twice or before those it relies on, nobody dead is stopped, the end comes after all are
    /// down; and a group that does not give up has, after a minute and a half of peace, everyone up that should be.
    #[test]
    fn order_and_ends_hold_whatever_happens(
        strategy in strategy(),
        parks in any::<bool>(),
        restarts in proptest::collection::vec(restart(), 4),
        happenings in proptest::collection::vec((happening(), any::<bool>()), 0..60),
    ) {
        let give_up = if parks { GiveUp::Park } else { GiveUp::Escalate };
        let mut world = World::new(strategy, give_up, &restarts);
        world.run(true);
        for (what, obeys) in happenings {
            match what {
                Happening::Crash(child) if world.alive[child] => world.end(child, Exit::Lost),
                Happening::Quit(child) if world.alive[child] => world.end(child, Exit::Normal),
                Happening::Stuck(child) if world.alive[child] => {
                    world.machine.stuck(child, Exit::stuck(SEC), world.now);
                }
                Happening::Pass(ms) => world.now += Duration::from_millis(ms),
                Happening::Stop => world.machine.stop(Exit::Stopped),
                _ => {}
            }
            world.run(obeys);
        }
        for _ in 0..90 {
            world.now += SEC;
            world.run(true);
        }
        if world.machine.closing.is_some() {
            prop_assert!(world.ended.is_some(), "it never ends");
        } else {
            for (child, slot) in world.machine.slots.iter().enumerate() {
                let over = slot.phase == Phase::Finished && restarts[child] != Restart::Permanent;
                prop_assert!(world.alive[child] || over, "{child} is {:?}", slot.phase);
            }
        }
    }

    /// The machine never asks to be woken in the past, or it would spin.
    #[test]
    fn it_never_spins(happenings in proptest::collection::vec(happening(), 0..60), parks in any::<bool>()) {
        let give_up = if parks { GiveUp::Park } else { GiveUp::Escalate };
        let mut world = World::new(Strategy::RestForOne, give_up, &[Restart::Permanent; 4]);
        for what in happenings {
            match what {
                Happening::Crash(child) if world.alive[child] => world.end(child, Exit::Lost),
                Happening::Pass(ms) => world.now += Duration::from_millis(ms),
                _ => {}
            }
            world.run(false);
            prop_assert!(world.machine.wake_at(world.now).is_none_or(|at| at > world.now));
        }
    }
}

#[test]
fn stops_go_up_one_at_a_time_and_each_has_its_limit() {
    let mut world = World::new(Strategy::OneForOne, GiveUp::Escalate, &[Restart::Permanent; 3]);
    world.run(true);
    world.machine.stop(Exit::Stopped);
    world.run(false);
    assert_eq!(world.stops, [2]);
    world.now += 5 * SEC;
    world.run(false);
    assert_eq!(world.stops, [2, 1], "the first was killed after its limit");
    world.end(1, Exit::Stopped);
    world.run(true);
    assert_eq!(world.stops, [2, 1, 0]);
    assert_eq!(world.ended, Some(Exit::Stopped));
}

#[test]
fn a_child_that_does_not_notice_being_killed_is_abandoned_and_the_stop_goes_on() {
    let now = Instant::now();
    let mut machine = machine(Strategy::OneForOne, GiveUp::Escalate, &[Restart::Permanent], now);
    assert_eq!(machine.advance(now), [Step::Start(0)]);
    machine.started(0, now);
    machine.kill_all();
    assert_eq!(machine.advance(now), [Step::Kill(0)]);
    assert_eq!(machine.wake_at(now), Some(now + GRACE));
    assert_eq!(
        machine.advance(now + GRACE),
        [
            Step::Abandon {
                child: 0,
                exit: Exit::Lost
            },
            Step::Close(0),
            Step::Ended(Exit::Killed)
        ]
    );
}

#[test]
fn a_stuck_child_on_a_blocked_arbiter_is_abandoned_and_restarted() {
    let now = Instant::now();
    let mut machine = machine(Strategy::OneForOne, GiveUp::Escalate, &[Restart::Permanent], now);
    machine.advance(now);
    machine.started(0, now);
    machine.advance(now);
    machine.stuck(0, Exit::stuck(SEC), now);
    assert_eq!(machine.advance(now), [Step::Kill(0)]);
    let steps = machine.advance(now + GRACE);
    let at = now + GRACE;
    let exit = Exit::stuck(SEC);
    assert_eq!(
        steps,
        [
            Step::Abandon { child: 0, exit },
            Step::Restarting { child: 0, at },
            Step::Start(0)
        ]
    );
}
