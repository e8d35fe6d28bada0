//! Where Redis is.

use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::time::Duration;

/// Room for the instance and a name behind it; a key of Redis may be longer, a person's patience is not.
const LONGEST_PREFIX: usize = 64;

/// How Redis is reached, and under which name our keys stand there. Never shows its password.
#[derive(Clone)]
pub struct RedisSettings {
    pub(super) at: ConnectionInfo,
    pub(super) prefix: String,
    /// How long an answer may take; more is an outage.
    pub answer_limit: Duration,
}

/// Why the settings cannot be used. None of them shows a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRedis {
    /// `rediss://`.
    #[error(
        "TLS to Redis is not built in: reach it over this machine's network or its Unix socket, or through a tunnel \
         (stunnel, WireGuard), with `redis://`"
    )]
    Tls,
    /// Not an address.
    #[error("it cannot be read as an address: {0}")]
    Address(String),
    /// The password is said twice.
    #[error("the password stands in the address already: leave one of the two out")]
    TwoPasswords,
    /// The prefix has other characters, or is empty or long.
    #[error("a prefix is 1 to {LONGEST_PREFIX} of the characters a-z A-Z 0-9 _ . -")]
    Prefix,
}

// === impl RedisSettings ===

impl RedisSettings {
    /// Reads an address such as `redis://user:password@host:6379/0` or `redis+unix:///run/redis/redis.sock?db=1`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(url: &str, password: Option<&SecretString>, prefix: &str) -> Result<Self, BadRedis> {
        let scheme = url.split(':').next().unwrap_or_default();
        if matches!(scheme, "rediss" | "valkeys") {
            return Err(BadRedis::Tls);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.chars().all(plain) {
            return Err(BadRedis::Prefix);
        }
        // The client's own words name what is wrong, never what was typed, but for a text that is no number.
        let mut at = url
            .into_connection_info()
            .map_err(|error| BadRedis::Address(error.category().to_owned() + ": " + &reason(&error)))?;
        let mut redis = at.redis_settings().clone().set_skip_set_lib_name();
        if let Some(password) = password {
            if redis.password().is_some() {
                return Err(BadRedis::TwoPasswords);
            }
            redis = redis.set_password(password.expose_secret());
        }
        at = at.set_redis_settings(redis);
        Ok(Self {
            at,
            prefix: prefix.to_owned(),
            answer_limit: super::ANSWER_LIMIT,
        })
    }

    /// Where it is, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let db = self.at.redis_settings().db();
        match self.at.addr() {
            ConnectionAddr::Unix(path) => format!("Redis at {} (database {db})", path.display()),
            ConnectionAddr::Tcp(host, port) => format!("Redis at {host}:{port} (database {db})"),
            _ => "Redis".to_owned(),
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("at", &self.shown())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn reason(error: &deadpool_redis::redis::RedisError) -> String {
    // Display begins with what it is, and a detail in brackets may quote the address: only the fixed part is taken.
    let text = error.to_string();
    let text = text.split(" - ").next().unwrap_or_default();
    text.split('(').next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(url: &str) -> Result<RedisSettings, BadRedis> {
        RedisSettings::new(url, None, "zaikoban")
    }

    #[test]
    fn addresses_are_read_and_shown_without_their_password() {
        let settings = new("redis://u:canary@cache.example:7000/3").unwrap();
        assert_eq!(settings.shown(), "Redis at cache.example:7000 (database 3)");
        let socket = new("redis+unix:///run/redis.sock?db=2&pass=canary").unwrap();
        assert_eq!(socket.shown(), "Redis at /run/redis.sock (database 2)");
        assert!(!format!("{settings:?}{socket:?}").contains("canary"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_no_password_is_shown() {
        assert_eq!(new("rediss://:canary@h").unwrap_err(), BadRedis::Tls);
        for url in [
            "",
            "h:6379",
            "http://:canary@h",
            "redis://",
            "redis://:canary@h/canary",
            "redis://:canary@0.0.0.0",
            "redis+unix://canary",
        ] {
            let error = new(url).unwrap_err();
            assert!(matches!(error, BadRedis::Address(_)), "{url}: {error:?}");
            assert!(!error.to_string().contains("canary"), "{url}: {error}");
        }
        let password = SecretString::from("canary");
        let twice = RedisSettings::new("redis://:x@h", Some(&password), "zaikoban").unwrap_err();
        assert_eq!(twice, BadRedis::TwoPasswords);
        for prefix in ["", "a b", "a:b", "x*", &"x".repeat(65)] {
            let error = RedisSettings::new("redis://h", None, prefix).unwrap_err();
            assert_eq!(error, BadRedis::Prefix, "{prefix}");
        }
    }
}
