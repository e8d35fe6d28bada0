//! Each source that is watched: its gateway and its patrol.

use super::{Common, WATCH_ARBITER, amazon, guard, yahoo};
use crate::app::database::Database;
use crate::app::probe;
use crate::config::{Service, Settings};
use crate::domain::{Platform, SourcePlatform};
use crate::ops::Account;
use crate::platform::Source;
use crate::platform::gateway::SourceGateway;
use crate::supervision::{ChildSpec, Handle, Placement, Shutdown};
use crate::vault::Vault;
use crate::watch::{Counters, Patrol, PatrolEnv, Roster};
use anyhow::Context as _;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// An adapter, and its account where the source asks for one.
pub(super) struct Made {
    pub(super) adapter: Arc<dyn Source>,
    pub(super) account: Option<Arc<dyn Account>>,
}

/// What watching consists of.
#[derive(Default)]
pub(super) struct Watching {
    pub(super) gateways: Vec<ChildSpec>,
    pub(super) patrols: Vec<ChildSpec>,
    /// Each says when every product of its source is watched.
    pub(super) enrolled: Vec<watch::Receiver<bool>>,
    pub(super) accounts: HashMap<Platform, Arc<dyn Account>>,
}

/// What the sources share.
pub(super) struct Shared<'a> {
    pub(super) settings: &'a Settings,
    pub(super) common: &'a Common,
    pub(super) database: &'a Database,
    pub(super) vault: &'a Vault,
    pub(super) counters: &'a HashMap<SourcePlatform, Arc<Counters>>,
    pub(super) roster: &'a Handle<Roster>,
    pub(super) can_commit: watch::Receiver<bool>,
}

/// Every source that is on.
///
/// # Errors
/// When an endpoint, a certificate or a rate cannot be used.
pub(super) async fn sources(shared: &Shared<'_>) -> anyhow::Result<Watching> {
    let mut watching = Watching::default();
    for (source, service) in shared.settings.sources() {
        let platform = Platform::from(source);
        let made = match source {
            SourcePlatform::Yahoo => yahoo::make(shared.settings, shared.common),
            SourcePlatform::Amazon => amazon::source(shared),
        };
        let made = made.with_context(|| format!("platforms.{platform}"))?;
        if let Some(account) = made.account {
            super::warn_of_needs(platform, &*account);
            watching.accounts.insert(platform, account);
        }
        let (ready, all_there) = watch::channel(false);
        let (gateway, patrol) = source_children(shared, (source, service), made.adapter, ready).await?;
        watching.gateways.push(gateway);
        watching.patrols.push(patrol);
        watching.enrolled.push(all_there);
    }
    Ok(watching)
}

async fn source_children(
    shared: &Shared<'_>,
    (source, service): (SourcePlatform, Service<'_>),
    adapter: Arc<dyn Source>,
    ready: watch::Sender<bool>,
) -> anyhow::Result<(ChildSpec, ChildSpec)> {
    let common = shared.common;
    let platform = Platform::from(source);
    let guard = guard(platform, service.pace, common).await?;
    let reached = Arc::clone(&adapter);
    common.probe(probe::of_source(platform, &service, &guard, reached));
    let gateway = SourceGateway::new(Arc::clone(&adapter), guard.clone());
    let (gateway, handle) = ChildSpec::actor(platform.as_str(), move |_| gateway.clone());
    let env = Arc::new(PatrolEnv {
        source,
        adapter,
        gateway: handle,
        guard,
        ownership: common.ownership.clone(),
        roster: shared.roster.clone(),
        db: shared.database.db.clone(),
        clock: common.clock.clone(),
        counters: shared.counters.get(&source).map(Arc::clone).unwrap_or_default(),
        can_commit: shared.can_commit.clone(),
        ready,
        settings: common.live.patrol(source).context("it is off")?,
    });
    let (patrol, _) = ChildSpec::actor(source.as_str(), move |life| Patrol::new(Arc::clone(&env), life));
    Ok((
        gateway
            .capacity(service.pace.open_requests.saturating_mul(8).max(256))
            .placement(Placement::Named(WATCH_ARBITER)),
        patrol
            .placement(Placement::Named(WATCH_ARBITER))
            .shutdown(Shutdown::After(shared.settings.daemon.drain)),
    ))
}
