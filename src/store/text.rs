//! What PostgreSQL keeps of a text: everything but NUL, which neither `TEXT` nor `JSONB` takes. What a platform answers
//! may hold one, and it must not cost the statement that keeps the answer.

use serde_json::Value;
use std::borrow::Cow;

/// `text` with each NUL replaced by the sign for what cannot be shown.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The same in all texts of a value, names of members included.
pub(super) fn json(value: Value) -> Value {
    match value {
        Value::String(s) if s.contains('\0') => Value::String(text(&s).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (text(&name).into_owned(), json(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn no_nul_is_left_anywhere_and_all_else_stays() {
        let spoilt = value!({ "a\0": ["b\0c", { "d": "\0" }], "e": 1, "f": "日本" });
        let clean = value!({ "a\u{fffd}": ["b\u{fffd}c", { "d": "\u{fffd}" }], "e": 1, "f": "日本" });
        assert_eq!(json(spoilt), clean);
        assert_eq!(text("日本"), "日本");
    }
}
