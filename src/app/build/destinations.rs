//! Each destination that is kept in line: its gateway and its syncer.

use super::{Common, amazon, ebay, guard, mercari};
use crate::app::database::Database;
use crate::app::probe;
use crate::config::{Service, Settings};
use crate::domain::{DestinationPlatform, Platform};
use crate::ops::doctor::quotas::QuotasProbe;
use crate::ops::{Account, Selling};
use crate::platform::Destination;
use crate::platform::bulk::BulkPrices;
use crate::platform::gateway::{BulkGateway, DestinationGateway, RegistrarGateway};
use crate::platform::registrar::Registrar;
use crate::supervision::{ChildSpec, Shutdown};
use crate::sync::outlet::GatewayOutlet;
use crate::sync::{Outlet, SyncParts, Syncer};
use crate::vault::Vault;
use anyhow::Context as _;
use std::collections::HashMap;
use std::sync::Arc;

/// An adapter and its account, and what makes first listings and takes many prices at once where the destination has that.
pub(super) struct Made {
    pub(super) bulk: Option<Arc<dyn BulkPrices>>,
    pub(super) registrar: Option<Arc<dyn Registrar>>,
    pub(super) adapter: Arc<dyn Destination>,
    pub(super) account: Arc<dyn Account>,
}

/// What selling consists of.
#[derive(Default)]
pub(super) struct Sold {
    pub(super) gateways: Vec<ChildSpec>,
    pub(super) syncers: Vec<ChildSpec>,
    pub(super) selling: HashMap<DestinationPlatform, Selling>,
    pub(super) accounts: HashMap<Platform, Arc<dyn Account>>,
}

/// What the destinations share.
pub(super) struct Shared<'a> {
    pub(super) settings: &'a Settings,
    pub(super) common: &'a Common,
    pub(super) database: &'a Database,
    pub(super) vault: &'a Vault,
}

/// Every destination that is on.
///
/// # Errors
/// When an endpoint, a certificate or a rate cannot be used.
pub(super) async fn destinations(shared: &Shared<'_>) -> anyhow::Result<Sold> {
    let mut sold = Sold::default();
    for (destination, service) in shared.settings.destinations() {
        let platform = Platform::from(destination);
        let made = match destination {
            DestinationPlatform::Ebay => ebay::make(shared),
            DestinationPlatform::Mercari => mercari::make(shared),
            DestinationPlatform::AmazonSeller => amazon::seller(shared),
        };
        let made = made.with_context(|| format!("platforms.{platform}"))?;
        super::warn_of_needs(platform, &*made.account);
        sold.accounts.insert(platform, made.account);
        let ways = (made.adapter, made.registrar, made.bulk);
        let (gateway, syncer, selling) = children(shared, (destination, service), ways).await?;
        sold.gateways.push(gateway);
        sold.syncers.push(syncer);
        sold.selling.insert(destination, selling);
    }
    Ok(sold)
}

/// The ways to one destination.
type Ways = (
    Arc<dyn Destination>,
    Option<Arc<dyn Registrar>>,
    Option<Arc<dyn BulkPrices>>,
);

async fn children(
    shared: &Shared<'_>,
    (destination, service): (DestinationPlatform, Service<'_>),
    (adapter, registrar, bulk): Ways,
) -> anyhow::Result<(ChildSpec, ChildSpec, Selling)> {
    let common = shared.common;
    let platform = Platform::from(destination);
    let guard = guard(platform, service.pace, common).await?;
    let reached = Arc::clone(&adapter);
    common.probe(probe::of_destination(platform, &service, &guard, reached));
    let registrar = registrar.map(|way| RegistrarGateway::new(way, guard.clone()));
    if let Some(registrar) = &registrar {
        common.probe(QuotasProbe {
            destination: destination.to_string(),
            registrar: registrar.clone(),
            kept: Arc::default(),
            clock: common.clock.clone(),
        });
    }
    let bulk = bulk.map(|way| BulkGateway::new(way, guard.clone()));
    let gateway = DestinationGateway::new(Arc::clone(&adapter), guard.clone());
    let (gateway, handle) = ChildSpec::actor(platform.as_str(), move |_| gateway.clone());
    let outlet: Arc<dyn Outlet> = Arc::new(GatewayOutlet::new(handle, guard, adapter));
    let parts = SyncParts {
        db: shared.database.db.clone(),
        outlet: Arc::clone(&outlet),
        bulk,
        destination,
        settings: common.live.sync(destination).context("it is off")?,
        clock: common.clock.clone(),
        book: Arc::clone(&common.live.book),
        worker: common.worker.clone(),
        committed: common.committed.clone(),
        ownership: common.ownership.clone(),
        notices: common.notices.clone(),
    };
    let (syncer, handle) =
        ChildSpec::actor(destination.as_str(), move |life| Syncer::new(parts.clone(), life));
    Ok((
        gateway.capacity(1_024),
        syncer.shutdown(Shutdown::After(shared.settings.daemon.drain)),
        Selling {
            syncer: handle,
            outlet,
            registrar,
        },
    ))
}
