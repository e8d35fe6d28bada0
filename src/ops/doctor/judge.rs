//! What is seen, judged: functions of values, so that each limit can be read and tested by itself.

mod database;
mod machine;
mod service;

pub use database::{answered, away, database_time_zone, durability, horizon, schema, sessions, transactions};
pub(super) use machine::{Space, disk, files, memory, time_zone};
pub use service::{Account, Asked, Outcome, TURN_WITHIN, clock, service};

/// A size as a person reads it.
pub(super) fn size(bytes: u64) -> String {
    const STEPS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let step = STEPS.into_iter().find(|(step, _)| bytes >= *step);
    let Some((step, unit)) = step else {
        return format!("{bytes} bytes");
    };
    let tenths = u128::from(bytes) * 10 / u128::from(step);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A share in percent, rounded up: 85.1 % is more than 85.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let whole = u128::from(whole.max(1));
    let percent = (u128::from(part) * 100).div_ceil(whole);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// A span as a person reads it, from seconds.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else if seconds < 7_200.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.0} h", seconds / 3_600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_shares_and_spans_are_told_plainly() {
        assert_eq!(
            [5, 1 << 10, 1_610_612_736].map(size),
            ["5 bytes", "1.0 KiB", "1.5 GiB"]
        );
        assert_eq!([percent(85, 100), percent(851, 1000), percent(0, 0)], [85, 86, 0]);
        assert_eq!([59.6, 300.0, 90_000.0].map(span), ["60 s", "5 min", "25 h"]);
    }
}
