//! What one check costs, how late a change is, and how fast and large 100,000 products start.
//!
//! The daemon, its private PostgreSQL and the simulator run as processes of their own on the same cores. CPU time is the
//! daemon's own process, user and system, from `/proc`; delays are the daemon's own log of pushes, from the page's last
//! byte to eBay's answer.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints its figures"
)]

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use zaikoban::app::rehearsal::{self, Rehearsal, RehearsalSettings};

/// What was asked for.
struct Arguments {
    json: bool,
    seconds: u64,
    products: u32,
    start_products: u32,
}

fn main() -> anyhow::Result<()> {
    zaikoban::app::install_tls();
    let arguments = arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(measure(&arguments))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else if let Some(fields) = figures.as_object() {
        for (name, value) in fields {
            println!("{name:<28} {value}");
        }
    }
    Ok(())
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut parsed = Arguments {
        json: false,
        seconds: 20,
        products: 5_000,
        start_products: 100_000,
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || {
            given
                .next()
                .and_then(|v| v.parse().ok())
                .context("a number is missing")
        };
        match name.as_str() {
            "--json" => parsed.json = true,
            "--seconds" => parsed.seconds = number()?,
            "--products" => parsed.products = u32::try_from(number()?)?,
            "--start-products" => parsed.start_products = u32::try_from(number()?)?,
            "--bench" => {}
            other => bail!("`{other}` is not known; see scripts/bench"),
        }
    }
    Ok(parsed)
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Value> {
    let plain = checks(arguments, Door::Plain).await?;
    let tls = checks(arguments, Door::TlsGzip).await?;
    let delay = delay(arguments).await?;
    let start = start(arguments).await?;
    Ok(json!({
        "checks_per_s": plain.per_s,
        "cpu_us_per_check_plain": plain.cpu_us,
        "checks_per_s_tls_gzip": tls.per_s,
        "cpu_us_per_check_tls_gzip": tls.cpu_us,
        // What other machines on the same host took of our cores meanwhile: with much of it, no other figure says much.
        "stolen_percent": { "plain": plain.stolen_percent, "tls_gzip": tls.stolen_percent },
        "delay_ms": delay,
        "bytes_per_product": start.bytes_per_product,
        "start_s_100k": start.seconds,
        "rss_mb_100k": start.rss_mb,
    }))
}

/// Through which door the pages come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Plain,
    TlsGzip,
}

struct Checks {
    per_s: f64,
    cpu_us: f64,
    stolen_percent: f64,
}

/// A window is measured again while the host gives more than this share of our cores to others, but not for ever; the
/// calmest one counts.
const CALM_PERCENT: f64 = 1.0;
const MOST_WINDOWS: usize = 6;

/// Unchanged pages as fast as they go.
async fn checks(arguments: &Arguments, door: Door) -> anyhow::Result<Checks> {
    let name = if door == Door::Plain {
        "plain"
    } else {
        "TLS and gzip"
    };
    eprintln!("unchanged checks, {name} …");
    let world = World::open(arguments.products, 0.0, door, 4_000.0).await?;
    world.register().await?;
    // Every page once, so that what is measured is unchanged checks only.
    world
        .until("every product is verified", Duration::from_secs(240), |s| {
            number(s, "/watch/yahoo/checks") >= f64::from(arguments.products) * 1.2
        })
        .await?;
    world.until_settled().await?;
    let mut calmest: Option<Checks> = None;
    for _ in 0..MOST_WINDOWS {
        let window = world.checks_for(arguments.seconds).await?;
        if calmest
            .as_ref()
            .is_none_or(|c| window.stolen_percent < c.stolen_percent)
        {
            calmest = Some(window);
        }
        if calmest.as_ref().is_some_and(|c| c.stolen_percent <= CALM_PERCENT) {
            break;
        }
    }
    world.close().await?;
    calmest.context("nothing was measured")
}

/// From page read to eBay's answer at 500 checks a second.
async fn delay(arguments: &Arguments) -> anyhow::Result<Value> {
    eprintln!("delay at 500 checks/s …");
    let world = World::open(arguments.products, 10.0, Door::Plain, 500.0).await?;
    world.register().await?;
    world
        .until("every product is verified", Duration::from_secs(240), |s| {
            number(s, "/watch/yahoo/checks") >= f64::from(arguments.products) * 1.2
        })
        .await?;
    world.until_settled().await?;
    let (mut calmest, mut delays) = (f64::INFINITY, Vec::new());
    for _ in 0..MOST_WINDOWS {
        let (first, before) = (world.last_push().await?, stolen()?);
        sleep(Duration::from_secs(arguments.seconds.max(20))).await;
        let stolen = stolen_since(before)?;
        if stolen < calmest {
            (calmest, delays) = (stolen, world.delays(first).await?);
        }
        if calmest <= CALM_PERCENT {
            break;
        }
    }
    world.close().await?;
    delays.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let last = delays.len().saturating_sub(1);
        delays
            .get(last.saturating_mul(percent).div_ceil(100))
            .copied()
            .map(round)
    };
    Ok(json!({
        "p50": at(50), "p95": at(95), "p99": at(99), "count": delays.len(), "stolen_percent": calmest,
    }))
}

struct Start {
    seconds: f64,
    rss_mb: f64,
    bytes_per_product: f64,
}

/// A daemon that starts with its rows present.
async fn start(arguments: &Arguments) -> anyhow::Result<Start> {
    eprintln!("start with {} products …", arguments.start_products);
    let mut world = World::open(10, 0.0, Door::Plain, 1.0).await?;
    let empty = world.daemon.usage()?.rss_bytes;
    let client = world.daemon.client()?;
    let mut list = String::from("source_url\n");
    for i in 0..arguments.start_products {
        use std::fmt::Write as _;
        writeln!(
            list,
            "https://auctions.yahoo.co.jp/jp/auction/b{:010}",
            1_000_000 + u64::from(i)
        )?;
    }
    client
        .post_text("/v1/products/import", "text/csv", list.into_bytes())
        .await?;
    world.daemon.stop(Duration::from_secs(60)).await?;
    let began = Instant::now();
    world.daemon.start()?;
    world.daemon.ready(Duration::from_secs(120), |_| {}).await?;
    let seconds = round(began.elapsed().as_secs_f64());
    sleep(Duration::from_secs(3)).await;
    let full = world.daemon.usage()?.rss_bytes;
    world.close().await?;
    #[expect(clippy::as_conversions, reason = "bytes below 2^52 are exact")]
    let bytes = |n: u64| n as f64;
    Ok(Start {
        seconds,
        rss_mb: round(bytes(full) / 1e6),
        bytes_per_product: round(bytes(full.saturating_sub(empty)) / f64::from(arguments.start_products)),
    })
}

/// Simulator and daemon, each a process of its own.
struct World {
    simulator: Child,
    daemon: Rehearsal,
    folder: tempfile::TempDir,
}

impl World {
    async fn open(products: u32, changes_per_s: f64, door: Door, rate: f64) -> anyhow::Result<Self> {
        let program = rehearsal::program().or_else(|_| beside_the_bench())?;
        let folder = tempfile::Builder::new().prefix("zaikoban-bench").tempdir()?;
        // The database runs as another user, who must be able to pass.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let simulated = folder.path().join("simulator");
        let simulator = Command::new(&program)
            .args([
                "simulate",
                "--calm",
                "--listen",
                "127.0.0.1:0",
                "--listen-tls",
                "127.0.0.1:0",
            ])
            .arg("--dir")
            .arg(&simulated)
            .args([
                "--products",
                &products.to_string(),
                "--changes-per-s",
                &changes_per_s.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let urls = addresses(&simulated).await?;
        let text = |key: &str| {
            urls.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let tls = door == Door::TlsGzip;
        let key = |name: &str| {
            urls.pointer(&format!("/credentials/{name}"))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let rate_text = rate.to_string();
        let environment = [
            (
                "ZAIKOBAN_PLATFORMS__YAHOO_AUCTION__REQUESTS_PER_SECOND",
                rate_text.as_str(),
            ),
            ("ZAIKOBAN_PLATFORMS__YAHOO_AUCTION__OPEN_REQUESTS", "16"),
            ("ZAIKOBAN_PLATFORMS__EBAY__REQUESTS_PER_SECOND", "200"),
            ("ZAIKOBAN_WATCH__MIN_INTERVAL_MS", "1"),
            ("ZAIKOBAN_WATCH__MAX_INTERVAL_S", "60"),
            ("ZAIKOBAN_LOG__FILTER", "warn"),
        ];
        let mut daemon = Rehearsal::new(RehearsalSettings {
            program,
            state_dir: folder.path().join("state"),
            base: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo.toml")),
            yahoo: text(if tls { "yahoo_tls" } else { "yahoo" }),
            ebay: text(if tls { "ebay_tls" } else { "ebay" }),
            keys: [key("client_id"), key("client_secret"), key("refresh_token")],
            others: None,
            ca_file: tls.then(|| PathBuf::from(text("ca_pem"))),
            database_url: None,
            environment: environment.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        })?;
        daemon.start()?;
        daemon.ready(Duration::from_secs(60), |_| {}).await?;
        Ok(Self {
            simulator,
            daemon,
            folder,
        })
    }

    /// Imports what the simulator offers.
    async fn register(&self) -> anyhow::Result<()> {
        let list = std::fs::read(self.folder.path().join("simulator/products.csv"))?;
        self.daemon
            .client()?
            .post_text("/v1/products/import", "text/csv", list)
            .await?;
        Ok(())
    }

    async fn status(&self) -> anyhow::Result<Value> {
        Ok(self.daemon.client()?.get("/v1/status").await?)
    }

    /// What is done in so many seconds, and what it costs.
    async fn checks_for(&self, seconds: u64) -> anyhow::Result<Checks> {
        let (before, used, stolen) = (self.status().await?, self.daemon.usage()?, stolen()?);
        let began = Instant::now();
        sleep(Duration::from_secs(seconds)).await;
        let (after, using) = (self.status().await?, self.daemon.usage()?);
        let done = number(&after, "/watch/yahoo/checks") - number(&before, "/watch/yahoo/checks");
        let cpu = using.cpu.saturating_sub(used.cpu).as_secs_f64();
        Ok(Checks {
            per_s: round(done / began.elapsed().as_secs_f64()),
            cpu_us: round(cpu * 1e6 / done.max(1.0)),
            stolen_percent: stolen_since(stolen)?,
        })
    }

    /// Waits until every listing has followed: their first sync is a backlog of our own making, not the source's doing.
    async fn until_settled(&self) -> anyhow::Result<()> {
        self.until("every listing has followed", Duration::from_secs(240), |s| {
            number(s, "/database/counts/listings_behind") < 5.0 && number(s, "/sync/ebay/accepted") > 0.0
        })
        .await
    }

    /// Waits for a level of the status.
    async fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !holds(&self.status().await?) {
            if began.elapsed() > limit {
                bail!(
                    "{what}: not within {limit:?}: {:#}\n{}",
                    self.status().await?,
                    self.daemon.log_tail()
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The number of the newest push.
    async fn last_push(&self) -> anyhow::Result<i64> {
        let mut last = 0;
        loop {
            let page = self.pushes(last).await?;
            match page.last().and_then(|p| p.get("id")).and_then(Value::as_i64) {
                Some(id) => last = id,
                None => return Ok(last),
            }
        }
    }

    async fn pushes(&self, after: i64) -> anyhow::Result<Vec<Value>> {
        let page = self
            .daemon
            .client()?
            .get(&format!("/v1/syncs?limit=1000&after={after}"))
            .await?;
        Ok(page
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default())
    }

    /// The delays of accepted pushes behind number `after`, in milliseconds.
    async fn delays(&self, mut after: i64) -> anyhow::Result<Vec<f64>> {
        let mut delays = Vec::new();
        loop {
            let page = self.pushes(after).await?;
            let Some(last) = page.last().and_then(|p| p.get("id")).and_then(Value::as_i64) else {
                return Ok(delays);
            };
            after = last;
            let accepted = page.iter().filter(|p| {
                p.get("outcome").and_then(Value::as_str) == Some("accepted")
                    && p.get("kind").and_then(Value::as_str) != Some("read")
            });
            delays.extend(accepted.filter_map(|p| p.get("delay_ms").and_then(Value::as_f64)));
        }
    }

    async fn close(mut self) -> anyhow::Result<()> {
        self.daemon.stop(Duration::from_secs(60)).await?;
        self.simulator.kill().await?;
        Ok(())
    }
}

/// What the simulator wrote down once it serves.
async fn addresses(folder: &Path) -> anyhow::Result<Value> {
    let file = folder.join("simulator.json");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        if let Ok(text) = std::fs::read_to_string(&file)
            && let Ok(value) = serde_json::from_str(&text)
        {
            return Ok(value);
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("the simulator did not start")
}

fn beside_the_bench() -> anyhow::Result<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/zaikoban");
    if program.exists() {
        Ok(program)
    } else {
        bail!("build first: cargo build --release")
    }
}

/// The cores' time so far, in ticks: all of it, and what the host gave to others while we had work.
fn stolen() -> anyhow::Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    Ok((ticks.iter().take(8).sum(), ticks.get(7).copied().unwrap_or(0)))
}

/// The share of the cores that was stolen since `before`, in percent.
fn stolen_since(before: (u64, u64)) -> anyhow::Result<f64> {
    let now = stolen()?;
    let share = |n: u64| u32::try_from(n).map_or(0.0, f64::from);
    Ok(round(
        share(now.1.saturating_sub(before.1)) * 100.0 / share(now.0.saturating_sub(before.0)).max(1.0),
    ))
}

fn number(status: &Value, path: &str) -> f64 {
    status.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

fn round(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}
