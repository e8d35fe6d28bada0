//! Many prices in one document: what the adapter sends is valid by the published model and schemas, what Amazon's own
//! examples answer is read, and against the simulator a document does what it says.

use super::{account, seller_by, server};
use crate::ebay::memory::Memory;
use crate::ebay::server::{Said, Seen, Server, say};
use crate::support::swagger::Models;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::domain::{Currency, ErrorClass, Money};
use zaikoban::http::{Client, ClientSettings, Limits, Origin};
use zaikoban::platform::amazon::{
    AccountSettings, AmazonFeeds, AmazonSeller, AmazonSellerSettings, BAD_ADDRESS, FILES,
};
use zaikoban::platform::bulk::{BulkPrice, BulkPrices, BulkStage};
use zaikoban::platform::oauth::Grant;
use zaikoban::simulator::{AmazonSettings, Running, Simulator, SimulatorSettings};

const FEEDS: &str = "/feeds/2021-06-30";
const FEED_SCHEMA: &str = "listings-feed-schema-v2.json";
const REPORT_SCHEMA: &str = "listings-feed-processing-report-schema-v2.json";
const SKU: &str = "AMZ-00001";

/// What is wrong with an upload or a download.
pub(super) fn problems_of_file(models: &Models, asked: &Seen) -> Vec<String> {
    let mut problems = Vec::new();
    for header in ["authorization", "x-amz-access-token", "cookie"] {
        if asked.header(header).is_some() {
            problems.push(format!("{header} goes to somebody's storage"));
        }
    }
    if asked.method == "PUT" {
        problems.extend(models.problems_of_document(FEED_SCHEMA, &asked.body));
        if asked.header("content-type").as_deref() != Some("application/json; charset=UTF-8") {
            problems.push("the content type is not that of createFeedDocument".into());
        }
    }
    problems
}

fn files(origin: Origin, body_bytes: usize) -> Client {
    Client::new(&ClientSettings {
        origins: vec![origin],
        user_agent: "zaikoban-test".into(),
        ca_file: None,
        gzip: false,
        limits: Limits {
            total: Duration::from_millis(1_500),
            body_bytes,
            ..Limits::default()
        },
    })
    .unwrap()
}

fn feeds(server: &Server) -> AmazonFeeds {
    let seller = Arc::new(seller_by(server, account(server)));
    AmazonFeeds::new(seller, files(Origin::of(&server.url).unwrap(), 1 << 20))
}

fn prices(all: &[(&str, i64)]) -> Vec<BulkPrice> {
    let each = (1..).zip(all).map(|(message, (sku, price))| BulkPrice {
        message,
        sku: (*sku).into(),
        kind: "CAMERA".into(),
        price: Money::yen(*price).unwrap(),
    });
    each.collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

/// A server with a place for a document, and a report that lies where `url` says.
async fn shop(url: &'static str, algorithm: Option<&'static str>, report: Vec<u8>) -> Server {
    server(move |seen: &Seen| {
        let url = if url.is_empty() {
            format!(
                "http://{}/feed-files/d?X-Amz-Signature=s",
                seen.header("host").unwrap()
            )
        } else {
            url.to_owned()
        };
        let mut document = json!({"feedDocumentId": "d", "url": url});
        match (seen.method.as_str(), seen.path.split('?').next().unwrap()) {
            ("POST", "/feeds/2021-06-30/documents") => say(201, &document),
            ("GET", "/feeds/2021-06-30/documents/d") => {
                if let Some(algorithm) = algorithm {
                    document["compressionAlgorithm"] = algorithm.into();
                }
                say(200, &document)
            }
            ("PUT", "/feed-files/d") => Said::Answer(200, Vec::new(), Vec::new()),
            ("GET", "/feed-files/d") => Said::Answer(200, Vec::new(), report.clone()),
            other => panic!("{other:?}"),
        }
    })
    .await
}

fn report(feed: &str) -> Value {
    json!({
        "header": {"sellerId": "A2TEST", "version": "2.0", "feedId": feed}, "issues": [],
        "summary": {"errors": 0, "warnings": 0, "messagesProcessed": 1, "messagesAccepted": 1, "messagesInvalid": 0},
    })
}

#[tokio::test]
async fn a_document_is_uploaded_where_amazon_says_and_takes_no_token_along() {
    let server = shop("", None, Vec::new()).await;
    let feeds = feeds(&server);
    let id = feeds
        .upload(&prices(&[("a b", 1_980), ("ひ", 12_345)]))
        .await
        .unwrap();
    assert_eq!(&*id, "d");
    let calls = server.calls();
    let sent = calls.iter().find(|call| call.method == "PUT").unwrap().json();
    assert_eq!(
        sent["messages"][1],
        json!({"messageId": 2, "sku": "ひ", "operationType": "PATCH", "productType": "CAMERA", "patches": [{
            "op": "merge", "path": "/attributes/purchasable_offer", "value": [{"marketplace_id": "A1VC38T7YXB528",
                "currency": "JPY", "our_price": [{"schedule": [{"value_with_tax": 12_345}]}]}]}]})
    );
    assert!(!feeds.takes("a,b", Money::yen(1).unwrap()));
    assert!(!feeds.takes(SKU, Money::new(1.into(), Currency::Usd).unwrap()));
    assert!(feeds.takes(SKU, Money::yen(1).unwrap()));
}

#[tokio::test]
async fn an_address_that_is_none_of_amazons_storage_is_refused_unasked() {
    for elsewhere in [
        "https://files.example.invalid/x",
        "https://amazonaws.com.example.invalid/x",
        "https://notamazonaws.com/x",
        "https://amazonaws.com/x",
        "https://x.s3.us-west-2.amazonaws.com/x",
        "https://tortuga-prod-fe.ec2.amazonaws.com/x",
        "https://tortuga-prod-fe.amazonaws.com/x",
        "https://tortuga-prod-fe-2.s3.amazonaws.com/x",
        "https://tortuga-prod-fe.s3.evil.s3.amazonaws.com/x",
        "https://tortuga-prod-fe.s3.evil.s3-us-west-2.amazonaws.com/x",
        "https://tortuga-prod-fe.s3.a.b.c.amazonaws.com/x",
        "https://x.tortuga-prod-fe.s3.amazonaws.com/x",
        "http://x.amazonaws.com/x",
        "https://x.amazonaws.com:8443/x",
        "https://user@x.amazonaws.com/x",
        "https://x.amazonaws.com./x",
        "https://127.0.0.1/x",
        "file:///etc/passwd",
        "x.amazonaws.com",
        "",
    ] {
        let url: &'static str = if elsewhere.is_empty() { "?" } else { elsewhere };
        let server = shop(url, None, Vec::new()).await;
        let seller = Arc::new(seller_by(&server, account(&server)));
        let feeds = AmazonFeeds::new(seller, files(Origin::below(FILES), 1 << 20));
        let error = feeds.upload(&prices(&[(SKU, 1_980)])).await.unwrap_err();
        assert_eq!(
            (error.class, &*error.code),
            (ErrorClass::Protocol, BAD_ADDRESS),
            "{url}: {error}"
        );
        let error = feeds.report("7", "d", 1, 1).await.unwrap_err();
        assert_eq!(&*error.code, BAD_ADDRESS, "{url}");
        assert!(server.calls().iter().all(|call| call.path.starts_with(FEEDS)));
    }
    let client = files(Origin::below(FILES), 1 << 20);
    for good in [
        "https://tortuga-prod-fe.s3.us-west-2.amazonaws.com/x?X-Amz-Signature=1",
        "https://X.AmazonAWS.com/y",
    ] {
        assert!(client.reaches(&good.parse().unwrap()), "{good}");
    }
}

#[tokio::test]
async fn a_report_is_read_packed_or_not_and_a_bomb_is_not_unpacked() {
    let good = report("7").to_string().into_bytes();
    for (algorithm, body) in [
        (None, good.clone()),
        (Some("GZIP"), gzip(&good)),
        (Some("GZIP"), good.clone()),
    ] {
        let server = shop("", algorithm, body).await;
        let read = feeds(&server).report("7", "d", 1, 1).await.unwrap();
        assert!(read.others_taken && read.refused.is_empty());
    }
    let mut bomb = good.clone();
    bomb.resize(8 << 20, b' ');
    for (algorithm, body, class, missing) in [
        (Some("GZIP"), gzip(&bomb), ErrorClass::Protocol, ""),
        (
            Some("GZIP"),
            gzip(&good)[..40].to_vec(),
            ErrorClass::Transient,
            "",
        ),
        (
            Some("BROTLI"),
            good.clone(),
            ErrorClass::Protocol,
            "answer.compressionAlgorithm",
        ),
        (None, b"<html>".to_vec(), ErrorClass::Protocol, "report"),
        (
            None,
            report("8").to_string().into_bytes(),
            ErrorClass::Protocol,
            "report.header.feedId",
        ),
        (None, b"{}".to_vec(), ErrorClass::Protocol, "report.header"),
    ] {
        let server = shop("", algorithm, body).await;
        let error = feeds(&server).report("7", "d", 1, 1).await.unwrap_err();
        let found = error.missing.first().map_or("", |path| &**path);
        assert_eq!((error.class, found), (class, missing), "{error}");
        assert!(!error.message.contains("Signature"), "{error}");
    }
}

/// A server that answers everything below `/feeds` and the search as the case does.
async fn replaying(status: u16, answer: Value) -> Server {
    server(move |_: &Seen| say(status, &answer)).await
}

#[tokio::test]
async fn the_examples_of_feeds_are_read() {
    let Some(models) = Models::load() else { return };
    let mut seen = 0;
    for operation in [
        "createFeedDocument",
        "createFeed",
        "getFeed",
        "getFeeds",
        "getFeedDocument",
    ] {
        for (status, case) in models.cases(operation) {
            seen += 1;
            let server = replaying(status, case["response"].clone()).await;
            let feeds = feeds(&server);
            let since = "2024-03-11T00:00:00Z".parse().unwrap();
            // What it gave, or its error; a document of the examples lies at a host that is not Amazon's storage.
            let told = match operation {
                "createFeedDocument" => feeds.upload(&prices(&[(SKU, 1)])).await.map(String::from),
                "createFeed" => feeds.submit("x").await.map(String::from).map_err(|not_done| {
                    assert!(!not_done.unknown);
                    not_done.error
                }),
                "getFeed" => feeds.look("feedId1").await.map(|feed| {
                    assert_eq!(feed.stage, BulkStage::Cancelled);
                    feed.id.into()
                }),
                "getFeeds" => feeds
                    .submitted_since(since)
                    .await
                    .map(|feeds| feeds[0].id.clone().into()),
                _ => feeds.report("7", "x", 1, 1).await.map(|_| String::new()),
            };
            let expected = match (operation, status) {
                ("createFeedDocument" | "getFeedDocument", 200 | 201) => Err(BAD_ADDRESS),
                ("createFeed", 202) => Ok("3485934"),
                (_, 200) => Ok("FeedId1"),
                _ => Err("amazon_400"),
            };
            let told = told.as_deref().map_err(|error| &*error.code);
            assert_eq!(told, expected, "{operation} {status}");
        }
    }
    assert_eq!(seen, 10, "all but those of cancelFeed, which is not used");
    for (status, case) in models.cases("searchListingsItems") {
        let server = replaying(status, case["response"].clone()).await;
        let mut account = account(&server);
        account.marketplace = "ATVPDKIKX0DER".into();
        let feeds = AmazonFeeds::new(
            Arc::new(seller_by(&server, account)),
            files(Origin::of(&server.url).unwrap(), 1 << 20),
        );
        let sku: Box<str> = case["response"]["items"][0]["sku"].as_str().unwrap_or("x").into();
        let kinds = feeds.kinds(std::slice::from_ref(&sku)).await;
        if status == 200 {
            assert_eq!(&*kinds.unwrap()[&sku], "LUGGAGE");
        } else {
            assert_eq!(kinds.unwrap_err().class, ErrorClass::Rejected);
        }
    }
}

#[test]
fn the_published_examples_of_documents_pass_the_schemas_and_broken_ones_do_not() {
    let Some(models) = Models::load() else { return };
    let good = report("7").to_string();
    assert!(
        models
            .problems_of_document(REPORT_SCHEMA, good.as_bytes())
            .is_empty()
    );
    assert!(!models.problems_of_document(REPORT_SCHEMA, b"{}").is_empty());
    let no_kind = json!({"header": {"sellerId": "A", "version": "2.0"}, "messages": [
        {"messageId": 1, "sku": "a", "operationType": "PATCH", "patches": [{"op": "merge", "path": "/x"}]}]});
    assert!(
        !models
            .problems_of_document(FEED_SCHEMA, no_kind.to_string().as_bytes())
            .is_empty()
    );
}

fn simulator(settings: AmazonSettings) -> (Running, Clock) {
    let clock = Clock::manual(chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    let settings = SimulatorSettings {
        amazon_products: 20,
        amazon_listings: 20,
        amazon: settings,
        ..SimulatorSettings::default()
    };
    (Simulator::start_at(settings, clock.clone()).unwrap(), clock)
}

/// The seller of the simulator, and his documents.
pub(super) fn selling(running: &Running, patience: Duration) -> (Arc<AmazonSeller>, AmazonFeeds) {
    let keys = running.catalogue().amazon;
    let url: url::Url = running.urls.amazon.parse().unwrap();
    let settings = AmazonSellerSettings {
        account: AccountSettings {
            endpoint: url.clone(),
            token_endpoint: url.clone(),
            marketplace: keys.marketplace.to_string(),
            currency: Currency::Jpy,
            requests_per_hour: None,
            patience,
        },
        seller_id: keys.seller_id.to_string(),
        settles_within: Duration::from_secs(900),
    };
    let grant = Arc::new(Grant {
        client_id: keys.client_id.to_string(),
        client_secret: keys.client_secret.to_string().into(),
        refresh_token: keys.refresh_token.to_string().into(),
    });
    let client = files(Origin::of(&url).unwrap(), 16 << 20);
    let tokens = Arc::<Memory>::default();
    let seller = AmazonSeller::new(settings, grant, client.clone(), tokens, Clock::system()).unwrap();
    let seller = Arc::new(seller);
    (Arc::clone(&seller), AmazonFeeds::new(seller, client))
}

fn simulated(running: &Running) -> AmazonFeeds {
    selling(running, Duration::ZERO).1
}

fn free() -> (Running, Clock) {
    simulator(AmazonSettings {
        quota_factor: 0.0,
        feed_ms: 60_000,
        ..AmazonSettings::default()
    })
}

fn price_of(running: &Running, sku: &str) -> u32 {
    let register = running.amazon_register();
    register.iter().find(|l| *l.sku == *sku).unwrap().price_jpy
}

#[tokio::test]
async fn the_simulator_works_a_document_off_and_reports_each_message() {
    let (running, clock) = free();
    running
        .script(&json!({"faults": {"amazon": {"unknown_fields": true}}}))
        .unwrap();
    let feeds = simulated(&running);
    let skus: Vec<Box<str>> = [SKU, "AMZ-00002", "nobody"].map(Into::into).into();
    let kinds = feeds.kinds(&skus).await.unwrap();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert_eq!(&*kinds[SKU], "CAMERA");
    assert_eq!(
        feeds.known_kind(SKU).as_deref(),
        Some("CAMERA"),
        "until it is used"
    );
    let mut all = prices(&[
        (SKU, 4_980),
        ("AMZ-00002", 5_980),
        ("nobody", 1),
        ("AMZ-00003", 6_980),
    ]);
    all[1].kind = kinds["AMZ-00002"].clone();
    // A number that is free, as of a price that was left out.
    all[3].message = 9;
    let document = feeds.upload(&all).await.unwrap();
    assert_eq!(feeds.known_kind(SKU), None);
    let before = Clock::system().now();
    let feed = feeds.submit(&document).await.unwrap();
    assert_eq!(feeds.look(&feed).await.unwrap().stage, BulkStage::UnderWay);
    let listed = feeds
        .submitted_since(clock.now() - chrono::TimeDelta::minutes(1))
        .await
        .unwrap();
    assert_eq!(listed.len(), 1, "{before}");
    assert_eq!(listed[0].id, feed);
    let later = clock.now() + chrono::TimeDelta::minutes(1);
    assert!(feeds.submitted_since(later).await.unwrap().is_empty());
    assert_ne!(price_of(&running, SKU), 4_980);
    clock.advance(chrono::TimeDelta::seconds(61));
    let done = feeds.look(&feed).await.unwrap();
    assert_eq!(done.stage, BulkStage::Done);
    let report = feeds.report(&feed, &done.report.unwrap(), 4, 9).await.unwrap();
    assert_eq!(report.refused.keys().copied().collect::<Vec<_>>(), [3]);
    assert!(report.others_taken);
    let set = [SKU, "AMZ-00002", "AMZ-00003"].map(|sku| price_of(&running, sku));
    assert_eq!(set, [4_980, 5_980, 6_980]);
    let unknown = feeds.look("1").await.unwrap_err();
    assert_eq!(unknown.class, ErrorClass::NotFound);
}

#[tokio::test]
async fn faults_of_feeds_are_told_apart() {
    for (fault, stage, changed) in [
        (json!({"p_feed_fatal": 1.0}), BulkStage::Fatal, [true, false]),
        (
            json!({"p_feed_cancelled": 1.0}),
            BulkStage::Cancelled,
            [false, false],
        ),
        (json!({"p_invalid": 1.0}), BulkStage::Done, [false, false]),
        (json!({"p_feed_garbled": 1.0}), BulkStage::Done, [true, true]),
    ] {
        let (running, clock) = free();
        running.script(&json!({"faults": {"amazon": fault}})).unwrap();
        let feeds = simulated(&running);
        let mut all = prices(&[(SKU, 4_980), ("AMZ-00003", 4_980)]);
        all.truncate(2);
        let document = feeds.upload(&all).await.unwrap();
        let feed = feeds.submit(&document).await.unwrap();
        clock.advance(chrono::TimeDelta::seconds(61));
        let end = feeds.look(&feed).await.unwrap();
        assert_eq!(end.stage, stage, "{fault}");
        let set = [SKU, "AMZ-00003"].map(|sku| price_of(&running, sku) == 4_980);
        assert_eq!(set, changed, "{fault}");
        match (stage, end.report) {
            (BulkStage::Done, Some(report)) => {
                let read = feeds.report(&feed, &report, 2, 2).await;
                match read {
                    Ok(read) => assert_eq!(read.refused.len(), 2),
                    Err(error) => assert_eq!(
                        (error.class, &*error.missing[0]),
                        (ErrorClass::Protocol, "report")
                    ),
                }
            }
            (_, report) => assert_eq!(report, None, "{fault}"),
        }
    }
    let (running, _clock) = free();
    let feeds = simulated(&running);
    let all = prices(&[(SKU, 4_980)]);
    running
        .script(&json!({"faults": {"amazon": {"feeds_elsewhere": true}}}))
        .unwrap();
    assert_eq!(&*feeds.upload(&all).await.unwrap_err().code, BAD_ADDRESS);
    running.script(&json!({"stop_faults": true})).unwrap();
    let document = feeds.upload(&all).await.unwrap();
    // The answer is lost, and what was asked was done: that is not known.
    running
        .script(&json!({"faults": {"amazon": {"p_cut": 1.0}}}))
        .unwrap();
    let lost = feeds.submit(&document).await.unwrap_err();
    assert!(lost.unknown, "{}", lost.error);
    running.script(&json!({"stop_faults": true})).unwrap();
    assert_eq!(
        feeds
            .submitted_since(chrono::DateTime::UNIX_EPOCH)
            .await
            .unwrap()
            .len(),
        1
    );
    let refused = feeds.submit("no-such-document").await.unwrap_err();
    assert_eq!(
        (refused.unknown, refused.error.class),
        (false, ErrorClass::Rejected)
    );
}

#[tokio::test]
async fn what_the_simulator_answers_is_valid_by_the_model_and_the_schemas() {
    let Some(models) = Models::load() else { return };
    let (running, clock) = free();
    let http = crate::simulator::client();
    let (base, keys) = (
        running.urls.amazon.trim_end_matches('/').to_owned(),
        running.catalogue().amazon,
    );
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", &*keys.client_id),
        ("client_secret", &*keys.client_secret),
        ("refresh_token", &*keys.refresh_token),
    ];
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let token = http
        .post(format!("{base}/auth/o2/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let token: Value = serde_json::from_slice(&token.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let token = token["access_token"].as_str().unwrap();
    let ask = async |method: &str, path: &str, body: &Value, status: u16| -> Value {
        let mut asked = http
            .request(method.parse().unwrap(), format!("{base}{path}"))
            .header("x-amz-access-token", token);
        if !body.is_null() {
            asked = asked
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        let bytes = answer.bytes().await.unwrap();
        let problems = models.problems_of_answer(method, path, status, &bytes);
        assert!(problems.is_empty(), "{method} {path}: {problems:?}");
        serde_json::from_slice(&bytes).unwrap()
    };
    let none = Value::Null;
    let search = format!("/listings/2021-08-01/items/{}", keys.seller_id);
    let query = format!(
        "marketplaceIds={}&identifiersType=SKU&pageSize=20&includedData=summaries",
        keys.marketplace
    );
    ask(
        "GET",
        &format!("{search}?{query}&identifiers={SKU},nobody"),
        &none,
        200,
    )
    .await;
    ask(
        "GET",
        &format!("{search}?{query}&identifiers={}", [SKU; 21].join(",")),
        &none,
        400,
    )
    .await;
    let documents = format!("{FEEDS}/documents");
    ask("POST", &documents, &json!({}), 400).await;
    let place = ask(
        "POST",
        &documents,
        &json!({"contentType": "application/json"}),
        201,
    )
    .await;
    let document = json!({"header": {"sellerId": keys.seller_id, "version": "2.0"}, "messages": [
        {"messageId": 1, "sku": "nobody", "operationType": "DELETE"}]});
    let put = |url: &str, kind: &str| {
        let put = http.put(url.to_owned()).header("content-type", kind);
        put.body(document.to_string()).send()
    };
    let url = place["url"].as_str().unwrap();
    for (url, kind, status) in [
        (
            &*url.replace("Signature=", "Signature=1"),
            "application/json",
            403,
        ),
        (url, "text/plain", 403),
        (url, "application/json", 200),
    ] {
        assert_eq!(put(url, kind).await.unwrap().status().as_u16(), status, "{kind}");
    }
    let feeds = format!("{FEEDS}/feeds");
    let make = |kind: &str, id: &Value| json!({"feedType": kind, "marketplaceIds": [keys.marketplace], "inputFeedDocumentId": id});
    ask(
        "POST",
        &feeds,
        &make("POST_PRODUCT_DATA", &place["feedDocumentId"]),
        400,
    )
    .await;
    ask("POST", &feeds, &make("JSON_LISTINGS_FEED", &json!("x")), 400).await;
    let made = ask(
        "POST",
        &feeds,
        &make("JSON_LISTINGS_FEED", &place["feedDocumentId"]),
        202,
    )
    .await;
    let feed = format!("{feeds}/{}", made["feedId"].as_str().unwrap());
    let words = async || ask("GET", &feed, &none, 200).await["processingStatus"].clone();
    assert_eq!(words().await, "IN_QUEUE");
    clock.advance(chrono::TimeDelta::seconds(30));
    assert_eq!(words().await, "IN_PROGRESS");
    clock.advance(chrono::TimeDelta::seconds(31));
    let done = ask("GET", &feed, &none, 200).await;
    assert_eq!(done["processingStatus"], "DONE");
    ask(
        "GET",
        &format!("{feeds}?feedTypes=JSON_LISTINGS_FEED&pageSize=100"),
        &none,
        200,
    )
    .await;
    ask("GET", &format!("{feeds}?feedTypes=OTHER"), &none, 400).await;
    ask("GET", &format!("{feeds}/1"), &none, 404).await;
    ask("GET", &format!("{documents}/x"), &none, 404).await;
    let path = format!("{documents}/{}", done["resultFeedDocumentId"].as_str().unwrap());
    let report = ask("GET", &path, &none, 200).await;
    let url = report["url"].as_str().unwrap();
    let packed = http.get(url).send().await.unwrap().bytes().await.unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut text).unwrap();
    let problems = models.problems_of_document(REPORT_SCHEMA, &text);
    assert!(problems.is_empty(), "{problems:?}");
    // Its address grows old.
    clock.advance(chrono::TimeDelta::minutes(6));
    assert_eq!(http.get(url).send().await.unwrap().status().as_u16(), 403);
}
