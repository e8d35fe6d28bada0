//! Enqueueing.

use crate::support::pg::TestDb;
use zaikoban::domain::{DestinationPlatform, ProductId};
use zaikoban::store::jobs::{Lane, NewJob, enqueue};

fn job(key: &str, priority: i16) -> NewJob {
    NewJob {
        unique_key: Some(key.to_owned()),
        priority,
        product_id: Some(ProductId(1)),
        ..NewJob::new(Lane::sync(DestinationPlatform::Ebay))
    }
}

#[tokio::test]
async fn a_waiting_job_takes_the_more_urgent_priority_of_two() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let first = enqueue(&mut conn, &[job("a", 5), job("b", 5)]).await.unwrap();
    assert_eq!(first.len(), 2);
    let again = enqueue(&mut conn, &[job("a", 1), job("b", 9), job("a", 3)])
        .await
        .unwrap();
    assert_eq!(again, first);
    let kept = t
        .text("SELECT string_agg(unique_key || priority, ' ' ORDER BY id) FROM processing_queue")
        .await;
    assert_eq!(kept, "a1 b5");
}
