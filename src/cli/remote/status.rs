//! How the daemon is, with what waits for a person last, where it is read.

use super::tables::{PLATFORMS, array, gate, whole};
use crate::cli::output::{at, plain, span, table, time};
use serde_json::{Map, Value};

/// The whole state.
pub(super) fn status(status: &Value) -> String {
    let up = span(at(status, "uptime_s").as_u64().unwrap_or(0));
    let (state, version) = (plain(at(status, "state")), plain(at(status, "version")));
    let mut lines = vec![format!("{state}, version {version}, up {up}")];
    lines.extend(at(status, "simulator").as_str().map(str::to_owned));
    let database = at(status, "database");
    if database.is_null() {
        // Still starting: the state says what it waits for.
        return lines.join("\n");
    }
    lines.push(format!("database   {}", self::database(at(database, "status"))));
    let counts = at(database, "counts");
    if counts.is_object() {
        lines.extend(numbers(counts));
        lines.push(format!(
            "delay      {}",
            delay(at(database, "delay_ms_last_hour"))
        ));
    } else {
        lines.push(format!("counts     not known: {}", plain(at(database, "why"))));
    }
    lines.extend(entries(at(status, "watch")).map(|(name, seen)| format!("{name:<10} {}", watched(seen))));
    lines.extend(entries(at(status, "sync")).map(|(name, sync)| format!("{name:<10} {}", synced(sync))));
    let platforms = array(at(status, "platforms"));
    lines.push(format!("\n{}\n", table(platforms, PLATFORMS)));
    lines.extend(for_a_person(database, platforms));
    lines.join("\n")
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn number(value: &Value, key: &str) -> u64 {
    at(value, key).as_u64().unwrap_or(0)
}

fn database(status: &Value) -> String {
    let since = time(at(status, "since"));
    match at(status, "state").as_str() {
        Some("up") => format!("up since {since}, answered in {} ms", number(status, "answer_ms")),
        Some("away") => {
            let person = if at(status, "needs_a_person") == true {
                "; waiting alone will not help"
            } else {
                "; it is being waited for"
            };
            format!("away since {since}: {}{person}", plain(at(status, "reason")))
        }
        _ => "not asked yet".to_owned(),
    }
}

fn numbers(counts: &Value) -> Vec<String> {
    let n = |key: &str| number(counts, key);
    let jobs = entries(at(counts, "jobs")).filter(|(state, _)| *state != "completed");
    let jobs: Vec<String> = jobs
        .map(|(state, count)| format!("{} {state}", plain(count)))
        .collect();
    vec![
        format!(
            "products   {}: {} watched, {} in stock, {} held",
            n("products"),
            n("products_watched"),
            n("products_in_stock"),
            n("products_held")
        ),
        format!(
            "listings   {}: {} kept in line, {} of them behind, {} held",
            n("listings"),
            n("listings_syncing"),
            n("listings_behind"),
            n("listings_held")
        ),
        format!(
            "jobs       {}",
            if jobs.is_empty() {
                "none wait".to_owned()
            } else {
                jobs.join(", ")
            }
        ),
    ]
}

/// From the page read to the destination's answer.
fn delay(delay: &Value) -> String {
    let count = number(delay, "count");
    if count == 0 {
        return "no push in the last hour".to_owned();
    }
    let ms = |key: &str| whole(at(delay, key));
    format!(
        "{count} pushes in the last hour: half within {} ms, 95 % within {} ms, 99 % within {} ms, all within {} ms",
        ms("p50"),
        ms("p95"),
        ms("p99"),
        ms("max")
    )
}

fn watched(seen: &Value) -> String {
    let n = |key: &str| number(seen, key);
    format!(
        "{} checks, {} changes, {} products, the longest unseen for {}, {} in quarantine",
        n("checks"),
        n("changes"),
        n("products"),
        span(n("oldest_age_s")),
        n("quarantined")
    )
}

fn synced(sync: &Value) -> String {
    if let Some(why) = at(sync, "why").as_str() {
        return format!("not known: {why}");
    }
    let n = |key: &str| number(sync, key);
    let mut text = format!(
        "{} accepted, {} failed, {} of unknown outcome, {} not sent, {} looks, {} under way",
        n("accepted"),
        n("failed"),
        n("unknown"),
        n("not_sent"),
        n("read"),
        n("in_flight")
    );
    if let Some(trouble) = at(sync, "database").as_str() {
        text.push_str(&format!("; waits for the database: {trouble}"));
    }
    text
}

/// What nobody but a person ends.
fn for_a_person(database: &Value, platforms: &[Value]) -> Vec<String> {
    let counts = at(database, "counts");
    let mut todo = Vec::new();
    if at(database, "status.needs_a_person") == true {
        todo.push("the database is away, and waiting alone will not help".to_owned());
    }
    if !counts.is_object() {
        todo.push("the rest is not known without the database".to_owned());
    }
    if at(database, "emergency_stop") == true {
        todo.push("the emergency stop is on, nothing is sent: `zaikoban resume-all` ends it".to_owned());
    }
    for platform in platforms {
        let (name, gate_view) = (plain(at(platform, "name")), at(platform, "gate"));
        match at(gate_view, "state").as_str() {
            Some("paused") => todo.push(format!("{name} is paused: `zaikoban platforms resume {name}`")),
            Some("shut") => todo.push(format!("{name} is {}", gate(gate_view))),
            _ => {}
        }
    }
    match number(counts, "holds_open") {
        0 => {}
        holds => todo.push(format!(
            "{holds} changes wait for a decision: `zaikoban holds list`"
        )),
    }
    match number(at(counts, "jobs"), "dead") {
        0 => {}
        dead => todo.push(format!(
            "{dead} jobs were given up: `zaikoban queue list --status dead`"
        )),
    }
    let errors = entries(at(counts, "errors_open")).map(|(severity, n)| format!("{} {severity}", plain(n)));
    let errors: Vec<String> = errors.collect();
    if !errors.is_empty() {
        todo.push(format!(
            "open errors ({}): `zaikoban errors list`",
            errors.join(", ")
        ));
    }
    if todo.is_empty() {
        return vec!["nothing waits for a person".to_owned()];
    }
    let lines = todo.iter().map(|line| format!("  - {line}"));
    std::iter::once("for a person:".to_owned()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::status::DatabaseStatus;
    use crate::sync::SyncStatus;
    use crate::watch::Counters;
    use serde_json::json;

    /// What `views::counts` builds in the database.
    fn counts() -> Value {
        json!({
            "products": 300, "products_watched": 298, "products_in_stock": 120, "products_held": 2, "listings": 300,
            "listings_syncing": 297, "listings_behind": 3, "listings_held": 1, "holds_open": 3,
            "jobs": { "completed": 900, "dead": 1, "pending": 2 }, "errors_open": { "critical": 1, "medium": 2 },
        })
    }

    fn running(database: Value, platforms: Value) -> Value {
        json!({
            "state": "running", "version": "0.1.0", "uptime_s": 3_725, "simulator": "SIMULATOR: yahoo_auction, ebay",
            "database": database, "platforms": platforms,
            "watch": { "yahoo": Counters::default().snapshot() },
            "sync": { "ebay": SyncStatus { accepted: 42, in_flight: 2, ..SyncStatus::default() } },
        })
    }

    fn up() -> DatabaseStatus {
        DatabaseStatus::Up {
            since: chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
            answer_ms: 2,
        }
    }

    #[test]
    fn the_state_is_told_with_what_waits_for_a_person_last() {
        let database = json!({
            "status": up(), "counts": counts(), "emergency_stop": true,
            "delay_ms_last_hour": { "count": 42, "p50": 320.4, "p95": 900.0, "p99": 1100.0, "max": 1200.9 },
        });
        let platforms = json!([{ "name": "ebay", "gate": { "state": "paused" }, "simulator": true }]);
        let expected = "\
running, version 0.1.0, up 1 h 2 min
SIMULATOR: yahoo_auction, ebay
database   up since 2026-11-18 20:06:40 JST, answered in 2 ms
products   300: 298 watched, 120 in stock, 2 held
listings   300: 297 kept in line, 3 of them behind, 1 held
jobs       1 dead, 2 pending
delay      42 pushes in the last hour: half within 320 ms, 95 % within 900 ms, 99 % within 1100 ms, all within 1201 ms
yahoo      0 checks, 0 changes, 0 products, the longest unseen for 0 s, 0 in quarantine
ebay       42 accepted, 0 failed, 0 of unknown outcome, 0 not sent, 0 looks, 2 under way

 PLATFORM  GATE    PER SECOND  OPEN  WAITING  OK  REJECTED  FAILED  LIMITED  TIMED OUT  TRIPS  SIMULATOR  LAST ERROR
 ebay      paused  -           -     -        -   -         -       -        -          -      yes        -

for a person:
  - the emergency stop is on, nothing is sent: `zaikoban resume-all` ends it
  - ebay is paused: `zaikoban platforms resume ebay`
  - 3 changes wait for a decision: `zaikoban holds list`
  - 1 jobs were given up: `zaikoban queue list --status dead`
  - open errors (1 critical, 2 medium): `zaikoban errors list`";
        assert_eq!(status(&running(database, platforms)), expected);
    }

    #[test]
    fn a_starting_daemon_says_what_it_waits_for_and_nothing_it_does_not_know() {
        let starting = json!({ "state": "waiting for the database", "version": "0.1.0", "uptime_s": 4 });
        assert_eq!(
            status(&starting),
            "waiting for the database, version 0.1.0, up 4 s"
        );
    }

    #[test]
    fn a_daemon_that_wants_nothing_says_so() {
        let counts = json!({ "products": 0, "holds_open": 0, "jobs": {}, "errors_open": {} });
        let database = json!({ "status": up(), "counts": counts, "emergency_stop": false });
        let told = status(&running(database, json!([])));
        assert!(told.ends_with("nothing waits for a person"), "{told}");
    }

    #[test]
    fn a_database_that_is_away_hides_neither_the_reason_nor_the_rest() {
        let away = DatabaseStatus::Away {
            since: chrono::DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
            reason: "no password".to_owned(),
            tries: 4,
            needs_a_person: true,
        };
        let database = json!({ "why": "the database does not answer; nothing was changed", "status": away });
        let told = status(&running(database, json!([])));
        let lines: Vec<&str> = told.lines().skip(2).take(3).collect();
        assert_eq!(
            lines,
            [
                "database   away since 2026-11-18 20:06:40 JST: no password; waiting alone will not help",
                "counts     not known: the database does not answer; nothing was changed",
                "yahoo      0 checks, 0 changes, 0 products, the longest unseen for 0 s, 0 in quarantine",
            ]
        );
        assert!(
            told.ends_with(
                "for a person:\n  - the database is away, and waiting alone will not help\n  - the rest is not known \
                 without the database"
            ),
            "{told}"
        );
    }
}
