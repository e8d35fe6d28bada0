//! Roster, patrol, gateway, watchers and ledger together, against a market whose pages the test writes.

use super::kit::{Market, Page, SOURCE, Shop, ended, page, state};
use crate::support::wait::until;
use chrono::TimeDelta;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::domain::{HoldReason, UrlStatus, Version, WatchId};
use zaikoban::watch::holds::{Decision, decide};
use zaikoban::watch::{CheckNow, CountersSnapshot, Reconsider, Refresh};

fn numbers(shop: &Shop) -> CountersSnapshot {
    shop.counters.get(&SOURCE).unwrap().snapshot()
}

async fn ready(watching: &mut super::kit::Watching) {
    watching.ready.wait_for(|ready| *ready).await.unwrap();
}

/// Lets products come of age, so that the planner looks at all of them again.
fn pass_an_hour(shop: &Shop) {
    shop.clock.advance(TimeDelta::hours(1));
}

#[actix::test]
async fn every_change_of_every_page_is_in_history_once_and_its_listing_follows() {
    let shop = Shop::new(300).await;
    let market = Market::new(&shop.clock, 300);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    for round in 1..=3 {
        for id in (1..=300).filter(|id| id % 7 == 0) {
            let shown = page(&shop.clock, id, 1 + round, 1_000 + round * 10);
            market.set(id, Page::Shows(Box::new(shown)));
        }
        pass_an_hour(&shop);
        until("the round's changes", || async {
            let seen = "SELECT count(*) FROM inventory_management WHERE version = ";
            let all = shop.number(&format!("{seen}{}", 1 + round)).await;
            (all == 42).then_some(())
        })
        .await;
    }
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 42 * 3);
    let twice =
        "SELECT count(*) FROM (SELECT 1 FROM stock_history GROUP BY watch_id, version HAVING count(*) > 1) q";
    assert_eq!(shop.number(twice).await, 0);
    let followed =
        "SELECT count(*) FROM listing_platforms WHERE wanted_quantity = 1 OR wanted_quantity IS NULL";
    let now = "SELECT count(*) FROM inventory_management WHERE current_stock = 4 AND current_price = 1030";
    assert_eq!(shop.number(now).await, 42);
    assert!(shop.number(followed).await < 300);
    let numbers = numbers(&shop);
    assert_eq!(
        (numbers.products, numbers.changes, numbers.holds_opened),
        (300, 126, 0)
    );
    assert_eq!(numbers.commit_delay_ms.count, 126);
}

#[actix::test]
async fn d15_a_page_that_lost_what_is_needed_empties_nothing_and_is_one_error() {
    let shop = Shop::new(2_000).await;
    let market = Market::new(&shop.clock, 2_000);
    (1..=2_000).for_each(|id| market.set(id, Page::Drifted));
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("all were looked at", || async {
        (numbers(&shop).contract_failures >= 2_000).then_some(())
    })
    .await;
    let rows = "SELECT string_agg(concat_ws(' ', error_code, severity, count), ';') FROM inventory_errors";
    until("the error is written", || async {
        (shop.t.text(rows).await == "contract high 2000").then_some(())
    })
    .await;
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 0);
    assert_eq!(
        shop.number("SELECT count(*) FROM listing_platforms WHERE wanted_version > 1")
            .await,
        0
    );
    assert_eq!(
        shop.number(
            "SELECT count(*) FROM inventory_management WHERE last_verified_at > now() - interval '5 min'"
        )
        .await,
        0
    );
}

#[actix::test]
async fn d14_a_gone_page_is_dead_only_after_a_minute() {
    let shop = Shop::new(1).await;
    let market = Market::new(&shop.clock, 1);
    market.set(1, Page::NotFound);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("the first sighting", || async {
        shop.row(1).await.gone_since.map(|_| ())
    })
    .await;
    assert_eq!(shop.row(1).await.state, Some(state(1, 1_000)));
    shop.clock.advance(TimeDelta::seconds(63));
    until("the second", || async {
        (shop.row(1).await.version == Version(2)).then_some(())
    })
    .await;
    let row = shop.row(1).await;
    assert_eq!(
        row.state.map(|s| (s.stock.get(), s.url_status)),
        Some((0, UrlStatus::Dead))
    );
    assert_eq!(
        shop.number("SELECT wanted_quantity FROM listing_platforms").await,
        0
    );
}

#[actix::test]
async fn an_address_that_leads_to_another_item_is_changed_only_after_a_minute() {
    let shop = Shop::new(2).await;
    let market = Market::new(&shop.clock, 2);
    (1..=2).for_each(|id| market.set(id, Page::Moved));
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("the first sightings", || async {
        (numbers(&shop).unclear >= 2).then_some(())
    })
    .await;
    // The one was led astray once; the other is led there still.
    market.set(2, Page::Shows(Box::new(page(&shop.clock, 2, 1, 1_000))));
    shop.clock.advance(TimeDelta::seconds(63));
    until("the second", || async {
        (shop.row(1).await.version == Version(2)).then_some(())
    })
    .await;
    let row = shop.row(1).await;
    assert_eq!(
        row.state.map(|s| (s.stock.get(), s.url_status)),
        Some((0, UrlStatus::Changed))
    );
    assert_eq!(row.hold.map(|h| h.reason), Some(HoldReason::OtherItem));
    let told = "SELECT detail->>'redirect' FROM holds";
    assert!(shop.t.text(told).await.contains("moved"));
    assert_eq!(shop.row(2).await.state, Some(state(1, 1_000)));
}

#[actix::test]
async fn many_auctions_that_end_together_are_followed_at_once() {
    let shop = Shop::new(500).await;
    let market = Market::new(&shop.clock, 500);
    let ends_at = shop.row(1).await.ends_at.unwrap();
    for id in 1..=500 {
        let over = ended(page(&shop.clock, id, 0, 1_000), ends_at);
        market.set(id, Page::Shows(Box::new(over)));
    }
    shop.clock.advance(TimeDelta::days(1) + TimeDelta::seconds(20));
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("all ended", || async {
        let over = shop
            .number("SELECT count(*) FROM listing_platforms WHERE wanted_quantity = 0")
            .await;
        (over == 500).then_some(())
    })
    .await;
    assert_eq!(shop.number("SELECT count(*) FROM holds").await, 0);
}

#[actix::test]
async fn while_the_ledger_cannot_commit_nothing_new_is_asked() {
    let shop = Shop::new(1_000).await;
    let market = Market::new(&shop.clock, 1_000);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("a first round", || async {
        (shop.checks() >= 1_000).then_some(())
    })
    .await;
    let away = format!(
        "ALTER DATABASE {0} ALLOW_CONNECTIONS false; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}'",
        shop.t.name()
    );
    let mut admin = crate::support::pg::admin().await;
    diesel_async::SimpleAsyncConnection::batch_execute(&mut admin, &away)
        .await
        .unwrap();
    pass_an_hour(&shop);
    let before = market.asked();
    let mut can_commit = shop.can_commit.subscribe();
    tokio::time::timeout(Duration::from_secs(20), can_commit.wait_for(|can| !*can))
        .await
        .unwrap()
        .unwrap();
    // What was under way may still be asked; beyond that nothing is.
    let (asked, looks_alike) = (Cell::new(before), Cell::new(0));
    until("the patrol is still", || async {
        let now = market.asked();
        looks_alike.set(if asked.replace(now) == now {
            looks_alike.get() + 1
        } else {
            0
        });
        (looks_alike.get() == 20).then_some(())
    })
    .await;
    let asked = asked.get() - before;
    assert!(asked <= 128, "{asked} pages were read that could not be recorded");
    let back = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", shop.t.name());
    diesel_async::SimpleAsyncConnection::batch_execute(&mut admin, &back)
        .await
        .unwrap();
    until("it goes on by itself", || async {
        (shop.checks() >= 2_000).then_some(())
    })
    .await;
}

#[actix::test]
async fn watches_come_and_go_while_it_runs() {
    let shop = Shop::new(3).await;
    let market = Market::new(&shop.clock, 4);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    shop.t
        .run("UPDATE inventory_management SET monitoring_enabled = false WHERE id = 1;
              INSERT INTO inventory_management (id, product_id, source_platform, source_url, source_product_id)
              VALUES (4, 1, 'yahoo', 'https://example/4', 'x4');")
        .await;
    let watches = vec![WatchId(1), WatchId(4)];
    watching.roster.send(Refresh { watches }).await.unwrap().unwrap();
    until("the new one is observed", || async {
        (shop.row(4).await.version == Version(1)).then_some(())
    })
    .await;
    until("three are watched", || async {
        (numbers(&shop).products == 3).then_some(())
    })
    .await;
    let before = shop.row(1).await.last_verified_at;
    pass_an_hour(&shop);
    until("the others were looked at", || async {
        let fresh = "SELECT count(*) FROM inventory_management WHERE id > 1 AND last_verified_at >= ";
        let at = shop.clock.now();
        (shop.number(&format!("{fresh}'{at}'")).await == 3).then_some(())
    })
    .await;
    assert_eq!(
        shop.row(1).await.last_verified_at,
        before,
        "a paused one is left alone"
    );
    let history = "SELECT concat_ws(' ', watch_id, version, previous_stock IS NULL, new_stock, change_type) FROM stock_history";
    assert_eq!(shop.t.text(history).await, "4 1 t 1 both");
}

#[actix::test]
async fn a_check_asked_for_is_made_at_once() {
    let shop = Shop::new(1).await;
    let market = Market::new(&shop.clock, 1);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("the first look", || async { (shop.checks() >= 1).then_some(()) }).await;
    shop.clock.advance(TimeDelta::seconds(1));
    market.set(1, Page::Shows(Box::new(page(&shop.clock, 1, 0, 1_000))));
    watching
        .roster
        .send(CheckNow {
            watches: vec![WatchId(1)],
        })
        .await
        .unwrap();
    until("the change", || async {
        (shop.row(1).await.version == Version(2)).then_some(())
    })
    .await;
}

#[actix::test]
async fn a_watcher_that_is_told_of_a_decision_does_not_try_what_was_turned_down() {
    let shop = Shop::new(1).await;
    let market = Market::new(&shop.clock, 1);
    market.set(1, Page::Shows(Box::new(page(&shop.clock, 1, 1, 100))));
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    let hold = until("the hold", || async { shop.row(1).await.hold }).await;
    decide(&shop.holds_env(), hold.id, Decision::Reject, "mika", None)
        .await
        .unwrap();
    let looked = async || {
        until("a look", || async {
            (shop.row(1).await.last_verified_at == Some(shop.clock.now())).then_some(())
        })
        .await;
    };
    shop.clock.advance(TimeDelta::seconds(1));
    let watches = vec![WatchId(1)];
    watching.roster.send(Reconsider { watches }).await.unwrap();
    looked().await;
    // Long after the deadline.
    shop.clock.advance(TimeDelta::hours(7));
    looked().await;
    assert_eq!(shop.row(1).await.state, Some(state(1, 1_000)));
    assert_eq!(numbers(&shop).stale_versions, 0, "nothing had to be refused");
}

#[actix::test]
async fn a_mass_hold_is_read_again_at_its_deadline_and_released() {
    let shop = Shop::new(40).await;
    let market = Market::new(&shop.clock, 40);
    for id in 1..=40 {
        market.set(id, Page::Shows(Box::new(page(&shop.clock, id, 0, 1_000))));
    }
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("the holds", || async {
        let open = shop
            .number("SELECT count(*) FROM holds WHERE status = 'open'")
            .await;
        let empty = shop
            .number("SELECT count(*) FROM inventory_management WHERE current_stock = 0")
            .await;
        (open + empty == 40 && open > 20).then_some(())
    })
    .await;
    // The window is over too by then; the holds decide, not it.
    shop.clock.advance(TimeDelta::minutes(31));
    until("all are released", || async {
        let empty = shop
            .number("SELECT count(*) FROM inventory_management WHERE current_stock = 0")
            .await;
        (empty == 40).then_some(())
    })
    .await;
    assert_eq!(
        shop.number("SELECT count(*) FROM holds WHERE status = 'open'")
            .await,
        0
    );
}

#[actix::test]
async fn the_reading_that_releases_what_waits_is_to_be_confirmed() {
    let shop = Shop::new(2).await;
    let market = Market::new(&shop.clock, 2);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("a first round", || async { (shop.checks() >= 2).then_some(()) }).await;
    let overdue = "INSERT INTO holds (product_id, watch_id, reason, detail, base_version, proposed_stock, meanwhile, \
                   default_action, deadline) VALUES (1, 1, 'mass_change', '{}', 1, 0, 'keep', 'recheck', now() - interval '1 day')";
    shop.t.run(overdue).await;
    until("the doubt", || async {
        (*market.doubted.lock() == ["x1"]).then_some(())
    })
    .await;
}

#[actix::test]
async fn f1_a_clock_that_is_set_back_freezes_nothing() {
    let shop = Shop::new(3).await;
    let market = Market::new(&shop.clock, 3);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("a first round", || async { (shop.checks() >= 3).then_some(()) }).await;
    shop.clock.advance(TimeDelta::days(-300));
    (1..=3).for_each(|id| market.set(id, Page::Shows(Box::new(page(&shop.clock, id, 0, 1_000)))));
    until("the changes", || async {
        shop.clock.advance(TimeDelta::seconds(10));
        let gone = "SELECT count(*) FROM inventory_management WHERE current_stock = 0";
        (shop.number(gone).await == 3).then_some(())
    })
    .await;
    let late = format!(
        "SELECT count(*) FROM inventory_management WHERE last_verified_at > '{}'",
        shop.clock.now()
    );
    assert_eq!(
        shop.number(&late).await,
        0,
        "no row is left in what is now the future"
    );
}

#[actix::test]
async fn a_stop_finishes_what_is_open() {
    let shop = Shop::new(500).await;
    let market = Market::new(&shop.clock, 500);
    let mut watching = shop.watching(&market).await;
    ready(&mut watching).await;
    until("some looks", || async { (shop.checks() >= 50).then_some(()) }).await;
    let report = watching.tree.stop(Duration::from_secs(10)).await;
    assert!(report.leftovers.is_empty(), "{report:?}");
    let verified = "SELECT count(*) FROM inventory_management WHERE last_verified_at = ";
    let verified = shop.number(&format!("{verified}'{}'", shop.clock.now())).await;
    assert_eq!(
        u64::try_from(verified).unwrap(),
        market.asked(),
        "every page that was read is recorded"
    );
    drop(Arc::clone(&market));
}
