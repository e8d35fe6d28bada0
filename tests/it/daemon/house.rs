//! Several daemons on one database against the same marketplaces.

use super::proof::{Older, busy};
use super::world::{LOOK, READY, SETTLE_AFTER_OUTAGE, World};
use crate::support::home::{Home, server_of};
use crate::support::pg::TestDb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use zaikoban::app::rehearsal::compare::compare;
use zaikoban::app::rehearsal::{Markets, Rehearsal, csv, registered};
use zaikoban::clock::Clock;
use zaikoban::control::client::Client;
use zaikoban::simulator::Order;
use zaikoban::store::{Embedded, StatusBoard};
use zaikoban::supervision::{Life, OwnedTask, spawn_owned};

const PRODUCTS: u32 = 120;
/// How soon a part of the work has changed hands in order, on a machine that is busy with other things.
pub const HANDED_OVER: Duration = Duration::from_secs(20);

/// Daemons on one database.
pub struct House {
    /// Each with a state folder of its own.
    pub nodes: Vec<Rehearsal>,
    /// The marketplaces, and where the tables are.
    pub world: World,
    tables: Tables,
}

/// Where the tables are.
pub enum Tables {
    /// In the tests' cluster.
    Shared(TestDb),
    /// On a server of the test's own, which is started again whenever it ends.
    Own {
        /// Its folder.
        home: Home,
        /// Its address.
        url: String,
        /// What starts it again.
        _kept: OwnedTask<()>,
    },
}

impl Tables {
    /// A server of this test's own.
    pub async fn own() -> Self {
        let home = Home::new();
        let mut settings = home.settings();
        settings.sessions = 120;
        let embedded = Embedded::start(settings, StatusBoard::new(Clock::system()))
            .await
            .unwrap();
        let url = embedded.url();
        let kept = spawn_owned("store/embedded", async move {
            embedded.keep_running(&Life::detached("store/embedded")).await;
        });
        Self::Own {
            home,
            url,
            _kept: kept,
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Shared(t) => t.url().to_owned(),
            Self::Own { url, .. } => url.clone(),
        }
    }

    /// Kills the server as a power cut would.
    pub fn kill(&self) {
        let Self::Own { home, .. } = self else {
            panic!("other tests use this server")
        };
        if let Some(server) = server_of(&home.postgres()) {
            let _ = kill(server, Signal::SIGKILL);
        }
    }
}

impl House {
    /// So many daemons, the first of which has registered everything; each watches its share, and every listing is what
    /// its page calls for.
    pub async fn settled(name: &'static str, seed: u64, nodes: usize) -> Self {
        let tables = Tables::Shared(TestDb::empty().await);
        Self::on(name, seed, nodes, tables, &[]).await
    }

    /// The same on these tables, with these settings beside the usual ones.
    pub async fn on(
        name: &'static str,
        seed: u64,
        nodes: usize,
        tables: Tables,
        more: &[(&str, &str)],
    ) -> Self {
        let mut world = World::new(name, seed, PRODUCTS).await;
        world.settings.database_url = Some(tables.url());
        let mut house = Self {
            nodes: Vec::new(),
            world,
            tables,
        };
        for n in 0..nodes {
            let mut settings = house.world.settings.clone();
            settings.state_dir = settings.state_dir.with_file_name(format!("node-{n}"));
            let set = |name: &str, value: String| (format!("ZAIKOBAN_{name}"), value);
            settings.environment = vec![
                set("WATCH__MASS_CHANGE_PRODUCTS", "1000000".to_owned()),
                set("DATABASE__ACCEPT_LOSS", "true".to_owned()),
                set("NODE__NAME", format!("node-{n}")),
            ];
            let more = more.iter().map(|(name, value)| set(name, (*value).to_owned()));
            settings.environment.extend(more);
            house.nodes.push(Rehearsal::new(settings).unwrap());
            house.launch(n).await;
            if n == 0 {
                house.register().await;
            }
        }
        house
            .shared_by(&(0..nodes).collect::<Vec<_>>(), HANDED_OVER)
            .await;
        house.settle(0, SETTLE_AFTER_OUTAGE).await;
        house
    }

    /// Starts one and waits until it works.
    pub async fn launch(&mut self, n: usize) {
        self.nodes[n].start().unwrap();
        self.nodes[n].ready(READY, |_| ()).await.unwrap();
    }

    async fn register(&self) {
        let catalogue = self.world.simulator.catalogue();
        let answer = self
            .client(0)
            .post_text(
                "/v1/products/import",
                "text/csv",
                csv(&registered(&catalogue, Markets::Two)),
            )
            .await;
        assert_eq!(answer.unwrap()["linked"].as_u64(), Some(u64::from(PRODUCTS)));
    }

    /// A client of one.
    pub fn client(&self, n: usize) -> Client {
        self.nodes[n].client().unwrap()
    }

    /// The process of one that runs.
    pub fn pid(&self, n: usize) -> Pid {
        Pid::from_raw(i32::try_from(self.nodes[n].pid().expect("it runs")).unwrap())
    }

    /// The node that has a part of the work, by the tables.
    pub async fn owner(&self, part: &str) -> usize {
        let sql =
            format!("SELECT n.name FROM leases l JOIN nodes n ON n.boot = l.owner WHERE l.name = '{part}'");
        let name = self.world.text(&sql).await;
        name.strip_prefix("node-")
            .unwrap_or_else(|| panic!("nobody has {part}"))
            .parse()
            .unwrap()
    }

    /// How many products a node watches.
    pub async fn watches(&self, n: usize) -> Option<u64> {
        let asked = timeout(Duration::from_secs(2), async {
            self.client(n).get("/v1/status").await.ok()
        });
        asked.await.ok()??["watch"]["yahoo"]["products"].as_u64()
    }

    /// Waits until exactly these nodes watch all products, each product by one of them, and each node some.
    pub async fn shared_by(&self, living: &[usize], limit: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let mut counts = Vec::new();
            for n in living {
                counts.push(self.watches(*n).await.unwrap_or(0));
            }
            let owned = self
                .world
                .text("SELECT count(*) FROM leases WHERE owner IS NOT NULL AND shard IS NOT NULL")
                .await;
            if counts.iter().sum::<u64>() == u64::from(PRODUCTS)
                && counts.iter().all(|n| *n > 0)
                && owned == "256"
            {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < limit,
                "{living:?} watch {counts:?} of {PRODUCTS} after {limit:?}, {owned} shards have owners\n{}",
                self.logs()
            );
            sleep(LOOK).await;
        }
    }

    /// The end of each log.
    pub fn logs(&self) -> String {
        let tails = self
            .nodes
            .iter()
            .map(|node| format!("--- {}\n{}", node.log().display(), node.log_tail()));
        tails.collect::<Vec<_>>().join("\n")
    }

    /// Ends changes, and waits until every listing is what it should be, as node `n` sees it.
    pub async fn settle(&self, n: usize, limit: Duration) {
        let quiet = Order {
            stop_faults: true,
            stop_changes: Some(true),
            ..Order::default()
        };
        self.world.simulator.order(&quiet).unwrap();
        let client = self.client(n);
        let deadline = Instant::now() + limit;
        loop {
            let busy = busy(&client).await;
            let all = registered(&self.world.simulator.catalogue(), Markets::Two);
            let comparison = compare(&self.world.book, &self.world.simulator, &all, &client).await;
            if let (None, Ok(settled)) = (&busy, &comparison)
                && settled.is_settled()
                && settled.sold == 0
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not settled after {limit:?}: busy: {busy:?}, {comparison:#?}\n{}",
                self.logs()
            );
            sleep(LOOK * 5).await;
        }
    }

    /// Settles, then looks for anything that was lost, doubled, overtaken, made up, hurried or left lying about.
    pub async fn assert_converged(&self, n: usize, older: Older) {
        self.settle(n, SETTLE_AFTER_OUTAGE).await;
        self.world.assert_sound(older).await;
    }

    /// Stops them one after another; each must end by itself and call it success.
    pub async fn finish(mut self) {
        for node in &mut self.nodes {
            let status = node.stop(Duration::from_secs(60)).await.unwrap();
            assert_eq!(status, "exit status: 0", "{}", node.log_tail());
        }
    }
}

impl House {
    /// Kills the server of the tables.
    pub fn kill_server(&self) {
        self.tables.kill();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Some(pid) = node.pid().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if std::thread::panicking() {
                let name = node.log().parent().unwrap().file_name().unwrap().to_owned();
                let kept = format!("{}/daemon-{}.log", env!("CARGO_TARGET_TMPDIR"), name.display());
                let _ = fs::copy(node.log(), kept);
            }
        }
    }
}
