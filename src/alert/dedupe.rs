//! What is new, what has grown, what is over: troubles of a look against alerts that stand. Pure.

use super::condition::Condition;
use crate::domain::{AlertEvent, AlertKind, AlertLevel, AlertStatus};
use crate::store::alerts::silences::Silence;
use crate::store::alerts::{Alert, RECOVERED};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;

/// A trouble that comes again so soon after it was over is the same one.
const SAME_AGAIN: TimeDelta = TimeDelta::minutes(30);
/// What comes and goes is told at most so often.
const FLAPPING_REST: TimeDelta = TimeDelta::minutes(30);
/// Troubles that began so shortly before an outage are what it brought about.
const BEFORE_OUTAGE: TimeDelta = TimeDelta::minutes(2);
/// What is ten times as much as was told is told again after so long.
const TENFOLD_REST: TimeDelta = TimeDelta::minutes(10);

/// How patient it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) recovered_after: TimeDelta,
    pub(super) remind_after: TimeDelta,
}

/// What is to be done about one trouble or alert.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Write a trouble down as it stands: its place among the conditions.
    Put {
        condition: usize,
        /// The alert that ended a moment ago and goes on.
        reopen: Option<i64>,
        tell: Option<AlertEvent>,
    },
    /// It is not met any more; whether it stays away is waited for.
    Gone { alert: i64 },
    /// It is over.
    Over { alert: i64, tell: bool },
}

/// See the module. `alerts` are those that stand, and those that ended of late.
pub(super) fn judge(
    conditions: &[Condition],
    alerts: &[Alert],
    silences: &[Silence],
    patience: Patience,
    now: DateTime<Utc>,
) -> Vec<Step> {
    let mut open: HashMap<&str, &Alert> = HashMap::new();
    let mut ended: HashMap<&str, &Alert> = HashMap::new();
    for alert in alerts {
        let by = if alert.status == AlertStatus::Resolved {
            &mut ended
        } else {
            &mut open
        };
        // in the order of their ids: the last one counts
        by.insert(&alert.fingerprint, alert);
    }
    let mut steps = Vec::new();
    for (place, condition) in conditions.iter().enumerate() {
        let step = match open.remove(condition.fingerprint.as_str()) {
            Some(alert) => Some(known(place, condition, alert, silences, patience, now)),
            None => {
                let before = ended.get(condition.fingerprint.as_str()).copied();
                new(place, condition, before, (alerts, silences), now)
            }
        };
        steps.extend(step);
    }
    steps.extend(
        open.into_values()
            .filter_map(|alert| absent(alert, silences, patience, now)),
    );
    // in one order, so that two nodes that look at once wait for each other
    steps.sort_by_key(|step| match step {
        Step::Put { condition, .. } => (0, i64::try_from(*condition).unwrap_or(i64::MAX)),
        Step::Gone { alert } | Step::Over { alert, .. } => (1, *alert),
    });
    steps
}

/// A trouble that no alert stands for.
fn new(
    place: usize,
    condition: &Condition,
    before: Option<&Alert>,
    (alerts, silences): (&[Alert], &[Silence]),
    now: DateTime<Utc>,
) -> Option<Step> {
    if now.signed_duration_since(condition.since) < condition.patience || is_folded(condition, alerts) {
        return None;
    }
    let resolved_at = before.and_then(|alert| alert.resolved_at);
    if let (Some(alert), Some(at)) = (before, resolved_at) {
        // A person has dealt with it, and it has not been met since.
        if alert.resolved_by.as_deref() != Some(RECOVERED) && condition.newest <= at {
            return None;
        }
    }
    // What a person or a deadline settled is over: the next one is another.
    let again = before.filter(|alert| {
        by_itself(alert.kind)
            && alert.resolved_by.as_deref() == Some(RECOVERED)
            && resolved_at.is_some_and(|at| now.signed_duration_since(at) < SAME_AGAIN)
    });
    let rests = again
        .and_then(|alert| alert.told_at)
        .is_some_and(|told| now.signed_duration_since(told) < FLAPPING_REST);
    let quiet = rests
        || is_silenced(
            silences,
            condition.kind,
            condition.platform.as_deref(),
            again.map(|a| a.id),
        );
    Some(Step::Put {
        condition: place,
        reopen: again.map(|alert| alert.id),
        tell: (!quiet).then_some(AlertEvent::Opened),
    })
}

/// A trouble whose alert stands.
fn known(
    place: usize,
    condition: &Condition,
    alert: &Alert,
    silences: &[Silence],
    patience: Patience,
    now: DateTime<Utc>,
) -> Step {
    let quiet = is_silenced(silences, alert.kind, alert.platform.as_deref(), Some(alert.id));
    Step::Put {
        condition: place,
        reopen: None,
        tell: tell_again(condition, alert, patience, now).filter(|_| !quiet),
    }
}

fn tell_again(
    condition: &Condition,
    alert: &Alert,
    patience: Patience,
    now: DateTime<Utc>,
) -> Option<AlertEvent> {
    let Some(told_at) = alert.told_at else {
        // It came while it was silenced, or while it came and went.
        return Some(AlertEvent::Opened);
    };
    let rested = now.signed_duration_since(told_at);
    if alert.told_level.is_none() {
        // It came back so soon that nothing was said: it is when it stays.
        return (rested >= FLAPPING_REST).then_some(AlertEvent::Opened);
    }
    if alert.told_level.is_some_and(|told| condition.level > told) {
        return Some(AlertEvent::Grew);
    }
    let grown = condition.count > alert.told_count;
    let rest = match condition.level {
        AlertLevel::Critical => TimeDelta::hours(1),
        AlertLevel::Error => TimeDelta::hours(6),
        AlertLevel::Warning | AlertLevel::Info => TimeDelta::hours(24),
    };
    let much = condition.count >= alert.told_count.saturating_mul(10);
    let half_more = condition.count.saturating_mul(2) >= alert.told_count.saturating_mul(3);
    let grew = match condition.kind {
        AlertKind::MassOutOfStock => half_more && rested >= TENFOLD_REST,
        // Each crash of the same part is the same trouble.
        AlertKind::PartDown if condition.facts.code.as_deref() != Some("quarantined") => {
            much && rested >= TENFOLD_REST
        }
        _ => much && rested >= TENFOLD_REST || rested >= rest,
    };
    if grown && grew {
        return Some(AlertEvent::Grew);
    }
    let nobody = alert.status == AlertStatus::Open && condition.level >= AlertLevel::Error;
    (nobody && rested >= patience.remind_after).then_some(AlertEvent::Reminder)
}

/// An alert whose trouble is not met.
fn absent(alert: &Alert, silences: &[Silence], patience: Patience, now: DateTime<Utc>) -> Option<Step> {
    let wait = match alert.kind {
        kind if by_itself(kind) => patience.recovered_after,
        // An hour's count moves around its limit.
        AlertKind::MassOutOfStock => TimeDelta::hours(1),
        // A person or a deadline has settled it: there is nothing to wait for.
        _ => TimeDelta::zero(),
    };
    match alert.gone_since {
        None if wait > TimeDelta::zero() => Some(Step::Gone { alert: alert.id }),
        Some(since) if now.signed_duration_since(since) < wait => None,
        _ => {
            let quiet = is_silenced(silences, alert.kind, alert.platform.as_deref(), Some(alert.id));
            let tell = by_itself(alert.kind) || alert.kind == AlertKind::EmergencyStop;
            Some(Step::Over {
                alert: alert.id,
                // Whose coming was not told needs no end.
                tell: tell && alert.told_level.is_some() && !quiet,
            })
        }
    }
}

/// Kinds that are over when they are not met any more; the others are when somebody settles them.
fn by_itself(kind: AlertKind) -> bool {
    matches!(
        kind,
        AlertKind::Outage
            | AlertKind::Credentials
            | AlertKind::PartDown
            | AlertKind::Channel
            | AlertKind::NodeDown
            | AlertKind::Database
            | AlertKind::Redis
    )
}

/// Whether a trouble is only what an outage of its service brings about.
fn is_folded(condition: &Condition, alerts: &[Alert]) -> bool {
    condition.foldable
        && condition.platform.is_some()
        && alerts.iter().any(|alert| {
            let until = alert
                .gone_since
                .or(alert.resolved_at)
                .filter(|_| alert.status == AlertStatus::Resolved);
            alert.kind == AlertKind::Outage
                && alert.platform == condition.platform
                && condition.since >= alert.since - BEFORE_OUTAGE
                && until.is_none_or(|until| condition.newest <= until)
        })
}

fn is_silenced(silences: &[Silence], kind: AlertKind, platform: Option<&str>, alert: Option<i64>) -> bool {
    silences.iter().any(|silence| {
        silence.kind.is_none_or(|k| k == kind)
            && silence.platform.as_deref().is_none_or(|p| Some(p) == platform)
            && silence.alert_id.is_none_or(|id| Some(id) == alert)
    })
}

#[cfg(test)]
mod tests;
