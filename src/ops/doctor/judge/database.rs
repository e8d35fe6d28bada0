//! The database.

use super::super::Check;
use super::{size, span};
use crate::store::health::Health;
use crate::store::migrate::SchemaStatus;
use crate::store::{PoolSettings, StoreError};
use std::time::Duration;

/// An answer to the smallest question that takes longer than this shows a server in trouble.
const SLOW: Duration = Duration::from_millis(1_000);
/// A transaction open for longer than this keeps vacuum from its work.
const LONG_OPEN_S: f64 = 600.0;
/// Open for a day: tables grow without end.
const TOO_LONG_OPEN_S: f64 = 86_400.0;
/// A snapshot older than this: the queue's claims already walk over what was done since.
const HORIZON_OLD_S: f64 = 180.0;
/// PostgreSQL warns at 1.6 milliards and stops writing at 2.1.
const UNFROZEN_MUCH: i64 = 1_000_000_000;
const UNFROZEN_TOO_MUCH: i64 = 1_900_000_000;
/// A slot that is so many transactions behind has been forgotten.
const SLOT_BEHIND: i64 = 5_000_000;
/// Fewer sessions left than these are no reserve.
const FEW_LEFT: i64 = 5;

/// A database that cannot be asked.
#[must_use]
pub fn away(error: &StoreError, settings: &PoolSettings, private: bool) -> Check {
    let said = format!("{}: {error}", settings.shown());
    let to_do = if private {
        "`zaikoban status` says what the daemon waits for; why the server does not run stands at the end of \
         `postgres/server.log` in the state folder"
            .to_owned()
    } else {
        format!(
            "check that PostgreSQL runs and that `database.url` is right: `{}`; the daemon waits and goes on by itself",
            settings.psql()
        )
    };
    Check::failed("database", said, to_do)
}

/// A database that answers.
#[must_use]
pub fn answered(health: &Health, took: Duration, shown: &str) -> Check {
    let (ms, bytes) = (took.as_millis(), u64::try_from(health.size_bytes).unwrap_or(0));
    let said = format!(
        "PostgreSQL {} answers in {ms} ms; {shown}, {}",
        health.version,
        size(bytes)
    );
    if took > SLOW {
        let to_do = "look what keeps it busy: the disk (`iostat -x 5`), other programs (`top`), or a long transaction \
                     (below)";
        return Check::warning("database", said, to_do);
    }
    Check::ok("database", said)
}

/// Whether it keeps what it acknowledges.
#[must_use]
pub fn durability(health: &Health, private: bool) -> Check {
    let name = "durability";
    let all = [
        ("fsync", &health.fsync),
        ("synchronous_commit", &health.synchronous_commit),
        ("full_page_writes", &health.full_page_writes),
    ];
    let off: Vec<&str> = all
        .iter()
        .filter(|(_, value)| *value == "off")
        .map(|(name, _)| *name)
        .collect();
    if off.is_empty() {
        let shown: Vec<String> = all
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        return Check::ok(name, shown.join(", "));
    }
    let said = format!(
        "{} off: the server may lose what it has acknowledged",
        off.join(" and ")
    );
    let to_do = if private {
        "restart the daemon: it starts its own server with these on (`systemctl restart zaikoban`)".to_owned()
    } else {
        let each: Vec<String> = off
            .iter()
            .map(|name| format!("ALTER SYSTEM SET {name} = on;"))
            .collect();
        format!(
            "as the server's superuser: {} SELECT pg_reload_conf();",
            each.join(" ")
        )
    };
    Check::failed(name, said, to_do)
}

/// Whether the tables are those of this program.
#[must_use]
pub fn schema(status: &Result<SchemaStatus, StoreError>) -> Check {
    let name = "schema";
    match status {
        Ok(SchemaStatus { applied, pending }) if pending.is_empty() => {
            let newest = applied.last().map_or("none", String::as_str);
            Check::ok(name, format!("up to date ({newest})"))
        }
        Ok(SchemaStatus { pending, .. }) => Check::warning(
            name,
            format!(
                "{} migration(s) are missing: {}",
                pending.len(),
                pending.join(", ")
            ),
            "restart the daemon, which adds them; or stop it and run `zaikoban migrate`",
        ),
        Err(error) => Check::failed(
            name,
            error.to_string(),
            "run the program that made this schema, or restore the backup made before it",
        ),
    }
}

/// What has been open for so long that it does harm.
#[must_use]
pub fn transactions(health: &Health, psql: &str) -> Check {
    let name = "transactions";
    let unseen = match health.hidden {
        0 => String::new(),
        hidden => format!("; {hidden} session(s) of other roles cannot be seen"),
    };
    if health.unfrozen > UNFROZEN_MUCH {
        let said = format!(
            "{} transactions are not frozen; the server stops writing at 2,100,000,000",
            health.unfrozen
        );
        let to_do = format!(
            "end what keeps vacuum back (the oldest transaction, prepared transactions, slots), then: {psql} -c 'VACUUM \
             (FREEZE, VERBOSE)'"
        );
        return if health.unfrozen > UNFROZEN_TOO_MUCH {
            Check::failed(name, said, to_do)
        } else {
            Check::warning(name, said, to_do)
        };
    }
    if let Some(old) = health.oldest.as_ref().filter(|o| o.age_s > LONG_OPEN_S) {
        let known = |text: &Option<String>| {
            text.clone()
                .filter(|t| !t.is_empty())
                .unwrap_or_else(|| "?".into())
        };
        let said = format!(
            "process {} of `{}` ({}) has had a transaction open for {} ({}): vacuum cannot clean up{unseen}",
            old.pid,
            known(&old.user),
            known(&old.application),
            span(old.age_s),
            known(&old.state),
        );
        let to_do = format!("end it: {psql} -c 'SELECT pg_terminate_backend({})'", old.pid);
        return if old.age_s > TOO_LONG_OPEN_S {
            Check::failed(name, said, to_do)
        } else {
            Check::warning(name, said, to_do)
        };
    }
    if let Some(prepared) = health.prepared.as_ref().filter(|p| p.age_s > LONG_OPEN_S) {
        let gid = prepared.name.replace('\'', "''");
        let age = span(prepared.age_s);
        return Check::warning(
            name,
            format!(
                "the prepared transaction `{}` has waited for {age}",
                prepared.name
            ),
            format!("if nobody will finish it: {psql} -c \"ROLLBACK PREPARED '{gid}'\""),
        );
    }
    if let Some(slot) = health.slot.as_ref().filter(|s| s.behind > SLOT_BEHIND) {
        let slot_name = slot.name.replace('\'', "''");
        return Check::warning(
            name,
            format!(
                "the replication slot `{}` is {} transactions behind",
                slot.name, slot.behind
            ),
            format!(
                "if nobody uses it any more: {psql} -c \"SELECT pg_drop_replication_slot('{slot_name}')\""
            ),
        );
    }
    let oldest = health.oldest.as_ref().map_or_else(
        || "none is open".to_owned(),
        |o| format!("the oldest is {} old", span(o.age_s)),
    );
    Check::ok(name, format!("{oldest}{unseen}"))
}

/// Who keeps back vacuum.
#[must_use]
pub fn horizon(health: &Health, psql: &str) -> Check {
    let name = "vacuum";
    let Some(held) = health.horizon.as_ref() else {
        return Check::ok(name, "no session keeps it back");
    };
    let session = &held.session;
    if session.age_s <= HORIZON_OLD_S {
        let age = span(session.age_s);
        return Check::ok(name, format!("the oldest snapshot is {age} old"));
    }
    let known = |text: &Option<String>| {
        text.clone()
            .filter(|t| !t.is_empty())
            .unwrap_or_else(|| "?".into())
    };
    let said = format!(
        "process {} of `{}` ({}, {}) keeps it back since {} UTC ({}, {} transactions): what the queue has done since \
         cannot be cleaned up, and it grows slower",
        session.pid,
        known(&session.user),
        known(&session.application),
        known(&session.state),
        held.since,
        span(session.age_s),
        held.behind,
    );
    let to_do = format!(
        "let it finish, or end it: {psql} -c 'SELECT pg_terminate_backend({})'",
        session.pid
    );
    Check::warning(name, said, to_do)
}

/// Whether others still get in.
#[must_use]
pub fn sessions(health: &Health, psql: &str) -> Check {
    let name = "connections";
    let left = health.sessions_admitted.saturating_sub(health.sessions);
    let said = format!(
        "{} of {} in use, {} left",
        health.sessions,
        health.sessions_admitted,
        left.max(0)
    );
    let to_do = format!(
        "see who has them: {psql} -c 'SELECT pid, usename, application_name, state FROM pg_stat_activity'; then lower \
         `database.pool_size` or raise the server's `max_connections`"
    );
    match left {
        ..=0 => Check::failed(name, said, to_do),
        1..=FEW_LEFT => Check::warning(name, said, to_do),
        _ => Check::ok(name, said),
    }
}

/// Daily limits are counted in Japan's days, in the database, too.
#[must_use]
pub fn database_time_zone(known: &Result<(), StoreError>) -> Check {
    let name = "database time zone";
    match known {
        Ok(()) => Check::ok(name, "the database knows Asia/Tokyo"),
        Err(error) => Check::failed(
            name,
            format!("the database does not know Asia/Tokyo: {error}"),
            "install the time zones where the database runs (`apt-get install tzdata`) and restart it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::CheckState::{self, Failed, Ok as Well, Warning};
    use crate::store::health::{Horizon, OpenTransaction, Prepared, Slot};

    fn healthy() -> Health {
        Health {
            version: "15.14".into(),
            fsync: "on".into(),
            synchronous_commit: "on".into(),
            full_page_writes: "on".into(),
            sessions_admitted: 29,
            sessions: 9,
            hidden: 0,
            oldest: None,
            horizon: None,
            prepared: None,
            slot: None,
            unfrozen: 1_000,
            size_bytes: 3 << 20,
        }
    }

    fn open_for(age_s: f64) -> Option<OpenTransaction> {
        Some(OpenTransaction {
            pid: 4711,
            age_s,
            user: Some("reporting".into()),
            application: Some("psql".into()),
            state: Some("idle in transaction".into()),
        })
    }

    #[test]
    fn who_keeps_back_vacuum_is_named_after_three_minutes() {
        let held = |age_s| {
            let horizon = open_for(age_s).map(|session| Horizon {
                session,
                since: "2026-11-22 03:00:00".into(),
                behind: 40_000,
            });
            self::horizon(&Health { horizon, ..healthy() }, "psql -h x")
        };
        assert_eq!([held(180.0).state, held(181.0).state], [Well, Warning]);
        assert_eq!(self::horizon(&healthy(), "psql").state, Well);
        let told = format!("{:?}", held(300.0));
        for part in [
            "process 4711 of `reporting` (psql, idle in transaction)",
            "since 2026-11-22 03:00:00 UTC (5 min, 40000 transactions)",
            "psql -h x -c 'SELECT pg_terminate_backend(4711)'",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn a_slow_answer_is_a_warning_from_a_second_on() {
        let state = |ms| answered(&healthy(), Duration::from_millis(ms), "db").state;
        assert_eq!([state(3), state(1_000), state(1_001)], [Well, Well, Warning]);
        let told = answered(
            &healthy(),
            Duration::from_millis(3),
            "database `z` at /run as `z`",
        );
        assert_eq!(
            told.said,
            "PostgreSQL 15.14 answers in 3 ms; database `z` at /run as `z`, 3.0 MiB"
        );
    }

    #[test]
    fn a_server_that_may_lose_commits_has_failed_and_the_statement_is_named() {
        assert_eq!(durability(&healthy(), true).state, Well);
        let weak = Health {
            fsync: "off".into(),
            synchronous_commit: "off".into(),
            ..healthy()
        };
        let told = durability(&weak, false);
        assert_eq!(told.state, Failed);
        assert_eq!(
            told.to_do.unwrap(),
            "as the server's superuser: ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET synchronous_commit = on; SELECT \
             pg_reload_conf();"
        );
        assert!(durability(&weak, true).to_do.unwrap().contains("restart"));
    }

    #[test]
    fn a_schema_that_lags_warns_and_a_newer_one_fails() {
        let known = |pending: &[&str]| {
            Ok(SchemaStatus {
                applied: vec!["20261122000001".into()],
                pending: pending.iter().map(ToString::to_string).collect(),
            })
        };
        assert_eq!(schema(&known(&[])).state, Well);
        assert_eq!(schema(&known(&["20261122000002"])).state, Warning);
        let newer = StoreError::Unfit {
            problem: "the database has schema 2027".into(),
        };
        assert_eq!(schema(&Err(newer)).state, Failed);
    }

    #[test]
    fn what_stays_open_is_told_with_its_process_and_how_to_end_it() {
        let table: [(Health, CheckState, &str); 9] = [
            (healthy(), Well, ""),
            (
                Health {
                    oldest: open_for(600.0),
                    ..healthy()
                },
                Well,
                "",
            ),
            (
                Health {
                    oldest: open_for(601.0),
                    ..healthy()
                },
                Warning,
                "pg_terminate_backend(4711)",
            ),
            (
                Health {
                    oldest: open_for(86_401.0),
                    ..healthy()
                },
                Failed,
                "pg_terminate_backend(4711)",
            ),
            (
                Health {
                    unfrozen: 1_000_000_001,
                    ..healthy()
                },
                Warning,
                "VACUUM",
            ),
            (
                Health {
                    unfrozen: 1_900_000_001,
                    ..healthy()
                },
                Failed,
                "VACUUM",
            ),
            (
                Health {
                    prepared: Some(Prepared {
                        name: "it's".into(),
                        age_s: 9_000.0,
                    }),
                    ..healthy()
                },
                Warning,
                "ROLLBACK PREPARED 'it''s'",
            ),
            (
                Health {
                    slot: Some(Slot {
                        name: "copy".into(),
                        behind: 6_000_000,
                    }),
                    ..healthy()
                },
                Warning,
                "pg_drop_replication_slot('copy')",
            ),
            (
                Health {
                    slot: Some(Slot {
                        name: "copy".into(),
                        behind: 7,
                    }),
                    ..healthy()
                },
                Well,
                "",
            ),
        ];
        for (health, state, to_do) in table {
            let told = transactions(&health, "psql -d z");
            assert_eq!(told.state, state, "{told:?}");
            assert!(told.to_do.unwrap_or_default().contains(to_do), "{health:?}");
        }
        let told = transactions(
            &Health {
                hidden: 2,
                ..healthy()
            },
            "psql",
        )
        .said;
        assert_eq!(told, "none is open; 2 session(s) of other roles cannot be seen");
    }

    #[test]
    fn few_sessions_left_warn_and_none_left_fails() {
        let state = |sessions| {
            sessions_state(&Health {
                sessions,
                ..healthy()
            })
        };
        assert_eq!(
            [state(23), state(24), state(28), state(29), state(40)],
            [Well, Warning, Warning, Failed, Failed]
        );
    }

    fn sessions_state(health: &Health) -> CheckState {
        sessions(health, "psql").state
    }

    #[test]
    fn a_database_that_is_away_says_which_and_whose_it_is() {
        let error = StoreError::not_found("nothing");
        let settings = PoolSettings::new("postgres://keeper:hunter2@db.example/stock");
        let told = away(&error, &settings, false);
        assert_eq!(told.state, Failed);
        assert!(
            told.to_do
                .as_ref()
                .unwrap()
                .contains("`psql -h db.example -p 5432 -U keeper -d stock`"),
            "{told:?}"
        );
        assert!(!format!("{told:?}").contains("hunter2"));
        assert!(
            away(&error, &settings, true)
                .to_do
                .unwrap()
                .contains("server.log")
        );
    }
}
