//! Tells consumers that there may be work.
//!
//! One connection listens for the whole process; a lane's consumers wait on a counter each. A notice is only a hint that
//! makes a poll come sooner: when the link is down, or the server's queue of notices was full, polling finds everything.
//! So whenever the link comes up, every lane is told once: what happened meanwhile was told to nobody.
//!
//! Register, then look, then wait: [`Notice::arm`] before the claim makes sure that work which is enqueued between the
//! look and the wait is not slept over.

use crate::backoff::{Backoff, Jitter};
use crate::store::jobs::Lane;
use crate::store::{Db, StoreError, looping};
use crate::supervision::Life;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const CHANNEL: &str = "zaikoban_queue";

/// How often a quiet link says that its keeper lives.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// Making the link takes no longer than this.
const LINK_LIMIT: Duration = Duration::from_secs(30);

/// Where consumers register, and where the link delivers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Notices {
    lanes: Arc<Mutex<HashMap<String, watch::Sender<u64>>>>,
}

/// One consumer's ear for its lane.
pub struct Notice {
    heard: watch::Receiver<u64>,
}

// === impl Notices ===

impl Notices {
    /// An ear for `lane`.
    #[must_use]
    pub fn subscribe(&self, lane: Lane) -> Notice {
        let mut lanes = self.lanes.lock();
        let heard = lanes.entry(lane.to_string()).or_default().subscribe();
        Notice { heard }
    }

    /// Tells the lane by its name, as the database says it.
    fn tell(&self, lane: &str) {
        if let Some(ears) = self.lanes.lock().get(lane) {
            ears.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Tells every lane.
    pub fn tell_all(&self) {
        for ears in self.lanes.lock().values() {
            ears.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

// === impl Notice ===

impl Notice {
    /// Forgets what was heard so far. Call it before looking for work.
    pub fn arm(&mut self) {
        self.heard.mark_unchanged();
    }

    /// Waits until something was heard since [`Self::arm`], at most `poll`.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was heard stays heard until the next [`Self::arm`].
    pub async fn wait(&mut self, poll: Duration) {
        // a hub that is gone tells nothing more: only the poll is left
        let heard = async {
            if self.heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(poll, heard).await;
    }
}

/// Listens, again and again when the link breaks, until it is asked to stop.
pub(super) async fn keep_listening(db: Db, notices: Notices, life: Life) {
    let mut failed = 0;
    loop {
        let is_up = Cell::new(false);
        let ended = {
            let mut link = pin!(listen(&db, &notices, || is_up.set(true)));
            loop {
                life.beat();
                life.waiting_until(Instant::now() + LINK_LIMIT);
                tokio::select! {
                    () = life.stopping().cancelled_owned() => return,
                    ended = &mut link => break ended,
                    () = tokio::time::sleep(BEAT_EVERY) => {}
                }
            }
        };
        // waits grow only while no link comes about
        failed = if is_up.get() { 0 } else { failed + 1 };
        if let Err(error) = ended {
            tracing::debug!("No link for notices, polling goes on: {error}");
        }
        let wait = relink_waits().delay(failed, &mut rand::rng());
        if !looping::pause(&life, wait).await {
            return;
        }
    }
}

/// Polling covers an absent link, so there is no hurry.
#[expect(
    clippy::expect_used,
    reason = "the bounds are the constants beside it, and a test builds them"
)]
fn relink_waits() -> Backoff {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(10), Jitter::TENTH).expect("0.25 to 10 s")
}

/// Listens until the link breaks, passing on what is told.
///
/// # Errors
/// [`StoreError::Unavailable`] when the link cannot be made or has ended.
pub async fn listen(db: &Db, notices: &Notices, up: impl FnOnce()) -> Result<(), StoreError> {
    let (conn, mut told) = db.listen(CHANNEL).await?;
    up();
    notices.tell_all();
    while let Some(notice) = told.recv().await {
        notices.tell(&notice.payload);
    }
    drop(conn);
    Err(StoreError::Unavailable {
        reason: "the link for notices has ended".to_owned(),
        sqlstate: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DestinationPlatform;

    fn ebay() -> Lane {
        Lane::sync(DestinationPlatform::Ebay)
    }

    #[test]
    fn the_waits_between_links_are_a_backoff() {
        assert_eq!(relink_waits().ceiling(20), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_between_the_look_and_the_wait_is_not_slept_over() {
        let notices = Notices::default();
        let mut notice = notices.subscribe(ebay());
        notice.arm();
        notices.tell("platform_sync/ebay");
        let began = Instant::now();
        notice.wait(Duration::from_secs(60)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_is_told_nothing_polls() {
        let notices = Notices::default();
        let mut notice = notices.subscribe(ebay());
        notice.arm();
        notices.tell("platform_sync/mercari");
        notices.tell("nonsense");
        let began = Instant::now();
        notice.wait(Duration::from_secs(60)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(60));
        drop(notices);
        notice.wait(Duration::from_secs(60)).await;
        assert_eq!(
            began.elapsed(),
            Duration::from_secs(120),
            "a hub that is gone is no busy loop"
        );
    }
}
