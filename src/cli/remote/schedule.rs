//! `zaikoban schedule`, `executions`, `summary` and `backup`: what they ask, and how the answers are shown.

use super::orders::{get, paged, post, segment};
use super::said::Told;
use super::tables::array;
use super::{Ask, Show};
use crate::cli::args::{Executions, Schedule, SummaryArgs};
use crate::cli::output::{Column, at, card, column, plain, shown_as, span, time, times};
use crate::control::client::{Client, ControlError};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const SCHEDULES: &[Column] = &[
    column("name", "NAME"),
    column("state", "STATE"),
    column("cron", "CRON"),
    times("next_fire_at", "NEXT"),
    times("last_fired_at", "LAST"),
    column("last.status", "CAME TO"),
    shown_as("last.took_ms", "TOOK", took),
    column("last.error", "ERROR"),
];
pub(super) const EXECUTIONS: &[Column] = &[
    column("id", "ID"),
    column("process", "PROCESS"),
    column("status", "STATUS"),
    times("started_at", "STARTED"),
    shown_as("took_ms", "TOOK", took),
    column("total", "TOTAL"),
    column("processed", "DONE"),
    column("updated", "UPDATED"),
    column("errors", "FAILED"),
    column("started_by", "BY"),
    column("error", "ERROR"),
];

/// How often a run is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn schedule(order: Schedule) -> (Ask, Show) {
    let switch = |verb: &str, names: Vec<String>| {
        let ask = post(&format!("/v1/schedules/{verb}"), json!({ "names": names }));
        (ask, Show::Said(switched))
    };
    match order {
        Schedule::List => (get("/v1/schedules"), Show::Table(SCHEDULES)),
        Schedule::Run { name, wait } => run(name, wait),
        Schedule::Pause { names } => switch("pause", names),
        Schedule::Resume { names } => switch("resume", names),
    }
}

pub(super) fn run(name: String, wait: bool) -> (Ask, Show) {
    if wait {
        (Ask::Run(name), Show::Said(ended))
    } else {
        let path = format!("/v1/schedules/{}/run", segment(&name));
        (post(&path, json!({})), Show::Said(begun))
    }
}

pub(super) fn executions(order: Executions) -> (Ask, Show) {
    match order {
        Executions::List {
            page,
            process,
            status,
        } => {
            let filters = [("process", process.as_deref()), ("status", status.as_deref())];
            (paged("/v1/executions", &page, &filters), Show::Table(EXECUTIONS))
        }
        Executions::Show { id } => (
            get(&format!("/v1/executions/{}", segment(&id))),
            Show::Text(execution),
        ),
    }
}

pub(super) fn summary(args: &SummaryArgs) -> (Ask, Show) {
    let day = args.day.as_deref().map(|day| format!("?day={}", segment(day)));
    let path = format!("/v1/summary{}", day.unwrap_or_default());
    let show = if args.html { page } else { text };
    (get(&path), Show::Text(show))
}

fn text(answer: &Value) -> String {
    let mail = match at(answer, "delivered_at") {
        Value::Null => match at(answer, "error") {
            Value::Null => format!("mail       {}", plain(at(answer, "mail"))),
            error => format!("mail       {}: {}", plain(at(answer, "mail")), plain(error)),
        },
        when => format!("mail       delivered {}", time(when)),
    };
    // Line by line, because a whole text would lose its lines to the guard against control characters.
    let text = at(answer, "text").as_str().unwrap_or_default();
    let lines = text.lines().map(|line| plain(&json!(line)));
    lines.chain([mail]).collect::<Vec<_>>().join("\n")
}

fn page(answer: &Value) -> String {
    at(answer, "html").as_str().unwrap_or_default().to_owned()
}

/// Has an entry run, and waits for its end.
pub(super) async fn run_and_wait(client: &Client, name: &str) -> Result<Value, ControlError> {
    let path = format!("/v1/schedules/{}/run", segment(name));
    let begun = client.post(&path, &json!({})).await?;
    let path = format!("/v1/executions/{}", plain(at(&begun, "execution_id")));
    loop {
        let run = client.get(&path).await?;
        if at(&run, "status") != "running" {
            return Ok(run);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn took(ms: &Value) -> String {
    match ms.as_u64() {
        None => plain(ms),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) => span(ms / 1_000),
    }
}

fn begun(answer: &Value) -> Told {
    let (name, id) = (plain(at(answer, "name")), plain(at(answer, "execution_id")));
    Told::new().line(format!("`{name}` runs as {id}")).line(format!(
        "hint: `zaikoban executions show {id}` shows how far it is"
    ))
}

/// What came of a run that was waited for.
fn ended(run: &Value) -> Told {
    let counts = |key: &str| plain(at(run, key));
    let mut told = Told::new().line(format!(
        "`{}` {} in {}: {} of {} done, {} updated, {} failed",
        counts("process"),
        counts("status"),
        took(at(run, "took_ms")),
        counts("processed"),
        counts("total"),
        counts("updated"),
        counts("errors"),
    ));
    if !at(run, "details.file").is_null() {
        told = told.line(format!("saved in `{}`", plain(at(run, "details.file"))));
    }
    if !at(run, "error").is_null() {
        told = told.line(counts("error"));
    }
    told.whole = at(run, "status") == "completed";
    told
}

fn switched(answer: &Value) -> Told {
    let (done, already) = match at(answer, "done").as_str() {
        Some("pause") => ("paused", "paused already"),
        _ => ("fires by itself again", "did so already"),
    };
    Told::new()
        .of(done, at(answer, "changed"))
        .of(already, at(answer, "unchanged"))
}

/// One run, as a person reads it: the line, the counts, and what it found.
fn execution(run: &Value) -> String {
    let text = |key: &str| plain(at(run, key));
    let mut lines = vec![
        format!("{} {}", text("process"), text("status")),
        format!("number     {}", text("execution_id")),
        format!(
            "started    {}, by {}; took {}",
            time(at(run, "started_at")),
            text("started_by"),
            took(at(run, "took_ms"))
        ),
        format!(
            "counts     {} of {} done, {} updated, {} failed",
            text("processed"),
            text("total"),
            text("updated"),
            text("errors")
        ),
        format!("on         {}", text("worker")),
    ];
    if !at(run, "due_at").is_null() {
        lines.push(format!("due        {}", time(at(run, "due_at"))));
    }
    if !at(run, "error").is_null() {
        lines.push(format!("error      {}", text("error")));
    }
    if at(run, "details").is_object() || !array(at(run, "details")).is_empty() {
        lines.push("\nfound".to_owned());
        lines.push(card(at(run, "details")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_waited_for_succeeds_only_whole() {
        let run = |status: &str, error: Value| {
            json!({ "process": "backup", "status": status, "took_ms": 65_000, "processed": 1, "total": 1,
                    "updated": 0, "errors": 0, "error": error, "details": { "file": "/x.dump" } })
        };
        let well = ended(&run("completed", Value::Null));
        assert!(well.whole);
        assert_eq!(
            well.lines,
            [
                "`backup` completed in 1 min 5 s: 1 of 1 done, 0 updated, 0 failed",
                "saved in `/x.dump`"
            ]
        );
        assert!(!ended(&run("partial", json!("1 of 2 failed"))).whole);
    }

    #[test]
    fn a_summary_keeps_its_lines_and_shows_no_control_characters() {
        let answer = json!({ "text": "a\u{1b}[31m\nb", "mail": "pending", "error": "no channel" });
        assert_eq!(text(&answer), "a [31m\nb\nmail       pending: no channel");
    }
}
