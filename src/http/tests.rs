//! The client against a server that does as it is told, byte by byte.
#![expect(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

use super::*;
use crate::domain::{Classified, ErrorClass};
use flate2::{Compression, write::GzEncoder};
use secrecy::SecretString;
use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What the server does after it read a request.
#[derive(Clone)]
enum Do {
    Send(Vec<u8>),
    /// The same bytes again and again, with a pause, until the other side is gone.
    Drip(Vec<u8>, Duration),
    Hang,
    /// Waits for the next request on this connection.
    Next,
    Close,
    Reset,
}

/// A server for one script per request; the requests it read come out of `seen`.
struct Server {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<String>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// `script` is asked with the number of the request, counted over all connections.
    async fn start(script: impl Fn(usize) -> Vec<Do> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::unbounded_channel();
        let (script, requests, connections) = (
            Arc::new(script),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (script, requests, tell) = (script.clone(), requests.clone(), tell.clone());
                tokio::spawn(async move {
                    // The client may go away at any time; that is what some tests are about.
                    let _gone = serve(stream, &*script, &requests, &tell).await;
                });
            }
        });
        Self {
            address,
            seen,
            connections,
        }
    }

    /// The same answer to every request, the connection kept.
    async fn always(answer: Vec<u8>) -> Self {
        Self::start(move |_| vec![Do::Send(answer.clone()), Do::Next]).await
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    fn settings(&self) -> ClientSettings {
        ClientSettings {
            origins: vec![Origin::of(&self.url("/")).unwrap()],
            user_agent: "zaikoban/test (+mailto:shop@example.jp)".to_owned(),
            ca_file: None,
            gzip: true,
            limits: Limits {
                total: Duration::from_secs(10),
                idle: Duration::from_secs(5),
                ..Limits::default()
            },
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.settings()).unwrap()
    }

    fn client_with(&self, limits: Limits) -> Client {
        Client::new(&ClientSettings {
            limits,
            ..self.settings()
        })
        .unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &(dyn Fn(usize) -> Vec<Do> + Send + Sync),
    requests: &AtomicUsize,
    tell: &mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    'requests: loop {
        tell.send(read_request(&mut stream).await?).unwrap_or_default();
        for step in script(requests.fetch_add(1, Ordering::SeqCst)) {
            match step {
                Do::Send(bytes) => stream.write_all(&bytes).await?,
                Do::Drip(bytes, pause) => loop {
                    stream.write_all(&bytes).await?;
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                },
                Do::Hang => std::future::pending().await,
                Do::Next => continue 'requests,
                Do::Close => return stream.shutdown().await,
                Do::Reset => return stream.set_zero_linger(),
            }
        }
        return Ok(());
    }
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let head_end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = head_end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() >= end + length.unwrap_or(0) {
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&more[..n]),
        }
    }
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut all = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend_from_slice(body);
    all
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut all = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(size) {
        all.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        all.extend_from_slice(piece);
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A page of the size of the real ones, with enough variety that it packs about as well.
fn page() -> Vec<u8> {
    let mut seed = 1_u32;
    let mut text = String::new();
    while text.len() < 139_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!(
            "<div class=\"item\" data-id=\"{seed}\">在庫 {}</div>\n",
            seed % 7
        ));
    }
    text.into_bytes()
}

async fn get(server: &Server) -> Result<Answer, HttpError> {
    server
        .client()
        .get(server.url("/item/x1?token=secret-token"))
        .send()
        .await
}

// === answers ===

#[tokio::test]
async fn a_page_arrives_whole_plain_chunked_and_packed() {
    let page = page();
    let two_members = [gzip(&page[..70_000]), gzip(&page[70_000..])].concat();
    for bytes in [
        answer("", &page),
        chunked(&page, 10_000),
        chunked(&page, 1_000_000),
        answer("Content-Encoding: gzip\r\n", &gzip(&page)),
        answer("Content-Encoding: GZIP\r\n", &two_members),
        answer("Content-Encoding: identity\r\n", &page),
    ] {
        let server = Server::always(bytes).await;
        let got = get(&server).await.unwrap();
        assert_eq!((got.status, got.body.len()), (200, page.len()));
        assert!(got.body == page);
    }
}

#[tokio::test]
async fn an_answer_shows_its_head_and_bad_statuses_are_answers() {
    let bytes =
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nX-A: b\r\nContent-Length: 4\r\n\r\nslow"
            .to_vec();
    let server = Server::always(bytes).await;
    let got = get(&server).await.unwrap();
    assert_eq!(
        (got.status, got.header("x-a"), &*got.body),
        (429, Some("b"), &b"slow"[..])
    );
    let now = crate::clock::Clock::system().now();
    let expected = ErrorClass::RateLimited {
        retry_after: Some(Duration::from_secs(7)),
    };
    assert_eq!(got.status_class(now), Some(expected));
    assert!(!got.is_success());
}

#[tokio::test]
async fn empty_answers_are_empty_whatever_they_claim() {
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
    ] {
        let server = Server::always(head.as_bytes().to_vec()).await;
        assert!(get(&server).await.unwrap().body.is_empty(), "{head}");
    }
}

#[tokio::test]
async fn what_is_sent_says_who_we_are_and_carries_what_was_given() {
    let mut server = Server::always(answer("", b"{}")).await;
    let client = server.client();
    let token = SecretString::from("t0ken");
    let request = client
        .post(server.url("/x"))
        .bearer(&token)
        .header("content-language", "en-US");
    request.json(&serde_json::json!({"a": 1})).send().await.unwrap();
    let seen = server.seen.recv().await.unwrap();
    for expected in [
        "POST /x HTTP/1.1",
        "user-agent: zaikoban/test (+mailto:shop@example.jp)",
        "accept-encoding: gzip",
        "authorization: Bearer t0ken",
        "content-type: application/json",
        "content-language: en-US",
        "\r\n\r\n{\"a\":1}",
    ] {
        assert!(seen.contains(expected), "{expected} is not in {seen}");
    }
    let form = client
        .post(server.url("/token"))
        .basic("app", &token)
        .form(&[("grant_type", "refresh token&=")]);
    form.send().await.unwrap();
    let seen = server.seen.recv().await.unwrap();
    assert!(seen.contains("authorization: Basic YXBwOnQwa2Vu"), "{seen}");
    assert!(seen.ends_with("\r\n\r\ngrant_type=refresh+token%26%3D"), "{seen}");
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let trap = Server::always(answer("", b"trap")).await;
    for (location, absolute) in [
        (trap.url("/login").to_string(), trap.url("/login").to_string()),
        ("/elsewhere?x=1".to_owned(), String::new()),
    ] {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let server = Server::always(head.into_bytes()).await;
        let got = get(&server).await.unwrap();
        let expected = if absolute.is_empty() {
            server.url("/elsewhere?x=1").to_string()
        } else {
            absolute
        };
        assert_eq!((got.status, got.location().unwrap().to_string()), (302, expected));
        assert_eq!(server.connections(), 1);
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let server = Server::always(answer("", b"ok")).await;
    let client = server.client();
    for _ in 0..20 {
        client.get(server.url("/")).send().await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

// === where it may go ===

#[tokio::test]
async fn an_address_that_is_not_its_own_is_refused_before_connecting() {
    let (own, trap) = (
        Server::always(answer("", b"own")).await,
        Server::always(answer("", b"trap")).await,
    );
    let (client, port, other) = (own.client(), own.address.port(), trap.address.port());
    for address in [
        format!("http://127.0.0.1:{other}/"),
        format!("http://localhost:{port}/"),
        format!("http://localhost.:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://user@127.0.0.1:{port}/"),
        format!("http://user:pw@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}@127.0.0.1:{other}/"),
        format!("http://127.0.0.2:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        "http://127.0.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "data:text/plain,x".to_owned(),
    ] {
        let error = client
            .get(Url::parse(&address).unwrap())
            .send()
            .await
            .unwrap_err();
        assert!(
            matches!(error, HttpError::NotAllowed { .. }),
            "{address}: {error}"
        );
        assert_eq!(
            (error.class(), error.outcome_unknown()),
            (ErrorClass::Rejected, false)
        );
        assert!(!error.to_string().contains("pw"), "{error}");
    }
    assert_eq!((own.connections(), trap.connections()), (0, 0));
}

#[test]
fn what_is_no_place_makes_no_client() {
    for text in [
        "",
        "yahoo",
        "ftp://example.jp",
        "https://",
        "https://user@example.jp",
        "/path",
    ] {
        assert!(Origin::parse(text).is_err(), "{text:?} was taken");
    }
    assert_eq!(
        Origin::parse("https://API.ebay.com/sell").unwrap().to_string(),
        "https://api.ebay.com:443"
    );
    let settings = ClientSettings {
        origins: vec![],
        user_agent: "x".to_owned(),
        ca_file: None,
        gzip: false,
        limits: Limits::default(),
    };
    assert!(matches!(Client::new(&settings), Err(BadClient::NoOrigin)));
    let origins = vec![Origin::parse("http://127.0.0.1:1").unwrap()];
    let bad_agent = ClientSettings {
        origins: origins.clone(),
        user_agent: "a\nb".to_owned(),
        ..settings.clone()
    };
    assert!(matches!(Client::new(&bad_agent), Err(BadClient::Build { .. })));
    let no_file = ClientSettings {
        origins: origins.clone(),
        ca_file: Some("/nowhere/ca.pem".into()),
        ..settings.clone()
    };
    assert!(
        Client::new(&no_file)
            .unwrap_err()
            .to_string()
            .contains("/nowhere/ca.pem")
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let empty = ClientSettings {
        origins,
        ca_file: Some(file.path().into()),
        ..settings
    };
    assert!(matches!(
        Client::new(&empty),
        Err(BadClient::NoCertificate { .. })
    ));
}

// === whole or an error ===

/// Cuts `bytes` at two hundred places, each on a connection of its own, by closing or resetting it.
async fn cut_everywhere(bytes: Vec<u8>) {
    let length = bytes.len();
    let server = Server::start(move |n| {
        let at = n / 2 * (length - 1) / 199;
        let end = if n % 2 == 0 { Do::Close } else { Do::Reset };
        vec![Do::Send(bytes[..at].to_vec()), end]
    })
    .await;
    for n in 0..400 {
        // A client each, so that none has a kept connection and nothing is repeated.
        let error = get(&server)
            .await
            .expect_err(&format!("cut {n} of 400 gave a value"));
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
        assert!(
            error.outcome_unknown() && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_a_page_cut_anywhere_is_never_a_value() {
    cut_everywhere(answer("", &page())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_page_cut_anywhere_is_never_a_value() {
    cut_everywhere(chunked(&page(), 4_000)).await;
}

#[tokio::test]
async fn a_packed_page_cut_or_damaged_anywhere_is_never_a_value() {
    let packed = gzip(&page());
    let length = packed.len();
    let cut = packed.clone();
    // The frame is right, the stream in it is cut: only the trailer tells.
    let server = Server::start(move |n| {
        let at = 1 + n * (length - 2) / 199;
        vec![
            Do::Send(answer("Content-Encoding: gzip\r\n", &cut[..at])),
            Do::Next,
        ]
    })
    .await;
    let client = server.client();
    for n in 0..200 {
        let error = client
            .get(server.url("/"))
            .send()
            .await
            .expect_err(&format!("cut {n}"));
        assert!(matches!(error, HttpError::Cut { .. }), "{error}");
    }
    let server = Server::start(move |n| {
        let mut damaged = packed.clone();
        // Header fields that carry nothing may change freely; begin after them.
        damaged[10 + n * (length - 11) / 199] ^= 0x55;
        vec![Do::Send(answer("Content-Encoding: gzip\r\n", &damaged)), Do::Next]
    })
    .await;
    let client = server.client();
    for n in 0..200 {
        let error = client
            .get(server.url("/"))
            .send()
            .await
            .expect_err(&format!("damage {n}"));
        assert!(
            matches!(error, HttpError::Cut { .. } | HttpError::TooLarge { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\0\0\0\0",
        b"HTTP/1.1 abc\r\n\r\n",
        b"{\"ok\":true}\r\n\r\n",
    ] {
        let server = Server::start(move |_| vec![Do::Send(bytes.to_vec()), Do::Close]).await;
        let error = get(&server).await.unwrap_err();
        assert!(matches!(error, HttpError::NoAnswer { .. }), "{error}");
    }
}

/// Servers that are old, terse or untidy, and within the rules.
#[tokio::test]
async fn d20_odd_answers_within_the_rules_are_whole_or_an_error() {
    for (bytes, expected) in [
        (&b"HTTP/1.0 200 OK\r\n\r\nold"[..], "old"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", "old"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "ok",
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
            "to the end",
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 2\r\n\r\n{}",
            "{}",
        ),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "ok"),
        (
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\nnot a body",
            "",
        ),
    ] {
        let server = Server::start(move |_| vec![Do::Send(bytes.to_vec()), Do::Close]).await;
        let shown = String::from_utf8_lossy(bytes);
        // Twice over one client: a body that nobody announced must not be read as the next answer's head.
        let client = server.client();
        for _ in 0..2 {
            let got = client.get(server.url("/")).send().await;
            let got = got.unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(&*got.body, expected.as_bytes(), "{shown}");
        }
    }
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabcd",
    ] {
        let server = Server::start(move |_| vec![Do::Send(bytes.to_vec()), Do::Close]).await;
        let got = get(&server).await;
        assert!(got.is_err(), "{}: {got:?}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn d9_an_answer_in_another_packing_is_an_error() {
    for encoding in ["br", "zstd", "deflate", "gzip, gzip", "GZIP, br", "compress"] {
        let head = format!("Content-Encoding: {encoding}\r\n");
        let server = Server::always(answer(&head, &gzip(b"x"))).await;
        let error = get(&server).await.unwrap_err();
        assert!(matches!(error, HttpError::Encoding { .. }), "{encoding}: {error}");
        assert_eq!(error.class(), ErrorClass::Protocol);
    }
    let twice = "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n";
    let server = Server::always(answer(twice, &gzip(&gzip(b"x")))).await;
    assert!(matches!(get(&server).await, Err(HttpError::Encoding { .. })));
}

// === how much ===

#[tokio::test]
async fn d9_a_bomb_is_stopped_at_its_bound() {
    // Half a gigabyte in half a megabyte.
    let bomb = gzip(&vec![b' '; 1_000_000]).repeat(500);
    let server = Server::always(answer("Content-Encoding: gzip\r\n", &bomb)).await;
    let error = get(&server).await.unwrap_err();
    assert!(
        matches!(
            error,
            HttpError::TooLarge {
                limit_bytes: 8_388_608,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.class(), ErrorClass::Protocol);

    // Small enough to be allowed by size, but a thousand times what came.
    let server = Server::always(answer(
        "Content-Encoding: gzip\r\n",
        &gzip(&vec![b' '; 4_000_000]),
    ))
    .await;
    let error = get(&server).await.unwrap_err();
    assert!(
        matches!(error, HttpError::TooLarge { what, .. } if what.contains("too many times")),
        "{error}"
    );

    let server = Server::always(answer("Content-Encoding: gzip\r\n", &gzip(&vec![b' '; 60_000]))).await;
    assert_eq!(
        get(&server).await.unwrap().body.len(),
        60_000,
        "the ratio says nothing of small bodies"
    );
}

#[tokio::test]
async fn a_bomb_with_a_lying_length_is_stopped_as_well() {
    let mut bomb = gzip(&vec![b' '; 4_000_000]);
    let end = bomb.len();
    for length in [0_u32, 1, u32::MAX] {
        bomb[end - 4..].copy_from_slice(&length.to_le_bytes());
        let server = Server::always(answer("Content-Encoding: gzip\r\n", &bomb)).await;
        assert!(matches!(get(&server).await, Err(HttpError::TooLarge { .. })));
    }
}

#[tokio::test]
async fn d10_a_body_larger_than_allowed_is_refused_before_or_while_it_comes() {
    let stated = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".to_vec();
    let server = Server::start(move |_| vec![Do::Send(stated.clone()), Do::Hang]).await;
    assert!(matches!(get(&server).await, Err(HttpError::TooLarge { .. })));

    let piece = [b"8000\r\n".as_slice(), &vec![b'x'; 0x8000], b"\r\n"].concat();
    let server = Server::start(move |_| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Do::Send(head), Do::Drip(piece.clone(), Duration::ZERO)]
    })
    .await;
    assert!(matches!(get(&server).await, Err(HttpError::TooLarge { .. })));
}

#[tokio::test]
async fn d10_a_head_larger_than_allowed_is_refused() {
    let endless_line = vec![
        Do::Send(b"HTTP/1.1 200 OK\r\nX-A: ".to_vec()),
        Do::Drip(vec![b'a'; 65_536], Duration::ZERO),
    ];
    let endless_headers = vec![
        Do::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Do::Drip(b"X-A: b\r\n".repeat(1000), Duration::ZERO),
    ];
    let many = vec![
        Do::Send(
            [
                b"HTTP/1.1 200 OK\r\n".to_vec(),
                b"X-A: b\r\n".repeat(101),
                b"Content-Length: 0\r\n\r\n".to_vec(),
            ]
            .concat(),
        ),
        Do::Next,
    ];
    for script in [endless_line, endless_headers, many] {
        let server = Server::start(move |_| script.clone()).await;
        let error = get(&server).await.unwrap_err();
        assert!(matches!(error, HttpError::NoAnswer { .. }), "{error}");
    }
}

// === how long ===

#[tokio::test]
async fn d7_silence_slowness_and_heads_without_end_are_ended_by_their_limits() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
    let drip = |bytes: &[u8]| Do::Drip(bytes.to_vec(), Duration::from_millis(20));
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(60));
    let in_all = Limits {
        total: short,
        idle: long,
        ..Limits::default()
    };
    let silent = Limits {
        total: long,
        idle: short,
        ..Limits::default()
    };
    let for_head = "waiting for the answer's head";
    for (limits, script, waiting_for) in [
        (in_all, vec![Do::Hang], for_head),
        (
            in_all,
            vec![Do::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), drip(b"X: y\r\n")],
            for_head,
        ),
        (
            silent,
            vec![Do::Send(head.clone()), Do::Send(b"abc".to_vec()), Do::Hang],
            "waiting for more of the answer's body",
        ),
        (
            in_all,
            vec![Do::Send(head), drip(b"x")],
            "reading the answer's body to its end",
        ),
    ] {
        let server = Server::start(move |_| script.clone()).await;
        let error = server
            .client_with(limits)
            .get(server.url("/"))
            .send()
            .await
            .unwrap_err();
        assert!(
            matches!(&error, HttpError::TimedOut { waiting_for: what, after, .. } if *what == waiting_for && *after == short),
            "{error}"
        );
        assert_eq!(
            (error.class(), error.outcome_unknown()),
            (ErrorClass::Transient, true)
        );
    }
}

#[tokio::test]
async fn one_exchange_may_be_given_another_time() {
    let server = Server::start(|_| vec![Do::Hang]).await;
    let request = server
        .client()
        .get(server.url("/"))
        .total_time(Duration::from_millis(50));
    let error = request.send().await.unwrap_err();
    assert!(error.to_string().contains("50ms"), "{error}");
}

// === what is repeated ===

/// Answers the first request, then loses the connection on the second without a byte; answers the third.
async fn loses_the_second() -> Server {
    Server::start(|n| match n {
        1 => vec![Do::Reset],
        _ => vec![Do::Send(answer("", b"ok")), Do::Next],
    })
    .await
}

#[tokio::test]
async fn a_kept_connection_that_was_lost_is_replaced_once_for_what_may_be_repeated() {
    let server = loses_the_second().await;
    let client = server.client();
    client.get(server.url("/")).send().await.unwrap();
    assert_eq!(client.get(server.url("/")).send().await.unwrap().status, 200);
    assert_eq!(server.connections(), 2);

    let server = loses_the_second().await;
    let client = server.client();
    client.get(server.url("/")).send().await.unwrap();
    let push = client.post(server.url("/")).json(&1).repeatable();
    assert_eq!(push.send().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_post_is_not_repeated() {
    let server = loses_the_second().await;
    let client = server.client();
    client.get(server.url("/")).send().await.unwrap();
    let error = client.post(server.url("/")).json(&1).send().await.unwrap_err();
    assert!(
        matches!(error, HttpError::NoAnswer { .. }) && error.outcome_unknown(),
        "{error}"
    );
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_failed_on_a_fresh_connection_is_not_repeated() {
    let mut server = Server::start(|_| vec![Do::Reset]).await;
    assert!(get(&server).await.is_err());
    assert!(server.seen.recv().await.is_some());
    assert!(server.seen.try_recv().is_err(), "sent once");
}

#[tokio::test]
async fn d21_a_server_that_closes_idle_connections_at_the_worst_moment_costs_no_answer() {
    // Every answer is followed by the end of the connection, without saying so: the next request races with it.
    let server = Server::start(|_| vec![Do::Send(answer("", b"ok")), Do::Close]).await;
    let client = server.client();
    for n in 0..2_000 {
        let got = client.get(server.url("/")).send().await;
        assert!(got.is_ok(), "request {n}: {}", got.unwrap_err());
    }
}

// === no connection ===

#[tokio::test]
async fn d6_each_way_of_not_connecting_has_its_name() {
    let gone = {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let refused = format!("http://{gone}/");
    // A label that is too long fails in the resolver itself, without a network.
    let nobody = format!("http://{}.invalid/", "n".repeat(70));
    for (address, expected) in [
        (refused.as_str(), ConnectFailure::Refused),
        (nobody.as_str(), ConnectFailure::Name),
    ] {
        let settings = ClientSettings {
            origins: vec![Origin::parse(address).unwrap()],
            user_agent: "x".to_owned(),
            ca_file: None,
            gzip: false,
            limits: Limits::default(),
        };
        let error = Client::new(&settings)
            .unwrap()
            .get(Url::parse(address).unwrap())
            .send()
            .await
            .unwrap_err();
        assert!(
            matches!(&error, HttpError::Connect { failure, .. } if *failure == expected),
            "{error}"
        );
        assert_eq!(
            (error.class(), error.outcome_unknown()),
            (ErrorClass::Transient, false)
        );
    }
}

/// A TLS server on a thread of its own, with a certificate for `name`; answers each connection once.
fn tls_server(name: &str) -> (u16, tempfile::NamedTempFile) {
    tls_server_until(name, 4096)
}

/// The same with a certificate that ends with the first day of `year`.
fn tls_server_until(name: &str, year: i32) -> (u16, tempfile::NamedTempFile) {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    wanted.not_after = rcgen::date_time_ymd(year, 1, 1);
    let cert = wanted.self_signed(&signing_key).unwrap();
    let mut pem = tempfile::NamedTempFile::new().unwrap();
    pem.write_all(cert.pem().as_bytes()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::Stream::new(&mut session, &mut stream);
            let mut request = [0; 4096];
            // A client that does not trust us goes away in the handshake.
            if tls.read(&mut request).is_ok() {
                let _gone = tls.write_all(&answer("", b"secure"));
                session.send_close_notify();
                let _gone = session.complete_io(&mut stream);
            }
        }
    });
    (port, pem)
}

#[tokio::test]
async fn d6_certificates_are_always_verified_and_a_ca_file_stands_in_for_the_systems() {
    let get = async |address: String, ca_file: Option<&std::path::Path>| {
        let settings = ClientSettings {
            origins: vec![Origin::parse(&address).unwrap()],
            user_agent: "x".to_owned(),
            ca_file: ca_file.map(Into::into),
            gzip: true,
            limits: Limits::default(),
        };
        Client::new(&settings)
            .unwrap()
            .get(Url::parse(&address).unwrap())
            .send()
            .await
    };
    let (port, pem) = tls_server("localhost");
    let (_, other_pem) = tls_server("localhost");
    let (late_port, late_pem) = tls_server_until("localhost", 2020);
    let trusted = get(format!("https://localhost:{port}/"), Some(pem.path()))
        .await
        .unwrap();
    assert_eq!(&*trusted.body, b"secure");
    for (address, ca_file) in [
        (format!("https://localhost:{port}/"), None),
        (format!("https://localhost:{port}/"), Some(other_pem.path())),
        (format!("https://127.0.0.1:{port}/"), Some(pem.path())),
        (format!("https://localhost:{late_port}/"), Some(late_pem.path())),
    ] {
        let error = get(address, ca_file).await.unwrap_err();
        assert!(
            matches!(
                error,
                HttpError::Connect {
                    failure: ConnectFailure::Tls,
                    ..
                }
            ),
            "{error}"
        );
    }
}

// === secrets and statuses ===

#[tokio::test]
async fn no_secret_is_in_an_error_or_a_debug() {
    let server = Server::start(|_| vec![Do::Close]).await;
    let secret = SecretString::from("hunter2");
    let request = server
        .client()
        .post(server.url("/token?key=hunter2#hunter2"))
        .bearer(&secret)
        .form(&[("refresh_token", "hunter2")]);
    let mut told = format!("{request:?}");
    told.push_str(&format!("{:?}", request.send().await.unwrap_err()));
    let broken = SecretString::from("hunter2\r\nx: y");
    let unsendable = server
        .client()
        .get(server.url("/"))
        .secret_header("x-key", &broken)
        .send()
        .await
        .unwrap_err();
    assert!(matches!(unsendable, HttpError::Unsendable { .. }));
    told.push_str(&format!("{unsendable} {unsendable:?}"));
    let kept = Server::always(answer("Set-Cookie: a=hunter2\r\n", b"hunter2")).await;
    told.push_str(&format!(
        "{:?}",
        kept.client().get(kept.url("/?q=hunter2")).send().await.unwrap()
    ));
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn each_status_has_its_class() {
    let wait = Some(Duration::from_secs(3));
    for (status, expected) in [
        (200, None),
        (204, None),
        (302, None),
        (400, Some(ErrorClass::Rejected)),
        (401, Some(ErrorClass::Unauthorized)),
        (403, Some(ErrorClass::Blocked)),
        (404, Some(ErrorClass::NotFound)),
        (408, Some(ErrorClass::Transient)),
        (409, Some(ErrorClass::Rejected)),
        (410, Some(ErrorClass::NotFound)),
        (425, Some(ErrorClass::Transient)),
        (429, Some(ErrorClass::RateLimited { retry_after: wait })),
        (500, Some(ErrorClass::Transient)),
        (503, Some(ErrorClass::Transient)),
        (599, Some(ErrorClass::Transient)),
        (600, Some(ErrorClass::Protocol)),
        (99, Some(ErrorClass::Protocol)),
    ] {
        assert_eq!(status_class(status, wait), expected, "{status}");
    }
}

// === where names lead ===

/// Answers lookups with these addresses in turn, the last one again and again.
fn resolver(answers: &'static [&'static str], judge: address::Judge) -> (address::Guarded, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let lookup = move |_name: String| -> address::Found {
        let nth = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        Box::pin(async move { Ok(vec![answers[nth].parse().unwrap()]) })
    };
    (address::Guarded::new(Arc::new(lookup), judge), asked)
}

/// Stands in for "of the internet" here, where only this machine can be reached.
fn all_but_127_0_0_1(address: std::net::IpAddr) -> Option<&'static str> {
    (address == std::net::IpAddr::from([127, 0, 0, 1])).then_some("a private address (the trap)")
}

fn by_name(server: &Server, host: &str, names: address::Guarded) -> (Client, Url) {
    let url = Url::parse(&format!("http://{host}:{}/page", server.address.port())).unwrap();
    let settings = ClientSettings {
        origins: vec![Origin::of(&url).unwrap()],
        ..server.settings()
    };
    (Client::looking_up(&settings, names).unwrap(), url)
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_the_second_time_is_refused_and_nobody_is_called() {
    // The honest place and the trap share a port, so that nothing but the address tells them apart.
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let honest = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = honest.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
    });
    let (names, asked) = resolver(&["127.0.0.2", "127.0.0.1"], all_but_127_0_0_1);
    let url = Url::parse(&format!("http://shop.example:{port}/page")).unwrap();
    let settings = ClientSettings {
        origins: vec![Origin::of(&url).unwrap()],
        user_agent: "zaikoban/test".to_owned(),
        ca_file: None,
        gzip: false,
        limits: Limits::default(),
    };
    let client = Client::looking_up(&settings, names).unwrap();
    assert_eq!(client.get(url.clone()).send().await.unwrap().body, "ok");
    served.await.unwrap();
    for _ in 0..3 {
        let error = client.get(url.clone()).send().await.unwrap_err();
        assert_eq!(
            (error.code(), error.class()),
            ("address_refused", ErrorClass::Transient)
        );
        assert!(!error.outcome_unknown());
        let told = error.to_string();
        assert!(
            told.contains("`shop.example` leads to 127.0.0.1, a private address (the trap)"),
            "{told}"
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4, "one lookup for each connection");
    let called = tokio::time::timeout(Duration::from_millis(50), trap.accept()).await;
    assert!(called.is_err(), "somebody called at the trap");
}

#[tokio::test]
async fn a_name_of_the_internet_leads_neither_here_nor_into_a_private_network() {
    let server = Server::always(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    for (answers, rule) in [
        (&["127.0.0.1"][..], "this machine"),
        (&["10.0.0.1"], "10.0.0.0/8"),
        (&["169.254.169.254"], "link-local"),
        (&["::1"], "this machine"),
        (&["::ffff:127.0.0.1"], "clothes"),
        (&["fd00::1"], "fc00::/7"),
    ] {
        let (names, _) = resolver(answers, refused);
        let (client, url) = by_name(&server, "shop.example", names);
        let error = client.get(url).send().await.unwrap_err();
        assert_eq!(error.code(), "address_refused", "{answers:?}");
        assert!(error.to_string().contains(rule), "{error}");
    }
    assert_eq!(server.connections(), 0);
    // A rehearsal's own name leads here, and nowhere else.
    let (client, url) = by_name(&server, "localhost", resolver(&["127.0.0.1"], refused).0);
    assert_eq!(client.get(url).send().await.unwrap().status, 200);
    let (client, url) = by_name(&server, "localhost", resolver(&["1.1.1.1"], refused).0);
    assert_eq!(
        client.get(url).send().await.unwrap_err().code(),
        "address_refused"
    );
}

#[test]
fn no_client_is_made_for_an_address_of_a_private_network() {
    for origin in [
        "https://10.0.0.1",
        "https://169.254.169.254",
        "http://192.168.0.1:8080",
        "http://[fd00::1]",
        "http://[::ffff:10.0.0.1]",
        "http://0.0.0.0",
    ] {
        let origin = Origin::parse(origin).unwrap();
        let settings = ClientSettings {
            origins: vec![origin.clone()],
            user_agent: "zaikoban/test".to_owned(),
            ca_file: None,
            gzip: false,
            limits: Limits::default(),
        };
        let made = Client::new(&settings);
        let told = made.map(drop).unwrap_err().to_string();
        assert!(told.contains("no request is sent there"), "{origin}: {told}");
    }
}
