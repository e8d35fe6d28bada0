//! An alert in the few characters of a text message. Pure.

use crate::alert::channels::Message;
use crate::alert::settings::Language;
use crate::alert::text;

/// At most so many UTF-16 units: three parts of 67, which is what a text has that is not plain Latin letters. More would
/// cost more and be read by nobody.
const MOST_UNITS: usize = 201;

/// What is wrong, where, and the command that shows more. Of several alerts the worst speaks.
pub(super) fn text(message: &Message) -> String {
    let worst = message.told.iter().max_by_key(|told| told.level);
    let Some(worst) = worst else {
        return fit(&message.subject(), "");
    };
    let head = text::subject(std::slice::from_ref(worst), &message.host, message.language);
    let others = message.told.len().saturating_sub(1);
    let mut tail = String::new();
    if others > 0 {
        tail.push_str(&match message.language {
            Language::Ja => format!(" ほか{others}件"),
            Language::En => format!(" and {others} more"),
        });
    }
    if message.delayed_since.is_some() {
        tail.push_str(match message.language {
            Language::Ja => "（遅延）",
            Language::En => " (late)",
        });
    }
    // What is no alert has no number.
    if others > 0 {
        tail.push_str("\nzaikoban alerts");
    } else if worst.alert > 0 {
        tail.push_str(&format!("\nzaikoban alerts show {}", worst.alert));
    }
    fit(&head, &tail)
}

/// `head` and `tail` within the limit; what is too much is cut from the end of `head`.
fn fit(head: &str, tail: &str) -> String {
    let units = |text: &str| text.encode_utf16().count();
    let room = MOST_UNITS.saturating_sub(units(tail));
    if units(head) <= room {
        return format!("{head}{tail}");
    }
    let mut kept = String::new();
    let mut used = 1_usize;
    for c in head.chars() {
        used = used.saturating_add(c.len_utf16());
        if used > room {
            break;
        }
        kept.push(c);
    }
    format!("{}…{tail}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::inert;
    use crate::alert::text::{Said, Told};
    use crate::domain::{AlertEvent, AlertLevel};
    use proptest::prelude::*;

    fn told(alert: i64, level: AlertLevel, headline: &str) -> Told {
        Told {
            alert,
            level,
            event: AlertEvent::Opened,
            over_untold: false,
            said: Said {
                headline: inert::line(headline),
                lines: Vec::new(),
                next: String::new(),
                to_do: Vec::new(),
                products: Vec::new(),
                more: 0,
            },
        }
    }

    fn message(told: Vec<Told>, language: Language) -> Message {
        Message {
            id: "1".to_owned(),
            language,
            host: "shop1".to_owned(),
            told,
            at: "2026-11-22T00:00:00Z".parse().unwrap(),
            delayed_since: None,
        }
    }

    #[test]
    fn a_text_says_level_machine_what_is_wrong_and_how_to_look() {
        let one = told(12, AlertLevel::Critical, "eBay is away");
        let two = told(13, AlertLevel::Error, "3 jobs were given up");
        assert_eq!(
            text(&message(vec![one.clone()], Language::En)),
            "[CRITICAL] shop1: eBay is away\nzaikoban alerts show 12"
        );
        let mut both = message(vec![two, one.clone()], Language::Ja);
        both.delayed_since = Some(both.at);
        assert_eq!(
            text(&both),
            "[緊急] shop1: eBay is away ほか1件（遅延）\nzaikoban alerts"
        );
        let test = Told { alert: 0, ..one };
        assert!(!text(&message(vec![test], Language::En)).contains("show"));
    }

    proptest! {
        #[test]
        fn a_text_of_anything_is_short_and_keeps_the_command(
            headlines in prop::collection::vec(any::<String>(), 1..6), n in 1_i64..1_000_000,
        ) {
            let all: Vec<Told> = headlines.iter().map(|h| told(n, AlertLevel::Critical, h)).collect();
            let one = all.len() == 1;
            let text = text(&message(all, Language::Ja));
            prop_assert!(text.encode_utf16().count() <= MOST_UNITS);
            let tail = if one { format!("\nzaikoban alerts show {n}") } else { "\nzaikoban alerts".to_owned() };
            prop_assert!(text.ends_with(&tail), "{text}");
            prop_assert_eq!(text.lines().count(), 2);
        }
    }
}
