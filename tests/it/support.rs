//! What the tests share.

pub mod pg;
pub mod proxy;
pub mod wait;
