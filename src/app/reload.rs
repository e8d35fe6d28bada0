//! Reads the settings again and takes up what can be, all or nothing.
//!
//! First everything is read and every part prepares what it would do; only when all have is anything changed. So a file
//! that is half written, or wrong in one line, changes nothing at all. What no part takes up is named and stays for the
//! next restart; it is named by every later reload again, because it differs still.
//!
//! A room that can change while the daemon runs adds a [`Reloadable`] to the list that `serve` in [`app`](super) makes.

use super::manager::Manager;
use crate::config::{self, Settings, Shown};
use crate::ops::{InputProblem, Reloaded};
use crate::telemetry;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A change that was prepared and cannot fail any more.
pub(super) type Commit = Box<dyn FnOnce() + Send>;

type Prepare = Box<dyn Fn(&Settings) -> Result<Commit, InputProblem> + Send + Sync>;

/// A part of the daemon that changes while it runs.
pub(super) struct Reloadable {
    /// The settings it takes up: whole keys, or beginnings that end with a dot.
    takes: &'static [&'static str],
    prepare: Prepare,
}

/// Where the settings came from, and which are in force.
pub struct Source {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// What every setting came to.
    pub shown: Vec<Shown>,
}

/// See the module.
pub(super) struct Reloader {
    file: Option<PathBuf>,
    in_force: Mutex<Vec<Shown>>,
    parts: Vec<Reloadable>,
    manager: Manager,
}

// === impl Reloadable ===

impl Reloadable {
    /// A part that takes up `takes`. It prepares when one of them differs, and commits when every part could.
    pub(super) fn new(
        takes: &'static [&'static str],
        prepare: impl Fn(&Settings) -> Result<Commit, InputProblem> + Send + Sync + 'static,
    ) -> Self {
        Self {
            takes,
            prepare: Box::new(prepare),
        }
    }

    fn takes(&self, key: &str) -> bool {
        let taken = |own: &&str| key == *own || (own.ends_with('.') && key.starts_with(*own));
        self.takes.iter().any(taken)
    }
}

// === impl Reloader ===

impl Reloader {
    pub(super) fn new(source: Source, parts: Vec<Reloadable>, manager: Manager) -> Self {
        Self {
            file: source.file,
            in_force: Mutex::new(source.shown),
            parts,
            manager,
        }
    }

    /// Reads and takes up. One at a time.
    pub(super) fn reload(&self) -> Result<Reloaded, Vec<InputProblem>> {
        let mut in_force = self.in_force.lock();
        let _told = self.manager.reloading();
        telemetry::reopen();
        let read = config::load_shown(self.file.as_deref(), config::environment());
        let (settings, shown) =
            read.map_err(|bad| bad.problems.into_iter().map(problem).collect::<Vec<_>>())?;
        // Only `zaikoban demo` looks at these, and it is a process of its own.
        let differing: BTreeSet<String> = config::changed(&in_force, &shown)
            .into_iter()
            .filter(|key| !key.starts_with("demo."))
            .collect();
        let (mut commits, mut problems) = (Vec::new(), Vec::new());
        for part in self
            .parts
            .iter()
            .filter(|p| differing.iter().any(|key| p.takes(key)))
        {
            match (part.prepare)(&settings) {
                Ok(commit) => commits.push(commit),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        commits.into_iter().for_each(|commit| commit());
        let (changed, needs_restart): (Vec<String>, Vec<String>) = differing
            .into_iter()
            .partition(|key| self.parts.iter().any(|part| part.takes(key)));
        in_force.retain(|old| !changed.contains(&old.key));
        in_force.extend(shown.into_iter().filter(|new| changed.contains(&new.key)));
        Ok(Reloaded {
            changed,
            needs_restart,
        })
    }
}

fn problem(problem: config::Problem) -> InputProblem {
    let place = if problem.key.is_empty() {
        problem.place.to_string()
    } else {
        format!("{}: `{}`", problem.place, problem.key)
    };
    InputProblem {
        hint: problem.hint,
        ..InputProblem::new(place, problem.expected, &problem.got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Bench {
        file: tempfile::NamedTempFile,
        reloader: Reloader,
        committed: Arc<Mutex<Vec<Settings>>>,
    }

    /// A reloader over a file, with one part for `watch.` and `pricing.` and one that refuses a drain of 13 s.
    fn bench(text: &str) -> Bench {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let (_, shown) = config::load_shown(Some(file.path()), []).unwrap();
        let source = Source {
            file: Some(file.path().to_path_buf()),
            shown,
        };
        let committed = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&committed);
        let parts = vec![
            Reloadable::new(&["watch.", "pricing."], move |settings| {
                let (settings, kept) = (settings.clone(), Arc::clone(&kept));
                Ok(Box::new(move || kept.lock().push(settings)))
            }),
            Reloadable::new(&["daemon.drain_s"], |settings| {
                if settings.daemon.drain.as_secs() == 13 {
                    return Err(InputProblem::new("daemon.drain_s", "a lucky number", "13"));
                }
                Ok(Box::new(|| {}))
            }),
        ];
        Bench {
            file,
            reloader: Reloader::new(source, parts, Manager::nobody()),
            committed,
        }
    }

    impl Bench {
        fn reload(&self, text: &str) -> Result<Reloaded, Vec<InputProblem>> {
            std::fs::write(self.file.path(), text).unwrap();
            self.reloader.reload()
        }
    }

    #[test]
    fn what_can_be_taken_up_is_and_the_rest_is_named_until_it_is_put_back() {
        let bench = bench("[watch]\nmax_interval_s = 100\n");
        let text =
            "[watch]\nmax_interval_s = 200\n[daemon]\nsocket = '/run/other.sock'\n[demo]\nproducts = 1\n";
        let done = bench.reload(text).unwrap();
        assert_eq!(done.changed, ["watch.max_interval_s"]);
        assert_eq!(done.needs_restart, ["daemon.socket"]);
        assert_eq!(bench.committed.lock()[0].watch.max_interval.as_secs(), 200);
        let again = bench.reload(text).unwrap();
        assert_eq!(
            (again.changed.len(), again.needs_restart),
            (0, vec!["daemon.socket".to_owned()])
        );
        assert_eq!(bench.committed.lock().len(), 1, "nothing differs for that part");
        assert_eq!(
            bench.reload("[watch]\nmax_interval_s = 200\n").unwrap(),
            Reloaded::default()
        );
    }

    #[test]
    fn settings_that_cannot_be_used_change_nothing_and_all_problems_are_told() {
        let bench = bench("");
        let problems = bench
            .reload("[watch]\nmax_interval_s = 200\nmin_intervall_ms = 3\n[daemon]\ndrain_s = 'x'\n")
            .unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains(":3:1: `watch.min_intervall_ms`") && told[0].contains("did you mean"),
            "{told:?}"
        );
        assert!(bench.committed.lock().is_empty());
        // One part that refuses keeps all others from changing.
        bench
            .reload("[watch]\nmax_interval_s = 200\n[daemon]\ndrain_s = 13\n")
            .unwrap_err();
        assert!(bench.committed.lock().is_empty());
        assert_eq!(
            bench.reload("[watch]\nmax_interval_s = 200\n").unwrap().changed,
            ["watch.max_interval_s"]
        );
    }

    #[test]
    fn a_thousand_mutations_are_taken_up_whole_or_not_at_all() {
        use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
        let good = "[watch]\nmax_interval_s = 300\nprice_factor = 3.0\n[pricing.destinations.ebay]\nmargin_bp = 1000\n";
        let bench = bench("");
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..1_000 {
            let mut bytes = good.as_bytes().to_vec();
            match rng.random_range(0..3) {
                0 => bytes.truncate(rng.random_range(0..bytes.len())),
                1 => {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] = rng.random();
                }
                _ => {
                    let at = rng.random_range(0..bytes.len());
                    bytes.insert(at, rng.random_range(32..127));
                }
            }
            std::fs::write(bench.file.path(), &bytes).unwrap();
            let before = bench.committed.lock().len();
            let done = bench.reloader.reload();
            let committed = bench.committed.lock().len() - before;
            match done {
                Err(_) => assert_eq!(committed, 0),
                Ok(done) => {
                    let (settings, _) = config::load_shown(Some(bench.file.path()), []).unwrap();
                    assert_eq!(committed, usize::from(!done.changed.is_empty()));
                    if let Some(last) = bench.committed.lock().last() {
                        assert_eq!((&last.watch, &last.pricing), (&settings.watch, &settings.pricing));
                    }
                }
            }
        }
    }
}
