//! One API for every door: routes, and the envelope of answers and errors.
//!
//! The handlers are thin: they read the request, ask [`ops`](crate::ops) on the shared runtime (a door's worker has a
//! runtime of its own, and a database connection opened there would stall with it), and wrap the answer. Who may ask is
//! the door's affair; handlers learn the caller's name from the request's [`Caller`].

mod body;
mod credentials;
mod drift;
mod envelope;
mod handlers;
mod listing;
mod query;
mod rates;
mod routes;
mod schedule;
mod state;
mod told;

pub use routes::configure;
pub use state::{Caller, State};
