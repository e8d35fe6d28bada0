//! F: clocks that jump, slew, stand still or are wrong.

use crate::support::wait::until;
use crate::watch::kit::{Market, Page, SOURCE, Shop, page};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;
use tokio::time::Instant;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// An hour on, an hour back, to 1970 and to 2038: watching goes on at its pace, and changes are taken.
#[actix::test]
async fn f1_a_clock_that_jumps_anywhere_neither_freezes_nor_stampedes() {
    let shop = Shop::new(3).await;
    let market = Market::new(&shop.clock, 3);
    let mut watching = shop.watching(&market).await;
    watching.ready.wait_for(|ready| *ready).await.unwrap();
    until("a first round", || async { (shop.checks() >= 3).then_some(()) }).await;
    let start = shop.clock.now();
    let jumps = [
        start + TimeDelta::hours(1),
        start,
        at("1970-01-01T00:00:10Z"),
        at("2038-01-19T03:14:08Z"),
        start + TimeDelta::hours(2),
    ];
    for (round, to) in (2_i64..).zip(jumps) {
        shop.clock.advance(to - shop.clock.now());
        (1..=3).for_each(|id| market.set(id, Page::Shows(Box::new(page(&shop.clock, id, round, 1_000)))));
        let (asked, began) = (market.asked(), Instant::now());
        until(&format!("the changes of {to}"), || async {
            shop.clock.advance(TimeDelta::seconds(10));
            let sql = format!("SELECT count(*) FROM inventory_management WHERE current_stock = {round}");
            (shop.number(&sql).await == 3).then_some(())
        })
        .await;
        // Each step of ten seconds is a look at each product at most, with some for what is confirmed.
        let looks = market.asked() - asked;
        let most = 3 * (began.elapsed().as_millis() / 10 + 30);
        assert!(u128::from(looks) <= most, "{to}: {looks} looks");
    }
    assert_eq!(shop.counters.get(&SOURCE).unwrap().snapshot().holds_opened, 0);
}

/// A clock that is slewed, or repeats a second as a leap second does, is nothing.
#[actix::test]
async fn f2_slews_and_leap_seconds_are_nothing() {
    let shop = Shop::new(2).await;
    let market = Market::new(&shop.clock, 2);
    let mut watching = shop.watching(&market).await;
    watching.ready.wait_for(|ready| *ready).await.unwrap();
    until("a first round", || async { (shop.checks() >= 2).then_some(()) }).await;
    // Two steps on and one back, below and at a second.
    for (nth, step_ms) in [900, -400, 1_000, -1_000, 60, -59, 1_000]
        .into_iter()
        .cycle()
        .take(40)
        .enumerate()
    {
        shop.clock.advance(TimeDelta::milliseconds(step_ms));
        if nth == 20 {
            (1..=2).for_each(|id| market.set(id, Page::Shows(Box::new(page(&shop.clock, id, 4, 1_000)))));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    until("the change", || async {
        shop.clock.advance(TimeDelta::seconds(10));
        (shop
            .number("SELECT count(*) FROM inventory_management WHERE current_stock = 4")
            .await
            == 2)
            .then_some(())
    })
    .await;
    assert_eq!(shop.number("SELECT count(*) FROM holds").await, 0);
    // A date that names the sixty-first second is read as a date.
    let leap = DateTime::parse_from_rfc2822("Sat, 31 Dec 2016 23:59:60 +0000").unwrap();
    assert!(leap < at("2017-01-01T00:00:01Z"));
}
