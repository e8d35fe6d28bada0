//! Dynamic children, each counted for itself.

use crate::supervision::{DynHandle, DynamicSpec, Exit, Life, Roster, RosterCounts, RosterEvent, SendError};
use actix::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

const SEC: Duration = Duration::from_secs(1);

/// About as large as a watcher.
struct Member {
    key: u64,
    handled: u32,
    _payload: [u64; 10],
}

impl Actor for Member {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u32")]
enum Tell {
    Count,
    Panic,
    Quit,
    Wedge,
}

impl Handler<Tell> for Member {
    type Result = u32;
    fn handle(&mut self, what: Tell, ctx: &mut Context<Self>) -> u32 {
        self.handled += 1;
        match what {
            Tell::Count => {}
            Tell::Panic => panic!("boom {}", self.key),
            Tell::Quit => ctx.stop(),
            Tell::Wedge => ctx.wait(std::future::pending().into_actor(self)),
        }
        self.handled
    }
}

fn member(key: &u64) -> Member {
    Member {
        key: *key,
        handled: 0,
        _payload: [0; 10],
    }
}

type Events = mpsc::UnboundedReceiver<RosterEvent<u64>>;

fn roster() -> (Roster<u64, Member>, Events) {
    tokio::time::pause();
    let (events, told) = mpsc::unbounded_channel();
    (Roster::new(DynamicSpec::default(), member, events), told)
}

fn of(roster: &Roster<u64, Member>, keys: std::ops::Range<u64>) -> Vec<DynHandle<Member>> {
    keys.map(|key| roster.spawn(key, &Arbiter::current())).collect()
}

async fn crash(handle: &DynHandle<Member>) {
    assert_eq!(handle.send(Tell::Panic).await, Err(SendError::Crashed));
}

#[actix::test]
async fn the_third_crash_in_ten_minutes_is_quarantine_and_the_neighbours_keep_their_state() {
    let (roster, mut events) = roster();
    let handles = of(&roster, 0..1_000);
    for handle in &handles {
        assert_eq!(handle.send(Tell::Count).await, Ok(1));
    }
    let mut waits = vec![];
    for _ in 0..2 {
        crash(&handles[7]).await;
        let Some(RosterEvent::Crashed {
            key: 7,
            exit: Exit::Panic { message, .. },
            after,
        }) = events.recv().await
        else {
            panic!("another event")
        };
        assert_eq!(message, "boom 7");
        waits.push(after.as_millis());
        assert_eq!(
            handles[7].send(Tell::Count).await,
            Ok(1),
            "fresh state under the old handle"
        );
    }
    assert_eq!(waits, [0, 100]);
    // The message behind the last straw is refused, not left hanging.
    let (straw, behind) = tokio::join!(handles[7].send(Tell::Panic), handles[7].send(Tell::Count));
    assert_eq!((straw, behind), (Err(SendError::Crashed), Err(SendError::Down)));
    let Some(RosterEvent::Quarantined {
        key: 7, crashes: 3, ..
    }) = events.recv().await
    else {
        panic!("another event")
    };
    assert_eq!(
        roster.counts(),
        RosterCounts {
            children: 1_000,
            quarantined: 1,
            lost: 0,
            restarts: 2
        }
    );
    assert_eq!(roster.quarantined().len(), 1);
    for handle in handles.iter().filter(|handle| handle.is_open()) {
        assert_eq!(handle.send(Tell::Count).await, Ok(2));
    }
}

#[actix::test]
async fn crashes_far_apart_never_lead_to_quarantine() {
    let (roster, _events) = roster();
    let handles = of(&roster, 0..1);
    for _ in 0..20 {
        crash(&handles[0]).await;
        tokio::time::sleep(301 * SEC).await;
    }
    assert_eq!(roster.counts().quarantined, 0);
    assert_eq!(roster.counts().restarts, 20);
}

#[actix::test]
async fn a_quarantined_child_is_released_with_its_crashes_forgotten() {
    let (roster, _events) = roster();
    let handles = of(&roster, 0..2);
    for _ in 0..3 {
        crash(&handles[0]).await;
        tokio::time::sleep(SEC).await;
    }
    assert_eq!(handles[0].send(Tell::Count).await, Err(SendError::Down));
    // Asking for it again does not smuggle it out.
    assert!(!roster.spawn(0, &Arbiter::current()).is_open());
    assert!(!roster.release_quarantine(&1), "is not in quarantine");
    assert!(roster.release_quarantine(&0));
    assert_eq!(handles[0].send(Tell::Count).await, Ok(1));
    assert_eq!(roster.counts().quarantined, 0);
    crash(&handles[0]).await;
    assert_eq!(
        handles[0].send(Tell::Count).await,
        Ok(1),
        "one crash is one again"
    );
}

#[actix::test]
async fn a_factory_that_panics_counts_as_a_crash() {
    tokio::time::pause();
    let (events, mut told) = mpsc::unbounded_channel();
    let bad = |key: &u64| if *key == 3 { panic!("no row") } else { member(key) };
    let roster = Roster::new(DynamicSpec::default(), bad, events);
    let handles = of(&roster, 0..5);
    loop {
        if let RosterEvent::Quarantined { key, exit, .. } = told.recv().await.unwrap() {
            assert_eq!(key, 3);
            assert!(exit.to_string().ends_with("no row"));
            break;
        }
    }
    assert_eq!(handles[4].send(Tell::Count).await, Ok(1));
}

#[actix::test]
async fn a_child_that_is_taken_out_ends_and_its_senders_hear_it() {
    let (roster, mut events) = roster();
    let handles = of(&roster, 0..3);
    assert_eq!(handles[1].send(Tell::Wedge).await, Ok(1));
    let waiting = handles[1].send(Tell::Count);
    let (gone, answer) = futures_util::future::join(async { roster.remove(&1) }, waiting).await;
    assert!(gone);
    assert_eq!(answer, Err(SendError::Down));
    assert!(!roster.remove(&1));
    assert!(roster.get(&1).is_none() && roster.get(&2).is_some());
    assert_eq!(roster.counts().children, 2);
    // The same key again is another child.
    let again = roster.spawn(1, &Arbiter::current());
    assert_eq!(again.send(Tell::Count).await, Ok(1));
    assert_eq!(handles[1].send(Tell::Count).await, Err(SendError::Down));
    assert_eq!(handles[0].send(Tell::Quit).await, Ok(1));
    assert_eq!(events.recv().await, Some(RosterEvent::Left { key: 0 }));
    assert_eq!(roster.counts().children, 2);
}

#[actix::test]
async fn the_children_end_with_their_roster() {
    let (roster, _events) = roster();
    let handles = of(&roster, 0..3);
    assert_eq!(handles[0].send(Tell::Count).await, Ok(1));
    drop(roster.clone());
    assert_eq!(handles[0].send(Tell::Count).await, Ok(2));
    drop(roster);
    assert_eq!(handles[0].send(Tell::Count).await, Err(SendError::Down));
}

#[actix::test]
async fn a_wedged_child_is_replaced_when_somebody_has_waited_for_it() {
    let (roster, mut events) = roster();
    let handles = of(&roster, 0..2);
    assert_eq!(handles[0].send(Tell::Wedge).await, Ok(1));
    let began = Instant::now();
    assert_eq!(handles[0].send(Tell::Count).await, Err(SendError::TimedOut));
    assert_eq!(began.elapsed().as_secs(), 60);
    let Some(RosterEvent::Crashed {
        key: 0,
        exit: Exit::Stuck { silent_ms },
        ..
    }) = events.recv().await
    else {
        panic!("another event")
    };
    assert!(silent_ms >= 60_000);
    assert_eq!(handles[0].send(Tell::Count).await, Ok(1));
    assert_eq!(handles[1].send(Tell::Count).await, Ok(1));
}

#[test]
fn children_of_a_lost_arbiter_are_reported_and_go_on_elsewhere_under_their_handles() {
    System::new().block_on(async {
        let (events, mut told) = mpsc::unbounded_channel();
        let roster = Roster::new(DynamicSpec::default(), member, events);
        let arbiter = Arbiter::new();
        let handles: Vec<_> = (0..3).map(|key| roster.spawn(key, &arbiter.handle())).collect();
        for handle in &handles {
            assert_eq!(handle.send(Tell::Count).await, Ok(1));
        }
        arbiter.stop();
        let mut lost = vec![];
        for _ in 0..3 {
            let Some(RosterEvent::Lost { key }) = told.recv().await else {
                panic!("another event")
            };
            lost.push(key);
        }
        lost.sort_unstable();
        assert_eq!(lost, [0, 1, 2]);
        assert_eq!(roster.counts().lost, 3);
        // A message sent meanwhile waits for the successor.
        let waiting = handles[0].send(Tell::Count);
        let other = Arbiter::new();
        let (answer, _) = tokio::join!(waiting, async { roster.spawn(0, &other.handle()) });
        assert_eq!(answer, Ok(1));
        // One whose arbiter is gone before it gets there is lost at once.
        roster.spawn(9, &arbiter.handle());
        let Some(RosterEvent::Lost { key: 9 }) = told.recv().await else {
            panic!("another event")
        };
        other.stop();
    });
}

#[test]
fn a_roster_lives_on_the_arbiters_of_its_tree() {
    use crate::supervision::{ChildSpec, GiveUp, GroupSpec, Intensity, Strategy, Tree, TreeOptions};
    type Kept = Arc<Mutex<Option<DynHandle<Member>>>>;
    struct Keeper {
        roster: Roster<u64, Member>,
        life: Life,
        kept: Kept,
    }
    impl Actor for Keeper {
        type Context = Context<Self>;
        fn started(&mut self, _: &mut Context<Self>) {
            let arbiter = self.life.arbiter("members").unwrap();
            *self.kept.lock() = Some(self.roster.spawn(1, &arbiter));
        }
    }
    let runtime = Arc::new(
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap(),
    );
    let system = System::with_tokio_rt(|| Arc::clone(&runtime));
    let kept = Kept::default();
    let own = Arc::clone(&kept);
    let (keeper, _handle) = ChildSpec::actor("keeper", move |life| Keeper {
        roster: Roster::new(DynamicSpec::default(), member, mpsc::unbounded_channel().0),
        life: life.clone(),
        kept: Arc::clone(&own),
    });
    let spec = GroupSpec {
        name: "root".to_owned(),
        strategy: Strategy::OneForOne,
        intensity: Intensity {
            restarts: 3,
            within: 60 * SEC,
        },
        give_up: GiveUp::Escalate,
        children: vec![keeper],
    };
    let options = TreeOptions {
        runtime: Some(Arc::clone(&runtime)),
        watchdog: None,
    };
    system.block_on(async {
        let tree = Tree::start(spec, options).unwrap();
        tree.opened().await.unwrap();
        assert!(tree.hearts().iter().any(|heart| heart.name == "members"));
        let handle = kept.lock().clone().unwrap();
        assert_eq!(handle.send(Tell::Count).await, Ok(1));
        tree.stop(10 * SEC).await;
        // The roster went with its keeper, and its children with the roster.
        assert_eq!(handle.send(Tell::Count).await, Err(SendError::Down));
    });
}

// === size ===

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// Ignored in the ordinary run, because other tests in the process allocate, too: `-- --ignored --nocapture`.
#[test]
#[ignore = "measures the whole process; run it alone"]
fn a_hundred_thousand_children_take_at_most_1200_bytes_each() {
    const CHILDREN: u64 = 100_000;
    System::new().block_on(async {
        let (events, _told) = mpsc::unbounded_channel();
        let roster = Roster::new(DynamicSpec::default(), member, events);
        let before = resident();
        let began = Instant::now();
        for key in 0..CHILDREN {
            roster.spawn(key, &Arbiter::current());
            if key % 1_000 == 999 {
                tokio::task::yield_now().await;
            }
        }
        let last = roster.get(&(CHILDREN - 1)).unwrap();
        assert_eq!(last.send(Tell::Count).await, Ok(1));
        let (took, each) = (began.elapsed(), (resident() - before) / CHILDREN);
        let began = Instant::now();
        for key in 0..CHILDREN {
            assert!(roster.get(&key).unwrap().send(Tell::Count).await.is_ok());
        }
        let (asked, each_used) = (began.elapsed(), (resident() - before) / CHILDREN);
        println!(
            "{each} B each, {each_used} B once used; started in {took:?}, asked one by one in {asked:?}"
        );
        assert!(each_used <= 1_200, "{each_used}");
    });
}
