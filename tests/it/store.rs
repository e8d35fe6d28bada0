//! The store on a real PostgreSQL.

mod credentials;
mod migrate;
mod outage;
mod pool;
mod registrations;
mod schema;
mod sole;
