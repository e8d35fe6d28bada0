//! Listings that wait for a person, and what resuming makes of them.

use super::fake::Does;
use super::stage::{Stage, shows, usd};
use zaikoban::domain::ListingId;
use zaikoban::store::StoreError;
use zaikoban::store::listings::{self, Switched};

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
