//! The probe of what is kept sealed: until when it holds.

use super::{Check, Found, Probe};
use crate::clock::Clock;
use crate::domain::Platform;
use crate::store::Db;
use crate::store::credentials::{self, Expiring, WARNED_BEFORE};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Looks when credentials end.
pub struct CredentialsProbe {
    /// Where they are kept.
    pub db: Db,
    /// Ours.
    pub clock: Clock,
}

impl Probe for CredentialsProbe {
    fn name(&self) -> &'static str {
        "credentials' end"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (db, now) = (self.db.clone(), self.clock.now());
        async move {
            let found = async {
                let mut conn = db.conn().await?;
                credentials::expiring(&mut conn, now, WARNED_BEFORE).await
            };
            Found::from(match found.await {
                Ok(ending) => judge(&ending, now),
                Err(error) => Check::skipped("credentials' end", format!("not known: {error}")),
            })
        }
        .boxed()
    }
}

fn judge(ending: &[Expiring], now: DateTime<Utc>) -> Check {
    let name = "credentials' end";
    let Some(first) = ending.first() else {
        let days = WARNED_BEFORE.num_days();
        return Check::ok(name, format!("none that is kept sealed ends within {days} days"));
    };
    let platform = &first.platform;
    let to_do = match platform.parse::<Platform>() {
        Ok(Platform::Ebay) | Err(_) => {
            format!("let the seller consent again: `zaikoban credentials authorize {platform}`")
        }
        Ok(other) => format!("get new ones at the platform, then `{}`", other.sign_in_command()),
    };
    if first.expires_at <= now {
        Check::failed(name, format!("those of {platform} have ended"), to_do)
    } else {
        let days = (first.expires_at - now).num_days();
        Check::warning(name, format!("those of {platform} end in {days} day(s)"), to_do)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::CheckState;
    use chrono::TimeDelta;

    #[test]
    fn an_end_is_told_before_it_comes_and_after() {
        let now: DateTime<Utc> = "2026-11-22T00:00:00Z".parse().unwrap();
        let of = |days| {
            let one = Expiring {
                platform: "ebay".to_owned(),
                expires_at: now + TimeDelta::days(days),
            };
            judge(&[one], now)
        };
        assert_eq!(judge(&[], now).state, CheckState::Ok);
        assert_eq!(of(3).state, CheckState::Warning);
        assert!(of(3).said.contains("3 day(s)"), "{:?}", of(3));
        assert_eq!(of(0).state, CheckState::Failed);
        assert!(of(0).to_do.unwrap().contains("authorize ebay"));
    }
}
