//! What was typed: the TOML file and the environment as flat keys, each with its place.

use super::reader::{Place, Problem};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration larger than this is a mistake (a log, a dump), not settings.
const MAX_BYTES: u64 = 1 << 20;
/// Variables with this prefix and two underscores further on are settings.
const PREFIX: &str = "ZAIKOBAN_";
/// What systemd sets for `LoadCredential=`.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// One typed value. Numbers stay text, so that a decimal is never rounded on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Typed {
    /// `"text"`
    Text(String),
    /// `12` or `1.5`
    Number(String),
    /// `true`
    Bool(bool),
    /// `["a", "b"]`: texts only.
    List(Vec<String>),
    /// From the environment: the type is what the setting wants.
    Untyped(String),
    /// Something no setting has; named for the message.
    Other(&'static str),
}

impl Typed {
    /// What it is, without showing it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Untyped(_) => "a text",
            Self::Number(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(what) => what,
        }
    }

    /// The value as a room's own settings type reads it. Numbers keep their digits as far as JSON has them.
    pub(super) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Self::Text(s) => Value::String(s.clone()),
            Self::Number(s) => {
                serde_json::from_str(&s.replace('_', "")).unwrap_or_else(|_not_json| Value::String(s.clone()))
            }
            Self::Bool(b) => Value::Bool(*b),
            Self::List(items) => Value::from(items.clone()),
            Self::Untyped(s) => serde_json::from_str(s).unwrap_or_else(|_not_json| Value::String(s.clone())),
            Self::Other(what) => Value::String(format!("({what})")),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Typed,
    pub(super) place: Place,
}

/// All that was typed.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Where systemd put the service's credentials, if it did.
    pub(super) credentials_directory: Option<PathBuf>,
}

impl Document {
    pub(super) fn read(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> (Self, Vec<Problem>) {
        let mut document = Self::default();
        let mut problems = Vec::new();
        if let Some(path) = path {
            match read_text(path) {
                Ok(text) => document.take_toml(path, &text, &mut problems),
                Err(problem) => problems.push(*problem),
            }
        }
        for (name, value) in environment {
            if name == CREDENTIALS_DIRECTORY {
                document.credentials_directory = Some(PathBuf::from(value));
                continue;
            }
            let Some(rest) = name.strip_prefix(PREFIX).filter(|r| r.contains("__")) else {
                continue;
            };
            let key = rest.to_lowercase().replace("__", ".");
            let place = Place::Environment(name);
            document.entries.insert(
                key,
                Entry {
                    value: Typed::Untyped(value),
                    place,
                },
            );
        }
        (document, problems)
    }

    fn take_toml(&mut self, path: &Path, text: &str, problems: &mut Vec<Problem>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |s| s.start);
            problems.push(Problem {
                place: place(path, text, at),
                key: String::new(),
                got: String::new(),
                expected: error.message().to_owned(),
                hint: Some("settings are TOML: `key = value` under a `[section]`".to_owned()),
            });
        }
        self.flatten(path, text, "", table.get_ref());
    }

    fn flatten(&mut self, path: &Path, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            match value.get_ref() {
                DeValue::Table(inner) => self.flatten(path, text, &key, inner),
                other => {
                    let entry = Entry {
                        value: typed(other),
                        place: place(path, text, name.span().start),
                    };
                    self.entries.insert(key, entry);
                }
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String, Box<Problem>> {
    let problem = |expected: &str, got: String| {
        Box::new(Problem {
            place: Place::File(path.to_path_buf(), 0, 0),
            key: String::new(),
            got,
            expected: expected.to_owned(),
            hint: Some("`zaikoban config check --config FILE` reads it without starting anything".to_owned()),
        })
    };
    let readable = "a readable settings file";
    let meta = std::fs::metadata(path).map_err(|e| problem(readable, e.to_string()))?;
    if !meta.is_file() {
        return Err(problem(readable, "a directory or device".to_owned()));
    }
    if meta.len() > MAX_BYTES {
        return Err(problem(
            "a settings file of at most 1 MiB",
            format!("{} bytes", meta.len()),
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| problem(readable, e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| problem("UTF-8 text", e.to_string()))
}

fn typed(value: &DeValue<'_>) -> Typed {
    match value {
        DeValue::String(s) => Typed::Text(s.to_string()),
        DeValue::Integer(i) if i.radix() == 10 => Typed::Number(i.as_str().to_owned()),
        DeValue::Integer(_) => Typed::Other("a number that is not decimal"),
        DeValue::Float(f) => Typed::Number(f.as_str().to_owned()),
        DeValue::Boolean(b) => Typed::Bool(*b),
        DeValue::Datetime(_) => Typed::Other("a date"),
        DeValue::Table(_) => Typed::Other("a section"),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|i: &Spanned<DeValue<'_>>| i.get_ref().as_str().map(str::to_owned))
                .collect();
            texts.map_or(Typed::Other("a list of things other than text"), Typed::List)
        }
    }
}

fn place(path: &Path, text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |l| l.chars().count())
        .saturating_add(1);
    Place::File(path.to_path_buf(), line, column)
}
