//! Copies what is due into Redis, again and again.
//!
//! A reconciler: what it does depends on what stands in the table, not on what it did before. Each lane that this process
//! serves has one. It looks from the beginning every [`FULL_EVERY`], at once when Redis comes back or was emptied, and
//! from where it was every second, and when something is told of the lane or the copy runs out. Several nodes do so beside each other: an
//! entry that is put there twice is one, and one that is put there after somebody took it costs its popper a look.
//!
//! Only committed rows are copied, and nothing depends on the copy: the supply looks into the table itself every few
//! seconds, and always while Redis is away.

use super::notifier::Notices;
use super::staged::{MOST, Staged};
use crate::store::jobs::{Lane, due_soon};
use crate::store::redis::lane::{self, Due};
use crate::store::redis::{Link, Trouble};
use crate::store::{Db, StoreError, looping};
use crate::supervision::{ChildSpec, Life};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What sorts before the place where the last look ended (a priority that changed, a transaction that took long) is copied
/// this late.
const FULL_EVERY: Duration = Duration::from_secs(10);
/// What is told to nobody (a job for later, a retry) is copied this late, which is long before it is due or not at all.
const ONWARD_EVERY: Duration = Duration::from_secs(1);
/// What comes due within this is copied ahead, to be popped the moment it is due.
const SOON: Duration = Duration::from_secs(30);
/// Notices come in swarms: they are heard together.
const SWARM: Duration = Duration::from_millis(25);
/// One turn takes no longer.
const TURN: Duration = Duration::from_secs(60);

/// A child that copies one lane.
pub(super) fn child(db: Db, notices: Notices, link: Link, lane: Lane, staged: Arc<Staged>) -> ChildSpec {
    let name = format!("stager-{lane}");
    let name = name.trim_end_matches('/').replace('/', "-");
    looping::child(&name, move |life| {
        let stager = Stager {
            db: db.clone(),
            link: link.clone(),
            lane,
            staged: Arc::clone(&staged),
        };
        stager.keep(notices.clone(), life)
    })
}

struct Stager {
    db: Db,
    link: Link,
    lane: Lane,
    staged: Arc<Staged>,
}

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
enum NotStaged {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Redis(#[from] Trouble),
}

// === impl Stager ===

impl Stager {
    async fn keep(self, notices: Notices, life: Life) {
        let mut notice = notices.subscribe(self.lane);
        let mut fills = self.link.fills();
        let mut full_at = Instant::now();
        loop {
            life.beat();
            life.waiting_until(Instant::now() + TURN);
            // heard before the look, so that what happens meanwhile is not slept over
            notice.arm();
            if fills.has_changed().unwrap_or(false) {
                fills.mark_unchanged();
                self.staged.forget();
                full_at = Instant::now();
            }
            if self.link.is_up() {
                let full = Instant::now() >= full_at;
                match self.stage(full).await {
                    Ok(()) if full => full_at = Instant::now() + FULL_EVERY,
                    Ok(()) => {}
                    Err(error) => {
                        // What is the matter is told elsewhere: by the link, and by whoever asks the database.
                        tracing::debug!("Jobs of {} were not copied to Redis: {error}", self.lane);
                        full_at = Instant::now() + SWARM * 40;
                    }
                }
            } else {
                full_at = Instant::now() + FULL_EVERY;
            }
            let swarm = Instant::now() + SWARM;
            life.beat();
            life.waiting_until(swarm + TURN);
            tokio::select! {
                () = life.stopping().cancelled_owned() => return,
                Ok(()) = fills.changed() => { fills.mark_changed(); continue }
                () = notice.wait(ONWARD_EVERY) => {}
                () = self.staged.hungry.notified() => continue,
            }
            tokio::time::sleep_until(swarm).await;
        }
    }

    async fn stage(&self, full: bool) -> Result<(), NotStaged> {
        let levels = self.staged.levels(full);
        let found = {
            let mut conn = self.db.conn().await?;
            due_soon(&mut conn, self.lane, &levels, SOON, MOST).await?
        };
        let answered = Instant::now();
        let due: Vec<Due> = found.jobs.iter().map(|(due, _)| *due).collect();
        lane::put(&self.link, self.lane, &due).await?;
        let times = found.jobs.iter().map(|(due, at)| (due.priority, *at));
        self.staged.looked(found.now, answered, times);
        Ok(())
    }
}
