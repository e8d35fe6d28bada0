//! What the doors share: both registers, the plan of faults, the pages, and the orders that change them.

use super::amazon::{AmazonEntry, AmazonItem, AmazonListing, Bazaar, SetAmazonItem, SetAmazonListing};
use super::draw::count;
use super::faults::{FaultPlan, PageFault, one_or_many};
use super::market::{self, LedgerEntry, Market, RegisterEntry, SetListing};
use super::mercari::{self, MercariAsked, MercariEntry, SetMercari, Shop};
use super::page::{BadTemplate, OtherPage, Pages, bomb};
use super::settings::SimulatorSettings;
use super::views::{Catalogue, CatalogueProduct, Credentials, Page, PageEntry, Stats};
use super::world::{ItemView, Micros, SetItem, TruthChange, World};
use super::{goods, ledger::Ring};
use crate::clock::Clock;
use crate::domain::CostRule;
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Changes to what happens from now on. Every key is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    /// A partial [`FaultPlan`]: the keys named replace those of the present plan, the others stay.
    pub faults: Option<Value>,
    /// All faults end.
    pub stop_faults: bool,
    /// Nothing changes by chance any more (`false` goes on). Auctions still end at their time.
    pub stop_changes: Option<bool>,
    /// How many changes happen per second.
    pub change_rate_per_s: Option<f64>,
    /// How many pieces are sold per second at each destination.
    pub sale_rate_per_s: Option<f64>,
    /// Share of wild changes.
    pub wild_share: Option<f64>,
    /// How long access tokens given from now on live, in seconds.
    pub token_lifetime_s: Option<u32>,
    /// All access tokens end now.
    pub expire_tokens: bool,
    /// From now on `Date` is off by so many seconds.
    pub date_off_s: Option<i64>,
    /// Changes of items, one or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub set: Vec<SetItem>,
    /// Changes of listings by hand, one or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub set_listing: Vec<SetListing>,
    /// Changes of listings at Mercari by hand, one or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub set_mercari: Vec<SetMercari>,
    /// How many changes of Amazon's items happen per second.
    pub amazon_change_rate_per_s: Option<f64>,
    /// Changes of Amazon's items, one or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub set_amazon: Vec<SetAmazonItem>,
    /// Changes of Amazon's listings by hand, one or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub set_amazon_listing: Vec<SetAmazonListing>,
}

/// Everything that is wrong with an order, one line each.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the order cannot be carried out: {}", .0.join("; "))]
pub struct BadOrder(pub Vec<String>);

#[derive(Default)]
pub(super) struct Counters {
    pub served: AtomicU64,
    pub bytes: AtomicU64,
    pub rendered: AtomicU64,
    pub render_us: AtomicU64,
    faults: Mutex<Vec<(PageFault, u64)>>,
}

/// See the module's head.
pub(super) struct Shared {
    pub clock: Clock,
    pub world: Mutex<World>,
    pub market: Mutex<Market>,
    pub shop: Mutex<Shop>,
    pub amazon: Mutex<Bazaar>,
    pub faults: ArcSwap<FaultPlan>,
    pub pages: Pages,
    bomb: OnceLock<Bytes>,
    pub counters: Counters,
    catalogue: Vec<market::CatalogueListing>,
    at_mercari: Vec<mercari::MercariListing>,
    products: u32,
    seed: u64,
    started: Micros,
    date_off_s: AtomicI64,
}

impl Shared {
    /// # Errors
    /// When a page template is broken.
    pub(super) fn new(settings: &SimulatorSettings, clock: Clock) -> Result<Self, BadTemplate> {
        let now = clock.now().timestamp_micros();
        let market = Market::new(settings, now);
        let shop = Shop::new(settings, now);
        Ok(Self {
            clock,
            world: Mutex::new(World::new(settings, now)),
            catalogue: market.catalogue(),
            market: Mutex::new(market),
            at_mercari: shop.catalogue(),
            shop: Mutex::new(shop),
            amazon: Mutex::new(Bazaar::new(settings, now)),
            faults: ArcSwap::from_pointee(settings.faults.clone()),
            pages: Pages::new(settings.seed)?,
            bomb: OnceLock::new(),
            counters: Counters::default(),
            products: settings.products,
            seed: settings.seed,
            started: now,
            date_off_s: AtomicI64::new(0),
        })
    }

    /// What `Date` says when it lies.
    pub(super) fn lied_date(&self) -> Option<String> {
        let off_s = self.date_off_s.load(Ordering::Relaxed);
        let off = chrono::TimeDelta::try_seconds(off_s).filter(|off| !off.is_zero())?;
        let date = self.clock.now().checked_add_signed(off)?;
        Some(date.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    pub(super) fn now(&self) -> Micros {
        self.clock.now().timestamp_micros()
    }

    /// Plays what has happened meanwhile, so that no request has to make up for much.
    pub(super) fn tick(&self) {
        let now = self.now();
        self.world.lock().advance(now);
        self.market.lock().advance(now);
        self.shop.lock().advance(now);
        self.amazon.lock().advance(now);
    }

    /// The bomb; made when first asked for.
    pub(super) fn bomb(&self) -> Bytes {
        self.bomb.get_or_init(|| bomb().into()).clone()
    }

    pub(super) fn other_page(page: OtherPage, id: &str) -> Bytes {
        page.html(id).into_bytes().into()
    }

    pub(super) fn count_fault(&self, fault: PageFault) {
        let mut faults = self.counters.faults.lock();
        match faults.iter_mut().find(|(known, _)| *known == fault) {
            Some((_, times)) => *times += 1,
            None => faults.push((fault, 1)),
        }
    }

    pub(super) fn catalogue(&self) -> Catalogue {
        let world = self.world.lock();
        let many = super::draw::at(self.products);
        let products = (0..self.products)
            .map(|index| {
                let id = goods::item_id(self.seed, index);
                let item = world.items.get(super::draw::at(index)).map(|i| i.now);
                let bids_only = item.is_some_and(|i| i.auction && i.buy_now.is_none());
                let listings = self
                    .catalogue
                    .iter()
                    .skip(super::draw::at(index))
                    .step_by(many.max(1));
                let at_mercari = self
                    .at_mercari
                    .iter()
                    .skip(super::draw::at(index))
                    .step_by(many.max(1));
                CatalogueProduct {
                    url: format!("https://auctions.yahoo.co.jp/jp/auction/{id}").into(),
                    item_id: id.into(),
                    title: world.title(index).into(),
                    cost_rule: if bids_only {
                        CostRule::CurrentBid
                    } else {
                        CostRule::BuyNow
                    },
                    listings: listings.cloned().collect(),
                    mercari: at_mercari.cloned().collect(),
                }
            })
            .collect();
        Catalogue {
            products,
            credentials: Credentials {
                client_id: market::CLIENT_ID.into(),
                client_secret: market::CLIENT_SECRET.into(),
                refresh_token: market::REFRESH_TOKEN.into(),
                ru_name: market::RU_NAME.into(),
                mercari_token: mercari::TOKEN.into(),
                mercari_client_name: mercari::CLIENT_NAME.into(),
            },
            amazon: self.amazon.lock().catalogue(),
        }
    }

    pub(super) fn truth(&self) -> Vec<ItemView> {
        let now = self.now();
        let mut world = self.world.lock();
        world.advance(now);
        world.truth()
    }

    pub(super) fn served(&self) -> Vec<ItemView> {
        self.world.lock().last_served()
    }

    pub(super) fn amazon_truth(&self) -> Vec<AmazonItem> {
        self.amazon.lock().truth(self.now())
    }

    pub(super) fn amazon_served(&self) -> Vec<AmazonItem> {
        self.amazon.lock().served()
    }

    pub(super) fn amazon_register(&self) -> Vec<AmazonListing> {
        self.amazon.lock().register(self.now())
    }

    pub(super) fn amazon_ledger(&self, after: u64, limit: usize) -> Page<AmazonEntry> {
        page(self.amazon.lock().ledger(), after, limit, |_, entry| {
            entry.clone()
        })
    }

    pub(super) fn register(&self) -> Vec<RegisterEntry> {
        self.market.lock().register(self.now())
    }

    pub(super) fn mercari_register(&self) -> Vec<MercariEntry> {
        self.shop.lock().register(self.now())
    }

    pub(super) fn mercari_ledger(&self, after: u64, limit: usize) -> Page<MercariAsked> {
        page(&self.shop.lock().ledger, after, limit, |_, entry| entry.clone())
    }

    pub(super) fn changes(&self, after: u64, limit: usize) -> Page<TruthChange> {
        let world = self.world.lock();
        page(&world.history, after, limit, |seq, (index, state)| TruthChange {
            seq,
            item: world.view(*index, state, state.since),
        })
    }

    pub(super) fn ebay_ledger(&self, after: u64, limit: usize) -> Page<LedgerEntry> {
        page(&self.market.lock().ledger, after, limit, |_, entry| entry.clone())
    }

    pub(super) fn page_ledger(&self, after: u64, limit: usize) -> Page<PageEntry> {
        page(&self.world.lock().asks, after, limit, |seq, asked| PageEntry {
            seq,
            at_us: asked.at,
            id: asked.index.map(|i| goods::item_id(self.seed, i).into()),
            version: asked.version,
            fault: asked.fault,
        })
    }

    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rendered = read(&self.counters.rendered);
        let (pages_asked, changes) = {
            let world = self.world.lock();
            (world.asks.total(), world.history.total())
        };
        let (ebay_asked, tokens) = {
            let market = self.market.lock();
            (market.ledger.total(), market.tokens.given())
        };
        let mercari_asked = self.shop.lock().ledger.total();
        let (amazon_asked, amazon_tokens, amazon_changes) = self.amazon.lock().counts();
        let faults = self.counters.faults.lock();
        Stats {
            uptime_s: u64::try_from((self.now() - self.started) / 1_000_000).unwrap_or(0),
            pages_asked,
            pages_served: read(&self.counters.served),
            page_bytes: read(&self.counters.bytes),
            page_mean_us: read(&self.counters.render_us).checked_div(rendered).unwrap_or(0),
            page_faults: faults.iter().map(|(f, n)| (f.as_str().to_owned(), *n)).collect(),
            ebay_asked,
            mercari_asked,
            tokens,
            changes,
            amazon_asked,
            amazon_tokens,
            amazon_changes,
        }
    }

    /// Reads and carries out an order.
    pub(super) fn script(&self, order: &[u8]) -> Result<(), BadOrder> {
        let unread = |bad: serde_json::Error| BadOrder(vec![format!("the text is no order: {bad}")]);
        self.order(&serde_json::from_slice(order).map_err(unread)?)
    }

    /// Carries out an order, whole or not at all.
    pub(super) fn order(&self, order: &Order) -> Result<(), BadOrder> {
        let plan = self.planned(order)?;
        let now = self.now();
        let mut world = self.world.lock();
        let mut market = self.market.lock();
        let mut shop = self.shop.lock();
        let mut amazon = self.amazon.lock();
        let (items, listings) = (&order.set, &order.set_listing);
        let mut problems: Vec<String> = items.iter().filter_map(|set| world.cannot_set(set)).collect();
        problems.extend(listings.iter().filter_map(|set| market.cannot_set(set)));
        problems.extend(order.set_mercari.iter().filter_map(|set| shop.cannot_set(set)));
        problems.extend(amazon.cannot(&order.set_amazon, &order.set_amazon_listing));
        if !problems.is_empty() {
            return Err(BadOrder(problems));
        }
        self.faults.store(plan.into());
        world.advance(now);
        market.advance(now);
        shop.advance(now);
        for set in items {
            world.set(set, now);
        }
        for set in listings {
            market.set(set, now);
        }
        for set in &order.set_mercari {
            shop.set(set, now);
        }
        world
            .script
            .set_rates(order.change_rate_per_s, order.wild_share, now);
        if let Some(rate) = order.sale_rate_per_s {
            market.set_rate(rate, now);
            shop.set_rate(rate, now);
        }
        if let Some(stopped) = order.stop_changes {
            world.script.stop(stopped, now);
            market.stop(stopped, now);
            shop.stop(stopped, now);
            amazon.stop(stopped, now);
        }
        amazon.set(&order.set_amazon, &order.set_amazon_listing, now);
        if let Some(rate) = order.amazon_change_rate_per_s {
            amazon.set_rate(rate, now);
        }
        if let Some(lifetime_s) = order.token_lifetime_s {
            market.tokens.set_lifetime(lifetime_s);
            amazon.set_token_lifetime(lifetime_s);
        }
        if order.expire_tokens {
            market.tokens.expire_all();
            amazon.expire_tokens();
        }
        if let Some(off_s) = order.date_off_s {
            self.date_off_s.store(off_s, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The plan of faults that `order` asks for; checks its rates too.
    fn planned(&self, order: &Order) -> Result<FaultPlan, BadOrder> {
        let mut problems = Vec::new();
        for (key, rate, most) in [
            ("change_rate_per_s", order.change_rate_per_s, 100_000.0),
            ("sale_rate_per_s", order.sale_rate_per_s, 100_000.0),
            (
                "amazon_change_rate_per_s",
                order.amazon_change_rate_per_s,
                100_000.0,
            ),
            ("wild_share", order.wild_share, 1.0),
        ] {
            if let Some(rate) = rate.filter(|rate| !(0.0..=most).contains(rate)) {
                problems.push(format!("`{key}`: expected 0 to {most}, got {rate}"));
            }
        }
        let now = if order.stop_faults {
            FaultPlan::default()
        } else {
            (**self.faults.load()).clone()
        };
        let plan = match &order.faults {
            None => Ok(now),
            Some(patch) => serde_json::to_value(&now).and_then(|mut plan| {
                overlay(&mut plan, patch);
                serde_json::from_value::<FaultPlan>(plan)
            }),
        };
        match plan {
            Ok(plan) => {
                problems.extend(plan.problems());
                if problems.is_empty() {
                    return Ok(plan);
                }
            }
            Err(bad) => problems.push(format!("`faults`: {bad}")),
        }
        Err(BadOrder(problems))
    }
}

/// Puts the members of `patch` over those of `base`; objects are merged except a storm, which is one thing.
fn overlay(base: &mut Value, patch: &Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (key, value) in patch {
                match base.get_mut(key) {
                    Some(old) if key != "storm" => overlay(old, value),
                    _ => drop(base.insert(key.clone(), value.clone())),
                }
            }
        }
        (base, patch) => *base = patch.clone(),
    }
}

fn page<T, V>(ring: &Ring<T>, after: u64, limit: usize, view: impl Fn(u64, &T) -> V) -> Page<V> {
    let entries: Vec<V> = ring
        .after(after, limit)
        .map(|(seq, entry)| view(seq, entry))
        .collect();
    Page {
        total: ring.total(),
        dropped: ring.dropped(),
        next: after.max(ring.dropped()) + count(entries.len()),
        entries,
    }
}
