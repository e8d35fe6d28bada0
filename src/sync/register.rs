//! The first listing of a product: the work of the `product_registration` queue.
//!
//! # Why it neither lists twice nor forgets
//! A registration is a row ([`crate::store::registrations`]) that says how far it is, and each step is written down
//! before the next begins. Every try begins with a look at the destination's offers of the SKU, and goes on from what is
//! there, whatever the row believed: an offer whose answer was lost is taken, not made again, and one that is on sale is
//! not published again. That an offer may be ours is written down *before* the first one is sent; an offer that is found
//! without that word is somebody else's, and is left alone.
//!
//! ```text
//!  waiting ──describe──▶ item_made ──offer──▶ offer_made ──publish──▶ published ──link──▶ a listing
//!     ▲                                            │
//!     └────────── stock or price moved ────────────┘
//! ```
//!
//! Steps are taken for up to 25 rows with one call, and each entry's outcome is its own. What the destination refuses is
//! over, with its reason in the row; what passes by itself waits and uses no try. Price and quantity are the rules' at the
//! moment of each try, so an offer that waited long is never published at yesterday's price.

mod batch;
mod decide;
mod quota;

pub(crate) use decide::terms;
pub use quota::Told;

use crate::clock::Clock;
use crate::domain::RegistrationId;
use crate::platform::gateway::RegistrarGateway;
use crate::pricing::PriceBook;
use crate::queue::{ClaimedJob, JobError, Outcome, Turn, Work};
use crate::store::Db;
use crate::sync::Outlet;
use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Rows that go through the steps together: what one call of a destination takes.
const TOGETHER: usize = 25;
/// What is not begun this long before the batch's end is left to the next one.
const BEFORE_THE_END: Duration = Duration::from_secs(120);

/// Lists products for the first time at one destination.
#[derive(Clone)]
pub struct Register {
    /// The tables.
    pub db: Db,
    /// How prices are made.
    pub book: Arc<ArcSwap<PriceBook>>,
    /// What time it is.
    pub clock: Clock,
    /// The way to the destination's registrar.
    pub registrar: RegistrarGateway,
    /// The way to the same destination's listings, for linking what is on sale.
    pub outlet: Arc<dyn Outlet>,
    /// What the destination said of its quotas; each work has its own.
    pub told: Arc<Told>,
}

impl Work for Register {
    fn run(&self, jobs: Vec<ClaimedJob>, turn: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        let this = self.clone();
        async move {
            if let Some(wait) = this.used_up(jobs.len()).await {
                return jobs.iter().map(|_| Outcome::Snooze(wait)).collect();
            }
            let mut outcomes = Vec::with_capacity(jobs.len());
            for together in jobs.chunks(TOGETHER) {
                let late = Instant::now() + BEFORE_THE_END >= turn.deadline();
                if late || turn.stopping().is_cancelled() {
                    outcomes.extend(together.iter().map(|_| Outcome::Snooze(Duration::ZERO)));
                } else {
                    outcomes.extend(this.batch(together).await);
                }
            }
            outcomes
        }
        .boxed()
    }
}

/// Which row a job is about.
fn registration_of(job: &ClaimedJob) -> Result<RegistrationId, Outcome> {
    let named = job.payload.get("registration").and_then(Value::as_i64);
    named
        .map(RegistrationId)
        .ok_or_else(|| Outcome::Discard(JobError::new("no_registration", "the job names no registration")))
}
