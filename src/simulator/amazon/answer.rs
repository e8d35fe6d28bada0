//! What the API answers with, before it is put on the wire.

use super::super::faults::AmazonFault;
use serde_json::{Value, json};

/// Status and body, and what is done to them on the way.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    /// Requests a second, for `x-amzn-RateLimit-Limit`.
    pub(super) rate: Option<f64>,
    pub(super) fault: Option<AmazonFault>,
    /// The call's number, for `x-amzn-RequestId`.
    pub(super) number: u64,
}

impl Answer {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            body,
            rate: None,
            fault: None,
            number: 0,
        }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    /// An `ErrorList` of one.
    pub(super) fn error(status: u16, code: &str, message: &str, details: &str) -> Self {
        Self::new(status, errors(code, message, details))
    }

    pub(super) fn denied(details: &str) -> Self {
        let message = "Access to requested resource is denied.";
        Self::error(403, "Unauthorized", message, details)
    }

    pub(super) fn over_quota() -> Self {
        let message = "You exceeded your quota for the requested resource.";
        Self::error(429, "QuotaExceeded", message, "")
    }
}

pub(super) fn errors(code: &str, message: &str, details: &str) -> Value {
    json!({"errors": [{"code": code, "message": message, "details": details}]})
}
