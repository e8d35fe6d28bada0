//! What the machine around the daemon does: a terminal that closes, a log that nobody reads, a socket that is cleaned away,
//! certificates that are not installed, a person who only wants to know.

use super::world::{LOOK, PROGRAM, READY, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use zaikoban::control::client::Client;

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_hangup_ends_nothing_and_is_answered_in_the_log() {
    let mut world = World::new("hangup", 410, 10).await;
    world.launch().await;
    let pid = Pid::from_raw(world.daemon.pid().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGHUP).unwrap();
    world.run_for(Duration::from_secs(1)).await;
    let log = fs::read_to_string(world.daemon.log()).unwrap();
    assert!(log.contains("The settings were read again"), "{log}");
    world.finish().await;
}

#[tokio::test]
async fn a_control_socket_that_was_removed_is_there_again_within_seconds() {
    let mut world = World::new("lost-socket", 411, 10).await;
    world.launch().await;
    for _ in 0..8 {
        fs::remove_file(world.daemon.socket()).unwrap();
        world
            .until("the socket", SOON, "/v1/status", |status| {
                status["state"].as_str().map(drop)
            })
            .await;
    }
    let tree = world.client().get("/v1/tree").await.unwrap();
    assert!(!tree.to_string().contains("parked"), "{tree}");
    world.finish().await;
}

/// 64 KiB fit into a pipe; then every write waits for a reader that does not come.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let world = World::new("stalled-log", 412, 10).await;
    let state = &world.settings.state_dir;
    let socket = state.join("control.sock");
    let mut daemon = Command::new(PROGRAM)
        .arg("run")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("ZAIKOBAN_DAEMON__STATE_DIR", state)
        .env("ZAIKOBAN_DAEMON__SOCKET", &socket)
        .env(
            "ZAIKOBAN_PLATFORMS__YAHOO_AUCTION__ENDPOINT",
            &world.settings.yahoo,
        )
        .env("ZAIKOBAN_LOG__FILTER", "trace")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = daemon.stderr.take().unwrap();
    let client = Client::new(&socket).unwrap();
    let deadline = Instant::now() + READY;
    let mut answers = 0;
    while answers < 50 {
        assert!(
            Instant::now() < deadline,
            "it stands still after {answers} answers"
        );
        let asked = timeout(Duration::from_secs(5), client.get("/v1/status")).await;
        let running = |status: serde_json::Value| status["state"] == "running";
        if asked.is_ok_and(|answer| answer.is_ok_and(running)) {
            answers += 1;
        }
        sleep(LOOK).await;
    }
    let pid = Pid::from_raw(daemon.id().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = timeout(Duration::from_secs(60), daemon.wait()).await;
    assert_eq!(status.expect("it does not end").unwrap().code(), Some(0));
    let mut said = Vec::new();
    log.read_to_end(&mut said).await.unwrap();
    // a line that did not fit whole is not in it
    assert!(said.len() >= 60 * 1024, "{} bytes do not fill a pipe", said.len());
}

#[tokio::test]
async fn an_order_needs_no_certificates() {
    let run = Command::new(PROGRAM)
        .args(["status", "--socket", "/nonexistent/control.sock"])
        .env_clear()
        .env("SSL_CERT_FILE", "/nonexistent/ca.crt")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output();
    let output = timeout(SOON, run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("No such file or directory"), "{said}");
}

#[tokio::test]
async fn a_dry_run_of_a_migration_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let run = Command::new(PROGRAM)
        .args(["migrate", "--dry-run"])
        .env_clear()
        .env("ZAIKOBAN_DAEMON__STATE_DIR", &state)
        .output();
    let output = timeout(SOON, run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let migrations = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(migrations > 0, "{said}");
    assert!(!state.exists(), "something was made");
}
