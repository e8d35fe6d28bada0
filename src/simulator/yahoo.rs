//! The door of Yahoo! Auctions: `/jp/auction/{id}`.

use super::body::{PageBody, Served};
use super::draw::{below, count};
use super::faults::{PageFault, YahooFaults};
use super::page::{OtherPage, drifted};
use super::shared::Shared;
use super::world::{Asked, Status};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Answers a request for the page of one item.
pub(super) async fn item_page(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let shared = shared.into_inner();
    let plan = shared.faults.load_full();
    let plan = &plan.yahoo;
    let now = shared.now();
    let asked = shared
        .world
        .lock()
        .ask(&id, now, |seed, word, offset| plan.decide(seed, word, offset));
    let Some(asked) = asked else {
        return other(StatusCode::NOT_FOUND, OtherPage::NotFound, &id);
    };
    if let Some(fault) = asked.fault {
        shared.count_fault(fault);
        if fault == PageFault::Delay {
            actix_web::rt::time::sleep(Duration::from_millis(u64::from(plan.delay_ms))).await;
        }
        if let Some(answer) = instead(fault, plan, &shared, &id) {
            return answer;
        }
    }
    answer(&shared, &asked, plan, &id, takes_gzip(request.headers()))
}

/// The answer that is no item page at all.
fn instead(fault: PageFault, plan: &YahooFaults, shared: &Shared, id: &str) -> Option<HttpResponse> {
    let refused = |status, page| {
        let mut answer = other(status, page, id);
        if let Ok(after) = header::HeaderValue::from_str(&plan.retry_after)
            && !plan.retry_after.is_empty()
        {
            answer.headers_mut().insert(header::RETRY_AFTER, after);
        }
        answer
    };
    Some(match fault {
        PageFault::Http503 => refused(StatusCode::SERVICE_UNAVAILABLE, OtherPage::Busy),
        PageFault::Http429 => refused(StatusCode::TOO_MANY_REQUESTS, OtherPage::Busy),
        PageFault::Http500 => other(StatusCode::INTERNAL_SERVER_ERROR, OtherPage::ServerError, id),
        PageFault::Login => other(StatusCode::OK, OtherPage::Login, id),
        PageFault::LoginRedirect => HttpResponse::Found()
            .insert_header((header::LOCATION, "https://login.yahoo.co.jp/config/login"))
            .finish(),
        PageFault::Captcha => other(StatusCode::OK, OtherPage::Captcha, id),
        PageFault::Busy => other(StatusCode::OK, OtherPage::Busy, id),
        PageFault::Maintenance => other(StatusCode::OK, OtherPage::Maintenance, id),
        PageFault::Soft404 => other(StatusCode::OK, OtherPage::NotFound, id),
        PageFault::Removed => other(StatusCode::NOT_FOUND, OtherPage::NotFound, id),
        PageFault::Empty => page_head(StatusCode::OK, false).body(PageBody::whole(Bytes::new())),
        PageFault::Bomb => page_head(StatusCode::OK, true).body(PageBody::whole(shared.bomb())),
        PageFault::OtherItem
        | PageFault::Truncated
        | PageFault::Reset
        | PageFault::Drip
        | PageFault::Delay
        | PageFault::Drift
        | PageFault::Stale => return None,
    })
}

/// The item page, good or spoilt.
fn answer(shared: &Arc<Shared>, asked: &Asked, plan: &YahooFaults, id: &str, gzip: bool) -> HttpResponse {
    let served = || Served {
        shared: Arc::clone(shared),
        index: asked.index,
        state: asked.state,
        ask: asked.ask,
    };
    if asked.state.status == Status::Removed {
        let body = PageBody::whole(Shared::other_page(OtherPage::NotFound, id));
        return page_head(StatusCode::NOT_FOUND, false).body(body.noting(served()));
    }
    // A spoilt page is patched as text, so it goes out as text.
    let gzip = gzip && asked.fault != Some(PageFault::Drift);
    let (index, state, title) = match &asked.other {
        Some((index, state, title)) => (*index, state, title),
        None => (asked.index, &asked.state, &asked.title),
    };
    let begun = Instant::now();
    let page = shared.pages.render(index, state, title, shared.now(), gzip);
    let spent = u64::try_from(begun.elapsed().as_micros()).unwrap_or(0);
    shared.counters.render_us.fetch_add(spent, Ordering::Relaxed);
    shared.counters.rendered.fetch_add(1, Ordering::Relaxed);
    shared
        .counters
        .bytes
        .fetch_add(count(page.len()), Ordering::Relaxed);
    let body = match asked.fault {
        Some(PageFault::Drift) => PageBody::whole(drifted(&page, plan.drift, asked.word >> 8).into()),
        Some(PageFault::OtherItem) => PageBody::whole(page),
        Some(PageFault::Truncated) => {
            let length = page.len();
            let at = usize::try_from(below(asked.word >> 8, count(length))).unwrap_or(0);
            PageBody::whole(page).cut_after(at)
        }
        Some(PageFault::Reset) => PageBody::whole(page).cut_after(0),
        Some(PageFault::Drip) => PageBody::whole(page)
            .dripping(plan.drip_bytes_per_s)
            .noting(served()),
        _ => PageBody::whole(page).noting(served()),
    };
    page_head(StatusCode::OK, gzip).body(body)
}

fn page_head(status: StatusCode, gzip: bool) -> HttpResponseBuilder {
    let mut head = HttpResponse::build(status);
    head.insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "private, no-cache, no-store"))
        .insert_header((header::VARY, "Accept-Encoding"));
    if gzip {
        head.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    head
}

fn other(status: StatusCode, page: OtherPage, id: &str) -> HttpResponse {
    page_head(status, false).body(PageBody::whole(Shared::other_page(page, id)))
}

/// Whether the client says that it takes gzip (and does not take that back with `q=0`).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let text = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    text.split(',').any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        let refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}
