//! How the daemon ends when it is asked to, and how it refuses to start.

use super::world::{PROGRAM, READY, SETTLE, World, ends_within};
use crate::support::proxy::Proxy;
use diesel_async::RunQueryDsl as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use zaikoban::app::rehearsal::Rehearsal;
use zaikoban::clock::Clock;
use zaikoban::store::{Db, Embedded, EmbeddedSettings, PoolSettings, StatusBoard};

#[tokio::test]
async fn a9_sigterm_drains_and_ends_with_zero() {
    let mut world = World::settled("sigterm", 401, 150).await;
    world.changes(15.0);
    for times in 1..=3 {
        world.run_for(Duration::from_secs(2)).await;
        // The drain has 20 s, the database's stop comes after it.
        let status = world.daemon.stop(Duration::from_secs(40)).await.unwrap();
        assert_eq!(status, "exit status: 0", "{}", world.daemon.log_tail());
        let log = fs::read_to_string(world.daemon.log()).unwrap();
        assert_eq!(
            log.matches("Drained").count(),
            times,
            "{}",
            world.daemon.log_tail()
        );
        let left: Vec<&str> = log
            .lines()
            .filter(|l| l.contains("did not stop within"))
            .collect();
        assert!(left.is_empty(), "{left:#?}");
        assert_eq!(world.server(), None, "the private server ended with the daemon");
        assert!(!world.daemon.socket().exists(), "the door is closed");
        world.launch().await;
    }
    world.assert_converged(SETTLE).await;
    world.finish().await;
}

/// Asked while it works, the daemon ends within its drain time and holds no job any more; asked twice, at once.
#[tokio::test]
async fn a9_a_stop_under_load_gives_every_lease_back_in_time() {
    let mut world = World::new("a9", 409, 60).await;
    let (server, url) = database_beside(&world).await;
    world.settings.database_url = Some(url.clone());
    world.daemon = Rehearsal::new(world.settings.clone()).unwrap();
    world.launch().await;
    world.register().await;
    let mut settings = PoolSettings::new(url);
    settings.connections = 1;
    let db = Db::connect(&settings).await.unwrap();
    let held = async || {
        let mut conn = db.conn().await.unwrap();
        let sql = "SELECT (SELECT count(*) FROM processing_queue WHERE status = 'processing') \
                   + (SELECT count(*) FROM alert_deliveries WHERE status = 'sending')";
        let count: Count = diesel::sql_query(format!("SELECT ({sql}) AS n"))
            .get_result(&mut *conn)
            .await
            .unwrap();
        count.n
    };
    world.changes(40.0);
    for slow_pages in [false, true] {
        if slow_pages {
            // Longer than the drain: only the second signal ends the wait for them.
            world.faults(json!({ "yahoo": { "p_delay": 1.0, "delay_ms": 4_500 } }));
        }
        world.run_for(Duration::from_secs(3)).await;
        let pid = Pid::from_raw(world.daemon.pid().unwrap().try_into().unwrap());
        let asked = Instant::now();
        if slow_pages {
            kill(pid, Signal::SIGTERM).unwrap();
            sleep(Duration::from_millis(200)).await;
        }
        let status = world.daemon.stop(Duration::from_secs(40)).await.unwrap();
        let took = asked.elapsed();
        assert_eq!(status, "exit status: 0", "{}", world.daemon.log_tail());
        let limit = Duration::from_secs(if slow_pages { 4 } else { 20 });
        assert!(took < limit, "slow pages {slow_pages}: it took {took:?}");
        // Who asks twice does not wait for what is under way: the next start takes it back.
        assert!(slow_pages || held().await == 0, "jobs are still held");
        println!("a9: slow pages {slow_pages}: ended within {took:?}");
        world.faults(json!({ "yahoo": { "p_delay": 0.0 } }));
        world.launch().await;
    }
    let status = world.daemon.stop(Duration::from_secs(40)).await.unwrap();
    assert_eq!(status, "exit status: 0", "{}", world.daemon.log_tail());
    db.close();
    assert!(server.stop().await);
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

/// Asked at any moment of its start, the daemon leaves nothing running.
#[tokio::test]
async fn sigterm_during_the_start_leaves_no_server_behind() {
    let mut world = World::new("early-sigterm", 404, 10).await;
    for after_ms in [300, 900, 1_500, 2_500, 4_000, 400, 700, 1_000] {
        world.daemon.start().unwrap();
        sleep(Duration::from_millis(after_ms)).await;
        let status = world.daemon.stop(Duration::from_secs(40)).await.unwrap();
        assert_eq!(
            status,
            "exit status: 0",
            "{after_ms} ms: {}",
            world.daemon.log_tail()
        );
        assert_eq!(world.server(), None, "{after_ms} ms: {}", world.daemon.log_tail());
    }
    world.launch().await;
    world.finish().await;
}

/// Pages that do not come keep the patrol from draining; whoever asks a second time does not want to wait for them.
#[tokio::test]
async fn a9_a_second_sigterm_ends_the_wait_and_leaves_no_server_behind() {
    let mut world = World::new("second-sigterm", 405, 10).await;
    let mut set = world.settings.environment.clone();
    for name in ["DAEMON__DRAIN_S", "PLATFORMS__YAHOO_AUCTION__TIME_LIMIT_S"] {
        set.push((format!("ZAIKOBAN_{name}"), "100".to_owned()));
    }
    world.daemon.set_environment(set);
    world.launch().await;
    world.register().await;
    world.faults(json!({ "yahoo": { "p_delay": 1.0, "delay_ms": 90_000 } }));
    world.run_for(Duration::from_secs(3)).await;
    let pid = Pid::from_raw(world.daemon.pid().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    world.run_for(Duration::from_secs(2)).await;
    let status = world.daemon.stop(Duration::from_secs(10)).await.unwrap();
    assert_eq!(status, "exit status: 0", "{}", world.daemon.log_tail());
    assert_eq!(world.server(), None, "{}", world.daemon.log_tail());
}

#[tokio::test]
async fn a_second_daemon_on_the_same_socket_is_refused() {
    let mut world = World::new("second", 402, 10).await;
    world.launch().await;
    let mut second = Rehearsal::new(world.settings.clone()).unwrap();
    second.start().unwrap();
    let status = ends_within(&mut second, Duration::from_secs(30)).await;
    assert_eq!(
        status.as_deref(),
        Some("exit status: 75"),
        "{}",
        second.log_tail()
    );
    let log = second.log_tail();
    assert!(log.contains("another daemon answers on"), "{log}");
    let status = world.client().get("/v1/status").await.unwrap();
    assert_eq!(status["state"], "running", "the first one goes on");
    world.finish().await;
}

/// A database that is not ours is not locked by its folder.
#[tokio::test]
async fn a_second_daemon_on_the_same_database_is_refused() {
    let mut world = World::new("second-database", 406, 10).await;
    let (server, url) = database_beside(&world).await;
    world.settings.database_url = Some(url);
    world.daemon = Rehearsal::new(world.settings.clone()).unwrap();
    world.launch().await;
    let mut settings = world.settings.clone();
    settings.state_dir.set_file_name("second");
    let mut second = Rehearsal::new(settings).unwrap();
    second.start().unwrap();
    let status = ends_within(&mut second, Duration::from_secs(30)).await;
    assert_eq!(
        status.as_deref(),
        Some("exit status: 75"),
        "{}",
        second.log_tail()
    );
    let log = second.log_tail();
    assert!(
        log.contains("another daemon or migration uses the database"),
        "{log}"
    );
    world.finish().await;
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_folder_is_refused() {
    let mut world = World::new("second-folder", 407, 10).await;
    world.launch().await;
    let state = &world.settings.state_dir;
    let run = Command::new(PROGRAM)
        .arg("run")
        .env_clear()
        .env("ZAIKOBAN_DAEMON__STATE_DIR", state)
        .env("ZAIKOBAN_DAEMON__SOCKET", state.join("second.sock"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("is held by another zaikoban"), "{said}");
    world.finish().await;
}

/// However far the start has come when the database goes away, it goes on from there when it is back.
#[tokio::test]
async fn b1_a_database_that_goes_away_during_the_start_only_delays_it() {
    let mut world = World::new("cut-start", 408, 10).await;
    let (server, url) = database_beside(&world).await;
    let folder = url.split('\'').nth(1).unwrap();
    let proxy = Proxy::before(folder).await;
    let way = proxy
        .url("zaikoban")
        .replace("user=postgres", "user=zaikoban password=hunter2");
    world.settings.database_url = Some(way);
    // the first cut meets the migration, the others a start with nothing to migrate; the last time nobody listens at all
    for bytes in [6_000, 500, 1_000, 1_500, 2_000, 2_500, 0] {
        proxy.down(bytes == 0);
        proxy.cut_after(Some(bytes));
        world.daemon = Rehearsal::new(world.settings.clone()).unwrap();
        world.daemon.start().unwrap();
        let limit = Duration::from_secs(30);
        world
            .until("the outage in the status", limit, "/v1/status", |status| {
                let state = status["state"].as_str()?;
                state.contains("waiting for the database").then_some(())
            })
            .await;
        let log = fs::read_to_string(world.daemon.log()).unwrap();
        assert!(
            log.contains("database `zaikoban` at 127.0.0.1"),
            "it is said which one: {log}"
        );
        assert!(!log.contains("hunter2"), "its password is not: {log}");
        proxy.down(false);
        proxy.cut_after(None);
        world.daemon.ready(READY, |_| ()).await.unwrap();
        let status = world.daemon.stop(Duration::from_secs(40)).await.unwrap();
        assert_eq!(status, "exit status: 0", "{bytes}: {}", world.daemon.log_tail());
    }
    assert!(server.stop().await);
}

/// A server of the test's own, and how to reach it.
async fn database_beside(world: &World) -> (Embedded, String) {
    let folder = world.settings.state_dir.with_file_name("beside");
    let settings = EmbeddedSettings::new(folder);
    let server = Embedded::start(settings, StatusBoard::new(Clock::system()))
        .await
        .unwrap();
    let url = server.url();
    (server, url)
}

#[tokio::test]
async fn a_bad_configuration_names_every_problem_and_exits_78() {
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("bad.toml"), folder.path().join("state"));
    let text = format!(
        "[daemon]\n\
         state_dir = \"{state}\"\n\
         socket = \"{state}/control.sock\"\n\
         drain_s = 0\n\
         [platforms.ebay]\n\
         enabled = true\n\
         requests_per_second = \"fast\"\n\
         [watch]\n\
         max_interval = 8\n\
         price_factor = 0.5\n",
        state = state.display()
    );
    fs::write(&file, text).unwrap();
    let run = Command::new(PROGRAM)
        .args(["run", "--config"])
        .arg(&file)
        .env_clear()
        .env("ZAIKOBAN_DATABASE__POOL_SIZE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(30), run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for key in [
        "daemon.drain_s",
        "database.pool_size",
        "platforms.ebay.requests_per_second",
        "watch.max_interval",
        "watch.price_factor",
    ] {
        assert!(said.contains(&format!("`{key}`: expected ")), "{key}: {said}");
    }
    assert!(said.contains("has 5 problem(s)"), "{said}");
    assert!(said.contains("did you mean `watch.max_interval_s`?"), "{said}");
    assert!(!state.exists(), "nothing was started");
}
