//! Answers with one part replaced by what no platform means.

use serde_json::{Map, Value, json};

/// Every part of a value, outermost first, as JSON pointers.
pub fn places(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(value, String::new(), &mut found);
    found
}

fn walk(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                walk(
                    member,
                    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                walk(item, format!("{at}/{n}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

/// What a part is replaced by: nothing that could be a right value of it.
pub fn replacements() -> Vec<(&'static str, Option<Value>)> {
    vec![
        ("gone", None),
        ("null", Some(Value::Null)),
        ("an empty text", Some(json!(""))),
        ("an empty list", Some(json!([]))),
        ("an empty object", Some(json!({}))),
        ("true", Some(json!(true))),
        ("an unknown word", Some(json!("ZZ_NEVER_SEEN"))),
        ("wide digits", Some(json!("１２"))),
        ("digits with a comma", Some(json!("1,234"))),
        ("digits as a program writes them", Some(json!("1_234"))),
        ("digits with a sign before them", Some(json!("+7"))),
        ("a negative number", Some(json!(-3))),
        ("a number beyond all", Some(json!(1e300))),
        ("a fraction", Some(json!(7.123_456_789))),
    ]
}

/// `value` with the part at `place` replaced.
pub fn replaced(value: &Value, place: &str, by: &Option<Value>) -> Value {
    let mut value = value.clone();
    if let Some(by) = by {
        if let Some(part) = value.pointer_mut(place) {
            *part = by.clone();
        }
        return value;
    }
    let Some((parent, key)) = place.rsplit_once('/') else {
        return Value::Null;
    };
    let key = key.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.remove(&key)),
        Some(Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
        _ => {}
    }
    value
}

/// `value` with members that nobody knows in every object.
pub fn enriched(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut rich: Map<String, Value> = members.into_iter().map(|(k, v)| (k, enriched(v))).collect();
            rich.insert("zzNeverSeen".to_owned(), json!({"of": ["some", 1, null]}));
            Value::Object(rich)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(enriched).collect()),
        other => other,
    }
}

/// `value` with the entries of every list the other way round.
pub fn turned(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().map(|(k, v)| (k, turned(v))).collect()),
        Value::Array(items) => Value::Array(items.into_iter().rev().map(turned).collect()),
        other => other,
    }
}

/// `value` with the entries of every list twice.
pub fn doubled(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().map(|(k, v)| (k, doubled(v))).collect()),
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().map(doubled).collect();
            Value::Array(items.iter().chain(&items).cloned().collect())
        }
        other => other,
    }
}
