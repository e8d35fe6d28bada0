//! What a person reads: what is wrong, since when, what happens next, what to do. Pure.
//!
//! `ja` and `en` say the same; here is what both are put together from. Everything from outside passes
//! [`inert::line`] before it becomes part of a text.

mod en;
mod ja;

use super::inert;
use super::settings::Language;
use crate::domain::{Affected, AlertEvent, AlertKind, AlertLevel, Platform};
use crate::store::alerts::Alert;
use chrono::{DateTime, FixedOffset, Utc};

/// What one alert says, in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// One line: what is wrong.
    pub(super) headline: String,
    /// More about it, a line each.
    pub(super) lines: Vec<String>,
    /// What happens by itself.
    pub(super) next: String,
    /// Commands that help, each with what it does.
    pub(super) to_do: Vec<(String, String)>,
    /// The first products concerned.
    pub(super) products: Vec<String>,
    /// How many more there are.
    pub(super) more: i64,
}

/// What is told about one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) alert: i64,
    pub(super) level: AlertLevel,
    pub(super) event: AlertEvent,
    /// It was over before anybody could be told of it.
    pub(super) over_untold: bool,
    pub(super) said: Said,
}

/// Says an alert.
pub(super) fn tell(alert: &Alert, event: AlertEvent, first: AlertEvent, language: Language) -> Told {
    let over_untold = event == AlertEvent::Recovered && first == AlertEvent::Opened;
    let words = Words::of(alert);
    let said = match language {
        Language::Ja => ja::said(alert, &words, event),
        Language::En => en::said(alert, &words, event),
    };
    Told {
        alert: alert.id,
        level: alert.level,
        event,
        over_untold,
        said,
    }
}

/// An alert as doors show it: its row, and what it says.
#[must_use]
pub fn described(alert: &Alert, language: Language) -> serde_json::Value {
    let event = if alert.resolved_at.is_some() && alert.kind != AlertKind::Change {
        AlertEvent::Recovered
    } else {
        AlertEvent::Opened
    };
    let said = tell(alert, event, event, language).said;
    let mut shown = serde_json::to_value(alert).unwrap_or_default();
    if let Some(fields) = shown.as_object_mut() {
        let to_do: Vec<_> = said
            .to_do
            .iter()
            .map(|(command, does)| serde_json::json!({ "command": command, "does": does }))
            .collect();
        fields.insert("headline".to_owned(), said.headline.into());
        fields.insert("next".to_owned(), said.next.into());
        fields.insert("to_do".to_owned(), to_do.into());
    }
    shown
}

/// The variable parts of a text, made inert.
struct Words {
    platform: String,
    /// As commands take it.
    name: String,
    code: String,
    message: Option<String>,
    since: String,
    at: Option<String>,
    then: Option<String>,
    services: String,
    products: Vec<String>,
    /// Products not named.
    more: i64,
}

impl Words {
    fn of(alert: &Alert) -> Self {
        let facts = &alert.facts;
        let named = i64::try_from(facts.products.len()).unwrap_or(i64::MAX);
        // Troubles without products name none; then there are no more of them either.
        let counted = matches!(
            alert.kind,
            AlertKind::Hold | AlertKind::MassOutOfStock | AlertKind::DeadLetter
        );
        Self {
            platform: alert
                .platform
                .as_deref()
                .map_or_else(|| "zaikoban".to_owned(), shop),
            name: alert
                .platform
                .as_deref()
                .map_or_else(|| "NAME".to_owned(), inert::line),
            code: facts.code.as_deref().map(inert::line).unwrap_or_default(),
            message: facts
                .message
                .as_deref()
                .map(inert::line)
                .filter(|m| !m.is_empty()),
            since: time(alert.since),
            at: facts.at.map(time),
            then: facts.then.as_deref().map(inert::line),
            services: facts
                .services
                .iter()
                .map(|s| shop(s))
                .collect::<Vec<_>>()
                .join(", "),
            products: facts.products.iter().map(product).collect(),
            more: if counted {
                alert.count.saturating_sub(named).max(0)
            } else {
                0
            },
        }
    }
}

/// What lets us in again at the platform of this name.
fn sign_in(name: &str) -> String {
    match name.parse::<Platform>() {
        Ok(platform) => platform.sign_in_command(),
        Err(_no_platform) => format!("zaikoban credentials set {name}"),
    }
}

/// What gives the platform of this name another secret, with the day on which that ends.
fn renew(name: &str) -> String {
    match name.parse::<Platform>() {
        Ok(platform) => platform.renew_command(),
        Err(_no_platform) => sign_in(name),
    }
}

/// What says that the secret had been replaced before, and until when the new one holds.
fn new_end(name: &str) -> String {
    match name.parse::<Platform>() {
        Ok(platform) => platform.end_command(),
        Err(_no_platform) => sign_in(name),
    }
}

fn product(product: &Affected) -> String {
    format!("{}  {}", product.id, inert::line(&product.title))
}

/// A service's name as people know it.
fn shop(name: &str) -> String {
    match name {
        "yahoo_auction" => "Yahoo! Auctions".to_owned(),
        "amazon" => "Amazon".to_owned(),
        "ebay" => "eBay".to_owned(),
        "mercari" => "Mercari Shops".to_owned(),
        "amazon_seller" => "Amazon (seller)".to_owned(),
        other => inert::line(other),
    }
}

/// A moment in Japan.
pub(super) fn time(at: DateTime<Utc>) -> String {
    match FixedOffset::east_opt(9 * 3_600) {
        Some(japan) => at.with_timezone(&japan).format("%Y-%m-%d %H:%M JST").to_string(),
        None => at.to_rfc3339(),
    }
}

/// A subject of one line: level, machine, what is wrong.
pub(super) fn subject(told: &[Told], host: &str, language: Language) -> String {
    let host = inert::line(host);
    match told {
        [one] => {
            let mark = match language {
                Language::Ja => ja::mark(one),
                Language::En => en::mark(one),
            };
            format!("[{mark}] {host}: {}", one.said.headline)
        }
        many => {
            let worst = many.iter().map(|t| t.level).max().unwrap_or(AlertLevel::Info);
            match language {
                Language::Ja => ja::many(many.len(), worst, &host),
                Language::En => en::many(many.len(), worst, &host),
            }
        }
    }
}

/// The headings of the parts.
pub(super) struct Headings {
    pub(super) next: &'static str,
    pub(super) to_do: &'static str,
    pub(super) products: &'static str,
    pub(super) more: fn(i64) -> String,
    pub(super) footer: fn(&str) -> String,
}

pub(super) fn headings(language: Language) -> Headings {
    match language {
        Language::Ja => ja::HEADINGS,
        Language::En => en::HEADINGS,
    }
}

/// The word for what a message is about: a level, or that it is over.
pub(super) fn mark(told: &Told, language: Language) -> String {
    match language {
        Language::Ja => ja::mark(told),
        Language::En => en::mark(told),
    }
}

/// What `alerts test` says.
pub(super) fn test(language: Language) -> Said {
    match language {
        Language::Ja => ja::test(),
        Language::En => en::test(),
    }
}

/// That the database is away, or is back: told while no alert can be written.
pub(super) fn database(since: DateTime<Utc>, reason: &str, over: bool, language: Language) -> Said {
    let (since, reason) = (time(since), inert::line(reason));
    match language {
        Language::Ja => ja::database(&since, &reason, over),
        Language::En => en::database(&since, &reason, over),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::inert::hostile::HOSTILE;
    use crate::domain::{AlertFacts, AlertStatus, HoldReason, ProductId};

    pub(super) fn alert(kind: AlertKind, code: &str, title: &str) -> Alert {
        let at: DateTime<Utc> = "2026-11-22T18:04:05Z".parse().unwrap();
        Alert {
            id: 7,
            fingerprint: String::new(),
            kind,
            level: AlertLevel::Error,
            status: AlertStatus::Open,
            platform: Some("ebay".to_owned()),
            count: 37,
            facts: AlertFacts {
                code: Some(code.to_owned()),
                message: Some(title.to_owned()),
                products: vec![Affected {
                    id: ProductId(12),
                    title: title.to_owned(),
                }],
                at: Some(at),
                then: Some("recheck".to_owned()),
                services: vec!["ebay".to_owned(), title.to_owned()],
            },
            since: at,
            last_seen_at: at,
            gone_since: None,
            told_at: None,
            told_level: None,
            told_count: 0,
            times_told: 0,
            acknowledged_by: None,
            acknowledged_at: None,
            resolved_by: None,
            resolved_at: None,
            note: None,
        }
    }

    fn lines(said: &Said) -> Vec<String> {
        let mut all = vec![said.headline.clone(), said.next.clone()];
        all.extend(said.lines.clone());
        all.extend(said.products.clone());
        all.extend(
            said.to_do
                .iter()
                .flat_map(|(command, does)| [command.clone(), does.clone()]),
        );
        all
    }

    /// Every kind, and every reason of a hold, says what, since when, what next and what to do, in both languages.
    #[test]
    fn every_kind_says_what_since_when_what_next_and_what_to_do() {
        let reasons = HoldReason::ALL.iter().map(|r| (AlertKind::Hold, r.as_str()));
        let kinds = AlertKind::ALL.iter().map(|k| (*k, "some_code"));
        for (kind, code) in reasons.chain(kinds) {
            for language in [Language::Ja, Language::En] {
                let told = tell(
                    &alert(kind, code, "title"),
                    AlertEvent::Opened,
                    AlertEvent::Opened,
                    language,
                );
                let said = &told.said;
                assert!(
                    !said.headline.is_empty() && !said.next.is_empty(),
                    "{kind} {code} {language}"
                );
                assert!(
                    kind == AlertKind::Change || said.to_do.iter().any(|(c, _)| c.starts_with("zaikoban ")),
                    "{kind} {code} {language}"
                );
                assert!(
                    lines(said).iter().any(|l| l.contains("2026-11-23 03:04 JST")),
                    "{kind} {code}: {said:?}"
                );
                assert!(said.headline.chars().count() < 120, "{}", said.headline);
                let japanese = said
                    .headline
                    .chars()
                    .any(|c| ('\u{3040}'..='\u{9fff}').contains(&c));
                assert_eq!(japanese, language == Language::Ja, "{}", said.headline);
                let over = tell(
                    &alert(kind, code, "t"),
                    AlertEvent::Recovered,
                    AlertEvent::Opened,
                    language,
                );
                assert!(
                    over.over_untold && over.said.headline != said.headline,
                    "{kind}: {}",
                    said.headline
                );
            }
        }
    }

    /// Else the new secret has no end that could be warned of, or still the old one's.
    #[test]
    fn whose_credentials_end_is_told_to_say_until_when_the_new_ones_hold() {
        for code in ["ends_soon", "ended"] {
            for language in [Language::Ja, Language::En] {
                for (platform, command) in [
                    (
                        "amazon",
                        "zaikoban credentials set amazon --field client_secret --ends-on YYYY-MM-DD",
                    ),
                    (
                        "mercari",
                        "zaikoban credentials set mercari --field token --ends-on YYYY-MM-DD",
                    ),
                    ("ebay", "zaikoban credentials authorize ebay"),
                ] {
                    let mut alert = alert(AlertKind::Credentials, code, "");
                    alert.platform = Some(platform.to_owned());
                    let said = tell(&alert, AlertEvent::Opened, AlertEvent::Opened, language).said;
                    let told = |wanted: &str| said.to_do.iter().any(|(told, _)| told == wanted);
                    assert!(told(command), "{said:?}");
                    let end = format!("zaikoban credentials set {platform} --ends-on YYYY-MM-DD");
                    assert!(told(&end), "{said:?}");
                }
            }
        }
    }

    #[test]
    fn a_hostile_title_stays_one_line_in_every_text() {
        for title in HOSTILE {
            for kind in AlertKind::ALL {
                for language in [Language::Ja, Language::En] {
                    let told = tell(
                        &alert(*kind, title, title),
                        AlertEvent::Opened,
                        AlertEvent::Opened,
                        language,
                    );
                    for line in lines(&told.said) {
                        assert!(!line.chars().any(char::is_control), "{kind} {line:?}");
                    }
                    assert!(!subject(&[told], title, language).contains(['\r', '\n']));
                }
            }
        }
    }
}
