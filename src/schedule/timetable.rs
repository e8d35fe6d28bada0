//! The time-table: what fires when, in which zone, and what becomes of a firing that was missed. Pure.
//!
//! An entry's moments are those of a cron expression of five fields (minute, hour, day, month, day of the week) in the
//! table's zone. Where the zone changes its clocks:
//!
//! - **An hour that is left out** (02:00 becomes 03:00): an entry at a fixed time in it fires once, at the first moment
//!   behind the gap. One that repeats within hours (`*/5 * * * *`) goes on behind the gap, without catching up.
//! - **An hour that comes twice**: an entry at a fixed time fires at the first of the two and not again; one that repeats
//!   within hours fires in both.
//!
//! In Asia/Tokyo no hour is ever left out or comes twice.

use crate::domain::{UnknownName, names};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use std::{fmt, str::FromStr};

names!(
    /// What the time-table can do.
    ScheduleName {
        /// Have every product looked at.
        StockSweep = "stock_sweep",
        /// Work out every listing's price anew.
        PriceSweep = "price_sweep",
        /// Read listings back, and compare them with what is believed.
        Reconcile = "reconcile",
        /// Judge all products and listings, and write a report.
        Validation = "validation",
        /// Look at everything the daemon stands on.
        Health = "health",
        /// Remove what is old, and keep the tables in order.
        CleanUp = "clean_up",
        /// Write and mail the day's figures.
        DailySummary = "daily_summary",
        /// Save the database.
        Backup = "backup",
        /// Read the exchange rates of the source that the settings name.
        ExchangeRates = "exchange_rates",
    }
);
names!(
    /// What becomes of firings that were missed: the daemon was down, the entry paused, a clock jumped.
    Missed {
        /// Nothing: the next moment of the table is the next firing.
        Skip = "skip",
        /// One firing stands for all of them.
        Once = "once",
    }
);

/// Moments by a cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron(croner::Cron);

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub cron: Cron,
    /// Whether it fires by itself; by hand it always can.
    pub enabled: bool,
    /// What becomes of missed firings.
    pub missed: Missed,
    /// How long one run may take.
    pub limit: Duration,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    /// The zone that the expressions are meant in.
    pub zone: Tz,
    /// Every name has its entry.
    pub entries: BTreeMap<ScheduleName, Entry>,
}

/// What an entry is unless the settings say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// When.
    pub cron: &'static str,
    /// What becomes of missed firings.
    pub missed: Missed,
    /// How long one run may take, in seconds.
    pub limit_s: u64,
}

// === impl ScheduleName ===

impl ScheduleName {
    /// What it is unless the settings say otherwise. What only refreshes is skipped when it was missed, because the next
    /// comes soon; what leaves a hole (a report, a day's summary, a backup) is made up for once.
    #[must_use]
    pub fn usual(self) -> Usual {
        let (cron, missed, limit_s) = match self {
            Self::StockSweep => ("0 8,14,20 * * *", Missed::Skip, 5 * 3_600),
            Self::PriceSweep => ("0 9,15,21 * * *", Missed::Once, 3_600),
            Self::Validation => ("0 2 * * *", Missed::Once, 3_600),
            // the quiet hours of Japan, behind the backup and the clean-up
            Self::Reconcile => ("30 3 * * *", Missed::Skip, 5 * 3_600),
            Self::Health => ("*/5 * * * *", Missed::Skip, 120),
            Self::CleanUp => ("0 3 * * *", Missed::Once, 2 * 3_600),
            Self::DailySummary => ("0 23 * * *", Missed::Once, 600),
            Self::Backup => ("0 1 * * 0", Missed::Once, 4 * 3_600),
            // The bank writes at about 16:00 in Frankfurt: at night here, and once more for a late one.
            Self::ExchangeRates => ("20 2,8 * * *", Missed::Once, 300),
        };
        Usual {
            cron,
            missed,
            limit_s,
        }
    }
}

// === impl Cron ===

impl FromStr for Cron {
    type Err = String;

    /// Reads five fields. What would never fire is refused, too.
    fn from_str(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = Self(parser.parse(text).map_err(|error| error.to_string())?);
        // Any moment serves: what does not fire within the calendar's next four centuries never does.
        match cron.next_after(DateTime::UNIX_EPOCH, Tz::UTC) {
            Some(_) => Ok(cron),
            None => Err("it would never fire".to_owned()),
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Cron {
    /// The first moment behind `now`; `None` when there is none.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let next = self
            .0
            .find_next_occurrence(&now.with_timezone(&zone), false)
            .ok()?;
        // Never a moment that has been: whoever asks again and again would stand still.
        Some(next.to_utc()).filter(|next| *next > now)
    }
}

// === impl Timetable ===

impl Default for Timetable {
    #[expect(
        clippy::expect_used,
        reason = "the expressions are the constants above, and a test reads them"
    )]
    fn default() -> Self {
        let entries = ScheduleName::ALL.iter().map(|name| {
            let usual = name.usual();
            let entry = Entry {
                cron: usual.cron.parse().expect("an expression of five fields"),
                enabled: true,
                missed: usual.missed,
                limit: Duration::from_secs(usual.limit_s),
            };
            (*name, entry)
        });
        Self {
            zone: Tz::Asia__Tokyo,
            entries: entries.collect(),
        }
    }
}

impl Timetable {
    /// The expression with its zone: what a row's next moment was worked out from.
    #[must_use]
    pub fn expression(&self, entry: &Entry) -> String {
        format!("{} {}", entry.cron, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// The next moments, in the zone, as `day hour:minute`.
    fn next(cron: &str, zone: Tz, from: &str, count: usize) -> Vec<String> {
        let cron: Cron = cron.parse().unwrap();
        let mut now = at(from);
        (0..count)
            .map(|_| {
                now = cron.next_after(now, zone).unwrap();
                now.with_timezone(&zone).format("%d %H:%M %z").to_string()
            })
            .collect()
    }

    #[test]
    fn the_usual_table_is_that_of_the_old_system_in_japans_time() {
        let table = Timetable::default();
        assert_eq!(table.entries.len(), ScheduleName::ALL.len());
        // a Saturday noon in Japan
        let now = at("2026-11-21T03:00:00Z");
        let told: Vec<String> = table
            .entries
            .iter()
            .map(|(name, entry)| {
                let next = entry.cron.next_after(now, table.zone).unwrap();
                format!("{name} {}", next.with_timezone(&table.zone).format("%a %d %H:%M"))
            })
            .collect();
        assert_eq!(
            told,
            [
                "stock_sweep Sat 21 14:00",
                "price_sweep Sat 21 15:00",
                "reconcile Sun 22 03:30",
                "validation Sun 22 02:00",
                "health Sat 21 12:05",
                "clean_up Sun 22 03:00",
                "daily_summary Sat 21 23:00",
                "backup Sun 22 01:00",
                "exchange_rates Sun 22 02:20",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_or_never_fires_is_refused_with_the_reason() {
        for bad in [
            "",
            "61 * * * *",
            "0 8 * *",
            "0 0 8 * * *",
            "0 8 * * * 2027",
            "eight",
            "0 0 30 2 *",
            "* * * * *; rm -rf /",
            "0 8 * * 1-",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
        assert!("0 0 29 2 *".parse::<Cron>().is_ok(), "every fourth year");
    }

    /// Faults, row F4: five zones, both of a year's changes of the clock where there are two.
    #[test]
    fn f4_an_hour_left_out_or_repeated_fires_once_in_every_zone() {
        use Tz::{America__New_York, Asia__Tokyo, Australia__Lord_Howe, Europe__Berlin, Europe__London};
        // at a fixed time in the hour that is left out, and in the one that comes twice
        let table: [(Tz, &str, &str, [&str; 2]); 10] = [
            (
                America__New_York,
                "30 2 * * *",
                "2026-03-07T12:00:00Z",
                ["08 03:00 -0400", "09 02:30 -0400"],
            ),
            (
                America__New_York,
                "30 1 * * *",
                "2026-10-31T12:00:00Z",
                ["01 01:30 -0400", "02 01:30 -0500"],
            ),
            (
                Europe__Berlin,
                "30 2 * * *",
                "2026-03-28T12:00:00Z",
                ["29 03:00 +0200", "30 02:30 +0200"],
            ),
            (
                Europe__Berlin,
                "30 2 * * *",
                "2026-10-24T12:00:00Z",
                ["25 02:30 +0200", "26 02:30 +0100"],
            ),
            (
                Europe__London,
                "30 1 * * *",
                "2026-03-28T12:00:00Z",
                ["29 02:00 +0100", "30 01:30 +0100"],
            ),
            (
                Europe__London,
                "30 1 * * *",
                "2026-10-24T12:00:00Z",
                ["25 01:30 +0100", "26 01:30 +0000"],
            ),
            // half an hour only
            (
                Australia__Lord_Howe,
                "15 2 * * *",
                "2026-10-03T00:00:00Z",
                ["04 02:30 +1100", "05 02:15 +1100"],
            ),
            (
                Australia__Lord_Howe,
                "45 1 * * *",
                "2026-04-04T00:00:00Z",
                ["05 01:45 +1100", "06 01:45 +1030"],
            ),
            // where others change their clocks, Japan does not
            (
                Asia__Tokyo,
                "30 2 * * *",
                "2026-03-28T12:00:00Z",
                ["29 02:30 +0900", "30 02:30 +0900"],
            ),
            (
                Asia__Tokyo,
                "30 2 * * *",
                "2026-10-31T12:00:00Z",
                ["01 02:30 +0900", "02 02:30 +0900"],
            ),
        ];
        for (zone, cron, from, expected) in table {
            assert_eq!(next(cron, zone, from, 2), expected, "{zone} {cron} {from}");
        }
    }

    #[test]
    fn what_repeats_within_hours_goes_on_through_a_change_of_the_clock() {
        let (zone, half) = (Tz::America__New_York, "*/30 * * * *");
        assert_eq!(
            next(half, zone, "2026-03-08T06:00:00Z", 3),
            ["08 01:30 -0500", "08 03:00 -0400", "08 03:30 -0400"]
        );
        assert_eq!(
            next(half, zone, "2026-11-01T05:00:00Z", 4),
            [
                "01 01:30 -0400",
                "01 01:00 -0500",
                "01 01:30 -0500",
                "01 02:00 -0500"
            ]
        );
    }

    proptest! {
        #[test]
        fn the_next_moment_is_later_and_none_lies_between(
            at in 0_i64..4_000_000_000,
            zone in prop::sample::select(vec![
                Tz::Asia__Tokyo, Tz::America__New_York, Tz::Europe__London, Tz::Australia__Lord_Howe, Tz::UTC,
            ]),
            cron in prop::sample::select(vec![
                "*/5 * * * *", "0 8,14,20 * * *", "30 2 * * *", "0 1 * * 0", "15 1 31 * *", "0 0 29 2 *",
            ]),
        ) {
            let (now, cron) = (DateTime::from_timestamp(at, 0).unwrap(), cron.parse::<Cron>().unwrap());
            let next = cron.next_after(now, zone).unwrap();
            prop_assert!(next > now);
            // asked from anywhere before it, it is the same
            let between = now + TimeDelta::seconds((next - now).num_seconds() / 2);
            prop_assert_eq!(cron.next_after(between, zone), Some(next));
        }
    }
}
