//! Whose each part of the work should be: pure.
//!
//! Each node draws a number for each part, made of both names; the highest has it. A node that comes takes only what it
//! draws highest, from all others alike; one that goes leaves only what was its own. Names, not lives, so that a restart
//! moves nothing for good.

use super::WATCH;
use crate::domain::Shard;
use crate::store::leases::Lease;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A node that may be counted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// This life of the daemon.
    pub boot: Uuid,
    /// What it draws with.
    pub name: String,
    /// The kinds of work it is set up for.
    pub can: Vec<String>,
    /// It is to have nothing.
    pub draining: bool,
}

/// What one node should do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Free, and its to take.
    pub take: Vec<String>,
    /// Its own, and another's to have.
    pub leave: Vec<String>,
}

/// The kind of work a part is: every shard is [`WATCH`], a role is its own.
#[must_use]
pub fn kind(lease: &str) -> &str {
    if lease.starts_with("watch/") { WATCH } else { lease }
}

/// Who should have each of `names`; a part that nobody can do is not there.
#[must_use]
pub fn desired<'a>(names: impl Iterator<Item = &'a str>, nodes: &[Candidate]) -> BTreeMap<&'a str, Uuid> {
    let able = |name: &str| {
        nodes
            .iter()
            .filter(move |n| !n.draining && n.can.iter().any(|can| can == kind(name)))
            .collect::<Vec<_>>()
    };
    names
        .filter_map(|name| {
            let best = able(name)
                .into_iter()
                .max_by_key(|n| (draw(&n.name, name), n.boot))?;
            Some((name, best.boot))
        })
        .collect()
}

/// The number that a node draws for a part.
fn draw(node: &str, lease: &str) -> u64 {
    let mut hash = Sha256::new();
    // The length first: no two pairs of names read alike.
    hash.update(u64::try_from(node.len()).unwrap_or(0).to_be_bytes());
    hash.update(node);
    hash.update(lease);
    let digest = hash.finalize();
    let first = digest.iter().take(8);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What `me` should do, given who lives and how things stand.
#[must_use]
pub fn plan(me: Uuid, nodes: &[Candidate], leases: &[Lease]) -> Plan {
    let desired = desired(leases.iter().map(|lease| lease.name.as_str()), nodes);
    let draining = nodes.iter().any(|n| n.boot == me && n.draining);
    let mut plan = Plan::default();
    for lease in leases {
        let whose = desired.get(lease.name.as_str()).copied();
        match lease.owner {
            None if whose == Some(me) => plan.take.push(lease.name.clone()),
            // What nobody else can do is kept, unless this node is to have nothing.
            Some(owner) if owner == me && whose != Some(me) && (whose.is_some() || draining) => {
                plan.leave.push(lease.name.clone());
            }
            _ => {}
        }
    }
    plan
}

/// The names of all shards.
#[must_use]
pub fn shards() -> Vec<String> {
    Shard::all().map(Shard::lease).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Epoch;
    use proptest::prelude::*;

    fn node(n: u128) -> Candidate {
        Candidate {
            boot: Uuid::from_u128(n),
            name: format!("node-{n}"),
            can: vec![WATCH.to_owned(), "alert".to_owned()],
            draining: false,
        }
    }

    fn owners(nodes: &[Candidate]) -> BTreeMap<String, Uuid> {
        let names = shards();
        let all = desired(names.iter().map(String::as_str), nodes);
        all.into_iter()
            .map(|(name, boot)| (name.to_owned(), boot))
            .collect()
    }

    proptest! {
        // Each case draws thousands of numbers.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn only_what_must_move_moves(count in 1_u128..8, salt in 0_u128..10_000) {
            let nodes: Vec<_> = (0..count).map(|n| node(salt * 100 + n)).collect();
            let newcomer = node(salt * 100 + 99);
            let before = owners(&nodes);
            let with: Vec<_> = nodes.iter().cloned().chain([newcomer.clone()]).collect();
            let after = owners(&with);
            prop_assert_eq!(before.len(), Shard::COUNT);
            for (shard, owner) in &before {
                // It comes: what moves, moves to it. It goes: what moves was its own. The same comparison both ways.
                prop_assert!(after[shard] == *owner || after[shard] == newcomer.boot);
            }
            // As even as drawing lots: within five standard deviations of its share.
            for node in &with {
                let has = after.values().filter(|boot| **boot == node.boot).count();
                let share = Shard::COUNT / with.len();
                prop_assert!(has.abs_diff(share).pow(2) <= 25 * share, "{has} of a share of {share}");
            }
        }

        #[test]
        fn every_node_comes_to_the_same_plan_whatever_the_order(seed in 0_u128..10_000, turn in 0_usize..5) {
            let mut nodes: Vec<_> = (0..5).map(|n| node(seed * 10 + n)).collect();
            let before = owners(&nodes);
            nodes.rotate_left(turn);
            prop_assert_eq!(before, owners(&nodes));
        }
    }

    fn lease(name: &str, owner: Option<u128>) -> Lease {
        Lease {
            name: name.to_owned(),
            owner: owner.map(Uuid::from_u128),
            epoch: Epoch(1),
        }
    }

    #[test]
    fn a_node_waits_for_what_another_has_and_takes_what_is_free() {
        let me = node(1);
        let held = [lease("alert", Some(2)), lease("watch/001", None)];
        assert_eq!(
            plan(me.boot, std::slice::from_ref(&me), &held).take,
            ["watch/001"]
        );
    }

    #[test]
    fn who_drains_leaves_everything_even_when_nobody_else_can_do_it() {
        let mut me = node(1);
        let held = [lease("alert", Some(1)), lease("sync/ebay", Some(1))];
        // It is not set up for this one, and neither is anybody else: it stays where it is.
        assert_eq!(plan(me.boot, std::slice::from_ref(&me), &held), Plan::default());
        me.draining = true;
        assert_eq!(plan(me.boot, &[me.clone()], &held).leave, ["alert", "sync/ebay"]);
    }

    #[test]
    fn work_goes_to_those_that_are_set_up_for_it() {
        let (mut watches, mut sells) = (node(1), node(2));
        watches.can = vec![WATCH.to_owned()];
        sells.can = vec!["sync/ebay".to_owned()];
        let names = ["watch/000", "watch/255", "sync/ebay", "sync/mercari"];
        let whose = desired(names.into_iter(), &[watches.clone(), sells.clone()]);
        assert_eq!(whose["watch/000"], watches.boot);
        assert_eq!(whose["watch/255"], watches.boot);
        assert_eq!(whose["sync/ebay"], sells.boot);
        assert!(!whose.contains_key("sync/mercari"));
    }
}
