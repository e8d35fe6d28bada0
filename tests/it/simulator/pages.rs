//! Pages: plain, compressed, over TLS, and what the simulator remembers of them.

use super::{client, item_of, page_url, standing, until};
use std::io::Read;
use zaikoban::simulator::{Simulator, SimulatorSettings, Status};

#[tokio::test]
async fn every_item_of_the_catalogue_has_its_page_and_the_page_says_the_truth() {
    let (running, _clock) = standing(40);
    let client = client();
    let truth = running.truth();
    for product in running.catalogue().products {
        let url = page_url(&running.urls.yahoo, &product.item_id);
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let page = answer.text().await.unwrap();
        assert!((110_000..143_000).contains(&page.len()), "{}", page.len());
        let item = item_of(&page);
        let view = truth.iter().find(|t| t.id == product.item_id).unwrap();
        assert_eq!(item["auctionId"], *product.item_id);
        assert_eq!(item["title"], *product.title);
        assert_eq!(item["quantity"], view.stock);
        let asked = if view.seller_is_store {
            "taxinPrice"
        } else {
            "price"
        };
        assert_eq!(item[asked], view.price_jpy);
    }
    let stats = running.stats();
    assert_eq!(stats.pages_asked, 40);
    let unknown = client
        .get(page_url(&running.urls.yahoo, "x0000000000"))
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn a_compressed_page_is_the_same_page() {
    let (running, _clock) = standing(8);
    let client = client();
    for product in running.catalogue().products {
        let url = page_url(&running.urls.yahoo, &product.item_id);
        let plain = client.get(&url).send().await.unwrap();
        assert!(!plain.headers().contains_key("content-encoding"));
        let packed = client
            .get(&url)
            .header("accept-encoding", "gzip, br")
            .send()
            .await
            .unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        let bytes = packed.bytes().await.unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, plain.text().await.unwrap());
        let refused = client
            .get(&url)
            .header("accept-encoding", "gzip;q=0")
            .send()
            .await
            .unwrap();
        assert!(!refused.headers().contains_key("content-encoding"));
    }
}

#[tokio::test]
async fn both_doors_speak_tls_under_their_own_authority_beside_plain_http() {
    let directory = tempfile::tempdir().unwrap();
    let settings = SimulatorSettings {
        products: 2,
        listings: 2,
        tls: true,
        directory: Some(directory.path().join("tls")),
        ..SimulatorSettings::default()
    };
    let running = Simulator::start(settings).unwrap();
    let stranger = client();
    let pem = std::fs::read(running.urls.ca_pem.as_ref().unwrap()).unwrap();
    let friend = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()])
        .build()
        .unwrap();
    let id = &running.catalogue().products[0].item_id;
    for base in [&running.urls.yahoo_tls, &running.urls.ebay_tls] {
        let base = base.as_ref().unwrap();
        assert!(base.starts_with("https://127.0.0.1:"), "{base}");
        let refused = stranger.get(format!("{base}/_stats")).send().await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        assert_eq!(
            friend
                .get(format!("{base}/_stats"))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    let page = friend
        .get(page_url(running.urls.yahoo_tls.as_ref().unwrap(), id))
        .send()
        .await
        .unwrap();
    assert_eq!(item_of(&page.text().await.unwrap())["auctionId"], **id);
    let plain = stranger
        .get(page_url(&running.urls.yahoo, id))
        .send()
        .await
        .unwrap();
    assert_eq!(plain.status(), 200);
}

#[tokio::test]
async fn what_was_served_is_remembered_and_the_truth_may_have_gone_on() {
    let (running, clock) = standing(3);
    let client = client();
    let id = running.catalogue().products[1].item_id.clone();
    assert!(running.served().is_empty());
    client
        .get(page_url(&running.urls.yahoo, &id))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    until("the page to be noted", || running.served().len() == 1).await;
    let first = running.served().remove(0);
    assert_eq!((&first.id, first.version, first.status), (&id, 0, Status::Open));
    clock.advance(chrono::Duration::seconds(5));
    running
        .script(&serde_json::json!({ "set": { "id": id, "stock": 0 } }))
        .unwrap();
    assert_eq!(running.served().remove(0), first);
    let truth = running.truth();
    let now = truth.iter().find(|t| t.id == id).unwrap();
    assert_eq!((now.version, now.status, now.stock), (1, Status::Ended, 0));
    let page = client
        .get(page_url(&running.urls.yahoo, &id))
        .send()
        .await
        .unwrap();
    assert_eq!(item_of(&page.text().await.unwrap())["status"], "closed");
    until("the second page to be noted", || {
        running.served().remove(0).version == 1
    })
    .await;
    assert_eq!(running.served().remove(0).at, clock.now());
    let changes = running.changes(0, 10);
    assert_eq!((changes.total, changes.entries.len()), (1, 1));
    assert_eq!(changes.entries[0].item.id, id);
}

#[tokio::test]
async fn a_stopped_simulator_leaves_its_ports() {
    let (running, _clock) = standing(1);
    let port = running
        .urls
        .yahoo
        .rsplit(':')
        .next()
        .unwrap()
        .parse::<u16>()
        .unwrap();
    let taken = Simulator::start(SimulatorSettings {
        yahoo_port: port,
        ..SimulatorSettings::default()
    });
    let text = taken.unwrap_err().to_string();
    assert!(
        text.contains(&port.to_string()) && text.contains("Yahoo!"),
        "{text}"
    );
    running.stop();
    let again = Simulator::start(SimulatorSettings {
        yahoo_port: port,
        ..SimulatorSettings::default()
    })
    .unwrap();
    assert!(again.urls.yahoo.ends_with(&format!(":{port}")));
}
