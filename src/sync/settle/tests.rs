//! What an answer changes, case by case; what they come to together is `super::super::model`'s.

use super::super::model::{failure, listing, money, pieces, shows};
use super::super::plan::{self, Known};
use super::*;
use crate::domain::{JobId, Wanted};
use uuid::Uuid;

const WAITS: Waits = Waits {
    outage: Duration::from_secs(9),
    attempt: Duration::from_secs(5),
    read_back: Duration::from_secs(2),
    settling: None,
    lags: None,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-11-22T12:00:00Z")
}

fn wants(quantity: i64, price: Option<i64>) -> Option<Wanted> {
    Some(Wanted {
        quantity: pieces(quantity),
        price: price.and_then(money),
        status: ListingStatus::Active,
    })
}

fn price(units: i64) -> Step {
    Step::Revise {
        quantity: None,
        price: money(units),
    }
}

const ZERO: Step = Step::Revise {
    quantity: Some(crate::domain::Quantity::ZERO),
    price: None,
};

/// A row that shows 3 at 20, wants `wanted` as version 1, and whose push of `step` was begun for that version.
fn begun(wanted: Option<Wanted>, step: Step) -> (Listing, Begun) {
    let mut row = listing(shows(3, 20), wanted);
    row.last_sync_log_id = Some(SyncLogId(7));
    row.revisions_day = Some(pacific_day(now()));
    row.revisions = 40;
    let begun = Begun {
        lease: PushLease {
            job: JobId(1),
            attempt: 1,
            token: Uuid::nil(),
        },
        priority: 5,
        retries: 0,
        max_retries: 3,
        log: SyncLogId(7),
        version: row.wanted_version,
        step,
        completes: true,
        spent: row.revisions_day,
    };
    (row, begun)
}

fn settled(row: &Listing, begun: &Begun, answer: Answer) -> Settled {
    settle(row, begun, &answer, PossibleWrites::default(), WAITS, now())
}

fn refusal(class: ErrorClass) -> Answer {
    Answer::Written(Written::Failed(failure(class)))
}

fn not_sent_at_all() -> Answer {
    Answer::Written(Written::NotSent(NotSent {
        why: "test".into(),
        retry_after: Duration::from_millis(500),
    }))
}

#[test]
fn a_revision_is_given_back_for_what_was_turned_away_and_for_nothing_else() {
    let (row, push) = begun(wants(3, Some(25)), price(25));
    let limited = ErrorClass::RateLimited { retry_after: None };
    for (answer, back) in [
        (not_sent_at_all(), true),
        (refusal(limited), true),
        (refusal(ErrorClass::Unauthorized), true),
        (refusal(ErrorClass::Rejected), false),
        (
            Answer::Written(Written::Unknown(failure(ErrorClass::Transient))),
            false,
        ),
        (Answer::Written(Written::Accepted { warnings: Vec::new() }), false),
    ] {
        let said = format!("{answer:?}");
        assert_eq!(
            settled(&row, &push, answer).write.refund,
            push.spent.filter(|_| back),
            "{said}"
        );
    }
    let uncounted = Begun { spent: None, ..push };
    assert_eq!(settled(&row, &uncounted, not_sent_at_all()).write.refund, None);
}

#[test]
fn a_zero_that_is_wanted_meanwhile_waits_for_nothing_that_became_of_the_push_before_it() {
    let (mut row, push) = begun(wants(3, Some(25)), price(25));
    row.basis.wanted = wants(0, None);
    row.wanted_version = Version(2);
    let limited = ErrorClass::RateLimited {
        retry_after: Some(Duration::from_secs(300)),
    };
    for answer in [
        refusal(ErrorClass::Rejected),
        refusal(ErrorClass::NotFound),
        refusal(ErrorClass::Protocol),
        refusal(ErrorClass::Transient),
        refusal(limited),
        not_sent_at_all(),
    ] {
        let said = format!("{answer:?}");
        let settled = settled(&row, &push, answer);
        let now = JobEnd::Again {
            after: Duration::ZERO,
            priority: PRIORITY_ZERO,
        };
        assert_eq!((settled.write.job.1, settled.write.hold), (now, None), "{said}");
    }
    // Only an unknown outcome is waited out, and as a zero.
    row.pushing = Some(crate::store::listings::Pushing {
        version: Version(1),
        deadline: now() + chrono::TimeDelta::seconds(14),
    });
    let unknown = Answer::Written(Written::Unknown(failure(ErrorClass::Transient)));
    let waits = JobEnd::Again {
        after: Duration::from_secs(14),
        priority: PRIORITY_ZERO,
    };
    assert_eq!(settled(&row, &push, unknown).write.job.1, waits);
}

#[test]
fn a_push_of_what_is_still_wanted_is_held_when_it_is_refused_and_backs_off_in_an_outage() {
    let (row, push) = begun(wants(3, Some(25)), price(25));
    let refused = settled(&row, &push, refusal(ErrorClass::Rejected));
    assert_eq!(refused.write.hold.map(|hold| hold.reason), Some(HELD_REFUSED));
    let away = settled(&row, &push, refusal(ErrorClass::Transient));
    let later = JobEnd::Again {
        after: WAITS.outage,
        priority: 5,
    };
    assert_eq!(away.write.job.1, later);
}

#[test]
fn a_day_that_is_used_up_is_the_one_the_revision_was_counted_in() {
    let midnight = at("2026-11-22T08:00:00Z");
    let (row, push) = begun(wants(0, None), ZERO);
    let spent = pacific_day(midnight - chrono::TimeDelta::seconds(1));
    let push = Begun {
        spent: Some(spent),
        ..push
    };
    let row = Listing {
        revisions_day: Some(spent),
        ..row
    };
    let used_up = PlatformError {
        code: crate::platform::ebay::REVISION_LIMIT.into(),
        ..failure(ErrorClass::Rejected)
    };
    let answer = Answer::Written(Written::Failed(used_up));
    let settled = settle(
        &row,
        &push,
        &answer,
        PossibleWrites::default(),
        WAITS,
        midnight + chrono::TimeDelta::seconds(1),
    );
    assert_eq!(settled.write.exhausted, Some((spent, 250)));
}

#[test]
fn after_a_fresh_look_a_raise_goes_ahead_of_other_changes_and_a_price_does_not() {
    for (wanted, priority) in [
        (wants(5, Some(20)), 2),
        (wants(5, None), 2),
        (wants(5, Some(25)), 5),
        (wants(1, Some(20)), 5),
    ] {
        let (row, look) = begun(wanted, Step::Read(ReadWhy::Unsure));
        let settled = settled(&row, &look, Answer::Read(Ok(shows(3, 20))));
        let again = JobEnd::Again {
            after: Duration::ZERO,
            priority,
        };
        assert_eq!((settled.write.job.1, settled.fresh), (again, true), "{wanted:?}");
    }
}

#[test]
fn a_price_that_is_not_there_before_a_raise_is_counted_and_held_in_the_end() {
    let (row, look) = begun(wants(5, Some(20)), Step::Read(ReadWhy::BeforeRaise));
    let shown = || Answer::Read(Ok(shows(3, 19)));
    let first = settled(&row, &look, shown());
    let JobEnd::Retry { after, .. } = first.write.job.1 else {
        panic!("expected a counted attempt, got {:?}", first.write.job.1);
    };
    assert_eq!(after, WAITS.read_back);
    let last = Begun { retries: 3, ..look };
    let held = settled(&row, &last, shown());
    assert_eq!(held.write.hold.map(|hold| hold.reason), Some(HELD_NOT_APPLIED));
    // What was never accepted is no contradiction.
    let row = Listing {
        basis: crate::domain::ListingBasis {
            wanted: wants(5, Some(30)),
            ..row.basis
        },
        ..row
    };
    let other = settled(&row, &look, shown());
    assert!(matches!(other.write.job.1, JobEnd::Again { .. }));
}

#[test]
fn a_sale_seen_on_a_listing_that_was_in_line_leaves_it_behind() {
    let (mut row, look) = begun(wants(3, Some(20)), Step::Read(ReadWhy::Unsure));
    row.synced_version = row.wanted_version;
    let settled = settled(&row, &look, Answer::Read(Ok(shows(2, 20))));
    assert_eq!(settled.write.hold.map(|hold| hold.reason), Some(HELD_SALE));
    assert_eq!(
        settled.write.synced,
        Some(Version(0)),
        "whoever accepts the hold wants it raised"
    );
}

#[test]
fn a_listing_on_hold_over_there_is_looked_at_again_and_told() {
    let (row, look) = begun(wants(3, Some(25)), Step::Read(ReadWhy::Unsure));
    let paused = ListingState {
        status: ListingStatus::Paused,
        ..shows(3, 20)
    };
    let settled = settled(&row, &look, Answer::Read(Ok(paused)));
    let later = JobEnd::Again {
        after: ON_HOLD_LOOK,
        priority: 5,
    };
    assert_eq!((settled.write.job.1, settled.write.hold), (later, None));
    assert_eq!(settled.trouble.map(|t| t.code), Some(ON_HOLD.to_owned()));
}

#[test]
fn the_last_word_on_a_zero_is_critical_even_when_it_is_that_of_the_look_after_it() {
    let (row, push) = begun(wants(0, None), ZERO);
    for step in [ZERO, Step::Read(ReadWhy::Unsure)] {
        let last = Begun {
            retries: 3,
            step,
            ..push.clone()
        };
        let answer = match step {
            ZERO => refusal(ErrorClass::Protocol),
            _ => Answer::Read(Err(NotRead::Failed(failure(ErrorClass::Protocol)))),
        };
        let trouble = settled(&row, &last, answer).trouble.unwrap();
        assert!(trouble.critical, "{step:?}");
    }
}

#[test]
fn what_a_destination_shows_while_it_settles_is_no_sale_and_no_loss_of_a_push() {
    let settling = Waits {
        settling: Some(Duration::from_secs(600)),
        ..WAITS
    };
    let look = |row: &Listing, begun: &Begun, shown| {
        let answer = Answer::Read(Ok(shown));
        settle(row, begun, &answer, PossibleWrites::default(), settling, now())
    };
    let waits = |settled: &Settled| {
        settled.write.job.1 == again(Duration::from_secs(600), 5)
            && settled.write.confirmed.is_none()
            && settled.write.hold.is_none()
            && settled.write.needs_read_back
    };
    // 3 were confirmed; 1 from before is still shown: no sale.
    let (mut row, begun) = begun(wants(5, None), Step::Read(ReadWhy::BeforeRaise));
    assert!(waits(&look(&row, &begun, shows(1, 20))));
    // What is confirmed is there: the raise goes on.
    assert!(!waits(&look(&row, &begun, shows(3, 20))));
    // What is wanted is there already.
    assert!(!waits(&look(&row, &begun, shows(5, 20))));
    // A higher price alone waits for nothing; what is cheaper or offers more than was taken does.
    for (wanted, shown, waits_for) in [
        (wants(3, Some(30)), shows(3, 25), false),
        (wants(3, Some(30)), shows(4, 25), true),
        (wants(4, Some(30)), shows(4, 25), true),
        (wants(3, Some(22)), shows(3, 25), true),
        (wants(4, Some(20)), shows(5, 20), true),
    ] {
        let (row, begun) = self::begun(wanted, Step::Read(ReadWhy::Unsure));
        assert_eq!(
            waits(&look(&row, &begun, shown)),
            waits_for,
            "{wanted:?}, {shown:?}"
        );
    }
    // A request of unknown outcome is made again where nothing has moved, and waited for where something has.
    let unsure = Begun {
        step: Step::Read(ReadWhy::Unsure),
        ..begun.clone()
    };
    assert!(!waits(&look(&row, &unsure, shows(3, 20))));
    assert!(waits(&look(&row, &unsure, shows(2, 20))));
    // A zero that the destination has not taken waits for nothing.
    row.basis.wanted = wants(0, None);
    assert!(!waits(&look(&row, &unsure, shows(5, 20))));
}

#[test]
fn what_agrees_is_looked_at_again_where_something_taken_before_may_still_come() {
    let (row, look) = begun(wants(3, Some(20)), Step::Read(ReadWhy::Unsure));
    let waits = Waits {
        lags: Some(Duration::from_secs(20)),
        ..WAITS
    };
    let answer = Answer::Read(Ok(shows(3, 20)));
    let settled = settle(&row, &look, &answer, PossibleWrites::default(), waits, now());
    assert!(settled.write.needs_read_back);
    assert_eq!(settled.write.synced, Some(row.wanted_version));
    assert_eq!(
        settled.write.job.1,
        again(Duration::from_secs(20), PRIORITY_CHECK)
    );
}

/// What is shown while a destination settles may be more than there is: fewer than that may be a raise.
#[test]
fn fewer_pieces_than_were_taken_are_sent_while_a_destination_settles_and_no_more_are() {
    let settling = Waits {
        settling: Some(Duration::from_secs(600)),
        ..WAITS
    };
    let sent = |wanted: Option<Wanted>, shown, least: Option<i64>, held: Option<&str>| {
        let (mut row, look) = begun(wanted, Step::Read(ReadWhy::Unsure));
        row.needs_read_back = true;
        row.held_reason = held.map(Into::into);
        let possible = PossibleWrites {
            least: least.map(pieces),
            ended: false,
        };
        let answer = Answer::Read(Ok(shown));
        let settled = settle(&row, &look, &answer, possible, settling, now());
        let known = Known {
            presses: settled.presses,
            ..Known::default()
        };
        // What is shown is not believed, and is looked at again later.
        assert_eq!(
            (settled.write.confirmed, settled.write.needs_read_back),
            (None, true)
        );
        let at_once = matches!(settled.write.job.1, JobEnd::Again { after, .. } if after.is_zero());
        assert_eq!(at_once, settled.presses);
        plan::next(&row, known, now())
    };
    let two = |price| Step::Revise {
        quantity: Some(pieces(2)),
        price,
    };
    let reads = Step::Read(ReadWhy::Unsure);
    // 3 were taken: fewer, whatever is shown meanwhile.
    for shown in [shows(1, 20), shows(2, 21), shows(5, 20)] {
        assert_eq!(
            sent(wants(2, Some(20)), shown, None, None),
            two(None),
            "{shown:?}"
        );
    }
    assert_eq!(sent(wants(2, Some(25)), shows(5, 20), None, None), two(money(25)));
    // Fewer than what is shown, and not than what was taken: it would be a raise.
    assert_eq!(sent(wants(4, Some(20)), shows(5, 20), None, None), reads);
    // One may be there, of a request of unknown outcome.
    assert_eq!(sent(wants(2, Some(20)), shows(5, 20), Some(1), None), reads);
    // A hold keeps back what it does at other times.
    let refused = Some(plan::HELD_REFUSED);
    assert_eq!(sent(wants(2, Some(20)), shows(5, 20), None, refused), reads);
    let price = Some(plan::HELD_RADIUS_PRICE);
    assert_eq!(sent(wants(2, Some(25)), shows(5, 20), None, price), two(None));
}
