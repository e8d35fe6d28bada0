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

/// How long a product waits when the database is away.
const REST: Duration = Duration::from_secs(10);

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
            for job in &jobs {
                outcomes.push(if turn.stopping().is_cancelled() {
                    Outcome::Snooze(Duration::ZERO)
                } else {
                    one(&db, &book, &clock, job).await
                });
            }
            outcomes
        }
        .boxed()
    }
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
