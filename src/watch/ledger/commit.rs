//! One group, one transaction.

use super::record::{Record, Recorded};
use crate::domain::{
    BY_DEADLINE, Committed, Epoch, HoldId, HoldStatus, KnownHold, ListingId, ProductId, Shard, Version,
    WatchId,
};
use crate::pricing::PriceBook;
use crate::store::Connection as AsyncPgConnection;
use crate::store::leases;
use crate::store::ledger::{self, Fence, StateWrite, Touch, Written};
use crate::store::watches::{WatchRow, rows_of};
use crate::store::{Db, StoreError};
use crate::watch::follow::{Origin, follow};
use crate::watch::judge::HoldStep;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// What a group needs beside its records.
#[derive(Clone)]
pub(super) struct Commit {
    pub(super) db: Db,
    pub(super) book: Arc<PriceBook>,
    /// Who writes.
    pub(super) boot: Uuid,
}

/// What a transaction made of a group.
#[derive(Default)]
struct Outcome {
    touched: HashSet<WatchId>,
    written: HashMap<WatchId, Written>,
    moved: HashMap<ProductId, Vec<ListingId>>,
    /// What stands where the version was another.
    stale: HashMap<WatchId, WatchRow>,
    /// Whose part of the watching is another node's by now, or was in between.
    lost: HashSet<WatchId>,
}

impl Commit {
    /// Writes the group in one transaction; one answer for each record, in order.
    ///
    /// # Errors
    /// Those of the store, for the group as a whole: nothing of it is committed, or, when the connection broke around
    /// COMMIT, nobody knows. Writing the same group again is harmless and tells.
    pub(super) async fn write(
        &self,
        group: &Arc<Vec<Record>>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let fence = self.fence(group);
        let outcome = if group.iter().all(|r| r.news.is_none()) {
            // One statement is a transaction of its own: two round trips less.
            let mut conn = self.db.conn().await?;
            fail::fail_point!("fp4_before_commit");
            touch(&mut conn, group, &fence).await?
        } else {
            let (group, book) = (Arc::clone(group), Arc::clone(&self.book));
            self.db
                .transaction(move |conn| {
                    async move {
                        let outcome = write(conn, &group, &fence, &book, now).await?;
                        fail::fail_point!("fp4_before_commit");
                        Ok(outcome)
                    }
                    .boxed()
                })
                .await?
        };
        Ok(group.iter().map(|record| outcome.answer(record)).collect())
    }

    fn fence(&self, group: &[Record]) -> Fence {
        let shards: BTreeSet<(Shard, Epoch)> = group.iter().map(Record::part).collect();
        Fence {
            owner: self.boot,
            shards: shards.into_iter().collect(),
        }
    }
}

async fn touch(conn: &mut AsyncPgConnection, group: &[Record], fence: &Fence) -> Result<Outcome, StoreError> {
    let touches: Vec<_> = group.iter().map(Record::touch).collect();
    let mut outcome = Outcome {
        touched: ledger::touch(conn, &touches, fence).await?,
        ..Outcome::default()
    };
    if group.iter().any(|record| !outcome.is_done(record)) {
        outcome.find_lost(conn, group, fence).await?;
        if !outcome.lost.is_empty() {
            let (rest, fence) = (outcome.not_lost(group), outcome.standing(group, fence));
            outcome.touched = ledger::touch(conn, &rest, &fence).await?;
        }
    }
    outcome.look_up_stale(conn, group).await?;
    Ok(outcome)
}

async fn write(
    conn: &mut AsyncPgConnection,
    group: &[Record],
    fence: &Fence,
    book: &PriceBook,
    now: DateTime<Utc>,
) -> Result<Outcome, StoreError> {
    let mut outcome = Outcome::default();
    outcome.find_lost(conn, group, fence).await?;
    let touches = outcome.not_lost(group);
    let mine = group.iter().filter(|r| !outcome.lost.contains(&r.watch_id));
    let writes: Vec<StateWrite> = mine.filter_map(Record::write).collect();
    // States first, then listings, then jobs: every writer takes its locks in this order.
    let written = ledger::apply(conn, &writes).await?;
    outcome.written = written.into_iter().map(|w| (w.watch_id, w)).collect();
    let fence = outcome.standing(group, fence);
    outcome.touched = ledger::touch(conn, &touches, &fence).await?;
    let origins = outcome.origins(group);
    if !origins.is_empty() {
        outcome.moved = follow(conn, &origins, book, now).await?;
    }
    outcome.look_up_stale(conn, group).await?;
    Ok(outcome)
}

// === impl Outcome ===

impl Outcome {
    fn is_done(&self, record: &Record) -> bool {
        self.touched.contains(&record.watch_id) || self.written.contains_key(&record.watch_id)
    }

    /// The products whose listings may have to follow.
    fn origins(&self, group: &[Record]) -> HashMap<ProductId, Origin> {
        let mut origins: HashMap<ProductId, Origin> = HashMap::new();
        for record in group.iter().filter(|r| self.written.contains_key(&r.watch_id)) {
            let Some(news) = record.news.as_deref().filter(|n| n.moves_listings()) else {
                continue;
            };
            let origin = origins.entry(record.product_id).or_default();
            origin.explained |= news.change.is_some_and(|c| c.explained && c.empties());
            if let HoldStep::Release(id) = news.hold {
                origin.hold_id = Some(id);
                origin.approved_by = Some(BY_DEADLINE.into());
            }
        }
        origins
    }

    /// Finds what is not this node's to write, or is so under another epoch than that of the page.
    async fn find_lost(
        &mut self,
        conn: &mut AsyncPgConnection,
        group: &[Record],
        fence: &Fence,
    ) -> Result<(), StoreError> {
        let standing = leases::standing(conn, fence.owner, &fence.shards).await?;
        let standing: HashSet<(Shard, Epoch)> = standing.into_iter().collect();
        let lost = group.iter().filter(|record| !standing.contains(&record.part()));
        self.lost = lost.map(|record| record.watch_id).collect();
        Ok(())
    }

    /// The unchanged checks of what is still this node's.
    fn not_lost(&self, group: &[Record]) -> Vec<Touch> {
        let own = group
            .iter()
            .filter(|r| r.news.is_none() && !self.lost.contains(&r.watch_id));
        own.map(Record::touch).collect()
    }

    /// `fence` without the parts that are another's by now.
    fn standing(&self, group: &[Record], fence: &Fence) -> Fence {
        let own = group.iter().filter(|r| !self.lost.contains(&r.watch_id));
        let shards: BTreeSet<(Shard, Epoch)> = own.map(Record::part).collect();
        Fence {
            owner: fence.owner,
            shards: shards.into_iter().collect(),
        }
    }

    async fn look_up_stale(
        &mut self,
        conn: &mut AsyncPgConnection,
        group: &[Record],
    ) -> Result<(), StoreError> {
        let stale: Vec<WatchId> = group
            .iter()
            .filter(|r| !self.is_done(r) && !self.lost.contains(&r.watch_id))
            .map(|r| r.watch_id)
            .collect();
        for row in rows_of(conn, &stale).await? {
            match row {
                Ok(row) => {
                    self.stale.insert(row.watch_id, row);
                }
                Err(bad) => {
                    tracing::error!(watch.id = %bad.watch_id, "{bad}; it is not watched until that is put right")
                }
            }
        }
        Ok(())
    }

    fn answer(&self, record: &Record) -> Recorded {
        let id = record.watch_id;
        if self.touched.contains(&id) {
            return committed(record.base_version, None, Vec::new());
        }
        if let Some(written) = self.written.get(&id) {
            let opened = written.opened.and_then(|hold| known(record, hold));
            let listings = self.moved.get(&record.product_id).cloned().unwrap_or_default();
            return done(record, written.version, opened, listings);
        }
        if self.lost.contains(&id) {
            return Recorded::Lost;
        }
        match self.stale.get(&id) {
            // Our own COMMIT, whose answer never came. Its listings are read from the tables by whoever wants them.
            Some(row) if record.made(row) => {
                let opened = row.hold.filter(|_| record.opens_hold());
                done(record, row.version, opened, Vec::new())
            }
            Some(row) => Recorded::Stale(Box::new(row.clone())),
            None => Recorded::Missing,
        }
    }
}

/// What a record that is written is told.
fn done(record: &Record, version: Version, opened: Option<KnownHold>, listings: Vec<ListingId>) -> Recorded {
    match (opened, record.news.as_deref()) {
        (Some(hold), Some(news)) if news.is_mass_held() => Recorded::MassHeld {
            version,
            hold,
            change: news.change,
        },
        (opened, _) => committed(version, opened, listings),
    }
}

fn committed(version: Version, opened: Option<KnownHold>, listings: Vec<ListingId>) -> Recorded {
    Recorded::Committed {
        version,
        opened,
        listings,
    }
}

/// The hold that `record` opened, as its watcher remembers it.
fn known(record: &Record, id: HoldId) -> Option<KnownHold> {
    match &record.news.as_deref()?.hold {
        HoldStep::Open(new) => Some(KnownHold {
            id,
            reason: new.reason,
            status: HoldStatus::Open,
            proposed: new.proposed,
            default_action: new.default_action,
            deadline: new.deadline,
            url_status: new
                .detail
                .get("url_status")
                .and_then(|s| s.as_str()?.parse().ok()),
        }),
        _ => None,
    }
}

/// The event of a record that was committed, if it is one.
pub(super) fn event(record: &Record, recorded: &Recorded, committed_at: DateTime<Utc>) -> Option<Committed> {
    let (version, listings) = match recorded {
        Recorded::Committed {
            version, listings, ..
        } => (version, listings.clone()),
        Recorded::MassHeld { version, .. } => (version, Vec::new()),
        _ => return None,
    };
    let news = record.news.as_deref()?;
    let (before, after) = match (news.change, news.standing) {
        (Some(change), _) => (change.before, change.after),
        // What waits with "zero meanwhile" moves listings without a version.
        (None, Some(standing)) if !listings.is_empty() => (Some(standing), standing),
        _ => return None,
    };
    Some(Committed {
        product_id: record.product_id,
        watch_id: record.watch_id,
        version: *version,
        source: record.source.into(),
        before,
        after,
        listings,
        fetched_at: record.fetched_at,
        committed_at,
    })
}
