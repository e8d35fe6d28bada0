//! The watching path on a real PostgreSQL: what pages show, through watchers and the ledger, into the tables.

mod holds;
pub mod kit;
mod ledger;
mod patrol;
mod store;
mod watcher;
