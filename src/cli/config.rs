//! `config check`, `migrate`, and where the settings are found.

use super::args::{ConfigOrder, Global, MigrateArgs};
use super::output::{self, Exit};
use crate::app::Source;
use crate::config::{self, BadConfig, Settings, Shown};
use std::path::{Path, PathBuf};

/// Read when no `--config` is given and it is there.
const DEFAULT_FILE: &str = "/etc/zaikoban/zaikoban.toml";

/// The settings of this call; on trouble every problem is told on stderr.
pub(super) fn settings(global: &Global) -> Result<Settings, Exit> {
    with_source(global).map(|(settings, _)| settings)
}

/// The same, with where they are from.
pub(super) fn with_source(global: &Global) -> Result<(Settings, Source), Exit> {
    let file = file(global);
    match config::load_shown(file.as_deref(), config::environment()) {
        Ok((settings, shown)) => {
            // The daemon reads it again later, wherever it is then.
            let file = file.map(|file| std::path::absolute(&file).unwrap_or(file));
            Ok((settings, Source { file, shown }))
        }
        Err(bad) => {
            complain(&bad, global.json);
            Err(Exit::BadConfig)
        }
    }
}

/// The file that is read, and what stands in it; nothing is told of its problems.
pub(super) fn loaded(global: &Global) -> (Option<PathBuf>, Result<Settings, BadConfig>) {
    let file = file(global);
    let settings = config::load(file.as_deref(), config::environment());
    (file, settings)
}

fn file(global: &Global) -> Option<PathBuf> {
    global
        .config
        .clone()
        .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|p| p.exists()))
}

/// The socket of the daemon that is meant: the one named, else the settings'.
pub(super) fn socket(global: &Global) -> Result<PathBuf, Exit> {
    match &global.socket {
        Some(socket) => Ok(socket.clone()),
        None => settings(global).map(|s| s.daemon.socket),
    }
}

/// The same for an order that is about spoilt settings: it must reach the daemon, which says what is wrong with them.
pub(super) fn socket_though_spoilt(global: &Global) -> PathBuf {
    let named = global.socket.clone();
    named.unwrap_or_else(|| config::socket(file(global).as_deref(), config::environment()))
}

fn complain(bad: &BadConfig, as_json: bool) {
    if as_json {
        output::json(&serde_json::json!({ "error": {
            "code": "bad_config", "message": bad.to_string(), "problems": bad.problems } }));
    }
    output::talk(&format!("error: {bad}; nothing was started"));
    for problem in &bad.problems {
        output::talk(&format!("  {problem}"));
    }
}

pub(super) fn run(global: &Global, order: &ConfigOrder) -> Exit {
    match order {
        ConfigOrder::Check => check(global),
        ConfigOrder::Show => show(global),
        ConfigOrder::Import { file, secrets_dir } => {
            super::config_import::run(file, secrets_dir.as_deref(), global.json)
        }
    }
}

/// Every setting as it is in force, and who says so.
fn show(global: &Global) -> Exit {
    let shown = match with_source(global) {
        Ok((_, source)) => source.shown,
        Err(exit) => return exit,
    };
    if global.json {
        output::json(&serde_json::json!({ "settings": shown }));
        return Exit::Done;
    }
    let wide = |of: fn(&Shown) -> usize| shown.iter().map(of).max().unwrap_or(0).min(48);
    let (keys, values) = (wide(|s| s.key.len()), wide(|s| s.text().chars().count()));
    for one in &shown {
        let text = one.text();
        let text = if text.is_empty() { "(not set)" } else { &text };
        output::data(&format!("{:keys$}  {text:values$}  {}", one.key, one.from));
    }
    Exit::Done
}

fn check(global: &Global) -> Exit {
    match settings(global) {
        Ok(_) => {
            let name = file(global).map_or_else(|| "the defaults".to_owned(), |f| f.display().to_string());
            if global.json {
                output::json(&serde_json::json!({ "settings": name, "problems": [] }));
            } else {
                output::talk(&format!("{name}: no problems"));
            }
            Exit::Done
        }
        Err(exit) => exit,
    }
}

pub(super) fn migrate(global: &Global, order: &MigrateArgs) -> Exit {
    let settings = match settings(global) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    match crate::app::migrate(&settings, order.dry_run) {
        Ok(done) => {
            if global.json {
                output::json(&serde_json::json!({ "migrations": done, "dry_run": order.dry_run }));
            } else if done.is_empty() {
                output::talk("the schema is current");
            } else {
                for name in done {
                    output::data(&name);
                }
            }
            Exit::Done
        }
        Err(error) => {
            output::talk(&format!("error: {error:#}"));
            if error.is::<crate::app::Busy>() {
                Exit::Busy
            } else {
                Exit::Failed
            }
        }
    }
}

/// Whether `path` holds a settings file that can be read; for commands that make their own.
pub(super) fn load(path: &Path) -> Result<Settings, Exit> {
    config::load(Some(path), config::environment()).map_err(|bad| {
        complain(&bad, false);
        Exit::BadConfig
    })
}
