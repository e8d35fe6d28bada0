//! What each path asks of `ops`.

use super::body::{Csv, Given, Shape};
use super::envelope::{Answer, ApiError, data};
use super::query::Query;
use super::state::{Caller, State};
use crate::ops::{self, OpsError};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use std::time::Duration;

/// The longest time that delays are told over: a month.
const LONGEST_WINDOW_S: i64 = 31 * 86_400;

/// Which rows are meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ids {
    pub(super) ids: Vec<i64>,
}

/// What to break.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultOrder {
    kind: String,
    child: String,
}

impl Shape for ops::JobsOrder {
    const EXAMPLE: &'static str =
        r#"{"ids": [1, 2]} or {"filter": {"status": "dead", "error": "503"}, "confirm": true}"#;
}

impl Shape for ops::JobEdit {
    const EXAMPLE: &'static str = r#"{"id": 1, "payload": {"watch_id": 7}}"#;
}

impl Shape for ops::WorkersOrder {
    const EXAMPLE: &'static str = r#"{"workers": "1..6"}"#;
}

impl Shape for Ids {
    const EXAMPLE: &'static str = r#"{"ids": [1, 2]}"#;
}
impl Shape for FaultOrder {
    const EXAMPLE: &'static str = r#"{"kind": "panic", "child": "ledger/writer"}"#;
}
impl Shape for ops::NewProductOrder {
    const EXAMPLE: &'static str = r#"{"source_url": "https://auctions.yahoo.co.jp/jp/auction/s1238539612", "title": "a title", "cost_rule": "buy_now", "value_at_risk": 1}, the last three being optional"#;
}
impl Shape for ops::LinkOrder {
    const EXAMPLE: &'static str = r#"{"product_id": 1, "destination": "ebay", "sku": "A-1", "offer": "9001", "auto_sync": false, "rules": {"margin_bp": 1500}}, the last three being optional"#;
}
impl Shape for ops::RulesOrder {
    const EXAMPLE: &'static str =
        r#"{"set": {"margin_bp": 1500, "floor": 20}}, {"unset": ["floor"]} or {"clear": true}"#;
}
impl Shape for ops::ListingsSwitch {
    const EXAMPLE: &'static str = r#"{"ids": [1, 2]} or {"destination": "ebay"}"#;
}
impl Shape for ops::HoldsDecision {
    const EXAMPLE: &'static str = r#"{"ids": [1, 2], "note": "why"}, the last being optional"#;
}
impl Shape for ops::ErrorsResolution {
    const EXAMPLE: &'static str = r#"{"ids": [1, 2], "note": "what was done"}, the last being optional"#;
}
impl Shape for ops::HoldEdit {
    const EXAMPLE: &'static str =
        r#"{"id": 1, "stock": 3, "price": "4980", "note": "why"}, with a stock or a price"#;
}

pub(super) async fn unknown(request: HttpRequest) -> Answer {
    Err(ApiError(OpsError::NotFound {
        things: vec![format!("address `{} {}`", request.method(), request.path())],
        hint: Some("`zaikoban --help` lists what can be asked; every address begins with `/v1/`"),
    }))
}

pub(super) async fn status(state: Data<State>) -> Answer {
    state.answer(|ops| async move { ops.status().await }).await
}

pub(super) async fn doctor(state: Data<State>, mut query: Query) -> Answer {
    let offline = query.flag("offline");
    query.end()?;
    state
        .answer(move |ops| async move { ops.doctor(offline).await })
        .await
}

/// The one answer that is no JSON: Prometheus reads its own format.
pub(super) async fn metrics(state: Data<State>) -> Result<HttpResponse, ApiError> {
    let text = state.text(|ops| async move { ops.metrics().await }).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}

pub(super) async fn reload(state: Data<State>, caller: Caller) -> Answer {
    state
        .answer(|ops| async move { ops.reload(&caller.0).await })
        .await
}

pub(super) async fn tree(state: Data<State>) -> Answer {
    data(state.ops.tree().map_err(ApiError)?)
}

pub(super) async fn nodes(state: Data<State>) -> Answer {
    state.answer(|ops| async move { ops.nodes().await }).await
}

pub(super) async fn drain(state: Data<State>, caller: Caller, verb: Path<String>) -> Answer {
    let drain = verb.as_str() == "drain";
    state
        .answer(move |ops| async move { ops.drain(drain, &caller.0).await })
        .await
}

pub(super) async fn delay(state: Data<State>, mut query: Query) -> Answer {
    let window_s = query.number("window_s", 1, LONGEST_WINDOW_S).unwrap_or(3_600);
    query.end()?;
    let window = Duration::from_secs(window_s.unsigned_abs());
    state
        .answer(move |ops| async move { ops.delay(window).await })
        .await
}

pub(super) async fn syncs(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    query.end()?;
    state
        .answer(move |ops| async move { ops.recent_syncs(page).await })
        .await
}

pub(super) async fn products(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let filter = ops::ProductFilter {
        state: query.text("state"),
        search: query.text("search"),
    };
    query.also(filter.problems());
    query.end()?;
    state
        .answer(move |ops| async move { ops.products(page, filter).await })
        .await
}

pub(super) async fn add_product(
    state: Data<State>,
    caller: Caller,
    body: Given<ops::NewProductOrder>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.add_product(order, &caller.0).await })
        .await
}

pub(super) async fn import(state: Data<State>, caller: Caller, query: Query, body: Csv) -> Answer {
    query.end()?;
    state
        .answer(move |ops| async move { ops.import(body.0, &caller.0).await })
        .await
}

/// A path of its own, so that a daemon which does not know it does not import instead.
pub(super) async fn try_import(state: Data<State>, query: Query, body: Csv) -> Answer {
    query.end()?;
    state
        .answer(move |ops| async move { ops.try_import(body.0).await })
        .await
}

pub(super) async fn import_progress(state: Data<State>) -> Answer {
    data(state.ops.import_progress())
}

pub(super) async fn act_on_products(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Given<Ids>,
) -> Answer {
    let (verb, ids) = (verb.into_inner(), body.0.ids);
    state
        .answer(move |ops| async move { ops.act_on_products(&verb, &ids, &caller.0).await })
        .await
}

pub(super) async fn product(state: Data<State>, id: Path<i64>) -> Answer {
    state
        .answer(move |ops| async move { ops.product(*id).await })
        .await
}

pub(super) async fn listings(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let filter = ops::ListingFilter {
        destination: query.text("destination"),
        state: query.text("state"),
    };
    query.also(filter.problems());
    query.end()?;
    state
        .answer(move |ops| async move { ops.listings(page, filter).await })
        .await
}

pub(super) async fn link(state: Data<State>, caller: Caller, body: Given<ops::LinkOrder>) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.link(order, &caller.0).await })
        .await
}

pub(super) async fn push(state: Data<State>, caller: Caller, body: Given<Ids>) -> Answer {
    let ids = body.0.ids;
    state
        .answer(move |ops| async move { ops.push(&ids, &caller.0).await })
        .await
}

pub(super) async fn switch_listings(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Given<ops::ListingsSwitch>,
) -> Answer {
    let (verb, order) = (verb.into_inner(), body.0);
    state
        .answer(move |ops| async move { ops.switch_listings(&verb, order, &caller.0).await })
        .await
}

pub(super) async fn listing(state: Data<State>, id: Path<i64>) -> Answer {
    state
        .answer(move |ops| async move { ops.listing(*id).await })
        .await
}

pub(super) async fn rules(state: Data<State>, id: Path<i64>) -> Answer {
    state
        .answer(move |ops| async move { ops.rules_of(*id).await })
        .await
}

pub(super) async fn change_rules(
    state: Data<State>,
    caller: Caller,
    id: Path<i64>,
    body: Given<ops::RulesOrder>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.change_rules(*id, order, &caller.0).await })
        .await
}

pub(super) async fn explain(state: Data<State>, id: Path<i64>) -> Answer {
    state
        .answer(move |ops| async move { ops.explain(*id).await })
        .await
}

pub(super) async fn plan(state: Data<State>, mut query: Query) -> Answer {
    let (page, id) = (query.page(), query.number("id", 1, i64::MAX));
    let preview = query.flag("preview");
    query.end()?;
    state
        .answer(move |ops| async move { ops.plan(page, id, preview).await })
        .await
}

pub(super) async fn holds(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    query.end()?;
    state
        .answer(move |ops| async move { ops.holds(page).await })
        .await
}

pub(super) async fn decide(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Given<ops::HoldsDecision>,
) -> Answer {
    let (verb, order) = (verb.into_inner(), body.0);
    state
        .answer(move |ops| async move { ops.decide_holds(&verb, order, &caller.0).await })
        .await
}

pub(super) async fn edit_hold(state: Data<State>, caller: Caller, body: Given<ops::HoldEdit>) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.edit_hold(order, &caller.0).await })
        .await
}

pub(super) async fn platforms(state: Data<State>) -> Answer {
    data(state.ops.platforms().map_err(ApiError)?)
}

pub(super) async fn switch_platform(
    state: Data<State>,
    caller: Caller,
    path: Path<(String, String)>,
) -> Answer {
    let (name, verb) = path.into_inner();
    state
        .answer(move |ops| async move { ops.switch_platform(&name, &verb, &caller.0).await })
        .await
}

pub(super) async fn queue(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let filter = ops::JobFilter {
        status: query.text("status"),
        queue: query.text("queue"),
        destination: query.text("destination"),
        product: query.number("product", 1, i64::MAX),
        error: query.text("error"),
    };
    query.also(filter.problems());
    query.end()?;
    state
        .answer(move |ops| async move { ops.jobs(page, filter).await })
        .await
}

pub(super) async fn queues(state: Data<State>) -> Answer {
    state.answer(move |ops| async move { ops.queues().await }).await
}

pub(super) async fn mend_jobs(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Given<ops::JobsOrder>,
) -> Answer {
    let verb = verb.into_inner();
    state
        .answer(move |ops| async move { ops.mend_jobs(&verb, body.0, &caller.0).await })
        .await
}

pub(super) async fn edit_job(state: Data<State>, caller: Caller, body: Given<ops::JobEdit>) -> Answer {
    state
        .answer(move |ops| async move { ops.edit_job(body.0, &caller.0).await })
        .await
}

pub(super) async fn order_workers(
    state: Data<State>,
    caller: Caller,
    queue: Path<String>,
    body: Given<ops::WorkersOrder>,
) -> Answer {
    state
        .answer(move |ops| async move { ops.order_workers(&queue, body.0, &caller.0).await })
        .await
}

pub(super) async fn switch_queue(state: Data<State>, caller: Caller, path: Path<(String, String)>) -> Answer {
    let (queue, verb) = path.into_inner();
    state
        .answer(move |ops| async move { ops.switch_queue(&queue, &verb, &caller.0).await })
        .await
}

pub(super) async fn job(state: Data<State>, id: Path<i64>) -> Answer {
    state.answer(move |ops| async move { ops.job(*id).await }).await
}

pub(super) async fn errors(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let asked = ops::ErrorsAsked {
        all: query.flag("all"),
        severity: query.text("severity"),
        product_id: query.number("product_id", 1, i64::MAX),
    };
    query.also(asked.problems());
    query.end()?;
    state
        .answer(move |ops| async move { ops.errors(page, asked).await })
        .await
}

pub(super) async fn error(state: Data<State>, id: Path<i64>) -> Answer {
    state.answer(move |ops| async move { ops.error(*id).await }).await
}

pub(super) async fn resolve_errors(
    state: Data<State>,
    caller: Caller,
    body: Given<ops::ErrorsResolution>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.resolve_errors(order, &caller.0).await })
        .await
}

pub(super) async fn stop_all(state: Data<State>, caller: Caller, verb: Path<String>) -> Answer {
    let stop = verb.as_str() == "stop-all";
    state
        .answer(move |ops| async move { ops.emergency_stop(stop, &caller.0).await })
        .await
}

pub(super) async fn fault(state: Data<State>, body: Given<FaultOrder>) -> Result<HttpResponse, ApiError> {
    state.ops.fault(&body.0.kind, &body.0.child).map_err(ApiError)?;
    data("done")
}
