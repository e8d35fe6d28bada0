//! Two readings of one contract: what the simulator writes and what the adapter reads, made apart from the same
//! document, must mean the same.

use super::standing;
use serde_json::json;
use zaikoban::domain::{ItemStatus, Observation, SourceProductId};
use zaikoban::platform::PlatformError;
use zaikoban::platform::yahoo::{PageBytes, confirm, extract};
use zaikoban::simulator::{Drift, ItemView, PageFault, Running, Status};

struct Fetched {
    url: String,
    asked: SourceProductId,
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

impl Fetched {
    fn page(&self) -> PageBytes<'_> {
        PageBytes {
            status: self.status,
            content_type: Some(&self.content_type),
            url: &self.url,
            asked: Some(&self.asked),
            body: &self.body,
        }
    }

    fn read(&self) -> Result<Observation, PlatformError> {
        extract(
            &self.page(),
            chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        )
    }
}

async fn fetch(client: &reqwest::Client, running: &Running, id: &str) -> Fetched {
    let answer = client
        .get(super::page_url(&running.urls.yahoo, id))
        .send()
        .await
        .unwrap();
    let kind = answer
        .headers()
        .get("content-type")
        .map_or("", |v| v.to_str().unwrap());
    Fetched {
        url: format!("https://auctions.yahoo.co.jp/jp/auction/{id}"),
        asked: SourceProductId::new(id).unwrap(),
        status: answer.status().as_u16(),
        content_type: kind.to_owned(),
        body: answer.bytes().await.unwrap().to_vec(),
    }
}

/// Whether the adapter read what the simulator meant.
fn agree(seen: &Observation, meant: &ItemView, title: &str) {
    assert_eq!(seen.source_product_id.as_str(), &*meant.id);
    assert_eq!(
        &*seen.title,
        title.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    assert_eq!(seen.price.to_string(), format!("{} JPY", meant.price_jpy));
    let buy_now = seen.buy_now_price.map(|p| p.to_string());
    assert_eq!(buy_now, meant.buy_now_jpy.map(|p| format!("{p} JPY")));
    assert_eq!(seen.stock.get(), meant.stock);
    let status = if meant.status == Status::Open {
        ItemStatus::Open
    } else {
        ItemStatus::Ended
    };
    assert_eq!(seen.status, status);
    assert_eq!((seen.ends_at, seen.bids), (Some(meant.ends_at), meant.bids));
    assert_eq!(seen.seller_is_store, meant.seller_is_store);
}

#[tokio::test]
async fn good_pages_are_read_as_they_are_meant() {
    let (running, _clock) = standing(60);
    let client = super::client();
    let products = running.catalogue().products;
    let (mut stores, mut bare) = (0, 0);
    for (number, product) in (0_u32..).zip(&products) {
        let id = &*product.item_id;
        if number % 5 == 4 {
            running
                .script(&json!({ "set": { "id": id, "stock": 0 } }))
                .unwrap();
        }
        let meant = running.truth().into_iter().find(|t| *t.id == *id).unwrap();
        let fetched = fetch(&client, &running, id).await;
        let seen = fetched
            .read()
            .unwrap_or_else(|e| panic!("{id}: {e} {:?}", e.missing));
        agree(&seen, &meant, &product.title);
        confirm(&fetched.page(), &seen).unwrap_or_else(|e| panic!("{id}: {e}"));
        stores += u32::from(meant.seller_is_store);
        bare += u32::from(id.bytes().all(|b| b.is_ascii_digit()));
    }
    assert!(stores > 3 && bare > 5, "{stores} {bare}");
}

#[tokio::test]
async fn no_spoilt_page_is_read_as_a_value() {
    let (running, _clock) = standing(30);
    let client = super::client();
    let products = running.catalogue().products;
    let codes = [
        (PageFault::Login, "login_page"),
        (PageFault::Captcha, "captcha"),
        (PageFault::Busy, "access_concentrated"),
        (PageFault::Maintenance, "maintenance"),
        (PageFault::Soft404, "soft_404"),
        (PageFault::Removed, "removed"),
        (PageFault::OtherItem, "other_item"),
        (PageFault::Empty, "truncated"),
    ];
    let mut wrong = Vec::new();
    for ((fault, code), product) in codes.into_iter().zip(&products) {
        running
            .script(&json!({ "set": { "id": product.item_id, "fault": fault } }))
            .unwrap();
        match fetch(&client, &running, &product.item_id).await.read() {
            Ok(seen) => wrong.push(format!("{fault:?} was read: {seen:?}")),
            Err(bad) if &*bad.code == code => {}
            Err(bad) => wrong.push(format!("{fault:?} is `{}`, not `{code}`: {bad}", bad.code)),
        }
    }
    for drift in Drift::ALL {
        let plan = json!({ "stop_faults": true, "faults": { "yahoo": { "p_drift": 1.0, "drift": drift } } });
        running.script(&plan).unwrap();
        for product in products.iter().skip(10) {
            let truth = running
                .truth()
                .into_iter()
                .find(|t| t.id == product.item_id)
                .unwrap();
            let harmless = drift == Drift::RenameBidorbuy && truth.buy_now_jpy.is_none();
            match fetch(&client, &running, &product.item_id).await.read() {
                Ok(seen) if harmless => agree(&seen, &truth, &product.title),
                Ok(seen) => wrong.push(format!("{drift:?} was read: {seen:?}")),
                Err(bad) if harmless => wrong.push(format!("{drift:?} without buy-now was refused: {bad}")),
                Err(bad) => drop(bad),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
