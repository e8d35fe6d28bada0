//! Changes that wait for a person.

use super::{InputProblem, Ops, OpsError, Page, Rows, text_problem, unsent};
use crate::domain::{Currency, HoldId, Money, Quantity};
use crate::nodes::Concern;
use crate::store::views::{self, Thing};
use crate::store::{holds as rows, listings};
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
    pub stock: Option<i64>,
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
    /// [`OpsError::NotFound`] when one of them is not there, and none is decided then; [`OpsError::Conflict`] when none
    /// could be decided. Otherwise each hold's trouble is part of the answer.
    pub async fn decide_holds(&self, verb: &str, order: HoldsDecision, by: &str) -> Result<Value, OpsError> {
        OpsError::unless_none(note_problem(order.note.as_deref()).into_iter().collect())?;
        let ids = self.all_there(Thing::Hold, &order.ids).await?;
        let accept = verb == "accept";
        let (mut decided, mut failed) = (Vec::new(), Vec::new());
        for id in ids {
            match self
                .decide_one(HoldId(id), accept, by, order.note.as_deref())
                .await
            {
                Ok(()) => decided.push(id),
                Err(error @ OpsError::Away { .. }) if decided.is_empty() => return Err(error),
                Err(error) => failed.push((id, error.to_string())),
            }
        }
        self.look_now()?;
        if decided.is_empty() && !failed.is_empty() {
            let why: Vec<String> = failed.into_iter().map(|(_, why)| why).collect();
            return Err(OpsError::Conflict {
                message: why.join("; "),
                hint: Some("`zaikoban holds list` shows what waits now".to_owned()),
            });
        }
        let failed: Vec<Value> = failed
            .into_iter()
            .map(|(id, why)| json!({ "id": id, "why": why }))
            .collect();
        Ok(
            json!({ "status": if accept { "accepted" } else { "rejected" }, "decided": decided, "not_decided": failed }),
        )
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
                self.tell_nodes(Concern::Reconsider, &[watch]).await;
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
                return Err(OpsError::conflict(format!(
                    "hold `{id}` is about nothing any more"
                )));
            }
        }
        Ok(())
    }

    /// Lets a hold through with other values.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for values that cannot be, [`OpsError::Conflict`] when it is decided already.
    pub async fn edit_hold(&self, order: HoldEdit, by: &str) -> Result<Value, OpsError> {
        let id = HoldId(order.id);
        self.all_there(Thing::Hold, &[order.id]).await?;
        let hold = rows::get(&mut *self.conn().await?, id).await?;
        let currency = hold.proposed_price.map_or(Currency::Jpy, Money::currency);
        let (stock, price) = edited(&order, currency)?;
        if hold.watch_id.is_none() {
            return Err(OpsError::Conflict {
                message: format!("hold `{id}` is about a listing, whose values follow from its product"),
                hint: Some("accept it as it is, or reject it".to_owned()),
            });
        }
        let decision = Decision::Edit { stock, price };
        let parts = self.parts()?;
        let decided = holds::decide(&parts.holds, id, decision, by, order.note.as_deref()).await?;
        self.tell_nodes(Concern::Reconsider, &[decided.watch_id]).await;
        let look = Reconsider {
            watches: vec![decided.watch_id],
        };
        parts.roster.send(look).await.map_err(unsent("the roster"))?;
        self.look_now()?;
        Ok(json!(decided))
    }
}

/// The values of an edit, or everything that is wrong with it.
fn edited(order: &HoldEdit, currency: Currency) -> Result<(Option<Quantity>, Option<Money>), OpsError> {
    let mut problems: Vec<InputProblem> = note_problem(order.note.as_deref()).into_iter().collect();
    let stock = order
        .stock
        .map(|n| Quantity::new(n).map_err(|_range| n))
        .transpose();
    if let Err(got) = stock {
        problems.push(InputProblem::new(
            "stock",
            "pieces from 0 to 1000000",
            &got.to_string(),
        ));
    }
    let price = order.price.as_deref().map(|text| {
        text.parse::<Decimal>()
            .ok()
            .and_then(|amount| Money::new(amount, currency).ok())
            .ok_or(text)
    });
    let price = price.transpose();
    if let Err(got) = price {
        let expected = format!(
            "an amount in {currency} from 0 to {}, with at most {} digits behind the point",
            Money::MAX,
            currency.minor_digits()
        );
        problems.push(InputProblem::new("price", expected, got));
    }
    if order.stock.is_none() && order.price.is_none() {
        let none = InputProblem::new("stock, price", "at least one of them", "neither");
        problems.push(none.hint("to let the change through as it is: `zaikoban holds accept`"));
    }
    OpsError::unless_none(problems)?;
    Ok((stock.ok().flatten(), price.ok().flatten()))
}

pub(super) fn note_problem(note: Option<&str>) -> Option<InputProblem> {
    text_problem("note", note?, 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_names_all_of_its_problems() {
        let order = |stock, price: Option<&str>| HoldEdit {
            id: 1,
            stock,
            price: price.map(str::to_owned),
            note: Some("a\0b".to_owned()),
        };
        let places = |order: &HoldEdit| {
            let error = edited(order, Currency::Jpy).unwrap_err();
            let places = error.problems().iter().map(|p| p.place.clone());
            places.collect::<Vec<_>>()
        };
        assert_eq!(places(&order(Some(-1), Some("12.5"))), ["note", "stock", "price"]);
        assert_eq!(
            places(&order(Some(1_000_001), Some("dear"))),
            ["note", "stock", "price"]
        );
        assert_eq!(places(&order(None, None)), ["note", "stock, price"]);
        let good = HoldEdit {
            note: None,
            ..order(Some(3), Some("4980"))
        };
        let values = edited(&good, Currency::Jpy).unwrap();
        assert_eq!(values, (Quantity::new(3).ok(), Money::yen(4_980).ok()));
    }
}
