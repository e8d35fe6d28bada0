//! The parts of the watching that are this node's: taken up, given away, and kept true to the tables.

use super::{Crew, Key, Order, READ_AGAIN};
use crate::domain::{Shard, WatchId};
use crate::nodes::{Concern, Hold, News};
use crate::store::{StoreError, watches};
use crate::telemetry::ErrorChain;
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How often rows that were written lately are compared with what is watched, where there are other nodes.
pub(super) const REREAD_EVERY: Duration = Duration::from_secs(10);
/// How far back: what a long transaction has written is seen late.
pub(super) const REREAD_BACK: Duration = Duration::from_secs(60);
/// More is not begun.
pub(super) const MOVES_AT_ONCE: usize = 64;
/// How long checks that are open are waited for when their shard is to be another's.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What is under way beside the roster's own turns.
pub(super) type Moves = FuturesUnordered<LocalBoxFuture<'static, ()>>;

/// The shards that are worked on.
#[derive(Default)]
pub(super) struct Shards {
    mine: BTreeMap<Shard, Mine>,
    /// Those whose open checks are waited for.
    leaving: BTreeSet<Shard>,
}

struct Mine {
    hold: Hold,
    watches: HashSet<WatchId>,
}

// === impl Shards ===

impl Shards {
    pub(super) fn has(&self, shard: Shard) -> bool {
        self.mine.contains_key(&shard)
    }

    /// Notes a watch; false when its shard is not this node's.
    pub(super) fn add(&mut self, shard: Shard, watch: WatchId) -> bool {
        let Some(mine) = self.mine.get_mut(&shard) else {
            return false;
        };
        mine.watches.insert(watch);
        true
    }

    pub(super) fn remove(&mut self, watch: WatchId) {
        // Which one it was in stood in its row, which may be gone.
        for mine in self.mine.values_mut() {
            mine.watches.remove(&watch);
        }
    }

    pub(super) fn all(&self) -> Vec<Shard> {
        self.mine.keys().copied().collect()
    }

    /// Those to read rows of; `None` when all are this node's.
    pub(super) fn filter(&self) -> Option<Vec<Shard>> {
        (self.mine.len() < Shard::COUNT).then(|| self.all())
    }

    fn watches(&self, watch: WatchId, shard: Shard) -> bool {
        self.mine
            .get(&shard)
            .is_some_and(|mine| mine.watches.contains(&watch))
    }
}

// === impl Crew: shards ===

impl Crew {
    /// Enters every shard that is to be worked on and is not yet; answers those.
    pub(super) fn enter_all(&self) -> Vec<Shard> {
        let wanted = self.env.ownership.view().shards();
        let mut shards = self.shards.lock();
        let mut come = Vec::new();
        for shard in wanted.into_keys() {
            if shards.has(shard) || shards.leaving.contains(&shard) {
                continue;
            }
            // Refused while nothing is trusted: that it is again will be told.
            let Some(hold) = self.env.ownership.enter(&shard.lease()) else {
                continue;
            };
            let watches = HashSet::new();
            shards.mine.insert(shard, Mine { hold, watches });
            come.push(shard);
        }
        come
    }

    /// Brings what is watched to what is this node's. Called as often as anything may have changed.
    pub(super) fn follow_ownership(self: &Arc<Self>, moves: &mut Moves) {
        let wanted = self.env.ownership.view().shards();
        let gone: Vec<(Shard, Mine)> = {
            let mut shards = self.shards.lock();
            let keep = |shard: &Shard, mine: &Mine| wanted.get(shard) == Some(&mine.hold.epoch());
            let ids: Vec<Shard> = shards
                .mine
                .iter()
                .filter(|(shard, mine)| !keep(shard, mine))
                .map(|(shard, _)| *shard)
                .collect();
            ids.into_iter()
                .filter_map(|shard| Some((shard, shards.mine.remove(&shard)?)))
                .collect()
        };
        if !gone.is_empty() {
            self.give_away(gone, moves);
        }
        let come = self.enter_all();
        if !come.is_empty() {
            tracing::info!(
                shards = come.len(),
                "{} more parts of the watching are this node's",
                come.len()
            );
            moves.push(Arc::clone(self).take_up_shards(come).boxed_local());
        }
    }

    /// What is handed over in order waits for its open checks; what was lost is let go at once: its records are refused.
    fn give_away(self: &Arc<Self>, gone: Vec<(Shard, Mine)>, moves: &mut Moves) {
        let (leaving, lost): (Vec<_>, Vec<_>) = gone.into_iter().partition(|(_, mine)| !mine.hold.is_lost());
        if !lost.is_empty() {
            tracing::warn!(
                shards = lost.len(),
                "{} parts of the watching were lost to other nodes",
                lost.len()
            );
            for (_, mine) in lost {
                mine.watches.into_iter().for_each(|id| self.let_go(id));
            }
        }
        if leaving.is_empty() {
            return;
        }
        let mut done = Vec::new();
        let ids: Vec<WatchId> = leaving
            .iter()
            .flat_map(|(_, mine)| mine.watches.iter().copied())
            .collect();
        for patrol in self.patrols.lock().values() {
            let (tell, told) = oneshot::channel();
            // A patrol that is gone has no open checks.
            let _ = patrol.send(Order::HandOver(ids.clone(), tell));
            done.push(told);
        }
        self.shards
            .lock()
            .leaving
            .extend(leaving.iter().map(|(shard, _)| *shard));
        let crew = Arc::clone(self);
        let ended = async move {
            if timeout(ENDS_WITHIN, join_all(done)).await.is_err() {
                tracing::warn!("Checks of parts of the watching that are handed over have not ended in time");
            }
            for id in &ids {
                for source in crew.env.watchers.keys().copied() {
                    crew.children.remove(&Key {
                        watch_id: *id,
                        source,
                    });
                }
                crew.seeds.lock().remove(id);
            }
            let mut shards = crew.shards.lock();
            for (shard, _) in &leaving {
                shards.leaving.remove(shard);
            }
            // With the last hold they are another's to take.
            drop(shards);
            drop(leaving);
        };
        moves.push(ended.boxed_local());
    }

    /// Watches what has become this node's.
    async fn take_up_shards(self: Arc<Self>, come: Vec<Shard>) {
        let patrols: Vec<_> = {
            let patrols = self.patrols.lock();
            patrols
                .iter()
                .map(|(source, orders)| (*source, orders.clone()))
                .collect()
        };
        for (source, orders) in patrols {
            let mut after = WatchId(0);
            while !orders.is_closed() {
                match self.chunk(source, after, Some(&come)).await {
                    Ok((chunk, Some(last))) => {
                        after = last;
                        // A patrol that is gone enrols again with its next life.
                        let _ = orders.send(Order::Insert(chunk));
                    }
                    Ok((_, None)) => break,
                    Err(error) => {
                        tracing::debug!(%source, error = %ErrorChain(&error), "New watches cannot be read yet");
                        tokio::time::sleep(READ_AGAIN).await;
                    }
                }
            }
        }
    }

    /// Does what another node says of watches; those that are not watched here are left alone.
    pub(super) async fn hear(self: Arc<Self>, said: Result<News, RecvError>) {
        match said {
            Ok(News::Watches(concern, ids)) => match concern {
                Concern::Check => self.check_now(&ids),
                Concern::Sweep => self.look_soon(&ids),
                Concern::Reconsider => self.reconsider(&ids).await,
                Concern::Refresh => {
                    if let Err(error) = self.refresh(&ids).await {
                        tracing::debug!(error = %ErrorChain(&error), "What others changed is read again in a moment");
                    }
                }
            },
            Ok(News::Platforms) => {}
            Ok(News::Relinked) | Err(RecvError::Lagged(_)) => {
                if self.env.ownership.has_company() {
                    self.reread(None).await;
                }
            }
            // Nobody listens for the others any more; the rows say the same.
            Err(RecvError::Closed) => tokio::time::sleep(REREAD_EVERY).await,
        }
    }

    /// Compares rows, those written within `within` or all, with what is watched.
    pub(super) async fn reread(self: Arc<Self>, within: Option<Duration>) {
        if let Err(error) = self.compare(within).await {
            tracing::debug!(error = %ErrorChain(&error), "What other nodes changed cannot be read yet");
        }
    }

    async fn compare(&self, within: Option<Duration>) -> Result<(), StoreError> {
        let moved = watches::moved(&mut *self.env.db.conn().await?, within).await?;
        let strays: Vec<WatchId> = {
            let shards = self.shards.lock();
            let differs = |m: &&watches::Moved| {
                let shard = Shard::of(m.product_id);
                shards.has(shard) && shards.watches(m.watch_id, shard) != m.watched
            };
            moved.iter().filter(differs).map(|m| m.watch_id).collect()
        };
        for some in strays.chunks(5_000) {
            self.refresh(some).await?;
        }
        Ok(())
    }
}
