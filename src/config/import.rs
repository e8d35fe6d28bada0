//! What an old `.env` comes to: settings, secrets apart from them, and a word on everything else.
//!
//! Nothing is written here and no secret is among the settings: the caller gets them apart, to be put into files that
//! only the daemon can read. What has no counterpart is named with its reason; nothing is left out in silence.

use super::dotenv;
use crate::alert::is_mail_address;
use secrecy::SecretString;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use url::Url;

/// An old file, taken over as far as it could be.
#[derive(Debug, Default)]
pub struct Import {
    /// The settings, as a file would hold them.
    pub toml: String,
    /// Secrets that the settings name a file for; empty when there is no folder for them.
    pub secrets: Vec<KeptSecret>,
    /// What a person must know of the rest.
    pub notes: Vec<Note>,
}

/// A secret to be written into a file of its own.
#[derive(Debug)]
pub struct KeptSecret {
    /// The old name.
    pub name: String,
    /// The file's name in the folder.
    pub file: &'static str,
    /// What it holds.
    pub value: SecretString,
}

/// A word on an old setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The old name, or names with one reason.
    pub name: String,
    /// What became of it: `no_counterpart`, `credential`, `unusable` or `unknown`.
    pub kind: &'static str,
    /// Why, and what to do.
    pub what: String,
}

/// Beginnings of names without a counterpart, and why.
const WITHOUT: &[(&str, &str)] = &[
    (
        "REDIS_",
        "zaikoban keeps its work in PostgreSQL; a Redis beside it is named in `[redis]` by hand, once it runs well without",
    ),
    (
        "AMAZON_AWS_",
        "the Selling Partner API takes no AWS keys any more: client id, secret and refresh token suffice",
    ),
    ("AMAZON_", "zaikoban's connection to Amazon has no such setting"),
    (
        "ALLOWED_",
        "there is no network door in this version: orders come over the local control socket",
    ),
    (
        "SESSION_LIFETIME",
        "there is no dashboard to log in to in this version",
    ),
    (
        "MAX_LOGIN_ATTEMPTS",
        "there is no dashboard to log in to in this version",
    ),
    (
        "ENCRYPTION_KEY",
        "zaikoban seals with a key of its own; the old one would open nothing here",
    ),
    ("EBAY_", "zaikoban's eBay connection has no such setting"),
    ("DB_", "`database.url` has no such part"),
    ("SMTP_", "`[alerts.email]` has no such part"),
];

/// Reads an old file. With `secrets_dir` the settings name files there for the secrets.
///
/// # Errors
/// A message for each line that cannot be read; nothing is taken over then.
pub fn import(text: &str, secrets_dir: Option<&Path>) -> Result<Import, Vec<String>> {
    let (variables, bad) = dotenv::read(text);
    if !bad.is_empty() {
        let told = bad
            .iter()
            .map(|b| format!("line {}: expected {}", b.line, b.expected));
        return Err(told.collect());
    }
    let mut taking = Taking {
        // The last of two counts, as in a shell.
        old: variables.into_iter().map(|v| (v.name, v.value)).collect(),
        secrets_dir,
        ..Taking::default()
    };
    taking.old.retain(|_, value| !value.is_empty());
    taking.database();
    taking.ebay();
    taking.amazon();
    taking.mail();
    taking.slack();
    taking.rest();
    Ok(Import {
        toml: taking.toml(),
        secrets: taking.secrets,
        notes: taking.notes,
    })
}

#[derive(Default)]
struct Taking<'a> {
    old: BTreeMap<String, String>,
    secrets_dir: Option<&'a Path>,
    /// Lines by section, in the order of the sections' first line.
    sections: Vec<(&'static str, Vec<String>)>,
    secrets: Vec<KeptSecret>,
    notes: Vec<Note>,
}

impl Taking<'_> {
    /// Takes the first of several old names that is there.
    fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, String)> {
        let name = names.iter().find(|name| self.old.contains_key(**name))?;
        Some((name, self.old.remove(*name)?))
    }

    fn value(&mut self, names: &[&'static str]) -> Option<String> {
        self.take(names).map(|(_, value)| value)
    }

    fn note(&mut self, name: impl Into<String>, kind: &'static str, what: impl Into<String>) {
        self.notes.push(Note {
            name: name.into(),
            kind,
            what: what.into(),
        });
    }

    fn line(&mut self, section: &'static str, line: String) {
        match self.sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, lines)) => lines.push(line),
            None => self.sections.push((section, vec![line])),
        }
    }

    fn set(&mut self, section: &'static str, key: &str, value: impl Into<toml::Value>) {
        let value = value.into();
        self.line(section, format!("{key} = {value}"));
    }

    /// Puts a secret into its file, or says where it must go. Answers whether the settings have it now.
    fn secret(
        &mut self,
        name: &'static str,
        section: &'static str,
        key: &str,
        file: &'static str,
        value: String,
    ) -> bool {
        let Some(dir) = self.secrets_dir else {
            let sealed = match section.strip_prefix("platforms.") {
                Some(platform) => format!("give it to `zaikoban credentials set {platform}`, or "),
                None => String::new(),
            };
            let what = format!(
                "a secret, which is not printed: {sealed}import again with --secrets-dir DIR, which puts it into a file \
                 that `{section}.{key}_file` names"
            );
            self.note(name, "credential", what);
            return false;
        };
        let path = dir.join(file).display().to_string();
        self.set(section, &format!("{key}_file"), path);
        self.secrets.push(KeptSecret {
            name: name.to_owned(),
            file,
            value: SecretString::from(value),
        });
        true
    }

    fn database(&mut self) {
        let driver = self.value(&["DB_CONNECTION", "DB_DRIVER", "DB_TYPE", "DB_DIALECT"]);
        if let Some(other) = driver.filter(|d| !d.to_lowercase().starts_with("p")) {
            let what = format!(
                "the old database is `{}`; zaikoban needs PostgreSQL, and makes a private one when `database.url` is not set",
                shown(&other)
            );
            self.note("DB_*", "no_counterpart", what);
            self.old
                .retain(|name, _| !name.starts_with("DB_") && name != "DATABASE_URL");
            return;
        }
        if let Some(size) = self.number("DB_POOL_SIZE", 2..=100) {
            self.set("database", "pool_size", size);
        }
        let whole = self.take(&["DATABASE_URL", "DB_URL"]);
        let host = self.value(&["DB_HOST"]);
        let name = self.value(&["DB_NAME", "DB_DATABASE"]);
        let port = self.number("DB_PORT", 1..=65_535);
        let user = self.value(&["DB_USER", "DB_USERNAME"]);
        let password = self.take(&["DB_PASSWORD", "DB_PASS"]);
        if let Some((from, url)) = whole {
            match Url::parse(&url)
                .ok()
                .filter(|u| u.scheme().starts_with("postgres"))
            {
                Some(url) => self.database_url(from, url),
                None => self.note(
                    from,
                    "unusable",
                    "expected an address such as `postgres://user@host/database`",
                ),
            }
            return;
        }
        if host.is_none() && name.is_none() {
            return;
        }
        let built = address(host.as_deref(), port, name.as_deref(), user.as_deref());
        let Some(mut url) = built else {
            self.note("DB_HOST", "unusable", "expected the name or address of a machine");
            return;
        };
        let from = password.as_ref().map_or("DB_HOST", |(from, _)| *from);
        if let Some((_, password)) = &password {
            // Refused only without a host, which there is.
            let _set = url.set_password(Some(password));
        }
        self.database_url(from, url);
    }

    fn database_url(&mut self, from: &'static str, mut url: Url) {
        self.line("database", "# zaikoban makes its own tables in there.".to_owned());
        if url.password().is_none() {
            self.set("database", "url", url.to_string());
        } else if !self.secret(from, "database", "url", "database.url", url.to_string()) {
            let _cleared = url.set_password(None);
            self.line(
                "database",
                format!("# Without the password, which `{from}` holds."),
            );
            self.set("database", "url", url.to_string());
        }
    }

    fn ebay(&mut self) {
        const AT: &str = "platforms.ebay";
        let id = self.value(&["EBAY_CLIENT_ID", "EBAY_APP_ID"]);
        let secret = self.take(&["EBAY_CLIENT_SECRET", "EBAY_CERT_ID"]);
        let refresh = self.take(&["EBAY_REFRESH_TOKEN"]);
        let rehearsal = self.value(&["EBAY_ENVIRONMENT", "EBAY_ENV", "EBAY_SANDBOX"]);
        let has_id = id.is_some();
        if let Some(id) = id {
            self.set(AT, "client_id", id);
        }
        let kept = |this: &mut Self, found: Option<(&'static str, String)>, key: &str, file: &'static str| {
            found.is_some_and(|(name, value)| this.secret(name, AT, key, file, value))
        };
        let has_secret = kept(self, secret, "client_secret", "ebay.secret");
        let has_refresh = kept(self, refresh, "refresh_token", "ebay.refresh");
        if rehearsal.is_some_and(|r| matches!(r.to_lowercase().as_str(), "sandbox" | "true" | "1" | "yes")) {
            self.set(AT, "endpoint", "https://api.sandbox.ebay.com");
        }
        if let Some(ru_name) = self.value(&["EBAY_RU_NAME", "EBAY_RUNAME", "EBAY_REDIRECT_URI"]) {
            self.set(AT, "ru_name", ru_name);
        }
        if has_id {
            if !(has_secret && has_refresh) {
                let what = "# Nothing is sent until `zaikoban credentials set ebay` and `authorize ebay` gave the rest.";
                self.line(AT, what.to_owned());
            }
            self.set(AT, "enabled", true);
        }
        if let Some((name, _)) = self.take(&["EBAY_AUTH_TOKEN", "EBAY_USER_TOKEN", "EBAY_TOKEN"]) {
            let what = "a token of eBay's old sign-in, which its present one does not take: let the seller consent anew";
            self.note(name, "credential", what);
        }
    }

    /// One account: as a source. Whether it sells, too, is a person's to say.
    fn amazon(&mut self) {
        const AT: &str = "platforms.amazon";
        let id = self.value(&["AMAZON_CLIENT_ID", "AMAZON_LWA_CLIENT_ID", "AMAZON_LWA_APP_ID"]);
        let secret = self.take(&["AMAZON_CLIENT_SECRET", "AMAZON_LWA_CLIENT_SECRET"]);
        let refresh = self.take(&["AMAZON_REFRESH_TOKEN", "AMAZON_LWA_REFRESH_TOKEN"]);
        let seller = self.value(&["AMAZON_SELLER_ID", "AMAZON_MERCHANT_ID"]);
        let has_id = id.is_some();
        if let Some(id) = id {
            self.set(AT, "client_id", id);
        }
        for (found, key, file) in [
            (secret, "client_secret", "amazon.secret"),
            (refresh, "refresh_token", "amazon.refresh"),
        ] {
            if let Some((name, value)) = found {
                self.secret(name, AT, key, file, value);
            }
        }
        if let Some(per_hour) = self.number("AMAZON_REQUESTS_PER_HOUR", 1..=100_000) {
            self.set(AT, "requests_per_hour", per_hour);
        }
        if has_id {
            self.set(AT, "enabled", true);
        }
        if let Some(seller) = seller {
            self.set("platforms.amazon_seller", "seller_id", seller);
        }
    }

    fn mail(&mut self) {
        const AT: &str = "alerts.email";
        let host = self.value(&["SMTP_HOST", "SMTP_SERVER"]);
        let port = self.number("SMTP_PORT", 1..=65_535);
        let security = self.take(&["SMTP_SECURITY", "SMTP_ENCRYPTION", "SMTP_SECURE", "SMTP_TLS"]);
        let user = self.value(&["SMTP_USER", "SMTP_USERNAME"]);
        let password = self.take(&["SMTP_PASSWORD", "SMTP_PASS"]);
        let from = self.value(&["SMTP_FROM", "SMTP_FROM_EMAIL", "SMTP_FROM_ADDRESS", "MAIL_FROM"]);
        let to = self.value(&["ALERT_EMAIL", "ALERT_EMAILS"]);
        let to: Vec<String> = to
            .iter()
            .flat_map(|all| all.split(|c: char| c == ',' || c == ';' || c.is_whitespace()))
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect();
        let (host, first) = match (host, to.first()) {
            (None, None) => return,
            (Some(host), Some(first)) => (host, first.clone()),
            (Some(_), None) => {
                let what = "nobody is told by mail without a reader's address: set `[alerts.email]`";
                return self.note("ALERT_EMAIL", "unusable", what);
            }
            (None, Some(_)) => {
                let what = "nobody is told by mail without a server: set `[alerts.email]`";
                return self.note("SMTP_HOST", "unusable", what);
            }
        };
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        self.set(AT, "host", host);
        let word = security.as_ref().map(|(_, word)| word.to_lowercase());
        match security_of(port, word.as_deref()).filter(|security| local || *security != "none") {
            Some(security) => self.set(AT, "security", security),
            None => {
                let name = security.map_or("SMTP_SECURE", |(name, _)| name);
                let what = "expected one of tls, ssl, starttls, true, false (none to this machine only)";
                self.note(name, "unusable", what);
            }
        }
        if let Some(port) = port {
            self.set(AT, "port", port);
        }
        let kept =
            password.is_some_and(|(name, value)| self.secret(name, AT, "password", "smtp.password", value));
        let address = user.clone().filter(|user| is_mail_address(user));
        self.set(AT, "from", from.or(address).unwrap_or(first));
        match user.filter(|_| kept) {
            Some(user) => self.set(AT, "username", user),
            // One without the other is refused.
            None => self.line(AT, "# username and password_file go together.".to_owned()),
        }
        let to: Vec<toml::Value> = to.into_iter().map(toml::Value::from).collect();
        self.set(AT, "to", to);
    }

    fn slack(&mut self) {
        let found = self.take(&["ERROR_WEBHOOK_URL", "SLACK_WEBHOOK_URL"]);
        let Some((name, value)) = found else { return };
        match Url::parse(&value).ok().filter(|url| url.scheme() == "https") {
            Some(url) if url.host_str() == Some("hooks.slack.com") => {
                self.secret(name, "alerts.slack", "webhook_url", "slack.webhook", value);
            }
            Some(_) => {
                let what = "its host is not Slack's: set it up by hand as a signed webhook of `[alerts]`";
                self.note(name, "credential", what);
            }
            None => self.note(
                name,
                "unusable",
                "expected an https address, such as Slack gives for a webhook",
            ),
        }
    }

    /// Everything that nobody took: by its beginning, or unknown.
    fn rest(&mut self) {
        for name in std::mem::take(&mut self.old).into_keys() {
            match WITHOUT.iter().find(|(begins, _)| name.starts_with(begins)) {
                Some((_, why)) => self.note(name, "no_counterpart", *why),
                None => self.note(name, "unknown", "zaikoban has never had such a setting"),
            }
        }
    }

    fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let (_, text) = self.take(&[name])?;
        let number = text.trim().parse().ok().filter(|n| range.contains(n));
        if number.is_none() {
            let what = format!(
                "expected a whole number from {} to {}",
                range.start(),
                range.end()
            );
            self.note(name, "unusable", what);
        }
        number
    }

    fn toml(&self) -> String {
        let mut text = String::new();
        for (section, lines) in &self.sections {
            // Writing into a String cannot fail.
            let _written = writeln!(text, "[{section}]\n{}\n", lines.join("\n"));
        }
        text.trim_end().to_owned()
    }
}

fn address(host: Option<&str>, port: Option<i64>, name: Option<&str>, user: Option<&str>) -> Option<Url> {
    let mut url = Url::parse("postgres://localhost").ok()?;
    url.set_host(host).ok()?;
    url.set_port(port.and_then(|p| u16::try_from(p).ok())).ok()?;
    url.set_username(user.unwrap_or_default()).ok()?;
    url.set_path(&format!("/{}", name.unwrap_or_default()));
    Some(url)
}

/// The port says it best; the words meant different things in different libraries.
fn security_of(port: Option<i64>, word: Option<&str>) -> Option<&'static str> {
    match (port, word) {
        (Some(465), _) | (_, Some("ssl" | "true" | "1" | "yes" | "smtps")) => Some("tls"),
        (_, Some("none")) => Some("none"),
        (Some(587), _) | (_, None | Some("tls" | "starttls" | "false" | "0" | "no")) => Some("starttls"),
        _ => None,
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(30).collect()
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use secrecy::ExposeSecret as _;

    const OLD: &str = "\
# the old shop
DB_HOST=db.example
DB_PORT=5433
DB_NAME=shop
DB_USER=shop user
DB_PASSWORD='can@ry/1'
REDIS_URL=redis://:canary@h
AMAZON_SECRET_KEY=canary
AMAZON_CLIENT_ID=amzn1.application-oa2-client.1
AMAZON_CLIENT_SECRET=canary-3
AMAZON_REFRESH_TOKEN='Atzr|canary'
AMAZON_SELLER_ID=A2EXAMPLE1234
export EBAY_APP_ID=App-1
EBAY_CERT_ID=canary-2
EBAY_REFRESH_TOKEN=\"v^1.1#canary\"
EBAY_SANDBOX=true
EBAY_DEV_ID=x
SMTP_HOST=mail.example
SMTP_PORT=587
SMTP_USER=me
SMTP_PASS=canary
ALERT_EMAIL=a@example.jp, b@example.jp
ERROR_WEBHOOK_URL=https://hooks.slack.com/services/T/B/canary
ALLOWED_ORIGINS=*
SESSION_LIFETIME=3600
MAX_LOGIN_ATTEMPTS=5
ENCRYPTION_KEY=canary
NODE_ENV=production
EMPTY=
";

    fn kinds(import: &Import, kind: &str) -> Vec<String> {
        let of = import.notes.iter().filter(|n| n.kind == kind);
        of.map(|n| n.name.clone()).collect()
    }

    #[test]
    fn secrets_go_into_files_and_the_settings_can_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let import = import(OLD, Some(dir.path())).unwrap();
        assert!(
            !import.toml.contains("canary") && !import.toml.contains("can@ry"),
            "{}",
            import.toml
        );
        for secret in &import.secrets {
            std::fs::write(dir.path().join(secret.file), secret.value.expose_secret()).unwrap();
        }
        let file = dir.path().join("zaikoban.toml");
        std::fs::write(&file, &import.toml).unwrap();
        let settings = load(Some(&file), [])
            .map_err(|bad| format!("{:?}\n{}", bad.problems, import.toml))
            .unwrap();
        let url = settings.database.url.unwrap();
        assert_eq!(
            url.expose_secret(),
            "postgres://shop%20user:can%40ry%2F1@db.example:5433/shop"
        );
        assert!(settings.ebay.enabled);
        assert_eq!(settings.ebay.client_id.as_deref(), Some("App-1"));
        assert_eq!(
            settings.ebay.refresh_token.unwrap().expose_secret(),
            "v^1.1#canary"
        );
        assert_eq!(settings.ebay.endpoint.as_str(), "https://api.sandbox.ebay.com/");
        let amazon = settings.amazon.account;
        assert!(amazon.enabled);
        assert_eq!(
            amazon.client_id.as_deref(),
            Some("amzn1.application-oa2-client.1")
        );
        assert_eq!(amazon.refresh_token.unwrap().expose_secret(), "Atzr|canary");
        assert_eq!(settings.amazon_seller.seller_id, "A2EXAMPLE1234");
        for line in [
            "security = \"starttls\"",
            "port = 587",
            "to = [\"a@example.jp\", \"b@example.jp\"]",
            &format!("webhook_url_file = \"{}/slack.webhook\"", dir.path().display()),
        ] {
            assert!(import.toml.contains(line), "{line}\n{}", import.toml);
        }
        assert!(kinds(&import, "credential").is_empty());
    }

    #[test]
    fn without_a_folder_secrets_are_named_and_never_shown() {
        let import = import(OLD, None).unwrap();
        let told = format!("{}\n{:?}", import.toml, import.notes);
        assert!(
            !told.contains("canary") && !told.contains("can@ry") && !told.contains("can%40ry"),
            "{told}"
        );
        assert!(import.secrets.is_empty());
        assert_eq!(
            kinds(&import, "credential"),
            [
                "DB_PASSWORD",
                "EBAY_CERT_ID",
                "EBAY_REFRESH_TOKEN",
                "AMAZON_CLIENT_SECRET",
                "AMAZON_REFRESH_TOKEN",
                "SMTP_PASS",
                "ERROR_WEBHOOK_URL"
            ]
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &import.toml).unwrap();
        // It runs and waits for what is kept sealed.
        assert!(load(Some(file.path()), []).unwrap().ebay.enabled);
    }

    #[test]
    fn everything_without_a_counterpart_is_named() {
        let import = import(OLD, None).unwrap();
        assert_eq!(
            kinds(&import, "no_counterpart"),
            [
                "ALLOWED_ORIGINS",
                "AMAZON_SECRET_KEY",
                "EBAY_DEV_ID",
                "ENCRYPTION_KEY",
                "MAX_LOGIN_ATTEMPTS",
                "REDIS_URL",
                "SESSION_LIFETIME"
            ]
        );
        assert_eq!(kinds(&import, "unknown"), ["NODE_ENV"]);
    }

    #[test]
    fn another_kind_of_database_and_values_that_cannot_be_used_are_told() {
        let import = import(
            "DB_CONNECTION=mysql\nDB_HOST=h\nDB_PASSWORD=x\nSMTP_PORT=lots\nERROR_WEBHOOK_URL=nowhere\n",
            None,
        )
        .unwrap();
        assert_eq!(kinds(&import, "no_counterpart"), ["DB_*"]);
        assert_eq!(kinds(&import, "unusable"), ["SMTP_PORT", "ERROR_WEBHOOK_URL"]);
        assert_eq!(import.toml, "");
        assert_eq!(super::import("A=1\nhello\nB='x", None).unwrap_err().len(), 2);
    }
}
