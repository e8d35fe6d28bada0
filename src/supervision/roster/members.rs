//! What a roster knows of its children, and what follows from the end of a life.

use super::super::decide::Exit;
use super::super::guard::{Keeper, Next};
use super::super::heartbeat::Life;
use super::super::intensity::{Hits, restart_delay};
use super::super::mailbox::Post;
use super::{DynamicSpec, RosterEvent};
use actix::{Actor, Arbiter, ArbiterHandle, Context};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(super) struct Inner<K, A: Actor> {
    pub(super) spec: DynamicSpec,
    pub(super) make: Box<dyn Fn(&K) -> A + Send + Sync>,
    pub(super) events: mpsc::UnboundedSender<RosterEvent<K>>,
    pub(super) members: Mutex<Members<K, A>>,
}

pub(super) struct Members<K, A: Actor> {
    pub(super) by_key: HashMap<K, Member<A>>,
    pub(super) restarts: u64,
}

pub(super) struct Member<A: Actor> {
    pub(super) post: Arc<Post<A>>,
    /// Made at the first crash.
    pub(super) trouble: Option<Box<Trouble>>,
}

#[derive(Default)]
pub(super) struct Trouble {
    pub(super) hits: Hits,
    pub(super) streak: u32,
    pub(super) state: State,
    /// Where it lived.
    pub(super) arbiter: Option<ArbiterHandle>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Running,
    Quarantined(Exit),
    Lost,
}

// === impl Inner ===

impl<K, A> Inner<K, A>
where
    K: Clone + Debug + Eq + Hash + Send + Sync + 'static,
    A: Actor<Context = Context<A>>,
{
    /// What follows from the end of a child's life.
    fn ended(&self, key: &K, post: &Arc<Post<A>>, exit: Exit) -> Next {
        let now = Instant::now();
        let mut members = self.members.lock();
        // Taken out, and perhaps put in again under the same key meanwhile.
        let Some(member) = members
            .by_key
            .get_mut(key)
            .filter(|member| Arc::ptr_eq(&member.post, post))
        else {
            return Next::End;
        };
        if !exit.is_crash() {
            members.by_key.remove(key);
            drop(members);
            post.close();
            self.tell(RosterEvent::Left { key: key.clone() });
            return Next::End;
        }
        let trouble = member.trouble.get_or_insert_default();
        if trouble.hits.allow(self.spec.intensity, 0, now) {
            // Alone in the window: the crashes before are past.
            trouble.streak = if trouble.hits.count() == 1 {
                0
            } else {
                trouble.streak.saturating_add(1)
            };
            let after = restart_delay(trouble.streak, self.spec.intensity);
            members.restarts += 1;
            drop(members);
            tracing::warn!(child.key = ?key, "Child {key:?} {exit}. It is started again in {after:?}");
            self.tell(RosterEvent::Crashed {
                key: key.clone(),
                exit,
                after,
            });
            return Next::Again(after);
        }
        let crashes = trouble.hits.count();
        trouble.state = State::Quarantined(exit.clone());
        trouble.arbiter = Arbiter::try_current();
        drop(members);
        post.close();
        tracing::error!(
            child.key = ?key, child.crashes = crashes,
            "Child {key:?} {exit}. That was once too often: it is in quarantine until it is released"
        );
        self.tell(RosterEvent::Quarantined {
            key: key.clone(),
            exit,
            crashes,
        });
        Next::End
    }

    fn lost(&self, key: &K, post: &Arc<Post<A>>, life: u32) {
        let mut members = self.members.lock();
        let member = members
            .by_key
            .get_mut(key)
            .filter(|member| Arc::ptr_eq(&member.post, post));
        let Some(member) = member.filter(|_| post.is_life(life)) else {
            return;
        };
        member.trouble.get_or_insert_default().state = State::Lost;
        drop(members);
        self.tell(RosterEvent::Lost { key: key.clone() });
    }

    fn tell(&self, event: RosterEvent<K>) {
        // An owner that is gone wants to know nothing.
        let _ = self.events.send(event);
    }
}

pub(super) struct RosterKeeper<K, A: Actor> {
    pub(super) roster: Arc<Inner<K, A>>,
    pub(super) post: Arc<Post<A>>,
    pub(super) key: K,
}

impl<K, A> Keeper<A> for RosterKeeper<K, A>
where
    K: Clone + Debug + Eq + Hash + Send + Sync + 'static,
    A: Actor<Context = Context<A>>,
{
    fn post(&self) -> &Arc<Post<A>> {
        &self.post
    }

    fn make(&mut self) -> A {
        (self.roster.make)(&self.key)
    }

    fn started(&mut self) {}

    fn life(&self) -> Option<&Life> {
        None
    }

    fn ended(&mut self, exit: Exit) -> Next {
        self.roster.ended(&self.key, &self.post, exit)
    }

    fn lost(&mut self, life: u32) {
        self.roster.lost(&self.key, &self.post, life);
    }
}
