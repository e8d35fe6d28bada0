//! The adapter over HTTP: a small server of our own on loopback, one answer per request, every request kept.

use super::pages::Page;
use super::{id, now};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use zaikoban::clock::Clock;
use zaikoban::domain::{CostRule, ErrorClass, Observation, SellerMark};
use zaikoban::platform::yahoo::{YahooSettings, YahooSource};
use zaikoban::platform::{Accepted, PlatformError, Source};

const ID: &str = "m1122334455";

/// Serves what `answer` makes of each request's path.
struct Server {
    endpoint: url::Url,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the test's own server, aborted on drop")]
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap() == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                kept.lock().unwrap().push(head);
                let _gone = stream.write_all(&answer(&path)).await;
            }
        });
        Self {
            endpoint,
            requests,
            task,
        }
    }

    fn source(&self) -> YahooSource {
        let settings = YahooSettings {
            endpoint: self.endpoint.clone(),
            contact: "operator@example.invalid".into(),
            ca_file: None,
            gzip: true,
            time_limit: Duration::from_secs(15),
        };
        YahooSource::new(&settings, Clock::manual(now())).unwrap()
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn look(source: &YahooSource) -> Result<Observation, PlatformError> {
    source.observe(&[id(ID)]).await.remove(0)
}

#[tokio::test]
async fn one_polite_request_gives_one_observation() {
    let server = Server::start(|_| answer("200 OK", "", &Page::buy_now().html())).await;
    let seen = look(&server.source()).await.unwrap();
    assert_eq!((seen.source_product_id.as_str(), seen.fetched_at), (ID, now()));
    let request = server.requests.lock().unwrap()[0].to_ascii_lowercase();
    assert!(
        request.starts_with("get /jp/auction/m1122334455 http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("user-agent: zaikoban/"), "{request}");
    assert!(request.contains("(+operator@example.invalid)"), "{request}");
    assert!(request.contains("accept-encoding: gzip"), "{request}");
    assert!(!request.contains("cookie"), "{request}");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_page_has_the_time_that_the_settings_give_it() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = YahooSettings {
        endpoint: format!("http://{}", silent.local_addr().unwrap())
            .parse()
            .unwrap(),
        contact: String::new(),
        ca_file: None,
        gzip: false,
        time_limit: Duration::from_millis(200),
    };
    let source = YahooSource::new(&settings, Clock::manual(now())).unwrap();
    let looked = tokio::time::timeout(Duration::from_secs(4), look(&source)).await;
    assert!(looked.expect("another limit holds").is_err());
}

#[tokio::test]
async fn d13_a_redirect_is_followed_once_and_only_to_the_same_item() {
    for (status, (target, expected, requests)) in [
        ("/jp/auction/m1122334455?x=1", Ok(()), 2),
        ("/jp/auction/m1122334456", Err("moved"), 1),
        (
            "https://auctions.yahoo.co.jp/jp/auction/m1122334456",
            Err("moved"),
            1,
        ),
        (
            "https://login.yahoo.co.jp/config/login?.done=x",
            Err("login_page"),
            1,
        ),
        (
            "https://paypayfleamarket.yahoo.co.jp/item/z1",
            Err("flea_market_item"),
            1,
        ),
        (
            "http://127.0.0.1:1/jp/auction/m1122334455",
            Err("not_followed"),
            1,
        ),
        ("http://169.254.169.254/latest", Err("not_followed"), 1),
        ("/", Err("not_followed"), 1),
    ]
    .into_iter()
    .flat_map(|row| [301, 302, 303, 307, 308].map(|status| (status, row)))
    {
        let first = Mutex::new(true);
        let server = Server::start(move |_| {
            if std::mem::replace(&mut *first.lock().unwrap(), false) {
                answer(
                    &format!("{status} Elsewhere"),
                    &format!("location: {target}\r\n"),
                    "",
                )
            } else {
                answer("200 OK", "", &Page::open().html())
            }
        })
        .await;
        let got = look(&server.source()).await.map(|_| ());
        assert_eq!(
            got.map_err(|error| error.code.replace(&format!("http_{status}"), "not_followed")),
            expected.map_err(str::to_owned),
            "{status} to {target}"
        );
        assert_eq!(server.count(), requests, "{status} to {target}");
    }
    let server = Server::start(|path| answer("301 Moved", &format!("location: {path}\r\n"), "")).await;
    assert_eq!(&*look(&server.source()).await.unwrap_err().code, "http_301");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn failures_keep_their_class_and_retry_after() {
    let server = Server::start(|_| answer("429 Too Many", "retry-after: 7\r\n", "")).await;
    let error = look(&server.source()).await.unwrap_err();
    let seven = Some(std::time::Duration::from_secs(7));
    assert_eq!(error.class, ErrorClass::RateLimited { retry_after: seven });

    let server = Server::start(|_| answer("503 Busy", "retry-after: 7\r\n", "")).await;
    let error = look(&server.source()).await.unwrap_err();
    assert_eq!((error.class, error.away_for), (ErrorClass::Transient, seven));
    let server = Server::start(|_| answer("500 Broken", "retry-after: 7\r\n", "")).await;
    assert_eq!(look(&server.source()).await.unwrap_err().away_for, None);

    let server = Server::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n<html>".to_vec()).await;
    let error = look(&server.source()).await.unwrap_err();
    assert_eq!((&*error.code, error.class), ("cut", ErrorClass::Transient));

    let server = Server::start(|_| answer("200 OK", "", "<html><title>ログイン</title></html>")).await;
    let error = look(&server.source()).await.unwrap_err();
    assert_eq!((&*error.code, error.class), ("login_page", ErrorClass::Blocked));
}

/// A page whose document shows another price than its data.
fn at_odds() -> String {
    Page::open().html().replace("3,200", "3,300")
}

#[tokio::test]
async fn a_reading_that_would_be_a_change_is_checked_against_the_document() {
    let server = Server::start(|_| answer("200 OK", "", &at_odds())).await;
    let source = server.source();
    let error = look(&source).await.unwrap_err();
    assert_eq!((&*error.code, &*error.missing[0]), ("contract", "document.現在"));

    // What is known already needs no second reading.
    let html = at_odds();
    let seen = super::read(&html, ID).unwrap();
    let known = Accepted {
        rule: CostRule::CurrentBid,
        state: seen.state(CostRule::CurrentBid, now()),
        title_hash: seen.title_hash,
        seller: seen.seller_id.as_deref().map(SellerMark::of),
    };
    source.accepted(&id(ID), known);
    assert_eq!(look(&source).await.unwrap(), seen);

    // When much hangs on the next reading it is read twice all the same, until that confirmed it.
    source.doubt(&id(ID));
    assert!(look(&source).await.is_err());
    assert!(look(&source).await.is_err());
    source.accepted(&id(ID), known);

    // One page in a thousand is read twice all the same.
    let mut refused = 0;
    for _ in 0..1000 {
        refused += usize::from(look(&source).await.is_err());
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn another_seller_is_asked_of_the_document() {
    let page = Page::open();
    let seen = super::read(page.html(), ID).unwrap();
    let sold_by = |data: &str, link: &str| {
        let mut page = page.clone();
        page.item["seller"]["aucUserId"] = json!(data);
        page.item["seller"]["listUrl"] = json!(format!("https://auctions.yahoo.co.jp/seller/{data}"));
        page.html()
            .replace(&format!("seller/{data}\">"), &format!("seller/{link}\">"))
    };
    for (html, expected) in [
        (sold_by("seller2", "seller1"), Err("document.seller".into())),
        (sold_by("seller2", "seller2"), Ok(Some("seller2".into()))),
    ] {
        let server = Server::start(move |_| answer("200 OK", "", &html)).await;
        let source = server.source();
        // Nothing but the seller is new.
        let known = Accepted {
            rule: CostRule::CurrentBid,
            state: seen.state(CostRule::CurrentBid, now()),
            title_hash: seen.title_hash,
            seller: seen.seller_id.as_deref().map(SellerMark::of),
        };
        source.accepted(&id(ID), known);
        let got = look(&source).await;
        let got: Result<Option<String>, String> = got
            .map(|seen| seen.seller_id.map(Into::into))
            .map_err(|error| error.missing[0].to_string());
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn a_confirmed_reading_is_not_confirmed_again() {
    let first = Mutex::new(true);
    let server = Server::start(move |_| {
        let mut page = Page::buy_now();
        // Bids do not change what counts by the buy-now price.
        page.item["bids"] = json!(9);
        page.data["bids"] = json!("9");
        let html = page.html();
        let odd = html.replace("3,200", "3,300");
        let first = std::mem::replace(&mut *first.lock().unwrap(), false);
        answer("200 OK", "", if first { &html } else { &odd })
    })
    .await;
    let source = server.source();
    look(&source).await.unwrap();
    look(&source).await.unwrap();
}
