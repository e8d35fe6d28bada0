//! B: PostgreSQL dies, refuses, is slow, or has another clock.

use crate::support::home::{Home, connect, run, server_of, text};
use crate::support::long::long_or;
use crate::support::pg::{TestDb, socket_folder};
use crate::support::proxy::Proxy;
use crate::support::wait::until;
use crate::sync::stage::{Stage, shows, usd};
use crate::watch::kit::{Shop, is_committed, state};
use chrono::TimeDelta;
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::time::{Instant, timeout};
use zaikoban::clock::Clock;
use zaikoban::store::{
    Connection, DatabaseStatus, Db, PoolSettings, SqlState, StatusBoard, StoreError, health, status,
};
use zaikoban::supervision::Life;

/// One backend that is killed takes all sessions with it: the server starts anew, and nobody needs to help.
#[tokio::test]
async fn b3_one_killed_backend_costs_every_session_and_nothing_that_was_acknowledged() {
    let home = Home::new();
    let embedded = home.start().await;
    let db = connect(&embedded).await;
    run(&db, "CREATE TABLE told (n bigint PRIMARY KEY)").await;
    let server = server_of(&home.postgres()).unwrap();
    let life = Life::detached("store/embedded");
    let mut told = 0_i64;
    let harm = async {
        for _ in 0..3 {
            let sessions: Vec<_> = join_all((0..4).map(|_| db.conn())).await;
            assert!(sessions.iter().all(Result::is_ok));
            drop(sessions);
            let backend: i32 = text(&db, "SELECT pg_backend_pid()").await.parse().unwrap();
            kill(Pid::from_raw(backend), Signal::SIGKILL).unwrap();
            let wrote = until("four writers again", || async {
                let next = told;
                let all = join_all((0..4).map(|i| {
                    db.transaction(move |conn: &mut Connection| {
                        Box::pin(async move {
                            let sql =
                                format!("INSERT INTO told VALUES ({}) ON CONFLICT DO NOTHING", next + i);
                            Ok(conn.batch_execute(&sql).await?)
                        })
                    })
                }))
                .await;
                for error in all.iter().filter_map(|one| one.as_ref().err()) {
                    assert!(error.is_retryable() || error.is_bad_data(), "{error}");
                }
                all.iter().all(Result::is_ok).then_some(4)
            });
            told += wrote.await;
        }
    };
    tokio::select! {
        () = embedded.keep_running(&life) => panic!("the keeper gave up"),
        done = timeout(Duration::from_secs(120), harm) => done.unwrap(),
    }
    assert_eq!(text(&db, "SELECT count(*) FROM told").await, told.to_string());
    assert_eq!(
        server_of(&home.postgres()),
        Some(server),
        "the postmaster itself lives on"
    );
    assert!(embedded.stop().await);
}

/// The limits that hold in production: whatever the peer does, it is noticed within half a minute.
#[test]
fn b5_a_silent_peer_is_given_up_within_thirty_seconds() {
    let settings = PoolSettings::new("host=db dbname=zaikoban");
    assert!(settings.statement_limit + Duration::from_secs(5) <= Duration::from_secs(30));
    assert!(settings.connect_limit + settings.wait_limit <= Duration::from_secs(30));
}

/// A database that takes no writes: they wait and go on by themselves, readers read, and nobody hammers.
#[actix::test]
async fn b8_a_read_only_database_pauses_the_writers_and_nobody_else() {
    let shop = Shop::new(2).await;
    let (_tree, ledger) = shop.ledger().await;
    assert!(is_committed(&ledger.send(shop.record(1, None)).await.unwrap(), 1));
    let read_only = async |word: &str| {
        let name = shop.t.name();
        let mut admin = crate::support::pg::admin().await;
        let sql = format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = {word}; \
             SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        admin.batch_execute(&sql).await.unwrap();
    };
    read_only("on").await;
    let mut can_commit = shop.can_commit.subscribe();
    let waiting = ledger.send(shop.change(1, state(0, 1_000), false));
    tokio::pin!(waiting);
    tokio::select! {
        early = &mut waiting => panic!("{early:?}"),
        told = can_commit.wait_for(|can| !can) => { told.unwrap(); }
    }
    let reads = until("a reader", || async {
        let mut conn = shop.t.db().conn().await.ok()?;
        conn.batch_execute("SELECT count(*) FROM inventory_management")
            .await
            .ok()
    });
    reads.await;
    let mut conn = shop.t.db().conn().await.unwrap();
    let refused = StoreError::from(conn.batch_execute("DELETE FROM stock_history").await.unwrap_err());
    drop(conn);
    assert_eq!(refused.sqlstate(), Some(SqlState::READ_ONLY), "{refused}");
    assert!(refused.is_outage() && refused.is_retryable() && !refused.needs_a_person());
    // Growing waits: a loop without them would have begun thousands of transactions in two seconds.
    let begun = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let before = shop.number(begun).await;
    tokio::select! {
        early = &mut waiting => panic!("{early:?}"),
        () = tokio::time::sleep(Duration::from_secs(2)) => {}
    }
    let tries = shop.number(begun).await - before;
    assert!(tries < 100, "{tries} transactions in two seconds");
    read_only("off").await;
    let recorded = timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert!(is_committed(&recorded, 2), "{recorded:?}");
    let rows = until("history", || async {
        let mut conn = shop.t.db().conn().await.ok()?;
        conn.batch_execute("SELECT 1").await.ok()
    });
    rows.await;
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 1);
}

/// What the server says when it turns somebody away is told apart; what needs a person is not asked for again and again.
#[tokio::test]
async fn b9_each_way_of_being_turned_away_has_its_word_and_its_patience() {
    let t = TestDb::new().await;
    let proxy = Proxy::before(&socket_folder()).await;
    t.run("DROP ROLE IF EXISTS zt_b9_full; CREATE ROLE zt_b9_full LOGIN CONNECTION LIMIT 0")
        .await;
    let at = format!("host=127.0.0.1 port={} password=hunter2", proxy.address().port());
    let (name, mut words) = (t.name(), Vec::new());
    for (url, code, person) in [
        (format!("{at} user=zt_b9_full dbname={name}"), "53300", false),
        (format!("{at} user=zt_b9_nobody dbname={name}"), "28000", true),
        (format!("{at} user=postgres dbname=zt_b9_nowhere"), "3D000", true),
    ] {
        let mut settings = PoolSettings::new(url);
        settings.accept_loss = true;
        let board = StatusBoard::new(Clock::system());
        let mut seen = board.watch();
        let life = Life::detached("app");
        let before = proxy.connections();
        let waiting = status::connect_waiting(&settings, &board, &life);
        let waited = timeout(Duration::from_secs(2), waiting).await;
        assert!(waited.is_err(), "{code}: an outage is waited for");
        let DatabaseStatus::Away {
            reason,
            needs_a_person,
            ..
        } = seen.borrow_and_update().clone()
        else {
            panic!("{code}: not away");
        };
        assert_eq!(needs_a_person, person, "{code}: {reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
        words.push(reason);
        let tries = proxy.connections() - before;
        if person {
            assert_eq!(tries, 1, "{code}: asked again within its ten seconds");
        } else {
            assert!((2..20).contains(&tries), "{code}: {tries} tries in two seconds");
        }
        let error = Db::connect(&settings).await.err().unwrap();
        assert_eq!(
            error.sqlstate().map(|s| s.to_string()).as_deref(),
            Some(code),
            "{error}"
        );
    }
    words.dedup();
    assert_eq!(words.len(), 3, "{words:?}");
    t.run("DROP ROLE zt_b9_full").await;
}

/// Somebody else's long lock on our tables: the ledger waits its turn again and again, and is not taken for dead.
#[actix::test]
async fn b10_a_long_lock_of_somebody_else_delays_and_restarts_nothing() {
    let shop = Shop::with(1, |pool| pool.lock_limit = Duration::from_millis(50)).await;
    let (tree, ledger) = shop.ledger().await;
    let mut other = shop.t.db().conn().await.unwrap();
    other
        .batch_execute("BEGIN; LOCK TABLE inventory_management IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut can_commit = shop.can_commit.subscribe();
    can_commit.borrow_and_update();
    let waiting = ledger.send(shop.change(1, state(0, 1_000), false));
    tokio::pin!(waiting);
    tokio::select! {
        early = &mut waiting => panic!("{early:?}"),
        () = tokio::time::sleep(Duration::from_millis(700)) => {}
    }
    other.batch_execute("ROLLBACK").await.unwrap();
    let recorded = timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    assert!(is_committed(&recorded, 2), "{recorded:?}");
    let report = serde_json::to_value(tree.report()).unwrap().to_string();
    assert!(!report.contains("\"restarts\":1"), "{report}");
    assert_eq!(shop.number("SELECT count(*) FROM stock_history").await, 1);
}

/// Two transactions that each rest on what the other changes: one is begun anew, and both count.
#[tokio::test]
async fn b11_a_lost_serialization_is_begun_anew() {
    let t = TestDb::new().await;
    t.run("INSERT INTO platform_state (platform, budget_used) VALUES ('a', 0), ('b', 0)")
        .await;
    let met = Arc::new(Barrier::new(2));
    let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let skew = |read: &'static str, write: &'static str| {
        let (met, tries) = (Arc::clone(&met), Arc::clone(&tries));
        t.db().transaction_retried(5, move |conn: &mut Connection| {
            let (met, tries) = (Arc::clone(&met), Arc::clone(&tries));
            Box::pin(async move {
                let sql = format!(
                    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT budget_used FROM platform_state WHERE platform = '{read}'"
                );
                conn.batch_execute(&sql).await?;
                if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
                    met.wait().await;
                }
                let sql = format!(
                    "UPDATE platform_state SET budget_used = 1 + (SELECT budget_used FROM platform_state WHERE platform = \
                     '{read}') WHERE platform = '{write}'"
                );
                conn.batch_execute(&sql).await?;
                Ok(())
            })
        })
    };
    let (one, other) = tokio::join!(skew("a", "b"), skew("b", "a"));
    one.unwrap();
    other.unwrap();
    assert!(
        tries.load(std::sync::atomic::Ordering::SeqCst) > 2,
        "nobody was begun anew"
    );
    let after = t
        .text("SELECT string_agg(budget_used::text, ' ' ORDER BY budget_used) FROM platform_state")
        .await;
    assert_eq!(after, "1 2", "as if one had come after the other");
}

/// A way to the database on which every word takes its time, and tables full of dead rows.
#[actix::test]
async fn b12_a_slow_database_delays_and_keeps_the_order() {
    let mut s = Stage::new(3).await;
    // What no vacuum has taken away.
    s.t.run("ALTER TABLE processing_queue SET (autovacuum_enabled = off)")
        .await;
    let dead = long_or(1_000_000, 50_000);
    s.t.run(&format!(
        "INSERT INTO processing_queue (queue_name, destination, status, completed_at) \
         SELECT 'platform_sync', 'ebay', 'completed', now() FROM generate_series(1, {dead}); \
         UPDATE processing_queue SET priority = 6; DELETE FROM processing_queue"
    ))
    .await;
    let proxy = Proxy::before(&socket_folder()).await;
    let mut settings = PoolSettings::new(proxy.url(s.t.name()));
    settings.accept_loss = true;
    settings.connections = 4;
    s.parts.db = Db::connect(&settings).await.unwrap();
    // So slow that writing down a request takes longer than one may wait for its turn.
    proxy.latency(Duration::from_millis(long_or(1_000, 120)));
    let began = Instant::now();
    s.want(1, 1, usd(25)).await;
    s.want(2, 1, usd(26)).await;
    s.want(3, 0, None).await;
    s.start();
    let limit = Duration::from_secs(120);
    for id in 1..=3 {
        s.in_line_within(id, limit).await;
    }
    let asked = s.fake.asked();
    let zero = asked.iter().position(|a| a.sku == "sku-3").unwrap();
    assert!(
        asked.iter().take(zero).all(|a| a.sku == "sku-3"),
        "the zero first: {asked:?}"
    );
    assert_eq!(
        (
            s.fake.shown("sku-1"),
            s.fake.shown("sku-2"),
            s.fake.shown("sku-3")
        ),
        (shows(1, 25), shows(1, 26), shows(0, 20))
    );
    assert_eq!(s.fake.overlaps(), 0);
    println!("b12: {dead} dead rows, in line after {:?}", began.elapsed());
}

/// A transaction that somebody left open keeps vacuum from its work: `doctor` finds it, and says whose it is.
#[tokio::test]
async fn b13_a_transaction_left_open_is_found_with_its_process() {
    let t = TestDb::new().await;
    let mut other = t.db().conn().await.unwrap();
    other
        .batch_execute("BEGIN; INSERT INTO platform_state (platform) VALUES ('left open')")
        .await
        .unwrap();
    let pid: i64 = t
        .text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' \
             ORDER BY xact_start LIMIT 1",
        )
        .await
        .parse()
        .unwrap();
    // Other tests have transactions of their own for a moment: ours outlasts them.
    until("ours to be the oldest", || async {
        let mut conn = t.db().conn().await.ok()?;
        let health = health::look(&mut conn).await.ok()?;
        assert!(health.unfrozen > 0, "the age of the oldest row is told");
        let oldest = health.oldest?;
        (oldest.pid == pid && oldest.state.as_deref() == Some("idle in transaction")).then_some(())
    })
    .await;
}

/// The daemon's clock is ten minutes off: leases, due times and deadlines are the database's, so nothing is early or late.
#[actix::test]
async fn b15_a_clock_that_is_ten_minutes_off_moves_no_lease_and_no_due_time() {
    for off_s in [-600, 600] {
        let mut s = Stage::new(2).await;
        s.parts.clock = Clock::manual(Clock::system().now() + TimeDelta::seconds(off_s));
        s.fake.will("sku-1", crate::sync::fake::Does::LoseAnswer);
        s.start();
        s.want(1, 3, usd(25)).await;
        s.want(2, 0, None).await;
        let began = Instant::now();
        s.in_line(2).await;
        s.in_line(1).await;
        // The unknown outcome was waited out by the database's clock: 3 s here, not ten minutes and not at once.
        assert!(
            began.elapsed() > Duration::from_secs(2),
            "{off_s}: {:?}",
            began.elapsed()
        );
        assert_eq!(s.fake.shown("sku-1"), shows(3, 25), "{off_s}");
        assert_eq!(s.fake.shown("sku-2"), shows(0, 20), "{off_s}");
        let odd = "SELECT count(*) FROM processing_queue WHERE scheduled_at > now() + interval '1 minute' \
                   OR lease_until > now() + interval '2 minutes'";
        assert_eq!(s.t.text(odd).await, "0", "{off_s}");
    }
}
