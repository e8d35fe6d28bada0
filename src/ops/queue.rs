//! The work that waits.

use super::{InputProblem, Ops, OpsError, Page, Rows};
use crate::domain::JobId;
use crate::store::jobs::{self, JobStatus, QueueName};
use crate::store::views::{self, Thing};
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

/// Which jobs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct JobFilter {
    /// Only this status.
    pub status: Option<String>,
    /// Only this queue.
    pub queue: Option<String>,
}

impl JobFilter {
    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        let status = named::<JobStatus>("status", self.status.as_deref());
        let queue = named::<QueueName>("queue", self.queue.as_deref());
        status.into_iter().chain(queue).collect()
    }
}

fn named<T>(place: &str, word: Option<&str>) -> Option<InputProblem>
where
    T: FromStr<Err = crate::domain::UnknownName>,
{
    let word = word?;
    let unknown = word.parse::<T>().err()?;
    Some(InputProblem::new(
        place,
        format!("one of {}", unknown.expected),
        word,
    ))
}

impl Ops {
    /// A page of jobs.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a filter that names nothing.
    pub async fn jobs(&self, page: Page, filter: JobFilter) -> Result<Rows, OpsError> {
        OpsError::unless_none(filter.problems())?;
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

    /// `retry` or `discard` jobs. Those in work, or done, are left and named.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there.
    pub async fn mend_jobs(&self, verb: &str, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        let ids = self.all_there(Thing::Job, ids).await?;
        let jobs: Vec<JobId> = ids.iter().copied().map(JobId).collect();
        let mut conn = self.conn().await?;
        let answer = if verb == "retry" {
            json!(jobs::repeat(&mut conn, &jobs).await?)
        } else {
            let discarded = jobs::discard(&mut conn, &jobs, by).await?;
            let left: Vec<&JobId> = jobs.iter().filter(|job| !discarded.contains(job)).collect();
            json!({ "discarded": discarded, "left": left })
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
        OpsError::found(Thing::Job, id, views::job(&mut conn, id).await?)
    }
}
