//! The nodes of the house: who is there, what each has, and handing over.

use super::{Ops, OpsError, Rows};
use crate::domain::WatchId;
use crate::nodes::{self, Concern};
use crate::store::leases;
use crate::store::nodes as rows;
use crate::telemetry::ErrorChain;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a hand-over may take before it is told that it goes on.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

impl Ops {
    /// Every node that is remembered: what it is, since when, when it was heard of, and what it has. A last row says what
    /// is nobody's, if anything is.
    ///
    /// # Errors
    /// See [`OpsError`].
    pub async fn nodes(&self) -> Result<Rows, OpsError> {
        let me = self.parts()?.keeper.ownership().boot();
        let mut conn = self.conn().await?;
        let members = rows::members(&mut conn).await?;
        let leases = leases::leases(&mut conn).await?;
        let items = members.into_iter().map(|member| {
            let own = leases.iter().filter(|lease| lease.owner == Some(member.boot));
            let (shards, roles): (Vec<_>, Vec<_>) = own.partition(|lease| lease.name.starts_with("watch/"));
            let roles: Vec<&str> = roles.into_iter().map(|lease| lease.name.as_str()).collect();
            let state = match (member.left_at, member.dead_at) {
                (Some(_), _) => "left",
                (None, Some(_)) => "dead",
                (None, None) if !member.lives => "silent",
                (None, None) if member.draining => "draining",
                (None, None) => "lives",
            };
            json!({
                "name": member.name, "boot": member.boot, "this": member.boot == me, "state": state,
                "version": member.version, "host": member.host, "pid": member.pid, "started_at": member.started_at,
                "heartbeat_age_ms": member.silent_ms, "clock_ahead_ms": member.clock_ahead_ms,
                "shards": shards.len(), "roles": roles, "draining": member.draining,
                "left_at": member.left_at, "dead_at": member.dead_at,
            })
        });
        let mut items: Vec<Value> = items.collect();
        let free: Vec<&str> = leases
            .iter()
            .filter(|lease| lease.owner.is_none())
            .map(|lease| lease.name.as_str())
            .collect();
        if !free.is_empty() {
            let (shards, roles): (Vec<&str>, Vec<&str>) =
                free.into_iter().partition(|part| part.starts_with("watch/"));
            items.push(json!({ "name": "nobody", "state": "free", "shards": shards.len(), "roles": roles }));
        }
        Ok(Rows { items, next: None })
    }

    /// Hands everything that this node has to the others, or makes it take part again. Without others it only stops.
    ///
    /// # Errors
    /// While the daemon starts.
    pub async fn drain(&self, drain: bool, by: &str) -> Result<Value, OpsError> {
        let keeper = &self.parts()?.keeper;
        let name = keeper.name();
        tracing::warn!(
            by,
            node = name,
            drain,
            "A person has node `{name}` {}",
            if drain { "drained" } else { "take part again" }
        );
        if !drain {
            keeper.undrain();
            return Ok(json!({ "node": name, "draining": false }));
        }
        let had = keeper.ownership().view().held.len();
        let done = keeper.drain(DRAIN_WITHIN).await;
        let left = keeper.ownership().view().held.len();
        let others = keeper.ownership().view().others;
        Ok(json!({
            "node": name, "draining": true, "done": done, "handed_over": had.saturating_sub(left), "left": left,
            "other_nodes": others,
        }))
    }

    /// Tells the other nodes something of watches. They find it out by themselves as well, a few seconds later.
    pub(super) async fn tell_nodes(&self, concern: Concern, watches: &[WatchId]) {
        let Ok(parts) = self.parts() else { return };
        let ownership = parts.keeper.ownership();
        if ownership.has_company() {
            self.tell_words(&nodes::watches(ownership.boot(), concern, watches))
                .await;
        }
    }

    /// Tells the other nodes that the switches say something else.
    pub(super) async fn tell_platforms(&self) {
        let Ok(parts) = self.parts() else { return };
        let ownership = parts.keeper.ownership();
        if ownership.has_company() {
            self.tell_words(&[nodes::platforms(ownership.boot())]).await;
        }
    }

    async fn tell_words(&self, words: &[String]) {
        let told = async { Ok::<_, OpsError>(rows::tell(&mut *self.conn().await?, words).await?) };
        if let Err(error) = told.await {
            tracing::debug!(error = %ErrorChain(&error), "The other nodes are not told; they look by themselves");
        }
    }
}
