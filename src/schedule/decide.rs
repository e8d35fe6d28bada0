//! What a schedule does now. Pure: from its row, its entry and the database's clock.
//!
//! - **Never a stampede.** Whatever the clock did, one look fires an entry once at most, and the next firing lies behind
//!   `now`.
//! - **Never a standstill.** A next firing that lies further ahead than the table says (it was worked out while a clock
//!   stood in 2038) is worked out anew.
//! - **Not twice for a small step back.** A moment that was served is not served again because a clock was set back by
//!   minutes, or, where the entry's moments lie far apart, by up to two hours.
//! - **Not lost for a change of the table.** A moment that has come is served, whatever the entry says by now.

use super::timetable::{Entry, Missed, Timetable};
use crate::store::schedules::ScheduleRow;
use chrono::{DateTime, TimeDelta, Utc};

/// A firing that is later than this was missed: a scheduler looks every few seconds, and a restart takes less.
const LATE: TimeDelta = TimeDelta::minutes(2);
/// How far a clock may be set back without a served moment being served again, at least …
const STEP_AT_LEAST: TimeDelta = TimeDelta::minutes(10);
/// … and at most.
const STEP_AT_MOST: TimeDelta = TimeDelta::hours(2);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before the row's next moment.
    Wait,
    /// The next moment is this; nothing fires now.
    Plan(Option<DateTime<Utc>>),
    /// It fires now.
    Fire {
        /// For this moment.
        due: DateTime<Utc>,
        /// And then.
        next: Option<DateTime<Utc>>,
        /// The moment lies so far back that it counts as missed.
        late: bool,
    },
    /// What was missed is left out.
    Skip {
        /// The first moment that was.
        due: DateTime<Utc>,
        /// And then.
        next: Option<DateTime<Utc>>,
    },
}

/// What an entry does at `now`; `row` is `None` when it never was planned.
#[must_use]
pub fn decide(row: Option<&ScheduleRow>, entry: &Entry, table: &Timetable, now: DateTime<Utc>) -> Decision {
    let next = entry.cron.next_after(now, table.zone);
    let Some(row) = row else {
        return Decision::Plan(next);
    };
    let fires = !row.paused && entry.enabled;
    match row.next_fire_at {
        // Also by another expression: what was planned and has come is served before anything is planned anew.
        Some(due) if fires && due <= now => due_at(due, entry, next, now),
        _ if row.expression != table.expression(entry) => Decision::Plan(next),
        _ if !fires => Decision::Wait,
        planned if planned == next => Decision::Wait,
        Some(planned) if next.is_none_or(|next| planned < next) => Decision::Wait,
        // Further ahead than the table says.
        planned => match (row.last_due_at, planned) {
            (Some(served), Some(planned)) if served > now && served - now <= step(planned - served) => {
                Decision::Wait
            }
            _ => Decision::Plan(next),
        },
    }
}

fn due_at(due: DateTime<Utc>, entry: &Entry, next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Decision {
    let late = now.signed_duration_since(due) > LATE;
    if late && entry.missed == Missed::Skip {
        Decision::Skip { due, next }
    } else {
        Decision::Fire { due, next, late }
    }
}

fn step(gap: TimeDelta) -> TimeDelta {
    gap.clamp(STEP_AT_LEAST, STEP_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::super::timetable::ScheduleName;
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn table() -> Timetable {
        Timetable::default()
    }

    fn row(name: ScheduleName, next: Option<&str>) -> ScheduleRow {
        let table = table();
        ScheduleRow {
            name: name.to_string(),
            expression: table.expression(&table.entries[&name]),
            next_fire_at: next.map(at),
            last_due_at: None,
            last_fired_at: None,
            last_execution_id: None,
            last_skipped_at: None,
            last_skipped_why: None,
            paused: false,
            paused_by: None,
            paused_at: None,
        }
    }

    fn decided(row: &ScheduleRow, now: &str) -> Decision {
        let (table, name) = (table(), row.name.parse::<ScheduleName>().unwrap());
        decide(Some(row), &table.entries[&name], &table, at(now))
    }

    #[test]
    fn an_entry_fires_when_its_moment_has_come_and_not_before() {
        let sweep = row(ScheduleName::StockSweep, Some("2026-11-22T05:00:00Z"));
        assert_eq!(decided(&sweep, "2026-11-22T04:59:59.999Z"), Decision::Wait);
        let fire = Decision::Fire {
            due: at("2026-11-22T05:00:00Z"),
            next: Some(at("2026-11-22T11:00:00Z")),
            late: false,
        };
        assert_eq!(decided(&sweep, "2026-11-22T05:00:00Z"), fire);
        assert_eq!(decided(&sweep, "2026-11-22T05:01:59Z"), fire);
    }

    #[test]
    fn what_was_missed_is_left_out_or_made_up_for_once() {
        let now = "2026-11-25T02:30:00Z";
        let sweep = row(ScheduleName::StockSweep, Some("2026-11-22T05:00:00Z"));
        assert_eq!(
            decided(&sweep, now),
            Decision::Skip {
                due: at("2026-11-22T05:00:00Z"),
                next: Some(at("2026-11-25T05:00:00Z"))
            }
        );
        let summary = row(ScheduleName::DailySummary, Some("2026-11-22T14:00:00Z"));
        assert_eq!(
            decided(&summary, now),
            Decision::Fire {
                due: at("2026-11-22T14:00:00Z"),
                next: Some(at("2026-11-25T14:00:00Z")),
                late: true
            }
        );
    }

    #[test]
    fn a_new_entry_or_another_expression_is_planned_unless_its_moment_has_come() {
        let table = table();
        let entry = &table.entries[&ScheduleName::Backup];
        let now = at("2026-11-22T00:00:00Z");
        let plan = Decision::Plan(Some(at("2026-11-28T16:00:00Z")));
        assert_eq!(decide(None, entry, &table, now), plan);
        let other = ScheduleRow {
            expression: "0 1 * * 0 UTC".to_owned(),
            ..row(ScheduleName::Backup, Some("2026-11-22T01:00:00Z"))
        };
        assert_eq!(decide(Some(&other), entry, &table, now), plan);
        let fire = Decision::Fire {
            due: at("2026-11-22T01:00:00Z"),
            next: Some(at("2026-11-28T16:00:00Z")),
            late: false,
        };
        assert_eq!(
            decide(Some(&other), entry, &table, at("2026-11-22T01:00:01Z")),
            fire
        );
    }

    #[test]
    fn what_is_paused_or_switched_off_waits() {
        let paused = ScheduleRow {
            paused: true,
            ..row(ScheduleName::Health, Some("2026-11-22T05:00:00Z"))
        };
        assert_eq!(decided(&paused, "2026-11-22T06:00:00Z"), Decision::Wait);
        let mut table = table();
        let health = row(ScheduleName::Health, Some("2026-11-22T05:00:00Z"));
        if let Some(entry) = table.entries.get_mut(&ScheduleName::Health) {
            entry.enabled = false;
        }
        let entry = &table.entries[&ScheduleName::Health];
        assert_eq!(
            decide(Some(&health), entry, &table, at("2026-11-22T06:00:00Z")),
            Decision::Wait
        );
    }

    #[test]
    fn a_clock_set_back_by_an_hour_repeats_no_sweep_and_stops_no_health_check() {
        let served = |name, due: &str, next: &str| ScheduleRow {
            last_due_at: Some(at(due)),
            ..row(name, Some(next))
        };
        let sweep = served(
            ScheduleName::StockSweep,
            "2026-11-22T05:00:00Z",
            "2026-11-22T11:00:00Z",
        );
        assert_eq!(decided(&sweep, "2026-11-22T04:01:00Z"), Decision::Wait);
        let health = served(
            ScheduleName::Health,
            "2026-11-22T05:00:00Z",
            "2026-11-22T05:05:00Z",
        );
        assert_eq!(
            decided(&health, "2026-11-22T04:01:00Z"),
            Decision::Plan(Some(at("2026-11-22T04:05:00Z")))
        );
        assert_eq!(
            decided(&health, "2026-11-22T04:58:00Z"),
            Decision::Wait,
            "two minutes"
        );
    }

    #[test]
    fn a_clock_that_was_in_2038_leaves_no_entry_standing_still() {
        let wild = ScheduleRow {
            last_due_at: Some(at("2038-01-19T05:00:00Z")),
            ..row(ScheduleName::StockSweep, Some("2038-01-19T11:00:00Z"))
        };
        assert_eq!(
            decided(&wild, "2026-11-22T04:00:00Z"),
            Decision::Plan(Some(at("2026-11-22T05:00:00Z")))
        );
        let never = row(ScheduleName::StockSweep, None);
        assert_eq!(
            decided(&never, "2026-11-22T04:00:00Z"),
            Decision::Plan(Some(at("2026-11-22T05:00:00Z")))
        );
    }

    /// Does what the tables do with a decision.
    fn apply(row: &mut ScheduleRow, decision: Decision) -> bool {
        match decision {
            Decision::Wait => false,
            Decision::Plan(next) => {
                row.next_fire_at = next;
                false
            }
            Decision::Skip { due, next } => {
                row.next_fire_at = next;
                row.last_due_at = Some(due);
                false
            }
            Decision::Fire { due, next, .. } => {
                row.next_fire_at = next;
                row.last_due_at = Some(due);
                true
            }
        }
    }

    fn step_on(row: &mut ScheduleRow, entry: &Entry, table: &Timetable, now: DateTime<Utc>) -> bool {
        let decision = decide(Some(row), entry, table, now);
        apply(row, decision)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        /// Jumps by hours, to 1970 and to 2038, in any order; ten minutes of ordinary time behind each.
        #[test]
        fn no_jump_of_the_clock_makes_a_stampede_or_a_standstill(
            jumps in prop::collection::vec(prop_oneof![
                Just(3_600_i64), Just(-3_600), Just(-86_400), Just(30 * 86_400), Just(0), Just(i64::MIN), Just(i64::MAX),
            ], 1..12),
            name in prop::sample::select(ScheduleName::ALL.to_vec()),
        ) {
            let table = table();
            let entry = &table.entries[&name];
            let mut now = at("2026-11-22T04:00:00Z");
            let mut row = row(name, None);
            step_on(&mut row, entry, &table, now);
            for jump in jumps {
                now = match jump {
                    i64::MIN => DateTime::from_timestamp(1_000, 0).unwrap(),
                    i64::MAX => at("2038-01-19T03:14:07Z"),
                    by => now + TimeDelta::seconds(by),
                };
                let mut fired = 0;
                // ten minutes, looked at every ten seconds
                for _ in 0..60 {
                    now += TimeDelta::seconds(10);
                    fired += usize::from(step_on(&mut row, entry, &table, now));
                    prop_assert!(row.next_fire_at.is_some_and(|next| next > now), "stands still at {now}: {row:?}");
                }
                // health fires every five minutes, and once more for what was missed; nothing else fires twice
                prop_assert!(fired <= if name == ScheduleName::Health { 3 } else { 2 }, "{fired} at {now}");
            }
            // a week without a jump later everything is on its way
            for _ in 0..(8 * 24 * 2) {
                now += TimeDelta::minutes(30);
                step_on(&mut row, entry, &table, now);
            }
            prop_assert_eq!(row.next_fire_at, entry.cron.next_after(now, table.zone));
        }
    }
}
