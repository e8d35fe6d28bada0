//! Dynamic children: one actor per key, each counted for itself.
//!
//! A group counts its children's crashes together, because there are few and they depend on one another. A hundred
//! thousand watchers are neither: one product whose page crashes its watcher must not cost the others anything. So each
//! child has its own count; one that crashes too often is put into *quarantine* (its messages are refused as `Down`,
//! an event says so) until it is released, and nobody else notices.
//!
//! **Size.** A healthy child is its guard with the actix context (about 600 bytes), its mailbox (about 150), its
//! place in the map and the actor itself: no task, channel or timer of its own. What a crashed one needs
//! besides, its history and the thread it lived on, is made at its first crash. There is no supervisor task either:
//! the guard asks the roster what to do, under one lock, and the roster tells its owner over one channel.
//!
//! **Stuck children** are found by those who send to them: a message that waits for longer than `stuck_after` while
//! nothing is taken out has the child replaced.

mod members;

use self::members::{Inner, Member, Members, RosterKeeper, State};
use super::decide::Exit;
use super::guard::Seed;
use super::handle::Handle;
use super::intensity::Hits;
use super::mailbox::{Order, Post};
use super::panics::install_hook;
use super::spec::Intensity;
use actix::{Actor, ArbiterHandle, Context};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Reaches one dynamic child through all its lives.
pub type DynHandle<A> = Handle<A>;

/// What all children of a roster have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DynamicSpec {
    /// More restarts than this, and the child is quarantined. The default allows two in ten minutes: the third crash
    /// is one too many.
    pub intensity: Intensity,
    /// Messages a child holds. The default is 4: a product has one check in flight.
    pub capacity: usize,
    /// For how long a message may wait while nothing moves; also how long a sender waits for an answer. 60 s.
    pub stuck_after: Duration,
}

impl Default for DynamicSpec {
    fn default() -> Self {
        Self {
            intensity: Intensity {
                restarts: 2,
                within: Duration::from_secs(600),
            },
            capacity: 4,
            stuck_after: Duration::from_secs(60),
        }
    }
}

/// Something happened to one child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterEvent<K> {
    /// It crashed and begins anew.
    Crashed {
        /// Which.
        key: K,
        /// How it ended.
        exit: Exit,
        /// The wait before.
        after: Duration,
    },
    /// It crashed too often and stays down until [`Roster::release_quarantine`].
    Quarantined {
        /// Which.
        key: K,
        /// How it ended last.
        exit: Exit,
        /// How many crashes within the period led here.
        crashes: u32,
    },
    /// It stopped by itself and is no longer in the roster.
    Left {
        /// Which.
        key: K,
    },
    /// Its arbiter is gone. [`Roster::spawn`] it again on another: its handle and its waiting messages live on.
    Lost {
        /// Which.
        key: K,
    },
}

/// How many, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RosterCounts {
    /// All that are known, quarantined and lost ones too.
    pub children: usize,
    /// In quarantine.
    pub quarantined: usize,
    /// Without an arbiter.
    pub lost: usize,
    /// Restarts since the roster was made.
    pub restarts: u64,
}

/// One actor of type `A` per key. Cheap to clone; when the last clone goes, the children are asked to stop.
pub struct Roster<K, A: Actor<Context = Context<A>>> {
    owner: Arc<Owner<K, A>>,
}

/// Guards know the roster, too, but do not keep its children alive.
struct Owner<K, A: Actor<Context = Context<A>>> {
    inner: Arc<Inner<K, A>>,
}

// === impl Roster ===

impl<K, A> Roster<K, A>
where
    K: Clone + fmt::Debug + Eq + Hash + Send + Sync + 'static,
    A: Actor<Context = Context<A>>,
{
    /// An empty roster. `make` is called for every life of a child, on its arbiter; it must give fresh state, seeded
    /// from what was persisted, and may panic, which counts as a crash. What happens to children is told over
    /// `events`.
    pub fn new(
        spec: DynamicSpec,
        make: impl Fn(&K) -> A + Send + Sync + 'static,
        events: mpsc::UnboundedSender<RosterEvent<K>>,
    ) -> Self {
        install_hook();
        let members = Mutex::new(Members {
            by_key: HashMap::new(),
            restarts: 0,
        });
        let inner = Arc::new(Inner {
            spec,
            make: Box::new(make),
            events,
            members,
        });
        Self {
            owner: Arc::new(Owner { inner }),
        }
    }

    /// Starts the child of this key on `arbiter`, and gives its handle. One that is there already is left alone, in
    /// quarantine too; one whose arbiter was lost is started anew under its old handle.
    pub fn spawn(&self, key: K, arbiter: &ArbiterHandle) -> DynHandle<A> {
        let mut members = self.owner.inner.members.lock();
        let member = members.by_key.entry(key.clone());
        let (post, start) = match member {
            Entry::Vacant(free) => {
                let post = Arc::new(Post::new(self.owner.inner.spec.capacity));
                post.judged_by_senders(self.owner.inner.spec.stuck_after);
                free.insert(Member {
                    post: Arc::clone(&post),
                    trouble: None,
                });
                (post, true)
            }
            Entry::Occupied(mut taken) => {
                let member = taken.get_mut();
                let lost = member
                    .trouble
                    .as_mut()
                    .filter(|trouble| trouble.state == State::Lost);
                let start = lost.map(|trouble| trouble.state = State::Running).is_some();
                (Arc::clone(&member.post), start)
            }
        };
        drop(members);
        if start {
            self.start(key, &post, arbiter);
        }
        Handle::new(post)
    }

    /// The handle of this key's child.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<DynHandle<A>> {
        let members = self.owner.inner.members.lock();
        members
            .by_key
            .get(key)
            .map(|member| Handle::new(Arc::clone(&member.post)))
    }

    /// Takes a child out: it is asked to stop, and what waits in its mailbox is answered `Down`. False when there is
    /// none.
    pub fn remove(&self, key: &K) -> bool {
        let member = self.owner.inner.members.lock().by_key.remove(key);
        let Some(member) = member else {
            return false;
        };
        member.post.close();
        member.post.order(Order::Stop);
        true
    }

    /// Takes all children out.
    pub fn clear(&self) {
        self.owner.clear();
    }

    /// Starts a quarantined child again, where it was, its crashes forgotten. False when it is not in quarantine, or
    /// its arbiter is gone (it counts as lost then: [`spawn`](Self::spawn) it elsewhere).
    pub fn release_quarantine(&self, key: &K) -> bool {
        let mut members = self.owner.inner.members.lock();
        let Some(member) = members.by_key.get_mut(key) else {
            return false;
        };
        let Some(trouble) = member.trouble.as_mut() else {
            return false;
        };
        if !matches!(trouble.state, State::Quarantined(_)) {
            return false;
        }
        (trouble.hits, trouble.streak) = (Hits::default(), 0);
        match trouble.arbiter.clone() {
            Some(arbiter) if arbiter.alive() => {
                member.trouble = None;
                let post = Arc::clone(&member.post);
                drop(members);
                self.start(key.clone(), &post, &arbiter);
                true
            }
            _ => {
                trouble.state = State::Lost;
                false
            }
        }
    }

    /// Those in quarantine, and how each ended last.
    #[must_use]
    pub fn quarantined(&self) -> Vec<(K, Exit)> {
        let members = self.owner.inner.members.lock();
        let quarantined = |(key, member): (&K, &Member<A>)| match &member.trouble.as_ref()?.state {
            State::Quarantined(exit) => Some((key.clone(), exit.clone())),
            _ => None,
        };
        members.by_key.iter().filter_map(quarantined).collect()
    }

    /// How many children there are.
    #[must_use]
    pub fn counts(&self) -> RosterCounts {
        let members = self.owner.inner.members.lock();
        let mut counts = RosterCounts {
            children: members.by_key.len(),
            restarts: members.restarts,
            ..RosterCounts::default()
        };
        for trouble in members
            .by_key
            .values()
            .filter_map(|member| member.trouble.as_ref())
        {
            match trouble.state {
                State::Running => {}
                State::Quarantined(_) => counts.quarantined += 1,
                State::Lost => counts.lost += 1,
            }
        }
        counts
    }

    /// Lets something go wrong in one child (feature `failpoints`). False when there is none.
    #[cfg(feature = "failpoints")]
    pub fn fault(&self, key: &K, fault: super::fault::Fault) -> bool {
        let members = self.owner.inner.members.lock();
        let member = members.by_key.get(key);
        member.map(|member| member.post.set_fault(fault)).is_some()
    }

    fn start(&self, key: K, post: &Arc<Post<A>>, arbiter: &ArbiterHandle) {
        let life = post.begin();
        let (roster, post) = (Arc::clone(&self.owner.inner), Arc::clone(post));
        let seed = Seed::new(RosterKeeper { roster, post, key }, life);
        // When the arbiter is gone, the closure is dropped, and the seed with it says so.
        arbiter.spawn_fn(move || seed.plant());
    }
}

impl<K, A: Actor<Context = Context<A>>> Owner<K, A> {
    fn clear(&self) {
        let members = std::mem::take(&mut self.inner.members.lock().by_key);
        for member in members.into_values() {
            member.post.close();
            member.post.order(Order::Stop);
        }
    }
}

impl<K, A: Actor<Context = Context<A>>> Drop for Owner<K, A> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<K, A: Actor<Context = Context<A>>> Clone for Roster<K, A> {
    fn clone(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<K, A: Actor<Context = Context<A>>> fmt::Debug for Roster<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children = self.owner.inner.members.lock().by_key.len();
        f.debug_struct("Roster")
            .field("children", &children)
            .finish_non_exhaustive()
    }
}
