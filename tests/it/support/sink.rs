//! A receiver of HTTP posts that says yes to everything and keeps what came.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;
use zaikoban::supervision::{OwnedTask, spawn_owned};

/// See the module.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    /// Head and body of each request so far.
    pub requests: Vec<(String, String)>,
    arriving: UnboundedReceiver<(String, String)>,
    _serving: OwnedTask<()>,
}

impl Sink {
    /// Listens on a port of this machine.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arriving) = unbounded_channel();
        let serving = spawn_owned("sink", async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, tell.clone()));
            }
        });
        Self {
            address,
            requests: Vec::new(),
            arriving,
            _serving: serving,
        }
    }

    /// The body of the first request, from now or before, that holds `text`.
    pub async fn until(&mut self, text: &str, limit: Duration) -> String {
        let found = async {
            loop {
                if let Some((_, body)) = self.requests.iter().find(|(_, body)| body.contains(text)) {
                    return body.clone();
                }
                self.requests.push(self.arriving.recv().await.unwrap());
            }
        };
        let found = timeout(limit, found).await;
        found.unwrap_or_else(|_| panic!("no request with `{text}`: {:?}", self.requests))
    }
}

async fn serve(mut stream: TcpStream, tell: UnboundedSender<(String, String)>) {
    let mut bytes = Vec::new();
    while let Ok(read) = stream.read_buf(&mut bytes).await {
        while let Some((head, length)) = whole(&bytes) {
            let request: Vec<u8> = bytes.drain(..head + length).collect();
            let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
            let _ = tell.send((text(&request[..head]), text(&request[head..])));
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

/// The lengths of head and body, once both are there.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length = length.unwrap_or(0);
    (bytes.len() >= head + length).then_some((head, length))
}
