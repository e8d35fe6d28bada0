//! What is held, what passes a hold, and what ends it.

use super::fake::Does;
use super::stage::{Stage, quick, shows, usd};
use crate::support::wait::until;
use zaikoban::domain::{ListingId, ListingState, ListingStatus};
use zaikoban::store::{jobs, listings};
use zaikoban::sync::SyncSettings;
use zaikoban::sync::radius::RadiusSettings;

async fn release(s: &Stage, id: i64) {
    s.t.db()
        .transaction(move |conn| {
            Box::pin(async move { listings::release(conn, ListingId(id), "hana", None).await })
        })
        .await
        .unwrap();
    s.look().await;
}

#[actix::test]
async fn too_many_new_prices_keep_back_prices_and_neither_zeros_nor_smaller_quantities() {
    let settings = SyncSettings {
        radius: RadiusSettings {
            per_hour: 1,
            per_day: 1,
            share_per_hour_bp: 0,
            share_per_day_bp: 0,
        },
        ..quick()
    };
    let mut s = Stage::with(3, settings).await;
    s.t.run("UPDATE listing_platforms SET current_quantity = 3").await;
    for id in 1..=3 {
        s.fake.show(&format!("sku-{id}"), shows(3, 20));
    }
    s.start();
    s.want(1, 3, usd(25)).await;
    s.in_line(1).await;
    // The price is held; the smaller quantity that came with it is not.
    s.want(2, 2, usd(25)).await;
    s.held(2, "radius_price").await;
    until("the smaller quantity", || async {
        (s.fake.shown("sku-2") == shows(2, 20)).then_some(())
    })
    .await;
    s.want(2, 1, usd(25)).await;
    until("a still smaller one", || async {
        (s.fake.shown("sku-2") == shows(1, 20)).then_some(())
    })
    .await;
    s.want(2, 0, None).await;
    s.in_line(2).await;
    assert_eq!(s.fake.shown("sku-2"), shows(0, 20));
    // One zero is as many as may be: the next is held by its own radius, whatever held its price.
    s.want(3, 3, usd(25)).await;
    s.held(3, "radius_price").await;
    s.want(3, 0, None).await;
    s.held(3, "radius").await;
    assert_eq!(s.fake.shown("sku-3"), shows(3, 20));
    assert_eq!(
        s.t.text(
            "SELECT string_agg(reason || ' ' || status, ', ' ORDER BY id) FROM holds WHERE listing_id = 3"
        )
        .await,
        "radius_price superseded, radius open"
    );
    release(&s, 3).await;
    s.in_line(3).await;
    assert_eq!(s.fake.shown("sku-3"), shows(0, 20));
}

#[actix::test]
async fn a_listing_on_hold_over_there_is_told_and_taken_up_again_within_the_hour() {
    let mut s = Stage::new(1).await;
    let on_hold = ListingState {
        status: ListingStatus::Paused,
        ..shows(1, 20)
    };
    s.t.run(
        "UPDATE listing_platforms SET listing_status = 'paused', last_synced_at = now() - interval '2 hours'",
    )
    .await;
    s.fake.show("sku-1", on_hold);
    s.start();
    s.want(1, 1, usd(25)).await;
    until("the look to be told", || async {
        let told =
            s.t.text("SELECT count(*) FROM inventory_errors WHERE error_code = 'on_hold'")
                .await;
        (told == "1").then_some(())
    })
    .await;
    s.want(1, 0, None).await;
    s.look().await;
    let asked: Vec<_> = s.fake.asked().into_iter().map(|a| a.what).collect();
    assert_eq!(
        asked,
        ["read"],
        "nothing is sent, and it is not read again before the hour is over"
    );
    s.fake.show("sku-1", shows(1, 20));
    s.t.run(
        "UPDATE listing_platforms SET last_synced_at = now() - interval '61 minutes'; \
             DELETE FROM processing_queue",
    )
    .await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(0, 20));
}

#[actix::test]
async fn a_zero_written_while_a_price_is_refused_is_sent_and_nothing_is_held() {
    let mut s = Stage::new(1).await;
    s.fake.will("sku-1", Does::Refuse);
    s.start();
    let door = s.fake.hold_writes().await;
    s.want(1, 1, usd(25)).await;
    s.writes(1, 1).await;
    s.want(1, 0, None).await;
    drop(door);
    let row = s.in_line(1).await;
    assert_eq!((s.fake.shown("sku-1"), row.held_reason), (shows(0, 20), None));
    assert_eq!(
        s.t.text("SELECT count(*) FROM processing_queue WHERE status = 'dead'")
            .await,
        "0"
    );
}

#[actix::test]
async fn a_newer_zero_under_a_hold_is_found_by_the_sweep_until_it_is_refused_itself() {
    let mut s = Stage::new(1).await;
    s.fake.will("sku-1", Does::Refuse);
    s.start();
    s.want(1, 1, usd(25)).await;
    s.held(1, "refused").await;
    for _ in 0..20 {
        s.fake.will("sku-1", Does::Refuse);
    }
    // As a writer would leave it that crashed before this house's rule.
    s.t.run("UPDATE listing_platforms SET wanted_quantity = 0, wanted_price = NULL, wanted_version = 2")
        .await;
    until("the zero to be a dead letter", || async {
        let dead =
            s.t.text("SELECT count(*) FROM processing_queue WHERE status = 'dead'")
                .await;
        (dead == "2").then_some(())
    })
    .await;
    let writes = s.fake.writes_to("sku-1").len();
    let sweeps = s.t.text("SELECT count(*) FROM processing_queue").await;
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert_eq!(s.fake.writes_to("sku-1").len(), writes, "a person has to act now");
    assert_eq!(s.t.text("SELECT count(*) FROM processing_queue").await, sweeps);
}

#[actix::test]
async fn a_sale_that_is_accepted_is_raised_again() {
    let mut s = Stage::new(1).await;
    s.t.run(
        "UPDATE listing_platforms SET current_quantity = 3, needs_read_back = TRUE, wanted_quantity = 3, \
         wanted_price = 20, wanted_status = 'active', wanted_version = 1, synced_version = 1, wanted_cause = '{}'",
    )
    .await;
    s.fake.show("sku-1", shows(2, 20));
    s.start();
    s.held(1, "remote_sale").await;
    release(&s, 1).await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(3, 20));
}

#[actix::test]
async fn a_refused_push_that_is_repeated_is_sent_again() {
    let mut s = Stage::new(1).await;
    s.fake.will("sku-1", Does::Refuse);
    s.start();
    s.want(1, 1, usd(30)).await;
    s.held(1, "refused").await;
    let dead =
        s.t.text("SELECT id FROM processing_queue WHERE status = 'dead'")
            .await;
    let mut conn = s.t.db().conn().await.unwrap();
    let ids = [zaikoban::domain::JobId(dead.parse().unwrap())];
    let repeated = jobs::repeat(&mut conn, &ids).await.unwrap();
    assert_eq!(repeated.repeated, ids);
    s.look().await;
    let row = s.in_line(1).await;
    assert_eq!((s.fake.shown("sku-1"), row.held_reason), (shows(1, 30), None));
    assert_eq!(s.t.text("SELECT status FROM holds").await, "superseded");
}
