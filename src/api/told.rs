//! The handlers of alerts.

use super::body::{Given, Shape};
use super::envelope::Answer;
use super::handlers::Ids;
use super::query::Query;
use super::state::{Caller, State};
use crate::ops;
use actix_web::web::{Data, Path};
use serde::Deserialize;

/// Over which channel a test is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestOrder {
    channel: Option<String>,
}

impl Shape for TestOrder {
    const EXAMPLE: &'static str = r#"{"channel": "slack"}, or {} for all"#;
}
impl Shape for ops::AlertsDecision {
    const EXAMPLE: &'static str = r#"{"ids": [1, 2], "note": "why"}, the last being optional"#;
}
impl Shape for ops::SilenceOrder {
    const EXAMPLE: &'static str = r#"{"kind": "outage", "platform": "ebay", "minutes": 120, "note": "announced"}, or {"alert_id": 1, "minutes": 60}"#;
}

pub(super) async fn alerts(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let all = query.flag("all");
    query.end()?;
    state
        .answer(move |ops| async move { ops.alerts(page, all).await })
        .await
}

pub(super) async fn alert(state: Data<State>, id: Path<i64>) -> Answer {
    state.answer(move |ops| async move { ops.alert(*id).await }).await
}

pub(super) async fn decide(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Given<ops::AlertsDecision>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.decide_alerts(&verb, order, &caller.0).await })
        .await
}

pub(super) async fn silence(state: Data<State>, caller: Caller, body: Given<ops::SilenceOrder>) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.silence(order, &caller.0).await })
        .await
}

pub(super) async fn unsilence(state: Data<State>, caller: Caller, body: Given<Ids>) -> Answer {
    let ids = body.0.ids;
    state
        .answer(move |ops| async move { ops.unsilence(&ids, &caller.0).await })
        .await
}

pub(super) async fn silences(state: Data<State>) -> Answer {
    state.answer(move |ops| async move { ops.silences().await }).await
}

pub(super) async fn channels(state: Data<State>) -> Answer {
    state
        .answer(move |ops| async move { ops.alert_channels().await })
        .await
}

pub(super) async fn test(state: Data<State>, body: Given<TestOrder>) -> Answer {
    let channel = body.0.channel;
    state
        .answer(move |ops| async move { ops.test_alerts(channel).await })
        .await
}
