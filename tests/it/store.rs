//! The store on a real PostgreSQL.

mod jobs;
mod schema;
