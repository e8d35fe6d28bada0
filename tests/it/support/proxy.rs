//! A TCP proxy in front of PostgreSQL's socket that can hold its tongue or hang up in the middle of a word.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use zaikoban::supervision::{OwnedTask, spawn_owned};

/// What the proxy does to all its connections.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    held: watch::Sender<bool>,
    /// Bytes that may still pass from client to server; negative is no limit.
    budget: Arc<AtomicI64>,
    _accepting: Arc<OwnedTask<()>>,
}

impl Proxy {
    /// Stands in front of the server's socket in `folder`.
    pub async fn before(folder: &str) -> Self {
        let socket = PathBuf::from(folder).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = watch::Sender::new(false);
        let budget = Arc::new(AtomicI64::new(-1));
        let (hold, left) = (held.clone(), Arc::clone(&budget));
        let accepting = spawn_owned("proxy", async move {
            let mut relays = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                let (up, down) = (hold.subscribe(), hold.subscribe());
                let left = Arc::clone(&left);
                relays.push(spawn_owned("relay", async move {
                    let (client_read, client_write) = client.into_split();
                    let (server_read, server_write) = server.into_split();
                    tokio::select! {
                        () = relay(client_read, server_write, up, Some(left)) => {}
                        () = relay(server_read, client_write, down, None) => {}
                    }
                }));
            }
        });
        Self {
            address,
            held,
            budget,
            _accepting: Arc::new(accepting),
        }
    }

    /// The address of `database` through the proxy.
    pub fn url(&self, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname={database}",
            self.address.port()
        )
    }

    /// Lets nothing through any more, without hanging up.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Hangs up after so many more bytes from the client; `None` is never.
    pub fn cut_after(&self, bytes: Option<i64>) {
        self.budget.store(bytes.unwrap_or(-1), Ordering::SeqCst);
    }
}

async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: watch::Receiver<bool>,
    budget: Option<Arc<AtomicI64>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        let mut pass = n;
        if let Some(budget) = &budget {
            let left = budget.load(Ordering::SeqCst);
            if left >= 0 {
                pass = n.min(usize::try_from(left).unwrap());
                budget.fetch_sub(i64::try_from(pass).unwrap(), Ordering::SeqCst);
            }
        }
        if to.write_all(&buffer[..pass]).await.is_err() || to.flush().await.is_err() || pass < n {
            return;
        }
    }
}
