//! What every door answers about the simulator itself: the paths that begin with `/_`.

use super::shared::Shared;
use super::views::Platform;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::future::{Ready, ready};

/// The most entries that one answer holds.
const MOST: usize = 100_000;

/// Enters the paths.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/_script", web::post().to(script))
        .route("/_truth", web::get().to(|s: Shares| json_of(&s.truth())))
        .route("/_served", web::get().to(|s: Shares| json_of(&s.served())))
        .route("/_register", web::get().to(register))
        .route(
            "/_amazon_truth",
            web::get().to(|s: Shares| json_of(&s.amazon_truth())),
        )
        .route(
            "/_amazon_served",
            web::get().to(|s: Shares| json_of(&s.amazon_served())),
        )
        .route(
            "/_amazon_register",
            web::get().to(|s: Shares| json_of(&s.amazon_register())),
        )
        .route("/_catalogue", web::get().to(|s: Shares| json_of(&s.catalogue())))
        .route("/_stats", web::get().to(|s: Shares| json_of(&s.stats())))
        .route("/_changes", web::get().to(changes))
        .route("/_ledger", web::get().to(ledger));
}

type Shares = web::Data<Shared>;

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    platform: Platform,
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

impl Part {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(1_000).min(MOST)
    }
}

fn changes(part: web::Query<Part>, shared: Shares) -> Ready<HttpResponse> {
    json_of(&shared.changes(part.after, part.limit()))
}

/// The register of a destination; Yahoo! has none, and eBay's is the usual one.
fn register(part: web::Query<Part>, shared: Shares) -> Ready<HttpResponse> {
    match part.platform {
        Platform::Mercari => json_of(&shared.mercari_register()),
        Platform::Amazon => json_of(&shared.amazon_register()),
        Platform::Yahoo | Platform::Ebay => json_of(&shared.register()),
    }
}

fn ledger(part: web::Query<Part>, shared: Shares) -> Ready<HttpResponse> {
    match part.platform {
        Platform::Yahoo => json_of(&shared.page_ledger(part.after, part.limit())),
        Platform::Ebay => json_of(&shared.ebay_ledger(part.after, part.limit())),
        Platform::Mercari => json_of(&shared.mercari_ledger(part.after, part.limit())),
        Platform::Amazon => json_of(&shared.amazon_ledger(part.after, part.limit())),
    }
}

fn script(body: Bytes, shared: Shares) -> Ready<HttpResponse> {
    match shared.script(&body) {
        Ok(()) => json_of(&json!({ "done": true })),
        Err(bad) => ready(HttpResponse::BadRequest().json(json!({ "problems": bad.0 }))),
    }
}

fn json_of(value: &impl Serialize) -> Ready<HttpResponse> {
    ready(HttpResponse::Ok().json(value))
}
