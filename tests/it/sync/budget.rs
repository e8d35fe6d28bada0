//! The day's revisions: what uses one up, what gives it back, and who may go without.

use super::fake::Does;
use super::stage::{Stage, usd};
use crate::support::wait::until;
use zaikoban::domain::{ErrorClass, ListingStatus};
use zaikoban::store::listings::Filter;
use zaikoban::sync::dry_run::{KeptBack, dry_run};

const TODAY: &str = "revisions_day = (now() AT TIME ZONE 'America/Los_Angeles')::date";

#[actix::test]
async fn what_was_not_sent_or_turned_away_uses_up_no_revision() {
    let mut s = Stage::new(1).await;
    let turned_away = [
        Does::NotSend,
        Does::TurnAway(ErrorClass::Unauthorized),
        Does::TurnAway(ErrorClass::RateLimited { retry_after: None }),
        Does::NotSend,
    ];
    for does in turned_away {
        s.fake.will("sku-1", does);
    }
    s.start();
    s.want(1, 1, usd(25)).await;
    s.in_line(1).await;
    assert_eq!(s.fake.writes_to("sku-1").len(), 5);
    assert_eq!(s.row(1).await.revisions, 1, "only the one that was taken");
    s.fake.will("sku-1", Does::LoseRequest);
    s.want(1, 1, usd(26)).await;
    s.in_line(1).await;
    assert_eq!(s.row(1).await.revisions, 3, "what may have been taken counts");
}

#[actix::test]
async fn a_revision_is_given_back_once_and_only_on_its_day() {
    use super::races::{begin, settle_as};
    use std::time::Duration;
    use zaikoban::sync::outlet::{NotSent, Written};
    let s = Stage::new(1).await;
    let not_sent = || {
        Written::NotSent(NotSent {
            why: "test".into(),
            retry_after: Duration::ZERO,
        })
    };
    let today = zaikoban::platform::ebay::budget::pacific_day(zaikoban::clock::Clock::system().now());
    s.want(1, 0, None).await;
    let (_, mut begun) = begin(&s, 0, Duration::from_secs(60)).await;
    begun.spent = Some(today);
    s.t.run(&format!(
        "UPDATE listing_platforms SET revisions = 7, revisions_day = '{today}'"
    ))
    .await;
    settle_as(&s, &begun, not_sent()).await;
    settle_as(&s, &begun, not_sent()).await;
    assert_eq!(
        s.row(1).await.revisions,
        6,
        "a commit whose answer was lost is settled again"
    );
    let (_, mut begun) = begin(&s, 0, Duration::from_secs(60)).await;
    begun.spent = today.pred_opt();
    settle_as(&s, &begun, not_sent()).await;
    assert_eq!(s.row(1).await.revisions, 6, "yesterday's is no use today");
}

#[actix::test]
async fn ending_is_no_revision_and_a_zero_without_one_is_told_as_critical() {
    let mut s = Stage::new(2).await;
    s.t.run(&format!("UPDATE listing_platforms SET revisions = 250, {TODAY}"))
        .await;
    s.t.run("UPDATE listing_platforms SET wanted_quantity = 0, wanted_status = 'ended', wanted_version = 1 WHERE id = 1")
        .await;
    s.start();
    s.in_line(1).await;
    assert_eq!(s.fake.shown("sku-1").status, ListingStatus::Ended);
    assert_eq!(s.row(1).await.revisions, 250);
    s.want(2, 0, None).await;
    until("the trouble to be told", || async {
        let severity =
            s.t.text("SELECT severity FROM inventory_errors WHERE error_code = 'revisions_used_up'")
                .await;
        (severity == "critical").then_some(())
    })
    .await;
    assert!(s.fake.writes_to("sku-2").is_empty());
    let waits = s
        .t
        .text("SELECT count(*) FROM processing_queue WHERE listing_id = 2 AND status = 'pending' AND scheduled_at > now()")
        .await;
    assert_eq!(waits, "1");
}

#[actix::test]
async fn a_dry_run_knows_of_an_empty_budget() {
    let s = Stage::new(2).await;
    s.t.run(&format!(
        "UPDATE listing_platforms SET current_quantity = 3, revisions = 225, {TODAY}"
    ))
    .await;
    s.t.run("UPDATE inventory_management SET current_stock = 0 WHERE id = 2")
        .await;
    let mut conn = s.t.db().conn().await.unwrap();
    let now = zaikoban::clock::Clock::system().now();
    let planned = dry_run(
        &mut conn,
        &super::stage::book(),
        &Filter::default(),
        None,
        10,
        now,
    )
    .await
    .unwrap();
    assert_eq!(
        planned[0].kept_back,
        [KeptBack::RevisionsUsedUp],
        "{:?}",
        planned[0]
    );
    assert_eq!(
        planned[1].kept_back,
        [],
        "the last 25 are for zeros: {:?}",
        planned[1]
    );
}
