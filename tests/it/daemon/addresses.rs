//! Addresses that try to send the daemon elsewhere: each is refused when it is given, with the rule that it breaks, and
//! nobody is called.

use super::world::World;
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;
use zaikoban::control::client::ControlError;
use zaikoban::platform::yahoo::source_product_id;

const NUMBER: &str = "the host is a number";
const HOST: &str = "another host than auctions.yahoo.co.jp";
const SCHEME: &str = "neither https nor http";
const SIGNS: &str = "white space, a control character or a backslash";
const WHO: &str = "a user name or password";
const PATH: &str = "the path is not /jp/auction/ID";
const ID: &str = "the id is not one lower-case letter";
const PORT: &str = "names a port";
const URL: &str = "not a complete URL";
const SCRIPT: &str = "letters of another script";
const DOT: &str = "the host ends with a dot";
const LONG: &str = "longer than 2048 bytes";

/// An address (`TRAP` is a port at which somebody listens on this machine) and the rule that it breaks.
const ODD: &[(&str, &str)] = &[
    // this machine and its neighbours, however they are written
    ("http://127.0.0.1/jp/auction/s1238539612", NUMBER),
    ("http://127.0.0.1:TRAP/jp/auction/s1238539612", PORT),
    ("http://127.1/jp/auction/s1238539612", NUMBER),
    ("http://0/jp/auction/s1238539612", NUMBER),
    ("http://0.0.0.0/jp/auction/s1238539612", NUMBER),
    ("http://0x7f000001/jp/auction/s1238539612", NUMBER),
    ("http://0x7f.0.0.1/jp/auction/s1238539612", NUMBER),
    ("http://2130706433/jp/auction/s1238539612", NUMBER),
    ("http://0177.0.0.1/jp/auction/s1238539612", NUMBER),
    ("http://017700000001/jp/auction/s1238539612", NUMBER),
    ("http://①②⑦.⓪.⓪.①/jp/auction/s1238539612", NUMBER),
    ("http://127。0。0。1/jp/auction/s1238539612", NUMBER),
    ("http://10.0.0.1/jp/auction/s1238539612", NUMBER),
    ("http://172.16.0.1/jp/auction/s1238539612", NUMBER),
    ("http://192.168.0.1/jp/auction/s1238539612", NUMBER),
    ("http://100.64.0.1/jp/auction/s1238539612", NUMBER),
    ("http://169.254.169.254/", NUMBER),
    (
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        NUMBER,
    ),
    ("http://2852039166/latest/meta-data/", NUMBER),
    ("http://[::1]/jp/auction/s1238539612", NUMBER),
    ("http://[::1]:TRAP/jp/auction/s1238539612", PORT),
    ("http://[::]/jp/auction/s1238539612", NUMBER),
    ("http://[::ffff:127.0.0.1]/jp/auction/s1238539612", NUMBER),
    ("http://[::ffff:169.254.169.254]/", NUMBER),
    ("http://[::ffff:7f00:1]/jp/auction/s1238539612", NUMBER),
    ("http://[64:ff9b::7f00:1]/jp/auction/s1238539612", NUMBER),
    ("http://[fd00:ec2::254]/latest/meta-data/", NUMBER),
    ("http://[fe80::1]/jp/auction/s1238539612", NUMBER),
    ("http://[fe80::1%25eth0]/jp/auction/s1238539612", URL),
    ("http://[::1%lo]/", URL),
    ("http://localhost/jp/auction/s1238539612", HOST),
    ("http://localhost:TRAP/jp/auction/s1238539612", PORT),
    ("http://localhost./jp/auction/s1238539612", DOT),
    ("http://metadata.google.internal/computeMetadata/v1/", HOST),
    ("http://instance-data/latest/meta-data/", HOST),
    ("http://127.0.0.1.nip.io/jp/auction/s1238539612", HOST),
    // hosts that look like ours
    (
        "https://auctions.yahoo.co.jp.evil.example/jp/auction/s1238539612",
        HOST,
    ),
    ("https://auctions.yahoo.co.jp.evil/jp/auction/s1238539612", HOST),
    ("https://auctions-yahoo.co.jp/jp/auction/s1238539612", HOST),
    ("https://evilauctions.yahoo.co.jp/jp/auction/s1238539612", HOST),
    ("https://evil.auctions.yahoo.co.jp/jp/auction/s1238539612", HOST),
    ("https://yahoo.co.jp/jp/auction/s1238539612", HOST),
    ("https://auctions.yahoo.com/jp/auction/s1238539612", HOST),
    ("https://auctions.yahoo.co.jp./jp/auction/s1238539612", DOT),
    ("https://аuctions.yahoo.co.jp/jp/auction/s1238539612", SCRIPT),
    ("https://auctions.yahoо.co.jp/jp/auction/s1238539612", SCRIPT),
    (
        "https://xn--uctions-5fg.yahoo.co.jp/jp/auction/s1238539612",
        SCRIPT,
    ),
    // who asks, and where
    ("http://yahoo.co.jp@10.0.0.1/", WHO),
    (
        "https://auctions.yahoo.co.jp@127.0.0.1:TRAP/jp/auction/s1238539612",
        WHO,
    ),
    (
        "https://auctions.yahoo.co.jp:443@127.0.0.1/jp/auction/s1238539612",
        WHO,
    ),
    (
        "https://auctions.yahoo.co.jp%2F@127.0.0.1/jp/auction/s1238539612",
        WHO,
    ),
    ("https://me:pw@auctions.yahoo.co.jp/jp/auction/s1238539612", WHO),
    ("https://@auctions.yahoo.co.jp:22/jp/auction/s1238539612", PORT),
    ("https://auctions.yahoo.co.jp:22/jp/auction/s1238539612", PORT),
    ("https://auctions.yahoo.co.jp:TRAP/jp/auction/s1238539612", PORT),
    ("http://auctions.yahoo.co.jp:443/jp/auction/s1238539612", PORT),
    ("https://auctions.yahoo.co.jp:99999/jp/auction/s1238539612", URL),
    (
        "https://auctions.yahoo.co.jp\\@127.0.0.1/jp/auction/s1238539612",
        SIGNS,
    ),
    ("https:\\\\auctions.yahoo.co.jp\\jp\\auction\\s1238539612", SIGNS),
    (
        "https://127.0.0.1\\.auctions.yahoo.co.jp/jp/auction/s1238539612",
        SIGNS,
    ),
    (
        "https://127.0.0.1#@auctions.yahoo.co.jp/jp/auction/s1238539612",
        NUMBER,
    ),
    (
        "https://127.0.0.1?@auctions.yahoo.co.jp/jp/auction/s1238539612",
        NUMBER,
    ),
    // other ways to ask
    ("file:///etc/passwd", SCHEME),
    ("file://auctions.yahoo.co.jp/jp/auction/s1238539612", SCHEME),
    ("gopher://127.0.0.1:TRAP/_INFO", SCHEME),
    ("ftp://auctions.yahoo.co.jp/jp/auction/s1238539612", SCHEME),
    ("dict://127.0.0.1:TRAP/info", SCHEME),
    ("ldap://127.0.0.1:TRAP/", SCHEME),
    ("javascript:alert(1)", SCHEME),
    ("data:text/html,x", SCHEME),
    ("jar:http://127.0.0.1!/", SCHEME),
    ("//auctions.yahoo.co.jp/jp/auction/s1238539612", URL),
    ("auctions.yahoo.co.jp/jp/auction/s1238539612", URL),
    ("/jp/auction/s1238539612", URL),
    ("s1238539612", URL),
    ("https://", URL),
    // paths that are none, and line ends
    (
        "https://auctions.yahoo.co.jp/jp/auction/s1238539612\r\nHost: evil",
        SIGNS,
    ),
    ("https://auctions.yahoo.co.jp/jp/auction/s12385\n39612", SIGNS),
    ("https://auctions.yahoo.co.jp/jp/auction/s1238539612\u{0}", SIGNS),
    (" https://auctions.yahoo.co.jp/jp/auction/s1238539612", SIGNS),
    ("https://auctions.yahoo.co.jp/jp/auction/s1238539612%0d%0aX:y", ID),
    ("https://auctions.yahoo.co.jp/jp/auction/../../search", PATH),
    ("https://auctions.yahoo.co.jp/jp/auction/%2e%2e/s1238539612", PATH),
    (
        "https://auctions.yahoo.co.jp/jp/auction/s1238539612/../../x",
        PATH,
    ),
    (
        "https://auctions.yahoo.co.jp/redirect?url=http://127.0.0.1:TRAP/",
        PATH,
    ),
    ("https://auctions.yahoo.co.jp//jp/auction/s1238539612", PATH),
    ("https://auctions.yahoo.co.jp/jp/auction/", ID),
    ("https://auctions.yahoo.co.jp/jp/auction/S1238539612", ID),
    ("https://auctions.yahoo.co.jp/jp/auction/s1238539612;x", ID),
    (
        "https://auctions.yahoo.co.jp/jp/auction/s１２３８５３９６１２",
        ID,
    ),
    ("https://auctions.yahoo.co.jp/jp/auction/{{7*7}}", ID),
    ("", URL),
];

pub async fn none_is_taken_and_nobody_is_called(world: &World) {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port().to_string();
    let mut odd: Vec<(String, &str)> = ODD
        .iter()
        .map(|(address, rule)| (address.replace("TRAP", &port), *rule))
        .collect();
    let long = format!(
        "https://auctions.yahoo.co.jp/jp/auction/s1238539612?{}",
        "x".repeat(2048)
    );
    odd.push((long, LONG));
    assert!(odd.len() > 60);
    let products = "SELECT count(*) FROM yahoo_scraped_products";
    let before = world.text(products).await;
    let client = world.client();
    for (address, rule) in &odd {
        let error = source_product_id(address).unwrap_err();
        assert!(error.why.contains(rule), "{address}: {error}");
        let order = json!({ "source_url": address });
        let Err(ControlError::Refused { status, problems, .. }) = client.post("/v1/products", &order).await
        else {
            panic!("`{address}` was taken");
        };
        let told = format!("{problems:?}");
        assert!(status == 422 && told.contains(rule), "{address}: {status} {told}");
    }
    // The same in a list, each by its line. What CSV itself cannot hold on one line is left out.
    let plain = odd
        .iter()
        .filter(|(a, _)| !a.chars().any(char::is_control) && !a.starts_with(' '));
    let rows: Vec<String> = plain
        .map(|(a, _)| format!("\"{a}\""))
        .filter(|row| row.len() > 2)
        .collect();
    let list = format!("source_url\n{}\n", rows.join("\n"));
    let Err(ControlError::Refused { status, message, .. }) = client
        .post_text("/v1/products/import", "text/csv", list.into_bytes())
        .await
    else {
        panic!("the list was taken");
    };
    assert_eq!(status, 422);
    assert!(
        message.contains(&format!("{} problem(s)", rows.len())),
        "{message}"
    );
    assert_eq!(world.text(products).await, before);
    let called = tokio::time::timeout(Duration::from_millis(20), trap.accept()).await;
    assert!(called.is_err(), "somebody called at the trap");
}
