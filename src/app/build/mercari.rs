//! Mercari Shops, as its settings have it.

use super::destinations::{Made, Shared};
use super::keeping::{Keeping, client, typed};
use crate::app::account::MercariAccount;
use crate::domain::Platform;
use crate::platform::mercari::{self, Mercari, MercariSettings};
use std::sync::Arc;

/// The adapter and its account.
///
/// # Errors
/// When its endpoint or certificate cannot be used.
pub(super) fn make(shared: &Shared<'_>) -> anyhow::Result<Made> {
    let own = &shared.settings.mercari;
    let client = client(&[&own.endpoint], own.ca_file.clone(), own.pace.time_limit)?;
    let keeping = Keeping::new(shared.database, shared.vault);
    let keys = keeping.grants(
        Platform::Mercari,
        mercari::SECRETS,
        typed(mercari::SECRETS, [own.token.clone()]),
    );
    let adapter = Mercari::new(
        &MercariSettings {
            endpoint: own.endpoint.clone(),
            client_name: own.client_name.clone(),
            points_per_hour: own.points_per_hour,
        },
        keys.clone(),
        client,
        shared.common.clock.clone(),
    )?;
    let adapter = Arc::new(adapter);
    let account = MercariAccount {
        adapter: Arc::clone(&adapter),
        keys,
    };
    Ok(Made {
        bulk: None,
        registrar: None,
        adapter,
        account: Arc::new(account),
    })
}
