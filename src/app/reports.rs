//! How reports to Sentry are sent: by its own thread, with the house's TLS and time limits.

use crate::config::SentrySettings;
use crate::http;
use crate::telemetry;
use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sentry::transports::{ReqwestHttpTransport, ReqwestHttpTransportOptions};
use sentry::{Transport, TransportFactory, TransportOptions};
use std::sync::Arc;

/// What the log is told; `None` while no DSN is set.
pub(super) fn settings(settings: &SentrySettings) -> anyhow::Result<Option<telemetry::SentrySettings>> {
    let Some(dsn) = &settings.dsn else {
        return Ok(None);
    };
    // Only a receiver on this machine has no TLS; see `telemetry::check_dsn`.
    let tls = dsn.expose_secret().starts_with("https:");
    let agent = concat!("zaikoban/", env!("CARGO_PKG_VERSION"));
    let client = http::for_reports(agent, tls).context("sentry")?;
    let make = move |options: TransportOptions| {
        ReqwestHttpTransportOptions::from(options)
            .with_client(client.clone())
            .build()
    };
    Ok(Some(telemetry::SentrySettings {
        dsn: dsn.clone(),
        environment: settings.environment.clone(),
        transport: Arc::new(Made(make)),
    }))
}

struct Made<F>(F);

impl<F> TransportFactory for Made<F>
where
    F: Fn(TransportOptions) -> ReqwestHttpTransport + Send + Sync,
{
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        Arc::new((self.0)(options))
    }
}
