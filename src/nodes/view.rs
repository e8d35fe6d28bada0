//! What a node knows of itself and of the others, as it was at its last heartbeat.

use crate::domain::{Epoch, Shard};
use crate::store::leases::Lease;
use crate::store::nodes::Member;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What is this node's, and who else is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Its parts of the work, with their epochs.
    pub held: BTreeMap<String, Epoch>,
    /// Those of them that are to be another's.
    pub leaving: BTreeSet<String>,
    /// Other nodes that live.
    pub others: usize,
    /// It is to have nothing.
    pub draining: bool,
    shards: Vec<Option<Epoch>>,
}

// === impl View ===

impl View {
    /// What `me` has, of `leases`, with `members` about.
    pub(super) fn new(
        me: Uuid,
        leases: &[Lease],
        members: &[Member],
        leaving: &[String],
        draining: bool,
    ) -> Self {
        let own = leases.iter().filter(|lease| lease.owner == Some(me));
        let mut view = Self {
            held: BTreeMap::new(),
            leaving: leaving.iter().cloned().collect(),
            others: members.iter().filter(|m| m.lives && m.boot != me).count(),
            draining,
            shards: vec![None; Shard::COUNT],
        };
        own.for_each(|lease| view.add(&lease.name, lease.epoch));
        view
    }

    pub(super) fn add(&mut self, name: &str, epoch: Epoch) {
        self.shards.resize(Shard::COUNT, None);
        if let Some(place) = shard_of(name).and_then(|shard| self.shards.get_mut(shard.index())) {
            *place = Some(epoch);
        }
        self.held.insert(name.to_owned(), epoch);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(place) = shard_of(name).and_then(|shard| self.shards.get_mut(shard.index())) {
            *place = None;
        }
        self.held.remove(name);
        self.leaving.remove(name);
    }

    /// The epoch under which a shard is this node's.
    #[must_use]
    pub fn shard(&self, shard: Shard) -> Option<Epoch> {
        self.shards.get(shard.index()).copied().flatten()
    }

    /// The shards it works on: those that it has, and is to keep.
    #[must_use]
    pub fn shards(&self) -> BTreeMap<Shard, Epoch> {
        let stay = |shard: &Shard| self.leaving.is_empty() || !self.leaving.contains(&shard.lease());
        Shard::all()
            .filter_map(|shard| Some((shard, self.shard(shard)?)))
            .filter(|(shard, _)| stay(shard))
            .collect()
    }
}

fn shard_of(name: &str) -> Option<Shard> {
    Shard::new(name.strip_prefix("watch/")?.parse().ok()?)
}
