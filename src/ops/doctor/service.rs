//! The probe of a marketplace: one harmless question, through the guard that stands before every other.

use super::{ClockSample, Found, Probe, judge};
use crate::clock::Clock;
use crate::platform::{PlatformError, Reached};
use crate::resilience::{CallError, Guard, Priority};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Less than a probe's limit, so that a service that says nothing is told as such.
const ANSWER_WITHIN: Duration = Duration::from_secs(9);

/// Asks the question.
pub type Ask = Arc<dyn Fn() -> BoxFuture<'static, Result<Reached, PlatformError>> + Send + Sync>;

/// Looks at one service.
pub struct ServiceProbe {
    /// Its name.
    pub name: String,
    /// Its guard.
    pub guard: Guard,
    /// The question.
    pub ask: Ask,
    /// What stands in the settings for it.
    pub account: judge::Account,
    /// Its endpoint is this machine.
    pub simulated: bool,
    /// Ours.
    pub clock: Clock,
}

impl Probe for ServiceProbe {
    fn name(&self) -> &str {
        &self.name
    }

    fn asks_outside(&self) -> bool {
        true
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (guard, ask, clock) = (self.guard.clone(), Arc::clone(&self.ask), self.clock.clone());
        let (name, account, simulated) = (self.name.clone(), self.account, self.simulated);
        async move {
            let times = parking_lot::Mutex::new(None);
            let question = || async {
                let asked = clock.now();
                let answer = ask().await;
                *times.lock() = Some((asked, clock.now()));
                answer
            };
            let before = Instant::now() + judge::TURN_WITHIN;
            // A person waits; one request more is not unfair to the products, and the rate counts it.
            let call = guard.call_before(Priority::Urgent, before, question);
            let called = tokio::time::timeout(ANSWER_WITHIN, call).await;
            let result = called.unwrap_or(Err(CallError::TimedOut));
            let date = result.as_ref().ok().and_then(|reached| reached.date);
            let clock = times
                .into_inner()
                .zip(date)
                .map(|(times, date)| sample(&name, times, date));
            let asked = judge::Asked {
                name: &name,
                simulated,
                outcome: match &result {
                    Ok(_) => judge::Outcome::Reached,
                    Err(CallError::Failed(error)) => judge::Outcome::Failed(error),
                    Err(CallError::Shut { .. } | CallError::Paused) => {
                        judge::Outcome::Shut(Box::new(guard.status()))
                    }
                    Err(CallError::Busy | CallError::Late) => {
                        judge::Outcome::NoTurn(Box::new(guard.status()))
                    }
                    Err(CallError::TimedOut) => judge::Outcome::TimedOut,
                    Err(CallError::Panicked { message }) => judge::Outcome::Broke(message),
                },
            };
            Found {
                checks: judge::service(&asked, account),
                clock,
            }
        }
        .boxed()
    }
}

/// Theirs less ours. A `Date` is cut to the second: half of one is added, half of one is the doubt.
fn sample(service: &str, (asked, heard): (DateTime<Utc>, DateTime<Utc>), date: DateTime<Utc>) -> ClockSample {
    let way = heard - asked;
    let ours = asked + way / 2;
    let half = TimeDelta::milliseconds(500);
    ClockSample {
        service: service.to_owned(),
        ahead: date + half - ours,
        within: way / 2 + half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::CheckState;
    use crate::resilience::{Policy, Rate};

    #[tokio::test(start_paused = true)]
    async fn a_budget_that_the_daemon_uses_up_is_no_trouble_and_nothing_is_asked() {
        let policy = Policy {
            rate: Rate::per_second(100.0 / 3_600.0).unwrap(),
            ..Policy::default()
        };
        let guard = Guard::new("amazon", policy, Clock::system(), None).unwrap();
        let work = guard.call(Priority::Normal, || async { Ok::<_, PlatformError>(()) });
        work.await.unwrap();
        let probe = ServiceProbe {
            name: "amazon".to_owned(),
            guard,
            ask: Arc::new(|| async { unreachable!("no turn is to be had") }.boxed()),
            account: judge::Account::Given,
            simulated: false,
            clock: Clock::system(),
        };
        let found = probe.look().await.checks;
        let states: Vec<_> = found.iter().map(|check| check.state).collect();
        assert_eq!(states, [CheckState::Ok, CheckState::Ok], "{found:?}");
        assert!(found.iter().all(|check| check.to_do.is_none()), "{found:?}");
    }

    #[test]
    fn the_middle_of_the_exchange_is_compared_with_the_middle_of_the_second() {
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap();
        let seen = sample("ebay", (at(10_000), at(10_400)), at(12_000));
        assert_eq!(seen.ahead, TimeDelta::milliseconds(2_300));
        assert_eq!(seen.within, TimeDelta::milliseconds(700));
    }
}
