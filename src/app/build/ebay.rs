//! eBay, as its settings have it.

use super::destinations::{Made, Shared};
use super::keeping::{Keeping, client, typed};
use crate::app::account::{EbayAccount, OwnAccount};
use crate::domain::Platform;
use crate::platform::ebay::{self, Ebay, EbaySettings};
use std::sync::Arc;

/// The adapter and its account.
///
/// # Errors
/// When its endpoint or certificate cannot be used.
pub(super) fn make(shared: &Shared<'_>) -> anyhow::Result<Made> {
    let own = &shared.settings.ebay;
    let client = client(&[&own.endpoint], own.ca_file.clone(), own.pace.time_limit)?;
    let id = own.client_id.clone().map(Into::into);
    let given = [id, own.client_secret.clone(), own.refresh_token.clone()];
    let keeping = Keeping::new(shared.database, shared.vault);
    let grants = keeping.grants(Platform::Ebay, ebay::SECRETS, typed(ebay::SECRETS, given));
    let plain = shared.settings.daemon.state_dir.join("tokens/ebay.tokens.json");
    if plain.exists() {
        // Written by versions that did not seal. The grant's own refresh token serves in its place.
        tracing::warn!(
            "`{}` holds tokens in plain text and is no longer read: remove it",
            plain.display()
        );
    }
    let adapter = Ebay::new(
        EbaySettings {
            endpoint: own.endpoint.clone(),
            content_language: own.content_language.clone(),
            skus_per_call: own.skus_per_call,
        },
        grants.clone(),
        client.clone(),
        keeping.tokens(),
        shared.common.clock.clone(),
    )?;
    let account = EbayAccount {
        own: OwnAccount {
            oauth: adapter.oauth().clone(),
            grants,
            platform: Platform::Ebay,
        },
        http: client,
        consent_page: ebay::consent_page(&own.endpoint)?,
        ru_name: own.ru_name.clone(),
        clock: shared.common.clock.clone(),
    };
    let adapter = Arc::new(adapter);
    Ok(Made {
        bulk: None,
        registrar: Some(adapter.clone()),
        adapter,
        account: Arc::new(account),
    })
}
