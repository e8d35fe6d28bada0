//! What an operator sees of the tree, and what others are told of it.

use super::child::Launch;
use super::decide::Exit;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The whole tree at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct TreeReport {
    /// The root group.
    pub root: NodeReport,
    /// The threads that actors live on.
    pub arbiters: Vec<ArbiterReport>,
}

/// One thread.
#[derive(Clone, Debug, Serialize)]
pub struct ArbiterReport {
    /// Its name in the specs.
    pub name: String,
    /// For how long it has owed the watchdog an answer.
    pub silent_ms: u64,
}

/// One group or child.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Its name in its group.
    pub name: String,
    /// Names from below the root down, joined by `/`; the root's is its name.
    pub path: String,
    /// Where it stands.
    pub state: ChildState,
    /// Something in it is not as it should be: it, or one below it, is down, parked or being restarted.
    pub degraded: bool,
    /// How often it was started again, for its own crashes or its neighbours'.
    pub restarts: u32,
    /// How it ended last, and when.
    pub last_exit: Option<LastExit>,
    /// For an actor.
    pub mailbox: Option<MailboxReport>,
    /// The thread it lives on.
    pub arbiter: String,
    /// Since it was started last, while it runs.
    pub uptime_ms: Option<u64>,
    /// Until it is tried again, while it is down.
    pub retry_in_ms: Option<u64>,
    /// For a group, in the order of their start.
    pub children: Vec<NodeReport>,
}

/// How a child ended last.
#[derive(Clone, Debug, Serialize)]
pub struct LastExit {
    /// For programs.
    pub exit: Exit,
    /// For people.
    pub text: String,
    /// How long ago.
    pub ago_ms: u64,
}

/// The mailbox of an actor.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MailboxReport {
    /// Messages that nobody has taken out yet.
    pub waiting: usize,
    /// Places taken: waiting, in hand, or their answer not there yet.
    pub taken: u32,
    /// Places.
    pub capacity: u32,
}

/// Where a child stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Its turn to start has not come.
    Waiting,
    /// Being started.
    Starting,
    /// Running.
    Running,
    /// Down for a moment.
    Restarting,
    /// It crashed too often, is down, and will be tried again.
    Parked,
    /// Asked to stop.
    Stopping,
    /// Down, and not to be started again.
    Stopped,
}

/// Something happened in the tree.
#[derive(Clone, Debug, Serialize)]
pub struct TreeEvent {
    /// Which child.
    pub path: String,
    /// What.
    pub what: TreeEventKind,
}

/// What happened to a child.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TreeEventKind {
    /// It is up.
    Up {
        /// How often it was started again until now; 0 is the first start.
        restarts: u32,
    },
    /// It ended and will be started again.
    Restarting {
        /// How it ended.
        exit: Exit,
        /// The wait before.
        after_ms: u64,
    },
    /// It crashed too often and is tried again later. For `sync` and `watch` this deserves a critical alert.
    Parked {
        /// How it ended.
        exit: Exit,
        /// The wait before.
        after_ms: u64,
    },
    /// It ended, and by its restart type that is that.
    Left {
        /// How it ended.
        exit: Exit,
    },
    /// Its crash made its group give up.
    GaveUp {
        /// How it ended.
        exit: Exit,
    },
}

// === the live tree behind the report ===

/// What is known of a group or child at any time, without asking its task.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) arbiter: String,
    pub(super) launch: Option<Arc<dyn Launch>>,
    pub(super) children: Vec<Arc<Node>>,
    facts: Mutex<Facts>,
}

struct Facts {
    state: ChildState,
    starts: u32,
    since: Instant,
    last_exit: Option<(Exit, Instant)>,
    next_try: Option<Instant>,
}

// === impl Node ===

impl Node {
    pub(super) fn new(
        name: String,
        path: String,
        arbiter: String,
        launch: Option<Arc<dyn Launch>>,
        children: Vec<Arc<Node>>,
    ) -> Self {
        let facts = Facts {
            state: ChildState::Waiting,
            starts: 0,
            since: Instant::now(),
            last_exit: None,
            next_try: None,
        };
        Self {
            name,
            path,
            arbiter,
            launch,
            children,
            facts: Mutex::new(facts),
        }
    }

    pub(super) fn state(&self) -> ChildState {
        self.facts.lock().state
    }

    pub(super) fn restarts(&self) -> u32 {
        self.facts.lock().starts.saturating_sub(1)
    }

    pub(super) fn last_exit(&self) -> Option<Exit> {
        self.facts.lock().last_exit.as_ref().map(|(exit, _)| exit.clone())
    }

    pub(super) fn starting(&self) {
        let mut facts = self.facts.lock();
        facts.state = ChildState::Starting;
        facts.starts = facts.starts.saturating_add(1);
        facts.next_try = None;
    }

    pub(super) fn running(&self, now: Instant) {
        let mut facts = self.facts.lock();
        (facts.state, facts.since) = (ChildState::Running, now);
    }

    pub(super) fn stopping(&self) {
        self.facts.lock().state = ChildState::Stopping;
    }

    /// A life ended; unless told more, it stays down.
    pub(super) fn ended(&self, exit: Exit, now: Instant) {
        let mut facts = self.facts.lock();
        facts.state = ChildState::Stopped;
        facts.last_exit = Some((exit, now));
    }

    pub(super) fn down_until(&self, state: ChildState, next_try: Instant) {
        let mut facts = self.facts.lock();
        (facts.state, facts.next_try) = (state, Some(next_try));
    }

    #[cfg(feature = "failpoints")]
    pub(super) fn find(self: &Arc<Self>, path: &str) -> Option<Arc<Self>> {
        if self.path == path {
            return Some(Arc::clone(self));
        }
        self.children.iter().find_map(|child| child.find(path))
    }

    /// The paths of all actors below here.
    #[cfg(feature = "failpoints")]
    pub(super) fn actors(&self) -> Vec<String> {
        let own = self.launch.as_ref().map(|_| self.path.clone());
        own.into_iter()
            .chain(self.children.iter().flat_map(|child| child.actors()))
            .collect()
    }

    /// Those that are not down, in the order of their stop.
    pub(super) fn still_up(&self) -> Vec<String> {
        let mut left: Vec<String> = self
            .children
            .iter()
            .rev()
            .flat_map(|child| child.still_up())
            .collect();
        let up = matches!(
            self.state(),
            ChildState::Running | ChildState::Starting | ChildState::Stopping
        );
        if self.launch.is_some() && up {
            left.push(self.path.clone());
        }
        left
    }

    pub(super) fn report(&self, now: Instant) -> NodeReport {
        let children: Vec<NodeReport> = self.children.iter().map(|child| child.report(now)).collect();
        let facts = self.facts.lock();
        let ms_since = |then: Instant| millis(now.saturating_duration_since(then));
        let running = facts.state == ChildState::Running;
        // A child that ended as its restart type allows is no trouble; one that crashed and stays down is.
        let crashed = facts.last_exit.as_ref().is_some_and(|(exit, _)| exit.is_crash());
        let well = running || (facts.state == ChildState::Stopped && !crashed);
        let mailbox = self.launch.as_ref().map(|launch| {
            let (waiting, taken, capacity) = launch.load();
            MailboxReport {
                waiting,
                taken,
                capacity,
            }
        });
        NodeReport {
            name: self.name.clone(),
            path: self.path.clone(),
            state: facts.state,
            degraded: !well || children.iter().any(|child| child.degraded),
            restarts: facts.starts.saturating_sub(1),
            last_exit: facts.last_exit.as_ref().map(|(exit, at)| LastExit {
                exit: exit.clone(),
                text: exit.to_string(),
                ago_ms: ms_since(*at),
            }),
            mailbox,
            arbiter: self.arbiter.clone(),
            uptime_ms: running.then(|| ms_since(facts.since)),
            retry_in_ms: facts.next_try.map(|at| millis(at.saturating_duration_since(now))),
            children,
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
