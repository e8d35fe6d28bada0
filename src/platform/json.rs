//! Reading a platform's JSON without guessing.
//!
//! Two rules that serde's defaults do not keep: a key that stands twice in an object is an error (which of the two
//! would count?), and every complaint names the path of the value it is about.

use rust_decimal::Decimal;
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// The most values of one answer. A byte or two of text can be a value of thirty times their size, so that a limit on
/// bytes alone bounds no memory.
const MOST_VALUES: usize = 500_000;

/// Reads a JSON value in which no object holds a key twice. `serde_json` bounds its depth (128).
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// How many values may still come.
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(de::Error::custom(format!("more than {MOST_VALUES} values")));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            if values.contains_key(&key) {
                let key: String = key.chars().take(40).collect();
                return Err(de::Error::custom(format!("the key `{key}` stands twice")));
            }
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}

/// Reads a whole body.
///
/// # Errors
/// When it is no JSON, holds more than one value or more than half a million in all, is nested deeper than 128, or an object
/// holds a key twice.
pub(super) fn parse(body: &[u8]) -> Result<Value, serde_json::Error> {
    let left = Cell::new(MOST_VALUES);
    let mut read = serde_json::Deserializer::from_slice(body);
    let value = Strict { left: &left }.deserialize(&mut read)?;
    read.end()?;
    Ok(value)
}

/// The number that a text says in plain digits, with a minus and a point at most. `Decimal` alone would take `1_000`, `+5`
/// and more digits than it can hold.
pub(super) fn digits(text: &str) -> Option<Decimal> {
    const MOST: usize = 28;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let fits = text.len() <= MOST && plain(whole.strip_prefix('-').unwrap_or(whole)) && plain(part);
    fits.then(|| text.parse().ok()).flatten()
}

/// What an answer lacked or contradicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drift {
    /// The path of the value, `offer.pricingSummary.price.value`.
    pub(super) path: String,
    /// What was expected there and what stood there.
    pub(super) what: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.what)
    }
}

/// A value and the path that led to it.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> At<'a> {
    /// The root of an answer, under the name it gets in complaints.
    pub(super) fn root(name: &str, value: &'a Value) -> Self {
        Self {
            value,
            path: name.into(),
        }
    }

    /// The member `key`; `None` when it is not there or null.
    ///
    /// # Errors
    /// When this value is no object.
    pub(super) fn maybe(&self, key: &str) -> Result<Option<At<'a>>, Drift> {
        let Value::Object(members) = self.value else {
            return Err(self.drift("an object"));
        };
        Ok(members.get(key).filter(|v| !v.is_null()).map(|value| At {
            value,
            path: format!("{}.{key}", self.path),
        }))
    }

    /// The member `key`.
    ///
    /// # Errors
    /// When it is not there, or null, or this value is no object.
    pub(super) fn get(&self, key: &str) -> Result<At<'a>, Drift> {
        self.maybe(key)?.ok_or_else(|| Drift {
            path: format!("{}.{key}", self.path),
            what: "expected a value, got none".into(),
        })
    }

    /// The text that stands here.
    ///
    /// # Errors
    /// When it is no text.
    pub(super) fn text(&self) -> Result<&'a str, Drift> {
        self.value.as_str().ok_or_else(|| self.drift("a text"))
    }

    /// The whole number that stands here.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn int(&self) -> Result<i64, Drift> {
        self.value.as_i64().ok_or_else(|| self.drift("a whole number"))
    }

    /// The number that stands here, as its digits say it.
    ///
    /// # Errors
    /// When it is none, or has more digits than any amount.
    pub(super) fn decimal(&self) -> Result<Decimal, Drift> {
        let number = self.value.as_number().map(ToString::to_string);
        number
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| self.drift("a number"))
    }

    /// The boolean that stands here.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn flag(&self) -> Result<bool, Drift> {
        self.value.as_bool().ok_or_else(|| self.drift("true or false"))
    }

    /// The members of the array that stands here.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn items(&self) -> Result<Vec<At<'a>>, Drift> {
        let Value::Array(items) = self.value else {
            return Err(self.drift("an array"));
        };
        let each = items.iter().enumerate().map(|(i, value)| At {
            value,
            path: format!("{}[{i}]", self.path),
        });
        Ok(each.collect())
    }

    /// The value itself.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// A complaint about this value: `expected` is what should have stood here.
    pub(super) fn drift(&self, expected: &str) -> Drift {
        let got: String = self.value.to_string().chars().take(60).collect();
        Drift {
            path: self.path.clone(),
            what: format!("expected {expected}, got {got}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        assert!(parse(br#"{"a":1,"b":{"a":1}}"#).is_ok());
        for twice in [r#"{"quantity":5,"quantity":0}"#, r#"{"a":[{"b":{"c":1,"c":1}}]}"#] {
            let error = parse(twice.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("stands twice"), "{error}");
        }
    }

    #[test]
    fn more_values_than_any_answer_holds_are_refused_before_they_are_kept() {
        let many = |n: usize| format!("[{}0]", "0,".repeat(n - 2));
        assert!(parse(many(MOST_VALUES).as_bytes()).is_ok());
        let error = parse(many(MOST_VALUES + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 500000 values"), "{error}");
    }

    #[test]
    fn numbers_that_are_none_and_endless_depth_are_refused() {
        let deep = "[".repeat(100_000);
        for bad in ["NaN", "1e400", "{} {}", "", "{\"a\":", deep.as_str()] {
            assert!(parse(bad.as_bytes()).is_err());
        }
    }

    #[test]
    fn a_text_is_a_number_only_in_plain_digits() {
        for (text, number) in [
            ("1980", "1980"),
            ("100.00", "100.00"),
            ("-3", "-3"),
            ("0.5", "0.5"),
        ] {
            assert_eq!(digits(text), Some(number.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            ".5",
            "5.",
            "+5",
            " 5",
            "5 ",
            "1_000",
            "1,000",
            "１２",
            "1e3",
            "1.2.3",
            "--1",
            "0x10",
            "¥1000",
            "NaN",
            "1999.9999999999999999999999999",
        ] {
            assert_eq!(digits(text), None, "{text}");
        }
    }

    #[test]
    fn every_complaint_names_its_path() {
        let body = parse(br#"{"price":{"value":7,"on":null},"list":[1,"x"]}"#).unwrap();
        let root = At::root("offer", &body);
        let price = root.get("price").unwrap();
        let drift = price.get("value").unwrap().text().unwrap_err();
        assert_eq!(drift.to_string(), "`offer.price.value`: expected a text, got 7");
        let drift = price.get("on").unwrap_err();
        assert_eq!(drift.to_string(), "`offer.price.on`: expected a value, got none");
        let items = root.get("list").unwrap().items().unwrap();
        assert_eq!(items[1].int().unwrap_err().path, "offer.list[1]");
        assert!(items[0].maybe("x").is_err());
        assert!(root.maybe("nothing").unwrap().is_none());
    }
}
