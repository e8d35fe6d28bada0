//! Amazon as a place to sell, through the Listings Items API.
//!
//! Our *listing* is Amazon's *listings item* of the seller's SKU; its key there is the SKU itself.

use super::account::{Account, AccountSettings, Ask};
use super::fault;
use super::listing::{self, FBA, Kind, Shown};
use super::quota::Operation;
use crate::clock::Clock;
use crate::domain::{ErrorClass, ListingRef, ListingState, Platform, Quantity};
use crate::http;
use crate::platform::json::{self, At};
use crate::platform::lost::{Lost, unconfirmed};
use crate::platform::oauth::{Grants, OAuth, TokenStore};
use crate::platform::{
    Call, Destination, EntryOutcome, FoundListing, Objection, PlatformError, Reached, Revision,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the adapter needs to know.
#[derive(Clone, Debug)]
pub struct AmazonSellerSettings {
    /// Where, and how fast.
    pub account: AccountSettings,
    /// The seller's id (merchant token).
    pub seller_id: String,
    /// How long after an `ACCEPTED` the listing may still show the old values: Amazon works its submissions off in
    /// minutes.
    pub settles_within: Duration,
}

/// A SKU that no seller has.
const NOBODYS: &str = "zaikoban-doctor";
/// The longest SKU, in characters.
const LONGEST_SKU: usize = 40;

/// Amazon as a [`Destination`].
pub struct AmazonSeller {
    pub(super) account: Account,
    pub(super) seller_id: Box<str>,
    settles_within: Duration,
    /// By SKU: what a change must name. Losing it costs one reading.
    pub(super) kinds: Mutex<HashMap<Box<str>, Kind>>,
    /// By SKU: what Amazon objected to when the listing was shown last.
    objections: Mutex<HashMap<Box<str>, Box<str>>>,
}

impl AmazonSeller {
    /// The account that `grants` lets in, its tokens kept in `tokens`. `http` must be allowed to reach both endpoints.
    ///
    /// # Errors
    /// When an endpoint cannot carry a path.
    pub fn new(
        settings: AmazonSellerSettings,
        grants: Arc<dyn Grants>,
        http: http::Client,
        tokens: Arc<dyn TokenStore>,
        clock: Clock,
    ) -> Result<Self, url::ParseError> {
        let platform = Platform::AmazonSeller;
        Ok(Self {
            account: Account::new(platform, settings.account, grants, http, tokens, clock)?,
            seller_id: settings.seller_id.into(),
            settles_within: settings.settles_within,
            kinds: Mutex::default(),
            objections: Mutex::default(),
        })
    }

    /// The account's tokens, for `platforms reset`.
    #[must_use]
    pub fn oauth(&self) -> &OAuth {
        self.account.oauth()
    }

    fn address(&self, sku: &str, query: &[(&str, &str)]) -> Url {
        let parts = ["listings", "2021-08-01", "items", &*self.seller_id, sku];
        let market = ("marketplaceIds", self.account.settings.marketplace.as_str());
        let query: Vec<_> = std::iter::once(market).chain(query.iter().copied()).collect();
        self.account.address(&parts, &query)
    }

    /// What Amazon says of a listing, and what a change must name.
    async fn look_up(&self, sku: &str) -> Result<(Value, Kind), PlatformError> {
        check_sku(sku)?;
        let doing = showing(sku);
        let url = self.address(
            sku,
            &[("includedData", "summaries,offers,fulfillmentAvailability,issues")],
        );
        let body = self
            .account
            .read(&doing, Operation::GetListingsItem, Ask::Get, url)
            .await?;
        let at = At::root("item", &body);
        let kind = listing::kind(&at, sku, &self.account.settings.marketplace)
            .map_err(|drift| fault::contract(&doing, &drift, fault::kept(body.to_string().as_bytes())))?;
        self.kinds.lock().insert(sku.into(), kind.clone());
        Ok((body, kind))
    }

    async fn show(&self, sku: &str) -> Result<Shown, PlatformError> {
        let (body, kind) = self.look_up(sku).await?;
        let settings = &self.account.settings;
        let at = At::root("item", &body);
        let shown = listing::shown(&at, sku, &settings.marketplace, settings.currency);
        let shown = shown.map_err(|drift| {
            if kind.is_fba && drift.path.ends_with(".quantity") {
                let message = format!(
                    "did not {}: Amazon ships this listing from its own warehouse (FBA) and does not say how many pieces \
                     there are. Take it out of zaikoban, or ship it yourself (FBM)",
                    showing(sku)
                );
                return fault::refused(FBA, message);
            }
            let body = fault::kept(body.to_string().as_bytes());
            fault::contract(&showing(sku), &drift, body)
        })?;
        let mut objections = self.objections.lock();
        match &shown.objection {
            Some(why) => drop(objections.insert(sku.into(), why.as_str().into())),
            None => drop(objections.remove(sku)),
        }
        drop(objections);
        Ok(shown)
    }

    /// What a change must name, read when it is not known.
    async fn kind(&self, sku: &str) -> Result<Kind, PlatformError> {
        let known = self.kinds.lock().get(sku).cloned();
        match known {
            Some(kind) => Ok(kind),
            None => self.look_up(sku).await.map(|(_, kind)| kind),
        }
    }

    /// Asks for a change, or only whether it would be taken.
    async fn submit(&self, revision: &Revision, is_preview: bool) -> Result<Vec<Box<str>>, Lost> {
        let (doing, sku) = (doing(revision), &*revision.listing.sku);
        if revision.quantity.is_none() && revision.price.is_none() {
            return Ok(Vec::new());
        }
        let settings = &self.account.settings;
        if let Some(price) = revision.price.filter(|p| p.currency() != settings.currency) {
            let message = format!("did not {doing}: {price} is not in {}", settings.currency);
            return Err(fault::refused("amazon_currency", message).into());
        }
        let kind = self.kind(sku).await?;
        if kind.is_fba && revision.quantity.is_some() {
            let message = format!(
                "did not {doing}: Amazon ships this listing from its own warehouse (FBA) and counts its pieces; only its \
                 price can be set. Take it out of zaikoban, or ship it yourself (FBM)"
            );
            return Err(fault::refused(FBA, message).into());
        }
        let body = listing::patch(&kind, &settings.marketplace, revision);
        let mode = [("mode", "VALIDATION_PREVIEW")];
        let url = self.address(sku, if is_preview { &mode } else { &[] });
        let asked = self
            .account
            .send(&doing, Operation::PatchListingsItem, Ask::Patch(body), url)
            .await?;
        if !asked.is_success() {
            // It may have been the product type: another reading tells it anew.
            self.kinds.lock().remove(sku);
            return Err(asked.refused(&doing));
        }
        let answer: Value = json::parse(&asked.body).unwrap_or_default();
        let read = listing::submitted(&doing, &At::root("answer", &answer), sku, is_preview);
        read.map_err(|error| Lost {
            // What was neither taken nor refused in words that are known may have been done.
            maybe_applied: !is_preview && error.class == ErrorClass::Protocol,
            error,
        })
    }
}

impl Destination for AmazonSeller {
    fn requests(&self, call: Call<'_>) -> u32 {
        match call {
            Call::Revise(revisions) => {
                let kinds = self.kinds.lock();
                let each = revisions
                    .iter()
                    .map(|r| 1 + u32::from(!kinds.contains_key(&r.listing.sku)));
                each.sum()
            }
            Call::End | Call::Preview => 2,
            Call::Relist | Call::Read | Call::Find => 1,
        }
    }

    /// One listing a call: the API knows no other.
    fn batch_size(&self) -> usize {
        1
    }

    fn rests_for(&self) -> Option<Duration> {
        self.account.oauth().rests_for()
    }

    fn settles_within(&self) -> Duration {
        self.settles_within
    }

    fn objection(&self, sku: &str) -> Objection {
        let told = self.objections.lock().get(sku).cloned();
        told.map_or(Objection::None, Objection::Told)
    }

    fn revise<'a>(&'a self, revisions: &'a [Revision]) -> BoxFuture<'a, Vec<EntryOutcome>> {
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(revisions.len());
            for revision in revisions {
                outcomes.push(match self.submit(revision, false).await {
                    Ok(warnings) => EntryOutcome::Accepted { warnings },
                    Err(Lost { error, maybe_applied }) => EntryOutcome::Failed {
                        error,
                        unknown: maybe_applied,
                    },
                });
            }
            outcomes
        })
    }

    fn previews(&self) -> bool {
        true
    }

    fn preview<'a>(&'a self, revision: &'a Revision) -> BoxFuture<'a, Result<Vec<Box<str>>, PlatformError>> {
        let previewed = self.submit(revision, true);
        Box::pin(async move { previewed.await.map_err(|lost| lost.error) })
    }

    /// Sets the quantity to 0. Deleting a listing would lose its history and what buyers said of it.
    fn end<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(async move {
            let revision = Revision {
                listing: listing.clone(),
                quantity: Some(Quantity::ZERO),
                price: None,
                confirmed: ListingState {
                    status: crate::domain::ListingStatus::Active,
                    quantity: Quantity::ZERO,
                    price: None,
                },
            };
            match self.submit(&revision, false).await {
                Ok(_warnings) => Ok(()),
                Err(lost) if lost.maybe_applied => Err(unconfirmed(lost.error)),
                Err(lost) => Err(lost.error),
            }
        })
    }

    /// Sees that the listing is still there: its quantity, which the next revision sets, puts it on sale again.
    fn relist<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(async move { self.show(&listing.sku).await.map(|_shown| ()) })
    }

    fn read<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<ListingState, PlatformError>> {
        Box::pin(async move { self.show(&listing.sku).await.map(|shown| shown.state) })
    }

    /// The listing of a SKU that nobody has: it takes a token and the right to read listings.
    fn reach(&self) -> BoxFuture<'_, Result<Reached, PlatformError>> {
        Box::pin(async move {
            let doing = "ask for the listing of a SKU that nobody has";
            let url = self.address(NOBODYS, &[]);
            self.account.reach(doing, Operation::GetListingsItem, url).await
        })
    }

    fn find<'a>(&'a self, sku: &'a str) -> BoxFuture<'a, Result<Vec<FoundListing>, PlatformError>> {
        Box::pin(async move {
            let shown = match self.show(sku).await {
                Ok(shown) => shown,
                Err(error) if error.class == ErrorClass::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            Ok(vec![FoundListing {
                sku: sku.into(),
                platform_product_id: sku.into(),
                url: shown
                    .asin
                    .map(|asin| format!("https://www.amazon.co.jp/dp/{asin}").into()),
                state: shown.state,
            }])
        })
    }
}

fn showing(sku: &str) -> String {
    format!("show the listing of SKU `{sku}`")
}

/// What a revision asks for, in words.
fn doing(revision: &Revision) -> String {
    let sku = &revision.listing.sku;
    match (revision.quantity, revision.price) {
        (Some(quantity), Some(price)) => format!("set SKU `{sku}` to {quantity} pieces at {price}"),
        (Some(quantity), None) => format!("set SKU `{sku}` to {quantity} pieces"),
        (None, Some(price)) => format!("set the price of SKU `{sku}` to {price}"),
        (None, None) => format!("change nothing of SKU `{sku}`"),
    }
}

/// Keys that could not stand in a path, or that Amazon would refuse anyway, are not sent.
pub(super) fn check_sku(sku: &str) -> Result<(), PlatformError> {
    let fits = (1..=LONGEST_SKU).contains(&sku.chars().count()) && !sku.chars().any(char::is_control);
    if fits && sku != "." && sku != ".." {
        return Ok(());
    }
    let shown: String = sku.chars().take(60).flat_map(char::escape_default).collect();
    let message =
        format!("expected an SKU of 1 to {LONGEST_SKU} characters, got `{shown}`; link the listing again");
    Err(fault::refused("amazon_bad_key", message))
}
