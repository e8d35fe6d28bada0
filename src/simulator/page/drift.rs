//! Pages after a release that nobody announced: the same page, told in other words.

use crate::simulator::draw::one_of;
use crate::simulator::faults::Drift;

/// `page` as it looks after `drift`; `word` chooses when any will do.
pub(in crate::simulator) fn drifted(page: &[u8], drift: Drift, word: u64) -> Vec<u8> {
    let text = String::from_utf8_lossy(page);
    let drift = match drift {
        Drift::Any => one_of(word, &Drift::ALL, Drift::DropQuantity),
        chosen => chosen,
    };
    let text = match drift {
        Drift::RenameBidorbuy => text.replace("\"bidorbuy\":", "\"buyoutPrice\":"),
        Drift::DropQuantity => drop_number(&text, "\"quantity\":"),
        Drift::RetypePrice => quote_number(&text, "\"price\":"),
        Drift::NullEndTime => null_text(&text, "\"endTime\":\"", 'T'),
        Drift::UnknownStatus => ["open", "closed"].iter().fold(text.into_owned(), |t, word| {
            t.replace(&format!("\"status\":\"{word}\""), "\"status\":\"suspend\"")
        }),
        Drift::DropIsStore => text
            .replace("\"isStore\":true,", "")
            .replace("\"isStore\":false,", ""),
        Drift::MoveItem => text.replace("\"detail\":{\"isFetching\"", "\"itemDetail\":{\"isFetching\""),
        Drift::RenameScript => text.replace("id=\"__NEXT_DATA__\"", "id=\"__APP_DATA__\""),
        Drift::DropPageData => text.replace("var pageData = ", "var zkData = "),
        Drift::Disagree | Drift::Any => text.replacen("\"price\":\"", "\"price\":\"9", 2),
    };
    text.into_bytes()
}

/// Rewrites each `key` that is followed by a whole number; `rewrite` gets the digits.
fn each_number(text: &str, key: &str, rewrite: impl Fn(&mut String, &str)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(key) {
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = after.split_at_checked(digits).unwrap_or((after, ""));
        if number.is_empty() {
            out.push_str(key);
            rest = after;
        } else {
            rewrite(&mut out, number);
            rest = behind;
        }
    }
    out.push_str(rest);
    out
}

fn drop_number(text: &str, key: &str) -> String {
    // Keeps the comma right: the key's place is taken by one that nobody reads.
    each_number(text, key, |out, _| out.push_str("\"unitKind\":0"))
}

fn quote_number(text: &str, key: &str) -> String {
    each_number(text, key, |out, number| {
        out.push_str(key);
        out.push('"');
        out.push_str(number);
        out.push('"');
    })
}

/// Replaces the texts behind `key` that hold `mark` by null.
fn null_text(text: &str, key: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(key) {
        out.push_str(before);
        match after.split_once('"') {
            Some((value, behind)) if value.contains(mark) => {
                out.push_str(key.trim_end_matches('"'));
                out.push_str("null");
                rest = behind;
            }
            _ => {
                out.push_str(key);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}
