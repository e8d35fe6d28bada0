//! Everything that needs more than one room, or a real PostgreSQL: one binary, one link step.

mod simulator;
