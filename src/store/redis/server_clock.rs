//! The server's clock, as far as it can be told from here.
//!
//! Answers carry the server's time, and arrive later than it was read. The quickest one tells it best: it is kept until a
//! quicker one comes or it is old (clocks drift). What is told by it is never early: an instant of the server's is here
//! then or has been, which is what whoever waits for a turn needs.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Clocks drift by some tens of microseconds a second.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// An answer that is further off than this shows that the server's clock was set, or that it is another server.
const SET: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub struct ServerClock {
    best: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    server_us: i64,
    since: Instant,
}

// === impl ServerClock ===

impl ServerClock {
    /// An answer with the server's time arrived.
    pub fn seen(&self, arrived: Instant, server_us: i64) {
        let mut best = self.best.lock();
        let new = Seen {
            at: arrived,
            server_us,
            since: arrived,
        };
        *best = Some(match *best {
            Some(known) if !known.is_old(arrived) => {
                let expected = known.at_server(arrived);
                // A quicker answer shows a later time than the known one leads to expect.
                let quicker = server_us > expected;
                if quicker || distance(server_us, expected) > SET {
                    new
                } else {
                    known
                }
            }
            _ => new,
        });
    }

    /// What it shows at `now` at the least; `None` before the first answer.
    #[must_use]
    pub fn at(&self, now: Instant) -> Option<i64> {
        Some((*self.best.lock())?.at_server(now))
    }

    /// When it shows `server_us`, as an instant of ours that is not before it.
    #[must_use]
    pub fn when(&self, server_us: i64) -> Option<Instant> {
        let known = (*self.best.lock())?;
        let ahead = server_us.saturating_sub(known.server_us);
        let by = Duration::from_micros(ahead.unsigned_abs());
        if ahead >= 0 {
            known.at.checked_add(by)
        } else {
            known.at.checked_sub(by)
        }
    }
}

impl Seen {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > BELIEVED_FOR
    }

    fn at_server(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.at).as_micros();
        self.server_us
            .saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }
}

fn distance(a: i64, b: i64) -> Duration {
    Duration::from_micros(a.abs_diff(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let (clock, start) = (ServerClock::default(), Instant::now());
        clock.seen(start, 10_000_000);
        clock.seen(start + ms(100), 3_000_000);
        assert_eq!(clock.at(start + ms(100)), Some(3_000_000));
    }

    proptest! {
        #[test]
        fn what_it_tells_is_never_early_and_as_late_as_the_quickest_answer(
            answers in prop::collection::vec((0_u64..10_000, 0_u64..500), 1..30)
        ) {
            // the server's clock shows the milliseconds since `start`, and five seconds
            let (clock, start) = (ServerClock::default(), Instant::now());
            let mut answers = answers;
            answers.sort_by_key(|(read, late)| read + late);
            for (read, late) in &answers {
                clock.seen(start + ms(read + late), i64::try_from((read + 5_000) * 1_000).unwrap());
            }
            let quickest = answers.iter().map(|(_, late)| *late).min().unwrap();
            let when = clock.when(25_000_000).unwrap();
            prop_assert!(when >= start + ms(20_000));
            prop_assert!(when <= start + ms(20_000 + quickest));
            prop_assert!(clock.at(start + ms(20_000)).unwrap() <= 25_000_000);
        }
    }
}
