//! The task of one group: it tells the [`Machine`] what happened and carries out what that decides.

use super::arbiters::Arbiters;
use super::child::{ChildEvent, Reporter, What};
use super::decide::Exit;
use super::heartbeat::Life;
use super::machine::Machine;
use super::plan::{Body, ChildPlan, GroupPlan};
use super::report::{ChildState, TreeEvent, TreeEventKind, millis};
use super::step::Step;
use super::task::{OwnedTask, spawn_owned};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

/// What the groups of one tree share.
pub(super) struct Env {
    pub(super) arbiters: Arbiters,
    pub(super) events: broadcast::Sender<TreeEvent>,
    pub(super) leftovers: Mutex<Vec<Leftover>>,
}

/// A child that did not stop in time.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Leftover {
    /// Which.
    pub path: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a child that did not stop in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was ended in the middle of what it did.
    Killed,
    /// It could not even be ended: its arbiter is blocked.
    LeftRunning,
}

/// What a parent tells a group.
#[derive(Clone, Copy, Debug)]
pub(super) enum GroupOrder {
    Stop,
    Kill,
}

struct Group {
    plan: Arc<GroupPlan>,
    env: Arc<Env>,
    machine: Machine,
    line: mpsc::UnboundedSender<ChildEvent>,
    runs: Vec<Run>,
    closing: bool,
}

/// The present life of one child.
#[derive(Default)]
struct Run {
    life: u64,
    /// A life before did not notice its end: its thread is not to be trusted.
    abandoned: bool,
    below: Option<Below>,
}

struct Below {
    orders: mpsc::UnboundedSender<GroupOrder>,
    _task: OwnedTask<()>,
}

/// Runs a group from the start of its children until the last one is down, and reports how it ended.
///
/// Boxed, because groups stand in groups.
pub(super) fn run_group(
    plan: Arc<GroupPlan>,
    env: Arc<Env>,
    mut orders: mpsc::UnboundedReceiver<GroupOrder>,
    mut reporter: Reporter,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let (line, mut events) = mpsc::unbounded_channel();
        let mut group = Group::new(plan, env, line);
        let mut has_parent = true;
        loop {
            if let Some(exit) = group.carry_out(&reporter) {
                reporter.ended(exit);
                return;
            }
            let wake_at = group.wake_at();
            tokio::select! {
                biased;
                order = orders.recv(), if has_parent => {
                    // A closed channel is ready for ever: look at it once.
                    has_parent = order.is_some();
                    group.ordered(order);
                }
                // Never `None`: the group holds a sender itself.
                Some(event) = events.recv() => group.happened(event),
                () = sleep_until(wake_at) => {}
            }
        }
    })
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

// === impl Group ===

impl Group {
    fn new(plan: Arc<GroupPlan>, env: Arc<Env>, line: mpsc::UnboundedSender<ChildEvent>) -> Self {
        let rules = plan.children.iter().map(|child| child.rules.clone());
        let machine = Machine::new(plan.strategy, plan.intensity, plan.give_up, rules, Instant::now());
        let runs = plan.children.iter().map(|_| Run::default()).collect();
        Self {
            plan,
            env,
            machine,
            line,
            runs,
            closing: false,
        }
    }

    /// Does all that can be done now; gives the reason when the group has ended.
    fn carry_out(&mut self, reporter: &Reporter) -> Option<Exit> {
        loop {
            let steps = self.machine.advance(Instant::now());
            if steps.is_empty() {
                return None;
            }
            for step in steps {
                match step {
                    Step::Ended(exit) => return Some(exit),
                    Step::Opened => reporter.started(),
                    step => self.step(step),
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        let (Step::Start(child)
        | Step::Kill(child)
        | Step::Abandon { child, .. }
        | Step::Close(child)
        | Step::Left(child)
        | Step::GaveUp(child)
        | Step::AskStop { child, .. }
        | Step::Parked { child, .. }
        | Step::Restarting { child, .. }) = step
        else {
            return;
        };
        let plan = Arc::clone(&self.plan);
        let (Some(child_plan), Some(run)) = (plan.children.get(child), self.runs.get_mut(child)) else {
            return;
        };
        match step {
            Step::Start(_) => self.start(child, child_plan),
            Step::AskStop { finally, .. } => {
                child_plan.node.stopping();
                match &child_plan.body {
                    Body::Actor { launch, .. } => launch.ask_stop(finally),
                    Body::Group(_) => run.tell(GroupOrder::Stop),
                }
            }
            Step::Kill(_) => {
                match &child_plan.body {
                    Body::Actor { launch, .. } => launch.kill(),
                    Body::Group(_) => run.tell(GroupOrder::Kill),
                }
                self.name_leftover(child_plan, Fate::Killed);
            }
            Step::Abandon { exit, .. } => {
                run.life += 1;
                run.abandoned = true;
                child_plan.node.ended(exit, Instant::now());
                self.name_leftover(child_plan, Fate::LeftRunning);
            }
            Step::Close(_) => child_plan.close(),
            Step::Parked { until, .. } => self.will_be_back(child_plan, until, true),
            Step::Restarting { at, .. } => self.will_be_back(child_plan, at, false),
            Step::Left(_) => self.stays_down(child_plan, false),
            Step::GaveUp(_) => self.stays_down(child_plan, true),
            Step::Opened | Step::Ended(_) => {}
        }
    }

    fn start(&mut self, child: usize, plan: &ChildPlan) {
        let Some(run) = self.runs.get_mut(child) else {
            return;
        };
        run.life += 1;
        plan.node.starting();
        let mut reporter = Reporter::new(child, run.life, self.line.clone());
        match &plan.body {
            Body::Group(group) => {
                let (orders, ordered) = mpsc::unbounded_channel();
                let task = run_group(Arc::clone(group), Arc::clone(&self.env), ordered, reporter);
                run.below = Some(Below {
                    orders,
                    _task: spawn_owned("supervision group", task),
                });
            }
            Body::Actor { launch, .. } => {
                let name = &plan.node.arbiter;
                let arbiter = if run.abandoned {
                    self.env
                        .arbiters
                        .get(&format!("{name}, after {} was abandoned", plan.node.path))
                } else {
                    self.env.arbiters.get(name)
                };
                match arbiter {
                    Ok(arbiter) => {
                        let life = Life::new(
                            Arc::from(plan.node.path.as_str()),
                            Some(self.env.arbiters.clone()),
                        );
                        launch.start(&arbiter, life, reporter);
                    }
                    Err(error) => reporter.ended(Exit::NotStarted {
                        reason: format!("no thread for arbiter `{name}`: {error}"),
                    }),
                }
            }
        }
    }

    fn happened(&mut self, event: ChildEvent) {
        let now = Instant::now();
        let plan = Arc::clone(&self.plan);
        let (Some(child), Some(run)) = (plan.children.get(event.child), self.runs.get(event.child)) else {
            return;
        };
        if run.life != event.life {
            return; // a life that was abandoned
        }
        match event.what {
            What::Started => {
                self.machine.started(event.child, now);
                child.node.running(now);
                self.tell(
                    child,
                    TreeEventKind::Up {
                        restarts: child.node.restarts(),
                    },
                );
            }
            What::Ended(exit) => {
                let exit = self.machine.ended(event.child, exit, now);
                child.node.ended(exit, now);
                if let Some((at, parked)) = self.machine.coming_back(event.child) {
                    let state = if parked {
                        ChildState::Parked
                    } else {
                        ChildState::Restarting
                    };
                    child.node.down_until(state, at);
                }
            }
        }
    }

    fn will_be_back(&self, child: &ChildPlan, at: Instant, parked: bool) {
        let path = &child.node.path;
        let wait = at.saturating_duration_since(Instant::now());
        let exit = child.node.last_exit().unwrap_or(Exit::Lost);
        let after_ms = millis(wait);
        if parked {
            tracing::error!(
                child.path = %path, retry_in_ms = after_ms,
                "Child `{path}` {exit}. That was once too often: it is parked and tried again in {wait:?}"
            );
            self.tell(child, TreeEventKind::Parked { exit, after_ms });
        } else {
            if let Exit::Panic { location, .. } = &exit {
                // The field makes it a report, too: it heals by itself, and is a fault of ours.
                tracing::warn!(
                    child.path = %path, retry_in_ms = after_ms, panic.location = %location,
                    "Child `{path}` {exit}. It is started again in {wait:?}"
                );
                return self.tell(child, TreeEventKind::Restarting { exit, after_ms });
            }
            tracing::warn!(
                child.path = %path, retry_in_ms = after_ms,
                "Child `{path}` {exit}. It is started again in {wait:?}"
            );
            self.tell(child, TreeEventKind::Restarting { exit, after_ms });
        }
    }

    fn stays_down(&self, child: &ChildPlan, gave_up: bool) {
        let path = &child.node.path;
        let exit = child.node.last_exit().unwrap_or(Exit::Lost);
        if gave_up {
            tracing::error!(child.path = %path, "Child `{path}` {exit}. That was once too often: its group gives up");
            self.tell(child, TreeEventKind::GaveUp { exit });
        } else {
            tracing::info!(child.path = %path, "Child `{path}` {exit} and is not started again");
            self.tell(child, TreeEventKind::Left { exit });
        }
    }

    fn ordered(&mut self, order: Option<GroupOrder>) {
        self.closing = true;
        match order {
            Some(GroupOrder::Stop) => self.machine.stop(Exit::Stopped),
            // A parent that is gone waits for nothing any more.
            Some(GroupOrder::Kill) | None => self.machine.kill_all(),
        }
    }

    /// The machine's next time, and the first at which a heart could be found still. Finds those that are.
    fn wake_at(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut first: Option<Instant> = None;
        let mut stuck = false;
        for (index, child) in self.plan.children.iter().enumerate() {
            let Body::Actor { launch, stuck_after } = &child.body else {
                continue;
            };
            if *stuck_after == Duration::MAX || !self.machine.is_up(index) {
                continue;
            }
            // Idle now; its next message may come at any time, and is found late by a quarter of its limit at most.
            let mut look_at = now.checked_add(*stuck_after / 4);
            if let Some(silence) = launch.silence(*stuck_after) {
                if silence.stuck_at <= now {
                    let silent = now.saturating_duration_since(silence.since);
                    self.machine.stuck(index, Exit::stuck(silent), now);
                    stuck = true;
                }
                look_at = Some(silence.stuck_at);
            }
            first = [first, look_at].into_iter().flatten().min();
        }
        if stuck {
            return Some(now); // the machine has something to say about it
        }
        let due = self.machine.wake_at(now);
        [first, due].into_iter().flatten().min()
    }

    fn name_leftover(&self, child: &ChildPlan, fate: Fate) {
        if self.closing && matches!(child.body, Body::Actor { .. }) {
            let path = child.node.path.clone();
            tracing::warn!(child.path = %path, "Child `{path}` did not stop within its limit: {fate:?}");
            self.env.leftovers.lock().push(Leftover { path, fate });
        }
    }

    fn tell(&self, child: &ChildPlan, what: TreeEventKind) {
        // Nobody need listen.
        let _ = self.env.events.send(TreeEvent {
            path: child.node.path.clone(),
            what,
        });
    }
}

impl Run {
    fn tell(&self, order: GroupOrder) {
        if let Some(below) = &self.below {
            let _ = below.orders.send(order);
        }
    }
}
