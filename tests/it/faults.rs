//! Faults of the catalogue that have no kin among the other tests, the proxy that provokes some of them, and the check
//! that every fault is provoked by a test of its name or accounted for.

mod b;
mod catalogue;
mod d;
mod e;
mod f;
mod garbage;
mod toxics;
