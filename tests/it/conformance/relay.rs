//! What stands between adapter and platform, and does mischief on the way.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;
use zaikoban::supervision::{OwnedTask, spawn_owned};

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method, blank, path with query.
    pub what: String,
    head: Vec<String>,
    pub body: Vec<u8>,
}

impl Asked {
    /// Whether a token is asked for: the suite does its mischief to the API, unless it says otherwise.
    pub fn is_token(&self) -> bool {
        self.what.contains("/oauth2/token") || self.what.contains("/auth/o2/token")
    }
}

/// What happens to one request.
#[derive(Clone)]
pub enum Mischief {
    /// Nothing.
    None,
    /// It is answered here; the platform never hears of it.
    Say(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The connection ends; the platform never hears of it.
    CloseBefore,
    /// No answer comes; the platform never hears of it.
    SilentBefore,
    /// The platform does it, and half of its answer arrives.
    CutAfter,
    /// The platform does it, and no answer comes.
    SilentAfter,
    /// The platform does it, and its answer's body is replaced.
    Body(Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>),
}

impl Mischief {
    /// A status with a body that every platform could have sent.
    pub fn status(status: u16) -> Self {
        Self::Say(status, Vec::new(), b"{}".to_vec())
    }
}

type Plan = dyn FnMut(&Asked) -> Mischief + Send;

struct Inner {
    upstream: String,
    plan: Mutex<Box<Plan>>,
    /// What was asked and the body of the answer that the platform gave.
    seen: Mutex<Vec<(Asked, Vec<u8>)>>,
}

/// See the module.
pub struct Relay {
    pub url: Url,
    inner: Arc<Inner>,
    _task: OwnedTask<()>,
}

impl Relay {
    /// A relay to `upstream` that does no mischief yet.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let upstream: Url = upstream.parse().unwrap();
        let inner = Arc::new(Inner {
            upstream: format!("{}:{}", upstream.host_str().unwrap(), upstream.port().unwrap()),
            plan: Mutex::new(Box::new(|_| Mischief::None)),
            seen: Mutex::default(),
        });
        let kept = Arc::clone(&inner);
        let task = spawn_owned("relay", async move {
            let mut connections = Vec::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let inner = Arc::clone(&kept);
                connections.push(spawn_owned("connection", async move {
                    serve(connection, &inner).await;
                }));
            }
        });
        Self {
            url,
            inner,
            _task: task,
        }
    }

    /// From now on this happens to every request, tokens included.
    pub fn plan(&self, plan: impl FnMut(&Asked) -> Mischief + Send + 'static) {
        *self.inner.plan.lock() = Box::new(plan);
    }

    /// From now on this happens to every call of the API.
    pub fn always(&self, mischief: &Mischief) {
        let mischief = mischief.clone();
        self.plan(move |asked| match asked.is_token() {
            true => Mischief::None,
            false => mischief.clone(),
        });
    }

    /// No mischief any more.
    pub fn calm(&self) {
        self.plan(|_| Mischief::None);
    }

    /// What was asked since this was called last, without tokens, each with the platform's answer.
    pub fn take(&self) -> Vec<(Asked, Vec<u8>)> {
        let seen = std::mem::take(&mut *self.inner.seen.lock());
        seen.into_iter().filter(|(asked, _)| !asked.is_token()).collect()
    }

    /// The same for tokens only.
    pub fn take_tokens(&self) -> usize {
        let seen = std::mem::take(&mut *self.inner.seen.lock());
        seen.iter().filter(|(asked, _)| asked.is_token()).count()
    }
}

async fn serve(mut connection: TcpStream, inner: &Inner) {
    while let Some(asked) = read(&mut connection).await {
        let mischief = (inner.plan.lock())(&asked);
        let note = |answer: &[u8]| inner.seen.lock().push((asked.clone(), answer.to_vec()));
        let bytes = match &mischief {
            Mischief::Say(status, headers, body) => {
                note(&[]);
                let mut head = vec![format!("HTTP/1.1 {status} Said")];
                head.push("content-type: application/json".to_owned());
                head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
                joined(&head, body)
            }
            Mischief::CloseBefore => {
                note(&[]);
                return;
            }
            Mischief::SilentBefore => {
                note(&[]);
                std::future::pending::<()>().await;
                return;
            }
            after => {
                let Some((head, body)) = forward(&inner.upstream, &asked).await else {
                    return;
                };
                note(&body);
                match after {
                    Mischief::SilentAfter => {
                        std::future::pending::<()>().await;
                        return;
                    }
                    Mischief::CutAfter => {
                        let mut whole = joined(&head, &body);
                        whole.truncate(whole.len() - body.len().div_ceil(2));
                        // Whether it arrives is the other side's.
                        drop(connection.write_all(&whole).await);
                        return;
                    }
                    Mischief::Body(change) => joined(&head, &change(body)),
                    _ => joined(&head, &body),
                }
            }
        };
        if connection.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn joined(head: &[String], body: &[u8]) -> Vec<u8> {
    let mut bytes = head.join("\r\n").into_bytes();
    // A 204 has no body by its status.
    if !head[0].contains(" 204") {
        bytes.extend(format!("\r\ncontent-length: {}", body.len()).into_bytes());
    }
    bytes.extend(b"\r\n\r\n");
    bytes.extend(body);
    bytes
}

/// The platform's answer: its head without lengths, and its body.
async fn forward(upstream: &str, asked: &Asked) -> Option<(Vec<String>, Vec<u8>)> {
    let mut connection = TcpStream::connect(upstream).await.ok()?;
    let mut head = vec![format!("{} HTTP/1.1", asked.what), format!("host: {upstream}")];
    head.extend(asked.head.iter().cloned());
    head.push("connection: close".to_owned());
    connection.write_all(&joined(&head, &asked.body)).await.ok()?;
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).await.ok()?;
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = String::from_utf8(bytes[..at].to_vec()).ok()?;
    let is = |line: &str, name: &str| line.to_ascii_lowercase().starts_with(name);
    assert!(!text.lines().any(|l| is(l, "transfer-encoding")), "{text}");
    let lines = text
        .lines()
        .filter(|l| !is(l, "content-length") && !is(l, "connection"));
    Some((lines.map(str::to_owned).collect(), bytes[at + 4..].to_vec()))
}

async fn read(connection: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let ends = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if connection.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes.drain(..ends).collect()).unwrap();
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let first = lines.next()?.strip_suffix(" HTTP/1.1")?.to_owned();
    let (mut head, mut length) = (Vec::new(), 0);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            // The body is looked at on its way back.
            "host" | "connection" | "accept-encoding" => {}
            _ => head.push(line.to_owned()),
        }
    }
    while bytes.len() < length {
        if connection.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(Asked {
        what: first,
        head,
        body: bytes,
    })
}
