//! The one connection, its keeper, and the door that closes at the first trouble.

use super::bounded::Bounded;
use super::server_clock::ServerClock;
use super::settings::RedisSettings;
use super::status::{Counted, Facts, RedisStatus};
use super::trouble::{Trouble, TroubleKind};
use crate::backoff::{Backoff, Jitter};
use crate::clock::Clock;
use crate::store::looping;
use crate::supervision::{ChildSpec, Life, OwnedTask, spawn_owned};
use arc_swap::ArcSwapOption;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, ConnectionAddr, FromRedisValue, Pipeline, RedisError, Script,
};
use std::fmt::Display;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// An answer later than this is an outage. A healthy server takes less than a hundredth of it.
pub const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How long a connection may take to come about, name look-up included.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How often a healthy server is asked whether it can be written to and still has what was put there.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Keys that nobody writes any more end after so long.
pub(super) const KEYS_LAST: Duration = Duration::from_secs(3_600);

/// Leaves a mark that lasts, tells whether it was there, and shows that the server can be written to. What stands in its
/// place and is no mark is replaced, or the hour it lasts would begin anew with each beat that cannot read it.
static BEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local mark = redis.pcall('GET', KEYS[1])
         if type(mark) ~= 'string' or #mark ~= 36 or string.find(mark, '[^%x-]') then
           mark = ARGV[1]
         end
         redis.call('SET', KEYS[1], mark, 'PX', ARGV[2])
         return { mark, time[1] * 1000000 + time[2] }",
    )
});

/// What is asked: a script, the keys it touches, and its arguments.
pub(super) struct Ask<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<String>,
}

/// The link to Redis. Cheap to clone; all clones are the same link.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    settings: RedisSettings,
    /// `PREFIX:INSTANCE`.
    space: String,
    what: String,
    clock: Clock,
    /// Who we are, for marks and presence: one life of one daemon.
    me: String,
    open: ArcSwapOption<Open>,
    status: watch::Sender<RedisStatus>,
    fills: watch::Sender<u64>,
    /// The keeper has something to do.
    lost: Notify,
    counted: Counted,
    server: ServerClock,
    /// The mark that was there last.
    mark: parking_lot::Mutex<String>,
}

/// A connection that serves.
struct Open {
    conn: MultiplexedConnection,
    /// Ends with the connection.
    _driver: OwnedTask<()>,
}

/// What the keeper does next.
enum Next {
    Beat,
    Knock,
}

// === impl Link ===

impl Link {
    /// A link that is not there yet; [`child`] makes and keeps it. `instance` is the database's [word](super::instance).
    #[must_use]
    pub fn new(settings: RedisSettings, instance: &str, clock: Clock) -> Self {
        let inner = Inner {
            space: format!("{}:{instance}", settings.prefix),
            what: settings.shown(),
            settings,
            clock,
            me: Uuid::now_v7().to_string(),
            open: ArcSwapOption::empty(),
            status: watch::Sender::new(RedisStatus::Unknown),
            fills: watch::Sender::new(0),
            lost: Notify::new(),
            counted: Counted::default(),
            server: ServerClock::default(),
            mark: parking_lot::Mutex::default(),
        };
        Self(Arc::new(inner))
    }

    /// The full name of a key of ours.
    #[must_use]
    pub fn key(&self, name: impl Display) -> String {
        format!("{}:{name}", self.0.space)
    }

    /// Where it leads, for people.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.0.what
    }

    /// The name of this life of the daemon on Redis.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.0.me
    }

    /// Whether it can be asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.open.load().is_some()
    }

    /// How Redis is, and to hear when that changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<RedisStatus> {
        self.0.status.subscribe()
    }

    /// A number that changes whenever what was put there may be gone: after each connection, and each mark that is not
    /// the one known.
    #[must_use]
    pub fn fills(&self) -> watch::Receiver<u64> {
        self.0.fills.subscribe()
    }

    /// What happened since the start.
    #[must_use]
    pub fn counted(&self) -> &Counted {
        &self.0.counted
    }

    /// The server's clock.
    #[must_use]
    pub fn server_clock(&self) -> &ServerClock {
        &self.0.server
    }

    /// Runs a script. What stands under its keys and is of a wrong type is not ours: it is removed, so that the next try
    /// succeeds.
    pub(super) async fn ask<T: FromRedisValue>(&self, ask: &Ask<'_>) -> Result<T, Trouble> {
        let open = self.open()?;
        let asked = invoke(&open, ask, self.0.settings.answer_limit).await;
        let judged = self.judged(&open, asked);
        if matches!(&judged, Err(trouble) if trouble.kind == TroubleKind::WrongType) {
            Counted::add(&self.0.counted.foreign, 1);
            tracing::warn!(
                "{}: what is not ours stood under our names and is removed",
                self.0.what
            );
            let mut remove = Pipeline::new();
            remove.unlink(&ask.keys).ignore();
            self.send(&remove).await?;
            // What stood beside it is gone, too.
            self.0.fills.send_modify(|n| *n = n.wrapping_add(1));
        }
        judged
    }

    /// Sends commands together, without a look at their values.
    pub(super) async fn send(&self, commands: &Pipeline) -> Result<(), Trouble> {
        let open = self.open()?;
        let mut conn = open.conn.clone();
        let sent = timeout(self.0.settings.answer_limit, commands.query_async(&mut conn));
        let sent = flat(sent.await, self.0.settings.answer_limit);
        self.judged(&open, sent)
    }

    fn open(&self) -> Result<Arc<Open>, Trouble> {
        self.0.open.load_full().ok_or_else(Trouble::away)
    }

    /// Closes the door when the trouble is one.
    fn judged<T>(&self, open: &Arc<Open>, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        if let Err(trouble) = &answer
            && trouble.is_outage()
        {
            // Another one may have been opened since, or somebody else have told it already.
            let was = self.0.open.compare_and_swap(open, None);
            if was.as_ref().is_some_and(|was| Arc::ptr_eq(was, open)) {
                self.tell_away(trouble);
                self.0.lost.notify_one();
            }
        }
        answer
    }

    fn tell_away(&self, trouble: &Trouble) {
        let mut first = false;
        let mut other = false;
        let now = self.0.clock.now();
        self.0.status.send_modify(|status| {
            first = !matches!(status, RedisStatus::Away { .. });
            other = !matches!(status, RedisStatus::Away { kind, .. } if *kind == trouble.kind);
            *status = status.away(now, trouble);
        });
        if first {
            Counted::add(&self.0.counted.lost, 1);
        }
        if other {
            tracing::warn!(
                "{} is of no use, everything goes on from PostgreSQL: {trouble}. To do: {}",
                self.0.what,
                trouble.kind.to_do()
            );
        }
    }

    // === the keeper ===

    /// Keeps the link until the child is asked to stop.
    async fn keep(self, life: Life) {
        let waits = knock_waits();
        let mut failed = 0;
        loop {
            life.beat();
            life.waiting_until(Instant::now() + CONNECT_LIMIT * 4);
            let next = match self.turn().await {
                Ok(()) => {
                    failed = 0;
                    Next::Beat
                }
                Err(_told) => {
                    failed += 1;
                    Next::Knock
                }
            };
            let wait = match next {
                Next::Beat => BEAT_EVERY,
                Next::Knock => waits.delay(failed, &mut rand::rng()),
            };
            let until = Instant::now() + wait;
            life.beat();
            life.waiting_until(until);
            tokio::select! {
                () = life.stopping().cancelled_owned() => return,
                () = tokio::time::sleep_until(until) => {}
                // Somebody else met the trouble first: it is not knocked again at once.
                () = self.0.lost.notified(), if matches!(next, Next::Beat) => {
                    failed = 1;
                    if !looping::pause(&life, waits.delay(failed, &mut rand::rng())).await {
                        return;
                    }
                }
            }
        }
    }

    /// Makes the link when there is none, and asks whether it serves.
    async fn turn(&self) -> Result<(), Trouble> {
        if let Ok(open) = self.open() {
            let beaten = self.beat(&open).await;
            let mark = self.judged(&open, beaten)?;
            self.marked(mark, false);
            return Ok(());
        }
        let knocked = self.knock().await;
        if let Err(trouble) = &knocked {
            self.tell_away(trouble);
        }
        knocked
    }

    async fn knock(&self) -> Result<(), Trouble> {
        let open = timeout(CONNECT_LIMIT, connect(&self.0.settings)).await;
        let open = Arc::new(open.unwrap_or_else(|_elapsed| {
            let limit = CONNECT_LIMIT.as_secs();
            Err(Trouble::new(
                TroubleKind::Slow,
                format!("no connection within {limit} s"),
            ))
        })?);
        let mark = self.beat(&open).await?;
        let facts = facts(&open, self.0.settings.answer_limit).await;
        // Before anybody may ask: who hears that it is there finds it open.
        self.0.open.store(Some(Arc::clone(&open)));
        self.marked(mark, true);
        let since = self.0.clock.now();
        tracing::info!(
            version = facts.version,
            "{} is used beside PostgreSQL",
            self.0.what
        );
        if facts.evicts() {
            tracing::warn!(
                "{} throws entries away when its memory is full (`maxmemory-policy {}`): what is put there is put there \
                 again and again. To do: `redis-cli -u URL config set maxmemory-policy noeviction`",
                self.0.what,
                facts.eviction
            );
        }
        self.0.status.send_replace(RedisStatus::Up { since, facts });
        Ok(())
    }

    async fn beat(&self, open: &Arc<Open>) -> Result<String, Trouble> {
        let ask = Ask {
            script: &BEAT,
            keys: vec![self.key("mark")],
            args: vec![Uuid::now_v7().to_string(), millis(KEYS_LAST)],
        };
        let (mark, server_us): (String, i64) = invoke(open, &ask, self.0.settings.answer_limit).await?;
        self.0.server.seen(Instant::now(), server_us);
        Ok(mark)
    }

    /// Tells those who fill when what they put there may be gone.
    fn marked(&self, mark: String, new_connection: bool) {
        let mut known = self.0.mark.lock();
        if !new_connection && *known == mark {
            return;
        }
        if !known.is_empty() && *known != mark {
            Counted::add(&self.0.counted.emptied, 1);
            tracing::warn!(
                "{} was emptied or is another one: it is filled again",
                self.0.what
            );
        }
        *known = mark;
        self.0.fills.send_modify(|n| *n = n.wrapping_add(1));
    }
}

/// The child that keeps the link.
pub fn child(name: &str, link: Link) -> ChildSpec {
    looping::child(name, move |life| link.clone().keep(life))
}

/// Soon at first, since a server that starts is there in moments; and never so rarely that what is to be filled again
/// within half a minute could not be.
#[expect(
    clippy::expect_used,
    reason = "the bounds are the constants beside it, and a test builds them"
)]
fn knock_waits() -> Backoff {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(5), Jitter::TENTH).expect("0.25 to 5 s")
}

pub(super) fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

// === one question ===

async fn invoke<T: FromRedisValue>(open: &Open, ask: &Ask<'_>, limit: Duration) -> Result<T, Trouble> {
    let mut call = ask.script.prepare_invoke();
    for key in &ask.keys {
        call.key(key);
    }
    for arg in &ask.args {
        call.arg(arg);
    }
    let mut conn = open.conn.clone();
    flat(timeout(limit, call.invoke_async(&mut conn)).await, limit)
}

fn flat<T, E>(answer: Result<Result<T, RedisError>, E>, limit: Duration) -> Result<T, Trouble> {
    match answer {
        Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
        Err(_elapsed) => Err(Trouble::new(
            TroubleKind::Slow,
            format!("no answer within {} ms", limit.as_millis()),
        )),
    }
}

/// What it says of itself; nothing when it must not be asked.
async fn facts(open: &Open, limit: Duration) -> Facts {
    let mut asked = Pipeline::new();
    asked.cmd("INFO").arg("server").cmd("INFO").arg("memory");
    let mut conn = open.conn.clone();
    match timeout(limit, asked.query_async::<(String, String)>(&mut conn)).await {
        Ok(Ok((server, memory))) => Facts::read(&format!("{server}{memory}")),
        _ => Facts::default(),
    }
}

// === a connection ===

async fn connect(settings: &RedisSettings) -> Result<Open, Trouble> {
    let refused = |error: std::io::Error| Trouble::new(TroubleKind::Refused, error.to_string());
    match settings.at.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(refused)?;
            stream.set_nodelay(true).map_err(refused)?;
            introduce(settings, stream).await
        }
        ConnectionAddr::Unix(path) => {
            introduce(settings, UnixStream::connect(path).await.map_err(refused)?).await
        }
        _ => Err(Trouble::new(
            TroubleKind::Refused,
            "an address of a kind that is not built in",
        )),
    }
}

/// Says who we are and which of its databases is meant.
async fn introduce<S>(settings: &RedisSettings, stream: S) -> Result<Open, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(settings.answer_limit))
        .set_connection_timeout(Some(CONNECT_LIMIT));
    let made =
        MultiplexedConnection::new_with_config(settings.at.redis_settings(), Bounded::new(stream), config);
    let (conn, driver) = made.await.map_err(|error| Trouble::of(&error))?;
    Ok(Open {
        conn,
        _driver: spawn_owned("redis", driver),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_between_knocks_are_a_backoff() {
        assert_eq!(knock_waits().ceiling(20), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn nothing_is_sent_and_nobody_waits_while_it_is_away() {
        let settings = RedisSettings::new("redis://127.0.0.1:1", None, "zaikoban").unwrap();
        let link = Link::new(settings, "1-1", Clock::system());
        let trouble = link.send(&Pipeline::new()).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Away);
        assert_eq!(link.key("lane:a/b:1"), "zaikoban:1-1:lane:a/b:1");
    }
}
