use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn item(weight: f32, last_ok: Option<i64>) -> PlannedItem {
    PlannedItem {
        weight_jpy_per_hour: weight,
        rate: Rate::PRIOR,
        last_ok: last_ok.map(at),
        ends_at: None,
    }
}

fn plan() -> Planner {
    Planner::new(PlannerSettings::default())
}

fn ids(picked: &[(WatchId, Why)]) -> Vec<i64> {
    picked.iter().map(|(id, _)| id.0).collect()
}

#[test]
fn products_never_seen_come_first_and_the_dearest_of_them_before_the_others() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1e6, Some(-90_000)), at(0));
    for (id, weight) in [(2, 1.0), (3, 9.0), (4, 5.0)] {
        plan.insert(WatchId(id), item(weight, None), at(0));
    }
    let picked = plan.pick(at(0), 10);
    assert_eq!(ids(&picked), [3, 4, 2, 1]);
    assert_eq!(picked[0].1, Why::Requested);
    assert_eq!(picked[3].1, Why::Floor);
}

#[test]
fn one_in_flight_is_not_picked_again_until_it_has_landed() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(-3600)), at(0));
    assert_eq!(ids(&plan.pick(at(0), 5)), [1]);
    assert!(plan.pick(at(5000), 5).is_empty());
    assert_eq!(plan.next_due(at(5000)), None);
    plan.on_ok(WatchId(1), at(5000), at(5000), false, None);
    assert!(
        plan.pick(at(5001), 5).is_empty(),
        "younger than the least interval"
    );
    assert_eq!(ids(&plan.pick(at(5060), 5)), [1]);
}

#[test]
fn an_appointment_is_never_taken_early_and_is_kept_over_a_failure() {
    let mut plan = plan();
    plan.insert(
        WatchId(1),
        PlannedItem {
            ends_at: Some(at(100)),
            ..item(1.0, Some(-10))
        },
        at(0),
    );
    assert!(plan.pick(at(40), 1).is_empty());
    assert_eq!(plan.next_due(at(40)), Some(Duration::from_secs(10)));
    assert_eq!(plan.pick(at(60), 1), [(WatchId(1), Why::Index)]);
    plan.on_err(WatchId(1), at(60));
    assert!(plan.pick(at(114), 1).is_empty());
    assert_eq!(plan.pick(at(115), 1), [(WatchId(1), Why::Event)]);
}

#[test]
fn f5_an_auction_that_was_extended_is_read_again_after_its_new_end() {
    let mut plan = plan();
    plan.insert(
        WatchId(1),
        PlannedItem {
            ends_at: Some(at(100)),
            ..item(1.0, Some(0))
        },
        at(50),
    );
    assert_eq!(plan.pick(at(115), 1), [(WatchId(1), Why::Event)]);
    plan.on_ok(WatchId(1), at(115), at(115), false, Some(at(400)));
    assert_eq!(plan.pick(at(415), 1), [(WatchId(1), Why::Event)]);
    // Over by the clock, and the page still says open: soon again, until it says ended.
    plan.on_ok(WatchId(1), at(415), at(415), false, Some(at(400)));
    assert!(plan.pick(at(429), 1).is_empty());
    assert_eq!(plan.pick(at(430), 1), [(WatchId(1), Why::Event)]);
    plan.on_ok(WatchId(1), at(430), at(430), true, None);
    assert_eq!(plan.pick(at(490), 1), [(WatchId(1), Why::Index)]);
}

#[test]
fn f6_five_thousand_ends_at_ten_are_followed_by_what_is_lost() {
    let mut plan = plan();
    for id in 0..5_000_i64 {
        #[expect(clippy::as_conversions, reason = "small")]
        let weight = (id % 977) as f32 + 1.0;
        plan.insert(
            WatchId(id),
            PlannedItem {
                ends_at: Some(at(100)),
                ..item(weight, Some(90))
            },
            at(99),
        );
    }
    let mut weights = Vec::new();
    for second in 0..5_000 {
        let picked = plan.pick(at(115 + second), 1);
        assert_eq!(picked[0].1, Why::Event);
        weights.push(picked[0].0.0 % 977);
        plan.on_ok(picked[0].0, at(115 + second), at(115 + second), true, None);
    }
    assert!(weights.is_sorted_by(|a, b| a >= b));
}

#[test]
fn the_floor_is_kept_while_the_budget_allows_and_left_out_otherwise() {
    let settings = PlannerSettings {
        requests_per_hour: 100.0,
        ..PlannerSettings::default()
    };
    let mut plan = Planner::new(settings);
    plan.insert(WatchId(1), item(0.0, Some(-90_000)), at(0));
    plan.insert(WatchId(2), item(1e6, Some(-7200)), at(0));
    assert_eq!(
        plan.pick(at(0), 2),
        [(WatchId(1), Why::Floor), (WatchId(2), Why::Index)]
    );
    let mut plan = Planner::new(PlannerSettings {
        requests_per_hour: 0.05,
        ..settings
    });
    plan.insert(WatchId(1), item(0.0, Some(-90_000)), at(0));
    plan.insert(WatchId(2), item(1e6, Some(-7200)), at(0));
    assert_eq!(plan.pick(at(0), 1), [(WatchId(2), Why::Index)]);
}

#[test]
fn a_failing_product_waits_longer_each_time_and_blocks_nobody() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1e6, Some(-7200)), at(0));
    plan.insert(WatchId(2), item(1.0, Some(-7200)), at(0));
    assert_eq!(ids(&plan.pick(at(0), 1)), [1]);
    plan.on_err(WatchId(1), at(0));
    assert_eq!(ids(&plan.pick(at(59), 2)), [2]);
    assert_eq!(ids(&plan.pick(at(60), 2)), [1]);
    plan.on_err(WatchId(1), at(60));
    assert!(plan.pick(at(179), 1).is_empty());
    assert_eq!(ids(&plan.pick(at(180), 1)), [1]);
}

#[test]
fn a_person_s_wish_goes_before_the_back_off() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(-7200)), at(0));
    plan.pick(at(0), 1);
    plan.on_err(WatchId(1), at(0));
    plan.check_now(WatchId(1), at(1));
    assert_eq!(plan.pick(at(1), 1), [(WatchId(1), Why::Requested)]);
}

#[test]
fn what_was_given_back_is_as_if_it_had_never_been_picked() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, None), at(0));
    plan.insert(WatchId(2), item(1.0, Some(-7200)), at(0));
    let first = plan.pick(at(0), 2);
    for (id, _) in &first {
        plan.give_back(*id, at(1));
    }
    assert_eq!(plan.pick(at(1), 2), first);
}

#[test]
fn appointments_teach_nothing_and_looks_do() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(0)), at(0));
    plan.check_now(WatchId(1), at(3600));
    plan.pick(at(3600), 1);
    assert_eq!(
        plan.on_ok(WatchId(1), at(3600), at(3600), true, None),
        Some(Rate::PRIOR)
    );
    plan.pick(at(7200), 1);
    let learnt = plan.on_ok(WatchId(1), at(7200), at(7200), true, None).unwrap();
    assert!(learnt.per_hour() > Rate::PRIOR.per_hour());
}

#[test]
fn an_appointment_that_fails_is_kept_and_comes_before_all_else() {
    let mut plan = plan();
    let ending = PlannedItem {
        ends_at: Some(at(100)),
        ..item(1.0, Some(90))
    };
    plan.insert(WatchId(1), ending, at(99));
    plan.insert(WatchId(2), item(1e6, Some(0)), at(99));
    assert_eq!(plan.pick(at(115), 1), [(WatchId(1), Why::Event)]);
    plan.on_err(WatchId(1), at(116));
    assert_eq!(plan.pick(at(175), 1), [(WatchId(2), Why::Index)]);
    plan.give_back(WatchId(2), at(175));
    assert_eq!(plan.pick(at(176), 1), [(WatchId(1), Why::Event)]);
}

#[test]
fn a_person_goes_before_appointments_and_these_before_products_never_seen() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1e6, None), at(0));
    plan.insert(WatchId(2), item(1e3, Some(0)), at(0));
    plan.appoint(WatchId(2), at(10));
    plan.insert(WatchId(3), item(0.0, Some(0)), at(0));
    plan.check_now(WatchId(3), at(10));
    let picked = plan.pick(at(10), 3);
    let expected = [(3, Why::Requested), (2, Why::Event), (1, Why::Requested)];
    assert_eq!(picked, expected.map(|(id, why)| (WatchId(id), why)));
}

#[test]
fn a_sweep_over_everything_lets_every_appointment_and_person_pass() {
    let mut plan = plan();
    for id in 1..=100 {
        plan.insert(WatchId(id), item(1e6, Some(0)), at(0));
        plan.look_soon(WatchId(id));
    }
    plan.insert(WatchId(101), item(1.0, Some(0)), at(0));
    plan.appoint(WatchId(101), at(10));
    plan.insert(WatchId(102), item(1.0, Some(0)), at(0));
    assert_eq!(plan.next_due(at(1)), Some(Duration::ZERO));
    assert_eq!(plan.pick(at(1), 1)[0].1, Why::Sweep, "nothing else is due");
    assert_eq!(plan.pick(at(10), 1), [(WatchId(101), Why::Event)]);
    plan.insert(WatchId(103), item(1.0, None), at(10));
    plan.check_now(WatchId(102), at(10));
    let expected = [(102, Why::Requested), (103, Why::Requested)];
    assert_eq!(plan.pick(at(10), 2), expected.map(|(id, why)| (WatchId(id), why)));
    let rest = plan.pick(at(10), 200);
    assert_eq!(rest.len(), 99);
    assert!(rest.iter().all(|(_, why)| *why == Why::Sweep));
}

#[test]
fn a_sweep_takes_no_appointment_away() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(0)), at(0));
    plan.appoint(WatchId(1), at(100));
    plan.look_soon(WatchId(1));
    assert_eq!(plan.pick(at(1), 2), [(WatchId(1), Why::Sweep)]);
    plan.on_err(WatchId(1), at(2));
    assert_eq!(
        plan.pick(at(99), 1),
        [(WatchId(1), Why::Index)],
        "no sooner called for"
    );
    plan.give_back(WatchId(1), at(99));
    assert_eq!(plan.pick(at(100), 1), [(WatchId(1), Why::Event)]);
}

#[test]
fn what_was_seen_meanwhile_is_not_looked_at_again_for_a_sweep() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(0)), at(0));
    plan.look_soon(WatchId(1));
    plan.check_now(WatchId(1), at(1));
    assert_eq!(plan.pick(at(1), 1), [(WatchId(1), Why::Requested)]);
    plan.on_ok(WatchId(1), at(2), at(2), false, None);
    assert!(plan.pick(at(3), 1).is_empty());
    plan.look_soon(WatchId(1));
    assert_eq!(plan.pick(at(4), 1), [(WatchId(1), Why::Sweep)]);
    plan.give_back(WatchId(1), at(4));
    assert_eq!(
        plan.pick(at(5), 1),
        [(WatchId(1), Why::Sweep)],
        "as if never picked"
    );
}

#[test]
fn a_look_that_says_ended_takes_the_appointment_away() {
    let mut plan = plan();
    let ending = PlannedItem {
        ends_at: Some(at(1000)),
        ..item(1.0, Some(0))
    };
    plan.insert(WatchId(1), ending, at(0));
    assert_eq!(plan.pick(at(990), 1), [(WatchId(1), Why::Index)]);
    plan.on_ok(WatchId(1), at(990), at(990), true, None);
    assert!(plan.pick(at(1020), 1).is_empty());
    plan.appoint(WatchId(1), at(1030));
    assert_eq!(plan.pick(at(1030), 1), [(WatchId(1), Why::Event)]);
}

#[test]
fn a_page_that_stays_open_after_its_end_is_asked_less_and_less_often() {
    let mut plan = Planner::new(PlannerSettings {
        min_interval: Duration::from_secs(1_000_000),
        ..PlannerSettings::default()
    });
    let ending = PlannedItem {
        ends_at: Some(at(0)),
        ..item(0.0, Some(-10))
    };
    plan.insert(WatchId(1), ending, at(0));
    let mut looks = 0;
    for second in 0..4 * 3600 {
        for (id, why) in plan.pick(at(second), 1) {
            looks += i32::from(why == Why::Event);
            plan.on_ok(id, at(second), at(second), false, Some(at(0)));
        }
    }
    assert!((20..50).contains(&looks), "{looks}");
}

#[test]
fn looking_again_and_again_writes_an_appointment_once() {
    let mut plan = plan();
    let ending = PlannedItem {
        ends_at: Some(at(1_000_000)),
        ..item(1.0, Some(-100))
    };
    plan.insert(WatchId(1), ending, at(0));
    for round in 0..1000 {
        let now = at(round * 100);
        assert_eq!(plan.pick(now, 1).len(), 1);
        plan.on_ok(WatchId(1), now, now, false, Some(at(1_000_000)));
    }
    assert_eq!((plan.future.len(), plan.due.len(), plan.parked.len()), (1, 0, 0));
}

#[test]
fn a_first_look_teaches_nothing_even_after_a_failure() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, None), at(0));
    plan.pick(at(0), 1);
    plan.on_err(WatchId(1), at(0));
    assert_eq!(plan.pick(at(60), 1).len(), 1);
    assert_eq!(
        plan.on_ok(WatchId(1), at(60), at(60), true, None),
        Some(Rate::PRIOR)
    );
}

#[test]
fn an_unclear_look_teaches_nothing_and_is_repeated_on_time() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(0)), at(0));
    let taught = |plan: &mut Planner| {
        assert_eq!(ids(&plan.pick(at(7_200), 1)), [1]);
        plan.on_ok(WatchId(1), at(7_200), at(7_200), false, None).unwrap()
    };
    let mut never_unclear = self::plan();
    never_unclear.insert(WatchId(1), item(1.0, Some(0)), at(0));
    assert_eq!(ids(&plan.pick(at(3_600), 1)), [1]);
    plan.on_unclear(WatchId(1), at(3_600), at(3_605));
    assert_eq!(plan.pick(at(3_604), 1), []);
    assert_eq!(plan.pick(at(3_605), 1), [(WatchId(1), Why::Event)]);
    plan.on_err(WatchId(1), at(3_605));
    // Two hours without news are two hours, whatever the unclear look between them.
    assert_eq!(plan.pick(at(3_605 + 60), 1), [(WatchId(1), Why::Event)]);
    plan.on_unclear(WatchId(1), at(3_665), at(7_200));
    let rate = taught(&mut plan);
    assert_eq!(rate, item(1.0, Some(0)).rate, "by appointment: nothing is learnt");
    assert_ne!(taught(&mut never_unclear), rate);
}

#[test]
fn a_clock_set_back_moves_the_last_looks_with_it() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(7100)), at(7200));
    plan.insert(WatchId(2), item(1.0, Some(7000)), at(7200));
    assert_eq!(ids(&plan.pick(at(7200), 1)), [2]);
    plan.on_err(WatchId(2), at(7200));
    // Two hours back: the one is 100 s old as before, the other's back-off still has 60 s to go.
    assert_eq!(ids(&plan.pick(at(0), 2)), [1]);
    assert!(plan.pick(at(59), 2).is_empty());
    assert_eq!(ids(&plan.pick(at(60), 2)), [2]);
    // Half a minute is no jump.
    plan.on_ok(WatchId(2), at(61), at(61), false, None);
    assert!(plan.pick(at(35), 2).is_empty());
    assert_eq!(ids(&plan.pick(at(121), 2)), [2]);
}

#[test]
fn confirmations_wait_their_turn_among_the_appointments_and_end_no_back_off() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(0)), at(10));
    let ending = PlannedItem {
        ends_at: Some(at(5)),
        ..item(9.0, Some(0))
    };
    plan.insert(WatchId(2), ending, at(0));
    plan.insert(WatchId(3), item(1e6, Some(0)), at(10));
    plan.confirm(WatchId(1), at(20));
    plan.confirm(WatchId(1), at(21));
    assert_eq!(
        plan.pick(at(22), 3),
        [(WatchId(2), Why::Event), (WatchId(1), Why::Event)],
        "an auction's end that is worth more goes first"
    );
    plan.on_err(WatchId(1), at(22));
    plan.confirm(WatchId(1), at(30));
    assert!(plan.pick(at(81), 3).iter().all(|(id, _)| id.0 != 1));
    assert_eq!(plan.pick(at(82), 1), [(WatchId(1), Why::Event)]);
}

#[test]
fn a_page_that_was_written_late_says_nothing_of_the_clock() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(0)), at(3_600));
    plan.insert(WatchId(2), item(1e-3, Some(3_590)), at(3_600));
    assert_eq!(ids(&plan.pick(at(3_600), 1)), [1]);
    plan.insert(WatchId(3), item(1e6, Some(0)), at(3_601));
    assert_eq!(ids(&plan.pick(at(3_601), 1)), [3]);
    plan.on_err(WatchId(3), at(3_601));
    // The database was away for half an hour; the page is as old as it is.
    assert!(plan.pick(at(5_400), 0).is_empty());
    plan.on_ok(WatchId(1), at(5_400), at(3_600), false, None);
    assert_eq!(plan.stats(at(5_400)).oldest_ms, 5_400_000, "nothing was moved");
    assert_eq!(ids(&plan.pick(at(5_400), 3)), [3, 1, 2]);
}

#[test]
fn an_idle_plan_notices_a_clock_that_was_set_back() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(7_200)), at(7_200));
    assert_eq!(plan.next_due(at(7_200)), Some(Duration::from_secs(60)));
    assert_eq!(plan.next_due(at(0)), Some(Duration::from_secs(60)));
    assert_eq!(plan.next_due(at(60)), Some(Duration::ZERO));
}

#[test]
fn what_was_called_out_of_a_back_off_goes_back_into_it() {
    let mut plan = plan();
    plan.insert(WatchId(1), item(1.0, Some(-7200)), at(0));
    plan.pick(at(0), 1);
    plan.on_err(WatchId(1), at(0));
    plan.check_now(WatchId(1), at(1));
    assert_eq!(plan.pick(at(1), 1).len(), 1);
    plan.give_back(WatchId(1), at(2));
    assert_eq!(plan.stats(at(2)).parked, 1);
    assert_eq!(plan.pick(at(2), 1), [(WatchId(1), Why::Requested)]);
    plan.on_ok(WatchId(1), at(2), at(2), false, None);
    assert!(
        plan.pick(at(61), 1).is_empty(),
        "the back-off has no say any more"
    );
    assert_eq!(ids(&plan.pick(at(62), 1)), [1]);
}

#[test]
fn a_hundred_thousand_products_seen_and_unseen_are_taken_in_quickly() {
    let mut plan = plan();
    for id in 0..100_000 {
        // Seen ones in the order of their looks, unseen ones in between.
        plan.insert(
            WatchId(id),
            item(1.0, (id % 2 == 0).then_some(id - 200_000)),
            at(0),
        );
    }
    assert_eq!(plan.pick(at(0), 60_000).len(), 60_000);
    assert!(std::mem::size_of::<lists::Slot>() <= 72);
}

#[derive(Clone, Debug)]
enum Act {
    Insert(i64, f32, bool),
    Remove(i64),
    Pick(usize),
    Ok(i64, bool),
    Err(i64),
    GiveBack(i64),
    CheckNow(i64),
    LookSoon(i64),
    Wait(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let id = 0..20_i64;
    let act = prop_oneof![
        (id.clone(), 0.0_f32..1e5, any::<bool>()).prop_map(|(i, w, s)| Act::Insert(i, w, s)),
        id.clone().prop_map(Act::Remove),
        (0..5_usize).prop_map(Act::Pick),
        (id.clone(), any::<bool>()).prop_map(|(i, c)| Act::Ok(i, c)),
        id.clone().prop_map(Act::Err),
        id.clone().prop_map(Act::GiveBack),
        id.clone().prop_map(Act::CheckNow),
        id.prop_map(Act::LookSoon),
        (0..20_000_i64).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    /// Whatever happens, no product is lost, none is picked twice at a time, and after a day all are picked.
    #[test]
    fn no_product_is_ever_lost(acts in acts()) {
        let mut plan = plan();
        let (mut there, mut flying, mut now) = (BTreeSet::new(), BTreeSet::new(), 0_i64);
        for act in acts {
            match act {
                Act::Insert(id, weight, seen) => {
                    plan.insert(WatchId(id), item(weight, seen.then_some(now - 100)), at(now));
                    there.insert(id);
                    flying.remove(&id);
                }
                Act::Remove(id) => { plan.remove(WatchId(id)); there.remove(&id); flying.remove(&id); }
                Act::Pick(n) => for (id, _) in plan.pick(at(now), n) {
                    prop_assert!(there.contains(&id.0));
                    prop_assert!(flying.insert(id.0), "picked twice");
                },
                Act::Ok(id, changed) => { plan.on_ok(WatchId(id), at(now), at(now), changed, None); flying.remove(&id); }
                Act::Err(id) => { plan.on_err(WatchId(id), at(now)); flying.remove(&id); }
                Act::GiveBack(id) => { plan.give_back(WatchId(id), at(now)); flying.remove(&id); }
                Act::CheckNow(id) => plan.check_now(WatchId(id), at(now)),
                Act::LookSoon(id) => plan.look_soon(WatchId(id)),
                Act::Wait(seconds) => now += seconds,
            }
            prop_assert_eq!(plan.stats(at(now)).in_flight, flying.len());
            prop_assert_eq!(plan.stats(at(now)).products, there.len());
        }
        let later: BTreeSet<i64> = ids(&plan.pick(at(now + 100_000), 100)).into_iter().collect();
        let expected: BTreeSet<i64> = there.difference(&flying).copied().collect();
        prop_assert_eq!(later, expected);
    }

    /// The pick by index is worth at least what a scan of everything would find, but for the width of a cell.
    #[test]
    fn the_class_fifo_agrees_with_a_full_scan(
        items in prop::collection::vec((0.1_f32..1e5, 0.1_f32..50.0, 1.0_f32..500.0, 100..80_000_i64), 1..60),
    ) {
        let mut plan = plan();
        let mut all = BTreeMap::new();
        let mut sorted = items;
        sorted.sort_by_key(|i| -i.3);
        for (id, (weight, shape, hours, age)) in (0_i64..).zip(sorted) {
            let rate = Rate { shape, hours };
            let planned = PlannedItem { rate, ..item(weight, Some(-age)) };
            plan.insert(WatchId(id), planned, at(0));
            #[expect(clippy::as_conversions, reason = "small")]
            let hours = age as f64 / 3600.0;
            all.insert(id, index(f64::from(weight), rate.per_hour(), hours));
        }
        let (picked, why) = plan.pick(at(0), 1)[0];
        prop_assert_eq!(why, Why::Index);
        let best = all.values().copied().fold(0.0, f64::max);
        prop_assert!(all[&picked.0] >= best / 2.26, "{} of {best}", all[&picked.0]);
    }
}
