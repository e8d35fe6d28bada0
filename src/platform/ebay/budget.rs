//! How often a listing may still be revised today.
//!
//! eBay takes 250 revisions of one listing in one calendar day of the Pacific time zone and then refuses the rest until
//! midnight there. A listing that sells out after that would stay on sale, so 25 of the 250 are kept for zeros. The
//! count lives in the listing's row (`revisions_day`, `revisions`); whoever sends a revision counts it before sending,
//! because a revision whose answer was lost may have been counted over there too.
//!
//! Guarantees: a zero is refused only when all 250 are used; nothing else is allowed while fewer than 26 are left; a
//! clock that goes back a day never gives revisions back.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::America::Los_Angeles;

/// What eBay takes for one listing in one Pacific day.
pub const REVISIONS_PER_DAY: u32 = 250;
/// How many of them only a quantity of zero may use.
pub const KEPT_FOR_ZEROS: u32 = 25;

/// What a revision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It sets the quantity to zero, or ends the listing.
    Zero,
    /// Everything else.
    Other,
}

/// The revisions counted for one listing, as its row holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    /// The Pacific day that `used` counts; `None` before the first revision.
    pub day: Option<NaiveDate>,
    /// Revisions sent on that day.
    pub used: u32,
}

impl Revisions {
    /// Revisions that count on `today`. A `day` after today (the clock went back) counts as today.
    #[must_use]
    pub fn used_on(self, today: NaiveDate) -> u32 {
        match self.day {
            Some(day) if day >= today => self.used,
            _ => 0,
        }
    }

    /// Whether one more revision of this kind may be sent on `today`, a [`pacific_day`].
    #[must_use]
    pub fn allow(self, kind: Kind, today: NaiveDate) -> bool {
        let limit = match kind {
            Kind::Zero => REVISIONS_PER_DAY,
            Kind::Other => REVISIONS_PER_DAY - KEPT_FOR_ZEROS,
        };
        self.used_on(today) < limit
    }

    /// The count after one more revision on `today`.
    #[must_use]
    pub fn spend(self, today: NaiveDate) -> Self {
        Self {
            day: Some(self.day.map_or(today, |day| day.max(today))),
            used: self.used_on(today).saturating_add(1),
        }
    }

    /// The count after eBay said that the day's revisions are used up, whatever we had counted.
    #[must_use]
    pub fn exhaust(self, today: NaiveDate) -> Self {
        Self {
            used: REVISIONS_PER_DAY,
            ..self.spend(today)
        }
    }
}

/// The calendar day in California at `now`.
#[must_use]
pub fn pacific_day(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&Los_Angeles).date_naive()
}

/// When the Pacific day after the one of `now` begins, and with it a new count.
#[must_use]
pub fn next_day_begins(now: DateTime<Utc>) -> DateTime<Utc> {
    pacific_day(now)
        .checked_add_days(Days::new(1))
        .map(|day| day.and_time(NaiveTime::MIN))
        .and_then(|midnight| Los_Angeles.from_local_datetime(&midnight).earliest())
        .map_or(now + TimeDelta::days(1), |at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn the_day_turns_at_midnight_in_california_in_winter_and_in_summer() {
        for (now, expected) in [
            ("2026-01-15T07:59:59Z", "2026-01-14"),
            ("2026-01-15T08:00:00Z", "2026-01-15"),
            ("2026-07-15T06:59:59Z", "2026-07-14"),
            ("2026-07-15T07:00:00Z", "2026-07-15"),
        ] {
            assert_eq!(pacific_day(at(now)), day(expected), "{now}");
        }
    }

    #[test]
    fn f4_the_next_day_begins_after_23_24_or_25_hours() {
        for (now, expected) in [
            ("2026-01-15T08:00:00Z", "2026-01-16T08:00:00Z"),
            ("2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z"),
            ("2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"),
        ] {
            assert_eq!(next_day_begins(at(now)), at(expected), "{now}");
        }
    }

    #[test]
    fn the_last_25_are_for_zeros_and_the_251st_is_for_nobody() {
        let today = day("2026-11-22");
        let mut count = Revisions::default();
        let (mut others, mut zeros) = (0, 0);
        while count.allow(Kind::Other, today) {
            count = count.spend(today);
            others += 1;
        }
        while count.allow(Kind::Zero, today) {
            count = count.spend(today);
            zeros += 1;
        }
        assert_eq!((others, zeros), (225, 25));
        assert!(count.allow(Kind::Other, day("2026-11-23")));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_back() {
        let count = Revisions {
            day: Some(day("2026-11-22")),
            used: REVISIONS_PER_DAY,
        };
        assert!(!count.allow(Kind::Zero, day("2026-11-21")));
        assert_eq!(count.spend(day("2026-11-21")).day, Some(day("2026-11-22")));
    }

    #[test]
    fn an_exhausted_day_ends_even_the_zeros_until_the_next() {
        let count = Revisions::default().exhaust(day("2026-11-22"));
        assert!(!count.allow(Kind::Zero, day("2026-11-22")));
        assert!(count.allow(Kind::Zero, day("2026-11-23")));
    }

    proptest! {
        #[test]
        fn what_is_allowed_for_others_is_allowed_for_zeros(used in 0_u32..1000, back in 0_u64..3) {
            let today = day("2026-11-22");
            let count = Revisions { day: today.checked_sub_days(Days::new(back)), used };
            prop_assert!(!count.allow(Kind::Other, today) || count.allow(Kind::Zero, today));
            prop_assert!(count.spend(today).used_on(today) == count.used_on(today) + 1);
        }

        #[test]
        fn the_next_day_is_always_the_day_after(seconds in 0_i64..4_000_000_000) {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            let next = next_day_begins(now);
            prop_assert!(next > now);
            prop_assert_eq!(pacific_day(next), pacific_day(now).succ_opt().unwrap());
            prop_assert_eq!(pacific_day(next - TimeDelta::seconds(1)), pacific_day(now));
        }
    }
}
