//! How the daemon is, with what waits for a person last, where it is read.

use super::tables::{array, gate};
use crate::cli::output::{Column, at, column, plain, shown_as, span, table, time, wrapped};
use serde_json::{Map, Value};

/// A terminal's columns.
const WIDTH: usize = 80;
/// Where what is told begins, behind its name.
const INDENT: usize = 11;
/// An error's message may hold an address of any length; the whole stands in `platforms list`.
const ERROR_CHARS: usize = 160;

/// The services, narrow enough for a second screen.
const SERVICES: &[Column] = &[
    column("name", "SERVICE"),
    shown_as("gate", "GATE", short_gate),
    shown_as("rate_per_second", "PER S", tenth),
    column("in_flight", "OPEN"),
    column("waiting", "WAIT"),
    column("counts.ok", "OK"),
    shown_as("counts", "FAILED", failures),
    column("counts.trips", "TRIPS"),
];

/// The whole state.
pub(super) fn status(status: &Value) -> String {
    let up = span(at(status, "uptime_s").as_u64().unwrap_or(0));
    let (state, version) = (plain(at(status, "state")), plain(at(status, "version")));
    let since = time(at(status, "started_at"));
    let mut lines = wrapped(
        &format!("{state}, version {version}, up {up}, since {since}"),
        WIDTH,
    );
    lines.extend(at(status, "simulator").as_str().map(str::to_owned));
    let database = at(status, "database");
    if database.is_null() {
        // Still starting: the state says what it waits for.
        return lines.join("\n");
    }
    lines.extend(row("database", &self::database(at(database, "status"))));
    let node = at(status, "node");
    if node.is_object() {
        lines.extend(row("nodes", &nodes(node)));
    }
    let redis = at(status, "redis");
    if redis.is_object() {
        lines.extend(row("redis", &self::redis(redis)));
    }
    let counts = at(database, "counts");
    if counts.is_object() {
        for (name, text) in numbers(counts) {
            lines.extend(row(name, &text));
        }
        lines.extend(row("delay", &delay(at(database, "delay_ms_last_hour"))));
    } else {
        lines.extend(row(
            "counts",
            &format!("not known: {}", plain(at(database, "why"))),
        ));
    }
    for (name, seen) in entries(at(status, "watch")) {
        lines.extend(row(name, &watched(seen)));
    }
    for (name, sync) in entries(at(status, "sync")) {
        lines.extend(row(name, &synced(sync)));
    }
    let platforms = array(at(status, "platforms"));
    lines.push(format!("\n{}\n", table(platforms, SERVICES)));
    lines.extend(for_a_person(status, database, platforms));
    lines.join("\n")
}

/// This node among the others.
fn nodes(node: &Value) -> String {
    let (name, all) = (plain(at(node, "name")), at(node, "nodes").as_u64().unwrap_or(1));
    let mut text = match all {
        0 | 1 => format!("1, this one: {name}"),
        n => {
            let percent = at(node, "shards").as_u64().unwrap_or(0) * 100 / 256;
            format!("{n}, this one: {name}, which watches {percent} % of the products")
        }
    };
    if at(node, "draining") == true {
        text.push_str("; it hands over all it does (`zaikoban drain --undo` ends that)");
    }
    text
}

/// A name and what is told of it, in as many lines as it takes.
fn row(name: &str, text: &str) -> Vec<String> {
    let told = wrapped(text, WIDTH.saturating_sub(INDENT))
        .into_iter()
        .enumerate();
    let lines = told.map(|(at, line)| {
        let name = if at == 0 { name } else { "" };
        format!("{name:<10} {line}").trim_end().to_owned()
    });
    lines.collect()
}

/// Today's time is enough for a gate: it is never shut for as long as a day.
fn short_gate(value: &Value) -> String {
    let long = gate(value);
    match long.split_once(" until ") {
        Some((state, until)) => {
            let time = until.split(' ').nth(1).unwrap_or(until);
            format!("{state} until {time}")
        }
        None => long,
    }
}

fn tenth(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| plain(value), |rate| format!("{rate:.1}"))
}

/// Everything but an answer, and what was never asked.
fn failures(counts: &Value) -> String {
    if !counts.is_object() {
        return "-".to_owned();
    }
    let kinds = ["failed", "protocol", "rate_limited", "timed_out", "panicked"];
    kinds
        .map(|kind| number(counts, kind))
        .iter()
        .sum::<u64>()
        .to_string()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn number(value: &Value, key: &str) -> u64 {
    at(value, key).as_u64().unwrap_or(0)
}

fn redis(status: &Value) -> String {
    let since = time(at(status, "since"));
    match at(status, "state").as_str() {
        Some("up") => format!("used since {since}"),
        Some("away") => format!(
            "away since {since}: {}; everything goes on from PostgreSQL",
            plain(at(status, "reason"))
        ),
        _ => "not asked yet".to_owned(),
    }
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

fn numbers(counts: &Value) -> Vec<(&'static str, String)> {
    let n = |key: &str| number(counts, key);
    let jobs = entries(at(counts, "jobs")).filter(|(state, _)| *state != "completed");
    let jobs: Vec<String> = jobs
        .map(|(state, count)| format!("{} {state}", plain(count)))
        .collect();
    vec![
        (
            "products",
            format!(
                "{}: {} watched, {} in stock, {} held",
                n("products"),
                n("products_watched"),
                n("products_in_stock"),
                n("products_held")
            ),
        ),
        (
            "listings",
            format!(
                "{}: {} kept in line, {} of them behind, {} held",
                n("listings"),
                n("listings_syncing"),
                n("listings_behind"),
                n("listings_held")
            ),
        ),
        (
            "jobs",
            if jobs.is_empty() {
                "none wait".to_owned()
            } else {
                jobs.join(", ")
            },
        ),
    ]
}

/// From the page read to the destination's answer.
fn delay(delay: &Value) -> String {
    let count = number(delay, "count");
    if count == 0 {
        return "no push in the last hour".to_owned();
    }
    let within = |key: &str| short_time(at(delay, key));
    format!(
        "{count} pushes in the last hour: p50 {}, p95 {}, p99 {}, longest {}",
        within("p50"),
        within("p95"),
        within("p99"),
        within("max")
    )
}

/// Milliseconds up to a second, then tenths of seconds.
fn short_time(ms: &Value) -> String {
    match ms.as_f64() {
        Some(ms) if ms < 1_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1_000.0),
        None => plain(ms),
    }
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
fn for_a_person(status: &Value, database: &Value, platforms: &[Value]) -> Vec<String> {
    let counts = at(database, "counts");
    let mut todo = Vec::new();
    for part in array(at(status, "down")) {
        let again = at(part, "retry_in_ms").as_u64().map_or_else(String::new, |ms| {
            format!(", tried again in {}", span(ms.div_ceil(1_000)))
        });
        let why = at(part, "why")
            .as_str()
            .map_or_else(String::new, |_| format!(" ({})", plain(at(part, "why"))));
        let (path, state) = (plain(at(part, "path")), plain(at(part, "state")));
        todo.push(format!(
            "the part `{path}` is {state}{why}{again}: `zaikoban tree`"
        ));
    }
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
        if let Some(needs) = at(platform, "needs").as_str() {
            todo.push(needs.to_owned());
        }
        match at(gate_view, "state").as_str() {
            Some("paused") => todo.push(format!("{name} is paused: `zaikoban platforms resume {name}`")),
            Some("shut") => {
                let error = at(platform, "last_error.message");
                let why = if error.is_null() {
                    String::new()
                } else {
                    let told: String = plain(error).chars().take(ERROR_CHARS).collect();
                    format!(": {told}")
                };
                todo.push(format!("{name} is {}{why}", gate(gate_view)));
            }
            _ => {}
        }
    }
    match number(counts, "holds_open") {
        0 => {}
        1 => todo.push("1 change waits for a decision: `zaikoban holds list`".to_owned()),
        holds => todo.push(format!(
            "{holds} changes wait for a decision: `zaikoban holds list`"
        )),
    }
    match number(at(counts, "jobs"), "dead") {
        0 => {}
        1 => todo.push("1 job was given up: `zaikoban queue list --status dead`".to_owned()),
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
    let lines = todo.iter().flat_map(|line| {
        let told = wrapped(line, WIDTH.saturating_sub(4)).into_iter().enumerate();
        told.map(|(at, line)| format!("{}{line}", if at == 0 { "  - " } else { "    " }))
    });
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
            "started_at": "2026-11-18T10:04:35Z", "database": database, "platforms": platforms,
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
running, version 0.1.0, up 1 h 2 min, since 2026-11-18 19:04:35 JST
SIMULATOR: yahoo_auction, ebay
database   up since 2026-11-18 20:06:40 JST, answered in 2 ms
products   300: 298 watched, 120 in stock, 2 held
listings   300: 297 kept in line, 3 of them behind, 1 held
jobs       1 dead, 2 pending
delay      42 pushes in the last hour: p50 320 ms, p95 900 ms, p99 1.1 s,
           longest 1.2 s
yahoo      0 checks, 0 changes, 0 products, the longest unseen for 0 s, 0 in
           quarantine
ebay       42 accepted, 0 failed, 0 of unknown outcome, 0 not sent, 0 looks, 2
           under way

 SERVICE  GATE    PER S  OPEN  WAIT  OK  FAILED  TRIPS
 ebay     paused  -      -     -     -   -       -

for a person:
  - the part `watch/yahoo` is parked (panicked: a fault), tried again in 12 s:
    `zaikoban tree`
  - the emergency stop is on, nothing is sent: `zaikoban resume-all` ends it
  - ebay is paused: `zaikoban platforms resume ebay`
  - 3 changes wait for a decision: `zaikoban holds list`
  - 1 job was given up: `zaikoban queue list --status dead`
  - open errors (1 critical, 2 medium): `zaikoban errors list`";
        let mut known = running(database, platforms);
        known["down"] = json!([{ "path": "watch/yahoo", "state": "parked", "retry_in_ms": 11_500,
                                 "why": "panicked: a fault" }]);
        let told = status(&known);
        assert_eq!(told, expected);
        assert!(told.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn a_node_says_what_share_of_the_watching_is_its_own() {
        let node = |nodes: u64, shards: u64, draining: bool| {
            super::nodes(&json!({ "name": "a", "nodes": nodes, "shards": shards, "draining": draining }))
        };
        assert_eq!(node(1, 256, false), "1, this one: a");
        assert_eq!(
            node(3, 64, false),
            "3, this one: a, which watches 25 % of the products"
        );
        assert!(node(2, 0, true).contains("0 % of the products; it hands over all it does"));
    }

    #[test]
    fn a_gate_that_is_shut_says_until_when_and_why_within_eighty_columns() {
        let message = format!("GET https://api.ebay.com/{}: connection refused", "x".repeat(50));
        let platforms = json!([{
            "name": "yahoo_auction", "gate": { "state": "shut", "until": "2026-11-18T11:06:40Z" }, "rate_per_second": 149.99,
            "in_flight": 1, "waiting": 4, "last_error": { "message": message },
            "counts": { "ok": 123_456_789, "failed": 5, "timed_out": 2, "trips": 3 },
        }]);
        let database = json!({ "status": up(), "counts": counts(), "emergency_stop": false });
        let told = status(&running(database, platforms));
        let expected = " yahoo_auction  shut until 20:06:40  150.0  1     4     123456789  7       3";
        assert!(told.contains(expected), "{told}");
        assert!(told.contains("connection refused"), "{told}");
        assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
    }

    #[test]
    fn a_starting_daemon_says_what_it_waits_for_and_nothing_it_does_not_know() {
        let starting = json!({
            "state": "waiting for the database", "version": "0.1.0", "uptime_s": 4, "started_at": "2026-11-18T11:06:40Z",
        });
        assert_eq!(
            status(&starting),
            "waiting for the database, version 0.1.0, up 4 s, since 2026-11-18 20:06:40 JST"
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
                "database   away since 2026-11-18 20:06:40 JST: no password; waiting alone will",
                "           not help",
                "counts     not known: the database does not answer; nothing was changed",
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
