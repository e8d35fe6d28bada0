use super::super::Figures;
use super::*;
use crate::clock::Clock;
use crate::ops::process::Process;
use crate::queue::fast::FastLanes;
use crate::resilience::Counts;
use crate::store::figures::{Counted, Delay};
use crate::store::redis::{Link, RedisSettings};
use crate::watch::Counters;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A strict reader of the format: every series belongs to a family that was typed before it, and none comes twice.
fn read(text: &str) -> BTreeMap<String, f64> {
    let (mut types, mut found) = (BTreeMap::new(), BTreeMap::new());
    let name_ok = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind) && name_ok(name), "{line}");
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "twice: {line}"
            );
            continue;
        }
        if line.starts_with("# HELP ") {
            assert!(line.split(' ').count() > 4, "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        assert!(name_ok(name) && types.contains_key(name), "{line}");
        for label in labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty()) {
            let (label, value) = label.split_once('=').unwrap();
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap();
            assert!(name_ok(label), "{line}");
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            assert!(!value.is_empty() && value.chars().all(plain), "{line}");
        }
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite(), "{line}");
        assert!(found.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    found
}

fn guard(service: &str, gate: GateView) -> GuardStatus {
    GuardStatus {
        service: service.into(),
        gate,
        told_to_wait_until: None,
        rate_per_second: 2.5,
        full_rate_per_second: 5.0,
        in_flight: 1,
        waiting: 4,
        trips: 1,
        counts: Counts {
            ok: 10,
            trips: 3,
            ..Counts::default()
        },
        last_ok: None,
        last_error: None,
    }
}

fn counted(what: &str, name: &str, count: i64) -> Counted {
    Counted {
        what: what.into(),
        name: name.into(),
        count,
    }
}

fn delay(platform: &str) -> Delay {
    Delay {
        platform: platform.into(),
        count: 42,
        p50: 0.32,
        p95: 0.9,
        p99: 1.1,
    }
}

/// A running daemon, and beside what it knows whatever a stranger could have put into a name.
fn full() -> Snapshot {
    let hostile = "ebay\"} 1\nevil_total{a=\"";
    Snapshot {
        nodes: Some((2, 128)),
        ready: true,
        uptime: Duration::from_millis(90_500),
        watch: vec![(
            crate::domain::SourcePlatform::Yahoo,
            Counters::default().snapshot(),
        )],
        sync: vec![(
            DestinationPlatform::Ebay,
            SyncStatus {
                accepted: 42,
                failed: 2,
                ..SyncStatus::default()
            },
        )],
        guards: vec![guard("ebay", GateView::Paused), guard(hostile, GateView::Open)],
        tree: vec![
            Part {
                name: "watch".into(),
                restarts: 7,
                parked: 1,
                degraded: true,
            },
            Part {
                name: hostile.into(),
                restarts: 7,
                parked: 1,
                degraded: true,
            },
        ],
        process: Process {
            rss_bytes: Some(1 << 26),
            cpu_s: Some(12.9),
            open_files: Some(60),
            most_files: Some(1_024),
        },
        database: Some(DatabaseStatus::Up {
            since: chrono::DateTime::UNIX_EPOCH,
            answer_ms: 3,
        }),
        redis: {
            let settings = RedisSettings::new("redis://127.0.0.1:1", None, "zaikoban").unwrap();
            Some(FastLanes::new(Link::new(settings, "1-1", Clock::system())))
        },
        figures: Some((
            Duration::from_secs(2),
            Arc::new(Figures {
                counts: vec![
                    counted("jobs", "dead", 3),
                    counted("jobs", hostile, 9),
                    counted("holds", "open", 5),
                    counted("errors", "critical", 1),
                    counted("behind", "ebay", 8),
                ],
                delays: vec![delay("ebay"), delay(hostile)],
            }),
        )),
    }
}

#[test]
fn every_number_is_told_once_under_its_name() {
    let told = read(&written(&full()));
    let expected = [
        ("zaikoban_ready", 1.0),
        ("zaikoban_redis_up", 0.0),
        ("zaikoban_redis_lost_total", 0.0),
        ("zaikoban_redis_jobs_total{what=\"popped\"}", 0.0),
        ("zaikoban_uptime_seconds", 90.0),
        ("zaikoban_checks_total{platform=\"yahoo_auction\"}", 0.0),
        (
            "zaikoban_checks_failed_total{platform=\"yahoo_auction\",class=\"blocked\"}",
            0.0,
        ),
        (
            "zaikoban_pushes_total{platform=\"ebay\",outcome=\"accepted\"}",
            42.0,
        ),
        ("zaikoban_platform_gate{platform=\"ebay\",state=\"paused\"}", 1.0),
        ("zaikoban_platform_gate{platform=\"ebay\",state=\"open\"}", 0.0),
        (
            "zaikoban_platform_requests_total{platform=\"ebay\",outcome=\"ok\"}",
            10.0,
        ),
        ("zaikoban_breaker_trips_total{platform=\"ebay\"}", 3.0),
        ("zaikoban_database_up", 1.0),
        ("zaikoban_database_answer_seconds", 0.003),
        ("zaikoban_jobs{state=\"dead\"}", 3.0),
        ("zaikoban_jobs{state=\"pending\"}", 0.0),
        ("zaikoban_holds_open", 5.0),
        ("zaikoban_errors_open{severity=\"critical\"}", 1.0),
        ("zaikoban_listings_behind{platform=\"ebay\"}", 8.0),
        ("zaikoban_delay_seconds{platform=\"ebay\",quantile=\"0.95\"}", 0.9),
        ("zaikoban_tree_restarts_total{part=\"watch\"}", 7.0),
        ("zaikoban_tree_parked{part=\"watch\"}", 1.0),
        ("process_resident_memory_bytes", 67_108_864.0),
        ("process_cpu_seconds_total", 12.0),
    ];
    for (series, value) in expected {
        assert_eq!(told.get(series), Some(&value), "{series} in {told:#?}");
    }
}

#[test]
fn a_name_that_no_list_knows_never_becomes_a_label() {
    let text = written(&full());
    assert!(!text.contains("evil"), "{text}");
    read(&text);
}

#[test]
fn everything_that_is_told_is_described_and_the_other_way_round() {
    let text = written(&full());
    let told = read(&text);
    let families: BTreeSet<&str> = told.keys().map(|s| s.split('{').next().unwrap()).collect();
    let described: BTreeSet<&str> = COUNTERS.iter().chain(GAUGES).map(|(name, _)| *name).collect();
    // The commit delay is told once there is one.
    let untold: Vec<_> = described.difference(&families).collect();
    assert_eq!(untold, [&"zaikoban_commit_delay_seconds"]);
    assert!(families.is_subset(&described), "{families:?}");
    for name in &families {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn a_daemon_that_starts_tells_what_it_knows() {
    let told = read(&written(&Snapshot::default()));
    assert_eq!(told.get("zaikoban_ready"), Some(&0.0));
    assert!(!told.contains_key("zaikoban_database_up"), "{told:?}");
}

#[test]
fn two_scrapes_of_the_same_numbers_are_the_same_text() {
    assert_eq!(written(&full()), written(&full()));
}
