//! The private PostgreSQL: made, killed, left behind, taken up again.

use crate::support::home::{Home, connect, run, server_of, text};
use crate::support::long::long_or;
use crate::support::wait::until;
use diesel_async::SimpleAsyncConnection as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::store::{
    DatabaseStatus, Db, Embedded, EmbeddedError, EmbeddedSettings, StatusBoard, migrate, status,
};
use zaikoban::supervision::Life;

#[tokio::test]
async fn a_server_is_made_from_nothing_and_its_data_outlives_it() {
    let home = Home::new();
    let first = home.start().await;
    let db = connect(&first).await;
    migrate::up(&db).await.unwrap();
    run(&db, "CREATE TABLE kept AS SELECT 42 AS n").await;
    assert!(first.stop().await, "stopped by itself");
    assert_eq!(server_of(&home.postgres()), None);
    assert!(db.conn().await.is_err() || text_fails(&db).await);
    drop(first);

    let second = home.start().await;
    let db = connect(&second).await;
    assert_eq!(text(&db, "SELECT n FROM kept").await, "42");
    assert!(second.stop().await);
}

async fn text_fails(db: &Db) -> bool {
    let Ok(mut conn) = db.conn().await else {
        return true;
    };
    conn.batch_execute("SELECT 1").await.is_err()
}

#[tokio::test]
async fn the_daemon_is_no_superuser_and_nobody_else_can_reach_the_server() {
    let home = Home::new();
    let embedded = home.start().await;
    let db = connect(&embedded).await;
    assert_eq!(
        text(&db, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").await,
        "false"
    );
    assert_eq!(text(&db, "SELECT current_setting('listen_addresses')").await, "");
    for (setting, want) in [("jit", "off"), ("fsync", "on"), ("synchronous_commit", "on")] {
        assert_eq!(
            text(&db, &format!("SELECT current_setting('{setting}')")).await,
            want
        );
    }
    for folder in ["data", "run"] {
        let mode = fs::metadata(home.postgres().join(folder))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn a_server_left_by_a_killed_daemon_is_taken_up_again() {
    let home = Home::new();
    let killed = home.start().await;
    let pid = server_of(&home.postgres()).unwrap();
    drop(killed); // nothing is stopped: as with SIGKILL
    let next = home.start().await;
    assert_eq!(server_of(&home.postgres()), Some(pid), "the same server");
    connect(&next).await;
    assert!(next.stop().await);
    assert_eq!(server_of(&home.postgres()), None);
}

/// The state folder of [`a_root_that_may_not_look_at_others`], which runs in a process of its own.
const FOLDER: &str = "ZAIKOBAN_TEST_FOLDER";

/// In many containers root lacks `CAP_SYS_PTRACE` and may not read where another user's process works.
#[tokio::test]
async fn a_root_that_may_not_look_at_others_takes_the_server_up_too() {
    if !Uid::effective().is_root() {
        return; // the server is of our own user then, and can be looked at
    }
    let home = Home::new();
    drop(home.start().await);
    let pid = server_of(&home.postgres()).unwrap();
    let ran = Command::new("setpriv")
        .args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded::a_root_that_may_not_look_at_others",
            "--ignored",
        ])
        .env(FOLDER, home.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(server_of(&home.postgres()), Some(pid), "the same server");
    assert!(home.start().await.stop().await);
}

#[tokio::test]
#[ignore = "is run by the test before it, with fewer rights"]
async fn a_root_that_may_not_look_at_others() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap()).join("postgres");
    let pid = server_of(&folder).unwrap();
    let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
    assert_eq!(cwd.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    let embedded = Embedded::start(EmbeddedSettings::new(&folder), StatusBoard::new(Clock::system()))
        .await
        .unwrap();
    let status = embedded.status().borrow().clone();
    assert!(status.is_up(), "{status:?}");
    assert_eq!(server_of(&folder), Some(pid));
}

#[tokio::test]
async fn a_killed_server_is_started_again_and_the_outage_is_a_value() {
    let home = Home::new();
    let embedded = home.start().await;
    let db = connect(&embedded).await;
    run(&db, "CREATE TABLE kept AS SELECT 42 AS n").await;
    let mut board = embedded.status();
    let life = Life::detached("store/embedded");
    let crash = async {
        kill(server_of(&home.postgres()).unwrap(), Signal::SIGKILL).unwrap();
        let away = board
            .wait_for(|s| matches!(s, DatabaseStatus::Away { .. }))
            .await
            .unwrap()
            .clone();
        let DatabaseStatus::Away { reason, .. } = away else {
            panic!()
        };
        assert!(reason.contains("the server ended"), "{reason}");
        board.wait_for(DatabaseStatus::is_up).await.unwrap();
        until("the table after recovery", || async {
            let mut conn = db.conn().await.ok()?;
            conn.batch_execute("SELECT n FROM kept").await.ok()
        })
        .await;
    };
    tokio::select! {
        () = embedded.keep_running(&life) => panic!("the keeper gave up"),
        done = tokio::time::timeout(Duration::from_secs(60), crash) => done.unwrap(),
    }
    assert!(embedded.stop().await);
}

/// A blocked thread keeps its actor's future, and what that holds, for ever.
#[tokio::test]
async fn a_keeper_that_does_not_let_go_does_not_keep_the_server_from_stopping() {
    let home = Home::new();
    let embedded = home.start().await;
    let life = Life::detached("store/embedded");
    let mut keeper = Box::pin(embedded.keep_running(&life));
    // looked at once, so that it has the server, and never again
    assert!(futures_util::poll!(&mut keeper).is_pending());
    let stopped = tokio::time::timeout(Duration::from_secs(20), embedded.stop()).await;
    assert!(stopped.expect("it hangs"));
    assert_eq!(server_of(&home.postgres()), None);
    drop(keeper);
}

#[tokio::test]
async fn a_server_that_was_never_taken_up_is_stopped_too() {
    let home = Home::new();
    drop(home.start().await);
    let prepared = Embedded::prepare(home.settings(), StatusBoard::new(Clock::system())).unwrap();
    assert!(prepared.stop().await);
    assert_eq!(server_of(&home.postgres()), None);
}

#[tokio::test]
async fn a_taken_up_server_that_is_killed_is_noticed_too() {
    let home = Home::new();
    drop(home.start().await);
    let embedded = home.start().await;
    let mut board = embedded.status();
    let life = Life::detached("store/embedded");
    let crash = async {
        kill(server_of(&home.postgres()).unwrap(), Signal::SIGKILL).unwrap();
        board
            .wait_for(|s| matches!(s, DatabaseStatus::Away { .. }))
            .await
            .unwrap();
        board.wait_for(DatabaseStatus::is_up).await.unwrap();
    };
    tokio::select! {
        () = embedded.keep_running(&life) => panic!("the keeper gave up"),
        done = tokio::time::timeout(Duration::from_secs(60), crash) => done.unwrap(),
    }
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn a_stale_pid_file_does_not_keep_the_server_down() {
    let home = Home::new();
    let embedded = home.start().await;
    let pid_file = home.postgres().join("data/postmaster.pid");
    let real = fs::read_to_string(&pid_file).unwrap();
    assert!(embedded.stop().await);
    drop(embedded);
    let old = real.lines().next().unwrap();
    // nobody has this number; a stranger has it; the file was cut
    for pid in [
        "999999999".to_owned(),
        std::process::id().to_string(),
        String::new(),
    ] {
        fs::write(&pid_file, real.replacen(old, &pid, 1)).unwrap();
        let embedded = home.start().await;
        assert!(embedded.stop().await, "{pid}");
    }
}

#[tokio::test]
async fn a_cluster_that_was_never_finished_is_made_anew() {
    let home = Home::new();
    fs::create_dir_all(home.postgres().join("data.making/base")).unwrap();
    fs::set_permissions(home.postgres(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(home.postgres().join("data.making/PG_VERSION"), "15\n").unwrap();
    let embedded = home.start().await;
    assert!(!home.postgres().join("data.making").exists());
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_folder_is_refused() {
    let home = Home::new();
    let first = home.start().await;
    let refused = home.try_start().await.err().unwrap();
    assert!(matches!(refused, EmbeddedError::InUse { .. }), "{refused}");
    assert!(first.stop().await);
}

#[tokio::test]
async fn a_cluster_of_another_version_is_explained() {
    let home = Home::new();
    let embedded = home.start().await;
    assert!(embedded.stop().await);
    drop(embedded);
    fs::write(home.postgres().join("data/PG_VERSION"), "9\n").unwrap();
    let refused = home.try_start().await.err().unwrap().to_string();
    assert!(
        refused.contains("made by PostgreSQL 9") && refused.contains("apt-get install postgresql-9"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_missing_postgresql_is_explained_with_the_command_that_installs_it() {
    let home = Home::new();
    let mut settings = home.settings();
    settings.binaries = Some(home.folder.path().to_owned());
    let refused = Embedded::start(settings, StatusBoard::new(Clock::system()))
        .await
        .err()
        .unwrap();
    assert!(
        refused.to_string().contains("`apt-get install postgresql`"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_servers_log_is_bounded_while_it_runs() {
    let home = Home::new();
    let embedded = home.start().await;
    let (log, old) = (
        home.postgres().join("server.log"),
        home.postgres().join("server.log.old"),
    );
    let mut filler = fs::File::options().append(true).open(&log).unwrap();
    std::io::Write::write_all(&mut filler, &vec![b'x'; 9 << 20]).unwrap();
    let life = Life::detached("store/embedded");
    let bounded = until("a log that is begun anew", || async {
        (fs::metadata(&log).ok()?.len() < 1 << 20).then_some(())
    });
    tokio::select! {
        () = embedded.keep_running(&life) => panic!("the keeper gave up"),
        () = bounded => {}
    }
    assert!(fs::metadata(old).unwrap().len() > 9 << 20);
    let db = connect(&embedded).await;
    db.conn()
        .await
        .unwrap()
        .batch_execute("SELECT nonsense")
        .await
        .unwrap_err();
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("nonsense") && !said.contains('\0'), "{said}");
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn a_state_folder_too_deep_for_a_socket_still_works() {
    let home = Home::new();
    let deep = home.folder.path().join("d".repeat(60)).join("e".repeat(60));
    let mut settings = EmbeddedSettings::new(&deep);
    settings.shared_buffers_mib = 16;
    let embedded = Embedded::start(settings, StatusBoard::new(Clock::system()))
        .await
        .unwrap();
    connect(&embedded).await;
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn a_state_folder_closed_to_the_servers_user_gets_its_cluster_elsewhere() {
    if !Uid::effective().is_root() {
        return; // nobody else's user is needed then
    }
    let home = Home::new();
    fs::set_permissions(home.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let embedded = home.start().await;
    let elsewhere = fs::read_link(home.postgres().join("kept-elsewhere")).unwrap();
    assert!(
        elsewhere.join("data/PG_VERSION").is_file(),
        "{}",
        elsewhere.display()
    );
    connect(&embedded).await;
    assert!(embedded.stop().await);
    drop(embedded);
    assert!(home.start().await.stop().await, "found again");
    fs::remove_dir_all(elsewhere).unwrap();
}

/// A `chmod` in either direction must not exchange the database for an empty one.
#[tokio::test]
async fn a_state_folder_that_is_opened_or_closed_later_keeps_its_database() {
    if !Uid::effective().is_root() {
        return; // nobody else's user is needed then
    }
    let mode = |home: &Home, mode| {
        fs::set_permissions(home.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    };
    let home = Home::new();
    mode(&home, 0o700);
    let embedded = home.start().await;
    run(&connect(&embedded).await, "CREATE TABLE kept AS SELECT 42 AS n").await;
    assert!(embedded.stop().await);
    drop(embedded);
    mode(&home, 0o755);
    let embedded = home.start().await;
    assert_eq!(text(&connect(&embedded).await, "SELECT n FROM kept").await, "42");
    assert!(embedded.stop().await);
    drop(embedded);
    let link = home.postgres().join("kept-elsewhere");
    fs::remove_dir_all(fs::read_link(&link).unwrap()).unwrap();
    let refused = home.try_start().await.err().unwrap().to_string();
    assert!(
        refused.contains("kept-elsewhere") && refused.contains("nothing is there"),
        "{refused}"
    );
    fs::remove_file(link).unwrap();

    assert!(home.start().await.stop().await);
    mode(&home, 0o700);
    let refused = home.try_start().await.err().unwrap().to_string();
    let remedy = format!("`chmod o+x {}`", home.folder.path().display());
    assert!(refused.contains(&remedy), "{refused}");
    mode(&home, 0o755);
    assert!(home.start().await.stop().await);
}

#[tokio::test]
async fn open_transactions_do_not_keep_the_server_from_stopping() {
    let home = Home::new();
    let embedded = home.start().await;
    let db = connect(&embedded).await;
    let mut conn = db.conn().await.unwrap();
    conn.batch_execute("BEGIN; CREATE TABLE never (n int)")
        .await
        .unwrap();
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn a_database_that_is_away_delays_the_start_with_a_status() {
    let home = Home::new();
    let embedded = home.start().await;
    let settings = embedded.pool_settings();
    assert!(embedded.stop().await);
    drop(embedded);
    let board = StatusBoard::new(Clock::system());
    let mut seen = board.watch();
    let life = Life::detached("app");
    let waiting = status::connect_waiting(&settings, &board, &life);
    let start = async {
        let away = seen
            .wait_for(|s| matches!(s, DatabaseStatus::Away { tries: 2.., .. }))
            .await
            .unwrap()
            .clone();
        let DatabaseStatus::Away {
            reason,
            needs_a_person,
            ..
        } = away
        else {
            panic!()
        };
        assert!(
            reason.contains("cannot connect to") && !needs_a_person,
            "{reason}"
        );
        home.start().await
    };
    let (connected, embedded) = tokio::join!(waiting, start);
    connected.unwrap().unwrap();
    assert!(seen.borrow().is_up());
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn a_missing_database_is_told_as_what_needs_a_person() {
    let home = Home::new();
    let embedded = home.start().await;
    let mut settings = embedded.pool_settings();
    settings.url = embedded
        .url()
        .replace("dbname=zaikoban", "dbname=elsewhere")
        .into();
    let board = StatusBoard::new(Clock::system());
    let mut seen = board.watch();
    let life = Life::detached("app");
    tokio::select! {
        ended = status::connect_waiting(&settings, &board, &life) => panic!("{:?}", ended.err()),
        away = seen.wait_for(|s| matches!(s, DatabaseStatus::Away { needs_a_person: true, .. })) => {
            away.unwrap();
        }
    }
    assert!(embedded.stop().await);
}

#[tokio::test]
async fn b17_a_server_that_forgets_is_refused() {
    let home = Home::new();
    let embedded = home.start().await;
    let mut settings = embedded.pool_settings();
    settings.url = format!("{} options='-c synchronous_commit=off'", embedded.url()).into();
    let refused = Db::connect(&settings).await.err().unwrap().to_string();
    assert!(
        refused.contains("synchronous_commit off") && refused.contains("ALTER SYSTEM SET"),
        "{refused}"
    );
    settings.accept_loss = true;
    Db::connect(&settings).await.unwrap();
    assert!(embedded.stop().await);
}

/// What was told committed stands, whatever kills the server, and the way back needs nobody.
#[tokio::test]
async fn b2_what_was_acknowledged_survives_a_server_that_is_killed_again_and_again() {
    let home = Home::new();
    let embedded = home.start().await;
    let db = connect(&embedded).await;
    run(&db, "CREATE TABLE told (n bigint PRIMARY KEY)").await;
    let life = Life::detached("store/embedded");
    let mut board = embedded.status();
    let written = std::cell::RefCell::new(Vec::<i64>::new());
    let writing = async {
        for n in 0_i64.. {
            let told = db
                .transaction(move |conn| {
                    Box::pin(async move {
                        Ok(conn
                            .batch_execute(&format!("INSERT INTO told VALUES ({n})"))
                            .await?)
                    })
                })
                .await;
            match told {
                Ok(()) => written.borrow_mut().push(n),
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    let killing = async {
        // SIGINT is PostgreSQL's fast stop, SIGQUIT its immediate one.
        let ways = [Signal::SIGQUIT, Signal::SIGKILL, Signal::SIGINT, Signal::SIGQUIT];
        for signal in ways.into_iter().cycle().take(long_or(20, 6)) {
            let before = written.borrow().len();
            until("some rows", || async {
                (written.borrow().len() > before + 20).then_some(())
            })
            .await;
            kill(server_of(&home.postgres()).unwrap(), signal).unwrap();
            board
                .wait_for(|s| matches!(s, DatabaseStatus::Away { .. }))
                .await
                .unwrap();
            board.wait_for(DatabaseStatus::is_up).await.unwrap();
        }
        let before = written.borrow().len();
        until("writing again", || async {
            (written.borrow().len() > before).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = embedded.keep_running(&life) => panic!("the keeper gave up"),
        () = writing => panic!("the writer gave up"),
        done = tokio::time::timeout(Duration::from_secs(180), killing) => done.unwrap(),
    }
    let all = written.into_inner();
    let last = all.last().unwrap();
    let there = text(
        &db,
        &format!(
            "SELECT count(*) FROM told WHERE n <= {last} AND n = ANY('{{{}}}')",
            list(&all)
        ),
    )
    .await;
    assert_eq!(
        there,
        all.len().to_string(),
        "rows that were told committed are missing"
    );
    assert!(embedded.stop().await);
}

fn list(all: &[i64]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A small disk of memory, mounted over a folder. `None` where that is not allowed: it needs root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(folder: &Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0711"), "tmpfs"])
            .arg(folder)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder.to_owned()));
        }
        None
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let filler = format!("of={}", self.0.join("filler").display());
        let _ = Command::new("dd")
            .args(["if=/dev/zero", &filler, "bs=64k", "status=none"])
            .status();
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

const WRITE_MUCH: &str =
    "INSERT INTO kept SELECT 1, repeat(md5(random()::text), 3000) FROM generate_series(1, 300)";

async fn write_until_full(db: &Db) -> String {
    until("the full disk", || async {
        let Ok(mut conn) = db.conn().await else {
            return Some("no connection".to_owned());
        };
        let error = zaikoban::store::StoreError::from(conn.batch_execute(WRITE_MUCH).await.err()?);
        assert!(error.is_outage() && error.is_retryable(), "{error}");
        Some(error.to_string())
    })
    .await
}

async fn write_again(db: &Db) {
    until("writing again", || async {
        let mut conn = db.conn().await.ok()?;
        conn.batch_execute("INSERT INTO kept VALUES (43, '')").await.ok()
    })
    .await;
}

/// B6: a disk without room stops the writes; when there is room again they go on.
#[tokio::test]
async fn b6_a_full_disk_is_an_outage_that_ends_when_there_is_room() {
    let home = Home::new();
    fs::create_dir(home.postgres()).unwrap();
    let Some(disk) = SmallDisk::over(&home.postgres(), "160m") else {
        return;
    };
    let embedded = home.start().await;
    let db = connect(&embedded).await;
    run(&db, "CREATE TABLE kept AS SELECT 42 AS n, ''::text AS filler").await;
    let life = Life::detached("store/embedded");
    let fill = async {
        disk.fill();
        println!("full: {}", write_until_full(&db).await);
        disk.make_room();
        write_again(&db).await;
    };
    tokio::select! {
        () = embedded.keep_running(&life) => panic!("the keeper gave up"),
        done = tokio::time::timeout(Duration::from_secs(120), fill) => done.unwrap(),
    }
    assert_eq!(
        text(&db, "SELECT string_agg(n::text, ' ') FROM kept WHERE n > 41").await,
        "42 43"
    );
    assert!(embedded.stop().await);
}

/// B7: a write-ahead log without room ends the server, and it cannot even start; when there is room again it is back.
#[tokio::test]
async fn b7_a_full_write_ahead_log_keeps_the_server_down_until_there_is_room() {
    let home = Home::new();
    let embedded = home.start().await;
    run(
        &connect(&embedded).await,
        "CREATE TABLE kept AS SELECT 42 AS n, ''::text AS filler",
    )
    .await;
    assert!(embedded.stop().await);
    drop(embedded);
    let log = home.folder.path().join("log");
    fs::create_dir(&log).unwrap();
    let Some(disk) = SmallDisk::over(&log, "72m") else {
        return;
    };
    let wal = home.postgres().join("data/pg_wal");
    let moved = Command::new("cp")
        .arg("-a")
        .arg(&wal)
        .arg(log.join("wal"))
        .status()
        .unwrap();
    assert!(moved.success());
    fs::remove_dir_all(&wal).unwrap();
    std::os::unix::fs::symlink(log.join("wal"), &wal).unwrap();

    let embedded = home.start().await;
    let db = connect(&embedded).await;
    let life = Life::detached("store/embedded");
    let mut board = embedded.status();
    let fill = async {
        disk.fill();
        println!("full: {}", write_until_full(&db).await);
        let twice = |s: &DatabaseStatus| matches!(s, DatabaseStatus::Away { tries: 2.., .. });
        let away = board.wait_for(twice).await.unwrap().clone();
        let DatabaseStatus::Away {
            reason,
            needs_a_person,
            ..
        } = away
        else {
            panic!()
        };
        assert!(reason.contains("No space left") && needs_a_person, "{reason}");
        disk.make_room();
        board.wait_for(DatabaseStatus::is_up).await.unwrap();
        write_again(&db).await;
    };
    tokio::select! {
        () = embedded.keep_running(&life) => panic!("the keeper gave up"),
        done = tokio::time::timeout(Duration::from_secs(120), fill) => done.unwrap(),
    }
    assert_eq!(
        text(&db, "SELECT string_agg(n::text, ' ') FROM kept WHERE n > 41").await,
        "42 43"
    );
    assert!(embedded.stop().await);
}
