//! Settings in two stages: *what was typed* and *what it means*.
//!
//! `raw` reads the TOML file and the environment into flat keys, each with its place. `reader` takes values out of
//! it by key, type and range and remembers every trouble instead of stopping at the first, so that an operator mends
//! everything in one go. `resolve` states every setting once, with its default, and turns them into the settings types
//! of the rooms; `checks` is what a value must be beside its type. Nothing else in the house reads the environment or the file.

mod alerts;
mod amazon;
mod checks;
mod dotenv;
mod import;
mod mercari;
mod raw;
mod reader;
mod resolve;
mod schedules;
mod settings;
mod shown;

pub use amazon::{AmazonAccount, AmazonSellerSettings, AmazonSettings};
pub use import::{Import, KeptSecret, Note, import};
pub use mercari::MercariSettings;
pub use reader::{Place, Problem};
pub use settings::{
    CredentialsSettings, DaemonSettings, DatabaseSettings, DemoSettings, EbaySettings, ExchangeSettings,
    LogSettings, PaceSettings, SchedulesSettings, SentrySettings, Service, Settings, SyncSettings,
    WatchSettings, YahooSettings,
};
pub use shown::{Origin, Shown, ShownValue, changed};

use std::path::{Path, PathBuf};

/// A configuration that cannot be used; nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} problem(s)", problems.len())]
pub struct BadConfig {
    /// Every problem found, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads the file at `path` (none: defaults alone) with the environment's variables over it.
///
/// A variable `ZAIKOBAN_DATABASE__URL` stands for the key `database.url`: two underscores are the dot.
///
/// # Errors
/// [`BadConfig`] with all problems when anything is unknown, of the wrong type, out of range, contradictory, or when a
/// file it names cannot be read.
pub fn load(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, BadConfig> {
    load_shown(path, environment).map(|(settings, _)| settings)
}

/// As [`load`], with what every setting came to and where it was typed.
///
/// # Errors
/// As [`load`].
pub fn load_shown(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Settings, Vec<Shown>), BadConfig> {
    let (document, syntax) = raw::Document::read(path, environment);
    let mut reader = reader::Reader::new(document, syntax);
    let settings = resolve::resolve(&mut reader);
    let shown = reader.shown();
    let problems = reader.finish();
    match settings {
        Some(settings) if problems.is_empty() => Ok((settings, shown)),
        _ => Err(BadConfig { problems }),
    }
}

/// Where the control socket would be, whatever else is wrong with the settings: a daemon that runs well must be found
/// although its file was spoilt since.
pub fn socket(path: Option<&Path>, environment: impl IntoIterator<Item = (String, String)>) -> PathBuf {
    let (document, syntax) = raw::Document::read(path, environment);
    reader::Reader::new(document, syntax).path_or("daemon.socket", resolve::DEFAULT_SOCKET)
}

/// The process's environment, as [`load`] wants it. Variables that are not UTF-8 are left out.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect()
}

/// Whether a service manager listens to this process.
#[must_use]
pub fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Where programs are looked for, for the private database's.
#[must_use]
pub fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}
