//! The daemon as a service manager, an operator and a receiver of reports see it: what it tells them, and when.

use super::world::{PROGRAM, World};
use crate::support::sink::Sink;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use zaikoban::app::rehearsal::Rehearsal;

const SOON: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);
/// What systemd would wait for a word in this test.
const PATIENCE: Duration = Duration::from_secs(6);

/// A service manager that writes down what it is told.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<(Instant, String)>,
}

impl Manager {
    fn listen(folder: &Path) -> Self {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            path,
            heard: Vec::new(),
        }
    }

    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.heard
                .extend(text.lines().map(|line| (Instant::now(), line.to_owned())));
        }
    }

    /// How many lines begin so.
    fn count(&mut self, begins: &str) -> usize {
        self.hear();
        self.heard
            .iter()
            .filter(|(_, line)| line.starts_with(begins))
            .count()
    }

    /// Waits until so many lines begin so.
    async fn until(&mut self, begins: &str, times: usize, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.count(begins) < times {
            assert!(
                Instant::now() < deadline,
                "`{begins}` was not heard {times} times: {:?}",
                self.heard
            );
            sleep(LOOK).await;
        }
    }

    fn position(&self, begins: &str) -> Option<usize> {
        self.heard.iter().position(|(_, line)| line.starts_with(begins))
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// One daemon for all of it, because a start costs seconds.
#[tokio::test]
async fn the_daemon_as_a_service() {
    let mut world = World::new("service", 701, 8).await;
    let folder = world.settings.state_dir.clone();
    let mut manager = Manager::listen(&folder);
    let mut sink = Sink::start().await;
    let file = folder.join("zaikoban.toml");
    let base = fs::read_to_string(world.settings.base.as_ref().unwrap()).unwrap();
    fs::write(&file, &base).unwrap();
    let logs = folder.join("logs");
    let mut set = world.settings.environment.clone();
    for (name, value) in [
        ("NOTIFY_SOCKET", manager.path.display().to_string()),
        ("WATCHDOG_USEC", PATIENCE.as_micros().to_string()),
        ("ZAIKOBAN_DAEMON__BLOCKED_S", "300".to_owned()),
        ("ZAIKOBAN_DAEMON__DRAIN_S", "2".to_owned()),
        ("ZAIKOBAN_LOG__DIR", logs.display().to_string()),
        (
            "ZAIKOBAN_SENTRY__DSN",
            format!("http://canarykey@{}/1", sink.address),
        ),
        ("ZAIKOBAN_SENTRY__ENVIRONMENT", "rehearsal".to_owned()),
    ] {
        set.push((name.to_owned(), value));
    }
    world.settings.base = Some(file.clone());
    world.settings.environment = set;
    world.daemon = Rehearsal::new(world.settings.clone()).unwrap();

    it_is_ready_when_products_are_watched(&mut world, &mut manager).await;
    world.register().await;
    world.settle(Duration::from_secs(60)).await;
    it_says_that_it_lives(&mut manager).await;
    what_can_change_does_and_the_rest_is_named(&mut world, &mut manager, &file, &base).await;
    spoilt_settings_change_nothing(&mut world, &mut manager, &file, &base).await;
    reports_arrive_without_secrets(&world, &mut sink).await;
    logs_are_kept_by_channel(&world, &logs).await;
    #[cfg(feature = "failpoints")]
    a_blocked_thread_is_silent(&world, &mut manager).await;

    let pid = Pid::from_raw(i32::try_from(world.daemon.pid().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    manager.until("STOPPING=1", 1, SOON).await;
    // Its end, with that thread, is another test's: this one leaves it to the world.
    assert_eq!(
        manager.count("READY=1"),
        1 + manager.count("RELOADING=1"),
        "{:?}",
        manager.heard
    );
}

async fn it_is_ready_when_products_are_watched(world: &mut World, manager: &mut Manager) {
    world.launch().await;
    manager.until("READY=1", 1, SOON).await;
    let ready = manager.position("READY=1").unwrap();
    let before: Vec<&str> = manager.heard[..ready]
        .iter()
        .map(|(_, line)| line.as_str())
        .collect();
    let asked = before
        .iter()
        .filter(|line| line.starts_with("EXTEND_TIMEOUT_USEC="))
        .count();
    assert!(asked > 0, "{before:?}");
    // Which of the start's steps last long enough to be told depends on the machine; the database's does.
    let waits = |line: &&str| line.starts_with("STATUS=") && line.contains("the database");
    assert!(before.iter().any(waits), "{before:?}");
    manager.until("STATUS=running; 0 products", 1, SOON).await;
}

async fn it_says_that_it_lives(manager: &mut Manager) {
    let from = Instant::now();
    let so_far = manager.count("WATCHDOG=1");
    manager.until("WATCHDOG=1", so_far + 4, SOON).await;
    assert!(
        from.elapsed() < PATIENCE * 2,
        "four words within {:?}",
        from.elapsed()
    );
    manager.until("STATUS=running; 8 products", 1, SOON).await;
}

async fn what_can_change_does_and_the_rest_is_named(
    world: &mut World,
    manager: &mut Manager,
    file: &Path,
    base: &str,
) {
    // A signal, and prices that must follow at once.
    let ebay = "[pricing.destinations.ebay]";
    let margin = base.replace(ebay, &format!("{ebay}\nmargin_bp = 2900"));
    fs::write(file, &margin).unwrap();
    let before = world.book.clone();
    world.book = zaikoban::config::load(Some(file), []).unwrap().pricing;
    assert_ne!(before, world.book);
    let asked = world.asked();
    let pid = Pid::from_raw(i32::try_from(world.daemon.pid().unwrap()).unwrap());
    kill(pid, Signal::SIGHUP).unwrap();
    manager.until("RELOADING=1", 1, SOON).await;
    manager.until("READY=1", 2, SOON).await;
    assert_eq!(manager.count("MONOTONIC_USEC="), 1);
    world.settle(Duration::from_secs(30)).await;
    assert!(!world.writes(asked).is_empty(), "prices have moved");

    // An order, with something that a running daemon cannot do.
    let limit = margin.replace("touched_per_hour = 100000", "touched_per_hour = 99999");
    fs::write(file, format!("{limit}\n[database]\npool_size = 9\n")).unwrap();
    let said = world.said("reload").await;
    assert_eq!(
        said,
        "in force now: sync.touched_per_hour\nneeds a restart: database.pool_size\n"
    );
    let again = world.json("reload").await;
    assert_eq!(again["needs_restart"][0], "database.pool_size", "{again}");
    manager.until("READY=1", 4, SOON).await;
}

async fn spoilt_settings_change_nothing(world: &mut World, manager: &mut Manager, file: &Path, base: &str) {
    let asked = world.asked();
    let filter = "zaikoban=loud password=canary4711 https://u:canary4711@h/?k=canary4711";
    let spoilt = base
        .replace("info,actix_server=warn", filter)
        .replace("max_interval_s", "max_intervall_s");
    fs::write(file, spoilt).unwrap();
    let ran = Command::new(PROGRAM)
        .args(["reload", "--config"])
        .arg(file)
        .env_clear()
        .env("ZAIKOBAN_DAEMON__SOCKET", world.daemon.socket())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the settings have 2 problem(s); those in force stay"),
        "{said}"
    );
    assert!(
        said.contains("`log.filter`") && said.contains("did you mean `watch.max_interval_s`?"),
        "{said}"
    );
    fs::write(file, base).unwrap();
    manager.until("READY=1", 5, SOON).await;
    assert!(world.writes(asked).is_empty());
}

async fn reports_arrive_without_secrets(world: &World, sink: &mut Sink) {
    let report = sink.until("cannot be used; those in force stay", SOON).await;
    assert!(
        report.contains("zaikoban=loud") && report.contains("\"environment\":\"rehearsal\""),
        "{report}"
    );
    if cfg!(feature = "failpoints") {
        world.fault("panic", "ledger/writer").await;
        sink.until("Child `ledger/writer`", SOON).await;
    }
    for (head, body) in &sink.requests {
        assert!(!body.contains("canary"), "{body}");
        assert!(head.contains("POST /api/1/envelope/"), "{head}");
    }
}

async fn logs_are_kept_by_channel(world: &World, logs: &Path) {
    let mut executions = HashSet::new();
    for channel in ["execution", "errors", "security"] {
        let all = lines(&logs.join(format!("{channel}.log")));
        assert!(!all.is_empty(), "{channel}");
        for line in &all {
            assert_eq!(line["channel"], channel, "{line}");
            executions.insert(line["execution"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(executions.len(), 2, "the daemon's life and the import");
    let orders: Vec<String> = lines(&logs.join("security.log"))
        .iter()
        .map(|line| line["fields"]["message"].to_string())
        .collect();
    assert!(
        orders
            .iter()
            .any(|o| o.contains("gave the order `POST /v1/products/import`") && o.contains("200"))
    );
    assert!(
        orders
            .iter()
            .any(|o| o.contains("`POST /v1/reload`") && o.contains("422")),
        "{orders:?}"
    );
    assert!(
        !orders.iter().any(|o| o.contains("GET")),
        "who only looks changes nothing"
    );

    // Moved away, as logrotate does it.
    let (log, moved) = (logs.join("security.log"), logs.join("moved"));
    fs::rename(&log, &moved).unwrap();
    let pid = Pid::from_raw(i32::try_from(world.daemon.pid().unwrap()).unwrap());
    kill(pid, Signal::SIGHUP).unwrap();
    let deadline = Instant::now() + SOON;
    while lines(&log).is_empty() {
        assert!(Instant::now() < deadline, "no new file");
        world.cli("resume-all").await;
        sleep(LOOK).await;
    }
}

#[cfg(feature = "failpoints")]
async fn a_blocked_thread_is_silent(world: &World, manager: &mut Manager) {
    world.fault("block", "watch/yahoo").await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // A word comes every second while all answer.
    loop {
        assert!(Instant::now() < deadline, "it still says that it lives");
        manager.hear();
        let last = manager
            .heard
            .iter()
            .rev()
            .find(|(_, line)| line == "WATCHDOG=1")
            .unwrap()
            .0;
        if last.elapsed() > PATIENCE / 2 {
            return;
        }
        sleep(LOOK).await;
    }
}
