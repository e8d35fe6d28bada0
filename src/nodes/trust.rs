//! The time for which a node may believe what it was told: counted by a clock that suspension does not stop.

use nix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time since the machine started, suspended or not. It stands still only where the machine has no such clock, and then
/// nothing is ever trusted anew.
pub(super) fn since_boot() -> Duration {
    let read = clock_gettime(ClockId::CLOCK_BOOTTIME).or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
    read.map(Duration::from).unwrap_or_default()
}

/// Until when ownership is believed.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Nanoseconds since the machine started.
    until: AtomicU64,
}

// === impl Trust ===

impl Trust {
    /// Believed for ever: for whoever is alone by construction.
    pub(super) fn for_ever() -> Self {
        Self {
            until: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether ownership is believed at `now`.
    pub(super) fn holds_at(&self, now: Duration) -> bool {
        nanos(now) < self.until.load(Ordering::Acquire)
    }

    /// Believed until `until`. It never moves back: the last word of the database is the newest.
    pub(super) fn extend(&self, until: Duration) {
        self.until.fetch_max(nanos(until), Ordering::AcqRel);
    }

    /// Not believed any more, until it is [extended](Self::extend) by a later heartbeat.
    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_ends_by_itself_and_only_a_later_word_extends_it() {
        let (trust, s) = (Trust::default(), Duration::from_secs);
        assert!(!trust.holds_at(s(0)), "nothing was said yet");
        trust.extend(s(8));
        assert!(trust.holds_at(s(7)) && !trust.holds_at(s(8)));
        trust.extend(s(5));
        assert!(
            trust.holds_at(s(7)),
            "an older word that is late shortens nothing"
        );
        trust.end();
        assert!(!trust.holds_at(s(1)));
        trust.extend(s(10));
        assert!(trust.holds_at(s(9)));
    }

    #[test]
    fn the_clock_goes_on() {
        let before = since_boot();
        assert!(before > Duration::ZERO);
        assert!(since_boot() >= before);
    }
}
