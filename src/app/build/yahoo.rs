//! Yahoo! Auctions, as its settings have it.

use super::{Common, is_local, sources};
use crate::config::Settings;
use crate::platform::yahoo::{YahooSettings, YahooSource};
use std::sync::Arc;

/// The adapter.
///
/// # Errors
/// When its endpoint or certificate cannot be used.
pub(super) fn make(settings: &Settings, common: &Common) -> anyhow::Result<sources::Made> {
    let own = &settings.yahoo;
    if own.contact.is_empty() && !is_local(&own.endpoint) {
        tracing::warn!(
            "`platforms.yahoo_auction.contact` is empty: Yahoo! cannot reach you before it turns you away; name a mailbox or an address"
        );
    }
    let adapter = YahooSource::new(
        &YahooSettings {
            endpoint: own.endpoint.clone(),
            contact: own.contact.clone(),
            ca_file: own.ca_file.clone(),
            gzip: own.endpoint.scheme() == "https",
            time_limit: own.pace.time_limit,
        },
        common.clock.clone(),
    )?;
    Ok(sources::Made {
        adapter: Arc::new(adapter),
        account: None,
    })
}
