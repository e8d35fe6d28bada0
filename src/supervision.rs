//! supervision

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
