//! A trouble as it stands.

use crate::domain::{AlertFacts, AlertKind, AlertLevel};
use chrono::{DateTime, TimeDelta, Utc};

/// One cause of trouble at one moment, with all that it concerns.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What makes two troubles the same one: kind, service and cause.
    pub fingerprint: String,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub level: AlertLevel,
    /// The service concerned.
    pub platform: Option<String>,
    /// How many things it concerns.
    pub count: i64,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it was met last.
    pub newest: DateTime<Utc>,
    /// How long it must have lasted before anybody is told.
    pub patience: TimeDelta,
    /// It may be only what an outage of its service brings about.
    pub foldable: bool,
    /// What else is known.
    pub facts: AlertFacts,
}
