//! Whether the listings are what the last pages call for, worked out beside the daemon from the simulator's own books.

use crate::control::client::Client;
use crate::domain::{
    CostRule, DestinationPlatform, ListingBasis, ListingId, ListingRef, ListingState, ListingStatus, Money,
    ProductId, Quantity, SourcePlatform, SourceState, UrlStatus, Version, WatchId, WatchState,
};
use crate::pricing::{self, PriceBook};
use crate::simulator::{ItemView, RegisterEntry, Running, Status};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// How the listings stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    /// Listings that show something else than the last page calls for, and nobody was asked about it.
    pub(super) differing: Vec<String>,
    /// Listings whose product or which themselves wait for a person.
    pub(super) held: usize,
    /// Listings of which a buyer took pieces since our last write: a sale is not undone.
    pub(super) sold: usize,
    /// Changes at the source that no page has shown yet.
    pub(super) unseen: usize,
}

impl Comparison {
    /// Nothing is left to do by itself.
    pub(super) fn is_settled(&self) -> bool {
        self.differing.is_empty() && self.unseen == 0
    }
}

/// Compares every listing of the catalogue.
pub(super) async fn compare(
    book: &PriceBook,
    simulator: &Running,
    client: &Client,
) -> anyhow::Result<Comparison> {
    let held = Held::ask(client).await?;
    let served: HashMap<Box<str>, ItemView> = simulator
        .served()
        .into_iter()
        .map(|v| (v.id.clone(), v))
        .collect();
    let truth: HashMap<Box<str>, ItemView> =
        simulator.truth().into_iter().map(|v| (v.id.clone(), v)).collect();
    let register: HashMap<Box<str>, RegisterEntry> = simulator
        .register()
        .into_iter()
        .map(|e| (e.sku.clone(), e))
        .collect();
    let mut comparison = Comparison::default();
    for product in simulator.catalogue().products {
        let seen = served.get(&product.item_id);
        let now = truth.get(&product.item_id);
        if seen.map(|s| s.version) != now.map(|n| n.version) {
            comparison.unseen = comparison.unseen.saturating_add(1);
        }
        let Some(seen) = seen else { continue };
        for listing in &product.listings {
            let Some(entry) = register.get(&listing.sku) else {
                continue;
            };
            if held.items.contains(&*product.item_id) || held.skus.contains(&*listing.sku) {
                comparison.held = comparison.held.saturating_add(1);
            } else {
                match difference(book, product.cost_rule, seen, entry) {
                    Some(Differs::Sold) => comparison.sold = comparison.sold.saturating_add(1),
                    Some(Differs::Otherwise(how)) => comparison.differing.push(how),
                    None => {}
                }
            }
        }
    }
    Ok(comparison)
}

/// How a listing differs from what its page calls for.
enum Differs {
    /// By no more pieces than buyers took.
    Sold,
    /// In another way, in words.
    Otherwise(String),
}

/// What `entry` lacks to be what `seen` calls for.
fn difference(book: &PriceBook, rule: CostRule, seen: &ItemView, entry: &RegisterEntry) -> Option<Differs> {
    let shows = shown(entry)?;
    let decision = pricing::wanted(&[watch(rule, seen)?], &basis(entry, shows), book, seen.at)?;
    let wants = decision.wanted();
    let missing = wants.quantity.get().saturating_sub(shows.quantity.get());
    let quantity_differs = wants.quantity != shows.quantity;
    let price_differs = !wants.quantity.is_zero() && wants.price.is_some() && wants.price != shows.price;
    if !quantity_differs && !price_differs {
        return None;
    }
    if !price_differs && missing > 0 && missing <= entry.sold {
        return Some(Differs::Sold);
    }
    let price = |p: Option<Money>| p.map_or_else(|| "no price".to_owned(), |m| m.to_string());
    Some(Differs::Otherwise(format!(
        "{}: shows {} at {}, its page (version {}) calls for {} at {}",
        entry.sku,
        shows.quantity,
        price(shows.price),
        seen.version,
        wants.quantity,
        price(wants.price)
    )))
}

/// What the page says under the product's rule, read from the simulator's own books.
fn watch(rule: CostRule, seen: &ItemView) -> Option<WatchState> {
    let price_jpy = match rule {
        CostRule::BuyNow => seen.buy_now_jpy,
        CostRule::CurrentBid => Some(seen.price_jpy),
    };
    let buyable = seen.status == Status::Open && price_jpy.is_some();
    let stock = if buyable {
        Quantity::new(seen.stock.into()).ok()?
    } else {
        Quantity::ZERO
    };
    Some(WatchState {
        watch_id: WatchId(1),
        product_id: ProductId(1),
        source: SourcePlatform::Yahoo,
        version: Version(1),
        state: Some(SourceState {
            stock,
            price: price_jpy.and_then(|yen| Money::yen(yen.into()).ok()),
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

fn shown(entry: &RegisterEntry) -> Option<ListingState> {
    let published = &*entry.status == "PUBLISHED";
    Some(ListingState {
        status: if published {
            ListingStatus::Active
        } else {
            ListingStatus::Ended
        },
        quantity: if published {
            Quantity::new(entry.quantity.into()).ok()?
        } else {
            Quantity::ZERO
        },
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
        currency: entry.price.map_or(crate::domain::Currency::Usd, Money::currency),
        confirmed: shows,
        wanted: None,
        in_flight: false,
        day_price: None,
        day_price_on: None,
        rules: None,
    }
}

/// What waits for a person, as the daemon tells it.
struct Held {
    items: HashSet<String>,
    skus: HashSet<String>,
}

impl Held {
    async fn ask(client: &Client) -> anyhow::Result<Self> {
        let items = every(client, "/v1/products?state=held", "source_product_id").await?;
        let skus = every(client, "/v1/listings?state=held", "sku").await?;
        Ok(Self { items, skus })
    }
}

/// One field of every row of a list.
async fn every(client: &Client, path: &str, field: &str) -> anyhow::Result<HashSet<String>> {
    let mut found = HashSet::new();
    let mut after = 0;
    loop {
        let page = client.get(&format!("{path}&limit=1000&after={after}")).await?;
        let items = page
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        found.extend(
            items
                .iter()
                .filter_map(|i| Some(i.get(field)?.as_str()?.to_owned())),
        );
        match page.get("next").and_then(Value::as_i64) {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
}
