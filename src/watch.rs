//! Watching: from a page that was read to a change that is committed.

mod anomaly;
mod counters;
mod diff;
pub mod estimator;
mod follow;
pub mod holds;
mod judge;
mod ledger;
mod patrol;
pub mod planner;
mod radius;
mod roster;
mod similarity;
mod sweep;
mod trouble;
mod watcher;

pub use anomaly::AnomalyRules;
pub use counters::{Counters, CountersSnapshot, ErrorCount, Percentiles};
pub use diff::Change;
pub use follow::{Origin, follow};
pub use judge::{
    Accepted, Background, HoldRules, HoldStep, Judgement, Notice, Rules, Seen, Step, judge, new_hold,
};
pub use ledger::{Ledger, LedgerEnv, LedgerRules, News, Record, Recorded};
pub use patrol::{Patrol, PatrolEnv, PatrolSettings};
pub use radius::{Radius, RadiusRules};
pub use roster::{CheckNow, Count, Enrol, Enrolled, LookSoon, Order, Reconsider, Refresh, Roster, RosterEnv};
pub use sweep::{CheckedSource, StockCheck};
pub use watcher::{Done, Known, Looked, See, Seed, Sight, Watcher, WatcherEnv};
