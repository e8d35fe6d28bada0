//! Plans: a tree of specs that was checked, in the form in which groups run it, again and again if need be.

use super::child::Launch;
use super::report::Node;
use super::spec::{ChildSpec, GiveUp, GroupSpec, Intensity, Kind, Placement, Strategy, path_below};
use super::step::Rules;
use std::sync::Arc;
use std::time::Duration;

/// A group as it was checked: what to run, again and again if need be.
pub(super) struct GroupPlan {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) give_up: GiveUp,
    pub(super) children: Vec<ChildPlan>,
}

pub(super) struct ChildPlan {
    pub(super) node: Arc<Node>,
    pub(super) rules: Rules,
    pub(super) body: Body,
}

pub(super) enum Body {
    Actor {
        launch: Arc<dyn Launch>,
        stuck_after: Duration,
    },
    Group(Arc<GroupPlan>),
}

// === impl ChildPlan ===

impl ChildPlan {
    /// Answers what waits in the child, or below it, with `Down`.
    pub(super) fn close(&self) {
        match &self.body {
            Body::Actor { launch, .. } => launch.close(),
            Body::Group(group) => group.children.iter().for_each(Self::close),
        }
    }
}

/// The plan of a group below `path`, and the nodes of its children.
pub(super) fn plan_group(spec: GroupSpec, path: &str, arbiter: &str) -> (GroupPlan, Vec<Arc<Node>>) {
    let GroupSpec {
        strategy,
        intensity,
        give_up,
        children,
        ..
    } = spec;
    let children: Vec<ChildPlan> = children
        .into_iter()
        .map(|child| plan_child(child, path, arbiter))
        .collect();
    let nodes = children.iter().map(|child| Arc::clone(&child.node)).collect();
    (
        GroupPlan {
            strategy,
            intensity,
            give_up,
            children,
        },
        nodes,
    )
}

fn plan_child(spec: ChildSpec, parent: &str, groups_arbiter: &str) -> ChildPlan {
    let ChildSpec {
        name,
        restart,
        shutdown,
        placement,
        stuck_after,
        kind,
        ..
    } = spec;
    let path = path_below(parent, &name);
    let rules = |shutdown| Rules {
        path: path.clone(),
        restart,
        shutdown,
    };
    let arbiter = match placement {
        Placement::Group => groups_arbiter.to_owned(),
        Placement::Own => path.clone(),
        Placement::Named(name) => name.to_owned(),
    };
    match kind {
        Kind::Actor(launch) => {
            let rules = rules(Some(shutdown));
            let node = Node::new(name, path, arbiter, Some(Arc::clone(&launch)), Vec::new());
            ChildPlan {
                node: Arc::new(node),
                rules,
                body: Body::Actor { launch, stuck_after },
            }
        }
        Kind::Group(group) => {
            let (plan, nodes) = plan_group(group, &path, &arbiter);
            // As long as it takes: its children have the limits.
            let rules = rules(None);
            let node = Node::new(name, path, arbiter, None, nodes);
            ChildPlan {
                node: Arc::new(node),
                rules,
                body: Body::Group(Arc::new(plan)),
            }
        }
    }
}
