//! The server, the executors, and what they use of the machine.

use super::redis::Redis;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use zaikoban::clock::Clock;
use zaikoban::nodes::{self, Ownership, PRUNE, RESCUE};
use zaikoban::queue::crew::Crew;
use zaikoban::queue::fast::FastLanes;
use zaikoban::queue::tally::LaneFigures;
use zaikoban::queue::{
    self, Notices, Order, Orders, OrdersBoard, Policy, QueueParts, Registry, Tallies, Work,
};
use zaikoban::store::jobs::{Lane, QueueName, WorkerId};
use zaikoban::store::redis;
use zaikoban::store::{Db, Embedded, EmbeddedSettings, StatusBoard, migrate};
use zaikoban::supervision::{GiveUp, GroupSpec, Intensity, Strategy, Tree, TreeOptions};

/// The lane of all measurements.
pub(crate) const LANE: Lane = Lane {
    queue: QueueName::StockCheck,
    destination: None,
};

/// A server of our own, migrated and empty.
pub(crate) struct World {
    _folder: TempDir,
    embedded: Embedded,
    pub(crate) db: Db,
    runtime: Arc<tokio::runtime::Runtime>,
    postmaster: u32,
    redis: Option<Redis>,
    ownership: Ownership,
}

/// Executors at work.
pub(crate) struct Running {
    tree: Tree,
    tallies: Tallies,
}

/// CPU time of both sides, in ticks.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) ours_us: f64,
    pub(crate) servers_us: f64,
}

impl World {
    pub(crate) async fn open(runtime: &Arc<tokio::runtime::Runtime>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("zkq").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let settings = EmbeddedSettings::new(folder.path().join("postgres"));
        let embedded = Embedded::start(settings, StatusBoard::new(Clock::system())).await?;
        let db = Db::connect(&embedded.pool_settings()).await?;
        migrate::up(&db).await?;
        let ownership = nodes::alone(&db, &[RESCUE, PRUNE].map(str::to_owned)).await?;
        let pid = std::fs::read_to_string(folder.path().join("postgres/data/postmaster.pid"))?;
        let postmaster = pid.lines().next().context("no server runs")?.trim().parse()?;
        Ok(Self {
            _folder: folder,
            embedded,
            db,
            runtime: Arc::clone(runtime),
            postmaster,
            redis: None,
            ownership,
        })
    }

    /// From here on jobs are taken by way of Redis.
    pub(crate) async fn begin_redis(&mut self) -> anyhow::Result<()> {
        self.redis = Some(Redis::start().await?);
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.db.close();
        self.embedded.stop().await;
    }

    /// Starts executors with `workers` for `work`.
    pub(crate) async fn start(&self, workers: u16, work: impl Work) -> anyhow::Result<Running> {
        let mut registry = Registry::default();
        registry.register(LANE, work, Policy::default());
        let mut orders = Orders::default();
        let crew = Crew::new(workers, workers)?;
        orders.set(LANE.queue, Order { crew, paused: false });
        let tallies = Tallies::default();
        let link = match &self.redis {
            Some(redis) => Some(redis.link(&self.db).await?),
            None => None,
        };
        let parts = QueueParts {
            fast: link.clone().map(FastLanes::new),
            db: self.db.clone(),
            notices: Notices::default(),
            ownership: self.ownership.clone(),
            worker: WorkerId::new("bench"),
            policy: Policy::default(),
            registry,
            orders: OrdersBoard::new(orders),
            tallies: tallies.clone(),
            grace: Duration::from_secs(10),
        };
        let mut children: Vec<_> = link
            .iter()
            .map(|link| redis::child("redis", link.clone()))
            .collect();
        children.extend(queue::children(&parts));
        let spec = GroupSpec {
            name: "queue".into(),
            strategy: Strategy::OneForOne,
            intensity: Intensity {
                restarts: 5,
                within: Duration::from_secs(60),
            },
            give_up: GiveUp::Escalate,
            children,
        };
        let options = TreeOptions {
            runtime: Some(Arc::clone(&self.runtime)),
            watchdog: None,
        };
        let tree = Tree::start(spec, options)?;
        tree.opened()
            .await
            .map_err(|exit| anyhow::anyhow!("the tree did not open: {exit:?}"))?;
        if let Some(link) = link {
            let up = async |status: &mut tokio::sync::watch::Receiver<redis::RedisStatus>| {
                status.wait_for(redis::RedisStatus::is_up).await.map(drop)
            };
            up(&mut link.watch()).await.context("Redis is not used")?;
        }
        Ok(Running { tree, tallies })
    }

    /// Nothing of the last measurement is left, neither rows nor dead ones.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let session = self.session().await?;
        for statement in ["TRUNCATE processing_queue", "VACUUM ANALYZE processing_queue"] {
            session.batch_execute(statement).await?;
        }
        Ok(())
    }

    /// A connection of the bench's own.
    pub(crate) async fn session(&self) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) =
            tokio_postgres::connect(&self.embedded.url(), tokio_postgres::NoTls).await?;
        self.runtime.spawn(connection);
        Ok(client)
    }

    /// CPU time so far: ours, and that of the server with all its processes, those that have ended too.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let mut servers = ticks(self.postmaster, true)?;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_string_lossy().parse::<u32>().ok();
            if let Some(pid) = pid
                && parent(pid) == Some(self.postmaster)
            {
                servers += ticks(pid, false).unwrap_or(0.0);
            }
        }
        if let Some(redis) = &self.redis {
            servers += ticks(redis.pid(), false)?;
        }
        Ok(Usage {
            ours_us: ticks(std::process::id(), false)? * TICK_US,
            servers_us: servers * TICK_US,
        })
    }

    /// Transactions a second of the server's own yardstick: 8 clients, 5 s.
    pub(crate) async fn pgbench(&self) -> anyhow::Result<f64> {
        eprintln!("pgbench …");
        let url = self.embedded.url();
        run("pgbench", &["-q", "-i", "-s", "10", &url]).await?;
        let said = run(
            "pgbench",
            &["-M", "prepared", "-c", "8", "-j", "1", "-T", "5", &url],
        )
        .await?;
        let line = said.lines().find(|l| l.starts_with("tps = "));
        let tps = line.and_then(|l| l.split_whitespace().nth(2)?.parse().ok());
        tps.context("pgbench said no rate")
    }
}

impl Running {
    pub(crate) fn figures(&self) -> LaneFigures {
        self.tallies.of(LANE).figures()
    }

    /// Waits until `jobs` are completed.
    pub(crate) async fn until(&self, jobs: u64) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(300);
        while self.figures().completed < jobs {
            if tokio::time::Instant::now() > deadline {
                bail!("not done in time: {}", json!(self.figures()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    pub(crate) async fn stop(self) {
        self.tree.stop(Duration::from_secs(30)).await;
    }
}

const TICK_US: f64 = 10_000.0;

/// User and system time of a process, in ticks; with that of its children that have ended, when asked.
fn ticks(pid: u32, with_ended: bool) -> anyhow::Result<f64> {
    let fields = stat(pid)?;
    let number = |n: usize| -> f64 { fields.get(n).and_then(|f| f.parse().ok()).unwrap_or(0.0) };
    let own = number(11) + number(12);
    Ok(if with_ended {
        own + number(13) + number(14)
    } else {
        own
    })
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid).ok()?.get(1)?.parse().ok()
}

/// The fields behind the name, which may hold spaces.
fn stat(pid: u32) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("a strange stat")?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

async fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .output()
        .await?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What else this machine does: the load of the last minutes.
pub(crate) fn load() -> anyhow::Result<Value> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let loads: Vec<f64> = text
        .split_whitespace()
        .take(3)
        .filter_map(|n| n.parse().ok())
        .collect();
    Ok(json!(loads))
}
