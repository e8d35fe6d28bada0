//! Child specs as data.

use super::child::{ActorLaunch, Launch};
use super::handle::Handle;
use super::heartbeat::Life;
use super::mailbox::Post;
use actix::{Actor, Context};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// When a child that ended is started again (the table is in the room's essay).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a crash, not after it stopped by itself.
    Transient,
    /// Never.
    Temporary,
}

/// How long a child may take to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It is ended at once, in the middle of whatever it waits for.
    Immediate,
    /// It is asked, and ended when this time is over.
    After(Duration),
}

/// On which arbiter (thread) a child lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the arbiter of its group.
    Group,
    /// On one of its own.
    Own,
    /// On the one with this name, shared by all that name it.
    Named(&'static str),
}

/// Who goes down and comes up with a child that crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody else.
    OneForOne,
    /// All children of the group.
    OneForAll,
    /// Those listed after it: they were started relying on it.
    RestForOne,
}

/// How many restarts are bearable: *more than* `restarts` times `within` the period is too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts that are still allowed.
    pub restarts: u32,
    /// The period they are counted over.
    pub within: Duration,
}

/// What a group does when a child crashes too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The group stops and ends; its parent decides. At the root, the tree ends.
    Escalate,
    /// The child is stopped, shown as degraded with its last exit, and tried again after 5, 10, 20, 40, 60, 60 … s.
    Park,
}

/// A group of children, in the order of their start.
#[derive(Debug)]
pub struct GroupSpec {
    /// Its name, a part of its children's paths.
    pub name: String,
    /// Who goes down with whom.
    pub strategy: Strategy,
    /// When it is too often.
    pub intensity: Intensity,
    /// What happens then.
    pub give_up: GiveUp,
    /// Started in this order, stopped in reverse.
    pub children: Vec<ChildSpec>,
}

/// One child: an actor or a group.
pub struct ChildSpec {
    pub(super) name: String,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) placement: Placement,
    pub(super) stuck_after: Duration,
    pub(super) kind: Kind,
    pub(super) capacity: usize,
    /// Settings that were made although they mean nothing for a group.
    pub(super) misplaced: Vec<&'static str>,
}

pub(super) enum Kind {
    Actor(Arc<dyn Launch>),
    Group(GroupSpec),
}

/// Messages a child holds, waiting and in hand, unless its spec says otherwise. Enough for a burst of one batch from
/// each of a dozen senders, and small enough that a full mailbox is seconds old, not minutes.
const DEFAULT_CAPACITY: usize = 1_024;
/// OTP's limit for workers.
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(5);
/// A group of 5 restarts a minute can never exceed its intensity by stuck children alone, so an outage that an actor
/// forgot to declare with [`Life::waiting_until`] does not climb the tree.
const DEFAULT_STUCK_AFTER: Duration = Duration::from_secs(60);
// === impl ChildSpec ===

impl ChildSpec {
    /// An actor, and the handle by which it is reached from now on, through all its lives.
    ///
    /// `make` is called for every life, on the child's arbiter: it must give *fresh* state (re-read what was
    /// persisted), and may panic, which counts as a crash.
    ///
    /// Defaults: permanent, asked to stop and ended after 5 s, on its group's arbiter, 1,024 messages, stuck after
    /// 60 s.
    pub fn actor<A>(name: &str, make: impl Fn(&Life) -> A + Send + Sync + 'static) -> (ChildSpec, Handle<A>)
    where
        A: Actor<Context = Context<A>> + Unpin,
    {
        let post = Arc::new(Post::new(DEFAULT_CAPACITY));
        let launch = ActorLaunch::new(Arc::clone(&post), Arc::new(make));
        let spec = Self::new(name, Kind::Actor(Arc::new(launch)));
        (spec, Handle::new(post))
    }

    /// A group below a group. Of its settings only [`restart`](Self::restart) and [`placement`](Self::placement) mean
    /// something: it has no mailbox, and it stops as slowly as its children need.
    #[must_use]
    pub fn group(group: GroupSpec) -> Self {
        Self::new(&group.name.clone(), Kind::Group(group))
    }

    fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            restart: Restart::Permanent,
            shutdown: Shutdown::After(DEFAULT_SHUTDOWN),
            placement: Placement::Group,
            stuck_after: DEFAULT_STUCK_AFTER,
            kind,
            capacity: DEFAULT_CAPACITY,
            misplaced: Vec::new(),
        }
    }

    /// When it is started again.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How long it may take to stop.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self.only_for_actors("shutdown")
    }

    /// On which arbiter it lives.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How many messages it holds, waiting and in hand; further ones are refused as busy.
    #[must_use]
    pub fn capacity(mut self, messages: usize) -> Self {
        if let Kind::Actor(launch) = &self.kind {
            launch.set_capacity(messages);
        }
        self.capacity = messages;
        self.only_for_actors("capacity")
    }

    /// For how long nothing may move while it has work, before it is replaced in place. [`Duration::MAX`] is never.
    #[must_use]
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.stuck_after = limit;
        self.only_for_actors("stuck_after")
    }

    /// How long [`Handle::send`] waits for an answer before it gives up; 120 s unless told otherwise.
    #[must_use]
    pub fn answer_within(self, limit: Duration) -> Self {
        if let Kind::Actor(launch) = &self.kind {
            launch.set_answer_within(limit);
        }
        self.only_for_actors("answer_within")
    }

    fn only_for_actors(mut self, setting: &'static str) -> Self {
        if matches!(self.kind, Kind::Group(_)) {
            self.misplaced.push(setting);
        }
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .field("placement", &self.placement)
            .field("capacity", &self.capacity)
            .field("stuck_after", &self.stuck_after)
            .finish_non_exhaustive()
    }
}

/// The path of a child: names from below the root down, joined by `/`.
pub(super) fn path_below(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}
