//! What a person is told, as values: how bad it is, what it is about, and what became of it.

use super::platform::UnknownName;
use super::{ProductId, names};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

names!(
    /// How bad an alert is, mildest first.
    AlertLevel {
        /// For the log.
        Info = "info",
        /// Somebody should look, some day.
        Warning = "warning",
        /// Somebody should look today: it costs money or trust.
        Error = "error",
        /// Somebody should look now.
        Critical = "critical",
    }
);
names!(
    /// What an alert is about.
    AlertKind {
        /// Changes wait for a person.
        Hold = "hold",
        /// A trouble was recorded among the errors.
        Error = "error",
        /// Work was given up and waits among the dead letters.
        DeadLetter = "dead_letter",
        /// One marketplace is away, or several.
        Outage = "outage",
        /// A marketplace does not let us in: no credentials, refused, or soon to end.
        Credentials = "credentials",
        /// A part of the daemon crashed, or is down after crashing too often.
        PartDown = "part_down",
        /// The database was away.
        Database = "database",
        /// Redis is away: everything goes on, slower and each node for itself.
        Redis = "redis",
        /// Many products went out of stock within an hour.
        MassOutOfStock = "mass_out_of_stock",
        /// A daemon that shares the database is not heard of any more.
        NodeDown = "node_down",
        /// The emergency stop is still on.
        EmergencyStop = "emergency_stop",
        /// A channel does not take what a person should be told.
        Channel = "channel",
        /// A product that a route names has changed.
        Change = "change",
    }
);
names!(
    /// What became of an alert.
    AlertStatus {
        /// Nobody has said anything.
        Open = "open",
        /// A person knows; it is not over.
        Acknowledged = "acknowledged",
        /// It is over, by itself or by a person's word.
        Resolved = "resolved",
    }
);
names!(
    /// Why a person is told.
    AlertEvent {
        /// It is new.
        Opened = "opened",
        /// It became worse, or there is more of it.
        Grew = "grew",
        /// It is still there, and nobody has acknowledged it.
        Reminder = "reminder",
        /// It is over by itself.
        Recovered = "recovered",
    }
);
names!(
    /// A way to reach a person.
    AlertChannel {
        /// Mail.
        Email = "email",
        /// A Slack channel, by its incoming webhook.
        Slack = "slack",
        /// Text messages, by Twilio.
        Sms = "sms",
        /// A program of the operator's, by a signed webhook.
        Webhook = "webhook",
    }
);

/// How many products an alert names; the count says how many there are.
pub const NAMED_PRODUCTS: usize = 20;

/// A product that an alert names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// The product.
    pub id: ProductId,
    /// Its title, as the web has it: to be made inert wherever it is shown.
    pub title: String,
}

/// What an alert knows beside its columns. Texts may come from outside: they are to be made inert wherever they are shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertFacts {
    /// The reason of the holds, the code of the errors, the path of the part, the queue, the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What was said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// At most [`NAMED_PRODUCTS`] of those concerned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Affected>,
    /// When something happens by itself: a hold's default, a credential's end, the next try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// What happens then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// The services concerned, where they are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}
