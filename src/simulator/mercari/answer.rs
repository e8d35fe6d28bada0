//! What the shop answers.

use crate::simulator::faults::MercariFault;
use serde_json::{Value, json};

/// An answer, before it is sent.
#[derive(Debug)]
pub(in crate::simulator) struct Answer {
    pub(in crate::simulator) status: u16,
    /// JSON, or the bare text that an unknown address gets.
    pub(in crate::simulator) body: Result<Value, &'static str>,
    pub(in crate::simulator) fault: Option<MercariFault>,
}

/// Why something asked for was not done, in GraphQL's words.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) path: Vec<Value>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            path: Vec::new(),
        }
    }

    pub(super) fn at(mut self, path: Vec<Value>) -> Self {
        self.path = path;
        self
    }

    fn json(&self) -> Value {
        json!({ "message": self.message, "path": self.path, "extensions": { "code": self.code } })
    }
}

impl Answer {
    pub(super) fn of(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Ok(body),
            fault: None,
        }
    }

    /// Data, with what was refused beside it.
    pub(super) fn data(data: Value, refused: &[Refusal]) -> Self {
        if refused.is_empty() {
            return Self::of(200, json!({ "data": data }));
        }
        let errors: Vec<Value> = refused.iter().map(Refusal::json).collect();
        Self::of(200, json!({ "data": data, "errors": errors }))
    }

    /// A query that cannot be read or does not fit the schema.
    pub(super) fn bad_query(message: &str) -> Self {
        let error = json!({
            "message": message,
            "locations": [{ "line": 1, "column": 1 }],
            "extensions": { "code": "GRAPHQL_VALIDATION_FAILED" },
        });
        Self::of(400, json!({ "errors": [error] }))
    }

    pub(super) fn plainly(status: u16, message: &str) -> Self {
        Self::of(status, json!({ "errors": [{ "message": message }] }))
    }

    /// What an address gets that is not registered, whatever it asks.
    pub(super) fn unregistered() -> Self {
        Self {
            status: 404,
            body: Err("Not Found"),
            fault: None,
        }
    }
}
