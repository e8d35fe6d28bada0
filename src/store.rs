//! The database: what may not be lost.
//!
//! One file per aggregate; functions take a connection first, so that one signature serves "on the pool" and "inside my
//! transaction", and answer domain types or a [`StoreError`]. `find_*` answers `Option`, `get_*` an error when there is
//! nothing, `claim_*`, `record_*` and `finish_*` say the intent. SQL and diesel stay in this room.
//!
//! PostgreSQL is the truth. It is either a server the operator names, or a private one that the daemon makes, runs and
//! stops itself ([`embedded`]). Its being away is a value ([`StoreError::Unavailable`]), never a crash.

pub mod alerts;
pub mod bulk;
mod cell;
pub mod cleaning;
pub mod credentials;
pub mod dump;
pub mod embedded;
pub mod error;
pub mod errors;
pub mod executions;
pub mod figures;
pub mod health;
pub mod health_checks;
pub mod history;
pub mod holds;
mod hot;
pub mod jobs;
pub mod leases;
pub mod ledger;
pub mod listings;
pub mod looping;
pub mod migrate;
pub mod nodes;
pub mod partitions;
pub mod platform_state;
pub mod pool;
pub mod pushes;
pub mod rates;
pub mod reads;
pub mod redis;
pub mod registrations;
pub mod schedules;
mod schema;
pub mod sole;
pub mod status;
pub mod summaries;
pub mod sweeps;
pub mod sync_log;
mod text;
pub mod validation;
pub mod views;
pub mod wanted;
pub mod watches;
mod wire;

/// A connection to the database, inside or outside a transaction.
pub use diesel_async::AsyncPgConnection as Connection;
pub use embedded::{Embedded, EmbeddedError, EmbeddedSettings};
pub use error::{SqlState, StoreError};
pub(crate) use hot::hot;
pub use pool::{Conn, Db, PoolSettings};
pub use sole::Sole;
pub use status::{DatabaseStatus, StatusBoard};
