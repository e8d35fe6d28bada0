//! The check that finds all that is wrong with a tree before anything is started.

use super::spec::{ChildSpec, GroupSpec, Kind, Placement, Shutdown, path_below};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// More than any of our children needs; a larger number is a slip of the pen, and memory by the gigabyte.
const MAX_CAPACITY: usize = 1_000_000;

/// One thing that is wrong with a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecProblem {
    /// The path of the group or child.
    pub path: String,
    /// Which field of its spec.
    pub field: &'static str,
    /// What was found and what is expected.
    pub problem: String,
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}: {}", self.path, self.field, self.problem)
    }
}

/// All that is wrong with the tree below `root`.
pub(super) fn check(root: &GroupSpec) -> Vec<SpecProblem> {
    let mut check = Check::default();
    check.name(&root.name, &root.name);
    check.group(&root.name, "", root);
    check.problems
}

#[derive(Default)]
struct Check {
    problems: Vec<SpecProblem>,
}

impl Check {
    fn add(&mut self, path: &str, field: &'static str, problem: impl Into<String>) {
        let (path, problem) = (path.to_owned(), problem.into());
        self.problems.push(SpecProblem { path, field, problem });
    }

    fn name(&mut self, path: &str, name: &str) {
        if name.is_empty() {
            self.add(path, "name", "is empty, expected a word such as `ledger`");
        } else if name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
            let problem =
                format!("`{name}` has a `/` or a blank in it, which would break paths; use `.` or `-`");
            self.add(path, "name", problem);
        }
    }

    fn group(&mut self, shown: &str, path: &str, group: &GroupSpec) {
        if group.intensity.within.is_zero() {
            let problem = "the period is 0, so that no restart would ever count; expected e.g. 60 s";
            self.add(shown, "intensity", problem);
        }
        let mut names = BTreeSet::new();
        for child in &group.children {
            let path = path_below(path, &child.name);
            self.name(&path, &child.name);
            if !names.insert(&child.name) {
                let problem = format!("`{}` stands twice in its group; names must differ", child.name);
                self.add(&path, "name", problem);
            }
            self.child(&path, child);
        }
    }

    fn child(&mut self, path: &str, child: &ChildSpec) {
        if child.placement == Placement::Named("") {
            self.add(
                path,
                "placement",
                "the arbiter's name is empty; use `Group` or a name",
            );
        }
        match &child.kind {
            Kind::Group(group) => {
                for setting in &child.misplaced {
                    self.add(
                        path,
                        setting,
                        "means nothing for a group; set it on the group's children",
                    );
                }
                self.group(path, path, group);
            }
            Kind::Actor(_) => {
                if !(1..=MAX_CAPACITY).contains(&child.capacity) {
                    let problem = format!("{} messages, expected 1 to {MAX_CAPACITY}", child.capacity);
                    self.add(path, "capacity", problem);
                }
                if child.stuck_after.is_zero() {
                    self.add(
                        path,
                        "stuck_after",
                        "is 0, expected a time, or `Duration::MAX` for never",
                    );
                }
                if child.shutdown == Shutdown::After(Duration::ZERO) {
                    self.add(path, "shutdown", "asks and waits 0 s; use `Immediate`");
                }
            }
        }
    }
}
