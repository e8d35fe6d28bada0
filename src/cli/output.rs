//! stdout is data (a table or JSON), stderr is talk.

use crate::control::client::ControlError;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;

/// What the process tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// It failed; stderr says why.
    Failed = 1,
    /// A page that cannot be read (`extract`).
    Unreadable = 3,
    /// No daemon answers.
    Away = 69,
    /// The daemon's tree gave up.
    GaveUp = 70,
    /// Another daemon runs already, or the database is in use.
    Busy = 75,
    /// The configuration is not usable.
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unreadable => 3,
            Exit::Away => 69,
            Exit::GaveUp => 70,
            Exit::Busy => 75,
            Exit::BadConfig => 78,
        })
    }
}

/// Writes a line of data. A reader that has gone away (`| head`) is no failure.
pub(crate) fn data(line: &str) {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    if written.is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

/// Writes a line of talk.
pub(crate) fn talk(line: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(err, "{line}"));
}

/// Shows a value as JSON.
pub(crate) fn json(value: &Value) {
    data(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// One column: the key in the item (`a.b` goes deeper) and the heading.
pub(crate) type Column = (&'static str, &'static str);

/// Shows items as a table.
pub(crate) fn table(items: &[Value], columns: &[Column]) {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(columns.iter().map(|(_, heading)| *heading));
    for item in items {
        table.add_row(columns.iter().map(|(key, _)| cell(item, key)));
    }
    data(&table.trim_fmt());
}

/// Shows one thing as `key  value` lines, deeper parts indented.
pub(crate) fn card(value: &Value) {
    let mut lines = Vec::new();
    card_lines(value, 0, &mut lines);
    data(&lines.join("\n"));
}

fn card_lines(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if inner.is_object() || inner.as_array().is_some_and(|a| !a.is_empty()) {
                    lines.push(format!("{indent}{key}"));
                    card_lines(inner, depth.saturating_add(1), lines);
                } else {
                    lines.push(format!("{indent}{key:<20} {}", plain(inner)));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if item.is_object() {
                    lines.push(format!("{indent}-"));
                    card_lines(item, depth.saturating_add(1), lines);
                } else {
                    lines.push(format!("{indent}- {}", plain(item)));
                }
            }
        }
        other => lines.push(format!("{indent}{}", plain(other))),
    }
}

fn cell(item: &Value, key: &str) -> String {
    let mut value = item;
    for part in key.split('.') {
        value = value.get(part).unwrap_or(&Value::Null);
    }
    plain(value)
}

/// A value as a person reads it; control characters of titles from the web do not reach the terminal.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(s) => s.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(map) => match (map.get("amount"), map.get("currency")) {
            (Some(amount), Some(currency)) => format!("{} {}", plain(amount), plain(currency)),
            _ => value.to_string(),
        },
        Value::Number(n) => n.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Says what went wrong, with every problem and what to do, and gives the exit code.
pub(crate) fn complain(error: &ControlError, as_json: bool) -> Exit {
    if let (
        true,
        ControlError::Refused {
            code,
            message,
            problems,
            hint,
            ..
        },
    ) = (as_json, error)
    {
        json(
            &serde_json::json!({ "error": { "code": code, "message": message, "problems": problems, "hint": hint } }),
        );
    }
    talk(&format!("error: {error}"));
    match error {
        ControlError::Refused { problems, hint, .. } => {
            for problem in problems {
                talk(&format!("  {}", problem_line(problem)));
            }
            if let Some(hint) = hint {
                talk(&format!("hint: {hint}"));
            }
            Exit::Failed
        }
        ControlError::Away { .. } => {
            talk("hint: start it with `zaikoban run`, or name its socket with --socket");
            Exit::Away
        }
        ControlError::Foreign { .. } => Exit::Away,
    }
}

fn problem_line(problem: &Value) -> String {
    let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut line = format!(
        "{}: expected {}, got `{}`",
        text("place"),
        text("expected"),
        text("got")
    );
    if let Some(hint) = problem.get("hint").and_then(Value::as_str) {
        line.push_str("\n    hint: ");
        line.push_str(hint);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn control_characters_of_a_title_do_not_reach_the_terminal() {
        assert_eq!(plain(&json!("a\u{1b}[31mb\nc")), "a [31mb c");
    }

    #[test]
    fn money_reads_as_an_amount_with_its_currency() {
        let money = json!({ "price": { "amount": "12.50", "currency": "USD" } });
        assert_eq!(cell(&money, "price"), "12.50 USD");
    }
}
