//! The private PostgreSQL: made, run and stopped by the daemon when no `database.url` is set.
//!
//! A newcomer should not have to set up a database, and one SQL dialect is enough for the house, so the default is a real
//! server on a Unix socket under the state folder. Swapping it for another one is one setting.
//!
//! # What may happen to it, and what follows
//! | trouble | what is done |
//! |---|---|
//! | PostgreSQL is not installed | refused, with the command that installs it |
//! | the daemon is root | the server and `initdb` run as an ordinary user (`postgres`), in folders of that user |
//! | that user cannot reach the state folder | the cluster is made under `/var/lib`, a link says where and is followed |
//! | that user cannot reach the cluster any more | refused, naming the folder that is closed and the command |
//! | the socket's path would be too long | a short folder under `/run` or `/tmp` that only its owner may enter |
//! | killed while the cluster was being made | it was made under another name; the rest is removed, it is made anew |
//! | the daemon was killed, the server lives | taken up again: `postmaster.pid` names it, its current folder proves it |
//! | `postmaster.pid` names a stranger | removed when nobody works on the cluster |
//! | the server ends or is killed | started again, after growing waits; the status says why, with the log's end |
//! | its log grows without end | begun anew at 8 MiB, one old one is kept |
//! | a disk is full | as above: it comes back by itself when there is room |
//! | the cluster is of another major version | refused, naming both and the package that is missing |
//! | a second daemon on the same state folder | refused: the first holds a lock |
//!
//! The first kind of trouble, which waiting cannot heal, is an error of [`Embedded::start`]; the second is a value on the
//! [`StatusBoard`], and [`Embedded::keep_running`] heals it.
//!
//! The server's settings come on its command line, so that they are always those of this program, and no file in a folder
//! of another user is written by root.

mod binaries;
mod error;
mod log;
mod pidfile;
mod place;
mod server;

use super::looping::{self, pause};
use super::pool::PoolSettings;
use super::status::{DatabaseStatus, StatusBoard, retry_waits};
use crate::supervision::{ChildSpec, Life};
use binaries::Binaries;
pub(super) use binaries::{folders, major_of};
pub use error::EmbeddedError;
use nix::fcntl::Flock;
use place::Place;
use server::Server;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Owns the cluster; used only to make the daemon's role and database.
const SUPERUSER: &str = "postgres";
/// How often the keeper of a healthy server says that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How long a stop waits for the keeper to let go of the server.
const LET_GO_LIMIT: Duration = Duration::from_secs(3);
/// The daemon's role and database.
const NAME: &str = "zaikoban";

/// How the private server is to be run.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// Where everything of it lives: `postgres` in the state folder.
    pub folder: PathBuf,
    /// Where `initdb` and `postgres` are; else they are looked for on `search` and in Debian's folders.
    pub binaries: Option<PathBuf>,
    /// The PATH.
    pub search: Option<std::ffi::OsString>,
    /// For a root daemon: the server's user, the first of these that exists.
    pub run_as: Vec<String>,
    /// How long a start may take; recovery after a crash reads what was written since the last checkpoint.
    pub start_limit: Duration,
    /// How long a stop may take before the server is made to end.
    pub stop_limit: Duration,
    /// Memory for the server's own cache, in MiB.
    pub shared_buffers_mib: u32,
    /// Sessions it admits.
    pub sessions: u32,
}

impl EmbeddedSettings {
    /// What suits a hundred thousand products on a small machine.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            binaries: None,
            search: std::env::var_os("PATH"),
            run_as: vec![NAME.to_owned(), SUPERUSER.to_owned()],
            start_limit: Duration::from_secs(300),
            stop_limit: Duration::from_secs(30),
            shared_buffers_mib: 96,
            sessions: 40,
        }
    }

    /// The server's settings, each with its reason where it has one.
    fn server(&self, socket: &Path) -> Vec<(&'static str, String)> {
        let set = |name, value: &str| (name, value.to_owned());
        vec![
            // reachable through a folder that only its owner may enter, and in no other way
            set("listen_addresses", ""),
            // quoted, since it is a list that commas divide
            ("unix_socket_directories", format!("\"{}\"", socket.display())),
            set("unix_socket_permissions", "0700"),
            ("port", server::PORT.to_string()),
            ("max_connections", self.sessions.to_string()),
            // what is acknowledged is on the disk
            set("fsync", "on"),
            set("synchronous_commit", "on"),
            set("full_page_writes", "on"),
            ("shared_buffers", format!("{}MB", self.shared_buffers_mib)),
            set("work_mem", "8MB"),
            // the write-ahead log stays small, checkpoints rare
            set("max_wal_size", "512MB"),
            set("min_wal_size", "80MB"),
            set("checkpoint_timeout", "15min"),
            // every check updates a row: vacuum often and little
            set("autovacuum_vacuum_scale_factor", "0.05"),
            set("autovacuum_naptime", "20s"),
            // compiled queries need memory that is both written and run, which systemd's hardening forbids
            set("jit", "off"),
            set("max_worker_processes", "4"),
            set("max_parallel_workers", "2"),
            set("timezone", "UTC"),
            set("log_destination", "stderr"),
            set("logging_collector", "off"),
            set("log_checkpoints", "off"),
            set("log_line_prefix", "%m [%p] "),
            set("cluster_name", NAME),
        ]
    }
}

/// The private server. Dropping it leaves the server running, for the next life to take up.
pub struct Embedded {
    settings: EmbeddedSettings,
    place: Place,
    binaries: Binaries,
    board: StatusBoard,
    state: Mutex<State>,
    /// From [`Self::stop`] on nothing is started any more.
    ending: CancellationToken,
    _lock: Flock<File>,
}

#[derive(Default)]
struct State {
    /// The process, ready or not.
    server: Option<Server>,
    /// It took connections and has the daemon's database.
    ready: bool,
}

// === impl Embedded ===

impl Embedded {
    /// Prepares the folders and takes the lock; [`Self::keep_running`] starts the server.
    ///
    /// # Errors
    /// What waiting cannot heal: no programs, another version, no user, no folder, another daemon.
    pub fn prepare(settings: EmbeddedSettings, board: StatusBoard) -> Result<Self, EmbeddedError> {
        let (place, lock) = Place::take(&settings)?;
        let installed = binaries::installed(settings.binaries.as_deref(), settings.search.as_deref());
        let binaries = binaries::choose(installed, version_of(&place.data))?;
        Ok(Self {
            settings,
            place,
            binaries,
            board,
            state: Mutex::default(),
            ending: CancellationToken::new(),
            _lock: lock,
        })
    }

    /// [Prepares](Self::prepare), then tries once to bring the server up. A server that does not come up is told on
    /// `board` and is [`Self::keep_running`]'s to heal.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub async fn start(settings: EmbeddedSettings, board: StatusBoard) -> Result<Self, EmbeddedError> {
        let embedded = Self::prepare(settings, board)?;
        embedded.try_up().await;
        Ok(embedded)
    }

    /// Whether there is a cluster for these settings. Nothing is made or started for the answer.
    ///
    /// # Errors
    /// When a link says where it is kept and nothing is there.
    pub fn exists(settings: &EmbeddedSettings) -> Result<bool, EmbeddedError> {
        place::exists(&settings.folder)
    }

    /// Where the cluster of these settings is and how it is reached, when there is one. Nothing is made or started for
    /// the answer.
    ///
    /// # Errors
    /// When a link says where it is kept and nothing is there.
    pub fn found(settings: &EmbeddedSettings) -> Result<Option<(PathBuf, PoolSettings)>, EmbeddedError> {
        let found = place::found(&settings.folder)?;
        Ok(found.map(|(data, socket)| {
            let url = server::address_at(&socket, NAME, NAME);
            (data, PoolSettings::new(url))
        }))
    }

    /// Where the cluster's files are.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.place.data
    }

    /// Where the daemon connects.
    #[must_use]
    pub fn url(&self) -> String {
        server::address(&self.place, NAME, NAME)
    }

    /// How the daemon connects.
    #[must_use]
    pub fn pool_settings(&self) -> PoolSettings {
        PoolSettings::new(self.url())
    }

    /// How the server is.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<DatabaseStatus> {
        self.board.watch()
    }

    /// Starts the server whenever it is not there, until the child is asked to stop. The server runs on after that:
    /// whoever uses it ends first, then [`Self::stop`] is called.
    pub async fn keep_running(&self, life: &Life) {
        tokio::select! {
            () = self.keep(life) => {}
            () = self.ending.cancelled() => {}
        }
    }

    async fn keep(&self, life: &Life) {
        let waits = retry_waits();
        let mut failed = 0;
        while !life.stopping().is_cancelled() {
            if self.wait_for_its_end(life).await.is_none() {
                return;
            }
            life.waiting_until(Instant::now() + self.settings.start_limit + Duration::from_secs(30));
            if self.try_up().await {
                failed = 0;
                continue;
            }
            let wait = waits.delay(failed, &mut rand::rng());
            failed += 1;
            if !pause(life, wait).await {
                return;
            }
        }
    }

    /// Returns at once while there is no server that is ready. `None` when the child was asked to stop first.
    async fn wait_for_its_end(&self, life: &Life) -> Option<()> {
        let mut state = self.state.lock().await;
        let State {
            server: Some(running),
            ready: true,
        } = &mut *state
        else {
            return Some(());
        };
        let how = loop {
            life.beat();
            tokio::select! {
                () = life.stopping().cancelled_owned() => return None,
                how = running.ended(&self.place) => break how,
                () = tokio::time::sleep(BEAT_EVERY) => {}
            }
            if let Err(error) = log::bound(&self.place.log) {
                tracing::warn!(error = %error, "The private database's log cannot be begun anew");
            }
        };
        *state = State::default();
        let said = log::tail(&self.place.log);
        self.tell_away(&EmbeddedError::Ended { how, said });
        Some(())
    }

    /// Tries once to bring the server up; tells the board how it went.
    pub async fn try_up(&self) -> bool {
        let began = Instant::now();
        match self.bring_up().await {
            Ok(()) => {
                self.board.up("the private PostgreSQL", began.elapsed());
                true
            }
            Err(error) => {
                self.tell_away(&error);
                false
            }
        }
    }

    async fn bring_up(&self) -> Result<(), EmbeddedError> {
        let mut state = self.state.lock().await;
        // one that is there was too slow last time
        if state.server.is_none() {
            server::make_cluster(&self.place, &self.binaries).await?;
            state.server = Some(Server::start(&self.place, &self.binaries, &self.settings)?);
        }
        if let Some(server) = state.server.as_mut() {
            let ready = server.ready(&self.place, self.settings.start_limit).await;
            if matches!(ready, Err(EmbeddedError::Ended { .. })) {
                state.server = None;
            }
            ready?;
        }
        let made = server::make_database(&self.place, NAME).await;
        made.map_err(EmbeddedError::Database)?;
        state.ready = true;
        Ok(())
    }

    fn tell_away(&self, error: &EmbeddedError) {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            reason = format!("{reason}: {inner}");
            cause = inner.source();
        }
        let full = reason.contains("No space left");
        self.board.away("the private PostgreSQL", reason, full);
    }

    /// Stops the server and waits for it. True when it ended by itself within [`EmbeddedSettings::stop_limit`].
    ///
    /// Whoever keeps it running is told to let go. One that cannot hear, because its thread is blocked, is not waited for
    /// long: the server's own pid file says whom to stop.
    pub async fn stop(&self) -> bool {
        self.ending.cancel();
        let held = match timeout(LET_GO_LIMIT, self.state.lock()).await {
            Ok(mut state) => std::mem::take(&mut *state).server,
            Err(_elapsed) => {
                tracing::warn!(
                    "The private database's keeper does not let go: stopping the server without it"
                );
                None
            }
        };
        let by_itself = match held.or_else(|| Server::running(&self.place)) {
            Some(server) => server.stop(&self.place, self.settings.stop_limit).await,
            None => true,
        };
        self.place.leave();
        by_itself
    }
}

/// The child that keeps the server running. It leaves it running when it stops: call [`Embedded::stop`] after the tree.
pub fn child(name: &str, embedded: Arc<Embedded>) -> ChildSpec {
    looping::child(name, move |life| {
        let embedded = Arc::clone(&embedded);
        async move { embedded.keep_running(&life).await }
    })
}

/// The major version that made the cluster.
fn version_of(data: &Path) -> Option<u32> {
    std::fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}
