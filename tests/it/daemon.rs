//! The real daemon, as a process of its own, against simulated marketplaces: killed, cut off, lied to, stopped.
//!
//! Every test has a private database server of the daemon's own making, because that is what production starts with,
//! and because the tests' shared cluster forgets what it acknowledged (`fsync` is off there) and the daemon refuses such
//! a one. The server outlives a killed daemon, so that only the first start of a test is slow.
//!
//! What must hold is worked out beside the daemon, from the simulator's own books: see `rehearsal::compare`.

mod addresses;
mod alerts;
mod cli;
mod credentials;
mod doctor;
mod drift;
#[cfg(feature = "failpoints")]
mod failpoints;
mod first;
mod hostile;
mod house;
mod kills;
mod lies;
mod nodes;
mod orders;
mod preview;
mod proof;
mod rates;
mod redis;
mod refusals;
mod schedule;
mod server;
mod service;
mod starts;
mod stop;
mod storm;
#[cfg(feature = "failpoints")]
mod stuck;
mod surroundings;
#[cfg(feature = "failpoints")]
mod tree;
mod world;
