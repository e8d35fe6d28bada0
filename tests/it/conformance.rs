//! One suite that every adapter passes, each against its own platform as the simulator plays it.
//!
//! Between adapter and simulator stands a [`relay::Relay`] that every platform meets alike: statuses, cut and silent
//! answers before and after the effect, answers whose every part is replaced in turn. What a shop or a source is to the
//! suite is its [`stand`]; what is demanded of it is in [`shop`] and [`source`].

mod mutate;
mod relay;
mod shop;
mod source;
mod stand;
