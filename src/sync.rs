//! Makes listings equal to what they should be, and keeps them so.

pub mod plan;
