//! The actor that looks, judges and writes down what is to be told.
//!
//! It is level-triggered: a committed change, an order of a person and a tick all mean *look*. What it finds is written in
//! one transaction with the deliveries; the senders do the rest.

use super::condition::Condition;
use super::dedupe::{self, Patience, Step};
use super::desk::Desk;
use super::inert;
use super::look::{self, Memory, Surroundings};
use super::routing;
use super::rules::{self, Rules};
use super::settings::{AlertSettings, Language};
use super::spool::Spool;
use super::text;
use crate::domain::{AlertChannel, AlertEvent, AlertLevel, Committed, CommittedSender};
use crate::nodes::{ALERT, Ownership};
use crate::store::alerts::{self, Alert, NewAlert, RECOVERED, deliveries, silences};
use crate::store::{Connection, Db, StoreError, errors};
use crate::supervision::Life;
use crate::telemetry::ErrorChain;
use actix::prelude::*;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

/// How often it looks when nobody asks.
const EVERY: Duration = Duration::from_secs(3);
/// How soon after a look the next one may come.
const REST: Duration = Duration::from_secs(1);
/// A look with all it writes.
const LIMIT: Duration = Duration::from_secs(60);
/// Alerts that ended so long ago are history to the judgement.
const REMEMBERED: TimeDelta = TimeDelta::days(7);
/// And so long ago, to everybody.
const KEPT: TimeDelta = TimeDelta::days(90);
/// What could not be told for so long helps nobody any more.
const WAITS_AT_MOST: TimeDelta = TimeDelta::days(7);
/// A mild trouble that was not met for so long is over.
const HEALED: TimeDelta = TimeDelta::hours(1);
/// How often what is over is cleared away.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// What the alerter is made from.
#[derive(Clone)]
pub struct AlerterParts {
    /// The database.
    pub db: Db,
    /// Settings and channels.
    pub desk: Desk,
    /// Guards and tree.
    pub around: Arc<dyn Surroundings>,
    /// Changes that the ledger has committed.
    pub committed: CommittedSender,
    /// What was told while the database was away.
    pub spool: Spool,
    /// Which parts of the work are this node's: one tells for all.
    pub ownership: Ownership,
}

/// The actor.
pub struct Alerter {
    parts: AlerterParts,
    life: Life,
}

/// "Look now": after a person's command.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookNow;

impl Alerter {
    /// One that has not looked yet.
    #[must_use]
    pub fn new(parts: AlerterParts, life: &Life) -> Self {
        Self {
            parts,
            life: life.clone(),
        }
    }
}

impl Actor for Alerter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let committed = self.parts.committed.subscribe();
        let run = run(self.parts.clone(), committed, self.life.clone());
        ctx.spawn(run.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

impl Handler<LookNow> for Alerter {
    type Result = ();

    fn handle(&mut self, _: LookNow, _: &mut Self::Context) {
        self.parts.desk.look_now();
    }
}

async fn run(parts: AlerterParts, mut committed: Receiver<Arc<Committed>>, life: Life) {
    let stopping = life.stopping();
    let mut memory = Memory::default();
    let (mut look_at, mut prune_at) = (Instant::now(), Instant::now());
    let mut earliest = Instant::now();
    let mut moved = true;
    let mut open = true;
    loop {
        life.beat();
        life.waiting_until(look_at + EVERY);
        tokio::select! {
            () = stopping.cancelled() => return,
            told = committed.recv(), if open && !moved => match told {
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    moved = true;
                    look_at = look_at.min(earliest);
                    continue;
                }
                Err(RecvError::Closed) => {
                    open = false;
                    continue;
                }
            },
            () = parts.desk.look_asked() => {
                look_at = look_at.min(earliest);
                continue;
            }
            () = tokio::time::sleep_until(look_at) => {}
        }
        let Some(_part) = parts.ownership.enter(ALERT) else {
            // Another node looks. What is remembered here would be old when it is this one's turn again.
            memory = Memory::default();
            look_at = Instant::now() + REST;
            continue;
        };
        life.waiting_until(Instant::now() + LIMIT + REST);
        let began = Instant::now();
        let prune = began >= prune_at;
        // A transaction goes on in a task of its own, whoever waits for it.
        let turned = tokio::time::timeout(LIMIT, turn(&parts, &mut memory, moved, prune));
        match turned.await {
            Ok(Ok(())) if prune => prune_at = began + PRUNE_EVERY,
            Ok(Ok(())) => {}
            // Its being away is told by the spool.
            Ok(Err(error)) if error.is_outage() => tracing::debug!("Alerts wait for the database: {error}"),
            Ok(Err(error)) => {
                tracing::error!(error = %ErrorChain(&error), "Alerts could not be written; tried again in a moment");
            }
            Err(_elapsed) => tracing::warn!(
                "A look for what is to be told took longer than {} s",
                LIMIT.as_secs()
            ),
        }
        moved = false;
        while committed.try_recv().is_ok() {
            moved = true;
        }
        // A look at large tables rests for twenty times what it took.
        let took = began.elapsed().saturating_mul(20);
        earliest = Instant::now() + REST.max(took);
        look_at = Instant::now() + EVERY.max(took);
    }
}

async fn turn(parts: &AlerterParts, memory: &mut Memory, moved: bool, prune: bool) -> Result<(), StoreError> {
    let desk = &parts.desk;
    let settings = desk.settings();
    let seen = look::look(&parts.db, parts.around.as_ref(), desk, memory, moved).await?;
    let now = desk.clock().now();
    let found = rules::conditions(&seen, rules_of(&settings), now);
    let told = {
        let settings = settings.clone();
        // Only over what is set up: nothing waits for a channel that is not there.
        let open: Vec<AlertChannel> = desk.channels().iter().map(|c| c.name()).collect();
        let written = parts.db.transaction_retried(3, move |conn| {
            let (settings, open, found) = (settings.clone(), open.clone(), found.clone());
            async move { write(conn, (&settings, &open), &found, now).await }.boxed()
        });
        written.await?
    };
    desk.looked();
    for told in &told {
        log(told);
        desk.wake(&told.channels);
    }
    parts.spool.settle(&parts.db, desk).await?;
    if prune {
        let mut conn = parts.db.conn().await?;
        alerts::prune(&mut conn, now - KEPT).await?;
        let expired = deliveries::expire(&mut conn, now - WAITS_AT_MOST).await?;
        if expired > 0 {
            tracing::error!("{expired} messages were given up: no channel took them for a week");
        }
    }
    Ok(())
}

fn rules_of(settings: &AlertSettings) -> Rules {
    Rules {
        outage_after: delta(settings.outage_after),
        out_of_stock_per_hour: i64::from(settings.out_of_stock_per_hour),
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// What is being told, for the log and the senders.
struct Telling {
    alert: Alert,
    event: AlertEvent,
    channels: Vec<AlertChannel>,
}

async fn write(
    conn: &mut Connection,
    (settings, open): (&AlertSettings, &[AlertChannel]),
    found: &[Condition],
    now: DateTime<Utc>,
) -> Result<Vec<Telling>, StoreError> {
    errors::end_passing(conn, now - HEALED).await?;
    let standing = alerts::standing(conn, now - REMEMBERED).await?;
    let silences = silences::silences(conn, now).await?;
    let patience = Patience {
        recovered_after: delta(settings.recovered_after),
        remind_after: delta(settings.remind_after),
    };
    let mut telling = Vec::new();
    for step in dedupe::judge(found, &standing, &silences, patience, now) {
        let tell = match step {
            Step::Put {
                condition,
                reopen,
                tell,
            } => {
                let Some(condition) = found.get(condition) else {
                    continue;
                };
                if let Some(id) = reopen {
                    alerts::reopen(conn, id).await?;
                    deliveries::withdraw_end(conn, id).await?;
                }
                let known = standing
                    .iter()
                    .find(|a| a.fingerprint == condition.fingerprint && a.resolved_at.is_none());
                if reopen.is_none() && tell.is_none() && known.is_some_and(|a| is_as_it_was(a, condition)) {
                    continue;
                }
                let id = alerts::put(conn, &as_row(condition)).await?;
                tell.map(|event| (id, event))
            }
            Step::Gone { alert } => {
                alerts::gone(conn, alert, now).await?;
                None
            }
            Step::Over { alert, tell } => {
                alerts::resolve(conn, &[alert], RECOVERED, None, now).await?;
                tell.then_some((alert, AlertEvent::Recovered))
            }
        };
        if let Some((id, event)) = tell {
            telling.extend(tell_of(conn, (settings, open), id, event, now).await?);
        }
    }
    Ok(telling)
}

/// Whether there is nothing to write: most looks find what the last one found.
fn is_as_it_was(alert: &Alert, condition: &Condition) -> bool {
    alert.count == condition.count
        && alert.level == condition.level
        && alert.gone_since.is_none()
        && alert.facts == condition.facts
}

fn as_row(condition: &Condition) -> NewAlert {
    NewAlert {
        fingerprint: condition.fingerprint.clone(),
        kind: condition.kind,
        level: condition.level,
        platform: condition.platform.clone(),
        count: condition.count,
        facts: condition.facts.clone(),
        since: condition.since,
        newest: condition.newest,
    }
}

/// Puts an alert to be told: that it is over, where it was told; everything else, where the routes say.
async fn tell_of(
    conn: &mut Connection,
    (settings, open): (&AlertSettings, &[AlertChannel]),
    id: i64,
    event: AlertEvent,
    now: DateTime<Utc>,
) -> Result<Option<Telling>, StoreError> {
    let Some(alert) = alerts::get(conn, id).await? else {
        return Ok(None);
    };
    let chosen = match event {
        AlertEvent::Recovered => Some(deliveries::channels_of(conn, id).await?),
        _ => routing::channels(
            &settings.levels,
            &settings.routes,
            (alert.level, alert.kind, &alert.facts),
            now,
        ),
    };
    // Not at this hour: it is looked at again until it is told.
    let Some(mut channels) = chosen else {
        return Ok(None);
    };
    channels.retain(|channel| open.contains(channel));
    deliveries::enqueue(conn, id, &channels, event, now).await?;
    if event != AlertEvent::Recovered {
        alerts::told(conn, id, now).await?;
    }
    Ok(Some(Telling {
        alert,
        event,
        channels,
    }))
}

/// Everything told stands in the log, too, whatever the channels do.
fn log(telling: &Telling) {
    let Telling {
        alert,
        event,
        channels,
    } = telling;
    let said = text::tell(alert, *event, *event, Language::En).said;
    let (id, kind) = (alert.id, alert.kind);
    let over = channels
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let headline = inert::line(&said.headline);
    if *event == AlertEvent::Recovered {
        tracing::info!(alert = id, %kind, %event, channels = over, "Alert {id}: {headline}");
        return;
    }
    match alert.level {
        AlertLevel::Info => {
            tracing::info!(alert = id, %kind, %event, channels = over, "Alert {id}: {headline}")
        }
        AlertLevel::Warning => {
            tracing::warn!(alert = id, %kind, %event, channels = over, "Alert {id}: {headline}")
        }
        AlertLevel::Error | AlertLevel::Critical => {
            tracing::error!(alert = id, %kind, %event, channels = over, "Alert {id}: {headline}");
        }
    }
}
