//! zaikoban (在庫番, the watchman of the stock).
//!
//! Watches the stock and price of goods at Japanese sources and keeps the listings on other shops in line. The modules
//! stand in layer order: each may use those above it as `docs/ARCHITECTURE.md` says, and `tests/layers.rs` holds them
//! to it.
//!
//! # Which error goes where
//! A module whose callers match on the error has a `thiserror` enum. What comes from outside is a
//! [`platform::PlatformError`] with a [class](domain::ErrorClass). The database answers with `store::StoreError`, which
//! tells "not there", "lost the race" and "database down" apart. `cli` and `app` use `anyhow`, because a person reads
//! it. One boundary logs a failure, once.

// ground
pub mod backoff;
pub mod clock;
pub mod domain;
pub mod http;
pub mod telemetry;
pub mod vault;
// machinery
pub mod resilience;
pub mod supervision;
// adapters
pub mod platform;
pub mod store;
// who does what
pub mod nodes;
// engines
pub mod queue;
pub mod schedule;
// purposes
pub mod alert;
pub mod pricing;
pub mod sync;
pub mod watch;
// doors
pub mod api;
pub mod control;
pub mod ops;
// composition
pub mod app;
pub mod cli;
pub mod config;
pub mod simulator;
