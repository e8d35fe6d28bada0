//! Titles: what a seller typed, made fit to be stored and compared.

/// The most characters that the tables hold. Yahoo! allows 65 full-width ones, so a longer one is no title.
const LONGEST_CHARS: usize = 500;

/// The title without control characters (PostgreSQL refuses NUL, terminals obey escapes) and without blank ends.
///
/// # Errors
/// When nothing is left, or more than 500 characters.
pub(super) fn clean(raw: &str) -> Result<Box<str>, String> {
    let mut title = String::with_capacity(raw.len());
    for c in raw.trim().chars() {
        match c {
            '\t' | '\n' | '\r' => title.push(' '),
            c if c.is_control() => {}
            c => title.push(c),
        }
    }
    let title = title.trim();
    match title.chars().count() {
        0 => Err("the title is empty".into()),
        1..=LONGEST_CHARS => Ok(title.into()),
        more => Err(format!(
            "the title has {more} characters, expected at most {LONGEST_CHARS}"
        )),
    }
}

/// Whether two texts show the same title: white space apart.
pub(super) fn same(one: &str, other: &str) -> bool {
    let words = |text| str::split_whitespace(text);
    words(one).eq(words(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_go_and_words_stay() {
        assert_eq!(&*clean(" a\0b\u{1b}[31m\tc\r\nd ").unwrap(), "ab[31m c  d");
        assert!(clean(" \0\u{7}\n ").is_err());
        assert!(clean(&"字".repeat(500)).is_ok());
        assert!(clean(&"字".repeat(501)).is_err());
        assert!(same("a  b\n", "a b") && !same("a b", "ab"));
    }
}
