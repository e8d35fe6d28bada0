//! First listings.

use super::body::{Given, Shape};
use super::envelope::Answer;
use super::query::Query;
use super::state::{Caller, State};
use crate::ops;
use actix_web::web::{Data, Path};

impl Shape for ops::RegisterOrder {
    const EXAMPLE: &'static str = r#"{"destination": "ebay", "auto_sync": false, "defaults": {"marketplace": "EBAY_US", "location": "tokyo", "policies": {"fulfillment": "1", "payment": "2", "returns": "3"}, "condition": "USED_EXCELLENT", "description": "<p>{{title}}</p>"}, "listings": [{"product": 1, "sku": "A-1", "title": "a title", "images": ["https://…"], "category": "30120", "aspects": {"Brand": ["a brand"]}}]}"#;
}

impl Shape for ops::RetryOrder {
    const EXAMPLE: &'static str = r#"{"destination": "ebay"}"#;
}

pub(super) async fn create(state: Data<State>, caller: Caller, body: Given<ops::RegisterOrder>) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.register(order, &caller.0).await })
        .await
}

/// A path of its own, so that a daemon which does not know it does not list instead.
pub(super) async fn try_create(state: Data<State>, body: Given<ops::RegisterOrder>) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.try_register(order).await })
        .await
}

pub(super) async fn bulk(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let destination = query.text("destination");
    query.also(ops::bulk_problems(destination.as_deref()));
    query.end()?;
    state
        .answer(move |ops| async move { ops.bulk(page, destination).await })
        .await
}

pub(super) async fn registrations(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let filter = ops::RegistrationFilter {
        destination: query.text("destination"),
        state: query.text("state"),
    };
    query.also(filter.problems());
    query.end()?;
    state
        .answer(move |ops| async move { ops.registrations(page, filter).await })
        .await
}

pub(super) async fn retry(state: Data<State>, caller: Caller, body: Given<ops::RetryOrder>) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.retry_registrations(order, &caller.0).await })
        .await
}

pub(super) async fn categories(state: Data<State>, mut query: Query) -> Answer {
    let text = |text: Option<String>| text.unwrap_or_default();
    let question = ops::CategoryQuestion {
        destination: query.text("destination").unwrap_or_else(|| "ebay".to_owned()),
        marketplace: text(query.text("marketplace")),
        words: text(query.text("words")),
    };
    query.end()?;
    state
        .answer(move |ops| async move { ops.suggest_category(question).await })
        .await
}

pub(super) async fn quotas(state: Data<State>, name: Path<String>) -> Answer {
    let name = name.into_inner();
    state
        .answer(move |ops| async move { ops.quotas(&name).await })
        .await
}
