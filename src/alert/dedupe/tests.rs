use super::*;
use crate::domain::AlertFacts;

const PATIENCE: Patience = Patience {
    recovered_after: TimeDelta::seconds(60),
    remind_after: TimeDelta::hours(24),
};

fn at(seconds: i64) -> DateTime<Utc> {
    "2026-11-22T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
}

fn outage(service: &str, since: i64, newest: i64) -> Condition {
    Condition {
        fingerprint: format!("outage {service}"),
        kind: AlertKind::Outage,
        level: AlertLevel::Error,
        platform: Some(service.to_owned()),
        count: 1,
        since: at(since),
        newest: at(newest),
        patience: TimeDelta::seconds(60),
        foldable: false,
        facts: AlertFacts::default(),
    }
}

fn trouble(count: i64, newest: i64) -> Condition {
    Condition {
        fingerprint: "error ebay 25002".to_owned(),
        kind: AlertKind::Error,
        level: AlertLevel::Warning,
        count,
        patience: TimeDelta::zero(),
        foldable: true,
        ..outage("ebay", 0, newest)
    }
}

/// The tables, as far as judging goes.
#[derive(Default)]
struct World {
    alerts: Vec<Alert>,
    silences: Vec<Silence>,
    told: Vec<(i64, AlertEvent)>,
}

impl World {
    fn look(&mut self, seconds: i64, conditions: &[Condition]) -> Vec<AlertEvent> {
        let now = at(seconds);
        let before = self.told.len();
        for step in judge(conditions, &self.alerts, &self.silences, PATIENCE, now) {
            self.take(step, conditions, now);
        }
        self.told[before..].iter().map(|(_, event)| *event).collect()
    }

    fn take(&mut self, step: Step, conditions: &[Condition], now: DateTime<Utc>) {
        match step {
            Step::Put {
                condition,
                reopen,
                tell,
            } => {
                let c = &conditions[condition];
                let open = |a: &&mut Alert| {
                    a.fingerprint == c.fingerprint
                        && (a.status != AlertStatus::Resolved || Some(a.id) == reopen)
                };
                if self.alerts.iter_mut().find(open).is_none() {
                    let id = i64::try_from(self.alerts.len()).unwrap() + 1;
                    self.alerts.push(row(id, c));
                }
                let alert = self.alerts.iter_mut().find(open).unwrap();
                if reopen.is_some() {
                    (alert.status, alert.resolved_at, alert.resolved_by) = (AlertStatus::Open, None, None);
                    (alert.told_level, alert.told_count) = (None, 0);
                }
                (alert.count, alert.level, alert.gone_since) = (c.count, c.level, None);
                if let Some(event) = tell {
                    (alert.told_at, alert.told_count, alert.told_level) = (Some(now), c.count, Some(c.level));
                    self.told.push((alert.id, event));
                }
            }
            Step::Gone { alert } => self.row(alert).gone_since = Some(now),
            Step::Over { alert, tell } => {
                if tell {
                    self.told.push((alert, AlertEvent::Recovered));
                }
                self.resolve(alert, RECOVERED, now);
            }
        }
    }

    fn row(&mut self, id: i64) -> &mut Alert {
        self.alerts.iter_mut().find(|a| a.id == id).unwrap()
    }

    fn resolve(&mut self, id: i64, by: &str, now: DateTime<Utc>) {
        let alert = self.row(id);
        alert.status = AlertStatus::Resolved;
        alert.resolved_at = Some(now);
        alert.resolved_by = Some(by.to_owned());
    }
}

fn row(id: i64, c: &Condition) -> Alert {
    Alert {
        id,
        fingerprint: c.fingerprint.clone(),
        kind: c.kind,
        level: c.level,
        status: AlertStatus::Open,
        platform: c.platform.clone(),
        count: c.count,
        facts: c.facts.clone(),
        since: c.since,
        last_seen_at: c.newest,
        gone_since: None,
        told_at: None,
        told_level: None,
        told_count: 0,
        times_told: 0,
        acknowledged_by: None,
        acknowledged_at: None,
        resolved_by: None,
        resolved_at: None,
        note: None,
    }
}

use AlertEvent::{Grew, Opened, Recovered, Reminder};

#[test]
fn an_outage_is_told_when_it_lasts_once_and_when_it_is_over() {
    let mut world = World::default();
    assert_eq!(world.look(59, &[outage("ebay", 0, 59)]), []);
    assert_eq!(world.look(60, &[outage("ebay", 0, 60)]), [Opened]);
    for seconds in 61..600 {
        assert_eq!(world.look(seconds, &[outage("ebay", 0, seconds)]), []);
    }
    assert_eq!(world.look(600, &[]), [], "it may come back");
    assert_eq!(world.look(659, &[]), []);
    assert_eq!(world.look(660, &[]), [Recovered]);
    assert_eq!(world.look(661, &[]), []);
}

#[test]
fn a_moment_of_outage_is_silent() {
    let mut world = World::default();
    for seconds in 0..59 {
        assert_eq!(world.look(seconds, &[outage("ebay", 0, seconds)]), []);
    }
    assert_eq!(world.look(59, &[]), []);
    assert!(world.alerts.is_empty());
}

#[test]
fn what_comes_and_goes_is_one_alert_and_no_flood() {
    let mut world = World::default();
    let mut told = Vec::new();
    for round in 0..30 {
        let from = round * 200;
        for seconds in from..from + 100 {
            told.extend(world.look(seconds, &[outage("ebay", from, seconds)]));
        }
        for seconds in from + 100..from + 200 {
            told.extend(world.look(seconds, &[]));
        }
    }
    assert_eq!(world.alerts.len(), 1, "all within half an hour of each other");
    let of = |which| told.iter().filter(|event| **event == which).count();
    assert!(
        (2..=5).contains(&of(Opened)),
        "{} times in 100 minutes",
        of(Opened)
    );
    assert!(of(Recovered) <= of(Opened), "no end of what was not told");
}

#[test]
fn what_an_outage_brings_about_is_folded_into_it_and_what_stays_after_it_is_told() {
    let mut world = World::default();
    assert_eq!(world.look(60, &[outage("ebay", 0, 60)]), [Opened]);
    assert_eq!(world.look(61, &[outage("ebay", 0, 61), trouble(500, 61)]), []);
    world.look(100, &[trouble(500, 90)]);
    assert_eq!(world.look(160, &[trouble(500, 90)]), [Recovered]);
    assert_eq!(world.look(161, &[trouble(500, 90)]), [], "not met since");
    assert_eq!(
        world.look(200, &[trouble(501, 190)]),
        [Opened],
        "it is not the outage's"
    );
    let other = Condition {
        platform: Some("yahoo_auction".to_owned()),
        fingerprint: "error yahoo_auction x".to_owned(),
        ..trouble(1, 300)
    };
    assert_eq!(
        world.look(300, &[other, trouble(501, 190)]),
        [Opened],
        "another service's"
    );
}

#[test]
fn a_serious_trouble_is_told_during_an_outage_too() {
    let mut world = World::default();
    world.look(60, &[outage("ebay", 0, 60)]);
    let serious = Condition {
        level: AlertLevel::Error,
        foldable: false,
        ..trouble(1, 61)
    };
    assert_eq!(world.look(61, &[outage("ebay", 0, 61), serious]), [Opened]);
}

#[test]
fn more_of_the_same_is_told_when_it_is_much_more_or_much_later() {
    let mut world = World::default();
    assert_eq!(world.look(0, &[trouble(1, 0)]), [Opened]);
    assert_eq!(world.look(300, &[trouble(500, 300)]), [], "too soon");
    assert_eq!(world.look(600, &[trouble(500, 600)]), [Grew]);
    assert_eq!(world.look(7_200, &[trouble(501, 7_200)]), []);
    assert_eq!(world.look(600 + 86_400, &[trouble(501, 7_200)]), [Grew]);
    let worse = Condition {
        level: AlertLevel::Critical,
        ..trouble(501, 7_200)
    };
    assert_eq!(
        world.look(600 + 86_401, &[worse]),
        [Grew],
        "worse is told at once"
    );
}

#[test]
fn what_nobody_acknowledges_is_told_once_a_day_and_what_somebody_does_is_not() {
    let mut world = World::default();
    assert_eq!(world.look(60, &[outage("ebay", 0, 60)]), [Opened]);
    assert_eq!(world.look(86_459, &[outage("ebay", 0, 86_459)]), []);
    assert_eq!(world.look(86_460, &[outage("ebay", 0, 86_460)]), [Reminder]);
    world.row(1).status = AlertStatus::Acknowledged;
    assert_eq!(world.look(999_999, &[outage("ebay", 0, 999_999)]), []);
}

#[test]
fn what_a_person_resolved_stays_quiet_until_it_is_met_again() {
    let mut world = World::default();
    assert_eq!(world.look(0, &[trouble(3, 0)]), [Opened]);
    world.resolve(1, "uid 1000 (alice)", at(10));
    assert_eq!(world.look(11, &[trouble(3, 0)]), []);
    assert_eq!(world.look(50, &[trouble(4, 40)]), [Opened]);
    assert_eq!(world.alerts.len(), 2, "the trouble after it is another row");
}

#[test]
fn what_a_person_settles_is_over_at_once_and_without_a_word() {
    let mut world = World::default();
    assert_eq!(world.look(0, &[trouble(3, 0)]), [Opened]);
    assert_eq!(world.look(1, &[]), []);
    assert_eq!(world.alerts[0].status, AlertStatus::Resolved);
}

#[test]
fn silence_keeps_the_word_and_not_the_alert_and_ends() {
    let mut world = World::default();
    world.silences.push(Silence {
        id: 1,
        kind: Some(AlertKind::Outage),
        platform: Some("ebay".to_owned()),
        alert_id: None,
        until: at(1_000),
        set_by: String::new(),
        note: None,
    });
    assert_eq!(world.look(60, &[outage("ebay", 0, 60)]), []);
    assert_eq!(world.alerts.len(), 1);
    let both = [outage("ebay", 0, 60), outage("yahoo_auction", 0, 60)];
    assert_eq!(world.look(61, &both), [Opened], "the other is not silenced");
    world.silences.clear();
    assert_eq!(world.look(62, &both), [Opened]);
}

#[test]
fn ten_thousand_products_that_fail_at_once_are_one_word() {
    let mut world = World::default();
    let mut told = 0;
    for seconds in 0..3_600 {
        told += world.look(seconds, &[trouble(seconds * 3, seconds)]).len();
    }
    assert!(told <= 3, "{told}");
}

#[test]
fn what_comes_back_at_once_and_stays_is_told_again() {
    let mut world = World::default();
    assert_eq!(world.look(60, &[outage("ebay", 0, 60)]), [Opened]);
    world.look(100, &[]);
    assert_eq!(world.look(160, &[]), [Recovered]);
    // The last word was that it is over; it is not.
    assert_eq!(world.look(300, &[outage("ebay", 200, 300)]), []);
    assert_eq!(world.look(60 + 1_800, &[outage("ebay", 200, 1_860)]), [Opened]);
    assert_eq!(world.look(1_861, &[outage("ebay", 200, 1_861)]), []);
}

#[test]
fn the_next_hold_after_a_decision_is_told() {
    let hold = |since, newest| Condition {
        fingerprint: "hold ebay mass_change".to_owned(),
        kind: AlertKind::Hold,
        foldable: false,
        since: at(since),
        ..trouble(1, newest)
    };
    let mut world = World::default();
    assert_eq!(world.look(0, &[hold(0, 0)]), [Opened]);
    assert_eq!(world.look(10, &[]), []);
    assert_eq!(world.look(20, &[hold(15, 15)]), [Opened]);
}
