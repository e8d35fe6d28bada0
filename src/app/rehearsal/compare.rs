//! Whether the listings are what the last pages call for, worked out beside the daemon from the simulator's own books.

use super::goods::{self, Books, Registered, Shown, Sold};
use crate::control::client::{Client, ControlError};
use crate::domain::{
    CostRule, DestinationPlatform, ListingBasis, ListingId, ListingRef, Money, ProductId, SourcePlatform,
    Version, Wanted, WatchId, WatchState,
};
use crate::pricing::{self, PriceBook};
use crate::simulator::{ItemView, RegisterEntry, Running};
use serde_json::Value;
use std::collections::HashSet;

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

/// Compares every listing that is registered.
///
/// # Errors
/// When the daemon does not answer, or the simulator's books hold what is no quantity or price.
pub async fn compare(
    book: &PriceBook,
    simulator: &Running,
    registered: &[Registered],
    client: &Client,
) -> anyhow::Result<Comparison> {
    let held_items = column(client, "/v1/products?state=held", "source_product_id").await?;
    let held_skus = column(client, "/v1/listings?state=held", "sku").await?;
    let books = Books::of(simulator);
    let mut comparison = Comparison::default();
    for one in registered {
        let seen = books.seen(one)?;
        if seen.map(|s| s.version) != books.true_version(one) {
            comparison.unseen.push(one.item.clone());
        }
        let Some(seen) = seen.filter(|_| !one.sku.is_empty()) else {
            continue;
        };
        if held_items.contains(&*one.item) || held_skus.contains(&*one.sku) {
            comparison.held = comparison.held.saturating_add(1);
            continue;
        }
        let Some(sold) = books.sold(one)? else {
            comparison
                .differing
                .push(format!("{}: is not at the destination any more", one.sku));
            continue;
        };
        match difference(book, one, &seen, &sold) {
            Some(Differs::Sold) => comparison.sold = comparison.sold.saturating_add(1),
            Some(Differs::Otherwise(how)) => comparison.differing.push(how),
            None => {}
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

/// What the page `seen` calls for where `entry` is sold on eBay; `None` when it says nothing.
///
/// # Errors
/// When the simulator's books hold what is no quantity or price.
pub fn calls_for(
    book: &PriceBook,
    rule: CostRule,
    seen: &ItemView,
    entry: &RegisterEntry,
) -> anyhow::Result<Option<Wanted>> {
    let one = Registered {
        source: SourcePlatform::Yahoo,
        item: seen.id.clone(),
        url: Box::default(),
        cost_rule: rule,
        destination: DestinationPlatform::Ebay,
        sku: entry.sku.clone(),
    };
    Ok(wanted(
        book,
        &one,
        &goods::page(rule, seen)?,
        &goods::at_ebay(entry)?,
    ))
}

fn wanted(book: &PriceBook, one: &Registered, seen: &Shown, sold: &Sold) -> Option<Wanted> {
    let watch = WatchState {
        watch_id: WatchId(1),
        product_id: ProductId(1),
        source: one.source,
        version: Version(1),
        state: Some(seen.state),
        enabled: true,
        held: None,
        fetched_at: Some(seen.at),
    };
    let basis = ListingBasis {
        listing: ListingRef {
            listing_id: ListingId(1),
            destination: one.destination,
            sku: one.sku.clone(),
            platform_product_id: sold.offer.clone(),
        },
        product_id: ProductId(1),
        currency: goods::currency(one.destination, &sold.state),
        confirmed: sold.state,
        wanted: None,
        in_flight: false,
        day_price: None,
        day_price_on: None,
        rules: None,
    };
    pricing::wanted(&[watch], &basis, book, seen.at).map(|decision| decision.wanted())
}

/// How a listing differs from what its page calls for.
enum Differs {
    /// By no more pieces than buyers took.
    Sold,
    /// In another way, in words.
    Otherwise(String),
}

/// What a listing lacks to be what `seen` calls for.
fn difference(book: &PriceBook, one: &Registered, seen: &Shown, sold: &Sold) -> Option<Differs> {
    let shows = &sold.state;
    let wants = wanted(book, one, seen, sold)?;
    let missing = wants.quantity.get().saturating_sub(shows.quantity.get());
    let quantity_differs = wants.quantity != shows.quantity;
    let price_differs = !wants.quantity.is_zero() && wants.price.is_some() && wants.price != shows.price;
    if !quantity_differs && !price_differs {
        return None;
    }
    if !price_differs && missing > 0 && missing <= sold.sold {
        return Some(Differs::Sold);
    }
    let price = |p: Option<Money>| p.map_or_else(|| "no price".to_owned(), |m| m.to_string());
    Some(Differs::Otherwise(format!(
        "{}: shows {} at {}, {} (version {}) calls for {} at {}",
        one.sku,
        shows.quantity,
        price(shows.price),
        one.item,
        seen.version,
        wants.quantity,
        price(wants.price)
    )))
}
