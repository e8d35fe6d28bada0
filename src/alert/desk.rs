//! What the alerter, the senders and the doors share: how to tell, over what, and how each channel does.

use super::channels::{self, Channel, ChannelError, Message};
use super::settings::AlertSettings;
use super::text;
use crate::clock::Clock;
use crate::domain::{AlertChannel, AlertLevel};
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How a channel does.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChannelHealth {
    /// When a message was taken last.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Since when messages are not taken.
    pub failing_since: Option<DateTime<Utc>>,
    /// How often in a row.
    pub failures: u32,
    /// What was said last.
    pub error: Option<String>,
    /// Waiting alone will not help.
    pub needs_a_person: bool,
}

/// What came of a test message.
#[derive(Clone, Debug, Serialize)]
pub struct Tested {
    /// Over which channel.
    pub channel: AlertChannel,
    /// Whether it was taken.
    pub delivered: bool,
    /// Why not.
    pub error: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// Settings and what is made of them; replaced together.
struct Setup {
    settings: AlertSettings,
    channels: Vec<Arc<dyn Channel>>,
}

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    setup: ArcSwap<Setup>,
    clock: Clock,
    health: Mutex<BTreeMap<AlertChannel, ChannelHealth>>,
    /// There may be something to tell.
    wake: BTreeMap<AlertChannel, Notify>,
    /// It is another channel now: what waits is tried at once.
    renewed: BTreeMap<AlertChannel, Notify>,
    /// There may be something to look at.
    look: Notify,
    /// When everything was looked at last.
    looked_at: Mutex<Instant>,
}

impl Desk {
    /// Opens the channels that the settings name; nothing is sent.
    ///
    /// # Errors
    /// When an address, a certificate or a name cannot be used.
    pub fn new(settings: AlertSettings, clock: Clock) -> anyhow::Result<Self> {
        let channels = channels::open(&settings, &clock)?;
        let notes = || AlertChannel::ALL.iter().map(|c| (*c, Notify::new())).collect();
        Ok(Self(Arc::new(Inner {
            setup: ArcSwap::from_pointee(Setup { settings, channels }),
            clock,
            health: Mutex::default(),
            wake: notes(),
            renewed: notes(),
            look: Notify::new(),
            looked_at: Mutex::new(Instant::now()),
        })))
    }

    /// Opens the channels of other settings; what is answered uses them from then on, also for what waits.
    ///
    /// # Errors
    /// When they cannot be used; then nothing is changed.
    pub fn prepare(&self, settings: AlertSettings) -> anyhow::Result<impl FnOnce() + Send + use<>> {
        let channels = channels::open(&settings, &self.0.clock)?;
        let desk = self.clone();
        Ok(move || {
            desk.0.setup.store(Arc::new(Setup { settings, channels }));
            for (wake, renewed) in desk.0.wake.values().zip(desk.0.renewed.values()) {
                wake.notify_one();
                renewed.notify_one();
            }
            desk.look_now();
        })
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> AlertSettings {
        self.0.setup.load().settings.clone()
    }

    /// The channels in force.
    #[must_use]
    pub fn channels(&self) -> Vec<Arc<dyn Channel>> {
        self.0.setup.load().channels.clone()
    }

    pub(super) fn channel(&self, name: AlertChannel) -> Option<Arc<dyn Channel>> {
        let setup = self.0.setup.load();
        setup.channels.iter().find(|c| c.name() == name).cloned()
    }

    /// The calendar by which is told.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// How each channel does.
    #[must_use]
    pub fn health(&self) -> BTreeMap<AlertChannel, ChannelHealth> {
        let known = self.0.health.lock().clone();
        let of = |c: &Arc<dyn Channel>| (c.name(), known.get(&c.name()).cloned().unwrap_or_default());
        self.0.setup.load().channels.iter().map(of).collect()
    }

    pub(super) fn took(&self, channel: AlertChannel) {
        let now = self.0.clock.now();
        let before = self.0.health.lock().insert(
            channel,
            ChannelHealth {
                delivered_at: Some(now),
                ..ChannelHealth::default()
            },
        );
        if before.is_some_and(|b| b.failing_since.is_some()) {
            tracing::info!(%channel, "Messages over {channel} arrive again");
        }
    }

    /// Notes a failure; how many there were in a row.
    pub(super) fn failed(&self, channel: AlertChannel, error: &ChannelError) -> u32 {
        let now = self.0.clock.now();
        let mut health = self.0.health.lock();
        let of = health.entry(channel).or_default();
        if of.error.as_deref() != Some(&error.message) {
            tracing::warn!(%channel, "A message over {channel} was not taken and waits: {error}");
        }
        of.failing_since.get_or_insert(now);
        of.failures = of.failures.saturating_add(1);
        of.error = Some(error.message.clone());
        of.needs_a_person = error.needs_a_person;
        of.failures
    }

    pub(super) fn wake(&self, channels: &[AlertChannel]) {
        for channel in channels {
            if let Some(wake) = self.0.wake.get(channel) {
                wake.notify_one();
            }
        }
    }

    pub(super) async fn woken(&self, channel: AlertChannel) {
        match self.0.wake.get(&channel) {
            Some(wake) => wake.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Resolves when the channel was set up anew.
    pub(super) async fn renewed(&self, channel: AlertChannel) {
        match self.0.renewed.get(&channel) {
            Some(renewed) => renewed.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Everything was looked at, and what was found is written down.
    pub(super) fn looked(&self) {
        *self.0.looked_at.lock() = Instant::now();
    }

    /// How long ago that was.
    pub(super) fn not_looked_for(&self) -> Duration {
        self.0.looked_at.lock().elapsed()
    }

    /// Something may have changed that is worth a look.
    pub fn look_now(&self) {
        self.0.look.notify_one();
    }

    pub(super) async fn look_asked(&self) {
        self.0.look.notified().await;
    }

    /// Sends a test over every channel (or one) and says what came back.
    pub async fn test(&self, only: Option<AlertChannel>) -> Vec<Tested> {
        let settings = self.settings();
        let now = self.0.clock.now();
        let said = text::test(settings.language);
        let id = format!("test-{}", now.timestamp_millis());
        let message = Message::of(said, AlertLevel::Info, &settings, id, now);
        let chosen = self
            .channels()
            .into_iter()
            .filter(|c| only.is_none_or(|o| c.name() == o));
        futures_util::future::join_all(chosen.map(|channel| try_one(channel, &message))).await
    }
}

async fn try_one(channel: Arc<dyn Channel>, message: &Message) -> Tested {
    let began = Instant::now();
    let sent = match tokio::time::timeout(Duration::from_secs(60), channel.send(message)).await {
        Ok(sent) => sent.map_err(|error| error.message),
        Err(_elapsed) => Err("no answer within 60 s".to_owned()),
    };
    Tested {
        channel: channel.name(),
        delivered: sent.is_ok(),
        error: sent.err(),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
