//! The scheduler on a real PostgreSQL: firings, runs, and what each entry does.

mod actions;
mod backup;
mod firing;
mod kit;
mod runs;
