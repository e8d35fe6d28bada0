//! The door of eBay: OAuth's token endpoint, the Sell Inventory API, and what is asked beside it.

use super::body::PageBody;
use super::faults::{CallFault, EbayFaults};
use super::market::{Answer, Bulk, Call, Question};
use super::shared::Shared;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::future::Future;
use std::time::Duration;

/// Enters the paths of eBay.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let root = "/sell/inventory/v1";
    let path = |rest: &str| format!("{root}{rest}");
    config
        .route("/oauth2/authorize", web::get().to(consent))
        .route("/identity/v1/oauth2/token", web::post().to(token))
        .route(&path("/bulk_update_price_quantity"), web::post().to(bulk))
        .route(
            &path("/bulk_create_or_replace_inventory_item"),
            web::post().to(bulk_items),
        )
        .route(&path("/bulk_create_offer"), web::post().to(bulk_offers))
        .route(&path("/bulk_publish_offer"), web::post().to(bulk_publish))
        .route(
            "/commerce/taxonomy/v1/get_default_category_tree_id",
            web::get().to(tree),
        )
        .route(
            "/commerce/taxonomy/v1/category_tree/{id}/get_category_suggestions",
            web::get().to(suggest),
        )
        .route("/developer/analytics/v1_beta/rate_limit/", web::get().to(quotas))
        .route(
            "/developer/analytics/v1_beta/user_rate_limit/",
            web::get().to(user_quotas),
        )
        .route(&path("/inventory_item/{sku}"), web::get().to(get_item))
        .route(&path("/inventory_item/{sku}"), web::put().to(put_item))
        .route(&path("/offer"), web::get().to(get_offers))
        .route(&path("/offer"), web::post().to(create_offer))
        .route(&path("/offer/{id}"), web::get().to(get_offer))
        .route(&path("/offer/{id}"), web::put().to(put_offer))
        .route(&path("/offer/{id}/publish"), web::post().to(publish))
        .route(&path("/offer/{id}/withdraw"), web::post().to(withdraw));
}

type Shares = web::Data<Shared>;

/// The page at which a seller agrees; this one does at once, and is sent to a place that is nowhere.
async fn consent(request: HttpRequest, shared: Shares) -> HttpResponse {
    let query: Vec<(String, String)> = url::form_urlencoded::parse(request.query_string().as_bytes())
        .into_owned()
        .collect();
    let now = shared.now();
    match shared.market.lock().tokens.consent(&query, now) {
        Ok(back) => HttpResponse::Found()
            .insert_header((header::LOCATION, format!("https://shop.invalid/consented?{back}")))
            .finish(),
        Err(error) => HttpResponse::BadRequest().body(error),
    }
}

async fn token(request: HttpRequest, body: Bytes, shared: Shares) -> HttpResponse {
    let plan = shared.faults.load_full();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let authorization = text(request.headers(), header::AUTHORIZATION);
    let now = shared.now();
    let answer = shared.market.lock().grant(authorization, &form, &plan.ebay, now);
    send(answer, &plan.ebay).await
}

fn bulk(request: HttpRequest, body: Bytes, shared: Shares) -> impl Future<Output = HttpResponse> {
    with_body(request, shared, body, |_, body| Call::Bulk(body))
}

fn bulk_items(request: HttpRequest, body: Bytes, shared: Shares) -> impl Future<Output = HttpResponse> {
    first(request, body, shared, Bulk::Items)
}

fn bulk_offers(request: HttpRequest, body: Bytes, shared: Shares) -> impl Future<Output = HttpResponse> {
    first(request, body, shared, Bulk::Offers)
}

fn bulk_publish(request: HttpRequest, body: Bytes, shared: Shares) -> impl Future<Output = HttpResponse> {
    first(request, body, shared, Bulk::Publish)
}

fn first(
    request: HttpRequest,
    body: Bytes,
    shared: Shares,
    bulk: Bulk,
) -> impl Future<Output = HttpResponse> {
    with_body(request, shared, body, move |language, body| Call::First {
        bulk,
        language,
        body,
    })
}

#[derive(Deserialize)]
struct Words {
    marketplace_id: Option<String>,
    q: Option<String>,
}

fn tree(
    request: HttpRequest,
    query: web::Query<Words>,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    let marketplace = query.into_inner().marketplace_id;
    without_body(request, shared, Call::Question(Question::Tree { marketplace }))
}

fn suggest(
    request: HttpRequest,
    id: web::Path<String>,
    query: web::Query<Words>,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    let (tree, words) = (id.into_inner(), query.into_inner().q);
    without_body(request, shared, Call::Question(Question::Suggest { tree, words }))
}

fn quotas(request: HttpRequest, shared: Shares) -> impl Future<Output = HttpResponse> {
    without_body(
        request,
        shared,
        Call::Question(Question::Quotas { seller: false }),
    )
}

fn user_quotas(request: HttpRequest, shared: Shares) -> impl Future<Output = HttpResponse> {
    without_body(request, shared, Call::Question(Question::Quotas { seller: true }))
}

fn get_item(
    request: HttpRequest,
    sku: web::Path<String>,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    without_body(request, shared, Call::GetItem(sku.into_inner()))
}

fn put_item(
    request: HttpRequest,
    sku: web::Path<String>,
    body: Bytes,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    let sku = sku.into_inner();
    with_body(request, shared, body, |language, body| Call::PutItem {
        sku,
        language,
        body,
    })
}

#[derive(Deserialize)]
struct OfferQuery {
    sku: Option<String>,
}

fn get_offers(
    request: HttpRequest,
    query: web::Query<OfferQuery>,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    without_body(request, shared, Call::GetOffers(query.into_inner().sku))
}

fn get_offer(
    request: HttpRequest,
    id: web::Path<String>,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    without_body(request, shared, Call::GetOffer(id.into_inner()))
}

fn create_offer(request: HttpRequest, body: Bytes, shared: Shares) -> impl Future<Output = HttpResponse> {
    with_body(request, shared, body, |language, body| Call::CreateOffer {
        language,
        body,
    })
}

fn put_offer(
    request: HttpRequest,
    id: web::Path<String>,
    body: Bytes,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    let offer_id = id.into_inner();
    with_body(request, shared, body, |language, body| Call::PutOffer {
        offer_id,
        language,
        body,
    })
}

fn publish(
    request: HttpRequest,
    id: web::Path<String>,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    without_body(request, shared, Call::Publish(id.into_inner()))
}

fn withdraw(
    request: HttpRequest,
    id: web::Path<String>,
    shared: Shares,
) -> impl Future<Output = HttpResponse> {
    without_body(request, shared, Call::Withdraw(id.into_inner()))
}

/// A call whose body is JSON by contract.
async fn with_body(
    request: HttpRequest,
    shared: Shares,
    body: Bytes,
    call: impl FnOnce(bool, Value) -> Call,
) -> HttpResponse {
    let headers = request.headers();
    let json = text(headers, header::CONTENT_TYPE).is_some_and(|t| t.starts_with("application/json"));
    let language = headers.contains_key(header::CONTENT_LANGUAGE);
    let call = if json {
        serde_json::from_slice(&body)
            .map(|body| call(language, body))
            .map_err(|bad| Answer::bad_request(400, &format!("The body is not JSON: {bad}")))
    } else {
        let message = "The header Content-Type must be application/json.";
        Err(Answer::bad_request(415, message))
    };
    perform(&request, &shared, call).await
}

async fn without_body(request: HttpRequest, shared: Shares, call: Call) -> HttpResponse {
    perform(&request, &shared, Ok(call)).await
}

/// Checks the access token, then asks the register.
async fn perform(request: &HttpRequest, shared: &Shares, call: Result<Call, Answer>) -> HttpResponse {
    let plan = shared.faults.load_full();
    let now = shared.now();
    let authorization = text(request.headers(), header::AUTHORIZATION);
    let answer = {
        let mut market = shared.market.lock();
        match call {
            _ if !market.tokens.allows(authorization, now) => market.turned_away(now),
            Ok(call) if market.tokens.is_of_application(authorization) != call.is_for_application() => {
                Answer::forbidden()
            }
            Ok(call) => market.call(&call, &plan.ebay, now),
            Err(answer) => answer,
        }
    };
    send(answer, &plan.ebay).await
}

async fn send(answer: Answer, plan: &EbayFaults) -> HttpResponse {
    if answer.fault == Some(CallFault::Delay) {
        actix_web::rt::time::sleep(Duration::from_millis(u64::from(plan.delay_ms))).await;
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = HttpResponse::build(status);
    if matches!(answer.status, 429 | 503) && !plan.retry_after.is_empty() {
        head.insert_header((header::RETRY_AFTER, plan.retry_after.as_str()));
    }
    let Some(body) = answer.body else {
        return head.finish();
    };
    let body = body.to_string().into_bytes();
    let half = body.len() / 2;
    head.insert_header((header::CONTENT_TYPE, "application/json"));
    let body = PageBody::whole(body.into());
    head.body(if answer.fault == Some(CallFault::Cut) {
        body.cut_after(half)
    } else {
        body
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
