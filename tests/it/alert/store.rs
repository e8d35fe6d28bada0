//! What the tables promise of alerts.

use crate::support::pg::TestDb;
use chrono::TimeDelta;
use zaikoban::clock::Clock;
use zaikoban::domain::{AlertChannel, AlertEvent, AlertFacts, AlertKind, AlertLevel};
use zaikoban::store::alerts::{self, NewAlert, deliveries};

fn new(fingerprint: &str, count: i64) -> NewAlert {
    NewAlert {
        fingerprint: fingerprint.to_owned(),
        kind: AlertKind::Error,
        level: AlertLevel::Error,
        platform: Some("ebay".to_owned()),
        count,
        facts: AlertFacts {
            message: Some("with a NUL\0 in it".to_owned()),
            ..AlertFacts::default()
        },
        since: Clock::system().now(),
        newest: Clock::system().now(),
    }
}

#[tokio::test]
async fn one_trouble_is_one_open_row_and_the_next_after_its_end_is_another() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let first = alerts::put(&mut conn, &new("x", 1)).await.unwrap();
    assert_eq!(alerts::put(&mut conn, &new("x", 5)).await.unwrap(), first);
    let row = alerts::get(&mut conn, first).await.unwrap().unwrap();
    assert_eq!(row.count, 5);
    assert_eq!(row.facts.message.as_deref(), Some("with a NUL\u{fffd} in it"));
    let ended = alerts::resolve(
        &mut conn,
        &[first, first + 99],
        "hana",
        Some("note"),
        Clock::system().now(),
    )
    .await
    .unwrap();
    assert_eq!(ended, [first]);
    assert!(
        alerts::acknowledge(&mut conn, &[first], "hana", None, Clock::system().now())
            .await
            .unwrap()
            .is_empty()
    );
    assert_ne!(alerts::put(&mut conn, &new("x", 1)).await.unwrap(), first);
}

#[tokio::test]
async fn what_waits_is_told_in_its_newest_form_and_keeps_its_beginning() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let (now, slack) = (Clock::system().now(), [AlertChannel::Slack]);
    let id = alerts::put(&mut conn, &new("x", 1)).await.unwrap();
    for event in [AlertEvent::Opened, AlertEvent::Grew] {
        deliveries::enqueue(&mut conn, id, &slack, event, now)
            .await
            .unwrap();
    }
    let until = now + TimeDelta::minutes(1);
    let first = deliveries::claim(&mut conn, slack[0], 50, now, until)
        .await
        .unwrap();
    assert_eq!(first.items.len(), 1);
    assert_eq!(
        (first.items[0].first_event, first.items[0].event),
        (AlertEvent::Opened, AlertEvent::Grew)
    );
    // While it is being told it is over; then it could not be told.
    deliveries::enqueue(&mut conn, id, &slack, AlertEvent::Recovered, now)
        .await
        .unwrap();
    assert!(
        deliveries::claim(&mut conn, slack[0], 0, now, until)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    deliveries::put_back(&mut conn, first.token, "away", now)
        .await
        .unwrap();
    let second = deliveries::claim(&mut conn, slack[0], 50, now, until)
        .await
        .unwrap();
    assert_eq!(second.items.len(), 1, "one message of one trouble");
    assert_eq!(
        (
            second.items[0].first_event,
            second.items[0].event,
            second.items[0].attempt
        ),
        (AlertEvent::Opened, AlertEvent::Recovered, 2)
    );
    let ids = [second.items[0].id];
    assert!(
        !deliveries::delivered(&mut conn, first.token, &ids, now)
            .await
            .unwrap(),
        "the lease is compared"
    );
    assert!(
        deliveries::delivered(&mut conn, second.token, &ids, now)
            .await
            .unwrap()
    );
    assert_eq!(deliveries::next_due(&mut conn, slack[0]).await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_that_runs_out_is_taken_by_the_next_and_not_before() {
    let t = TestDb::new().await;
    let mut conn = t.db().conn().await.unwrap();
    let (now, mail) = (Clock::system().now(), AlertChannel::Email);
    let id = alerts::put(&mut conn, &new("x", 1)).await.unwrap();
    deliveries::enqueue(&mut conn, id, &[mail], AlertEvent::Opened, now)
        .await
        .unwrap();
    let until = now + TimeDelta::minutes(5);
    deliveries::claim(&mut conn, mail, 50, now, until).await.unwrap();
    let before = deliveries::claim(&mut conn, mail, 50, until - TimeDelta::seconds(1), until)
        .await
        .unwrap();
    assert!(before.items.is_empty());
    let after = deliveries::claim(&mut conn, mail, 50, until, until + TimeDelta::minutes(5))
        .await
        .unwrap();
    assert_eq!(after.items[0].attempt, 2);
}
