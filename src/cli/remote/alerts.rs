//! `zaikoban alerts`: what it asks, and how its answers are shown.

use super::orders::{get, paged, post};
use super::said::Told;
use super::tables::array;
use super::{Ask, Show};
use crate::cli::args::Alerts;
use crate::cli::output::{Column, at, column, plain, shown_as, time, times};
use serde_json::{Value, json};

const ALERTS: &[Column] = &[
    column("id", "ID"),
    column("level", "LEVEL"),
    column("status", "STATUS"),
    column("kind", "KIND"),
    column("count", "COUNT"),
    times("since", "SINCE"),
    times("told_at", "TOLD"),
    column("headline", "WHAT"),
];
const SILENCES: &[Column] = &[
    column("id", "ID"),
    column("kind", "KIND"),
    column("platform", "PLATFORM"),
    column("alert_id", "ALERT"),
    times("until", "UNTIL"),
    column("set_by", "BY"),
    column("note", "NOTE"),
];
const CHANNELS: &[Column] = &[
    column("channel", "CHANNEL"),
    shown_as("configured", "SET UP", yes_or_no),
    column("counts.waiting", "WAITING"),
    column("counts.told", "TOLD"),
    column("counts.delayed", "OF THEM LATE"),
    times("health.delivered_at", "LAST"),
    times("health.failing_since", "FAILING SINCE"),
    column("health.error", "ERROR"),
];
const TESTED: &[Column] = &[
    column("channel", "CHANNEL"),
    shown_as("delivered", "ARRIVED", yes_or_no),
    column("took_ms", "MS"),
    column("error", "ERROR"),
];

fn yes_or_no(value: &Value) -> String {
    if value == true { "yes" } else { "no" }.to_owned()
}

pub(super) fn alerts(order: Alerts) -> (Ask, Show) {
    let decide = |verb: &str, ids: Vec<i64>, note: Option<String>| {
        let body = json!({ "ids": ids, "note": note });
        (post(&format!("/v1/alerts/{verb}"), body), Show::Said(decided))
    };
    match order {
        Alerts::List { page, all } => {
            let filters = [("all", all.then_some("true"))];
            (paged("/v1/alerts", &page, &filters), Show::Table(ALERTS))
        }
        Alerts::Show { id } => (get(&format!("/v1/alerts/{id}")), Show::Text(alert)),
        Alerts::Ack { ids, note } => decide("ack", ids, note),
        Alerts::Resolve { ids, note } => decide("resolve", ids, note),
        Alerts::Silence {
            id,
            kind,
            platform,
            time,
            note,
        } => {
            let minutes = time.as_secs().div_ceil(60);
            let body = json!({ "alert_id": id, "kind": kind, "platform": platform, "minutes": minutes, "note": note });
            (post("/v1/alerts/silence", body), Show::Said(silenced))
        }
        Alerts::Unsilence { ids } => (
            post("/v1/alerts/unsilence", json!({ "ids": ids })),
            Show::Said(unsilenced),
        ),
        Alerts::Silences => (get("/v1/alerts/silences"), Show::Table(SILENCES)),
        Alerts::Channels => (get("/v1/alerts/channels"), Show::Table(CHANNELS)),
        Alerts::Test { channel } => (
            post("/v1/alerts/test", json!({ "channel": channel })),
            Show::Checked(TESTED, all_delivered),
        ),
    }
}

fn all_delivered(answer: &Value) -> bool {
    array(at(answer, "items"))
        .iter()
        .all(|item| at(item, "delivered") == true)
}

fn decided(answer: &Value) -> Told {
    let (done, already) = match at(answer, "done").as_str() {
        Some("ack") => ("known: alert", "known or over already: alert"),
        _ => ("over: alert", "over already: alert"),
    };
    Told::new()
        .of(done, at(answer, "changed"))
        .of(already, at(answer, "unchanged"))
}

fn silenced(answer: &Value) -> Told {
    let until = time(at(answer, "until"));
    Told::new().line(format!(
        "silence {} until {until}; alerts are recorded all the same",
        plain(at(answer, "id"))
    ))
}

fn unsilenced(answer: &Value) -> Told {
    Told::new().line(format!("{} silence(s) ended", plain(at(answer, "ended"))))
}

/// One alert, as a person reads it.
fn alert(answer: &Value) -> String {
    let text = |key: &str| plain(at(answer, key));
    let mut lines = vec![
        format!("{} {}: {}", text("level"), text("status"), text("headline")),
        format!("kind       {}, {} of it", text("kind"), text("count")),
        format!(
            "since      {}, met last {}",
            time(at(answer, "since")),
            time(at(answer, "last_seen_at"))
        ),
        format!("next       {}", text("next")),
    ];
    for (key, name) in [
        ("facts.code", "cause"),
        ("facts.message", "said"),
        ("note", "note"),
    ] {
        if !at(answer, key).is_null() {
            lines.push(format!("{name:<10} {}", text(key)));
        }
    }
    for (by, when, name) in [
        ("acknowledged_by", "acknowledged_at", "known by"),
        ("resolved_by", "resolved_at", "over by"),
    ] {
        if !at(answer, by).is_null() {
            lines.push(format!("{name:<10} {}, {}", text(by), time(at(answer, when))));
        }
    }
    let list = |lines: &mut Vec<String>, key: &str, title: &str, line: fn(&Value) -> String| {
        let items = array(at(answer, key));
        if !items.is_empty() {
            lines.push(format!("\n{title}"));
            lines.extend(items.iter().map(line));
        }
    };
    list(&mut lines, "to_do", "what to do", |step| {
        format!("  {:<44} {}", plain(at(step, "command")), plain(at(step, "does")))
    });
    list(&mut lines, "facts.products", "products", |product| {
        format!(
            "  {:<8} {}",
            plain(at(product, "id")),
            plain(at(product, "title"))
        )
    });
    list(&mut lines, "deliveries", "told", |told| {
        let at_time = match at(told, "delivered_at") {
            Value::Null => format!("waits since {}", time(at(told, "created_at"))),
            when => time(when),
        };
        let error = at(told, "error")
            .as_str()
            .map(|e| format!("; {e}"))
            .unwrap_or_default();
        format!(
            "  {:<8} {:<10} {at_time}{error}",
            plain(at(told, "channel")),
            plain(at(told, "event"))
        )
    });
    lines.join("\n")
}
