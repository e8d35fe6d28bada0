//! `doctor`: everything the daemon stands on, looked at once, and for each trouble what to do.
//!
//! A look is a [`Probe`]. The rooms that own a thing bring its probe, `app` puts them into one list
//! ([`Parts::probes`](super::Parts)), and this room runs them: all beside each other, each with a time limit, so that the
//! whole takes as long as the slowest and never longer than the limit. A probe that hangs or panics is a check that
//! failed, never a `doctor` that does. What is seen is judged by plain functions ([`judge`]).
//!
//! Nothing is changed by a look. What asks somebody outside (a marketplace, a mail server) goes through the same guard as
//! everything else, says so when the guard does not let it, and is left out with `--offline`.

pub mod channels;
pub mod credentials;
pub mod database;
pub mod judge;
pub mod kept;
pub mod machine;
pub mod nodes;
pub mod quotas;
pub mod rates;
pub mod redis;
pub mod service;

use super::{Ops, OpsError};
use crate::supervision::spawn_owned;
use chrono::TimeDelta;
use futures_util::future::{BoxFuture, join_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long one probe may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How a check came out, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Not looked at, and why.
    Skipped,
    /// It works, but not as it should, or not for long.
    Warning,
    /// It does not work.
    Failed,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: CheckState,
    /// What was seen.
    pub said: String,
    /// What to do; never `None` where something is to be done.
    pub to_do: Option<String>,
    /// How long the look took, in milliseconds.
    pub took_ms: u64,
}

impl Check {
    fn new(name: &str, state: CheckState, said: impl Into<String>, to_do: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            said: said.into(),
            to_do,
            took_ms: 0,
        }
    }

    /// As it should be.
    #[must_use]
    pub fn ok(name: &str, said: impl Into<String>) -> Self {
        Self::new(name, CheckState::Ok, said, None)
    }

    /// Not looked at.
    #[must_use]
    pub fn skipped(name: &str, said: impl Into<String>) -> Self {
        Self::new(name, CheckState::Skipped, said, None)
    }

    /// It works, but something is to be done.
    #[must_use]
    pub fn warning(name: &str, said: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self::new(name, CheckState::Warning, said, Some(to_do.into()))
    }

    /// It does not work, and something is to be done.
    #[must_use]
    pub fn failed(name: &str, said: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self::new(name, CheckState::Failed, said, Some(to_do.into()))
    }
}

/// How far a service's clock is from ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// Whose clock.
    pub service: String,
    /// Theirs less ours.
    pub ahead: TimeDelta,
    /// How far that may be off: the way there and back, and the second that a `Date` is cut to.
    pub within: TimeDelta,
}

/// What a probe found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Its checks.
    pub checks: Vec<Check>,
    /// A clock that it saw; all of them are judged together.
    pub clock: Option<ClockSample>,
}

impl From<Check> for Found {
    fn from(check: Check) -> Self {
        Self::from(vec![check])
    }
}

impl From<Vec<Check>> for Found {
    fn from(checks: Vec<Check>) -> Self {
        Self { checks, clock: None }
    }
}

/// One look at something the daemon needs.
pub trait Probe: Send + Sync + 'static {
    /// What is looked at; the name of its check when it gives none of its own.
    fn name(&self) -> &str;

    /// Whether it asks somebody outside of this machine; such a look is left out with `--offline`.
    fn asks_outside(&self) -> bool {
        false
    }

    /// Looks. Blocking calls belong on a blocking thread.
    fn look(&self) -> BoxFuture<'static, Found>;
}

/// The probes of one daemon, in the order in which they are told.
pub type Probes = Vec<Arc<dyn Probe>>;

/// Runs all probes beside each other; one that takes longer than `limit` has failed.
pub async fn examine(probes: &[Arc<dyn Probe>], limit: Duration, offline: bool) -> Vec<Check> {
    let looks = probes.iter().map(|probe| looked(probe, limit, offline));
    let found = join_all(looks).await;
    let (mut checks, mut clocks) = (Vec::new(), Vec::new());
    for found in found {
        checks.extend(found.checks);
        clocks.extend(found.clock);
    }
    checks.push(judge::clock(&clocks));
    checks
}

async fn looked(probe: &Arc<dyn Probe>, limit: Duration, offline: bool) -> Found {
    let name = probe.name();
    if offline && probe.asks_outside() {
        return Check::skipped(name, "not asked: --offline").into();
    }
    let began = Instant::now();
    let look = spawn_owned("doctor", probe.look());
    let mut found = match timeout(limit, look).await {
        Ok(Ok(found)) => found,
        Ok(Err(crash)) => Check::failed(
            name,
            format!("the check itself broke: {crash}"),
            "this is a fault of zaikoban: keep the daemon's log and report it",
        )
        .into(),
        Err(_elapsed) => Check::failed(
            name,
            format!("no answer within {} s", limit.as_secs()),
            "run `zaikoban doctor` again; if it stays so, look into the daemon's log: `journalctl -u zaikoban -n 100`",
        )
        .into(),
    };
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    for check in &mut found.checks {
        check.took_ms = took_ms;
    }
    found
}

/// The worst of all; skipped ones do not count.
#[must_use]
pub fn worst(checks: &[Check]) -> CheckState {
    let states = checks.iter().map(|check| check.state);
    states
        .filter(|state| *state != CheckState::Skipped)
        .max()
        .unwrap_or(CheckState::Ok)
}

/// The answer: every check, and the worst of them.
#[must_use]
pub fn answer(checks: &[Check]) -> Value {
    json!({ "state": worst(checks), "checks": checks })
}

impl Ops {
    /// Looks at everything the daemon stands on. One at a time, so that two people do not ask the platforms twice at once.
    ///
    /// # Errors
    /// [`OpsError::NotReady`] while the daemon starts: whoever asks can look for himself then.
    pub async fn doctor(&self, offline: bool) -> Result<Value, OpsError> {
        let parts = self.parts()?;
        let _turn = self.0.examining.lock().await;
        let checks = examine(&parts.probes, LIMIT, offline).await;
        Ok(answer(&checks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use futures_util::future;

    struct Named(&'static str, fn() -> BoxFuture<'static, Found>);

    impl Probe for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn asks_outside(&self) -> bool {
            self.0 == "outside"
        }

        fn look(&self) -> BoxFuture<'static, Found> {
            (self.1)()
        }
    }

    fn well() -> BoxFuture<'static, Found> {
        future::ready(Found::from(Check::ok("well", "as it should be"))).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_or_panics_has_failed_and_the_others_are_told() {
        let probes: Probes = vec![
            Arc::new(Named("well", well)),
            Arc::new(Named("hangs", || future::pending().boxed())),
            Arc::new(Named("also", || future::pending().boxed())),
            Arc::new(Named("breaks", || async { panic!("a fault") }.boxed())),
            Arc::new(Named("outside", well)),
        ];
        let began = Instant::now();
        let checks = examine(&probes, LIMIT, true).await;
        assert!(
            began.elapsed() < LIMIT + Duration::from_secs(1),
            "beside each other"
        );
        let told: Vec<(&str, CheckState)> = checks.iter().map(|c| (&*c.name, c.state)).collect();
        assert_eq!(
            told,
            [
                ("well", CheckState::Ok),
                ("hangs", CheckState::Failed),
                ("also", CheckState::Failed),
                ("breaks", CheckState::Failed),
                ("outside", CheckState::Skipped),
                ("clock", CheckState::Skipped),
            ]
        );
        assert!(
            checks
                .iter()
                .all(|c| c.state < CheckState::Warning || c.to_do.is_some())
        );
        assert_eq!(worst(&checks), CheckState::Failed);
        assert_eq!(checks.get(1).map(|c| c.took_ms), Some(10_000));
    }

    #[test]
    fn the_worst_counts_and_what_was_skipped_does_not() {
        let skipped = Check::skipped("a", "not asked");
        let warning = Check::warning("b", "nearly full", "make room");
        assert_eq!(worst(&[]), CheckState::Ok);
        assert_eq!(worst(std::slice::from_ref(&skipped)), CheckState::Ok);
        assert_eq!(worst(&[skipped, warning]), CheckState::Warning);
    }
}
