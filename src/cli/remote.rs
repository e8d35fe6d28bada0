//! Commands that a running daemon carries out: each is a path, a body, and how its answer is shown.
//!
//! What is shown is worked out by plain functions from the answer to text, so that it can be tested against the answers'
//! real types: [`tables`], [`tree`], [`cards`] for what was asked for, [`said`] for what was done.

mod alerts;
mod cards;
mod credentials;
mod importing;
mod orders;
mod queue;
mod rates;
mod registering;
mod said;
mod schedule;
mod status;
mod tables;
mod tree;
mod watching;

pub use tables::listed;

use super::args::{Command, Global};
use super::output::{self, Column, Exit};
use crate::control::client::{Client, ControlError};
use said::Told;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How an answer is shown without `--json`.
enum Show {
    /// Rows of `items`.
    Table(&'static [Column]),
    /// Rows of `items`, and whether they say that all went well.
    Checked(&'static [Column], fn(&Value) -> bool),
    /// What was asked for, in lines.
    Text(fn(&Value) -> String),
    /// What was done, in sentences that say no more than the answer does.
    Said(fn(&Value) -> Told),
}

/// What is asked of the daemon.
enum Ask {
    Get(String),
    Post(String, Value),
    Upload(String, PathBuf),
    /// A list, with word of how far it is.
    Import(String, PathBuf),
    /// First listings, with word of how far they are.
    Create(registering::Create),
    /// A run of the time-table's, waited for.
    Run(String),
    /// Secrets, read where nobody looks on.
    Secrets(credentials::SetOrder),
    /// A person's consent, for this platform.
    Consent(String),
}

pub(super) fn run(global: &Global, command: Command) -> Exit {
    let every = match &command {
        Command::Status(args) | Command::Tree(args) => args.watch.map(Duration::from_secs),
        _ => None,
    };
    let socket = match command {
        Command::Reload => Ok(super::config::socket_though_spoilt(global)),
        _ => super::config::socket(global),
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let (ask, show) = orders::order(command);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::talk(&format!("error: no runtime: {error}"));
            return Exit::Failed;
        }
    };
    if let (Some(every), Ask::Get(path), Show::Text(text)) = (every, &ask, &show) {
        return runtime.block_on(watching::shown(&socket, path, *text, every, global.json));
    }
    let answer = runtime.block_on(async {
        let client = Client::new(&socket)?;
        perform(&client, ask, global.json).await
    });
    match answer {
        Ok(value) => present(&value, &show, global.json),
        Err(Trouble::Control(error)) => output::complain(&error, global.json),
        Err(Trouble::Input(message)) => {
            output::fail("invalid", &message, &[], None, global.json);
            Exit::Failed
        }
        Err(Trouble::File(path, error)) => {
            let message = format!("cannot read `{}`: {error}", path.display());
            output::fail("unreadable", &message, &[], None, global.json);
            Exit::Failed
        }
    }
}

enum Trouble {
    Control(ControlError),
    File(PathBuf, std::io::Error),
    /// What was typed cannot be used. Never shows it.
    Input(String),
}

impl From<ControlError> for Trouble {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

async fn perform(client: &Client, ask: Ask, quiet: bool) -> Result<Value, Trouble> {
    match ask {
        Ask::Get(path) => Ok(client.get(&path).await?),
        Ask::Post(path, body) => Ok(client.post(&path, &body).await?),
        Ask::Upload(path, file) => {
            let body = read(&file).map_err(|e| Trouble::File(file, e))?;
            Ok(client.post_text(&path, "text/csv", body).await?)
        }
        Ask::Import(path, file) => {
            let body = read(&file).map_err(|e| Trouble::File(file, e))?;
            let imported = client.post_text(&path, "text/csv", body);
            Ok(importing::shown(client, imported, quiet).await?)
        }
        Ask::Create(order) => registering::perform(client, order, quiet).await,
        Ask::Run(name) => Ok(schedule::run_and_wait(client, &name).await?),
        Ask::Secrets(order) => credentials::set(client, order).await,
        Ask::Consent(platform) => credentials::authorize(client, &platform, quiet).await,
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut body)?;
        Ok(body)
    } else {
        std::fs::read(file)
    }
}

/// Shows an answer; what was done only in part is no success, with `--json` too.
fn present(value: &Value, show: &Show, as_json: bool) -> Exit {
    if as_json {
        output::json(value);
    }
    match show {
        Show::Said(said) => {
            let told = said(value);
            for line in told.lines.iter().filter(|_| !as_json || !told.whole) {
                output::talk(line);
            }
            if told.whole { Exit::Done } else { Exit::Failed }
        }
        Show::Checked(columns, well) => {
            if !as_json {
                output::data(&output::table(tables::items(value), columns));
            }
            if well(value) { Exit::Done } else { Exit::Failed }
        }
        _ if as_json => Exit::Done,
        Show::Table(columns) => {
            output::data(&output::table(tables::items(value), columns));
            if let Some(next) = value.get("next").filter(|n| !n.is_null()) {
                output::talk(&format!("more: --after {next}"));
            }
            Exit::Done
        }
        Show::Text(text) => {
            output::data(&text(value));
            Exit::Done
        }
    }
}
