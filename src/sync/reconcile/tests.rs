//! What holds whatever differs: nothing is raised, nothing above what can be bought stays, and once is enough.

use super::super::model::{listing, money, pieces};
use super::super::plan::{self, Known, Step};
use super::*;
use crate::store::listings::Listing;
use crate::store::reads::ReadBack;
use chrono::DateTime;
use proptest::prelude::*;

fn state() -> impl Strategy<Value = ListingState> {
    let status = prop::sample::select(vec![
        ListingStatus::Active,
        ListingStatus::Active,
        ListingStatus::Active,
        ListingStatus::Ended,
        ListingStatus::Paused,
    ]);
    (status, 0_i64..5, prop::option::weighted(0.9, 18_i64..22)).prop_map(|(status, quantity, price)| {
        ListingState {
            status,
            quantity: pieces(quantity),
            price: price.and_then(money),
        }
    })
}

fn wants() -> impl Strategy<Value = Wants> {
    (0_i64..5, prop::option::weighted(0.8, 18_i64..22), any::<bool>()).prop_map(|(quantity, price, ended)| {
        Wants {
            version: Version(3),
            wanted: Wanted {
                quantity: pieces(if ended { 0 } else { quantity }),
                price: price.and_then(money),
                status: if ended {
                    ListingStatus::Ended
                } else {
                    ListingStatus::Active
                },
            },
            adopted: None,
        }
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(Policy::ALL.to_vec())
}

/// The row as it stands once the difference was dealt with.
fn row(wants: Wants, repair: Repair) -> Listing {
    let mut row = listing(repair.confirmed, Some(wants.wanted));
    row.wanted_version = wants.version;
    row.synced_version = Version(wants.version.0 - 1);
    row.held_reason = repair.hold.map(Into::into);
    row.read_back = Some(ReadBack {
        adopted: repair.adopted,
        ..ReadBack::default()
    });
    row
}

/// What the syncer makes of it, every request accepted. No step may offer more than `most` pieces.
fn followed(row: &mut Listing, most: Quantity) -> Result<(), TestCaseError> {
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    for _ in 0..6 {
        let known = Known {
            fresh: true,
            ..Known::default()
        };
        match plan::next(row, known, now) {
            step @ (Step::Revise { .. } | Step::End | Step::Relist) => {
                row.basis.confirmed = step.applied(row.basis.confirmed);
                prop_assert!(
                    offered(row.basis.confirmed) <= most,
                    "{step:?} offers more: {row:?}"
                );
            }
            _ => return Ok(()),
        }
    }
    prop_assert!(false, "it never ends: {row:?}");
    Ok(())
}

fn buyable(wanted: Wanted) -> Quantity {
    match wanted.status {
        ListingStatus::Active => wanted.quantity,
        _ => Quantity::ZERO,
    }
}

proptest! {
    #[test]
    fn no_policy_raises_a_quantity_now_or_with_a_new_price_and_none_leaves_too_much(
        policy in policies(), believed in state(), wants in wants(), shown in prop::option::weighted(0.9, state()),
    ) {
        let repair = reconcile(policy, believed, Some(wants), shown);
        let seen = offered(repair.confirmed);
        let mut row = row(wants, repair);
        followed(&mut row, seen)?;
        let left = offered(row.basis.confirmed);
        prop_assert!(left <= buyable(wants.wanted), "more than can be bought stays: {row:?}");
        // A new price is no word on how many there are.
        row.wanted_version = row.wanted_version.next();
        row.basis.wanted = Some(Wanted { price: money(30), ..wants.wanted });
        followed(&mut row, left)?;
    }

    #[test]
    fn once_is_enough(
        policy in policies(), believed in state(), wants in wants(), shown in prop::option::weighted(0.9, state()),
    ) {
        let repair = reconcile(policy, believed, Some(wants), shown);
        let mut row = row(wants, repair);
        followed(&mut row, offered(repair.confirmed))?;
        let confirmed = row.basis.confirmed;
        prop_assert!(differences(confirmed, Some(confirmed)).is_empty());
        if repair.hold.is_none() {
            let again = Wants { adopted: repair.adopted, ..wants };
            let second = reconcile(policy, confirmed, Some(again), Some(confirmed));
            prop_assert_ne!(second.done, Done::Pushed);
            prop_assert_eq!(second.confirmed, confirmed);
            prop_assert_eq!(second.adopted, repair.adopted);
        }
    }

    #[test]
    fn another_quantity_that_a_source_brought_about_is_offered_again(
        believed in state(), wants in wants(), shown in state(),
    ) {
        prop_assume!(wants.wanted.status == ListingStatus::Active && shown.status == ListingStatus::Active);
        let repair = reconcile(Policy::Overwrite, believed, Some(wants), Some(shown));
        let mut row = row(wants, repair);
        row.wanted_version = row.wanted_version.next();
        row.basis.wanted = Some(Wanted { quantity: pieces(7), ..wants.wanted });
        followed(&mut row, pieces(7))?;
        prop_assert_eq!(offered(row.basis.confirmed), pieces(7));
    }
}

#[test]
fn a_price_is_ours_or_theirs_by_the_policy() {
    let wants = Wants {
        version: Version(1),
        wanted: Wanted {
            quantity: pieces(3),
            price: money(20),
            status: ListingStatus::Active,
        },
        adopted: None,
    };
    let at = |quantity, price| ListingState {
        status: ListingStatus::Active,
        quantity: pieces(quantity),
        price: money(price),
    };
    let of = |policy| reconcile(policy, at(3, 20), Some(wants), Some(at(3, 15)));
    assert_eq!(
        (of(Policy::Overwrite).done, of(Policy::Overwrite).adopted),
        (Done::Pushed, None)
    );
    assert_eq!(of(Policy::Adopt).done, Done::Adopted);
    assert_eq!(of(Policy::Ask).hold, Some(HELD_DRIFT));
    // Until something else is wanted.
    let left = of(Policy::Adopt).adopted.unwrap();
    assert_eq!(left.over(wants.wanted, Version(1)).price, money(15));
    assert_eq!(left.over(wants.wanted, Version(2)).price, money(20));
}

#[test]
fn people_are_told_of_many_and_nothing_is_repaired_of_very_many() {
    let settings = ReconcileSettings::default();
    let counts = |part, looked| RunCounts {
        looked,
        differed: part,
        drifted: part,
        ..RunCounts::default()
    };
    let table = [
        (counts(4, 10), false, false),
        (counts(5, 250), false, false),
        (counts(5, 249), true, false),
        (counts(20, 100), true, false),
        (counts(21, 100), true, true),
        (counts(5, 5), true, true),
    ];
    for (counts, tells, stops) in table {
        assert_eq!(
            (settings.tells(counts), settings.stops(counts)),
            (tells, stops),
            "{counts:?}"
        );
    }
}
