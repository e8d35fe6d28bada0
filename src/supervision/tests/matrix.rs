//! The matrix: restart type × exit × strategy, by name, on paused time.
//!
//! Three workers `a`, `b`, `c`; `b` has the restart type and comes to its end. A started life is `+name`, an orderly
//! stop `-name`; a panicked or replaced actor says nothing when it goes.

use super::kit::{Do, Ping, Three, do_to, node, settle};
use crate::supervision::{ChildState, Exit, Restart, SendError, Strategy};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq)]
enum End {
    Normal,
    Panic,
    Stuck,
}

/// What must be seen when `b` is started again.
fn restarted(strategy: Strategy, end: End) -> Vec<&'static str> {
    let mut log = if end == End::Normal { vec!["-b"] } else { vec![] };
    log.extend(match strategy {
        Strategy::OneForOne => vec!["+b"],
        Strategy::RestForOne => vec!["-c", "+b", "+c"],
        Strategy::OneForAll => vec!["-c", "-a", "+a", "+b", "+c"],
    });
    log
}

async fn check(strategy: Strategy, restart: Restart, end: End, comes_back: bool) {
    let three = Three::start(strategy, restart).await;
    for handle in &three.handles {
        assert_eq!(handle.send(Ping).await, Ok(1));
    }
    match end {
        End::Normal => assert_eq!(do_to(three.b(), Do::Quit).await, Ok(2)),
        End::Panic => assert_eq!(do_to(three.b(), Do::Panic).await, Err(SendError::Crashed)),
        End::Stuck => {
            assert_eq!(do_to(three.b(), Do::Wedge).await, Ok(2));
            three.b().tell(Ping).unwrap(); // something must wait, or nobody is hurt
            tokio::time::sleep(Duration::from_secs(13)).await;
        }
    }
    settle().await;

    let log = three.log.take();
    let b = node(&three.tree, "b");
    let own = if end == End::Normal { vec!["-b"] } else { vec![] };
    if !comes_back {
        assert_eq!(log, own);
        assert_eq!(b.state, ChildState::Stopped);
        assert_eq!(three.b().send(Ping).await, Err(SendError::Down));
        assert_eq!(b.restarts, 0);
    } else {
        assert_eq!(log, restarted(strategy, end));
        assert_eq!((b.state, b.restarts), (ChildState::Running, 1));
        // Fresh state; and what waited in the wedged one's mailbox was served.
        assert_eq!(
            three.b().send(Ping).await,
            Ok(if end == End::Stuck { 2 } else { 1 })
        );
    }
    match (end, b.last_exit.unwrap().exit) {
        (End::Normal, Exit::Normal) | (End::Stuck, Exit::Stuck { .. }) => {}
        (End::Panic, Exit::Panic { message, location }) => {
            assert_eq!(message, "boom");
            assert!(location.contains("kit.rs:"), "{location}");
        }
        (_, other) => panic!("ended as {other:?}"),
    }
    // Those that the strategy does not name keep their state.
    let a_kept = !comes_back || strategy != Strategy::OneForAll;
    let c_kept = !comes_back || strategy == Strategy::OneForOne;
    assert_eq!(three.handles[0].send(Ping).await, Ok(if a_kept { 2 } else { 1 }));
    assert_eq!(three.handles[2].send(Ping).await, Ok(if c_kept { 2 } else { 1 }));
}

macro_rules! matrix {
    ($strategy:ident, $module:ident) => {
        mod $module {
            use super::*;
            matrix!($strategy: permanent_normal_restarts, Permanent, Normal, true);
            matrix!($strategy: permanent_panic_restarts, Permanent, Panic, true);
            matrix!($strategy: permanent_stuck_restarts, Permanent, Stuck, true);
            matrix!($strategy: transient_normal_stays_down, Transient, Normal, false);
            matrix!($strategy: transient_panic_restarts, Transient, Panic, true);
            matrix!($strategy: transient_stuck_restarts, Transient, Stuck, true);
            matrix!($strategy: temporary_normal_stays_down, Temporary, Normal, false);
            matrix!($strategy: temporary_panic_stays_down, Temporary, Panic, false);
            matrix!($strategy: temporary_stuck_stays_down, Temporary, Stuck, false);
        }
    };
    ($strategy:ident: $name:ident, $restart:ident, $end:ident, $back:literal) => {
        #[actix::test]
        async fn $name() {
            check(Strategy::$strategy, Restart::$restart, End::$end, $back).await;
        }
    };
}

matrix!(OneForOne, one_for_one);
matrix!(OneForAll, one_for_all);
matrix!(RestForOne, rest_for_one);
