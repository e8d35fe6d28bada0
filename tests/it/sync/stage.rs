//! A shop of numbered listings, a destination in memory, and a syncer between them.

use super::fake::Fake;
use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use actix::prelude::*;
use arc_swap::ArcSwap;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::domain::{
    Committed, Currency, DestinationPlatform, ListingId, ListingState, ListingStatus, Money, Quantity,
};
use zaikoban::pricing::{PriceBook, Settings};
use zaikoban::queue::notifier::Notices;
use zaikoban::store::jobs::WorkerId;
use zaikoban::store::listings::{self, Listing};
use zaikoban::store::wanted::{self, WantedUpdate};
use zaikoban::supervision::Life;
use zaikoban::sync::{GetStatus, LookNow, SyncParts, SyncSettings, SyncStatus, Syncer};

pub fn usd(units: i64) -> Option<Money> {
    Some(Money::new(Decimal::from(units), Currency::Usd).unwrap())
}

pub fn q(n: i64) -> Quantity {
    Quantity::new(n).unwrap()
}

pub fn shows(quantity: i64, price: i64) -> ListingState {
    ListingState {
        status: ListingStatus::Active,
        quantity: q(quantity),
        price: usd(price),
    }
}

/// 100 JPY a dollar, no fees, no margin, no limits: a cost of 2,000 JPY is a price of 20 USD.
pub fn book() -> Arc<PriceBook> {
    let settings: Settings = serde_json::from_value(json!({
        "exchange_rates": { "USD": 100 },
        "destinations": { "ebay": {
            "fee_bp": 0, "fee_fixed": 0, "margin_bp": 0, "rounding": "unit",
            "step_per_change_bp": "none", "step_per_day_bp": "none",
        } },
    }))
    .unwrap();
    Arc::new(settings.resolve().unwrap())
}

pub fn quick() -> SyncSettings {
    SyncSettings {
        send_within_s: 1,
        call_limit_s: 1,
        sweep_s: 1,
        read_back_after_ms: 20,
        ..SyncSettings::default()
    }
}

pub struct Stage {
    pub t: TestDb,
    pub fake: Fake,
    pub parts: SyncParts,
    pub syncer: Option<Addr<Syncer>>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Stage {
    /// Listings 1 to `n`, each showing one piece at 20 USD, of a product whose watch shows the same.
    pub async fn new(n: i64) -> Self {
        Self::with(n, quick()).await
    }

    pub async fn with(n: i64, settings: SyncSettings) -> Self {
        let t = TestDb::new().await;
        let fake = Fake::new();
        t.run(&format!(
            "INSERT INTO yahoo_scraped_products (id, title) SELECT i, 'Item ' || i FROM generate_series(1, {n}) i; \
             INSERT INTO inventory_management (id, product_id, source_platform, source_url, source_product_id, \
                 current_stock, current_price, version, last_verified_at) \
             SELECT i, i, 'yahoo', 'https://example.invalid/' || i, 'x' || i, 1, 2000, 1, now() \
             FROM generate_series(1, {n}) i; \
             INSERT INTO listing_platforms (id, product_id, platform, platform_product_id, current_quantity, \
                 listed_price, sku) \
             SELECT i, i, 'ebay', 'offer-sku-' || i, 1, 20, 'sku-' || i FROM generate_series(1, {n}) i; \
             SELECT setval(pg_get_serial_sequence('listing_platforms', 'id'), {n} + 1000);"
        ))
        .await;
        for i in 1..=n {
            fake.show(&format!("sku-{i}"), shows(1, 20));
        }
        let (committed, _) = tokio::sync::broadcast::channel::<Arc<Committed>>(16);
        let parts = SyncParts {
            db: t.db().clone(),
            outlet: Arc::new(fake.clone()),
            bulk: None,
            destination: DestinationPlatform::Ebay,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            clock: Clock::system(),
            worker: WorkerId::new("test"),
            ownership: alone(&t).await,
            committed,
            notices: Notices::default(),
            book: Arc::new(ArcSwap::new(book())),
        };
        Self {
            t,
            fake,
            parts,
            syncer: None,
            running: None,
        }
    }

    pub fn start(&mut self) {
        let syncer = Syncer::new(self.parts.clone(), &Life::detached("sync/ebay"));
        let ctx = Context::new();
        self.syncer = Some(ctx.address());
        self.running = Some(tokio::task::spawn_local(ctx.into_future(syncer)));
    }

    /// The syncer is dropped with all that it has under way, and a new one starts.
    pub fn replace(&mut self) {
        self.running.take().unwrap().abort();
        self.start();
    }

    pub async fn look(&self) {
        if let Some(syncer) = &self.syncer {
            syncer.send(LookNow).await.unwrap();
        }
    }

    pub async fn status(&self) -> SyncStatus {
        self.syncer.as_ref().unwrap().send(GetStatus).await.unwrap()
    }

    /// Writes what listing `id` should be, and tells the syncer.
    pub async fn want(&self, id: i64, quantity: i64, price: Option<Money>) {
        self.want_because(id, quantity, price, json!({ "rule": "test" }))
            .await;
    }

    pub async fn want_because(&self, id: i64, quantity: i64, price: Option<Money>, cause: Value) {
        let update = WantedUpdate {
            listing_id: ListingId(id),
            quantity: q(quantity),
            price,
            status: ListingStatus::Active,
            cause,
            priority: if quantity == 0 { 1 } else { 5 },
            at: Clock::system().now(),
        };
        self.t
            .db()
            .transaction_retried(5, move |conn| {
                let update = update.clone();
                Box::pin(async move { wanted::write_wanted(conn, &[update]).await })
            })
            .await
            .unwrap();
        self.look().await;
    }

    pub async fn row(&self, id: i64) -> Listing {
        let mut conn = self.t.db().conn().await.unwrap();
        listings::get(&mut conn, ListingId(id)).await.unwrap()
    }

    /// Waits until listing `id` is in line and nothing is left to do for it.
    pub async fn in_line(&self, id: i64) -> Listing {
        self.in_line_within(id, Duration::from_secs(25)).await
    }

    /// The same where it takes longer.
    pub async fn in_line_within(&self, id: i64, limit: Duration) -> Listing {
        if let Ok(row) = tokio::time::timeout(limit, self.comes_in_line(id)).await {
            return row;
        }
        let story = async |sql: &str| {
            let all = format!("SELECT string_agg(x::text, chr(10)) FROM ({sql}) x");
            self.t.text(&all).await
        };
        panic!(
            "listing {id} is not in line: {:?}\nstatus: {:?}\nlog: {}\njobs: {}\nasked: {:#?}",
            self.row(id).await,
            self.status().await,
            story(&format!(
                "SELECT * FROM sync_log WHERE listing_id = {id} ORDER BY id"
            ))
            .await,
            story(&format!(
                "SELECT * FROM processing_queue WHERE listing_id = {id} ORDER BY id"
            ))
            .await,
            self.fake
                .asked()
                .iter()
                .filter(|a| a.sku == format!("sku-{id}"))
                .collect::<Vec<_>>(),
        );
    }

    async fn comes_in_line(&self, id: i64) -> Listing {
        loop {
            let row = self.row(id).await;
            if !row.is_behind() && row.pushing.is_none() && self.jobs_of(id).await == "0" {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until listing `id` is held for `reason`.
    pub async fn held(&self, id: i64, reason: &str) -> Listing {
        until(&format!("listing {id} to be held for {reason}"), || async {
            let row = self.row(id).await;
            (row.held_reason.as_deref() == Some(reason)).then_some(row)
        })
        .await
    }

    /// How many unfinished jobs listing `id` has.
    pub async fn jobs_of(&self, id: i64) -> String {
        self.t
            .text(&format!(
                "SELECT count(*) FROM processing_queue WHERE listing_id = {id} \
                 AND status IN ('pending', 'processing', 'failed')"
            ))
            .await
    }

    /// Waits until the destination was asked `n` writes for listing `id`.
    pub async fn writes(&self, id: i64, n: usize) -> Vec<(&'static str, Option<u32>)> {
        let sku = format!("sku-{id}");
        until(&format!("{n} writes to {sku}"), || async {
            let writes = self.fake.writes_to(&sku);
            (writes.len() >= n).then_some(writes)
        })
        .await
    }
}
