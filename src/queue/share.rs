//! What a batch takes of each priority: strictly the most urgent first, and a share for those that wait too long.
//!
//! Strict order alone lets a flood of urgent jobs keep the others waiting for ever. So a level whose oldest job has been
//! due for longer than [`AGED`] gets a tenth of each batch before anything else is taken; the rest goes in strict order.
//! The most urgent level in which something is due needs no share: it is first anyway. Even if all the others have aged,
//! it keeps a tenth of the batch at least.
//!
//! Pure. What is due comes from [`heads`](crate::store::jobs::heads), read once a second; a share for a level that has
//! been emptied meanwhile leaves room in the batch, which the next claim fills.

use crate::store::jobs::Head;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The highest number of a priority, which is the least urgent.
pub const LEAST_URGENT: i16 = 10;
/// Who has been due for so long gets a share. Long enough that a burst of urgent jobs passes first, short enough that a
/// person who waits for a low one still watches.
pub const AGED: Duration = Duration::from_secs(60);
/// One job in so many.
const SHARE: usize = 10;

/// How many jobs to take of which priority, in this order, of `n` in all: `(priority, quota)`.
///
/// `turn` counts the claims, so that batches smaller than ten still give one in ten over time.
#[must_use]
pub fn quotas(heads: &[Head], n: usize, turn: usize, now: DateTime<Utc>) -> Vec<(i16, usize)> {
    let first = heads.iter().map(|h| h.priority).min();
    let is_aged = |priority: i16| {
        Some(priority) != first
            && heads
                .iter()
                .any(|h| h.priority == priority && waited(h, now) > AGED)
    };
    let share = share_of(n, turn);
    let mut left = n;
    let mut quotas = Vec::with_capacity(usize::from(LEAST_URGENT.unsigned_abs()));
    for priority in (1..=LEAST_URGENT).filter(|p| is_aged(*p)) {
        let quota = share.min(left);
        left = left.saturating_sub(quota);
        if quota > 0 {
            quotas.push((priority, quota));
        }
    }
    if left > 0 {
        let strict = (1..=LEAST_URGENT).filter(|p| !is_aged(*p));
        quotas.extend(strict.map(|p| (p, n)));
    }
    quotas
}

/// How long the oldest due job has waited.
#[must_use]
pub fn oldest_wait(heads: &[Head], now: DateTime<Utc>) -> Duration {
    heads.iter().map(|h| waited(h, now)).max().unwrap_or_default()
}

fn waited(head: &Head, now: DateTime<Utc>) -> Duration {
    now.signed_duration_since(head.due_at)
        .to_std()
        .unwrap_or_default()
}

/// A tenth, rounded up; of fewer than ten, one in every tenth job over the turns.
fn share_of(n: usize, turn: usize) -> usize {
    if n >= SHARE {
        return n.div_ceil(SHARE);
    }
    let done = |turns: usize| turns.wrapping_mul(n) / SHARE;
    done(turn.wrapping_add(1)).saturating_sub(done(turn)).min(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn due(priority: i16, seconds: i64) -> Head {
        Head {
            priority,
            due_at: now() - TimeDelta::seconds(seconds),
        }
    }

    /// What a claim with these quotas takes when every level in `heads` is full.
    fn taken(quotas: &[(i16, usize)], heads: &[Head], n: usize) -> Vec<(i16, usize)> {
        let mut left = n;
        let mut all = Vec::new();
        for (priority, quota) in quotas {
            if heads.iter().any(|h| h.priority == *priority) {
                let got = (*quota).min(left);
                left -= got;
                all.push((*priority, got));
            }
        }
        all
    }

    #[test]
    fn in_strict_order_unless_somebody_waits_too_long() {
        let quotas = quotas(&[due(1, 600), due(5, 59), due(9, 1)], 50, 0, now());
        let strict: Vec<_> = (1..=10).map(|p| (p, 50)).collect();
        assert_eq!(
            quotas, strict,
            "the first needs no share, the others have not aged"
        );
    }

    #[test]
    fn who_waits_too_long_gets_a_tenth_before_the_others() {
        let heads = [due(1, 1), due(5, 61), due(9, 300)];
        let quotas = quotas(&heads, 50, 0, now());
        assert_eq!(quotas[..3], [(5, 5), (9, 5), (1, 50)]);
        assert_eq!(taken(&quotas, &heads, 50), [(5, 5), (9, 5), (1, 40)]);
    }

    #[test]
    fn a_batch_of_one_gives_one_turn_in_ten() {
        let heads = [due(1, 1), due(9, 300)];
        let low = (0..100)
            .filter(|turn| quotas(&heads, 1, *turn, now())[0].0 == 9)
            .count();
        assert_eq!(low, 10);
    }

    proptest! {
        #[test]
        fn the_aged_get_a_tenth_the_most_urgent_keep_theirs_and_nothing_is_taken_twice(
            ages in prop::collection::btree_map(1_i16..=10, 0_i64..200, 1..10), n in 10_usize..1_000, turn: usize,
        ) {
            let heads: Vec<Head> = ages.iter().map(|(p, age)| due(*p, *age)).collect();
            let first = heads[0].priority;
            let quotas = quotas(&heads, n, turn, now());
            let mut seen: Vec<i16> = quotas.iter().map(|(p, _)| *p).collect();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), quotas.len(), "a level stands twice");
            let taken = taken(&quotas, &heads, n);
            prop_assert_eq!(taken.iter().map(|(_, got)| got).sum::<usize>(), n, "full levels fill the batch");
            let got = |p: i16| taken.iter().find(|(q, _)| *q == p).map_or(0, |(_, got)| *got);
            for head in &heads {
                if head.priority != first && ages[&head.priority] > 60 {
                    // the last of nine may find a rounded rest
                    prop_assert!(got(head.priority) * 10 >= n.min(n - 9), "{head:?} {taken:?}");
                }
            }
            prop_assert!(got(first) > 0 || n < 90, "{taken:?}");
        }
    }
}
