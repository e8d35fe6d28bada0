//! Many prices in one document: the Feeds API with `JSON_LISTINGS_FEED`.
//!
//! The address for uploading and that of the report come out of Amazon's answers. They carry a signature of their own, so
//! no token goes there, they are kept nowhere, and only files of Amazon's storage are reached ([`FILES`]), or the very
//! endpoint of a rehearsal: whatever else stands there is refused, and nothing is sent. They are of use for five minutes,
//! so an upload is one step with the question for its address.

mod report;
mod storage;

pub use storage::{BAD_ADDRESS, FILES};

use super::account::{Account, Ask};
use super::quota::Operation;
use super::seller::{AmazonSeller, check_sku};
use super::{fault, listing};
use crate::domain::{ErrorClass, Money};
use crate::http;
use crate::platform::PlatformError;
use crate::platform::bulk::{BulkFeed, BulkPrice, BulkPrices, BulkReport, BulkStage, Kinds};
use crate::platform::json::{self, At, Drift};
use crate::platform::lost::Lost;
use crate::platform::registrar::NotDone;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use url::Url;

const FEED_TYPE: &str = "JSON_LISTINGS_FEED";
const CONTENT_TYPE: &str = "application/json; charset=UTF-8";
/// Prices in one document. The schema has 25,000 messages; fewer are reported sooner.
const MOST: usize = 10_000;
/// The largest document, in bytes: one of the most prices with the longest names has less than half of it.
const MOST_BYTES: usize = 16 << 20;
/// SKUs in one search.
const SEARCHED_AT_ONCE: usize = 20;
/// How a gzip stream begins.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The Feeds API of a seller's account.
pub struct AmazonFeeds {
    seller: Arc<AmazonSeller>,
    files: http::Client,
    /// Kinds of product that were asked for and not used yet: thousands, which a step that is repeated need not ask again.
    kinds: Mutex<Kinds>,
}

impl AmazonFeeds {
    /// Of this seller. `files` must be allowed to reach Amazon's storage and nothing else, or in a rehearsal its endpoint.
    #[must_use]
    pub fn new(seller: Arc<AmazonSeller>, files: http::Client) -> Self {
        Self {
            seller,
            files,
            kinds: Mutex::default(),
        }
    }

    fn account(&self) -> &Account {
        &self.seller.account
    }

    fn address(&self, parts: &[&str], query: &[(&str, &str)]) -> Url {
        let parts: Vec<&str> = ["feeds", "2021-06-30"].iter().chain(parts).copied().collect();
        self.account().address(&parts, query)
    }

    /// The kinds of product that the answer of a search names; what cannot be read of a listing is not known.
    async fn search(&self, skus: &[Box<str>]) -> Result<Kinds, PlatformError> {
        let doing = format!("search {} listings for their kinds of product", skus.len());
        let market = self.account().settings.marketplace.as_str();
        let named = skus.join(",");
        let query = [
            ("marketplaceIds", market),
            ("identifiersType", "SKU"),
            ("identifiers", named.as_str()),
            ("includedData", "summaries"),
            ("pageSize", "20"),
        ];
        let url = self.account().address(
            &["listings", "2021-08-01", "items", &*self.seller.seller_id],
            &query,
        );
        let operation = Operation::SearchListingsItems;
        let body = self.account().read(&doing, operation, Ask::Get, url).await?;
        let items = At::root("answer", &body).get("items").and_then(|at| at.items());
        let items = items.map_err(|drift| contract(&doing, &drift, &body))?;
        let read = items.iter().filter_map(|item| kind_of(item, market).ok());
        let found: Kinds = read.filter(|(sku, _)| skus.contains(sku)).collect();
        let each = found.iter().map(|(sku, kind)| (sku.clone(), kind.clone()));
        self.kinds.lock().extend(each);
        Ok(found)
    }

    /// Asks for a place for a document: its key, and where to upload it.
    async fn place(&self) -> Result<(Box<str>, Url), PlatformError> {
        let doing = "ask for a place for a document";
        let ask = Ask::Post(json!({ "contentType": CONTENT_TYPE }));
        let url = self.address(&["documents"], &[]);
        let operation = Operation::CreateFeedDocument;
        let body = self.account().read(doing, operation, ask, url).await?;
        let read = || -> Result<(Box<str>, &str), Drift> {
            let at = At::root("answer", &body);
            Ok((text(&at, "feedDocumentId")?.into(), at.get("url")?.text()?))
        };
        // The address is a key to the document: it is not kept beside the error.
        let (id, url) = read().map_err(|drift| fault::contract(doing, &drift, None))?;
        Ok((id, storage::address(&self.files, doing, url)?))
    }

    async fn upload_to(&self, url: Url, document: Vec<u8>) -> Result<(), PlatformError> {
        let doing = "upload a document of prices";
        let sent = self.files.put(url).raw(CONTENT_TYPE, document).send().await;
        let answer = sent.map_err(|error| Lost::unanswered(doing, &error, false).error)?;
        if answer.is_success() {
            return Ok(());
        }
        Err(storage(doing, answer.status))
    }

    /// The text of a report.
    async fn download(&self, doing: &str, report: &str) -> Result<Bytes, PlatformError> {
        let url = self.address(&["documents", report], &[]);
        let body = self
            .account()
            .read(doing, Operation::GetFeedDocument, Ask::Get, url)
            .await?;
        let read = || -> Result<(&str, bool), Drift> {
            let at = At::root("answer", &body);
            let packed = match at.maybe("compressionAlgorithm")? {
                None => false,
                Some(word) if word.text()? == "GZIP" => true,
                Some(word) => return Err(word.drift("`GZIP`, or nothing")),
            };
            Ok((at.get("url")?.text()?, packed))
        };
        let (url, packed) = read().map_err(|drift| fault::contract(doing, &drift, None))?;
        let url = storage::address(&self.files, doing, url)?;
        let lost = |error: http::HttpError| Lost::unanswered(doing, &error, false).error;
        let answer = self.files.get(url).send().await.map_err(lost)?;
        if !answer.is_success() {
            return Err(storage(doing, answer.status));
        }
        // Storage that says so in a header has had it unpacked by now.
        if packed && answer.body.starts_with(GZIP) {
            return self.files.gunzip("the report", answer.body).map_err(lost);
        }
        Ok(answer.body)
    }
}

/// What storage that did not do it means: its addresses grow old, and the next try has a new one.
fn storage(doing: &str, status: u16) -> PlatformError {
    PlatformError {
        class: ErrorClass::Transient,
        code: format!("amazon_storage_{status}").into(),
        message: format!("could not {doing}: Amazon's storage answered with {status}").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

fn contract(doing: &str, drift: &Drift, body: &Value) -> PlatformError {
    fault::contract(doing, drift, fault::kept(body.to_string().as_bytes()))
}

/// A text that is a key: it may not be empty.
fn text<'a>(at: &At<'a>, key: &str) -> Result<&'a str, Drift> {
    let found = at.get(key)?;
    match found.text()? {
        "" => Err(found.drift("a key")),
        key => Ok(key),
    }
}

fn kind_of(item: &At<'_>, marketplace: &str) -> Result<(Box<str>, Box<str>), Drift> {
    let summaries = item.get("summaries")?;
    let ours = listing::of_marketplace(&summaries, marketplace)?;
    let first = ours.first().ok_or_else(|| summaries.drift("a summary"))?;
    Ok((text(item, "sku")?.into(), text(first, "productType")?.into()))
}

/// The document: each price as a patch of one listing, as it would be sent alone.
fn document(seller_id: &str, marketplace: &str, prices: &[BulkPrice]) -> Value {
    let messages = prices.iter().map(|one| {
        json!({
            "messageId": one.message,
            "sku": one.sku,
            "operationType": "PATCH",
            "productType": one.kind,
            "patches": [listing::price_patch(marketplace, one.price)],
        })
    });
    json!({
        "header": {"sellerId": seller_id, "version": "2.0", "issueLocale": "ja_JP"},
        "messages": messages.collect::<Vec<_>>(),
    })
}

/// What the API says of a document that was handed in.
fn feed(at: &At<'_>) -> Result<BulkFeed, Drift> {
    let status = at.get("processingStatus")?;
    let stage = match status.text()? {
        "IN_QUEUE" | "IN_PROGRESS" => BulkStage::UnderWay,
        "CANCELLED" => BulkStage::Cancelled,
        "FATAL" => BulkStage::Fatal,
        "DONE" => BulkStage::Done,
        _ => return Err(status.drift("CANCELLED, DONE, FATAL, IN_PROGRESS or IN_QUEUE")),
    };
    let created = at.get("createdTime")?;
    let created_at =
        DateTime::parse_from_rfc3339(created.text()?).map_err(|_no_time| created.drift("a time"))?;
    let report = at.maybe("resultFeedDocumentId")?;
    Ok(BulkFeed {
        id: text(at, "feedId")?.into(),
        stage,
        report: report.map(|at| at.text()).transpose()?.map(Into::into),
        created_at: created_at.to_utc(),
    })
}

impl BulkPrices for AmazonFeeds {
    fn most(&self) -> usize {
        MOST
    }

    /// A search takes its SKUs in a list with commas.
    fn takes(&self, sku: &str, price: Money) -> bool {
        let currency = self.account().settings.currency;
        check_sku(sku).is_ok() && !sku.contains(',') && price.currency() == currency
    }

    fn known_kind(&self, sku: &str) -> Option<Box<str>> {
        let asked = self.kinds.lock().get(sku).cloned();
        asked.or_else(|| {
            let shown = self.seller.kinds.lock();
            shown.get(sku).map(|kind| kind.product_type.clone())
        })
    }

    fn kinds_at_once(&self) -> usize {
        SEARCHED_AT_ONCE
    }

    fn kinds<'a>(&'a self, skus: &'a [Box<str>]) -> BoxFuture<'a, Result<Kinds, PlatformError>> {
        Box::pin(self.search(skus))
    }

    fn upload<'a>(&'a self, prices: &'a [BulkPrice]) -> BoxFuture<'a, Result<Box<str>, PlatformError>> {
        Box::pin(async move {
            let market = &self.account().settings.marketplace;
            let document = document(&self.seller.seller_id, market, prices)
                .to_string()
                .into_bytes();
            if document.len() > MOST_BYTES {
                let message = format!(
                    "did not upload a document of prices: it has {} bytes, and at most {MOST_BYTES} are sent",
                    document.len()
                );
                return Err(fault::refused("amazon_document_size", message));
            }
            let (id, url) = self.place().await?;
            self.upload_to(url, document).await?;
            // They may change, and are asked for anew with the next document.
            self.kinds.lock().clear();
            Ok(id)
        })
    }

    fn submit<'a>(&'a self, document: &'a str) -> BoxFuture<'a, Result<Box<str>, NotDone>> {
        Box::pin(async move {
            let doing = "hand in a document of prices";
            let ask = Ask::Create(json!({
                "feedType": FEED_TYPE,
                "marketplaceIds": [self.account().settings.marketplace],
                "inputFeedDocumentId": document,
            }));
            let url = self.address(&["feeds"], &[]);
            let not_done = |lost: Lost| NotDone {
                error: lost.error,
                unknown: lost.maybe_applied,
            };
            let sent = self.account().send(doing, Operation::CreateFeed, ask, url).await;
            let reply = sent.map_err(not_done)?;
            if !reply.is_success() {
                return Err(not_done(reply.refused(doing)));
            }
            // It was taken, whatever its answer says.
            let unknown = |error| NotDone { error, unknown: true };
            let body = reply.json(doing).map_err(unknown)?;
            let id = text(&At::root("answer", &body), "feedId");
            id.map(Into::into)
                .map_err(|drift| unknown(contract(doing, &drift, &body)))
        })
    }

    fn submitted_since(&self, since: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<BulkFeed>, PlatformError>> {
        Box::pin(async move {
            let doing = "look for documents that were handed in";
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            let query = [
                ("feedTypes", FEED_TYPE),
                ("pageSize", "100"),
                ("createdSince", since.as_str()),
            ];
            let url = self.address(&["feeds"], &query);
            let body = self
                .account()
                .read(doing, Operation::GetFeeds, Ask::Get, url)
                .await?;
            let list = At::root("answer", &body).get("feeds").and_then(|at| at.items());
            let read = list.and_then(|feeds| feeds.iter().map(feed).collect());
            read.map_err(|drift| contract(doing, &drift, &body))
        })
    }

    fn look<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<BulkFeed, PlatformError>> {
        Box::pin(async move {
            let doing = format!("tell how far feed `{id}` is");
            let url = self.address(&["feeds", id], &[]);
            let body = self
                .account()
                .read(&doing, Operation::GetFeed, Ask::Get, url)
                .await?;
            let at = At::root("answer", &body);
            let read = feed(&at).and_then(|feed| match feed.id.eq_ignore_ascii_case(id) {
                true => Ok(feed),
                false => Err(at.get("feedId")?.drift(&format!("the feed asked for, `{id}`"))),
            });
            read.map_err(|drift| contract(&doing, &drift, &body))
        })
    }

    fn report<'a>(
        &'a self,
        feed: &'a str,
        report: &'a str,
        prices: u32,
        last: u32,
    ) -> BoxFuture<'a, Result<BulkReport, PlatformError>> {
        Box::pin(async move {
            let doing = format!("read the report of feed `{feed}`");
            let text = self.download(&doing, report).await?;
            let kept = || fault::kept(&text);
            let body = json::parse(&text).map_err(|broken| {
                let drift = Drift {
                    path: "report".into(),
                    what: format!("expected JSON: {broken}"),
                };
                fault::contract(&doing, &drift, kept())
            })?;
            report::read(&At::root("report", &body), feed, (prices, last))
                .map_err(|drift| fault::contract(&doing, &drift, kept()))
        })
    }
}
