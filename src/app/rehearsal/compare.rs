//! Whether the listings are what the last pages call for, worked out beside the daemon from the simulator's own books.

use crate::control::client::{Client, ControlError};
use crate::domain::{
    CostRule, Currency, DestinationPlatform, ListingBasis, ListingId, ListingRef, ListingState,
    ListingStatus, Money, ProductId, Quantity, SourcePlatform, SourceState, UrlStatus, Version, Wanted,
    WatchId, WatchState,
};
use crate::pricing::{self, PriceBook};
use crate::simulator::{ItemView, RegisterEntry, Running, Status};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// How the listings stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Listings that show something else than the last page calls for, and nobody was asked about it.
    pub differing: Vec<String>,
    /// Listings whose product or which themselves wait for a person.
    pub held: usize,
    /// Listings of which a buyer took pieces since our last write: a sale is not undone.
    pub sold: usize,
    /// Items whose last good page does not show what they are now.
    pub unseen: Vec<Box<str>>,
}

impl Comparison {
    /// Nothing is left to do by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.differing.is_empty() && self.unseen.is_empty()
    }
}

/// Compares every listing of the catalogue.
///
/// # Errors
/// When the daemon does not answer, or the simulator's books hold what is no quantity or price.
pub async fn compare(book: &PriceBook, simulator: &Running, client: &Client) -> anyhow::Result<Comparison> {
    let held_items = column(client, "/v1/products?state=held", "source_product_id").await?;
    let held_skus = column(client, "/v1/listings?state=held", "sku").await?;
    let served = by_id(simulator.served());
    let truth = by_id(simulator.truth());
    let register: HashMap<Box<str>, RegisterEntry> = simulator
        .register()
        .into_iter()
        .map(|entry| (entry.sku.clone(), entry))
        .collect();
    let mut comparison = Comparison::default();
    for product in simulator.catalogue().products {
        let seen = served.get(&product.item_id);
        let now = truth.get(&product.item_id);
        if seen.map(|s| s.version) != now.map(|n| n.version) {
            comparison.unseen.push(product.item_id.clone());
        }
        let Some(seen) = seen else { continue };
        for listing in &product.listings {
            if held_items.contains(&*product.item_id) || held_skus.contains(&*listing.sku) {
                comparison.held = comparison.held.saturating_add(1);
                continue;
            }
            let Some(entry) = register.get(&listing.sku) else {
                comparison
                    .differing
                    .push(format!("{}: is not at the destination any more", listing.sku));
                continue;
            };
            match difference(book, product.cost_rule, seen, entry)? {
                Some(Differs::Sold) => comparison.sold = comparison.sold.saturating_add(1),
                Some(Differs::Otherwise(how)) => comparison.differing.push(how),
                None => {}
            }
        }
    }
    Ok(comparison)
}

/// Every row of a list, page by page. `path` has a query already, which may be empty.
///
/// # Errors
/// When the daemon does not answer.
pub async fn rows(client: &Client, path: &str) -> Result<Vec<Value>, ControlError> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let mut page = client.get(&format!("{path}&limit=1000&after={after}")).await?;
        let items = page.get_mut("items").and_then(Value::as_array_mut);
        found.append(items.unwrap_or(&mut Vec::new()));
        match page.get("next").and_then(Value::as_i64) {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}

/// One field of every row of a list.
async fn column(client: &Client, path: &str, field: &str) -> Result<HashSet<String>, ControlError> {
    let rows = rows(client, path).await?;
    let texts = rows.iter().filter_map(|row| row.get(field)?.as_str());
    Ok(texts.map(str::to_owned).collect())
}

fn by_id(views: Vec<ItemView>) -> HashMap<Box<str>, ItemView> {
    views.into_iter().map(|view| (view.id.clone(), view)).collect()
}

/// What the page `seen` calls for where `entry` is sold; `None` when it says nothing.
///
/// # Errors
/// When the simulator's books hold what is no quantity or price.
pub fn calls_for(
    book: &PriceBook,
    rule: CostRule,
    seen: &ItemView,
    entry: &RegisterEntry,
) -> anyhow::Result<Option<Wanted>> {
    let decision = pricing::wanted(&[watch(rule, seen)?], &basis(entry, shown(entry)?), book, seen.at);
    Ok(decision.map(|decision| decision.wanted()))
}

/// How a listing differs from what its page calls for.
enum Differs {
    /// By no more pieces than buyers took.
    Sold,
    /// In another way, in words.
    Otherwise(String),
}

/// What `entry` lacks to be what `seen` calls for.
fn difference(
    book: &PriceBook,
    rule: CostRule,
    seen: &ItemView,
    entry: &RegisterEntry,
) -> anyhow::Result<Option<Differs>> {
    let shows = shown(entry)?;
    let Some(wants) = calls_for(book, rule, seen, entry)? else {
        return Ok(None);
    };
    let missing = wants.quantity.get().saturating_sub(shows.quantity.get());
    let quantity_differs = wants.quantity != shows.quantity;
    let price_differs = !wants.quantity.is_zero() && wants.price.is_some() && wants.price != shows.price;
    if !quantity_differs && !price_differs {
        return Ok(None);
    }
    if !price_differs && missing > 0 && missing <= entry.sold {
        return Ok(Some(Differs::Sold));
    }
    let price = |p: Option<Money>| p.map_or_else(|| "no price".to_owned(), |m| m.to_string());
    Ok(Some(Differs::Otherwise(format!(
        "{}: shows {} at {}, page of {} (version {}) calls for {} at {}",
        entry.sku,
        shows.quantity,
        price(shows.price),
        seen.id,
        seen.version,
        wants.quantity,
        price(wants.price)
    ))))
}

/// What the page says under the product's rule.
fn watch(rule: CostRule, seen: &ItemView) -> anyhow::Result<WatchState> {
    let price_jpy = match rule {
        CostRule::BuyNow => seen.buy_now_jpy,
        CostRule::CurrentBid => Some(seen.price_jpy),
    };
    let buyable = seen.status == Status::Open && price_jpy.is_some();
    Ok(WatchState {
        watch_id: WatchId(1),
        product_id: ProductId(1),
        source: SourcePlatform::Yahoo,
        version: Version(1),
        state: Some(SourceState {
            stock: Quantity::new(if buyable { seen.stock } else { 0 }.into())?,
            price: price_jpy.map(|yen| Money::yen(yen.into())).transpose()?,
            url_status: if seen.status == Status::Removed {
                UrlStatus::Dead
            } else {
                UrlStatus::Active
            },
        }),
        enabled: true,
        held: None,
        fetched_at: Some(seen.at),
    })
}

fn shown(entry: &RegisterEntry) -> anyhow::Result<ListingState> {
    let published = &*entry.status == "PUBLISHED";
    Ok(ListingState {
        status: if published {
            ListingStatus::Active
        } else {
            ListingStatus::Ended
        },
        quantity: Quantity::new(if published { entry.quantity } else { 0 }.into())?,
        price: entry.price,
    })
}

fn basis(entry: &RegisterEntry, shows: ListingState) -> ListingBasis {
    ListingBasis {
        listing: ListingRef {
            listing_id: ListingId(1),
            destination: DestinationPlatform::Ebay,
            sku: entry.sku.clone(),
            platform_product_id: entry.offer_id.clone(),
        },
        product_id: ProductId(1),
        currency: entry.price.map_or(Currency::Usd, Money::currency),
        confirmed: shows,
        wanted: None,
        in_flight: false,
        day_price: None,
        day_price_on: None,
        rules: None,
    }
}
