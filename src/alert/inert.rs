//! Texts from the web, without a sting: for a line, for HTML, for Slack. Pure.
//!
//! A title can hold anything: line ends that would begin a mail header, `<!channel>` that would wake everybody, marks that
//! turn the reading direction of what follows. What is shown is always one line of what can be seen.

/// How much of a text from outside is shown.
const MOST: usize = 300;

/// One line of visible characters, at most 300 of them.
pub(super) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MOST));
    let mut count = 0_usize;
    let mut blank = true;
    for c in text.chars() {
        let c = if c.is_whitespace() || c.is_control() {
            ' '
        } else {
            c
        };
        if is_hidden(c) || (c == ' ' && blank) {
            continue;
        }
        if count == MOST {
            shown.push('…');
            break;
        }
        blank = c == ' ';
        shown.push(c);
        count = count.saturating_add(1);
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// Characters that are not seen and change how others are: direction, joiners that hide, tags, byte order marks.
fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A line that stands between tags or in an attribute.
pub(super) fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A line for Slack: exactly `&`, `<` and `>` are escaped, as Slack asks; without `<` there are no mentions and no links.
pub(super) fn slack(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What a title may try: the one corpus, that of the whole program's tests.
#[cfg(test)]
#[path = "../../tests/it/support/hostile.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the corpus of all tests; this room takes the texts alone"
)]
pub(super) mod hostile;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hostile_text_is_one_line_of_what_can_be_seen() {
        for text in hostile::HOSTILE {
            let line = line(text);
            assert!(
                !line
                    .chars()
                    .any(|c| c.is_control() || is_hidden(c) || "\u{2028}\u{2029}".contains(c)),
                "{line:?}"
            );
            assert!(
                !html(&line).contains('<') && !slack(&line).contains('<'),
                "{line:?}"
            );
        }
        assert_eq!(line("  a \t\r\n b  "), "a b");
        assert_eq!(
            line("日本語 e\u{301} 👨\u{200d}👩"),
            "日本語 e\u{301} 👨\u{200d}👩",
            "what is meant stays"
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_short_line(text in any::<String>()) {
            let shown = line(&text);
            prop_assert!(shown.chars().count() <= MOST + 1);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(line(&shown), shown.clone());
            prop_assert!(!html(&shown).contains(['<', '>', '"', '\'']));
            prop_assert!(!slack(&shown).contains(['<', '>']));
        }
    }
}
