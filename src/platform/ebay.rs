//! eBay, through the Sell Inventory API.
//!
//! Our *listing* is eBay's *offer* (`offerId`) of an *inventory item* (`sku`). What we do with it:
//!
//! | ours | eBay's | requests |
//! |---|---|---|
//! | revise, on sale | `POST /bulk_update_price_quantity`, up to 25 at once (`revise`) | 1 |
//! | revise, not on sale | the SKU's quantity as above; `GET /offer/{id}` and `PUT` of the whole with the changes | 2 or 3 |
//! | end | `POST /offer/{id}/withdraw`: the offer stays, unpublished | 1 |
//! | relist | `POST /offer/{id}/publish`, then `GET /offer/{id}` must say so | 2 |
//! | read | `GET /inventory_item/{sku}` and `GET /offer/{id}` (`offer`) | 2 |
//! | find | `GET /offer?sku=`, and the inventory item | 1 or 2 |
//! | list for the first time | the three bulk calls of `listing` | 3 for 25 |
//!
//! # What can be relied on
//! - Quantities and prices are set, never added to: sending one again is harmless.
//! - An outcome says *unknown* unless eBay certainly did not do it: time-outs, cut answers, 5xx and entries that are
//!   missing or contradict each other are unknown. So are failures of `end` and `relist` in class `Transient`: read.
//! - An answer that lacks what the contract promises, or is about another offer, is an error of class `Protocol`; no
//!   value is taken from it.
//! - Ending what is ended and listing what is listed succeed.
//!
//! How often a listing may be revised in a day is [`budget`]'s: counted by whoever sends.

pub mod budget;
mod client;
mod fault;
#[cfg(feature = "failpoints")]
mod half_sent;
mod listing;
mod offer;
mod revise;
mod taken;

pub use fault::{CONTRACT, REVISION_LIMIT};

use super::json::{self, At, Drift};
use super::lost::{Lost, unconfirmed};
use super::oauth::app::AppToken;
use super::oauth::{ClientAuth, Grants, OAuth, OAuthSettings, TokenStore};
use super::{Call, Destination, EntryOutcome, FoundListing, PlatformError, Reached, Revision};
use crate::clock::Clock;
use crate::domain::{ErrorClass, ListingRef, ListingState, ListingStatus, Platform, Quantity};
use crate::http;
use client::{Ask, Client};
use futures_util::future::BoxFuture;
use offer::Offer;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use taken::{names_listing, replaced, whole};
use url::Url;

/// What the adapter needs to know.
#[derive(Clone, Debug)]
pub struct EbaySettings {
    /// `https://api.ebay.com`, the sandbox, or the simulator. OAuth is asked at the same place.
    pub endpoint: Url,
    /// The language of the records that are replaced: `en-US`.
    pub content_language: String,
    /// How many SKUs one call that changes listings may name: 1 to 25.
    pub skus_per_call: usize,
}

/// The scope that reading and writing offers needs.
const SCOPE: &str = "https://api.ebay.com/oauth/api_scope/sell.inventory";
/// The scope of an application: what is about no seller.
const APP_SCOPE: &str = "https://api.ebay.com/oauth/api_scope";
/// A SKU that no seller has.
const NOBODYS: &str = "zaikoban-doctor";
/// The secrets that an account needs, by their names in settings and orders.
pub const SECRETS: &[&str] = &["client_id", "client_secret", "refresh_token"];
/// Where a buyer sees a listing.
const ITEM_PAGE: &str = "https://www.ebay.com/itm/";

/// The page at which a seller consents: `auth.` in place of `api.`; a rehearsal has it at its own endpoint.
///
/// # Errors
/// When the endpoint cannot carry a path.
pub fn consent_page(endpoint: &Url) -> Result<Url, url::ParseError> {
    let mut page = endpoint.join("/oauth2/authorize")?;
    let host = page.host_str().and_then(|host| host.strip_prefix("api."));
    if let Some(host) = host.map(|rest| format!("auth.{rest}")) {
        page.set_host(Some(&host))?;
    }
    Ok(page)
}

/// The adapter.
pub struct Ebay {
    client: Client,
    oauth: OAuth,
    app: AppToken,
    skus_per_call: usize,
    /// eBay said that a call may name one SKU only.
    one_sku_only: AtomicBool,
}

impl Ebay {
    /// The account that `grants` lets in, its tokens kept in `tokens`.
    ///
    /// # Errors
    /// When the endpoint cannot carry a path.
    pub fn new(
        settings: EbaySettings,
        grants: Arc<dyn Grants>,
        http: http::Client,
        tokens: Arc<dyn TokenStore>,
        clock: Clock,
    ) -> Result<Self, url::ParseError> {
        let asked = OAuthSettings {
            platform: Platform::Ebay,
            token_url: settings.endpoint.join("/identity/v1/oauth2/token")?,
            scopes: vec![SCOPE.to_owned()],
            client_auth: ClientAuth::Basic,
        };
        let as_app = OAuthSettings {
            scopes: vec![APP_SCOPE.to_owned()],
            ..asked.clone()
        };
        let app = AppToken::new(as_app, Arc::clone(&grants), http.clone(), clock.clone());
        let oauth = OAuth::new(asked, grants, http.clone(), tokens, clock.clone());
        let client = Client::new(
            http,
            oauth.clone(),
            settings.endpoint,
            settings.content_language,
            clock,
        );
        Ok(Self {
            client,
            oauth,
            app,
            skus_per_call: settings.skus_per_call.clamp(1, revise::MAX_ENTRIES),
            one_sku_only: AtomicBool::new(false),
        })
    }

    /// The account's tokens, for `platforms reset`.
    #[must_use]
    pub fn oauth(&self) -> &OAuth {
        &self.oauth
    }

    /// Revises published offers, as many as one call may name, each once.
    async fn revise_published(&self, sent: &[&Revision]) -> Vec<EntryOutcome> {
        let url = self.client.address(&["bulk_update_price_quantity"], &[]);
        let doing = match sent {
            [one] => revise::doing(one),
            many => format!("revise {} offers", many.len()),
        };
        let reply = match self
            .client
            .send(&doing, Ask::Post(Some(revise::body(sent))), url)
            .await
        {
            Ok(reply) => reply,
            Err(lost) => return sent.iter().map(|_| EntryOutcome::from(lost.clone())).collect(),
        };
        let read = revise::read(sent, &reply);
        if read.one_sku_only && !self.one_sku_only.swap(true, Ordering::Relaxed) {
            tracing::info!(
                platform = "ebay",
                "eBay takes one SKU in a call; from now on each is sent alone"
            );
        }
        if read.strangers > 0 {
            tracing::warn!(
                platform = "ebay",
                strangers = read.strangers,
                "eBay's answer holds {} entries about nothing that was sent, or unreadable; they are ignored",
                read.strangers
            );
        }
        read.outcomes
    }

    /// Revises an offer that is not on sale: its SKU's quantity, then the offer.
    async fn revise_unpublished(&self, revision: &Revision) -> Result<Vec<Box<str>>, Lost> {
        let Some(quantity) = revision.quantity else {
            return self.replace(revision).await;
        };
        let (doing, sku) = (revise::doing(revision), &revision.listing.sku);
        let url = self.client.address(&["bulk_update_price_quantity"], &[]);
        let body = revise::body_of_sku(sku, quantity.get());
        let reply = self.client.send(&doing, Ask::Post(Some(body)), url).await?;
        revise::read_of_sku(sku, &doing, &reply)?;
        // From here on a part is done, whatever comes.
        let part_is_done = |lost| Lost {
            maybe_applied: true,
            ..lost
        };
        self.replace(revision).await.map_err(part_is_done)
    }

    /// Replaces an offer as it stands by the same with the revision's changes.
    async fn replace(&self, revision: &Revision) -> Result<Vec<Box<str>>, Lost> {
        let (doing, listing) = (revise::doing(revision), &revision.listing);
        let url = self.client.address(&["offer", &listing.platform_product_id], &[]);
        let shown = self.get(&doing, url.clone()).await?;
        let at = At::root("offer", &shown);
        let checked = Offer::read(&at).and_then(|offer| same(&at, &offer, listing));
        let body = checked.and_then(|()| offer::replacement(&at, revision));
        let body = body.map_err(|drift| Lost::from(contract(&doing, &drift, &shown)))?;
        let reply = self.client.send(&doing, Ask::Put(body), url).await?;
        if !reply.is_success() {
            return Err(reply.refused(&doing));
        }
        replaced(&doing, &reply)
    }

    /// A body that is JSON, or what went wrong.
    async fn get(&self, doing: &str, url: Url) -> Result<Value, Lost> {
        let reply = self
            .client
            .send(doing, Ask::Get, url)
            .await
            .map_err(|lost| Lost::from(lost.error))?;
        whole(doing, &reply).map_err(Lost::from)
    }

    async fn shown(&self, listing: &ListingRef) -> Result<(Offer, Value), PlatformError> {
        let doing = format!(
            "show offer `{}` of SKU `{}`",
            listing.platform_product_id, listing.sku
        );
        let url = self.client.address(&["offer", &listing.platform_product_id], &[]);
        let body = self.get(&doing, url).await.map_err(|lost| lost.error)?;
        let at = At::root("offer", &body);
        let offer = Offer::read(&at).and_then(|offer| same(&at, &offer, listing).map(|()| offer));
        let offer = offer.map_err(|drift| contract(&doing, &drift, &body))?;
        Ok((offer, body))
    }

    /// What the SKU holds in all.
    async fn total(&self, sku: &str) -> Result<Option<Quantity>, PlatformError> {
        let doing = format!("show the inventory item of SKU `{sku}`");
        let url = self.client.address(&["inventory_item", sku], &[]);
        let body = self.get(&doing, url).await.map_err(|lost| lost.error)?;
        offer::total(&At::root("item", &body), sku).map_err(|drift| contract(&doing, &drift, &body))
    }

    /// Withdraws or publishes; `Ok` when the offer stands as `wanted` afterwards, whoever made it so.
    async fn turn(
        &self,
        listing: &ListingRef,
        verb: &str,
        wanted: ListingStatus,
    ) -> Result<(), PlatformError> {
        check(listing)?;
        let doing = format!(
            "{verb} offer `{}` of SKU `{}`",
            listing.platform_product_id, listing.sku
        );
        let url = self
            .client
            .address(&["offer", &listing.platform_product_id, verb], &[]);
        let reply = match self.client.send(&doing, Ask::Post(None), url).await {
            Ok(reply) => reply,
            Err(lost) if lost.maybe_applied => return Err(unconfirmed(lost.error)),
            Err(lost) => return Err(lost.error),
        };
        // "This field will not be returned if the eBay listing was not successfully ended."
        if reply.is_success() && wanted == ListingStatus::Ended && names_listing(&reply) {
            return Ok(());
        }
        if reply.is_success() {
            let (offer, body) = self.shown(listing).await.map_err(unconfirmed)?;
            if offer.status == wanted {
                return Ok(());
            }
            let drift = Drift {
                path: "offer.status".into(),
                what: format!("expected {wanted} after it was taken, got {}", offer.status),
            };
            return Err(unconfirmed(contract(&doing, &drift, &body)));
        }
        let lost = reply.refused(&doing);
        match lost.error.class {
            _ if lost.maybe_applied => Err(unconfirmed(lost.error)),
            // Refused perhaps because it is so already.
            ErrorClass::Rejected | ErrorClass::NotFound => match self.shown(listing).await {
                Ok((offer, _)) if offer.status == wanted => Ok(()),
                _ => Err(lost.error),
            },
            _ => Err(lost.error),
        }
    }
}

impl Destination for Ebay {
    fn requests(&self, call: Call<'_>) -> u32 {
        match call {
            Call::End => 1,
            Call::Relist | Call::Read | Call::Find | Call::Preview => 2,
            Call::Revise(revisions) => {
                let off_sale = revisions.iter().filter(|r| !is_on_sale(r));
                let each = off_sale.map(|r| 2 + u32::from(r.quantity.is_some()));
                u32::from(revisions.iter().any(is_on_sale)) + each.sum::<u32>()
            }
        }
    }

    fn batch_size(&self) -> usize {
        if self.one_sku_only.load(Ordering::Relaxed) {
            1
        } else {
            self.skus_per_call
        }
    }

    fn rests_for(&self) -> Option<Duration> {
        self.oauth.rests_for()
    }

    fn revise<'a>(&'a self, revisions: &'a [Revision]) -> BoxFuture<'a, Vec<EntryOutcome>> {
        Box::pin(async move {
            let mut outcomes: Vec<Option<EntryOutcome>> = revisions.iter().map(|_| None).collect();
            let mut named = HashSet::new();
            let mut published = Vec::new();
            for (revision, outcome) in revisions.iter().zip(&mut outcomes) {
                *outcome = match check(&revision.listing) {
                    Err(error) => Some(EntryOutcome::Failed {
                        error,
                        unknown: false,
                    }),
                    Ok(()) if !named.insert(&revision.listing.platform_product_id) => {
                        Some(named_twice(revision))
                    }
                    Ok(()) if revision.quantity.is_none() && revision.price.is_none() => {
                        Some(EntryOutcome::Accepted { warnings: Vec::new() })
                    }
                    Ok(()) if !is_on_sale(revision) => Some(match self.revise_unpublished(revision).await {
                        Ok(warnings) => EntryOutcome::Accepted { warnings },
                        Err(lost) => lost.into(),
                    }),
                    Ok(()) => {
                        published.push(revision);
                        None
                    }
                };
            }
            let mut answers = Vec::with_capacity(published.len());
            for sent in published.chunks(self.batch_size()) {
                answers.extend(self.revise_published(sent).await);
            }
            let mut answers = answers.into_iter();
            // One answer for each that has none yet, in order.
            outcomes
                .into_iter()
                .filter_map(|known| known.or_else(|| answers.next()))
                .collect()
        })
    }

    fn end<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(self.turn(listing, "withdraw", ListingStatus::Ended))
    }

    fn relist<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(self.turn(listing, "publish", ListingStatus::Active))
    }

    fn read<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<ListingState, PlatformError>> {
        Box::pin(async move {
            check(listing)?;
            let total = self.total(&listing.sku).await?;
            let (offer, body) = self.shown(listing).await?;
            let state = offer.state(&At::root("offer", &body), total);
            state.map_err(|drift| contract("tell how many are on sale", &drift, &body))
        })
    }

    /// The offers of a SKU that nobody has: it takes a token and the right to read offers, and is about no listing.
    fn reach(&self) -> BoxFuture<'_, Result<Reached, PlatformError>> {
        Box::pin(async move {
            let doing = "ask for the offers of a SKU that nobody has";
            let url = self.client.address(&["offer"], &[("sku", NOBODYS)]);
            let reply = self.client.send(doing, Ask::Get, url).await;
            let reply = reply.map_err(|lost| lost.error)?;
            match whole(doing, &reply) {
                Err(error) if error.class != ErrorClass::NotFound => Err(error),
                Ok(_) | Err(_) => Ok(Reached { date: reply.date }),
            }
        })
    }

    fn find<'a>(&'a self, sku: &'a str) -> BoxFuture<'a, Result<Vec<FoundListing>, PlatformError>> {
        Box::pin(async move {
            let doing = format!("find the offers of SKU `{sku}`");
            check_key("SKU", sku, 50)?;
            let url = self.client.address(&["offer"], &[("sku", sku)]);
            let body = match self.get(&doing, url).await {
                Ok(body) => body,
                Err(lost) if lost.error.class == ErrorClass::NotFound => return Ok(Vec::new()),
                Err(lost) => return Err(lost.error),
            };
            let drifted = |drift: Drift| contract(&doing, &drift, &body);
            let offers = offer::list(&At::root("offers", &body), sku).map_err(drifted)?;
            if offers.is_empty() {
                return Ok(Vec::new());
            }
            let total = self.total(sku).await?;
            let found = offers.iter().map(|(offer, at)| {
                Ok(FoundListing {
                    sku: offer.sku.clone(),
                    platform_product_id: offer.offer_id.clone(),
                    url: offer
                        .listing_id
                        .as_ref()
                        .map(|id| format!("{ITEM_PAGE}{id}").into()),
                    state: offer.state(at, total)?,
                })
            });
            found.collect::<Result<_, _>>().map_err(drifted)
        })
    }
}

/// `bulkUpdatePriceQuantity` takes published offers only.
fn is_on_sale(revision: &Revision) -> bool {
    revision.confirmed.status == ListingStatus::Active
}

/// The offer must be the one that was asked for.
fn same(at: &At<'_>, offer: &Offer, listing: &ListingRef) -> Result<(), Drift> {
    if offer.offer_id != listing.platform_product_id {
        return Err(at
            .get("offerId")?
            .drift(&format!("the offer asked for, `{}`", listing.platform_product_id)));
    }
    if offer.sku != listing.sku {
        return Err(at
            .get("sku")?
            .drift(&format!("the listing's SKU, `{}`", listing.sku)));
    }
    Ok(())
}

fn contract(doing: &str, drift: &Drift, body: &Value) -> PlatformError {
    fault::contract(doing, drift, fault::kept(body.to_string().as_bytes()))
}

/// Keys that could not stand in a path, or that eBay would refuse anyway, are not sent.
fn check(listing: &ListingRef) -> Result<(), PlatformError> {
    check_key("SKU", &listing.sku, 50)?;
    check_key("offer id", &listing.platform_product_id, 100)
}

fn check_key(what: &str, key: &str, longest: usize) -> Result<(), PlatformError> {
    let fits = (1..=longest).contains(&key.chars().count()) && !key.chars().any(char::is_control);
    if fits && key != "." && key != ".." {
        return Ok(());
    }
    let shown: String = key.chars().take(60).flat_map(char::escape_default).collect();
    Err(PlatformError {
        class: ErrorClass::Rejected,
        code: "ebay_bad_key".into(),
        message: format!(
            "expected an {what} of 1 to {longest} characters, got `{shown}`; link the listing again"
        )
        .into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    })
}

fn named_twice(revision: &Revision) -> EntryOutcome {
    EntryOutcome::Failed {
        error: PlatformError {
            class: ErrorClass::Rejected,
            code: "ebay_named_twice".into(),
            message: format!(
                "did not {}: the batch names the offer twice; send the newest alone",
                revise::doing(revision)
            )
            .into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        },
        unknown: false,
    }
}
