//! The tree: from specs to running children, and back down.

use super::arbiters::Arbiters;
use super::check::{SpecProblem, check};
use super::child::{ChildEvent, Reporter, What};
use super::decide::Exit;
use super::group::{Env, Fate, GroupOrder, Leftover, run_group};
use super::machine::GRACE;
use super::panics::install_hook;
use super::plan::{GroupPlan, plan_group};
use super::report::{ArbiterReport, Node, TreeEvent, TreeReport, millis};
use super::spec::GroupSpec;
use super::task::{OwnedTask, spawn_owned};
use super::watchdog::{self, Watchdog};
use actix::{Arbiter, System};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

/// Tree events a slow listener may lag behind; crashes are rare, so this is hours.
const EVENTS_KEPT: usize = 256;

/// What a tree runs on.
#[derive(Debug, Default)]
pub struct TreeOptions {
    /// The runtime that all arbiters share for timers and sockets. `None`: every child lives on the calling thread's
    /// arbiter, for tests on paused time.
    pub runtime: Option<Arc<Runtime>>,
    /// Who watches the threads.
    pub watchdog: Option<Watchdog>,
}

/// Why a tree was not started. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The specs are wrong; all problems at once.
    #[error("the supervision tree is wrong:\n{}", lines(.0))]
    Specs(Vec<SpecProblem>),
    /// There is no actix system on this thread.
    #[error("no actix system runs on this thread; start the tree inside `System::block_on`")]
    NoSystem,
    /// The watchdog's thread could not be made.
    #[error("the watchdog's thread could not be started")]
    Watchdog(#[source] std::io::Error),
}

fn lines(problems: &[SpecProblem]) -> String {
    problems
        .iter()
        .map(|problem| format!("  {problem}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// How an orderly stop went.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StopReport {
    /// How long it took.
    pub took_ms: u64,
    /// Those that did not stop within their limits.
    pub leftovers: Vec<Leftover>,
}

/// A running tree. Dropping it ends all its children at once; [`stop`](Self::stop) is the orderly way.
pub struct Tree {
    root: Arc<Node>,
    env: Arc<Env>,
    orders: mpsc::UnboundedSender<GroupOrder>,
    stage: watch::Receiver<Stage>,
    _task: OwnedTask<()>,
}

/// Where the root stands.
#[derive(Clone, Debug)]
enum Stage {
    Starting,
    Up,
    Ended(Exit),
}

// === impl Tree ===

impl Tree {
    /// Checks the specs and begins to start the children, in order. [`opened`](Self::opened) waits for them.
    ///
    /// Must be called inside an actix system (`System::block_on`).
    ///
    /// # Errors
    /// All that is wrong with the specs at once; or no actix system. In both cases nothing was started.
    pub fn start(spec: GroupSpec, options: TreeOptions) -> Result<Self, StartError> {
        let problems = check(&spec);
        if !problems.is_empty() {
            return Err(StartError::Specs(problems));
        }
        install_hook();
        let TreeOptions { runtime, watchdog } = options;
        let arbiters = match &runtime {
            Some(runtime) => {
                let system = System::try_current().ok_or(StartError::NoSystem)?;
                Arbiters::threads(Arc::clone(runtime), system)
            }
            None => Arbiters::here(Arbiter::try_current().ok_or(StartError::NoSystem)?),
        };
        let watchdog = watchdog
            .map(|dog| dog.start(arbiters.clone()))
            .transpose()
            .map_err(StartError::Watchdog)?;
        let env = Arc::new(Env {
            arbiters,
            events: broadcast::channel(EVENTS_KEPT).0,
            leftovers: parking_lot::Mutex::default(),
        });
        let name = spec.name.clone();
        let (plan, children) = plan_group(spec, "", &name);
        let root = Arc::new(Node::new(name.clone(), name.clone(), name, None, children));
        let (orders, ordered) = mpsc::unbounded_channel();
        let (set_stage, stage) = watch::channel(Stage::Starting);
        let _on = runtime.as_ref().map(|runtime| runtime.enter());
        let task = spawn_owned(
            "supervision root",
            run_root(
                plan,
                Arc::clone(&env),
                Arc::clone(&root),
                ordered,
                set_stage,
                watchdog,
            ),
        );
        // It ends when its children have ended, on our order or by itself; not before, whoever drops the tree.
        let task = task.to_its_end();
        Ok(Self {
            root,
            env,
            orders,
            stage,
            _task: task,
        })
    }

    /// Waits until every child has had its first start.
    ///
    /// # Errors
    /// When the tree ended before that: how.
    pub async fn opened(&self) -> Result<(), Exit> {
        let mut stage = self.stage.clone();
        let stage = stage.wait_for(|stage| !matches!(stage, Stage::Starting)).await;
        match stage.as_deref() {
            Ok(Stage::Ended(exit)) => Err(exit.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(Exit::Lost),
        }
    }

    /// Waits until the tree has ended: `Stopped` after [`stop`](Self::stop), [`Exit::GaveUp`] when the root's
    /// intensity was exceeded, whereupon `main` exits and systemd decides.
    pub async fn ended(&self) -> Exit {
        let mut stage = self.stage.clone();
        match stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)))
            .await
            .as_deref()
        {
            Ok(Stage::Ended(exit)) => exit.clone(),
            _ => Exit::Lost,
        }
    }

    /// Stops all children in reverse order, each within its own limit and all of them within `limit`; then those that
    /// are left are ended, and named.
    pub async fn stop(&self, limit: Duration) -> StopReport {
        let began = Instant::now();
        self.env.leftovers.lock().clear();
        // A tree that has ended by itself hears no more orders.
        let _ = self.orders.send(GroupOrder::Stop);
        let mut ended = tokio::time::timeout(limit, self.ended()).await.is_ok();
        if !ended {
            let _ = self.orders.send(GroupOrder::Kill);
            ended = tokio::time::timeout(GRACE * 2, self.ended()).await.is_ok();
        }
        let mut leftovers = std::mem::take(&mut *self.env.leftovers.lock());
        if !ended {
            let left = self.root.still_up().into_iter();
            leftovers.extend(left.map(|path| Leftover {
                path,
                fate: Fate::LeftRunning,
            }));
        }
        // Killed first and then not even gone: the worse word stands.
        let worse = |one: &Leftover| one.fate == Fate::LeftRunning;
        let stuck: Vec<String> = leftovers
            .iter()
            .filter(|one| worse(one))
            .map(|one| one.path.clone())
            .collect();
        leftovers.retain(|one| worse(one) || !stuck.contains(&one.path));
        StopReport {
            took_ms: millis(began.elapsed()),
            leftovers,
        }
    }

    /// How everything stands.
    #[must_use]
    pub fn report(&self) -> TreeReport {
        let now = Instant::now();
        TreeReport {
            root: self.root.report(now),
            arbiters: self.hearts(),
        }
    }

    /// The threads, and for how long each has owed the watchdog an answer.
    #[must_use]
    pub fn hearts(&self) -> Vec<ArbiterReport> {
        let owing = self.env.arbiters.owing(Instant::now());
        let report = |owing: super::arbiters::Owing| ArbiterReport {
            name: owing.name,
            silent_ms: millis(owing.silent),
        };
        owing.into_iter().map(report).collect()
    }

    /// What happens in the tree from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<TreeEvent> {
        self.env.events.subscribe()
    }

    /// Lets something go wrong in the child of this path (feature `failpoints`, for tests and drills).
    ///
    /// # Errors
    /// When no actor has this path.
    #[cfg(feature = "failpoints")]
    pub fn fault(&self, path: &str, fault: super::fault::Fault) -> Result<(), super::fault::NoSuchChild> {
        let node = self.root.find(path);
        match node.as_ref().and_then(|node| node.launch.as_ref()) {
            Some(launch) => {
                launch.fault(fault);
                Ok(())
            }
            None => Err(super::fault::NoSuchChild {
                path: path.to_owned(),
                actors: self.root.actors(),
            }),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = self.orders.send(GroupOrder::Kill);
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("root", &self.root.name)
            .finish_non_exhaustive()
    }
}

/// The root group's parent: it has no table of its own, it only says what happened.
async fn run_root(
    plan: GroupPlan,
    env: Arc<Env>,
    root: Arc<Node>,
    orders: mpsc::UnboundedReceiver<GroupOrder>,
    stage: watch::Sender<Stage>,
    watchdog: Option<watchdog::Running>,
) {
    let (line, mut events) = mpsc::unbounded_channel::<ChildEvent>();
    root.starting();
    let reporter = Reporter::new(0, 0, line);
    let task = spawn_owned(
        "supervision group",
        run_group(Arc::new(plan), Arc::clone(&env), orders, reporter),
    );
    while let Some(event) = events.recv().await {
        match event.what {
            What::Started => {
                root.running(Instant::now());
                stage.send_replace(Stage::Up);
            }
            What::Ended(exit) => {
                root.ended(exit.clone(), Instant::now());
                if exit.is_crash() {
                    tracing::error!("The supervision tree has ended: `{}` {exit}", root.name);
                }
                // First, or it would take the stopping threads for blocked ones.
                drop(watchdog);
                env.arbiters.stop();
                stage.send_replace(Stage::Ended(exit));
                break;
            }
        }
    }
    drop(task);
}
