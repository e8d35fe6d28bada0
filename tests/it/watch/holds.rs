//! Decisions about what waits, by people and by the deadline.

use super::kit::{Shop, is_committed, news, state, yen};
use crate::support::wait::until;
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use zaikoban::domain::Shard;
use zaikoban::domain::{
    HoldDefault, HoldId, HoldReason, HoldStatus, ListingId, Meanwhile, NewHold, Proposal, Quantity,
    SourceState, UrlStatus, Version, WatchId,
};
use zaikoban::store::StoreError;
use zaikoban::store::holds::{self, HoldFilter};
use zaikoban::store::watches;
use zaikoban::watch::holds::{Decision, decide, settle_overdue};
use zaikoban::watch::{HoldStep, Recorded};

fn hold(
    shop: &Shop,
    reason: HoldReason,
    proposed: (i64, i64),
    meanwhile: Meanwhile,
    default: HoldDefault,
) -> NewHold {
    NewHold {
        reason,
        detail: serde_json::json!({ "title": "別のもの", "seller_id": "other" }),
        proposed: Proposal {
            stock: Quantity::new(proposed.0).unwrap(),
            price: Some(yen(proposed.1)),
        },
        meanwhile,
        default_action: default,
        deadline: shop.clock.now() + TimeDelta::hours(1),
        fetched_at: shop.clock.now(),
    }
}

/// Opens a hold on watch 1, through the ledger.
async fn open(shop: &Shop, hold: NewHold) -> HoldId {
    let (_tree, ledger) = shop.ledger().await;
    let mut news = news(None, true);
    news.hold = HoldStep::Open(Box::new(hold));
    let recorded = ledger.send(shop.record(1, Some(news))).await.unwrap();
    let is_open = is_committed(&recorded, 1) || matches!(recorded, Recorded::MassHeld { .. });
    assert!(is_open, "{recorded:?}");
    shop.row(1).await.hold.unwrap().id
}

async fn open_step(shop: &Shop) -> HoldId {
    let new = hold(
        shop,
        HoldReason::PriceStep,
        (3, 100),
        Meanwhile::Keep,
        HoldDefault::Reject,
    );
    open(shop, new).await
}

/// Every shard.
fn everything() -> Vec<Shard> {
    Shard::all().collect()
}

#[actix::test]
async fn accepting_makes_the_proposal_count_and_the_listing_follow() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    let mut told = shop.committed.subscribe();
    let decided = decide(&shop.holds_env(), id, Decision::Accept, "mika", Some("ok"))
        .await
        .unwrap();
    assert_eq!(
        (decided.version, decided.state),
        (Version(2), Some(state(3, 100)))
    );
    assert_eq!(decided.listings, [ListingId(1)]);
    let row = shop.row(1).await;
    assert_eq!(
        (row.version, row.state, row.held_reason),
        (Version(2), Some(state(3, 100)), None)
    );
    let hold = "SELECT concat_ws(' ', status, decided_by, note) FROM holds";
    assert_eq!(shop.t.text(hold).await, "accepted mika ok");
    let history = "SELECT concat_ws(' ', version, new_stock, new_price::int, change_source, explained) FROM stock_history";
    assert_eq!(shop.t.text(history).await, "2 3 100 yahoo t");
    let cause = "SELECT concat_ws(' ', wanted_cause->>'approved_by', wanted_cause->>'hold_id') FROM listing_platforms";
    assert_eq!(shop.t.text(cause).await, format!("mika {id}"));
    assert_eq!(told.recv().await.unwrap().version, Version(2));
}

#[actix::test]
async fn rejecting_changes_nothing_and_is_remembered() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    let decided = decide(&shop.holds_env(), id, Decision::Reject, "mika", None)
        .await
        .unwrap();
    assert_eq!(
        (decided.version, decided.status),
        (Version(1), HoldStatus::Rejected)
    );
    let row = shop.row(1).await;
    assert_eq!(
        row.hold.map(|h| (h.id, h.status)),
        Some((id, HoldStatus::Rejected))
    );
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 0);
}

#[actix::test]
async fn a_persons_own_value_counts_and_is_manual_in_history() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    let nothing = Decision::Edit {
        stock: None,
        price: None,
    };
    let refused = decide(&shop.holds_env(), id, nothing, "mika", None)
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    let edit = Decision::Edit {
        stock: Some(Quantity::new(1).unwrap()),
        price: Some(yen(950)),
    };
    let decided = decide(&shop.holds_env(), id, edit, "mika", None).await.unwrap();
    assert_eq!(decided.state, Some(state(1, 950)));
    assert_eq!(
        shop.t
            .text("SELECT change_source || ' ' || new_price::int FROM stock_history")
            .await,
        "manual 950"
    );
    assert_eq!(shop.row(1).await.hold.unwrap().status, HoldStatus::Edited);
}

#[actix::test]
async fn what_is_decided_is_decided() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    decide(&shop.holds_env(), id, Decision::Reject, "mika", None)
        .await
        .unwrap();
    let again = decide(&shop.holds_env(), id, Decision::Accept, "ken", None)
        .await
        .unwrap_err();
    assert_eq!(
        again.to_string(),
        format!("hold `{id}` is rejected already, by mika")
    );
    let unknown = decide(&shop.holds_env(), HoldId(999), Decision::Accept, "ken", None)
        .await
        .unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound { .. }), "{unknown}");
}

#[actix::test]
async fn two_people_at_once_decide_once() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    let env = shop.holds_env();
    let (one, two) = tokio::join!(
        decide(&env, id, Decision::Accept, "mika", None),
        decide(&env, id, Decision::Accept, "ken", None),
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 1);
}

/// The deadline's reading waits for the row that a person's decision holds: it comes second, and is not written.
#[actix::test]
async fn a_person_and_the_deadline_at_once_decide_once() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    let (_tree, ledger) = shop.ledger().await;
    let mut person = shop.t.db().conn().await.unwrap();
    person
        .batch_execute(&format!(
            "BEGIN; SELECT 1 FROM inventory_management FOR NO KEY UPDATE; UPDATE inventory_management SET updated_at = now(); \
             UPDATE holds SET status = 'rejected', decided_by = 'mika', decided_at = now() WHERE id = {id}"
        ))
        .await
        .unwrap();
    shop.clock.advance(TimeDelta::hours(2));
    let mut release = shop.change(1, state(3, 100), true);
    release.news.as_mut().unwrap().hold = HoldStep::Release(id);
    let deadline = ledger.send(release);
    let commit = async {
        until("the ledger waits", || async {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (shop.number(waiting).await > 0).then_some(())
        })
        .await;
        person.batch_execute("COMMIT").await.unwrap();
    };
    let (recorded, ()) = tokio::join!(deadline, commit);
    let recorded = recorded.unwrap();
    assert!(matches!(recorded, Recorded::Stale(_)), "{recorded:?}");
    assert_eq!(shop.row(1).await.state, Some(state(1, 1_000)));
    assert_eq!(shop.t.text("SELECT decided_by FROM holds").await, "mika");
}

#[actix::test]
async fn a_decision_on_a_product_that_has_moved_is_refused() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    shop.t.run("UPDATE inventory_management SET version = 2").await;
    let refused = decide(&shop.holds_env(), id, Decision::Accept, "mika", None)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("opened on version 1"), "{refused}");
}

#[actix::test]
async fn a_version_that_moves_leaves_no_hold_on_the_old_one() {
    let shop = Shop::new(1).await;
    open_step(&shop).await;
    let (_tree, ledger) = shop.ledger().await;
    let mut record = shop.change(1, state(0, 1_000), true);
    record.news.as_mut().unwrap().hold = HoldStep::Clear;
    assert!(is_committed(&ledger.send(record).await.unwrap(), 2));
    assert_eq!(shop.t.text("SELECT status FROM holds").await, "superseded");
}

#[actix::test]
async fn a_quarantine_loses_no_hold_and_a_decision_ends_no_quarantine() {
    let shop = Shop::new(2).await;
    let id = open_step(&shop).await;
    let held = "SELECT COALESCE(held_reason, 'nothing') FROM inventory_management WHERE id = 1";
    let resume = async || {
        let mut conn = shop.t.db().conn().await.unwrap();
        watches::set_enabled(&mut conn, &[WatchId(1), WatchId(2)], true)
            .await
            .unwrap();
    };
    let quarantine = async || {
        let mut conn = shop.t.db().conn().await.unwrap();
        watches::quarantine(&mut conn, WatchId(1)).await.unwrap();
        watches::quarantine(&mut conn, WatchId(2)).await.unwrap();
    };
    quarantine().await;
    assert_eq!(
        shop.row(1).await.hold.map(|h| h.id),
        Some(id),
        "it is still known"
    );
    resume().await;
    assert_eq!(shop.t.text(held).await, "price_step");
    assert_eq!(shop.row(1).await.hold.map(|h| h.id), Some(id));
    assert_eq!(shop.row(2).await.held_reason, None);
    // A person decides while it is in quarantine.
    quarantine().await;
    decide(&shop.holds_env(), id, Decision::Accept, "mika", None)
        .await
        .unwrap();
    assert_eq!(
        shop.t.text(held).await,
        "quarantined",
        "only a person who resumes it ends that"
    );
    assert_eq!(shop.row(1).await.hold, None);
    resume().await;
    assert_eq!(shop.t.text(held).await, "nothing");
}

#[actix::test]
async fn zero_meanwhile_empties_the_listing_until_it_is_decided() {
    let shop = Shop::new(1).await;
    let new = hold(
        &shop,
        HoldReason::CurrencyChanged,
        (1, 1_200),
        Meanwhile::Zero,
        HoldDefault::Recheck,
    );
    let mut told = shop.committed.subscribe();
    let id = open(&shop, new).await;
    assert_eq!(
        shop.number("SELECT wanted_quantity FROM listing_platforms").await,
        0
    );
    assert_eq!(
        told.recv().await.unwrap().listings,
        [ListingId(1)],
        "its syncer hears of it"
    );
    let decided = decide(&shop.holds_env(), id, Decision::Accept, "mika", None)
        .await
        .unwrap();
    assert_eq!(decided.listings, [ListingId(1)]);
    assert_eq!(
        shop.number("SELECT wanted_quantity FROM listing_platforms").await,
        1
    );
}

#[actix::test]
async fn accepting_another_item_adopts_its_title_and_seller() {
    let shop = Shop::new(1).await;
    shop.t
        .run("UPDATE inventory_management SET url_status = 'changed', current_stock = 0")
        .await;
    let new = hold(
        &shop,
        HoldReason::TitleChanged,
        (1, 900),
        Meanwhile::Zero,
        HoldDefault::Reject,
    );
    let id = open(&shop, new).await;
    let decided = decide(&shop.holds_env(), id, Decision::Accept, "mika", None)
        .await
        .unwrap();
    assert_eq!(decided.state, Some(state(1, 900)));
    let row = shop
        .t
        .text("SELECT concat_ws(' ', title, seller_id, url_status) FROM inventory_management")
        .await;
    assert_eq!(row, "別のもの other active");
}

#[actix::test]
async fn accepting_a_mass_change_empties_and_leaves_the_price() {
    let shop = Shop::new(1).await;
    let new = hold(
        &shop,
        HoldReason::MassChange,
        (0, 700),
        Meanwhile::Keep,
        HoldDefault::Recheck,
    );
    let id = open(&shop, new).await;
    let decided = decide(&shop.holds_env(), id, Decision::Accept, "mika", None)
        .await
        .unwrap();
    let after = SourceState {
        url_status: UrlStatus::Active,
        ..state(0, 1_000)
    };
    assert_eq!(decided.state, Some(after));
}

#[actix::test]
async fn at_the_deadline_the_default_decides_or_a_reading_is_asked_for() {
    let shop = Shop::new(1).await;
    let id = open_step(&shop).await;
    assert_eq!(
        settle_overdue(&shop.holds_env(), &everything()).await.unwrap(),
        Default::default()
    );
    shop.clock.advance(TimeDelta::hours(1));
    let settled = settle_overdue(&shop.holds_env(), &everything()).await.unwrap();
    assert_eq!((settled.decided.len(), settled.recheck.len()), (1, 0));
    let hold = format!("SELECT concat_ws(' ', status, decided_by) FROM holds WHERE id = {id}");
    assert_eq!(shop.t.text(&hold).await, "rejected deadline");
    shop.clock.advance(TimeDelta::seconds(1));
    let new = self::hold(
        &shop,
        HoldReason::MassChange,
        (0, 1_000),
        Meanwhile::Keep,
        HoldDefault::Recheck,
    );
    let waiting = open(&shop, new).await;
    shop.clock.advance(TimeDelta::hours(2));
    let settled = settle_overdue(&shop.holds_env(), &everything()).await.unwrap();
    assert_eq!(settled.recheck.iter().map(|r| r.0).collect::<Vec<_>>(), [waiting]);
}

#[actix::test]
async fn a_thousand_that_cannot_be_resolved_and_a_bad_row_stand_before_nobody() {
    let shop = Shop::new(1_101).await;
    shop.t
        .run(
            "ALTER TABLE holds DROP CONSTRAINT holds_default_action_check;
             INSERT INTO holds (product_id, watch_id, reason, detail, base_version, proposed_stock, meanwhile,
                 default_action, deadline)
             SELECT n, n, 'mass_change', '{}', 1, 0, 'keep',
                 CASE n WHEN 600 THEN 'shrug' WHEN 601 THEN 'accept' WHEN 1101 THEN 'reject' ELSE 'recheck' END,
                 now() - interval '1 day' + n * interval '1 second' FROM generate_series(1, 1101) n;
             UPDATE holds SET proposed_stock = -1 WHERE watch_id = 601",
        )
        .await;
    let settled = settle_overdue(&shop.holds_env(), &everything()).await.unwrap();
    assert_eq!(settled.recheck.len(), 1_098);
    assert_eq!(settled.decided, [WatchId(1_101)], "the last of all");
    let failed: Vec<&str> = settled.failed.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].contains("default_action"), "{failed:?}");
    assert!(failed[1].contains("proposed_stock"), "{failed:?}");
}

#[actix::test]
async fn holds_are_listed_newest_first_and_by_filter() {
    let shop = Shop::new(1).await;
    let first = open_step(&shop).await;
    decide(&shop.holds_env(), first, Decision::Reject, "mika", None)
        .await
        .unwrap();
    shop.clock.advance(TimeDelta::seconds(1));
    let second = open_step(&shop).await;
    let mut conn = shop.t.db().conn().await.unwrap();
    let ids = |page: Vec<holds::Hold>| page.into_iter().map(|h| h.id).collect::<Vec<_>>();
    let all = holds::page(&mut conn, &HoldFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(
        all.first().map(|h| h.title.as_str()),
        Some(super::kit::title().as_str())
    );
    assert_eq!(ids(all), [second, first]);
    let open = HoldFilter {
        status: Some(HoldStatus::Open),
        reason: Some("price_step".to_owned()),
        ..HoldFilter::default()
    };
    assert_eq!(
        ids(holds::page(&mut conn, &open, None, 10).await.unwrap()),
        [second]
    );
    assert_eq!(
        ids(holds::page(&mut conn, &HoldFilter::default(), Some(second), 10)
            .await
            .unwrap()),
        [first]
    );
}
