//! What a guard shows and what it keeps.

use crate::domain::ErrorClass;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// How a guard stands, for `platforms list` and the API.
#[derive(Clone, Debug, Serialize)]
pub struct GuardStatus {
    /// Whose guard.
    pub service: String,
    /// Whether calls go through.
    pub gate: GateView,
    /// Nothing is sent before this by the server's own word (`Retry-After`).
    pub told_to_wait_until: Option<DateTime<Utc>>,
    /// The rate in force.
    pub rate_per_second: f64,
    /// The rate of the policy.
    pub full_rate_per_second: f64,
    /// Calls under way, reserved permits included.
    pub in_flight: usize,
    /// Callers in line.
    pub waiting: usize,
    /// The exponent of the next shutting.
    pub trips: u32,
    /// What became of all calls since the start.
    pub counts: Counts,
    /// When a value came last.
    pub last_ok: Option<DateTime<Utc>>,
    /// The last failure.
    pub last_error: Option<LastError>,
}

/// Whether calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum GateView {
    /// Everyone passes.
    Open,
    /// One probe passes.
    Limited,
    /// Nobody passes before `until`.
    Shut {
        /// When a probe may go.
        until: DateTime<Utc>,
    },
    /// An operator paused it.
    Paused,
    /// The emergency stop holds it.
    Stopped,
}

/// What became of the calls since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// A value came.
    pub ok: u64,
    /// An error came that says nothing against the service: not found, rejected, unauthorised.
    pub answered: u64,
    /// Connection, 5xx, cut body, captcha.
    pub failed: u64,
    /// An answer that is not what the contract says.
    pub protocol: u64,
    /// 429.
    pub rate_limited: u64,
    /// Took longer than the time limit.
    pub timed_out: u64,
    /// Panicked.
    pub panicked: u64,
    /// Dropped by the caller.
    pub cancelled: u64,
    /// Not made: shut, paused or too many in line.
    pub refused: u64,
    /// How often the breaker tripped.
    pub trips: u64,
}

/// A failure, for people.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// When.
    pub at: DateTime<Utc>,
    /// Its class; `None` for a panic.
    pub class: Option<ErrorClass>,
    /// What it said.
    pub message: String,
}

/// What outlives the process. An open breaker stays open over a restart, a cut rate stays cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateRecord {
    /// The gate is shut until then; `None` when it is open. A past instant means that a probe is due.
    pub shut_until: Option<DateTime<Utc>>,
    /// The exponent of the next shutting.
    pub trips: u32,
    /// What 429s left of the rate, 0 to 1.
    pub rate_share: f64,
    /// The server's word.
    pub told_to_wait_until: Option<DateTime<Utc>>,
    /// When this was true.
    pub saved_at: DateTime<Utc>,
}

/// Where guards keep their state over a restart. `app` plugs the table in.
pub trait GateStore: Send + Sync + 'static {
    /// What was kept for this service, if anything can be read.
    fn load<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Option<GateRecord>>;

    /// Keeps the newest state of a service.
    ///
    /// Called in order, on each change of the gate and each cut of the rate, while the guard is locked: hand it over
    /// (a channel) and return; an implementation that waits stops every caller of the service.
    fn save(&self, service: &str, record: GateRecord);
}
