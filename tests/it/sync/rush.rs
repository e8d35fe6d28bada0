//! The whole way out at once: syncer, gateway and guard, with the shares of the default settings.
//!
//! eBay's defaults are 5 requests a second and a last moment after 3 s. Here both are three times as quick, 15 a second
//! and 1 s, so that as many requests have their turn in time; what takes a minute there takes twenty seconds here.

use super::fake::Fake;
use super::stage::{Stage, q, quick, shows, usd};
use crate::support::wait::until;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use zaikoban::clock::Clock;
use zaikoban::domain::{ErrorClass, ListingId, ListingRef, ListingState, ListingStatus};
use zaikoban::platform::gateway::DestinationGateway;
use zaikoban::platform::{Call, Destination, EntryOutcome, FoundListing, PlatformError, Revision};
use zaikoban::resilience::{Guard, Policy, Rate};
use zaikoban::store::wanted::{self, WantedUpdate};
use zaikoban::supervision::{ChildSpec, GiveUp, GroupSpec, Intensity, Strategy, Tree, TreeOptions};
use zaikoban::sync::SyncSettings;
use zaikoban::sync::outlet::{GatewayOutlet, NotRead, Outlet as _, Urgency, Written};

/// The destination in memory as an adapter: as many requests for a call as eBay's, and each takes a while.
struct Shop {
    fake: Fake,
    latency: Duration,
    /// When each listing was emptied.
    emptied: Mutex<HashMap<String, Instant>>,
    requests: Mutex<u32>,
    rests: Mutex<Option<Duration>>,
    told: Mutex<Option<Duration>>,
}

impl Shop {
    fn new(fake: Fake) -> Arc<Self> {
        Arc::new(Self {
            fake,
            latency: Duration::from_millis(100),
            emptied: Mutex::default(),
            requests: Mutex::default(),
            rests: Mutex::default(),
            told: Mutex::default(),
        })
    }

    fn rate_limited(&self) -> Option<PlatformError> {
        self.told.lock().take().map(|retry_after| PlatformError {
            class: ErrorClass::RateLimited {
                retry_after: Some(retry_after),
            },
            code: "http_429".into(),
            message: "too many requests".into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        })
    }
}

fn one(written: Written) -> Result<(), PlatformError> {
    match written {
        Written::Accepted { .. } => Ok(()),
        Written::Failed(error) | Written::Unknown(error) => Err(error),
        Written::NotSent(why) => panic!("an adapter always sends: {}", why.why),
    }
}

impl Destination for Shop {
    fn requests(&self, call: Call<'_>) -> u32 {
        match call {
            Call::Relist | Call::Read | Call::Find | Call::Preview => 2,
            Call::End | Call::Revise(_) => 1,
        }
    }

    fn batch_size(&self) -> usize {
        25
    }

    fn rests_for(&self) -> Option<Duration> {
        *self.rests.lock()
    }

    fn revise<'a>(&'a self, revisions: &'a [Revision]) -> BoxFuture<'a, Vec<EntryOutcome>> {
        async move {
            *self.requests.lock() += 1;
            tokio::time::sleep(self.latency).await;
            if let Some(error) = self.rate_limited() {
                let failed = |_| EntryOutcome::Failed {
                    error: error.clone(),
                    unknown: false,
                };
                return revisions.iter().map(failed).collect();
            }
            let later = Instant::now() + Duration::from_secs(60);
            let written = self.fake.revise(revisions.to_vec(), Urgency::Change, later).await;
            for revision in revisions.iter().filter(|r| r.quantity == Some(q(0))) {
                let mut emptied = self.emptied.lock();
                emptied.insert(revision.listing.sku.to_string(), Instant::now());
            }
            written
                .into_iter()
                .map(|written| match one(written) {
                    Ok(()) => EntryOutcome::Accepted { warnings: Vec::new() },
                    Err(error) => EntryOutcome::Failed {
                        error,
                        unknown: false,
                    },
                })
                .collect()
        }
        .boxed()
    }

    fn end<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        let later = Instant::now() + Duration::from_secs(60);
        let end = self.fake.end(listing.clone(), Urgency::Zero, later);
        async move { one(end.await) }.boxed()
    }

    fn relist<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        let later = Instant::now() + Duration::from_secs(60);
        let relist = self.fake.relist(listing.clone(), Urgency::Change, later);
        async move { one(relist.await) }.boxed()
    }

    fn read<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<ListingState, PlatformError>> {
        async move {
            *self.requests.lock() += 2;
            tokio::time::sleep(self.latency * 2).await;
            let read = self.fake.read(listing.clone(), Urgency::Check, Instant::now());
            match read.await {
                Ok(shown) => Ok(shown),
                Err(NotRead::Failed(error)) => Err(error),
                Err(NotRead::NotSent(why)) => panic!("an adapter always asks: {}", why.why),
            }
        }
        .boxed()
    }

    fn find<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<FoundListing>, PlatformError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// Puts `shop` behind a gateway and a guard of this rate, and the syncer's way out through them.
pub async fn behind_a_guard<S: Destination>(s: &mut Stage, shop: &Arc<S>, per_second: f64) -> (Tree, Guard) {
    let policy = Policy {
        rate: Rate::per_second(per_second).unwrap(),
        concurrency: 8,
        ..Policy::default()
    };
    let guard = Guard::new("ebay", policy, Clock::system(), None).unwrap();
    let gateway = DestinationGateway::new(shop.clone(), guard.clone());
    let (child, handle) = ChildSpec::actor("ebay", move |_| gateway.clone());
    let group = GroupSpec {
        name: "root".into(),
        strategy: Strategy::OneForOne,
        intensity: Intensity {
            restarts: 3,
            within: Duration::from_secs(60),
        },
        give_up: GiveUp::Park,
        children: vec![child.capacity(1_024)],
    };
    let tree = Tree::start(group, TreeOptions::default()).unwrap();
    tree.opened().await.unwrap();
    s.parts.outlet = Arc::new(GatewayOutlet::new(handle, guard.clone(), shop.clone()));
    (tree, guard)
}

fn update(id: i64, quantity: i64, price: Option<i64>) -> WantedUpdate {
    WantedUpdate {
        listing_id: ListingId(id),
        quantity: q(quantity),
        price: price.and_then(usd),
        status: ListingStatus::Active,
        cause: serde_json::json!({ "explained": true }),
        priority: if quantity == 0 { 1 } else { 5 },
        at: Clock::system().now(),
    }
}

#[actix::test]
async fn four_hundred_zeros_a_hundred_restocks_and_prices_all_arrive_zeros_first() {
    const ZEROS: i64 = 400;
    const RESTOCKS: i64 = 100;
    const PRICES: i64 = 150;
    const ALL: i64 = ZEROS + RESTOCKS + PRICES;
    let settings = SyncSettings {
        call_limit_s: 20,
        send_within_s: 1,
        sweep_s: 5,
        // No looks after the zeros: another hundred seconds, and not what this is about.
        read_back_after_ms: 600_000,
        ..SyncSettings::default()
    };
    let mut s = Stage::with(ALL, settings).await;
    let shop = Shop::new(s.fake.clone());
    let (_tree, guard) = behind_a_guard(&mut s, &shop, 15.0).await;
    let restocked = ZEROS + 1..=ZEROS + RESTOCKS;
    s.t.run(&format!(
        "UPDATE listing_platforms SET current_quantity = 0 WHERE id BETWEEN {} AND {}",
        restocked.start(),
        restocked.end()
    ))
    .await;
    for id in restocked.clone() {
        s.fake.show(&format!("sku-{id}"), shows(0, 20));
    }
    let updates: Vec<WantedUpdate> = (1..=ALL)
        .map(|id| match id {
            id if id <= ZEROS => update(id, 0, None),
            id if restocked.contains(&id) => update(id, 3, Some(25)),
            id => update(id, 1, Some(22)),
        })
        .collect();
    s.t.db()
        .transaction(move |conn| Box::pin(async move { wanted::write_wanted(conn, &updates).await }))
        .await
        .unwrap();
    let began = Instant::now();
    s.start();
    let limit = Duration::from_secs(60);
    let arrived = tokio::time::timeout(limit, async {
        loop {
            let behind = "SELECT count(*) FROM listing_platforms WHERE wanted_version > synced_version";
            if s.t.text(behind).await == "0" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let status = s.status().await;
    let (requests, counts) = (*shop.requests.lock(), guard.status().counts);
    assert!(
        arrived.is_ok(),
        "not in line after {limit:?}: {status:?}, {requests} requests, {counts:?}"
    );
    for id in 1..=ALL {
        let expected = match id {
            id if id <= ZEROS => shows(0, 20),
            id if restocked.contains(&id) => shows(3, 25),
            _ => shows(1, 22),
        };
        assert_eq!(s.fake.shown(&format!("sku-{id}")), expected, "listing {id}");
    }
    // 16 batches of zeros at 15 a second; generous for a machine that is shared.
    let last_zero = shop.emptied.lock().values().max().copied().unwrap();
    assert!(
        last_zero - began < Duration::from_secs(6),
        "zeros took {:?}",
        last_zero - began
    );
    let most = s.t.text("SELECT max(revisions) FROM listing_platforms").await;
    assert!(
        most.parse::<u32>().unwrap() <= 4,
        "{most} revisions for one listing"
    );
    // 16 for the zeros, 10 for the prices, two for each look and at most one for each raise.
    assert!(requests < 400, "{requests} requests");
    assert!(status.not_sent < 100, "{status:?}");
}

#[actix::test]
async fn a_destination_that_told_us_to_wait_is_left_alone_and_costs_no_revision() {
    let mut s = Stage::with(3, quick()).await;
    let shop = Shop::new(s.fake.clone());
    let (_tree, guard) = behind_a_guard(&mut s, &shop, 50.0).await;
    *shop.told.lock() = Some(Duration::from_secs(3));
    s.start();
    s.want(1, 1, usd(25)).await;
    until("the destination to say wait", || async {
        guard.status().told_to_wait_until.map(|_| ())
    })
    .await;
    for id in 1..=3 {
        s.want(id, 0, None).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(*shop.requests.lock(), 1);
    assert_eq!(
        s.t.text("SELECT count(*) FROM sync_log").await,
        "1",
        "nothing is even written down"
    );
    assert!(s.status().await.shut_for_ms.is_some());
    for id in 1..=3 {
        s.in_line(id).await;
    }
    assert_eq!(s.row(1).await.revisions, 1);
}

#[actix::test]
async fn while_no_token_is_to_be_had_nothing_is_written_down() {
    let mut s = Stage::with(1, quick()).await;
    let shop = Shop::new(s.fake.clone());
    let (_tree, _guard) = behind_a_guard(&mut s, &shop, 50.0).await;
    *shop.rests.lock() = Some(Duration::from_secs(900));
    s.start();
    s.want(1, 0, None).await;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(s.t.text("SELECT count(*) FROM sync_log").await, "0");
    *shop.rests.lock() = None;
    s.in_line(1).await;
}
