//! What a lane's executor has done and does: numbers that anybody may read.

use super::finish::Finished;
use crate::store::jobs::{JobStatus, Lane};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The numbers of one lane in this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneFigures {
    /// Workers allowed at the moment.
    pub workers: usize,
    /// Workers that hold a batch.
    pub busy: usize,
    /// Jobs in their hands.
    pub running: usize,
    /// Jobs in a batch, from measured time.
    pub batch_size: usize,
    /// How long one job takes, in milliseconds; nothing until measured.
    pub job_ms: Option<f64>,
    /// Nothing is taken, by a person's order.
    pub paused: bool,
    /// Completed a second, over the last quarter of a minute or so.
    pub per_s: f64,
    /// Completed since the start.
    pub completed: u64,
    /// Failed with a retry left, since the start.
    pub failed: u64,
    /// Given up since the start.
    pub dead: u64,
    /// Put back without using a try, since the start.
    pub snoozed: u64,
    /// Results that were thrown away since the start.
    pub lost: u64,
}

/// One lane's figures, written by its executor and settler.
#[derive(Debug)]
pub struct Tally(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    figures: LaneFigures,
    /// From where the rate is counted: a moment, and what was completed by then.
    from: (Instant, u64),
}

/// The rate is counted over this long.
const RATE_OVER: Duration = Duration::from_secs(15);

/// All lanes of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tallies(Arc<Mutex<BTreeMap<String, Arc<Tally>>>>);

// === impl Tally ===

impl Default for Tally {
    fn default() -> Self {
        let figures = LaneFigures::default();
        let from = (Instant::now(), 0);
        Self(Mutex::new(Kept { figures, from }))
    }
}

impl Tally {
    /// The figures now.
    #[must_use]
    pub fn figures(&self) -> LaneFigures {
        let mut kept = self.0.lock();
        let (since, before) = kept.from;
        let (took, completed) = (since.elapsed(), kept.figures.completed);
        if took >= RATE_OVER / 15 {
            let done = u32::try_from(completed.saturating_sub(before)).map_or(f64::MAX, f64::from);
            kept.figures.per_s = (done / took.as_secs_f64() * 10.0).round() / 10.0;
        }
        if took >= RATE_OVER {
            kept.from = (Instant::now(), completed);
        }
        kept.figures.clone()
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut LaneFigures)) {
        change(&mut self.0.lock().figures);
    }

    pub(super) fn finished(&self, finished: Finished) {
        let now = &mut self.0.lock().figures;
        let count = match finished {
            Finished::Settled(JobStatus::Completed) => &mut now.completed,
            Finished::Settled(JobStatus::Failed) => &mut now.failed,
            Finished::Settled(JobStatus::Dead) => &mut now.dead,
            Finished::Settled(JobStatus::Pending | JobStatus::Processing) => &mut now.snoozed,
            Finished::LostLease => &mut now.lost,
        };
        *count = count.saturating_add(1);
    }

    pub(super) fn lost(&self, jobs: usize) {
        let now = &mut self.0.lock().figures;
        now.lost = now.lost.saturating_add(u64::try_from(jobs).unwrap_or(u64::MAX));
    }
}

// === impl Tallies ===

impl Tallies {
    /// The tally of `lane`, made when it is not there yet.
    #[must_use]
    pub fn of(&self, lane: Lane) -> Arc<Tally> {
        Arc::clone(self.0.lock().entry(lane.to_string()).or_default())
    }

    /// The figures of every lane, by its name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, LaneFigures> {
        let all = self.0.lock();
        all.iter().map(|(lane, t)| (lane.clone(), t.figures())).collect()
    }
}
