//! Reads secrets where nobody looks on, and hands them to the daemon. None is printed, and none is an argument.

use super::{Ask, Show, Trouble, said};
use crate::cli::args::Credentials;
use crate::cli::output::{self, Column, at, column, plain, shown_as, times};
use crate::control::client::Client;
use crate::ops::fields_of;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, IsTerminal as _, Read as _, Stdin};
use std::path::{Path, PathBuf};

pub(super) const CREDENTIALS: &[Column] = &[
    column("platform", "PLATFORM"),
    column("fields", "KEPT"),
    column("from_settings", "FROM SETTINGS"),
    column("key_id", "KEY"),
    column("set_by", "SET BY"),
    times("updated_at", "SET AT"),
    times("expires_at", "ENDS"),
    shown_as("note", "NOTE", plain),
];

/// More than this is no list of secrets.
const MOST_BYTES: u64 = 256 * 1024;

/// Secrets to be read and kept.
pub(super) struct SetOrder {
    platform: String,
    field: Option<String>,
    from_file: Option<PathBuf>,
    ends_on: Option<chrono::NaiveDate>,
}

pub(super) fn order(order: Credentials) -> (Ask, Show) {
    let path =
        |platform: &str, verb: &str| format!("/v1/credentials/{}{verb}", super::orders::segment(platform));
    match order {
        Credentials::List => (Ask::Get("/v1/credentials".to_owned()), Show::Table(CREDENTIALS)),
        Credentials::Set {
            platform,
            field,
            from_file,
            ends_on,
        } => (
            Ask::Secrets(SetOrder {
                platform,
                field,
                from_file,
                ends_on,
            }),
            Show::Said(said::credentials_set),
        ),
        Credentials::Remove { platform, field } => (
            Ask::Post(path(&platform, "/remove"), json!({ "fields": field })),
            Show::Said(said::credentials_removed),
        ),
        Credentials::Rotate { new_key } => (
            Ask::Post("/v1/credentials/rotate".to_owned(), json!({ "new_key": new_key })),
            Show::Said(said::credentials_rotated),
        ),
        Credentials::Authorize { platform } => (Ask::Consent(platform), Show::Said(said::credentials_set)),
    }
}

/// Reads the secrets, and has them kept.
pub(super) async fn set(client: &Client, order: SetOrder) -> Result<Value, Trouble> {
    // What is no platform is told by the daemon.
    let names = order.platform.parse().map(fields_of).unwrap_or_default();
    let fields = match (&order.from_file, std::io::stdin().is_terminal()) {
        (Some(file), _) => in_text(&read_file(file)?, order.field.as_deref(), names)?,
        (None, true) => asked(order.field.as_deref(), names, order.ends_on.is_some())?,
        (None, false) => in_text(&read_all()?, order.field.as_deref(), names)?,
    };
    let path = format!("/v1/credentials/{}", super::orders::segment(&order.platform));
    Ok(client
        .post(&path, &json!({ "fields": fields, "ends_on": order.ends_on }))
        .await?)
}

/// Prints where a person consents, reads what they bring back, and has it exchanged.
pub(super) async fn authorize(client: &Client, platform: &str, as_json: bool) -> Result<Value, Trouble> {
    let path = |verb: &str| format!("/v1/credentials/{}/{verb}", super::orders::segment(platform));
    let begun = client.post(&path("consent"), &json!({})).await?;
    if as_json {
        output::json(&begun);
    } else {
        output::talk("open this address, sign in as the seller and agree:");
        output::data(&plain(at(&begun, "address")));
        output::talk(
            "then paste the address that the browser ended at (or the code in it), and press Enter:",
        );
    }
    let answer = line(&std::io::stdin())?;
    let body = json!({ "answer": answer.trim() });
    Ok(client.post(&path("authorize"), &body).await?)
}

/// The secrets in a text: the value alone, or lines `name=value`.
fn in_text(text: &str, field: Option<&str>, names: &[&str]) -> Result<Map<String, Value>, Trouble> {
    let mut fields = Map::new();
    if let Some(field) = field {
        fields.insert(field.to_owned(), text.trim().into());
        return Ok(fields);
    }
    let lines = (1..).zip(text.lines().map(str::trim));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        // The line itself is not shown: it may be the secret without its name.
        let named = line.split_once('=').map(|(name, value)| (name.trim(), value));
        let Some((name, value)) = named.filter(|(name, _)| crate::ops::is_name(name)) else {
            return Err(Trouble::Input(format!(
                "line {number}: expected `name=value`, the names being {}; with --field NAME the value stands alone",
                names.join(", ")
            )));
        };
        fields.insert(name.to_owned(), value.trim().into());
    }
    Ok(fields)
}

/// Asks on the terminal; an empty line leaves a field as it is. `may_be_none` where something else is told, too.
fn asked(field: Option<&str>, names: &[&str], may_be_none: bool) -> Result<Map<String, Value>, Trouble> {
    let mut fields = Map::new();
    let names = field.map_or_else(|| names.to_vec(), |field| vec![field]);
    for name in names {
        let value = hidden(&format!("{name} (not shown; empty leaves it as it is): "))?;
        if !value.trim().is_empty() {
            fields.insert(name.to_owned(), value.trim().into());
        }
    }
    if fields.is_empty() && !may_be_none {
        return Err(Trouble::Input(
            "nothing was typed; nothing was changed".to_owned(),
        ));
    }
    Ok(fields)
}

/// A terminal that shows nothing, until it is dropped.
struct Quiet<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a Stdin) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        // Ctrl-C comes as a sign, too: a process that is ended here would leave the terminal mute.
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        quiet.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // There is nobody to tell that the terminal went away.
        let _gone = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}

fn hidden(prompt: &str) -> Result<Zeroizing<String>, Trouble> {
    const CTRL_C: char = '\u{3}';
    let terminal = std::io::stdin();
    output::prompt(prompt);
    let typed = {
        let _quiet = Quiet::new(&terminal).map_err(|error| unread(error.into()))?;
        line(&terminal)?
    };
    if typed.contains(CTRL_C) {
        return Err(Trouble::Input("given up; nothing was changed".to_owned()));
    }
    Ok(typed)
}

fn line(stdin: &Stdin) -> Result<Zeroizing<String>, Trouble> {
    let mut text = Zeroizing::new(String::new());
    let mut input = stdin.lock().take(MOST_BYTES);
    input.read_line(&mut text).map_err(unread)?;
    Ok(text)
}

fn read_all() -> Result<Zeroizing<String>, Trouble> {
    let mut text = Zeroizing::new(String::new());
    let mut input = std::io::stdin().lock().take(MOST_BYTES);
    input.read_to_string(&mut text).map_err(unread)?;
    Ok(text)
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, Trouble> {
    let text = std::fs::read_to_string(path).map_err(|error| Trouble::File(path.to_owned(), error))?;
    Ok(Zeroizing::new(text))
}

fn unread(error: std::io::Error) -> Trouble {
    Trouble::File(PathBuf::from("standard input"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["client_id", "client_secret", "refresh_token"];

    #[test]
    fn values_are_read_by_name_or_alone() {
        let text = "# of the shop\nclient_id = Shop-PRD\n\nclient_secret=a=b\n";
        let Ok(fields) = in_text(text, None, NAMES) else {
            panic!("expected two fields")
        };
        assert_eq!(
            Value::from(fields),
            json!({ "client_id": "Shop-PRD", "client_secret": "a=b" })
        );
        let Ok(alone) = in_text(" a=b \n", Some("client_secret"), NAMES) else {
            panic!("expected a field")
        };
        assert_eq!(Value::from(alone), json!({ "client_secret": "a=b" }));
    }

    #[test]
    fn a_line_without_a_name_is_told_by_its_number_and_not_shown() {
        let Err(Trouble::Input(told)) = in_text("client_id=x\ncanary\n", None, NAMES) else {
            panic!("expected a trouble")
        };
        assert!(told.starts_with("line 2: expected `name=value`"), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
}
