//! What the daemon is doing, for a person and for a screen.

use super::{Ops, OpsError, Page, Rows};
use crate::store::platform_state::{self, Scope};
use crate::store::views;
use crate::supervision::ChildState;
use crate::sync::GetStatus;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The delay is told over the last hour.
const DELAY_WINDOW_S: i64 = 3_600;
/// How long a syncer is waited for: at three in the morning the rest of the picture is worth more than its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl Ops {
    /// State, platforms, counts, delays, what needs a person. Answers at every moment of the daemon's life.
    ///
    /// # Errors
    /// None while starting; a database that is away is part of the answer.
    pub async fn status(&self) -> Result<Value, OpsError> {
        let uptime_s = self.0.started.elapsed().as_secs();
        let (version, started_at) = (env!("CARGO_PKG_VERSION"), self.0.started_at);
        let Ok(parts) = self.parts() else {
            return Ok(json!({
                "state": self.phase(), "version": version, "uptime_s": uptime_s, "started_at": started_at,
            }));
        };
        let database = match self.counts().await {
            Ok(known) => known,
            Err(error) => json!({ "why": error.to_string(), "status": *parts.database.watch().borrow() }),
        };
        let mut sync = serde_json::Map::new();
        for (destination, selling) in &parts.destinations {
            let state = match selling.syncer.send_within(ANSWER_WITHIN, GetStatus).await {
                Ok(state) => serde_json::to_value(state).unwrap_or_default(),
                Err(error) => json!({ "why": error.to_string() }),
            };
            sync.insert(destination.to_string(), state);
        }
        let watch: serde_json::Map<String, Value> = parts
            .counters
            .iter()
            .map(|(source, counters)| (source.to_string(), json!(counters.snapshot())))
            .collect();
        let view = parts.keeper.ownership().view();
        let mut status = json!({
            "state": self.phase(),
            "node": {
                "name": parts.keeper.name(), "nodes": view.others.saturating_add(1), "draining": view.draining,
                "shards": view.shards().len(),
            },
            "version": version,
            "uptime_s": uptime_s,
            "started_at": started_at,
            "down": self.down(),
            "database": database,
            "watch": watch,
            "sync": sync,
            "platforms": self.platform_rows()?,
        });
        if let (Some(redis), Some(fields)) = (self.redis(), status.as_object_mut()) {
            fields.insert("redis".to_owned(), redis);
        }
        if let (false, Some(fields)) = (parts.simulated.is_empty(), status.as_object_mut()) {
            fields.insert(
                "simulator".to_owned(),
                json!(format!("SIMULATOR: {}", parts.simulated.join(", "))),
            );
        }
        Ok(status)
    }

    /// How Redis is and what is done with it; `None` where none is set up.
    fn redis(&self) -> Option<Value> {
        let fast = self.parts().ok()?.redis.as_ref()?;
        let (link, counted) = (fast.link(), fast.link().counted());
        let mut told = serde_json::to_value(&*link.watch().borrow()).unwrap_or_default();
        if let Some(fields) = told.as_object_mut() {
            fields.insert("where".to_owned(), json!(link.shown()));
            fields.insert("lost".to_owned(), json!(counted.lost.load(Ordering::Relaxed)));
            fields.insert(
                "emptied".to_owned(),
                json!(counted.emptied.load(Ordering::Relaxed)),
            );
            fields.insert(
                "foreign".to_owned(),
                json!(counted.foreign.load(Ordering::Relaxed)),
            );
            fields.insert("lanes".to_owned(), json!(fast.figures()));
        }
        Some(told)
    }

    /// Parts that should run and do not, the deepest that says why.
    fn down(&self) -> Vec<Value> {
        let Some(tree) = self.running_tree() else {
            return Vec::new();
        };
        let report = tree.report();
        let (mut look, mut down) = (vec![&report.root], Vec::new());
        while let Some(node) = look.pop() {
            let runs = matches!(
                node.state,
                ChildState::Running | ChildState::Stopped | ChildState::Stopping
            );
            if !runs && node.children.iter().all(|child| !child.degraded) {
                let why = node.last_exit.as_ref().map(|exit| exit.text.clone());
                down.push(json!({ "path": node.path, "state": node.state, "retry_in_ms": node.retry_in_ms, "why": why }));
            }
            look.extend(node.children.iter().rev().filter(|child| child.degraded));
        }
        down
    }

    async fn counts(&self) -> Result<Value, OpsError> {
        let board = self.parts()?.database.watch();
        let mut conn = self.conn().await?;
        let counts = views::counts(&mut conn).await?;
        let delays = views::delays(&mut conn, DELAY_WINDOW_S).await?;
        let delay = delays.into_iter().next().unwrap_or_default();
        let stopped = platform_state::is_paused(&mut conn, Scope::Everything).await?;
        Ok(json!({
            "status": *board.borrow(), "counts": counts, "delay_ms_last_hour": delay, "emergency_stop": stopped,
        }))
    }

    /// How long it took from a page being read to its listing being accepted, over the last `window`.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn delay(&self, window: Duration) -> Result<Value, OpsError> {
        let window_s = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        let mut conn = self.conn().await?;
        let items = views::delays(&mut conn, window_s).await?;
        Ok(json!({ "window_s": window_s, "items": items }))
    }

    /// The live supervision tree.
    ///
    /// # Errors
    /// While the daemon starts.
    pub fn tree(&self) -> Result<Value, OpsError> {
        let tree = self.0.tree.get().ok_or_else(|| OpsError::NotReady {
            what: "the tree",
            why: self.phase(),
        })?;
        Ok(json!(tree.report()))
    }

    /// Pushes in the order in which they were sent: what the demo shows live.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn recent_syncs(&self, page: Page) -> Result<Rows, OpsError> {
        let mut conn = self.conn().await?;
        Ok(page.rows(views::pushes(&mut conn, page.window()).await?))
    }

    /// Breaks a child on purpose; only builds with failpoints do.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] in other builds, or when there is no such child.
    pub fn fault(&self, kind: &str, child: &str) -> Result<(), OpsError> {
        #[cfg(feature = "failpoints")]
        {
            use crate::supervision::Fault;
            let fault = match kind {
                "panic" => Fault::Panic,
                "wedge" => Fault::Wedge,
                "fill" => Fault::Fill,
                "block" => Fault::Block,
                _ => {
                    return Err(OpsError::invalid(
                        "kind",
                        "one of panic, wedge, fill, block",
                        kind,
                    ));
                }
            };
            let tree = self.0.tree.get().ok_or_else(|| OpsError::NotReady {
                what: "the tree",
                why: self.phase(),
            })?;
            tree.fault(child, fault).map_err(|_unknown| OpsError::NotFound {
                things: vec![format!("child `{child}`")],
                hint: Some("`zaikoban tree --json` shows every child's path"),
            })
        }
        #[cfg(not(feature = "failpoints"))]
        {
            let _ = kind;
            Err(OpsError::NotFound {
                things: vec![format!("child `{child}` that this build can break")],
                hint: None,
            })
        }
    }
}
