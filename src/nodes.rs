//! Several daemons on one database: who is there, and which part of the work is whose.
//!
//! # Membership
//! A node is one life of a daemon. It says every two seconds that it lives, on a connection of its own, so that an
//! exhausted pool is no death. One that was not heard of for ten seconds, by the database's clock, is *declared dead* by
//! whichever node sees it first: its row is marked, then its sessions are ended, and once none is left what it owned is
//! free. Row locks decide between a heartbeat and a burial: one of them is too late. A node that finds itself declared
//! dead (it was stopped, suspended, cut off) joins again and owns nothing. One that was silent itself, or whose last
//! heartbeat is at an odd time by the database's clock, declares nobody dead for ten seconds: when the database was
//! away, or its clock was set, all are silent, and each has the time to be heard of again.
//!
//! # Ownership
//! The work is divided into parts, each a row of `leases`: 256 shards of what is watched, a destination's syncer, and what
//! is to be done once in the house (alerts, rescue, pruning, working out prices anew). [`plan`] says whose each should
//! be: the node that draws the highest number for it (rendezvous hashing), so that only what must move moves. A part has
//! one owner at a time, and an **epoch** that grows with every change of hands.
//!
//! # Trust
//! A node trusts that it owns what it owns for eight seconds from the *start* of its last heartbeat that succeeded, and
//! asks nobody for that. Others wait for ten. The clock is `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
//! Beyond the window [`Ownership::holds`] says no, and nothing is picked, taken or sent.
//!
//! # Handing over
//! A part that should be another's is first given up by those who work on it: each holds a [`Hold`] while it does. With the
//! last one dropped it is released, and others are told at once. Whoever gets it waits for that, or for the burial.
//!
//! # What is guaranteed
//! - Two nodes never both trust that they own a part: the windows do not overlap.
//! - Every write on behalf of a part compares its epoch. One that was compared in time and is still under way when its node
//!   is declared dead is undone with its session, before the next owner begins.
//! - A request that had left before its node was stopped may act late. Its answer, or its absence, is found by the fences
//!   of the push itself, and the listing is read back.
//! - Nothing here needs a node's clock to be right.

pub mod keeper;
mod notices;
mod ownership;
mod place;
pub mod plan;
mod trust;
mod view;

pub use keeper::{Identity, Keeper, Timing, alone};
pub use notices::{Concern, News, Notices, platforms, watches};
pub use ownership::{Hold, Ownership};
pub use place::host_name;
pub use view::View;

/// The syncer of a destination.
#[must_use]
pub fn sync_role(destination: crate::domain::DestinationPlatform) -> String {
    format!("sync/{destination}")
}

/// Who looks for what is to be told, and tells it.
pub const ALERT: &str = "alert";
/// Who puts back the work of those that are gone.
pub const RESCUE: &str = "rescue";
/// Who deletes what is done and old.
pub const PRUNE: &str = "prune";
/// Who works out what every listing should be, when the rules have changed.
pub const RULES: &str = "rules";
/// What a node must be set up for to own shards.
pub const WATCH: &str = "watch";
