//! The door itself: paths, headers, and answers that come late, cut or not at all.

use super::answer::Answer;
use super::{AmazonEntry, AmazonOperation, Bazaar, Plan, listings, pricing};
use crate::simulator::body::PageBody;
use crate::simulator::faults::{AmazonFault, AmazonFaults};
use crate::simulator::shared::Shared;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;

/// Enters the paths of Amazon.
pub(in crate::simulator) fn routes(config: &mut web::ServiceConfig) {
    let listing = "/listings/2021-08-01/items/{seller}/{sku}";
    config
        .route("/auth/o2/token", web::post().to(token))
        .route("/batches/products/pricing/v0/itemOffers", web::post().to(batch))
        .route(
            "/products/pricing/v0/competitivePrice",
            web::get().to(competitive),
        )
        .route("/catalog/2022-04-01/items", web::get().to(catalogue))
        .route("/listings/2021-08-01/items/{seller}", web::get().to(search))
        .configure(feeds)
        .route(listing, web::get().to(show))
        .route(listing, web::patch().to(patch));
}

fn feeds(config: &mut web::ServiceConfig) {
    config
        .route("/feeds/2021-06-30/documents", web::post().to(place))
        .route("/feeds/2021-06-30/documents/{id}", web::get().to(report))
        .route("/feeds/2021-06-30/feeds", web::post().to(create_feed))
        .route("/feeds/2021-06-30/feeds", web::get().to(list_feeds))
        .route("/feeds/2021-06-30/feeds/{id}", web::get().to(show_feed))
        .route("/feed-files/{id}", web::put().to(upload))
        .route("/feed-files/{id}", web::get().to(download));
}

type Shares = web::Data<Shared>;

async fn token(body: Bytes, shared: Shares) -> HttpResponse {
    let form = pairs(&body);
    let (plan, now) = (shared.faults.load_full(), shared.now());
    let answer = shared.amazon.lock().tokens.grant(&form, &plan.amazon, now);
    send(answer, &plan.amazon).await
}

async fn batch(request: HttpRequest, body: Bytes, shared: Shares) -> HttpResponse {
    let operation = AmazonOperation::GetItemOffersBatch;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let now = shared.now();
    perform(&request, &shared, operation, |bazaar, plan, _| {
        pricing::batch(&mut bazaar.goods, &body, plan, now)
    })
    .await
}

async fn competitive(request: HttpRequest, shared: Shares) -> HttpResponse {
    let operation = AmazonOperation::GetCompetitivePricing;
    let (query, now) = (pairs(request.query_string().as_bytes()), shared.now());
    perform(&request, &shared, operation, |bazaar, plan, _| {
        pricing::competitive(&mut bazaar.goods, &query, plan, now)
    })
    .await
}

async fn catalogue(request: HttpRequest, shared: Shares) -> HttpResponse {
    let query = pairs(request.query_string().as_bytes());
    perform(
        &request,
        &shared,
        AmazonOperation::SearchCatalogItems,
        |bazaar, plan, _| pricing::catalogue(&bazaar.goods, &query, plan),
    )
    .await
}

async fn show(request: HttpRequest, path: web::Path<(String, String)>, shared: Shares) -> HttpResponse {
    let (seller, sku) = path.into_inner();
    let query = pairs(request.query_string().as_bytes());
    perform(
        &request,
        &shared,
        AmazonOperation::GetListingsItem,
        |bazaar, plan, entry| {
            entry.sku = Some(sku.as_str().into());
            listings::refusal(&seller, &query).unwrap_or_else(|| bazaar.show(&sku, &query, plan))
        },
    )
    .await
}

async fn patch(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: Bytes,
    shared: Shares,
) -> HttpResponse {
    let (seller, sku) = path.into_inner();
    let (query, now) = (pairs(request.query_string().as_bytes()), shared.now());
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    perform(
        &request,
        &shared,
        AmazonOperation::PatchListingsItem,
        |bazaar, plan, entry| {
            entry.sku = Some(sku.as_str().into());
            match (listings::refusal(&seller, &query), body) {
                (Some(refusal), _) => refusal,
                (None, Some(body)) => bazaar.patch(&sku, &query, &body, plan, now),
                (None, None) => Answer::error(400, "BAD_REQUEST", "Invalid input", "The body is not JSON."),
            }
        },
    )
    .await
}

async fn search(request: HttpRequest, path: web::Path<String>, shared: Shares) -> HttpResponse {
    let query = pairs(request.query_string().as_bytes());
    let operation = AmazonOperation::SearchListingsItems;
    perform(&request, &shared, operation, |bazaar, plan, _| {
        listings::refusal(&path, &query).unwrap_or_else(|| listings::search(&bazaar.listings, &query, plan))
    })
    .await
}

/// Where documents are exchanged: here, or at somebody else's.
fn base(request: &HttpRequest, shared: &Shares) -> String {
    if shared.faults.load().amazon.feeds_elsewhere {
        return "https://files.example.invalid".to_owned();
    }
    let info = request.connection_info();
    format!("{}://{}", info.scheme(), info.host())
}

async fn place(request: HttpRequest, body: Bytes, shared: Shares) -> HttpResponse {
    let (base, now) = (base(&request, &shared), shared.now());
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let operation = AmazonOperation::CreateFeedDocument;
    perform(&request, &shared, operation, |bazaar, plan, _| {
        bazaar.feeds.place(&base, &body, plan, now)
    })
    .await
}

async fn create_feed(request: HttpRequest, body: Bytes, shared: Shares) -> HttpResponse {
    let now = shared.now();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    perform(
        &request,
        &shared,
        AmazonOperation::CreateFeed,
        |bazaar, plan, _| bazaar.feeds.create(&body, plan, now, bazaar.feed),
    )
    .await
}

async fn list_feeds(request: HttpRequest, shared: Shares) -> HttpResponse {
    let (query, now) = (pairs(request.query_string().as_bytes()), shared.now());
    perform(&request, &shared, AmazonOperation::GetFeeds, |bazaar, plan, _| {
        bazaar.feeds.list(&query, plan, now)
    })
    .await
}

async fn show_feed(request: HttpRequest, path: web::Path<String>, shared: Shares) -> HttpResponse {
    let now = shared.now();
    perform(&request, &shared, AmazonOperation::GetFeed, |bazaar, plan, _| {
        bazaar.feeds.show(&path, plan, now)
    })
    .await
}

async fn report(request: HttpRequest, path: web::Path<String>, shared: Shares) -> HttpResponse {
    let (base, now) = (base(&request, &shared), shared.now());
    let operation = AmazonOperation::GetFeedDocument;
    perform(&request, &shared, operation, |bazaar, plan, _| {
        bazaar.feeds.report(&base, &path, plan, now)
    })
    .await
}

/// Storage: it knows signatures and no tokens, and refuses who brings one.
fn is_signed_only(request: &HttpRequest) -> bool {
    let headers = request.headers();
    text(headers, "authorization").is_none() && text(headers, "x-amz-access-token").is_none()
}

async fn upload(request: HttpRequest, path: web::Path<String>, body: Bytes, shared: Shares) -> HttpResponse {
    let query = pairs(request.query_string().as_bytes());
    let signature = pricing::value(&query, "X-Amz-Signature").unwrap_or_default();
    let kind = text(request.headers(), "content-type").unwrap_or_default();
    if !is_signed_only(&request) {
        return HttpResponse::BadRequest().finish();
    }
    let now = shared.now();
    let status = shared
        .amazon
        .lock()
        .feeds
        .upload(&path, signature, kind, body, now);
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN)).finish()
}

async fn download(request: HttpRequest, path: web::Path<String>, shared: Shares) -> HttpResponse {
    let query = pairs(request.query_string().as_bytes());
    let signature = pricing::value(&query, "X-Amz-Signature").unwrap_or_default();
    if !is_signed_only(&request) {
        return HttpResponse::BadRequest().finish();
    }
    let now = shared.now();
    match shared.amazon.lock().feeds.download(&path, signature, now) {
        Some(body) => HttpResponse::Ok()
            .content_type("application/octet-stream")
            .body(body),
        None => HttpResponse::Forbidden().finish(),
    }
}

async fn perform(
    request: &HttpRequest,
    shared: &Shares,
    operation: AmazonOperation,
    carry_out: impl FnOnce(&mut Bazaar, &Plan<'_>, &mut AmazonEntry) -> Answer,
) -> HttpResponse {
    let (plan, now) = (shared.faults.load_full(), shared.now());
    let token = text(request.headers(), "x-amz-access-token");
    let answer = shared
        .amazon
        .lock()
        .call(operation, token, &plan.amazon, now, carry_out);
    send(answer, &plan.amazon).await
}

async fn send(answer: Answer, plan: &AmazonFaults) -> HttpResponse {
    let wait_ms = match answer.fault {
        Some(AmazonFault::Delay) => plan.delay_ms,
        Some(AmazonFault::HangBefore | AmazonFault::HangAfter) => plan.hang_ms,
        _ => 0,
    };
    if wait_ms > 0 {
        actix_web::rt::time::sleep(Duration::from_millis(u64::from(wait_ms))).await;
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = HttpResponse::build(status);
    head.insert_header((header::CONTENT_TYPE, "application/json"));
    head.insert_header(("x-amzn-RequestId", format!("sim-{:016x}", answer.number)));
    if let Some(rate) = answer.rate {
        head.insert_header(("x-amzn-RateLimit-Limit", rate.to_string()));
    }
    if matches!(answer.status, 429 | 503) && !plan.retry_after.is_empty() {
        head.insert_header((header::RETRY_AFTER, plan.retry_after.as_str()));
    }
    let body = answer.body.to_string().into_bytes();
    let half = body.len() / 2;
    let body = PageBody::whole(body.into());
    head.body(if answer.fault == Some(AmazonFault::Cut) {
        body.cut_after(half)
    } else {
        body
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}
