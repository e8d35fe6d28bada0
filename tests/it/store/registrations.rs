//! First listings that nothing goes on with.

use crate::support::pg::TestDb;
use serde_json::json;
use zaikoban::domain::{DestinationPlatform, ProductId};
use zaikoban::store::jobs::{self, Lane, NewJob};
use zaikoban::store::registrations::{self, NewRegistration};

#[tokio::test]
async fn a_first_listing_stops_with_its_job_and_goes_on_with_its_letter() {
    let t = TestDb::new().await;
    t.run("INSERT INTO yahoo_scraped_products (id, title, source_url) SELECT n, 'x', 'https://example.invalid/' || n FROM generate_series(1, 4) n")
        .await;
    let mut conn = t.db().conn().await.unwrap();
    let new: Vec<NewRegistration> = (1..=4)
        .map(|n| NewRegistration {
            product: ProductId(n),
            sku: format!("N-{n}"),
            content: json!({ "title": "x" }),
            auto_sync: false,
        })
        .collect();
    let ebay = DestinationPlatform::Ebay;
    let ids = registrations::begin(&mut conn, ebay, &new, "test").await.unwrap();
    let all: Vec<NewJob> = new
        .iter()
        .zip(&ids)
        .map(|(one, id)| NewJob::register(Lane::registration(ebay), one.product, *id))
        .collect();
    let made = jobs::enqueue(&mut conn, &all).await.unwrap();
    assert!(
        registrations::stopped(&mut conn, None, 10)
            .await
            .unwrap()
            .is_empty()
    );

    // One died, one was discarded, one is done; the fourth waits.
    t.run(&format!(
        "UPDATE processing_queue SET status = 'dead', error_message = 'lost', completed_at = now() WHERE id = {}",
        made[0]
    ))
    .await;
    jobs::discard(&mut conn, &[made[1], made[2]], "test")
        .await
        .unwrap();
    t.run("UPDATE registrations SET state = 'failed', error = 'no', error_code = 'no' WHERE sku = 'N-3'")
        .await;
    let stopped = registrations::stopped(&mut conn, Some("ebay"), 10).await.unwrap();
    let seen: Vec<_> = stopped.iter().map(|s| (s.id, s.product, s.letter)).collect();
    assert_eq!(
        seen,
        [
            (ids[0], ProductId(1), Some(made[0])),
            (ids[1], ProductId(2), None)
        ]
    );
    assert!(
        registrations::stopped(&mut conn, Some("mercari"), 10)
            .await
            .unwrap()
            .is_empty()
    );
    let counts = registrations::counts(&mut conn, None).await.unwrap();
    assert_eq!((counts.stopped, counts.waiting, counts.failed), (2, 1, 1));

    let letters: Vec<_> = stopped.iter().filter_map(|s| s.letter).collect();
    jobs::repeat(&mut conn, &letters).await.unwrap();
    let left = registrations::stopped(&mut conn, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|s| s.id).collect::<Vec<_>>(), [ids[1]]);
    // Asked for once more, a job that waits gets no second one.
    jobs::enqueue(&mut conn, &all[..2]).await.unwrap();
    assert!(
        registrations::stopped(&mut conn, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let live = "SELECT count(*) FROM processing_queue WHERE status IN ('pending', 'dead')";
    assert_eq!(t.text(live).await, "3");
}
