//! Takes the few needed keys of one object deep inside a JSON text, without building the rest.
//!
//! An item page carries 27 to 31 KB of JSON of which some fifteen values are needed. Building the whole tree costs
//! seven times what reading past it does, and the JSON Schema over the whole document as much again. So one pass walks
//! down a path, skips everything beside it, and at its end keeps only the keys of a [`Shape`]; the schema then runs over
//! that small object. The schema names no key that the shape leaves out, so its verdict on the part is its verdict on
//! the whole.
//!
//! Strictness: a key of the path or the shape that stands there twice is refused (which of the two is right?), as far as
//! the text is read; nesting is bounded by `serde_json` (128 where values are built, a heap stack
//! where they are skipped), numbers that no `f64` holds and broken escapes in kept values are errors.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// Which keys of an object are kept.
pub(super) struct Shape(pub(super) &'static [(&'static str, Keep)]);

/// What is kept of the value under a key.
pub(super) enum Keep {
    /// All of it.
    Whole,
    /// The keys of an inner object.
    Object(Shape),
}

/// Why the object could not be read.
#[derive(Debug)]
pub(super) struct Lost {
    /// The path as far as it was followed, down to the first key that is not there or not readable.
    pub(super) path: String,
    pub(super) why: String,
}

/// What becomes of the text behind the value that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It must be JSON to the last byte of the text.
    Json,
    /// The JSON must be whole; anything may follow it.
    Any,
    /// It is not read: more than half of an item page's JSON stands behind its item, and nothing of it is used.
    Unread,
}

/// Follows `path` into `json` and keeps `shape` of what stands there.
///
/// The value at the end of the path is returned as it is if it is no object, so that a schema can say so.
pub(super) fn project(
    json: &[u8],
    path: &'static [&'static str],
    shape: &'static Shape,
    rest: Rest,
) -> Result<Value, Lost> {
    let trail = Trail::default();
    let walk = Walk {
        rest: path,
        shape,
        trail: &trail,
        stops: rest == Rest::Unread,
    };
    let mut stream = serde_json::Deserializer::from_slice(json);
    let outcome = walk.deserialize(&mut stream).and_then(|found| {
        if rest == Rest::Json {
            stream.end()?;
        }
        Ok(found)
    });
    if let Some(found) = trail.found.into_inner() {
        return Ok(found);
    }
    let name = |depth: usize, keys: &[&str]| {
        let way: Vec<&str> = path.iter().take(depth).chain(keys).copied().collect();
        way.join(".")
    };
    match outcome {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(Lost {
            path: name(trail.deepest.get().saturating_add(1), &[]),
            why: "is not there".into(),
        }),
        Err(error) => Err(Lost {
            path: name(trail.deepest.get(), &trail.keys.borrow()),
            why: format!("cannot be read: {error}"),
        }),
    }
}

/// How far the walk came, for the error's name.
#[derive(Default)]
struct Trail {
    /// Keys of the path that were found.
    deepest: Cell<usize>,
    /// The keys of the shape being read, from the outermost to the innermost.
    keys: RefCell<Vec<&'static str>>,
    /// What was found, where the walk stops there: serde has no other way out than an error.
    found: RefCell<Option<Value>>,
}

struct Walk<'t> {
    rest: &'static [&'static str],
    shape: &'static Shape,
    trail: &'t Trail,
    stops: bool,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        if self.rest.is_empty() {
            let part = Part {
                shape: self.shape,
                trail: self.trail,
            };
            let found = part.deserialize(from)?;
            if self.stops {
                self.trail.found.replace(Some(found));
                return Err(D::Error::custom("far enough"));
            }
            Ok(Some(found))
        } else {
            from.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((name, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        let mut found = None;
        let mut seen = false;
        while let Some(hit) = map.next_key_seed(KeyIs(name))? {
            if !hit {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if seen {
                return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
            }
            seen = true;
            self.trail.deepest.set(self.trail.deepest.get().saturating_add(1));
            found = map.next_value_seed(Walk {
                rest,
                shape: self.shape,
                trail: self.trail,
                stops: self.stops,
            })?;
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key is the one looked for; no key is ever copied.
struct KeyIs(&'static str);

impl<'de> DeserializeSeed<'de> for KeyIs {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct Part<'t> {
    shape: &'static Shape,
    trail: &'t Trail,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(hit) = map.next_key_seed(KeyIn(self.shape))? {
            let Some((name, keep)) = hit else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.trail.keys.borrow_mut().push(name);
            let value = match keep {
                Keep::Whole => map.next_value::<Value>()?,
                Keep::Object(shape) => map.next_value_seed(Part {
                    shape,
                    trail: self.trail,
                })?,
            };
            if kept.insert((*name).to_owned(), value).is_some() {
                return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
            }
            self.trail.keys.borrow_mut().pop();
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(Vec::new()))
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Which key of a shape a key is, if any.
struct KeyIn(&'static Shape);

impl<'de> DeserializeSeed<'de> for KeyIn {
    type Value = Option<&'static (&'static str, Keep)>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIn {
    type Value = Option<&'static (&'static str, Keep)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.0.iter().find(|(name, _)| *name == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    static SHAPE: Shape = Shape(&[
        ("n", Keep::Whole),
        ("in", Keep::Object(Shape(&[("b", Keep::Whole)]))),
    ]);

    fn read(json: &str) -> Result<Value, Lost> {
        project(json.as_bytes(), &["a", "b"], &SHAPE, Rest::Json)
    }

    #[test]
    fn what_stands_behind_is_read_only_where_that_is_asked_for() {
        let json = r#"{"a":{"b":{"n":1},"c":[}"#;
        let found = |rest| project(json.as_bytes(), &["a", "b"], &SHAPE, rest);
        assert_eq!(found(Rest::Unread).unwrap(), json!({"n": 1}));
        assert!(found(Rest::Json).is_err() && found(Rest::Any).is_err());
        let followed = br#"{"a":{"b":{"n":1}}}; x"#;
        assert!(project(followed, &["a", "b"], &SHAPE, Rest::Any).is_ok());
        assert!(project(followed, &["a", "b"], &SHAPE, Rest::Json).is_err());
        let cut = br#"{"a":{"b":{"n":1"#;
        assert!(project(cut, &["a", "b"], &SHAPE, Rest::Unread).is_err());
    }

    #[test]
    fn only_the_shape_is_kept() {
        let kept = read(r#"{"x":[{"a":1}],"a":{"n":7,"b":{"n":1,"m":2,"in":{"a":[],"b":"é"}}}}"#);
        assert_eq!(kept.unwrap(), json!({"n": 1, "in": {"b": "é"}}));
    }

    #[test]
    fn what_is_lost_is_named() {
        for (json, path) in [
            ("{}", "a"),
            (r#"{"a":null}"#, "a.b"),
            (r#"{"a":[1,{"b":2}]}"#, "a.b"),
            (r#"{"a":{"c":1}}"#, "a.b"),
            (r#"{"a":{"b":{"n":1e400}}}"#, "a.b.n"),
            (r#"{"a":{"b":{"n":"\ud800"}}}"#, "a.b.n"),
            (r#"{"a":{"b":{"n":NaN}}}"#, "a.b.n"),
            (r#"{"a":{"b":{"n":1,"n":1}}}"#, "a.b.n"),
            (r#"{"a":{"b":{},"b":{}}}"#, "a.b"),
            (r#"{"a":{"b":{}}"#, "a.b"),
            (r#"{"a":{"b":{}}} x"#, "a.b"),
            ("[]", "a"),
            ("3", "a"),
        ] {
            let lost = read(json).unwrap_err();
            assert!(lost.path.starts_with(path), "{json}: {lost:?}");
        }
    }

    #[test]
    fn a_hundred_thousand_levels_are_an_error_or_skipped_but_never_a_crash() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&format!(r#"{{"a":{{"b":{{"n":{deep}}}}}}}"#)).is_err());
        let beside = read(&format!(r#"{{"skipped":{deep},"a":{{"b":{{"n":1}}}}}}"#));
        assert_eq!(beside.unwrap(), json!({"n": 1}));
    }
}
