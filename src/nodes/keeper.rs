//! The heartbeat: says that this node lives, buries those that do not, and brings ownership to what it should be.
//!
//! One look after another, each on the same session and each bounded in time. What a look could not do, the next one
//! does: it begins from the tables. The session is no pool's, so that nobody can keep it waiting.

use super::ownership::Ownership;
use super::plan::{Candidate, plan, shards};
use super::trust::since_boot;
use super::view::View;
use super::{WATCH, place};
use crate::clock::Clock;
use crate::store::leases::{self, Lease};
use crate::store::looping;
use crate::store::nodes::{self, Heard, Member, NewMember};
use crate::store::{Connection, Db, StoreError};
use crate::supervision::{ChildSpec, Life, Placement};
use crate::telemetry::ErrorChain;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// How often a node says that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(2);
/// A look is given up after this; a heartbeat that takes longer comes too late anyway.
const LOOK_LIMIT: Duration = Duration::from_secs(4);
/// How soon it is tried again after that.
const AGAIN: Duration = Duration::from_millis(250);
/// How long a part that is to be another's may be worked on. What goes on beyond that is fenced.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(15);
/// How often it is asked whether a dead node's sessions have ended, and how many times in one look: a second in all, so
/// that the look's own heartbeat is not late.
const ENDED_EVERY: Duration = Duration::from_millis(50);
const ENDED_ASKS: usize = 20;
/// How long nodes that are gone are remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How often they are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// A thread of its own: a heartbeat must not wait for anybody's work.
const ARBITER: &str = "node";
/// Longer than anything runs.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Who a node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// This life of the daemon.
    pub boot: Uuid,
    /// What a person calls it.
    pub name: String,
    /// The roles it is set up for, and [`WATCH`].
    pub can: Vec<String>,
}

/// How long what counts.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a node counts as alive after a heartbeat, by the database's clock.
    pub ttl: Duration,
    /// So much earlier it stops to believe that itself: what is between a look at the clock and the byte that leaves.
    pub margin: Duration,
    /// Two looks so far apart mean that this process did not run: it begins anew, with nothing that was its own.
    pub long_gap: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            margin: Duration::from_secs(2),
            long_gap: Duration::from_secs(60),
        }
    }
}

/// A node's membership. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    me: NewMember,
    timing: Timing,
    clock: Clock,
    ownership: Ownership,
    draining: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Connection>,
    looked: Option<Duration>,
    /// Since when the database has heard of this node without a pause.
    heard_since: Option<Duration>,
    /// It is to join again, whatever a heartbeat would say: a look that could not, leaves it to the next one.
    anew: bool,
    /// Since when each part is to be another's.
    leaving_since: HashMap<String, Instant>,
    forgot: Option<Instant>,
    /// Whether it was said that ownership is not known.
    told: bool,
}

// === impl Keeper ===

impl Keeper {
    /// Joins, and takes what is free and should be this node's. Earlier lives of its name on this very machine are
    /// declared dead at once when their process has ended; others are waited for like any node.
    ///
    /// # Errors
    /// When the database is away or refuses.
    pub async fn join(db: &Db, who: Identity, clock: &Clock, timing: Timing) -> Result<Self, StoreError> {
        let me = NewMember {
            boot: who.boot,
            name: who.name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: place::host_name(),
            place: place::place(),
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
            can: who.can,
        };
        let keeper = Self {
            inner: Arc::new(Inner {
                db: db.clone(),
                ownership: Ownership::new(me.boot),
                me,
                timing,
                clock: clock.clone(),
                draining: AtomicBool::new(false),
                state: Mutex::default(),
            }),
        };
        let mut session = nodes::session(db).await?;
        keeper.inner.introduce(&mut session).await?;
        keeper.inner.state.lock().await.session = Some(session);
        keeper.look().await?;
        Ok(keeper)
    }

    /// One look, as the child does it again and again: a heartbeat, and what follows from what is found.
    ///
    /// # Errors
    /// When the database is away or refuses; the next look begins from the tables.
    pub async fn look(&self) -> Result<(), StoreError> {
        let mut state = self.inner.state.lock().await;
        self.inner.look(&mut state).await
    }

    /// What it owns.
    #[must_use]
    pub fn ownership(&self) -> &Ownership {
        &self.inner.ownership
    }

    /// What a person calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.me.name
    }

    /// The child that keeps the membership, on a thread that nothing else can keep busy.
    pub fn child(&self) -> ChildSpec {
        let keeper = self.clone();
        let spec = looping::child("node", move |life| {
            let keeper = keeper.clone();
            async move { keeper.keep(&life).await }
        });
        spec.placement(Placement::Named(ARBITER))
    }

    async fn keep(&self, life: &Life) {
        let stopping = life.stopping();
        loop {
            life.beat();
            life.waiting_until(Instant::now() + LOOK_LIMIT + BEAT_EVERY);
            let next = {
                let mut state = self.inner.state.lock().await;
                self.inner.turn(&mut state).await
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(next) => {}
                () = self.inner.ownership.woken() => {}
            }
        }
    }

    /// Hands everything over, as far as that is done within `limit`; whether it is. It stays so until [`Self::undrain`].
    pub async fn drain(&self, limit: Duration) -> bool {
        self.inner.draining.store(true, Ordering::Release);
        let mut changes = self.inner.ownership.changes();
        self.inner.ownership.wake();
        let empty = async {
            loop {
                changes.mark_unchanged();
                let view = self.inner.ownership.view();
                if view.draining && view.held.is_empty() {
                    return;
                }
                // The sender lives as long as we do.
                let _changed_or_late = timeout(BEAT_EVERY, changes.changed()).await;
            }
        };
        timeout(limit, empty).await.is_ok()
    }

    /// Takes part in the work again.
    pub fn undrain(&self) {
        self.inner.draining.store(false, Ordering::Release);
        self.inner.ownership.wake();
    }

    /// Whether it is to have nothing.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Ends in order. Call it when nothing works any more; a database that is away finds it out by itself.
    pub async fn leave(&self) {
        let mut state = self.inner.state.lock().await;
        self.inner.ownership.lose();
        let left = async {
            let mut session = match state.session.take() {
                Some(session) => session,
                None => nodes::session(&self.inner.db).await?,
            };
            nodes::leave(&mut session, self.inner.me.boot).await
        };
        match timeout(LOOK_LIMIT, left).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = %ErrorChain(&error), "The other nodes could not be told of the end")
            }
            Err(_elapsed) => tracing::debug!("The other nodes could not be told of the end in time"),
        }
    }
}

// === impl Inner ===

impl Inner {
    async fn introduce(&self, session: &mut Connection) -> Result<(), StoreError> {
        let roles: Vec<String> = self.me.can.iter().filter(|can| *can != WATCH).cloned().collect();
        leases::ensure(session, &roles).await?;
        let surely: Vec<Uuid> = nodes::members(session)
            .await?
            .into_iter()
            .filter(|m| m.name == self.me.name && m.boot != self.me.boot && m.left_at.is_none())
            .filter(|m| place::has_ended(&self.me.place, &m.place, m.pid, self.me.pid))
            .map(|m| m.boot)
            .collect();
        if !surely.is_empty() {
            nodes::bury(session, &surely).await?;
        }
        nodes::join(session, &self.me, false, self.timing.ttl).await
    }

    /// One look, and when the next one is.
    async fn turn(&self, state: &mut State) -> Duration {
        let looked = timeout(LOOK_LIMIT, self.look(state)).await;
        let failed = match looked {
            Ok(Ok(())) => {
                if std::mem::take(&mut state.told) {
                    tracing::info!("The database knows this node again: its work goes on");
                }
                return BEAT_EVERY;
            }
            Ok(Err(error)) => ErrorChain(&error).to_string(),
            Err(_elapsed) => format!("no answer within {} s", LOOK_LIMIT.as_secs()),
        };
        state.session = None;
        tracing::debug!(error = failed, "The heartbeat did not come through");
        if !self.ownership.is_trusted() && !std::mem::replace(&mut state.told, true) {
            tracing::warn!(
                error = failed,
                "The database has not heard of this node for {} s: it does nothing until that is so again",
                self.timing.ttl.saturating_sub(self.timing.margin).as_secs()
            );
        }
        AGAIN
    }

    async fn look(&self, state: &mut State) -> Result<(), StoreError> {
        let began = since_boot();
        let gap = state.looked.map_or(Duration::ZERO, |at| began.saturating_sub(at));
        state.looked = Some(began);
        // Put back once it is heard of again: whatever ends this look before that is a pause.
        let heard_since = state.heard_since.take().filter(|_| gap <= self.timing.ttl);
        let mut session = match state.session.take() {
            Some(session) => session,
            None => nodes::session(&self.db).await?,
        };
        let draining = self.draining.load(Ordering::Acquire);
        if gap > self.timing.long_gap {
            tracing::warn!(
                gap_s = gap.as_secs(),
                "This process did not run for {} s: it begins anew",
                gap.as_secs()
            );
            state.anew = true;
        }
        let heard = if state.anew {
            Heard::Dead
        } else {
            let (boot, now) = (self.me.boot, self.clock.now());
            let heard = nodes::beat(&mut session, boot, now, draining, self.timing.ttl).await?;
            if heard == Heard::Dead {
                tracing::warn!(
                    "This node was declared dead meanwhile: it owns nothing any more, and joins again"
                );
            }
            heard
        };
        let trusted_until = began + self.timing.ttl.saturating_sub(self.timing.margin);
        if heard == Heard::Dead {
            state.anew = true;
            self.begin_anew(&mut session, draining).await?;
            state.anew = false;
        } else {
            // At once: nobody has freed what is this node's, however long the rest of this look may take.
            self.ownership.extend(trusted_until);
        }
        let since = heard_since.filter(|_| heard == Heard::InTime).unwrap_or(began);
        state.heard_since = Some(since);
        let may_bury = began.saturating_sub(since) >= self.timing.ttl;
        let (members, leases) = self.attend(&mut session, may_bury).await?;
        let candidates: Vec<Candidate> = members.iter().filter(|m| m.lives).map(Candidate::from).collect();
        let plan = plan(self.me.boot, &candidates, &leases);
        let mut view = View::new(self.me.boot, &leases, &members, &plan.leave, draining);
        self.ownership.publish(view.clone(), trusted_until);
        let given = self
            .ownership
            .give_up(&overdue(&mut state.leaving_since, &view.leaving, Instant::now()));
        if !given.is_empty() {
            tracing::info!(
                parts = given.len(),
                "Handed {} parts of the work over",
                given.len()
            );
            leases::release(&mut session, self.me.boot, &given).await?;
        }
        if !plan.take.is_empty() {
            let taken = leases::take(&mut session, self.me.boot, &plan.take).await?;
            if !taken.is_empty() {
                tracing::info!(parts = taken.len(), "Took {} parts of the work", taken.len());
                given.iter().for_each(|(name, _)| view.remove(name));
                taken.iter().for_each(|(name, epoch)| view.add(name, *epoch));
                self.ownership.publish(view, trusted_until);
            }
        }
        self.forget(state, &mut session).await?;
        state.session = Some(session);
        Ok(())
    }

    async fn begin_anew(&self, session: &mut Connection, draining: bool) -> Result<(), StoreError> {
        self.ownership.lose();
        // Joining frees what was its own. A transaction of before may have compared its epochs already: it must not be
        // committed after that, and whoever declared this node dead ends no sessions of one that is there again.
        if self.undo(session, vec![self.me.boot]).await?.is_empty() {
            return Err(StoreError::conflict(
                "sessions of this node's time before have not ended yet".to_owned(),
            ));
        }
        nodes::join(session, &self.me, draining, self.timing.ttl).await
    }

    /// Who is there and what is whose, once those that are dead are buried and what they had is free.
    ///
    /// Nodes that cannot reach the database fall silent together, and one of them is back first. Had it the right to
    /// declare the others dead, each outage would make it take what is theirs: so whoever was cut off itself waits as long
    /// as they have for a heartbeat.
    async fn attend(
        &self,
        session: &mut Connection,
        may_bury: bool,
    ) -> Result<(Vec<Member>, Vec<Lease>), StoreError> {
        let buried = if may_bury {
            nodes::bury_silent(session, self.me.boot, self.timing.ttl).await?
        } else {
            Vec::new()
        };
        let members = nodes::members(session).await?;
        for Member { name, boot, .. } in members.iter().filter(|m| buried.contains(&m.boot)) {
            tracing::warn!(node = %name, %boot, "Node `{name}` was not heard of for {} s and counts as dead", self.timing.ttl.as_secs());
        }
        let mut all = leases::leases(session).await?;
        let left_behind = |m: &&Member| m.dead_at.is_some() && all.iter().any(|l| l.owner == Some(m.boot));
        let dead: Vec<Uuid> = members.iter().filter(left_behind).map(|m| m.boot).collect();
        if !dead.is_empty() {
            for boot in self.undo(session, dead).await? {
                leases::free(session, boot).await?;
            }
            all = leases::leases(session).await?;
        }
        Ok((members, all))
    }

    /// Undoes what these nodes had begun; answers those that have nothing under way any more. The others' turn comes with
    /// the next look: what is theirs is nobody's before.
    async fn undo(&self, session: &mut Connection, dead: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        let ending = nodes::end_sessions(session, self.me.boot, &dead).await?;
        let mut left = nodes::still_there(session, &ending).await?;
        for _ in 0..ENDED_ASKS {
            if left.is_empty() {
                break;
            }
            tokio::time::sleep(ENDED_EVERY).await;
            left = nodes::still_there(session, &ending).await?;
        }
        for boot in &left {
            tracing::warn!(%boot, "Sessions of node {boot}, which counts as dead, have not ended yet: what it did waits for that");
        }
        Ok(dead.into_iter().filter(|boot| !left.contains(boot)).collect())
    }

    async fn forget(&self, state: &mut State, session: &mut Connection) -> Result<(), StoreError> {
        if state.forgot.is_none_or(|at| at.elapsed() > FORGET_EVERY) {
            nodes::prune(session, REMEMBERED).await?;
            state.forgot = Some(Instant::now());
        }
        Ok(())
    }
}

/// Those of the parts that are to be another's which are worked on for too long, each counted from when that was decided.
fn overdue(
    since: &mut HashMap<String, Instant>,
    leaving: &BTreeSet<String>,
    now: Instant,
) -> HashSet<String> {
    since.retain(|name, _| leaving.contains(name));
    for name in leaving {
        since.entry(name.clone()).or_insert(now);
    }
    let late = since
        .iter()
        .filter(|(_, since)| now.duration_since(**since) > HAND_OVER_WITHIN);
    late.map(|(name, _)| name.clone()).collect()
}

impl From<&Member> for Candidate {
    fn from(member: &Member) -> Self {
        Self {
            boot: member.boot,
            name: member.name.clone(),
            can: member.can.clone(),
            draining: member.draining,
        }
    }
}

/// Everything, for ever, for whoever has a database to himself: tests and benches of the rooms that ask for ownership.
///
/// # Errors
/// When the database is away or refuses; when something is another's already.
pub async fn alone(db: &Db, roles: &[String]) -> Result<Ownership, StoreError> {
    let mut can = roles.to_vec();
    can.push(WATCH.to_owned());
    let me = NewMember {
        boot: Uuid::now_v7(),
        name: "alone".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: place::host_name(),
        place: place::place(),
        pid: 0,
        can,
    };
    let mut session = nodes::session(db).await?;
    leases::ensure(&mut session, roles).await?;
    nodes::join(&mut session, &me, false, FOR_EVER).await?;
    let all: Vec<String> = shards().into_iter().chain(roles.iter().cloned()).collect();
    let taken = leases::take(&mut session, me.boot, &all).await?;
    if taken.len() < all.len() {
        return Err(StoreError::conflict(
            "parts of the work are another node's".to_owned(),
        ));
    }
    let mut view = View::default();
    taken.iter().for_each(|(name, epoch)| view.add(name, *epoch));
    Ok(Ownership::for_ever(me.boot, view))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_own_time_to_be_handed_over() {
        let mut since = HashMap::new();
        let parts = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        let (start, s) = (Instant::now(), Duration::from_secs);
        assert!(overdue(&mut since, &parts(&["alert"]), start).is_empty());
        assert!(overdue(&mut since, &parts(&["alert", "rescue"]), start + s(14)).is_empty());
        let late = overdue(&mut since, &parts(&["alert", "rescue"]), start + s(16));
        assert_eq!(late, HashSet::from(["alert".to_owned()]));
        assert!(overdue(&mut since, &parts(&["rescue"]), start + s(17)).is_empty());
        // It stayed after all, and is to go again later.
        assert!(overdue(&mut since, &parts(&["alert"]), start + s(18)).is_empty());
    }
}
