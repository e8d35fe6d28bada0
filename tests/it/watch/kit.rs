//! A shop in a database of its own, a ledger, and a marketplace whose pages the test writes.

use crate::support::pg::{TestDb, alone};
use arc_swap::ArcSwap;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use zaikoban::clock::Clock;
use zaikoban::domain::{
    Committed, CostRule, DataSource, ErrorClass, ItemStatus, Money, Observation, Platform, ProductId,
    Quantity, SourcePlatform, SourceProductId, SourceState, TitleHash, UrlStatus, Version, WatchId,
};
use zaikoban::domain::{Epoch, Shard};
use zaikoban::nodes::{Notices, Ownership};
use zaikoban::platform::gateway::SourceGateway;
use zaikoban::platform::{PlatformError, Source};
use zaikoban::pricing::{PriceBook, Settings};
use zaikoban::resilience::{Guard, Policy, Rate};
use zaikoban::store::PoolSettings;
use zaikoban::store::watches::{WatchRow, rows_of};
use zaikoban::supervision::{
    ChildSpec, DynamicSpec, GiveUp, GroupSpec, Handle, Intensity, Strategy, Tree, TreeOptions,
};
use zaikoban::watch::holds::HoldsEnv;
use zaikoban::watch::planner::PlannerSettings;
use zaikoban::watch::{
    Change, Counters, HoldStep, Ledger, LedgerEnv, News, Origin, Patrol, PatrolEnv, PatrolSettings, Record,
    Recorded, Roster, RosterEnv, WatcherEnv, follow,
};

pub const SOURCE: SourcePlatform = SourcePlatform::Yahoo;

pub fn yen(amount: i64) -> Money {
    Money::yen(amount).unwrap()
}

pub fn state(pieces: i64, price: i64) -> SourceState {
    SourceState {
        stock: Quantity::new(pieces).unwrap(),
        price: Some(yen(price)),
        url_status: UrlStatus::Active,
    }
}

/// Product, watch and listing `n` belong together; each has one piece at ¥1,000, accepted as version 1, and its listing
/// follows it as of version 1.
pub struct Shop {
    pub t: TestDb,
    pub clock: Clock,
    pub book: Arc<ArcSwap<PriceBook>>,
    pub committed: broadcast::Sender<Arc<Committed>>,
    pub counters: Arc<HashMap<SourcePlatform, Arc<Counters>>>,
    pub can_commit: watch::Sender<bool>,
    pub ownership: Ownership,
}

impl Shop {
    /// A shop of `n` products, each with a listing on eBay.
    pub async fn new(n: i64) -> Self {
        Self::with(n, |_| ()).await
    }

    /// The same over a pool with other settings.
    pub async fn with(n: i64, pool: impl FnOnce(&mut PoolSettings)) -> Self {
        let settings: Settings =
            serde_json::from_value(serde_json::json!({ "exchange_rates": { "USD": 150 } })).unwrap();
        let book = settings.resolve().unwrap();
        let clock = Clock::manual(Clock::system().now().trunc_subsecs(6));
        let counters = HashMap::from([(SOURCE, Arc::new(Counters::default()))]);
        let t = TestDb::with(pool).await;
        let shop = Self {
            ownership: alone(&t).await,
            t,
            clock,
            book: Arc::new(ArcSwap::from_pointee(book)),
            committed: broadcast::channel(16_384).0,
            counters: Arc::new(counters),
            can_commit: watch::channel(false).0,
        };
        shop.fill(n).await;
        shop
    }

    async fn fill(&self, n: i64) {
        let (title, hash) = (title(), TitleHash::of(&title()));
        let read_at = self.clock.now() - TimeDelta::minutes(10);
        let ends_at = self.clock.now() + TimeDelta::days(1);
        self.t
            .run(&format!(
                "INSERT INTO yahoo_scraped_products (id, title) SELECT n, '{title}' FROM generate_series(1, {n}) n;
                 INSERT INTO inventory_management (id, product_id, source_platform, source_url, source_product_id, title,
                     title_hash, seller_id, current_stock, current_price, version, last_verified_at, ends_at)
                 SELECT n, n, 'yahoo', 'https://example/' || n, 'x' || n, '{title}', '{hash}', 'seller', 1, 1000, 1,
                     '{read_at}', '{ends_at}' FROM generate_series(1, {n}) n;
                 INSERT INTO listing_platforms (id, product_id, platform, platform_product_id, sku, current_quantity,
                     listed_price) SELECT n, n, 'ebay', 'offer' || n, 'sku' || n, 1, 9.99 FROM generate_series(1, {n}) n;
                 ANALYZE inventory_management;"
            ))
            .await;
        let (book, now) = (self.book.load_full(), self.clock.now());
        let origins: HashMap<_, _> = (1..=n).map(|id| (ProductId(id), Origin::default())).collect();
        let db = self.t.db();
        db.transaction(move |conn| async move { follow(conn, &origins, &book, now).await.map(drop) }.boxed())
            .await
            .unwrap();
        self.t
            .run("UPDATE listing_platforms SET synced_version = wanted_version; DELETE FROM processing_queue")
            .await;
    }

    pub fn ledger_env(&self) -> LedgerEnv {
        LedgerEnv {
            db: self.t.db().clone(),
            ownership: self.ownership.clone(),
            book: Arc::clone(&self.book),
            committed: self.committed.clone(),
            clock: self.clock.clone(),
            rules: Arc::default(),
            counters: Arc::clone(&self.counters),
            can_commit: self.can_commit.clone(),
        }
    }

    pub fn holds_env(&self) -> HoldsEnv {
        HoldsEnv {
            db: self.t.db().clone(),
            book: Arc::clone(&self.book),
            committed: self.committed.clone(),
            clock: self.clock.clone(),
        }
    }

    /// A ledger in a tree of its own.
    pub async fn ledger(&self) -> (Tree, Handle<Ledger>) {
        let env = self.ledger_env();
        let (spec, handle) = ChildSpec::actor("ledger", move |life| Ledger::new(env.clone(), life));
        let tree = tree(vec![spec.capacity(20_000)]).await;
        (tree, handle)
    }

    /// Under which the part of the watching is ours that a product belongs to.
    pub fn epoch(&self, product: i64) -> Epoch {
        let shard = Shard::of(ProductId(product));
        self.ownership.holds_shard(shard).unwrap()
    }

    pub async fn row(&self, id: i64) -> WatchRow {
        let mut conn = self.t.db().conn().await.unwrap();
        let rows = rows_of(&mut conn, &[WatchId(id)]).await.unwrap();
        rows.into_iter().next().unwrap().unwrap()
    }

    /// A check of watch `id` a minute after what counts, which found `news`.
    pub fn record(&self, id: i64, news: Option<News>) -> Record {
        Record {
            watch_id: WatchId(id),
            product_id: ProductId(id),
            source: SOURCE,
            epoch: self.epoch(id),
            base_version: Version(1),
            fetched_at: self.clock.now(),
            rate_shape: 1.0,
            rate_hours: 10.0,
            news: news.map(Box::new),
        }
    }

    /// Watch `id` goes from one piece at ¥1,000 to `after`.
    pub fn change(&self, id: i64, after: SourceState, explained: bool) -> Record {
        let change = Change::between(Some(state(1, 1_000)), after, explained).unwrap();
        self.record(id, Some(news(Some(change), explained)))
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.t.text(sql).await.parse().unwrap()
    }
}

pub fn news(change: Option<Change>, passes_radius: bool) -> News {
    News {
        change,
        hold: HoldStep::Keep,
        title: None,
        seller_id: None,
        ends_at: None,
        gone_since: None,
        notice: None,
        passes_radius,
        standing: Some(state(1, 1_000)),
    }
}

pub async fn tree(children: Vec<ChildSpec>) -> Tree {
    let spec = GroupSpec {
        name: "test".to_owned(),
        strategy: Strategy::RestForOne,
        intensity: Intensity {
            restarts: 5,
            within: Duration::from_secs(60),
        },
        give_up: GiveUp::Escalate,
        children,
    };
    let tree = Tree::start(spec, TreeOptions::default()).unwrap();
    tree.opened().await.unwrap();
    tree
}

pub fn title() -> String {
    "ニコン Nikon F3 アイレベル フィルムカメラ".to_owned()
}

pub fn is_committed(recorded: &Recorded, version: i64) -> bool {
    matches!(recorded, Recorded::Committed { version: v, .. } if v.0 == version)
}

/// What an item's page shows.
#[derive(Clone, Debug)]
pub enum Page {
    Shows(Box<Observation>),
    NotFound,
    Moved,
    Drifted,
}

/// A source whose pages are written by the test.
pub struct Market {
    pub clock: Clock,
    pub pages: Mutex<HashMap<String, Page>>,
    pub asked: AtomicU64,
    /// Items whose next reading must be confirmed.
    pub doubted: Mutex<Vec<String>>,
}

impl Market {
    /// `n` items as the shop knows them.
    pub fn new(clock: &Clock, n: i64) -> Arc<Self> {
        let pages = (1..=n).map(|i| (format!("x{i}"), Page::Shows(Box::new(page(clock, i, 1, 1_000)))));
        Arc::new(Self {
            clock: clock.clone(),
            pages: Mutex::new(pages.collect()),
            asked: AtomicU64::new(0),
            doubted: Mutex::default(),
        })
    }

    pub fn set(&self, id: i64, page: Page) {
        self.pages.lock().insert(format!("x{id}"), page);
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn look(&self, id: &SourceProductId) -> Result<Observation, PlatformError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.pages.lock().get(id.as_str()) {
            Some(Page::Shows(page)) => {
                let mut page = (**page).clone();
                page.fetched_at = self.clock.now();
                Ok(page)
            }
            Some(Page::Drifted) => Err(error(ErrorClass::Protocol, "contract", &["item.quantity"])),
            Some(Page::Moved) => Err(error(ErrorClass::NotFound, "moved", &[])),
            Some(Page::NotFound) | None => Err(error(ErrorClass::NotFound, "not_found", &[])),
        }
    }
}

fn error(class: ErrorClass, code: &str, missing: &[&str]) -> PlatformError {
    PlatformError {
        class,
        code: code.into(),
        message: format!("the page is no good: {code}").into(),
        missing: missing.iter().map(|m| Box::from(*m)).collect(),
        body: None,
        away_for: None,
    }
}

impl Source for Market {
    fn batch_size(&self) -> usize {
        1
    }

    fn observe<'a>(
        &'a self,
        ids: &'a [SourceProductId],
    ) -> BoxFuture<'a, Vec<Result<Observation, PlatformError>>> {
        async move { ids.iter().map(|id| self.look(id)).collect() }.boxed()
    }

    fn doubt(&self, id: &SourceProductId) {
        self.doubted.lock().push(id.as_str().to_owned());
    }
}

/// An open page of item `id` with a buy-now price.
pub fn page(clock: &Clock, id: i64, pieces: i64, price: i64) -> Observation {
    Observation {
        source_product_id: SourceProductId::new(&format!("x{id}")).unwrap(),
        title: title().into(),
        title_hash: TitleHash::of(&title()),
        price: yen(price),
        buy_now_price: Some(yen(price)),
        stock: Quantity::new(pieces).unwrap(),
        status: ItemStatus::Open,
        ends_at: Some(clock.now() + TimeDelta::days(1)),
        bids: 0,
        seller_is_store: false,
        seller_id: Some("seller".into()),
        url_status: UrlStatus::Active,
        data_source: DataSource::YahooPage,
        fetched_at: clock.now(),
    }
}

pub fn ended(mut page: Observation, ends_at: DateTime<Utc>) -> Observation {
    page.status = ItemStatus::Ended;
    page.stock = Quantity::ZERO;
    page.ends_at = Some(ends_at);
    page
}

/// The whole watching side: ledger, gateway, roster, patrol.
pub struct Watching {
    pub tree: Tree,
    pub roster: Handle<Roster>,
    pub ready: watch::Receiver<bool>,
    pub guard: Guard,
}

impl Shop {
    pub async fn watching(&self, market: &Arc<Market>) -> Watching {
        let env = self.ledger_env();
        let (ledger_spec, ledger) = ChildSpec::actor("ledger", move |life| Ledger::new(env.clone(), life));
        let policy = Policy {
            rate: Rate::per_second(5_000.0).unwrap(),
            concurrency: 256,
            ..Policy::default()
        };
        let guard = Guard::new(Platform::YahooAuction.as_str(), policy, Clock::system(), None).unwrap();
        let adapter: Arc<dyn Source> = {
            let market: Arc<_> = Arc::clone(market);
            market
        };
        let gateway = SourceGateway::new(Arc::clone(&adapter), guard.clone());
        let (gateway_spec, gateway) = ChildSpec::actor("gateway", move |_| gateway.clone());
        let counters = Arc::clone(self.counters.get(&SOURCE).unwrap());
        let watchers = WatcherEnv {
            rules: Arc::default(),
            ledger,
            counters: Arc::clone(&counters),
        };
        let roster_env = Arc::new(RosterEnv {
            db: self.t.db().clone(),
            clock: self.clock.clone(),
            watchers: HashMap::from([(SOURCE, Arc::new(watchers))]),
            children: DynamicSpec::default(),
            arbiters: vec!["watchers".to_owned()],
            holds: self.holds_env(),
            ownership: self.ownership.clone(),
            notices: Notices::new(self.ownership.clone()),
        });
        let (roster_spec, roster) =
            ChildSpec::actor("roster", move |life| Roster::new(Arc::clone(&roster_env), life));
        let (tell_ready, ready) = watch::channel(false);
        let patrol_env = Arc::new(PatrolEnv {
            source: SOURCE,
            adapter,
            gateway,
            guard: guard.clone(),
            ownership: self.ownership.clone(),
            roster: roster.clone(),
            db: self.t.db().clone(),
            clock: self.clock.clone(),
            counters,
            can_commit: self.can_commit.subscribe(),
            ready: tell_ready,
            settings: Arc::new(ArcSwap::from_pointee(PatrolSettings {
                most_open: 64,
                planner: PlannerSettings {
                    requests_per_hour: 1e6,
                    ..PlannerSettings::default()
                },
            })),
        });
        let (patrol_spec, _) =
            ChildSpec::actor("patrol", move |life| Patrol::new(Arc::clone(&patrol_env), life));
        let children = vec![
            ledger_spec.capacity(20_000),
            gateway_spec,
            roster_spec,
            patrol_spec,
        ];
        Watching {
            tree: tree(children).await,
            roster,
            ready,
            guard,
        }
    }

    /// Once every product was looked at `times` more often than now.
    pub fn checks(&self) -> u64 {
        self.counters.get(&SOURCE).unwrap().snapshot().checks
    }
}

/// What an item costs, in all of these tests.
pub const COST: CostRule = CostRule::BuyNow;
