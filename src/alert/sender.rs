//! One channel's only sender.
//!
//! It claims all that is due under a lease and hands it over, one message each, or one for all when many have waited. A
//! failure puts back what was not taken and rests, longer each time: the channel is left alone as a breaker would, and its
//! next message is the probe.

use super::channels::{Channel, ChannelError, Message};
use super::desk::Desk;
use super::text::{self, Told};
use crate::backoff::{Backoff, Jitter};
use crate::domain::{AlertChannel, AlertEvent, AlertKind, AlertStatus};
use crate::nodes::{ALERT, Ownership};
use crate::store::alerts;
use crate::store::alerts::deliveries::{self, Claimed, Delivery};
use crate::store::{Db, StoreError};
use crate::supervision::Life;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How much is taken at once.
const AT_ONCE: i64 = 50;
/// More than this become one message.
const ONE_BY_ONE: usize = 3;
/// How long a claim holds: longer than all its messages may take.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// Between two messages: Slack takes one a second.
const SPACING: Duration = Duration::from_millis(1_100);
/// How often it looks though nobody woke it.
const IDLE: Duration = Duration::from_secs(30);
/// How soon it is asked again whether this node is the one that tells.
const NOT_OURS: Duration = Duration::from_secs(1);
/// What has waited longer is told to be late.
const LATE: TimeDelta = TimeDelta::seconds(60);
/// What needs a person is not tried more often.
const PERSON_REST: Duration = Duration::from_secs(300);
/// No server's word keeps us longer.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// Tells over `name` until it is asked to stop, while telling is this node's part of the work.
pub async fn sender(desk: Desk, db: Db, ownership: Ownership, name: AlertChannel, life: Life) {
    let mut rest = Duration::ZERO;
    let stopping = life.stopping();
    loop {
        life.beat();
        let until = Instant::now() + rest;
        life.waiting_until(until + Duration::from_secs(600));
        tokio::select! {
            () = stopping.cancelled() => return,
            () = desk.renewed(name), if rest > SPACING => hasten(&desk, &db, name).await,
            () = tokio::time::sleep_until(until) => {}
        }
        let Some(part) = ownership.enter(ALERT) else {
            // Another node tells: a channel has one pace.
            rest = NOT_OURS;
            continue;
        };
        let turn = turn(&desk, &db, name, &stopping);
        let turned = turn.await;
        drop(part);
        rest = match turned {
            // A failed channel rests; nothing new wakes it before.
            Ok(Turn::Failed(wait)) => wait,
            Ok(Turn::Idle(wait)) => {
                life.waiting_until(Instant::now() + wait + IDLE);
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = desk.woken(name) => {}
                    () = tokio::time::sleep(wait) => {}
                }
                Duration::ZERO
            }
            Ok(Turn::Told) => SPACING,
            Err(error) => {
                tracing::debug!("Messages over {name} wait for the database: {error}");
                Duration::from_secs(5)
            }
        };
    }
}

/// What one turn came to.
enum Turn {
    /// There was nothing to tell; when there may be.
    Idle(Duration),
    /// All was taken.
    Told,
    /// The channel did not take it; how long to leave it alone.
    Failed(Duration),
}

/// What waits is due now; a database that is away makes it due by itself, later.
async fn hasten(desk: &Desk, db: &Db, name: AlertChannel) {
    if let Ok(mut conn) = db.conn().await {
        drop(deliveries::hasten(&mut conn, name, desk.now()).await);
    }
}

async fn turn(
    desk: &Desk,
    db: &Db,
    name: AlertChannel,
    stopping: &CancellationToken,
) -> Result<Turn, StoreError> {
    let Some(channel) = desk.channel(name) else {
        return Ok(Turn::Idle(IDLE));
    };
    let now = desk.clock().now();
    let mut conn = db.conn().await?;
    let claimed = deliveries::claim(&mut conn, name, AT_ONCE, now, now + LEASE).await?;
    if claimed.items.is_empty() {
        let next = deliveries::next_due(&mut conn, name).await?;
        let wait = next.and_then(|at| at.signed_duration_since(now).to_std().ok());
        return Ok(Turn::Idle(
            wait.unwrap_or(IDLE).clamp(Duration::from_millis(200), IDLE),
        ));
    }
    drop(conn);
    let messages = messages(desk, db, &claimed).await?;
    for (place, (ids, message)) in messages.iter().enumerate() {
        if place > 0 {
            tokio::time::sleep(SPACING).await;
        }
        // Asked to stop: what was not handed over yet waits for the next life.
        let sent = tokio::select! {
            biased;
            sent = channel.send(message) => sent,
            () = stopping.cancelled() => {
                give_back(db, claimed.token, "the daemon stopped", desk.now()).await?;
                return Ok(Turn::Told);
            }
        };
        if let Err(error) = sent {
            return put_back(desk, db, (&channel, &claimed), &error).await;
        }
        desk.took(name);
        let mut conn = db.conn().await?;
        if !deliveries::delivered(&mut conn, claimed.token, ids, desk.clock().now()).await? {
            tracing::warn!(channel = %name, "A message over {name} was told although its lease had run out: it may arrive twice");
        }
    }
    Ok(Turn::Told)
}

/// What is handed over: each with the deliveries that it settles.
async fn messages(desk: &Desk, db: &Db, claimed: &Claimed) -> Result<Vec<(Vec<i64>, Message)>, StoreError> {
    let settings = desk.settings();
    let now = desk.clock().now();
    let mut conn = db.conn().await?;
    // Several of one alert are one text, in its newest form.
    let mut told: Vec<(Vec<i64>, &Delivery, Told)> = Vec::new();
    for item in &claimed.items {
        // An alert is removed with its deliveries.
        let Some(alert) = alerts::get(&mut conn, item.alert_id).await? else {
            continue;
        };
        let event = if alert.status == AlertStatus::Resolved && alert.kind != AlertKind::Change {
            AlertEvent::Recovered
        } else {
            item.event
        };
        let known = told
            .iter_mut()
            .find(|(_, first, _)| first.alert_id == item.alert_id);
        if let Some((ids, first, text)) = known {
            ids.push(item.id);
            *text = text::tell(&alert, event, first.first_event, settings.language);
        } else {
            let text = text::tell(&alert, event, item.first_event, settings.language);
            told.push((vec![item.id], item, text));
        }
    }
    let message = |of: &[(Vec<i64>, &Delivery, Told)]| {
        let first = of.first().map(|(_, item, _)| *item);
        let oldest = first.map(|item| item.created_at);
        let id = match (first, of.len()) {
            (Some(item), 1) => format!("{}-{}", item.id, item.created_at.timestamp_millis()),
            (Some(item), n) => format!("{}-{}-{n}", item.id, item.created_at.timestamp_millis()),
            (None, _) => String::new(),
        };
        let message = Message {
            id,
            language: settings.language,
            host: settings.host.clone(),
            told: of.iter().map(|(_, _, told)| told.clone()).collect(),
            at: now,
            delayed_since: oldest.filter(|at| is_late(*at, now)),
        };
        (of.iter().flat_map(|(ids, _, _)| ids.clone()).collect(), message)
    };
    Ok(if told.len() > ONE_BY_ONE {
        vec![message(&told)]
    } else {
        told.chunks(1).map(message).collect()
    })
}

fn is_late(created_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(created_at) >= LATE
}

async fn put_back(
    desk: &Desk,
    db: &Db,
    (channel, claimed): (&Arc<dyn Channel>, &Claimed),
    error: &ChannelError,
) -> Result<Turn, StoreError> {
    let failures = desk.failed(channel.name(), error);
    let wait = rest(failures, error);
    let next_at = desk.clock().now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::zero());
    give_back(db, claimed.token, &error.message, next_at).await?;
    Ok(Turn::Failed(wait))
}

async fn give_back(db: &Db, token: Uuid, error: &str, next_at: DateTime<Utc>) -> Result<(), StoreError> {
    let error = error.to_owned();
    let given = db.transaction_retried(3, move |conn| {
        let error = error.clone();
        async move { deliveries::put_back(conn, token, &error, next_at).await }.boxed()
    });
    given.await
}

/// How long a channel is left alone.
pub(super) fn rest(failures: u32, error: &ChannelError) -> Duration {
    let grown = Backoff::new(Duration::from_secs(2), Duration::from_secs(300), Jitter::TENTH)
        .map_or(Duration::from_secs(60), |b| {
            b.delay(failures.saturating_sub(1), &mut rand::rng())
        });
    let least = if error.needs_a_person {
        PERSON_REST
    } else {
        Duration::ZERO
    };
    error.retry_after.unwrap_or(grown).max(least).min(LONGEST_REST)
}
