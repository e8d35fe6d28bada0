//! A server that answers as it is told, byte for byte, and remembers what it was asked.

use super::memory::Memory;
use crate::support::oas::{Contract, Request};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;
use zaikoban::clock::Clock;
use zaikoban::http::{Client, ClientSettings, Limits, Origin};
use zaikoban::platform::ebay::{Ebay, EbaySettings};
use zaikoban::platform::oauth::Grant;
use zaikoban::supervision::{OwnedTask, spawn_owned};

pub const TOKEN_PATH: &str = "/identity/v1/oauth2/token";
pub const BULK_PATH: &str = "/sell/inventory/v1/bulk_update_price_quantity";

/// What the server was asked.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn is_token(&self) -> bool {
        self.path == TOKEN_PATH || self.path == "/auth/o2/token"
    }
}

/// What it says.
#[derive(Clone, Debug)]
pub enum Said {
    /// A whole answer.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Only so many bytes of it, then the connection is closed.
    CutAfter(usize, Box<Said>),
    /// Nothing, ever.
    Silence,
    /// The connection is closed without a byte.
    Close,
}

pub fn say(status: u16, body: &Value) -> Said {
    Said::Answer(status, Vec::new(), body.to_string().into_bytes())
}

pub fn token(name: &str, expires_in: u64) -> Said {
    let body = json!({"access_token": name, "expires_in": expires_in, "token_type": "User Access Token"});
    say(200, &body)
}

type Handler = dyn Fn(&Seen) -> Said + Send + Sync;

pub struct Server {
    pub url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// What was wrong with what it was asked.
    problems: Arc<Mutex<Vec<String>>>,
    tokens: Arc<Memory>,
    _task: OwnedTask<()>,
}

/// Everything that reached the API was held against the contract, whatever the test is about.
impl Drop for Server {
    fn drop(&mut self) {
        let problems = self.problems.lock();
        assert!(std::thread::panicking() || problems.is_empty(), "{problems:#?}");
    }
}

impl Server {
    /// Answers each request with what `handler` says; each is held against eBay's contract.
    pub async fn start(handler: impl Fn(&Seen) -> Said + Send + Sync + 'static) -> Self {
        Self::judged(handler, problems_of).await
    }

    /// The same with another judge of what it is asked.
    pub async fn judged(
        handler: impl Fn(&Seen) -> Said + Send + Sync + 'static,
        judge: fn(&Seen) -> Vec<String>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let problems = Arc::new(Mutex::new(Vec::new()));
        let (handler, kept): (Arc<Handler>, _) =
            (Arc::new(handler), (Arc::clone(&seen), Arc::clone(&problems)));
        let task = spawn_owned("test server", async move {
            let mut connections = Vec::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (handler, (seen, problems)) = (Arc::clone(&handler), kept.clone());
                connections.push(spawn_owned("connection", async move {
                    serve(connection, &*handler, judge, &seen, &problems).await
                }));
            }
        });
        Self {
            url,
            seen,
            problems,
            tokens: Arc::default(),
            _task: task,
        }
    }

    /// Everything it was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// What the API was asked, without the tokens.
    pub fn calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|s| !s.is_token()).collect()
    }

    /// How often a token was asked for.
    pub fn refreshes(&self) -> usize {
        self.seen().iter().filter(|s| s.is_token()).count()
    }

    /// A client that may reach it, with short limits.
    pub fn client(&self) -> Client {
        let limits = Limits {
            total: Duration::from_millis(600),
            ..Limits::default()
        };
        Client::new(&ClientSettings {
            origins: vec![Origin::of(&self.url).unwrap()],
            user_agent: "zaikoban-test".into(),
            ca_file: None,
            gzip: false,
            limits,
        })
        .unwrap()
    }

    /// The adapter in front of it; all of one server's share their tokens.
    pub fn ebay(&self) -> Ebay {
        self.ebay_with(25)
    }

    pub fn ebay_with(&self, skus_per_call: usize) -> Ebay {
        let settings = EbaySettings {
            endpoint: self.url.clone(),
            content_language: "en-US".into(),
            skus_per_call,
        };
        let grant = Grant {
            client_id: "client".into(),
            client_secret: CANARY_SECRET.into(),
            refresh_token: CANARY_REFRESH.into(),
        };
        let tokens = Arc::clone(&self.tokens);
        Ebay::new(settings, Arc::new(grant), self.client(), tokens, Clock::system()).unwrap()
    }
}

pub const CANARY_SECRET: &str = "canary-secret-7f3a";
pub const CANARY_REFRESH: &str = "v^1.1#canary-refresh-91be";

async fn serve(
    mut connection: TcpStream,
    handler: &Handler,
    judge: fn(&Seen) -> Vec<String>,
    seen: &Mutex<Vec<Seen>>,
    problems: &Mutex<Vec<String>>,
) {
    while let Some(asked) = read(&mut connection).await {
        problems.lock().extend(judge(&asked));
        seen.lock().push(asked.clone());
        let said = handler(&asked);
        let (bytes, keeps) = bytes(&said);
        if connection.write_all(&bytes).await.is_err() || !keeps {
            return;
        }
        if matches!(said, Said::Silence) {
            std::future::pending::<()>().await;
        }
    }
}

fn problems_of(asked: &Seen) -> Vec<String> {
    let not_ebays = asked.is_token() || asked.path == "/v1/graphql";
    let (Some(contract), false) = (Contract::load(), not_ebays) else {
        return Vec::new();
    };
    let problems = contract.problems_of_request(&Request {
        method: &asked.method,
        path: &asked.path,
        header: &|name| asked.header(name),
        body: &asked.body,
    });
    problems
        .iter()
        .map(|p| format!("{} {}: {p}", asked.method, asked.path))
        .collect()
}

/// The bytes to send, and whether the connection is kept.
fn bytes(said: &Said) -> (Vec<u8>, bool) {
    match said {
        Said::Silence => (Vec::new(), true),
        Said::Close => (Vec::new(), false),
        Said::CutAfter(length, whole) => {
            let mut bytes = bytes(whole).0;
            bytes.truncate(*length);
            (bytes, false)
        }
        Said::Answer(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
            if *status != 204 {
                head += &format!("content-length: {}\r\n", body.len());
            }
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            ([head.as_bytes(), b"\r\n", body].concat(), true)
        }
    }
}

/// One request; `None` when the connection ended.
async fn read(connection: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_ends = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if connection.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes.drain(..head_ends + 4).collect()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut asked = Seen {
        method,
        path,
        headers,
        body: bytes,
    };
    let length = asked.header("content-length").map_or(0, |l| l.parse().unwrap());
    while asked.body.len() < length {
        if connection.read_buf(&mut asked.body).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(asked)
}
