//! The probe of a destination's quotas: how many requests are left until they begin anew.

use super::kept::Kept;
use super::{Check, Found, Probe};
use crate::clock::Clock;
use crate::platform::PlatformError;
use crate::platform::gateway::RegistrarGateway;
use crate::platform::registrar::Quota;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Less than this share left, in percent, is told.
const LITTLE_PERCENT: u128 = 10;

/// Asks a destination that names its quotas.
pub struct QuotasProbe {
    /// The destination, as the settings name it.
    pub destination: String,
    /// The way there.
    pub registrar: RegistrarGateway,
    /// What it said last.
    pub kept: Arc<Kept<Vec<Quota>>>,
    /// What time it is.
    pub clock: Clock,
}

impl Probe for QuotasProbe {
    fn name(&self) -> &'static str {
        "quotas"
    }

    fn asks_outside(&self) -> bool {
        true
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (registrar, destination) = (self.registrar.clone(), self.destination.clone());
        let (kept, now) = (Arc::clone(&self.kept), self.clock.now());
        async move {
            let quotas = kept.while_true(|quotas| is_true(quotas, now), registrar.quotas());
            Found::from(judge(&destination, quotas.await))
        }
        .boxed()
    }
}

/// Whether what was said of quotas an hour ago at most still says something: none has begun anew since, and none is so
/// near its end that a person looks at it again and again.
fn is_true(quotas: &[Quota], now: DateTime<Utc>) -> bool {
    quotas
        .iter()
        .all(|quota| quota.reset > now && left_percent(quota) >= LITTLE_PERCENT)
}

fn left_percent(quota: &Quota) -> u128 {
    match u128::from(quota.limit) {
        0 => 0,
        limit => u128::from(quota.remaining).saturating_mul(100) / limit,
    }
}

/// The quota of which the least is left speaks.
fn judge(destination: &str, quotas: Result<Vec<Quota>, PlatformError>) -> Check {
    let name = format!("{destination} quotas");
    let shows = format!("`zaikoban platforms quotas {destination}` shows them all");
    let quotas = match quotas {
        Ok(quotas) => quotas,
        Err(error) => return Check::warning(&name, error.message, shows),
    };
    let Some(least) = quotas.iter().min_by_key(|quota| left_percent(quota)) else {
        return Check::skipped(&name, format!("{destination} names no quotas of ours"));
    };
    let said = format!(
        "{} of {} requests of `{}` are left until {}",
        least.remaining,
        least.limit,
        least.resource,
        least.reset.format("%Y-%m-%d %H:%M UTC")
    );
    let to_do = format!(
        "{shows}; lower `platforms.{destination}.requests_per_second`, or ask for more at the platform's developer pages"
    );
    match left_percent(least) {
        _ if least.remaining == 0 => Check::failed(&name, said, to_do),
        percent if percent < LITTLE_PERCENT => Check::warning(&name, said, to_do),
        _ => Check::ok(&name, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ErrorClass;
    use crate::ops::doctor::CheckState;

    fn quota(resource: &str, limit: u64, remaining: u64) -> Quota {
        Quota {
            resource: resource.into(),
            limit,
            remaining,
            reset: "2026-11-24T08:00:00Z".parse().unwrap(),
            window_s: 86_400,
        }
    }

    #[test]
    fn what_was_said_holds_until_a_quota_begins_anew_or_is_nearly_used_up() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (before, after) = (at("2026-11-24T07:59:59Z"), at("2026-11-24T08:00:00Z"));
        let well = [quota("a", 100, 10), quota("b", 100, 100)];
        assert!(is_true(&well, before) && !is_true(&well, after));
        assert!(!is_true(&[quota("a", 100, 9)], before) && !is_true(&[quota("a", 0, 0)], before));
    }

    #[test]
    fn the_quota_of_which_the_least_is_left_speaks() {
        let said = |all: Vec<Quota>| judge("ebay", Ok(all));
        assert_eq!(said(Vec::new()).state, CheckState::Skipped);
        let well = said(vec![quota("a", 100, 90), quota("b", 5_000_000, 500_000)]);
        assert_eq!(
            (well.name.as_str(), well.state, well.to_do),
            ("ebay quotas", CheckState::Ok, None)
        );
        assert_eq!(
            well.said,
            "500000 of 5000000 requests of `b` are left until 2026-11-24 08:00 UTC"
        );
        assert_eq!(said(vec![quota("a", 100, 9)]).state, CheckState::Warning);
        assert_eq!(said(vec![quota("a", u64::MAX, u64::MAX)]).state, CheckState::Ok);
        for gone in [quota("a", 100, 0), quota("a", 0, 0)] {
            let told = said(vec![quota("b", 100, 100), gone]);
            assert_eq!(told.state, CheckState::Failed);
            assert!(told.to_do.unwrap().contains("platforms.ebay.requests_per_second"));
        }
        let away = PlatformError {
            class: ErrorClass::Transient,
            code: "x".into(),
            message: "eBay is away".into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        };
        let told = judge("ebay", Err(away));
        assert_eq!(
            (told.state, told.said.as_str()),
            (CheckState::Warning, "eBay is away")
        );
    }
}
