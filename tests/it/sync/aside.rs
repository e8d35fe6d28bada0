//! Listings that wait for a person, and what resuming makes of them.

use super::fake::Does;
use super::stage::{Stage, shows, usd};
use std::time::Duration;
use zaikoban::domain::{DestinationPlatform, ListingId};
use zaikoban::store::listings::{self, Switched};
use zaikoban::store::pushes::{self, ClaimRequest};
use zaikoban::store::{StoreError, wanted};

const ONE: ListingId = ListingId(1);

/// Listing 1, held because three pieces were confirmed and its destination shows two.
async fn sold_over_there() -> Stage {
    let mut s = Stage::new(1).await;
    s.t.run("UPDATE listing_platforms SET current_quantity = 3").await;
    s.fake.show("sku-1", shows(2, 20));
    s.start();
    s.want(1, 5, usd(20)).await;
    s.held(1, "remote_sale").await;
    s
}

async fn resume(s: &Stage) -> Result<Switched, StoreError> {
    let resumed =
        s.t.db()
            .transaction(|conn| Box::pin(async move { listings::resume(conn, &[ONE]).await }));
    let resumed = resumed.await;
    s.look().await;
    resumed
}

#[actix::test]
async fn a_rejected_hold_ends_when_its_listing_is_resumed() {
    let s = sold_over_there().await;
    let mut conn = s.t.db().conn().await.unwrap();
    listings::reject_hold(&mut conn, ONE, "hana", None).await.unwrap();
    s.want(1, 4, usd(20)).await;
    assert_eq!(
        s.row(1).await.held_reason.as_deref(),
        Some("remote_sale"),
        "turned down: it stays as it stands"
    );
    let resumed = resume(&s).await.unwrap();
    assert_eq!(resumed.released, [ONE]);
    assert_eq!(
        (resumed.changed, resumed.unchanged, resumed.held),
        (vec![], vec![ONE], vec![])
    );
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1"), shows(4, 20));
}

#[actix::test]
async fn an_open_hold_outlasts_a_resume_because_the_person_has_not_decided() {
    let s = sold_over_there().await;
    let resumed = resume(&s).await.unwrap();
    assert_eq!((resumed.held, resumed.released), (vec![ONE], vec![]));
    assert_eq!(s.row(1).await.held_reason.as_deref(), Some("remote_sale"));
    assert!(s.fake.writes_to("sku-1").is_empty());
}

#[actix::test]
async fn resuming_is_no_word_of_approval() {
    let mut s = Stage::new(1).await;
    s.fake.will("sku-1", Does::Refuse);
    s.start();
    s.want(1, 1, usd(25)).await;
    s.held(1, "refused").await;
    let mut conn = s.t.db().conn().await.unwrap();
    listings::reject_hold(&mut conn, ONE, "hana", None).await.unwrap();
    resume(&s).await.unwrap();
    let row = s.in_line(1).await;
    assert_eq!(
        s.fake.shown("sku-1"),
        shows(1, 25),
        "sent again, and taken this time"
    );
    assert_eq!(row.wanted_cause.unwrap().get("approved_by"), None);
}

#[actix::test]
async fn a_listing_that_is_not_there_is_named_and_none_is_switched() {
    let s = Stage::new(2).await;
    let paused =
        s.t.db()
            .transaction(|conn| Box::pin(async move { listings::pause(conn, &[ONE, ListingId(77)]).await }));
    let error = paused.await.unwrap_err();
    assert!(error.to_string().contains("listing `77`"), "{error}");
    assert!(s.row(1).await.auto_sync);
}

/// A job whose workers died three times is a dead letter. Two such letters of a listing may be an accident of the machine's;
/// from the third on the listing itself is suspected, and its sweep is less and less often.
#[actix::test]
async fn a_listing_whose_jobs_kill_again_and_again_is_taken_up_ever_less_often() {
    let s = Stage::new(2).await;
    s.want(1, 1, usd(25)).await;
    s.want(2, 1, usd(25)).await;
    let forgotten = async || {
        let mut conn = s.t.db().conn().await.unwrap();
        let found = wanted::find_forgotten(&mut conn, DestinationPlatform::Ebay, false, 10).await;
        found.unwrap().into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    let letter = "UPDATE processing_queue SET status = 'dead', completed_at = now(), \
                  crashed_at = ARRAY[now(), now(), now()], \
                  crash_count = 3, error_message = 'poison: three workers died' WHERE listing_id = 1 AND status = 'pending'";
    let next = "INSERT INTO processing_queue (queue_name, destination, product_id, listing_id) \
                VALUES ('platform_sync', 'ebay', 1, 1)";
    let ended = async |sign: char, wait: &str| {
        let sql = format!(
            "UPDATE processing_queue SET completed_at = now() - interval '{wait}' {sign} interval '5 s' WHERE status = 'dead'"
        );
        s.t.run(&sql).await;
    };
    let minutes = ["0 min", "0 min", "1 min", "4 min", "16 min", "60 min", "60 min"];
    s.t.run("DELETE FROM processing_queue WHERE listing_id = 2").await;
    for (nth, wait) in minutes.into_iter().enumerate() {
        s.t.run(letter).await;
        ended('+', wait).await;
        let expected: &[i64] = if nth < 2 { &[1, 2] } else { &[2] };
        assert_eq!(forgotten().await, expected, "{wait}, not yet");
        ended('-', wait).await;
        assert_eq!(forgotten().await, [1, 2], "{wait} are over");
        s.t.run(next).await;
    }
}

/// What was in hand when a worker died once goes on together; what killed twice goes alone; and never both at once.
#[actix::test]
async fn what_was_in_hand_at_a_death_goes_together_and_after_a_second_one_alone() {
    let s = Stage::new(6).await;
    for id in 1..=6 {
        s.want(id, 1, usd(25)).await;
    }
    let died = async |ids: &str, times: usize| {
        let deaths = vec!["now()"; times].join(", ");
        let sql = format!(
            "UPDATE processing_queue SET crashed_at = ARRAY[{deaths}], crash_count = {times} WHERE listing_id IN ({ids})"
        );
        s.t.run(&sql).await;
    };
    let claim = async || {
        let claimed = s.t.db().transaction(|conn| {
            Box::pin(async move {
                let request = ClaimRequest {
                    destination: DestinationPlatform::Ebay,
                    up_to_priority: 10,
                    limit: 100,
                    lease: Duration::from_secs(60),
                    worker: "test",
                };
                pushes::claim(conn, &request, |_, _, _| true).await
            })
        });
        let claimed = claimed.await.unwrap().claimed;
        claimed.iter().map(|c| c.listing.id().0).collect::<Vec<_>>()
    };
    let done = "UPDATE processing_queue SET status = 'completed', lease_token = NULL, lease_until = NULL, \
                completed_at = now() WHERE status = 'processing'";
    died("1, 2", 2).await;
    died("3, 4", 1).await;
    assert_eq!(claim().await, [3, 4], "before those that waited less");
    assert_eq!(claim().await, [5, 6], "the sound do not wait for them");
    assert_eq!(claim().await, [0_i64; 0], "the others do");
    s.t.run(done).await;
    assert_eq!(claim().await, [1]);
    assert_eq!(claim().await, [0_i64; 0]);
    s.t.run(done).await;
    assert_eq!(claim().await, [2]);
}
