//! The day in figures, as a letter: text, HTML, and the one who mails it.
//!
//! It is mailed to the readers of `[alerts.email]` whatever the levels say, because it is no alert. What stands in it comes
//! from the tables; every text of it that came from outside passes `inert::line` first.

mod mailer;
mod words;

use super::channels::Letter;
use super::inert;
use super::settings::Language;
use super::text;
use chrono::{DateTime, NaiveDate, Utc};
pub use mailer::mailer;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use words::{Words, words};

/// The figures, as `daily_summaries` keeps them. What an older version did not write is nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Figures {
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    executions: Vec<Executions>,
    jobs: Jobs,
    pushes: Pushes,
    delay_ms: Option<Delay>,
    changes: Changes,
    errors: Vec<Trouble>,
    critical: Critical,
    products: Products,
    listings: Listings,
    read_back: LookedBack,
    holds_open: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Executions {
    process: String,
    completed: i64,
    partial: i64,
    failed: i64,
    running: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Jobs {
    completed: i64,
    dead: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Pushes {
    accepted: i64,
    rejected: i64,
    failed: i64,
    held: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Delay {
    p50: f64,
    p95: f64,
    longest: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Changes {
    stock: i64,
    price: i64,
    sold_out: i64,
    back: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Trouble {
    code: String,
    platform: Option<String>,
    count: i64,
    message: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Critical {
    new: i64,
    open: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Products {
    monitored: i64,
    in_stock: i64,
    verified: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Listings {
    synced: i64,
    behind: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LookedBack {
    looked: i64,
    drifted: i64,
}

/// A part of the letter: a heading, and lines of a label and what stands beside it.
struct Section {
    heading: &'static str,
    lines: Vec<(String, String)>,
}

/// A day as it is read: one line of subject, text, and HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// One line.
    pub subject: String,
    /// For a terminal.
    pub text: String,
    /// A whole page, without pictures, links or scripts.
    pub html: String,
}

/// Tells a day's figures.
#[must_use]
pub fn told(day: NaiveDate, figures: &Value, host: &str, language: Language) -> Told {
    // What cannot be read is shown as nothing: the figures themselves are kept.
    let figures = Figures::deserialize(figures).unwrap_or_default();
    let words = words(language);
    let host = inert::line(host);
    let subject = words.subject(day, &host, &figures);
    let sections = sections(&figures, &words);
    Told {
        text: plain(&subject, &sections, &figures, &words),
        html: page(&subject, &sections, &figures, &words),
        subject,
    }
}

/// The same as a letter, whose name is the same for every try.
fn letter(day: NaiveDate, written: DateTime<Utc>, told: Told, at: DateTime<Utc>) -> Letter {
    Letter {
        id: format!("summary-{day}-{}", written.timestamp_millis()),
        subject: told.subject,
        text: told.text.replace('\n', "\r\n"),
        html: told.html,
        at,
    }
}

/// A share in percent with one decimal; `None` of nothing.
fn percent(part: i64, whole: i64) -> Option<String> {
    let tenths = part.checked_mul(1_000)?.checked_div(whole)?;
    Some(format!("{}.{} %", tenths / 10, tenths % 10))
}

fn seconds(ms: f64) -> String {
    format!("{:.1} s", ms / 1_000.0)
}

fn sections(f: &Figures, w: &Words) -> Vec<Section> {
    let line = |label: &str, value: String| (label.to_owned(), value);
    let number = |label: &str, n: i64| (label.to_owned(), n.to_string());
    let mut sections = vec![
        Section {
            heading: w.products,
            lines: vec![
                number(w.monitored, f.products.monitored),
                line(w.verified, with_share(f.products.verified, f.products.monitored)),
                number(w.in_stock, f.products.in_stock),
                number(w.stock_changes, f.changes.stock),
                number(w.sold_out, f.changes.sold_out),
                number(w.back, f.changes.back),
                number(w.price_changes, f.changes.price),
            ],
        },
        Section {
            heading: w.listings,
            lines: {
                let sent = f
                    .pushes
                    .accepted
                    .saturating_add(f.pushes.rejected)
                    .saturating_add(f.pushes.failed);
                let mut lines = vec![
                    number(w.synced, f.listings.synced),
                    number(w.behind, f.listings.behind),
                    line(w.accepted, with_share(f.pushes.accepted, sent)),
                    number(w.rejected, f.pushes.rejected),
                    number(w.failed, f.pushes.failed),
                    number(w.held, f.pushes.held),
                    number(w.holds_open, f.holds_open),
                    number(w.looked_back, f.read_back.looked),
                    line(w.drifted, with_share(f.read_back.drifted, f.read_back.looked)),
                ];
                if let Some(delay) = &f.delay_ms {
                    lines.push(line(
                        w.delay,
                        format!(
                            "p50 {}, p95 {}, {} {}",
                            seconds(delay.p50),
                            seconds(delay.p95),
                            w.longest,
                            seconds(delay.longest)
                        ),
                    ));
                }
                lines
            },
        },
        Section {
            heading: w.work,
            lines: {
                let mut lines = vec![line(
                    w.jobs,
                    with_share(f.jobs.completed, f.jobs.completed.saturating_add(f.jobs.dead)),
                )];
                lines.push(number(w.dead, f.jobs.dead));
                lines.extend(f.executions.iter().map(|e| {
                    let told = [
                        (w.completed, e.completed),
                        (w.partial, e.partial),
                        (w.failed, e.failed),
                        (w.running, e.running),
                    ];
                    let told: Vec<String> = told
                        .iter()
                        .filter(|(_, n)| *n > 0)
                        .map(|(word, n)| format!("{word} {n}"))
                        .collect();
                    (inert::line(&e.process), told.join(", "))
                }));
                lines
            },
        },
        Section {
            heading: w.critical,
            lines: vec![
                number(w.critical_new, f.critical.new),
                number(w.critical_open, f.critical.open),
            ],
        },
    ];
    let errors = f.errors.iter().map(|e| {
        let platform = e.platform.as_deref().map(inert::line).unwrap_or_default();
        let label = format!("{} {platform}", inert::line(&e.code));
        let message = e.message.as_deref().map(inert::line).unwrap_or_default();
        (label.trim_end().to_owned(), format!("{} × {message}", e.count))
    });
    let mut errors: Vec<(String, String)> = errors.collect();
    if errors.is_empty() {
        errors.push((w.none.to_owned(), String::new()));
    }
    sections.push(Section {
        heading: w.errors,
        lines: errors,
    });
    sections
}

fn with_share(part: i64, whole: i64) -> String {
    match percent(part, whole) {
        Some(share) => format!("{part} ({share})"),
        None => part.to_string(),
    }
}

fn span(f: &Figures) -> String {
    match (f.from, f.until) {
        (Some(from), Some(until)) => format!("{} – {}", text::time(from), text::time(until)),
        _ => String::new(),
    }
}

fn plain(subject: &str, sections: &[Section], f: &Figures, w: &Words) -> String {
    let mut text = format!("{subject}\n{}\n", span(f));
    for section in sections {
        let _written = write!(text, "\n■ {}\n", section.heading);
        for (label, value) in &section.lines {
            let _written = writeln!(text, "  {label}: {value}");
        }
    }
    let _written = write!(text, "\n{}\n", w.more);
    text
}

fn page(subject: &str, sections: &[Section], f: &Figures, w: &Words) -> String {
    let html = inert::html;
    let mut page = format!(
        "<!DOCTYPE html><html><body style=\"font-family:sans-serif;line-height:1.5;color:#222\">\
         <h2 style=\"font-size:large\">{}</h2><p>{}</p>",
        html(subject),
        html(&span(f))
    );
    for section in sections {
        let _written = write!(
            page,
            "<h3 style=\"margin-bottom:4px\">{}</h3><table>",
            html(section.heading)
        );
        for (label, value) in &section.lines {
            let _written = write!(
                page,
                "<tr><td style=\"padding-right:16px;vertical-align:top\">{}</td><td>{}</td></tr>",
                html(label),
                html(value)
            );
        }
        page.push_str("</table>");
    }
    let _written = write!(
        page,
        "<p style=\"color:#777;font-size:small\">{}</p></body></html>",
        html(w.more)
    );
    page
}

#[cfg(test)]
mod tests {
    use super::super::inert::hostile::HOSTILE;
    use super::*;
    use serde_json::json;

    fn figures(text: &str) -> Value {
        json!({
            "from": "2026-11-21T14:00:00Z", "until": "2026-11-22T14:00:00Z",
            "executions": [{ "process": text, "completed": 3, "failed": 1 }],
            "jobs": { "completed": 999, "dead": 1 },
            "pushes": { "accepted": 40, "rejected": 5, "failed": 5, "held": 2 },
            "delay_ms": { "count": 40, "p50": 800, "p95": 2_400, "longest": 9_000 },
            "changes": { "stock": 12, "price": 34, "sold_out": 5, "back": 3 },
            "errors": [{ "code": text, "platform": text, "count": 7, "message": text }],
            "critical": { "new": 1, "open": 2 },
            "products": { "monitored": 300, "in_stock": 250, "verified": 299 },
            "listings": { "synced": 200, "behind": 4 }, "holds_open": 6,
            "read_back": { "looked": 1_000, "drifted": 3 },
        })
    }

    fn day() -> NaiveDate {
        "2026-11-22".parse().unwrap()
    }

    #[test]
    fn a_day_is_told_in_both_languages_with_the_same_figures() {
        let told = |language| told(day(), &figures("contract"), "shop", language);
        let (ja, en) = (told(Language::Ja), told(Language::En));
        for part in [
            "2026-11-22",
            "299 (99.6 %)",
            "40 (80.0 %)",
            "999 (99.9 %)",
            "3 (0.3 %)",
            "p50 0.8 s, p95 2.4 s",
            "7 × contract",
        ] {
            assert!(ja.text.contains(part), "{part}: {}", ja.text);
            assert!(en.text.contains(part), "{part}: {}", en.text);
            assert!(ja.html.contains(part) && en.html.contains(part), "{part}");
        }
        assert!(ja.text.contains("監視中の商品: 300"), "{}", ja.text);
        assert!(en.text.contains("Products watched: 300"), "{}", en.text);
        assert!(ja.subject.contains("日次レポート") && en.subject.contains("Daily summary"));
    }

    #[test]
    fn a_day_without_anything_is_told_too() {
        let told = told(day(), &json!({}), "shop", Language::En);
        assert!(told.text.contains("Products watched: 0"), "{}", told.text);
        assert!(!told.text.contains('%'), "{}", told.text);
    }

    #[test]
    fn hostile_texts_add_no_markup_and_no_lines() {
        let usual = told(day(), &figures("x"), "shop", Language::Ja);
        for text in HOSTILE {
            let told = told(day(), &figures(text), text, Language::Ja);
            assert_eq!(
                told.html.matches('<').count(),
                usual.html.matches('<').count(),
                "{text:?}"
            );
            assert_eq!(told.text.lines().count(), usual.text.lines().count(), "{text:?}");
            assert!(!told.subject.chars().any(char::is_control), "{text:?}");
        }
    }
}
