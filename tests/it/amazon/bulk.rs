//! The whole way of many prices: syncer, gateways, adapter, and the simulator as Amazon.

use super::feeds::selling;
use crate::support::wait::until;
use crate::sync::rush::behind_a_guard;
use crate::sync::stage::{Stage, quick};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::domain::{DestinationPlatform, Money};
use zaikoban::platform::gateway::BulkGateway;
use zaikoban::simulator::{AmazonOperation, AmazonSettings, Running, Simulator, SimulatorSettings};
use zaikoban::sync::SyncSettings;

const ALL: i64 = 40;

fn asked(running: &Running, operation: AmazonOperation) -> usize {
    let ledger = running.amazon_ledger(0, 10_000).entries;
    ledger.iter().filter(|entry| entry.operation == operation).count()
}

/// As many listings as the simulator has, each as it shows them, at eight requests a second.
async fn stage(running: &Running) -> Stage {
    let settings = SyncSettings {
        bulk_after_s: 1,
        bulk_poll_ms: 100,
        call_limit_s: 10,
        send_within_s: 3,
        ..quick()
    };
    let mut s = Stage::with(ALL, settings).await;
    s.parts.destination = DestinationPlatform::AmazonSeller;
    for (id, listing) in (1_i64..).zip(running.amazon_register()) {
        s.t.run(&format!(
            "UPDATE listing_platforms SET platform = 'amazon_seller', currency = 'JPY', sku = '{0}', \
                 platform_product_id = '{0}', current_quantity = {1}, listed_price = {2} WHERE id = {id}",
            listing.sku, listing.quantity, listing.price_jpy
        ))
        .await;
    }
    s
}

#[actix::test]
async fn a_new_rate_reprices_a_shop_by_one_document_and_a_zero_passes_it() {
    let running = Simulator::start(SimulatorSettings {
        amazon_products: 40,
        amazon_listings: 40,
        amazon: AmazonSettings {
            quota_factor: 0.0,
            feed_ms: 3_000,
            ..AmazonSettings::default()
        },
        ..SimulatorSettings::default()
    })
    .unwrap();
    let refused = json!({"faults": {"amazon": {"unknown_fields": true}}});
    running.script(&refused).unwrap();
    let mut s = stage(&running).await;
    let (seller, feeds) = selling(&running, Duration::from_secs(5));
    let (_tree, guard) = behind_a_guard(&mut s, &seller, 8.0).await;
    s.parts.bulk = Some(BulkGateway::new(Arc::new(feeds), guard));
    let register = running.amazon_register();
    let pieces = |id: i64| i64::from(register[usize::try_from(id - 1).unwrap()].quantity);
    let dear = Some(Money::yen(9_800).unwrap());
    for id in 1..=ALL {
        s.want(id, pieces(id), dear).await;
    }
    s.start();
    let inside = "SELECT max(listing_id) FROM bulk_feed_items i JOIN bulk_feeds f ON f.id = i.feed \
                  WHERE f.state = 'submitted' AND i.outcome IS NULL";
    let last: i64 = until("a feed to be handed in", || async {
        s.t.text(inside).await.parse().ok()
    })
    .await;
    s.want(last, 0, dear).await;
    let sku = &register[usize::try_from(last - 1).unwrap()].sku;
    until("the zero", || async {
        let all = running.amazon_register();
        let emptied = all.iter().any(|l| l.sku == *sku && l.quantity == 0);
        emptied.then_some(())
    })
    .await;
    assert_eq!(
        s.t.text("SELECT state FROM bulk_feeds").await,
        "submitted",
        "the zero was first"
    );
    until("the feed to be settled", || async {
        (s.t.text("SELECT state FROM bulk_feeds").await == "settled").then_some(())
    })
    .await;
    let dear = running
        .amazon_register()
        .iter()
        .filter(|l| l.price_jpy == 9_800)
        .count();
    assert_eq!(dear, 40);
    // Amazon may take a quarter of an hour to show it, so it is looked at then. That is now.
    s.t.run("UPDATE processing_queue SET scheduled_at = now() WHERE scheduled_at > now()")
        .await;
    s.look().await;
    for id in 1..=ALL {
        s.in_line(id).await;
    }
    let items: i64 =
        s.t.text("SELECT count(*) FROM bulk_feed_items WHERE outcome = 'accepted'")
            .await
            .parse()
            .unwrap();
    assert!(items >= 10, "{items}");
    assert_eq!(asked(&running, AmazonOperation::CreateFeed), 1);
    let patches = i64::try_from(asked(&running, AmazonOperation::PatchListingsItem)).unwrap();
    assert!(
        patches <= ALL - items + 2,
        "{patches} patches beside {items} prices in the feed"
    );
}
