//! Simulated marketplaces, a daemon beside them, and its private database.

use crate::support::seed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use zaikoban::app::install_tls;
use zaikoban::app::rehearsal::{Markets, Others, Rehearsal, RehearsalSettings, csv, keys, registered};
use zaikoban::control::client::Client;
use zaikoban::pricing::PriceBook;
use zaikoban::simulator::{AuctionSettings, ItemView, Order, Running, Simulator, SimulatorSettings};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_zaikoban");
/// From a start to the first check, with the making of a database included.
pub const READY: Duration = Duration::from_secs(120);
/// How soon listings must have followed once nothing changes any more.
pub const SETTLE: Duration = Duration::from_secs(30);
/// The same after an outage: breakers stay shut for up to 20 s, and products that failed are left alone for a while.
pub const SETTLE_AFTER_OUTAGE: Duration = Duration::from_secs(90);
/// How often a level is looked at while it is awaited.
pub const LOOK: Duration = Duration::from_millis(20);

/// These tests wait for how soon something happens; too many of them at once would wait for each other.
static TURN: Semaphore = Semaphore::const_new(2);
/// A world with so many products has the machine to itself.
const LARGE: u32 = 1_000;

/// See the module.
pub struct World {
    /// The marketplaces.
    pub simulator: Running,
    /// The daemon.
    pub daemon: Rehearsal,
    /// How the daemon is started.
    pub settings: RehearsalSettings,
    /// How the daemon prices.
    pub book: PriceBook,
    /// What every item was before anything happened.
    pub first: Vec<ItemView>,
    markets: Markets,
    name: &'static str,
    _folder: TempDir,
    _turn: SemaphorePermit<'static>,
}

/// The settings of the demo: short intervals, high rates.
fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo.toml")
}

/// What is set beside the demo's settings.
///
/// The ledger's blast radius is out of the way: the script sells out more within minutes than it lets pass, and where
/// pages lie, nothing but the reading itself shall be what keeps listings as they are.
fn environment() -> Vec<(String, String)> {
    let set = |name: &str, value: &str| (format!("ZAIKOBAN_{name}"), value.to_owned());
    vec![set("WATCH__MASS_CHANGE_PRODUCTS", "1000000")]
}

/// Waits until the daemon ends by itself, at most `limit`; its exit status then.
pub async fn ends_within(daemon: &mut Rehearsal, limit: Duration) -> Option<String> {
    let ended = async {
        loop {
            if let Some(status) = daemon.exited().unwrap() {
                return status;
            }
            sleep(LOOK).await;
        }
    };
    timeout(limit, ended).await.ok()
}

// === impl World: life ===

impl World {
    /// Quiet marketplaces, and a daemon that is not started yet.
    pub async fn new(name: &'static str, seed: u64, products: u32) -> Self {
        Self::of(name, seed, products, Markets::Two).await
    }

    /// The same with Mercari Shops and both sides of Amazon, and so many products at each source.
    pub async fn of_all(name: &'static str, seed: u64, products: u32) -> Self {
        Self::of(name, seed, products, Markets::All).await
    }

    async fn of(name: &'static str, seed: u64, products: u32, markets: Markets) -> Self {
        install_tls();
        let seed = seed::seed(name, seed);
        let turn = TURN
            .acquire_many(if products < LARGE { 1 } else { 2 })
            .await
            .unwrap();
        let folder = tempfile::Builder::new().prefix("zkd").tempdir().unwrap();
        // for a server that runs as another user
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let others = match markets {
            // The simulator has at least one.
            Markets::Two => 1,
            Markets::All => products,
        };
        let simulator = Simulator::start(SimulatorSettings {
            seed,
            products,
            listings: products,
            mercari_listings: others,
            amazon_products: others,
            amazon_listings: others,
            relist_after_s: 5.0,
            ledger_capacity: 4_000_000,
            auctions: AuctionSettings {
                share: 0.2,
                ..AuctionSettings::default()
            },
            ..SimulatorSettings::default()
        })
        .unwrap();
        let settings = RehearsalSettings {
            program: PROGRAM.into(),
            state_dir: folder.path().join("state"),
            base: Some(base()),
            yahoo: simulator.urls.yahoo.clone(),
            ebay: simulator.urls.ebay.clone(),
            keys: keys(&simulator),
            others: match markets {
                Markets::Two => None,
                Markets::All => Some(Others::of(&simulator)),
            },
            ca_file: None,
            database_url: None,
            environment: environment(),
        };
        Self {
            daemon: Rehearsal::new(settings.clone()).unwrap(),
            book: zaikoban::config::load(Some(base().as_path()), [])
                .unwrap()
                .pricing,
            first: simulator.truth(),
            simulator,
            settings,
            markets,
            name,
            _folder: folder,
            _turn: turn,
        }
    }

    /// The same with the daemon running, every product registered, and every listing what its page calls for.
    pub async fn settled(name: &'static str, seed: u64, products: u32) -> Self {
        let mut world = Self::new(name, seed, products).await;
        world.launch().await;
        world.register().await;
        world.settle(world.patience()).await;
        world
    }

    /// How soon listings must have followed after an outage when each page is to be looked at anew, at the rate allowed.
    pub fn patience(&self) -> Duration {
        let products = u32::try_from(self.first.len()).unwrap();
        SETTLE_AFTER_OUTAGE + Duration::from_millis(20) * products
    }

    /// Starts the daemon and waits until it watches.
    pub async fn launch(&mut self) {
        self.daemon.start().unwrap();
        self.daemon.ready(READY, |_| ()).await.unwrap();
    }

    /// Kills the daemon as a power cut would, unless it is dead already.
    pub async fn kill(&mut self) {
        if self.daemon.exited().unwrap().is_none() {
            self.daemon.kill().await.unwrap();
        }
    }

    /// Arms failpoints for the next start; `None` disarms them.
    pub fn arm(&mut self, plan: Option<String>) {
        let mut set = environment();
        set.extend(plan.map(|plan| ("ZAIKOBAN_FAILPOINTS".to_owned(), plan)));
        self.daemon.set_environment(set);
    }

    /// Changes settings of the next start.
    pub fn set(&mut self, settings: &[(&str, &str)]) {
        let mut all = environment();
        all.extend(
            settings
                .iter()
                .map(|(name, value)| (format!("ZAIKOBAN_{name}"), (*value).to_owned())),
        );
        self.settings.environment.clone_from(&all);
        self.daemon.set_environment(all);
    }

    /// Registers every product with its listing.
    pub async fn register(&self) {
        let all = registered(&self.simulator.catalogue(), self.markets);
        let answer = self
            .client()
            .post_text("/v1/products/import", "text/csv", csv(&all))
            .await
            .unwrap();
        let all = u64::try_from(all.len()).unwrap();
        assert_eq!(answer["added"].as_u64(), Some(all), "{answer}");
        assert_eq!(answer["linked"].as_u64(), Some(all), "{answer}");
    }

    /// From now on so many changes happen per second.
    pub fn changes(&self, per_s: f64) {
        let order = Order {
            stop_changes: Some(false),
            change_rate_per_s: Some(per_s),
            ..Order::default()
        };
        self.simulator.order(&order).unwrap();
    }

    /// From now on pages and calls meet these faults.
    pub fn faults(&self, plan: Value) {
        let order = Order {
            faults: Some(plan),
            ..Order::default()
        };
        self.simulator.order(&order).unwrap();
    }

    /// Breaks the actor at `child`.
    pub async fn fault(&self, kind: &str, child: &str) {
        let order = json!({ "kind": kind, "child": child });
        self.client().post("/v1/fault", &order).await.unwrap();
    }

    /// A client of the daemon.
    pub fn client(&self) -> Client {
        self.daemon.client().unwrap()
    }

    /// The daemon has not ended.
    pub fn assert_alive(&mut self) {
        let ended = self.daemon.exited().unwrap();
        assert_eq!(
            ended,
            None,
            "the daemon ended by itself:\n{}",
            self.daemon.log_tail()
        );
    }

    /// Lets the daemon run for `span`, in which it must not end.
    pub async fn run_for(&mut self, span: Duration) {
        let ended = ends_within(&mut self.daemon, span).await;
        assert_eq!(
            ended,
            None,
            "the daemon ended by itself:\n{}",
            self.daemon.log_tail()
        );
    }

    /// Asks for `path` until `look` finds what it wants in the answer, at most `limit`.
    pub async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        path: &str,
        mut look: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let client = self.client();
        let deadline = Instant::now() + limit;
        loop {
            self.assert_alive();
            let answer = client.get(path).await;
            if let Some(found) = answer.as_ref().ok().and_then(&mut look) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "gave up waiting for {what}; last answer: {answer:?}\n{}",
                self.daemon.log_tail()
            );
            sleep(LOOK).await;
        }
    }

    /// Asks the daemon to end; it must do so by itself and call it success.
    pub async fn finish(mut self) {
        self.assert_alive();
        let status = self.daemon.stop(Duration::from_secs(60)).await.unwrap();
        assert_eq!(status, "exit status: 0", "{}", self.daemon.log_tail());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failing test must leave nothing behind that runs: the daemon first, because it would mend its server.
        let daemon = self.daemon.pid().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = daemon {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if let Some(server) = self.server() {
            let _ = kill(server, Signal::SIGQUIT);
            let deadline = Instant::now() + Duration::from_secs(5);
            let works = || fs::read_link(format!("/proc/{server}/cwd")).is_ok();
            while works() && Instant::now() < deadline {
                std::thread::sleep(LOOK);
            }
        }
        if std::thread::panicking() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("daemon-{}.log", self.name));
            let _ = fs::copy(self.daemon.log(), kept);
        }
    }
}
