//! A sweep: one job for each product, enqueued with the firing; the run counts them until none is left.

use super::action::{Action, Done, Failure, Run};
use crate::domain::SourcePlatform;
use crate::store::sweeps;
pub use crate::store::sweeps::SweepKind;
use crate::store::{Connection, Db, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How often a run counts its jobs, at most …
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// … and so many times as long as a count takes: that of a million jobs must not keep the database busy for hours.
const REST: u32 = 20;

/// See the module.
pub struct Sweep {
    /// Over what.
    pub kind: SweepKind,
    /// Whose products are watched here.
    pub sources: Arc<[SourcePlatform]>,
    /// Where it is counted.
    pub db: Db,
}

impl Action for Sweep {
    fn prepare<'c>(
        &self,
        conn: &'c mut Connection,
        execution: Uuid,
    ) -> BoxFuture<'c, Result<i32, StoreError>> {
        let (kind, sources) = (self.kind, Arc::clone(&self.sources));
        async move { sweeps::enqueue(conn, kind, &sources, execution).await }.boxed()
    }

    fn run(&self, run: Run) -> BoxFuture<'static, Result<Done, Failure>> {
        let (kind, db) = (self.kind, self.db.clone());
        async move {
            loop {
                let began = Instant::now();
                match count(&db, kind, &run).await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) if error.is_outage() => {
                        tracing::debug!(%error, "The jobs of `{}` cannot be counted", run.name);
                    }
                    Err(error) => return Err(error.into()),
                }
                tokio::time::sleep(COUNT_EVERY.max(began.elapsed() * REST)).await;
            }
            let failed = sweeps::failed(&mut *db.conn().await?, run.id).await?;
            let details = (!failed.is_empty()).then(|| json!({ "failed": failed }));
            Ok(Done { details })
        }
        .boxed()
    }
}

/// Whether none is left.
async fn count(db: &Db, kind: SweepKind, run: &Run) -> Result<bool, StoreError> {
    let total = run.progress.counts().total;
    let found = sweeps::progress(&mut *db.conn().await?, kind, run.id, run.began, total).await?;
    run.progress.set(found.counts);
    Ok(found.left == 0)
}
