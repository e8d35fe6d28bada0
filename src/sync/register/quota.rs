//! Whether the destination takes so many requests more today, as it counts them itself.

use super::Register;
use crate::platform::registrar::Quota;
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is believed: it costs requests of its own.
const BELIEVED: Duration = Duration::from_secs(600);
/// The most requests that one first listing takes: looks, steps and the reading behind its link.
const EACH: u64 = 6;
/// The longest wait before it is looked at again: a person may have been given more.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What was told last, and when.
#[derive(Default)]
pub struct Told(tokio::sync::Mutex<Option<(Instant, Vec<Quota>)>>);

impl Register {
    /// How long `listings` more have to wait for the destination's count to begin anew; `None` when they fit, or when that
    /// cannot be told: then the destination's own refusals say so.
    pub(super) async fn used_up(&self, listings: usize) -> Option<Duration> {
        let mut told = self.told.0.lock().await;
        if told.as_ref().is_none_or(|(at, _)| at.elapsed() >= BELIEVED) {
            let quotas = self.registrar.quotas().await;
            let quotas = quotas.inspect_err(|error| {
                tracing::debug!(error = %error, "How many requests are left is not known");
            });
            *told = Some((Instant::now(), quotas.unwrap_or_default()));
        }
        let (_, quotas) = told.as_ref()?;
        let wait = wait(quotas, listings, self.clock.now())?;
        tracing::warn!(
            "First listings wait for {} s: the destination says that its requests are used up for now",
            wait.as_secs()
        );
        Some(wait)
    }
}

/// How long `listings` more have to wait by these quotas.
fn wait(quotas: &[Quota], listings: usize, now: DateTime<Utc>) -> Option<Duration> {
    let needed = EACH.saturating_mul(u64::try_from(listings).unwrap_or(u64::MAX));
    let short = quotas.iter().filter(|q| q.remaining < needed && q.reset > now);
    let until = short.map(|q| q.reset).max()?;
    let wait = until.signed_duration_since(now).to_std().ok()?;
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_for_the_count_to_begin_anew() {
        let now: DateTime<Utc> = "2026-11-23T07:50:00Z".parse().unwrap();
        let quota = |remaining, reset: &str| Quota {
            resource: "sell.inventory".into(),
            limit: 5_000,
            remaining,
            reset: reset.parse().unwrap(),
            window_s: 86_400,
        };
        let soon = "2026-11-23T08:00:00Z";
        assert_eq!(wait(&[], 1_000, now), None, "unknown is not used up");
        assert_eq!(wait(&[quota(600, soon)], 100, now), None);
        assert_eq!(
            wait(&[quota(599, soon)], 100, now),
            Some(Duration::from_secs(600))
        );
        assert_eq!(wait(&[quota(0, "2026-11-24T08:00:00Z")], 1, now), Some(LONGEST));
        assert_eq!(
            wait(&[quota(0, "2026-11-23T07:00:00Z")], 1, now),
            None,
            "begun anew since"
        );
    }
}
