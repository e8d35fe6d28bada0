//! The probe of Redis.

use super::{Check, Found, Probe};
use crate::store::redis::{Link, RedisStatus};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Tells how the link stands. It asks nothing itself: the link's keeper asks every second.
pub struct RedisProbe {
    /// The link, when there is one.
    pub link: Option<Link>,
    /// Whether the settings name a Redis.
    pub typed: bool,
}

impl Probe for RedisProbe {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let link = self.link.as_ref();
        let status = link.map(|link| (link.shown().to_owned(), link.watch().borrow().clone()));
        let check = judge(
            self.typed,
            status.as_ref().map(|(at, status)| (at.as_str(), status)),
        );
        futures_util::future::ready(Found::from(check)).boxed()
    }
}

/// Never "failed": nothing needs it.
pub(super) fn judge(typed: bool, status: Option<(&str, &RedisStatus)>) -> Check {
    let name = "redis";
    match status {
        None if !typed => Check::skipped(name, "none is set up; PostgreSQL does everything alone"),
        None => Check::warning(
            name,
            "not used: the database's role may not read which database this is",
            "GRANT EXECUTE ON FUNCTION pg_control_system() to the role, and restart",
        ),
        Some((at, RedisStatus::Unknown)) => Check::warning(
            name,
            format!("{at} has not answered yet"),
            "run `zaikoban doctor` again in some seconds",
        ),
        Some((at, RedisStatus::Away { reason, to_do, .. })) => Check::warning(
            name,
            format!("{at}: {reason}; everything goes on from PostgreSQL"),
            *to_do,
        ),
        Some((at, RedisStatus::Up { facts, .. })) if facts.evicts() => Check::warning(
            name,
            format!(
                "{at} is used, and throws entries away when its memory is full (`{}`)",
                facts.eviction
            ),
            "`redis-cli -u URL config set maxmemory-policy noeviction`, and in its file",
        ),
        Some((at, RedisStatus::Up { facts, .. })) => {
            Check::ok(name, format!("{at} is used (version {})", facts.version))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::CheckState;
    use crate::store::redis::{Facts, TroubleKind};
    use chrono::DateTime;

    fn up(eviction: &str) -> RedisStatus {
        RedisStatus::Up {
            since: DateTime::UNIX_EPOCH,
            facts: Facts {
                version: "7.0.15".into(),
                eviction: eviction.into(),
                most_bytes: 0,
            },
        }
    }

    #[test]
    fn an_absent_redis_is_no_failure_and_each_trouble_says_what_to_do() {
        let away = RedisStatus::Away {
            since: DateTime::UNIX_EPOCH,
            kind: TroubleKind::Full,
            reason: "its memory is full".into(),
            to_do: TroubleKind::Full.to_do(),
            tries: 3,
        };
        for (typed, status, state, said) in [
            (false, None, CheckState::Skipped, "alone"),
            (true, None, CheckState::Warning, "may not read"),
            (
                true,
                Some(&RedisStatus::Unknown),
                CheckState::Warning,
                "not answered",
            ),
            (true, Some(&away), CheckState::Warning, "goes on from PostgreSQL"),
            (
                true,
                Some(&up("allkeys-lru")),
                CheckState::Warning,
                "`allkeys-lru`",
            ),
            (true, Some(&up("noeviction")), CheckState::Ok, "version 7.0.15"),
            (true, Some(&up("")), CheckState::Ok, "is used"),
        ] {
            let check = judge(typed, status.map(|status| ("Redis at h:1", status)));
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.said.contains(said), "{check:?}");
            assert_eq!(check.to_do.is_some(), state == CheckState::Warning, "{check:?}");
        }
    }
}
