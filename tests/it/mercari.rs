//! The Mercari adapter against the simulated shop, and against a server that answers byte for byte as it is told.

mod account;
mod answers;
mod faults;
mod listing;

use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::domain::{
    DestinationPlatform, ListingId, ListingRef, ListingState, ListingStatus, Money, Quantity,
};
use zaikoban::http::{Client, ClientSettings, Limits, Origin};
use zaikoban::platform::mercari::{Keys, Mercari, MercariSettings};
use zaikoban::platform::{EntryOutcome, PlatformError, Revision};
use zaikoban::simulator::{self, MercariEntry, Running, Simulator, SimulatorSettings};

/// A simulated shop and the adapter in front of it.
struct Rig {
    running: Running,
    mercari: Mercari,
}

fn client(url: &url::Url) -> Client {
    let limits = Limits {
        total: Duration::from_millis(600),
        ..Limits::default()
    };
    Client::new(&ClientSettings {
        origins: vec![Origin::of(url).unwrap()],
        user_agent: "zaikoban-test".into(),
        ca_file: None,
        gzip: false,
        limits,
    })
    .unwrap()
}

fn adapter(url: &url::Url, client_name: &str, points_per_hour: u32, keys: Arc<dyn Keys>) -> Mercari {
    let settings = MercariSettings {
        endpoint: url.clone(),
        client_name: client_name.into(),
        points_per_hour,
    };
    Mercari::new(&settings, keys, client(url), Clock::system()).unwrap()
}

impl Rig {
    fn new() -> Self {
        Self::with(simulator::MercariSettings::default(), 10_000)
    }

    fn with(mercari: simulator::MercariSettings, points_per_hour: u32) -> Self {
        let running = Simulator::start(SimulatorSettings {
            products: 4,
            listings: 1,
            mercari_listings: 30,
            mercari,
            ..SimulatorSettings::default()
        })
        .unwrap();
        let keys = running.catalogue().credentials;
        let token = Arc::new(SecretString::from(&*keys.mercari_token));
        let url = running.urls.mercari.parse().unwrap();
        let mercari = adapter(&url, &keys.mercari_client_name, points_per_hour, token);
        Self { running, mercari }
    }

    fn faults(&self, faults: &Value) {
        let order = json!({ "stop_faults": true, "faults": { "mercari": faults } });
        self.running.script(&order).unwrap();
    }

    /// What the shop shows for listing `i`.
    fn entry(&self, i: usize) -> MercariEntry {
        self.running.mercari_register()[i].clone()
    }

    fn listing(&self, i: usize) -> ListingRef {
        let entry = self.entry(i);
        listing(&entry.sku, &entry.product_id)
    }

    /// How many lines the ledger has.
    fn asked(&self) -> u64 {
        self.running.stats().mercari_asked
    }

    fn quantity(&self, i: usize, count: i64) -> Revision {
        revision(self.listing(i), Some(count), None)
    }
}

fn listing(sku: &str, product: &str) -> ListingRef {
    ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::Mercari,
        sku: sku.into(),
        platform_product_id: product.into(),
    }
}

fn pieces(count: i64) -> Quantity {
    Quantity::new(count).unwrap()
}

fn revision(listing: ListingRef, quantity: Option<i64>, yen: Option<i64>) -> Revision {
    Revision {
        listing,
        quantity: quantity.map(pieces),
        price: yen.map(|yen| Money::yen(yen).unwrap()),
        confirmed: ListingState {
            status: ListingStatus::Active,
            quantity: pieces(1),
            price: Money::yen(3_000).ok(),
        },
    }
}

fn failure(outcome: &EntryOutcome) -> (&PlatformError, bool) {
    match outcome {
        EntryOutcome::Failed { error, unknown } => (error, *unknown),
        EntryOutcome::Accepted { .. } => panic!("expected a failure, got {outcome:?}"),
    }
}

fn is_accepted(outcome: &EntryOutcome) -> bool {
    matches!(outcome, EntryOutcome::Accepted { .. })
}
