//! Recorded troubles: look at them, and say what was done about them.

use super::holds::note_problem;
use super::{InputProblem, Ops, OpsError, Page, Rows};
use crate::domain::{ProductId, UnknownName};
use crate::store::errors::{self, ErrorFilter, Severity};
use crate::store::views::{self, Thing};
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// Which errors are listed.
#[derive(Clone, Debug, Default)]
pub struct ErrorsAsked {
    /// Resolved ones, too.
    pub all: bool,
    /// Only this bad: `low`, `medium`, `high`, `critical`.
    pub severity: Option<String>,
    /// Only of this product.
    pub product_id: Option<i64>,
}

impl ErrorsAsked {
    /// What it means.
    ///
    /// # Errors
    /// What of it is not understood.
    fn filter(&self) -> Result<ErrorFilter, InputProblem> {
        let severity = self.severity.as_deref().map(|word| {
            let unknown =
                |u: UnknownName| InputProblem::new("severity", format!("one of {}", u.expected), word);
            word.parse::<Severity>().map_err(unknown)
        });
        Ok(ErrorFilter {
            with_resolved: self.all,
            severity: severity.transpose()?,
            product_id: self.product_id.map(ProductId),
        })
    }

    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        self.filter().err().into_iter().collect()
    }
}

/// Errors that were dealt with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorsResolution {
    /// Which.
    pub ids: Vec<i64>,
    /// What was done; kept with the error.
    pub note: Option<String>,
}

impl Ops {
    /// A page of errors, one trouble a row.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a filter that names nothing.
    pub async fn errors(&self, page: Page, asked: ErrorsAsked) -> Result<Rows, OpsError> {
        let filter = asked.filter().map_err(|problem| OpsError::all(vec![problem]))?;
        let mut conn = self.conn().await?;
        Ok(page.rows(views::errors(&mut conn, page.window(), &filter).await?))
    }

    /// One error with all that was kept of it.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn error(&self, id: i64) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        OpsError::found(Thing::Error, id, views::error(&mut conn, id).await?)
    }

    /// Marks errors as dealt with, by a person's word. Those that were so before are left, and named. The same trouble
    /// afterwards is a new row.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one of them is not there, and none is marked then.
    pub async fn resolve_errors(&self, order: ErrorsResolution, by: &str) -> Result<Value, OpsError> {
        OpsError::unless_none(note_problem(order.note.as_deref()).into_iter().collect())?;
        let ids = self.all_there(Thing::Error, &order.ids).await?;
        let (chosen, who, note) = (ids.clone(), by.to_owned(), order.note);
        // What goes wrong at this moment is counted in the same rows, in another order.
        let resolved = self.parts()?.db.transaction_retried(3, move |conn| {
            let (chosen, who, note) = (chosen.clone(), who.clone(), note.clone());
            async move { errors::resolve(conn, &chosen, &who, note.as_deref()).await }.boxed()
        });
        let resolved = resolved.await?;
        let unchanged: Vec<i64> = ids.into_iter().filter(|id| !resolved.contains(id)).collect();
        tracing::info!(by, "A person resolved {} error(s)", resolved.len());
        Ok(json!({ "resolved": resolved, "unchanged": unchanged }))
    }
}
