//! Watching: from a page that was read to a change that is committed.

mod anomaly;
mod diff;
mod judge;
mod similarity;

pub use anomaly::AnomalyRules;
pub use diff::Change;
pub use judge::{
    Accepted, Background, HoldRules, HoldStep, Judgement, Notice, Rules, Seen, SellerMark, Step, judge, new_hold,
};
