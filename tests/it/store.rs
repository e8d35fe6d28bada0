//! The store on a real PostgreSQL.

mod migrate;
mod outage;
mod pool;
mod schema;
mod sole;
