//! Each way in which a call goes wrong: its class, whether it may have had its effect, and whether it had.

use super::{Rig, failure, is_accepted, revision};
use serde_json::json;
use zaikoban::domain::ErrorClass::{Protocol, Rejected, Transient, Unauthorized};
use zaikoban::domain::{ErrorClass, ListingStatus};
use zaikoban::platform::Destination;
use zaikoban::platform::mercari::{CONTRACT, TOKEN_REFUSED};

/// Fault, class, code, unknown, applied.
fn table() -> Vec<(&'static str, ErrorClass, &'static str, bool, bool)> {
    let limited = ErrorClass::RateLimited {
        retry_after: Some(std::time::Duration::from_secs(2)),
    };
    vec![
        ("p_500", Transient, "http_500", true, false),
        ("p_503", Transient, "http_503", true, false),
        ("p_429", limited, "http_429", false, false),
        ("p_401", Unauthorized, TOKEN_REFUSED, false, false),
        ("p_deadline", Transient, "mercari_deadline_exceeded", true, false),
        (
            "p_deadline_after",
            Transient,
            "mercari_deadline_exceeded",
            true,
            true,
        ),
        ("p_odd_code", Protocol, "mercari_never_seen_before", true, false),
        ("p_refused", Rejected, "mercari_failed_precondition", false, false),
        ("p_complaint", Rejected, "mercari_failed_precondition", true, true),
        ("p_nothing", Protocol, CONTRACT, true, true),
        ("p_cut", Transient, "cut", true, true),
        ("p_delay", Transient, "timed_out", true, true),
        ("p_hang", Transient, "timed_out", true, false),
    ]
}

#[tokio::test]
async fn each_fault_has_its_class_and_what_may_be_done_is_unknown() {
    let rig = Rig::new();
    for (nth, (fault, class, code, unknown, applied)) in table().into_iter().enumerate() {
        let count = i64::try_from(nth).unwrap() + 2;
        rig.faults(&json!({ fault: 1.0, "delay_ms": 2_000 }));
        let outcomes = rig.mercari.revise(&[rig.quantity(0, count)]).await;
        let (error, told) = failure(&outcomes[0]);
        assert_eq!(
            (error.class, &*error.code, told),
            (class, code, unknown),
            "{fault}: {error:?}"
        );
        assert_eq!(i64::from(rig.entry(0).quantity) == count, applied, "{fault}");
        rig.mercari.retry_now();
        // The same for a price, and for a product that is to be hidden: what may be done is said in the class.
        let outcomes = rig
            .mercari
            .revise(&[revision(rig.listing(1), None, Some(4_000 + count))])
            .await;
        assert_eq!(failure(&outcomes[0]).1, unknown, "{fault}");
        rig.mercari.retry_now();
        let ended = rig.mercari.end(&rig.listing(2)).await.unwrap_err();
        let expected = if unknown { Transient } else { class };
        assert_eq!(ended.class, expected, "{fault}");
        rig.mercari.retry_now();
        // A reading is never taken from such an answer.
        assert_eq!(
            rig.mercari.read(&rig.listing(0)).await.unwrap_err().class,
            class,
            "{fault}"
        );
        rig.mercari.retry_now();
        rig.faults(&json!({}));
        rig.mercari.relist(&rig.listing(2)).await.unwrap();
        assert_eq!(
            rig.mercari.read(&rig.listing(2)).await.unwrap().status,
            ListingStatus::Active
        );
    }
}

#[tokio::test]
async fn of_a_batch_only_what_the_answer_shows_is_done() {
    let rig = Rig::new();
    let sent = || (0..5).map(|i| rig.quantity(i, 9)).collect::<Vec<_>>();
    rig.faults(&json!({ "p_entry_missing": 1.0 }));
    for outcome in rig.mercari.revise(&sent()).await {
        let (error, unknown) = failure(&outcome);
        assert_eq!((error.class, &*error.code, unknown), (Protocol, CONTRACT, true));
    }
    assert!(
        (0..5).all(|i| rig.entry(i).quantity == 9),
        "they were applied all the same"
    );
    rig.faults(&json!({ "p_entry_fails": 0.5 }));
    let mut seen = [0, 0];
    for count in 0..6 {
        let sent: Vec<_> = (0..10).map(|i| rig.quantity(i, 20 + count)).collect();
        for (i, outcome) in rig.mercari.revise(&sent).await.iter().enumerate() {
            let done = i64::from(rig.entry(i).quantity) == 20 + count;
            assert_eq!(is_accepted(outcome), done, "{outcome:?}");
            if !done {
                let (error, unknown) = failure(outcome);
                assert_eq!((error.class, unknown), (Rejected, true));
            }
            seen[usize::from(done)] += 1;
        }
    }
    assert!(seen.iter().all(|n| *n > 5), "{seen:?}");
}

#[tokio::test]
async fn a_price_that_fails_after_the_stock_was_set_leaves_the_listing_unknown() {
    let rig = Rig::new();
    rig.running
        .script(&json!({ "set_mercari": { "sku": "MS-000001", "opened": true } }))
        .unwrap();
    let both = revision(super::listing("MS-000001", "2JPr0"), Some(6), Some(4_000));
    let outcomes = rig.mercari.revise(&[both]).await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!((error.class, unknown), (ErrorClass::NotFound, true));
    assert_eq!(rig.entry(0).quantity, 6);
}

#[tokio::test]
async fn what_nobody_has_seen_does_not_matter_where_it_means_nothing_and_is_an_error_where_it_does() {
    let rig = Rig::new();
    rig.faults(&json!({ "odd_fields": true }));
    assert!(
        rig.mercari
            .revise(&[rig.quantity(0, 3), rig.quantity(1, 3)])
            .await
            .iter()
            .all(is_accepted)
    );
    rig.mercari.end(&rig.listing(0)).await.unwrap();
    assert_eq!(
        rig.mercari.read(&rig.listing(0)).await.unwrap().status,
        ListingStatus::Ended
    );
    rig.faults(&json!({ "odd_status": true }));
    // A quantity says nothing of the status.
    assert!(
        rig.mercari
            .revise(&[rig.quantity(1, 4)])
            .await
            .iter()
            .all(is_accepted)
    );
    let error = rig.mercari.read(&rig.listing(1)).await.unwrap_err();
    assert_eq!(error.class, Protocol);
    assert_eq!(error.missing, [Box::<str>::from("productVariant.product.status")]);
    let error = rig.mercari.end(&rig.listing(1)).await.unwrap_err();
    assert_eq!(error.class, Transient, "it may be hidden: look");
}
