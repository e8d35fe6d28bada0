//! The outside services and their switches.

use super::{Ops, OpsError, Rows};
use crate::domain::Platform;
use crate::resilience::GateView;
use crate::store::errors;
use crate::store::platform_state::{self, Scope};
use crate::sync::LookNow;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// Held while a platform or everything is paused, resumed or reset here, by a person or because another node was told to,
/// so that tables and guards end up saying the same. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Switching(Arc<Mutex<Switched>>);

/// What was switched on this node.
#[derive(Debug, Default)]
pub struct Switched {
    /// How many orders were given here: what was read before the last one says nothing of it.
    pub orders: u64,
    /// Each platform's last reset that was done here, by the tables' count.
    pub resets: HashMap<Platform, i64>,
}

// === impl Switching ===

impl Switching {
    /// A turn of one's own.
    pub async fn turn(&self) -> MutexGuard<'_, Switched> {
        self.0.lock().await
    }
}

impl Ops {
    /// Every service: gate, rate, counts, last error.
    ///
    /// # Errors
    /// While the daemon starts.
    pub fn platforms(&self) -> Result<Rows, OpsError> {
        Ok(Rows {
            items: self.platform_rows()?,
            next: None,
        })
    }

    pub(super) fn platform_rows(&self) -> Result<Vec<Value>, OpsError> {
        let parts = self.parts()?;
        let rows = parts.guards.statuses().into_iter().map(|status| {
            let simulator = parts.simulated.contains(&status.service);
            let mut row = serde_json::to_value(&status).unwrap_or_default();
            if let Some(fields) = row.as_object_mut() {
                fields.insert("name".to_owned(), json!(status.service));
                fields.insert("simulator".to_owned(), json!(simulator));
                fields.insert("needs".to_owned(), json!(self.lacks(&status.service)));
            }
            row
        });
        Ok(rows.collect())
    }

    /// The emergency stop, or its end: nothing goes to any destination; watching goes on.
    ///
    /// The destinations' guards are stopped before anything else, so that requests which are written down already do not
    /// leave any more; a database that is away does not put that off.
    ///
    /// # Errors
    /// [`OpsError::NotKept`] when the stop is in force but not in the tables; see [`OpsError`].
    pub async fn emergency_stop(&self, stop: bool, by: &str) -> Result<Value, OpsError> {
        if stop {
            self.stop_destinations(true)?;
        }
        let mut turn = self.0.switching.turn().await;
        turn.orders = turn.orders.wrapping_add(1);
        if stop {
            // Again: an end of the stop may have had its turn meanwhile.
            self.stop_destinations(true)?;
        }
        let changed = match self.keep_stop(stop, by).await {
            Err(OpsError::Away { source }) if stop => return Err(OpsError::NotKept { source }),
            kept => kept?,
        };
        self.tell_platforms().await;
        if !stop {
            self.stop_destinations(false)?;
        }
        tracing::warn!(
            by,
            changed,
            "The emergency stop is {}",
            if stop { "on" } else { "off" }
        );
        self.look_now()?;
        let paused: Vec<String> = self
            .parts()?
            .guards
            .statuses()
            .into_iter()
            .filter(|status| status.gate == GateView::Paused)
            .map(|status| status.service)
            .collect();
        Ok(json!({ "emergency_stop": stop, "changed": changed, "still_paused": paused }))
    }

    async fn keep_stop(&self, stop: bool, by: &str) -> Result<bool, OpsError> {
        let mut conn = self.conn().await?;
        Ok(platform_state::set_paused(&mut conn, Scope::Everything, stop, by).await?)
    }

    fn stop_destinations(&self, stop: bool) -> Result<(), OpsError> {
        let parts = self.parts()?;
        for destination in parts.destinations.keys() {
            if let Some(guard) = parts.guards.get(Platform::from(*destination).as_str()) {
                guard.set_stopped(stop);
            }
        }
        Ok(())
    }

    /// Makes every syncer look at the queue at once. One that is restarting looks by itself.
    pub(super) fn look_now(&self) -> Result<(), OpsError> {
        for selling in self.parts()?.destinations.values() {
            let _busy_or_restarting = selling.syncer.tell(LookNow);
        }
        Ok(())
    }

    /// `pause`, `resume` or `reset` a service. A reset also lets its account sign in again at once.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] for a service that does not run here.
    pub async fn switch_platform(&self, name: &str, verb: &str, by: &str) -> Result<Value, OpsError> {
        let unknown = || OpsError::NotFound {
            things: vec![format!(
                "platform `{}`",
                name.chars().take(40).collect::<String>()
            )],
            hint: Some("`zaikoban platforms list` shows those that are enabled in the settings"),
        };
        let platform: Platform = name.parse().map_err(|_not_ours| unknown())?;
        let parts = self.parts()?;
        let guard = parts.guards.get(name).ok_or_else(unknown)?;
        let mut turn = self.0.switching.turn().await;
        turn.orders = turn.orders.wrapping_add(1);
        match verb {
            "pause" | "resume" => {
                // Kept first: a switch that a restart forgets would be worse than one that failed.
                let mut conn = self.conn().await?;
                platform_state::set_paused(&mut conn, Scope::One(platform), verb == "pause", by).await?;
                if verb == "pause" {
                    guard.pause()
                } else {
                    guard.resume()
                }
            }
            _ => {
                if let Some(account) = parts.credentials.accounts.get(&platform) {
                    account.sign_in_again().await;
                }
                guard.reset();
                let count = platform_state::count_reset(&mut *self.conn().await?, platform).await?;
                turn.resets.insert(platform, count);
                // What is refused still comes again with the next call.
                errors::end_sign_in(&mut *self.conn().await?, platform, by).await?;
            }
        }
        self.tell_platforms().await;
        self.look_now()?;
        tracing::info!(platform = name, verb, by, "A person switched a platform");
        Ok(json!({ "platform": name, "done": verb, "gate": guard.status().gate }))
    }
}
