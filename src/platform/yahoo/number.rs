//! Numbers as Japanese pages write them, read strictly: a value or nothing, never a guess.

/// Reads an amount of whole yen: `1,280円`, `￥１，２８０`, `10,000 円（税込）`, `3440`.
///
/// Full-width digits and commas count; commas must stand at the thousands. A range, a decimal point, a sign, a dash, a
/// word, an empty text, and anything beyond 9,999,999,999 are no amount.
pub(super) fn yen(text: &str) -> Option<i64> {
    let text = text.trim();
    let text = text.strip_prefix(['¥', '￥', '\\']).unwrap_or(text);
    let text = text.strip_suffix("（税込）").unwrap_or(text).trim_end();
    let text = text.strip_suffix('円').unwrap_or(text);
    count(text.trim())
}

/// Reads a number that is not negative, below 10^10, with or without commas at the thousands.
pub(super) fn count(text: &str) -> Option<i64> {
    let mut value: i64 = 0;
    let mut digits = 0_u32;
    // Digits since the last comma; a comma needs 1 to 3 before the first and exactly 3 between.
    let mut group = 0_u32;
    let mut commas = false;
    for c in text.chars() {
        if matches!(c, ',' | '，') {
            if (commas && group != 3) || !(1..=3).contains(&group) {
                return None;
            }
            commas = true;
            group = 0;
            continue;
        }
        let digit = match c {
            '０'..='９' => u32::from(c).checked_sub(u32::from('０')),
            _ => c.to_digit(10),
        }?;
        value = value.checked_mul(10)?.checked_add(i64::from(digit))?;
        digits = digits.saturating_add(1);
        group = group.saturating_add(1);
        if digits > 10 {
            return None;
        }
    }
    (digits > 0 && (!commas || group == 3)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn e1_amounts_are_read_or_refused() {
        for (text, amount) in [
            ("3440", Some(3440)),
            ("1,280円", Some(1280)),
            ("1,280 円（税込）", Some(1280)),
            ("￥１，２８０", Some(1280)),
            ("¥0", Some(0)),
            (" 10,000円 ", Some(10_000)),
            ("9,999,999,999", Some(9_999_999_999)),
            ("99999999999", None),
            ("9223372036854775808", None),
            ("", None),
            ("円", None),
            ("-", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("12,80", None),
            (",280", None),
            ("1,,280", None),
            ("1,280,", None),
            ("1280,000", None),
            ("1,000〜2,000円", None),
            ("1,000~2,000", None),
            ("即決", None),
            ("送料別", None),
            ("NaN", None),
            ("1e400", None),
            ("٣", None),
        ] {
            assert_eq!(yen(text), amount, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_page_writes_reads_back(amount in 0_i64..10_000_000_000, wide: bool) {
            let plain = amount.to_string();
            let mut grouped = String::new();
            for (i, c) in plain.chars().enumerate() {
                if i > 0 && (plain.len() - i) % 3 == 0 {
                    grouped.push(if wide { '，' } else { ',' });
                }
                grouped.push(if wide {
                    char::from_u32(u32::from(c) - u32::from('0') + u32::from('０')).unwrap()
                } else {
                    c
                });
            }
            prop_assert_eq!(yen(&format!("{grouped}円")), Some(amount));
            prop_assert_eq!(yen(&plain), Some(amount));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _read = yen(&text);
        }
    }
}
