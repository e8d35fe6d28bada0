//! The fast lane: which jobs are due, by lane and priority.
//!
//! One sorted set for each priority, the score the time at which a job is due in milliseconds of PostgreSQL's clock, the
//! member its id. It is a copy of what the table says, made by the stager and never believed: who pops an id still has to
//! claim the job in PostgreSQL, which knows whether it is due, waiting, and there at all. So an id that stands here twice,
//! or that is a week old, costs a look.
//!
//! Every script touches a bounded number of entries ([`MOST`] for a pop), however long the sets are: a script keeps the
//! whole server busy while it runs.

use super::link::{Ask, KEYS_LAST, Link, millis};
use super::status::Counted;
use super::trouble::Trouble;
use crate::domain::JobId;
use crate::store::jobs::Lane;
use deadpool_redis::redis::{Pipeline, Script};
use std::sync::LazyLock;

/// The priorities there are.
pub const PRIORITIES: std::ops::RangeInclusive<i16> = 1..=10;
/// The most that one pop gives.
pub const MOST: usize = 1_000;
/// Entries in one command, and commands in one sending: a server that is not that fast is not fast enough.
const PUT_AT_ONCE: usize = 500;
const SEND_AT_ONCE: usize = 4_000;

/// Takes what the shares give, in their order, then what is left over by priority. `unpack` never sees more than 250.
static POP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now, left = ARGV[1], tonumber(ARGV[2])
         local out, heads = {}, {}
         local function take(key, most)
           most = math.min(most, left)
           while most > 0 do
             local wanted = math.min(most, 250)
             local ids = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, wanted)
             if #ids == 0 then return end
             redis.call('ZREM', key, unpack(ids))
             for i = 1, #ids do out[#out + 1] = ids[i] end
             left, most = left - #ids, most - #ids
             if #ids < wanted then return end
           end
         end
         for i = 3, #ARGV, 2 do take(KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 1])) end
         for p = 1, #KEYS do take(KEYS[p], left) end
         for p = 1, #KEYS do
           local head = redis.call('ZRANGE', KEYS[p], 0, 0, 'WITHSCORES')
           heads[p] = head[2] or ''
         end
         return { out, heads }",
    )
});

/// A job that is due, or will be soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The job.
    pub job: JobId,
    /// 1 (first) to 10 (last).
    pub priority: i16,
    /// When, in milliseconds of PostgreSQL's clock.
    pub at_ms: i64,
}

/// What a pop gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Popped {
    /// Ids to claim, the most urgent first.
    pub jobs: Vec<JobId>,
    /// For each priority that has something left, when the oldest of it is or was due.
    pub heads: Vec<(i16, i64)>,
}

/// Takes up to `limit` ids that are due at `now_ms`, by the shares of the priorities.
///
/// What was taken stands there no more; whoever cannot claim it leaves it to the stager.
///
/// # Errors
/// When Redis is away or does not do it.
pub async fn pop(
    link: &Link,
    lane: Lane,
    shares: &[(i16, usize)],
    limit: usize,
    now_ms: i64,
) -> Result<Popped, Trouble> {
    let limit = limit.min(MOST);
    let mut args = vec![now_ms.to_string(), limit.to_string()];
    let known = shares
        .iter()
        .filter(|(priority, _)| PRIORITIES.contains(priority));
    for (priority, quota) in known.take(2 * usize::from(PRIORITIES.end().unsigned_abs())) {
        args.extend([priority.to_string(), quota.to_string()]);
    }
    let ask = Ask {
        script: &POP,
        keys: keys(link, lane),
        args,
    };
    let (ids, heads): (Vec<Vec<u8>>, Vec<Vec<u8>>) = link.ask(&ask).await?;
    let jobs: Vec<JobId> = ids.iter().filter_map(|id| number(id)).map(JobId).collect();
    // What is no number was put there by somebody else, and is gone by now.
    Counted::add(&link.counted().foreign, ids.len().saturating_sub(jobs.len()));
    let heads = PRIORITIES
        .zip(&heads)
        .filter_map(|(p, due)| Some((p, score(due)?)));
    Ok(Popped {
        jobs,
        heads: heads.collect(),
    })
}

/// Puts jobs there; one that is there already gets its new time.
///
/// # Errors
/// When Redis is away or does not do it. What was put there before stays.
pub async fn put(link: &Link, lane: Lane, due: &[Due]) -> Result<(), Trouble> {
    for some in due.chunks(SEND_AT_ONCE) {
        let mut commands = Pipeline::new();
        for priority in PRIORITIES {
            let key = key(link, lane, priority);
            let own: Vec<(i64, i64)> = some
                .iter()
                .filter(|due| due.priority == priority)
                .map(|due| (due.at_ms, due.job.0))
                .collect();
            for entries in own.chunks(PUT_AT_ONCE) {
                commands.zadd_multiple(&key, entries).ignore();
            }
            if !own.is_empty() {
                commands.cmd("PEXPIRE").arg(&key).arg(millis(KEYS_LAST)).ignore();
            }
        }
        let sent = link.send(&commands).await;
        if let Err(trouble) = &sent
            && !trouble.is_outage()
        {
            // Something else stands under our names: it is removed, and the next filling finds the place free.
            Counted::add(&link.counted().foreign, 1);
            clear(link, lane).await?;
        }
        sent?;
    }
    Ok(())
}

/// Takes everything of a lane away.
///
/// # Errors
/// When Redis is away or does not do it.
pub async fn clear(link: &Link, lane: Lane) -> Result<(), Trouble> {
    let mut commands = Pipeline::new();
    commands.unlink(keys(link, lane)).ignore();
    link.send(&commands).await
}

/// The key of one priority.
#[must_use]
pub fn key(link: &Link, lane: Lane, priority: i16) -> String {
    link.key(format_args!("lane:{lane}:{priority}"))
}

fn keys(link: &Link, lane: Lane) -> Vec<String> {
    PRIORITIES.map(|priority| key(link, lane, priority)).collect()
}

fn number(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number > 0).then_some(number)
}

/// A score: whole milliseconds as we write them, anything as others do.
fn score(text: &[u8]) -> Option<i64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let whole = score.clamp(-9e15, 9e15);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "clamped right above; what is no number becomes 0"
    )]
    let whole = whole as i64;
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_is_no_job_and_no_panic() {
        assert_eq!(number(b"42"), Some(42));
        for foreign in [
            &b"-1"[..],
            b"0",
            b"1.5",
            b"x",
            b"\xff\xfe",
            b"",
            b"99999999999999999999",
        ] {
            assert_eq!(number(foreign), None);
        }
        assert_eq!(score(b"1763800000123"), Some(1_763_800_000_123));
        assert_eq!(score(b""), None);
        for foreign in [&b"inf"[..], b"-inf", b"1e300", b"nan"] {
            assert!(score(foreign).is_some());
        }
    }
}
