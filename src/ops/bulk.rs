//! The documents by which many prices were sent at once.

use super::{InputProblem, Ops, OpsError, Page, Rows};
use crate::domain::DestinationPlatform;
use crate::store::bulk;

impl Ops {
    /// The documents, the newest first: how far each is, what became of its prices, and the first that were refused.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a destination that there is not; else see [`OpsError`].
    pub async fn bulk(&self, page: Page, destination: Option<String>) -> Result<Rows, OpsError> {
        OpsError::unless_none(bulk_problems(destination.as_deref()))?;
        let mut conn = self.conn().await?;
        let before = Some(page.after).filter(|id| *id > 0);
        let window = (before, i64::from(page.limit));
        Ok(page.rows(bulk::list(&mut conn, window, destination.as_deref()).await?))
    }
}

/// What of the question would not be understood.
#[must_use]
pub fn bulk_problems(destination: Option<&str>) -> Vec<InputProblem> {
    let unknown = destination.and_then(|text| {
        text.parse::<DestinationPlatform>()
            .err()
            .map(|error| (error, text))
    });
    unknown
        .map(|(error, got)| InputProblem::new("destination", format!("one of {}", error.expected), got))
        .into_iter()
        .collect()
}
