//! Works out the prices of a sweep anew: the jobs of the queue `price_sync`.

use super::reprice;
use crate::clock::Clock;
use crate::pricing::PriceBook;
use crate::queue::{ClaimedJob, JobError, Outcome, Turn, Work};
use crate::store::Db;
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a product waits when the database is away.
const REST: Duration = Duration::from_secs(10);
/// No product is begun so shortly before the batch would be dropped: what is done by then must not count as a try of
/// those that are. One that waits for locks takes no longer.
const BEFORE_THE_END: Duration = Duration::from_secs(15);

/// By today's rules, rates and step limits, whether the source moved or not.
pub struct PriceSync {
    /// The tables.
    pub db: Db,
    /// How prices are made.
    pub book: Arc<ArcSwap<PriceBook>>,
    /// What time it is.
    pub clock: Clock,
}

impl Work for PriceSync {
    fn run(&self, jobs: Vec<ClaimedJob>, turn: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        let (db, book, clock) = (self.db.clone(), self.book.load_full(), self.clock.clone());
        async move {
            let mut outcomes = Vec::with_capacity(jobs.len());
            let mut away = false;
            for job in &jobs {
                let outcome = match put_back(&turn, away, Instant::now()) {
                    Some(wait) => Outcome::Snooze(wait),
                    None => one(&db, &book, &clock, job).await,
                };
                away |= outcome == Outcome::Snooze(REST);
                outcomes.push(outcome);
            }
            outcomes
        }
        .boxed()
    }
}

/// How long what was not begun waits, when it is not to be begun now: at a stop, at the end of the batch's time, and when
/// the database is away (each would wait for it by itself).
fn put_back(turn: &Turn, away: bool, now: Instant) -> Option<Duration> {
    if away {
        return Some(REST);
    }
    let over = now + BEFORE_THE_END >= turn.deadline();
    (over || turn.stopping().is_cancelled()).then_some(Duration::ZERO)
}

async fn one(db: &Db, book: &Arc<PriceBook>, clock: &Clock, job: &ClaimedJob) -> Outcome {
    let Some(product) = job.product_id else {
        return Outcome::Discard(JobError::new("no_product", "the job names no product"));
    };
    match reprice::of_product(db, book, clock, product).await {
        Ok(moved) => Outcome::Done(json!({ "moved": moved })),
        Err(error) if error.is_outage() => Outcome::Snooze(REST),
        Err(error) => Outcome::Retry(JobError::new(
            "reprice",
            format!("what the listings of product `{product}` should be cannot be worked out: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn what_cannot_be_done_in_time_is_put_back_and_uses_no_try() {
        let (stop, now) = (CancellationToken::new(), Instant::now());
        let limit = Duration::from_secs(120);
        let turn = Turn::new(stop.clone(), now + limit, limit);
        assert_eq!(put_back(&turn, false, now), None);
        assert_eq!(put_back(&turn, false, now + Duration::from_secs(104)), None);
        assert_eq!(
            put_back(&turn, false, now + Duration::from_secs(105)),
            Some(Duration::ZERO)
        );
        assert_eq!(put_back(&turn, true, now), Some(REST), "the database is away");
        stop.cancel();
        assert_eq!(put_back(&turn, false, now), Some(Duration::ZERO));
    }
}
