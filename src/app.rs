//! Builds everything and takes it down again: pools, guards, tree, door.
//!
//! [`run`] is the daemon's whole life as one readable sequence. Its shutdown is the start in reverse: no new work, the
//! tree (which drains), the database, the door last, so that `status` answers to the end.

mod build;
mod ports;
pub mod rehearsal;

use crate::clock::Clock;
use crate::config::Settings;
use crate::control::door::{Door, DoorError, DoorSettings};
use crate::ops::Ops;
use crate::{api, store, telemetry};
use anyhow::Context;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How the daemon's life came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// A part crashed more often than the tree allows.
    GaveUp(String),
    /// Another daemon has the socket or the database.
    Busy(String),
}
