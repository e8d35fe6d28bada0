//! The other ends of the ports that lower rooms state.

pub(super) mod credentials;
pub(super) mod peers;

use crate::domain::{DestinationPlatform, Platform};
use crate::resilience::{GateRecord, GateStore, Registry};
use crate::store::Db;
use crate::store::platform_state::{self, PlatformState};
use crate::supervision::{OwnedTask, spawn_owned};
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Keeps the guards' state in `platform_state`. What cannot be written is lost with a warning: a breaker that forgets is
/// a nuisance, a guard that waits for the database would be an outage.
pub(super) struct Gates {
    /// As they stood at the start, each for the first who asks.
    kept: Mutex<HashMap<String, GateRecord>>,
    db: Db,
    told: mpsc::UnboundedSender<(String, GateRecord)>,
    /// Writes as long as it lives.
    _writer: OwnedTask<()>,
}

impl Gates {
    /// Takes up what was kept, and begins to write what comes.
    pub(super) fn new(db: Db, states: &[PlatformState]) -> Arc<Self> {
        let kept = states
            .iter()
            .filter_map(|row| {
                let gate = serde_json::from_value(row.gate.clone()?).ok()?;
                Some((row.platform.clone(), gate))
            })
            .collect();
        let (told, hear) = mpsc::unbounded_channel();
        let writer = spawn_owned("gate records", write(db.clone(), hear));
        Arc::new(Self {
            kept: Mutex::new(kept),
            db,
            told,
            _writer: writer,
        })
    }
}

async fn write(db: Db, mut hear: mpsc::UnboundedReceiver<(String, GateRecord)>) {
    while let Some((service, record)) = hear.recv().await {
        let saved = async {
            let platform = service
                .parse()
                .map_err(|e: crate::domain::UnknownName| anyhow::anyhow!(e))?;
            let value = serde_json::to_value(&record)?;
            let mut conn = db.conn().await?;
            platform_state::save_gate(&mut conn, platform, &value).await?;
            anyhow::Ok(())
        };
        if let Err(error) = saved.await {
            tracing::warn!(
                platform = service,
                "The breaker's state of `{service}` was not kept: {error:#}"
            );
        }
    }
}

impl GateStore for Gates {
    fn load<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Option<GateRecord>> {
        if let Some(kept) = self.kept.lock().remove(service) {
            return futures_util::future::ready(Some(kept)).boxed();
        }
        // Later it is asked when a service has become this node's: another one may have kept more since.
        async move {
            let platform = service.parse().ok()?;
            let mut conn = self.db.conn().await.ok()?;
            let gate = platform_state::gate(&mut conn, platform).await.ok()??;
            serde_json::from_value(gate).ok()
        }
        .boxed()
    }

    fn save(&self, service: &str, record: GateRecord) {
        // The receiver ends with this store; nothing is left to tell then.
        drop(self.told.send((service.to_owned(), record)));
    }
}

/// Sets the guards as a person left them: what is paused, and the emergency stop.
pub(super) fn switches(
    states: &[PlatformState],
    guards: &Registry,
    destinations: impl Iterator<Item = DestinationPlatform>,
) {
    for state in states {
        if let (true, Some(guard)) = (state.paused, guards.get(&state.platform)) {
            guard.pause();
        }
    }
    let stopped = states.iter().any(|state| state.is_everything() && state.paused);
    for guard in destinations.filter_map(|at| guards.get(Platform::from(at).as_str())) {
        guard.set_stopped(stopped);
    }
}
