//! Numbers, times and texts as pages write them.

use crate::simulator::world::{Micros, calendar};
use chrono::{DateTime, Datelike, FixedOffset, Timelike};
use std::io::Write;

/// Writes into a vector, which cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        drop(write!($out, $($arg)*))
    };
}
pub(super) use put;

/// A number with a comma between each three digits.
pub(super) fn commas(out: &mut Vec<u8>, number: u32) {
    let digits = number.to_string();
    for (i, digit) in digits.bytes().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(b',');
        }
        out.push(digit);
    }
}

/// Microseconds as JSON seconds with three decimals.
pub(super) fn seconds(out: &mut Vec<u8>, micros: Micros) {
    let sign = if micros < 0 { "-" } else { "" };
    let millis = micros.unsigned_abs() / 1_000;
    put!(out, "{sign}{}.{:03}", millis / 1_000, millis % 1_000);
}

pub(super) fn iso(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    date(out, t);
    out.push(b'T');
    time(out, t);
    out.extend_from_slice(b"+09:00");
}

pub(super) fn plain(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    date(out, t);
    out.push(b' ');
    time(out, t);
}

pub(super) fn date(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    put!(out, "{:04}-{:02}-{:02}", t.year(), t.month(), t.day());
}

pub(super) fn time(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    put!(out, "{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second());
}

pub(super) fn long(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    let (day, hour) = (weekday(t), t.hour());
    put!(
        out,
        "{}年{}月{}日（{day}）{hour}時{:02}分",
        t.year(),
        t.month(),
        t.day(),
        t.minute()
    );
}

pub(super) fn weekday(t: &DateTime<FixedOffset>) -> char {
    match t.weekday() {
        chrono::Weekday::Mon => '月',
        chrono::Weekday::Tue => '火',
        chrono::Weekday::Wed => '水',
        chrono::Weekday::Thu => '木',
        chrono::Weekday::Fri => '金',
        chrono::Weekday::Sat => '土',
        chrono::Weekday::Sun => '日',
    }
}

/// Japan keeps one offset all year.
pub(super) fn japan(at: Micros) -> DateTime<FixedOffset> {
    let offset = FixedOffset::east_opt(9 * 3_600);
    let at = calendar(at);
    offset.map_or_else(|| at.fixed_offset(), |o| at.with_timezone(&o))
}

/// `text` as it may stand between tags and in attributes.
pub(super) fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// `text` as the inside of a JSON string that may stand in a script element.
pub(super) fn script_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or("");
    inner
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
