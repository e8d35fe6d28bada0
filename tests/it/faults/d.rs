//! D: sources and destinations that misbehave over HTTP.

use crate::support::proxy::Proxy;
use crate::support::seed;
use crate::yahoo::pages::Page;
use rand::Rng as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use zaikoban::clock::Clock;
use zaikoban::domain::{Classified, ErrorClass};
use zaikoban::http::{Client, ClientSettings, Limits, Origin};
use zaikoban::platform::Source as _;
use zaikoban::platform::yahoo::{YahooSettings, YahooSource};
use zaikoban::resilience::{CallError, GateView, Guard, Policy, Priority, Rate};
use zaikoban::supervision::{OwnedTask, spawn_owned};

/// A server that gives every request the same answer.
async fn server(answer: Vec<u8>) -> (url::Url, OwnedTask<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let task = spawn_owned("server", async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            open.push(spawn_owned("connection", async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                // Whoever asked may be gone.
                let _gone = stream.write_all(&answer).await;
            }));
        }
    });
    (url, task)
}

/// What an answer of 429 with these headers means.
async fn class_of(headers: &str) -> ErrorClass {
    let answer =
        format!("HTTP/1.1 429 Too Many Requests\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    let (url, _server) = server(answer.into_bytes()).await;
    let client = Client::new(&ClientSettings {
        origins: vec![Origin::of(&url).unwrap()],
        user_agent: "zaikoban/test".to_owned(),
        ca_file: None,
        gzip: false,
        limits: Limits::default(),
    })
    .unwrap();
    let answer = client.get(url).send().await.unwrap();
    answer.status_class(Clock::system().now()).unwrap()
}

/// An error of that class.
#[derive(Clone, Copy, Debug)]
struct Refused(ErrorClass);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}
impl std::error::Error for Refused {}
impl Classified for Refused {
    fn class(&self) -> ErrorClass {
        self.0
    }
    fn unavailable(&self) -> bool {
        false
    }
}

/// One call that is answered with `class`, and how long the next one then waits for its turn; paused time.
fn next_after(class: ErrorClass) -> (Duration, f64, bool) {
    let paused = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    paused.block_on(async {
        let policy = Policy {
            rate: Rate::per_second(10.0).unwrap(),
            ..Policy::default()
        };
        let guard = Guard::new("test", policy, Clock::system(), None).unwrap();
        let refused: Result<(), _> = guard
            .call(Priority::Normal, || async move { Err(Refused(class)) })
            .await;
        assert!(matches!(refused, Err(CallError::Failed(_))));
        // Later it grows again, step by step.
        let status = guard.status();
        let from = Instant::now();
        let permit = guard.reserve(Priority::Normal).await;
        let waited = from.elapsed();
        drop(permit);
        (waited, status.rate_per_second, status.gate == GateView::Open)
    })
}

/// The word of a 429 counts within bounds, halves the rate, and is no failure of a product or a breaker.
#[tokio::test]
async fn d1_every_form_of_retry_after_is_honoured_within_bounds_and_halves_the_rate() {
    let date = |seconds| {
        (Clock::system().now() + chrono::TimeDelta::seconds(seconds)).format("%a, %d %b %Y %H:%M:%S GMT")
    };
    for (headers, from_s, to_s) in [
        ("Retry-After: 7\r\n".to_owned(), 7.0, 9.0),
        (format!("Retry-After: {}\r\n", date(30)), 25.0, 34.0),
        (String::new(), 0.0, 2.0),
        ("Retry-After: 0\r\n".to_owned(), 1.0, 2.0),
        ("Retry-After: -5\r\n".to_owned(), 0.0, 2.0),
        (format!("Retry-After: {}\r\n", date(-60)), 0.0, 2.0),
        ("Retry-After: 1000000000000\r\n".to_owned(), 900.0, 1_000.0),
        (
            "Retry-After: 99999999999999999999999999\r\n".to_owned(),
            900.0,
            1_000.0,
        ),
        ("Retry-After: soon\r\n".to_owned(), 0.0, 2.0),
        ("Retry-After: 3\r\nRetry-After: 60\r\n".to_owned(), 60.0, 66.0),
    ] {
        let class = class_of(&headers).await;
        assert!(
            matches!(class, ErrorClass::RateLimited { .. }),
            "{headers}: {class:?}"
        );
        let (waited, rate, open) = std::thread::spawn(move || next_after(class)).join().unwrap();
        let seconds = waited.as_secs_f64();
        assert!(
            (from_s..to_s).contains(&seconds),
            "{headers}: the next went after {seconds} s"
        );
        assert!((rate - 5.0).abs() < 0.01, "{headers}: {rate}");
        assert!(open, "{headers}: a 429 is no failure");
    }
}

fn source(endpoint: url::Url) -> YahooSource {
    let settings = YahooSettings {
        endpoint,
        contact: "operator@example.invalid".into(),
        ca_file: None,
        gzip: true,
        time_limit: Duration::from_millis(700),
    };
    YahooSource::new(&settings, Clock::system()).unwrap()
}

/// Whatever the way to the source does to a page, what is read is the page or an error: never "sold out".
#[tokio::test]
async fn d8_a_page_that_any_network_fault_spoils_is_the_page_or_an_error() {
    let body = Page::buy_now().html();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let whole = i64::try_from(answer.len()).unwrap();
    let (url, _server) = server(answer.into_bytes()).await;
    let behind = std::net::SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
    let proxy = Proxy::before_tcp(behind).await;
    let endpoint: url::Url = format!("http://{}", proxy.address()).parse().unwrap();
    let id = crate::yahoo::id("m1122334455");
    let source = source(endpoint);
    let look = async || {
        timeout(Duration::from_secs(20), source.observe(std::slice::from_ref(&id)))
            .await
            .unwrap()
            .remove(0)
    };
    let good = look().await.unwrap();
    assert!(good.stock.get() > 0);

    let mut rng = seed::rng("d8", 8);
    for nth in 0..200 {
        // Spread over the page, and the seed chooses within each part.
        let part = whole / 200;
        let cut = nth * part + rng.random_range(0..part);
        proxy.cut_answers_after(Some(cut));
        let error = look().await.expect_err(&format!("cut at {cut} of {whole}"));
        assert_eq!(error.class, ErrorClass::Transient, "cut at {cut}: {error}");
    }
    proxy.cut_answers_after(None);

    proxy.slice(Some((777, Duration::ZERO)));
    assert_eq!(look().await.unwrap().stock, good.stock, "slices");
    proxy.slice(None);
    for toxic in ["swallow", "latency", "bandwidth", "reset", "down"] {
        match toxic {
            "swallow" => proxy.swallow(true),
            "latency" => proxy.latency(Duration::from_secs(2)),
            "bandwidth" => proxy.bandwidth(Some(2_000)),
            "down" => proxy.down(true),
            _ => proxy.hold(true),
        }
        let spoil = async {
            if toxic == "reset" {
                tokio::time::sleep(Duration::from_millis(50)).await;
                proxy.reset();
            }
        };
        let (seen, ()) = tokio::join!(look(), spoil);
        let error = seen.expect_err(toxic);
        assert_eq!(error.class, ErrorClass::Transient, "{toxic}: {error}");
        proxy.swallow(false);
        proxy.hold(false);
        proxy.latency(Duration::ZERO);
        proxy.bandwidth(None);
        proxy.down(false);
        // It listens again a moment after it is told to.
        crate::support::wait::until("the page again", || async { look().await.ok() }).await;
    }
}

/// What sites vary without meaning anything by it.
#[test]
fn d17_variants_of_a_page_are_the_same_record() {
    let plain = Page::store().html();
    let whole = crate::yahoo::read(&plain, "m1122334455").unwrap();
    let unknown = {
        let mut page = Page::store();
        page.item["newInThisTest"] = serde_json::json!({ "price": 1, "quantity": 0 });
        page.item["abTestGroup"] = serde_json::json!("B");
        page.html()
    };
    let variants = [
        (
            "other classes",
            plain
                .replace("class=\"x1\"", "class=\"sc-9f1 kRtZ\"")
                .replace("class=\"y2\"", "class='b'"),
        ),
        (
            "another locale",
            plain.replace("lang=\"ja\"", "lang=\"en-US\" dir=\"ltr\""),
        ),
        (
            "attributes in the other order",
            plain.replace(
                "<script id=\"__NEXT_DATA__\" type=\"application/json\">",
                "<script type=\"application/json\" id=\"__NEXT_DATA__\" crossorigin=\"anonymous\">",
            ),
        ),
        (
            "a mobile head",
            plain.replace(
                "<head>",
                "<head><meta name=\"viewport\" content=\"width=device-width\">\n\n",
            ),
        ),
        ("more keys", unknown),
        (
            "a banner",
            plain.replace(
                "<body>",
                "<body><div role=\"dialog\">アプリで開く<b>即決 1円</b></div>",
            ),
        ),
        (
            "partial hydration",
            plain.replace(
                "<div id=\"__next\">",
                "<div id=\"__next\"><!--$?--><template id=\"B:0\"></template><!--/$-->",
            ),
        ),
    ];
    for (what, html) in variants {
        assert_ne!(html, plain, "{what} is a variant");
        let seen = crate::yahoo::read(&html, "m1122334455").unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(seen, whole, "{what}");
        crate::yahoo::confirm(&html, &seen).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}
