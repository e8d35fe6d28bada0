//! Reports to Sentry: panics and `error` events, off unless a DSN is set.
//!
//! What leaves the house is bounded (so many reports a minute, the rest only counted), goes through [`scrub`]
//! as a whole, and is sent by a thread of the client's own whose queue drops what it cannot hold: whoever logs never
//! waits. There are no breadcrumbs and no spans, because they would carry what nobody looked at.

use super::scrub;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use sentry::integrations::tracing::ErrorLayer;
use sentry::protocol::Event;
use sentry::types::{Dsn, Scheme};
use sentry::{ClientInitGuard, ClientOptions, TransportFactory};
use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// The client, while the process lives.
static CLIENT: OnceLock<ClientInitGuard> = OnceLock::new();

/// The most reports in [`WINDOW`]: enough to see what happens, too few to use up a quota in a storm.
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// Where reports go.
#[derive(Clone)]
pub struct SentrySettings {
    /// The project's address, with its key.
    pub dsn: SecretString,
    /// Which installation this is.
    pub environment: String,
    /// How they are sent.
    pub transport: Arc<dyn TransportFactory>,
}

impl std::fmt::Debug for SentrySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SentrySettings")
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// Whether reports can be sent to this address.
///
/// # Errors
/// What is wrong with it; the address is not shown.
pub fn check_dsn(dsn: &SecretString) -> Result<(), &'static str> {
    let dsn = Dsn::from_str(dsn.expose_secret())
        .map_err(|_shown_nowhere| "Sentry shows it under Settings, Projects, Client Keys")?;
    let here = matches!(dsn.host(), "localhost" | "127.0.0.1" | "[::1]");
    if dsn.scheme() == Scheme::Http && !here {
        return Err("over plain http everybody on the way could read the reports");
    }
    Ok(())
}

/// Makes the client, and the part of the log that gives it events.
pub(super) fn layer<S>(settings: Option<&SentrySettings>) -> Option<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let settings = settings?;
    let dsn = Dsn::from_str(settings.dsn.expose_secret()).ok()?;
    let allowance = Mutex::new(Allowance::default());
    let mut options = ClientOptions::default();
    options.dsn = Some(dsn);
    options.release = Some(concat!("zaikoban@", env!("CARGO_PKG_VERSION")).into());
    options.environment = Some(settings.environment.clone().into());
    options.transport = Some(Arc::clone(&settings.transport));
    options.max_breadcrumbs = 0;
    options.send_default_pii = false;
    options.before_send = Some(Arc::new(move |event| {
        let left_out = allowance.lock().take(Instant::now())?;
        Some(scrubbed(event, left_out))
    }));
    let client = sentry::init(options);
    // The first one counts.
    drop(CLIENT.set(client));
    Some(ErrorLayer::new().with_filter(filter_fn(is_reported)))
}

/// An `error`, or a trouble that heals itself and is a fault of ours nevertheless: a child that panicked.
fn is_reported(metadata: &Metadata<'_>) -> bool {
    let marked = || *metadata.level() == Level::WARN && metadata.fields().field("panic.location").is_some();
    metadata.is_event() && (*metadata.level() == Level::ERROR || marked())
}

/// Waits until what was reported has been sent, at most `limit`.
pub(super) fn flush(limit: Duration) {
    if let Some(client) = CLIENT.get() {
        // What is not sent by then is lost; the log has it.
        let _sent = client.flush(Some(limit));
    }
}

/// The event without secrets, or a word in its place: what cannot be looked through is not sent.
fn scrubbed(event: Event<'static>, left_out: u64) -> Event<'static> {
    let (id, level) = (event.event_id, event.level);
    let looked_through = serde_json::to_value(&event).ok().and_then(|mut fields| {
        scrub::value(&mut fields);
        serde_json::from_value::<Event<'static>>(fields).ok()
    });
    let mut event = looked_through.unwrap_or_else(|| Event {
        event_id: id,
        level,
        message: Some("An event that could not be looked through for secrets; the log has it".to_owned()),
        ..Event::default()
    });
    event.user = None;
    event.request = None;
    if left_out > 0 {
        event
            .extra
            .insert("reports_left_out_before".to_owned(), left_out.into());
    }
    event
}

/// How many reports may still be made.
#[derive(Debug, Default)]
struct Allowance {
    since: Option<Instant>,
    used: u32,
    left_out: u64,
}

impl Allowance {
    /// Takes one; answers how many were left out since the last.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let over = |since: Instant| now.saturating_duration_since(since) >= WINDOW;
        if self.since.is_none_or(over) {
            (self.since, self.used) = (Some(now), 0);
        }
        if self.used >= MOST {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.used = self.used.saturating_add(1);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_reported_in_part_and_the_rest_is_counted() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let sent = (0..1_000).filter(|_| allowance.take(start).is_some()).count();
        assert_eq!(sent, usize::try_from(MOST).unwrap());
        assert_eq!(allowance.take(start + WINDOW), Some(1_000 - u64::from(MOST)));
        assert_eq!(allowance.take(start + WINDOW), Some(0));
    }

    #[test]
    fn only_addresses_that_keep_the_reports_to_themselves_are_taken() {
        let check = |dsn: &str| check_dsn(&SecretString::from(dsn)).is_ok();
        assert!(check("https://key@sentry.example/1"));
        assert!(check("http://key@127.0.0.1:9000/1"));
        assert!(!check("http://key@sentry.example/1"));
        assert!(!check("https://sentry.example/1"), "no key");
        assert!(!check("canary"));
    }

    #[test]
    fn an_event_leaves_without_its_secrets() {
        let mut event = Event {
            message: Some("failed: https://u:canary@h/x?canary".to_owned()),
            ..Event::default()
        };
        event.extra.insert("client_secret".to_owned(), "canary".into());
        let event = scrubbed(event, 3);
        let told = serde_json::to_string(&event).unwrap();
        assert!(!told.contains("canary"), "{told}");
        assert!(
            told.contains("failed: https://h/x") && told.contains("reports_left_out_before"),
            "{told}"
        );
    }
}
