//! Faults on order (feature `failpoints`), and that the rest goes on.

use super::kit::{Ping, Three, node, settle};
use crate::supervision::{ChildState, DynamicSpec, Exit, Fault, Restart, Roster, SendError, Strategy};
use std::time::Duration;

async fn three() -> Three {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    for handle in &three.handles {
        assert_eq!(handle.send(Ping).await, Ok(1));
    }
    three
}

async fn neighbours_kept_their_state(three: &Three) {
    assert_eq!(three.handles[0].send(Ping).await, Ok(2));
    assert_eq!(three.handles[2].send(Ping).await, Ok(2));
}

#[actix::test]
async fn an_ordered_panic_is_restarted() {
    let three = three().await;
    three.tree.fault("b", Fault::Panic).unwrap();
    settle().await;
    let b = node(&three.tree, "b");
    assert_eq!((b.state, b.restarts), (ChildState::Running, 1));
    assert!(b.last_exit.unwrap().text.contains("a panic was ordered"));
    neighbours_kept_their_state(&three).await;
}

#[actix::test]
async fn an_ordered_wedge_is_replaced_once_a_message_has_waited() {
    let three = three().await;
    three.tree.fault("b", Fault::Wedge).unwrap();
    settle().await;
    assert_eq!(three.b().send(Ping).await, Ok(1));
    assert!(matches!(
        node(&three.tree, "b").last_exit.unwrap().exit,
        Exit::Stuck { .. }
    ));
    neighbours_kept_their_state(&three).await;
}

#[actix::test]
async fn an_ordered_flood_is_refused_visibly_and_passes() {
    let three = three().await;
    three.tree.fault("b", Fault::Fill).unwrap();
    settle().await;
    assert_eq!(three.b().send(Ping).await, Err(SendError::Busy));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(three.b().send(Ping).await, Ok(2), "nothing was lost");
    neighbours_kept_their_state(&three).await;
}

#[actix::test]
async fn a_path_that_is_none_is_answered_with_those_there_are() {
    let three = three().await;
    let error = three.tree.fault("patrol", Fault::Panic).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no actor has the path `patrol`; there are: a, b, c"
    );
}

#[actix::test]
async fn a_dynamic_child_has_faults_too() {
    let (events, mut told) = tokio::sync::mpsc::unbounded_channel();
    let log = super::kit::Log::default();
    let own = log.clone();
    let roster = Roster::new(
        DynamicSpec::default(),
        move |key: &u32| super::kit::Worker::new(&key.to_string(), &own),
        events,
    );
    let one = roster.spawn(1, &actix::Arbiter::current());
    assert_eq!(one.send(Ping).await, Ok(1));
    assert!(roster.fault(&1, Fault::Panic));
    assert!(!roster.fault(&2, Fault::Panic));
    assert!(told.recv().await.is_some());
    assert_eq!(one.send(Ping).await, Ok(1));
}
