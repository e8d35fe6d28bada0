//! One look: what the tables, the guards, the tree and the channels show.

use super::desk::Desk;
use super::rules::{Deaf, Down, Part, Seen, Silent};
use crate::domain::AlertKind;
use crate::resilience::{GateView, GuardStatus};
use crate::store::alerts::look::{self, Group};
use crate::store::nodes::{self, Member};
use crate::store::redis::RedisStatus;
use crate::store::{Db, StoreError, credentials};
use crate::supervision::{ChildState, NodeReport, TreeReport};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use tokio::time::{Duration, Instant};

/// A channel that fails for so long is told over the others.
const DEAF_AFTER: TimeDelta = TimeDelta::minutes(5);
/// Changes of stock are counted over so long.
const STOCK_WINDOW: TimeDelta = TimeDelta::hours(1);
/// And looked at so often at most, when there are any …
const STOCK_EVERY: Duration = Duration::from_secs(5);
/// … and when there are none: what is an hour old drops out.
const STOCK_AGAIN: Duration = Duration::from_secs(60);

/// What the rest of the house shows of itself. `app` plugs the other end in.
pub trait Surroundings: Send + Sync + 'static {
    /// How every guard stands.
    fn guards(&self) -> Vec<GuardStatus>;

    /// How Redis is, where one is set up.
    fn redis(&self) -> Option<RedisStatus> {
        None
    }

    /// How the tree stands; nothing before it has started.
    fn tree(&self) -> Option<TreeReport>;
}

/// What is remembered from look to look. Losing it costs a little time: outages are counted from the next look on.
#[derive(Default)]
pub(super) struct Memory {
    down_since: HashMap<String, DateTime<Utc>>,
    stock: Vec<Group>,
    changes: Vec<Group>,
    stock_at: Option<Instant>,
}

/// Looks. `moved` says that something was committed since the last one.
pub(super) async fn look(
    db: &Db,
    around: &dyn Surroundings,
    desk: &Desk,
    memory: &mut Memory,
    moved: bool,
) -> Result<Seen, StoreError> {
    let now = desk.clock().now();
    let mut conn = db.conn().await?;
    let rested = memory.stock_at.map(|at| at.elapsed());
    if rested.is_none_or(|r| r >= STOCK_AGAIN || moved && r >= STOCK_EVERY) {
        memory.stock_at = Some(Instant::now());
        memory.stock = look::out_of_stock(&mut conn, now - STOCK_WINDOW).await?;
        let named = desk.settings().named_products();
        if !named.is_empty() {
            memory.changes = look::changes(&mut conn, &named, now - STOCK_WINDOW).await?;
        }
    }
    let mut seen = Seen {
        holds: look::holds(&mut conn).await?,
        errors: look::errors(&mut conn).await?,
        dead_letters: look::dead_letters(&mut conn).await?,
        emergency_stop: look::emergency_stop(&mut conn).await?,
        expiring: credentials::expiring(&mut conn, now, credentials::WARNED_BEFORE).await?,
        out_of_stock: memory.stock.clone(),
        changes: memory.changes.clone(),
        nodes: silent(&nodes::members(&mut conn).await?),
        ..Seen::default()
    };
    if !seen.changes.is_empty() {
        // Each change is told once: that it was written down among the alerts is what says so.
        let key = |g: &Group| {
            format!(
                "{} {} {}",
                AlertKind::Change,
                g.platform.as_deref().unwrap_or("-"),
                g.code
            )
        };
        let keys: Vec<String> = seen.changes.iter().map(key).collect();
        let known = look::known(&mut conn, AlertKind::Change, &keys).await?;
        seen.changes.retain(|group| !known.contains(&key(group)));
    }
    drop(conn);
    seen.down = down(&around.guards(), memory, now);
    if let Some(tree) = around.tree() {
        parts(&tree.root, now, &mut seen.parts);
    }
    if let Some(RedisStatus::Away { since, reason, .. }) = around.redis() {
        seen.redis = Some((since, reason));
    }
    seen.deaf = deaf(desk, now);
    Ok(seen)
}

/// Whose guard lets nothing through although nobody paused it, and since when.
fn down(guards: &[GuardStatus], memory: &mut Memory, now: DateTime<Utc>) -> Vec<Down> {
    let mut found = Vec::new();
    for guard in guards {
        let until = match guard.gate {
            GateView::Open => {
                memory.down_since.remove(&guard.service);
                continue;
            }
            // Nobody asks it: whether it is back is not known. What was well before stays so.
            GateView::Paused | GateView::Stopped if !memory.down_since.contains_key(&guard.service) => {
                continue;
            }
            GateView::Paused | GateView::Stopped => None,
            GateView::Limited => None,
            GateView::Shut { until } => Some(until),
        };
        let since = *memory.down_since.entry(guard.service.clone()).or_insert(now);
        found.push(Down {
            service: guard.service.clone(),
            since,
            until,
            message: guard.last_error.as_ref().map(|e| e.message.clone()),
        });
    }
    found
}

/// The leaves that are parked, or whose last end was a crash.
fn parts(node: &NodeReport, now: DateTime<Utc>, found: &mut Vec<Part>) {
    for child in &node.children {
        parts(child, now, found);
    }
    let Some(last) = node.last_exit.as_ref().filter(|_| node.children.is_empty()) else {
        return;
    };
    let parked = node.state == ChildState::Parked;
    let crashed = last.exit.is_crash();
    if parked || crashed {
        let ago = |ms: u64| TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX));
        found.push(Part {
            path: node.path.clone(),
            since: now.checked_sub_signed(ago(last.ago_ms)).unwrap_or(now),
            parked,
            restarts: i64::from(node.restarts),
            exit: Some(last.text.clone()),
            retry_at: node.retry_in_ms.and_then(|ms| now.checked_add_signed(ago(ms))),
        });
    }
}

/// Nodes whose last life was declared dead. Members come by name, the newest life first.
fn silent(members: &[Member]) -> Vec<Silent> {
    let mut newest: Vec<&Member> = members.iter().collect();
    newest.dedup_by(|later, first| later.name == first.name);
    let dead = |m: &&Member| {
        Some(Silent {
            name: m.name.clone(),
            since: m.dead_at?,
        })
    };
    newest.iter().filter_map(dead).collect()
}

fn deaf(desk: &Desk, now: DateTime<Utc>) -> Vec<Deaf> {
    desk.health()
        .into_iter()
        .filter_map(|(channel, health)| {
            let since = health.failing_since?;
            let lasts = now.signed_duration_since(since) >= DEAF_AFTER;
            (lasts || health.needs_a_person).then(|| Deaf {
                channel: channel.to_string(),
                since,
                message: health.error.unwrap_or_default(),
            })
        })
        .collect()
}
