//! The live supervision tree, a child a line.

use super::tables::array;
use crate::cli::output::{at, plain, span, wrapped};
use serde_json::Value;

/// An arbiter that owes its watchdog an answer for longer is named.
const SILENT_MS: u64 = 2_000;

/// A terminal's columns.
const WIDTH: usize = 80;

const HEADINGS: [&str; 6] = ["NAME", "STATE", "RESTARTS", "MAILBOX", "UP", "LAST EXIT"];

/// The tree as it stands.
pub(super) fn tree(report: &Value) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    grow(at(report, "root"), 0, &mut rows);
    let mut lines = aligned(&rows);
    for arbiter in array(at(report, "arbiters")) {
        let silent_ms = at(arbiter, "silent_ms").as_u64().unwrap_or(0);
        if silent_ms >= SILENT_MS {
            let name = plain(at(arbiter, "name"));
            lines.push(format!(
                "thread `{name}` has been silent for {}",
                span(silent_ms / 1_000)
            ));
        }
    }
    lines.join("\n")
}

fn grow(node: &Value, depth: usize, rows: &mut Vec<[String; 6]>) {
    rows.push([
        format!("{}{}", "  ".repeat(depth), plain(at(node, "name"))),
        state(node),
        plain(at(node, "restarts")),
        mailbox(at(node, "mailbox")),
        seconds(at(node, "uptime_ms")),
        last_exit(at(node, "last_exit")),
    ]);
    for child in array(at(node, "children")) {
        grow(child, depth.saturating_add(1), rows);
    }
}

/// Where it stands; a group that runs while something in it does not is degraded.
fn state(node: &Value) -> String {
    let state = plain(at(node, "state"));
    match at(node, "retry_in_ms").as_u64() {
        Some(left) => format!("{state}, again in {}", span(left.div_ceil(1_000))),
        None if state == "running" && at(node, "degraded") == true => "degraded".to_owned(),
        None => state,
    }
}

/// Messages that wait, and the places there are; groups and tasks have none.
fn mailbox(mailbox: &Value) -> String {
    if mailbox.is_null() {
        return "-".to_owned();
    }
    format!(
        "{}/{}",
        plain(at(mailbox, "waiting")),
        plain(at(mailbox, "capacity"))
    )
}

fn seconds(ms: &Value) -> String {
    ms.as_u64().map_or_else(|| "-".to_owned(), |ms| span(ms / 1_000))
}

fn last_exit(exit: &Value) -> String {
    if exit.is_null() {
        return "-".to_owned();
    }
    format!("{}, {} ago", plain(at(exit, "text")), seconds(at(exit, "ago_ms")))
}

/// Columns as wide as their widest cell, the last one open.
fn aligned(rows: &[[String; 6]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |row: &[String]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let lines = rows.iter().flat_map(|row| {
        let whole = line(row);
        if whole.chars().count() <= WIDTH {
            return vec![whole];
        }
        // How a child ended can be a whole sentence: it goes below, so that the columns stay where they are.
        let [name, state, restarts, mailbox, up, exit] = row;
        let first = [name, state, restarts, mailbox, up].map(Clone::clone);
        let below = wrapped(exit, WIDTH.saturating_sub(6));
        let below = below.into_iter().map(|line| format!("      {line}"));
        std::iter::once(line(&first)).chain(below).collect()
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::{
        ArbiterReport, ChildState, Exit, LastExit, MailboxReport, NodeReport, TreeReport,
    };

    fn node(name: &str, children: Vec<NodeReport>) -> NodeReport {
        NodeReport {
            name: name.to_owned(),
            path: name.to_owned(),
            state: ChildState::Running,
            degraded: false,
            restarts: 0,
            last_exit: None,
            mailbox: None,
            arbiter: "main".to_owned(),
            uptime_ms: Some(3_725_000),
            retry_in_ms: None,
            children,
        }
    }

    #[test]
    fn a_child_a_line_with_its_mailbox_and_its_last_exit() {
        let writer = NodeReport {
            restarts: 2,
            last_exit: Some(LastExit {
                exit: Exit::Killed,
                text: Exit::Killed.to_string(),
                ago_ms: 65_000,
            }),
            mailbox: Some(MailboxReport {
                waiting: 3,
                taken: 5,
                capacity: 10_000,
            }),
            uptime_ms: Some(64_000),
            ..node("writer", Vec::new())
        };
        let syncer = NodeReport {
            state: ChildState::Parked,
            degraded: true,
            uptime_ms: None,
            retry_in_ms: Some(1_200),
            ..node("ebay", Vec::new())
        };
        let sync = NodeReport {
            degraded: true,
            ..node("sync", vec![syncer])
        };
        let root = NodeReport {
            degraded: true,
            ..node("root", vec![node("ledger", vec![writer]), sync])
        };
        let arbiters = [("main", 0), ("patrol", 31_000)].map(|(name, silent_ms)| ArbiterReport {
            name: name.to_owned(),
            silent_ms,
        });
        let report = TreeReport {
            root,
            arbiters: arbiters.to_vec(),
        };
        let expected = "\
NAME        STATE                 RESTARTS  MAILBOX  UP         LAST EXIT
root        degraded              0         -        1 h 2 min  -
  ledger    running               0         -        1 h 2 min  -
    writer  running               2         3/10000  1 min 4 s
      did not stop within its limit and was ended, 1 min 5 s ago
  sync      degraded              0         -        1 h 2 min  -
    ebay    parked, again in 2 s  0         -        -          -
thread `patrol` has been silent for 31 s";
        assert_eq!(tree(&serde_json::to_value(report).unwrap()), expected);
    }
}
