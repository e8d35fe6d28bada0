//! The syncer on a real PostgreSQL against a destination in memory.

mod aside;
mod back;
mod budget;
mod bulk;
pub mod fake;
mod holds;
mod link;
mod odd;
mod races;
pub mod rush;
pub mod stage;

use crate::support::wait::until;
use fake::Does;
use stage::{Stage, q, quick, shows, usd};
use zaikoban::domain::{ListingId, ListingStatus};
use zaikoban::store::listings;
use zaikoban::store::platform_state::{self, Scope};
use zaikoban::sync::SyncSettings;
use zaikoban::sync::outlet::Urgency;
use zaikoban::sync::radius::RadiusSettings;

#[actix::test]
async fn e10_what_moved_twice_before_the_look_is_one_push_of_the_newest() {
    let mut s = Stage::new(1).await;
    s.want(1, 1, usd(25)).await;
    s.want(1, 1, usd(30)).await;
    s.start();
    let row = s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(1, 30));
    assert_eq!(s.fake.asked().len(), 1, "{:?}", s.fake.asked());
    assert_eq!((row.synced_version.0, row.basis.confirmed), (2, shows(1, 30)));
}

#[actix::test]
async fn a_push_under_way_is_never_overtaken_and_the_newest_follows_it() {
    let mut s = Stage::new(1).await;
    s.start();
    let door = s.fake.hold_writes().await;
    s.want(1, 1, usd(25)).await;
    s.writes(1, 1).await;
    s.want(1, 1, usd(26)).await;
    s.want(1, 0, None).await;
    s.look().await;
    drop(door);
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(0, 25));
    assert_eq!(s.fake.writes_to("sku-1"), [("revise", None), ("revise", Some(0))]);
    assert_eq!(s.fake.overlaps(), 0);
}

#[actix::test]
async fn many_changes_go_out_in_batches_of_twenty_five() {
    let mut s = Stage::new(60).await;
    for id in 1..=60 {
        s.want(id, 1, usd(25)).await;
    }
    s.start();
    for id in 1..=60 {
        s.in_line(id).await;
    }
    let mut sizes = std::collections::BTreeMap::new();
    for asked in s.fake.asked() {
        *sizes.entry(asked.call).or_insert(0) += 1;
    }
    let mut sizes: Vec<usize> = sizes.into_values().collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 25, 25]);
}

#[actix::test]
async fn zeros_go_before_everything_and_do_not_wait_for_room() {
    let settings = SyncSettings {
        changes_at_once: 1,
        ..quick()
    };
    let mut s = Stage::with(5, settings).await;
    s.start();
    let door = s.fake.hold_writes().await;
    for id in 1..=4 {
        s.want(id, 1, usd(25)).await;
    }
    until("the room to be full", || async {
        (!s.fake.asked().is_empty()).then_some(())
    })
    .await;
    s.want(5, 0, None).await;
    s.writes(5, 1).await;
    assert_eq!(
        s.fake.asked().len(),
        2,
        "one change and the zero: {:?}",
        s.fake.asked()
    );
    let last = s.fake.asked().pop().unwrap();
    assert_eq!((last.sku.as_str(), last.urgency), ("sku-5", Urgency::Zero));
    drop(door);
    for id in 1..=5 {
        s.in_line(id).await;
    }
}

#[actix::test]
async fn on_a_restock_the_price_goes_before_the_quantity_and_a_look_between() {
    let mut s = Stage::new(1).await;
    s.t.run("UPDATE listing_platforms SET current_quantity = 0").await;
    s.fake.show("sku-1", shows(0, 20));
    s.want(1, 3, usd(25)).await;
    s.start();
    s.in_line(1).await;
    let asked: Vec<_> = s
        .fake
        .asked()
        .into_iter()
        .map(|a| (a.what, a.quantity, a.price))
        .collect();
    assert_eq!(
        asked,
        [
            ("revise", None, usd(25)),
            ("read", None, None),
            ("revise", Some(q(3)), None),
        ]
    );
}

#[actix::test]
async fn only_the_fields_that_differ_are_sent_and_an_equal_state_sends_nothing() {
    let mut s = Stage::new(3).await;
    s.want(1, 1, usd(20)).await;
    s.want(2, 1, usd(22)).await;
    s.want(3, 0, usd(20)).await;
    s.start();
    for id in 1..=3 {
        s.in_line(id).await;
    }
    assert!(s.fake.writes_to("sku-1").is_empty());
    let sent = |sku: &str| {
        let all = s.fake.asked();
        let first = all.into_iter().find(|a| a.sku == sku).unwrap();
        (first.quantity, first.price)
    };
    assert_eq!(sent("sku-2"), (None, usd(22)));
    assert_eq!(sent("sku-3"), (Some(q(0)), None));
}

#[actix::test]
async fn a_sale_over_there_is_held_and_not_undone_and_a_zero_still_passes() {
    let mut s = Stage::new(1).await;
    s.t.run("UPDATE listing_platforms SET current_quantity = 3").await;
    s.fake.show("sku-1", shows(2, 20));
    s.start();
    s.want(1, 5, usd(20)).await;
    let row = s.held(1, "remote_sale").await;
    assert_eq!(
        row.basis.confirmed.quantity,
        q(2),
        "what was read is what is believed"
    );
    assert!(s.fake.writes_to("sku-1").is_empty());
    assert_eq!(
        s.t.text("SELECT status || ' ' || proposed_stock FROM holds WHERE listing_id = 1")
            .await,
        "open 5"
    );
    s.want(1, 0, None).await;
    s.writes(1, 1).await;
    until("the zero to stand", || async {
        (s.fake.shown("sku-1").quantity == q(0)).then_some(())
    })
    .await;
    s.want(1, 4, usd(20)).await;
    s.t.db()
        .transaction(|conn| {
            Box::pin(
                async move { listings::release(conn, ListingId(1), "hana", Some("bought one more")).await },
            )
        })
        .await
        .unwrap();
    s.look().await;
    let row = s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(4, 20));
    assert_eq!(row.wanted_cause.unwrap()["approved_by"], "hana");
    assert_eq!(
        s.t.text("SELECT status || decided_by FROM holds").await,
        "acceptedhana"
    );
}

#[actix::test]
async fn d26_the_days_revisions_are_a_budget_with_twenty_five_kept_for_zeros() {
    let mut s = Stage::new(2).await;
    s.t.run(
        "UPDATE listing_platforms SET revisions = 225, revisions_day = (now() AT TIME ZONE 'America/Los_Angeles')::date",
    )
    .await;
    s.start();
    s.want(1, 1, usd(25)).await;
    until("the change to wait for tomorrow", || async {
        let far = s
            .t
            .text("SELECT count(*) FROM processing_queue WHERE scheduled_at > now() + interval '1 second'")
            .await;
        (far == "1").then_some(())
    })
    .await;
    s.want(2, 0, None).await;
    s.in_line(2).await;
    assert!(s.fake.writes_to("sku-1").is_empty());
    assert_eq!(s.row(2).await.revisions, 226);
    // The waiting change does not keep a zero of the same listing waiting.
    s.want(1, 0, None).await;
    s.in_line(1).await;
}

#[actix::test]
async fn an_emergency_stop_sends_nothing_and_forgets_nothing() {
    let mut s = Stage::new(2).await;
    let pool = s.t.db().clone();
    let set = |scope: Scope, paused: bool| {
        let db = pool.clone();
        async move {
            let mut conn = db.conn().await.unwrap();
            platform_state::set_paused(&mut conn, scope, paused, "hana")
                .await
                .unwrap()
        }
    };
    assert!(set(Scope::Everything, true).await);
    assert!(!set(Scope::Everything, true).await, "already");
    s.start();
    s.want(1, 0, None).await;
    s.want(2, 1, usd(30)).await;
    until("a few looks", || async {
        s.status().await.last_look_at.map(|_| ())
    })
    .await;
    s.look().await;
    assert_eq!(s.fake.asked(), []);
    assert!(set(Scope::Everything, false).await);
    s.in_line(1).await;
    s.in_line(2).await;
    assert_eq!(s.fake.shown("sku-1"), shows(0, 20));
}

#[actix::test]
async fn a_paused_listing_is_left_and_taken_up_again() {
    let mut s = Stage::new(1).await;
    s.start();
    let mut conn = s.t.db().conn().await.unwrap();
    listings::pause(&mut conn, &[ListingId(1)]).await.unwrap();
    s.want(1, 1, usd(30)).await;
    assert_eq!(s.jobs_of(1).await, "0");
    assert_eq!(
        s.row(1).await.wanted_version.0,
        1,
        "what is wanted is kept up to date"
    );
    listings::resume(&mut conn, &[ListingId(1)]).await.unwrap();
    s.look().await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(1, 30));
}

#[actix::test]
async fn an_outage_uses_up_no_attempt() {
    let mut s = Stage::new(2).await;
    for _ in 0..6 {
        s.fake.will("sku-1", Does::Away);
    }
    s.fake.will("sku-2", Does::NotSend);
    s.start();
    s.want(1, 1, usd(30)).await;
    s.want(2, 1, usd(30)).await;
    s.in_line(1).await;
    s.in_line(2).await;
    assert_eq!(s.fake.writes_to("sku-1").len(), 7);
    assert_eq!(
        s.t.text("SELECT max(retry_count) FROM processing_queue").await,
        "0"
    );
    assert_eq!(s.t.text("SELECT count(*) FROM holds").await, "0");
    // While the way out is closed nothing is even taken.
    s.fake.shut(true);
    s.want(1, 0, None).await;
    s.look().await;
    assert_eq!(
        s.t.text("SELECT status FROM processing_queue WHERE listing_id = 1 ORDER BY id DESC LIMIT 1")
            .await,
        "pending"
    );
    s.fake.shut(false);
    s.in_line(1).await;
}

#[actix::test]
async fn d24_a_refusal_is_a_dead_letter_and_a_hold_until_other_values_are_wanted() {
    let mut s = Stage::new(1).await;
    s.fake.will("sku-1", Does::Refuse);
    s.start();
    s.want(1, 1, usd(30)).await;
    s.held(1, "refused").await;
    assert_eq!(s.t.text("SELECT status FROM processing_queue").await, "dead");
    assert_eq!(
        s.t.text("SELECT count(*) FROM inventory_errors WHERE NOT resolved")
            .await,
        "1"
    );
    assert_eq!(
        s.t.text("SELECT outcome FROM sync_log ORDER BY id DESC LIMIT 1")
            .await,
        "rejected"
    );
    s.want(1, 1, usd(31)).await;
    let row = s.in_line(1).await;
    assert_eq!((row.held_reason, s.fake.shown("sku-1")), (None, shows(1, 31)));
    assert_eq!(s.t.text("SELECT status FROM holds").await, "superseded");
}

#[actix::test]
async fn a_zero_that_is_refused_because_the_listing_is_gone_is_done() {
    let mut s = Stage::new(1).await;
    s.fake.will("sku-1", Does::Refuse);
    let gone = zaikoban::domain::ListingState {
        status: ListingStatus::Ended,
        ..shows(1, 20)
    };
    s.fake.show("sku-1", gone);
    s.start();
    s.want(1, 0, None).await;
    let row = s.in_line(1).await;
    assert_eq!(
        (row.basis.confirmed.status, row.held_reason),
        (ListingStatus::Ended, None)
    );
}

#[actix::test]
async fn d23_a_zero_that_does_not_take_is_said_again_and_then_held() {
    let mut s = Stage::new(1).await;
    s.fake.will("sku-1", Does::Pretend);
    s.start();
    s.want(1, 0, None).await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(0, 20));
    assert_eq!(s.fake.writes_to("sku-1").len(), 2);
    s.fake.show("sku-1", shows(0, 20));
    s.want(1, 1, usd(20)).await;
    s.in_line(1).await;
    for _ in 0..10 {
        s.fake.will("sku-1", Does::Pretend);
    }
    s.fake.forget();
    s.want(1, 0, None).await;
    s.held(1, "not_applied").await;
    assert_eq!(s.fake.writes_to("sku-1").len(), 4, "once and three times more");
    assert_eq!(
        s.t.text("SELECT severity FROM inventory_errors WHERE error_code = 'not_applied'")
            .await,
        "critical"
    );
}

#[actix::test]
async fn after_an_answer_that_was_lost_the_deadline_is_waited_out_and_the_destination_read() {
    let mut s = Stage::new(2).await;
    s.fake.will("sku-1", Does::LoseAnswer);
    s.fake.will("sku-2", Does::LoseRequest);
    s.start();
    s.want(1, 1, usd(25)).await;
    s.want(2, 1, usd(25)).await;
    s.writes(1, 1).await;
    s.writes(2, 1).await;
    let deadline = until("the outcome to be unknown", || async {
        let unknown =
            s.t.text("SELECT count(*) FROM sync_log WHERE outcome = 'unknown'")
                .await;
        (unknown == "2").then_some(())
    });
    deadline.await;
    s.want(1, 1, usd(26)).await;
    s.in_line(1).await;
    s.in_line(2).await;
    assert_eq!(
        (s.fake.shown("sku-1"), s.fake.shown("sku-2")),
        (shows(1, 26), shows(1, 25))
    );
    for sku in ["sku-1", "sku-2"] {
        let what: Vec<_> = s
            .fake
            .asked()
            .into_iter()
            .filter(|a| a.sku == sku)
            .map(|a| a.what)
            .collect();
        assert_eq!(what, ["revise", "read", "revise", "read"], "{sku}");
    }
    let waited =
        s.t.text(
            "SELECT bool_and(r.sent_at >= w.sent_at + interval '3 seconds') FROM sync_log w JOIN sync_log r \
               ON r.listing_id = w.listing_id AND r.kind = 'read' WHERE w.outcome = 'unknown'",
        )
        .await;
    assert_eq!(waited, "true");
}

#[actix::test]
async fn over_the_radius_further_listings_are_held_unless_explained_or_approved() {
    let settings = SyncSettings {
        radius: RadiusSettings {
            per_hour: 2,
            per_day: 2,
            share_per_hour_bp: 0,
            share_per_day_bp: 0,
        },
        ..quick()
    };
    let mut s = Stage::with(5, settings).await;
    s.start();
    for id in 1..=2 {
        s.want(id, 0, None).await;
        s.in_line(id).await;
    }
    s.want(3, 0, None).await;
    s.held(3, "radius").await;
    s.want_because(
        4,
        0,
        None,
        serde_json::json!({ "rule": "out_of_stock", "explained": true }),
    )
    .await;
    s.in_line(4).await;
    assert_eq!(s.fake.shown("sku-3"), shows(1, 20));
    assert_eq!(
        s.t.text("SELECT count FROM inventory_errors WHERE error_code = 'radius'")
            .await,
        "1"
    );
    s.t.db()
        .transaction(|conn| {
            Box::pin(async move { listings::release(conn, ListingId(3), "hana", None).await })
        })
        .await
        .unwrap();
    s.look().await;
    s.in_line(3).await;
    assert_eq!(s.fake.shown("sku-3"), shows(0, 20));
    // A price is counted apart.
    s.want(5, 1, usd(25)).await;
    s.in_line(5).await;
    // What was sent before a restart counts after it.
    s.replace();
    s.want(5, 0, None).await;
    s.held(5, "radius").await;
}

#[actix::test]
async fn what_a_deadline_released_counts_against_the_radius_and_a_persons_word_does_not() {
    let settings = SyncSettings {
        radius: RadiusSettings {
            per_hour: 2,
            per_day: 2,
            share_per_hour_bp: 0,
            share_per_day_bp: 0,
        },
        ..quick()
    };
    let mut s = Stage::with(5, settings).await;
    s.start();
    let because = |by: &str| serde_json::json!({ "rule": "out_of_stock", "approved_by": by });
    for id in 1..=2 {
        s.want_because(id, 0, None, because("deadline")).await;
        s.in_line(id).await;
    }
    s.want_because(3, 0, None, because("deadline")).await;
    s.held(3, "radius").await;
    s.want_because(4, 0, None, because("hana")).await;
    s.in_line(4).await;
    // After a restart they are counted from the log.
    s.replace();
    s.want(5, 0, None).await;
    s.held(5, "radius").await;
}

#[actix::test]
async fn what_nobody_told_of_is_found_by_the_sweep() {
    let mut s = Stage::new(1).await;
    s.start();
    s.in_line(1).await;
    s.t.run("UPDATE listing_platforms SET wanted_quantity = 0, wanted_status = 'active', wanted_version = 1")
        .await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(0, 20));
    assert_eq!(s.status().await.forgotten, 1);
}

#[actix::test]
async fn an_end_is_an_end_and_a_return_is_listed_again_with_its_values_first() {
    let mut s = Stage::new(1).await;
    s.start();
    s.want(1, 0, None).await;
    s.in_line(1).await;
    s.t.run("UPDATE listing_platforms SET wanted_status = 'ended', wanted_version = wanted_version + 1")
        .await;
    s.writes(1, 2).await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1").status, ListingStatus::Ended);
    s.want(1, 2, usd(30)).await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(2, 30));
    let writes = s.fake.writes_to("sku-1");
    assert_eq!(
        writes,
        [
            ("revise", Some(0)),
            ("end", None),
            ("revise", Some(2)),
            ("relist", None)
        ]
    );
}

#[actix::test]
async fn the_log_says_what_was_sent_and_measures_from_the_page() {
    let mut s = Stage::new(1).await;
    s.start();
    let cause =
        serde_json::json!({ "rule": "in_stock", "fetched_at": zaikoban::clock::Clock::system().now() });
    s.want_because(1, 1, usd(25), cause).await;
    s.in_line(1).await;
    let row =
        s.t.text(
            "SELECT concat_ws(' ', kind, outcome, old_price, new_price, new_quantity IS NULL, \
             answered_at - fetched_at BETWEEN interval '0' AND interval '5 seconds') FROM sync_log",
        )
        .await;
    assert_eq!(row, "revise accepted 20.00 25.00 t t");
    let mut conn = s.t.db().conn().await.unwrap();
    let since = zaikoban::clock::Clock::system().now() - chrono::TimeDelta::hours(1);
    let delays =
        zaikoban::store::sync_log::delays(&mut conn, zaikoban::domain::DestinationPlatform::Ebay, since)
            .await
            .unwrap();
    assert_eq!(delays.pushes, 1);
    assert!(delays.p99_ms.unwrap() < 5_000.0);
}

#[actix::test]
async fn the_price_at_the_start_of_the_day_is_kept_for_the_daily_step() {
    let mut s = Stage::new(1).await;
    s.start();
    s.want(1, 1, usd(22)).await;
    s.in_line(1).await;
    s.want(1, 1, usd(24)).await;
    let row = s.in_line(1).await;
    assert_eq!(row.basis.day_price, usd(20));
    assert_eq!(
        row.basis.day_price_on,
        Some(zaikoban::pricing::day_of(zaikoban::clock::Clock::system().now()))
    );
}
