//! Watching: from a page that was read to a change that is committed.

mod anomaly;
mod diff;
pub mod estimator;
mod judge;
pub mod planner;
mod similarity;

pub use anomaly::AnomalyRules;
pub use diff::Change;
pub use judge::{
    Accepted, Background, HoldRules, HoldStep, Judgement, Notice, Rules, Seen, SellerMark, Step, judge, new_hold,
};
