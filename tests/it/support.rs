//! What the tests share.

pub mod long;
pub mod oas;
pub mod pg;
pub mod proxy;
pub mod sink;
pub mod wait;
