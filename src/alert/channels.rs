//! The ways to a person: mail, Slack, text messages, a program of the operator's.

mod email;
mod slack;
mod sms;
mod webhook;

pub use email::is_mail_address;
pub(super) use webhook::client;

use super::settings::{AlertSettings, Language};
use super::text::{self, Headings, Said, Told};
use crate::clock::Clock;
use crate::domain::{AlertChannel, AlertEvent, AlertLevel};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// What is told in one message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same for every try of the same message, so that a receiver can see that it is the same.
    pub(super) id: String,
    pub(super) language: Language,
    pub(super) host: String,
    pub(super) told: Vec<Told>,
    pub(super) at: DateTime<Utc>,
    /// Since when the oldest of it has waited, if that is long.
    pub(super) delayed_since: Option<DateTime<Utc>>,
}

impl Message {
    /// A message of something that is no alert.
    pub(super) fn of(
        said: Said,
        level: AlertLevel,
        settings: &AlertSettings,
        id: String,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            language: settings.language,
            host: settings.host.clone(),
            told: vec![Told {
                alert: 0,
                level,
                event: AlertEvent::Opened,
                over_untold: false,
                said,
            }],
            at,
            delayed_since: None,
        }
    }

    fn subject(&self) -> String {
        text::subject(&self.told, &self.host, self.language)
    }

    fn headings(&self) -> Headings {
        text::headings(self.language)
    }

    /// The worst of what is told, and whether all of it is over.
    fn colour(&self) -> &'static str {
        if self.told.iter().all(|t| t.event == AlertEvent::Recovered) {
            return "#2e7d32";
        }
        match self.told.iter().map(|t| t.level).max() {
            Some(AlertLevel::Critical) => "#b71c1c",
            Some(AlertLevel::Error) => "#e65100",
            Some(AlertLevel::Warning) => "#f9a825",
            Some(AlertLevel::Info) | None => "#546e7a",
        }
    }

    /// That it comes late, if it does.
    fn delay(&self) -> Option<String> {
        let since = text::time(self.delayed_since?);
        Some(match self.language {
            Language::Ja => format!("お届けできなかった時間があり、遅れて届いています（{since} から）。"),
            Language::En => format!("This is late: it could not be delivered since {since}."),
        })
    }
}

/// What is no alert, and is written out by whoever sends it. Only mail takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The same for every try.
    pub(super) id: String,
    /// One line, inert.
    pub(super) subject: String,
    /// For readers without HTML.
    pub(super) text: String,
    /// A whole page.
    pub(super) html: String,
    /// When it is sent.
    pub(super) at: DateTime<Utc>,
}

/// A message that was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ChannelError {
    /// What happened. Holds no secret.
    pub message: String,
    /// Waiting alone will not help: an address, a password, a channel that is gone.
    pub needs_a_person: bool,
    /// The other side asks for this rest.
    pub retry_after: Option<Duration>,
}

impl ChannelError {
    fn passing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            needs_a_person: false,
            retry_after: None,
        }
    }

    fn for_a_person(message: impl Into<String>) -> Self {
        Self {
            needs_a_person: true,
            ..Self::passing(message)
        }
    }
}

/// A way to a person.
pub trait Channel: Send + Sync + 'static {
    /// Which.
    fn name(&self) -> AlertChannel;

    /// Hands a message over; it has arrived when this is `Ok`.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), ChannelError>>;

    /// Hands a letter over; it has arrived when this is `Ok`.
    fn post<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), ChannelError>> {
        let _ = letter;
        let refused = ChannelError::for_a_person(format!("letters do not go over {}", self.name()));
        std::future::ready(Err(refused)).boxed()
    }

    /// Looks whether a message would be taken, without sending one; what was seen.
    fn probe(&self) -> BoxFuture<'_, Result<String, ChannelError>>;
}

/// The channels that the settings name.
///
/// # Errors
/// When an address, a certificate or a name cannot be used.
pub(super) fn open(settings: &AlertSettings, clock: &Clock) -> anyhow::Result<Vec<Arc<dyn Channel>>> {
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    if let Some(own) = &settings.email {
        channels.push(Arc::new(email::Email::new(own)?));
    }
    if let Some(own) = &settings.slack {
        channels.push(Arc::new(slack::Slack::new(own, clock.clone())?));
    }
    if let Some(own) = &settings.sms {
        channels.push(Arc::new(sms::Sms::new(own, clock.clone())?));
    }
    if let Some(own) = &settings.webhook {
        channels.push(Arc::new(webhook::Webhook::new(own, clock.clone())?));
    }
    Ok(channels)
}
