//! What the rest of the house asks: is this mine, now, and under which epoch?

use super::trust::{Trust, since_boot};
use super::view::View;
use crate::domain::{Epoch, Shard};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// The node's own parts of the work. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ownership {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    boot: Uuid,
    trust: Trust,
    view: ArcSwap<View>,
    /// How many hold each part; also the lock under which parts are given up.
    holds: Mutex<HashMap<String, usize>>,
    changed: watch::Sender<u64>,
    /// The keeper is to look at once.
    wake: Notify,
}

/// The right to work on a part until it is dropped: so long it is not handed over in order. A node that is declared dead
/// loses it all the same, which [`Ownership::holds`] tells.
#[derive(Debug)]
pub struct Hold {
    name: String,
    epoch: Epoch,
    of: Arc<Inner>,
}

// === impl Ownership ===

impl Ownership {
    /// Nothing is owned, and nothing trusted.
    pub(super) fn new(boot: Uuid) -> Self {
        Self::with(boot, Trust::default(), View::default())
    }

    /// Everything of `view` is owned, for ever.
    pub(super) fn for_ever(boot: Uuid, view: View) -> Self {
        Self::with(boot, Trust::for_ever(), view)
    }

    fn with(boot: Uuid, trust: Trust, view: View) -> Self {
        Self {
            inner: Arc::new(Inner {
                boot,
                trust,
                view: ArcSwap::from_pointee(view),
                holds: Mutex::default(),
                changed: watch::Sender::new(0),
                wake: Notify::new(),
            }),
        }
    }

    /// This life of the daemon.
    #[must_use]
    pub fn boot(&self) -> Uuid {
        self.inner.boot
    }

    /// Whether what is known of ownership may be acted on now.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.inner.trust.holds_at(since_boot())
    }

    /// The epoch under which `part` is this node's now. Needs nobody: beyond the trust window it is nothing.
    #[must_use]
    pub fn holds(&self, part: &str) -> Option<Epoch> {
        let epoch = self.inner.view.load().held.get(part).copied();
        epoch.filter(|_| self.is_trusted())
    }

    /// The same of a shard.
    #[must_use]
    pub fn holds_shard(&self, shard: Shard) -> Option<Epoch> {
        let epoch = self.inner.view.load().shard(shard);
        epoch.filter(|_| self.is_trusted())
    }

    /// Begins to work on `part`; nothing, when it is another's, is being handed over, or nothing is trusted.
    #[must_use]
    pub fn enter(&self, part: &str) -> Option<Hold> {
        let mut holds = self.inner.holds.lock();
        let view = self.inner.view.load();
        let epoch = view.held.get(part).copied()?;
        if view.leaving.contains(part) || !self.is_trusted() {
            return None;
        }
        *holds.entry(part.to_owned()).or_default() += 1;
        Some(Hold {
            name: part.to_owned(),
            epoch,
            of: Arc::clone(&self.inner),
        })
    }

    /// What was known at the last heartbeat, trusted or not: what one prepares for. Before acting, ask [`Self::holds`].
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.inner.view.load_full()
    }

    /// The share of the watching that is this node's, 0 to 1: as much of a source's rate is its own.
    #[must_use]
    pub fn share(&self) -> f64 {
        let shards = u32::try_from(self.view().shards().len()).unwrap_or(0);
        f64::from(shards) / 256.0
    }

    /// Whether other nodes live.
    #[must_use]
    pub fn has_company(&self) -> bool {
        self.inner.view.load().others > 0
    }

    /// Tells of every change of the view, and of trust that came back.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    // --- the keeper's side ---

    /// Another view, trusted until `until`.
    pub(super) fn publish(&self, view: View, until: Duration) {
        let was_trusted = self.is_trusted();
        self.inner.trust.extend(until);
        let holds = self.inner.holds.lock();
        let before = self.inner.view.swap(Arc::new(view));
        let is_news = *before != **self.inner.view.load();
        drop(holds);
        if is_news || !was_trusted {
            self.tell();
        }
    }

    /// What is known stands until `until`: nobody can have freed it before that.
    pub(super) fn extend(&self, until: Duration) {
        let was_trusted = self.is_trusted();
        self.inner.trust.extend(until);
        if !was_trusted {
            self.tell();
        }
    }

    /// Nothing is this node's any more.
    pub(super) fn lose(&self) {
        self.inner.trust.end();
        let holds = self.inner.holds.lock();
        self.inner.view.store(Arc::new(View::default()));
        drop(holds);
        self.tell();
    }

    /// Those of the parts that are to be another's on which nobody works any more, and those that are `overdue`. From now
    /// on they are not this node's.
    pub(super) fn give_up(&self, overdue: &HashSet<String>) -> Vec<(String, Epoch)> {
        let holds = self.inner.holds.lock();
        let mut view = (**self.inner.view.load()).clone();
        let idle = |name: &String| overdue.contains(name) || holds.get(name).is_none_or(|n| *n == 0);
        let held = |name: &String| Some((name.clone(), *view.held.get(name)?));
        let given: Vec<(String, Epoch)> = view.leaving.iter().filter(|n| idle(n)).filter_map(held).collect();
        if given.is_empty() {
            return given;
        }
        for (name, _) in &given {
            view.remove(name);
        }
        self.inner.view.store(Arc::new(view));
        drop(holds);
        self.tell();
        given
    }

    /// Resolves when the keeper is to look at once.
    pub(super) async fn woken(&self) {
        self.inner.wake.notified().await;
    }

    /// The keeper is to look at once.
    pub(super) fn wake(&self) {
        self.inner.wake.notify_one();
    }

    fn tell(&self) {
        self.inner
            .changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

// === impl Hold ===

impl Hold {
    /// The epoch under which it was entered.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the part was lost: it is another's by now, or was in between.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.of.view.load().held.get(&self.name).copied() != Some(self.epoch)
    }

    /// Whether it still is what it was: this node's, trusted, and under the same epoch.
    #[must_use]
    pub fn stands(&self) -> bool {
        !self.is_lost() && self.of.trust.holds_at(since_boot())
    }

    /// Whether the part is to be another's: the work is to be brought to an end.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.of.view.load().leaving.contains(&self.name)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.of.holds.lock();
        let left = holds.get_mut(&self.name).map(|n| {
            *n = n.saturating_sub(1);
            *n
        });
        if left == Some(0) {
            holds.remove(&self.name);
        }
        let is_awaited = self.of.view.load().leaving.contains(&self.name);
        drop(holds);
        if is_awaited {
            self.of.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owning(names: &[&str], leaving: &[&str]) -> (Ownership, View) {
        let mut view = View::default();
        names.iter().for_each(|name| view.add(name, Epoch(3)));
        view.leaving = leaving.iter().map(|name| (*name).to_owned()).collect();
        let ownership = Ownership::new(Uuid::from_u128(1));
        ownership.publish(view.clone(), since_boot() + Duration::from_secs(60));
        (ownership, view)
    }

    #[test]
    fn beyond_the_trust_window_nothing_is_held_or_begun() {
        let (ownership, view) = owning(&["alert", "watch/007"], &[]);
        assert_eq!(ownership.holds("alert"), Some(Epoch(3)));
        assert_eq!(ownership.holds_shard(Shard::new(7).unwrap()), Some(Epoch(3)));
        let hold = ownership.enter("alert").unwrap();
        ownership.inner.trust.end();
        assert_eq!(ownership.holds("alert"), None);
        assert_eq!(ownership.holds_shard(Shard::new(7).unwrap()), None);
        assert!(ownership.enter("alert").is_none() && !hold.stands());
        let mut changes = ownership.changes();
        ownership.publish(view, since_boot() + Duration::from_secs(60));
        assert!(changes.has_changed().unwrap(), "trust that came back is news");
        changes.mark_unchanged();
        assert!(hold.stands(), "it was nobody else's meanwhile");
    }

    #[test]
    fn a_part_is_given_up_when_the_last_hold_is_dropped() {
        let (ownership, mut view) = owning(&["alert", "rescue"], &[]);
        let holds = [
            ownership.enter("alert").unwrap(),
            ownership.enter("alert").unwrap(),
        ];
        view.leaving = ["alert".to_owned(), "rescue".to_owned()].into();
        ownership.publish(view, since_boot() + Duration::from_secs(60));
        assert!(ownership.enter("alert").is_none(), "nothing new begins");
        assert!(
            holds[0].is_leaving() && holds[0].stands(),
            "what was begun is finished"
        );
        let nothing_late = HashSet::new();
        assert_eq!(
            ownership.give_up(&nothing_late),
            [("rescue".to_owned(), Epoch(3))]
        );
        let [one, other] = holds;
        drop(one);
        assert!(ownership.give_up(&nothing_late).is_empty());
        drop(other);
        assert_eq!(ownership.give_up(&nothing_late), [("alert".to_owned(), Epoch(3))]);
        assert_eq!(ownership.holds("alert"), None);
    }

    #[test]
    fn a_hold_of_an_earlier_epoch_does_not_stand() {
        let (ownership, mut view) = owning(&["alert"], &[]);
        let hold = ownership.enter("alert").unwrap();
        view.add("alert", Epoch(5));
        ownership.publish(view, since_boot() + Duration::from_secs(60));
        assert!(!hold.stands());
        assert_eq!(ownership.enter("alert").unwrap().epoch(), Epoch(5));
    }
}
