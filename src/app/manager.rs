//! What the service manager (systemd) is told, when one listens.
//!
//! A thread of its own speaks, because a manager that stands still must not make anybody wait: what it does not take in
//! time is dropped. `READY=1` is said once products are watched. Until then each line asks for more time, so that a
//! database that is away delays the start and does not end it; the same for a stop, which is bounded by our own means.
//!
//! `WATCHDOG=1` comes from the thread that watches the arbiters, see [`Watchdog`](crate::supervision::Watchdog): when one
//! is blocked, it is not said any more. While the daemon stops there are no arbiters to watch, and `last resort` bounds
//! it; so it is said from here then.

use crate::config;
use crate::ops::Ops;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How many words wait for a manager that is busy.
const WAITING: usize = 64;
/// How often the status is told anew, while nothing changes by itself.
const EVERY: Duration = Duration::from_secs(10);
/// How much more time is asked for with each line of the start; several lines may be lost.
const MORE_TIME: Duration = Duration::from_secs(90);
/// A status longer than this is no line any more, in characters.
const LONGEST_STATUS: usize = 300;
/// How often the log's figures are written.
const FIGURES_EVERY: Duration = Duration::from_secs(60);

/// Whom to tell. Cheap to clone.
#[derive(Clone)]
pub(super) struct Manager {
    words: Option<SyncSender<Vec<Word>>>,
    ready: Arc<AtomicBool>,
}

enum Word {
    Ready,
    Reloading,
    Stopping,
    Alive,
    Status(String),
    MoreTime(Duration),
}

// === impl Manager ===

impl Manager {
    /// Nobody listens.
    pub(super) fn nobody() -> Self {
        Self {
            words: None,
            ready: Arc::default(),
        }
    }

    /// The one that the environment names, if it names one.
    pub(super) fn connect() -> Self {
        let mut manager = Self::nobody();
        if !config::is_managed() {
            return manager;
        }
        let (words, waiting) = sync_channel(WAITING);
        let spawned = std::thread::Builder::new()
            .name("service manager".to_owned())
            .spawn(move || speak(&waiting));
        match spawned {
            Ok(_ends_with_the_process) => manager.words = Some(words),
            Err(error) => {
                tracing::warn!(error = %error, "The service manager is not told anything: no thread is left")
            }
        }
        manager
    }

    /// How soon it ends a process that does not say that it lives.
    pub(super) fn patience() -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }

    fn tell(&self, words: Vec<Word>) {
        if let Some(to) = &self.words {
            // A manager that takes nothing is not waited for.
            let _full = to.try_send(words);
        }
    }

    /// All arbiters answer.
    pub(super) fn alive(&self) {
        self.tell(vec![Word::Alive]);
    }

    /// The settings are being read, until what is given back is dropped.
    pub(super) fn reloading(&self) -> Reloading<'_> {
        if self.ready.load(Ordering::Acquire) {
            self.tell(vec![Word::Reloading]);
        }
        Reloading(self)
    }

    /// Tells what the daemon is doing, for as long as it lives.
    pub(super) async fn narrate(self, ops: Ops, drain: Duration) {
        let mut phases = ops.phases();
        let mut last = String::new();
        let every = Self::patience().map_or(EVERY, |patience| EVERY.min(patience / 3));
        loop {
            let phase = phases.borrow_and_update().clone();
            let line = one_line(&ops.summary());
            let mut words = Vec::new();
            match phase.as_str() {
                "running" => {
                    if !self.ready.swap(true, Ordering::AcqRel) {
                        words.push(Word::Ready);
                    }
                }
                "stopping" => {
                    self.ready.store(false, Ordering::Release);
                    words.extend([
                        Word::Stopping,
                        Word::Alive,
                        Word::MoreTime(drain + super::REST_ENDS_WITHIN),
                    ]);
                }
                _ => words.push(Word::MoreTime(MORE_TIME)),
            }
            if line != last {
                words.push(Word::Status(line.clone()));
                last = line;
            }
            if !words.is_empty() {
                self.tell(words);
            }
            // Whichever is first; the sender lives as long as we do.
            let _changed_or_time = timeout(every, phases.changed()).await;
        }
    }
}

/// See [`Manager::reloading`].
pub(super) struct Reloading<'a>(&'a Manager);

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        if self.0.ready.load(Ordering::Acquire) {
            self.0.tell(vec![Word::Ready]);
        }
    }
}

/// A line of its own, whatever an error says: what stood behind a break would be another word to the manager.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(LONGEST_STATUS).collect()
}

fn speak(waiting: &Receiver<Vec<Word>>) {
    let mut failed = false;
    while let Ok(words) = waiting.recv() {
        let mut said = Vec::with_capacity(words.len().saturating_add(1));
        for word in &words {
            match word {
                Word::Ready => said.push(NotifyState::Ready),
                Word::Reloading => {
                    said.push(NotifyState::Reloading);
                    // systemd pairs the end of a reload with its beginning by this.
                    said.extend(NotifyState::monotonic_usec_now());
                }
                Word::Stopping => said.push(NotifyState::Stopping),
                Word::Alive => said.push(NotifyState::Watchdog),
                Word::Status(line) => said.push(NotifyState::Status(line)),
                Word::MoreTime(time) => {
                    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                    said.push(NotifyState::ExtendTimeoutUsec(micros));
                }
            }
        }
        if let Err(error) = sd_notify::notify(&said) {
            if !failed {
                tracing::warn!(error = %error, "The service manager cannot be told how the daemon is");
            }
            failed = true;
        } else {
            failed = false;
        }
    }
}

/// Writes the daemon's figures to the log, once a minute.
pub(super) async fn figures(ops: Ops) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(FIGURES_EVERY).await;
        let Some(figures) = ops.figures() else { continue };
        let services: Vec<String> = figures.services.iter().map(service).collect();
        tracing::info!(
            channel = "performance",
            products = figures.products,
            checks = figures.checks,
            changes = figures.changes,
            oldest_age_s = figures.oldest_age_s,
            memory_bytes = memory_bytes(),
            over_s = last.elapsed().as_secs(),
            "{} products, {} checks, {} changes so far; {}",
            figures.products,
            figures.checks,
            figures.changes,
            services.join("; ")
        );
        last = Instant::now();
    }
}

fn service(status: &crate::resilience::GuardStatus) -> String {
    let counts = status.counts;
    format!(
        "{}: {} open, {} waiting, {} ok, {} failed",
        status.service,
        status.in_flight,
        status.waiting,
        counts.ok,
        counts.failed.saturating_add(counts.timed_out)
    )
}

/// What this process holds, as the kernel counts it; 0 when that cannot be read.
fn memory_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok());
    resident.unwrap_or(0).saturating_mul(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_speaks_to_the_manager_in_our_name() {
        let line = one_line(&format!("away: refused\nREADY=1\r{}", "x".repeat(1_000)));
        assert!(line.starts_with("away: refused READY=1 x") && line.chars().count() == LONGEST_STATUS);
    }
}
