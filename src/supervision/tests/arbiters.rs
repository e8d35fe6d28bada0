//! arbiters
