//! The text of `/metrics`: each series once, with its help.

use super::{Part, Snapshot};
use crate::domain::{DestinationPlatform, Platform};
use crate::queue::staged::StagedFigures;
use crate::resilience::{GateView, GuardStatus};
use crate::store::DatabaseStatus;
use crate::store::errors::Severity;
use crate::sync::SyncStatus;
use crate::watch::CountersSnapshot;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::sync::atomic::Ordering;

/// Counters, by name and what they count.
const COUNTERS: &[(&str, &str)] = &[
    ("zaikoban_checks_total", "Looks at products that gave an answer"),
    (
        "zaikoban_checks_failed_total",
        "Looks at products that gave none, by class",
    ),
    (
        "zaikoban_changes_total",
        "Changes of stock or price committed, first observations left out",
    ),
    (
        "zaikoban_first_observations_total",
        "First observations committed",
    ),
    (
        "zaikoban_holds_opened_total",
        "Changes of a source that were held for a person",
    ),
    (
        "zaikoban_pushes_total",
        "Listings written to a destination, by outcome",
    ),
    (
        "zaikoban_destination_reads_total",
        "Looks at listings of a destination",
    ),
    (
        "zaikoban_platform_requests_total",
        "Calls of an outside service, by outcome",
    ),
    (
        "zaikoban_breaker_trips_total",
        "How often the breaker of a service tripped",
    ),
    ("zaikoban_tree_restarts_total", "Restarts in a part of the daemon"),
    ("zaikoban_redis_lost_total", "How often Redis went away"),
    (
        "zaikoban_redis_emptied_total",
        "How often what was put into Redis was found to be gone",
    ),
    (
        "zaikoban_redis_jobs_total",
        "Jobs of the fast lane: put into Redis, popped, popped in vain, taken from the table instead",
    ),
    ("process_cpu_seconds_total", "CPU time used, in whole seconds"),
];

/// Gauges, by name and what they show.
const GAUGES: &[(&str, &str)] = &[
    ("zaikoban_build_info", "1, with the program's version"),
    ("zaikoban_ready", "1 once the daemon takes every order"),
    ("zaikoban_uptime_seconds", "Since the daemon was started"),
    ("zaikoban_products_watched", "Products that are watched"),
    (
        "zaikoban_products_quarantined",
        "Products whose watcher keeps crashing",
    ),
    ("zaikoban_checks_in_flight", "Looks under way"),
    (
        "zaikoban_oldest_check_age_seconds",
        "How long ago the longest unseen product was looked at",
    ),
    (
        "zaikoban_commit_delay_seconds",
        "From a page's last byte to its change being committed, since the start",
    ),
    (
        "zaikoban_listings_behind",
        "Listings that do not show yet what is wanted",
    ),
    ("zaikoban_pushes_in_flight", "Requests to a destination under way"),
    (
        "zaikoban_platform_gate",
        "1 for the state in which the way to a service is",
    ),
    ("zaikoban_platform_rate_per_second", "The rate in force"),
    (
        "zaikoban_platform_full_rate_per_second",
        "The rate of the settings",
    ),
    ("zaikoban_platform_requests_open", "Calls of a service under way"),
    (
        "zaikoban_platform_requests_waiting",
        "Callers in line for a service",
    ),
    (
        "zaikoban_nodes",
        "Daemons that share the database and live, this one included",
    ),
    (
        "zaikoban_shards",
        "Parts of the watching that are this daemon's, of 256",
    ),
    ("zaikoban_database_up", "1 while the database answers"),
    ("zaikoban_redis_up", "1 while Redis is used"),
    (
        "zaikoban_database_answer_seconds",
        "How long its last answer took",
    ),
    (
        "zaikoban_database_figures_age_seconds",
        "Age of what follows: jobs, holds, errors, listings behind, delays",
    ),
    ("zaikoban_jobs", "Jobs that are not done, by state"),
    ("zaikoban_holds_open", "Changes that wait for a person"),
    (
        "zaikoban_errors_open",
        "Recorded troubles that nobody resolved, by severity",
    ),
    (
        "zaikoban_delay_seconds",
        "From a page being read to its listing being accepted, over the last hour",
    ),
    ("zaikoban_delay_pushes", "Pushes that the delay is taken from"),
    (
        "zaikoban_tree_parked",
        "Children in a part of the daemon that crashed too often and wait",
    ),
    (
        "zaikoban_tree_degraded",
        "1 while something in a part of the daemon is down",
    ),
    ("process_resident_memory_bytes", "Resident memory"),
    ("process_open_fds", "Open files"),
    ("process_max_fds", "The most files that may be open"),
];

const JOB_STATES: [&str; 4] = ["pending", "failed", "processing", "dead"];
const GATES: [&str; 5] = ["open", "limited", "shut", "paused", "stopped"];

/// The whole text.
pub(super) fn written(snapshot: &Snapshot) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        for (name, help) in COUNTERS {
            describe_counter!(*name, *help);
        }
        for (name, help) in GAUGES {
            describe_gauge!(*name, *help);
        }
        record(snapshot);
    });
    sorted(&handle.render())
}

fn record(snapshot: &Snapshot) {
    gauge!("zaikoban_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("zaikoban_ready").set(yes(snapshot.ready));
    gauge!("zaikoban_uptime_seconds").set(snapshot.uptime.as_secs_f64().floor());
    for (source, counters) in &snapshot.watch {
        watched(Platform::from(*source).as_str(), counters);
    }
    for (destination, status) in &snapshot.sync {
        synced(Platform::from(*destination).as_str(), status);
    }
    for status in &snapshot.guards {
        if let Ok(platform) = status.service.parse::<Platform>() {
            guarded(platform.as_str(), status);
        }
    }
    for part in &snapshot.tree {
        of_tree(part);
    }
    if let Some((nodes, shards)) = snapshot.nodes {
        gauge!("zaikoban_nodes").set(float(nodes));
        gauge!("zaikoban_shards").set(float(shards));
    }
    database(snapshot);
    redis(snapshot);
    let process = &snapshot.process;
    let whole = process.cpu_s.map(|s| s.floor().max(0.0));
    if let Some(s) = whole {
        counter!("process_cpu_seconds_total").absolute(std::time::Duration::from_secs_f64(s).as_secs());
    }
    for (name, value) in [
        ("process_resident_memory_bytes", process.rss_bytes),
        ("process_open_fds", process.open_files),
        ("process_max_fds", process.most_files),
    ] {
        if let Some(value) = value {
            gauge!(name).set(float(value));
        }
    }
}

fn watched(platform: &'static str, seen: &CountersSnapshot) {
    counter!("zaikoban_checks_total", "platform" => platform).absolute(seen.checks);
    counter!("zaikoban_changes_total", "platform" => platform).absolute(seen.changes);
    counter!("zaikoban_first_observations_total", "platform" => platform).absolute(seen.first_observations);
    counter!("zaikoban_holds_opened_total", "platform" => platform).absolute(seen.holds_opened);
    for error in &seen.errors {
        counter!("zaikoban_checks_failed_total", "platform" => platform, "class" => error.class)
            .absolute(error.count);
    }
    gauge!("zaikoban_products_watched", "platform" => platform).set(float(seen.products));
    gauge!("zaikoban_products_quarantined", "platform" => platform).set(float(seen.quarantined));
    gauge!("zaikoban_checks_in_flight", "platform" => platform).set(float(seen.in_flight));
    gauge!("zaikoban_oldest_check_age_seconds", "platform" => platform).set(float(seen.oldest_age_s));
    let delay = &seen.commit_delay_ms;
    if delay.count > 0 {
        for (quantile, ms) in [("0.5", delay.p50), ("0.95", delay.p95), ("0.99", delay.p99)] {
            gauge!("zaikoban_commit_delay_seconds", "platform" => platform, "quantile" => quantile)
                .set(ms / 1_000.0);
        }
    }
}

fn synced(platform: &'static str, status: &SyncStatus) {
    for (outcome, count) in [
        ("accepted", status.accepted),
        ("failed", status.failed),
        ("unknown", status.unknown),
        ("not_sent", status.not_sent),
    ] {
        counter!("zaikoban_pushes_total", "platform" => platform, "outcome" => outcome).absolute(count);
    }
    counter!("zaikoban_destination_reads_total", "platform" => platform).absolute(status.read);
    gauge!("zaikoban_pushes_in_flight", "platform" => platform).set(count(status.in_flight));
}

fn guarded(platform: &'static str, status: &GuardStatus) {
    let gate = match status.gate {
        GateView::Open => "open",
        GateView::Limited => "limited",
        GateView::Shut { .. } => "shut",
        GateView::Paused => "paused",
        GateView::Stopped => "stopped",
    };
    for state in GATES {
        gauge!("zaikoban_platform_gate", "platform" => platform, "state" => state).set(yes(state == gate));
    }
    let counts = &status.counts;
    for (outcome, count) in [
        ("ok", counts.ok),
        ("answered", counts.answered),
        ("failed", counts.failed),
        ("protocol", counts.protocol),
        ("rate_limited", counts.rate_limited),
        ("timed_out", counts.timed_out),
        ("panicked", counts.panicked),
        ("cancelled", counts.cancelled),
        ("refused", counts.refused),
    ] {
        counter!("zaikoban_platform_requests_total", "platform" => platform, "outcome" => outcome)
            .absolute(count);
    }
    counter!("zaikoban_breaker_trips_total", "platform" => platform).absolute(counts.trips);
    gauge!("zaikoban_platform_rate_per_second", "platform" => platform).set(status.rate_per_second);
    gauge!("zaikoban_platform_full_rate_per_second", "platform" => platform).set(status.full_rate_per_second);
    gauge!("zaikoban_platform_requests_open", "platform" => platform).set(count(status.in_flight));
    gauge!("zaikoban_platform_requests_waiting", "platform" => platform).set(count(status.waiting));
}

/// The names of groups stand in the program; one that could not be a label's value is none of them.
fn of_tree(part: &Part) {
    let plain = !part.name.is_empty() && part.name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if !plain {
        return;
    }
    let name = part.name.clone();
    counter!("zaikoban_tree_restarts_total", "part" => name.clone()).absolute(part.restarts);
    gauge!("zaikoban_tree_parked", "part" => name.clone()).set(float(part.parked));
    gauge!("zaikoban_tree_degraded", "part" => name).set(yes(part.degraded));
}

fn redis(snapshot: &Snapshot) {
    let Some(fast) = &snapshot.redis else { return };
    gauge!("zaikoban_redis_up").set(yes(fast.link().is_up()));
    let counted = fast.link().counted();
    counter!("zaikoban_redis_lost_total").absolute(counted.lost.load(Ordering::Relaxed));
    counter!("zaikoban_redis_emptied_total").absolute(counted.emptied.load(Ordering::Relaxed));
    let sum = |of: fn(&StagedFigures) -> u64| fast.figures().values().map(of).sum::<u64>();
    let jobs = [
        ("staged", sum(|f| f.staged)),
        ("popped", sum(|f| f.popped)),
        ("stale", sum(|f| f.stale)),
        ("from_table", sum(|f| f.from_table)),
    ];
    for (what, n) in jobs {
        counter!("zaikoban_redis_jobs_total", "what" => what).absolute(n);
    }
}

fn database(snapshot: &Snapshot) {
    if let Some(status) = &snapshot.database {
        gauge!("zaikoban_database_up").set(yes(status.is_up()));
        if let DatabaseStatus::Up { answer_ms, .. } = status {
            gauge!("zaikoban_database_answer_seconds").set(float(*answer_ms) / 1_000.0);
        }
    }
    let Some((age, figures)) = &snapshot.figures else {
        return;
    };
    gauge!("zaikoban_database_figures_age_seconds").set(age.as_secs_f64());
    let of = |what: &str, name: &str| {
        let found = figures.counts.iter().find(|c| c.what == what && c.name == name);
        float(found.map_or(0, |c| u64::try_from(c.count).unwrap_or(0)))
    };
    for state in JOB_STATES {
        gauge!("zaikoban_jobs", "state" => state).set(of("jobs", state));
    }
    gauge!("zaikoban_holds_open").set(of("holds", "open"));
    for severity in Severity::ALL {
        let severity = severity.as_str();
        gauge!("zaikoban_errors_open", "severity" => severity).set(of("errors", severity));
    }
    for (destination, _) in &snapshot.sync {
        let platform = destination.as_str();
        gauge!("zaikoban_listings_behind", "platform" => platform).set(of("behind", platform));
    }
    for delay in &figures.delays {
        let Ok(platform) = delay.platform.parse::<DestinationPlatform>() else {
            continue;
        };
        let platform = platform.as_str();
        for (quantile, s) in [("0.5", delay.p50), ("0.95", delay.p95), ("0.99", delay.p99)] {
            gauge!("zaikoban_delay_seconds", "platform" => platform, "quantile" => quantile).set(s);
        }
        gauge!("zaikoban_delay_pushes", "platform" => platform)
            .set(float(u64::try_from(delay.count).unwrap_or(0)));
    }
}

/// Families by name, series by label, so that two scrapes can be laid beside each other.
fn sorted(text: &str) -> String {
    let families = text.split("\n\n").filter(|family| !family.trim().is_empty());
    let mut families: Vec<String> = families
        .map(|family| {
            let (mut said, mut series): (Vec<&str>, Vec<&str>) =
                family.lines().partition(|line| line.starts_with('#'));
            series.sort_unstable();
            said.append(&mut series);
            said.join("\n")
        })
        .collect();
    // A family begins with its help or type, and its name is the third word.
    families.sort_by_key(|family| family.split_whitespace().nth(2).map(str::to_owned));
    format!("{}\n", families.join("\n"))
}

fn yes(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn count(n: usize) -> f64 {
    float(u64::try_from(n).unwrap_or(u64::MAX))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "Prometheus knows doubles only; above 2^53 the last digits do not matter"
)]
fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
