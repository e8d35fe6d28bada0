//! What the tests share.

pub mod pg;
pub mod wait;
