//! The probe of the nodes: who is there, and whether they fit together.

use super::{Check, Found, Probe};
use crate::nodes::plan::kind;
use crate::store::leases::{self, Lease};
use crate::store::nodes::{self, Member};
use crate::store::{Db, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// A clock that is further off than this spoils what a person reads, and deadlines that it counts.
const SKEW_MS: u64 = 2_000;

/// Looks at the daemons that share the database.
pub struct NodesProbe {
    /// The database.
    pub db: Db,
}

impl Probe for NodesProbe {
    fn name(&self) -> &'static str {
        "nodes"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let db = self.db.clone();
        async move {
            let found = async {
                let mut conn = db.conn().await?;
                Ok::<_, StoreError>((nodes::members(&mut conn).await?, leases::leases(&mut conn).await?))
            };
            Found::from(match found.await {
                Ok((members, leases)) => judge(&members, &leases),
                Err(error) => Check::skipped("nodes", format!("not known: {error}")),
            })
        }
        .boxed()
    }
}

fn judge(members: &[Member], leases: &[Lease]) -> Check {
    let name = "nodes";
    let living: Vec<&Member> = members.iter().filter(|m| m.lives).collect();
    let (drained, working): (Vec<&Member>, Vec<&Member>) = living.iter().copied().partition(|m| m.draining);
    let named = |members: &[&Member]| {
        let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
        names.join(", ")
    };
    let nobodys = leases
        .iter()
        .filter(|lease| is_nobodys(lease, &drained, &working))
        .count();
    if nobodys > 0 {
        return Check::failed(
            name,
            format!(
                "{nobodys} parts of the work are nobody's: of those that could do them only {} live(s), drained",
                named(&drained)
            ),
            "let it take part again: `zaikoban drain --undo`; or start another node".to_owned(),
        );
    }
    // The newest life of a name says how that node is; an earlier one that died was replaced.
    let dead: Vec<&Member> = newest(members)
        .into_iter()
        .filter(|m| m.dead_at.is_some())
        .collect();
    if !dead.is_empty() {
        return Check::warning(
            name,
            format!(
                "{} counts as dead; {} live(s) and does its part",
                named(&dead),
                named(&working)
            ),
            "start it again, or leave it: it is forgotten a day after its death".to_owned(),
        );
    }
    let skewed = living.iter().find(|m| m.clock_ahead_ms.unsigned_abs() > SKEW_MS);
    if let Some(member) = skewed {
        return Check::warning(
            name,
            format!(
                "the clock of {} is {} ms away from the database's",
                member.name,
                member.clock_ahead_ms.unsigned_abs()
            ),
            "let both machines set their clocks: `timedatectl status`".to_owned(),
        );
    }
    let mut versions: Vec<&str> = living.iter().map(|m| m.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        return Check::warning(
            name,
            format!("different versions work side by side: {}", versions.join(", ")),
            "bring the other nodes to the newest, one after another".to_owned(),
        );
    }
    Check::ok(name, format!("{} live(s): {}", living.len(), named(&living)))
}

/// Whether a part stays free: who lives and could do it is drained. What somebody takes in a moment is none, nor is what
/// nobody is set up for any more.
fn is_nobodys(lease: &Lease, drained: &[&Member], working: &[&Member]) -> bool {
    let able = |m: &&Member| m.can.iter().any(|can| can == kind(&lease.name));
    lease.owner.is_none() && drained.iter().any(able) && !working.iter().any(able)
}

/// The last life of each name; they come in that order.
fn newest(members: &[Member]) -> Vec<&Member> {
    let mut newest: Vec<&Member> = members.iter().collect();
    newest.dedup_by(|later, first| later.name == first.name);
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::domain::Epoch;
    use crate::ops::doctor::CheckState;
    use uuid::Uuid;

    fn member(name: &str) -> Member {
        Member {
            boot: Uuid::now_v7(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            host: name.to_owned(),
            place: String::new(),
            pid: 1,
            can: Vec::new(),
            started_at: Clock::system().now(),
            silent_ms: 100,
            clock_ahead_ms: 0,
            lives: true,
            draining: false,
            left_at: None,
            dead_at: None,
        }
    }

    #[test]
    fn a_dead_node_a_wrong_clock_and_another_version_are_told() {
        let (a, mut b) = (member("a"), member("b"));
        assert_eq!(judge(&[a.clone(), b.clone()], &[]).state, CheckState::Ok);
        b.clock_ahead_ms = -2_001;
        assert!(
            judge(&[a.clone(), b.clone()], &[])
                .said
                .contains("the clock of b")
        );
        b = member("b");
        b.version = "1.1.0".to_owned();
        assert!(judge(&[a.clone(), b.clone()], &[]).said.contains("1.0.0, 1.1.0"));
        b.lives = false;
        b.dead_at = Some(Clock::system().now());
        assert!(
            judge(&[a.clone(), b.clone()], &[])
                .said
                .contains("b counts as dead")
        );
        assert_eq!(
            judge(&[a, member("b"), b], &[]).state,
            CheckState::Ok,
            "it lives again"
        );
    }

    #[test]
    fn work_that_is_nobodys_because_all_others_are_drained_is_told() {
        let lease = |name: &str| Lease {
            name: name.to_owned(),
            owner: None,
            epoch: Epoch(4),
        };
        let leases = [lease("watch/001"), lease("watch/002"), lease("sync/mercari")];
        let (mut a, mut b) = (member("a"), member("b"));
        for node in [&mut a, &mut b] {
            node.can = vec!["watch".to_owned()];
        }
        a.draining = true;
        let moment = judge(&[a.clone(), b.clone()], &leases);
        assert_eq!(moment.state, CheckState::Ok, "b takes them: {}", moment.said);
        b.lives = false;
        b.dead_at = Some(Clock::system().now());
        let found = judge(&[a.clone(), b.clone()], &leases);
        assert_eq!(found.state, CheckState::Failed);
        assert!(
            found.said.contains("2 parts of the work are nobody's"),
            "{}",
            found.said
        );
        a.draining = false;
        assert!(
            judge(&[a, b], &leases)
                .said
                .contains("a live(s) and does its part")
        );
    }
}
