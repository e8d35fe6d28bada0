//! What one node found out about a service, for the others.
//!
//! For each service one record: until when it is left alone, the exponent of the next wait, and when that was written.
//! Of two nodes that find it failing the later end counts. Beside it a key that one node may have at a time: the right to
//! try the service again.

use super::link::{Ask, Link, millis};
use super::trouble::Trouble;
use deadpool_redis::redis::Script;
use std::sync::LazyLock;
use std::time::Duration;

/// Nobody leaves a service alone for longer.
const LONGEST: Duration = Duration::from_secs(86_400);

static TELL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now = time[1] * 1000000 + time[2]
         local till = tonumber(ARGV[1])
         if till > 0 then
           till = now + till
           local known = tonumber(redis.call('HGET', KEYS[1], 'till') or '')
           if known and known > till and known < now + tonumber(ARGV[3]) * 1000 then till = known end
         end
         redis.call('HSET', KEYS[1], 'till', string.format('%.0f', till), 'trips', ARGV[2],
           'at', string.format('%.0f', now))
         redis.call('PEXPIRE', KEYS[1], ARGV[3])
         redis.call('DEL', KEYS[2])
         return 1",
    )
});
static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now = time[1] * 1000000 + time[2]
         local record = redis.call('HMGET', KEYS[1], 'till', 'trips', 'at')
         local till, trips, at = tonumber(record[1] or ''), tonumber(record[2] or ''), tonumber(record[3] or '')
         if not (till and trips and at) then return { 0, 0, 0, 0 } end
         return { math.max(till - now, 0), trips, at, till == 0 and 1 or 0 }",
    )
});
static PROBE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
         if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
         return 0",
    )
});
static RETURN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
         return 0",
    )
});

/// What stands in a service's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateRead {
    /// For how long it is still left alone; `None` when somebody found it answering.
    pub shut_for: Option<Duration>,
    /// The exponent of the next wait.
    pub trips: u32,
    /// When it was written, by the server's clock: another number is other news.
    pub at_us: i64,
}

/// Tells the others that a service is left alone for `shut_for`, or, with nothing, that it answers.
///
/// # Errors
/// When Redis is away or does not do it.
pub async fn tell(link: &Link, service: &str, shut_for: Duration, trips: u32) -> Result<(), Trouble> {
    let ask = Ask {
        script: &TELL,
        keys: vec![gate(link, service), probe(link, service)],
        args: vec![
            shut_for.min(LONGEST).as_micros().to_string(),
            trips.to_string(),
            millis(LONGEST),
        ],
    };
    let _one: i64 = link.ask(&ask).await?;
    Ok(())
}

/// Reads what the others told; `None` when nothing stands there.
///
/// # Errors
/// When Redis is away or does not do it.
pub async fn read(link: &Link, service: &str) -> Result<Option<GateRead>, Trouble> {
    let ask = Ask {
        script: &READ,
        keys: vec![gate(link, service)],
        args: Vec::new(),
    };
    let (left_us, trips, at_us, open): (i64, i64, i64, i64) = link.ask(&ask).await?;
    let left = Duration::from_micros(u64::try_from(left_us).unwrap_or_default()).min(LONGEST);
    let shut_for = (open != 1).then_some(left);
    Ok((at_us > 0).then_some(GateRead {
        shut_for,
        trips: u32::try_from(trips).unwrap_or_default(),
        at_us,
    }))
}

/// Takes the right to try a service again, for `lasts`; false when another node has it.
///
/// # Errors
/// When Redis is away or does not do it.
pub async fn may_probe(link: &Link, service: &str, lasts: Duration) -> Result<bool, Trouble> {
    let ask = Ask {
        script: &PROBE,
        keys: vec![probe(link, service)],
        args: vec![link.me().to_owned(), lasts.as_millis().max(1).to_string()],
    };
    let got: i64 = link.ask(&ask).await?;
    Ok(got == 1)
}

/// Gives that right back unused.
///
/// # Errors
/// When Redis is away or does not do it.
pub async fn return_probe(link: &Link, service: &str) -> Result<(), Trouble> {
    let ask = Ask {
        script: &RETURN,
        keys: vec![probe(link, service)],
        args: vec![link.me().to_owned()],
    };
    let _any: i64 = link.ask(&ask).await?;
    Ok(())
}

fn gate(link: &Link, service: &str) -> String {
    link.key(format_args!("gate:{service}"))
}

fn probe(link: &Link, service: &str) -> String {
    link.key(format_args!("probe:{service}"))
}
