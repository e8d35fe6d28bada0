//! The probe of what lets us in at the platforms: until when it holds.

use super::{Check, Found, Probe};
use crate::clock::Clock;
use crate::domain::Platform;
use crate::ops::Account;
use crate::store::credentials::{self, Expiring, Kept, WARNED_BEFORE};
use crate::store::{Db, StoreError};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;

const NAME: &str = "credentials' end";

/// Looks when credentials end.
pub struct CredentialsProbe {
    /// Where they are kept.
    pub db: Db,
    /// The accounts that run: their settings may give what is not kept.
    pub accounts: HashMap<Platform, Arc<dyn Account>>,
    /// Ours.
    pub clock: Clock,
}

/// A secret that ends, in use here, without anybody having said when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endless {
    platform: Platform,
    secret: &'static str,
    /// The settings give it, and keep no end of it.
    typed: bool,
}

impl Probe for CredentialsProbe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (db, now) = (self.db.clone(), self.clock.now());
        let typed: Vec<_> = self.accounts.iter().map(|(p, a)| (*p, a.typed())).collect();
        async move {
            Found::from(match seen(&db, now).await {
                Ok((ending, kept)) => judge(&ending, &unknown(&typed, &kept), now),
                Err(error) => Check::skipped(NAME, format!("not known: {error}")),
            })
        }
        .boxed()
    }
}

/// What ends soon, and what is kept at all.
async fn seen(db: &Db, now: DateTime<Utc>) -> Result<(Vec<Expiring>, Vec<Kept>), StoreError> {
    let mut conn = db.conn().await?;
    let ending = credentials::expiring(&mut conn, now, WARNED_BEFORE).await?;
    Ok((ending, credentials::list(&mut conn).await?))
}

/// Whose end is not known, of the accounts that run: each with what its settings give. A platform that may never end a
/// token is not asked for a day.
fn unknown(accounts: &[(Platform, Vec<&'static str>)], kept: &[Kept]) -> Vec<Endless> {
    let mut found: Vec<Endless> = accounts
        .iter()
        .filter(|(platform, _)| *platform != Platform::Mercari)
        .filter_map(|(platform, typed)| {
            let secret = platform.ending_secret()?;
            let typed = typed.contains(&secret);
            let row = kept.iter().find(|row| row.platform == platform.as_str());
            let without_end =
                |row: &Kept| row.expires_at.is_none() && row.fields.iter().any(|field| field == secret);
            (typed || row.is_some_and(without_end)).then_some(Endless {
                platform: *platform,
                secret,
                typed,
            })
        })
        .collect();
    found.sort_by_key(|one| one.platform);
    found
}

fn judge(ending: &[Expiring], unknown: &[Endless], now: DateTime<Utc>) -> Check {
    match ending.first() {
        Some(first) => ends(first, now),
        None if !unknown.is_empty() => not_known(unknown),
        None => {
            let days = WARNED_BEFORE.num_days();
            Check::ok(NAME, format!("none that is kept sealed ends within {days} days"))
        }
    }
}

fn ends(first: &Expiring, now: DateTime<Utc>) -> Check {
    let platform = &first.platform;
    let to_do = match platform.parse::<Platform>() {
        Ok(other) if !other.asks_for_consent() => {
            format!("get new ones at the platform, then `{}`", other.renew_command())
        }
        Ok(_) | Err(_) => {
            format!("let the seller consent again: `zaikoban credentials authorize {platform}`")
        }
    };
    if first.expires_at <= now {
        Check::failed(NAME, format!("those of {platform} have ended"), to_do)
    } else {
        let days = (first.expires_at - now).num_days();
        Check::warning(NAME, format!("those of {platform} end in {days} day(s)"), to_do)
    }
}

/// Where a person finds the day.
fn where_told(platform: Platform) -> &'static str {
    match platform {
        Platform::Ebay => " (18 months after the seller's consent)",
        Platform::Amazon | Platform::AmazonSeller => " (Seller Central names the day beside the application)",
        Platform::Mercari | Platform::YahooAuction => "",
    }
}

/// Nobody can be warned of these.
fn not_known(unknown: &[Endless]) -> Check {
    let said = unknown
        .iter()
        .map(|one| format!("the end of {}'s {} is not known", one.platform, one.secret));
    let to_do = unknown.iter().map(|one| {
        if one.typed {
            // The settings have no place for a day.
            let (platform, secret) = (one.platform, one.secret);
            format!(
                "keep it with its end, `zaikoban credentials set {platform} --field {secret} --ends-on YYYY-MM-DD`, and \
                 take it out of the settings"
            )
        } else {
            format!("give it: `{}`{}", one.platform.end_command(), where_told(one.platform))
        }
    });
    let (said, to_do): (Vec<_>, Vec<_>) = said.zip(to_do).unzip();
    Check::warning(NAME, said.join("; "), to_do.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::CheckState;
    use chrono::TimeDelta;

    fn at() -> DateTime<Utc> {
        "2026-11-22T00:00:00Z".parse().unwrap()
    }

    fn kept(platform: Platform, fields: &[&str], expires_at: Option<DateTime<Utc>>) -> Kept {
        Kept {
            platform: platform.to_string(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            key_id: "k-1".to_owned(),
            set_by: "uid 0".to_owned(),
            expires_at,
            created_at: at(),
            updated_at: at(),
        }
    }

    #[test]
    fn an_end_is_told_before_it_comes_and_after() {
        let of = |platform: Platform, days| {
            let one = Expiring {
                platform: platform.to_string(),
                expires_at: at() + TimeDelta::days(days),
            };
            judge(&[one], &[], at())
        };
        let ebay = |days| of(Platform::Ebay, days);
        assert_eq!(judge(&[], &[], at()).state, CheckState::Ok);
        assert_eq!(ebay(3).state, CheckState::Warning);
        assert!(ebay(3).said.contains("3 day(s)"), "{:?}", ebay(3));
        assert_eq!(ebay(0).state, CheckState::Failed);
        assert!(ebay(0).to_do.unwrap().contains("authorize ebay"));
        // A new one without its end would leave the old one's day, or none.
        let to_do = of(Platform::Amazon, 3).to_do.unwrap();
        assert!(
            to_do.contains("`zaikoban credentials set amazon --field client_secret --ends-on YYYY-MM-DD`"),
            "{to_do}"
        );
    }

    #[test]
    fn an_end_that_nobody_told_is_not_known_and_not_far() {
        let rows = [
            kept(Platform::Ebay, &["client_id", "refresh_token"], None),
            kept(Platform::Amazon, &["client_secret"], Some(at())),
            kept(Platform::Mercari, &["token"], None),
        ];
        let accounts = |typed: &[&'static str]| {
            let all = [Platform::Ebay, Platform::Amazon, Platform::Mercari];
            all.map(|platform| (platform, typed.to_vec()))
        };
        let told = judge(&[], &unknown(&accounts(&[]), &rows), at());
        assert_eq!(told.state, CheckState::Warning);
        assert_eq!(told.said, "the end of ebay's refresh_token is not known");
        assert_eq!(
            told.to_do.unwrap(),
            "give it: `zaikoban credentials set ebay --ends-on YYYY-MM-DD` (18 months after the seller's consent)"
        );
        // What the settings give stands over what is kept, and so does that nothing is known of its end.
        let typed = unknown(&accounts(&["refresh_token", "client_secret"]), &[]);
        let platforms: Vec<_> = typed.iter().map(|one| (one.platform, one.typed)).collect();
        assert_eq!(platforms, [(Platform::Amazon, true), (Platform::Ebay, true)]);
        let told = judge(&[], &typed, at());
        assert!(
            told.to_do
                .unwrap()
                .contains("--field refresh_token --ends-on YYYY-MM-DD`, and take it out of the settings")
        );
    }

    #[test]
    fn what_has_a_known_end_or_does_not_run_is_not_asked_for_one() {
        let ends = Some(at() + TimeDelta::days(100));
        let rows = [kept(Platform::Ebay, &["refresh_token"], ends)];
        let runs = [(Platform::Ebay, Vec::new())];
        assert_eq!(unknown(&runs, &rows), []);
        let rows = [kept(Platform::Ebay, &["refresh_token"], None)];
        assert_eq!(unknown(&[], &rows), []);
        // A secret that never ends is no secret without an end.
        let rows = [kept(Platform::Ebay, &["client_secret"], None)];
        assert_eq!(unknown(&runs, &rows), []);
    }
}
