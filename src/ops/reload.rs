//! Reading the settings again while the daemon runs.

use super::{InputProblem, Ops, OpsError};
use serde::Serialize;
use std::sync::Arc;

/// What a reload came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Settings that are in force now.
    pub changed: Vec<String>,
    /// Settings that differ and are taken up by a restart only.
    pub needs_restart: Vec<String>,
}

/// Reads the settings and takes up what can be, all or nothing; the problems when they cannot be used.
pub type Reload = Arc<dyn Fn() -> Result<Reloaded, Vec<InputProblem>> + Send + Sync>;

impl Ops {
    /// From here on the settings can be read again.
    pub fn reloads_by(&self, reload: Reload) {
        drop(self.0.reload.set(reload));
    }

    /// Reads the settings again, by the word of `by`.
    ///
    /// # Errors
    /// [`OpsError::BadSettings`] with every problem; the settings in force stay then.
    pub async fn reload(&self, by: &str) -> Result<Reloaded, OpsError> {
        let Some(reload) = self.0.reload.get().map(Arc::clone) else {
            return Err(OpsError::NotReady {
                what: "the daemon",
                why: self.phase(),
            });
        };
        // Files are read.
        let done = tokio::task::spawn_blocking(move || reload()).await;
        let done = done.map_err(|panicked| OpsError::NotReady {
            what: "the reload",
            why: panicked.to_string(),
        })?;
        match done {
            Ok(reloaded) => {
                tell(&reloaded, by);
                Ok(reloaded)
            }
            Err(problems) => {
                let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                tracing::error!(
                    by,
                    problems = problems.len(),
                    "The settings were read again and cannot be used; those in force stay: {}",
                    all.join("; ")
                );
                Err(OpsError::BadSettings { problems })
            }
        }
    }
}

fn tell(reloaded: &Reloaded, by: &str) {
    let (changed, left) = (reloaded.changed.join(", "), reloaded.needs_restart.join(", "));
    match (changed.is_empty(), left.is_empty()) {
        (true, true) => tracing::info!(by, "The settings were read again: nothing differs"),
        (_, true) => tracing::info!(by, "The settings were read again; in force now: {changed}"),
        (true, false) => {
            tracing::warn!(by, "The settings were read again; these need a restart: {left}");
        }
        (false, false) => tracing::warn!(
            by,
            "The settings were read again; in force now: {changed}; these need a restart: {left}"
        ),
    }
}
