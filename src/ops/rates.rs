//! Exchange rates: what was quoted, and what a person says of a quote that moved too far.

use super::{Ops, OpsError, Page, Rows, text_problem};
use crate::domain::RateStatus;
use crate::store::{errors, rates};
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// What makes two jumps the same trouble: one waits at a time.
pub const RATES_JUMPED: &str = "exchange_rate_jumped";
/// Longest note.
const NOTE: usize = 500;

/// A quote to accept or refuse.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatesDecision {
    /// Which.
    pub id: i64,
    /// Why; kept with the decision.
    pub note: Option<String>,
}

impl Ops {
    /// Quotes, the newest first, and by what listings are priced now.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn rates(&self, page: Page) -> Result<Value, OpsError> {
        let in_use = self.parts()?.book.load().rates().told();
        let mut conn = self.conn().await?;
        let window = page.window();
        let Rows { items, next } = page.rows(rates::page(&mut conn, window.after, window.limit).await?);
        Ok(json!({ "in_use": in_use, "items": items, "next": next }))
    }

    /// `accept` or `refuse` a quote that waits. Every node prices by an accepted one within half a minute.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] without it; [`OpsError::Conflict`] when it does not wait.
    pub async fn decide_rates(&self, verb: &str, order: RatesDecision, by: &str) -> Result<Value, OpsError> {
        let note = order.note.as_deref();
        OpsError::unless_none(
            note.and_then(|n| text_problem("note", n, NOTE))
                .into_iter()
                .collect(),
        )?;
        let status = if verb == "accept" {
            RateStatus::Accepted
        } else {
            RateStatus::Refused
        };
        let (id, by, note) = (order.id, by.to_owned(), order.note.clone());
        let decided = self.parts()?.db.transaction(move |conn| {
            async move {
                rates::lock(conn).await?;
                rates::decide(conn, id, status, &by, note.as_deref()).await?;
                errors::end_recovered(conn, RATES_JUMPED).await
            }
            .boxed()
        });
        decided.await?;
        Ok(json!({ "id": id, "status": status }))
    }
}
