//! Takes values out of what was typed, by key, type and range, and remembers every trouble.

use super::raw::{Document, Entry, Typed};
use super::shown::{Origin, Shown, ShownValue};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where a setting was typed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// File, line and column, both from 1; line 0 is the file as a whole.
    File(PathBuf, usize, usize),
    /// An environment variable.
    Environment(String),
    /// Not typed at all: a needed setting is missing.
    Nowhere,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, 0, _) => write!(f, "{}", path.display()),
            Self::File(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Nowhere => f.write_str("settings"),
        }
    }
}

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Which setting; empty when the trouble is the file's.
    pub key: String,
    /// What stands there; never a secret.
    pub got: String,
    /// What would have been understood.
    pub expected: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        write!(f, "expected {}", self.expected)?;
        if !self.got.is_empty() {
            write!(f, ", got {}", self.got)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("Problem", 5)?;
        s.serialize_field("place", &self.place.to_string())?;
        s.serialize_field("key", &self.key)?;
        s.serialize_field("expected", &self.expected)?;
        s.serialize_field("got", &self.got)?;
        s.serialize_field("hint", &self.hint)?;
        s.end()
    }
}

/// Reads settings one by one; see the module.
pub(super) struct Reader {
    document: Document,
    known: BTreeSet<String>,
    /// What each setting came to, for `config show` and for a reload.
    shown: BTreeMap<String, Shown>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(document: Document, syntax: Vec<Problem>) -> Self {
        Self {
            document,
            known: BTreeSet::new(),
            shown: BTreeMap::new(),
            problems: syntax,
        }
    }

    /// A file that systemd handed to the service, if it did.
    pub(super) fn handed_in(&self, name: &str) -> Option<PathBuf> {
        let path = self.document.credentials_directory.as_ref()?.join(name);
        path.is_file().then_some(path)
    }

    /// Notes what a setting came to. The last word counts: a default is noted over the "not set" before it.
    pub(super) fn came_to(&mut self, key: &str, value: ShownValue) {
        let typed = self.document.entries.get(key).map(|entry| entry.place.clone());
        let from = typed.map_or(Origin::Default, Origin::Typed);
        let shown = Shown {
            key: key.to_owned(),
            value,
            from,
        };
        self.shown.insert(key.to_owned(), shown);
    }

    /// The same for what a room's own settings fill in.
    pub(super) fn came_to_unless_typed(&mut self, key: &str, value: Value) {
        if !self.document.entries.contains_key(key) {
            self.came_to(key, ShownValue::Plain(value));
        }
    }

    /// A text, or its default.
    pub(super) fn text_or(&mut self, key: &str, default: &str) -> String {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        self.came_to(key, ShownValue::Plain(json!(text)));
        text
    }

    /// A number or a text that something reads by itself, or its default.
    pub(super) fn read_or<T: FromStr + Display>(&mut self, key: &str, expected: &str, default: T) -> T {
        let value = match self.entry(key).map(|e| e.value) {
            None => default,
            Some(Typed::Text(s) | Typed::Number(s) | Typed::Untyped(s)) => match s.parse() {
                Ok(value) => value,
                Err(_) => {
                    self.complain(key, &format!("`{s}`"), expected, None);
                    default
                }
            },
            Some(other) => {
                self.complain(key, &shown(&other), expected, None);
                default
            }
        };
        self.came_to(key, ShownValue::Plain(json!(value.to_string())));
        value
    }

    /// A path, or its default.
    pub(super) fn path_or(&mut self, key: &str, default: &str) -> PathBuf {
        PathBuf::from(self.text_or(key, default))
    }

    /// Every key asked for so far.
    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// Adds a trouble that only several settings together show.
    pub(super) fn complain(&mut self, key: &str, got: &str, expected: &str, hint: Option<&str>) {
        let place = self
            .document
            .entries
            .get(key)
            .map_or(Place::Nowhere, |e| e.place.clone());
        self.problems.push(Problem {
            place,
            key: key.to_owned(),
            got: got.to_owned(),
            expected: expected.to_owned(),
            hint: hint.map(str::to_owned),
        });
    }

    fn entry(&mut self, key: &str) -> Option<Entry> {
        self.known.insert(key.to_owned());
        self.document.entries.get(key).cloned()
    }

    /// A text, if typed.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let text = match self.entry(key).map(|e| e.value) {
            None => None,
            Some(Typed::Text(s) | Typed::Untyped(s)) => Some(s),
            Some(other) => {
                self.complain(key, &shown(&other), "a text in quotes", None);
                None
            }
        };
        self.came_to(key, ShownValue::Plain(json!(text)));
        text
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let flag = match self.entry(key).map(|e| e.value) {
            None => default,
            Some(Typed::Bool(b)) => b,
            Some(Typed::Untyped(s)) if s == "true" => true,
            Some(Typed::Untyped(s)) if s == "false" => false,
            Some(other) => {
                self.complain(key, &shown(&other), "true or false", None);
                default
            }
        };
        self.came_to(key, ShownValue::Plain(json!(flag)));
        flag
    }

    /// A whole number within `range`.
    pub(super) fn whole<T>(&mut self, key: &str, range: RangeInclusive<T>, default: T) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let number = self
            .number(key, &expected, |n: &T| range.contains(n))
            .unwrap_or(default);
        self.came_to(key, ShownValue::number(&number));
        number
    }

    /// A share within `range`, as a float: for rates and shares, never for money.
    pub(super) fn share(&mut self, key: &str, range: RangeInclusive<f64>, default: f64) -> f64 {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number = self
            .number(key, &expected, |n: &f64| n.is_finite() && range.contains(n))
            .unwrap_or(default);
        self.came_to(key, ShownValue::Plain(json!(number)));
        number
    }

    /// Whole seconds.
    pub(super) fn seconds(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> Duration {
        Duration::from_secs(self.whole(key, range, default))
    }

    /// Whole milliseconds.
    pub(super) fn millis(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> Duration {
        Duration::from_millis(self.whole(key, range, default))
    }

    fn number<T: FromStr>(&mut self, key: &str, expected: &str, fits: impl Fn(&T) -> bool) -> Option<T> {
        let value = self.entry(key)?.value;
        let text = match &value {
            Typed::Number(s) | Typed::Untyped(s) => s.replace('_', ""),
            other => {
                self.complain(key, &shown(other), expected, None);
                return None;
            }
        };
        match text.parse().ok().filter(|n| fits(n)) {
            Some(number) => Some(number),
            None => {
                self.complain(key, &format!("`{}`", cut(&text)), expected, None);
                None
            }
        }
    }

    /// A path, if typed.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// A secret: typed in place, or as `<key>_file`, the path of a file that holds it.
    pub(super) fn secret(&mut self, key: &str) -> Option<SecretString> {
        let file_key = format!("{key}_file");
        let in_place = match self.entry(key).map(|e| e.value) {
            None => None,
            Some(Typed::Text(s) | Typed::Untyped(s)) => Some(s),
            // whatever it is, it was meant to be the secret: its kind is told, not its value
            Some(other) => {
                self.complain(key, other.kind(), "a text in quotes", None);
                None
            }
        };
        let path = self.path(&file_key);
        let secret = match (in_place, path) {
            (Some(_), Some(_)) => {
                let expected = format!("either `{key}` or `{file_key}`");
                self.complain(&file_key, "both", &expected, None);
                None
            }
            (Some(text), None) => Some(SecretString::from(text)),
            (None, Some(path)) => self.secret_from(&file_key, &path),
            (None, None) => None,
        };
        self.came_to(key, ShownValue::Secret(secret.clone()));
        secret
    }

    fn secret_from(&mut self, key: &str, path: &Path) -> Option<SecretString> {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() && text.len() < 65_536 => {
                Some(SecretString::from(text.trim().to_owned()))
            }
            Ok(_) => {
                self.complain(key, "an empty or huge file", "a file that holds the secret", None);
                None
            }
            Err(error) => {
                let got = format!("`{}` ({error})", path.display());
                self.complain(key, &got, "a readable file that holds the secret", None);
                None
            }
        }
    }

    /// What was typed, whatever it is.
    pub(super) fn typed(&mut self, key: &str) -> Option<Typed> {
        Some(self.entry(key)?.value)
    }

    /// The names of the sections right below `section`.
    pub(super) fn names_below(&self, section: &str) -> Vec<String> {
        let prefix = format!("{section}.");
        let below = self
            .document
            .entries
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix));
        let mut names: Vec<String> = below
            .filter_map(|rest| Some(rest.split_once('.')?.0.to_owned()))
            .collect();
        names.dedup();
        names
    }

    /// All that was typed below `section`, as a tree; its keys count as known, because their owner names what is wrong.
    pub(super) fn section(&mut self, section: &str) -> Value {
        let prefix = format!("{section}.");
        let mut root = Value::Object(serde_json::Map::new());
        for (key, entry) in &self.document.entries {
            let Some(rest) = key.strip_prefix(&prefix) else {
                continue;
            };
            self.known.insert(key.clone());
            let value = entry.value.to_json();
            self.shown.insert(
                key.clone(),
                Shown {
                    key: key.clone(),
                    value: ShownValue::Plain(value.clone()),
                    from: Origin::Typed(entry.place.clone()),
                },
            );
            plant(&mut root, rest, value);
        }
        root
    }

    /// What every setting came to, by key.
    pub(super) fn shown(&self) -> Vec<Shown> {
        self.shown.values().cloned().collect()
    }

    /// All problems; keys that nobody asked for are among them, each with the nearest known name.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        let unknown: Vec<(String, Place)> = self
            .document
            .entries
            .iter()
            .filter(|(key, _)| !self.known.contains(*key))
            .map(|(key, entry)| (key.clone(), entry.place.clone()))
            .collect();
        for (key, place) in unknown {
            let hint = nearest(&key, &self.known).map(|n| format!("did you mean `{n}`?"));
            self.problems.push(Problem {
                place,
                key,
                got: String::new(),
                expected: "a known setting".to_owned(),
                hint,
            });
        }
        self.problems.sort_by(|a, b| a.place.cmp(&b.place));
        self.problems
    }
}

/// Puts `value` at a dotted `path`, making the tables on the way.
fn plant(root: &mut Value, path: &str, value: Value) {
    let Some(table) = root.as_object_mut() else { return };
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table
                .entry(first)
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
            plant(inner, rest, value);
        }
    }
}

fn nearest<'a>(key: &str, known: &'a BTreeSet<String>) -> Option<&'a String> {
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(k, key), k))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, k)| *distance <= (k.len() / 3).max(2))
        .map(|(_, k)| k)
}

fn shown(value: &Typed) -> String {
    match value {
        Typed::Text(s) => format!("the text `{}`", cut(s)),
        Typed::Number(s) => format!("the number `{}`", cut(s)),
        Typed::Untyped(s) => format!("`{}`", cut(s)),
        Typed::Bool(b) => format!("`{b}`"),
        Typed::List(_) => "a list".to_owned(),
        Typed::Other(what) => (*what).to_owned(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}
