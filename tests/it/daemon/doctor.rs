//! `doctor` and `/metrics` of a real daemon: all well, and then one thing after the other is not.

use super::cli::Ran;
use super::world::{LOOK, PROGRAM, READY, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use zaikoban::app::rehearsal::Rehearsal;
use zaikoban::simulator::Order;

const SOON: Duration = Duration::from_secs(30);

/// The rows of an answer, by name.
fn rows(ran: &Ran) -> BTreeMap<String, (String, String)> {
    let answer: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let checks = answer["checks"].as_array().unwrap().iter();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let rows = checks.map(|check| {
        let told = format!("{} -> {}", text(check, "said"), text(check, "to_do"));
        (text(check, "name"), (text(check, "state"), told))
    });
    rows.collect()
}

impl World {
    /// Asks until the row `name` is as `state` says; what it says then, with what to do.
    async fn row(&self, name: &str, state: &str) -> (Ran, String) {
        let deadline = Instant::now() + SOON;
        loop {
            let ran = self.cli("--json doctor").await;
            let mut rows = rows(&ran);
            match rows.remove(name) {
                Some((found, told)) if found == state => return (ran, told),
                other => assert!(
                    Instant::now() < deadline,
                    "`{name}` is not {state} but {other:?}; the rest: {rows:#?}"
                ),
            }
            sleep(LOOK).await;
        }
    }

    async fn series(&self) -> BTreeMap<String, f64> {
        let text = self.client().text("/metrics").await.unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        series.collect()
    }
}

#[tokio::test]
async fn each_trouble_is_told_on_its_own_row_with_what_to_do() {
    let mut world = World::new("doctor", 430, 10).await;
    world.launch().await;
    all_is_well(&world).await;

    let lies = |off_s| Order {
        date_off_s: Some(off_s),
        ..Order::default()
    };
    world.simulator.order(&lies(300)).unwrap();
    let (ran, told) = world.row("clock", "failed").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        told.contains("behind that of") && told.contains("timedatectl"),
        "{told}"
    );
    world.simulator.order(&lies(0)).unwrap();
    world.row("clock", "ok").await;

    the_database_cannot_start(&mut world).await;
    let status = world.daemon.stop(Duration::from_secs(60)).await.unwrap();
    assert_eq!(status, "exit status: 0", "{}", world.daemon.log_tail());

    // What was signed in for before must not help: tokens of another consent are not used.
    world.settings.keys[1] = "a-wrong-secret".to_owned();
    world.settings.keys[2] = "another-consent".to_owned();
    world.daemon = Rehearsal::new(world.settings.clone()).unwrap();
    world.launch().await;
    let (ran, told) = world.row("ebay credentials", "failed").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(told.contains("`zaikoban credentials authorize ebay`"), "{told}");
    assert!(!ran.out.contains("a-wrong-secret"), "{ran:?}");
    world.finish().await;
}

async fn all_is_well(world: &World) {
    let (ran, _) = world.row("ebay", "ok").await;
    let rows = rows(&ran);
    for name in [
        "configuration",
        "socket",
        "database",
        "durability",
        "schema",
        "transactions",
        "vacuum",
        "connections",
        "database time zone",
        "time zone",
        "yahoo_auction",
        "ebay",
        "ebay credentials",
        "ebay quotas",
        "clock",
    ] {
        let row = rows
            .get(name)
            .unwrap_or_else(|| panic!("no `{name}` in {rows:#?}"));
        assert_eq!(row.0, "ok", "`{name}`: {row:?}");
    }
    // A token that the settings give comes without its end.
    let (state, told) = &rows["credentials' end"];
    assert!(
        state == "warning" && told.contains("--field refresh_token --ends-on YYYY-MM-DD"),
        "{state} {told}"
    );
    // How full this machine is, is its own affair.
    for name in ["disk", "database disk", "memory", "open files"] {
        assert!(rows.contains_key(name), "no `{name}` in {rows:#?}");
    }
    let told = world.cli("doctor --offline").await;
    assert!(told.out.contains("not asked: --offline"), "{told:?}");
    assert!(told.err.contains(" ok, "), "{told:?}");
    assert!(
        told.out.lines().all(|line| line.chars().count() <= 160),
        "{told:?}"
    );
}

/// Its server is killed, and finds no control file when it is started again.
async fn the_database_cannot_start(world: &mut World) {
    let control = world.settings.state_dir.join("postgres/data/global/pg_control");
    let aside = control.with_extension("aside");
    std::fs::rename(&control, &aside).unwrap();
    let server = world.server().expect("a database server runs");
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGKILL).unwrap();
    let (ran, told) = world.row("database", "failed").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(told.contains("server.log"), "{told}");
    // A scrape does not wait for it.
    let began = Instant::now();
    world.series().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    std::fs::rename(&aside, &control).unwrap();
    world.row("database", "ok").await;
}

#[tokio::test]
async fn the_counters_of_metrics_move_with_a_change() {
    let world = World::settled("metrics", 431, 20).await;
    let checks = "zaikoban_checks_total{platform=\"yahoo_auction\"}";
    let changes = "zaikoban_changes_total{platform=\"yahoo_auction\"}";
    let pushes = "zaikoban_pushes_total{platform=\"ebay\",outcome=\"accepted\"}";
    let before = world.series().await;
    assert_eq!(
        before.get("zaikoban_products_watched{platform=\"yahoo_auction\"}"),
        Some(&20.0)
    );
    assert_eq!(before.get("zaikoban_database_up"), Some(&1.0));
    world.changes(20.0);
    let deadline = Instant::now() + SOON;
    loop {
        let now = world.series().await;
        let moved = |name: &str| now.get(name) > before.get(name);
        if moved(checks) && moved(changes) && moved(pushes) {
            // The counts of the database follow within seconds.
            if now.contains_key("zaikoban_delay_seconds{platform=\"ebay\",quantile=\"0.5\"}") {
                break;
            }
        }
        assert!(Instant::now() < deadline, "{before:#?}\n{now:#?}");
        sleep(LOOK).await;
    }
    let shown = world.shown("metrics").await;
    assert!(shown.starts_with("# HELP "), "{shown}");
    #[cfg(feature = "failpoints")]
    a_parked_part_is_told(&world).await;
    world.finish().await;
}

/// It crashes until its group gives it up for a while.
#[cfg(feature = "failpoints")]
async fn a_parked_part_is_told(world: &World) {
    let (client, deadline) = (world.client(), Instant::now() + SOON);
    let order = serde_json::json!({ "kind": "panic", "child": "sync/ebay" });
    let parked = "zaikoban_tree_parked{part=\"sync\"}";
    while world.series().await.get(parked) != Some(&1.0) {
        // Refused while it is being restarted.
        let _ = client.post("/v1/fault", &order).await;
        assert!(Instant::now() < deadline, "{:#?}", client.get("/v1/tree").await);
        sleep(LOOK).await;
    }
    let restarts = "zaikoban_tree_restarts_total{part=\"sync\"}";
    assert!(world.series().await.get(restarts) > Some(&0.0));
    let told = world.shown("status").await;
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("the part `sync/ebay` is parked (panicked"),
        "{told}"
    );
}

/// Runs `doctor` where no daemon is.
async fn alone(state: &Path, words: &[&str], config: Option<&Path>) -> Ran {
    let mut command = Command::new(PROGRAM);
    command
        .args(["--json", "doctor"])
        .args(words)
        .env_clear()
        .env("ZAIKOBAN_DAEMON__STATE_DIR", state)
        .env("ZAIKOBAN_SOCKET", state.join("control.sock"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let output = tokio::time::timeout(READY, command.output())
        .await
        .unwrap()
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn without_a_daemon_what_can_be_seen_is_looked_at_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let ran = alone(&state, &["--offline"], None).await;
    let found = rows(&ran);
    assert_eq!(found["socket"].0, "warning", "{found:#?}");
    assert!(
        found["socket"].1.contains("systemctl start zaikoban"),
        "{found:#?}"
    );
    assert_eq!(found["database"].0, "skipped", "{found:#?}");
    assert_eq!(found["yahoo_auction"].0, "skipped", "{found:#?}");
    assert!(
        found.contains_key("disk") && found.contains_key("memory"),
        "{found:#?}"
    );
    assert!(!state.exists(), "something was made");

    let config = folder.path().join("bad.toml");
    std::fs::write(&config, "[daemon]\nsocket_grop = 'x'\ndrain_s = 'long'\n").unwrap();
    let ran = alone(&state, &["--offline"], Some(&config)).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told = &rows(&ran)["configuration"];
    assert_eq!(told.0, "failed");
    assert!(
        told.1.contains("socket_grop") && told.1.contains("drain_s"),
        "{told:?}"
    );
}

/// A disk of one megabyte, where this user may make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mounted(at: &Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted.ok()?.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mounted(folder.path()) else {
        eprintln!("skipped: this user may not mount");
        return;
    };
    std::fs::write(disk.0.join("full"), vec![0; 1_010 * 1024]).unwrap();
    let ran = alone(folder.path(), &["--offline"], None).await;
    let row = &rows(&ran)["disk"];
    assert_eq!((ran.code, &*row.0), (Some(1), "failed"), "{ran:?}");
    assert!(row.1.contains("% full") && row.1.contains("make room"), "{row:?}");
}
