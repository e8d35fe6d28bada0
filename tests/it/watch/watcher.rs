//! Watchers with a real ledger behind them.

use super::kit::{SOURCE, Shop, ended, page, state};
use crate::support::wait::until;
use actix::prelude::*;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use zaikoban::domain::{HoldReason, Observation, Version, WatchId};
use zaikoban::supervision::{DynHandle, DynamicSpec, Roster as Children, SendError, Tree};
use zaikoban::watch::holds::{Decision, decide};
use zaikoban::watch::{Background, Done, Looked, See, Seed, Sight, Watcher, WatcherEnv};

/// Makes a watcher panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Boom;

impl Handler<Boom> for Watcher {
    type Result = ();

    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("boom");
    }
}

struct Kept {
    _tree: Tree,
    _children: Children<i64, Watcher>,
    watcher: DynHandle<Watcher>,
}

/// An unseeded watcher of watch 1, as after a restart.
async fn watcher(shop: &Shop) -> Kept {
    let (tree, ledger) = shop.ledger().await;
    let counters = Arc::clone(shop.counters.get(&SOURCE).unwrap());
    let env = Arc::new(WatcherEnv {
        rules: Arc::default(),
        ledger,
        counters,
    });
    let make = move |id: &i64| Watcher::new(WatchId(*id), Arc::clone(&env), None);
    let children = Children::new(DynamicSpec::default(), make, mpsc::unbounded_channel().0);
    let watcher = children.spawn(1, &Arbiter::current());
    Kept {
        _tree: tree,
        _children: children,
        watcher,
    }
}

async fn see(watcher: &DynHandle<Watcher>, page: Observation) -> Looked {
    let background = Background {
        title: page.title.clone(),
        prices: vec![super::kit::yen(1_000)],
    };
    let see = See {
        sight: Sight::Page(Arc::new(page)),
        rate: (1.0, 10.0),
        // The first that there is.
        epoch: zaikoban::domain::Epoch(1),
        background: Some(Arc::new(background)),
    };
    watcher.send(see).await.unwrap()
}

async fn seed(shop: &Shop, watcher: &DynHandle<Watcher>) {
    watcher.send(Seed(Box::new(shop.row(1).await))).await.unwrap();
}

fn done(looked: Looked) -> Done {
    match looked {
        Looked::Recorded(done) => done,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn a_panic_swallows_no_change_because_the_next_life_is_seeded_from_the_tables() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    assert!(done(see(&kept.watcher, page(&shop.clock, 1, 1, 1_100)).await).material);
    assert_eq!(kept.watcher.send(Boom).await, Err(SendError::Crashed));
    shop.clock.advance(TimeDelta::seconds(1));
    let sold = page(&shop.clock, 1, 0, 1_100);
    assert_eq!(see(&kept.watcher, sold.clone()).await, Looked::Unseeded);
    seed(&shop, &kept.watcher).await;
    let done = done(see(&kept.watcher, sold).await);
    assert!(done.material);
    assert_eq!(shop.row(1).await.state, Some(state(0, 1_100)));
    let history = "SELECT string_agg(version || ':' || new_stock || ':' || new_price::int, ' ' ORDER BY version) FROM stock_history";
    assert_eq!(shop.t.text(history).await, "2:1:1100 3:0:1100");
}

#[actix::test]
async fn overtaken_by_another_writer_it_goes_on_from_what_stands() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    shop.t
        .run("UPDATE inventory_management SET version = 4, current_stock = 7")
        .await;
    shop.clock.advance(TimeDelta::seconds(1));
    let sold = page(&shop.clock, 1, 0, 1_000);
    assert_eq!(see(&kept.watcher, sold.clone()).await, Looked::Stale);
    assert!(done(see(&kept.watcher, sold).await).material);
    let history = "SELECT previous_stock || ' ' || new_stock || ' ' || version FROM stock_history";
    assert_eq!(shop.t.text(history).await, "7 0 5");
}

#[actix::test]
async fn d18_an_older_page_after_a_newer_one_is_refused() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    let old = page(&shop.clock, 1, 3, 1_000);
    shop.clock.advance(TimeDelta::seconds(1));
    done(see(&kept.watcher, page(&shop.clock, 1, 0, 1_000)).await);
    assert_eq!(see(&kept.watcher, old).await, Looked::Older);
    assert_eq!(shop.row(1).await.state, Some(state(0, 1_000)));
}

#[actix::test]
async fn e2_a_drop_beyond_belief_opens_one_hold_however_often_it_is_read() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    for _ in 0..3 {
        shop.clock.advance(TimeDelta::seconds(60));
        done(see(&kept.watcher, page(&shop.clock, 1, 1, 100)).await);
    }
    let row = shop.row(1).await;
    assert_eq!((row.version, row.state), (Version(1), Some(state(1, 1_000))));
    assert_eq!(row.hold.unwrap().reason, HoldReason::PriceStep);
    assert_eq!(shop.number("SELECT count(*) FROM holds").await, 1);
    // A restart finds the hold in the tables.
    seed(&shop, &kept.watcher).await;
    shop.clock.advance(TimeDelta::seconds(60));
    done(see(&kept.watcher, page(&shop.clock, 1, 1, 100)).await);
    assert_eq!(shop.number("SELECT count(*) FROM holds").await, 1);
    // Normal again: nothing waits any more.
    shop.clock.advance(TimeDelta::seconds(60));
    done(see(&kept.watcher, page(&shop.clock, 1, 1, 1_000)).await);
    assert_eq!(
        shop.t.text("SELECT status || ' ' || decided_by FROM holds").await,
        "superseded zaikoban"
    );
    assert_eq!(shop.row(1).await.held_reason, None);
}

#[actix::test]
async fn at_the_deadline_the_same_reading_releases_what_waited() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    shop.clock.advance(TimeDelta::seconds(60));
    done(see(&kept.watcher, page(&shop.clock, 1, 1, 100)).await);
    shop.clock.advance(TimeDelta::hours(6));
    assert!(done(see(&kept.watcher, page(&shop.clock, 1, 1, 100)).await).material);
    assert_eq!(shop.row(1).await.state, Some(state(1, 100)));
    assert_eq!(
        shop.t.text("SELECT status || ' ' || decided_by FROM holds").await,
        "accepted deadline"
    );
    let listing = "SELECT wanted_cause->>'approved_by' FROM listing_platforms WHERE wanted_version > 1";
    assert_eq!(shop.t.text(listing).await, "deadline");
}

/// Opens a hold of a price out of its band, has a person turn it down, and lets its deadline pass.
async fn turned_down(shop: &Shop, watcher: &DynHandle<Watcher>) {
    seed(shop, watcher).await;
    shop.clock.advance(TimeDelta::seconds(60));
    done(see(watcher, page(&shop.clock, 1, 1, 100)).await);
    let id = shop.row(1).await.hold.unwrap().id;
    decide(&shop.holds_env(), id, Decision::Reject, "mika", None)
        .await
        .unwrap();
    shop.clock.advance(TimeDelta::hours(7));
}

#[actix::test]
async fn what_a_person_turned_down_is_not_released_at_the_deadline() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    turned_down(&shop, &kept.watcher).await;
    // Its watcher was not told, and thinks that the hold is open and overdue: the ledger knows better.
    let same = page(&shop.clock, 1, 1, 100);
    assert_eq!(see(&kept.watcher, same.clone()).await, Looked::Stale);
    assert!(!done(see(&kept.watcher, same).await).material);
    assert_eq!(shop.row(1).await.state, Some(state(1, 1_000)));
    assert_eq!(
        shop.t
            .text("SELECT string_agg(status || ' ' || decided_by, ',') FROM holds")
            .await,
        "rejected mika"
    );
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 0);
}

#[actix::test]
async fn one_that_was_told_of_a_decision_does_not_try_to_release_it() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    turned_down(&shop, &kept.watcher).await;
    seed(&shop, &kept.watcher).await;
    assert!(!done(see(&kept.watcher, page(&shop.clock, 1, 1, 100)).await).material);
    assert_eq!(shop.row(1).await.state, Some(state(1, 1_000)));
}

#[actix::test]
async fn a_decision_made_while_a_record_is_under_way_is_read_with_the_next_look() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    let mut other = shop.t.db().conn().await.unwrap();
    other
        .batch_execute("BEGIN; SELECT 1 FROM inventory_management FOR UPDATE")
        .await
        .unwrap();
    shop.clock.advance(TimeDelta::seconds(60));
    let sent = see(&kept.watcher, page(&shop.clock, 1, 1, 1_100));
    let told = async {
        until("the ledger waits", || async {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (shop.number(waiting).await > 0).then_some(())
        })
        .await;
        seed(&shop, &kept.watcher).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (looked, ()) = tokio::join!(sent, told);
    assert!(done(looked).material);
    shop.clock.advance(TimeDelta::seconds(60));
    let next = page(&shop.clock, 1, 1, 1_100);
    assert_eq!(see(&kept.watcher, next).await, Looked::Unseeded);
}

#[actix::test]
async fn e5_another_item_empties_the_listing_at_once_and_waits_for_a_person() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    shop.clock.advance(TimeDelta::seconds(60));
    let mut other = page(&shop.clock, 1, 1, 1_000);
    other.seller_id = Some("somebody else".into());
    done(see(&kept.watcher, other.clone()).await);
    assert_eq!(
        shop.number("SELECT wanted_quantity FROM listing_platforms").await,
        0
    );
    let row = shop.row(1).await;
    assert_eq!(row.hold.unwrap().reason, HoldReason::SellerChanged);
    assert_eq!(
        row.seller_id.as_deref(),
        Some("seller"),
        "the other one is not adopted"
    );
    let hold =
        "SELECT concat_ws(' ', meanwhile, base_version, proposed_stock, detail->>'seller_id') FROM holds";
    assert_eq!(shop.t.text(hold).await, "zero 2 1 somebody else");
}

#[actix::test]
async fn an_auction_that_ends_at_its_appointment_is_explained_in_history_and_cause() {
    let shop = Shop::new(1).await;
    let kept = watcher(&shop).await;
    seed(&shop, &kept.watcher).await;
    let ends_at = shop.row(1).await.ends_at.unwrap();
    shop.clock.advance(TimeDelta::days(1) + TimeDelta::seconds(15));
    let done = done(see(&kept.watcher, ended(page(&shop.clock, 1, 0, 1_000), ends_at)).await);
    assert_eq!((done.ends_at, done.recheck_at), (None, None));
    assert_eq!(shop.t.text("SELECT explained FROM stock_history").await, "true");
    assert_eq!(
        shop.t
            .text("SELECT wanted_cause->>'explained' FROM listing_platforms")
            .await,
        "true"
    );
}
