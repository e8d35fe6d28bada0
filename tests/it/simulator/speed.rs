//! How fast it is. Numbers are printed, not judged: a debug build on a shared machine proves nothing.

use super::{client, page_url, standing};
use tokio::time::Instant;
use zaikoban::simulator::{Simulator, SimulatorSettings};

#[tokio::test]
async fn throughput_of_pages() {
    let (running, _clock) = standing(200);
    let client = client();
    let products = running.catalogue().products;
    for encoding in ["identity", "gzip"] {
        let begun = Instant::now();
        let asked = 400;
        for product in products.iter().cycle().take(asked) {
            let request = client.get(page_url(&running.urls.yahoo, &product.item_id));
            let answer = request.header("accept-encoding", encoding).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
        }
        let per_page = begun.elapsed() / u32::try_from(asked).unwrap();
        println!("{encoding}: {per_page:?} per page, one client, one connection");
    }
    println!("{} µs to make a page", running.stats().page_mean_us);
}

#[test]
fn a_hundred_thousand_products_start() {
    let begun = Instant::now();
    let running = Simulator::start(SimulatorSettings {
        products: 100_000,
        listings: 100_000,
        ..SimulatorSettings::default()
    })
    .unwrap();
    println!("100,000 products: {:?}", begun.elapsed());
    assert_eq!(running.truth().len(), 100_000);
    let catalogue = running.catalogue();
    assert!(catalogue.products.iter().all(|p| p.listings.len() == 1));
}
