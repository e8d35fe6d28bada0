//! What a child is told when it is made, and by what its group sees that it lives.
//!
//! Two things can stand still in an actor that has not crashed. Its **mailbox**: a `ctx.wait` that never ends, so that
//! messages wait while nothing is taken. And a **loop** that runs as a future on its context: it hangs in an await
//! while the mailbox is served happily. The first is seen without the actor's help. For the second the loop must beat:
//! an actor that has called [`Life::beat`] has a loop, and must go on beating until it says that it is
//! [idle](Life::idle). Waiting on something outside *with a deadline* counts for both until then: an outage is not a
//! crash.

use parking_lot::Mutex;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a child is told when it is made: its name, and the means to say that it lives and to hear that it must stop.
///
/// Cheap to clone. Each life has its own: a beat from a future that outlived its actor does not keep the successor
/// from being judged.
#[derive(Clone)]
pub struct Life {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    arbiters: Option<super::arbiters::Arbiters>,
    pulse: Mutex<Pulse>,
    /// Made when somebody wants to hear; most children never do.
    stopping: OnceLock<CancellationToken>,
}

struct Pulse {
    began: Instant,
    /// The last beat, once there was one.
    beat: Option<Instant>,
    waiting_until: Option<Instant>,
    stop_asked: bool,
}

// === impl Life ===

impl Life {
    pub(super) fn new(name: Arc<str>, arbiters: Option<super::arbiters::Arbiters>) -> Self {
        let pulse = Mutex::new(Pulse {
            began: Instant::now(),
            beat: None,
            waiting_until: None,
            stop_asked: false,
        });
        let inner = Inner {
            name,
            arbiters,
            pulse,
            stopping: OnceLock::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A life outside of any tree, for tests of one actor: nobody listens to its heart.
    #[must_use]
    pub fn detached(name: &str) -> Self {
        Self::new(Arc::from(name), None)
    }

    /// The child's path, such as `watch/patrol`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// "I make progress." To be called by a loop on every turn, at least once per `stuck_after`. From the first beat on
    /// the next one is expected; an actor that only handles messages need not beat.
    pub fn beat(&self) {
        let mut pulse = self.inner.pulse.lock();
        pulse.beat = Some(Instant::now());
        pulse.waiting_until = None;
    }

    /// "I wait on something outside, until then at the latest." Nothing is expected before the deadline. A loop beats
    /// first: only from one that has beaten is a word expected after it.
    pub fn waiting_until(&self, deadline: Instant) {
        self.inner.pulse.lock().waiting_until = Some(deadline);
    }

    /// "My loop is over": no more beats are expected, until the next one.
    pub fn idle(&self) {
        let mut pulse = self.inner.pulse.lock();
        (pulse.beat, pulse.waiting_until) = (None, None);
    }

    /// Cancelled when this child is asked to stop.
    ///
    /// An actor that has asked for this token finishes what it must and then calls `ctx.stop()`. For one that has not,
    /// the group calls `ctx.stop()` itself.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        let token = self.inner.stopping.get_or_init(CancellationToken::new).clone();
        // Asked to stop before the token was there: whoever gets it now must still hear of it.
        if self.inner.pulse.lock().stop_asked {
            token.cancel();
        }
        token
    }

    /// The arbiter of this name in the child's tree, made when it is not there yet, for the children of a
    /// [`Roster`](super::Roster). It is watched like the others.
    ///
    /// # Errors
    /// When the machine has no thread left, or the life is [`detached`](Self::detached) and no actix system runs.
    pub fn arbiter(&self, name: &str) -> std::io::Result<actix::ArbiterHandle> {
        match &self.inner.arbiters {
            Some(arbiters) => arbiters.get(name),
            None => actix::Arbiter::try_current()
                .ok_or_else(|| std::io::Error::other("no actix system runs here")),
        }
    }

    /// Asks the child to stop; true when it listens and will stop its context itself.
    pub(super) fn ask_stop(&self) -> bool {
        self.inner.pulse.lock().stop_asked = true;
        match self.inner.stopping.get() {
            Some(token) => {
                token.cancel();
                true
            }
            None => false,
        }
    }

    /// When the child is to be held for stuck, as things are.
    pub(super) fn verdict(&self, mailbox: Mailbox, stuck_after: Duration) -> Option<Silence> {
        let pulse = self.inner.pulse.lock();
        let heart = Heart {
            began: pulse.began,
            beat: pulse.beat,
            waiting_until: pulse.waiting_until,
        };
        silence(&heart, mailbox, stuck_after)
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

// === the judgement, pure ===

/// What the mailbox shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mailbox {
    /// When a message was last taken out.
    pub(super) last_taken: Instant,
    /// Since when the oldest message waits.
    pub(super) oldest: Option<Instant>,
}

/// What the loop shows.
#[derive(Clone, Copy, Debug)]
struct Heart {
    began: Instant,
    beat: Option<Instant>,
    waiting_until: Option<Instant>,
}

/// Since when nothing moves, and until when that is bearable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) since: Instant,
    pub(super) stuck_at: Instant,
}

/// Judges a child: `None` when it has no work that could stand still.
fn silence(heart: &Heart, mailbox: Mailbox, stuck_after: Duration) -> Option<Silence> {
    // What the child itself said counts for both; an awaited deadline that is past does not help any more.
    let said = [heart.beat, heart.waiting_until, Some(heart.began)];
    let said = said.into_iter().flatten().max()?;
    // A loop that beats shows that the context is polled, and so that the mailbox is served.
    let since = match heart.beat {
        Some(_) => said,
        None => mailbox.oldest?.max(mailbox.last_taken).max(said),
    };
    let stuck_at = since.checked_add(stuck_after)?;
    Some(Silence { since, stuck_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn heart(began: Instant) -> Heart {
        Heart {
            began,
            beat: None,
            waiting_until: None,
        }
    }

    #[test]
    fn an_idle_actor_without_a_loop_is_never_stuck() {
        let t = Instant::now();
        let mailbox = Mailbox {
            last_taken: t,
            oldest: None,
        };
        assert_eq!(silence(&heart(t), mailbox, LIMIT), None);
    }

    #[test]
    fn the_oldest_message_counts_from_the_last_one_taken() {
        let t = Instant::now();
        let mailbox = Mailbox {
            last_taken: t + secs(7),
            oldest: Some(t + secs(3)),
        };
        let found = silence(&heart(t), mailbox, LIMIT).unwrap();
        assert_eq!(
            found,
            Silence {
                since: t + secs(7),
                stuck_at: t + secs(17)
            }
        );
    }

    #[test]
    fn an_actor_that_has_beaten_once_must_go_on_although_its_mailbox_is_served() {
        let t = Instant::now();
        let heart = Heart {
            beat: Some(t + secs(1)),
            ..heart(t)
        };
        let mailbox = Mailbox {
            last_taken: t + secs(100),
            oldest: None,
        };
        assert_eq!(silence(&heart, mailbox, LIMIT).unwrap().stuck_at, t + secs(11));
    }

    #[test]
    fn waiting_with_a_deadline_counts_as_beating_until_then() {
        let t = Instant::now();
        let heart = Heart {
            beat: Some(t),
            waiting_until: Some(t + secs(300)),
            ..heart(t)
        };
        let mailbox = Mailbox {
            last_taken: t,
            oldest: Some(t + secs(1)),
        };
        assert_eq!(silence(&heart, mailbox, LIMIT).unwrap().stuck_at, t + secs(310));
    }

    #[test]
    fn an_actor_that_has_waited_and_has_no_loop_may_be_idle_for_ever() {
        let t = Instant::now();
        let heart = Heart {
            waiting_until: Some(t + secs(3)),
            ..heart(t)
        };
        let idle = Mailbox {
            last_taken: t,
            oldest: None,
        };
        assert_eq!(silence(&heart, idle, LIMIT), None);
    }

    #[test]
    fn a_loop_that_is_over_owes_no_beats() {
        let life = Life::detached("x");
        let idle = Mailbox {
            last_taken: Instant::now(),
            oldest: None,
        };
        life.beat();
        assert!(life.verdict(idle, LIMIT).is_some());
        life.idle();
        assert_eq!(life.verdict(idle, LIMIT), None);
    }

    #[test]
    fn never_is_never() {
        let t = Instant::now();
        let mailbox = Mailbox {
            last_taken: t,
            oldest: Some(t),
        };
        assert_eq!(silence(&heart(t), mailbox, Duration::MAX), None);
    }

    #[test]
    fn a_token_taken_after_the_child_was_asked_to_stop_is_cancelled() {
        let life = Life::detached("x");
        assert!(!life.ask_stop(), "nobody listens yet");
        assert!(life.stopping().is_cancelled());
    }
}
