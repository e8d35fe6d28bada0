//! What a rehearsal has watched and sold, and what the simulator's books say of each piece of it.

use crate::domain::{
    CostRule, Currency, DestinationPlatform, ListingState, ListingStatus, Money, Quantity, SourcePlatform,
    SourceState, UrlStatus,
};
use crate::simulator::{
    AmazonItem, AmazonListing, Catalogue, ItemView, MercariEntry, RegisterEntry, Running, Status,
};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Where is sold and bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markets {
    /// From Yahoo! Auctions to eBay.
    Two,
    /// Every marketplace: what Yahoo! offers is sold on eBay or Mercari Shops, what Amazon offers on Amazon.
    All,
}

/// One product with its one listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Where it is bought.
    pub source: SourcePlatform,
    /// Its key there.
    pub item: Box<str>,
    /// Its address.
    pub url: Box<str>,
    /// What it costs by.
    pub cost_rule: CostRule,
    /// Where it is sold.
    pub destination: DestinationPlatform,
    /// Under which key; empty when it is not.
    pub sku: Box<str>,
}

/// What is watched and sold of a simulator's catalogue: of Yahoo!'s products each fourth on Mercari Shops, where that is
/// part of it.
#[must_use]
pub fn registered(catalogue: &Catalogue, markets: Markets) -> Vec<Registered> {
    let of_yahoo = catalogue.products.iter().enumerate().map(|(n, product)| {
        let at_mercari = product
            .mercari
            .first()
            .filter(|_| markets == Markets::All && n % 4 == 3);
        let (destination, sku) = match at_mercari {
            Some(listing) => (DestinationPlatform::Mercari, listing.sku.clone()),
            None => {
                let first = product.listings.first();
                let sku = first.map(|listing| listing.sku.clone()).unwrap_or_default();
                (DestinationPlatform::Ebay, sku)
            }
        };
        Registered {
            source: SourcePlatform::Yahoo,
            item: product.item_id.clone(),
            url: product.url.clone(),
            cost_rule: product.cost_rule,
            destination,
            sku,
        }
    });
    let at_amazon = catalogue
        .amazon
        .products
        .iter()
        .filter(|_| markets == Markets::All);
    let of_amazon = at_amazon.map(|product| Registered {
        source: SourcePlatform::Amazon,
        item: product.asin.clone(),
        url: product.url.clone(),
        cost_rule: CostRule::BuyNow,
        destination: DestinationPlatform::AmazonSeller,
        sku: product.skus.first().cloned().unwrap_or_default(),
    });
    of_yahoo.chain(of_amazon).collect()
}

/// They as a list for `products import`, each listing kept in line at once.
#[must_use]
pub fn csv(registered: &[Registered]) -> Vec<u8> {
    let mut text = String::from("source_url,cost_rule,sku,destination,auto_sync\n");
    for one in registered {
        let (url, rule, sku, at) = (&one.url, one.cost_rule, &one.sku, one.destination);
        // Writing into a String cannot fail.
        let _written = writeln!(text, "{url},{rule},{sku},{at},true");
    }
    text.into_bytes()
}

/// What a source showed of an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shown {
    /// Counts its changes.
    pub(super) version: u32,
    /// Pieces, price and address.
    pub(super) state: SourceState,
    /// When it was shown.
    pub(super) at: DateTime<Utc>,
}

/// What a destination shows of a listing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sold {
    /// Status, pieces and price.
    pub(super) state: ListingState,
    /// The destination's key of it.
    pub(super) offer: Box<str>,
    /// Pieces that buyers took.
    pub(super) sold: u32,
}

/// The simulator's books of one moment.
pub(super) struct Books {
    yahoo: [HashMap<Box<str>, ItemView>; 2],
    amazon: [HashMap<Box<str>, AmazonItem>; 2],
    ebay: HashMap<Box<str>, RegisterEntry>,
    mercari: HashMap<Box<str>, MercariEntry>,
    at_amazon: HashMap<Box<str>, AmazonListing>,
}

fn by<T>(all: Vec<T>, key: fn(&T) -> &str) -> HashMap<Box<str>, T> {
    all.into_iter().map(|one| (key(&one).into(), one)).collect()
}

impl Books {
    /// Reads them. What was shown is read before what is true: what changes between them counts as unseen.
    #[must_use]
    pub(super) fn of(simulator: &Running) -> Self {
        Self {
            yahoo: [
                by(simulator.served(), |view| &view.id),
                by(simulator.truth(), |view| &view.id),
            ],
            amazon: [
                by(simulator.amazon_served(), |item| &item.asin),
                by(simulator.amazon_truth(), |item| &item.asin),
            ],
            ebay: by(simulator.register(), |entry| &entry.sku),
            mercari: by(simulator.mercari_register(), |entry| &entry.sku),
            at_amazon: by(simulator.amazon_register(), |entry| &entry.sku),
        }
    }

    /// What was last shown whole of an item.
    ///
    /// # Errors
    /// When the books hold what is no quantity or price.
    pub(super) fn seen(&self, one: &Registered) -> anyhow::Result<Option<Shown>> {
        let ([yahoo, _], [amazon, _]) = (&self.yahoo, &self.amazon);
        match one.source {
            SourcePlatform::Yahoo => yahoo
                .get(&one.item)
                .map(|view| page(one.cost_rule, view))
                .transpose(),
            SourcePlatform::Amazon => amazon.get(&one.item).map(offer).transpose(),
        }
    }

    /// The version of an item that is true now.
    #[must_use]
    pub(super) fn true_version(&self, one: &Registered) -> Option<u32> {
        let ([_, yahoo], [_, amazon]) = (&self.yahoo, &self.amazon);
        match one.source {
            SourcePlatform::Yahoo => yahoo.get(&one.item).map(|view| view.version),
            SourcePlatform::Amazon => amazon.get(&one.item).map(|item| item.version),
        }
    }

    /// What is shown where it is sold.
    ///
    /// # Errors
    /// When the books hold what is no quantity or price.
    pub(super) fn sold(&self, one: &Registered) -> anyhow::Result<Option<Sold>> {
        match one.destination {
            DestinationPlatform::Ebay => self.ebay.get(&one.sku).map(at_ebay).transpose(),
            DestinationPlatform::Mercari => self.mercari.get(&one.sku).map(at_mercari).transpose(),
            DestinationPlatform::AmazonSeller => self.at_amazon.get(&one.sku).map(at_amazon).transpose(),
        }
    }
}

/// What a page says under the product's rule.
///
/// # Errors
/// When the books hold what is no quantity or price.
pub(super) fn page(rule: CostRule, view: &ItemView) -> anyhow::Result<Shown> {
    let price_jpy = match rule {
        CostRule::BuyNow => view.buy_now_jpy,
        CostRule::CurrentBid => Some(view.price_jpy),
    };
    let buyable = view.status == Status::Open && price_jpy.is_some();
    Ok(Shown {
        version: view.version,
        state: SourceState {
            stock: Quantity::new(if buyable { view.stock } else { 0 }.into())?,
            price: price_jpy.map(|yen| Money::yen(yen.into())).transpose()?,
            url_status: alive(view.status != Status::Removed),
        },
        at: view.at,
    })
}

fn offer(item: &AmazonItem) -> anyhow::Result<Shown> {
    let offered = item.offered && !item.removed;
    Ok(Shown {
        version: item.version,
        state: SourceState {
            stock: Quantity::new(i64::from(offered))?,
            price: offered.then(|| Money::yen(item.price_jpy.into())).transpose()?,
            url_status: alive(!item.removed),
        },
        at: item.at,
    })
}

fn alive(is: bool) -> UrlStatus {
    if is { UrlStatus::Active } else { UrlStatus::Dead }
}

fn listed(on_sale: bool, quantity: u32, price: Option<Money>) -> anyhow::Result<ListingState> {
    Ok(ListingState {
        status: if on_sale {
            ListingStatus::Active
        } else {
            ListingStatus::Ended
        },
        quantity: Quantity::new(if on_sale { quantity } else { 0 }.into())?,
        price,
    })
}

pub(super) fn at_ebay(entry: &RegisterEntry) -> anyhow::Result<Sold> {
    Ok(Sold {
        state: listed(&*entry.status == "PUBLISHED", entry.quantity, entry.price)?,
        offer: entry.offer_id.clone(),
        sold: entry.sold,
    })
}

fn at_mercari(entry: &MercariEntry) -> anyhow::Result<Sold> {
    let price = Money::yen(entry.price.into())?;
    Ok(Sold {
        state: listed(&*entry.status == "OPENED", entry.quantity, Some(price))?,
        offer: entry.product_id.clone(),
        sold: entry.sold,
    })
}

fn at_amazon(entry: &AmazonListing) -> anyhow::Result<Sold> {
    let price = Money::yen(entry.price_jpy.into())?;
    Ok(Sold {
        state: listed(true, entry.quantity, Some(price))?,
        offer: entry.asin.clone(),
        sold: 0,
    })
}

/// The currency of what a listing shows.
#[must_use]
pub(super) fn currency(destination: DestinationPlatform, state: &ListingState) -> Currency {
    let usual = match destination {
        DestinationPlatform::Ebay => Currency::Usd,
        DestinationPlatform::Mercari | DestinationPlatform::AmazonSeller => Currency::Jpy,
    };
    state.price.map_or(usual, Money::currency)
}
