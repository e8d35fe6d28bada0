//! `zaikoban extract`
