//! Listings that somebody changed at the destination are found, and treated by its policy.

use super::stage::{Stage, q, quick, shows, usd};
use crate::support::wait::until;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use zaikoban::clock::Clock;
use zaikoban::domain::{DestinationPlatform, ListingId, ListingState, ListingStatus};
use zaikoban::schedule::{Progress, ReadBackPlan, ReadBackShop, Run, ScheduleName, read_back};
use zaikoban::store::{listings, reads};
use zaikoban::sync::{Policies, Policy, ReconcileSettings, SyncSettings};

const EBAY: DestinationPlatform = DestinationPlatform::Ebay;

fn settings(policy: Policy) -> SyncSettings {
    SyncSettings {
        reconcile: ReconcileSettings {
            policies: Policies {
                ebay: policy,
                ..Policies::default()
            },
            confirm_after_s: 1,
            ..ReconcileSettings::default()
        },
        ..quick()
    }
}

/// Listings 1 to `n` that show, and are to show, three pieces at 20 USD.
async fn shop(n: i64, policy: Policy) -> Stage {
    let mut s = Stage::with(n, settings(policy)).await;
    s.t.run(
        "UPDATE listing_platforms SET current_quantity = 3, wanted_quantity = 3, wanted_price = 20, \
             wanted_status = 'active', wanted_cause = '{}', wanted_at = now() - interval '1 hour', wanted_version = 1, \
             synced_version = 1",
    )
    .await;
    for id in 1..=n {
        s.fake.show(&format!("sku-{id}"), shows(3, 20));
    }
    s.start();
    s
}

async fn ask(s: &Stage, ids: std::ops::RangeInclusive<i64>) {
    let ids: Vec<ListingId> = ids.map(ListingId).collect();
    let asked = ids.len();
    let queued = s.t.db().transaction(move |conn| {
        let ids = ids.clone();
        Box::pin(async move { reads::ask_now(conn, EBAY, &ids).await })
    });
    assert_eq!(queued.await.unwrap(), asked);
    s.look().await;
}

/// Nobody is to be read any more.
async fn compared(s: &Stage) {
    until("all to be compared", || async {
        let left =
            s.t.text("SELECT count(*) FROM listing_reads WHERE asked_at IS NOT NULL")
                .await;
        (left == "0").then_some(())
    })
    .await;
}

async fn drift(s: &Stage) -> String {
    s.t.text(
        "SELECT COALESCE(string_agg(concat_ws(' ', listing_id, kind, done, resolved_at IS NOT NULL), ', ' \
             ORDER BY listing_id, id), '') FROM drift",
    )
    .await
}

fn ended() -> ListingState {
    ListingState {
        status: ListingStatus::Ended,
        ..shows(3, 20)
    }
}

/// 1 offers more, 2 fewer, 3 asks less, 4 was ended, 5 is as it was.
fn by_hand(s: &Stage) {
    s.fake.show("sku-1", shows(9, 20));
    s.fake.show("sku-2", shows(1, 20));
    s.fake.show("sku-3", shows(3, 12));
    s.fake.show("sku-4", ended());
}

#[actix::test]
async fn d25_overwrite_pushes_what_is_wanted_and_raises_nothing() {
    let s = shop(5, Policy::Overwrite).await;
    by_hand(&s);
    ask(&s, 1..=5).await;
    s.held(4, "remote_end").await;
    compared(&s).await;
    assert_eq!(
        drift(&s).await,
        "1 more pushed t, 2 fewer adopted t, 3 price pushed t, 4 ended asked f"
    );
    let shown: Vec<ListingState> = (1..=5).map(|id| s.fake.shown(&format!("sku-{id}"))).collect();
    assert_eq!(
        shown,
        [shows(3, 20), shows(1, 20), shows(3, 20), ended(), shows(3, 20)]
    );
    assert_eq!(s.fake.writes_to("sku-1"), [("revise", Some(3))]);
    assert!(s.fake.writes_to("sku-2").is_empty() && s.fake.writes_to("sku-4").is_empty());
    assert!(s.fake.writes_to("sku-5").is_empty());
    // A new price does not bring the old quantity back …
    s.want(2, 3, usd(25)).await;
    s.in_line(2).await;
    assert_eq!(s.fake.shown("sku-2"), shows(1, 25));
    // … and what a source says anew does.
    s.want(2, 0, usd(25)).await;
    s.in_line(2).await;
    s.want(2, 3, usd(25)).await;
    s.in_line(2).await;
    assert_eq!(s.fake.shown("sku-2"), shows(3, 25));
}

#[actix::test]
async fn what_was_sold_out_over_there_is_offered_again_when_the_source_was_out_between() {
    let s = shop(1, Policy::Overwrite).await;
    s.fake.show("sku-1", shows(0, 20));
    ask(&s, 1..=1).await;
    compared(&s).await;
    assert_eq!(drift(&s).await, "1 fewer adopted t");
    s.want(1, 0, usd(20)).await;
    s.in_line(1).await;
    s.want(1, 3, usd(20)).await;
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(3, 20));
}

#[actix::test]
async fn d25_adopt_leaves_what_is_shown_but_for_more_than_can_be_bought() {
    let s = shop(5, Policy::Adopt).await;
    by_hand(&s);
    ask(&s, 1..=5).await;
    until("the listing to come down", || async {
        (s.fake.shown("sku-1").quantity == q(3)).then_some(())
    })
    .await;
    compared(&s).await;
    assert_eq!(
        drift(&s).await,
        "1 more pushed t, 2 fewer adopted t, 3 price adopted t, 4 ended adopted t"
    );
    let shown: Vec<ListingState> = (1..=4).map(|id| s.fake.shown(&format!("sku-{id}"))).collect();
    assert_eq!(shown, [shows(3, 20), shows(1, 20), shows(3, 12), ended()]);
    assert_eq!(s.t.text("SELECT count(*) FROM holds").await, "0");
    // It is believed, so the next look finds nothing.
    ask(&s, 1..=5).await;
    compared(&s).await;
    assert_eq!(s.t.text("SELECT count(*) FROM drift").await, "4");
    // Something else is wanted: that counts.
    s.want(3, 3, usd(25)).await;
    s.in_line(3).await;
    assert_eq!(s.fake.shown("sku-3"), shows(3, 25));
}

#[actix::test]
async fn d25_ask_has_a_person_decide_and_lets_a_smaller_quantity_through() {
    let s = shop(5, Policy::Ask).await;
    by_hand(&s);
    ask(&s, 1..=5).await;
    for (id, reason) in [(1, "drift"), (2, "drift"), (3, "drift"), (4, "remote_end")] {
        s.held(id, reason).await;
    }
    until("the listing to come down", || async {
        (s.fake.shown("sku-1").quantity == q(3)).then_some(())
    })
    .await;
    assert!(s.fake.writes_to("sku-2").is_empty() && s.fake.writes_to("sku-3").is_empty());
    let accept = |id| {
        let db = s.t.db().clone();
        async move {
            db.transaction(move |conn| {
                Box::pin(async move { listings::release(conn, ListingId(id), "hana", None).await })
            })
            .await
            .unwrap();
        }
    };
    accept(2).await;
    accept(3).await;
    s.look().await;
    s.in_line(2).await;
    s.in_line(3).await;
    assert_eq!(
        (s.fake.shown("sku-2"), s.fake.shown("sku-3")),
        (shows(3, 20), shows(3, 20))
    );
}

#[actix::test]
async fn a_race_with_a_push_is_not_drift() {
    let s = shop(20, Policy::Overwrite).await;
    s.fake.slow(Duration::from_millis(30));
    for round in 0..5 {
        ask(&s, 1..=20).await;
        for id in 1..=20 {
            s.want(id, 3 - (round + id) % 3, usd(21 + round)).await;
        }
    }
    for id in 1..=20 {
        s.in_line_within(id, Duration::from_secs(60)).await;
    }
    compared(&s).await;
    assert_eq!(drift(&s).await, "");
    assert_eq!(s.t.text("SELECT count(*) FROM holds").await, "0");
}

async fn run_of(s: &Stage, reconcile: ReconcileSettings) -> (Run, zaikoban::schedule::Done) {
    let run = Run {
        id: Uuid::now_v7(),
        name: ScheduleName::Reconcile,
        began: Clock::system().now(),
        due: None,
        zone: chrono_tz::Tz::Asia__Tokyo,
        progress: Progress::default(),
    };
    let plan = move || ReadBackPlan {
        shops: vec![ReadBackShop {
            destination: EBAY,
            looks_per_second: 2_000.0,
        }],
        per_run: reconcile.per_run,
        window: Duration::from_secs(120),
        tick: Duration::from_millis(100),
        last_words: Duration::from_secs(10),
        tells: Arc::new(move |counts| reconcile.tells(counts)),
    };
    let done = read_back(s.t.db(), &plan, &run).await.unwrap();
    (run, done)
}

#[actix::test]
async fn a_thousand_listings_converge_and_people_are_told_of_many() {
    let s = shop(1_000, Policy::Overwrite).await;
    for id in (1..=1_000).step_by(25) {
        s.fake.show(&format!("sku-{id}"), shows(9, 12));
    }
    let first = ReconcileSettings {
        per_run: 400,
        ..settings(Policy::Overwrite).reconcile
    };
    let (run, _) = run_of(&s, first).await;
    assert_eq!(run.progress.counts().total, 400, "so many at most");
    let (run, done) = run_of(&s, settings(Policy::Overwrite).reconcile).await;
    assert_eq!(run.progress.counts().processed, 1_000);
    assert_eq!(run.progress.counts().errors, 0, "{done:?}");
    for id in 1..=1_000 {
        assert_eq!(s.fake.shown(&format!("sku-{id}")), shows(3, 20), "{id}");
    }
    assert_eq!(
        s.t.text("SELECT count(*) FROM drift WHERE resolved_at IS NULL")
            .await,
        "0"
    );
    assert_eq!(
        s.t.text("SELECT count(DISTINCT listing_id) FROM drift").await,
        "40"
    );
    let told =
        s.t.text("SELECT concat_ws(' ', severity, left(error_message, 22)) FROM inventory_errors WHERE error_code = 'drift_many'")
            .await;
    assert_eq!(told, "medium 24 of 1000 listings of");
}

#[actix::test]
async fn when_very_many_differ_nothing_is_repaired_and_a_person_is_asked() {
    let s = shop(60, Policy::Overwrite).await;
    for id in 1..=60 {
        s.fake.show(&format!("sku-{id}"), shows(0, 5));
    }
    let reconcile = settings(Policy::Overwrite).reconcile;
    run_of(&s, reconcile).await;
    assert!(s.fake.asked().iter().all(|asked| asked.what == "read"));
    assert_eq!(
        s.t.text("SELECT count(*) FROM listing_platforms WHERE current_quantity = 3 AND listed_price = 20")
            .await,
        "60"
    );
    assert_eq!(
        s.t.text("SELECT severity FROM inventory_errors WHERE error_code = 'drift_stopped' AND NOT resolved")
            .await,
        "critical"
    );
    assert_eq!(
        s.t.text("SELECT string_agg(DISTINCT done, ',') FROM drift").await,
        "stopped"
    );
    // It was the wrong account, and is the right one again.
    for id in 1..=60 {
        s.fake.show(&format!("sku-{id}"), shows(3, 20));
    }
    run_of(&s, reconcile).await;
    assert_eq!(
        s.t.text("SELECT count(*) FROM drift WHERE resolved_at IS NULL")
            .await,
        "0"
    );
    assert_eq!(
        s.t.text("SELECT count(*) FROM inventory_errors WHERE NOT resolved")
            .await,
        "0"
    );
}
