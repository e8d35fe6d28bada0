//! Chance without state: a number that depends on the seed and on what is asked, never on who asked before.
//!
//! Two runs with one seed make the same decisions however their requests interleave, because each draw is a hash of
//! the seed and of the thing decided (the third request for product 17), not the next number of a shared generator.

use std::time::Duration;

/// One well-mixed word from three (the finaliser of `SplitMix64`, applied once per word).
pub(super) fn mix(seed: u64, a: u64, b: u64) -> u64 {
    [a, b].into_iter().fold(scramble(seed), |state, word| {
        scramble(state ^ scramble(word.wrapping_add(0x632b_e59b_d9b4_e019)))
    })
}

fn scramble(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A share from 0 (inclusive) to 1 (exclusive) out of a word.
pub(super) fn unit(word: u64) -> f64 {
    let high = u32::try_from(word >> 32).unwrap_or(u32::MAX);
    f64::from(high) / 4_294_967_296.0
}

/// A number below `bound` out of a word; 0 when `bound` is 0.
pub(super) fn below(word: u64, bound: u64) -> u64 {
    word.checked_rem(bound).unwrap_or(0)
}

/// The same for small numbers.
pub(super) fn below_u32(word: u64, bound: u32) -> u32 {
    u32::try_from(below(word, u64::from(bound))).unwrap_or(0)
}

/// One member of `list`, chosen by `word`.
pub(super) fn one_of<T: Copy>(word: u64, list: &[T], otherwise: T) -> T {
    let at = usize::try_from(below(word, count(list.len()))).unwrap_or(0);
    list.get(at).copied().unwrap_or(otherwise)
}

/// Seconds as microseconds; what cannot be a span is 0.
pub(super) fn micros(seconds: f64) -> i64 {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|d| i64::try_from(d.as_micros()).ok())
        .unwrap_or(0)
}

/// A waiting time in microseconds with the mean `1 / rate_per_s`; `None` when it never happens.
pub(super) fn waiting(share: f64, rate_per_s: f64) -> Option<i64> {
    (rate_per_s > 0.0).then(|| micros(-(1.0 - share).ln() / rate_per_s).max(1))
}

/// A length as a 64-bit number.
pub(super) fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A small index as a position.
pub(super) fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_spread_evenly_over_neighbouring_questions() {
        let n = 20_000_u32;
        let low = (0..n).filter(|i| unit(mix(7, u64::from(*i), 1)) < 0.25).count();
        assert!((4_700..5_300).contains(&low), "{low}");
    }

    #[test]
    fn each_word_of_the_question_counts() {
        let base = mix(1, 2, 3);
        assert_ne!(base, mix(2, 2, 3));
        assert_ne!(base, mix(1, 3, 3));
        assert_ne!(base, mix(1, 2, 4));
        assert_ne!(base, mix(1, 3, 2));
        assert_eq!(base, mix(1, 2, 3));
    }

    #[test]
    fn waiting_times_have_their_mean_and_never_come_at_rate_zero() {
        assert_eq!(waiting(0.5, 0.0), None);
        let n = 20_000_u64;
        let sum: i64 = (0..n).filter_map(|i| waiting(unit(mix(3, i, 0)), 4.0)).sum();
        let mean = sum / i64::try_from(n).unwrap();
        assert!((240_000..260_000).contains(&mean), "{mean}");
    }
}
