//! Over which channels an alert is told. Pure.

use crate::domain::{AlertChannel, AlertFacts, AlertKind, AlertLevel};
use chrono::{DateTime, FixedOffset, NaiveTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// Japan has no summer time.
const JST_SECONDS: i32 = 9 * 3_600;

/// A part of the day in Japan, from the first time to the second, which may lie behind midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from: NaiveTime,
    to: NaiveTime,
}

impl Hours {
    /// `22:00-07:00`
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
        Some(Self {
            from: time(from)?,
            to: time(to)?,
        })
    }

    fn contains(self, now: DateTime<Utc>) -> bool {
        let Some(japan) = FixedOffset::east_opt(JST_SECONDS) else {
            return true;
        };
        let time = now.with_timezone(&japan).time();
        if self.from <= self.to {
            self.from <= time && time < self.to
        } else {
            time >= self.from || time < self.to
        }
    }
}

/// What is told otherwise than its level says: everything that all given criteria fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Its name in the settings.
    pub name: String,
    /// At least this bad.
    pub level: Option<AlertLevel>,
    /// Of one of these kinds; none is any.
    pub kinds: Vec<AlertKind>,
    /// About one of these products; none is any.
    pub products: Vec<i64>,
    /// At these hours.
    pub hours: Option<Hours>,
    /// Over these channels; none keeps it quiet.
    pub channels: Vec<AlertChannel>,
}

impl Route {
    fn fits(&self, level: AlertLevel, kind: AlertKind, facts: &AlertFacts, now: DateTime<Utc>) -> bool {
        let named = |id: i64| self.products.contains(&id);
        // A route that keeps one product quiet keeps no others quiet with it.
        let about = if self.channels.is_empty() {
            facts.products.iter().all(|p| named(p.id.0)) && !facts.products.is_empty()
        } else {
            facts.products.iter().any(|p| named(p.id.0))
        };
        self.level.is_none_or(|least| level >= least)
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.products.is_empty() || about)
            && self.hours.is_none_or(|hours| hours.contains(now))
    }
}

/// The channels of an alert: those of all routes that fit, or, where none does, those of its level. `None`: not at this
/// hour; what is still so when the hours are over is told then.
pub(super) fn channels(
    levels: &BTreeMap<AlertLevel, Vec<AlertChannel>>,
    routes: &[Route],
    (level, kind, facts): (AlertLevel, AlertKind, &AlertFacts),
    now: DateTime<Utc>,
) -> Option<Vec<AlertChannel>> {
    let fitting: Vec<&Route> = routes
        .iter()
        .filter(|r| r.fits(level, kind, facts, now))
        .collect();
    if fitting.is_empty() {
        return Some(levels.get(&level).cloned().unwrap_or_default());
    }
    let chosen: BTreeSet<AlertChannel> = fitting
        .iter()
        .flat_map(|route| route.channels.iter().copied())
        .collect();
    let later = chosen.is_empty() && fitting.iter().any(|route| route.hours.is_some());
    (!later).then(|| chosen.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Affected, ProductId};
    use AlertChannel::{Email, Slack, Webhook};

    fn levels() -> BTreeMap<AlertLevel, Vec<AlertChannel>> {
        BTreeMap::from([
            (AlertLevel::Critical, vec![Email, Slack]),
            (AlertLevel::Warning, vec![Slack]),
        ])
    }

    fn at(hour: u32) -> DateTime<Utc> {
        // hours of Japan
        format!("2026-11-22T{:02}:30:00+09:00", hour).parse().unwrap()
    }

    fn about(id: i64) -> AlertFacts {
        AlertFacts {
            products: vec![Affected {
                id: ProductId(id),
                title: String::new(),
            }],
            ..AlertFacts::default()
        }
    }

    #[test]
    fn the_level_decides_where_no_route_fits() {
        let of = |level| channels(&levels(), &[], (level, AlertKind::Hold, &about(1)), at(12)).unwrap();
        assert_eq!(of(AlertLevel::Critical), [Email, Slack]);
        assert_eq!(of(AlertLevel::Warning), [Slack]);
        assert!(of(AlertLevel::Info).is_empty());
    }

    #[test]
    fn routes_fit_by_all_they_name_and_add_up() {
        let night = Route {
            level: Some(AlertLevel::Error),
            hours: Hours::parse("22:00-07:00"),
            channels: vec![Webhook],
            ..Route::default()
        };
        let product = Route {
            products: vec![7],
            kinds: vec![AlertKind::Change],
            channels: vec![Email],
            ..Route::default()
        };
        let quiet = Route {
            kinds: vec![AlertKind::Hold],
            level: Some(AlertLevel::Warning),
            ..Route::default()
        };
        let routes = [night, product, quiet];
        let of = |level, kind, id, hour| {
            channels(&levels(), &routes, (level, kind, &about(id)), at(hour)).unwrap()
        };
        assert_eq!(of(AlertLevel::Critical, AlertKind::Outage, 1, 23), [Webhook]);
        assert_eq!(of(AlertLevel::Critical, AlertKind::Outage, 1, 6), [Webhook]);
        assert_eq!(of(AlertLevel::Critical, AlertKind::Outage, 1, 7), [Email, Slack]);
        assert_eq!(of(AlertLevel::Info, AlertKind::Change, 7, 12), [Email]);
        assert!(of(AlertLevel::Info, AlertKind::Change, 8, 12).is_empty());
        assert!(of(AlertLevel::Warning, AlertKind::Hold, 1, 12).is_empty());
        assert_eq!(of(AlertLevel::Critical, AlertKind::Hold, 1, 23), [Webhook]);
    }

    #[test]
    fn quiet_hours_put_off_and_a_quiet_product_keeps_no_other_quiet() {
        let night = Route {
            hours: Hours::parse("22:00-07:00"),
            ..Route::default()
        };
        let of = |routes: &[Route], facts: &AlertFacts, hour| {
            channels(
                &levels(),
                routes,
                (AlertLevel::Critical, AlertKind::Hold, facts),
                at(hour),
            )
        };
        assert_eq!(of(std::slice::from_ref(&night), &about(1), 23), None);
        assert_eq!(of(&[night], &about(1), 7), Some(vec![Email, Slack]));
        let noisy = Route {
            products: vec![12],
            ..Route::default()
        };
        let mut two = about(12);
        assert_eq!(of(std::slice::from_ref(&noisy), &two, 12), Some(vec![]));
        two.products.extend(about(13).products);
        assert_eq!(of(&[noisy], &two, 12), Some(vec![Email, Slack]));
    }

    #[test]
    fn hours_are_read_or_refused() {
        for bad in ["", "22-7", "25:00-07:00", "22:00", "22:00-07:00-08:00"] {
            assert!(Hours::parse(bad).is_none(), "{bad}");
        }
    }
}
