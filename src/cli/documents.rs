//! What the documents tell a person to type must be a command of this program.

use super::args::Arguments;
use clap::Parser as _;
use clap::error::ErrorKind;
use std::path::Path;

const DOCUMENTS: &[&str] = &[
    "README.md",
    "README.ja.md",
    "docs/OPERATIONS.md",
    "docs/OPERATIONS.ja.md",
];

fn text(document: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{document}: {e}"))
}

/// Every `zaikoban …` in code: lines of blocks, and what stands between backticks.
fn commands(text: &str) -> Vec<String> {
    let (mut found, mut in_block) = (Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.extend(command(line));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(command));
        }
    }
    found
}

/// The command of a line, without what stands before and behind it in the shell.
fn command(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches("$ ");
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    let line = line.strip_prefix("-u zaikoban ").unwrap_or(line);
    let end = [" | ", " # ", " > ", " && ", " ;", " \\"]
        .iter()
        .filter_map(|sign| line.find(sign))
        .min();
    let line = line.get(..end.unwrap_or(line.len()))?.trim();
    line.starts_with("zaikoban ").then(|| line.to_owned())
}

/// Words as a shell cuts them; quotes hold together.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == ' ' => words.extend(Some(std::mem::take(&mut word)).filter(|w| !w.is_empty())),
            _ => word.push(c),
        }
    }
    words.extend(Some(word).filter(|w| !w.is_empty()));
    words
}

fn problem(command: &str) -> Option<String> {
    let error = Arguments::try_parse_from(words(command)).err()?;
    let shown = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
    (!shown.contains(&error.kind())).then(|| format!("`{command}`: {error}"))
}

#[test]
fn every_command_in_the_documents_can_be_given() {
    let mut problems = Vec::new();
    for document in DOCUMENTS {
        let found = commands(&text(document));
        assert!(!found.is_empty(), "{document} names no command");
        problems.extend(
            found
                .iter()
                .filter_map(|c| Some(format!("{document}: {}", problem(c)?))),
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn both_manuals_say_the_same() {
    let (english, japanese) = (text("docs/OPERATIONS.md"), text("docs/OPERATIONS.ja.md"));
    assert_eq!(
        commands(&english),
        commands(&japanese),
        "the commands, in their order"
    );
    let headings = |text: &str| -> Vec<usize> {
        let mut in_block = false;
        text.lines()
            .filter(|line| {
                in_block ^= line.starts_with("```");
                !in_block && line.starts_with('#')
            })
            .map(|line| line.chars().take_while(|c| *c == '#').count())
            .collect()
    };
    assert_eq!(headings(&english), headings(&japanese), "the headings, by level");
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let text = "Say `zaikoban holds acept 1` or\n```\nsudo zaikoban products list --nosuch   # comment\nzaikoban status\n```\n";
    let found = commands(text);
    assert_eq!(
        found,
        [
            "zaikoban holds acept 1",
            "zaikoban products list --nosuch",
            "zaikoban status"
        ]
    );
    let bad: Vec<bool> = found.iter().map(|c| problem(c).is_some()).collect();
    assert_eq!(bad, [true, true, false]);
    assert_eq!(
        words("zaikoban holds accept 1 --note 'seen on the page'").len(),
        6
    );
}
