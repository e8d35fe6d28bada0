//! What of all that was seen is worth telling, and how bad it is. Pure.

use super::condition::Condition;
use crate::domain::{AlertFacts, AlertKind, AlertLevel, HoldReason};
use crate::store::alerts::look::Group;
use crate::store::credentials::Expiring;
use crate::store::errors::Severity;
use chrono::{DateTime, TimeDelta, Utc};

/// A trouble that heals itself is told when it goes on for so long …
const LOW_LASTS: TimeDelta = TimeDelta::minutes(30);
/// … and was met so often.
const LOW_TIMES: i64 = 10;
/// The emergency stop is for emergencies: forgotten, it loses sales.
const STOP_LASTS: TimeDelta = TimeDelta::minutes(30);
/// Nothing needs Redis: a restart of it is nobody's business.
const REDIS_LASTS: TimeDelta = TimeDelta::minutes(5);
/// A crash is told for so long after it.
const CRASH_LASTS: TimeDelta = TimeDelta::minutes(30);

/// How the rules are set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) outage_after: TimeDelta,
    pub(super) out_of_stock_per_hour: i64,
}

/// A service whose guard lets nothing through.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Down {
    pub(super) service: String,
    pub(super) since: DateTime<Utc>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) message: Option<String>,
}

/// A child of the tree that is or was down.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) path: String,
    pub(super) since: DateTime<Utc>,
    pub(super) parked: bool,
    pub(super) restarts: i64,
    pub(super) exit: Option<String>,
    pub(super) retry_at: Option<DateTime<Utc>>,
}

/// A channel that does not take what it is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deaf {
    pub(super) channel: String,
    pub(super) since: DateTime<Utc>,
    pub(super) message: String,
}

/// A node that counts as dead, and no other has come in its name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Silent {
    pub(super) name: String,
    pub(super) since: DateTime<Utc>,
}

/// All that was seen in one look.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) holds: Vec<Group>,
    pub(super) errors: Vec<Group>,
    pub(super) dead_letters: Vec<Group>,
    pub(super) out_of_stock: Vec<Group>,
    pub(super) changes: Vec<Group>,
    pub(super) expiring: Vec<Expiring>,
    pub(super) emergency_stop: Option<(DateTime<Utc>, Option<String>)>,
    pub(super) down: Vec<Down>,
    pub(super) parts: Vec<Part>,
    pub(super) deaf: Vec<Deaf>,
    /// Redis is away since then, and why.
    pub(super) redis: Option<(DateTime<Utc>, String)>,
    pub(super) nodes: Vec<Silent>,
}

/// The troubles of one look, each once.
pub(super) fn conditions(seen: &Seen, rules: Rules, now: DateTime<Utc>) -> Vec<Condition> {
    let mut found = Vec::new();
    found.extend(seen.holds.iter().map(hold));
    // What is held is told by its holds.
    let held = |e: &&Group| {
        seen.holds
            .iter()
            .any(|h| h.code == e.code && h.platform == e.platform)
    };
    found.extend(seen.errors.iter().filter(|e| !held(e)).filter_map(error));
    found.extend(seen.dead_letters.iter().map(dead_letter));
    found.extend(seen.out_of_stock.iter().filter_map(|g| out_of_stock(g, rules)));
    found.extend(seen.changes.iter().map(change));
    found.extend(seen.expiring.iter().map(|one| expiring(one, now)));
    found.extend(outages(&seen.down, rules, now));
    found.extend(seen.parts.iter().filter_map(|part| part_down(part, now)));
    found.extend(seen.deaf.iter().map(deaf));
    found.extend(seen.redis.iter().map(|(since, why)| redis(*since, why, now)));
    found.extend(seen.nodes.iter().map(node_down));
    found.extend(
        seen.emergency_stop
            .iter()
            .map(|(since, by)| emergency_stop(*since, by.as_deref(), now)),
    );
    found
}

fn of_group(kind: AlertKind, level: AlertLevel, group: &Group) -> Condition {
    let platform = group.platform.as_deref().unwrap_or("-");
    Condition {
        fingerprint: format!("{kind} {platform} {}", group.code),
        kind,
        level,
        platform: group.platform.clone(),
        count: group.count,
        since: group.since,
        newest: group.newest,
        patience: TimeDelta::zero(),
        foldable: false,
        facts: AlertFacts {
            code: Some(group.code.clone()),
            message: group.message.clone(),
            products: group.products.clone(),
            at: group.at,
            then: group.then.clone(),
            services: Vec::new(),
        },
    }
}

fn hold(group: &Group) -> Condition {
    let level = match group.code.parse() {
        // A shop could be emptied, or goods sold that cannot be bought.
        Ok(HoldReason::MassChange | HoldReason::Radius) => AlertLevel::Critical,
        Ok(HoldReason::RemoteSale) => AlertLevel::Error,
        Ok(_) => AlertLevel::Warning,
        // The syncer's own: what a destination shows is not what it confirmed.
        Err(_) => match group.code.as_str() {
            "radius_price" => AlertLevel::Critical,
            "remote_end" | "not_applied" => AlertLevel::Error,
            _ => AlertLevel::Warning,
        },
    };
    of_group(AlertKind::Hold, level, group)
}

fn error(group: &Group) -> Option<Condition> {
    // A mass change is told by its holds.
    if group.code == HoldReason::MassChange.as_str() {
        return None;
    }
    let kind = match group.code.as_str() {
        "needs_reauth" | "needs_credentials" => AlertKind::Credentials,
        "quarantined" => AlertKind::PartDown,
        _ => AlertKind::Error,
    };
    let level = match (kind, group.severity) {
        (AlertKind::Credentials, _) | (_, Some(Severity::Critical)) => AlertLevel::Critical,
        (_, Some(Severity::High)) => AlertLevel::Error,
        (_, Some(Severity::Medium) | None) => AlertLevel::Warning,
        (_, Some(Severity::Low)) => {
            // One failed page is nothing; one that fails all day is something.
            let lasts = group.newest.signed_duration_since(group.since) >= LOW_LASTS;
            if !lasts || group.times < LOW_TIMES {
                return None;
            }
            AlertLevel::Warning
        }
    };
    Some(Condition {
        // What needs a person stays his, whatever else is away.
        foldable: group.severity == Some(Severity::Low),
        ..of_group(kind, level, group)
    })
}

fn dead_letter(group: &Group) -> Condition {
    of_group(AlertKind::DeadLetter, AlertLevel::Error, group)
}

fn out_of_stock(group: &Group, rules: Rules) -> Option<Condition> {
    (group.count > rules.out_of_stock_per_hour)
        .then(|| of_group(AlertKind::MassOutOfStock, AlertLevel::Critical, group))
}

fn change(group: &Group) -> Condition {
    of_group(AlertKind::Change, AlertLevel::Info, group)
}

/// One for each service, or one for several: then it is rather our own line, and a person should look at once.
fn outages(down: &[Down], rules: Rules, now: DateTime<Utc>) -> Vec<Condition> {
    let mut found: Vec<Condition> = down
        .iter()
        .map(|down| Condition {
            fingerprint: format!("{} {}", AlertKind::Outage, down.service),
            kind: AlertKind::Outage,
            level: AlertLevel::Error,
            platform: Some(down.service.clone()),
            count: 1,
            since: down.since,
            newest: now,
            patience: rules.outage_after,
            foldable: false,
            facts: AlertFacts {
                message: down.message.clone(),
                at: down.until,
                ..AlertFacts::default()
            },
        })
        .collect();
    let lasting: Vec<&Down> = down
        .iter()
        .filter(|d| now.signed_duration_since(d.since) >= rules.outage_after)
        .collect();
    if let (true, Some(since)) = (lasting.len() > 1, lasting.iter().map(|d| d.since).max()) {
        found.push(Condition {
            fingerprint: format!("{} several", AlertKind::Outage),
            kind: AlertKind::Outage,
            level: AlertLevel::Critical,
            platform: None,
            count: i64::try_from(lasting.len()).unwrap_or(i64::MAX),
            since,
            newest: now,
            patience: TimeDelta::zero(),
            foldable: false,
            facts: AlertFacts {
                services: lasting.iter().map(|d| d.service.clone()).collect(),
                ..AlertFacts::default()
            },
        });
    }
    found
}

fn part_down(part: &Part, now: DateTime<Utc>) -> Option<Condition> {
    let vital = ["sync", "watch", "ledger", "queue", "store"]
        .iter()
        .any(|group| part.path.split('/').next() == Some(group));
    let level = match (part.parked, vital) {
        (true, true) => AlertLevel::Critical,
        (true, false) => AlertLevel::Error,
        (false, _) if now.signed_duration_since(part.since) < CRASH_LASTS => AlertLevel::Warning,
        (false, _) => return None,
    };
    Some(Condition {
        fingerprint: format!("{} {}", AlertKind::PartDown, part.path),
        kind: AlertKind::PartDown,
        level,
        platform: None,
        count: part.restarts.max(1),
        since: part.since,
        newest: part.since,
        patience: TimeDelta::zero(),
        foldable: false,
        facts: AlertFacts {
            code: Some(part.path.clone()),
            message: part.exit.clone(),
            at: part.retry_at,
            then: part.parked.then(|| "parked".to_owned()),
            ..AlertFacts::default()
        },
    })
}

/// Credentials that end soon, or have ended.
fn expiring(one: &Expiring, now: DateTime<Utc>) -> Condition {
    let ended = one.expires_at <= now;
    Condition {
        fingerprint: format!("{} {} expiry", AlertKind::Credentials, one.platform),
        kind: AlertKind::Credentials,
        level: if ended {
            AlertLevel::Critical
        } else {
            AlertLevel::Warning
        },
        platform: Some(one.platform.to_string()),
        count: 1,
        since: now,
        newest: now,
        patience: TimeDelta::zero(),
        foldable: false,
        facts: AlertFacts {
            code: Some(if ended { "ended" } else { "ends_soon" }.to_owned()),
            at: Some(one.expires_at),
            ..AlertFacts::default()
        },
    }
}

fn deaf(deaf: &Deaf) -> Condition {
    Condition {
        fingerprint: format!("{} {}", AlertKind::Channel, deaf.channel),
        kind: AlertKind::Channel,
        level: AlertLevel::Error,
        platform: None,
        count: 1,
        since: deaf.since,
        newest: deaf.since,
        patience: TimeDelta::zero(),
        foldable: false,
        facts: AlertFacts {
            code: Some(deaf.channel.clone()),
            message: Some(deaf.message.clone()),
            ..AlertFacts::default()
        },
    }
}

fn redis(since: DateTime<Utc>, why: &str, now: DateTime<Utc>) -> Condition {
    Condition {
        fingerprint: AlertKind::Redis.to_string(),
        kind: AlertKind::Redis,
        level: AlertLevel::Warning,
        platform: None,
        count: 1,
        since,
        newest: now,
        patience: REDIS_LASTS,
        foldable: false,
        facts: AlertFacts {
            message: Some(why.to_owned()),
            ..AlertFacts::default()
        },
    }
}

/// The others do its part: nothing stands still, but one more may go.
fn node_down(node: &Silent) -> Condition {
    Condition {
        fingerprint: format!("{} {}", AlertKind::NodeDown, node.name),
        kind: AlertKind::NodeDown,
        level: AlertLevel::Error,
        platform: None,
        count: 1,
        since: node.since,
        newest: node.since,
        patience: TimeDelta::zero(),
        foldable: false,
        facts: AlertFacts {
            code: Some(node.name.clone()),
            ..AlertFacts::default()
        },
    }
}

fn emergency_stop(since: DateTime<Utc>, by: Option<&str>, now: DateTime<Utc>) -> Condition {
    Condition {
        fingerprint: AlertKind::EmergencyStop.to_string(),
        kind: AlertKind::EmergencyStop,
        level: AlertLevel::Warning,
        platform: None,
        count: 1,
        since,
        newest: now,
        patience: STOP_LASTS,
        foldable: false,
        facts: AlertFacts {
            message: by.map(str::to_owned),
            ..AlertFacts::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        outage_after: TimeDelta::seconds(60),
        out_of_stock_per_hour: 10,
    };

    fn now() -> DateTime<Utc> {
        "2026-11-22T03:00:00Z".parse().unwrap()
    }

    fn group(code: &str, severity: Option<Severity>, count: i64, minutes: i64) -> Group {
        Group {
            code: code.to_owned(),
            platform: Some("ebay".to_owned()),
            severity,
            count,
            times: count,
            since: now() - TimeDelta::minutes(minutes),
            newest: now(),
            message: None,
            at: None,
            then: None,
            products: Vec::new(),
        }
    }

    fn levels(seen: &Seen) -> Vec<(String, AlertLevel)> {
        conditions(seen, RULES, now())
            .into_iter()
            .map(|c| (c.fingerprint, c.level))
            .collect()
    }

    #[test]
    fn a_redis_that_is_away_is_a_warning_once_it_lasts() {
        let seen = Seen {
            redis: Some((now() - TimeDelta::minutes(4), "it does not answer in time".into())),
            ..Seen::default()
        };
        let found = conditions(&seen, RULES, now());
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].kind, found[0].level),
            (AlertKind::Redis, AlertLevel::Warning)
        );
        assert_eq!(
            found[0].patience,
            TimeDelta::minutes(5),
            "four minutes are not told"
        );
        assert!(conditions(&Seen::default(), RULES, now()).is_empty());
    }

    #[test]
    fn what_heals_itself_is_silent_until_it_goes_on() {
        let low = |times, minutes| Seen {
            errors: vec![group("http_503", Some(Severity::Low), times, minutes)],
            ..Seen::default()
        };
        assert!(levels(&low(1, 600)).is_empty(), "met once");
        assert!(levels(&low(500, 29)).is_empty(), "just begun");
        assert_eq!(
            levels(&low(10, 30)),
            [("error ebay http_503".to_owned(), AlertLevel::Warning)]
        );
    }

    #[test]
    fn how_bad_an_error_is_follows_from_its_severity_and_a_refused_sign_in_is_critical() {
        let seen = Seen {
            errors: vec![
                group("contract", Some(Severity::High), 1, 0),
                group("ebay_25002", Some(Severity::Medium), 1, 0),
                group("unreadable_row", Some(Severity::Critical), 1, 0),
                group("needs_reauth", Some(Severity::Medium), 1, 0),
                group("mass_change", Some(Severity::Critical), 1, 0),
            ],
            ..Seen::default()
        };
        assert_eq!(
            levels(&seen),
            [
                ("error ebay contract".to_owned(), AlertLevel::Error),
                ("error ebay ebay_25002".to_owned(), AlertLevel::Warning),
                ("error ebay unreadable_row".to_owned(), AlertLevel::Critical),
                ("credentials ebay needs_reauth".to_owned(), AlertLevel::Critical),
            ]
        );
    }

    #[test]
    fn two_services_away_are_a_third_and_critical_trouble() {
        let down = |service: &str, seconds| Down {
            service: service.to_owned(),
            since: now() - TimeDelta::seconds(seconds),
            until: None,
            message: None,
        };
        let seen = |seconds| Seen {
            down: vec![down("ebay", 90), down("yahoo_auction", seconds)],
            ..Seen::default()
        };
        assert_eq!(levels(&seen(59)).len(), 2, "the second one may be a moment's");
        let three = conditions(&seen(60), RULES, now());
        let several = three.iter().find(|c| c.platform.is_none()).unwrap();
        assert_eq!(several.level, AlertLevel::Critical);
        assert_eq!(several.facts.services, ["ebay", "yahoo_auction"]);
    }

    #[test]
    fn more_than_ten_products_gone_within_the_hour_are_critical_and_ten_are_not() {
        let seen = |count| Seen {
            out_of_stock: vec![group("out_of_stock", None, count, 30)],
            ..Seen::default()
        };
        assert!(levels(&seen(10)).is_empty());
        assert_eq!(levels(&seen(11)).len(), 1);
    }

    #[test]
    fn a_crash_is_a_warning_for_a_while_and_a_parked_part_is_more() {
        let part = |path: &str, parked, minutes| Part {
            path: path.to_owned(),
            since: now() - TimeDelta::minutes(minutes),
            parked,
            restarts: 1,
            exit: None,
            retry_at: None,
        };
        let level = |part: Part| part_down(&part, now()).map(|c| c.level);
        assert_eq!(level(part("sync/ebay", false, 1)), Some(AlertLevel::Warning));
        assert_eq!(level(part("sync/ebay", false, 30)), None);
        assert_eq!(level(part("sync/ebay", true, 300)), Some(AlertLevel::Critical));
        assert_eq!(level(part("alert/email", true, 300)), Some(AlertLevel::Error));
    }

    #[test]
    fn holds_that_could_empty_a_shop_are_critical() {
        let seen = Seen {
            holds: [
                "mass_change",
                "radius",
                "remote_sale",
                "price_step",
                "what_comes_later",
            ]
            .map(|code| group(code, None, 1, 0))
            .to_vec(),
            ..Seen::default()
        };
        let all: Vec<AlertLevel> = levels(&seen).into_iter().map(|(_, level)| level).collect();
        use AlertLevel::{Critical, Error, Warning};
        assert_eq!(all, [Critical, Critical, Error, Warning, Warning]);
    }
}
