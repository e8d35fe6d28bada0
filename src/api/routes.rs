//! Paths, and what each asks of `ops`.

use super::envelope::{Answer, ApiError, data};
use crate::ops::{self, Ops, OpsError, Page};
use actix_web::dev::Payload;
use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use serde::Deserialize;
use std::future::{Future, Ready, ready};

/// The largest JSON body; a CSV import has its own limit.
const MAX_JSON_BYTES: usize = 1 << 20;
/// The largest CSV import: 100,000 rows of 300 bytes.
const MAX_CSV_BYTES: usize = 32 << 20;

/// What the handlers share.
#[derive(Clone)]
pub struct State {
    ops: Ops,
    runtime: tokio::runtime::Handle,
}

impl State {
    /// Orders go to `ops`, on `runtime`.
    #[must_use]
    pub fn new(ops: Ops, runtime: tokio::runtime::Handle) -> Self {
        Self { ops, runtime }
    }

    /// Carries an order out on the shared runtime.
    async fn ask<T, F, Fut>(&self, order: F) -> Result<T, ApiError>
    where
        F: FnOnce(Ops) -> Fut,
        Fut: Future<Output = Result<T, OpsError>> + Send + 'static,
        T: Send + 'static,
    {
        let task = self.runtime.spawn(order(self.ops.clone()));
        match task.await {
            Ok(outcome) => outcome.map_err(ApiError),
            Err(lost) => Err(ApiError(OpsError::NotReady {
                what: "this order's worker",
                why: lost.to_string(),
            })),
        }
    }
}

/// Who asks, as the door knows them: `uid 1000 (alice)`.
#[derive(Clone, Debug)]
pub struct Caller(pub String);

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Self>().cloned();
        ready(known.ok_or_else(|| {
            ApiError(OpsError::Conflict {
                message: "the connection does not say who asks".to_owned(),
            })
        }))
    }
}

/// Adds every route.
pub fn configure(config: &mut ServiceConfig) {
    config
        .app_data(
            web::JsonConfig::default()
                .limit(MAX_JSON_BYTES)
                .error_handler(|error, _| {
                    ApiError(OpsError::invalid(
                        "body",
                        "a JSON object as documented",
                        &error.to_string(),
                    ))
                    .into()
                }),
        )
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            ApiError(OpsError::invalid(
                "query",
                "the documented parameters",
                &error.to_string(),
            ))
            .into()
        }))
        .app_data(web::PathConfig::default().error_handler(|error, _| {
            ApiError(OpsError::invalid("path", "a number", &error.to_string())).into()
        }))
        .app_data(web::PayloadConfig::new(MAX_CSV_BYTES))
        .service(
            web::scope("/v1")
                .route("/status", web::get().to(status))
                .route("/tree", web::get().to(tree))
                .route("/syncs", web::get().to(syncs))
                .route("/products", web::get().to(products))
                .route("/products", web::post().to(add_product))
                .route("/products/import", web::post().to(import))
                .route(
                    "/products/{verb:pause|resume|check}",
                    web::post().to(act_on_products),
                )
                .route("/products/{id}", web::get().to(product))
                .route("/products/{id}", web::delete().to(remove_product))
                .route("/listings", web::get().to(listings))
                .route("/listings", web::post().to(link))
                .route("/listings/push", web::post().to(push))
                .route("/listings/{verb:pause|resume}", web::post().to(switch_listings))
                .route("/listings/{id}", web::get().to(listing))
                .route("/listings/{id}/explain", web::get().to(explain))
                .route("/plan", web::get().to(plan))
                .route("/holds", web::get().to(holds))
                .route("/holds/{verb:accept|reject}", web::post().to(decide))
                .route("/holds/edit", web::post().to(edit_hold))
                .route("/platforms", web::get().to(platforms))
                .route(
                    "/platforms/{name}/{verb:pause|resume|reset}",
                    web::post().to(switch_platform),
                )
                .route("/queue", web::get().to(queue))
                .route("/queue/{verb:retry|discard}", web::post().to(mend_jobs))
                .route("/queue/{id}", web::get().to(job))
                .route("/errors", web::get().to(errors))
                .route("/{verb:stop-all|resume-all}", web::post().to(stop_all))
                .route("/fault", web::post().to(fault)),
        )
        .default_service(web::to(unknown));
}

/// Which rows, and which of them.
#[derive(Debug, Deserialize)]
struct PageQuery {
    limit: Option<u16>,
    after: Option<i64>,
}

impl PageQuery {
    fn page(&self) -> Page {
        Page::new(self.limit, self.after)
    }
}

#[derive(Debug, Deserialize)]
struct Ids {
    ids: Vec<i64>,
}

async fn unknown(request: HttpRequest) -> Answer {
    Err(ApiError(OpsError::NotFound {
        what: "address",
        id: format!("{} {}", request.method(), request.path()),
    }))
}

async fn status(state: Data<State>) -> Answer {
    data(state.ask(|ops| async move { ops.status().await }).await?)
}

async fn tree(state: Data<State>) -> Answer {
    data(state.ops.tree().map_err(ApiError)?)
}

async fn syncs(state: Data<State>, page: Query<PageQuery>) -> Answer {
    let page = page.page();
    data(
        state
            .ask(move |ops| async move { ops.recent_syncs(page).await })
            .await?,
    )
}

async fn products(state: Data<State>, page: Query<PageQuery>, filter: Query<ops::ProductFilter>) -> Answer {
    let (page, filter) = (page.page(), filter.into_inner());
    data(
        state
            .ask(move |ops| async move { ops.products(page, filter).await })
            .await?,
    )
}

async fn add_product(state: Data<State>, caller: Caller, body: Json<ops::NewProductOrder>) -> Answer {
    let order = body.into_inner();
    data(
        state
            .ask(move |ops| async move { ops.add_product(order, &caller.0).await })
            .await?,
    )
}

async fn import(state: Data<State>, caller: Caller, body: web::Bytes) -> Answer {
    data(
        state
            .ask(move |ops| async move { ops.import(body, &caller.0).await })
            .await?,
    )
}

async fn act_on_products(state: Data<State>, caller: Caller, verb: Path<String>, body: Json<Ids>) -> Answer {
    let (verb, ids) = (verb.into_inner(), body.into_inner().ids);
    data(
        state
            .ask(move |ops| async move { ops.act_on_products(&verb, &ids, &caller.0).await })
            .await?,
    )
}

async fn product(state: Data<State>, id: Path<i64>) -> Answer {
    data(
        state
            .ask(move |ops| async move { ops.product(*id).await })
            .await?,
    )
}

async fn remove_product(state: Data<State>, caller: Caller, id: Path<i64>) -> Answer {
    data(
        state
            .ask(move |ops| async move { ops.remove_product(*id, &caller.0).await })
            .await?,
    )
}

async fn listings(state: Data<State>, page: Query<PageQuery>, filter: Query<ops::ListingFilter>) -> Answer {
    let (page, filter) = (page.page(), filter.into_inner());
    data(
        state
            .ask(move |ops| async move { ops.listings(page, filter).await })
            .await?,
    )
}

async fn link(state: Data<State>, caller: Caller, body: Json<ops::LinkOrder>) -> Answer {
    let order = body.into_inner();
    data(
        state
            .ask(move |ops| async move { ops.link(order, &caller.0).await })
            .await?,
    )
}

async fn push(state: Data<State>, caller: Caller, body: Json<Ids>) -> Answer {
    let ids = body.into_inner().ids;
    data(
        state
            .ask(move |ops| async move { ops.push(&ids, &caller.0).await })
            .await?,
    )
}

async fn switch_listings(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Json<ops::ListingsSwitch>,
) -> Answer {
    let (verb, order) = (verb.into_inner(), body.into_inner());
    data(
        state
            .ask(move |ops| async move { ops.switch_listings(&verb, order, &caller.0).await })
            .await?,
    )
}

async fn listing(state: Data<State>, id: Path<i64>) -> Answer {
    data(
        state
            .ask(move |ops| async move { ops.listing(*id).await })
            .await?,
    )
}

async fn explain(state: Data<State>, id: Path<i64>) -> Answer {
    data(
        state
            .ask(move |ops| async move { ops.explain(*id).await })
            .await?,
    )
}

#[derive(Debug, Deserialize)]
struct PlanQuery {
    id: Option<i64>,
}

async fn plan(state: Data<State>, page: Query<PageQuery>, only: Query<PlanQuery>) -> Answer {
    let (page, id) = (page.page(), only.id);
    data(
        state
            .ask(move |ops| async move { ops.plan(page, id).await })
            .await?,
    )
}

async fn holds(state: Data<State>, page: Query<PageQuery>) -> Answer {
    let page = page.page();
    data(state.ask(move |ops| async move { ops.holds(page).await }).await?)
}

async fn decide(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Json<ops::HoldsDecision>,
) -> Answer {
    let (verb, order) = (verb.into_inner(), body.into_inner());
    data(
        state
            .ask(move |ops| async move { ops.decide_holds(&verb, order, &caller.0).await })
            .await?,
    )
}

async fn edit_hold(state: Data<State>, caller: Caller, body: Json<ops::HoldEdit>) -> Answer {
    let order = body.into_inner();
    data(
        state
            .ask(move |ops| async move { ops.edit_hold(order, &caller.0).await })
            .await?,
    )
}

async fn platforms(state: Data<State>) -> Answer {
    data(state.ops.platforms().map_err(ApiError)?)
}

async fn switch_platform(state: Data<State>, caller: Caller, path: Path<(String, String)>) -> Answer {
    let (name, verb) = path.into_inner();
    data(
        state
            .ask(move |ops| async move { ops.switch_platform(&name, &verb, &caller.0).await })
            .await?,
    )
}

async fn queue(state: Data<State>, page: Query<PageQuery>, filter: Query<ops::JobFilter>) -> Answer {
    let (page, filter) = (page.page(), filter.into_inner());
    data(
        state
            .ask(move |ops| async move { ops.jobs(page, filter).await })
            .await?,
    )
}

async fn mend_jobs(state: Data<State>, caller: Caller, verb: Path<String>, body: Json<Ids>) -> Answer {
    let (verb, ids) = (verb.into_inner(), body.into_inner().ids);
    data(
        state
            .ask(move |ops| async move { ops.mend_jobs(&verb, &ids, &caller.0).await })
            .await?,
    )
}

async fn job(state: Data<State>, id: Path<i64>) -> Answer {
    data(state.ask(move |ops| async move { ops.job(*id).await }).await?)
}

async fn errors(state: Data<State>, page: Query<PageQuery>) -> Answer {
    let page = page.page();
    data(
        state
            .ask(move |ops| async move { ops.errors(page).await })
            .await?,
    )
}

async fn stop_all(state: Data<State>, caller: Caller, verb: Path<String>) -> Answer {
    let stop = verb.as_str() == "stop-all";
    data(
        state
            .ask(move |ops| async move { ops.emergency_stop(stop, &caller.0).await })
            .await?,
    )
}

/// What to break.
#[derive(Debug, Deserialize)]
struct FaultOrder {
    kind: String,
    child: String,
}

async fn fault(state: Data<State>, body: Json<FaultOrder>) -> Result<HttpResponse, ApiError> {
    state.ops.fault(&body.kind, &body.child).map_err(ApiError)?;
    data("done")
}
