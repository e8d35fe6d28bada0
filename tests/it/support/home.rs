//! A private PostgreSQL of one test's own, in a folder that goes away with it.

use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zaikoban::clock::Clock;
use zaikoban::store::{Db, Embedded, EmbeddedError, EmbeddedSettings, StatusBoard};

/// A state folder that a server running as another user can reach.
pub struct Home {
    pub folder: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("zk").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    pub fn postgres(&self) -> PathBuf {
        self.folder.path().join("postgres")
    }

    pub fn settings(&self) -> EmbeddedSettings {
        let mut settings = EmbeddedSettings::new(self.postgres());
        settings.shared_buffers_mib = 16;
        settings
    }

    pub async fn start(&self) -> Embedded {
        let embedded = self.try_start().await.unwrap();
        let status = embedded.status().borrow().clone();
        assert!(status.is_up(), "{status:?}");
        embedded
    }

    pub async fn try_start(&self) -> Result<Embedded, EmbeddedError> {
        Embedded::start(self.settings(), StatusBoard::new(Clock::system())).await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // a failing test must not leave its server behind
        if let Some(pid) = server_of(&self.postgres()) {
            let _ = kill(pid, Signal::SIGQUIT);
        }
    }
}

/// The server that works in this folder.
pub fn server_of(postgres: &Path) -> Option<Pid> {
    let text = fs::read_to_string(postgres.join("data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

/// One value, as text.
pub async fn text(db: &Db, sql: &str) -> String {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        value: String,
    }
    let mut conn = db.conn().await.unwrap();
    let row: Row = diesel::sql_query(format!("SELECT ({sql})::text AS value"))
        .get_result(&mut *conn)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    row.value
}

/// Runs statements as they stand.
pub async fn run(db: &Db, sql: &str) {
    db.conn().await.unwrap().batch_execute(sql).await.unwrap();
}

/// A pool of the server.
pub async fn connect(embedded: &Embedded) -> Db {
    Db::connect(&embedded.pool_settings()).await.unwrap()
}
