//! What a value must also be, beside its type and range, for the daemon to start with it.
//!
//! What the machine at hand decides (a file, a group) is looked at here, too: whoever is told at the start and not one by
//! one while it fails mends everything in one go.

use super::reader::Reader;
use crate::store::PoolSettings;
use crate::store::redis::{BadRedis, RedisSettings};
use crate::{control, http, telemetry};
use nix::unistd::Group;
use secrecy::{ExposeSecret as _, SecretString};
use std::path::{Path, PathBuf};

/// The log's filter, as `tracing` reads it.
pub(super) fn filter(r: &mut Reader, key: &str, filter: String) -> String {
    if telemetry::check_filter(&filter).is_err() {
        let got = format!("`{}`", filter.chars().take(80).collect::<String>());
        let expected = "levels such as \"info\" or \"info,zaikoban::http=debug\"";
        r.complain(key, &got, expected, None);
    }
    filter
}

/// The folder of the log's files. It may be made at the start; what stands in its way is found here.
pub(super) fn log_dir(r: &mut Reader, key: &str) -> Option<PathBuf> {
    let dir = r.path(key)?;
    let got = format!("`{}`", dir.display());
    if !dir.is_absolute() {
        r.complain(key, &got, "an absolute path such as \"/var/log/zaikoban\"", None);
    } else if dir.exists() && !dir.is_dir() {
        r.complain(key, &format!("{got}, which is no folder"), "a folder", None);
    }
    Some(dir)
}

/// A project's address at Sentry. What stands there is not shown: a key is in it.
pub(super) fn dsn(r: &mut Reader, key: &str) -> Option<SecretString> {
    let dsn = r.secret(key)?;
    if let Err(why) = telemetry::check_dsn(&dsn) {
        let expected = "a DSN such as \"https://KEY@sentry.example/1\" (http only to this machine)";
        r.complain(key, "something else", expected, Some(why));
    }
    Some(dsn)
}

/// A socket's path, as the kernel takes it.
pub(super) fn socket(r: &mut Reader, key: &str, path: PathBuf) -> PathBuf {
    let (bytes, most) = (path.as_os_str().len(), control::door::MAX_PATH_BYTES);
    if bytes > most {
        let expected = format!("a path of at most {most} bytes");
        r.complain(key, &format!("{bytes} bytes"), &expected, None);
    }
    path
}

/// A group of this machine.
pub(super) fn group(r: &mut Reader, key: &str) -> Option<String> {
    let name = r.text(key)?;
    if let Ok(None) = Group::from_name(&name) {
        let hint = Some("`addgroup --system NAME` makes one");
        r.complain(key, &format!("`{name}`"), "a group of this machine", hint);
    }
    Some(name)
}

/// What a node is called: a part of keys, lists and log lines.
pub(super) fn node_name(r: &mut Reader, key: &str) -> Option<String> {
    let name = r.text(key)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
        let got = format!("`{}`", name.escape_debug());
        let expected = "1 to 63 letters, digits, `-`, `_` or `.`, such as \"shop-a\"";
        r.complain(key, &got, expected, None);
        return None;
    }
    Some(name)
}

/// A database's address. What stands there is not shown: there may be a password in it.
pub(super) fn database(r: &mut Reader, key: &str) -> Option<SecretString> {
    let url = r.secret(key)?;
    if let Err(error) = PoolSettings::new(url.expose_secret()).check() {
        let expected = "an address such as \"postgres://user@host/database\"";
        r.complain(key, "something else", expected, Some(&error.to_string()));
    }
    Some(url)
}

/// Where Redis is, if there is one. Neither address nor password is shown.
pub(super) fn redis(r: &mut Reader) -> Option<RedisSettings> {
    let (url, password) = (r.secret("redis.url"), r.secret("redis.password"));
    let prefix = r.text_or("redis.prefix", "zaikoban");
    let Some(url) = url else {
        if password.is_some() {
            r.complain(
                "redis.password",
                "a password for nothing",
                "`redis.url` beside it",
                None,
            );
        }
        return None;
    };
    let bad = match RedisSettings::new(url.expose_secret(), password.as_ref(), &prefix) {
        Ok(settings) => return Some(settings),
        Err(bad) => bad,
    };
    let (key, expected) = match bad {
        BadRedis::Prefix => ("redis.prefix", "a short plain word such as \"zaikoban\""),
        BadRedis::TwoPasswords => ("redis.password", "one password"),
        BadRedis::Tls | BadRedis::Address(_) => {
            ("redis.url", "an address such as \"redis://localhost:6379/0\"")
        }
    };
    r.complain(key, "something else", expected, Some(&bad.to_string()));
    None
}

/// The folder of PostgreSQL's programs.
pub(super) fn binaries(r: &mut Reader, key: &str) -> Option<PathBuf> {
    let folder = r.path(key)?;
    let missing = ["initdb", "postgres"]
        .into_iter()
        .find(|name| !folder.join(name).is_file());
    if let Some(missing) = missing {
        let got = format!("`{}`, which has no `{missing}`", folder.display());
        r.complain(key, &got, "a folder with `initdb` and `postgres`", None);
    }
    Some(folder)
}

/// A file with certificates.
pub(super) fn ca_file(r: &mut Reader, key: &str) -> Option<PathBuf> {
    let path = r.path(key)?;
    if let Err(error) = http::check_ca_file(&path) {
        let got = format!("`{}`", path.display());
        r.complain(
            key,
            &got,
            "a readable PEM file with certificates",
            Some(&why(&path, &error)),
        );
    }
    Some(path)
}

fn why(path: &Path, error: &http::BadClient) -> String {
    match error {
        http::BadClient::CaFile { source, .. } => format!("`{}`: {source}", path.display()),
        other => other.to_string(),
    }
}

/// An address for a message: without user, password, query and fragment, cut to 80 characters.
pub(super) fn without_secrets(typed: &str) -> String {
    let plain = typed.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match plain.split_once("//") {
        Some((scheme, rest)) => (format!("{scheme}//"), rest),
        None => (String::new(), plain),
    };
    let rest = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{rest}").chars().take(80).collect()
}
