//! What the house says about itself: one log on standard error, as text for people or JSON for machines.
//!
//! A line that cannot be written (the disk is full, the reader of the pipe is gone or stands still) is lost and nothing
//! else: a log never stops the daemon. So lines are written by a thread of their own, `lines`, and whoever ends the process
//! calls [`flush`] before.
//!
//! Standard output is data and belongs to `cli`; so the log goes to standard error, which systemd keeps. [`init`] is called
//! once, first thing in `main`. One boundary logs a failure, once, with its whole chain: [`ErrorChain`].
//!
//! **Storms.** When a marketplace is down, every call fails and every failure wants a line. `storm` lets the first lines
//! of each place in the code through and then counts: "… 4,213 more like this". Only `warn` and `error` are counted;
//! what is lower is off or wanted in full.

mod error_chain;
mod lines;
mod storm;

pub use error_chain::ErrorChain;

use lines::Lines;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;
use storm::{Calm, Form};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

/// Where the lines of this process go, once the log is set up.
static LINES: OnceLock<Lines> = OnceLock::new();

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the log should be.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// Text or JSON.
    pub format: LogFormat,
    /// What is written, in the language of `tracing`: `info`, `info,zaikoban::http=trace`.
    pub filter: String,
    /// Whether text may have colours; a terminal may, a file should not.
    pub ansi: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
            ansi: false,
        }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "the log filter `{filter}` cannot be read; expected levels such as `info` or `info,zaikoban::http=debug`"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// No thread or file handle is left.
    #[error("the thread that writes the log cannot be started")]
    Thread(#[source] io::Error),
    /// Somebody was first.
    #[error("a log was set up already; `telemetry::init` is called once, in `main`")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of this process.
///
/// # Errors
/// When the filter cannot be read, or a log is there already.
pub fn init(settings: &TelemetrySettings) -> Result<(), TelemetryError> {
    let filter = read_filter(&settings.filter)?;
    let form = match settings.format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    };
    // A handle of its own: the one of the standard library holds a lock while a write is stuck.
    let out = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let writer = out
        .and_then(|out| Lines::to(out, form))
        .map_err(TelemetryError::Thread)?;
    let writer = LINES.get_or_init(|| writer).clone();
    // Without the last, a failed write is told to standard error, which panics when that is what failed.
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(settings.ansi)
        .log_internal_errors(false);
    let registry = registry().with(filter);
    match settings.format {
        LogFormat::Text => {
            let format = Calm::new(fmt::format(), form);
            registry.with(lines.event_format(format)).try_init()
        }
        LogFormat::Json => {
            let format = Calm::new(fmt::format().json(), form);
            let lines = lines.fmt_fields(fmt::format::JsonFields::new());
            registry.with(lines.event_format(format)).try_init()
        }
    }
    .map_err(TelemetryError::Twice)
}

/// Waits until what was logged so far has been written, at most `limit`. To be called before the process is ended.
pub fn flush(limit: Duration) {
    if let Some(lines) = LINES.get() {
        // What is not written by then, nobody reads.
        let _written = lines.flush(limit);
    }
}

/// Whether a filter can be read, before a log is set up with it.
///
/// # Errors
/// When it cannot.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    read_filter(filter).map(drop)
}

fn read_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named_with_an_example() {
        let settings = TelemetrySettings {
            filter: "zaikoban=loud".to_owned(),
            ..TelemetrySettings::default()
        };
        let error = init(&settings).unwrap_err();
        assert!(
            error.to_string().contains("`zaikoban=loud`") && error.to_string().contains("such as `info`"),
            "{error}"
        );
    }
}
