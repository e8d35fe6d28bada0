//! When a difference is believed, and when it is only a race.

use super::super::model::{failure, listing, money, pieces, shows};
use super::super::plan::{self, Known};
use super::super::reconcile::Policies;
use super::super::settle::{Waits, settle};
use super::*;
use crate::domain::{JobId, ListingStatus, Quantity, SyncLogId, Version, Wanted};
use crate::store::listings::Pushing;
use crate::store::pushes::PushLease;
use crate::store::sync_log::PossibleWrites;
use uuid::Uuid;

fn now() -> DateTime<Utc> {
    "2026-11-22T18:30:00Z".parse().unwrap()
}

/// A listing that shows and wants 3 at 20 and is to be compared.
fn asked() -> (Listing, Begun) {
    let mut row = listing(
        shows(3, 20),
        Some(Wanted {
            quantity: pieces(3),
            price: money(20),
            status: ListingStatus::Active,
        }),
    );
    row.synced_version = row.wanted_version;
    row.last_sync_log_id = Some(SyncLogId(7));
    row.read_back = Some(ReadBack {
        asked: true,
        execution: Some(Uuid::nil()),
        ..ReadBack::default()
    });
    let begun = Begun {
        lease: PushLease {
            job: JobId(1),
            attempt: 1,
            token: Uuid::nil(),
        },
        priority: PRIORITY_CHECK,
        retries: 0,
        max_retries: 3,
        log: SyncLogId(7),
        version: row.wanted_version,
        step: Step::Read(ReadWhy::Reconcile),
        completes: false,
        spent: None,
    };
    assert_eq!(plan::next(&row, Known::default(), now()), begun.step);
    (row, begun)
}

fn around() -> Around {
    Around {
        settings: ReconcileSettings::default(),
        policy: Policies::default().ebay,
        last_write: None,
        counts: RunCounts {
            looked: 100,
            ..RunCounts::default()
        },
    }
}

fn read(state: ListingState) -> Answer {
    Answer::Read(Ok(state))
}

/// The same, seen once `s` seconds ago.
fn seen(row: &mut Listing, shown: Option<ListingState>, s: i64) {
    if let Some(back) = &mut row.read_back {
        back.suspect = Some(Suspect {
            at: now() - TimeDelta::seconds(s),
            shown,
        });
    }
}

#[test]
fn what_agrees_is_over() {
    let (row, begun) = asked();
    let (settled, note) = judge(&row, &begun, &read(shows(3, 20)), &around(), now()).unwrap();
    assert_eq!(settled.write.job.1, JobEnd::Done);
    assert!(note.agrees && note.compared && !note.back.asked && note.drift.is_empty());
    assert_eq!(note.moved.looked, 1);
    assert_eq!(
        note.back.execution,
        Some(Uuid::nil()),
        "its run does not have it read twice"
    );
}

/// Two changes that cancel each other out leave a version behind, and nothing to be pushed.
#[test]
fn what_is_behind_and_wants_what_was_confirmed_is_compared_and_over() {
    let (mut row, mut begun) = asked();
    row.wanted_version = Version(3);
    begun.version = row.wanted_version;
    assert_eq!(plan::next(&row, Known::default(), now()), begun.step);
    let (settled, note) = judge(&row, &begun, &read(shows(3, 20)), &around(), now()).unwrap();
    assert_eq!(settled.write.job.1, JobEnd::Done);
    assert_eq!(settled.write.synced, Some(Version(3)));
    assert!(note.agrees && !note.back.asked);
}

#[test]
fn a_difference_is_believed_when_it_is_seen_again_after_a_while() {
    let (mut row, begun) = asked();
    let answer = read(shows(3, 15));
    let (settled, note) = judge(&row, &begun, &answer, &around(), now()).unwrap();
    assert_eq!((settled.write.confirmed, settled.write.hold), (None, None));
    assert!(note.back.asked && note.drift.is_empty());
    assert_eq!(note.back.suspect.as_ref().unwrap().shown, Some(shows(3, 15)));
    assert_eq!(
        (note.moved.looked, note.moved.differed, note.moved.drifted),
        (1, 1, 0)
    );
    row.read_back = Some(note.back);
    assert!(
        matches!(plan::next(&row, Known::default(), now()), Step::Wait { .. }),
        "not at once"
    );
    // Something else than before, or too soon: not believed.
    for (shown, s) in [(shows(3, 16), 90), (shows(3, 15), 60)] {
        seen(&mut row, Some(shown), s);
        let (settled, _) = judge(&row, &begun, &answer, &around(), now()).unwrap();
        assert_eq!(settled.write.confirmed, None, "{shown:?} {s}");
    }
    seen(&mut row, Some(shows(3, 15)), 90);
    let (settled, note) = judge(&row, &begun, &answer, &around(), now()).unwrap();
    assert_eq!(settled.write.confirmed, Some(shows(3, 15)));
    assert_eq!(settled.write.synced, Some(Version(0)), "ours is to be pushed");
    assert_eq!((note.drift[0].kind, note.drift[0].done), ("price", "pushed"));
    assert_eq!(
        (note.moved.looked, note.moved.differed, note.moved.drifted),
        (0, 0, 1)
    );
    assert!(note.back.asked, "and looked at once more");
}

#[test]
fn a_look_of_another_kind_leaves_the_listing_its_turn() {
    let (mut row, mut begun) = asked();
    begun.step = Step::Read(ReadWhy::Unsure);
    let waits = Waits {
        outage: Duration::from_secs(60),
        attempt: Duration::from_secs(1),
        read_back: Duration::from_secs(15),
        settling: None,
        lags: None,
    };
    let possible = PossibleWrites::default();
    let read = read(shows(3, 20));
    assert!(judge(&row, &begun, &read, &around(), now()).is_none());
    for (look_at, wait) in [(None, 0), (Some(-5), 0), (Some(20), 20)] {
        if let Some(back) = &mut row.read_back {
            back.look_at = look_at.map(|s| now() + TimeDelta::seconds(s));
        }
        let mut settled = settle(&row, &begun, &read, possible, waits, now());
        assert_eq!(settled.write.job.1, JobEnd::Done);
        assert_eq!(keep_turn(&row, &mut settled, now()), None);
        let again = JobEnd::Again {
            after: Duration::from_secs(wait),
            priority: PRIORITY_CHECK,
        };
        assert_eq!(settled.write.job.1, again, "{look_at:?}");
    }
    // Nobody works at a dead letter: its turn is over.
    let mut settled = settle(&row, &begun, &read, possible, waits, now());
    settled.write.job.1 = JobEnd::Dead {
        error: "refused".to_owned(),
    };
    let note = keep_turn(&row, &mut settled, now()).unwrap();
    assert!(!note.back.asked && note.moved.failed == 1);
    assert!(matches!(settled.write.job.1, JobEnd::Dead { .. }));
    row.read_back = None;
    let mut settled = settle(&row, &begun, &read, possible, waits, now());
    assert_eq!(keep_turn(&row, &mut settled, now()), None);
    assert_eq!(settled.write.job.1, JobEnd::Done, "nobody asked");
}

#[test]
fn more_than_can_be_bought_is_not_waited_with() {
    let (row, begun) = asked();
    let (settled, note) = judge(&row, &begun, &read(shows(5, 20)), &around(), now()).unwrap();
    assert_eq!(settled.write.confirmed, Some(shows(5, 20)));
    assert_eq!((note.drift[0].kind, note.drift[0].done), ("more", "pushed"));
    assert!(matches!(
        settled.write.job.1,
        JobEnd::Again {
            after: Duration::ZERO,
            priority: 2
        }
    ));
}

#[test]
fn fewer_are_believed_and_stay_fewer() {
    let (mut row, begun) = asked();
    seen(&mut row, Some(shows(1, 20)), 100);
    let (settled, note) = judge(&row, &begun, &read(shows(1, 20)), &around(), now()).unwrap();
    assert_eq!(settled.write.confirmed, Some(shows(1, 20)));
    assert_eq!(settled.write.synced, Some(row.wanted_version));
    assert_eq!(settled.write.job.1, JobEnd::Done);
    assert_eq!((note.drift[0].kind, note.drift[0].done), ("fewer", "adopted"));
    row.basis.confirmed = shows(1, 20);
    row.read_back = Some(note.back);
    assert_eq!(plan::next(&row, Known::default(), now()), Step::Nothing);
    assert_eq!(row.target().unwrap().quantity, pieces(1));
}

#[test]
fn a_race_with_a_push_is_no_difference() {
    let shown = read(shows(5, 15));
    // One is under way, or nobody knows what became of it.
    let (mut row, begun) = asked();
    row.pushing = Some(Pushing {
        version: Version(1),
        deadline: now() - TimeDelta::seconds(1),
    });
    let (settled, note) = judge(&row, &begun, &shown, &around(), now()).unwrap();
    assert!(settled.write.confirmed.is_none() && note.back.asked && note.moved == Moved::default());
    // Something new is wanted.
    let (mut row, begun) = asked();
    row.wanted_version = row.wanted_version.next();
    let (settled, note) = judge(&row, &begun, &shown, &around(), now()).unwrap();
    assert!(settled.write.confirmed.is_none() && note.back.suspect.is_none());
    // One was answered moments ago.
    let (row, begun) = asked();
    let moments = Around {
        last_write: Some(now() - TimeDelta::seconds(30)),
        ..around()
    };
    let (settled, note) = judge(&row, &begun, &shown, &moments, now()).unwrap();
    assert!(settled.write.confirmed.is_none() && note.back.suspect.is_none());
    assert!(matches!(settled.write.job.1, JobEnd::Again { after, .. } if after == Duration::from_secs(60)));
    // A push between two looks: the first says nothing any more.
    let (mut row, begun) = asked();
    seen(&mut row, Some(shows(3, 15)), 300);
    let between = Around {
        last_write: Some(now() - TimeDelta::seconds(200)),
        ..around()
    };
    let (settled, note) = judge(&row, &begun, &read(shows(3, 15)), &between, now()).unwrap();
    assert!(settled.write.confirmed.is_none());
    assert_eq!(note.back.suspect.unwrap().at, now());
    // And the answer of one that was overtaken is not ours to judge.
    let (mut row, begun) = asked();
    row.last_sync_log_id = Some(SyncLogId(8));
    assert!(judge(&row, &begun, &shown, &around(), now()).is_none());
}

#[test]
fn what_is_gone_is_held_and_what_cannot_be_read_is_not_judged() {
    let of = |class| Answer::Read(Err(NotRead::Failed(failure(class))));
    let (mut row, begun) = asked();
    let (settled, note) = judge(&row, &begun, &of(ErrorClass::NotFound), &around(), now()).unwrap();
    assert!(settled.write.hold.is_none() && note.back.suspect.is_some());
    seen(&mut row, None, 100);
    let (settled, note) = judge(&row, &begun, &of(ErrorClass::NotFound), &around(), now()).unwrap();
    assert_eq!(settled.write.hold.unwrap().reason, HELD_ENDED);
    assert_eq!(settled.write.confirmed.unwrap().status, ListingStatus::Ended);
    assert_eq!(note.drift[0].kind, "gone");
    let (settled, note) = judge(&row, &begun, &of(ErrorClass::Protocol), &around(), now()).unwrap();
    assert!(settled.write.hold.is_none() && settled.write.confirmed.is_none() && !note.back.asked);
    assert_eq!((settled.write.job.1, note.moved.failed), (JobEnd::Done, 1));
    assert!(
        judge(&row, &begun, &of(ErrorClass::Transient), &around(), now()).is_none(),
        "an outage"
    );
}

#[test]
fn of_very_many_nothing_is_repaired_not_even_believed() {
    let (mut row, begun) = asked();
    seen(&mut row, Some(shows(0, 20)), 100);
    let many = Around {
        counts: RunCounts {
            looked: 100,
            differed: 21,
            ..RunCounts::default()
        },
        ..around()
    };
    for shown in [shows(0, 20), shows(9, 20)] {
        let (settled, note) = judge(&row, &begun, &read(shown), &many, now()).unwrap();
        assert_eq!((settled.write.confirmed, settled.write.synced), (None, None));
        assert!(settled.write.hold.is_none() && note.back.adopted.is_none() && note.moved.stopped);
        assert_eq!(note.drift[0].done, "stopped");
        assert!(settled.trouble.unwrap().critical);
    }
}

#[test]
fn a_push_that_never_takes_is_a_persons_after_three() {
    let (mut row, begun) = asked();
    if let Some(back) = &mut row.read_back {
        back.repairs = MOST_REPAIRS;
    }
    let (settled, note) = judge(&row, &begun, &read(shows(5, 20)), &around(), now()).unwrap();
    assert_eq!(settled.write.hold.unwrap().reason, HELD_DRIFT);
    assert!(!note.back.asked);
    // A smaller quantity passes this hold.
    row.held_reason = Some(HELD_DRIFT.into());
    row.basis.confirmed = shows(5, 20);
    row.read_back = None;
    let down = Step::Revise {
        quantity: Some(Quantity::new(3).unwrap()),
        price: None,
    };
    assert_eq!(plan::next(&row, Known::default(), now()), down);
}

/// The look was under way when the source sold out: its job was raised to that, and must not fall back behind everything.
#[test]
fn what_came_to_be_wanted_meanwhile_goes_on_as_urgently_as_it_is_held_or_not() {
    for held in [None, Some("refused"), Some("drift")] {
        for shown in [shows(3, 20), shows(2, 20)] {
            let (mut row, begun) = asked();
            row.held_reason = held.map(Into::into);
            row.wanted_version = Version(row.wanted_version.0 + 1);
            row.basis.wanted = Some(Wanted {
                quantity: Quantity::ZERO,
                price: money(20),
                status: ListingStatus::Active,
            });
            let (settled, _) = judge(&row, &begun, &read(shown), &around(), now()).unwrap();
            let urgent = JobEnd::Again {
                after: Duration::ZERO,
                priority: 1,
            };
            assert_eq!(settled.write.job.1, urgent, "{held:?} {shown:?}");
        }
    }
}
