//! Opens connections, and reads each error's SQLSTATE off them.
//!
//! diesel-async keeps the code of an error only for the few kinds diesel has a name for. "Deadlock", "statement time
//! limit", "server is stopping" and "disk full" all arrive as *unknown* with a sentence, in whatever language the server
//! was installed with, so the sentence cannot be matched. Here the connection's incoming bytes pass through [`Watched`],
//! which follows the framing of the protocol (one byte of type, four of length) and looks into `ErrorResponse` messages
//! only. The pair (sentence, code) goes to a small memory; [`code_of`] finds it again when the error comes up as a value.
//! One sentence has one code, so a memory for the whole process is enough; it holds the latest 256.
//!
//! The same place sees when an answer is overdue. The server ends a statement that takes too long by itself; when nothing
//! comes although that limit has passed, the way to it is broken (a half-open connection, a proxy that holds on to a dead
//! peer), and the connection is ended here. Without that a caller would hang for as long as the other side likes.
//!
//! Cost: per message a few additions; per byte nothing. Opening the connection ourselves also gives the socket's time
//! limits, and notifications.

use super::error::SqlState;
use diesel::ConnectionResult;
use diesel::result::{ConnectionError, DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};
use diesel_async::AsyncPgConnection;
use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// How many sentences are remembered: more than there are connections, each of which has one error at a time.
const REMEMBERED: usize = 256;
/// No error message is read beyond this; the code and the sentence stand at its beginning.
const ERROR_BYTES: usize = 64 * 1024;
/// A TCP peer that answers nothing for this long is gone (Linux alone would wait a quarter of an hour).
const TCP_SILENCE: Duration = Duration::from_secs(20);

/// The message by which the server ends its answer to a request.
const READY_FOR_QUERY: u8 = b'Z';

static SEEN: Mutex<Memory> = Mutex::new(Memory(VecDeque::new()));

/// The code that came with this sentence lately.
pub(super) fn code_of(message: &str) -> Option<SqlState> {
    SEEN.lock().code_of(message)
}

/// Keeps a sentence and its code.
pub(super) fn remember(message: &str, code: SqlState) {
    SEEN.lock().remember(message, code);
}

/// Sentences and their codes, oldest first.
struct Memory(VecDeque<(Box<str>, SqlState)>);

impl Memory {
    fn code_of(&self, message: &str) -> Option<SqlState> {
        let found = self.0.iter().rev().find(|(m, _)| **m == *message);
        found.map(|(_, code)| *code)
    }

    fn remember(&mut self, message: &str, code: SqlState) {
        if self.code_of(message) == Some(code) {
            return;
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((message.into(), code));
    }
}

// === impl Framing ===

/// Where in the server's stream of messages we are.
#[derive(Default)]
struct Framing {
    head: Vec<u8>,
    body_left: usize,
    /// The body of the `ErrorResponse` being read.
    error: Option<Vec<u8>>,
    /// The type of the message being read.
    kind: u8,
    /// The server has said that it is ready for the next request.
    ready: bool,
}

impl Framing {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body_left == 0 {
                let missing = 5_usize.saturating_sub(self.head.len());
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                self.head.extend_from_slice(part);
                bytes = rest;
                if let [kind, length @ ..] = self.head.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    // the length counts itself, not the type
                    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    self.body_left = length.saturating_sub(4);
                    self.error = (*kind == b'E').then(Vec::new);
                    self.kind = *kind;
                    self.head.clear();
                }
            } else {
                let (part, rest) = bytes.split_at(self.body_left.min(bytes.len()));
                bytes = rest;
                self.body_left = self.body_left.saturating_sub(part.len());
                if let Some(error) = &mut self.error
                    && error.len() < ERROR_BYTES
                {
                    error.extend_from_slice(part);
                }
                if self.body_left == 0 {
                    self.ready |= self.kind == READY_FOR_QUERY;
                    if let Some(error) = self.error.take() {
                        note_error(&error);
                    }
                }
            }
        }
    }
}

/// Reads the fields of an `ErrorResponse`: a type byte and a text each, ended by zeros.
fn note_error(body: &[u8]) {
    let mut code = None;
    let mut message = None;
    for field in body.split(|b| *b == 0) {
        match field.split_first() {
            Some((b'C', value)) => code = SqlState::new(value),
            Some((b'M', value)) => message = std::str::from_utf8(value).ok(),
            _ => {}
        }
    }
    if let (Some(code), Some(message)) = (code, message) {
        remember(message, code);
    }
}

// === impl Watched ===

/// A stream whose incoming bytes are looked at and passed on unchanged, and which ends when an answer is overdue.
struct Watched<S> {
    inner: S,
    framing: Framing,
    /// How long the server may be silent in the middle of an answer.
    silence_limit: Option<Duration>,
    /// Since when it has been, while it owes one.
    silent_since: Option<Instant>,
    /// Goes off at the limit or before it; moved only when it goes off, since most answers come at once.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    fn new(inner: S, silence_limit: Option<Duration>) -> Self {
        Self {
            inner,
            framing: Framing::default(),
            silence_limit,
            silent_since: None,
            alarm: None,
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        self.framing.ready = false;
        self.framing.feed(bytes);
        self.silent_since = match self.silent_since {
            Some(_) if !self.framing.ready => Some(Instant::now()),
            _ => None,
        };
    }

    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (Some(limit), Some(since)) = (self.silence_limit, self.silent_since) else {
            return Poll::Pending;
        };
        let deadline = since + limit;
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "The database owes an answer for {} s: the connection is given up",
                    limit.as_secs()
                );
                return Poll::Ready(io::Error::from(io::ErrorKind::TimedOut));
            }
            alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_pending() {
            return self.poll_overdue(cx).map(Err);
        }
        self.heard(buf.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.silent_since.is_none() {
            self.silent_since = Some(Instant::now());
        }
        // whoever writes does not read again before something comes: the alarm must know the task from here, too
        if let Poll::Ready(overdue) = self.poll_overdue(cx) {
            return Poll::Ready(Err(overdue));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

// === opening ===

/// A notification, as the server sent it.
#[derive(Debug)]
pub struct Told {
    /// The channel it came on.
    pub channel: String,
    /// What was said.
    pub payload: String,
}

/// Opens a connection to the first host that answers. Notifications go to `told`, where somebody listens.
pub(super) async fn connect(
    config: &Config,
    silence_limit: Option<Duration>,
    told: Option<mpsc::UnboundedSender<Told>>,
) -> ConnectionResult<AsyncPgConnection> {
    let mut last = failure("no host is named in the database's address");
    let ports = config.get_ports();
    for (index, host) in config.get_hosts().iter().enumerate() {
        let port = ports
            .get(index)
            .or_else(|| ports.first())
            .copied()
            .unwrap_or(5432);
        match connect_to(config, host, port, silence_limit, told.clone()).await {
            Ok(conn) => return Ok(conn),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(
    config: &Config,
    host: &Host,
    port: u16,
    silence_limit: Option<Duration>,
    told: Option<mpsc::UnboundedSender<Told>>,
) -> ConnectionResult<AsyncPgConnection> {
    let limit = config
        .get_connect_timeout()
        .copied()
        .unwrap_or(Duration::from_secs(10));
    let opening = async {
        match host {
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                let stream = UnixStream::connect(&path)
                    .await
                    .map_err(|e| failure(&format!("cannot connect to `{}`: {e}", path.display())))?;
                open(config, stream, silence_limit, told).await
            }
            Host::Tcp(name) => {
                let stream = TcpStream::connect((name.as_str(), port))
                    .await
                    .and_then(|stream| set_tcp_limits(&stream).map(|()| stream))
                    .map_err(|e| failure(&format!("cannot connect to `{name}:{port}`: {e}")))?;
                open(config, stream, silence_limit, told).await
            }
        }
    };
    tokio::time::timeout(limit, opening)
        .await
        .unwrap_or_else(|_| Err(failure(&format!("no answer within {} s", limit.as_secs()))))
}

/// So that a route on which packets vanish is noticed within seconds.
fn set_tcp_limits(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let silence_ms = u32::try_from(TCP_SILENCE.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &10)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &5)?;
    setsockopt(stream, sockopt::TcpKeepCount, &2)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &silence_ms)?;
    Ok(())
}

async fn open<S>(
    config: &Config,
    stream: S,
    silence_limit: Option<Duration>,
    told: Option<mpsc::UnboundedSender<Told>>,
) -> ConnectionResult<AsyncPgConnection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watched = Watched::new(stream, silence_limit);
    let (client, mut connection) = config
        .connect_raw(watched, NoTls)
        .await
        .map_err(|e| failure(e.as_db_error().map_or(&*e.to_string(), |db| db.message())))?;
    let driver = async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let (AsyncMessage::Notification(n), Some(told)) = (message, &told) {
                // a listener that is gone ends with its connection
                let _ = told.send(Told {
                    channel: n.channel().to_owned(),
                    payload: n.payload().to_owned(),
                });
            }
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "lives exactly as long as its connection: dropping the client ends it, and nobody waits for it"
    )]
    tokio::spawn(driver);
    let mut conn = AsyncPgConnection::try_from(client).await?;
    if config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
        refuse_standby(&mut conn).await?;
    }
    Ok(conn)
}

async fn refuse_standby(conn: &mut AsyncPgConnection) -> ConnectionResult<()> {
    use diesel_async::RunQueryDsl as _;
    let read_only: String = diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(
        "current_setting('transaction_read_only')",
    ))
    .get_result(conn)
    .await
    .map_err(ConnectionError::CouldntSetupConfiguration)?;
    if read_only == "on" {
        return Err(failure("the server takes no writes (it is a standby)"));
    }
    Ok(())
}

/// A sentence in the shape diesel wants errors of connecting in.
struct Sentence(String);

impl fmt::Debug for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DatabaseErrorInformation for Sentence {
    fn message(&self) -> &str {
        &self.0
    }
    fn details(&self) -> Option<&str> {
        None
    }
    fn hint(&self) -> Option<&str> {
        None
    }
    fn table_name(&self) -> Option<&str> {
        None
    }
    fn column_name(&self) -> Option<&str> {
        None
    }
    fn constraint_name(&self) -> Option<&str> {
        None
    }
    fn statement_position(&self) -> Option<i32> {
        None
    }
}

fn failure(message: &str) -> ConnectionError {
    ConnectionError::CouldntSetupConfiguration(DieselError::DatabaseError(
        DatabaseErrorKind::UnableToSendCommand,
        Box::new(Sentence(message.to_owned())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().saturating_add(4);
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn error_body(code: &str, text: &str) -> Vec<u8> {
        format!("SERROR\0VERROR\0C{code}\0M{text}\0Fparse.c\0\0").into_bytes()
    }

    #[test]
    fn the_oldest_sentence_is_forgotten_first_and_the_latest_code_counts() {
        let mut memory = Memory(VecDeque::new());
        let code = SqlState::new(b"99999").unwrap();
        for n in 0..=REMEMBERED {
            memory.remember(&n.to_string(), code);
        }
        assert_eq!(memory.code_of("0"), None);
        assert_eq!(memory.code_of("1"), Some(code));
        memory.remember("1", SqlState::DEADLOCK_DETECTED);
        assert_eq!(memory.code_of("1"), Some(SqlState::DEADLOCK_DETECTED));
    }

    proptest! {
        #[test]
        fn an_error_is_found_however_the_stream_is_cut(
            rows in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            cuts in proptest::collection::vec(1usize..9, 1..40),
            tag in 0u32..1_000_000,
        ) {
            let text = format!("デッドロックを検出しました {tag}");
            let mut stream: Vec<u8> = rows.iter().flat_map(|row| message(b'D', row)).collect();
            stream.extend(message(b'E', &error_body("40P01", &text)));
            stream.extend(message(b'Z', b"E"));
            let mut framing = Framing::default();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (part, tail) = rest.split_at((*cut).min(rest.len()));
                framing.feed(part);
                rest = tail;
            }
            prop_assert_eq!(code_of(&text), Some(SqlState::DEADLOCK_DETECTED));
        }

        #[test]
        fn a_row_that_looks_like_an_error_is_not_taken_for_one(tag in 0u32..1_000_000) {
            let text = format!("only data {tag}");
            let inner = message(b'E', &error_body("40P01", &text));
            let mut framing = Framing::default();
            framing.feed(&message(b'D', &inner));
            prop_assert_eq!(code_of(&text), None);
        }
    }
}
