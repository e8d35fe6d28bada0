//! `config check`, `migrate`, and where the settings are found.

use super::args::{ConfigOrder, Global, MigrateArgs};
use super::output::{self, Exit};
use crate::config::{self, BadConfig, Settings};
use std::path::{Path, PathBuf};

/// Read when no `--config` is given and it is there.
const DEFAULT_FILE: &str = "/etc/zaikoban/zaikoban.toml";

/// The settings of this call; on trouble every problem is told on stderr.
pub(super) fn settings(global: &Global) -> Result<Settings, Exit> {
    let file = file(global);
    config::load(file.as_deref(), config::environment()).map_err(|bad| {
        complain(&bad, global.json);
        Exit::BadConfig
    })
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
    let ConfigOrder::Check = order;
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
