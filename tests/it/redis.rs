//! Redis, as far as it may be trusted: the rows of section C of the catalogue of faults, on real servers.

mod lane;
mod lies;
mod limits;
mod shop;
