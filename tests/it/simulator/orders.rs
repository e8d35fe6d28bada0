//! Orders, ledgers and the script, over the door and in process.

use super::{client, page_url, standing};
use serde_json::{Value, json};
use zaikoban::clock::Clock;
use zaikoban::simulator::{AuctionSettings, ItemView, Simulator, SimulatorSettings, Status};

#[tokio::test]
async fn the_door_takes_orders_and_tells_what_the_process_is_told() {
    let (running, _clock) = standing(3);
    let client = client();
    let base = &running.urls.ebay;
    let get = async |path: &str| -> Value {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    };
    let id = running.catalogue().products[0].item_id.clone();
    let order = json!({
        "set": { "id": id, "stock": 7, "price": 900, "buy_now": null, "bids": 2, "ends_in_s": 90, "title": "改" },
        "set_listing": { "sku": "ZK-000002", "quantity": 9, "price": "3.50" },
    });
    let answer = client
        .post(format!("{base}/_script"))
        .json(&order)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        get("/_truth").await,
        serde_json::to_value(running.truth()).unwrap()
    );
    assert_eq!(
        get("/_register").await,
        serde_json::to_value(running.register()).unwrap()
    );
    assert_eq!(
        get("/_catalogue").await,
        serde_json::to_value(running.catalogue()).unwrap()
    );
    assert_eq!(get("/_served").await, json!([]));
    assert_eq!(get("/_changes").await["total"], 1);
    let item: ItemView = running.truth().into_iter().find(|t| t.id == id).unwrap();
    assert_eq!((item.stock, item.buy_now_jpy, item.bids), (7, None, 2));
    let listing = running.register().remove(1);
    assert_eq!((listing.quantity, listing.version), (9, 0));
    assert_eq!(listing.price.unwrap().to_string(), "3.50 USD");
    client
        .get(page_url(&running.urls.yahoo, &id))
        .send()
        .await
        .unwrap();
    assert_eq!(get("/_stats").await["pages_asked"], 1);
    let ledger = get("/_ledger?platform=yahoo&after=0").await;
    assert_eq!(
        (&ledger["total"], &ledger["entries"][0]["id"]),
        (&json!(1), &json!(id))
    );
    assert_eq!(get("/_ledger").await["entries"][0]["operation"], "by hand");
}

#[tokio::test]
async fn an_order_with_a_mistake_names_all_of_them_and_does_nothing() {
    let (running, _clock) = standing(3);
    let client = client();
    let id = running.catalogue().products[0].item_id.clone();
    let before = (running.truth(), running.register());
    let post = async |body: String| {
        let request = client.post(format!("{}/_script", running.urls.yahoo)).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let order = json!({
        "set": [{ "id": id, "stock": 0 }, { "id": "nobody" }, { "id": id, "ends_in_s": 1e12 }],
        "set_listing": [{ "sku": "nothing" }, { "sku": "ZK-000001", "price": "-1" }],
    });
    let (status, text) = post(order.to_string()).await;
    assert_eq!(status, 400);
    for word in ["nobody", "ends_in_s", "nothing", "set_listing.price"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    for (bad, word) in [
        ("{", "EOF"),
        (r#"{"sett":{}}"#, "sett"),
        (r#"{"set":{"id":"x","stok":1}}"#, "stok"),
        (r#"{"faults":{"yahoo":{"p_503":1.5}}}"#, "p_503"),
        (r#"{"faults":{"ebay":{"p_504":1.0}}}"#, "p_504"),
        (r#"{"change_rate_per_s":-1}"#, "change_rate_per_s"),
    ] {
        let (status, text) = post(bad.to_owned()).await;
        assert_eq!(status, 400, "{bad}");
        assert!(text.contains(word), "{word} in {text}");
    }
    assert_eq!((running.truth(), running.register()), before);
}

#[test]
fn faults_are_patched_key_by_key_and_stop_together() {
    let (running, _clock) = standing(1);
    let id = running.catalogue().products[0].item_id.clone();
    running
        .script(&json!({ "faults": { "yahoo": { "p_503": 0.6 } } }))
        .unwrap();
    // 0.6 and 0.6 cannot both be; that this is refused shows that the first is still there.
    let both = running.script(&json!({ "faults": { "yahoo": { "p_login": 0.6 } } }));
    assert!(both.unwrap_err().to_string().contains("add up"));
    running.script(&json!({ "stop_faults": true })).unwrap();
    running
        .script(&json!({ "faults": { "yahoo": { "p_login": 0.6 } } }))
        .unwrap();
    let both = json!({ "set": { "id": id, "fault": "captcha" }, "stop_faults": true });
    running.script(&both).unwrap();
    running
        .script(&json!({ "faults": { "yahoo": { "p_503": 0.6 } } }))
        .unwrap();
}

fn busy(seed: u64, clock: &Clock) -> zaikoban::simulator::Running {
    let settings = SimulatorSettings {
        products: 300,
        listings: 300,
        seed,
        change_rate_per_s: 40.0,
        sale_rate_per_s: 2.0,
        auctions: AuctionSettings {
            share: 0.3,
            ends_after_s: 5.0,
            ends_within_s: 50.0,
            extension_s: 4.0,
            ..AuctionSettings::default()
        },
        ..SimulatorSettings::default()
    };
    Simulator::start_at(settings, clock.clone()).unwrap()
}

#[test]
fn one_seed_tells_one_story() {
    let start = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let story = |seed| {
        let clock = Clock::manual(start);
        let running = busy(seed, &clock);
        for _ in 0..30 {
            clock.advance(chrono::Duration::seconds(2));
            assert_eq!(running.truth().len(), 300);
        }
        (running.truth(), running.register(), running.stats().changes)
    };
    let (first, second, other) = (story(11), story(11), story(12));
    assert_eq!(first, second);
    assert!(first.2 > 1_500, "{}", first.2);
    assert!(first.0 != other.0 && first.1 != other.1);
    assert!(first.1.iter().any(|l| l.sold > 0));
}

#[test]
fn stopped_changes_stay_stopped() {
    let clock = Clock::manual(chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    let running = busy(3, &clock);
    clock.advance(chrono::Duration::seconds(20));
    let _ = running.truth();
    running.script(&json!({ "stop_changes": true })).unwrap();
    let (truth, register) = (running.truth(), running.register());
    clock.advance(chrono::Duration::seconds(60));
    for (before, after) in truth.iter().zip(running.truth()) {
        let auction_went_on = after.ends_at != before.ends_at || after.status == Status::Ended;
        assert!(*before == after || auction_went_on, "{before:?} {after:?}");
    }
    assert_eq!(running.register(), register);
    running
        .script(&json!({ "change_rate_per_s": 5.0, "stop_changes": false }))
        .unwrap();
    let changes = running.stats().changes;
    clock.advance(chrono::Duration::seconds(20));
    let _ = running.truth();
    assert!(running.stats().changes > changes + 50);
}
