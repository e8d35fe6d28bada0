//! The room's tests on living trees. The pure parts have theirs beside them.

mod arbiters;
#[cfg(feature = "failpoints")]
mod faults;
mod groups;
mod handles;
mod kit;
mod matrix;
mod roster;
