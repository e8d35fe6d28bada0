//! The blast radius of what is sent (requirement L4): at most so many listings ended or repriced per hour and day
//! without a person's word.
//!
//! It counts *listings*, not pushes: ten prices for one listing in an hour are one listing touched, and a busy shop is
//! not a broken one. It never stops what a page explains (an auction that ended at its appointment) nor what a person
//! approved; those are not counted either, so five thousand auctions ending at 22:00 leave the whole allowance for what
//! is odd. The ledger's own guard (A6) sits before it and looks at sources; this one looks at shops, whatever the cause:
//! a wrong rule, a wrong rate, a fault of ours.
//!
//! Pure: the window is filled from `sync_log` at the start and kept by hand from then on.

use crate::domain::ListingId;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How many listings may be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RadiusSettings {
    /// At least so many listings an hour, however small the shop.
    pub per_hour: u32,
    /// At least so many a day.
    pub per_day: u32,
    /// Or this share of the destination's listings an hour, if that is more: basis points.
    pub share_per_hour_bp: u32,
    /// Or this share a day.
    pub share_per_day_bp: u32,
}

impl Default for RadiusSettings {
    /// Half of a shop in an hour, all of it in a day, and never fewer than 500: what one bad evening may do at most, with
    /// room for every honest one.
    fn default() -> Self {
        Self {
            per_hour: 500,
            per_day: 1_000,
            share_per_hour_bp: 5_000,
            share_per_day_bp: 10_000,
        }
    }
}

/// What a push does to a listing, as far as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Touch {
    /// Ended, or its quantity set to zero.
    Ended,
    /// Its price moved.
    Repriced,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Of what.
    pub touch: Touch,
    /// Within how many hours.
    pub hours: u32,
    /// Listings touched within them.
    pub listings: usize,
    /// Listings that may be.
    pub limit: usize,
}

/// Which listings were touched within the last day.
#[derive(Clone, Debug, Default)]
pub struct Radius {
    settings: RadiusSettings,
    listings: u64,
    ended: HashMap<ListingId, DateTime<Utc>>,
    repriced: HashMap<ListingId, DateTime<Utc>>,
}

impl Radius {
    /// An empty window.
    #[must_use]
    pub fn new(settings: RadiusSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Other limits from here on, for what was counted too.
    pub fn change(&mut self, settings: RadiusSettings) {
        self.settings = settings;
    }

    /// How many listings the destination has, for the shares.
    pub fn set_listings(&mut self, listings: u64) {
        self.listings = listings;
    }

    /// Remembers that a listing was touched at `at`.
    pub fn count(&mut self, listing: ListingId, touch: Touch, at: DateTime<Utc>) {
        let last = self.touched_mut(touch).entry(listing).or_insert(at);
        *last = at.max(*last);
    }

    /// Forgets what is older than a day.
    pub fn forget(&mut self, now: DateTime<Utc>) {
        let day_ago = now - TimeDelta::days(1);
        self.ended.retain(|_, at| *at > day_ago);
        self.repriced.retain(|_, at| *at > day_ago);
    }

    /// Whether one more listing may be touched at `now`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&self, listing: ListingId, touch: Touch, now: DateTime<Utc>) -> Result<(), Reached> {
        let s = &self.settings;
        for (hours, least, share) in [
            (1, s.per_hour, s.share_per_hour_bp),
            (24, s.per_day, s.share_per_day_bp),
        ] {
            let since = now - TimeDelta::hours(i64::from(hours));
            let touched = self.touched(touch);
            // Touched within the window already: nothing new is touched.
            if touched.get(&listing).is_some_and(|at| *at > since) {
                continue;
            }
            let share = self.listings.saturating_mul(u64::from(share)) / 10_000;
            let limit = usize::try_from(share.max(u64::from(least))).unwrap_or(usize::MAX);
            let listings = touched.values().filter(|at| **at > since).count();
            if listings >= limit {
                return Err(Reached {
                    touch,
                    hours,
                    listings,
                    limit,
                });
            }
        }
        Ok(())
    }

    fn touched(&self, touch: Touch) -> &HashMap<ListingId, DateTime<Utc>> {
        match touch {
            Touch::Ended => &self.ended,
            Touch::Repriced => &self.repriced,
        }
    }

    fn touched_mut(&mut self, touch: Touch) -> &mut HashMap<ListingId, DateTime<Utc>> {
        match touch {
            Touch::Ended => &mut self.ended,
            Touch::Repriced => &mut self.repriced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn radius(per_hour: u32, per_day: u32) -> Radius {
        Radius::new(RadiusSettings {
            per_hour,
            per_day,
            share_per_hour_bp: 0,
            share_per_day_bp: 0,
        })
    }

    #[test]
    fn the_hour_and_the_day_are_each_a_limit_of_their_own() {
        let mut radius = radius(2, 3);
        let morning = at("2026-11-22T00:00:00Z");
        for id in 1..=2 {
            assert_eq!(radius.admit(ListingId(id), Touch::Ended, morning), Ok(()));
            radius.count(ListingId(id), Touch::Ended, morning);
        }
        let reached = radius.admit(ListingId(3), Touch::Ended, morning).unwrap_err();
        assert_eq!((reached.hours, reached.listings, reached.limit), (1, 2, 2));
        let noon = at("2026-11-22T12:00:00Z");
        assert_eq!(radius.admit(ListingId(3), Touch::Ended, noon), Ok(()));
        radius.count(ListingId(3), Touch::Ended, noon);
        assert_eq!(
            radius.admit(ListingId(4), Touch::Ended, noon).unwrap_err().hours,
            24
        );
        let tomorrow = at("2026-11-23T01:00:00Z");
        radius.forget(tomorrow);
        assert_eq!(radius.admit(ListingId(4), Touch::Ended, tomorrow), Ok(()));
    }

    #[test]
    fn a_listing_touched_again_is_nothing_new_and_prices_do_not_count_as_ends() {
        let mut radius = radius(1, 1);
        let now = at("2026-11-22T00:00:00Z");
        radius.count(ListingId(1), Touch::Repriced, now);
        assert_eq!(radius.admit(ListingId(1), Touch::Repriced, now), Ok(()));
        assert!(radius.admit(ListingId(2), Touch::Repriced, now).is_err());
        assert_eq!(radius.admit(ListingId(2), Touch::Ended, now), Ok(()));
    }

    #[test]
    fn a_large_shop_is_measured_by_its_share() {
        let mut radius = Radius::new(RadiusSettings::default());
        radius.set_listings(10_000);
        let now = at("2026-11-22T00:00:00Z");
        for id in 0..5_000 {
            assert_eq!(radius.admit(ListingId(id), Touch::Ended, now), Ok(()));
            radius.count(ListingId(id), Touch::Ended, now);
        }
        assert_eq!(
            radius
                .admit(ListingId(9_999), Touch::Ended, now)
                .unwrap_err()
                .limit,
            5_000
        );
    }
}
