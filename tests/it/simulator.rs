//! The simulator as others meet it: over its doors.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "what is missing fails the test, and numbers are for whoever looks"
)]

mod api;
mod faults;
mod orders;
mod pages;
mod readings;
mod speed;

use serde_json::{Value, json};
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::simulator::{AuctionSettings, Running, Simulator, SimulatorSettings};

/// A quiet simulator on a clock that stands.
fn standing(products: u32) -> (Running, Clock) {
    let start = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let clock = Clock::manual(start);
    let settings = SimulatorSettings {
        products,
        listings: products,
        auctions: AuctionSettings {
            share: 0.3,
            ..AuctionSettings::default()
        },
        ..SimulatorSettings::default()
    };
    (Simulator::start_at(settings, clock.clone()).unwrap(), clock)
}

/// A client that decodes nothing and follows nothing.
pub fn client() -> reqwest::Client {
    // The first test that comes installs it; the others find it there.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_gzip()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

fn page_url(base: &str, id: &str) -> String {
    format!("{base}/jp/auction/{id}")
}

/// Waits until `met` holds: what a door notes after its answer is there a moment later.
async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited 10 s for {what}");
}

/// The item object of a page.
fn item_of(page: &str) -> Value {
    let (_, json) = page
        .split_once("<script id=\"__NEXT_DATA__\" type=\"application/json\">")
        .expect("the page has __NEXT_DATA__");
    let (json, _) = json.split_once("</script>").unwrap();
    let data: Value = serde_json::from_str(json).unwrap();
    data["props"]["pageProps"]["initialState"]["item"]["detail"]["item"].clone()
}

/// An access token, got as a seller's program gets it.
async fn token(client: &reqwest::Client, running: &Running) -> String {
    let keys = running.catalogue().credentials;
    let answer = client
        .post(format!("{}/identity/v1/oauth2/token", running.urls.ebay))
        .basic_auth(&keys.client_id, Some(&keys.client_secret))
        .form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &keys.refresh_token),
            ("scope", "https://api.ebay.com/oauth/api_scope/sell.inventory"),
        ])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["token_type"], "User Access Token");
    body["access_token"].as_str().unwrap().to_owned()
}

fn sets(sku: &str, offer_id: &str, quantity: u32, price: &str) -> Value {
    json!({
        "sku": sku,
        "shipToLocationAvailability": { "quantity": quantity },
        "offers": [{
            "offerId": offer_id,
            "availableQuantity": quantity,
            "price": { "value": price, "currency": "USD" },
        }],
    })
}
