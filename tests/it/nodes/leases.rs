//! Whose a part of the work is: whatever happens in which order, never two nodes' at a time.

use crate::support::home::{Home, connect, text};
use crate::support::pg::TestDb;
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;
use zaikoban::clock::Clock;
use zaikoban::domain::Epoch;
use zaikoban::nodes::plan::shards;
use zaikoban::nodes::{ALERT, Hold, Identity, Keeper, RESCUE, Timing, WATCH};
use zaikoban::store::leases::release;
use zaikoban::store::nodes::application;
use zaikoban::store::{Db, PoolSettings, migrate};

const ROLES: [&str; 6] = [ALERT, RESCUE, "prune", "rules", "sync/ebay", "sync/mercari"];

fn who(name: &str) -> Identity {
    Identity {
        boot: Uuid::now_v7(),
        name: name.to_owned(),
        can: ROLES.into_iter().chain([WATCH]).map(str::to_owned).collect(),
    }
}

/// As long as nothing stops a process of a test for longer.
fn patient() -> Timing {
    Timing::default()
}

/// Short enough to be waited for.
fn brisk() -> Timing {
    Timing {
        ttl: Duration::from_secs(1),
        margin: Duration::from_millis(100),
        ..patient()
    }
}

fn hasty() -> Timing {
    Timing {
        ttl: Duration::from_millis(60),
        margin: Duration::from_millis(10),
        long_gap: Duration::from_millis(400),
    }
}

async fn join(t: &TestDb, name: &str, timing: Timing) -> Keeper {
    Keeper::join(t.db(), who(name), &Clock::system(), timing)
        .await
        .unwrap()
}

fn held(keeper: &Keeper) -> usize {
    keeper.ownership().view().held.len()
}

#[tokio::test]
async fn a_node_that_is_alone_has_everything_from_its_first_look_on() {
    let t = TestDb::new().await;
    let a = join(&t, "a", patient()).await;
    assert_eq!(held(&a), 256 + ROLES.len());
    assert!((a.ownership().share() - 1.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_node_that_comes_gets_its_share_when_the_others_have_let_it_go() {
    let t = TestDb::new().await;
    let a = join(&t, "a", patient()).await;
    let mut working: Vec<Hold> = shards()
        .iter()
        .map(|part| a.ownership().enter(part).unwrap())
        .collect();
    let b = join(&t, "b", patient()).await;
    assert_eq!(held(&b), 0, "everything is a's still");
    a.look().await.unwrap();
    b.look().await.unwrap();
    assert_eq!(held(&a) + held(&b), 256 + ROLES.len(), "each part has an owner");
    assert!(held(&b) <= ROLES.len(), "what is worked on stays as long as that");
    let leaving = working.iter().filter(|hold| hold.is_leaving()).count();
    assert!(leaving > 60 && working.iter().all(Hold::stands), "{leaving}");
    assert!(shards().iter().all(|part| b.ownership().holds(part).is_none()));
    working.retain(|hold| !hold.is_leaving());
    a.look().await.unwrap();
    b.look().await.unwrap();
    assert_eq!(held(&a) + held(&b), 256 + ROLES.len());
    assert!(
        held(&b) >= leaving && working.iter().all(Hold::stands),
        "and nothing else moved"
    );
    let epochs = shards().into_iter().filter_map(|part| b.ownership().holds(&part));
    assert!(
        epochs.min() > Some(Epoch(1)),
        "what changed hands has another epoch"
    );
    // It goes in order: everything is the other's at its next look.
    b.leave().await;
    a.look().await.unwrap();
    assert_eq!(held(&a), 256 + ROLES.len());
}

/// A release that was on its way when its node was given the part again.
#[tokio::test]
async fn a_release_that_arrives_late_frees_nothing() {
    let t = TestDb::new().await;
    let a = join(&t, "a", patient()).await;
    let now = a.ownership().holds(ALERT).unwrap();
    let (mut conn, boot) = (t.db().conn().await.unwrap(), a.ownership().boot());
    let owned = "SELECT count(*) FROM leases WHERE name = 'alert' AND owner IS NOT NULL";
    for (epoch, left) in [(Epoch(now.0 - 1), "1"), (now, "0")] {
        release(&mut conn, boot, &[(ALERT.to_owned(), epoch)])
            .await
            .unwrap();
        assert_eq!(t.text(owned).await, left, "{epoch:?}");
    }
}

#[tokio::test]
async fn a_drained_node_has_nothing_and_takes_part_again_when_it_is_told_to() {
    let t = TestDb::new().await;
    let (a, b) = (join(&t, "a", patient()).await, join(&t, "b", patient()).await);
    let looking = async {
        loop {
            a.look().await.unwrap();
            b.look().await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
    };
    let drained = async {
        assert!(a.drain(Duration::from_secs(20)).await);
        until("b to have everything", || async {
            (held(&b) == 256 + ROLES.len()).then_some(())
        })
        .await;
        a.undrain();
        until("a to have its share", || async { (held(&a) > 60).then_some(()) }).await;
    };
    tokio::select! {
        () = looking => {}
        () = drained => {}
    }
}

/// What a node has begun is undone before another one does its part.
#[tokio::test]
async fn the_sessions_of_a_node_that_is_declared_dead_are_ended() {
    let t = TestDb::new().await;
    let a = join(&t, "a", hasty()).await;
    let mut settings = PoolSettings::new(t.url());
    settings.accept_loss = true;
    settings.application = application(a.ownership().boot());
    let own = Db::connect(&settings).await.unwrap();
    let mut conn = own.conn().await.unwrap();
    conn.batch_execute(
        "BEGIN; UPDATE platform_state SET paused = true; INSERT INTO platform_state (platform) VALUES ('x')",
    )
    .await
    .unwrap();
    // It stands still; another one comes, and has been heard of for long enough to say so.
    let b = join(&t, "b", hasty()).await;
    until("b to have everything", || async {
        b.look().await.unwrap();
        (held(&b) == 256 + ROLES.len()).then_some(())
    })
    .await;
    assert!(conn.batch_execute("COMMIT").await.is_err(), "its session is gone");
    assert_eq!(t.text("SELECT count(*) FROM platform_state").await, "0");
    assert!(
        a.ownership().holds("alert").is_none(),
        "it believes nothing any more"
    );
    // It wakes up, and begins anew.
    let mut changes = a.ownership().changes();
    changes.mark_unchanged();
    a.look().await.unwrap();
    assert!(changes.has_changed().unwrap());
    assert_eq!(
        t.text("SELECT count(*) FROM nodes WHERE dead_at IS NULL").await,
        "2"
    );
}

/// Nobody can reach the database while it restarts: they all fall silent, and nobody is dead.
#[tokio::test]
async fn who_was_cut_off_itself_declares_nobody_dead() {
    let timing = brisk();
    let home = Home::new();
    let server = home.start().await;
    let db = connect(&server).await;
    migrate::up(&db).await.unwrap();
    let clock = Clock::system();
    let a = Keeper::join(&db, who("a"), &clock, timing).await.unwrap();
    let b = Keeper::join(&db, who("b"), &clock, timing).await.unwrap();
    until("both to have their share for a while", || async {
        a.look().await.unwrap();
        b.look().await.unwrap();
        let lived = text(
            &db,
            "SELECT now() > max(started_at) + interval '1.2 s' FROM nodes",
        )
        .await;
        (lived == "true" && held(&a) + held(&b) == 256 + ROLES.len()).then_some(())
    })
    .await;
    let (had, others) = (b.ownership().view(), a.ownership().view());

    assert!(server.stop().await);
    assert!(a.look().await.is_err() && b.look().await.is_err());
    drop(server);
    let server = home.start().await;
    let db = connect(&server).await;
    until("the time of both to be over", || async {
        let over = text(&db, "SELECT bool_and(until < clock_timestamp()) FROM nodes").await;
        (over == "true").then_some(())
    })
    .await;
    // The first one that is back sees the other one silent, and so would it be seen itself.
    until("a to be heard of", || async { a.look().await.ok() }).await;
    a.look().await.unwrap();
    b.look().await.unwrap();
    assert_eq!(b.ownership().view().held, had.held, "nothing was taken from it");
    assert_eq!(a.ownership().view().held, others.held);
    // Who is silent while others are heard of is dead all the same.
    until("a to have everything", || async {
        a.look().await.unwrap();
        (held(&a) == 256 + ROLES.len()).then_some(())
    })
    .await;
    assert!(server.stop().await);
}

/// The same to look at: the database's clock was set ahead, or back.
#[tokio::test]
async fn a_clock_of_the_database_that_was_set_is_nobodys_death() {
    let t = TestDb::new().await;
    let (a, b) = (join(&t, "a", hasty()).await, join(&t, "b", hasty()).await);
    for set in ["- interval '1 hour'", "+ interval '1 hour'"] {
        until("both to have their share", || async {
            a.look().await.unwrap();
            b.look().await.unwrap();
            (held(&a) + held(&b) == 256 + ROLES.len()).then_some(())
        })
        .await;
        let buried = "SELECT count(*) FROM nodes WHERE dead_at IS NOT NULL";
        t.run(&format!(
            "UPDATE nodes SET heartbeat_at = heartbeat_at {set}, until = until {set}"
        ))
        .await;
        a.look().await.unwrap();
        assert_eq!(t.text(buried).await, "0", "{set}");
        // It was the other one's end, too, as nothing is heard of it from now on.
        until("b to be declared dead", || async {
            a.look().await.unwrap();
            (t.text(buried).await == "1").then_some(())
        })
        .await;
    }
}

/// Its parts are free when nothing of it can be committed any more, and not before.
#[tokio::test]
async fn what_a_dead_node_had_is_nobodys_while_one_of_its_sessions_is_left() {
    /// A server's process that stands still, and goes on whatever becomes of the test.
    struct Frozen(Pid);
    impl Drop for Frozen {
        fn drop(&mut self) {
            let _gone = kill(self.0, Signal::SIGCONT);
        }
    }
    let t = TestDb::new().await;
    let a = join(&t, "a", hasty()).await;
    let mut settings = PoolSettings::new(t.url());
    settings.accept_loss = true;
    settings.application = application(a.ownership().boot());
    let own = Db::connect(&settings).await.unwrap();
    let stuck: i32 = text(&own, "SELECT pg_backend_pid()").await.parse().unwrap();
    let frozen = Frozen(Pid::from_raw(stuck));
    kill(frozen.0, Signal::SIGSTOP).unwrap();
    let b = join(&t, "b", brisk()).await;
    until("a to be declared dead", || async {
        b.look().await.unwrap();
        let dead = "SELECT count(*) FROM nodes WHERE dead_at IS NOT NULL";
        (t.text(dead).await == "1").then_some(())
    })
    .await;
    b.look().await.unwrap();
    assert_eq!(held(&b), 0, "what it had begun may still be committed");
    drop(frozen);
    until("b to have everything", || async {
        b.look().await.unwrap();
        (held(&b) == 256 + ROLES.len()).then_some(())
    })
    .await;
}

/// What follows a heartbeat may take long, as a burial does; the node that does it is well.
#[tokio::test]
async fn a_heartbeat_that_came_through_is_trusted_before_the_rest_of_its_look() {
    let t = TestDb::new().await;
    let a = join(&t, "a", brisk()).await;
    until("the trust to be over", || async {
        (!a.ownership().is_trusted()).then_some(())
    })
    .await;
    let mut other = t.db().conn().await.unwrap();
    other.batch_execute("BEGIN; LOCK TABLE leases").await.unwrap();
    tokio::select! {
        looked = a.look() => panic!("the leases could not be read: {looked:?}"),
        () = until("a to be trusted", || async { a.ownership().holds("alert").map(|_| ()) }) => {}
    }
    other.batch_execute("ROLLBACK").await.unwrap();
}

/// A restart after a crash waits for nobody: its predecessor's process is gone, and that can be seen here.
#[tokio::test]
async fn a_successor_of_a_process_that_has_ended_takes_over_at_once() {
    let t = TestDb::new().await;
    let a = join(&t, "a", patient()).await;
    t.run("UPDATE nodes SET pid = 2147483647").await;
    let again = join(&t, "a", patient()).await;
    assert_eq!(held(&again), 256 + ROLES.len());
    a.look().await.unwrap();
    assert_eq!(held(&a), 0, "the one before would begin anew, with nothing");
}

#[tokio::test]
async fn a_node_that_did_not_run_for_long_begins_anew() {
    let t = TestDb::new().await;
    let timing = Timing {
        long_gap: Duration::from_millis(50),
        ..patient()
    };
    let a = join(&t, "a", timing).await;
    let mut settings = PoolSettings::new(t.url());
    settings.accept_loss = true;
    settings.application = application(a.ownership().boot());
    let own = Db::connect(&settings).await.unwrap();
    let mut conn = own.conn().await.unwrap();
    conn.batch_execute("BEGIN; INSERT INTO platform_state (platform) VALUES ('x')")
        .await
        .unwrap();
    let before = a.ownership().holds("alert").unwrap();
    sleep(Duration::from_millis(80)).await;
    a.look().await.unwrap();
    assert!(
        conn.batch_execute("COMMIT").await.is_err(),
        "what it had compared before is undone"
    );
    let after = a.ownership().holds("alert").unwrap();
    assert!(
        after > before,
        "what was begun before is fenced, although nobody took it"
    );
}

/// Four nodes look, stand still, drain and come back, each by itself and in every order; meanwhile it is watched that no
/// part is believed by two of them at one moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_interleavings_never_give_a_part_two_owners_that_trust() {
    const LOOKS: usize = 10_000;
    let seed = 20_261_122;
    println!("seed {seed}");
    let t = TestDb::new().await;
    // A few parts, so that looks are many and not long.
    t.run("DELETE FROM leases WHERE shard % 32 <> 0").await;
    let mut keepers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        keepers.push(join(&t, name, hasty()).await);
    }
    let (looks, moved, over) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        Arc::new(AtomicBool::new(false)),
    );
    let (looks, moved) = (Arc::new(looks), Arc::new(moved));
    let mut tasks = tokio::task::JoinSet::new();
    for (n, keeper) in keepers.iter().cloned().enumerate() {
        let (looks, moved) = (Arc::clone(&looks), Arc::clone(&moved));
        tasks.spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed + u64::try_from(n).unwrap());
            let mut before = keeper.ownership().view();
            while looks.fetch_add(1, Ordering::Relaxed) < LOOKS {
                // Also sessions that are ended under it are no trouble: the next look has another one.
                let _ended = keeper.look().await;
                let now = keeper.ownership().view();
                moved.fetch_add(usize::from(now.held != before.held), Ordering::Relaxed);
                before = now;
                match rng.random_range(0..400) {
                    0 => sleep(Duration::from_millis(rng.random_range(40..120))).await,
                    1 => sleep(Duration::from_millis(450)).await,
                    2 => {
                        keeper.drain(Duration::ZERO).await;
                    }
                    3..20 => keeper.undrain(),
                    20..60 => sleep(Duration::from_millis(rng.random_range(0..30))).await,
                    _ => tokio::task::yield_now().await,
                }
            }
        });
    }
    let watching = {
        let (keepers, over) = (keepers.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            let parts: Vec<String> = ROLES
                .iter()
                .map(|role| (*role).to_owned())
                .chain((0..8).map(|n| format!("watch/{:03}", n * 32)))
                .collect();
            let mut seen = 0_u64;
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(100));
                for part in &parts {
                    for (n, one) in keepers.iter().enumerate() {
                        for other in &keepers[n + 1..] {
                            // Believed before and after the other did: so at one moment by both.
                            let first = one.ownership().holds(part);
                            if first.is_some()
                                && let Some(second) = other.ownership().holds(part)
                                && one.ownership().holds(part) == first
                            {
                                panic!(
                                    "{part}: {first:?} of {} and {second:?} of {}",
                                    one.name(),
                                    other.name()
                                );
                            }
                            seen += u64::from(first.is_some());
                        }
                    }
                }
            }
            seen
        })
    };
    while tasks.join_next().await.is_some() {}
    over.store(true, Ordering::Relaxed);
    let seen = watching.join().expect("two nodes believed in one part");
    let moved = moved.load(Ordering::Relaxed);
    assert!(
        moved > 100 && seen > 1_000,
        "parts moved {moved} times, seen {seen} times: nothing was tested"
    );
}
