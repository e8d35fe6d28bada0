//! Each fault of the pages, as a client meets it.

use super::{client, item_of, page_url, standing, until};
use serde_json::json;
use std::io::Read;
use std::time::Duration;
use tokio::time::Instant;
use zaikoban::simulator::{PageFault, Running};

/// What came of one request.
struct Met {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Result<Vec<u8>, reqwest::Error>,
}

impl Met {
    fn text(&self) -> String {
        String::from_utf8_lossy(self.body.as_ref().unwrap()).into_owned()
    }
}

async fn meet(client: &reqwest::Client, running: &Running, id: &str) -> Met {
    let answer = client
        .get(page_url(&running.urls.yahoo, id))
        .send()
        .await
        .unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.map(Vec::from);
    Met {
        status,
        headers,
        body,
    }
}

#[tokio::test]
async fn every_fault_is_met_as_its_name_says_and_none_counts_as_served() {
    let (running, _clock) = standing(20);
    let client = client();
    let products = running.catalogue().products;
    for (fault, product) in PageFault::ALL.iter().zip(&products) {
        let id = &product.item_id;
        // A page that comes as it should, so that the stale one has something to be older than.
        running
            .script(&json!({ "set": { "id": id, "price": 4321 } }))
            .unwrap();
        running
            .script(
                &json!({ "faults": { "yahoo": { "delay_ms": 40 } }, "set": { "id": id, "fault": fault } }),
            )
            .unwrap();
        let met = meet(&client, &running, id).await;
        let said = |status: u16, word: &str| {
            assert_eq!(met.status, status, "{fault:?}");
            assert!(met.text().contains(word), "{fault:?}: no {word}");
            assert!(!met.text().contains("__NEXT_DATA__"), "{fault:?}");
        };
        match fault {
            PageFault::Http503 => {
                said(503, "アクセスが集中");
                assert_eq!(met.headers["retry-after"], "2");
            }
            PageFault::Http429 => {
                said(429, "アクセスが集中");
                assert_eq!(met.headers["retry-after"], "2");
            }
            PageFault::Http500 => said(500, "エラー"),
            PageFault::Login => said(200, "ログイン"),
            PageFault::LoginRedirect => {
                assert_eq!(met.status, 302);
                assert!(
                    met.headers["location"]
                        .to_str()
                        .unwrap()
                        .starts_with("https://login.")
                );
            }
            PageFault::Captcha => said(200, "画像認証"),
            PageFault::Busy => said(200, "アクセスが集中"),
            PageFault::Maintenance => said(200, "メンテナンス"),
            PageFault::Soft404 => said(200, "ページが見つかりません"),
            PageFault::Removed => said(404, "ページが見つかりません"),
            PageFault::OtherItem => {
                let item = item_of(&met.text());
                assert_ne!(item["auctionId"], **id);
                assert!(products.iter().any(|p| item["auctionId"] == *p.item_id));
            }
            PageFault::Truncated | PageFault::Reset => {
                assert_eq!(met.status, 200);
                assert!(met.body.is_err(), "{fault:?}: the body came whole");
                let length: u64 = met.headers["content-length"].to_str().unwrap().parse().unwrap();
                assert!(length > 110_000);
            }
            PageFault::Drift => assert_eq!(met.status, 200),
            PageFault::Empty => assert_eq!((met.status, met.text().len()), (200, 0)),
            PageFault::Bomb => {
                let packed = met.body.as_ref().unwrap();
                assert!(packed.len() < 200_000);
                let mut inflated = flate2::read::GzDecoder::new(&packed[..]).take(u64::MAX);
                let bytes = std::io::copy(&mut inflated, &mut std::io::sink()).unwrap();
                assert_eq!(bytes, 64 << 20);
            }
            // These three say the item, late, slowly or as it was; they have their own test.
            PageFault::Drip | PageFault::Delay | PageFault::Stale => continue,
        }
        assert!(
            running.served().iter().all(|s| s.id != *id),
            "{fault:?} counts as served"
        );
    }
    let stats = running.stats();
    assert_eq!(stats.page_faults.len(), PageFault::ALL.len());
}

#[tokio::test]
async fn slow_late_and_stale_pages_are_good_pages() {
    let (running, _clock) = standing(3);
    let client = client();
    let products = running.catalogue().products;
    let order = |id: &str, fault: &str| {
        json!({
            "faults": { "yahoo": { "delay_ms": 60, "drip_bytes_per_s": 1_000_000 } },
            "set": [{ "id": id, "price": 4321 }, { "id": id, "price": 5432, "fault": fault }],
        })
    };
    for (product, fault) in products.iter().zip(["drip", "delay", "stale"]) {
        let id = &product.item_id;
        running.script(&order(id, fault)).unwrap();
        let begun = Instant::now();
        let met = meet(&client, &running, id).await;
        let took = begun.elapsed();
        assert_eq!(met.status, 200);
        let (price, version) = if fault == "stale" { (4321, 1) } else { (5432, 2) };
        assert_eq!(item_of(&met.text())["price"], price, "{fault}");
        if fault != "stale" {
            assert!(took >= Duration::from_millis(50), "{fault}: {took:?}");
        }
        let served = || {
            running
                .served()
                .into_iter()
                .find(|s| s.id == *id)
                .map(|s| s.version)
        };
        until("the page to be noted", || served() == Some(version)).await;
    }
}

#[tokio::test]
async fn a_page_that_nobody_waited_for_was_not_served() {
    let (running, _clock) = standing(1);
    let client = client();
    let id = &running.catalogue().products[0].item_id;
    let slow = json!({ "faults": { "yahoo": { "p_drip": 1.0, "drip_bytes_per_s": 50_000 } } });
    running.script(&slow).unwrap();
    // A page takes two seconds like this; whether the head or the body is given up does not matter.
    let request = client
        .get(page_url(&running.urls.yahoo, id))
        .timeout(Duration::from_millis(250));
    let given_up = async { request.send().await?.bytes().await };
    assert!(given_up.await.is_err());
    running.script(&json!({ "stop_faults": true })).unwrap();
    assert!(running.served().is_empty());
    assert_eq!(meet(&client, &running, id).await.status, 200);
    until("the good page to be noted", || running.served().len() == 1).await;
}

#[tokio::test]
async fn a_storm_covers_everybody_while_it_lasts() {
    let (running, clock) = standing(5);
    let client = client();
    let storm = json!({ "fault": "http_503", "every_s": 60.0, "lasts_s": 20.0 });
    running
        .script(&json!({ "faults": { "yahoo": { "storm": storm } } }))
        .unwrap();
    let products = running.catalogue().products;
    let mut stormy = 0;
    for _second in 0..60 {
        let mut codes = Vec::new();
        for product in &products {
            codes.push(meet(&client, &running, &product.item_id).await.status);
        }
        codes.dedup();
        assert_eq!(codes.len(), 1, "some meet the storm, some do not");
        stormy += u32::from(codes == [503]);
        clock.advance(chrono::Duration::seconds(1));
    }
    assert!((19..=21).contains(&stormy), "{stormy} of 60 seconds");
}
