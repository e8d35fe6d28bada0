//! `[alerts]`: what a person is told, over what, in which language.

mod sms;

use super::checks;
use super::raw::Typed;
use super::reader::Reader;
use super::shown::ShownValue;
use crate::alert::{
    AlertSettings, EmailSettings, HeartbeatSettings, Hours, Language, Route, SecretUrl, SlackSettings,
    SmtpSecurity, WebhookSettings,
};
use crate::domain::{AlertChannel, AlertLevel, UnknownName};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Where the levels go unless said otherwise.
const LEVELS: &[(AlertLevel, &[AlertChannel])] = &[
    (AlertLevel::Info, &[]),
    (AlertLevel::Warning, &[AlertChannel::Slack, AlertChannel::Webhook]),
    (
        AlertLevel::Error,
        &[AlertChannel::Email, AlertChannel::Slack, AlertChannel::Webhook],
    ),
    (
        AlertLevel::Critical,
        &[
            AlertChannel::Email,
            AlertChannel::Slack,
            AlertChannel::Sms,
            AlertChannel::Webhook,
        ],
    ),
];

pub(super) fn alerts(r: &mut Reader) -> AlertSettings {
    AlertSettings {
        language: word_or(r, "alerts.language", Language::Ja),
        host: host(r),
        outage_after: r.seconds("alerts.outage_after_s", 1..=86_400, 60),
        recovered_after: r.seconds("alerts.recovered_after_s", 1..=86_400, 60),
        remind_after: r.seconds("alerts.remind_after_s", 60..=2_592_000, 86_400),
        out_of_stock_per_hour: r.whole("alerts.out_of_stock_per_hour", 1..=1_000_000, 10),
        levels: levels(r),
        routes: routes(r),
        email: email(r),
        slack: slack(r),
        sms: sms::sms(r),
        webhook: webhook(r),
        heartbeat: heartbeat(r),
    }
}

fn host(r: &mut Reader) -> String {
    let own = || {
        nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
    };
    let name = own().unwrap_or_else(|| "localhost".to_owned());
    r.text_or("alerts.host", &name)
}

fn levels(r: &mut Reader) -> BTreeMap<AlertLevel, Vec<AlertChannel>> {
    LEVELS
        .iter()
        .map(|(level, usual)| {
            let key = format!("alerts.{level}");
            let channels = words(r, &key).unwrap_or_else(|| usual.to_vec());
            r.came_to(&key, ShownValue::Plain(json!(channels)));
            (*level, channels)
        })
        .collect()
}

/// `[alerts.routes.NAME]`, as many as there are names.
fn routes(r: &mut Reader) -> Vec<Route> {
    r.names_below("alerts.routes")
        .into_iter()
        .map(|name| {
            let key = |of: &str| format!("alerts.routes.{name}.{of}");
            let hours = r.text(&key("hours")).and_then(|typed| {
                let hours = Hours::parse(&typed);
                if hours.is_none() {
                    let expected = "a part of the day in Japan such as \"22:00-07:00\"";
                    r.complain(&key("hours"), &format!("`{typed}`"), expected, None);
                }
                hours
            });
            let channels = words(r, &key("channels"));
            if channels.is_none() {
                let expected = "a list such as [\"email\", \"slack\"]; [] keeps it quiet";
                r.complain(&key("channels"), "nothing", expected, None);
            }
            let products = r.list(&key("products")).unwrap_or_default();
            Route {
                level: r
                    .text(&key("level"))
                    .and_then(|typed| read(r, &key("level"), &typed)),
                kinds: words(r, &key("kinds")).unwrap_or_default(),
                products: numbers(r, &key("products"), &products),
                hours,
                channels: channels.unwrap_or_default(),
                name,
            }
        })
        .collect()
}

fn numbers(r: &mut Reader, key: &str, typed: &[String]) -> Vec<i64> {
    typed
        .iter()
        .filter_map(|text| {
            let number = text.trim().parse().ok().filter(|n| *n > 0);
            if number.is_none() {
                r.complain(key, &format!("`{text}`"), "numbers of products, in quotes", None);
            }
            number
        })
        .collect()
}

fn email(r: &mut Reader) -> Option<EmailSettings> {
    let host = r.text("alerts.email.host");
    let security = word_or(r, "alerts.email.security", SmtpSecurity::Starttls);
    let usual = match security {
        SmtpSecurity::Tls => 465,
        SmtpSecurity::Starttls => 587,
        SmtpSecurity::None => 25,
    };
    let port = r.whole("alerts.email.port", 1..=65_535, usual);
    let user = r.text("alerts.email.username");
    let password = r.secret("alerts.email.password");
    let from = r.text("alerts.email.from");
    let to = r.list("alerts.email.to").unwrap_or_default();
    let ca_file = checks::ca_file(r, "alerts.email.ca_file");
    let host = host?;
    let local = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if security == SmtpSecurity::None && !local {
        let hint = Some("without it everybody on the way reads the mail and the password");
        r.complain(
            "alerts.email.security",
            "`none`",
            "\"tls\" or \"starttls\", except to this machine",
            hint,
        );
    }
    if user.is_some() != password.is_some() {
        let key = if user.is_some() {
            "alerts.email.password"
        } else {
            "alerts.email.username"
        };
        r.complain(key, "nothing", "user name and password, both or neither", None);
    }
    let from = from.unwrap_or_else(|| {
        r.complain("alerts.email.from", "nothing", "the sender's address", None);
        String::new()
    });
    if to.is_empty() {
        r.complain(
            "alerts.email.to",
            "nothing",
            "a list of addresses such as [\"me@example.jp\"]",
            None,
        );
    }
    for (key, address) in
        std::iter::once(("alerts.email.from", &from)).chain(to.iter().map(|a| ("alerts.email.to", a)))
    {
        if !address.is_empty() && !crate::alert::is_mail_address(address) {
            let expected = "a mail address such as \"me@example.jp\" or \"在庫番 <me@example.jp>\"";
            r.complain(key, &format!("`{}`", address.escape_debug()), expected, None);
        }
    }
    Some(EmailSettings {
        host,
        port,
        security,
        login: user.zip(password),
        from,
        to,
        ca_file,
    })
}

fn slack(r: &mut Reader) -> Option<SlackSettings> {
    let webhook_url = secret_url(r, "alerts.slack.webhook_url")?;
    Some(SlackSettings { webhook_url })
}

fn webhook(r: &mut Reader) -> Option<WebhookSettings> {
    let url = secret_url(r, "alerts.webhook.url");
    let secret = r.secret("alerts.webhook.secret");
    let ca_file = checks::ca_file(r, "alerts.webhook.ca_file");
    let url = url?;
    if secret.as_ref().is_none_or(|s| s.expose_secret().len() < 16) {
        let expected = "at least 16 characters, known to the receiver: each message is signed with them";
        r.complain("alerts.webhook.secret", "nothing or less", expected, None);
    }
    Some(WebhookSettings {
        url,
        secret: secret?,
        ca_file,
    })
}

fn heartbeat(r: &mut Reader) -> Option<HeartbeatSettings> {
    let every = r.seconds("alerts.heartbeat.every_s", 10..=86_400, 60);
    let url = secret_url(r, "alerts.heartbeat.url")?;
    Some(HeartbeatSettings { url, every })
}

fn secret_url(r: &mut Reader, key: &str) -> Option<SecretUrl> {
    let typed = r.secret(key)?;
    match SecretUrl::parse(typed.expose_secret()) {
        Ok(url) => match url.refused() {
            None => Some(url),
            Some(refused) => {
                let expected = format!("an address that may be reached: {refused}");
                r.complain(key, &format!("{}/…", url.origin()), &expected, None);
                None
            }
        },
        Err(expected) => {
            r.complain(key, "something else", expected, None);
            None
        }
    }
}

/// One of our words, or its default.
pub(super) fn word_or<T: FromStr<Err = UnknownName> + Display + Copy>(
    r: &mut Reader,
    key: &str,
    usual: T,
) -> T {
    let typed = r.text_or(key, &usual.to_string());
    read(r, key, &typed).unwrap_or(usual)
}

/// A list of our words.
fn words<T: FromStr<Err = UnknownName>>(r: &mut Reader, key: &str) -> Option<Vec<T>> {
    let typed = r.list(key)?;
    Some(typed.iter().filter_map(|text| read(r, key, text)).collect())
}

fn read<T: FromStr<Err = UnknownName>>(r: &mut Reader, key: &str, typed: &str) -> Option<T> {
    match typed.parse() {
        Ok(word) => Some(word),
        Err(unknown) => {
            let expected = format!("one of {}", unknown.expected);
            r.complain(key, &format!("`{}`", unknown.got), &expected, None);
            None
        }
    }
}

impl Reader {
    /// A list of texts, if typed; in the environment, joined by commas.
    fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let items = match self.typed(key)? {
            Typed::List(items) => items,
            Typed::Untyped(joined) => {
                let items = joined.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(str::to_owned).collect()
            }
            other => {
                self.complain(key, other.kind(), "a list of texts such as [\"a\", \"b\"]", None);
                return None;
            }
        };
        self.came_to(key, ShownValue::Plain(json!(items)));
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::domain::{AlertChannel, AlertLevel};
    use std::io::Write as _;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn channels_levels_and_routes_are_read() {
        let file = file(
            "[alerts]\nlanguage = 'en'\nwarning = []\n[alerts.email]\nhost = 'mail.example.jp'\nusername = 'u'\n\
             password = 'canary'\nfrom = '在庫番 <z@example.jp>'\nto = ['a@example.jp']\n[alerts.slack]\n\
             webhook_url = 'https://hooks.slack.com/services/canary'\n[alerts.webhook]\nurl = 'https://h.example/canary'\n\
             secret = 'canary-canary-canary'\n[alerts.heartbeat]\nurl = 'https://hc.example/canary'\n\
             [alerts.routes.night]\nlevel = 'error'\nkinds = ['outage', 'hold']\nproducts = ['7']\nhours = '22:00-07:00'\n\
             channels = ['webhook']\n",
        );
        let settings = load(
            Some(file.path()),
            [("ZAIKOBAN_ALERTS__ERROR".into(), "slack, email".into())],
        )
        .unwrap();
        assert!(!format!("{settings:?}").contains("canary"));
        let alerts = settings.alerts;
        assert_eq!(alerts.email.unwrap().port, 587);
        assert!(alerts.levels[&AlertLevel::Warning].is_empty());
        assert_eq!(
            alerts.levels[&AlertLevel::Error],
            [AlertChannel::Slack, AlertChannel::Email]
        );
        assert_eq!(alerts.routes[0].name, "night");
        assert_eq!(alerts.routes[0].products, [7]);
    }

    #[test]
    fn every_problem_is_named_and_none_shows_a_secret() {
        let file = file(
            "[alerts]\nlanguage = 'fr'\nerror = ['pigeon']\n[alerts.email]\nhost = 'mail.example.jp'\nsecurity = 'none'\n\
             username = 'u'\nfrom = \"a\\r\\nBcc: b@example.jp\"\n[alerts.slack]\nwebhook_url = 'http://canary.example/canary'\n\
             [alerts.webhook]\nurl = 'canary'\nsecret = 'canary'\n[alerts.routes.night]\nhours = 'late'\nproducts = ['x']\n\
             chanels = ['slack']\n",
        );
        let problems = load(Some(file.path()), []).unwrap_err().problems;
        let all = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        for key in [
            "alerts.language",
            "alerts.error",
            "alerts.email.security",
            "alerts.email.password",
            "alerts.email.from",
            "alerts.email.to",
            "alerts.slack.webhook_url",
            "alerts.webhook.url",
            "alerts.routes.night.hours",
            "alerts.routes.night.products",
            "alerts.routes.night.channels",
            "alerts.routes.night.chanels",
        ] {
            assert!(all.contains(&format!("`{key}`")), "{key} in {all}");
        }
        assert!(!all.contains("canary"), "{all}");
    }
}
