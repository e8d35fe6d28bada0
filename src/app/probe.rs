//! What `doctor` asks a platform that runs here.

use crate::app::build::is_local;
use crate::clock::Clock;
use crate::config::Service;
use crate::domain::Platform;
use crate::ops::doctor::judge;
use crate::ops::doctor::service::{Ask, ServiceProbe};
use crate::platform::{Destination, Source};
use crate::resilience::Guard;
use futures_util::FutureExt as _;
use std::sync::Arc;

/// The probe of a source that is watched. Yahoo! Auctions alone asks for no account.
pub(super) fn of_source(
    platform: Platform,
    service: &Service<'_>,
    guard: &Guard,
    adapter: Arc<dyn Source>,
) -> ServiceProbe {
    let ask: Ask = Arc::new(move || {
        let adapter = Arc::clone(&adapter);
        async move { adapter.reach().await }.boxed()
    });
    let account = match platform {
        Platform::YahooAuction => judge::Account::NotNeeded,
        _ => judge::Account::Given,
    };
    probe(platform, service, guard, (ask, account))
}

/// The probe of a destination. What its account lacks is what the question is answered with.
pub(super) fn of_destination(
    platform: Platform,
    service: &Service<'_>,
    guard: &Guard,
    adapter: Arc<dyn Destination>,
) -> ServiceProbe {
    let ask: Ask = Arc::new(move || {
        let adapter = Arc::clone(&adapter);
        async move { adapter.reach().await }.boxed()
    });
    probe(platform, service, guard, (ask, judge::Account::Given))
}

pub(super) fn probe(
    platform: Platform,
    service: &Service<'_>,
    guard: &Guard,
    (ask, account): (Ask, judge::Account),
) -> ServiceProbe {
    ServiceProbe {
        name: platform.to_string(),
        guard: guard.clone(),
        ask,
        account,
        simulated: is_local(service.endpoint),
        clock: Clock::system(),
    }
}
