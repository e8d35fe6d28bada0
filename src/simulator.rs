//! The marketplaces on loopback: for rehearsals without risking an account, for the demo, and as the tests' other side.
//!
//! Four doors, each plain and, when wanted, over TLS under an authority of our own: Yahoo! Auctions' item pages at full
//! size, eBay's OAuth and Sell Inventory API, Mercari Shops' GraphQL, and Login with Amazon with the Selling Partner API.
//! Behind them registers of plain data, each under one lock that is held for microseconds: what is true at Yahoo!
//! (`world`), what is on sale at eBay (`market`) and Mercari (`mercari`), and Amazon's items and listings (`amazon`).
//! A seeded `script` moves them; a [`FaultPlan`] says what goes wrong on the way. Every door also answers the paths
//! that begin with `/_`: `/_script` (what happens from now on), `/_truth`, `/_served`, `/_changes`, `/_register`,
//! `/_ledger`, `/_catalogue`, `/_stats`, `/_amazon_truth`, `/_amazon_served`, `/_amazon_register`. All of it can be
//! called in process through [`Running`].
//!
//! The wire formats are written from the platforms' documents and share nothing with `platform`: two readings of one
//! document catch a misreading, one does not.
//!
//! # What a test may rely on
//! - One seed and the same orders at the same offsets give the same truth, whatever was asked in between; the faults of
//!   the n-th request for an item do not depend on other requests.
//! - [`Running::served`] says what the last *good* page of each item said, once its last byte was handed to the
//!   connection: not pages cut short, drifted, swapped or replaced by a login page. What the listings ought to be
//!   follows from it, not from the truth, which a watcher cannot have seen yet.
//! - The ledger of eBay holds one line per entry of a bulk call, in the order of application. A call that was applied
//!   and whose answer was then cut stands there as accepted.

mod admin;
mod amazon;
mod body;
mod draw;
mod ebay;
mod faults;
mod goods;
mod ledger;
mod market;
mod mercari;
mod page;
mod script;
mod server;
mod settings;
mod shared;
mod sinks;
mod tls;
mod views;
mod world;
mod yahoo;

pub use amazon::{AmazonEntry, AmazonItem, AmazonListing, AmazonOperation, SetAmazonItem, SetAmazonListing};
pub use faults::{
    AmazonFault, AmazonFaults, CallFault, Drift, EbayFaults, FaultPlan, MercariFault, MercariFaults,
    PageFault, Storm, YahooFaults,
};
pub use market::{CatalogueListing, LedgerEntry, RegisterEntry, SetListing};
pub use mercari::{MercariAsked, MercariEntry, MercariListing, SetMercari};
pub use settings::{
    AmazonSettings, AuctionSettings, BadSettings, EbaySettings, MercariSettings, SimulatorSettings,
};
pub use shared::{BadOrder, Order};
pub use sinks::{Hooked, SinkMood, Sinks, Texted};
pub use views::{
    AmazonCatalogue, AmazonProduct, Catalogue, CatalogueProduct, Credentials, Page, PageEntry, Platform,
    Stats,
};
pub use world::{ItemView, SetItem, Status, TruthChange};

use crate::clock::Clock;
use server::Server;
use shared::Shared;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatorError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// A page template is broken.
    #[error("the page templates of the simulator are broken: {0}")]
    Template(String),
    /// A port could not be opened, or the thread not started.
    #[error("the simulator cannot serve {what}")]
    Serve {
        /// Which door.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The authority or its certificate could not be made or written.
    #[error("the simulator cannot make its certificates: {0}")]
    Certificates(String),
}

/// Where a running simulator is reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Urls {
    /// Yahoo! over plain HTTP, without a slash at the end.
    pub yahoo: String,
    /// eBay over plain HTTP.
    pub ebay: String,
    /// Mercari over plain HTTP.
    pub mercari: String,
    /// Amazon over plain HTTP: the API and its tokens.
    pub amazon: String,
    /// Amazon over TLS.
    pub amazon_tls: Option<String>,
    /// Yahoo! over TLS.
    pub yahoo_tls: Option<String>,
    /// eBay over TLS.
    pub ebay_tls: Option<String>,
    /// Mercari over TLS.
    pub mercari_tls: Option<String>,
    /// The authority that signed the certificates, as PEM.
    pub ca_pem: Option<PathBuf>,
}

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Starts one by the machine's clock; it serves when this returns.
    ///
    /// # Errors
    /// When the settings cannot be used, a port cannot be opened or a file cannot be written.
    pub fn start(settings: SimulatorSettings) -> Result<Running, SimulatorError> {
        Self::start_at(settings, Clock::system())
    }

    /// Starts one by `clock`, which decides what the script has played.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub fn start_at(settings: SimulatorSettings, clock: Clock) -> Result<Running, SimulatorError> {
        settings.check()?;
        let shared =
            Shared::new(&settings, clock).map_err(|bad| SimulatorError::Template(bad.to_string()))?;
        let shared = Arc::new(shared);
        let (server, urls) = Server::start(&settings, &shared)?;
        tracing::info!(
            yahoo = %urls.yahoo, ebay = %urls.ebay, mercari = %urls.mercari, products = settings.products, seed = settings.seed,
            "Simulator serves `{}`, `{}` and `{}`", urls.yahoo, urls.ebay, urls.mercari
        );
        Ok(Running { urls, shared, server })
    }
}

/// A simulator that serves. Dropping it ends it.
pub struct Running {
    /// Where it is reached.
    pub urls: Urls,
    shared: Arc<Shared>,
    server: Server,
}

impl Running {
    /// What there is to register: products with their listings, and the keys to the doors.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue {
        self.shared.catalogue()
    }

    /// What every item is now.
    #[must_use]
    pub fn truth(&self) -> Vec<ItemView> {
        self.shared.truth()
    }

    /// What the last good page of each item said; items never served are left out.
    #[must_use]
    pub fn served(&self) -> Vec<ItemView> {
        self.shared.served()
    }

    /// The changes of the truth behind number `after`, at most `limit`.
    #[must_use]
    pub fn changes(&self, after: u64, limit: usize) -> Page<TruthChange> {
        self.shared.changes(after, limit)
    }

    /// What eBay shows for every SKU.
    #[must_use]
    pub fn register(&self) -> Vec<RegisterEntry> {
        self.shared.register()
    }

    /// What eBay was asked behind number `after`, at most `limit` lines.
    #[must_use]
    pub fn ledger(&self, after: u64, limit: usize) -> Page<LedgerEntry> {
        self.shared.ebay_ledger(after, limit)
    }

    /// What Mercari shows for every SKU.
    #[must_use]
    pub fn mercari_register(&self) -> Vec<MercariEntry> {
        self.shared.mercari_register()
    }

    /// What Mercari was asked behind number `after`, at most `limit` lines.
    #[must_use]
    pub fn mercari_ledger(&self, after: u64, limit: usize) -> Page<MercariAsked> {
        self.shared.mercari_ledger(after, limit)
    }

    /// What every item of Amazon is now.
    #[must_use]
    pub fn amazon_truth(&self) -> Vec<AmazonItem> {
        self.shared.amazon_truth()
    }

    /// What the last whole answer said of each of Amazon's items; items never asked for are left out.
    #[must_use]
    pub fn amazon_served(&self) -> Vec<AmazonItem> {
        self.shared.amazon_served()
    }

    /// What Amazon holds for every SKU.
    #[must_use]
    pub fn amazon_register(&self) -> Vec<AmazonListing> {
        self.shared.amazon_register()
    }

    /// What Amazon was asked and what it applied behind number `after`, at most `limit` lines.
    #[must_use]
    pub fn amazon_ledger(&self, after: u64, limit: usize) -> Page<AmazonEntry> {
        self.shared.amazon_ledger(after, limit)
    }

    /// Which pages were asked for behind number `after`, at most `limit` lines.
    #[must_use]
    pub fn page_ledger(&self, after: u64, limit: usize) -> Page<PageEntry> {
        self.shared.page_ledger(after, limit)
    }

    /// How much was asked and what became of it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Changes what happens from now on.
    ///
    /// # Errors
    /// When a part of the order cannot be; then nothing of it is done.
    pub fn order(&self, order: &Order) -> Result<(), BadOrder> {
        self.shared.order(order)
    }

    /// The same for an order as `POST /_script` takes it.
    ///
    /// # Errors
    /// When it cannot be read, or a part of it cannot be; then nothing of it is done.
    pub fn script(&self, order: &serde_json::Value) -> Result<(), BadOrder> {
        self.shared.script(order.to_string().as_bytes())
    }

    /// Ends it: doors shut, threads ended, connections dropped.
    pub fn stop(mut self) {
        self.server.stop();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.stop();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}
