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
