//! The one function that writes wanted states, on a real PostgreSQL.

use crate::support::pg::TestDb;
use chrono::TimeDelta;
use rust_decimal::Decimal;
use serde_json::json;
use zaikoban::clock::Clock;
use zaikoban::domain::{Currency, ListingId, ListingStatus, Meanwhile, Money, ProductId, Quantity, WatchId};
use zaikoban::store::wanted::{WantedUpdate, lock_listings_of, write_wanted};

async fn shop() -> TestDb {
    let t = TestDb::new().await;
    t.run(
        "INSERT INTO yahoo_scraped_products (id) VALUES (1), (2); \
         INSERT INTO inventory_management (id, product_id, source_platform, source_url, source_product_id, current_stock, \
             current_price, version) \
         VALUES (1, 1, 'yahoo', 'u', 'a', 3, 1200, 7), (2, 1, 'yahoo', 'u', 'b', 0, NULL, 0), \
                (3, 2, 'yahoo', 'u', 'c', 1, 500, 1); \
         INSERT INTO holds (product_id, watch_id, reason, detail, base_version, meanwhile, default_action, deadline) \
         VALUES (1, 1, 'price_step', '{}', 7, 'zero', 'reject', now()); \
         INSERT INTO listing_platforms (id, product_id, platform, platform_product_id, sku, current_quantity, \
             listed_price, auto_sync_enabled) \
         VALUES (11, 1, 'ebay', 'o1', 's1', 3, 20, TRUE), (12, 1, 'ebay', 'o2', 's2', 3, 20, FALSE), \
                (13, 2, 'ebay', 'o3', 's3', 1, 10, TRUE)",
    )
    .await;
    t
}

fn update(id: i64, quantity: i64, dollars: Option<i64>) -> WantedUpdate {
    WantedUpdate {
        listing_id: ListingId(id),
        quantity: Quantity::new(quantity).unwrap(),
        price: dollars.map(|d| Money::new(Decimal::from(d), Currency::Usd).unwrap()),
        status: ListingStatus::Active,
        cause: json!({ "rule": "test" }),
        priority: if quantity == 0 { 1 } else { 5 },
        at: Clock::system().now(),
    }
}

async fn write(t: &TestDb, updates: Vec<WantedUpdate>) -> Vec<ListingId> {
    let mut moved = t
        .db()
        .transaction(move |conn| Box::pin(async move { write_wanted(conn, &updates).await }))
        .await
        .unwrap();
    moved.sort_unstable();
    moved
}

#[tokio::test]
async fn listings_come_locked_with_all_watches_of_their_product() {
    let t = shop().await;
    let other = t.db().clone();
    t.db()
        .transaction(move |conn| {
            Box::pin(async move {
                let rows = lock_listings_of(conn, &[ProductId(1)]).await?;
                assert_eq!(
                    rows.iter().map(|r| r.listing.id().0).collect::<Vec<_>>(),
                    [11, 12]
                );
                let watches = &rows[0].watches;
                assert_eq!(watches.len(), 2);
                assert_eq!(
                    (watches[0].watch_id, watches[0].held),
                    (WatchId(1), Some(Meanwhile::Zero))
                );
                assert_eq!(watches[0].state.unwrap().stock.get(), 3);
                assert_eq!(watches[1].state, None, "version 0 was never observed");
                let refused = other
                    .transaction(|conn| {
                        Box::pin(async move {
                            use diesel_async::SimpleAsyncConnection as _;
                            conn.batch_execute(
                                "SELECT 1 FROM listing_platforms WHERE id = 12 FOR UPDATE NOWAIT",
                            )
                            .await?;
                            Ok(())
                        })
                    })
                    .await
                    .unwrap_err();
                assert_eq!(refused.sqlstate().unwrap().as_str(), "55P03");
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn what_does_not_move_is_left_alone_and_what_moves_is_enqueued_once() {
    let t = shop().await;
    assert_eq!(
        write(&t, vec![update(11, 3, Some(25)), update(13, 0, None)]).await,
        [ListingId(11), ListingId(13)]
    );
    assert_eq!(
        write(&t, vec![update(11, 3, Some(25)), update(13, 0, None)]).await,
        []
    );
    assert_eq!(
        write(&t, vec![update(11, 2, Some(25)), update(13, 0, None)]).await,
        [ListingId(11)]
    );
    assert_eq!(
        t.text("SELECT string_agg(id || ':' || wanted_version, ' ' ORDER BY id) FROM listing_platforms")
            .await,
        "11:2 12:0 13:1"
    );
    assert_eq!(t.text("SELECT count(*) FROM processing_queue").await, "2");
}

#[tokio::test]
async fn a_waiting_price_never_swallows_a_zero() {
    let t = shop().await;
    write(&t, vec![update(11, 3, Some(25))]).await;
    t.run("UPDATE processing_queue SET scheduled_at = now() + interval '1 hour', priority = 7")
        .await;
    write(&t, vec![update(11, 0, None)]).await;
    assert_eq!(
        t.text("SELECT priority || ' ' || (scheduled_at <= now()) FROM processing_queue")
            .await,
        "1 true"
    );
    write(&t, vec![update(11, 2, Some(25))]).await;
    assert_eq!(
        t.text("SELECT priority FROM processing_queue").await,
        "1",
        "of two the more urgent counts"
    );
}

#[tokio::test]
async fn a_listing_whose_auto_sync_is_off_is_kept_up_to_date_and_not_enqueued() {
    let t = shop().await;
    assert_eq!(write(&t, vec![update(12, 0, None)]).await, [ListingId(12)]);
    assert_eq!(t.text("SELECT count(*) FROM processing_queue").await, "0");
}

#[tokio::test]
async fn a_rolled_back_transaction_leaves_neither_wish_nor_job() {
    let t = shop().await;
    let refused = t
        .db()
        .transaction(|conn| {
            Box::pin(async move {
                write_wanted(conn, &[update(11, 0, None)]).await?;
                Err::<(), _>(zaikoban::store::StoreError::conflict("the test"))
            })
        })
        .await;
    assert!(refused.is_err());
    assert_eq!(
        t.text("SELECT (SELECT count(*) FROM processing_queue) || ' ' || sum(wanted_version) FROM listing_platforms").await,
        "0 0"
    );
}

#[tokio::test]
async fn the_moment_and_the_cause_are_kept_as_given() {
    let t = shop().await;
    let at = Clock::system().now() - TimeDelta::hours(1);
    let mut given = update(11, 1, Some(30));
    given.at = at;
    given.cause = json!({ "rule": "in_stock", "explained": true });
    write(&t, vec![given]).await;
    assert_eq!(
        t.text("SELECT wanted_cause->>'rule' || ' ' || (wanted_at < now() - interval '50 minutes') FROM listing_platforms WHERE id = 11").await,
        "in_stock true"
    );
}
