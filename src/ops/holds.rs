//! Changes that wait for a person.

use super::{InputProblem, Ops, OpsError, Page, Rows, checked_ids, unsent};
use crate::domain::{Currency, HoldId, Money, Quantity};
use crate::store::{holds as rows, listings, views};
use crate::watch::Reconsider;
use crate::watch::holds::{self, Decision};
use futures_util::FutureExt as _;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

/// Holds to accept or reject.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldsDecision {
    /// Which.
    pub ids: Vec<i64>,
    /// Why; kept with the decision.
    pub note: Option<String>,
}

/// A hold to let through with other values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldEdit {
    /// Which.
    pub id: i64,
    /// Pieces in stock.
    pub stock: Option<u32>,
    /// What one costs, in the hold's own currency.
    pub price: Option<String>,
    /// Why; kept with the decision.
    pub note: Option<String>,
}

impl Ops {
    /// Open holds, the oldest first.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn holds(&self, page: Page) -> Result<Rows, OpsError> {
        let mut conn = self.conn().await?;
        Ok(page.rows(views::holds(&mut conn, page.window()).await?))
    }

    /// `accept` or `reject` holds, one after another; each is told by itself, because one may have been decided by
    /// somebody else meanwhile.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for no ids; otherwise each hold's trouble is part of the answer.
    pub async fn decide_holds(&self, verb: &str, order: HoldsDecision, by: &str) -> Result<Value, OpsError> {
        checked_ids(&order.ids)?;
        let accept = verb == "accept";
        let (mut decided, mut failed) = (Vec::new(), Vec::new());
        for id in order.ids {
            match self
                .decide_one(HoldId(id), accept, by, order.note.as_deref())
                .await
            {
                Ok(()) => decided.push(id),
                Err(error @ OpsError::Away { .. }) => return Err(error),
                Err(error) => failed.push(json!({ "id": id, "why": error.to_string() })),
            }
        }
        self.look_now()?;
        if decided.is_empty()
            && let Some(why) = failed.first()
        {
            let why = why.get("why").and_then(Value::as_str).unwrap_or_default();
            return Err(OpsError::Conflict {
                message: format!("no hold was decided: {why}"),
            });
        }
        Ok(json!({ "decided": decided, "not_decided": failed }))
    }

    async fn decide_one(
        &self,
        id: HoldId,
        accept: bool,
        by: &str,
        note: Option<&str>,
    ) -> Result<(), OpsError> {
        let mut conn = self.conn().await?;
        let hold = rows::get(&mut conn, id).await?;
        match (hold.watch_id, hold.listing_id) {
            (Some(watch), _) => {
                drop(conn);
                let decision = if accept {
                    Decision::Accept
                } else {
                    Decision::Reject
                };
                let parts = self.parts()?;
                holds::decide(&parts.holds, id, decision, by, note).await?;
                // Its watcher is not asked by a decision, and must not go on from what was before it.
                let look = Reconsider { watches: vec![watch] };
                parts.roster.send(look).await.map_err(unsent("the roster"))?;
            }
            (None, Some(listing)) => {
                drop(conn);
                let (by, note) = (by.to_owned(), note.map(str::to_owned));
                self.parts()?
                    .db
                    .transaction(move |conn| {
                        async move {
                            // The listing before its hold, as the syncer locks them.
                            listings::lock(conn, listing).await?;
                            rows::lock(conn, id).await?.expect_open()?;
                            if accept {
                                listings::release(conn, listing, &by, note.as_deref()).await
                            } else {
                                listings::reject_hold(conn, listing, &by, note.as_deref()).await
                            }
                        }
                        .boxed()
                    })
                    .await?;
            }
            (None, None) => {
                return Err(OpsError::NotFound {
                    what: "hold",
                    id: id.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Lets a hold through with other values.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for values that cannot be, [`OpsError::Conflict`] when it is decided already.
    pub async fn edit_hold(&self, order: HoldEdit, by: &str) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        let hold = rows::get(&mut conn, HoldId(order.id)).await?;
        drop(conn);
        let currency = hold.proposed_price.map_or(Currency::Jpy, Money::currency);
        let mut problems = Vec::new();
        let stock = order.stock.map(|n| Quantity::new(n.into()));
        if let Some(Err(error)) = &stock {
            problems.push(InputProblem::new(
                "stock",
                "pieces from 0 to 1000000",
                &error.0.to_string(),
            ));
        }
        let price = order.price.as_deref().map(|text| {
            text.parse::<Decimal>()
                .ok()
                .and_then(|amount| Money::new(amount, currency).ok())
                .ok_or(text)
        });
        if let Some(Err(text)) = price {
            problems.push(InputProblem::new(
                "price",
                format!("an amount in {currency}"),
                text,
            ));
        }
        if stock.is_none() && price.is_none() {
            problems.push(InputProblem::new(
                "stock, price",
                "at least one of them",
                "neither",
            ));
        }
        if !problems.is_empty() {
            return Err(OpsError::Invalid { problems });
        }
        let decision = Decision::Edit {
            stock: stock.and_then(Result::ok),
            price: price.and_then(Result::ok),
        };
        let parts = self.parts()?;
        let decided = holds::decide(&parts.holds, hold.id, decision, by, order.note.as_deref()).await?;
        let look = Reconsider {
            watches: vec![decided.watch_id],
        };
        parts.roster.send(look).await.map_err(unsent("the roster"))?;
        self.look_now()?;
        Ok(json!(decided))
    }
}
