//! Groups: order, intensity, escalation, parking, stopping, and every place a panic can come from.

use super::kit::{Do, Log, Ping, Three, Worker, do_to, every, group, node, settle, start, worker};
use crate::supervision::{
    ChildSpec, ChildState, Exit, Fate, GiveUp, GroupSpec, Life, Restart, SendError, Shutdown, StartError,
    Strategy, Tree, TreeEventKind, TreeOptions,
};
use actix::prelude::*;
use std::time::Duration;
use tokio::time::Instant;

const SEC: Duration = Duration::from_secs(1);

// === intensity and escalation ===

/// Crashes `b` once and lets it come back, however long its delay.
async fn crash_b(three: &Three) {
    assert_eq!(do_to(three.b(), Do::Panic).await, Err(SendError::Crashed));
    tokio::time::sleep(2 * SEC).await;
}

#[actix::test]
async fn as_many_restarts_as_allowed_are_made() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    for _ in 0..3 {
        crash_b(&three).await;
    }
    assert_eq!(node(&three.tree, "b").restarts, 3);
    assert_eq!(three.b().send(Ping).await, Ok(1));
}

#[actix::test]
async fn one_restart_more_ends_the_tree_with_the_reason() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    for _ in 0..4 {
        crash_b(&three).await;
    }
    let Exit::GaveUp {
        child,
        restarts,
        last,
    } = three.tree.ended().await
    else {
        panic!("another reason")
    };
    assert_eq!((child.as_str(), restarts), ("b", 3));
    assert!(matches!(*last, Exit::Panic { .. }));
    // In reverse order, each once; `b` was down already.
    assert_eq!(three.log.take(), ["+b", "+b", "+b", "-c", "-a"]);
    assert_eq!(three.handles[0].send(Ping).await, Err(SendError::Down));
}

#[actix::test]
async fn restarts_older_than_the_period_do_not_count() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    for _ in 0..12 {
        crash_b(&three).await;
        tokio::time::sleep(20 * SEC).await;
    }
    assert_eq!(node(&three.tree, "b").restarts, 12);
}

#[actix::test]
async fn a_group_that_gives_up_is_restarted_by_its_parent_with_all_its_children() {
    let log = Log::default();
    let (x, hx) = worker("x", &log);
    let (y, hy) = worker("y", &log);
    let inner = GroupSpec {
        intensity: every(1, 60),
        ..group("inner", Strategy::OneForOne, vec![x, y])
    };
    let (z, hz) = worker("z", &log);
    let tree = start(group(
        "root",
        Strategy::OneForOne,
        vec![ChildSpec::group(inner), z],
    ))
    .await;
    assert_eq!(log.take(), ["+x", "+y", "+z"]);
    assert_eq!(hz.send(Ping).await, Ok(1));
    for _ in 0..2 {
        assert_eq!(do_to(&hx, Do::Panic).await, Err(SendError::Crashed));
        settle().await;
    }
    assert_eq!(log.take(), ["+x", "-y", "+x", "+y"]);
    let inner = node(&tree, "inner");
    assert_eq!(
        (inner.state, inner.restarts, inner.degraded),
        (ChildState::Running, 1, false)
    );
    assert!(matches!(inner.last_exit.unwrap().exit, Exit::GaveUp { child, .. } if child == "inner/x"));
    // All reached by their old handles; the neighbour has kept its state.
    assert_eq!(hx.send(Ping).await, Ok(1));
    assert_eq!(hy.send(Ping).await, Ok(1));
    assert_eq!(hz.send(Ping).await, Ok(2));
}

#[actix::test]
async fn levels_multiply_until_the_root_gives_up() {
    let log = Log::default();
    let (x, hx) = worker("x", &log);
    let inner = GroupSpec {
        intensity: every(1, 60),
        ..group("inner", Strategy::OneForOne, vec![x])
    };
    let root = GroupSpec {
        intensity: every(2, 600),
        ..group("root", Strategy::OneForOne, vec![ChildSpec::group(inner)])
    };
    let tree = start(root).await;
    let mut crashes = 0;
    while tokio::time::timeout(SEC, tree.ended()).await.is_err() {
        let _ = do_to(&hx, Do::Panic).await;
        crashes += 1;
    }
    // Two per life of the group (one restart each), three lives.
    assert_eq!(crashes, 6);
    assert_eq!(log.starts_of("x"), 6);
}

#[actix::test]
async fn the_first_restart_is_at_once_and_later_ones_wait_longer() {
    let three = Three::with(
        GroupSpec {
            intensity: every(10, 600),
            ..group("root", Strategy::OneForOne, vec![])
        },
        Restart::Permanent,
    )
    .await;
    let mut waits = Vec::new();
    for n in 1..=5 {
        let began = Instant::now();
        let _ = do_to(three.b(), Do::Panic).await;
        while three.log.starts_of("b") < n {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waits.push(began.elapsed().as_millis() / 10 * 10);
    }
    assert_eq!(waits, [0, 100, 200, 400, 800]);
}

// === parking ===

fn parking(strategy: Strategy) -> GroupSpec {
    GroupSpec {
        give_up: GiveUp::Park,
        intensity: every(1, 60),
        ..group("root", strategy, vec![])
    }
}

#[actix::test]
async fn a_child_that_crashes_too_often_is_parked_and_its_neighbours_run_on() {
    let three = Three::with(parking(Strategy::OneForOne), Restart::Permanent).await;
    crash_b(&three).await;
    three.b().tell(Ping).unwrap();
    let in_hand = do_to(three.b(), Do::Panic);
    let waiting = three.b().send(Ping);
    let (in_hand, waiting) = tokio::join!(in_hand, waiting);
    assert_eq!(in_hand, Err(SendError::Crashed));
    assert_eq!(waiting, Err(SendError::Down), "it would wait for a minute");
    let b = node(&three.tree, "b");
    assert_eq!((b.state, b.degraded), (ChildState::Parked, true));
    assert!(b.retry_in_ms.unwrap() > 4_900 && b.last_exit.is_some());
    let root = three.tree.report().root;
    assert!(root.degraded && root.state == ChildState::Running);
    assert_eq!(three.b().send(Ping).await, Err(SendError::Down));
    // The neighbours: alive, and their own first crash is not held against them.
    assert_eq!(do_to(&three.handles[0], Do::Panic).await, Err(SendError::Crashed));
    assert_eq!(three.handles[0].send(Ping).await, Ok(1));
    assert_eq!(three.handles[2].send(Ping).await, Ok(1));
}

#[actix::test]
async fn a_parked_child_is_tried_after_5_10_20_40_60_60_seconds() {
    let log = Log::default();
    let starts = log.clone();
    let (b, _) = ChildSpec::actor("b", move |_| Worker::new("b", &starts).panicking_in("started"));
    tokio::time::pause();
    let began = Instant::now();
    let spec = GroupSpec {
        children: vec![b],
        ..parking(Strategy::OneForOne)
    };
    let _tree = Tree::start(spec, TreeOptions::default()).unwrap();
    let mut at = Vec::new();
    while at.len() < 8 {
        if log.starts_of("b") > at.len() {
            at.push(began.elapsed().as_secs_f32().round());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(at, [0.0, 0.0, 5.0, 15.0, 35.0, 75.0, 135.0, 195.0]);
}

#[actix::test]
async fn a_parked_child_that_has_lived_a_period_starts_over() {
    let three = Three::with(parking(Strategy::OneForOne), Restart::Permanent).await;
    crash_b(&three).await;
    crash_b(&three).await;
    assert_eq!(node(&three.tree, "b").state, ChildState::Parked);
    tokio::time::sleep(5 * SEC).await;
    assert_eq!(node(&three.tree, "b").state, ChildState::Running);
    tokio::time::sleep(61 * SEC).await;
    crash_b(&three).await;
    assert_eq!(
        node(&three.tree, "b").state,
        ChildState::Running,
        "one crash is allowed again"
    );
    crash_b(&three).await;
    assert_eq!(node(&three.tree, "b").state, ChildState::Parked);
    assert!(
        node(&three.tree, "b").retry_in_ms.unwrap() <= 5_000,
        "and the waits begin anew"
    );
}

#[actix::test]
async fn one_crash_on_trial_parks_again() {
    let three = Three::with(parking(Strategy::OneForOne), Restart::Permanent).await;
    crash_b(&three).await;
    crash_b(&three).await;
    tokio::time::sleep(5 * SEC).await;
    crash_b(&three).await;
    let b = node(&three.tree, "b");
    assert_eq!(b.state, ChildState::Parked);
    assert!(b.retry_in_ms.unwrap() > 5_000);
}

#[actix::test]
async fn those_that_rely_on_a_parked_child_wait_with_it() {
    let three = Three::with(parking(Strategy::RestForOne), Restart::Permanent).await;
    crash_b(&three).await;
    three.log.take();
    crash_b(&three).await;
    assert_eq!(three.log.take(), ["-c"]);
    assert_eq!(node(&three.tree, "c").state, ChildState::Parked);
    assert_eq!(three.handles[2].send(Ping).await, Err(SendError::Down));
    assert_eq!(three.handles[0].send(Ping).await, Ok(1));
    tokio::time::sleep(5 * SEC).await;
    assert_eq!(three.log.take(), ["+b", "+c"]);
}

// === order ===

#[actix::test]
async fn start_goes_down_the_list_and_stop_goes_up() {
    let log = Log::default();
    let of = |name: &str| worker(name, &log).0;
    let tree = start(group(
        "root",
        Strategy::RestForOne,
        vec![
            of("a"),
            ChildSpec::group(group("g", Strategy::OneForOne, vec![of("b"), of("c")])),
            ChildSpec::group(group("h", Strategy::OneForAll, vec![of("d")])),
            of("e"),
        ],
    ))
    .await;
    assert_eq!(log.take(), ["+a", "+b", "+c", "+d", "+e"]);
    let report = tree.stop(60 * SEC).await;
    assert_eq!(log.take(), ["-e", "-d", "-c", "-b", "-a"]);
    assert_eq!(report.leftovers, []);
    assert_eq!(tree.ended().await, Exit::Stopped);
}

#[actix::test]
async fn nothing_is_started_before_those_it_relies_on_are_up() {
    tokio::time::pause();
    let log = Log::default();
    let mut tries = 0;
    let starts = log.clone();
    let tries_left = parking_lot::Mutex::new(2);
    let (shaky, _) = ChildSpec::actor("shaky", move |_| {
        let mut left = tries_left.lock();
        if *left > 0 {
            *left -= 1;
            panic!("not yet");
        }
        Worker::new("shaky", &starts)
    });
    let (after, handle) = worker("after", &log);
    let tree = Tree::start(
        group("root", Strategy::RestForOne, vec![shaky, after]),
        TreeOptions::default(),
    )
    .unwrap();
    while log.starts_of("shaky") == 0 {
        assert_eq!(handle.send(Ping).await, Err(SendError::Down), "not started yet");
        tries += 1;
        settle().await;
    }
    tree.opened().await.unwrap();
    assert!(tries > 50, "the second restart waits 100 ms");
    assert_eq!(log.take(), ["+shaky", "+after"]);
    assert_eq!(node(&tree, "shaky").restarts, 2);
}

#[actix::test]
async fn under_one_for_one_a_child_that_cannot_start_does_not_hold_up_the_others() {
    let log = Log::default();
    let (broken, _) = ChildSpec::actor("broken", |_| -> Worker { panic!("never") });
    let (fine, handle) = worker("fine", &log);
    let spec = GroupSpec {
        children: vec![broken, fine],
        ..parking(Strategy::OneForOne)
    };
    let tree = start(spec).await;
    assert_eq!(handle.send(Ping).await, Ok(1));
    settle().await;
    assert_eq!(node(&tree, "broken").state, ChildState::Parked);
}

// === stopping ===

/// Needs a second to put its things away when it is asked to stop.
struct Tidy(Log, Life);
impl Actor for Tidy {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Context<Self>) {
        let asked = self.1.stopping();
        let tidy = async move {
            asked.cancelled().await;
            tokio::time::sleep(SEC).await;
        };
        ctx.spawn(tidy.into_actor(self).map(|(), this, ctx| {
            this.0.add("tidied");
            ctx.stop();
        }));
    }
}

#[actix::test]
async fn a_child_that_listens_finishes_what_it_must() {
    let log = Log::default();
    let own = log.clone();
    let (tidy, _) = ChildSpec::actor("tidy", move |life| Tidy(own.clone(), life.clone()));
    let tree = start(group("root", Strategy::OneForOne, vec![tidy])).await;
    let report = tree.stop(60 * SEC).await;
    assert_eq!(log.take(), ["tidied"]);
    assert_eq!((report.took_ms / 100, report.leftovers), (10, vec![]));
}

#[actix::test]
async fn a_child_that_does_not_stop_is_ended_after_its_limit_and_named() {
    let log = Log::default();
    let (a, _) = worker("a", &log);
    let own = log.clone();
    let (b, _) = ChildSpec::actor("b", move |_| Worker::new("b", &own).panicking_in("never stops"));
    let (c, _) = worker("c", &log);
    let b = b.shutdown(Shutdown::After(3 * SEC));
    let tree = start(group("root", Strategy::OneForOne, vec![a, b, c])).await;
    log.take();
    let report = tree.stop(60 * SEC).await;
    assert_eq!(log.take(), ["-c", "-a"]);
    assert_eq!(report.took_ms / 100, 30);
    assert_eq!(report.leftovers.len(), 1);
    assert_eq!(
        (report.leftovers[0].path.as_str(), report.leftovers[0].fate),
        ("b", Fate::Killed)
    );
    assert_eq!(node(&tree, "b").last_exit.unwrap().exit, Exit::Killed);
}

#[actix::test]
async fn the_limit_of_the_whole_stop_stands_above_the_childrens() {
    let log = Log::default();
    let stubborn = |name: &'static str| {
        let own = log.clone();
        let (spec, _) = ChildSpec::actor(name, move |_| Worker::new(name, &own).panicking_in("never stops"));
        spec.shutdown(Shutdown::After(3_600 * SEC))
    };
    let inner = group("inner", Strategy::OneForOne, vec![stubborn("x"), stubborn("y")]);
    let tree = start(group(
        "root",
        Strategy::OneForOne,
        vec![ChildSpec::group(inner), stubborn("z")],
    ))
    .await;
    let report = tree.stop(10 * SEC).await;
    assert!(report.took_ms < 10_100, "{}", report.took_ms);
    let mut names: Vec<&str> = report.leftovers.iter().map(|left| left.path.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["inner/x", "inner/y", "z"]);
}

#[actix::test]
async fn an_immediate_child_is_not_asked() {
    let log = Log::default();
    let (a, _) = worker("a", &log);
    let tree = start(group(
        "root",
        Strategy::OneForOne,
        vec![a.shutdown(Shutdown::Immediate)],
    ))
    .await;
    assert_eq!(tree.stop(60 * SEC).await.took_ms, 0);
    assert_eq!(log.take(), ["+a"], "no `stopped` was run");
}

#[actix::test]
async fn a_second_stop_and_a_stop_before_the_start_are_fine() {
    tokio::time::pause();
    let log = Log::default();
    let (a, _) = worker("a", &log);
    let tree = Tree::start(
        group("root", Strategy::OneForOne, vec![a]),
        TreeOptions::default(),
    )
    .unwrap();
    let (one, other) = tokio::join!(tree.stop(60 * SEC), tree.stop(60 * SEC));
    assert_eq!((one.leftovers, other.leftovers), (vec![], vec![]));
    assert_eq!(tree.stop(60 * SEC).await.took_ms, 0);
}

#[actix::test]
async fn a_dropped_tree_takes_its_children_with_it() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    let [a, ..] = three.handles.clone();
    drop(three.tree);
    settle().await;
    assert_eq!(a.send(Ping).await, Err(SendError::Down));
}

#[actix::test]
async fn stop_is_obeyed_while_a_child_waits_for_its_restart() {
    let three = Three::with(parking(Strategy::OneForAll), Restart::Permanent).await;
    crash_b(&three).await;
    crash_b(&three).await;
    assert_eq!(node(&three.tree, "b").state, ChildState::Parked);
    assert_eq!(three.tree.stop(60 * SEC).await.took_ms, 0);
}

// === where panics come from ===

async fn comes_back_after(what: Do) {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    let _ = do_to(three.b(), what).await;
    settle().await;
    settle().await;
    let b = node(&three.tree, "b");
    assert!(matches!(b.last_exit.unwrap().exit, Exit::Panic { .. }));
    assert_eq!(three.b().send(Ping).await, Ok(1));
}

#[actix::test]
async fn a_panic_in_a_handler_is_noticed() {
    comes_back_after(Do::Panic).await;
}

#[actix::test]
async fn a_panic_in_an_actor_future_is_noticed() {
    comes_back_after(Do::PanicInFuture).await;
}

#[actix::test]
async fn a_panic_in_a_timer_is_noticed() {
    comes_back_after(Do::PanicInTimer).await;
}

#[actix::test]
async fn a_panic_in_a_stream_is_noticed() {
    comes_back_after(Do::PanicInStream).await;
}

/// A worker whose first life panics at `place`, and what it is told.
async fn first_life_panics_in(place: &'static str, what: Option<Do>) {
    let log = Log::default();
    let own = log.clone();
    let first = std::sync::atomic::AtomicBool::new(true);
    let (spec, handle) = ChildSpec::actor("x", move |_| {
        let first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        let worker = Worker::new("x", &own);
        if first { worker.panicking_in(place) } else { worker }
    });
    let tree = start(group("root", Strategy::OneForOne, vec![spec])).await;
    if let Some(what) = what {
        let _ = do_to(&handle, what).await;
    }
    settle().await;
    assert_eq!(handle.send(Ping).await, Ok(1));
    assert_eq!(log.starts_of("x"), 2);
    let last = node(&tree, "x").last_exit.unwrap();
    if what == Some(Do::Panic) {
        assert!(
            last.text.ends_with(": boom"),
            "the first panic counts: {}",
            last.text
        );
    } else {
        assert!(last.text.ends_with(&format!("boom in {place}")), "{}", last.text);
    }
}

#[actix::test]
async fn a_panic_in_started_is_noticed() {
    first_life_panics_in("started", None).await;
}

#[actix::test]
async fn a_panic_in_stopping_is_noticed_and_does_not_abort() {
    first_life_panics_in("stopping", Some(Do::Quit)).await;
}

#[actix::test]
async fn a_panic_in_stopped_is_noticed_and_does_not_abort() {
    first_life_panics_in("stopped", Some(Do::Quit)).await;
}

#[actix::test]
async fn a_panic_in_drop_is_noticed_and_does_not_abort() {
    first_life_panics_in("drop", Some(Do::Quit)).await;
}

#[actix::test]
async fn a_panic_in_drop_after_one_in_a_handler_does_not_abort() {
    first_life_panics_in("drop", Some(Do::Panic)).await;
}

// === specs and reports ===

#[actix::test]
async fn everything_wrong_with_a_tree_is_said_at_once_and_nothing_is_started() {
    let log = Log::default();
    let of = |name: &str| worker(name, &log).0;
    let inner = GroupSpec {
        intensity: every(5, 0),
        ..group("in ner", Strategy::OneForOne, vec![of("x/y"), of("")])
    };
    let spec = group(
        "root",
        Strategy::OneForOne,
        vec![
            of("a").capacity(0),
            of("a")
                .stuck_after(Duration::ZERO)
                .shutdown(Shutdown::After(Duration::ZERO)),
            ChildSpec::group(inner).capacity(5),
        ],
    );
    let Err(StartError::Specs(problems)) = Tree::start(spec, TreeOptions::default()) else {
        panic!("accepted")
    };
    let found: Vec<String> = problems
        .iter()
        .map(|p| format!("{} {}", p.path, p.field))
        .collect();
    assert_eq!(
        found,
        [
            "a capacity",
            "a name",
            "a stuck_after",
            "a shutdown",
            "in ner name",
            "in ner capacity",
            "in ner intensity",
            "in ner/x/y name",
            "in ner/ name",
        ]
    );
    settle().await;
    assert!(log.take().is_empty());
}

#[actix::test]
async fn the_tree_tells_what_happens_in_it() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    let mut events = three.tree.subscribe();
    let _ = do_to(three.b(), Do::Panic).await;
    let restarting = events.recv().await.unwrap();
    assert_eq!(restarting.path, "b");
    assert!(matches!(
        restarting.what,
        TreeEventKind::Restarting {
            exit: Exit::Panic { .. },
            after_ms: 0
        }
    ));
    assert!(matches!(
        events.recv().await.unwrap().what,
        TreeEventKind::Up { restarts: 1 }
    ));
}

#[actix::test]
async fn a_report_is_readable_by_programs() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    tokio::time::sleep(5 * SEC).await;
    let _ = do_to(three.b(), Do::Panic).await;
    settle().await;
    let json = serde_json::to_value(three.tree.report()).unwrap();
    let child = |n: usize| &json["root"]["children"][n];
    assert_eq!(child(0)["path"], "a");
    assert_eq!(child(0)["uptime_ms"].as_u64().unwrap() / 100, 50);
    assert_eq!(
        child(0)["mailbox"],
        serde_json::json!({"waiting": 0, "taken": 0, "capacity": 1024})
    );
    assert_eq!(child(1)["state"], "running");
    assert_eq!(child(1)["restarts"], 1);
    assert_eq!(child(1)["last_exit"]["exit"]["kind"], "panic");
    assert_eq!(json["root"]["degraded"], false);
    assert_eq!(json["arbiters"][0]["silent_ms"], 0);
}
