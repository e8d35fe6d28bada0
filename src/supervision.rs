//! Supervision: who starts whom, who notices an end, and what follows from it.
//!
//! # Why not actix's own
//! actix 0.13's `Supervisor` never restarts an actor that panicked, and restarts one that stopped at once, with its old
//! state and without limit. `do_send` ignores the mailbox's capacity and is silent once the actor is dead, the capacity
//! is per sender clone and bounds nothing, and a panic in `stopping` aborts the process. So actors and contexts are
//! actix's, and everything around them is the house's own, after OTP: a *guard* polls each actor's context and catches
//! its panics, a *group* decides what follows, and callers hold a [`Handle`], never an address.
//!
//! # The words
//! A **child** is an actor or a group, described by a [`ChildSpec`], which is data. A **life** is the time between one
//! start of a child and its end; state is fresh in every life, the [`Handle`] and its queue are the same in all. A
//! **crash** is an end that should not be: a panic, a standstill, a lost arbiter, a failed start. An **outage** of
//! something outside is no crash: the child lives on and says [how long it waits](Life::waiting_until).
//!
//! # What follows from an end
//!
//! | [`Restart`] | stopped by itself | crashed |
//! |---|---|---|
//! | `Permanent` | restarted | restarted |
//! | `Transient` | stays down | restarted |
//! | `Temporary` | stays down | stays down |
//!
//! | [`Strategy`] | goes down and comes up with the child |
//! |---|---|
//! | `OneForOne` | nobody |
//! | `RestForOne` | those listed after it, because they were started relying on it |
//! | `OneForAll` | all |
//!
//! The first restart is at once, later ones after 100, 200, 400 … ms. More restarts than [`Intensity`] allows, and the
//! group gives up, in one of two ways. [`GiveUp::Escalate`]: it stops its children and ends, which its parent treats as
//! a crash of this child; at the root [`Tree::ended`] resolves, `main` exits and systemd decides. [`GiveUp::Park`]: the
//! child (with those that rely on it) stays down, is shown as degraded with its last exit, and is tried again after 5,
//! 10, 20, 40, 60, 60 … s; one crash before it has lived a whole period parks it again. A dashboard that cannot start
//! must not end the queue.
//!
//! # What is promised
//! - **Order.** Children start in listed order and stop in reverse, each within its limit; what does not stop is ended
//!   and named ([`StopReport`]). Under `RestForOne` and `OneForAll` nobody is started before those it relies on are up.
//! - **Messages.** What a mailbox has accepted is handled or answered, never silently lost: only the message in hand
//!   fails with a crash, those behind it are served by the successor in order, on another thread if need be. Refusal is
//!   immediate and visible. See [`Handle`].
//! - **Panics** in handlers, actor futures, timers, streams, `started`, the factory, `stopping`, `stopped` and `Drop`
//!   are noticed with text and place, and do not reach the neighbours or the process. A panic in a `ResponseFuture`
//!   (which actix runs apart from the actor) is logged and answered, and the actor lives.
//! - **Standstill.** A child whose oldest message waits, or whose loop does not beat, for longer than its
//!   `stuck_after` is replaced in place. Found late by a quarter of that time at most.
//! - **Threads.** A lost arbiter is replaced. A blocked one cannot be; the [`Watchdog`] names it and ends the process
//!   within 35 s.
//! - **Dynamic children** ([`Roster`]) count each for itself: the one that keeps crashing is quarantined, the other
//!   99,999 never notice. About 1,100 bytes each.
//! - **Speed.** From a crash to the successor's first answer: well under a millisecond on an idle machine.
//!
//! Not covered by any supervisor: an abort, a stack overflow, memory that is gone. For these there is systemd.
//!
//! # How to write a supervised actor
//! - Make it fresh in the factory of [`ChildSpec::actor`], from what was persisted; hold nothing that must survive.
//! - Run a loop as a future on its own context (`ctx.spawn(fut.into_actor(self))` in `started`), so that its panic is
//!   the actor's; [`beat`](Life::beat) on every turn, and say so before a [long wait](Life::waiting_until).
//! - Spawn other work with [`spawn_owned`], keep the task, await it.
//! - To finish something before it stops, await [`Life::stopping`] and then call `ctx.stop()`. Without that the group
//!   calls `ctx.stop()` itself.
//! - Two actors that wait for each other's answers stand still until a time limit ends it: let requests flow one way.
//!
//! # The parts
//! Pure: `decide` (the table), `intensity` (how often, how long to wait), `machine` (what a group does next), the
//! judgement in `heartbeat`. Around them: `guard` (polls one actor), `mailbox` and `letter` (the queue that survives),
//! `child` and `group` (a group's task), `tree`, `roster`, `arbiters` and `watchdog` (threads), `report` (what is
//! shown), `panics` (the hook), `fault` (things that go wrong on order).
//!
//! All times are tokio's, so every rule is tested on paused time; only lost and blocked arbiters need real time.

mod arbiters;
mod check;
mod child;
mod decide;
#[cfg(feature = "failpoints")]
mod fault;
mod group;
mod guard;
mod handle;
mod heartbeat;
mod intensity;
mod letter;
mod machine;
mod mailbox;
mod panics;
mod plan;
mod report;
mod roster;
mod spec;
mod step;
mod task;
#[cfg(test)]
mod tests;
mod tree;
mod watchdog;

pub use check::SpecProblem;
pub use decide::Exit;
#[cfg(feature = "failpoints")]
pub use fault::{Fault, NoSuchChild};
pub use group::{Fate, Leftover};
pub use handle::{Handle, SendError};
pub use heartbeat::Life;
pub use report::{
    ArbiterReport, ChildState, LastExit, MailboxReport, NodeReport, TreeEvent, TreeEventKind, TreeReport,
};
pub use roster::{DynHandle, DynamicSpec, Roster, RosterCounts, RosterEvent};
pub use spec::{ChildSpec, GiveUp, GroupSpec, Intensity, Placement, Restart, Shutdown, Strategy};
pub use task::{OwnedTask, TaskError, spawn_owned};
pub use tree::{StartError, StopReport, Tree, TreeOptions};
pub use watchdog::Watchdog;
