use super::super::super::model::{failure, listing, money, pieces, shows};
use super::super::super::plan::{Known, LeaveWhy, next};
use super::*;
use crate::domain::{Version, Wanted};
use proptest::prelude::*;

fn wants(quantity: i64, price: i64) -> Option<Wanted> {
    Some(Wanted {
        quantity: pieces(quantity),
        price: money(price),
        status: ListingStatus::Active,
    })
}

fn step(listing: &Listing) -> Step {
    next(listing, Known::default(), DateTime::UNIX_EPOCH)
}

/// A listing that shows one thing and wants another, with `feed`'s price on its way.
fn row(shown: (i64, i64), wanted: (i64, i64), feed: Option<i64>) -> Listing {
    Listing {
        bulk_price: feed.and_then(money),
        bulk_waits: true,
        ..listing(shows(shown.0, shown.1), wants(wanted.0, wanted.1))
    }
}

fn revise(quantity: Option<i64>, price: Option<i64>) -> Step {
    Step::Revise {
        quantity: quantity.map(pieces),
        price: price.and_then(money),
    }
}

#[test]
fn more_than_can_be_sent_in_time_goes_by_feed_and_no_fewer() {
    assert!(!is_bulk(0, 0));
    assert!(!is_bulk(1_200, 1_200));
    assert!(is_bulk(1_201, 1_200));
}

#[test]
fn a_price_in_a_feed_is_left_to_it_and_all_else_goes_at_once() {
    for (shown, wanted, feed, expected) in [
        // The feed's price, and nothing beside it.
        ((3, 10), (3, 20), Some(20), Step::Leave(LeaveWhy::Bulk)),
        // Fewer pieces go, without the price; none go at once.
        ((3, 10), (2, 20), Some(20), revise(Some(2), None)),
        ((3, 10), (0, 20), Some(20), revise(Some(0), None)),
        // More pieces wait for the price, so that goes too.
        ((3, 10), (5, 20), Some(20), revise(None, Some(20))),
        // Another price goes at once, up or down.
        ((3, 10), (3, 30), Some(20), revise(None, Some(30))),
        ((3, 10), (3, 15), Some(20), revise(None, Some(15))),
        // What was confirmed before is wanted again: the feed may have put its price there by now.
        ((3, 10), (3, 10), Some(20), revise(None, Some(10))),
        ((3, 10), (3, 10), Some(10), Step::Nothing),
        ((3, 10), (3, 20), None, revise(None, Some(20))),
    ] {
        let row = row(shown, wanted, feed);
        // A feed that takes long is not waited for.
        let late = Listing {
            bulk_waits: false,
            ..row.clone()
        };
        match expected {
            Step::Leave(_) => assert_eq!(step(&late), revise(None, Some(wanted.1)), "{row:?}"),
            Step::Revise { price: None, .. } if wanted.0 > 0 => {
                assert_eq!(step(&late), revise(Some(wanted.0), Some(wanted.1)), "{row:?}");
            }
            _ => assert_eq!(step(&late), expected, "{row:?}"),
        }
        assert_eq!(step(&row), expected, "{shown:?} {wanted:?} {feed:?}");
    }
}

#[test]
fn what_is_said_again_is_said_once() {
    let mut row = row((3, 10), (3, 10), Some(20));
    row.synced_version = row.wanted_version;
    assert_eq!(step(&row), Step::Nothing);
    row.wanted_version = Version(row.wanted_version.0 + 1);
    assert_eq!(step(&row), revise(None, Some(10)));
    row.held_reason = Some("drift".into());
    assert_eq!(step(&row), Step::Nothing);
}

fn any_row() -> impl Strategy<Value = Listing> {
    let held = prop_oneof![
        6 => Just(None),
        1 => Just(Some("radius")),
        1 => Just(Some("radius_price")),
        1 => Just(Some("drift")),
        1 => Just(Some("refused")),
    ];
    let status = prop_oneof![
        6 => Just(ListingStatus::Active),
        1 => Just(ListingStatus::Ended),
        1 => Just(ListingStatus::Paused),
    ];
    let prices = (1..4_i64, 1..4_i64, prop::option::of(1..4_i64));
    let flags = (
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    (0..3_i64, 0..3_i64, prices, held, status, flags).prop_map(
        |(had, wanted, (shown, price, feed), held, status, (auto_sync, unsure, synced))| {
            let mut row = row((had, shown), (wanted, price), feed);
            row.basis.confirmed.status = status;
            row.held_reason = held.map(Into::into);
            row.auto_sync = auto_sync;
            row.needs_read_back = unsure;
            if synced {
                row.synced_version = row.wanted_version;
            }
            row
        },
    )
}

proptest! {
    /// A feed never keeps a zero, a smaller quantity, a look or a hold from being what it would be without it.
    #[test]
    fn a_feed_takes_nothing_but_its_own_price_out_of_a_step(row in any_row()) {
        let without = Listing { bulk_price: None, ..row.clone() };
        let (with, without) = (step(&row), step(&without));
        let expected = match without {
            Step::Revise { quantity, price: Some(price) } if row.bulk_price == Some(price) => {
                let raises = row.basis.wanted.unwrap().quantity > row.basis.confirmed.quantity;
                match quantity {
                    _ if raises || row.basis.confirmed.status != ListingStatus::Active => without,
                    Some(_) => Step::Revise { quantity, price: None },
                    None => Step::Leave(LeaveWhy::Bulk),
                }
            }
            Step::Nothing if with != Step::Nothing => {
                prop_assert!(row.bulk_price.is_some() && row.bulk_price != row.basis.wanted.unwrap().price);
                Step::Revise { quantity: None, price: row.basis.wanted.unwrap().price }
            }
            other => other,
        };
        prop_assert_eq!(with, expected);
        prop_assert!(!without.is_zero() || with.is_zero());
    }

    /// Nothing goes into a feed but what would have been sent as a price alone.
    #[test]
    fn only_a_price_alone_of_a_listing_that_is_kept_in_line_goes_into_a_feed(row in any_row()) {
        if let Some(price) = price_alone(&row, step(&row)) {
            prop_assert!(row.auto_sync && row.held_reason.is_none() && !row.needs_read_back);
            prop_assert!(row.bulk_price.is_none());
            prop_assert_eq!(step(&row), Step::Revise { quantity: None, price: Some(price) });
            let wanted = row.basis.wanted.unwrap();
            prop_assert_eq!(wanted.quantity, row.basis.confirmed.quantity);
            prop_assert!(!wanted.quantity.is_zero());
            // It is in the feed from now on, and would still be sent.
            let gathered = Listing { bulk_price: Some(price), ..row.clone() };
            prop_assert_eq!(step(&gathered), Step::Leave(LeaveWhy::Bulk));
            prop_assert!(still_goes(&gathered, price));
        }
    }
}

#[test]
fn what_was_gathered_is_not_sent_when_something_came_up() {
    let good = row((3, 10), (3, 20), Some(20));
    let price = money(20).unwrap();
    assert!(still_goes(&good, price));
    let with = |change: &dyn Fn(&mut Listing)| {
        let mut row = good.clone();
        change(&mut row);
        still_goes(&row, price)
    };
    assert!(!with(&|row| row.auto_sync = false));
    assert!(!with(&|row| row.held_reason = Some("drift".into())));
    assert!(!with(&|row| row.needs_read_back = true));
    assert!(!with(&|row| row.basis.wanted = wants(3, 30)));
    assert!(!with(&|row| row.basis.confirmed.price = money(20)));
    assert!(!with(&|row| row.basis.confirmed.status = ListingStatus::Ended));
}

fn feed(stage: BulkStage) -> BulkFeed {
    BulkFeed {
        id: "7".into(),
        stage,
        report: None,
        created_at: DateTime::UNIX_EPOCH,
    }
}

#[test]
fn a_feed_is_looked_at_less_and_less_often_and_not_for_ever() {
    let (began, poll) = (DateTime::UNIX_EPOCH, Duration::from_secs(15));
    let after = |minutes: i64, stage| looked(&feed(stage), began, began + TimeDelta::minutes(minutes), poll);
    let wait = |s| Looked::Wait(Duration::from_secs(s));
    assert_eq!(after(0, BulkStage::UnderWay), wait(15));
    assert_eq!(after(8, BulkStage::UnderWay), wait(60));
    assert_eq!(after(300, BulkStage::UnderWay), wait(300));
    assert_eq!(after(361, BulkStage::UnderWay), Looked::Over(FeedResult::Late));
    assert_eq!(after(361, BulkStage::Done), Looked::Over(FeedResult::Done));
    assert_eq!(after(1, BulkStage::Fatal), Looked::Over(FeedResult::Fatal));
    assert_eq!(
        after(1, BulkStage::Cancelled),
        Looked::Over(FeedResult::Cancelled)
    );
}

#[test]
fn a_quota_uses_up_no_try_and_a_refusal_ends_it() {
    let limited = |retry_after| failure(ErrorClass::RateLimited { retry_after });
    let s = Duration::from_secs;
    assert_eq!(after(&limited(Some(s(121))), 9), After::Again(s(121), false));
    assert_eq!(after(&limited(None), 1), After::Again(s(10), false));
    assert_eq!(
        after(&failure(ErrorClass::Transient), 0),
        After::Again(s(5), true)
    );
    assert_eq!(
        after(&failure(ErrorClass::Transient), 50),
        After::Again(LONGEST, true)
    );
    for class in [ErrorClass::Rejected, ErrorClass::Protocol, ErrorClass::NotFound] {
        assert_eq!(after(&failure(class), 0), After::Over);
    }
    let shut = PlatformError {
        code: crate::platform::gateway::codes::GATE_SHUT.into(),
        ..failure(ErrorClass::Transient)
    };
    assert_eq!(after(&shut, 3), After::Again(s(5), false));
    assert!(!is_enough(5) && is_enough(6));
}

#[test]
fn a_report_says_what_became_of_each_and_its_silence_says_nothing() {
    let said: Box<str> = r#"{"code":"90220"}"#.into();
    let mut report = BulkReport {
        refused: [(2, vec![said])].into(),
        others_taken: true,
        said: Vec::new(),
    };
    let issues = json!({"issues": [{"code": "90220"}]});
    assert_eq!(outcome(&report, 1), (ItemOutcome::Accepted, None));
    assert_eq!(outcome(&report, 2), (ItemOutcome::Refused, Some(issues)));
    report.others_taken = false;
    assert_eq!(outcome(&report, 1), (ItemOutcome::Unknown, None));
    assert_eq!(outcome_of_all(FeedResult::Late, false), ItemOutcome::LeftOut);
    assert_eq!(outcome_of_all(FeedResult::Refused, true), ItemOutcome::LeftOut);
    for result in [
        FeedResult::Late,
        FeedResult::Fatal,
        FeedResult::Lost,
        FeedResult::Unreadable,
        FeedResult::Cancelled,
    ] {
        assert_eq!(outcome_of_all(result, true), ItemOutcome::Unknown);
    }
}

#[test]
fn a_feed_of_which_nothing_is_heard_is_given_up_after_all_other_limits() {
    let at = DateTime::UNIX_EPOCH;
    assert!(!is_given_up(None, at + TimeDelta::days(1)));
    assert!(!is_given_up(Some(at), at + TimeDelta::hours(7)));
    assert!(is_given_up(
        Some(at),
        at + TimeDelta::hours(7) + TimeDelta::seconds(1)
    ));
}
