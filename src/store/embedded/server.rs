//! One run of the server: making its cluster, starting, asking, stopping.

use super::binaries::Binaries;
use super::pidfile::{self, PidFile};
use super::place::Place;
use super::{EmbeddedError, EmbeddedSettings, SUPERUSER, log};
use crate::store::pool::{Db, PoolSettings};
use crate::store::{SqlState, StoreError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// The port names the socket; nothing listens on the network.
pub(super) const PORT: u16 = 5432;
/// How often a server that is not our child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a server may take that is told to end at once.
const INSIST_LIMIT: Duration = Duration::from_secs(5);

/// A server that runs.
pub(super) enum Server {
    /// Started by this daemon.
    Ours(Child),
    /// Left by an earlier life of the daemon and taken up again.
    TakenUp(Pid),
}

/// Makes the cluster, unless it is there. A cluster becomes visible whole, under its name, or not at all.
pub(super) async fn make_cluster(place: &Place, binaries: &Binaries) -> Result<(), EmbeddedError> {
    let folder = |path: &Path| {
        let path = path.to_owned();
        move |source| EmbeddedError::Folder { path, source }
    };
    if place.data.join("PG_VERSION").is_file() {
        return Ok(());
    }
    if place.making.exists() {
        tracing::info!(
            "Removing a cluster that was never finished: `{}`",
            place.making.display()
        );
        fs::remove_dir_all(&place.making).map_err(folder(&place.making))?;
    }
    place.make_own(&place.making)?;
    let mut initdb = command(place, binaries, "initdb");
    initdb
        .args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C"])
        .args(["--auth-local", "trust", "--auth-host", "reject"])
        .arg("--pgdata")
        .arg(&place.making)
        .kill_on_drop(true);
    let output = initdb
        .output()
        .await
        .map_err(folder(&binaries.program("initdb")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(EmbeddedError::InitDb {
            said: log::last_lines(&said),
        });
    }
    fs::rename(&place.making, &place.data).map_err(folder(&place.data))?;
    let root = File::open(&place.root).map_err(folder(&place.root))?;
    root.sync_all().map_err(folder(&place.root))
}

impl Server {
    /// The server that runs on this cluster, whoever started it.
    pub(super) fn running(place: &Place) -> Option<Self> {
        pidfile::running(&place.data).map(|file| Self::TakenUp(file.pid))
    }

    /// Takes up the server that runs on this cluster, or starts one.
    pub(super) fn start(
        place: &Place,
        binaries: &Binaries,
        settings: &EmbeddedSettings,
    ) -> Result<Self, EmbeddedError> {
        if let Some(PidFile { pid, port, socket }) = pidfile::running(&place.data) {
            if port == PORT && socket == place.socket {
                tracing::info!("Taking up the PostgreSQL that runs already, process {pid}");
                return Ok(Self::TakenUp(pid));
            }
            return Err(EmbeddedError::Elsewhere {
                pid: pid.as_raw(),
                socket,
            });
        }
        if pidfile::clear_stranger(&place.data) {
            tracing::warn!("Removed a stale `postmaster.pid`: the process it names is not our PostgreSQL");
        }
        let log = log::open(&place.log).map_err(|source| EmbeddedError::Folder {
            path: place.log.clone(),
            source,
        })?;
        let mut postgres = command(place, binaries, "postgres");
        postgres.arg("-D").arg(&place.data);
        for (name, value) in settings.server(&place.socket) {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        let error = |source| EmbeddedError::Folder {
            path: binaries.program("postgres"),
            source,
        };
        let errors = log.try_clone().map_err(error)?;
        // a signal to our group (Ctrl-C, systemd's first word) must not reach it before we have finished with it
        postgres.stdout(log).stderr(errors).process_group(0);
        let child = postgres.spawn().map_err(error)?;
        Ok(Self::Ours(child))
    }

    fn pid(&self) -> Option<Pid> {
        match self {
            Self::Ours(child) => child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
            Self::TakenUp(pid) => Some(*pid),
        }
    }

    /// Waits until it has ended; says how.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn ended(&mut self, place: &Place) -> String {
        match self {
            Self::Ours(child) => match child.wait().await {
                Ok(status) => format!("the server ended ({status})"),
                Err(e) => format!("the server cannot be waited for: {e}"),
            },
            Self::TakenUp(pid) => {
                while pidfile::who(*pid, &place.data).may_be_ours() {
                    sleep(LOOK_EVERY).await;
                }
                "the server ended".to_owned()
            }
        }
    }

    /// Waits until it takes connections; recovery after a crash may take minutes.
    pub(super) async fn ready(&mut self, place: &Place, limit: Duration) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + limit;
        let mut wait = Duration::from_millis(20);
        loop {
            let last = match Db::connect(&superuser(place)).await {
                Ok(db) => {
                    db.close();
                    return Ok(());
                }
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                let waited_s = limit.as_secs();
                return Err(EmbeddedError::NotReady {
                    waited_s,
                    last: last.to_string(),
                });
            }
            if let Ok(how) = timeout(wait, self.ended(place)).await {
                return Err(EmbeddedError::Ended {
                    how,
                    said: log::tail(&place.log),
                });
            }
            wait = (wait * 2).min(Duration::from_millis(500));
        }
    }

    /// Asks it to end ("fast": sessions are cut, everything is written), and insists when it does not within `limit`.
    /// True when it ended by itself.
    pub(super) async fn stop(mut self, place: &Place, limit: Duration) -> bool {
        for (signal, limit) in [
            (Signal::SIGINT, limit),
            (Signal::SIGQUIT, INSIST_LIMIT),
            (Signal::SIGKILL, INSIST_LIMIT),
        ] {
            if let Some(pid) = self.pid() {
                // one that is gone already is what we want
                let _ = kill(pid, signal);
            }
            if timeout(limit, self.ended(place)).await.is_ok() {
                return signal == Signal::SIGINT;
            }
        }
        false
    }
}

/// Makes the role and the database of the daemon, as far as they are missing. The role may do what it likes in its
/// database and nothing outside: a statement gone wrong cannot run programs or read files.
pub(super) async fn make_database(place: &Place, name: &str) -> Result<(), StoreError> {
    let db = Db::connect(&superuser(place)).await?;
    let made = async {
        for statement in [
            format!("CREATE ROLE {name} LOGIN"),
            format!("CREATE DATABASE {name} OWNER {name}"),
        ] {
            match db.run(&statement).await {
                Err(error) if error.sqlstate().is_some_and(SqlState::is_duplicate) => {}
                other => other?,
            }
        }
        Ok(())
    };
    let made = made.await;
    db.close();
    made
}

/// Where a client connects.
pub(super) fn address(place: &Place, user: &str, database: &str) -> String {
    address_at(&place.socket, user, database)
}

pub(super) fn address_at(socket: &Path, user: &str, database: &str) -> String {
    let socket = socket.display().to_string();
    let socket = socket.replace('\\', "\\\\").replace('\'', "\\'");
    format!("host='{socket}' port={PORT} user={user} dbname={database}")
}

fn superuser(place: &Place) -> PoolSettings {
    let socket = place.socket.display();
    let mut settings = PoolSettings::new(format!(
        "host='{socket}' port={PORT} user={SUPERUSER} dbname=postgres"
    ));
    settings.connections = 1;
    settings.connect_limit = Duration::from_secs(2);
    settings
}

/// A program of PostgreSQL, as the user it may run as, with nothing of our surroundings.
fn command(place: &Place, binaries: &Binaries, name: &str) -> Command {
    let mut command = Command::new(binaries.program(name));
    // "C": what is written into the log is English everywhere
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/bin:/bin");
    command.current_dir("/").stdin(Stdio::null());
    if let Some(servant) = &place.servant {
        // std drops the supplementary groups, too, when a root process changes its user
        command.uid(servant.uid).gid(servant.gid);
    }
    command
}
