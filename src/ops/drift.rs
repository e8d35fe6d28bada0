//! What differs at the destinations, and looks by a person's order.

use super::{InputProblem, Ops, OpsError, Page, Rows};
use crate::domain::{DestinationPlatform, ListingId};
use crate::store::reads;
use crate::store::views::Thing;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

/// Which differences.
#[derive(Clone, Debug, Default)]
pub struct DriftFilter {
    /// Only those at this destination.
    pub destination: Option<String>,
    /// Only those that are not over.
    pub open: bool,
}

impl DriftFilter {
    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        let parse = |text: &str| {
            text.parse::<DestinationPlatform>()
                .err()
                .map(|error| (error, text.to_owned()))
        };
        let unknown = self.destination.as_deref().and_then(parse);
        unknown
            .map(|(error, got)| InputProblem::new("destination", format!("one of {}", error.expected), &got))
            .into_iter()
            .collect()
    }
}

impl Ops {
    /// What differed when listings were read back, the newest first.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn drift(&self, page: Page, filter: DriftFilter) -> Result<Rows, OpsError> {
        OpsError::unless_none(filter.problems())?;
        let mut conn = self.conn().await?;
        let before = Some(page.after).filter(|id| *id > 0);
        let window = (before, i64::from(page.limit));
        Ok(page.rows(reads::page(&mut conn, window, filter.destination.as_deref(), filter.open).await?))
    }

    /// Has listings read and compared now; those that are kept in line.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there.
    pub async fn read_back(&self, ids: &[i64], by: &str) -> Result<Value, OpsError> {
        let ids = self.all_there(Thing::Listing, ids).await?;
        let ids: Vec<ListingId> = ids.into_iter().map(ListingId).collect();
        let asked = ids.len();
        let queued = self
            .parts()?
            .db
            .transaction(move |conn| {
                async move {
                    let mut queued = 0_usize;
                    for destination in DestinationPlatform::ALL {
                        queued = queued.saturating_add(reads::ask_now(conn, *destination, &ids).await?);
                    }
                    Ok(queued)
                }
                .boxed()
            })
            .await?;
        self.look_now()?;
        tracing::info!(by, "A person had {queued} listing(s) read back");
        Ok(json!({ "asked": asked, "queued": queued }))
    }
}
