//! Tells consumers that there may be work.
//!
//! One connection listens for the whole process; a lane's consumers wait on a counter each. A notice is only a hint that
//! makes a poll come sooner: when the link is down, or the server's queue of notices was full, polling finds everything.
//! So whenever the link comes up, every lane is told once: what happened meanwhile was told to nobody.
//!
//! Register, then look, then wait: [`Notice::arm`] before the claim makes sure that work which is enqueued between the
//! look and the wait is not slept over.

use crate::store::jobs::Lane;
use crate::store::{Db, StoreError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const CHANNEL: &str = "zaikoban_queue";

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
