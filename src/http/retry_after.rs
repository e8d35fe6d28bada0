//! `Retry-After`: a server's word on when to come back, honoured within our bounds.

use chrono::{DateTime, NaiveDateTime, Utc};
use std::time::Duration;

/// A server that says "at once" is not taken at its word.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// No header silences a service for longer: a wrong one would mean a day of overselling.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// The three forms of a date that RFC 9110 asks every reader to know.
const DATES: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
];

/// The wait that the headers ask for, within [`RETRY_AFTER_MIN`] and [`RETRY_AFTER_MAX`]; the longest when there are several.
///
/// A number of seconds or a date. A date in the past, a negative number and what cannot be read say nothing (`None`);
/// the caller's own back-off counts then.
#[must_use]
pub fn retry_after<'a>(values: impl IntoIterator<Item = &'a str>, now: DateTime<Utc>) -> Option<Duration> {
    let waits = values.into_iter().filter_map(|value| one(value.trim(), now));
    waits
        .max()
        .map(|wait| wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

fn one(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that no number holds mean a very long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = DATES
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(value, form).ok())?;
    (date.and_utc() - now)
        .to_std()
        .ok()
        .filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 22, 10, 0, 0).unwrap()
    }

    #[test]
    fn each_form_of_the_header_is_understood_or_says_nothing() {
        let seconds = |n| Some(Duration::from_secs(n));
        let table = [
            ("7", seconds(7)),
            (" 7 ", seconds(7)),
            ("0", seconds(1)),
            ("1000000000000", seconds(900)),
            ("99999999999999999999999999", seconds(900)),
            ("Sun, 22 Nov 2026 10:00:30 GMT", seconds(30)),
            ("Sunday, 22-Nov-26 10:00:30 GMT", seconds(30)),
            ("Sun Nov 22 10:00:30 2026", seconds(30)),
            ("Tue, 22 Nov 2033 10:00:00 GMT", seconds(900)),
            ("Sun, 22 Nov 2026 09:59:59 GMT", None),
            ("Sun, 22 Nov 2026 10:00:00 GMT", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("７", None),
        ];
        for (text, expected) in table {
            assert_eq!(retry_after([text], now()), expected, "{text:?}");
        }
    }

    #[test]
    fn of_several_headers_the_longest_readable_counts() {
        assert_eq!(
            retry_after(["3", "60", "garbage"], now()),
            Some(Duration::from_secs(60))
        );
        assert_eq!(retry_after([], now()), None);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_wait_is_within_bounds(text in ".{0,40}") {
            if let Some(wait) = retry_after([text.as_str()], now()) {
                prop_assert!((RETRY_AFTER_MIN..=RETRY_AFTER_MAX).contains(&wait));
            }
        }
    }
}
