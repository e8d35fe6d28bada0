//! Amazon as a source and as a place to sell, as their settings have it. Each is an account of its own.

use super::keeping::{Keeping, client, typed};
use super::{destinations, sources};
use crate::app::account::OwnAccount;
use crate::app::ports::credentials::SealedGrants;
use crate::config::AmazonAccount;
use crate::domain::Platform;
use crate::http;
use crate::platform::amazon::{self, Amazon, AmazonFeeds, AmazonSeller};
use std::sync::Arc;

/// The largest report that is read, in bytes, before and after unpacking: ten thousand refused prices have a third of it.
const LARGEST_REPORT: usize = 32 << 20;

/// The client and the secrets of one side.
fn entrance(
    own: &AmazonAccount,
    platform: Platform,
    keeping: &Keeping<'_>,
) -> anyhow::Result<(http::Client, Arc<SealedGrants>)> {
    let hosts = [&own.endpoint, &own.token_endpoint];
    // A call waits for its turn, and may be made of several requests: each has its part of the call's limit.
    let client = client(&hosts, own.ca_file.clone(), own.pace.time_limit / 4)?;
    let id = own.client_id.clone().map(Into::into);
    let given = [id, own.client_secret.clone(), own.refresh_token.clone()];
    let grants = keeping.grants(platform, amazon::SECRETS, typed(amazon::SECRETS, given));
    Ok((client, grants))
}

/// The client for documents and reports, which lie where Amazon's answers say: in Amazon's storage. In a rehearsal they
/// lie at the endpoint itself, and nothing else is reached.
fn files(own: &AmazonAccount) -> anyhow::Result<http::Client> {
    let host = own.endpoint.host_str().unwrap_or_default();
    let is_amazons = host.ends_with(".amazon.com") && own.ca_file.is_none();
    let origin = if is_amazons {
        http::Origin::below(amazon::FILES)
    } else {
        http::Origin::parse(own.endpoint.as_str())?
    };
    Ok(http::Client::new(&http::ClientSettings {
        origins: vec![origin],
        user_agent: format!("zaikoban/{}", env!("CARGO_PKG_VERSION")),
        ca_file: own.ca_file.clone(),
        gzip: false,
        limits: http::Limits {
            total: own.pace.time_limit / 2,
            body_bytes: LARGEST_REPORT,
            ..http::Limits::default()
        },
    })?)
}

/// The source.
///
/// # Errors
/// When its endpoints or certificate cannot be used.
pub(super) fn source(shared: &sources::Shared<'_>) -> anyhow::Result<sources::Made> {
    let own = &shared.settings.amazon;
    let keeping = Keeping::new(shared.database, shared.vault);
    let (client, grants) = entrance(&own.account, Platform::Amazon, &keeping)?;
    let clock = shared.common.clock.clone();
    let adapter = Amazon::new(own.adapter(), grants.clone(), client, keeping.tokens(), clock)?;
    let account = OwnAccount {
        oauth: adapter.oauth().clone(),
        grants,
        platform: Platform::Amazon,
    };
    Ok(sources::Made {
        adapter: Arc::new(adapter),
        account: Some(Arc::new(account)),
    })
}

/// The destination.
///
/// # Errors
/// When its endpoints or certificate cannot be used.
pub(super) fn seller(shared: &destinations::Shared<'_>) -> anyhow::Result<destinations::Made> {
    let own = &shared.settings.amazon_seller;
    let keeping = Keeping::new(shared.database, shared.vault);
    let (client, grants) = entrance(&own.account, Platform::AmazonSeller, &keeping)?;
    let clock = shared.common.clock.clone();
    let adapter = AmazonSeller::new(own.adapter(), grants.clone(), client, keeping.tokens(), clock)?;
    let adapter = Arc::new(adapter);
    let feeds = AmazonFeeds::new(Arc::clone(&adapter), files(&own.account)?);
    let account = OwnAccount {
        oauth: adapter.oauth().clone(),
        grants,
        platform: Platform::AmazonSeller,
    };
    Ok(destinations::Made {
        bulk: Some(Arc::new(feeds)),
        registrar: None,
        adapter,
        account: Arc::new(account),
    })
}
