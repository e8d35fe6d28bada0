//! The handlers of the exchange rates.

use super::body::{Given, Shape};
use super::envelope::Answer;
use super::query::Query;
use super::state::{Caller, State};
use crate::ops;
use actix_web::web::{Data, Path};

impl Shape for ops::RatesDecision {
    const EXAMPLE: &'static str = r#"{"id": 3, "note": "checked with the bank"}"#;
}

pub(super) async fn list(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    query.end()?;
    state
        .answer(move |ops| async move { ops.rates(page).await })
        .await
}

pub(super) async fn decide(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Given<ops::RatesDecision>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.decide_rates(&verb, order, &caller.0).await })
        .await
}
