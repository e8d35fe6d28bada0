//! Mercari Shops, through its GraphQL API.
//!
//! Our *listing* is a Mercari *product* (`platform_product_id`) by one of its *variants* (`skuCode`). What we do with it:
//!
//! | ours | Mercari's | requests |
//! |---|---|---|
//! | revise, quantity | `updateProductVariant`; several at once by `updateProductVariants`, up to 20 (`stock`) | 1 for all |
//! | revise, price | `updateProduct`, in whole yen from 300 to 9,999,999 | 1 each |
//! | end | `updateProduct`, status UNOPENED: the product stays, hidden | 1 |
//! | relist | `updateProduct`, status OPENED | 1 |
//! | read, find | `productVariant(by: skuCode)` (`variant`) | 1 |
//!
//! Price and visibility are the product's: of a product with several variants only one can be a listing of ours, which the
//! table of listings ensures (one row for each product of a destination).
//!
//! # What can be relied on
//! - Quantities and prices are set, never added to: sending one again is harmless. Quantities go before prices.
//! - An outcome says *unknown* unless Mercari certainly did not do it, or its answer shows what was set. Time-outs, cut
//!   answers, 5xx, `DEADLINE_EXCEEDED`, codes that nobody wrote down and answers that show something else are unknown. So
//!   are failures of `end` and `relist` in class `Transient`: read.
//! - **A 404 never means that a product is gone**: an address that is not registered with Mercari gets one for everything
//!   (`fault`).
//! - A price out of bounds is refused before anything is sent ([`Destination::admits`]).
//! - No more is asked than the hour's cost points allow ([`mod@points`]).

mod batch;
mod client;
mod fault;
mod keys;
mod operation;
pub mod points;
mod stock;
mod variant;

pub use fault::{ADDRESS_NOT_REGISTERED, CONTRACT, POINTS_SPENT, TOKEN_REFUSED};
pub use keys::Keys;
pub use variant::{BAD_PRICE, PRICES};

use super::lost::{Lost, unconfirmed};
use super::registrar::Quota;
use super::{Call, Destination, EntryOutcome, FoundListing, PlatformError, Reached, Revision};
use crate::clock::Clock;
use crate::domain::{ErrorClass, ListingRef, ListingState, ListingStatus};
use crate::http;
use chrono::{DateTime, TimeDelta, Utc};
use client::Client;
use futures_util::future::BoxFuture;
use operation::{SET_PRODUCT, SHOP, VARIANT, points};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stock::MAX_ENTRIES;
use url::Url;
use variant::{Shows, Variant};

/// What the adapter needs to know.
#[derive(Clone, Debug)]
pub struct MercariSettings {
    /// `https://api.mercari-shops.com`, the sandbox, or the simulator.
    pub endpoint: Url,
    /// The name that Mercari assigned to the program; part of the user agent.
    pub client_name: String,
    /// The hour's cost points.
    pub points_per_hour: u32,
}

/// The secrets that an account needs, by their names in settings and orders.
pub const SECRETS: &[&str] = &["token"];
/// Where a buyer sees a listing.
const ITEM_PAGE: &str = "https://jp.mercari.com/shops/product/";
/// The longest key that is sent, in characters.
const LONGEST_KEY: usize = 100;

/// The adapter.
pub struct Mercari {
    client: Client,
    /// Mercari did not understand the call for several SKUs.
    one_by_one: AtomicBool,
}

impl Mercari {
    /// The shop that the token of `keys` opens.
    ///
    /// # Errors
    /// When the endpoint cannot carry a path.
    pub fn new(
        settings: &MercariSettings,
        keys: Arc<dyn Keys>,
        http: http::Client,
        clock: Clock,
    ) -> Result<Self, url::ParseError> {
        Ok(Self {
            client: Client::new(settings, keys, http, clock)?,
            one_by_one: AtomicBool::new(false),
        })
    }

    /// Forgets that the token was refused, so that the next call asks at once: the operator says that it was put right.
    pub fn retry_now(&self) {
        self.client.retry_now();
    }

    async fn set_product(
        &self,
        doing: &str,
        listing: &ListingRef,
        variables: serde_json::Value,
        wanted: Shows,
    ) -> Result<(), Lost> {
        let reply = self.client.ask(doing, &SET_PRODUCT, variables, points(1)).await?;
        let payload = reply.value(doing)?.ok_or_else(|| reply.nothing(doing))?;
        variant::shows(&payload, listing, wanted).map_err(|drift| reply.drifted(doing, &drift))
    }

    /// What a SKU shows; `None` when no variant has it.
    async fn variant(
        &self,
        doing: &str,
        sku: &str,
        of: Option<&ListingRef>,
    ) -> Result<Option<Variant>, PlatformError> {
        let reply = self
            .client
            .ask(doing, &VARIANT, operation::by_sku(sku), points(1))
            .await;
        let reply = reply.map_err(|lost| lost.error)?;
        let at = match reply.value(doing) {
            Ok(Some(at)) => at,
            // What is not there is said to be so (`NOT_FOUND`); silence is no word of it.
            Ok(None) => return Err(reply.nothing(doing).error),
            Err(lost) if lost.error.class == ErrorClass::NotFound && reply.says_nothing_is_there() => {
                return Ok(None);
            }
            Err(lost) if lost.error.class == ErrorClass::NotFound => {
                // Something is there, or something else went wrong beside it.
                return Err(PlatformError {
                    class: ErrorClass::Protocol,
                    ..lost.error
                });
            }
            Err(lost) => return Err(lost.error),
        };
        let variant = Variant::read(&at, sku).and_then(|variant| {
            of.map_or(Ok(()), |listing| variant.check(&at, listing))?;
            Ok(variant)
        });
        variant
            .map(Some)
            .map_err(|drift| reply.drifted(doing, &drift).error)
    }

    async fn shown(&self, listing: &ListingRef) -> Result<ListingState, PlatformError> {
        let doing = format!("show {}", named(listing));
        let variant = self.variant(&doing, &listing.sku, Some(listing)).await?;
        variant.map(|variant| variant.state).ok_or_else(|| {
            let message = format!(
                "Mercari has no variant with SKU `{}`: link the listing again, or remove it",
                listing.sku
            );
            fault::error(ErrorClass::NotFound, "mercari_not_found", message, None)
        })
    }

    /// Shows or hides; `Ok` when the product stands as `wanted` afterwards, whoever made it so.
    async fn turn(&self, listing: &ListingRef, wanted: ListingStatus) -> Result<(), PlatformError> {
        check(listing)?;
        let verb = if wanted == ListingStatus::Active {
            "show"
        } else {
            "hide"
        };
        let doing = format!("{verb} {} to buyers", named(listing));
        let variables = operation::visibility(listing, wanted);
        let turned = self
            .set_product(&doing, listing, variables, Shows::Status(wanted))
            .await;
        match turned {
            Ok(()) => Ok(()),
            Err(lost) if lost.maybe_applied => Err(unconfirmed(lost.error)),
            // Refused perhaps because it is so already.
            Err(lost) if matches!(lost.error.class, ErrorClass::Rejected | ErrorClass::NotFound) => {
                match self.shown(listing).await {
                    Ok(state) if state.status == wanted => Ok(()),
                    _ => Err(lost.error),
                }
            }
            Err(lost) => Err(lost.error),
        }
    }
}

impl Destination for Mercari {
    fn requests(&self, call: Call<'_>) -> u32 {
        let Call::Revise(revisions) = call else {
            return 1;
        };
        let many = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let stocks = revisions.iter().filter(|r| r.quantity.is_some()).count();
        let prices = revisions.iter().filter(|r| r.price.is_some()).count();
        many(stocks.div_ceil(self.batch_size())).saturating_add(many(prices))
    }

    fn batch_size(&self) -> usize {
        if self.one_by_one.load(Ordering::Relaxed) {
            1
        } else {
            MAX_ENTRIES
        }
    }

    fn rests_for(&self) -> Option<Duration> {
        self.client.rests_for()
    }

    /// The hour's cost points, as far as this daemon spent them.
    fn own_quotas(&self, now: DateTime<Utc>) -> Vec<Quota> {
        let (limit, remaining, all_in) = self.client.points_left();
        vec![Quota {
            resource: "cost points".into(),
            limit: limit.into(),
            remaining: remaining.into(),
            reset: now + TimeDelta::from_std(all_in).unwrap_or_default(),
            window_s: 3_600,
        }]
    }

    fn admits(&self, revision: &Revision) -> Result<(), PlatformError> {
        revision
            .price
            .map_or(Ok(()), |price| variant::yen_of(price).map(drop))
    }

    fn revise<'a>(&'a self, revisions: &'a [Revision]) -> BoxFuture<'a, Vec<EntryOutcome>> {
        Box::pin(self.revise_all(revisions))
    }

    fn end<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(self.turn(listing, ListingStatus::Ended))
    }

    fn relist<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(self.turn(listing, ListingStatus::Active))
    }

    fn read<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<ListingState, PlatformError>> {
        Box::pin(async move {
            check(listing)?;
            self.shown(listing).await
        })
    }

    /// The shop's own id: it takes a registered address and a token, and is about no listing.
    fn reach(&self) -> BoxFuture<'_, Result<Reached, PlatformError>> {
        Box::pin(async move {
            let doing = "say which shop this is";
            let reply = self
                .client
                .ask(doing, &SHOP, serde_json::json!({}), points(1))
                .await;
            let reply = reply.map_err(|lost| lost.error)?;
            let shop = reply.value(doing).map_err(|lost| lost.error)?;
            let shop = shop.ok_or_else(|| reply.nothing(doing).error)?;
            let id = shop.get("id").and_then(|id| id.text());
            id.map_err(|drift| reply.drifted(doing, &drift).error)?;
            Ok(Reached { date: reply.date })
        })
    }

    fn find<'a>(&'a self, sku: &'a str) -> BoxFuture<'a, Result<Vec<FoundListing>, PlatformError>> {
        Box::pin(async move {
            check_key("SKU", sku)?;
            let doing = format!("find SKU `{sku}`");
            let found = self.variant(&doing, sku, None).await?;
            let listing = found.map(|variant| FoundListing {
                sku: sku.into(),
                url: Some(format!("{ITEM_PAGE}{}", variant.product_id).into()),
                platform_product_id: variant.product_id,
                state: variant.state,
            });
            Ok(listing.into_iter().collect())
        })
    }
}

/// What a listing is called in messages.
fn named(listing: &ListingRef) -> String {
    format!(
        "product `{}` of SKU `{}`",
        listing.platform_product_id, listing.sku
    )
}

/// Keys that are none are not sent.
fn check(listing: &ListingRef) -> Result<(), PlatformError> {
    check_key("SKU", &listing.sku)?;
    check_key("product id", &listing.platform_product_id)
}

fn check_key(what: &str, key: &str) -> Result<(), PlatformError> {
    if (1..=LONGEST_KEY).contains(&key.chars().count()) && !key.chars().any(char::is_control) {
        return Ok(());
    }
    let shown: String = key.chars().take(60).flat_map(char::escape_default).collect();
    let message =
        format!("expected a {what} of 1 to {LONGEST_KEY} characters, got `{shown}`; link the listing again");
    Err(fault::error(
        ErrorClass::Rejected,
        "mercari_bad_key",
        message,
        None,
    ))
}
