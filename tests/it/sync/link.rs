//! Linking, dry run, explanation, and reworking what is wanted.

use super::stage::{Stage, book, q, shows, usd};
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use serde_json::json;
use std::sync::Arc;
use zaikoban::clock::Clock;
use zaikoban::domain::{DestinationPlatform, ListingId, ProductId};
use zaikoban::pricing::Settings;
use zaikoban::store::StoreError;
use zaikoban::store::listings::{self, Filter};
use zaikoban::sync::dry_run::{KeptBack, dry_run};
use zaikoban::sync::explain::explain;
use zaikoban::sync::link::{LinkError, LinkRequest, link};
use zaikoban::sync::own_rules::{RulesChange, change_rules};
use zaikoban::sync::plan::{ReadWhy, Step};
use zaikoban::sync::reprice::{Repriced, Scope, reprice};

fn request(sku: &str) -> LinkRequest {
    LinkRequest {
        product: ProductId(1),
        destination: DestinationPlatform::Ebay,
        sku: sku.to_owned(),
        platform_product_id: None,
        rules: None,
        auto_sync: false,
    }
}

#[actix::test]
async fn a_linked_listing_is_read_first_and_left_alone_until_resumed() {
    let mut s = Stage::new(1).await;
    s.start();
    s.fake.show("own", shows(2, 33));
    let clock = Clock::system();
    let linked = link(s.t.db(), &s.fake, &book(), &clock, request("own"))
        .await
        .unwrap();
    assert_eq!(linked.basis.confirmed, shows(2, 33));
    assert_eq!((linked.auto_sync, linked.synced_version.0), (false, 0));
    let id = linked.id();
    assert_eq!(s.jobs_of(id.0).await, "0");
    assert!(s.fake.writes_to("own").is_empty());
    let mut conn = s.t.db().conn().await.unwrap();
    let filter = Filter {
        product: Some(ProductId(1)),
        ..Filter::default()
    };
    let planned = dry_run(&mut conn, &book(), &filter, Some(ListingId(1)), 10, clock.now())
        .await
        .unwrap();
    assert_eq!(planned.len(), 1);
    assert_eq!(planned[0].kept_back, [KeptBack::AutoSyncOff]);
    assert_eq!(
        planned[0].steps,
        [Step::Revise {
            quantity: Some(q(1)),
            price: usd(20)
        }]
    );
    assert!(s.fake.writes_to("own").is_empty(), "a dry run sends nothing");
    listings::resume(&mut conn, &[id]).await.unwrap();
    s.look().await;
    s.in_line(id.0).await;
    assert_eq!(s.fake.shown("own"), shows(1, 20));
}

/// The change sees no listing yet, and must not be overlooked by the listing either.
#[actix::test]
async fn a_change_that_is_committed_while_a_listing_is_linked_moves_it() {
    let s = Stage::new(1).await;
    s.fake.show("own", shows(2, 33));
    let mut changing = s.t.db().conn().await.unwrap();
    let begin =
        "BEGIN; UPDATE inventory_management SET current_price = 5000, version = version + 1 WHERE id = 1;";
    changing.batch_execute(begin).await.unwrap();
    let (book, clock) = (book(), Clock::system());
    let linking = link(s.t.db(), &s.fake, &book, &clock, request("own"));
    let committing = async {
        until("the link waits for the change", || async {
            let waiting = "SELECT count(*)::text FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                           OR l.locktype = 'transactionid' WHERE NOT l.granted AND d.datname = current_database()";
            (s.t.text(waiting).await != "0").then_some(())
        })
        .await;
        changing.batch_execute("COMMIT").await.unwrap();
    };
    let (linked, ()) = tokio::join!(linking, committing);
    assert_eq!(linked.unwrap().basis.wanted.unwrap().price, usd(50));
}

#[actix::test]
async fn what_cannot_be_linked_is_said_and_changes_nothing() {
    let s = Stage::new(1).await;
    let clock = Clock::system();
    let book = book();
    let refused =
        async |request: LinkRequest| link(s.t.db(), &s.fake, &book, &clock, request).await.unwrap_err();
    assert!(matches!(
        refused(request("nowhere")).await,
        LinkError::Nothing { .. }
    ));
    assert!(matches!(refused(request("")).await, LinkError::BadSku(_)));
    let twice = refused(request("sku-1")).await;
    assert!(
        matches!(twice, LinkError::Store(StoreError::Conflict { .. })),
        "{twice}"
    );
    let other = LinkRequest {
        platform_product_id: Some("offer-2".to_owned()),
        ..request("sku-1")
    };
    assert!(refused(other).await.to_string().contains("and offer `offer-2`"));
    let bad = LinkRequest {
        rules: Some(json!({ "cap": 0, "flor": 3 })),
        ..request("sku-1")
    };
    let said = refused(bad).await.to_string();
    assert!(
        said.contains("rules.cap") && said.contains("rules.flor"),
        "{said}"
    );
    s.fake.show("free", shows(1, 1));
    let nobody = LinkRequest {
        product: ProductId(99),
        ..request("free")
    };
    assert!(matches!(
        refused(nobody).await,
        LinkError::Store(StoreError::NotFound { .. })
    ));
    assert_eq!(s.t.text("SELECT count(*) FROM listing_platforms").await, "1");
}

#[actix::test]
async fn a_change_of_rules_reworks_every_listing_once() {
    let s = Stage::new(3).await;
    let clock = Clock::system();
    let first = reprice(s.t.db(), &book(), &clock, Scope::All).await.unwrap();
    assert_eq!(
        first,
        Repriced {
            products: 3,
            moved: 3
        }
    );
    let again = reprice(s.t.db(), &book(), &clock, Scope::All).await.unwrap();
    assert_eq!(
        again,
        Repriced {
            products: 3,
            moved: 0
        }
    );
    let settings: Settings = serde_json::from_value(json!({
        "exchange_rates": { "USD": 100 },
        "destinations": { "ebay": { "fee_bp": 0, "fee_fixed": 0, "margin_bp": 5000, "rounding": "whole",
            "step_per_day_bp": 1000, "step_per_change_bp": "none" } },
    }))
    .unwrap();
    let stepped = Arc::new(settings.resolve().unwrap());
    let moved = reprice(s.t.db(), &stepped, &clock, Scope::All).await.unwrap();
    assert_eq!(moved.moved, 3);
    assert_eq!(
        s.row(2).await.basis.wanted.unwrap().price,
        usd(22),
        "one day's step"
    );
    // The limit opens at midnight in Tokyo.
    let none = reprice(s.t.db(), &stepped, &clock, Scope::OpenedAgain)
        .await
        .unwrap();
    assert_eq!(none.products, 0);
    s.t.run("UPDATE listing_platforms SET listed_price = 22, current_quantity = 1")
        .await;
    let tomorrow = Clock::manual(clock.now() + chrono::TimeDelta::days(1));
    let opened = reprice(s.t.db(), &stepped, &tomorrow, Scope::OpenedAgain)
        .await
        .unwrap();
    assert_eq!(
        opened,
        Repriced {
            products: 3,
            moved: 3
        }
    );
    assert_eq!(s.row(2).await.basis.wanted.unwrap().price, usd(24));
}

#[actix::test]
async fn a_listings_own_rules_move_it_at_once_and_the_same_order_moves_nothing() {
    let s = Stage::new(1).await;
    s.fake.show("own", shows(2, 33));
    let clock = Clock::system();
    let own = LinkRequest {
        rules: Some(json!({ "floor": 40 })),
        ..request("own")
    };
    let id = link(s.t.db(), &s.fake, &book(), &clock, own).await.unwrap().id();
    assert_eq!(s.row(id.0).await.basis.wanted.unwrap().price, usd(40));
    let change = |order: serde_json::Value| {
        let (order, book) = (serde_json::from_value(order).unwrap(), book());
        let (db, clock) = (s.t.db(), clock.clone());
        async move { change_rules(db, &book, &clock, id, order).await }
    };

    // all mistakes at once, and nothing of the order is done
    let bad = json!({ "unset": ["floor"], "set": { "cap": 0, "marjin": 1, "currency": "EUR" } });
    let problems = change(bad).await.unwrap().unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert_eq!(s.row(id.0).await.basis.wanted.unwrap().price, usd(40));

    let dearer = json!({ "unset": ["floor"], "set": { "margin_bp": 5_000 } });
    let changed = change(dearer.clone()).await.unwrap().unwrap();
    assert_eq!(changed.own, Some(json!({ "margin_bp": 5_000 })));
    assert_eq!((changed.changed, changed.moved), (true, vec![id]));
    let row = s.row(id.0).await;
    assert_eq!(row.basis.wanted.unwrap().price, usd(30));
    let again = change(dearer).await.unwrap().unwrap();
    assert_eq!((again.changed, again.moved), (false, vec![]));
    assert_eq!(s.row(id.0).await, row);

    let cleared = change(json!({ "clear": true })).await.unwrap().unwrap();
    assert_eq!((cleared.changed, cleared.own), (true, None));
    let row = s.row(id.0).await;
    assert_eq!(
        (row.basis.wanted.unwrap().price, row.basis.rules),
        (usd(20), None)
    );
    let (gone, nothing) = (ListingId(999_991), RulesChange::default());
    let nobody = change_rules(s.t.db(), &book(), &clock, gone, nothing).await;
    assert!(matches!(nobody, Err(StoreError::NotFound { .. })));
}

#[actix::test]
async fn every_number_explains_itself() {
    let mut s = Stage::new(1).await;
    s.start();
    s.t.run(
        "INSERT INTO stock_history (product_id, previous_stock, new_stock, previous_price, new_price, change_type, \
             change_source, watch_id, version, fetched_at) \
         VALUES (1, 1, 3, 2000, 2500, 'both', 'yahoo', 1, 2, now()); \
         UPDATE inventory_management SET version = 2, current_stock = 3, current_price = 2500",
    )
    .await;
    reprice(s.t.db(), &book(), &Clock::system(), Scope::All)
        .await
        .unwrap();
    s.look().await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(3, 25));
    let mut conn = s.t.db().conn().await.unwrap();
    let why = explain(&mut conn, ListingId(1)).await.unwrap();
    let seen = why.observation.as_ref().unwrap();
    assert_eq!((seen.new_stock, seen.version.0), (q(3), 2));
    assert_eq!(why.pushes.len(), 3);
    let story = why.story.join("\n");
    for words in [
        "watch `1` showed 3 pieces at 2500 JPY (version 2, yahoo)",
        "version 1 wants 3 pieces at 25.00 USD",
        "cost 2500 JPY",
        "quantity 3: accepted",
    ] {
        assert!(story.contains(words), "`{words}` is not in:\n{story}");
    }
    let steps = why.derivations.first().unwrap().steps.join("\n");
    for words in ["cost 2500 JPY + shipping", "= 25.00 USD", "at 25.00 USD: fee "] {
        assert!(steps.contains(words), "`{words}` is not in:\n{steps}");
    }
    let told = serde_json::to_value(&why).unwrap();
    assert_eq!(told["listing"]["wanted_cause"]["reckoning"]["currency"], "USD");
    let planned = dry_run(
        &mut conn,
        &book(),
        &Filter::default(),
        None,
        10,
        Clock::system().now(),
    )
    .await
    .unwrap();
    assert!(planned[0].steps.is_empty() && planned[0].kept_back.is_empty());
    s.t.run("UPDATE inventory_management SET current_stock = 9").await;
    let planned = dry_run(
        &mut conn,
        &book(),
        &Filter::default(),
        None,
        10,
        Clock::system().now(),
    )
    .await
    .unwrap();
    assert_eq!(
        planned[0].steps,
        [
            Step::Read(ReadWhy::BeforeRaise),
            Step::Revise {
                quantity: Some(q(9)),
                price: None
            }
        ]
    );
}
