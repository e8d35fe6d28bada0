//! A TCP proxy before PostgreSQL or a marketplace that spoils the way there as networks do: eight ways, each switched on
//! and off while connections are open.
//!
//! The names are those that fault proxies have in common: latency, bandwidth, timeout (swallows everything and hangs up on
//! nobody), `reset_peer`, slicer, `limit_data`, `slow_close`, down. `hold` is one more: nothing is lost, nothing moves on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::sleep;
use zaikoban::supervision::{OwnedTask, spawn_owned};

type Reader = Pin<Box<dyn AsyncRead + Send>>;
type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// What stands behind the proxy.
#[derive(Clone)]
enum Behind {
    Socket(PathBuf),
    Tcp(SocketAddr),
}

/// What is done to all connections, from now on.
#[derive(Clone, Debug, Default, PartialEq)]
struct Toxics {
    held: bool,
    swallows: bool,
    latency: Duration,
    bytes_per_s: Option<u64>,
    slice: Option<(usize, Duration)>,
    slow_close: Duration,
    down: bool,
    resets: u64,
}

/// Bytes that may still pass; negative is no limit.
#[derive(Clone)]
struct Budget(Arc<AtomicI64>);

impl Budget {
    fn unlimited() -> Self {
        Self(Arc::new(AtomicI64::new(-1)))
    }

    fn set(&self, bytes: Option<i64>) {
        self.0.store(bytes.unwrap_or(-1), Ordering::SeqCst);
    }

    /// How many of `n` bytes may pass.
    fn take(&self, n: usize) -> usize {
        let left = self.0.load(Ordering::SeqCst);
        if left < 0 {
            return n;
        }
        let pass = n.min(usize::try_from(left).unwrap());
        self.0.fetch_sub(i64::try_from(pass).unwrap(), Ordering::SeqCst);
        pass
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    toxics: watch::Sender<Toxics>,
    up: Budget,
    down: Budget,
    connections: Arc<AtomicU64>,
    _accepting: Arc<OwnedTask<()>>,
}

// === impl Proxy: where it stands ===

impl Proxy {
    /// Stands in front of a PostgreSQL's socket in `folder`.
    pub async fn before(folder: &str) -> Self {
        Self::start(Behind::Socket(PathBuf::from(folder).join(".s.PGSQL.5432"))).await
    }

    /// Stands in front of whoever listens on `address`.
    pub async fn before_tcp(address: SocketAddr) -> Self {
        Self::start(Behind::Tcp(address)).await
    }

    async fn start(behind: Behind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let toxics = watch::Sender::new(Toxics::default());
        let (up, down, connections) = (Budget::unlimited(), Budget::unlimited(), Arc::default());
        let accepting = {
            let (toxics, budgets, connections) = (
                toxics.clone(),
                (up.clone(), down.clone()),
                Arc::clone(&connections),
            );
            spawn_owned("proxy", accept(listener, behind, toxics, budgets, connections))
        };
        Self {
            address,
            toxics,
            up,
            down,
            connections,
            _accepting: Arc::new(accepting),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `database` through the proxy.
    pub fn url(&self, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname={database}",
            self.address.port()
        )
    }

    /// How many connections it has taken so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

// === impl Proxy: what it does ===

impl Proxy {
    /// Lets nothing through any more, without hanging up; what came meanwhile goes on afterwards.
    pub fn hold(&self, held: bool) {
        self.toxics.send_modify(|t| t.held = held);
    }

    /// timeout: swallows every byte of both sides, hangs up on nobody. What was swallowed is lost.
    pub fn swallow(&self, swallows: bool) {
        self.toxics.send_modify(|t| t.swallows = swallows);
    }

    /// latency: each piece arrives so much later.
    pub fn latency(&self, latency: Duration) {
        self.toxics.send_modify(|t| t.latency = latency);
    }

    /// bandwidth: so many bytes per second and direction; `None` is as fast as it goes.
    pub fn bandwidth(&self, bytes_per_s: Option<u64>) {
        self.toxics.send_modify(|t| t.bytes_per_s = bytes_per_s);
    }

    /// slicer: pieces of so many bytes, with a pause between them.
    pub fn slice(&self, slice: Option<(usize, Duration)>) {
        self.toxics.send_modify(|t| t.slice = slice);
    }

    /// `slow_close`: the end of one side reaches the other so much later.
    pub fn slow_close(&self, by: Duration) {
        self.toxics.send_modify(|t| t.slow_close = by);
    }

    /// `reset_peer`: every open connection ends with a RST.
    pub fn reset(&self) {
        self.toxics.send_modify(|t| t.resets += 1);
    }

    /// `limit_data`: hangs up after so many more bytes from the client, over all connections; `None` is never.
    pub fn cut_after(&self, bytes: Option<i64>) {
        self.up.set(bytes);
    }

    /// `limit_data`: the same for bytes of the server.
    pub fn cut_answers_after(&self, bytes: Option<i64>) {
        self.down.set(bytes);
    }

    /// down: nobody listens any more, and open connections end.
    pub fn down(&self, down: bool) {
        self.toxics.send_modify(|t| {
            t.down = down;
            t.resets += u64::from(down);
        });
    }
}

// === what runs ===

async fn accept(
    first: TcpListener,
    behind: Behind,
    toxics: watch::Sender<Toxics>,
    (up, down): (Budget, Budget),
    connections: Arc<AtomicU64>,
) {
    let address = first.local_addr().unwrap();
    let mut seen = toxics.subscribe();
    let mut listener = Some(first);
    let mut relays = Vec::new();
    loop {
        if seen.borrow_and_update().down {
            drop(listener.take());
            if seen.wait_for(|t| !t.down).await.is_err() {
                return;
            }
        }
        let open = match &listener {
            Some(open) => open,
            None => listener.insert(again(address).await),
        };
        tokio::select! {
            accepted = open.accept() => {
                let Ok((client, _)) = accepted else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let (behind, toxics, up, down) = (behind.clone(), toxics.subscribe(), up.clone(), down.clone());
                relays.push(spawn_owned("relay", carry(client, behind, toxics, up, down)));
            }
            changed = seen.changed() => if changed.is_err() { return },
        }
    }
}

/// The same port once more; a connection that lingers there does not matter.
async fn again(address: SocketAddr) -> TcpListener {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok()
            && let Ok(listener) = socket.listen(64)
        {
            return listener;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn carry(
    client: TcpStream,
    behind: Behind,
    mut toxics: watch::Receiver<Toxics>,
    up: Budget,
    down: Budget,
) {
    let resets = toxics.borrow().resets;
    let (server_read, server_write): (Reader, Writer) = match behind {
        Behind::Socket(path) => {
            let Ok(server) = UnixStream::connect(path).await else {
                return;
            };
            let (read, write) = server.into_split();
            (Box::pin(read), Box::pin(write))
        }
        Behind::Tcp(address) => {
            let Ok(server) = TcpStream::connect(address).await else {
                return;
            };
            let (read, write) = server.into_split();
            (Box::pin(read), Box::pin(write))
        }
    };
    let (to_server, to_client) = (toxics.clone(), toxics.clone());
    let client = Arc::new(client);
    let (client_read, client_write) = (Half(Arc::clone(&client)), Half(Arc::clone(&client)));
    tokio::select! {
        () = relay(Box::pin(client_read), server_write, to_server, up) => {}
        () = relay(server_read, Box::pin(client_write), to_client, down) => {}
        _ = toxics.wait_for(|t| t.resets != resets) => {
            // Nothing lingers: what was not read is thrown away, and the peer hears RST.
            let _closed = client.set_zero_linger();
        }
    }
}

/// One direction of a connection that is still whole, so that it can be reset.
struct Half(Arc<TcpStream>);

impl AsyncRead for Half {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            std::task::ready!(self.0.poll_read_ready(cx))?;
            let mut bytes = [0; 16 * 1024];
            let room = buffer.remaining().min(bytes.len());
            match self.0.try_read(&mut bytes[..room]) {
                Ok(n) => {
                    buffer.put_slice(&bytes[..n]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        loop {
            std::task::ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn relay(mut from: Reader, mut to: Writer, mut toxics: watch::Receiver<Toxics>, budget: Budget) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else {
            let slow_close = toxics.borrow().slow_close;
            sleep(slow_close).await;
            return;
        };
        let Ok(now) = toxics.wait_for(|t| !t.held).await.map(|t| t.clone()) else {
            return;
        };
        if now.swallows {
            continue;
        }
        sleep(now.latency).await;
        let pass = budget.take(n);
        if pour(&mut to, &buffer[..pass], &now).await.is_err() || pass < n {
            return;
        }
    }
}

/// Writes at the pace and in the pieces that are asked for.
async fn pour(to: &mut Writer, bytes: &[u8], now: &Toxics) -> std::io::Result<()> {
    let (size, pause) = now.slice.unwrap_or((bytes.len().max(1), Duration::ZERO));
    let size = if now.bytes_per_s.is_some() {
        size.min(1_024)
    } else {
        size
    };
    for piece in bytes.chunks(size.max(1)) {
        to.write_all(piece).await?;
        to.flush().await?;
        let share = now.bytes_per_s.map_or(Duration::ZERO, |rate| {
            Duration::from_micros(1_000_000 * u64::try_from(piece.len()).unwrap() / rate.max(1))
        });
        sleep(pause + share).await;
    }
    Ok(())
}
