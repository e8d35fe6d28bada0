//! A worker that does what it is told, a log of its lives, and trees of it.

use crate::supervision::{
    ChildSpec, GiveUp, GroupSpec, Handle, Intensity, Life, NodeReport, Restart, SendError, Strategy, Tree,
    TreeOptions,
};
use actix::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What happened to whom, in order.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(super) fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
    pub(super) fn starts_of(&self, name: &str) -> usize {
        let line = format!("+{name}");
        self.0.lock().iter().filter(|at| **at == line).count()
    }
}

/// Logs `+name` when it starts and `-name` when it stops in order.
pub(super) struct Worker {
    name: String,
    log: Log,
    life: Option<Life>,
    handled: u32,
    panic_in: &'static str,
}

impl Worker {
    pub(super) fn new(name: &str, log: &Log) -> Self {
        Self {
            name: name.to_owned(),
            log: log.clone(),
            life: None,
            handled: 0,
            panic_in: "",
        }
    }
    pub(super) fn panicking_in(mut self, place: &'static str) -> Self {
        self.panic_in = place;
        self
    }
    pub(super) fn with_life(mut self, life: &Life) -> Self {
        self.life = Some(life.clone());
        self
    }
    fn panic_if_in(&mut self, place: &'static str) {
        if std::mem::take(&mut self.panic_in) == place {
            panic!("boom in {place}");
        }
        // Only the first place that is reached matters.
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
    fn started(&mut self, _: &mut Context<Self>) {
        self.log.add(format!("+{}", self.name));
        if self.panic_in == "started" {
            self.panic_if_in("started");
        }
    }
    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        if self.panic_in == "stopping" {
            self.panic_if_in("stopping");
        }
        if self.panic_in == "never stops" {
            Running::Continue
        } else {
            Running::Stop
        }
    }
    fn stopped(&mut self, _: &mut Context<Self>) {
        self.log.add(format!("-{}", self.name));
        if self.panic_in == "stopped" {
            self.panic_if_in("stopped");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.panic_in == "drop" {
            self.panic_if_in("drop");
        }
    }
}

/// How many were handled in this life, this one included.
#[derive(Message)]
#[rtype(result = "u32")]
pub(super) struct Ping;

impl Handler<Ping> for Worker {
    type Result = u32;
    fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> u32 {
        self.handled += 1;
        self.handled
    }
}

/// What a worker is told to do; answered with the count, if ever.
#[derive(Message, Clone, Copy, Debug, PartialEq)]
#[rtype(result = "u32")]
pub(super) enum Do {
    Quit,
    Panic,
    PanicInFuture,
    PanicInTimer,
    PanicInStream,
    Wedge,
    /// Beats every second for so many seconds, then no more.
    BeatFor(u64),
    /// Waits on something outside for so many seconds, as it says.
    WaitFor(u64),
}

impl Handler<Do> for Worker {
    type Result = u32;
    fn handle(&mut self, what: Do, ctx: &mut Context<Self>) -> u32 {
        self.handled += 1;
        match what {
            Do::Quit => ctx.stop(),
            Do::Panic => panic!("boom"),
            Do::PanicInFuture => {
                ctx.spawn(async { panic!("boom in future") }.into_actor(self));
            }
            Do::PanicInTimer => {
                ctx.run_later(Duration::from_millis(1), |_, _| panic!("boom in timer"));
            }
            Do::PanicInStream => {
                ctx.add_stream(futures_util::stream::iter([Explode]));
            }
            Do::Wedge => ctx.wait(std::future::pending().into_actor(self)),
            Do::BeatFor(secs) => {
                let life = self.life.clone().unwrap();
                let beats = async move {
                    for _ in 0..secs {
                        life.beat();
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    std::future::pending().await
                };
                ctx.spawn(beats.into_actor(self));
            }
            Do::WaitFor(secs) => {
                let life = self.life.clone().unwrap();
                let wait = Duration::from_secs(secs);
                life.waiting_until(tokio::time::Instant::now() + wait);
                ctx.wait(tokio::time::sleep(wait).into_actor(self));
            }
        }
        self.handled
    }
}

struct Explode;
impl StreamHandler<Explode> for Worker {
    fn handle(&mut self, _: Explode, _: &mut Context<Self>) {
        panic!("boom in stream");
    }
}

/// A child called `name`.
pub(super) fn worker(name: &str, log: &Log) -> (ChildSpec, Handle<Worker>) {
    let (log, own) = (log.clone(), name.to_owned());
    ChildSpec::actor(name, move |life| Worker::new(&own, &log).with_life(life))
}

pub(super) fn every(restarts: u32, secs: u64) -> Intensity {
    Intensity {
        restarts,
        within: Duration::from_secs(secs),
    }
}

pub(super) fn group(name: &str, strategy: Strategy, children: Vec<ChildSpec>) -> GroupSpec {
    GroupSpec {
        name: name.to_owned(),
        strategy,
        intensity: every(3, 60),
        give_up: GiveUp::Escalate,
        children,
    }
}

/// Three workers `a`, `b`, `c` under one strategy, `b` with this restart type.
pub(super) struct Three {
    pub(super) tree: Tree,
    pub(super) log: Log,
    pub(super) handles: [Handle<Worker>; 3],
}

impl Three {
    pub(super) async fn start(strategy: Strategy, restart_of_b: Restart) -> Self {
        Self::with(group("root", strategy, vec![]), restart_of_b).await
    }

    pub(super) async fn with(mut spec: GroupSpec, restart_of_b: Restart) -> Self {
        let log = Log::default();
        let (a, ha) = worker("a", &log);
        let (b, hb) = worker("b", &log);
        let (c, hc) = worker("c", &log);
        spec.children = vec![a, b.restart(restart_of_b).stuck_after(Duration::from_secs(10)), c];
        let tree = start(spec).await;
        assert_eq!(log.take(), ["+a", "+b", "+c"]);
        Self {
            tree,
            log,
            handles: [ha, hb, hc],
        }
    }

    pub(super) fn b(&self) -> &Handle<Worker> {
        &self.handles[1]
    }
}

/// On paused time, on this thread.
pub(super) async fn start(spec: GroupSpec) -> Tree {
    tokio::time::pause();
    let tree = Tree::start(spec, TreeOptions::default()).unwrap();
    tree.opened().await.unwrap();
    tree
}

/// Lets everything that can happen without waiting happen (a millisecond passes).
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(super) fn node(tree: &Tree, path: &str) -> NodeReport {
    fn find(node: NodeReport, path: &str) -> Option<NodeReport> {
        if node.path == path {
            Some(node)
        } else {
            node.children.into_iter().find_map(|child| find(child, path))
        }
    }
    find(tree.report().root, path).unwrap()
}

/// Waits, at most a real minute, until `done`.
pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(tokio::time::Instant::now() < limit, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) async fn do_to(handle: &Handle<Worker>, what: Do) -> Result<u32, SendError> {
    handle.send(what).await
}
