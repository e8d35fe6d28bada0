//! What a person would have been told in the demo: a mail server and a Slack that live in this process, and the outage of
//! Slack that the script holds.

use super::super::output;
use crate::control::client::Client;
use crate::simulator::{SimulatorError, SinkMood, Sinks};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long messages may take to arrive once Slack is back.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The sinks.
pub(super) struct Messages {
    sinks: Sinks,
    /// Slack is away from then on, for so long.
    outage: Option<(Duration, Duration)>,
}

/// The script's outage of Slack.
pub(super) struct Outage {
    began: Instant,
    plan: Option<(Duration, Duration)>,
    away: bool,
}

/// What was told.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) alerts: u64,
    pub(super) mail: Over,
    pub(super) slack: Over,
}

/// What was told over one channel.
#[derive(Debug, Serialize)]
pub(super) struct Over {
    messages: usize,
    told: u64,
    late: u64,
}

impl Over {
    fn of(messages: usize, channel: &Value) -> Self {
        let count = |key: &str| {
            channel
                .pointer(&format!("/counts/{key}"))
                .and_then(Value::as_u64)
                .unwrap_or(0)
        };
        Self {
            messages,
            told: count("told"),
            late: count("delayed"),
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{} messages about {} alerts, {} of them late by an outage",
            self.messages, self.told, self.late
        )
    }
}

impl Messages {
    pub(super) fn start(faults: bool, duration: Option<Duration>) -> Result<Self, SimulatorError> {
        let sinks = Sinks::start()?;
        let whole = duration.unwrap_or(Duration::from_secs(40));
        let plan = (
            whole.mul_f32(0.25),
            whole.mul_f32(0.25).min(Duration::from_secs(15)),
        );
        Ok(Self {
            sinks,
            outage: faults.then_some(plan),
        })
    }

    /// The settings that lead the daemon here.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let set = |name: &str, value: String| (format!("ZAIKOBAN_ALERTS__{name}"), value);
        vec![
            set("EMAIL__HOST", self.sinks.smtp().ip().to_string()),
            set("EMAIL__PORT", self.sinks.smtp().port().to_string()),
            set("EMAIL__SECURITY", "none".to_owned()),
            set("EMAIL__FROM", "zaikoban@demo.example".to_owned()),
            set("EMAIL__TO", "me@demo.example".to_owned()),
            set("SLACK__WEBHOOK_URL", self.sinks.slack_url()),
        ]
    }

    pub(super) fn outage(&self) -> Outage {
        Outage {
            began: Instant::now(),
            plan: self.outage,
            away: false,
        }
    }

    /// Waits until nothing is left to be told.
    pub(super) async fn settle(&self, client: &Client) -> anyhow::Result<()> {
        let deadline = Instant::now().checked_add(SETTLE_LIMIT);
        loop {
            let channels = client.get("/v1/alerts/channels").await?;
            let items = channels.get("items").and_then(Value::as_array);
            let waiting = |item: &Value| {
                item.pointer("/counts/waiting")
                    .and_then(Value::as_u64)
                    .unwrap_or(0)
            };
            let left: u64 = items.into_iter().flatten().map(waiting).sum();
            if left == 0 || deadline.is_some_and(|d| Instant::now() > d) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    pub(super) async fn told(&self, client: &Client) -> anyhow::Result<Told> {
        let channels = client.get("/v1/alerts/channels").await?;
        let of = |name: &str| {
            let items = channels.get("items").and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .find(|c| c.get("channel").is_some_and(|n| n == name))
                .cloned()
                .unwrap_or_default()
        };
        let alerts = client.get("/v1/alerts?all=true&limit=1000").await?;
        let alerts = alerts.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        Ok(Told {
            alerts: u64::try_from(alerts).unwrap_or(u64::MAX),
            mail: Over::of(self.sinks.mails().len(), &of("email")),
            slack: Over::of(self.sinks.slacked().len(), &of("slack")),
        })
    }
}

impl Outage {
    pub(super) fn play(&mut self, messages: &Messages) {
        let Some((from, lasts)) = self.plan else { return };
        let at = self.began.elapsed();
        if !self.away && at >= from {
            output::talk("script: Slack is away …");
            messages.sinks.slack(SinkMood::Unavailable);
            self.away = true;
        }
        if self.away && at >= from.saturating_add(lasts) {
            self.end(messages);
        }
    }

    pub(super) fn end(&mut self, messages: &Messages) {
        if self.away {
            output::talk("script: … Slack is back");
        }
        messages.sinks.slack(SinkMood::Well);
        self.away = false;
        self.plan = None;
    }
}
