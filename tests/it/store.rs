//! The store on a real PostgreSQL.

mod kept;
mod migrate;
mod outage;
mod pool;
mod schema;
