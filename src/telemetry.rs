//! What the house says about itself: one log on standard error, as text for people or JSON for machines, or in files.
//!
//! Every JSON line names its `channel` (`execution`, `errors`, `security`, `performance`) and the `execution` it belongs to;
//! with a folder set each channel has a file of its own, see `files`. Errors and panics can be reported to `sentry`, too.
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

mod channel;
mod error_chain;
mod execution;
mod files;
mod lines;
mod scrub;
mod sentry;
mod storm;
mod structured;

pub use self::sentry::{SentrySettings, check_dsn};
pub use error_chain::ErrorChain;
pub use execution::execution;
pub use files::FileSettings;

use execution::Executions;
use files::{Files, Reopen};
use lines::Lines;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::time::Duration;
use storm::{Calm, Form};
use structured::Structured;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt, registry, reload, util::SubscriberInitExt,
};

/// The log of this process, once it is set up.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    lines: Lines,
    filter: reload::Handle<EnvFilter, Registry>,
    reopen: Reopen,
}

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
    /// Files in place of standard error; they hold JSON.
    pub files: Option<FileSettings>,
    /// Who hears of errors and panics beside the log.
    pub sentry: Option<SentrySettings>,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
            ansi: false,
            files: None,
            sentry: None,
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
    /// The folder or a file in it cannot be used.
    #[error("the log's files cannot be opened in `{}`", dir.display())]
    Files {
        /// The folder.
        dir: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody was first.
    #[error("a log was set up already; `telemetry::init` is called once, in `main`")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
    /// There is no log whose filter could be changed.
    #[error("no log was set up yet")]
    NotYet,
}

/// Sets up the log of this process.
///
/// # Errors
/// When the filter cannot be read, or a log is there already.
pub fn init(settings: &TelemetrySettings) -> Result<(), TelemetryError> {
    let (filter, handle) = reload::Layer::new(read_filter(&settings.filter)?);
    let format = match settings.files {
        Some(_) => LogFormat::Json,
        None => settings.format,
    };
    let form = match format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    };
    let reopen = Reopen::default();
    let lines = lines(settings, form, &reopen)?;
    let log = LOG.get_or_init(|| Log {
        lines,
        filter: handle,
        reopen,
    });
    // Without the last, a failed write is told to standard error, which panics when that is what failed.
    let lines = fmt::layer()
        .with_writer(log.lines.clone())
        .with_ansi(settings.ansi && settings.files.is_none())
        .log_internal_errors(false);
    let registry = registry().with(filter);
    match format {
        LogFormat::Text => {
            let format = Calm::new(fmt::format(), form);
            let reports = self::sentry::layer(settings.sentry.as_ref());
            registry.with(lines.event_format(format)).with(reports).try_init()
        }
        LogFormat::Json => {
            let format = Calm::new(Structured(fmt::format().json()), form);
            let lines = lines.fmt_fields(fmt::format::JsonFields::new());
            let lines = Executions.and_then(lines.event_format(format));
            let reports = self::sentry::layer(settings.sentry.as_ref());
            registry.with(lines).with(reports).try_init()
        }
    }
    .map_err(TelemetryError::Twice)
}

/// The thread that writes, to standard error or to files.
fn lines(settings: &TelemetrySettings, form: Form, reopen: &Reopen) -> Result<Lines, TelemetryError> {
    // A handle of its own: the one of the standard library holds a lock while a write is stuck.
    let out = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let lines = match &settings.files {
        None => out.and_then(|out| Lines::to(out, form)),
        Some(files) => {
            let opened = match out {
                Ok(out) => Files::open(files.clone(), reopen.clone(), out),
                Err(_closed) => Files::open(files.clone(), reopen.clone(), io::sink()),
            };
            let opened = opened.map_err(|source| TelemetryError::Files {
                dir: files.dir.clone(),
                source,
            })?;
            Lines::to(opened, form)
        }
    };
    lines.map_err(TelemetryError::Thread)
}

/// Logs by another filter from now on.
///
/// # Errors
/// When it cannot be read, or there is no log.
pub fn set_filter(filter: &str) -> Result<(), TelemetryError> {
    let filter = read_filter(filter)?;
    let log = LOG.get().ok_or(TelemetryError::NotYet)?;
    log.filter.reload(filter).map_err(|_gone| TelemetryError::NotYet)
}

/// Opens the log's files anew, with the next line of each: something else may have moved them.
pub fn reopen() {
    if let Some(log) = LOG.get() {
        log.reopen.ask();
    }
}

/// Waits until what was logged so far has been written, at most `limit`. To be called before the process is ended.
pub fn flush(limit: Duration) {
    if let Some(log) = LOG.get() {
        // What is not written by then, nobody reads.
        let _written = log.lines.flush(limit);
    }
    self::sentry::flush(limit);
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
