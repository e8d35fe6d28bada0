//! What senders see, and hearts that stand still.

use super::kit::{Do, Log, Ping, Three, do_to, group, node, settle, start, worker};
use crate::supervision::{ChildSpec, ChildState, Exit, Handle, Restart, SendError, Strategy, Tree};
use actix::prelude::*;
use std::time::Duration;
use tokio::sync::oneshot;

const SEC: Duration = Duration::from_secs(1);

#[actix::test]
async fn only_the_message_in_hand_fails_and_the_queued_ones_are_served_in_order_by_the_successor() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    let b = three.b();
    let (before, boom, one, two) =
        tokio::join!(b.send(Ping), do_to(b, Do::Panic), b.send(Ping), b.send(Ping));
    assert_eq!(before, Ok(1));
    assert_eq!(boom, Err(SendError::Crashed));
    assert_eq!((one, two), (Ok(1), Ok(2)));
}

#[actix::test]
async fn a_full_mailbox_refuses_at_once_and_visibly() {
    let log = Log::default();
    let (x, handle) = worker("x", &log);
    let tree = start(group("root", Strategy::OneForOne, vec![x.capacity(3)])).await;
    assert_eq!(do_to(&handle, Do::Wedge).await, Ok(1));
    for _ in 0..3 {
        assert_eq!(handle.tell(Ping), Ok(()));
    }
    assert_eq!(handle.tell(Ping), Err(SendError::Busy));
    assert_eq!(handle.send(Ping).await, Err(SendError::Busy));
    let mailbox = node(&tree, "x").mailbox.unwrap();
    assert_eq!((mailbox.waiting, mailbox.taken, mailbox.capacity), (3, 3, 3));
}

#[actix::test]
async fn a_mailbox_has_room_again_once_its_messages_are_handled() {
    let log = Log::default();
    let (x, handle) = worker("x", &log);
    let _tree = start(group("root", Strategy::OneForOne, vec![x.capacity(3)])).await;
    for round in 0..100 {
        for _ in 0..3 {
            assert_eq!(handle.tell(Ping), Ok(()), "round {round}");
        }
        settle().await;
    }
}

#[actix::test]
async fn crashes_leak_no_places() {
    let three = Three::with(
        crate::supervision::GroupSpec {
            intensity: super::kit::every(100, 60),
            ..group("root", Strategy::OneForOne, vec![])
        },
        Restart::Permanent,
    )
    .await;
    for what in [
        Do::Panic,
        Do::PanicInFuture,
        Do::PanicInTimer,
        Do::PanicInStream,
        Do::Quit,
    ] {
        let b = three.b();
        let _ = tokio::join!(do_to(b, what), b.send(Ping), b.send(Ping));
        tokio::time::sleep(2 * SEC).await;
    }
    let mailbox = node(&three.tree, "b").mailbox.unwrap();
    assert_eq!((mailbox.waiting, mailbox.taken), (0, 0));
}

// === answers that come later ===

/// Answers when it is told to.
struct Slow;
impl Actor for Slow {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u32")]
struct When(oneshot::Receiver<()>, bool);

impl Handler<When> for Slow {
    type Result = ResponseFuture<u32>;
    fn handle(&mut self, When(go, panics): When, _: &mut Context<Self>) -> Self::Result {
        Box::pin(async move {
            let _ = go.await;
            assert!(!panics, "boom in response");
            7
        })
    }
}

async fn slow(capacity: usize) -> (Tree, Handle<Slow>) {
    let (spec, handle) = ChildSpec::actor("slow", |_| Slow);
    let tree = start(group("root", Strategy::OneForOne, vec![spec.capacity(capacity)])).await;
    (tree, handle)
}

#[actix::test]
async fn a_message_takes_its_place_until_its_answer_has_arrived() {
    let (_tree, handle) = slow(1).await;
    let (go, gone) = oneshot::channel();
    let asking = tokio::task::spawn_local({
        let handle = handle.clone();
        async move { handle.send(When(gone, false)).await }
    });
    settle().await;
    let (_keep, other) = oneshot::channel();
    assert_eq!(handle.send(When(other, false)).await, Err(SendError::Busy));
    let _ = go.send(());
    assert_eq!(asking.await.unwrap(), Ok(7));
    let (go, gone) = oneshot::channel();
    let _ = go.send(());
    assert_eq!(handle.send(When(gone, false)).await, Ok(7));
}

#[actix::test]
async fn a_panic_in_a_response_future_is_answered_and_the_actor_lives() {
    let (tree, handle) = slow(5).await;
    let (go, gone) = oneshot::channel();
    let _ = go.send(());
    assert_eq!(handle.send(When(gone, true)).await, Err(SendError::Crashed));
    assert_eq!(node(&tree, "slow").restarts, 0);
}

#[actix::test]
async fn a_sender_does_not_wait_for_ever() {
    let (spec, handle) = ChildSpec::actor("slow", |_| Slow);
    let spec = spec.answer_within(5 * SEC);
    let _tree = start(group("root", Strategy::OneForOne, vec![spec])).await;
    let began = tokio::time::Instant::now();
    let (_keep, never) = oneshot::channel();
    assert_eq!(handle.send(When(never, false)).await, Err(SendError::TimedOut));
    assert_eq!(began.elapsed().as_secs(), 5);
    let (_keep, never) = oneshot::channel();
    assert_eq!(
        handle.send_within(SEC, When(never, false)).await,
        Err(SendError::TimedOut)
    );
    assert_eq!(began.elapsed().as_secs(), 6);
}

#[actix::test]
async fn a_message_whose_sender_has_gone_before_its_turn_is_not_handled() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    let b = three.b();
    {
        let mut ping = Box::pin(b.send(Ping));
        assert!(futures_util::poll!(&mut ping).is_pending());
    }
    assert_eq!(b.send(Ping).await, Ok(1));
}

#[actix::test]
async fn a_child_refuses_before_its_start_and_after_its_stop() {
    let log = Log::default();
    let (x, handle) = worker("x", &log);
    assert_eq!(handle.send(Ping).await, Err(SendError::Down));
    assert!(!handle.is_open());
    let tree = start(group("root", Strategy::OneForOne, vec![x])).await;
    assert!(handle.is_open());
    assert_eq!(handle.send(Ping).await, Ok(1));
    tree.stop(SEC).await;
    assert_eq!(handle.tell(Ping), Err(SendError::Down));
}

#[actix::test]
async fn ten_thousand_messages_come_through_in_one_go_and_neighbours_get_their_turn() {
    let log = Log::default();
    let (x, hx) = worker("x", &log);
    let (y, hy) = worker("y", &log);
    let _tree = start(group("root", Strategy::OneForOne, vec![x.capacity(10_000), y])).await;
    for _ in 0..9_999 {
        hx.tell(Ping).unwrap();
    }
    assert_eq!(hy.send(Ping).await, Ok(1));
    assert_eq!(hx.send(Ping).await, Ok(10_000));
}

// === hearts ===

async fn after(three: &Three, secs: u32) -> (ChildState, u32) {
    tokio::time::sleep(secs * SEC).await;
    let b = node(&three.tree, "b");
    (b.state, b.restarts)
}

#[actix::test]
async fn a_loop_that_stops_beating_is_replaced_although_its_mailbox_is_served() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    do_to(three.b(), Do::BeatFor(30)).await.unwrap();
    assert_eq!(after(&three, 30).await.1, 0, "it beats");
    for _ in 0..8 {
        assert!(three.b().send(Ping).await.is_ok());
        assert_eq!(after(&three, 1).await.1, 0);
    }
    assert_eq!(after(&three, 5).await, (ChildState::Running, 1));
    let last = node(&three.tree, "b").last_exit.unwrap().exit;
    let Exit::Stuck { silent_ms } = last else {
        panic!("{last:?}")
    };
    assert!((10_000..12_500).contains(&silent_ms), "{silent_ms}");
}

#[actix::test]
async fn an_outage_that_is_waited_for_with_a_deadline_is_no_crash() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    do_to(three.b(), Do::WaitFor(300)).await.unwrap();
    three.b().tell(Ping).unwrap();
    assert_eq!(after(&three, 299).await.1, 0);
    // Nor must an actor that has waited once go on saying so when it has nothing to do.
    assert_eq!(after(&three, 900).await.1, 0);
}

#[actix::test]
async fn a_wedged_child_with_nothing_to_do_is_left_until_a_message_waits() {
    let three = Three::start(Strategy::OneForOne, Restart::Permanent).await;
    do_to(three.b(), Do::Wedge).await.unwrap();
    assert_eq!(after(&three, 600).await.1, 0);
    let began = tokio::time::Instant::now();
    assert_eq!(three.b().send(Ping).await, Ok(1), "served by the successor");
    let took = began.elapsed();
    assert!(took >= 10 * SEC && took < 13 * SEC, "{took:?}");
}

#[actix::test]
async fn children_that_are_stuck_for_ever_never_exceed_the_intensity_by_that_alone() {
    let log = Log::default();
    let (x, handle) = worker("x", &log);
    let root = crate::supervision::GroupSpec {
        intensity: super::kit::every(5, 60),
        ..group("root", Strategy::OneForOne, vec![x])
    };
    let tree = start(root).await;
    for _ in 0..20 {
        assert!(do_to(&handle, Do::Wedge).await.is_ok());
        assert_eq!(handle.send(Ping).await, Ok(1));
    }
    assert_eq!(node(&tree, "x").restarts, 20);
}
