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
    /// It was refused, failed, or was done only in part; stderr says why.
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

/// Writes a line of talk. It may repeat what was typed or read somewhere: no such text moves the terminal's cursor.
pub(crate) fn talk(line: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(err, "{}", inert(line)));
}

/// A text with what a terminal would obey written out: control characters but line ends, and marks that turn the direction
/// of what follows.
fn inert(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() && c != '\n') || turns(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Embeddings, overrides and isolates.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Asks for a line on the terminal: talk without a line's end.
pub(crate) fn prompt(words: &str) {
    let mut err = std::io::stderr().lock();
    drop(write!(err, "{words}").and_then(|()| err.flush()));
}

/// Shows a value as JSON.
pub(crate) fn json(value: &Value) {
    data(&json_text(value));
}

/// The text of it. JSON itself lets pass what a terminal would obey; it says the same when that is written out.
fn json_text(value: &Value) -> String {
    let plain = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut text = String::with_capacity(plain.len());
    for c in plain.chars() {
        if (c.is_control() && c != '\n') || turns(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// One column of a table.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    /// The key in the item; `a.b` goes deeper.
    pub(crate) key: &'static str,
    /// What stands above it.
    pub(crate) heading: &'static str,
    /// How its value is shown.
    pub(crate) show: fn(&Value) -> String,
}

/// A column whose values are shown as they are.
pub(crate) const fn column(key: &'static str, heading: &'static str) -> Column {
    shown_as(key, heading, plain)
}

/// A column of moments.
pub(crate) const fn times(key: &'static str, heading: &'static str) -> Column {
    shown_as(key, heading, time)
}

/// A column with words of its own.
pub(crate) const fn shown_as(key: &'static str, heading: &'static str, show: fn(&Value) -> String) -> Column {
    Column { key, heading, show }
}

/// Items as a table.
pub(crate) fn table(items: &[Value], columns: &[Column]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(columns.iter().map(|column| column.heading));
    for item in items {
        table.add_row(columns.iter().map(|column| (column.show)(at(item, column.key))));
    }
    table.trim_fmt()
}

/// The value behind a dotted key; null when it is not there.
pub(crate) fn at<'a>(item: &'a Value, key: &str) -> &'a Value {
    find(item, key).unwrap_or(&Value::Null)
}

/// The value behind a dotted key, when the key is there.
pub(crate) fn find<'a>(item: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(item, |value, part| value.get(part))
}

/// One thing as `key  value` lines, deeper parts indented.
pub(crate) fn card(value: &Value) -> String {
    let mut lines = Vec::new();
    card_lines(value, 0, &mut lines);
    lines.join("\n")
}

fn card_lines(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if is_deep(inner) {
                    lines.push(format!("{indent}{key}"));
                    card_lines(inner, depth.saturating_add(1), lines);
                } else {
                    lines.push(format!("{indent}{key:<20} {}", named(key, inner)));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if is_deep(item) {
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

/// Whether a value needs lines of its own.
fn is_deep(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty() && money(map).is_none(),
        Value::Array(items) => items.iter().any(is_deep),
        _ => false,
    }
}

/// A value under its name: a moment is told from other texts by what it is called.
fn named(key: &str, value: &Value) -> String {
    let is_time = ["_at", "_until"].iter().any(|end| key.ends_with(end))
        || ["at", "until", "since", "deadline", "push_deadline"].contains(&key);
    if is_time { time(value) } else { plain(value) }
}

fn money(map: &serde_json::Map<String, Value>) -> Option<String> {
    let (amount, currency) = (map.get("amount")?, map.get("currency")?);
    (map.len() == 2).then(|| format!("{} {}", plain(amount), plain(currency)))
}

/// A value as a person reads it; nothing of a title from the web that a terminal would obey reaches it.
pub(crate) fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(s) => s.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(map) => money(map).unwrap_or_else(|| value.to_string()),
        Value::Number(n) => n.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() || turns(c) { ' ' } else { c })
        .collect()
}

/// A moment as it is read in Japan, to the second.
pub(crate) fn time(value: &Value) -> String {
    let moment = value
        .as_str()
        .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    moment.map_or_else(
        || plain(value),
        |at| {
            at.with_timezone(&chrono_tz::Asia::Tokyo)
                .format("%Y-%m-%d %H:%M:%S JST")
                .to_string()
        },
    )
}

/// A span in the two units that matter.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    if days > 0 {
        format!("{days} d {} h", hours % 24)
    } else if hours > 0 {
        format!("{hours} h {} min", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

/// Words up to `width` a line; a word that is longer has a line of its own, so that it can be copied whole.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count().saturating_add(word.chars().count()) < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Says what went wrong, with every problem and what to do, and gives the exit code.
pub(crate) fn complain(error: &ControlError, as_json: bool) -> Exit {
    let (code, problems, hint, exit) = match error {
        ControlError::Refused {
            code, problems, hint, ..
        } => (code.as_str(), problems.as_slice(), hint.as_deref(), Exit::Failed),
        ControlError::Away { .. } => {
            let hint = "start it with `zaikoban run`, or name its socket with --socket";
            ("away", [].as_slice(), Some(hint), Exit::Away)
        }
        ControlError::Foreign { .. } => ("foreign", [].as_slice(), None, Exit::Away),
    };
    fail(code, &error.to_string(), problems, hint, as_json);
    exit
}

/// Tells a failure: to people on stderr, and with `--json` to machines on stdout too.
pub(crate) fn fail(code: &str, message: &str, problems: &[Value], hint: Option<&str>, as_json: bool) {
    if as_json {
        json(&serde_json::json!({ "error": {
            "code": code, "message": message, "problems": problems, "hint": hint } }));
    }
    talk(&format!("error: {message}"));
    for problem in problems {
        talk(&format!("  {}", problem_line(problem)));
    }
    if let Some(hint) = hint {
        talk(&format!("hint: {hint}"));
    }
}

fn problem_line(problem: &Value) -> String {
    let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut line = format!("{}: expected {}", text("place"), text("expected"));
    // What is quoted already, or nothing, is not quoted again.
    match text("got") {
        "" => {}
        got if got.contains('`') => line.push_str(&format!(", got {got}")),
        got => line.push_str(&format!(", got `{got}`")),
    }
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
        assert_eq!(plain(&json!("\u{202e}gnp.exe\u{2066}")), " gnp.exe ");
    }

    #[test]
    fn json_holds_nothing_that_a_terminal_obeys_and_says_the_same() {
        let value = json!({ "a\u{85}": "\u{1b}[31m\u{7f}\u{9b}\u{202e}x\n日本 \u{1f468}" });
        let text = json_text(&value);
        assert!(
            text.chars().all(|c| c == '\n' || !(c.is_control() || turns(c))),
            "{text:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_is_repeated_on_stderr_moves_no_cursor() {
        let told = inert("got `\u{1b}]0;x\u{7}\u{9b}2J\r\u{202e}`\n  and 日本");
        assert_eq!(
            told,
            "got `\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{d}\\u{202e}`\n  and 日本"
        );
    }

    #[test]
    fn a_table_reaches_into_its_items_and_joins_lists() {
        let items = [
            json!({ "a": { "b": { "amount": "12.50", "currency": "USD" } }, "l": [1, 2], "t": "2026-11-22T04:14:07.5Z" }),
            json!({ "l": [], "t": null }),
        ];
        let columns = [
            column("a.b", "PRICE"),
            column("l", "LIST"),
            times("t", "TIME"),
            column("x.y", "NONE"),
        ];
        let expected = " PRICE      LIST  TIME                     NONE\n \
                        12.50 USD  1, 2  2026-11-22 13:14:07 JST  -\n \
                        -          -     -                        -";
        assert_eq!(table(&items, &columns), expected);
    }

    #[test]
    fn a_card_shows_money_lists_and_times_on_one_line_and_the_rest_below() {
        let value = json!({
            "deadline": "2026-11-22T15:00:00+00:00", "empty": {}, "ids": [1, 2], "items": [{ "n": 1 }],
            "price": { "amount": "4980", "currency": "JPY" }, "under": { "deep": true },
        });
        let expected = "\
deadline             2026-11-23 00:00:00 JST
empty                {}
ids                  1, 2
items
  -
    n                    1
price                4980 JPY
under
  deep                 yes";
        assert_eq!(card(&value), expected);
    }

    #[test]
    fn spans_are_told_in_two_units() {
        assert_eq!(
            [5, 65, 3_700, 90_000].map(span),
            ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn a_problem_says_where_what_was_expected_what_was_given_and_what_to_do() {
        let problem = json!({ "place": "line 2", "expected": "UTF-8 text", "got": "other bytes", "hint": "convert it" });
        assert_eq!(
            problem_line(&problem),
            "line 2: expected UTF-8 text, got `other bytes`\n    hint: convert it"
        );
    }
}
