//! What every setting came to, and where it was typed: for `config show`, and for telling what a reload changes.

use super::reader::{Place, Reader};
use crate::domain::DestinationPlatform;
use crate::pricing::PriceBook;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::{self, Display};

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody typed it.
    Default,
    /// From the file or the environment.
    Typed(Place),
}

/// What a setting came to.
#[derive(Clone, Debug)]
pub enum ShownValue {
    /// For everybody's eyes; `null` is "not set".
    Plain(Value),
    /// For nobody's; `None` is "not set".
    Secret(Option<SecretString>),
}

/// One setting as it is in force.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which, such as `database.pool_size`.
    pub key: String,
    /// What it is.
    pub value: ShownValue,
    /// Who says so.
    pub from: Origin,
}

// === impl Origin ===

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Typed(place) => place.fmt(f),
        }
    }
}

// === impl ShownValue ===

impl ShownValue {
    /// A number, its digits as they were typed.
    pub(super) fn number(number: &impl Display) -> Self {
        let text = number.to_string();
        Self::Plain(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The value for eyes: a secret is only said to be there.
    #[must_use]
    pub fn masked(&self) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Secret(Some(_)) => json!("(secret)"),
            Self::Secret(None) => Value::Null,
        }
    }

    fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(a), Self::Plain(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => {
                a.as_ref().map(|s| s.expose_secret()) == b.as_ref().map(|s| s.expose_secret())
            }
            _ => false,
        }
    }
}

// === impl Shown ===

impl Shown {
    /// The value as it would be typed; empty when it is not set.
    #[must_use]
    pub fn text(&self) -> String {
        match self.value.masked() {
            Value::Null => String::new(),
            Value::String(text) if matches!(self.value, ShownValue::Secret(_)) => text,
            other => other.to_string(),
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = json!({ "key": self.key, "value": self.value.masked(), "from": self.from.to_string() });
        shown.serialize(serializer)
    }
}

/// Which settings differ, by key.
#[must_use]
pub fn changed(old: &[Shown], new: &[Shown]) -> BTreeSet<String> {
    let find = |all: &[Shown], key: &str| all.iter().find(|s| s.key == key).map(|s| s.value.clone());
    old.iter()
        .chain(new)
        .map(|shown| shown.key.as_str())
        .filter(|key| match (find(old, key), find(new, key)) {
            (Some(a), Some(b)) => !a.is_as(&b),
            _ => true,
        })
        .map(str::to_owned)
        .collect()
}

/// What the price rules came to, where they were not typed.
pub(super) fn pricing(r: &mut Reader, book: &PriceBook) {
    for destination in [DestinationPlatform::Ebay, DestinationPlatform::Mercari] {
        for (key, value) in book.rules(destination).shown() {
            r.came_to_unless_typed(&format!("pricing.destinations.{destination}.{key}"), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load_shown;
    use super::*;
    use std::io::Write as _;

    fn shown(text: &str, environment: &[(&str, &str)]) -> Vec<Shown> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let set = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load_shown(Some(file.path()), set).unwrap().1
    }

    fn of<'a>(all: &'a [Shown], key: &str) -> &'a Shown {
        all.iter().find(|s| s.key == key).unwrap()
    }

    #[test]
    fn each_setting_says_where_it_is_from_and_no_secret_is_shown() {
        let all = shown(
            "[database]\nurl = 'postgres://u:canary@h/d'\n[daemon]\ndrain_s = 7\n[pricing.destinations.ebay]\nfee_bp = 1\n[pricing.exchange_rates]\nUSD = 150.0\n",
            &[("ZAIKOBAN_WATCH__PRICE_FACTOR", "3.5")],
        );
        let line = |key: &str| (of(&all, key).text(), of(&all, key).from.to_string());
        assert!(
            line("daemon.drain_s").1.ends_with(":4:1"),
            "{:?}",
            line("daemon.drain_s")
        );
        assert_eq!(line("daemon.drain_s").0, "7");
        assert_eq!(
            line("watch.price_factor"),
            ("3.5".into(), "$ZAIKOBAN_WATCH__PRICE_FACTOR".into())
        );
        assert_eq!(
            line("log.filter"),
            ("\"info,actix_server=warn\"".into(), "default".into())
        );
        assert_eq!(line("database.url").0, "(secret)");
        assert_eq!(line("log.dir"), (String::new(), "default".into()));
        assert_eq!(line("pricing.destinations.ebay.fee_bp").0, "1");
        assert_eq!(
            line("pricing.destinations.ebay.margin_bp"),
            ("2000".into(), "default".into())
        );
        assert_eq!(
            line("pricing.destinations.mercari.fee_bp"),
            ("1000".into(), "default".into())
        );
        let told = format!("{}{all:?}", serde_json::to_string(&all).unwrap());
        assert!(!told.contains("canary"), "{told}");
    }

    #[test]
    fn what_differs_is_named_and_secrets_are_compared_too() {
        let old = shown(
            "[database]\nurl = 'postgres://u:a@h/d'\n[daemon]\ndrain_s = 7\n",
            &[],
        );
        let new = shown(
            "# moved\n[database]\nurl = 'postgres://u:b@h/d'\n[watch]\nmax_interval_s = 99\nmin_interval_ms = 60_000\n",
            &[("ZAIKOBAN_DAEMON__DRAIN_S", "7")],
        );
        let keys: Vec<String> = changed(&old, &new).into_iter().collect();
        assert_eq!(keys, ["database.url", "watch.max_interval_s"]);
    }
}
