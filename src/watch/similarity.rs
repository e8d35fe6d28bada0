//! Whether two titles name the same item.
//!
//! Sellers edit titles all the time: they add 【値下げ】 or 送料無料, switch between full and half width, change case and
//! blanks. None of that makes another item. Another item under the same address has another title altogether. So the
//! titles are folded to one spelling, and compared by how many of their pairs of neighbouring letters they share (the
//! Sørensen–Dice coefficient over bigrams): order of words matters little, a word added matters by its length. Brackets
//! of the kind 【…】 carry advertising more often than names, so the better of "with" and "without" them counts.

use crate::domain::BasisPoints;
use std::collections::HashMap;

/// How alike two titles are: 10000 is equal, 0 has no pair of letters in common.
#[must_use]
pub(super) fn similarity(a: &str, b: &str) -> BasisPoints {
    let whole = dice(&fold(a), &fold(b));
    let (bare_a, bare_b) = (fold(&without_brackets(a)), fold(&without_brackets(b)));
    let bare = if bare_a.is_empty() || bare_b.is_empty() {
        BasisPoints(0)
    } else {
        dice(&bare_a, &bare_b)
    };
    whole.max(bare)
}

/// Twice the number of shared bigrams over the number of all.
fn dice(a: &[char], b: &[char]) -> BasisPoints {
    if a == b {
        return BasisPoints(10_000);
    }
    let mut counts: HashMap<[char; 2], u32> = HashMap::new();
    for pair in a.array_windows_of_two() {
        *counts.entry(pair).or_default() += 1;
    }
    let (mut shared, mut of_b) = (0_u32, 0_u32);
    for pair in b.array_windows_of_two() {
        of_b = of_b.saturating_add(1);
        if let Some(left) = counts.get_mut(&pair).filter(|left| **left > 0) {
            *left -= 1;
            shared = shared.saturating_add(1);
        }
    }
    let of_a = u32::try_from(a.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let all = of_a.saturating_add(of_b).max(1);
    BasisPoints(shared.saturating_mul(20_000) / all)
}

/// Neighbouring pairs without indexing.
trait Pairs {
    fn array_windows_of_two(&self) -> impl Iterator<Item = [char; 2]>;
}

impl Pairs for [char] {
    fn array_windows_of_two(&self) -> impl Iterator<Item = [char; 2]> {
        self.iter().zip(self.iter().skip(1)).map(|(x, y)| [*x, *y])
    }
}

/// One spelling: half width for ASCII, full width for kana, lower case, letters and digits only.
fn fold(text: &str) -> Vec<char> {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Voiced and half-voiced marks after half-width kana join the letter before them.
            '\u{ff9e}' | '\u{3099}' | '\u{309b}' => join(&mut out, 1),
            '\u{ff9f}' | '\u{309a}' | '\u{309c}' => join(&mut out, 2),
            _ => out.extend(
                widen(c)
                    .to_lowercase()
                    .filter(|c| c.is_alphanumeric() || *c == 'ー'),
            ),
        }
    }
    out
}

/// The full-width ASCII and the half-width katakana brought to their common forms.
fn widen(c: char) -> char {
    const KANA: &str = "ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン";
    let code = u32::from(c);
    match code {
        0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
        0xff66..=0xff9d => usize::try_from(code - 0xff66)
            .ok()
            .and_then(|i| KANA.chars().nth(i))
            .unwrap_or(c),
        _ => c,
    }
}

/// Adds the voiced (1) or half-voiced (2) mark to the last kana: カ + ゛ is ガ, ハ + ゜ is パ.
fn join(out: &mut [char], step: u32) {
    if let Some(last) = out.last_mut()
        && matches!(*last, 'か'..='ほ' | 'カ'..='ホ')
        && let Some(voiced) = char::from_u32(u32::from(*last) + step)
    {
        *last = voiced;
    }
}

/// The text outside 【…】 and the like.
fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '【' | '[' | '［' | '〔' | '《' => depth = depth.saturating_add(1),
            '】' | ']' | '］' | '〕' | '》' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_sellers_do_to_a_title_leaves_it_alike() {
        let base = "ニコン Nikon F3 アイレベル フィルムカメラ ボディ";
        for edited in [
            "【値下げ】ニコン Nikon F3 アイレベル フィルムカメラ ボディ",
            "ニコン　Ｎｉｋｏｎ　Ｆ３　アイレベル　フィルムカメラ　ボディ",
            "ﾆｺﾝ NIKON F3 ｱｲﾚﾍﾞﾙ ﾌｨﾙﾑｶﾒﾗ ﾎﾞﾃﾞｨ",
            "★送料無料★ニコン Nikon F3 アイレベル フィルムカメラ ボディ！！美品",
            "Nikon F3 アイレベル ニコン フィルムカメラ ボディ",
            "【即決】【送料無料】【動作確認済み】【おまけ付き】ニコン Nikon F3 アイレベル フィルムカメラ ボディ",
        ] {
            let got = similarity(base, edited);
            assert!(got >= BasisPoints(7_000), "{edited}: {got:?}");
        }
    }

    #[test]
    fn another_item_is_not_alike() {
        let base = "ニコン Nikon F3 アイレベル フィルムカメラ ボディ";
        for other in [
            "ポケモンカード リザードン SAR PSA10",
            "送料無料 ルイヴィトン モノグラム 長財布",
            "メルセデス ベンツ 純正 ホイール 4本セット",
            "x",
        ] {
            let got = similarity(base, other);
            assert!(got < BasisPoints(3_000), "{other}: {got:?}");
        }
    }

    #[test]
    fn two_titles_of_signs_alone_are_told_apart_without_dividing_by_nothing() {
        assert_eq!(similarity("！！！", "？？？"), BasisPoints(10_000));
        assert_eq!(similarity("", "カメラ"), BasisPoints(0));
        assert_eq!(similarity("a", "b"), BasisPoints(0));
    }

    #[test]
    fn half_width_voiced_kana_become_one_letter() {
        assert_eq!(fold("ﾊﾟﾋﾟﾌﾟ ｶﾞ"), fold("パピプ ガ"));
    }

    proptest! {
        #[test]
        fn similarity_is_symmetric_bounded_and_whole_for_equal_titles(a in ".{0,60}", b in ".{0,60}") {
            let there = similarity(&a, &b);
            prop_assert_eq!(there, similarity(&b, &a));
            prop_assert!(there <= BasisPoints(10_000));
            prop_assert_eq!(similarity(&a, &a), BasisPoints(10_000));
        }
    }
}
