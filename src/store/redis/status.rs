//! How Redis is, as a value that others can watch.

use super::trouble::{Trouble, TroubleKind};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// How Redis is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RedisStatus {
    /// Not asked yet.
    Unknown,
    /// It is used.
    Up {
        /// Since when.
        since: DateTime<Utc>,
        /// What it says of itself.
        facts: Facts,
    },
    /// It is not; everything goes on without it.
    Away {
        /// Since when.
        since: DateTime<Utc>,
        /// What is the matter.
        kind: TroubleKind,
        /// The same in words.
        reason: String,
        /// What a person does about it.
        to_do: &'static str,
        /// How often it was tried since.
        tries: u32,
    },
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Its version; empty when it does not say.
    pub version: String,
    /// What it throws away when its memory is full; empty when it does not say. Ours may be lost, but is of more use there.
    pub eviction: String,
    /// The memory it may use, in bytes; 0 is all there is.
    pub most_bytes: u64,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub struct Counted {
    /// Times that it went away.
    pub lost: AtomicU64,
    /// Times that what was there was found to be gone, or may have been.
    pub emptied: AtomicU64,
    /// Entries that were not ours, or made no sense.
    pub foreign: AtomicU64,
}

// === impl RedisStatus ===

impl RedisStatus {
    /// Whether it is used.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    pub(super) fn away(&self, now: DateTime<Utc>, trouble: &Trouble) -> Self {
        let (since, tries) = match self {
            Self::Away { since, tries, .. } => (*since, *tries),
            Self::Unknown | Self::Up { .. } => (now, 0),
        };
        Self::Away {
            since,
            kind: trouble.kind,
            reason: trouble.to_string(),
            to_do: trouble.kind.to_do(),
            tries: tries.saturating_add(1),
        }
    }
}

// === impl Facts ===

impl Facts {
    /// Reads what `INFO` says.
    pub(super) fn read(info: &str) -> Self {
        let of = |name: &str| {
            let mut lines = info.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found
                .unwrap_or_default()
                .trim()
                .chars()
                .take(40)
                .collect::<String>()
        };
        Self {
            version: of("redis_version"),
            eviction: of("maxmemory_policy"),
            most_bytes: of("maxmemory").parse().unwrap_or_default(),
        }
    }

    /// Whether it may throw away entries on its own, ours among them.
    #[must_use]
    pub fn evicts(&self) -> bool {
        !self.eviction.is_empty() && self.eviction != "noeviction"
    }
}

// === impl Counted ===

impl Counted {
    pub(super) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_info_says_is_read_and_what_it_does_not_say_is_nothing() {
        let facts = Facts::read(
            "# Server\r\nredis_version:7.0.15\r\nmaxmemory:1048576\r\nmaxmemory_policy:allkeys-lru\r\n",
        );
        assert_eq!((facts.version.as_str(), facts.most_bytes), ("7.0.15", 1_048_576));
        assert!(facts.evicts());
        assert_eq!(Facts::read(""), Facts::default());
        assert!(!Facts::default().evicts());
    }

    #[test]
    fn an_outage_keeps_its_beginning_and_counts_its_tries() {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        let first = RedisStatus::Unknown.away(at(1), &Trouble::new(TroubleKind::Slow, ""));
        let RedisStatus::Away {
            since, tries, kind, ..
        } = first.away(at(9), &Trouble::new(TroubleKind::Full, ""))
        else {
            panic!("{first:?}")
        };
        assert_eq!((since, tries, kind), (at(1), 2, TroubleKind::Full));
    }
}
