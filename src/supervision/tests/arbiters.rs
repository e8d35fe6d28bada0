//! Threads, on real time: lost and blocked arbiters, placement, and how long a restart takes.

use super::kit::{Do, Log, Ping, do_to, every, group, node, until, worker};
use crate::supervision::{
    ChildSpec, ChildState, Exit, Fate, GroupSpec, Handle, Intensity, Placement, SendError, Shutdown,
    Strategy, Tree, TreeOptions, Watchdog,
};
use actix::prelude::*;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Runs a test with one shared multi-thread runtime, as the daemon does.
fn on_threads<F: Future<Output = ()>>(test: impl FnOnce(TreeOptions) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let runtime: Arc<Runtime> = Arc::new(runtime);
    let system = System::with_tokio_rt(|| Arc::clone(&runtime));
    let options = TreeOptions {
        runtime: Some(Arc::clone(&runtime)),
        watchdog: None,
    };
    system.block_on(test(options));
}

async fn start(spec: GroupSpec, options: TreeOptions) -> Tree {
    let tree = Tree::start(spec, options).unwrap();
    tree.opened().await.unwrap();
    tree
}

/// Knows its thread, and does bad things to it.
struct Local;
impl Actor for Local {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "std::thread::ThreadId")]
struct WhichThread;
impl Handler<WhichThread> for Local {
    type Result = MessageResult<WhichThread>;
    fn handle(&mut self, _: WhichThread, _: &mut Context<Self>) -> Self::Result {
        MessageResult(std::thread::current().id())
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct StopArbiter;
impl Handler<StopArbiter> for Local {
    type Result = ();
    fn handle(&mut self, _: StopArbiter, ctx: &mut Context<Self>) {
        Arbiter::current().stop();
        ctx.wait(std::future::pending().into_actor(self));
    }
}

/// Blocks its thread until the sender of this channel is dropped.
#[derive(Message)]
#[rtype(result = "()")]
struct Block(mpsc::Receiver<()>);
impl Handler<Block> for Local {
    type Result = ();
    fn handle(&mut self, block: Block, _: &mut Context<Self>) {
        let _ = block.0.recv();
    }
}

fn local(name: &str) -> (ChildSpec, Handle<Local>) {
    ChildSpec::actor(name, |_| Local)
}

#[test]
fn a_child_whose_arbiter_is_lost_is_made_anew_on_another_and_keeps_handle_and_queue() {
    on_threads(|options| async {
        let (x, hx) = local("x");
        let (y, hy) = local("y");
        let (x, y) = (x.placement(Placement::Own), y.placement(Placement::Own));
        let tree = start(group("root", Strategy::OneForOne, vec![x, y]), options).await;
        let before = hx.send(WhichThread).await.unwrap();
        let (lost, queued) = tokio::join!(hx.send(StopArbiter), hx.send(WhichThread));
        // The handler had returned; its answer was sent before the thread ended.
        assert!(matches!(lost, Ok(()) | Err(SendError::Crashed)), "{lost:?}");
        assert_ne!(queued.unwrap(), before);
        let x = node(&tree, "x");
        assert_eq!((x.restarts, x.last_exit.unwrap().exit), (1, Exit::Lost));
        assert_eq!(node(&tree, "y").restarts, 0);
        assert!(hy.send(WhichThread).await.is_ok());
        tree.stop(Duration::from_secs(10)).await;
    });
}

#[test]
fn placement_says_who_shares_a_thread() {
    on_threads(|options| async {
        let (a, ha) = local("a");
        let (b, hb) = local("b");
        let (c, hc) = local("c");
        let (d, hd) = local("d");
        let (e, he) = local("e");
        let named = Placement::Named("named");
        let inner = ChildSpec::group(group("inner", Strategy::OneForOne, vec![c, d.placement(named)]));
        let children = vec![
            a,
            b.placement(Placement::Own),
            inner.placement(Placement::Own),
            e.placement(named),
        ];
        let tree = start(group("root", Strategy::OneForOne, children), options).await;
        let mut threads = vec![];
        for handle in [&ha, &hb, &hc, &hd, &he] {
            threads.push(handle.send(WhichThread).await.unwrap());
        }
        assert_eq!(threads[3], threads[4], "same name, same thread");
        threads.pop();
        threads.sort_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert_eq!(threads.len(), 4);
        let mut names: Vec<String> = tree.hearts().into_iter().map(|heart| heart.name).collect();
        names.sort();
        assert_eq!(names, ["b", "inner", "named", "root"]);
        assert_eq!(node(&tree, "inner/c").arbiter, "inner");
        tree.stop(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_blocked_arbiter_stops_the_feeding_and_ends_the_process_by_name() {
    on_threads(|mut options| async {
        let (fed, aborted) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(parking_lot::Mutex::new(None)),
        );
        let (feeds, aborts) = (Arc::clone(&fed), Arc::clone(&aborted));
        let mut dog = Watchdog::new(
            move || {
                feeds.fetch_add(1, Ordering::SeqCst);
            },
            move |name| *aborts.lock() = Some(name.to_owned()),
        );
        dog.every = Duration::from_millis(20);
        dog.patience = Duration::from_millis(400);
        dog.limit = Duration::from_millis(1_500);
        options.watchdog = Some(dog);
        let (x, hx) = local("x");
        let (y, hy) = local("y");
        let children = vec![x.placement(Placement::Named("unlucky")), y];
        let tree = start(group("root", Strategy::OneForOne, children), options).await;
        until("fed", || fed.load(Ordering::SeqCst) > 5).await;
        assert_eq!(*aborted.lock(), None);

        let (release, block) = mpsc::channel();
        hx.tell(Block(block)).unwrap();
        until("aborted", || aborted.lock().is_some()).await;
        assert_eq!(aborted.lock().as_deref(), Some("unlucky"));
        let fed_at_abort = fed.load(Ordering::SeqCst);
        assert!(hy.send(WhichThread).await.is_ok(), "the others serve on");
        assert_eq!(fed.load(Ordering::SeqCst), fed_at_abort);
        let blocked = tree
            .hearts()
            .into_iter()
            .find(|heart| heart.name == "unlucky")
            .unwrap();
        assert!(blocked.silent_ms >= 1_500);
        drop(release);
        tree.stop(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_child_stuck_on_a_blocked_arbiter_goes_on_elsewhere() {
    on_threads(|options| async {
        let (x, hx) = local("x");
        let x = x
            .placement(Placement::Own)
            .stuck_after(Duration::from_millis(100));
        let tree = start(group("root", Strategy::OneForOne, vec![x]), options).await;
        let before = hx.send(WhichThread).await.unwrap();
        let (release, block) = mpsc::channel();
        hx.tell(Block(block)).unwrap();
        assert_ne!(
            hx.send(WhichThread).await.unwrap(),
            before,
            "served on another thread"
        );
        assert!(matches!(
            node(&tree, "x").last_exit.unwrap().exit,
            Exit::Stuck { .. }
        ));
        // When the old thread comes back, the old life sees that its time is over.
        drop(release);
        for _ in 0..100 {
            assert_ne!(hx.send(WhichThread).await.unwrap(), before);
        }
        assert_eq!(node(&tree, "x").restarts, 1);
        tree.stop(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_stop_names_what_it_must_leave_running() {
    on_threads(|options| async {
        let (x, hx) = local("x");
        let (y, _hy) = local("y");
        let x = x
            .placement(Placement::Own)
            .shutdown(Shutdown::After(Duration::from_millis(50)));
        let tree = start(group("root", Strategy::OneForOne, vec![x, y]), options).await;
        let (release, block) = mpsc::channel();
        hx.tell(Block(block)).unwrap();
        until("it blocks", || node(&tree, "x").mailbox.unwrap().waiting == 0).await;
        let report = tree.stop(Duration::from_secs(10)).await;
        assert_eq!(report.leftovers.len(), 1);
        assert_eq!(
            (report.leftovers[0].path.as_str(), report.leftovers[0].fate),
            ("x", Fate::LeftRunning)
        );
        assert_eq!(node(&tree, "y").state, ChildState::Stopped);
        drop(release);
    });
}

#[test]
fn the_median_restart_takes_less_than_the_promised_100_ms() {
    on_threads(|options| async {
        let log = Log::default();
        let (x, handle) = worker("x", &log);
        // A period so short that each crash is the first of its streak, and so has no wait of its own.
        let intensity = Intensity {
            restarts: 1_000,
            within: Duration::from_millis(1),
        };
        let spec = GroupSpec {
            intensity,
            ..group("root", Strategy::OneForOne, vec![x])
        };
        let tree = start(spec, options).await;
        let mut took = Vec::new();
        for _ in 0..51 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let began = tokio::time::Instant::now();
            let (crashed, served) = tokio::join!(do_to(&handle, Do::Panic), handle.send(Ping));
            assert_eq!((crashed, served), (Err(SendError::Crashed), Ok(1)));
            took.push(began.elapsed());
        }
        took.sort_unstable();
        println!(
            "crash to first answer of the successor: median {:?}, worst {:?}",
            took[25], took[50]
        );
        assert!(took[25] < Duration::from_millis(100), "{:?}", took[25]);
        tree.stop(Duration::from_secs(10)).await;
    });
}

#[test]
fn many_threads_may_use_a_handle_through_crashes_and_every_message_is_answered() {
    on_threads(|options| async {
        let log = Log::default();
        let (x, handle) = worker("x", &log);
        let spec = GroupSpec {
            intensity: every(10_000, 3_600),
            ..group("root", Strategy::OneForOne, vec![x])
        };
        let tree = start(spec, options).await;
        let over = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let (handle, over) = (handle.clone(), Arc::clone(&over));
                crate::supervision::spawn_owned("sender", async move {
                    let mut counts = [0u32; 3];
                    while !over.load(Ordering::SeqCst) {
                        match handle.send(Ping).await {
                            Ok(_) => counts[0] += 1,
                            Err(SendError::Crashed) => counts[1] += 1,
                            Err(SendError::Busy) => counts[2] += 1,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    counts
                })
            })
            .collect();
        for _ in 0..6 {
            let _ = do_to(&handle, Do::Panic).await;
        }
        over.store(true, Ordering::SeqCst);
        let mut answered = 0;
        for sender in senders {
            let [ok, crashed, busy] = sender.await.unwrap();
            answered += ok;
            assert_eq!((crashed, busy), (0, 0), "only the message in hand fails");
        }
        assert!(answered > 0);
        // The actor's thread may still be unwinding the last panic, with a place in its hands.
        until("all places are free", || {
            let mailbox = node(&tree, "x").mailbox.unwrap();
            (mailbox.waiting, mailbox.taken) == (0, 0)
        })
        .await;
        tree.stop(Duration::from_secs(10)).await;
    });
}
