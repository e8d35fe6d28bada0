//! The door of Amazon: Login with Amazon and the Selling Partner API, with its quotas.
//!
//! Behind it stand the items of the marketplace ([`goods`]) and the listings of one seller ([`listings`]), apart from
//! Yahoo!'s world and eBay's market. The ledger holds one line per call and one per applied change, in order.

mod answer;
mod door;
mod feeds;
mod goods;
mod listings;
mod pricing;
mod tokens;

pub(super) use door::routes;
pub use goods::{AmazonItem, SetAmazonItem};
pub use listings::{AmazonListing, SetAmazonListing};

use super::draw::mix;
use super::faults::{AmazonFault, AmazonFaults};
use super::ledger::Ring;
use super::settings::SimulatorSettings;
use super::views::{AmazonCatalogue, AmazonProduct};
use super::world::Micros;
use answer::Answer;
use feeds::Feeds;
use goods::Goods;
use listings::Listings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokens::Tokens;

/// Amazon.co.jp.
pub(super) const MARKETPLACE: &str = "A1VC38T7YXB528";
/// The one seller.
pub(super) const SELLER_ID: &str = "A2SIMULATEDZK1";

/// The operations that are served, with their published rate (requests a second) and burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AmazonOperation {
    /// 0.1 a second, burst 1.
    GetItemOffersBatch,
    /// 0.5 a second, burst 1.
    GetCompetitivePricing,
    /// 2 a second, burst 2.
    SearchCatalogItems,
    /// 5 a second, burst 10.
    GetListingsItem,
    /// 5 a second, burst 5.
    PatchListingsItem,
    /// 5 a second, burst 5.
    SearchListingsItems,
    /// 0.5 a second, burst 15.
    CreateFeedDocument,
    /// 0.0083 a second, burst 15.
    CreateFeed,
    /// 2 a second, burst 15.
    GetFeed,
    /// 0.0222 a second, burst 10.
    GetFeeds,
    /// 0.0222 a second, burst 10.
    GetFeedDocument,
    /// No call: a change that was accepted is applied.
    Apply,
}

impl AmazonOperation {
    fn quota(self) -> (f64, f64) {
        match self {
            Self::GetItemOffersBatch => (0.1, 1.0),
            Self::GetCompetitivePricing => (0.5, 1.0),
            Self::SearchCatalogItems => (2.0, 2.0),
            Self::GetListingsItem => (5.0, 10.0),
            Self::PatchListingsItem | Self::SearchListingsItems | Self::Apply => (5.0, 5.0),
            Self::CreateFeedDocument => (0.5, 15.0),
            Self::CreateFeed => (0.0083, 15.0),
            Self::GetFeed => (2.0, 15.0),
            Self::GetFeeds | Self::GetFeedDocument => (0.0222, 10.0),
        }
    }
}

/// One call, or one applied change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmazonEntry {
    /// Its place in the order; starts at 1.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// What was asked.
    pub operation: AmazonOperation,
    /// The status of the answer; 0 for an applied change.
    pub status: u16,
    /// The listing that was changed, shown or asked to change.
    pub sku: Option<Box<str>>,
    /// What a submission was answered with, such as `ACCEPTED`.
    pub word: Option<Box<str>>,
    /// Of an applied change: the pieces since then.
    pub quantity: Option<u32>,
    /// Of an applied change: the price since then.
    pub price_jpy: Option<u32>,
    /// What was wrong with the answer.
    pub fault: Option<AmazonFault>,
}

/// What goes wrong with one call.
struct Plan<'a> {
    faults: &'a AmazonFaults,
    /// The call's own draw.
    word: u64,
    fault: Option<AmazonFault>,
}

impl Plan<'_> {
    /// Whether the asker gets no whole answer: then nothing counts as served.
    fn is_lost(&self) -> bool {
        matches!(self.fault, Some(AmazonFault::Cut | AmazonFault::HangAfter))
    }
}

struct Bucket {
    tokens: f64,
    at: Micros,
}

/// Everything behind the door.
pub(super) struct Bazaar {
    goods: Goods,
    listings: Listings,
    feeds: Feeds,
    tokens: Tokens,
    ledger: Ring<AmazonEntry>,
    buckets: BTreeMap<AmazonOperation, Bucket>,
    /// The published quotas times this; 0 has none.
    quota_factor: f64,
    settle: Micros,
    /// How long a feed is worked on.
    feed: Micros,
    calls: u64,
    seed: u64,
    started: Micros,
    sizes: (u32, u32),
}

impl Bazaar {
    pub(super) fn new(settings: &SimulatorSettings, now: Micros) -> Self {
        let (products, listings) = (settings.amazon_products, settings.amazon_listings);
        let own = &settings.amazon;
        let (seed, capacity) = (settings.seed, settings.ledger_capacity);
        Self {
            goods: Goods::new(seed, products, own.change_rate_per_s, capacity, now),
            listings: Listings::new(seed, listings, products),
            feeds: Feeds::default(),
            feed: i64::from(own.feed_ms) * 1_000,
            tokens: Tokens::new(seed, own.token_lifetime_s),
            ledger: Ring::new(capacity),
            buckets: BTreeMap::new(),
            quota_factor: own.quota_factor,
            settle: i64::from(own.settle_ms) * 1_000,
            calls: 0,
            seed,
            started: now,
            sizes: (products, listings),
        }
    }

    /// Plays what happens until `now`.
    pub(super) fn advance(&mut self, now: Micros) {
        self.goods.advance(now);
        self.feeds.advance(now, self.settle, &mut self.listings);
        for (at, listing) in self.listings.advance(now) {
            self.enter(AmazonEntry {
                quantity: Some(listing.quantity),
                price_jpy: Some(listing.price_jpy),
                sku: Some(listing.sku),
                ..line(at, AmazonOperation::Apply)
            });
        }
    }

    fn enter(&mut self, mut entry: AmazonEntry) {
        entry.seq = self.ledger.total() + 1;
        self.ledger.push(entry);
    }

    pub(super) fn truth(&mut self, now: Micros) -> Vec<AmazonItem> {
        self.advance(now);
        self.goods.truth()
    }

    pub(super) fn served(&self) -> Vec<AmazonItem> {
        self.goods.last_served()
    }

    pub(super) fn register(&mut self, now: Micros) -> Vec<AmazonListing> {
        self.advance(now);
        self.listings.register()
    }

    pub(super) fn ledger(&self) -> &Ring<AmazonEntry> {
        &self.ledger
    }

    /// Calls, tokens given, and changes of items.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.calls, self.tokens.given(), self.goods.changes.total())
    }

    pub(super) fn catalogue(&self) -> AmazonCatalogue {
        let (products, listings) = self.sizes;
        let products = pricing::names(self.seed, products).zip(0_u32..);
        let products = products.map(|((asin, title), index)| AmazonProduct {
            url: format!("https://www.amazon.co.jp/dp/{asin}").into(),
            asin: asin.into(),
            title: title.into(),
            skus: (index..listings)
                .step_by(super::draw::at(self.sizes.0).max(1))
                .map(|index| listings::sku(index).into())
                .collect(),
        });
        AmazonCatalogue {
            products: products.collect(),
            client_id: tokens::CLIENT_ID.into(),
            client_secret: tokens::CLIENT_SECRET.into(),
            refresh_token: tokens::REFRESH_TOKEN.into(),
            seller_id: SELLER_ID.into(),
            marketplace: MARKETPLACE.into(),
        }
    }

    /// Why a part of an order cannot be.
    pub(super) fn cannot(&self, items: &[SetAmazonItem], listings: &[SetAmazonListing]) -> Vec<String> {
        let items = items.iter().filter_map(|set| self.goods.cannot_set(set));
        let listings = listings.iter().filter_map(|set| self.listings.cannot_set(set));
        items.chain(listings).collect()
    }

    pub(super) fn set(&mut self, items: &[SetAmazonItem], listings: &[SetAmazonListing], now: Micros) {
        self.advance(now);
        items.iter().for_each(|set| self.goods.set(set, now));
        listings.iter().for_each(|set| self.listings.set(set));
    }

    pub(super) fn set_rate(&mut self, rate_per_s: f64, now: Micros) {
        self.goods.set_rate(rate_per_s, now);
    }

    pub(super) fn stop(&mut self, stopped: bool, now: Micros) {
        self.goods.stop(stopped, now);
    }

    pub(super) fn set_token_lifetime(&mut self, lifetime_s: u32) {
        self.tokens.set_lifetime(lifetime_s);
    }

    pub(super) fn expire_tokens(&mut self) {
        self.tokens.expire_all();
    }

    /// Whether a call is within the quota of its operation.
    fn admits(&mut self, operation: AmazonOperation, now: Micros) -> bool {
        if self.quota_factor <= 0.0 {
            return true;
        }
        let (rate, burst) = operation.quota();
        let bucket = self.buckets.entry(operation).or_insert(Bucket {
            tokens: burst,
            at: now,
        });
        let passed = Duration::from_micros(u64::try_from(now - bucket.at).unwrap_or(0)).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate * self.quota_factor).min(burst);
        bucket.at = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }

    /// Answers one call.
    fn call(
        &mut self,
        operation: AmazonOperation,
        token: Option<&str>,
        faults: &AmazonFaults,
        now: Micros,
        carry_out: impl FnOnce(&mut Self, &Plan<'_>, &mut AmazonEntry) -> Answer,
    ) -> Answer {
        self.advance(now);
        self.calls += 1;
        let word = mix(self.seed, 0xa9, self.calls);
        let fault = faults.decide(self.seed, word, now - self.started);
        let plan = Plan { faults, word, fault };
        let mut entry = line(now, operation);
        let refusal = self.tokens.refusal(token, now);
        let mut answer = match fault {
            _ if refusal.is_some() => refusal.unwrap_or_else(Answer::over_quota),
            Some(AmazonFault::Http500) => Answer::error(500, "InternalFailure", "Internal failure", ""),
            Some(AmazonFault::Http503 | AmazonFault::HangBefore) => {
                Answer::error(503, "ServiceUnavailable", "Service is unavailable", "")
            }
            Some(AmazonFault::Http429) => Answer::over_quota(),
            Some(AmazonFault::Withdrawn) => Answer::denied("The access token you provided is revoked."),
            _ if !self.admits(operation, now) => Answer::over_quota(),
            _ => carry_out(self, &plan, &mut entry),
        };
        answer.fault = fault;
        answer.number = self.calls;
        if matches!(answer.status, 200 | 201 | 202 | 400 | 404) && self.quota_factor > 0.0 {
            answer.rate = Some(operation.quota().0 * self.quota_factor);
        }
        entry.status = answer.status;
        entry.fault = fault;
        let word = answer.body.get("status").and_then(Value::as_str);
        entry.word = word.map(Into::into);
        self.enter(entry);
        answer
    }

    fn show(&self, sku: &str, query: &[(String, String)], plan: &Plan<'_>) -> Answer {
        match self.listings.find(sku) {
            Some(listing) => listings::show(listing, query, plan),
            None => listings::not_found(sku),
        }
    }

    fn patch(
        &mut self,
        sku: &str,
        query: &[(String, String)],
        body: &Value,
        plan: &Plan<'_>,
        now: Micros,
    ) -> Answer {
        let Some(listing) = self.listings.find(sku) else {
            return listings::not_found(sku);
        };
        let read = if plan.hits(0, 0xb4, plan.faults.p_invalid) {
            Err(
                serde_json::json!({"code": "90220", "message": "The listing is under review.", "severity": "ERROR",
                "categories": []}),
            )
        } else {
            listings::read_patch(listing, body)
        };
        let number = self.calls;
        let change = match read {
            Ok(change) => change,
            Err(issue) => return listings::submitted(sku, "INVALID", number, &[issue]),
        };
        if pricing::value(query, "mode") == Some("VALIDATION_PREVIEW") {
            return listings::submitted(sku, "VALID", number, &[]);
        }
        if !plan.hits(0, 0xb5, plan.faults.p_never) {
            let at = now.saturating_add(self.settle);
            self.listings.accept(sku, change, at, number);
        }
        let answer = listings::submitted(sku, "ACCEPTED", number, &[]);
        // What settles at once is applied before the answer leaves.
        self.advance(now);
        answer
    }
}

fn line(at_us: Micros, operation: AmazonOperation) -> AmazonEntry {
    AmazonEntry {
        seq: 0,
        at_us,
        operation,
        status: 0,
        sku: None,
        word: None,
        quantity: None,
        price_jpy: None,
        fault: None,
    }
}
