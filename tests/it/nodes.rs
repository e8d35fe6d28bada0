//! Several nodes on one real database: leases, burials, fences.

mod fence;
mod leases;
