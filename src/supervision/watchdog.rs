//! The thread that watches the threads.
//!
//! tokio does not preempt: an actor that loops without an await, or makes a blocking call, holds its arbiter and
//! everybody on it, and no supervisor on any runtime can take it away. So a plain thread calls into every arbiter (and
//! into the shared runtime) once a second. While all of them answer it calls `feed` (systemd's watchdog). When one has
//! not answered for `patience` it stops feeding; when one has not for `limit` it says which and calls `abort`: the
//! process ends and is started anew, which loses nothing that was accepted. With the defaults the end comes 26 s after
//! the block at the latest, within the 35 s that are promised.

use super::arbiters::{Arbiters, Owing};
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// What the watching thread does. Made by [`new`](Self::new); the fields have good defaults.
pub struct Watchdog {
    /// How often it calls.
    pub every: Duration,
    /// A thread that owes an answer for longer is in doubt, and `feed` is not called.
    pub patience: Duration,
    /// A thread that owes an answer for longer is blocked, and `abort` is called.
    pub limit: Duration,
    feed: Box<dyn FnMut() + Send>,
    abort: Box<dyn FnMut(&str) + Send>,
}

// === impl Watchdog ===

impl Watchdog {
    /// Calls `feed` every second while all threads answer, and `abort` with the name of one that does not: it is
    /// expected to end the process.
    pub fn new(feed: impl FnMut() + Send + 'static, abort: impl FnMut(&str) + Send + 'static) -> Self {
        Self {
            every: Duration::from_secs(1),
            patience: Duration::from_secs(5),
            limit: Duration::from_secs(25),
            feed: Box::new(feed),
            abort: Box::new(abort),
        }
    }

    /// Starts the thread; it ends when what is given back is dropped.
    pub(super) fn start(mut self, arbiters: Arbiters) -> std::io::Result<Running> {
        let (hold, held) = channel::<()>();
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut last = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = held.recv_timeout(self.every) {
                let now = Instant::now();
                if stood_still(now.saturating_duration_since(last), self.every) {
                    arbiters.forgive(now);
                }
                last = now;
                match judge(&arbiters.probe(now), self.patience, self.limit) {
                    Verdict::Well => (self.feed)(),
                    Verdict::Doubt => {}
                    Verdict::Blocked { name, silent } => {
                        tracing::error!(
                            arbiter = %name, silent_ms = %silent.as_millis(),
                            "Arbiter `{name}` has not answered for {silent:?}: something blocks its thread. \
                             Ending the process so that it is started anew"
                        );
                        (self.abort)(&name);
                        return;
                    }
                }
            }
        })?;
        Ok(Running { _hold: hold })
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog")
            .field("every", &self.every)
            .field("patience", &self.patience)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Keeps the thread going.
pub(super) struct Running {
    _hold: Sender<()>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Well,
    Doubt,
    Blocked { name: String, silent: Duration },
}

/// Judges by the thread that has been silent longest.
fn judge(owing: &[Owing], patience: Duration, limit: Duration) -> Verdict {
    match owing.iter().max_by_key(|owing| owing.silent) {
        Some(Owing { name, silent }) if *silent >= limit => Verdict::Blocked {
            name: name.clone(),
            silent: *silent,
        },
        Some(Owing { silent, .. }) if *silent >= patience => Verdict::Doubt,
        _ => Verdict::Well,
    }
}

/// This thread itself slept far longer than it wanted: the process was stopped, and no arbiter is to blame.
fn stood_still(slept: Duration, every: Duration) -> bool {
    slept > every.saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owing(secs: &[u64]) -> Vec<Owing> {
        let one = |(i, s): (usize, &u64)| Owing {
            name: format!("a{i}"),
            silent: Duration::from_secs(*s),
        };
        secs.iter().enumerate().map(one).collect()
    }

    fn judged(secs: &[u64]) -> Verdict {
        judge(&owing(secs), Duration::from_secs(5), Duration::from_secs(25))
    }

    #[test]
    fn it_feeds_while_all_answer_and_names_the_one_that_does_not() {
        assert_eq!(judged(&[]), Verdict::Well);
        assert_eq!(judged(&[0, 4]), Verdict::Well);
        assert_eq!(judged(&[5, 0]), Verdict::Doubt);
        let silent = Duration::from_secs(25);
        assert_eq!(
            judged(&[0, 25, 6]),
            Verdict::Blocked {
                name: "a1".to_owned(),
                silent
            }
        );
    }

    #[test]
    fn a_blocked_arbiter_ends_the_process_within_the_promised_time() {
        let dog = Watchdog::new(|| {}, |_| {});
        // Asked just before the block: a whole round later, then the limit, then up to one round to see it.
        assert!(dog.every * 2 + dog.limit < Duration::from_secs(35));
    }
}
