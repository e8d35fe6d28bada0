//! Amazon as a source: twenty items a call, each judged alone.
//!
//! 1. Titles that are not known, or old, are asked of the catalogue.
//! 2. What the items cost and whether they can be had, by offers or by competitive pricing.
//!
//! A stock is what the answer proves: one who offers has one piece at least, and how many more nobody tells. So it is the
//! setting's number while somebody offers, and 0 when the answer says that nobody does.

use super::account::{Account, Ask, SECRETS};
use super::asin::Asin;
use super::catalog::{self, Titles};
use super::entries::{self, Cost};
use super::quota::Operation;
use super::{AmazonSettings, ReadBy, Want, competitive, fault, offers};
use crate::clock::Clock;
use crate::domain::{
    DataSource, ErrorClass, ItemStatus, Money, Observation, Platform, Quantity, SourceProductId, TitleHash,
    UrlStatus,
};
use crate::http;
use crate::platform::json::{At, Drift};
use crate::platform::oauth::{Grants, OAuth, TokenStore};
use crate::platform::{PlatformError, Reached, Source};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Items that one call may name, of either kind and in the catalogue.
const MOST_ITEMS: usize = 20;
/// An ASIN that nothing has.
const NOBODYS: &str = "B000000000";

/// Amazon as a [`Source`].
pub struct Amazon {
    account: Account,
    read: ReadBy,
    want: Want,
    pieces: Quantity,
    titles: Titles,
}

type Look = Result<Observation, PlatformError>;

impl Amazon {
    /// The secrets that the account needs, by their names in settings and orders.
    pub const SECRETS: &'static [&'static str] = SECRETS;

    /// The account that `grants` lets in, its tokens kept in `tokens`. `http` must be allowed to reach both endpoints.
    ///
    /// # Errors
    /// When an endpoint cannot carry a path.
    pub fn new(
        settings: AmazonSettings,
        grants: Arc<dyn Grants>,
        http: http::Client,
        tokens: Arc<dyn TokenStore>,
        clock: Clock,
    ) -> Result<Self, url::ParseError> {
        let want = Want {
            marketplace: settings.account.marketplace.as_str().into(),
            currency: settings.account.currency,
            filters: settings.filters,
        };
        Ok(Self {
            account: Account::new(Platform::Amazon, settings.account, grants, http, tokens, clock)?,
            read: settings.read,
            want,
            pieces: settings.pieces,
            titles: Titles::new(settings.title_age),
        })
    }

    /// The account's tokens, for `platforms reset`.
    #[must_use]
    pub fn oauth(&self) -> &OAuth {
        self.account.oauth()
    }

    async fn look(&self, ids: &[SourceProductId]) -> Vec<Look> {
        let read: Vec<Result<Asin, PlatformError>> = ids.iter().map(asin_of).collect();
        let mut asins: Vec<Asin> = read.iter().flatten().cloned().collect();
        asins.sort();
        asins.dedup();
        let untitled = self.name(&asins).await;
        // Without a title there is no observation, and a request less. What the catalogue does not have may be gone, which
        // only the other answer says.
        asins.retain(|asin| {
            let lacks = untitled.get(asin).filter(|_| self.titles.of(asin).is_none());
            lacks.is_none_or(|error| error.class == ErrorClass::Protocol)
        });
        let costs = self.costs(&asins).await;
        let each = read.into_iter().map(|asin| {
            let asin = asin?;
            let unnamed = || {
                let why = untitled.get(&asin).cloned();
                why.unwrap_or_else(|| catalog::untitled(&asin, None))
            };
            let cost = costs.get(&asin).cloned().ok_or_else(unnamed)??;
            let title = self.titles.of(&asin).ok_or_else(unnamed)?;
            self.observation(&asin, &title, cost)
        });
        each.collect()
    }

    /// Learns the titles that are wanted; why those are not known that could not be learned.
    async fn name(&self, asins: &[Asin]) -> HashMap<Asin, PlatformError> {
        let wanted = self.titles.wanted(asins);
        if wanted.is_empty() {
            return HashMap::new();
        }
        let doing = format!("tell the titles of {} items", wanted.len());
        let list = joined(&wanted);
        let most = MOST_ITEMS.to_string();
        let query = [
            ("identifiers", list.as_str()),
            ("identifiersType", "ASIN"),
            ("marketplaceIds", &self.want.marketplace),
            ("includedData", "summaries"),
            ("pageSize", &most),
        ];
        let url = self.account.address(&["catalog", "2022-04-01", "items"], &query);
        let body = self
            .account
            .read(&doing, Operation::SearchCatalogItems, Ask::Get, url)
            .await
            .map_err(of_no_item);
        let all = |error: PlatformError| wanted.iter().map(|asin| (asin.clone(), error.clone())).collect();
        let body = match body {
            Ok(body) => body,
            Err(error) => return all(error),
        };
        let read = catalog::titles(&At::root("body", &body), &wanted, &self.want.marketplace);
        let read = match read {
            Ok(read) => read,
            Err(drift) => return all(contract(&doing, &drift, &body)),
        };
        let known = read
            .iter()
            .filter_map(|(asin, title)| Some((asin.clone(), title.as_ref().ok()?.clone())));
        self.titles.keep(known);
        let failed = read.iter().filter_map(|(asin, title)| {
            let why = title.as_ref().err()?;
            Some((asin.clone(), catalog::untitled(asin, Some(why))))
        });
        failed.collect()
    }

    async fn costs(&self, asins: &[Asin]) -> HashMap<Asin, Cost> {
        if asins.is_empty() {
            return HashMap::new();
        }
        let read = match self.read {
            ReadBy::Offers => self.by_offers(asins).await,
            ReadBy::Competitive => self.by_competitive(asins).await,
        };
        match read {
            Ok(costs) => costs,
            Err(error) => {
                let error = of_no_item(error);
                let all = asins.iter().map(|asin| (asin.clone(), Err(error.clone())));
                all.collect()
            }
        }
    }

    async fn by_offers(&self, asins: &[Asin]) -> Result<HashMap<Asin, Cost>, PlatformError> {
        let doing = format!("show the offers of {} items", asins.len());
        let url = self
            .account
            .address(&["batches", "products", "pricing", "v0", "itemOffers"], &[]);
        let requests: Vec<Value> = asins.iter().map(|asin| self.request(asin)).collect();
        let ask = Ask::Post(json!({ "requests": requests }));
        let body = self
            .account
            .read(&doing, Operation::GetItemOffersBatch, ask, url)
            .await?;
        let at = At::root("body", &body);
        let list = at.get("responses").and_then(|list| list.items());
        let list = list.map_err(|drift| contract(&doing, &drift, &body))?;
        let of = |entry: &At<'_>| entry.get("request")?.get("Asin")?.text().map(str::to_owned);
        Ok(entries::each(asins, &list, of, |entry, asin| {
            self.offers_entry(entry, asin)
        }))
    }

    /// One request of a batch of offers.
    fn request(&self, asin: &Asin) -> Value {
        json!({
            "uri": format!("/products/pricing/v0/items/{asin}/offers"),
            "method": "GET",
            "MarketplaceId": self.want.marketplace,
            "ItemCondition": self.want.filters.condition.name(),
            "CustomerType": "Consumer",
        })
    }

    fn offers_entry(&self, entry: &At<'_>, asin: &Asin) -> Cost {
        let doing = format!("show the offers of `{asin}`");
        let drifted = |drift: &Drift| contract(&doing, drift, entry.value());
        let status = entry.get("status").and_then(|s| s.get("statusCode")?.int());
        let status = status.map_err(|drift| drifted(&drift))?;
        let body = entry.get("body").map_err(|drift| drifted(&drift))?;
        if status != 200 {
            let status = u16::try_from(status).unwrap_or_default();
            return Err(fault::of_item(
                &doing,
                asin.as_str(),
                status,
                &fault::faults_in(body.value()),
                kept(entry.value()),
            ));
        }
        let read = body
            .get("payload")
            .and_then(|payload| offers::cheapest(&payload, asin.as_str(), &self.want));
        read.map_err(|drift| drifted(&drift))
    }

    async fn by_competitive(&self, asins: &[Asin]) -> Result<HashMap<Asin, Cost>, PlatformError> {
        let doing = format!("show the competitive prices of {} items", asins.len());
        let list = joined(asins);
        let query = [
            ("MarketplaceId", &*self.want.marketplace),
            ("Asins", &list),
            ("ItemType", "Asin"),
            ("CustomerType", "Consumer"),
        ];
        let parts = ["products", "pricing", "v0", "competitivePrice"];
        let url = self.account.address(&parts, &query);
        let body = self
            .account
            .read(&doing, Operation::GetCompetitivePricing, Ask::Get, url)
            .await?;
        let at = At::root("body", &body);
        let list = at.get("payload").and_then(|list| list.items());
        let list = list.map_err(|drift| contract(&doing, &drift, &body))?;
        let of = |entry: &At<'_>| entry.get("ASIN")?.text().map(str::to_owned);
        Ok(entries::each(asins, &list, of, |entry, asin| {
            self.competitive_entry(entry, asin)
        }))
    }

    fn competitive_entry(&self, entry: &At<'_>, asin: &Asin) -> Cost {
        let doing = format!("show the competitive price of `{asin}`");
        let drifted = |drift: Drift| contract(&doing, &drift, entry.value());
        let status = entry.get("status").map_err(drifted)?;
        match status.text().map_err(drifted)? {
            "Success" => competitive::price(entry, asin.as_str(), &self.want).map_err(drifted),
            // The only fault of a client here is the ASIN: the rest is the same for all, and was taken.
            "ClientError" => Err(PlatformError {
                class: ErrorClass::NotFound,
                code: fault::NO_SUCH_ITEM.into(),
                message: format!("Amazon did not {doing}: it does not know the item (ClientError)").into(),
                missing: Vec::new(),
                body: kept(entry.value()),
                away_for: None,
            }),
            "ServerError" => Err(PlatformError {
                class: ErrorClass::Transient,
                code: "amazon_server_error".into(),
                message: format!("Amazon did not {doing}: trouble over there (ServerError)").into(),
                missing: Vec::new(),
                body: kept(entry.value()),
                away_for: None,
            }),
            _ => Err(drifted(status.drift("`Success`, `ClientError` or `ServerError`"))),
        }
    }

    fn observation(&self, asin: &Asin, title: &str, cost: Option<Money>) -> Look {
        let nothing = Money::new(rust_decimal::Decimal::ZERO, self.want.currency).map_err(|bad| {
            let (path, what) = ("currency".into(), bad.to_string());
            contract("tell a price", &Drift { path, what }, &Value::Null)
        })?;
        Ok(Observation {
            source_product_id: asin.id().clone(),
            title: title.into(),
            title_hash: TitleHash::of(title),
            // Nobody asks anything for what nobody offers; with a stock of 0 no price counts.
            price: cost.unwrap_or(nothing),
            buy_now_price: cost,
            stock: cost.map_or(Quantity::ZERO, |_offered| self.pieces),
            status: ItemStatus::Open,
            ends_at: None,
            bids: 0,
            seller_is_store: true,
            // The cheapest offer is another seller's every hour; that does not make it another thing.
            seller_id: None,
            url_status: UrlStatus::Active,
            data_source: match self.read {
                ReadBy::Offers => DataSource::AmazonOffers,
                ReadBy::Competitive => DataSource::AmazonCompetitive,
            },
            fetched_at: self.account.clock.now(),
        })
    }
}

impl Source for Amazon {
    fn batch_size(&self) -> usize {
        MOST_ITEMS
    }

    fn observe<'a>(&'a self, ids: &'a [SourceProductId]) -> BoxFuture<'a, Vec<Look>> {
        Box::pin(async move {
            let mut seen = Vec::with_capacity(ids.len());
            for ids in ids.chunks(MOST_ITEMS) {
                seen.extend(self.look(ids).await);
            }
            seen
        })
    }

    /// The catalogue's entry of an item that does not exist: it takes a token and the right to read, and is about nothing.
    fn reach(&self) -> BoxFuture<'_, Result<Reached, PlatformError>> {
        Box::pin(async move {
            let query = [
                ("identifiers", NOBODYS),
                ("identifiersType", "ASIN"),
                ("marketplaceIds", &*self.want.marketplace),
            ];
            let parts = ["catalog", "2022-04-01", "items"];
            let url = self.account.address(&parts, &query);
            let doing = "look for an item that does not exist";
            self.account
                .reach(doing, Operation::SearchCatalogItems, url)
                .await
        })
    }
}

fn asin_of(id: &SourceProductId) -> Result<Asin, PlatformError> {
    Asin::of(id).map_err(|error| {
        let message = format!("nothing is asked for `{id}`: {}", error.why);
        fault::refused("amazon_bad_asin", message)
    })
}

/// A call that was refused as a whole. Whatever was not found is no item: each of those has its own entry.
fn of_no_item(error: PlatformError) -> PlatformError {
    let class = match error.class {
        ErrorClass::NotFound => ErrorClass::Protocol,
        class => class,
    };
    PlatformError { class, ..error }
}

fn joined(asins: &[Asin]) -> String {
    let asins: Vec<&str> = asins.iter().map(Asin::as_str).collect();
    asins.join(",")
}

fn contract(doing: &str, drift: &Drift, body: &Value) -> PlatformError {
    fault::contract(doing, drift, kept(body))
}

fn kept(body: &Value) -> Option<Box<str>> {
    fault::kept(body.to_string().as_bytes())
}
