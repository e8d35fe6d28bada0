//! The ledger on a real PostgreSQL.

use super::kit::{Shop, is_committed, news, state};
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;
use std::time::Duration;
use zaikoban::domain::{
    HoldDefault, HoldReason, ListingId, Meanwhile, NewHold, Proposal, Quantity, UrlStatus, Version,
};
use zaikoban::supervision::SendError;
use zaikoban::watch::{Change, HoldStep, Ledger, Notice, Recorded};

#[actix::test]
async fn a_change_is_written_once_its_listing_follows_and_only_then_it_is_told() {
    let shop = Shop::new(3).await;
    let (_tree, ledger) = shop.ledger().await;
    let mut told = shop.committed.subscribe();
    let recorded = ledger.send(shop.change(2, state(0, 1_000), false)).await.unwrap();
    let Recorded::Committed {
        version,
        listings,
        opened,
    } = recorded
    else {
        panic!("{recorded:?}");
    };
    assert_eq!(
        (version, listings, opened),
        (Version(2), vec![ListingId(2)], None)
    );
    let row = shop.row(2).await;
    assert_eq!((row.version, row.state), (Version(2), Some(state(0, 1_000))));
    assert_eq!(row.last_verified_at, Some(shop.clock.now()));
    let history = "SELECT string_agg(concat_ws(' ', watch_id, version, previous_stock, new_stock, change_type, explained), ';') \
                   FROM stock_history";
    assert_eq!(shop.t.text(history).await, "2 2 1 0 stock_change f");
    let listing = "SELECT concat_ws(' ', id, wanted_quantity, wanted_version, wanted_cause->>'rule') FROM listing_platforms \
                   WHERE wanted_version > 1";
    assert_eq!(shop.t.text(listing).await, "2 0 2 out_of_stock");
    let job = "SELECT concat_ws(' ', queue_name, listing_id, priority) FROM processing_queue";
    assert_eq!(shop.t.text(job).await, "platform_sync 2 1");
    let event = told.recv().await.unwrap();
    assert_eq!(
        (event.version, event.before, event.after),
        (Version(2), Some(state(1, 1_000)), state(0, 1_000))
    );
    assert!(told.try_recv().is_err());
}

#[actix::test]
async fn an_unchanged_check_writes_when_it_was_and_nothing_else() {
    let shop = Shop::new(1).await;
    let (_tree, ledger) = shop.ledger().await;
    let before = shop
        .t
        .text("SELECT concat_ws(' ', updated_at, version, current_stock, title) FROM inventory_management")
        .await;
    let recorded = ledger.send(shop.record(1, None)).await.unwrap();
    assert!(is_committed(&recorded, 1), "{recorded:?}");
    let after = shop
        .t
        .text("SELECT concat_ws(' ', updated_at, version, current_stock, title) FROM inventory_management")
        .await;
    assert_eq!(before, after);
    let row = shop.row(1).await;
    assert_eq!(
        (row.last_verified_at, row.rate_shape, row.rate_hours),
        (Some(shop.clock.now()), 1.0, 10.0)
    );
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 0);
}

#[actix::test]
async fn a_record_on_an_old_version_is_told_what_stands() {
    let shop = Shop::new(2).await;
    let (_tree, ledger) = shop.ledger().await;
    shop.t
        .run("UPDATE inventory_management SET version = 5, current_stock = 9")
        .await;
    for record in [shop.change(1, state(0, 1_000), false), shop.record(2, None)] {
        match ledger.send(record).await.unwrap() {
            Recorded::Stale(row) => assert_eq!((row.version, row.state), (Version(5), Some(state(9, 1_000)))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 0);
}

#[actix::test]
async fn a_watch_that_is_gone_is_missing() {
    let shop = Shop::new(1).await;
    let (_tree, ledger) = shop.ledger().await;
    let recorded = ledger.send(shop.record(7, None)).await.unwrap();
    assert!(matches!(recorded, Recorded::Missing), "{recorded:?}");
}

/// The connection broke around COMMIT, and the same group is written again.
#[actix::test]
async fn a_commit_whose_answer_was_lost_counts_once() {
    let shop = Shop::new(1).await;
    let (_tree, ledger) = shop.ledger().await;
    let record = shop.change(1, state(0, 1_000), false);
    let mut told = shop.committed.subscribe();
    for _ in 0..2 {
        let recorded = ledger.send(record.clone()).await.unwrap();
        assert!(is_committed(&recorded, 2), "{recorded:?}");
        assert_eq!(told.recv().await.unwrap().version, Version(2));
    }
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 1);
    assert_eq!(shop.row(1).await.version, Version(2));
}

/// The same where no version tells: a hold is opened, and nothing else changes.
#[actix::test]
async fn a_hold_whose_commit_was_not_answered_is_opened_once() {
    let shop = Shop::new(2).await;
    let (_tree, ledger) = shop.ledger().await;
    let hold = |reason| NewHold {
        reason,
        detail: serde_json::json!({}),
        proposed: Proposal {
            stock: Quantity::ZERO,
            price: None,
        },
        meanwhile: Meanwhile::Keep,
        default_action: HoldDefault::Recheck,
        deadline: shop.clock.now(),
        fetched_at: shop.clock.now(),
    };
    let mut news = news(None, true);
    news.hold = HoldStep::Open(Box::new(hold(HoldReason::PriceStep)));
    let record = shop.record(1, Some(news.clone()));
    for _ in 0..2 {
        match ledger.send(record.clone()).await.unwrap() {
            Recorded::Committed { opened, .. } => assert_eq!(opened.map(|h| h.id.0), Some(1)),
            other => panic!("{other:?}"),
        }
    }
    news.hold = HoldStep::Open(Box::new(hold(HoldReason::MassChange)));
    let mass = shop.record(2, Some(news));
    for _ in 0..2 {
        match ledger.send(mass.clone()).await.unwrap() {
            Recorded::MassHeld { hold, .. } => assert_eq!(hold.id.0, 2),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shop.number("SELECT count(*) FROM holds").await, 2);
    // Decided before it was written again: what stands now is told, not what was.
    shop.t
        .run("UPDATE holds SET status = 'rejected', decided_at = now() WHERE id = 1")
        .await;
    let again = ledger.send(record).await.unwrap();
    assert!(matches!(again, Recorded::Stale(_)), "{again:?}");
    assert_eq!(shop.number("SELECT count(*) FROM holds").await, 2);
}

#[actix::test]
async fn what_was_not_recorded_is_no_news_for_a_person() {
    let shop = Shop::new(2).await;
    let (_tree, ledger) = shop.ledger().await;
    let rise = |id| {
        let mut record = shop.change(id, state(1, 9_000), true);
        record.news.as_mut().unwrap().notice = Some(Notice {
            code: "price_rise",
            message: "it rose".to_owned(),
            detail: serde_json::json!({}),
        });
        record
    };
    shop.t
        .run("UPDATE inventory_management SET version = 5 WHERE id = 1")
        .await;
    let answers = join_all([rise(1), rise(2), rise(3)].map(|record| ledger.send(record))).await;
    assert!(matches!(answers[0], Ok(Recorded::Stale(_))), "{answers:?}");
    assert!(matches!(answers[2], Ok(Recorded::Missing)), "{answers:?}");
    let told = until("the notice", || async {
        let rows = shop
            .t
            .text("SELECT string_agg(product_id::text, ',' ORDER BY product_id) FROM inventory_errors")
            .await;
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(told.await, "2");
}

#[actix::test]
async fn of_a_group_with_one_bad_record_the_others_are_committed() {
    let shop = Shop::new(100).await;
    let (_tree, ledger) = shop.ledger().await;
    let records = (1..=100).map(|id| {
        let mut record = match id % 2 {
            0 => shop.record(id, None),
            _ => shop.change(id, state(1, 1_100), false),
        };
        if id == 37 {
            record.rate_shape = -1.0; // against a constraint of the table
        }
        record
    });
    let answers = join_all(records.map(|record| ledger.send(record))).await;
    for (id, answer) in (1..=100).zip(answers) {
        let answer = answer.unwrap();
        match id {
            37 => assert!(matches!(answer, Recorded::Rejected { .. }), "{answer:?}"),
            id if id % 2 == 0 => assert!(is_committed(&answer, 1), "{id}: {answer:?}"),
            _ => assert!(is_committed(&answer, 2), "{id}: {answer:?}"),
        }
    }
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 49);
    assert_eq!(shop.row(37).await.version, Version(1));
    let errors =
        "SELECT string_agg(concat_ws(' ', error_code, product_id, count), ';') FROM inventory_errors";
    assert_eq!(shop.t.text(errors).await, "23514 37 1");
}

#[actix::test]
async fn while_the_database_is_away_nothing_is_acknowledged_and_nothing_is_lost() {
    let shop = Shop::new(2).await;
    let (_tree, ledger) = shop.ledger().await;
    let mut can_commit = shop.can_commit.subscribe();
    can_commit.wait_for(|can| *can).await.unwrap();
    let away = format!(
        "ALTER DATABASE {0} ALLOW_CONNECTIONS false; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}'",
        shop.t.name()
    );
    let mut admin = crate::support::pg::admin().await;
    diesel_async::SimpleAsyncConnection::batch_execute(&mut admin, &away)
        .await
        .unwrap();
    let waiting = ledger.send(shop.change(1, state(0, 1_000), false));
    tokio::pin!(waiting);
    tokio::select! {
        answer = &mut waiting => panic!("acknowledged: {answer:?}"),
        told = can_commit.wait_for(|can| !*can) => assert!(told.is_ok()),
    }
    let back = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", shop.t.name());
    diesel_async::SimpleAsyncConnection::batch_execute(&mut admin, &back)
        .await
        .unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap()
        .unwrap();
    assert!(is_committed(&answer, 2), "{answer:?}");
    assert!(*can_commit.borrow());
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 1);
}

/// Makes the ledger panic.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Boom;

impl actix::Handler<Boom> for Ledger {
    type Result = ();

    fn handle(&mut self, _: Boom, _: &mut actix::Context<Self>) {
        panic!("boom");
    }
}

#[actix::test]
async fn a_panic_answers_all_that_wait_at_once() {
    let shop = Shop::new(20).await;
    let (_tree, ledger) = shop.ledger().await;
    let mut other = shop.t.db().conn().await.unwrap();
    other
        .batch_execute("BEGIN; SELECT 1 FROM inventory_management FOR UPDATE")
        .await
        .unwrap();
    // Some are being written, the others are waiting to be.
    let first = join_all((1..=10).map(|id| ledger.send(shop.change(id, state(1, 1_100), true))));
    let boom = async {
        until("the ledger writes", || async {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (shop.number(waiting).await > 0).then_some(())
        })
        .await;
        let second = join_all((11..=20).map(|id| ledger.send(shop.record(id, None))));
        let (second, boom) = tokio::join!(second, ledger.send(Boom));
        assert_eq!(boom, Err(SendError::Crashed));
        second
    };
    let all = async { tokio::join!(first, boom) };
    let (first, second) = tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("nobody is left waiting");
    for answer in first.into_iter().chain(second) {
        assert_eq!(answer.err(), Some(SendError::Crashed));
    }
    other.batch_execute("COMMIT").await.unwrap();
    // The next life writes, whatever became of the records in its hands.
    let answer = until("the next life", || async {
        ledger.send(shop.record(20, None)).await.ok()
    });
    assert!(is_committed(&answer.await, 1));
}

#[actix::test]
async fn e2_too_many_that_go_out_of_stock_at_once_wait_and_a_person_is_told_once() {
    let shop = Shop::new(5_000).await;
    let (_tree, ledger) = shop.ledger().await;
    let records = (1..=5_000).map(|id| shop.change(id, state(0, 1_000), false));
    let answers = join_all(records.map(|record| ledger.send(record))).await;
    let mut passed = 0;
    for answer in answers {
        match answer.unwrap() {
            Recorded::Committed { .. } => passed += 1,
            Recorded::MassHeld { version, change, .. } => assert_eq!((version, change), (Version(1), None)),
            other => panic!("{other:?}"),
        }
    }
    assert!(passed < 250, "5 % of 5,000 is too many, and {passed} passed");
    assert_eq!(
        shop.number("SELECT count(*) FROM listing_platforms WHERE wanted_version > 1")
            .await,
        passed
    );
    assert_eq!(
        shop.number("SELECT count(*) FROM inventory_management WHERE current_stock = 0")
            .await,
        passed
    );
    let holds = "SELECT count(*) FROM holds WHERE status = 'open' AND reason = 'mass_change' AND meanwhile = 'keep' \
                 AND default_action = 'recheck' AND proposed_stock = 0 AND base_version = 1";
    assert_eq!(shop.number(holds).await, 5_000 - passed);
    let hold = shop.row(5_000).await.hold.unwrap();
    assert_eq!(
        hold.url_status,
        Some(UrlStatus::Active),
        "what a person is asked about"
    );
    let errors =
        "SELECT string_agg(concat_ws(' ', error_code, severity, platform), ';') FROM inventory_errors";
    let told = until("the error row", || async {
        let rows = shop.t.text(errors).await;
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(told.await, "mass_change critical yahoo_auction");
}

#[actix::test]
async fn a_large_shop_that_is_looked_at_slowly_is_not_emptied_page_by_page() {
    let shop = Shop::new(5_000).await;
    let (tree, ledger) = shop.ledger().await;
    let mut passed = 0;
    for id in 1..=40 {
        let recorded = ledger
            .send(shop.change(id, state(0, 1_000), false))
            .await
            .unwrap();
        passed += i64::from(is_committed(&recorded, 2));
    }
    assert_eq!(passed, 9, "every look of forty, though 5 % would be 250");
    assert_eq!(
        shop.t.text("SELECT DISTINCT detail->>'of' FROM holds").await,
        "5000"
    );
    // After a restart it is known how many were looked at, too.
    let _ = tree.stop(Duration::from_secs(5)).await;
    let seen = format!(
        "UPDATE inventory_management SET last_verified_at = '{}'",
        shop.clock.now()
    );
    shop.t.run(&seen).await;
    let (_tree, ledger) = shop.ledger().await;
    let one = ledger
        .send(shop.change(41, state(0, 1_000), false))
        .await
        .unwrap();
    assert!(is_committed(&one, 2), "ten of 5,000 looks: {one:?}");
}

#[actix::test]
async fn a_restart_in_the_middle_is_no_way_around_the_blast_radius() {
    let shop = Shop::new(100).await;
    let (tree, ledger) = shop.ledger().await;
    for id in 1..=9 {
        let recorded = ledger
            .send(shop.change(id, state(0, 1_000), false))
            .await
            .unwrap();
        assert!(is_committed(&recorded, 2), "{recorded:?}");
    }
    let _ = tree.stop(Duration::from_secs(5)).await;
    let (_tree, ledger) = shop.ledger().await;
    let tenth = ledger
        .send(shop.change(10, state(0, 1_000), false))
        .await
        .unwrap();
    assert!(matches!(tenth, Recorded::MassHeld { .. }), "{tenth:?}");
}

#[actix::test]
async fn five_thousand_auctions_that_end_at_their_appointment_are_followed_and_not_held() {
    let shop = Shop::new(5_000).await;
    let (_tree, ledger) = shop.ledger().await;
    let records = (1..=5_000).map(|id| shop.change(id, state(0, 1_000), true));
    for answer in join_all(records.map(|record| ledger.send(record))).await {
        assert!(is_committed(&answer.unwrap(), 2));
    }
    assert_eq!(shop.number("SELECT count(*) FROM holds").await, 0);
    let followed = "SELECT count(*) FROM listing_platforms WHERE wanted_quantity = 0 AND wanted_cause->>'explained' = 'true'";
    assert_eq!(shop.number(followed).await, 5_000);
    assert_eq!(
        shop.number("SELECT count(*) FROM stock_history WHERE explained")
            .await,
        5_000
    );
}

#[actix::test]
async fn a_dearer_price_does_not_wait_with_the_emptying() {
    let shop = Shop::new(20).await;
    let (_tree, ledger) = shop.ledger().await;
    let records = (1..=20).map(|id| shop.change(id, state(0, 1_500), false));
    let answers = join_all(records.map(|record| ledger.send(record))).await;
    let held = answers
        .into_iter()
        .map(Result::unwrap)
        .find_map(|answer| match answer {
            Recorded::MassHeld {
                version,
                change,
                hold,
            } => Some((version, change, hold)),
            _ => None,
        });
    let (version, change, hold) = held.unwrap();
    assert_eq!(version, Version(2));
    assert_eq!(change.unwrap().after, state(1, 1_500));
    let on = format!("SELECT base_version FROM holds WHERE id = {}", hold.id);
    assert_eq!(
        shop.number(&on).await,
        2,
        "an open hold stands on the current version"
    );
}

#[actix::test]
async fn a_change_goes_before_the_listing_that_it_moves_and_not_beside_it() {
    let shop = Shop::new(1).await;
    let (_tree, ledger) = shop.ledger().await;
    // A listing's row that cannot be read is that record's trouble and nobody else's.
    shop.t
        .run(
            "ALTER TABLE listing_platforms DROP CONSTRAINT listing_platforms_platform_check; \
                UPDATE listing_platforms SET platform = 'flea_market'",
        )
        .await;
    let recorded = ledger.send(shop.change(1, state(0, 1_000), false)).await.unwrap();
    assert!(matches!(recorded, Recorded::Rejected { .. }), "{recorded:?}");
    assert_eq!(
        shop.row(1).await.version,
        Version(1),
        "nothing of it is half there"
    );
    let unchanged = ledger.send(shop.record(1, None)).await.unwrap();
    assert!(is_committed(&unchanged, 1));
}

#[actix::test]
async fn what_is_only_remembered_moves_no_version() {
    let shop = Shop::new(1).await;
    let (_tree, ledger) = shop.ledger().await;
    let mut gone = news(None, false);
    gone.gone_since = Some(shop.clock.now());
    let recorded = ledger.send(shop.record(1, Some(gone))).await.unwrap();
    assert!(is_committed(&recorded, 1), "{recorded:?}");
    assert_eq!(shop.row(1).await.gone_since, Some(shop.clock.now()));
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 0);
    let change = Change::between(Some(state(1, 1_000)), state(1, 900), true).unwrap();
    let recorded = ledger
        .send(shop.record(1, Some(news(Some(change), true))))
        .await
        .unwrap();
    assert!(is_committed(&recorded, 2), "{recorded:?}");
}
