//! Everything that needs more than one room, or a real PostgreSQL: one binary, one link step.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "what helps the tests may fail as loudly as they do"
)]
#![allow(
    clippy::allow_attributes,
    dead_code,
    unreachable_pub,
    reason = "helpers wait here for the tests of every room"
)]

mod alert;
mod amazon;

mod conformance;
mod daemon;
mod ebay;
mod embedded;
mod faults;
mod mercari;
mod nodes;
mod queue;
mod redis;
mod schedule;
mod service;
mod simulator;
mod store;
mod support;
mod sync;
mod wanted;
mod watch;
mod yahoo;
