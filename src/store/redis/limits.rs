//! One rate for all nodes: turns that are given out one after another.
//!
//! For each service one key holds when its next turn is (GCRA's theoretical arrival time, by the server's clock) and which
//! nodes are there, each with its share of the limit. A node asks for a few turns ahead and gets instants; each is
//! given to one node only, and the next is a whole spacing later. So the nodes together are as evenly spread as one.
//!
//! **The rate is that of the nodes that are there.** Turns follow each other by the limit times the sum of the shares of
//! those who asked within [`PRESENT_FOR`]. A node that cannot reach Redis keeps to its own share, which is then left
//! out here: the two never add up to more than the limit, also when only one node has lost Redis.
//!
//! **Nothing is remembered** (`FLUSHALL`, a fail-over): turns that were given out may still be used. So a key that is
//! new begins later than any of those can be, two spacings and a bit.

use super::link::{Ask, Link};
use super::trouble::Trouble;
use deadpool_redis::redis::Script;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::time::Instant;

/// How long a node counts as being there after it asked.
pub const PRESENT_FOR: Duration = Duration::from_secs(2);
/// The most turns for one question.
pub const MOST: u32 = 32;
/// How long an order may lie about on its way before the server throws it away.
const ORDER_LASTS: Duration = Duration::from_millis(500);
/// A limit's key outlives every pause of its service's.
const KEY_LASTS: Duration = Duration::from_secs(86_400);

static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now = time[1] * 1000000 + time[2]
         local me, share, interval = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
         local wanted, valid, present = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
         if valid > 0 and now > valid then return { now, 0, 0, 0 } end
         if redis.call('HLEN', KEYS[1]) > 256 then redis.call('DEL', KEYS[1]) end
         local fields, sum, turn = redis.call('HGETALL', KEYS[1]), share, nil
         for i = 1, #fields, 2 do
           local name, value = fields[i], fields[i + 1]
           if name == 'turn' then
             turn = tonumber(value)
           elseif name ~= me then
             local other, till = string.match(value, '^(%d+) (%d+)$')
             if other and tonumber(till) > now and tonumber(till) < now + 2 * present then
               sum = sum + tonumber(other)
             else
               redis.call('HDEL', KEYS[1], name)
             end
           end
         end
         redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f', share, now + present))
         local apart = math.ceil(interval * 1000000 / math.max(math.min(sum, 1000000), 1))
         local ahead = math.max(2 * apart, 100000)
         if not turn or turn ~= turn or turn > now + 10 * ahead then turn = now + ahead + apart end
         local out = { now, apart, 0, 0 }
         while wanted > 0 do
           turn = math.max(turn, now)
           if turn > now + ahead then break end
           out[#out + 1] = turn
           turn, wanted = turn + apart, wanted - 1
         end
         if #out == 4 then out[3] = turn - ahead end
         redis.call('HSET', KEYS[1], 'turn', string.format('%.0f', turn))
         redis.call('PEXPIRE', KEYS[1], ARGV[7])
         return out",
    )
});

/// What a node asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TurnsAsked<'a> {
    /// Whose limit.
    pub service: &'a str,
    /// This node's share of it, 0 to 1.
    pub share: f64,
    /// How far two turns are apart by the whole limit.
    pub interval: Duration,
    /// How many, at most [`MOST`].
    pub wanted: u32,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turns {
    /// When each turn is, by our own clock; never before the server's.
    pub at: Vec<Instant>,
    /// How far apart they are with the nodes that are there.
    pub apart: Duration,
    /// When it is worth asking again, where no turn was to be had.
    pub again_at: Option<Instant>,
}

/// Asks for turns.
///
/// # Errors
/// When Redis is away or does not do it. Turns that it gave out meanwhile are nobody's.
pub async fn take(link: &Link, asked: &TurnsAsked<'_>) -> Result<Turns, Trouble> {
    let now = Instant::now();
    let valid = link.server_clock().at(now + ORDER_LASTS).unwrap_or_default();
    let args = vec![
        link.me().to_owned(),
        millionths(asked.share).to_string(),
        asked.interval.as_micros().max(1).to_string(),
        asked.wanted.min(MOST).to_string(),
        valid.to_string(),
        PRESENT_FOR.as_micros().to_string(),
        KEY_LASTS.as_millis().to_string(),
    ];
    let ask = Ask {
        script: &TAKE,
        keys: vec![link.key(format_args!("limit:{}", asked.service))],
        args,
    };
    let told: Vec<i64> = link.ask(&ask).await?;
    let arrived = Instant::now();
    let clock = link.server_clock();
    let (Some(server_us), Some(apart), Some(again)) = (told.first(), told.get(1), told.get(2)) else {
        return Ok(none(arrived));
    };
    clock.seen(arrived, *server_us);
    let when = |us: &i64| clock.when(*us).unwrap_or(arrived);
    if *apart <= 0 {
        // The order lay about: the server has thrown it away.
        return Ok(none(arrived));
    }
    Ok(Turns {
        at: told.iter().skip(4).map(when).collect(),
        apart: Duration::from_micros(apart.unsigned_abs()),
        again_at: (*again > 0).then(|| when(again)),
    })
}

fn none(now: Instant) -> Turns {
    Turns {
        at: Vec::new(),
        apart: Duration::ZERO,
        again_at: Some(now + ORDER_LASTS),
    }
}

fn millionths(share: f64) -> u32 {
    let scaled = (share * 1e6).floor().clamp(0.0, 1e6);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped right above"
    )]
    let whole = scaled as u32;
    whole
}
