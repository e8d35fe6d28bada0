//! What the tests share.

pub mod bank;
pub mod home;
pub mod hostile;
pub mod long;
pub mod model;
pub mod oas;
pub mod pg;
pub mod proxy;
pub mod redis;
pub mod seed;
pub mod sink;
pub mod swagger;
pub mod wait;
