//! Whether the listings are what the last pages call for, worked out beside the daemon from the simulator's own books.

use serde_json::Value;
use std::collections::{HashMap, HashSet};
use zaikoban::control::client::{Client, ControlError};
use zaikoban::domain::{
    CostRule, Currency, DestinationPlatform, ListingBasis, ListingId, ListingRef, ListingState,
    ListingStatus, Money, ProductId, Quantity, SourcePlatform, SourceState, UrlStatus, Version, WatchId,
    WatchState,
};
use zaikoban::pricing::{self, PriceBook};
use zaikoban::simulator::{ItemView, RegisterEntry, Running, Status};

/// How the listings stand.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Listings that show something else than the last page calls for, and nobody was asked about it.
    pub differing: Vec<String>,
    /// Listings that wait for a person, themselves or with their product.
    pub held: usize,
    /// Products whose last good page does not show what they are now.
    pub unseen: Vec<Box<str>>,
}

impl Comparison {
    /// Nothing is left to do by itself.
    pub fn is_settled(&self) -> bool {
        self.differing.is_empty() && self.unseen.is_empty()
    }
}

/// Compares every listing of the catalogue. Nothing may be sold meanwhile: a sale is not undone.
pub async fn compare(
    book: &PriceBook,
    simulator: &Running,
    client: &Client,
) -> Result<Comparison, ControlError> {
    let held_items = column(client, "/v1/products?state=held", "source_product_id").await?;
    let held_skus = column(client, "/v1/listings?state=held", "sku").await?;
    let served: HashMap<Box<str>, ItemView> = by_id(simulator.served());
    let truth: HashMap<Box<str>, ItemView> = by_id(simulator.truth());
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
                comparison.held += 1;
                continue;
            }
            let entry = &register[&listing.sku];
            comparison
                .differing
                .extend(difference(book, product.cost_rule, seen, entry));
        }
    }
    Ok(comparison)
}

/// Every row of a list, page by page. `path` has a query already.
pub async fn rows(client: &Client, path: &str) -> Result<Vec<Value>, ControlError> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = client.get(&format!("{path}&limit=1000&after={after}")).await?;
        found.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}

/// One field of every row of a list.
async fn column(client: &Client, path: &str, field: &str) -> Result<HashSet<String>, ControlError> {
    let rows = rows(client, path).await?;
    let texts = rows.iter().filter_map(|row| row[field].as_str());
    Ok(texts.map(str::to_owned).collect())
}

fn by_id(views: Vec<ItemView>) -> HashMap<Box<str>, ItemView> {
    views.into_iter().map(|view| (view.id.clone(), view)).collect()
}

/// What `entry` lacks to be what `seen` calls for.
fn difference(book: &PriceBook, rule: CostRule, seen: &ItemView, entry: &RegisterEntry) -> Option<String> {
    let shows = shown(entry);
    let decision = pricing::wanted(&[watch(rule, seen)], &basis(entry, shows), book, seen.at)?;
    let wants = decision.wanted();
    let quantity_differs = wants.quantity != shows.quantity;
    let price_differs = !wants.quantity.is_zero() && wants.price.is_some() && wants.price != shows.price;
    let price = |price: Option<Money>| price.map_or_else(|| "no price".to_owned(), |m| m.to_string());
    (quantity_differs || price_differs).then(|| {
        format!(
            "{}: shows {} at {}, page of {} (version {}) calls for {} at {}",
            entry.sku,
            shows.quantity,
            price(shows.price),
            seen.id,
            seen.version,
            wants.quantity,
            price(wants.price)
        )
    })
}

/// What the page says under the product's rule.
fn watch(rule: CostRule, seen: &ItemView) -> WatchState {
    let price_jpy = match rule {
        CostRule::BuyNow => seen.buy_now_jpy,
        CostRule::CurrentBid => Some(seen.price_jpy),
    };
    let buyable = seen.status == Status::Open && price_jpy.is_some();
    WatchState {
        watch_id: WatchId(1),
        product_id: ProductId(1),
        source: SourcePlatform::Yahoo,
        version: Version(1),
        state: Some(SourceState {
            stock: quantity(if buyable { seen.stock } else { 0 }),
            price: price_jpy.map(|yen| Money::yen(yen.into()).unwrap()),
            url_status: if seen.status == Status::Removed {
                UrlStatus::Dead
            } else {
                UrlStatus::Active
            },
        }),
        enabled: true,
        held: None,
        fetched_at: Some(seen.at),
    }
}

fn shown(entry: &RegisterEntry) -> ListingState {
    let published = &*entry.status == "PUBLISHED";
    ListingState {
        status: if published {
            ListingStatus::Active
        } else {
            ListingStatus::Ended
        },
        quantity: quantity(if published { entry.quantity } else { 0 }),
        price: entry.price,
    }
}

fn quantity(pieces: u32) -> Quantity {
    Quantity::new(pieces.into()).unwrap()
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
