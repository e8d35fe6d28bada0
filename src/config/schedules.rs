//! `[schedules]`: what is done at which time, and how long what it leaves behind is kept.

use super::alerts::word_or;
use super::reader::Reader;
use super::settings::SchedulesSettings;
use crate::schedule::{Cron, Entry, Keep, ScheduleName, Timetable};
use chrono_tz::Tz;

pub(super) fn schedules(r: &mut Reader) -> SchedulesSettings {
    let zone = zone(r);
    let entries = ScheduleName::ALL.iter().filter_map(|name| {
        let entry = entry(r, *name)?;
        Some((*name, entry))
    });
    let entries = entries.collect();
    SchedulesSettings {
        table: Timetable { zone, entries },
        keep: Keep {
            executions_days: r.whole("schedules.keep.executions_days", 1..=3_650, 90),
            health_days: r.whole("schedules.keep.health_days", 1..=3_650, 30),
            resolved_days: r.whole("schedules.keep.resolved_days", 1..=3_650, 90),
            summaries_days: r.whole("schedules.keep.summaries_days", 1..=36_500, 730),
            drift_days: r.whole("schedules.keep.drift_days", 1..=3_650, 90),
            backups: r.whole("schedules.keep.backups", 1..=1_000, 4),
        },
    }
}

fn zone(r: &mut Reader) -> Tz {
    let key = "schedules.time_zone";
    let typed = r.text_or(key, "Asia/Tokyo");
    typed.parse().unwrap_or_else(|_unknown| {
        let expected = "a time zone such as \"Asia/Tokyo\" or \"Europe/London\"";
        r.complain(key, &format!("`{}`", typed.escape_debug()), expected, None);
        Tz::Asia__Tokyo
    })
}

/// Reads all of it before it gives up.
fn entry(r: &mut Reader, name: ScheduleName) -> Option<Entry> {
    let usual = name.usual();
    let key = |of: &str| format!("schedules.{name}.{of}");
    let typed = r.text_or(&key("cron"), usual.cron);
    let cron = match typed.parse::<Cron>() {
        Ok(cron) => Some(cron),
        Err(why) => {
            let expected = format!(
                "minute, hour, day, month and day of the week, such as \"{}\" or \"*/15 9-17 * * 1-5\"",
                usual.cron
            );
            let got = format!("`{}` ({why})", typed.escape_debug());
            r.complain(&key("cron"), &got, &expected, None);
            None
        }
    };
    let enabled = r.flag(&key("enabled"), true);
    let missed = word_or(r, &key("missed"), usual.missed);
    let limit = r.seconds(&key("limit_s"), 10..=86_400, usual.limit_s);
    Some(Entry {
        cron: cron?,
        enabled,
        missed,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use crate::schedule::{Missed, ScheduleName, Timetable};

    fn set(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let name = |key: &str| format!("ZAIKOBAN_SCHEDULES__{key}");
        pairs.iter().map(|(k, v)| (name(k), (*v).to_owned())).collect()
    }

    #[test]
    fn the_usual_table_is_what_no_settings_give() {
        let table = load(None, []).unwrap().schedules.table;
        assert_eq!(table, Timetable::default());
    }

    #[test]
    fn an_entry_is_changed_in_each_of_its_parts() {
        let typed = set(&[
            ("TIME_ZONE", "Europe/London"),
            ("BACKUP__CRON", "15 4 * * 1"),
            ("BACKUP__ENABLED", "false"),
            ("BACKUP__MISSED", "skip"),
            ("BACKUP__LIMIT_S", "60"),
        ]);
        let table = load(None, typed).unwrap().schedules.table;
        let backup = &table.entries[&ScheduleName::Backup];
        assert_eq!(table.expression(backup), "15 4 * * 1 Europe/London");
        assert!(!backup.enabled && backup.missed == Missed::Skip && backup.limit.as_secs() == 60);
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_an_example() {
        let typed = set(&[
            ("TIME_ZONE", "Mars/Olympus"),
            ("STOCK_SWEEP__CRON", "every morning"),
            ("HEALTH__CRON", "0 0 30 2 *"),
            ("HEALTH__MISSED", "twice"),
            ("BACKUP__LIMIT_S", "1"),
        ]);
        let problems = load(None, typed).unwrap_err().problems;
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let all = told.join("\n");
        assert_eq!(problems.len(), 5, "{all}");
        for part in [
            "$ZAIKOBAN_SCHEDULES__TIME_ZONE",
            "`schedules.stock_sweep.cron`",
            "\"0 8,14,20 * * *\"",
            "it would never fire",
            "expected one of skip, once",
            "a whole number from 10 to 86400",
        ] {
            assert!(all.contains(part), "{part}:\n{all}");
        }
    }
}
