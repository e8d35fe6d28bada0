//! Rows and answers that no rule of ours wrote, and a database that is slow.

use super::fake::Does;
use super::stage::{Stage, book, quick, shows, usd};
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::platform::Objection;
use zaikoban::sync::SyncSettings;
use zaikoban::sync::reprice::{Repriced, Scope, reprice};

#[actix::test]
async fn one_row_that_cannot_be_read_is_a_dead_letter_and_keeps_nobody_waiting() {
    let mut s = Stage::new(3).await;
    for id in 1..=3 {
        s.want(id, 1, usd(25)).await;
    }
    s.t.run(
        "UPDATE listing_platforms SET currency = 'XXX' WHERE id = 2; \
         UPDATE listing_platforms SET wanted_cause = '{\"fetched_at\": \"yesterday\", \"explained\": \"perhaps\", \
             \"again_at\": \"soon\"}' WHERE id = 3",
    )
    .await;
    s.start();
    s.in_line(1).await;
    s.in_line(3).await;
    until("the dead letter", || async {
        let dead =
            s.t.text("SELECT count(*) FROM processing_queue WHERE listing_id = 2 AND status = 'dead'")
                .await;
        (dead == "1").then_some(())
    })
    .await;
    assert_eq!(
        s.t.text("SELECT severity FROM inventory_errors WHERE error_code = 'unreadable_row'")
            .await,
        "critical"
    );
    // A restart counts what was sent, and prices are worked out for all that can be read.
    s.replace();
    s.want(1, 1, usd(26)).await;
    s.in_line(1).await;
    let done = reprice(s.t.db(), &book(), &Clock::system(), Scope::All)
        .await
        .unwrap();
    assert_eq!(
        done,
        Repriced {
            products: 3,
            moved: 2
        }
    );
    let jobs =
        s.t.text("SELECT count(*) FROM processing_queue WHERE listing_id = 2")
            .await;
    assert_eq!(jobs, "1", "no further job is made before the row is mended");
}

#[actix::test]
async fn what_opened_again_is_worked_out_once_although_nothing_moves() {
    let s = Stage::new(2).await;
    let clock = Clock::system();
    reprice(s.t.db(), &book(), &clock, Scope::All).await.unwrap();
    s.t.run("UPDATE listing_platforms SET wanted_cause = wanted_cause || '{\"again_at\": \"2020-01-01T15:00:00Z\"}' WHERE id = 1; \
             UPDATE listing_platforms SET wanted_cause = wanted_cause || '{\"again_at\": \"2999-01-01T15:00:00Z\"}' WHERE id = 2")
        .await;
    let opened = || reprice(s.t.db(), &BOOK, &clock, Scope::OpenedAgain);
    assert_eq!(opened().await.unwrap().products, 1);
    assert_eq!(opened().await.unwrap().products, 0);
    assert_eq!(
        s.t.text(
            "SELECT string_agg(wanted_version || COALESCE(wanted_cause->>'again_at', '-'), ' ' ORDER BY id) \
                  FROM listing_platforms"
        )
        .await,
        "1- 12999-01-01T15:00:00Z"
    );
}

static BOOK: std::sync::LazyLock<std::sync::Arc<zaikoban::pricing::PriceBook>> =
    std::sync::LazyLock::new(book);

#[actix::test]
async fn an_answer_with_a_nul_in_it_is_kept_without() {
    let mut s = Stage::new(2).await;
    s.fake.will("sku-1", Does::Garble);
    s.start();
    s.want(1, 1, usd(25)).await;
    s.want(2, 1, usd(25)).await;
    s.held(1, "refused").await;
    s.in_line(2).await;
    let kept =
        s.t.text("SELECT error->>'body' FROM sync_log WHERE outcome = 'rejected'")
            .await;
    assert_eq!(kept, "a\u{fffd}b");
}

#[actix::test]
async fn a_slow_claim_does_not_make_its_requests_late() {
    let settings = SyncSettings {
        sweep_s: 3_600,
        ..quick()
    };
    let mut s = Stage::with(1, settings).await;
    s.start();
    s.want(1, 1, usd(25)).await;
    s.in_line(1).await;
    // Nobody is told of the job, and the sweep is an hour away.
    s.t.run(
        "UPDATE listing_platforms SET wanted_price = 26, wanted_version = 2; \
         INSERT INTO processing_queue (queue_name, destination, product_id, listing_id, unique_key) \
         VALUES ('platform_sync', 'ebay', 1, 1, 'a test')",
    )
    .await;
    // `send_within_s` is 1 here; the claim waits for longer than that.
    let (tell, locked) = tokio::sync::oneshot::channel();
    let slow = s.t.db().transaction(move |conn| {
        Box::pin(async move {
            conn.batch_execute("LOCK TABLE processing_queue").await.unwrap();
            tell.send(()).unwrap();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            Ok(())
        })
    });
    let look = async {
        locked.await.unwrap();
        s.look().await;
    };
    let (slow, ()) = tokio::join!(slow, look);
    slow.unwrap();
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(1, 26));
    assert_eq!(s.status().await.not_sent, 0);
}

#[actix::test]
async fn a_price_that_is_never_taken_is_held_unasked_and_keeps_back_no_smaller_quantity() {
    let mut s = Stage::new(2).await;
    s.start();
    s.want(2, 5, usd(20)).await;
    s.in_line(2).await;
    s.fake.forget();
    s.fake.takes_up_to(30);
    s.want(1, 1, usd(99)).await;
    s.want(2, 3, usd(99)).await;
    let held = s.held(1, "refused").await;
    assert!(held.synced_version < held.wanted_version);
    s.held(2, "refused").await;
    assert!(s.fake.writes_to("sku-1").is_empty());
    assert_eq!(s.fake.writes_to("sku-2"), [("revise", Some(3))]);
    assert_eq!(s.fake.shown("sku-2"), shows(3, 20));
    assert_eq!(
        s.t.text("SELECT count(*) FROM processing_queue WHERE status = 'dead'")
            .await,
        "2"
    );
    // A zero goes out all the same, and another price ends the hold.
    s.want(2, 0, usd(99)).await;
    until("the zero", || async {
        s.fake.shown("sku-2").quantity.is_zero().then_some(())
    })
    .await;
    s.want(1, 1, usd(25)).await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(1, 25));
}

/// The destination takes a zero and does it late: after the raise that came next.
#[actix::test]
async fn what_is_done_late_over_a_raise_is_seen_soon_and_raised_by_nobody() {
    let settings = SyncSettings {
        read_back_after_ms: 200,
        ..quick()
    };
    let mut s = Stage::with(1, settings).await;
    s.start();
    s.fake.will("sku-1", Does::Pretend);
    s.want(1, 0, usd(20)).await;
    s.writes(1, 2).await;
    s.want(1, 3, usd(20)).await;
    s.writes(1, 3).await;
    assert_eq!(s.fake.shown("sku-1"), shows(3, 20));
    s.fake.show("sku-1", shows(0, 20));
    until("the look", || async {
        let row = s.row(1).await;
        (row.held_reason.as_deref() == Some("remote_sale")).then_some(())
    })
    .await;
    assert_eq!(s.fake.writes_to("sku-1").len(), 3);
}

/// What a destination takes and does not sell stands among the errors until a look shows that it is over.
#[actix::test]
async fn what_a_destination_objects_to_is_kept_for_a_person_until_it_is_over() {
    let settings = SyncSettings {
        read_back_after_ms: 200,
        ..quick()
    };
    let mut s = Stage::with(1, settings).await;
    s.start();
    let told = Objection::Told("it cannot be bought: Too dear (18027)".into());
    s.fake.objects("sku-1", told);
    let open = "SELECT count(*) FROM inventory_errors WHERE error_code = 'listing_objected' AND NOT resolved \
                AND error_message LIKE '%Too dear (18027)%' AND severity = 'medium'";
    let is = |n: &'static str| {
        let s = &s;
        async move {
            until("the error", || async {
                (s.t.text(open).await == n).then_some(())
            })
            .await
        }
    };
    // Each zero is looked at afterwards.
    s.want(1, 0, usd(20)).await;
    is("1").await;
    s.fake.objects("sku-1", Objection::None);
    s.want(1, 3, usd(20)).await;
    s.in_line(1).await;
    s.want(1, 0, usd(20)).await;
    is("0").await;
}
