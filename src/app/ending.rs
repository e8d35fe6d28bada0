//! Asked to end: who asks, and what holds when the orderly way does not come to its end.

use crate::ops::{Ops, OpsError};
use crate::supervision::{OwnedTask, spawn_owned};
use crate::telemetry;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The status of a process that a part of itself kept from ending: starting it anew is the service manager's.
pub(super) const BLOCKED: i32 = 70;

/// How long the log may take at the end of the process.
pub(super) const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// SIGTERM and SIGINT; SIGHUP reads the settings again, where there is somebody who can.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    asked: bool,
    _hangup: OwnedTask<()>,
}

// === impl Signals ===

impl Signals {
    pub(super) fn listen(ops: Option<Ops>) -> anyhow::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        let hangup = spawn_owned("SIGHUP", async move {
            while hangup.recv().await.is_some() {
                // The files are opened anew whatever becomes of the settings: the log may have been moved.
                telemetry::reopen();
                let Some(ops) = &ops else { continue };
                if let Err(error @ OpsError::NotReady { .. }) = ops.reload("SIGHUP").await {
                    tracing::warn!("Heard SIGHUP too early, so the settings were not read again: {error}");
                }
            }
        });
        Ok(Self {
            _hangup: hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            asked: false,
        })
    }

    /// Resolves once the daemon was asked to end; at once, when that was before.
    pub(super) async fn asked(&mut self) {
        if !self.asked {
            self.asked_again().await;
            self.asked = true;
        }
    }

    pub(super) async fn asked_again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process although a part of it goes on; what was logged is written first, unless that is what is stuck.
pub(super) fn end_blocked() -> ! {
    telemetry::flush(FLUSHED_WITHIN);
    std::process::exit(BLOCKED)
}

/// Ends the process after `limit`, whatever keeps it: a thread of its own, because any other may be the blocked one.
/// It is never called off; a process that ends in order is gone before.
pub(super) fn exit_within(limit: Duration) {
    let spawned = std::thread::Builder::new()
        .name("last resort".to_owned())
        .spawn(move || {
            std::thread::sleep(limit);
            tracing::error!("The stop did not come to its end within {limit:?}: ending the process");
            end_blocked();
        });
    if let Err(error) = spawned {
        tracing::warn!(error = %error, "Nothing bounds the time of this stop: no thread is left");
    }
}
