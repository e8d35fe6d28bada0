//! `zaikoban doctor` and `zaikoban metrics`.
//!
//! Settings and socket are looked at from here, as the person who asks sees them. The rest is asked of the daemon; when
//! there is none, or it has not come far enough to answer, what can be seen without it is looked at instead.

use super::args::Global;
use super::output::{self, Exit, plain, wrapped};
use crate::app;
use crate::config::{BadConfig, Settings};
use crate::control::client::{Client, ControlError};
use crate::ops::doctor::{self, Check, CheckState};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The daemon bounds each look; a whole answer that takes longer is a daemon that stands still.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Where the socket is when the settings do not say.
const DEFAULT_SOCKET: &str = "/run/zaikoban/control.sock";
/// Columns of a terminal.
const WIDTH: usize = 80;

pub(super) fn run(global: &Global, offline: bool) -> Exit {
    let (file, settings) = super::config::loaded(global);
    let mut checks = vec![configuration(file.as_deref(), &settings)];
    let named = || settings.as_ref().ok().map(|s| s.daemon.socket.clone());
    let socket = global.socket.clone().or_else(named);
    let socket = socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
    checks.push(door(&socket));
    let there = checks
        .iter()
        .any(|c| c.name == "socket" && c.state == CheckState::Ok);
    let told = if there { ask(&socket, offline) } else { Err(None) };
    match (told, &settings) {
        (Ok(told), _) => checks.extend(told),
        (Err(why), Ok(settings)) => {
            checks.extend(why);
            match app::doctor::without_daemon(settings, offline) {
                Ok(seen) => checks.extend(seen),
                Err(error) => checks.push(Check::failed(
                    "this command",
                    format!("it cannot look around: {error}"),
                    "see how many threads and files this user may have: `ulimit -a`",
                )),
            }
        }
        (Err(why), Err(_)) => {
            checks.extend(why);
            checks.push(Check::skipped(
                "the rest",
                "not looked at: without settings nobody knows where",
            ));
        }
    }
    show(&checks, global.json)
}

pub(super) fn metrics(global: &Global) -> Exit {
    let socket = match super::config::socket(global) {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let asked = waited(async { Client::new(&socket)?.text("/metrics").await });
    match asked {
        Ok(Ok(text)) if global.json => output::json(&json!({ "text": text })),
        Ok(Ok(text)) => output::data(text.trim_end()),
        Ok(Err(error)) => return output::complain(&error, global.json),
        Err(error) => {
            output::fail("no_runtime", &error.to_string(), &[], None, global.json);
            return Exit::Failed;
        }
    }
    Exit::Done
}

fn waited<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

/// The settings as they would be read at the next start.
fn configuration(file: Option<&Path>, settings: &Result<Settings, BadConfig>) -> Check {
    let name = "configuration";
    let shown = file.map_or_else(|| "the defaults".to_owned(), |f| format!("`{}`", f.display()));
    let Err(bad) = settings else {
        return Check::ok(name, format!("{shown}: no problems"));
    };
    let problems: Vec<String> = bad.problems.iter().map(ToString::to_string).collect();
    let unread = problems.iter().any(|p| p.contains("Permission denied"));
    if unread && !Uid::effective().is_root() {
        return Check::skipped(
            name,
            format!("{shown} cannot be read by this user: `sudo zaikoban doctor` can"),
        );
    }
    Check::failed(
        name,
        format!(
            "{bad}; the daemon would not start again:\n{}",
            problems.join("\n")
        ),
        format!("mend {shown}, then `zaikoban config check`"),
    )
}

/// The socket, and who listens on it.
fn door(socket: &Path) -> Check {
    let (name, shown) = ("socket", socket.display());
    let away =
        "start the daemon: `systemctl start zaikoban`; why it does not run: `journalctl -u zaikoban -n 50`";
    let mode = match std::fs::symlink_metadata(socket) {
        Ok(meta) => meta.mode() & 0o777,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Check::warning(
                name,
                format!("there is no `{shown}`: the daemon does not run"),
                away,
            );
        }
        Err(error) => return Check::failed(name, format!("`{shown}`: {error}"), closed()),
    };
    let peer = UnixStream::connect(socket).map(|stream| getsockopt(&stream, PeerCredentials));
    let peer = match peer {
        Ok(peer) => peer,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Check::failed(
                name,
                format!("this user may not use `{shown}` (mode {mode:o})"),
                closed(),
            );
        }
        Err(error) => {
            return Check::warning(name, format!("nobody listens on `{shown}`: {error}"), away);
        }
    };
    let who = peer.map_or_else(
        |_| String::new(),
        |peer| {
            let uid = Uid::from_raw(peer.uid());
            let user = User::from_uid(uid)
                .ok()
                .flatten()
                .map_or_else(|| uid.to_string(), |u| u.name);
            format!(", process {} of `{user}` answers", peer.pid())
        },
    );
    if mode & 0o002 != 0 {
        return Check::warning(
            name,
            format!("`{shown}` is open to everybody (mode {mode:o}){who}"),
            "restart the daemon, which closes it: `systemctl restart zaikoban`",
        );
    }
    Check::ok(name, format!("`{shown}`, mode {mode:o}{who}"))
}

fn closed() -> &'static str {
    "ask as root (`sudo zaikoban doctor`), or join the group of `daemon.socket_group` and sign in anew"
}

/// The daemon's own checks; otherwise why there are none, where the socket's line does not say it.
fn ask(socket: &Path, offline: bool) -> Result<Vec<Check>, Option<Check>> {
    let path = format!("/v1/doctor?offline={offline}");
    let asked = waited(async {
        let asking = async { Client::new(socket)?.get(&path).await };
        tokio::time::timeout(ANSWER_WITHIN, asking).await
    });
    let name = "daemon";
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(_elapsed)) => {
            return Err(Some(Check::failed(
                name,
                format!(
                    "it takes connections and does not answer within {} s",
                    ANSWER_WITHIN.as_secs()
                ),
                "keep its log (`journalctl -u zaikoban -n 200`), then `systemctl restart zaikoban`",
            )));
        }
        Err(error) => return Err(Some(Check::failed(name, error.to_string(), "ask again"))),
    };
    match answer {
        Ok(mut answer) => {
            let checks = answer.get_mut("checks").map(Value::take).unwrap_or_default();
            serde_json::from_value(checks).map_err(|_other| Some(older()))
        }
        Err(ControlError::Refused { code, message, .. }) => Err(Some(match code.as_str() {
            "not_ready" => Check::warning(
                name,
                message,
                "wait a minute, then `zaikoban status` says how far it is",
            ),
            "stranger" => Check::failed(name, message, closed()),
            "not_found" => older(),
            _ => Check::failed(name, message, "`journalctl -u zaikoban -n 50` says more"),
        })),
        Err(error) => Err(Some(Check::failed(
            name,
            error.to_string(),
            "see who listens there: `ss -xlp | grep control.sock`",
        ))),
    }
}

fn older() -> Check {
    Check::warning(
        "daemon",
        "it is another version than this command, and knows no `doctor` like it",
        "restart it: `systemctl restart zaikoban`",
    )
}

fn show(checks: &[Check], as_json: bool) -> Exit {
    if as_json {
        output::json(&doctor::answer(checks));
    } else {
        output::data(&table(checks));
    }
    if as_json {
        return ending(checks);
    }
    let many = |state| checks.iter().filter(|c| c.state == state).count();
    output::talk(&format!(
        "{} ok, {} to be looked at, {} failed, {} skipped",
        many(CheckState::Ok),
        many(CheckState::Warning),
        many(CheckState::Failed),
        many(CheckState::Skipped)
    ));
    ending(checks)
}

fn ending(checks: &[Check]) -> Exit {
    if doctor::worst(checks) == CheckState::Failed {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn word(state: CheckState) -> &'static str {
    match state {
        CheckState::Ok => "ok",
        CheckState::Warning => "WARNING",
        CheckState::Failed => "FAILED",
        CheckState::Skipped => "skipped",
    }
}

fn table(checks: &[Check]) -> String {
    let name_width = checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let indent = " ".repeat(name_width.saturating_add(11));
    let width = WIDTH.saturating_sub(indent.len()).max(30);
    let mut lines = Vec::new();
    for check in checks {
        let to_do = check.to_do.as_ref().map(|to_do| format!("-> {to_do}"));
        let told = check.said.lines().map(str::to_owned).chain(to_do);
        let mut told = told.flat_map(|line| wrapped(&plain(&Value::from(line)), width));
        let first = told.next().unwrap_or_default();
        let state = word(check.state);
        lines.push(format!(
            "{state:<7}  {:<name_width$}  {first}",
            plain(&Value::from(check.name.as_str()))
        ));
        lines.extend(told.map(|line| format!("{indent}{line}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_told_with_what_to_do_below_it_within_eighty_columns() {
        let checks = [
            Check::ok("disk", "`/var/lib/zaikoban` is 12 % full"),
            Check::failed(
                "database",
                "database `zaikoban` at /run as `zaikoban`: no answer came from it, however often it was asked\nline\u{1b}two",
                "`zaikoban status` says what the daemon waits for",
            ),
        ];
        let expected = "\
ok       disk      `/var/lib/zaikoban` is 12 % full
FAILED   database  database `zaikoban` at /run as `zaikoban`: no answer came
                   from it, however often it was asked
                   line two
                   -> `zaikoban status` says what the daemon waits for";
        let told = table(&checks);
        assert_eq!(told, expected);
        assert!(told.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn a_socket_that_is_not_there_is_a_warning_and_one_of_a_stranger_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let missing = door(&path);
        assert_eq!(missing.state, CheckState::Warning);
        assert!(missing.to_do.unwrap().contains("systemctl start zaikoban"));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let there = door(&path);
        assert_eq!(there.state, CheckState::Ok, "{there:?}");
        assert!(
            there.said.contains(&format!("process {} of", std::process::id())),
            "{there:?}"
        );
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(door(&path).state, CheckState::Warning);
        drop(listener);
        let left = door(&path);
        assert_eq!(
            left.state,
            CheckState::Warning,
            "a file that nobody listens on: {left:?}"
        );
    }
}
