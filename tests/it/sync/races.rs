//! Writers, workers and their deaths in chosen and in random orders.

use super::fake::Does;
use super::stage::{Stage, q, quick, shows, usd};
use crate::support::wait::until;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use zaikoban::clock::Clock;
use zaikoban::domain::{DestinationPlatform, ListingId, ListingStatus, ProductId};
use zaikoban::pricing;
use zaikoban::store::listings;
use zaikoban::store::pushes::{self, Begin, ClaimRequest, Claimed, PushKind};
use zaikoban::store::wanted::{self, WantedUpdate};
use zaikoban::sync::SyncSettings;
use zaikoban::sync::outlet::Written;
use zaikoban::sync::plan::Step;
use zaikoban::sync::settle::{Answer, Begun, Waits, settle};

fn update(id: i64, quantity: i64) -> WantedUpdate {
    WantedUpdate {
        listing_id: ListingId(id),
        quantity: q(quantity),
        price: usd(20),
        status: ListingStatus::Active,
        cause: serde_json::json!({}),
        priority: if quantity == 0 { 1 } else { 5 },
        at: Clock::system().now(),
    }
}

/// A worker of the test's own that takes listing 1's job and writes down that it will send `quantity`.
pub(super) async fn begin(s: &Stage, quantity: i64, limit: Duration) -> (Claimed, Begun) {
    s.t.db()
        .transaction(move |conn| {
            Box::pin(async move {
                let request = ClaimRequest {
                    destination: DestinationPlatform::Ebay,
                    up_to_priority: 10,
                    limit: 1,
                    lease: Duration::from_secs(60),
                    worker: "test",
                };
                let claimed = pushes::claim(conn, &request, |_, _, _| true)
                    .await?
                    .claimed
                    .pop()
                    .unwrap();
                let begin = Begin {
                    listing: claimed.listing.clone(),
                    kind: PushKind::Revise,
                    quantity: Some(q(quantity)),
                    price: None,
                    read_back: false,
                    revisions: None,
                };
                let logs = pushes::begin(conn, &[begin], limit).await?;
                let begun = Begun {
                    lease: claimed.lease,
                    priority: claimed.priority,
                    retries: claimed.retries,
                    max_retries: claimed.max_retries,
                    log: logs[0].1,
                    version: claimed.listing.wanted_version,
                    step: Step::Revise {
                        quantity: Some(q(quantity)),
                        price: None,
                    },
                    completes: true,
                    spent: None,
                };
                Ok((claimed, begun))
            })
        })
        .await
        .unwrap()
}

/// Settles as accepted, in the house's order of locks. `locked` is told once the row is locked; then `go` is awaited.
async fn finish(
    s: &Stage,
    begun: Begun,
    locked: Option<oneshot::Sender<()>>,
    go: Option<oneshot::Receiver<()>>,
) {
    s.t.db()
        .transaction(move |conn| {
            Box::pin(async move {
                let rows = listings::lock_all(conn, &[ListingId(1)]).await?;
                if let Some(locked) = locked {
                    locked.send(()).unwrap();
                }
                if let Some(go) = go {
                    go.await.unwrap();
                }
                let second = Duration::from_secs(1);
                let waits = Waits {
                    outage: second,
                    attempt: second,
                    read_back: second,
                    settling: None,
                    lags: None,
                };
                let answer = Answer::Written(Written::Accepted { warnings: Vec::new() });
                let now = Clock::system().now();
                let settled = settle(&rows[0], &begun, &answer, pushes_possible(), waits, now);
                pushes::settle(conn, &[settled.write], pricing::day_of(now)).await
            })
        })
        .await
        .unwrap();
}

/// Settles with `written` as the answer.
pub(super) async fn settle_as(s: &Stage, begun: &Begun, written: Written) {
    let begun = begun.clone();
    s.t.db()
        .transaction(move |conn| {
            Box::pin(async move {
                let rows = listings::lock_all(conn, &[ListingId(1)]).await?;
                let second = Duration::from_secs(1);
                let waits = Waits {
                    outage: second,
                    attempt: second,
                    read_back: second,
                    settling: None,
                    lags: None,
                };
                let answer = Answer::Written(written);
                let now = Clock::system().now();
                let settled = settle(&rows[0], &begun, &answer, pushes_possible(), waits, now);
                pushes::settle(conn, &[settled.write], pricing::day_of(now)).await
            })
        })
        .await
        .unwrap();
}

fn pushes_possible() -> zaikoban::store::sync_log::PossibleWrites {
    zaikoban::store::sync_log::PossibleWrites::default()
}

async fn write(s: &Stage, update: WantedUpdate) {
    s.t.db()
        .transaction(move |conn| Box::pin(async move { wanted::write_wanted(conn, &[update]).await }))
        .await
        .unwrap();
}

#[actix::test]
async fn no_wake_up_is_lost_with_the_writer_before_the_finish() {
    let s = Stage::new(1).await;
    write(&s, update(1, 0)).await;
    let (_, begun) = begin(&s, 0, Duration::from_secs(60)).await;
    write(&s, update(1, 1)).await;
    assert_eq!(s.jobs_of(1).await, "1", "the job in work stands for both");
    finish(&s, begun, None, None).await;
    assert_eq!(s.t.text("SELECT status FROM processing_queue").await, "pending");
    let row = s.row(1).await;
    assert_eq!((row.wanted_version.0, row.synced_version.0), (2, 1));
}

#[actix::test]
async fn no_wake_up_is_lost_with_the_finish_before_the_writer() {
    let s = Stage::new(1).await;
    write(&s, update(1, 0)).await;
    let (_, begun) = begin(&s, 0, Duration::from_secs(60)).await;
    finish(&s, begun, None, None).await;
    write(&s, update(1, 1)).await;
    assert_eq!(
        s.t.text("SELECT string_agg(status, ' ' ORDER BY id) FROM processing_queue")
            .await,
        "completed pending"
    );
}

#[actix::test]
async fn no_wake_up_is_lost_when_the_writer_waits_for_the_finish() {
    let s = Stage::new(1).await;
    write(&s, update(1, 0)).await;
    let (_, begun) = begin(&s, 0, Duration::from_secs(60)).await;
    // The finish holds the row; the writer comes and must wait for it; then both go on.
    let (tell, locked) = oneshot::channel();
    let (go, wait) = oneshot::channel();
    let writer = async {
        locked.await.unwrap();
        write(&s, update(1, 1)).await;
    };
    let release = async {
        until("the writer to wait for the row", || async {
            let waiting = s.t.text("SELECT count(*) FROM pg_locks WHERE NOT granted").await;
            (waiting != "0").then_some(())
        })
        .await;
        go.send(()).unwrap();
    };
    tokio::join!(finish(&s, begun, Some(tell), Some(wait)), writer, release);
    assert_eq!(s.jobs_of(1).await, "1");
    assert_eq!(s.row(1).await.wanted_version.0, 2);
}

#[actix::test]
async fn a_successor_waits_out_the_deadline_of_a_push_it_knows_nothing_of() {
    let mut s = Stage::new(1).await;
    write(&s, update(1, 0)).await;
    let (_, begun) = begin(&s, 0, Duration::from_secs(2)).await;
    // Its worker is gone. Something newer is wanted, and a new syncer starts.
    write(&s, update(1, 1)).await;
    s.fake.show("sku-1", shows(0, 20));
    s.start();
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(1, 20));
    let waited = s
        .t
        .text(&format!(
            "SELECT bool_and(sent_at >= (SELECT sent_at + interval '2 seconds' FROM sync_log WHERE id = {0})) \
             FROM sync_log WHERE id > {0}",
            begun.log
        ))
        .await;
    assert_eq!(waited, "true");
    assert_eq!(
        s.t.text("SELECT count(*) FROM holds").await,
        "0",
        "our own zero is no sale"
    );
}

#[actix::test]
async fn a_stopped_worker_that_wakes_up_late_is_found_out_and_overwritten() {
    let mut s = Stage::new(1).await;
    write(&s, update(1, 3)).await;
    let (_, begun) = begin(&s, 3, Duration::from_millis(200)).await;
    write(&s, update(1, 0)).await;
    s.start();
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(0, 20));
    // It wakes up between its last look at the watch and the sending, sends, and is answered.
    s.fake.show("sku-1", shows(3, 20));
    let woke = tokio::time::Instant::now();
    finish(&s, begun, None, None).await;
    s.look().await;
    until("the newer value to stand again", || async {
        (s.fake.shown("sku-1") == shows(0, 20)).then_some(())
    })
    .await;
    assert!(woke.elapsed() < Duration::from_secs(5));
    s.in_line(1).await;
}

#[actix::test]
async fn writers_in_every_order_neither_deadlock_nor_lose_a_version() {
    let s = Arc::new(Stage::new(20).await);
    let writers = (0..6_u64).map(|seed| {
        let s = Arc::clone(&s);
        async move {
            let mut rng = StdRng::seed_from_u64(seed);
            for round in 0..15 {
                let mut updates: Vec<_> = (0..8)
                    .map(|_| {
                        update(
                            rng.random_range(1..=20),
                            10 + round * 10 + i64::try_from(seed).unwrap(),
                        )
                    })
                    .collect();
                updates.sort_by_key(|u| rng.random_range(0..1_000) + u.listing_id.0 % 2);
                updates.dedup_by_key(|u| u.listing_id);
                let mut seen = std::collections::HashSet::new();
                updates.retain(|u| seen.insert(u.listing_id));
                s.t.db()
                    .transaction(move |conn| {
                        Box::pin(async move {
                            let products: Vec<_> =
                                updates.iter().map(|u| ProductId(u.listing_id.0)).collect();
                            wanted::lock_listings_of(conn, &products).await?;
                            wanted::write_wanted(conn, &updates).await
                        })
                    })
                    .await
                    .unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let jobs =
        s.t.text("SELECT count(*) = count(DISTINCT listing_id) FROM processing_queue")
            .await;
    assert_eq!(jobs, "true");
}

#[actix::test]
async fn whatever_happens_the_shop_ends_up_as_wanted() {
    const LISTINGS: i64 = 25;
    let settings = SyncSettings {
        send_within_s: 1,
        call_limit_s: 1,
        ..quick()
    };
    let mut s = Stage::with(LISTINGS, settings).await;
    s.fake.slow(Duration::from_millis(2));
    s.start();
    let mut rng = StdRng::seed_from_u64(20_261_122);
    let mut last = std::collections::HashMap::new();
    for turn in 0..250 {
        let id = rng.random_range(1..=LISTINGS);
        let sku = format!("sku-{id}");
        if rng.random_bool(0.15) {
            let does = match rng.random_range(0..4) {
                0 => Does::Away,
                1 => Does::LoseAnswer,
                2 => Does::LoseRequest,
                _ => Does::NotSend,
            };
            s.fake.will(&sku, does);
        }
        let (quantity, price) = (rng.random_range(0..4), 18 + rng.random_range(0..6));
        let price = if quantity == 0 { None } else { usd(price) };
        s.want(id, quantity, price).await;
        last.insert(id, (quantity, price));
        if turn % 80 == 79 {
            // The syncer dies with what it has under way, and a new one takes over.
            s.replace();
        }
    }
    for (id, (quantity, price)) in last {
        s.in_line(id).await;
        let shown = s.fake.shown(&format!("sku-{id}"));
        assert_eq!(shown.quantity, q(quantity), "listing {id}");
        assert!(price.is_none() || shown.price == price, "listing {id}");
    }
    assert_eq!(s.fake.overlaps(), 0, "two writes to one listing at a time");
    assert_eq!(s.t.text("SELECT count(*) FROM holds").await, "0");
}
