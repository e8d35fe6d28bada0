//! What a group's machine answers, and what it must know of each child.

use super::decide::Exit;
use super::spec::{Restart, Shutdown};
use tokio::time::Instant;

/// What the shell must do now, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin a new life of this child.
    Start(usize),
    /// Ask it to stop. `finally`: it will not come back, so its door shuts to new messages.
    AskStop { child: usize, finally: bool },
    /// End it now.
    Kill(usize),
    /// It did not notice being killed: forget that life, which counts as ended so; its successor goes to another
    /// arbiter.
    Abandon { child: usize, exit: Exit },
    /// It stays down for now or for good: answer what waits in its mailbox with `Down`.
    Close(usize),
    /// It crashed too often and is parked until then.
    Parked { child: usize, until: Instant },
    /// It crashed, or ended although it should not, and will be restarted at this time.
    Restarting { child: usize, at: Instant },
    /// It ended, and by its restart type it stays down.
    Left(usize),
    /// Its crash was one too many: the group stops.
    GaveUp(usize),
    /// Every child has had its first start.
    Opened,
    /// All children are down; the group ends.
    Ended(Exit),
}

/// What the machine must know of a child.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) path: String,
    pub(super) restart: Restart,
    /// `None` waits as long as it takes (groups: their children have the limits).
    pub(super) shutdown: Option<Shutdown>,
}
