//! Reading listings back: a run has a few listings read at a time, those first that were compared longest ago, until all
//! were, so many were as one run may, or its window is over. The syncers read and judge them when they have nothing more
//! urgent to do; the run only marks, counts and tells.

use super::action::{Done, Failure, Run};
use crate::domain::{DestinationPlatform, Platform};
use crate::store::errors::{self, ErrorRecord, ErrorType, Severity};
use crate::store::executions::Counts;
use crate::store::reads::{self, RunCounts};
use crate::store::{Db, StoreError};
use futures_util::FutureExt as _;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Listings that differed, as the alert names them.
const NAMED: i64 = 20;
/// The code of the trouble that so many listings of a run differed.
const MANY: &str = "drift_many";

/// How a run goes on. Asked again at each step: the settings may change meanwhile.
#[derive(Clone)]
pub struct ReadBackPlan {
    /// Where.
    pub shops: Vec<ReadBackShop>,
    /// So many listings at most, of each.
    pub per_run: u32,
    /// For so long it has listings read.
    pub window: Duration,
    /// How often.
    pub tick: Duration,
    /// For so long it waits for what is under way after that.
    pub last_words: Duration,
    /// Whether so many differ that people are told.
    pub tells: Arc<dyn Fn(RunCounts) -> bool + Send + Sync>,
}

/// One destination.
#[derive(Clone, Copy, Debug)]
pub struct ReadBackShop {
    /// Which.
    pub destination: DestinationPlatform,
    /// As many looks as are polite beside its pushes.
    pub looks_per_second: f64,
}

/// Has listings read back; what came of it. Begun again within the same run, it goes on where it was.
///
/// # Errors
/// When the database is away.
pub async fn read_back(
    db: &Db,
    plan: &(dyn Fn() -> ReadBackPlan + Send + Sync),
    run: &Run,
) -> Result<Done, Failure> {
    // Begun again after an outage, the window begins again; the run's own limit does not.
    let began = Instant::now();
    for shop in plan().shops {
        while reads::enrol(&mut *db.conn().await?, shop.destination).await? > 0 {}
    }
    let mut idle_since: Option<Instant> = None;
    loop {
        let now = plan();
        let open = began.elapsed() < now.window;
        let step = step(db, &now, run, open).await?;
        if step.waiting == 0 && (!open || step.marked == 0) {
            break;
        }
        if open {
            idle_since = None;
        } else if idle_since.get_or_insert_with(Instant::now).elapsed() > now.last_words {
            break;
        }
        tokio::time::sleep(now.tick).await;
    }
    end(db, &plan(), run).await
}

/// What one step did, over all destinations.
#[derive(Default)]
struct Step {
    marked: usize,
    waiting: i64,
}

async fn step(db: &Db, plan: &ReadBackPlan, run: &Run, open: bool) -> Result<Step, StoreError> {
    let mut done = Step::default();
    let mut all = Counts::default();
    for shop in &plan.shops {
        let (destination, execution) = (shop.destination, run.id);
        let (counts, waiting) = {
            let mut conn = db.conn().await?;
            let counts = reads::counts(&mut conn, execution, destination).await?;
            (counts, reads::waiting(&mut conn, destination, execution).await?)
        };
        let most = i64::from(plan.per_run).saturating_sub(i64::from(counts.marked));
        // What could be read and was not is a destination that is slow, shut or busy with pushes: no more is asked of it.
        let polite = allowance(shop.looks_per_second, plan.tick).saturating_sub(waiting.due);
        // Nothing more is learned where nothing is repaired any more.
        let limit = if open && !counts.stopped {
            most.min(polite)
        } else {
            0
        };
        let mut marked = 0;
        if let Some(limit) = u32::try_from(limit).ok().filter(|limit| *limit > 0) {
            let mark = db.transaction(move |conn| {
                async move { reads::mark(conn, destination, execution, limit).await }.boxed()
            });
            marked = mark.await?;
        }
        done.marked = done.marked.saturating_add(marked);
        done.waiting = done.waiting.saturating_add(waiting.all);
        add(&mut all, counts);
    }
    run.progress.set(all);
    Ok(done)
}

/// Looks of one step: a tick's, and one at least.
fn allowance(looks_per_second: f64, tick: Duration) -> i64 {
    let looks = (looks_per_second * tick.as_secs_f64()).clamp(1.0, 10_000.0);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "clamped right above"
    )]
    let whole = looks as i64;
    whole
}

fn add(all: &mut Counts, of: RunCounts) {
    all.total = all.total.saturating_add(of.marked);
    all.processed = all.processed.saturating_add(of.looked).saturating_add(of.failed);
    all.updated = all.updated.saturating_add(of.drifted);
    all.errors = all.errors.saturating_add(of.failed);
}

/// Takes back what was not read, and tells what was found.
async fn end(db: &Db, plan: &ReadBackPlan, run: &Run) -> Result<Done, Failure> {
    let mut conn = db.conn().await?;
    let left = reads::withdraw(&mut conn, run.id).await?;
    let (mut all, mut shops) = (Counts::default(), Map::new());
    for shop in &plan.shops {
        let destination = shop.destination;
        let counts = reads::counts(&mut conn, run.id, destination).await?;
        add(&mut all, counts);
        let named = reads::drifted(&mut conn, run.id, destination, NAMED).await?;
        if (plan.tells)(counts) {
            errors::record(&mut conn, &many(run, destination, counts, &named)).await?;
        } else {
            errors::end_recovered(&mut conn, &fingerprint(destination)).await?;
        }
        if !counts.stopped && counts.looked > 0 {
            // The syncer's own word of an earlier run: this one repaired.
            errors::end_recovered(&mut conn, &format!("sync {destination} drift_stopped")).await?;
        }
        shops.insert(
            destination.to_string(),
            json!({ "counts": counts, "drifted": named }),
        );
    }
    run.progress.set(all);
    let details = json!({ "destinations": Value::Object(shops), "left_to_the_next": left });
    Ok(Done {
        details: Some(details),
    })
}

fn fingerprint(destination: DestinationPlatform) -> String {
    format!("reconcile {destination} {MANY}")
}

fn many(run: &Run, destination: DestinationPlatform, counts: RunCounts, named: &[String]) -> ErrorRecord {
    let RunCounts { drifted, looked, .. } = counts;
    let more = usize::try_from(drifted).unwrap_or(0).saturating_sub(named.len());
    let and = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some(MANY.to_owned()),
        message: format!(
            "{drifted} of {looked} listings of {destination} that were read back showed something else than was \
             confirmed: {}{and}; see `zaikoban listings drift`",
            named.join(", ")
        ),
        product_id: None,
        platform: Some(Platform::from(destination)),
        severity: Severity::Medium,
        fingerprint: fingerprint(destination),
        details: Some(json!({ "execution_id": run.id, "counts": counts, "drifted": named })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_as_many_read_as_are_polite_and_one_at_least() {
        let tick = Duration::from_secs(5);
        assert_eq!(allowance(0.5, tick), 2);
        assert_eq!(allowance(0.001, tick), 1);
        assert_eq!(allowance(1e9, tick), 10_000);
        assert_eq!(allowance(f64::NAN, tick), 0);
    }
}
