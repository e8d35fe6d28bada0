//! What a job becomes: one pure function per way its state can change.

use super::outcome::{JobError, Outcome};
use super::policy::Policy;
use crate::store::jobs::{JobStatus, Settlement};
use chrono::{DateTime, Utc};
use rand::Rng;
use std::time::Duration;

/// Something that happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A worker takes it.
    Claimed,
    /// The worker succeeded.
    Succeeded,
    /// The worker could not begin, or more is wanted.
    Snoozed,
    /// The worker failed; a retry is left.
    FailedOnce,
    /// The worker failed and no retry is left, or said that none would help.
    GivenUp,
    /// The worker is gone.
    Rescued,
    /// The worker is gone once too often.
    Poisoned,
    /// A person wants it run again.
    Repeated,
    /// A person wants it gone.
    Discarded,
}

/// A change of state that the rules do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} cannot be {event:?}")]
pub struct IllegalTransition {
    /// Where the job stands.
    pub from: JobStatus,
    /// What was to happen to it.
    pub event: Event,
}

/// Where `event` takes a job that is `from`.
///
/// # Errors
/// When it cannot happen to such a job.
pub fn transition(from: JobStatus, event: Event) -> Result<JobStatus, IllegalTransition> {
    use Event as E;
    use JobStatus as S;
    match (from, event) {
        (S::Pending | S::Failed, E::Claimed) => Ok(S::Processing),
        (S::Processing, E::Succeeded) => Ok(S::Completed),
        (S::Processing, E::Snoozed | E::Rescued) => Ok(S::Pending),
        (S::Processing, E::FailedOnce) => Ok(S::Failed),
        (S::Processing, E::GivenUp | E::Poisoned) => Ok(S::Dead),
        (S::Pending | S::Failed | S::Dead, E::Repeated) => Ok(S::Pending),
        (S::Pending | S::Failed | S::Dead, E::Discarded) => Ok(S::Completed),
        (from, event) => Err(IllegalTransition { from, event }),
    }
}

/// What the outcome of its worker makes of a job in work.
///
/// # Errors
/// When the job is not in work.
pub fn settled(
    from: JobStatus,
    retry_count: i32,
    max_retries: i32,
    outcome: Outcome,
    policy: &Policy,
    rng: &mut impl Rng,
) -> Result<Settlement, IllegalTransition> {
    let next = |event, error: Option<&JobError>| {
        Ok(Settlement {
            status: transition(from, event)?,
            delay: Duration::ZERO,
            retry_count,
            error: error.map(ToString::to_string),
            result: None,
            crashed_at: None,
        })
    };
    match outcome {
        Outcome::Done(result) => Ok(Settlement {
            result: Some(result),
            ..next(Event::Succeeded, None)?
        }),
        Outcome::Snooze(delay) => Ok(Settlement {
            delay,
            ..next(Event::Snoozed, None)?
        }),
        Outcome::Retry(error) if retry_count < max_retries => Ok(Settlement {
            delay: policy.backoff.delay(retry_count.unsigned_abs(), rng),
            retry_count: retry_count.saturating_add(1),
            ..next(Event::FailedOnce, Some(&error))?
        }),
        Outcome::Retry(error) | Outcome::Discard(error) => next(Event::GivenUp, Some(&error)),
    }
}

/// What the death of its worker at `now` makes of a job that had lost workers at `earlier`.
///
/// # Errors
/// When the job is not in work.
pub fn orphaned(
    from: JobStatus,
    retry_count: i32,
    earlier: &[DateTime<Utc>],
    worker: &str,
    now: DateTime<Utc>,
    policy: &Policy,
) -> Result<Settlement, IllegalTransition> {
    let window = chrono::Duration::from_std(policy.poison_window).unwrap_or(chrono::Duration::MAX);
    let mut deaths: Vec<DateTime<Utc>> = earlier
        .iter()
        .copied()
        .filter(|at| now.signed_duration_since(at) < window)
        .collect();
    deaths.push(now);
    let poison = deaths.len() >= policy.poison_deaths;
    let error = poison.then(|| {
        let message = format!(
            "{} workers died holding this job within {} h, the last was {worker}",
            deaths.len(),
            policy.poison_window.as_secs() / 3600
        );
        JobError::new("poison", message).to_string()
    });
    Ok(Settlement {
        status: transition(from, if poison { Event::Poisoned } else { Event::Rescued })?,
        delay: Duration::ZERO,
        retry_count,
        error,
        result: None,
        crashed_at: Some(deaths),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    const EVENTS: [Event; 9] = [
        Event::Claimed,
        Event::Succeeded,
        Event::Snoozed,
        Event::FailedOnce,
        Event::GivenUp,
        Event::Rescued,
        Event::Poisoned,
        Event::Repeated,
        Event::Discarded,
    ];

    fn settle(retries: i32, outcome: Outcome) -> Settlement {
        let mut rng = StdRng::seed_from_u64(1);
        settled(
            JobStatus::Processing,
            retries,
            3,
            outcome,
            &Policy::default(),
            &mut rng,
        )
        .unwrap()
    }

    fn trouble() -> JobError {
        JobError::new("http_503", "pushing listing `7`: 503")
    }

    #[test]
    fn only_the_transitions_of_the_chart_are_legal() {
        let legal: Vec<String> = JobStatus::ALL
            .iter()
            .flat_map(|from| EVENTS.iter().map(move |event| (*from, *event)))
            .filter_map(|(from, event)| {
                transition(from, event)
                    .ok()
                    .map(|to| format!("{from} {event:?} {to}"))
            })
            .collect();
        let chart = [
            "pending Claimed processing",
            "pending Repeated pending",
            "pending Discarded completed",
            "processing Succeeded completed",
            "processing Snoozed pending",
            "processing FailedOnce failed",
            "processing GivenUp dead",
            "processing Rescued pending",
            "processing Poisoned dead",
            "failed Claimed processing",
            "failed Repeated pending",
            "failed Discarded completed",
            "dead Repeated pending",
            "dead Discarded completed",
        ];
        assert_eq!(legal, chart);
    }

    #[test]
    fn three_retries_with_growing_waits_and_then_the_dead_letter() {
        let waits: Vec<_> = (0..3).map(|n| settle(n, Outcome::Retry(trouble()))).collect();
        for (n, wait) in waits.iter().enumerate() {
            assert_eq!(wait.status, JobStatus::Failed);
            assert_eq!(usize::try_from(wait.retry_count).unwrap(), n + 1);
        }
        let last = settle(3, Outcome::Retry(trouble()));
        assert_eq!(last.status, JobStatus::Dead);
        assert_eq!(last.error.as_deref(), Some("http_503: pushing listing `7`: 503"));
    }

    /// Jobs that failed together come back spread over the whole wait, which doubles with each retry.
    #[test]
    fn the_wait_before_a_retry_is_drawn_from_all_of_it() {
        let mut rng = StdRng::seed_from_u64(3);
        for (retry, ceiling_s) in [(0, 10), (1, 20), (2, 40)] {
            let waits: Vec<Duration> = (0..400)
                .map(|_| {
                    let outcome = Outcome::Retry(trouble());
                    settled(
                        JobStatus::Processing,
                        retry,
                        3,
                        outcome,
                        &Policy::default(),
                        &mut rng,
                    )
                    .unwrap()
                    .delay
                })
                .collect();
            let tenth = Duration::from_secs(ceiling_s) / 10;
            assert!(waits.iter().any(|w| *w < tenth), "retry {retry}: none is short");
            assert!(
                waits.iter().any(|w| *w > tenth * 9),
                "retry {retry}: none is long"
            );
            assert!(waits.iter().all(|w| *w <= tenth * 10), "retry {retry}");
        }
    }

    #[test]
    fn a_snooze_uses_no_retry() {
        let wait = Duration::from_secs(90);
        let snoozed = settle(2, Outcome::Snooze(wait));
        assert_eq!(
            (snoozed.status, snoozed.retry_count, snoozed.delay),
            (JobStatus::Pending, 2, wait)
        );
    }

    #[test]
    fn what_will_never_succeed_is_not_tried_again() {
        assert_eq!(settle(0, Outcome::Discard(trouble())).status, JobStatus::Dead);
    }

    #[test]
    fn the_third_death_within_72_hours_makes_a_job_a_dead_letter() {
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let at = |hours: i64| start + TimeDelta::hours(hours);
        let die = |earlier: &[DateTime<Utc>], now| {
            orphaned(
                JobStatus::Processing,
                1,
                earlier,
                "node/1",
                now,
                &Policy::default(),
            )
            .unwrap()
        };
        let second = die(&[at(0)], at(1));
        assert_eq!((second.status, second.retry_count), (JobStatus::Pending, 1));
        assert_eq!(second.crashed_at, Some(vec![at(0), at(1)]));
        let third = die(&[at(0), at(1)], at(71));
        assert_eq!(third.status, JobStatus::Dead);
        assert!(third.error.unwrap().contains("3 workers died"));
        // at 73 h the first one is forgotten
        let later = die(&[at(0), at(2)], at(73));
        assert_eq!(later.status, JobStatus::Pending);
        assert_eq!(later.crashed_at, Some(vec![at(2), at(73)]));
    }

    proptest! {
        #[test]
        fn a_job_never_waits_longer_than_the_backoff_allows_and_retries_stay_in_bounds(
            retries in 0_i32..10, max in 0_i32..10, seed: u64,
        ) {
            let policy = Policy::default();
            let mut rng = StdRng::seed_from_u64(seed);
            let next = settled(JobStatus::Processing, retries, max, Outcome::Retry(trouble()), &policy, &mut rng).unwrap();
            prop_assert!(next.retry_count <= max.max(retries));
            prop_assert!(next.delay <= Duration::from_secs(900));
            prop_assert_eq!(next.status == JobStatus::Dead, retries >= max);
        }
    }
}
