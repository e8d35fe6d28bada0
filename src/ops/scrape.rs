//! `/metrics`: the numbers that the rooms keep anyway, in Prometheus' text format.
//!
//! Nothing is counted twice for it. The rooms' own counters are read when somebody scrapes, put into a recorder of
//! `metrics-exporter-prometheus` that lives for this one answer (so that a series which ended does not linger), and
//! written by it; names, types and escaping are its affair. Counts that only the database knows are asked through
//! indexes, at most every [`FRESH`], by a task of its own: a scrape waits [`PATIENCE`] for it and then tells what was
//! known before, with its age. So a scrape answers within a tenth of a second whatever the database does.
//!
//! # Labels
//! Each value is a member of a closed list (a platform, an outcome, a state, a severity, a part of the tree); what is not
//! in it is left out. No title, address or number of a product can become a label.

mod sheet;

use super::Ops;
use super::process;
use crate::domain::{DestinationPlatform, SourcePlatform};
use crate::queue::fast::FastLanes;
use crate::resilience::GuardStatus;
use crate::store::figures::{self, Counted, Delay};
use crate::store::{DatabaseStatus, StoreError};
use crate::supervision::{ChildState, NodeReport, spawn_owned};
use crate::sync::{GetStatus, SyncStatus};
use crate::watch::CountersSnapshot;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long counts of the database are told without asking again.
const FRESH: Duration = Duration::from_secs(5);
/// Older ones are not told any more.
const STALE: Duration = Duration::from_secs(300);
/// How long a scrape waits for the database, and for a syncer.
const PATIENCE: Duration = Duration::from_millis(50);
/// The delay is told over the last hour.
const DELAY_WINDOW_S: i64 = 3_600;

/// Everything that is told, at one moment.
#[derive(Default)]
struct Snapshot {
    ready: bool,
    uptime: Duration,
    watch: Vec<(SourcePlatform, CountersSnapshot)>,
    sync: Vec<(DestinationPlatform, SyncStatus)>,
    guards: Vec<GuardStatus>,
    tree: Vec<Part>,
    process: process::Process,
    database: Option<DatabaseStatus>,
    redis: Option<FastLanes>,
    /// Nodes that live, and the shards that are this one's.
    nodes: Option<(u64, u64)>,
    figures: Option<(Duration, Arc<Figures>)>,
}

/// One group of the tree, with all below it.
struct Part {
    name: String,
    restarts: u64,
    parked: u64,
    degraded: bool,
}

/// What only the database knows.
#[derive(Default)]
struct Figures {
    counts: Vec<Counted>,
    delays: Vec<Delay>,
}

/// Where the database's counts are kept between scrapes.
#[derive(Default)]
pub(super) struct Kept {
    figures: Mutex<Option<(Instant, Arc<Figures>)>>,
    asking: AtomicBool,
}

impl Kept {
    fn known(&self, most: Duration) -> Option<(Duration, Arc<Figures>)> {
        let known = self.figures.lock().clone()?;
        let age = known.0.elapsed();
        (age <= most).then_some((age, known.1))
    }
}

/// Says that nobody asks any more, whatever became of the asking.
struct Asking(Ops);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.0.scraped.asking.store(false, Ordering::Release);
    }
}

impl Ops {
    /// Every number, as Prometheus reads it. Answers at every moment of the daemon's life.
    pub async fn metrics(&self) -> String {
        sheet::written(&self.snapshot().await)
    }

    async fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            uptime: self.0.started.elapsed(),
            process: process::process(),
            ..Snapshot::default()
        };
        if let Some(tree) = self.running_tree() {
            snapshot.tree = tree.report().root.children.iter().map(part).collect();
        }
        let Ok(parts) = self.parts() else { return snapshot };
        snapshot.ready = true;
        let view = parts.keeper.ownership().view();
        let whole = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        snapshot.nodes = Some((whole(view.others.saturating_add(1)), whole(view.shards().len())));
        snapshot.guards = parts.guards.statuses();
        snapshot.redis.clone_from(&parts.redis);
        snapshot.database = Some(parts.database.watch().borrow().clone());
        let counters = parts.counters.iter();
        snapshot.watch = counters.map(|(source, c)| (*source, c.snapshot())).collect();
        for (destination, selling) in &parts.destinations {
            if let Ok(status) = selling.syncer.send_within(PATIENCE, GetStatus).await {
                snapshot.sync.push((*destination, status));
            }
        }
        snapshot.figures = self.tables().await;
        snapshot
    }

    async fn tables(&self) -> Option<(Duration, Arc<Figures>)> {
        let kept = &self.0.scraped;
        if let Some(fresh) = kept.known(FRESH) {
            return Some(fresh);
        }
        if !kept.asking.swap(true, Ordering::AcqRel) {
            let asking = Asking(self.clone());
            // It runs to its end though the scrape goes: the next one finds what it brought.
            let task = spawn_owned("figures of /metrics", async move {
                if let Err(error) = asking.0.ask_figures().await {
                    tracing::debug!(%error, "The counts of /metrics stay as they are");
                }
            });
            let _later = timeout(PATIENCE, task.to_its_end()).await;
        }
        kept.known(STALE)
    }

    async fn ask_figures(&self) -> Result<(), StoreError> {
        let Ok(parts) = self.parts() else { return Ok(()) };
        let mut conn = parts.db.conn().await?;
        let found = Figures {
            counts: figures::counts(&mut conn).await?,
            delays: figures::delays(&mut conn, DELAY_WINDOW_S).await?,
        };
        *self.0.scraped.figures.lock() = Some((Instant::now(), Arc::new(found)));
        Ok(())
    }
}

fn part(group: &NodeReport) -> Part {
    let mut part = Part {
        name: group.name.clone(),
        restarts: 0,
        parked: 0,
        degraded: group.degraded,
    };
    let mut below = vec![group];
    while let Some(node) = below.pop() {
        // A group counts the restarts of its own; its children count theirs.
        part.restarts = part.restarts.saturating_add(u64::from(node.restarts));
        part.parked = part
            .parked
            .saturating_add(u64::from(node.state == ChildState::Parked));
        below.extend(&node.children);
    }
    part
}
