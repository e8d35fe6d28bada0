//! How a person is told, as the settings say.

use super::routing::Route;
use crate::domain::{AlertChannel, AlertLevel, UnknownName, names};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, str::FromStr};
use url::Url;

names!(
    /// In which language a person is told.
    Language {
        /// Japanese.
        Ja = "ja",
        /// English.
        En = "en",
    }
);
names!(
    /// How the way to the mail server is kept from others.
    SmtpSecurity {
        /// TLS from the first byte (port 465).
        Tls = "tls",
        /// TLS after `STARTTLS` (port 587).
        Starttls = "starttls",
        /// Nothing: for a server on this machine.
        None = "none",
    }
);

/// `[alerts]`
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// The language of what is told.
    pub language: Language,
    /// Which machine speaks; stands in every message.
    pub host: String,
    /// A service is told as away when it has been so long.
    pub outage_after: Duration,
    /// A trouble is over when it has not been met for so long.
    pub recovered_after: Duration,
    /// What nobody has acknowledged is told again after so long.
    pub remind_after: Duration,
    /// More products gone out of stock within an hour than this are told.
    pub out_of_stock_per_hour: u32,
    /// Over which channels each level is told, where no route says otherwise.
    pub levels: BTreeMap<AlertLevel, Vec<AlertChannel>>,
    /// What is told otherwise.
    pub routes: Vec<Route>,
    /// Mail.
    pub email: Option<EmailSettings>,
    /// Slack.
    pub slack: Option<SlackSettings>,
    /// Text messages.
    pub sms: Option<SmsSettings>,
    /// A program of the operator's.
    pub webhook: Option<WebhookSettings>,
    /// Who notices when this daemon is silent.
    pub heartbeat: Option<HeartbeatSettings>,
}

impl AlertSettings {
    /// Products that a route names.
    #[must_use]
    pub fn named_products(&self) -> Vec<i64> {
        let mut named: Vec<i64> = self.routes.iter().flat_map(|r| r.products.clone()).collect();
        named.sort_unstable();
        named.dedup();
        named
    }
}

/// `[alerts.email]`
#[derive(Clone, Debug)]
pub struct EmailSettings {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub security: SmtpSecurity,
    /// Who signs in, with the password; nobody where the server asks for nobody.
    pub login: Option<(String, SecretString)>,
    /// The sender's address.
    pub from: String,
    /// The readers' addresses.
    pub to: Vec<String>,
    /// A certificate authority trusted beside the known ones.
    pub ca_file: Option<PathBuf>,
}

/// `[alerts.slack]`
#[derive(Clone, Debug)]
pub struct SlackSettings {
    /// The incoming webhook. Who knows it can write to the channel.
    pub webhook_url: SecretUrl,
}

/// `[alerts.sms]`: text messages by Twilio.
#[derive(Clone, Debug)]
pub struct SmsSettings {
    /// Twilio's interface: scheme, host and port count.
    pub endpoint: SecretUrl,
    /// The account.
    pub account_sid: String,
    /// What lets it in.
    pub auth_token: SecretString,
    /// Who sends.
    pub sender: SmsSender,
    /// The readers' numbers, as `+819012345678`.
    pub to: Vec<String>,
    /// So many texts are sent in an hour at most, over all numbers: they cost money.
    pub per_hour: u32,
    /// A certificate authority that alone is trusted.
    pub ca_file: Option<PathBuf>,
}

/// Whose name a text message bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmsSender {
    /// A number of the account, or a name of letters and digits.
    From(String),
    /// A messaging service, which chooses among its own.
    Service(String),
}

/// `[alerts.webhook]`
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Where to.
    pub url: SecretUrl,
    /// What the signature is made with.
    pub secret: SecretString,
    /// A certificate authority that alone is trusted.
    pub ca_file: Option<PathBuf>,
}

/// `[alerts.heartbeat]`
#[derive(Clone, Debug)]
pub struct HeartbeatSettings {
    /// What is asked for.
    pub url: SecretUrl,
    /// How often.
    pub every: Duration,
}

/// An address whose path and query let its knower in: shown without them.
#[derive(Clone)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// An address of the web: HTTPS, or plain HTTP to this machine.
    ///
    /// # Errors
    /// What would have been understood.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "an https address without user and password (http only to this machine)";
        let url = Url::parse(text).map_err(|_not_shown| expected)?;
        let loopback = match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        let plain = url.username().is_empty() && url.password().is_none();
        if scheme && plain {
            Ok(Self(url))
        } else {
            Err(expected)
        }
    }

    /// Why it will not be reached, if its address says so: private networks are nobody's that we should send to.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        let refused = crate::http::check_literal(&self.0).err()?;
        Some(refused.to_string())
    }

    pub(super) fn expose(&self) -> &Url {
        &self.0
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// `text` without what must not be seen of this address.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        let hidden = text.replace(self.0.as_str(), &format!("{}/…", self.origin()));
        match self.0.path() {
            "" | "/" => hidden,
            path => hidden.replace(path, "/…"),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_an_address_that_lets_one_in_is_never_shown() {
        let url = SecretUrl::parse("https://hooks.slack.com/services/T0/B0/canary?x=canary").unwrap();
        assert_eq!(format!("{url:?}"), "https://hooks.slack.com/…");
        let said = url.hide_in("POST https://hooks.slack.com/services/T0/B0/canary timed out");
        assert_eq!(said, "POST https://hooks.slack.com/… timed out");
    }

    #[test]
    fn plain_http_only_to_this_machine() {
        for bad in [
            "http://example.com/x",
            "ftp://h/x",
            "https://u:p@h/x",
            "nothing",
            "https://",
        ] {
            assert!(SecretUrl::parse(bad).is_err(), "{bad}");
        }
        for good in [
            "https://example.com/x",
            "http://127.0.0.1:9/x",
            "http://[::1]/",
            "http://localhost/",
        ] {
            assert!(SecretUrl::parse(good).is_ok(), "{good}");
        }
    }
}
