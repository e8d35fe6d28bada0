//! What each platform is to the suite: its adapter behind a relay, and what its simulated side holds.

use super::relay::Relay;
use crate::ebay::memory::Memory;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::domain::{
    Currency, DestinationPlatform, ListingId, ListingRef, ListingState, ListingStatus, Money, Quantity,
    SourceProductId,
};
use zaikoban::http::{Client, ClientSettings, Limits, Origin};
use zaikoban::platform::amazon::{
    AccountSettings, Amazon, AmazonSeller, AmazonSellerSettings, AmazonSettings, Filters, ReadBy,
};
use zaikoban::platform::ebay::{Ebay, EbaySettings};
use zaikoban::platform::mercari::{Mercari, MercariSettings};
use zaikoban::platform::oauth::Grant;
use zaikoban::platform::yahoo::{YahooSettings, YahooSource};
use zaikoban::platform::{Destination, Source};
use zaikoban::simulator::{
    AmazonSettings as AmazonQuotas, AuctionSettings, Running, Simulator, SimulatorSettings,
};

/// How long the adapters wait for an answer here.
const TIME_LIMIT: Duration = Duration::from_millis(700);

/// A destination.
pub struct Shop {
    pub relay: Relay,
    pub adapter: Arc<dyn Destination>,
    /// On sale.
    pub listings: Vec<ListingRef>,
    /// Known to nobody.
    pub absent: ListingRef,
    /// The n-th of a few prices that it takes.
    pub money: fn(i64) -> Money,
    pub simulator: Arc<Running>,
    pub truth: fn(&Running, &ListingRef) -> ListingState,
    /// Access tokens end, unknown to the adapter; `None` where there are none.
    pub expire: Option<fn(&Running)>,
    /// The consent is withdrawn.
    pub revoke: fn(&Running),
    /// Whether an answer with the part at this place replaced so is a right one, of another listing.
    pub means: fn(&str, &str) -> bool,
    /// What must not be told.
    pub secrets: Vec<SecretString>,
}

/// A source.
pub struct Spring {
    pub relay: Relay,
    pub adapter: Arc<dyn Source>,
    pub ids: Vec<SourceProductId>,
    pub absent: SourceProductId,
    pub simulator: Arc<Running>,
    /// Pieces and price in yen.
    pub truth: fn(&Running, &SourceProductId) -> (u32, u32),
    pub secrets: Vec<SecretString>,
}

fn pieces(count: u32) -> Quantity {
    Quantity::new(i64::from(count)).unwrap()
}

/// A quiet simulator of a few products that are not auctions.
fn quiet() -> Arc<Running> {
    let settings = SimulatorSettings {
        products: 4,
        listings: 4,
        mercari_listings: 4,
        amazon_products: 4,
        amazon_listings: 4,
        amazon: AmazonQuotas {
            quota_factor: 0.0,
            ..AmazonQuotas::default()
        },
        auctions: AuctionSettings {
            share: 0.0,
            ..AuctionSettings::default()
        },
        ..SimulatorSettings::default()
    };
    Arc::new(Simulator::start(settings).unwrap())
}

fn client(relay: &Relay) -> Client {
    Client::new(&ClientSettings {
        origins: vec![Origin::of(&relay.url).unwrap()],
        user_agent: "zaikoban-test".into(),
        ca_file: None,
        gzip: false,
        limits: Limits {
            total: TIME_LIMIT,
            ..Limits::default()
        },
    })
    .unwrap()
}

/// eBay.
pub async fn ebay() -> Shop {
    let simulator = quiet();
    let relay = Relay::start(&simulator.urls.ebay).await;
    let keys = simulator.catalogue().credentials;
    let grant = Grant {
        client_id: keys.client_id.into(),
        client_secret: SecretString::from(keys.client_secret),
        refresh_token: SecretString::from(keys.refresh_token),
    };
    let secrets = vec![grant.client_secret.clone(), grant.refresh_token.clone()];
    let settings = EbaySettings {
        endpoint: relay.url.clone(),
        content_language: "en-US".into(),
        skus_per_call: 25,
    };
    let tokens = Arc::new(Memory::default());
    let adapter = Ebay::new(settings, Arc::new(grant), client(&relay), tokens, Clock::system()).unwrap();
    let named = |sku: &str, offer: &str| ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::Ebay,
        sku: sku.into(),
        platform_product_id: offer.into(),
    };
    let listings = simulator.register();
    Shop {
        relay,
        adapter: Arc::new(adapter),
        listings: listings.iter().map(|l| named(&l.sku, &l.offer_id)).collect(),
        absent: named("NOT-THERE", "9999999999"),
        money: |n| Money::new(format!("{}.99", 20 + n).parse().unwrap(), Currency::Usd).unwrap(),
        simulator,
        truth: |simulator, listing| {
            let all = simulator.register();
            let entry = all.iter().find(|entry| entry.sku == listing.sku).unwrap();
            ListingState {
                status: match &*entry.status {
                    "PUBLISHED" => ListingStatus::Active,
                    _ => ListingStatus::Ended,
                },
                quantity: pieces(entry.quantity),
                price: entry.price,
            }
        },
        expire: Some(|simulator| simulator.script(&json!({"expire_tokens": true})).unwrap()),
        revoke: |simulator| {
            let order = json!({"expire_tokens": true, "faults": {"ebay": {"revoked": true}}});
            simulator.script(&order).unwrap();
        },
        means: |_, _| false,
        secrets,
    }
}

/// Yahoo! Auctions.
pub async fn yahoo() -> Spring {
    let simulator = quiet();
    let relay = Relay::start(&simulator.urls.yahoo).await;
    let settings = YahooSettings {
        endpoint: relay.url.clone(),
        contact: String::new(),
        ca_file: None,
        gzip: false,
        time_limit: TIME_LIMIT,
    };
    let adapter = YahooSource::new(&settings, Clock::system()).unwrap();
    let products = simulator.catalogue().products;
    Spring {
        relay,
        adapter: Arc::new(adapter),
        ids: products
            .iter()
            .map(|product| SourceProductId::new(&product.item_id).unwrap())
            .collect(),
        absent: SourceProductId::new("z999999999").unwrap(),
        simulator,
        truth: |simulator, id| {
            let all = simulator.truth();
            let item = all.iter().find(|item| &*item.id == id.as_str()).unwrap();
            (item.stock, item.buy_now_jpy.unwrap_or(item.price_jpy))
        },
        secrets: Vec::new(),
    }
}

/// Mercari Shops.
pub async fn mercari() -> Shop {
    let simulator = quiet();
    let relay = Relay::start(&simulator.urls.mercari).await;
    let keys = simulator.catalogue().credentials;
    let token = SecretString::from(keys.mercari_token);
    let settings = MercariSettings {
        endpoint: relay.url.clone(),
        client_name: keys.mercari_client_name.into(),
        points_per_hour: 1_000_000,
    };
    let adapter = Mercari::new(
        &settings,
        Arc::new(token.clone()),
        client(&relay),
        Clock::system(),
    )
    .unwrap();
    let named = |sku: &str, product: &str| ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::Mercari,
        sku: sku.into(),
        platform_product_id: product.into(),
    };
    let listings = simulator.mercari_register();
    Shop {
        relay,
        adapter: Arc::new(adapter),
        listings: listings.iter().map(|l| named(&l.sku, &l.product_id)).collect(),
        absent: named("NOT-THERE", "nOtThErE"),
        money: |n| Money::yen(3_000 + n).unwrap(),
        simulator,
        truth: |simulator, listing| {
            let all = simulator.mercari_register();
            let entry = all.iter().find(|entry| entry.sku == listing.sku).unwrap();
            ListingState {
                status: match &*entry.status {
                    "OPENED" => ListingStatus::Active,
                    _ => ListingStatus::Ended,
                },
                quantity: pieces(entry.quantity),
                price: Some(Money::yen(entry.price.into()).unwrap()),
            }
        },
        expire: None,
        revoke: |simulator| {
            simulator
                .script(&json!({"faults": {"mercari": {"revoked": true}}}))
                .unwrap();
        },
        means: |_, _| false,
        secrets: vec![token],
    }
}

fn amazon_account(relay: &Relay, simulator: &Running) -> (AccountSettings, Grant) {
    let keys = simulator.catalogue().amazon;
    let account = AccountSettings {
        endpoint: relay.url.clone(),
        token_endpoint: relay.url.clone(),
        marketplace: keys.marketplace.into(),
        currency: Currency::Jpy,
        requests_per_hour: None,
        patience: Duration::ZERO,
    };
    let grant = Grant {
        client_id: keys.client_id.into(),
        client_secret: SecretString::from(keys.client_secret),
        refresh_token: SecretString::from(keys.refresh_token),
    };
    (account, grant)
}

/// Amazon as a seller.
pub async fn amazon_seller() -> Shop {
    let simulator = quiet();
    let relay = Relay::start(&simulator.urls.amazon).await;
    let (account, grant) = amazon_account(&relay, &simulator);
    let secrets = vec![grant.client_secret.clone(), grant.refresh_token.clone()];
    let settings = AmazonSellerSettings {
        account,
        seller_id: simulator.catalogue().amazon.seller_id.into(),
        settles_within: Duration::from_secs(900),
    };
    let tokens = Arc::new(Memory::default());
    let adapter =
        AmazonSeller::new(settings, Arc::new(grant), client(&relay), tokens, Clock::system()).unwrap();
    let named = |sku: &str, asin: &str| ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::AmazonSeller,
        sku: sku.into(),
        platform_product_id: asin.into(),
    };
    let listings = simulator.amazon_register();
    let own = listings.iter().filter(|listing| !listing.fba);
    Shop {
        relay,
        adapter: Arc::new(adapter),
        listings: own.map(|l| named(&l.sku, &l.sku)).collect(),
        absent: named("NOT-THERE", "NOT-THERE"),
        money: |n| Money::yen(3_000 + n).unwrap(),
        simulator,
        truth: |simulator, listing| {
            let all = simulator.amazon_register();
            let entry = all.iter().find(|entry| entry.sku == listing.sku).unwrap();
            ListingState {
                status: ListingStatus::Active,
                quantity: pieces(entry.quantity),
                price: Some(Money::yen(entry.price_jpy.into()).unwrap()),
            }
        },
        expire: Some(|simulator| simulator.script(&json!({"expire_tokens": true})).unwrap()),
        revoke: |simulator| {
            let order = json!({"expire_tokens": true, "faults": {"amazon": {"revoked": true}}});
            simulator.script(&order).unwrap();
        },
        // A word less in its status: a listing that cannot be bought.
        means: |place, what| match place {
            "/summaries/0/status" => what == "an empty list",
            place => place.starts_with("/summaries/0/status/") && what == "gone",
        },
        secrets,
    }
}

/// Amazon as a source, by the offers of each item.
pub async fn amazon_offers() -> Spring {
    amazon(ReadBy::Offers).await
}

/// Amazon as a source, by the price that leads each page.
pub async fn amazon_competitive() -> Spring {
    amazon(ReadBy::Competitive).await
}

async fn amazon(read: ReadBy) -> Spring {
    let simulator = quiet();
    let relay = Relay::start(&simulator.urls.amazon).await;
    let (account, grant) = amazon_account(&relay, &simulator);
    let secrets = vec![grant.client_secret.clone(), grant.refresh_token.clone()];
    let settings = AmazonSettings {
        account,
        read,
        filters: Filters::default(),
        pieces: pieces(1),
        title_age: Duration::from_secs(86_400 * 365),
    };
    let tokens = Arc::new(Memory::default());
    let adapter = Amazon::new(settings, Arc::new(grant), client(&relay), tokens, Clock::system()).unwrap();
    let products = simulator.catalogue().amazon.products;
    Spring {
        relay,
        adapter: Arc::new(adapter),
        ids: products
            .iter()
            .map(|product| SourceProductId::new(&product.asin).unwrap())
            .collect(),
        absent: SourceProductId::new("B0ZZZZZZZZ").unwrap(),
        simulator,
        truth: |simulator, id| {
            let all = simulator.amazon_truth();
            let item = all.iter().find(|item| &*item.asin == id.as_str()).unwrap();
            (u32::from(item.offered), item.price_jpy)
        },
        secrets,
    }
}

/// Time goes by: enough for every quota, and for what rests after a refusal. What is under way feels it as a moment.
pub async fn wait() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::resume();
}

/// Whether a text shows one of these.
pub fn tells(text: &str, secrets: &[SecretString]) -> bool {
    secrets.iter().any(|secret| text.contains(secret.expose_secret()))
}
