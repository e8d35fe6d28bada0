//! The work that waits.

use super::{Ops, OpsError, Page, Rows, checked_ids};
use crate::domain::JobId;
use crate::store::{jobs, views};
use serde::Deserialize;
use serde_json::{Value, json};

/// Which jobs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct JobFilter {
    /// Only this status.
    pub status: Option<String>,
    /// Only this queue.
    pub queue: Option<String>,
}

impl Ops {
    /// A page of jobs.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn jobs(&self, page: Page, filter: JobFilter) -> Result<Rows, OpsError> {
        if let Some(status) = &filter.status {
            let known = ["pending", "processing", "failed", "dead", "completed"];
            if !known.contains(&status.as_str()) {
                return Err(OpsError::invalid("status", known.join(", "), status));
            }
        }
        let mut conn = self.conn().await?;
        let jobs = views::jobs(
            &mut conn,
            page.window(),
            filter.status.as_deref(),
            filter.queue.as_deref(),
        )
        .await?;
        Ok(page.rows(jobs))
    }

    /// `retry` or `discard` jobs.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn mend_jobs(&self, verb: &str, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        checked_ids(ids)?;
        let jobs: Vec<JobId> = ids.iter().copied().map(JobId).collect();
        let mut conn = self.conn().await?;
        let answer = if verb == "retry" {
            json!(jobs::repeat(&mut conn, &jobs).await?)
        } else {
            json!({ "discarded": jobs::discard(&mut conn, &jobs, by).await? })
        };
        drop(conn);
        self.look_now()?;
        tracing::info!(by, verb, "A person mended {} job(s)", ids.len());
        Ok(answer)
    }

    /// One job.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn job(&self, id: i64) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        views::job(&mut conn, id)
            .await?
            .ok_or_else(|| OpsError::NotFound {
                what: "job",
                id: id.to_string(),
            })
    }
}
