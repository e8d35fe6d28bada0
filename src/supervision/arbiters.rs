//! The threads that actors live on, by name, and whether they still answer.
//!
//! Each arbiter is a thread with its own queue of tasks, but all share one multi-thread tokio runtime for timers and
//! sockets, so that a connection outlives the arbiter of the actor that opened it. A blocked arbiter cannot be
//! restarted (nothing can end a thread), only noticed: see `watchdog`.

use actix::{Arbiter, ArbiterHandle, System};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// The arbiters of one tree. Cheap to clone.
#[derive(Clone)]
pub(super) struct Arbiters {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    known: Mutex<BTreeMap<String, Known>>,
    /// The shared runtime's own heart: groups and connections live there.
    runtime: Mutex<Echo>,
}

enum Source {
    /// Every name is the arbiter of the thread that started the tree (tests on paused time).
    Here(ArbiterHandle),
    /// Every name is a thread of its own.
    Threads { runtime: Arc<Runtime>, system: System },
}

struct Known {
    handle: ArbiterHandle,
    echo: Echo,
}

/// A call into a thread, and whether it came back.
#[derive(Default)]
struct Echo {
    asked: Option<Instant>,
    answered: Arc<AtomicBool>,
}

/// How long a thread has owed an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owing {
    pub(super) name: String,
    pub(super) silent: Duration,
}

/// The name under which the shared runtime shows.
const RUNTIME: &str = "runtime";

// === impl Arbiters ===

impl Arbiters {
    pub(super) fn here(handle: ArbiterHandle) -> Self {
        Self::new(Source::Here(handle))
    }

    pub(super) fn threads(runtime: Arc<Runtime>, system: System) -> Self {
        Self::new(Source::Threads { runtime, system })
    }

    fn new(source: Source) -> Self {
        let (known, runtime) = (Mutex::default(), Mutex::default());
        Self {
            inner: Arc::new(Inner {
                source,
                known,
                runtime,
            }),
        }
    }

    /// The arbiter of this name; made when it is not there (any more).
    pub(super) fn get(&self, name: &str) -> io::Result<ArbiterHandle> {
        let mut known = self.inner.known.lock();
        if let Some(known) = known.get(name)
            && known.handle.alive()
        {
            return Ok(known.handle.clone());
        }
        let handle = match &self.inner.source {
            Source::Here(handle) => handle.clone(),
            Source::Threads { runtime, system } => {
                // `Arbiter` asks the calling thread for its system; groups run on threads of the runtime.
                System::set_current(system.clone());
                let runtime = Arc::clone(runtime);
                Arbiter::try_with_tokio_rt(move || Ok(runtime))?.handle()
            }
        };
        let entry = Known {
            handle: handle.clone(),
            echo: Echo::default(),
        };
        known.insert(name.to_owned(), entry);
        Ok(handle)
    }

    /// Ends the threads (not the one the tree was started on).
    pub(super) fn stop(&self) {
        let known = std::mem::take(&mut *self.inner.known.lock());
        if let Source::Threads { .. } = self.inner.source {
            for arbiter in known.into_values() {
                arbiter.handle.stop();
            }
        }
    }

    /// Calls into every thread that owes no answer, and tells how long the others have owed theirs.
    pub(super) fn probe(&self, now: Instant) -> Vec<Owing> {
        let mut owing = Vec::new();
        let mut known = self.inner.known.lock();
        known.retain(|name, arbiter| {
            let handle = &arbiter.handle;
            let called = arbiter.echo.probe(now, |answered| {
                handle.spawn_fn(move || answered.store(true, Ordering::Release))
            });
            owing.push(Owing {
                name: name.clone(),
                silent: arbiter.echo.silent(now),
            });
            called // a lost arbiter is no blocked one; its children were told
        });
        drop(known);
        if let Source::Threads { runtime, .. } = &self.inner.source {
            let mut echo = self.inner.runtime.lock();
            echo.probe(now, |answered| {
                runtime.spawn(async move { answered.store(true, Ordering::Release) });
                true
            });
            owing.push(Owing {
                name: RUNTIME.to_owned(),
                silent: echo.silent(now),
            });
        }
        owing
    }

    /// How long each thread has owed an answer, without calling.
    pub(super) fn owing(&self, now: Instant) -> Vec<Owing> {
        let known = self.inner.known.lock();
        known
            .iter()
            .map(|(name, known)| Owing {
                name: name.clone(),
                silent: known.echo.silent(now),
            })
            .collect()
    }

    /// The whole process stood still (suspended, stopped by a signal): what is owed counts from now.
    pub(super) fn forgive(&self, now: Instant) {
        for known in self.inner.known.lock().values_mut() {
            known.echo.forgive(now);
        }
        self.inner.runtime.lock().forgive(now);
    }
}

// === impl Echo ===

impl Echo {
    /// Calls unless an answer is owed; false when there is nobody to call.
    fn probe(&mut self, now: Instant, call: impl FnOnce(Arc<AtomicBool>) -> bool) -> bool {
        if self.asked.is_some() && !self.answered.load(Ordering::Acquire) {
            return true;
        }
        self.answered.store(false, Ordering::Release);
        self.asked = Some(now);
        call(Arc::clone(&self.answered))
    }

    fn silent(&self, now: Instant) -> Duration {
        match self.asked {
            Some(asked) if !self.answered.load(Ordering::Acquire) => now.saturating_duration_since(asked),
            _ => Duration::ZERO,
        }
    }

    fn forgive(&mut self, now: Instant) {
        self.asked = self.asked.map(|_| now);
    }
}
