//! What differs at the destinations.

use super::body::Given;
use super::envelope::Answer;
use super::handlers::Ids;
use super::query::Query;
use super::state::{Caller, State};
use crate::ops;
use actix_web::web::Data;

pub(super) async fn list(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let filter = ops::DriftFilter {
        destination: query.text("destination"),
        open: query.flag("open"),
    };
    query.also(filter.problems());
    query.end()?;
    state
        .answer(move |ops| async move { ops.drift(page, filter).await })
        .await
}

pub(super) async fn read(state: Data<State>, caller: Caller, body: Given<Ids>) -> Answer {
    let ids = body.0.ids;
    state
        .answer(move |ops| async move { ops.read_back(&ids, &caller.0).await })
        .await
}
