//! How work ends: retryable and terminal are different returns.

use std::fmt;
use std::time::Duration;

/// What a worker says of a job it has done, or not.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done; what came of it, for whoever looks at the job later.
    Done(serde_json::Value),
    /// Not yet possible (gate shut, limit reached, shutdown) or wanted once more: uses no retry.
    Snooze(Duration),
    /// Failed and worth another try under the job's backoff.
    Retry(JobError),
    /// Will never succeed: bad input, a listing its owner removed. A person is told.
    Discard(JobError),
}

/// Why a job did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// Short and stable: `ebay_25002`, `time_limit`.
    pub code: Box<str>,
    /// What was being done, with identifiers, and what happened. Never holds a secret.
    pub message: Box<str>,
}

impl JobError {
    /// An error from its code and sentence.
    pub fn new(code: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
