//! The door of Mercari Shops: its GraphQL interface.
//!
//! Written from what is published of it: one path, a token, the name of the program in the user agent, an hour's cost
//! points, and a bare 404 for every address that is not registered.

mod answer;
mod graphql;
mod register;
mod schema;
mod shop;
mod views;

pub(super) use shop::{CLIENT_NAME, Shop, TOKEN};
pub use views::{MercariAsked, MercariEntry, MercariListing, SetMercari};

use super::body::PageBody;
use super::faults::{MercariFault, MercariFaults};
use super::shared::Shared;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use answer::Answer;
use bytes::Bytes;
use shop::Asked;
use std::time::Duration;

/// Enters the paths of Mercari.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/v1/graphql", web::post().to(graphql));
}

async fn graphql(request: HttpRequest, body: Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let plan = shared.faults.load_full();
    let headers = request.headers();
    let asked = Asked {
        authorization: text(headers, header::AUTHORIZATION),
        user_agent: text(headers, header::USER_AGENT),
        content_type: text(headers, header::CONTENT_TYPE),
        body: &body,
    };
    let now = shared.now();
    let answer = shared.shop.lock().call(&asked, &plan.mercari, now);
    send(answer, &plan.mercari).await
}

async fn send(answer: Answer, plan: &MercariFaults) -> HttpResponse {
    if matches!(answer.fault, Some(MercariFault::Delay | MercariFault::Hang)) {
        actix_web::rt::time::sleep(Duration::from_millis(u64::from(plan.delay_ms))).await;
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = HttpResponse::build(status);
    if matches!(answer.status, 429 | 503) && !plan.retry_after.is_empty() {
        head.insert_header((header::RETRY_AFTER, plan.retry_after.as_str()));
    }
    let (kind, body) = match answer.body {
        Ok(body) => ("application/json", body.to_string()),
        Err(text) => ("text/plain; charset=utf-8", text.to_owned()),
    };
    head.insert_header((header::CONTENT_TYPE, kind));
    let body = body.into_bytes();
    let half = body.len() / 2;
    let body = PageBody::whole(body.into());
    head.body(if answer.fault == Some(MercariFault::Cut) {
        body.cut_after(half)
    } else {
        body
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
