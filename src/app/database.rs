//! The database at the daemon's start and end: its own or the one that the settings name.

use crate::clock::Clock;
use crate::config::Settings;
use crate::ops::Ops;
use crate::store::embedded::{Embedded, EmbeddedSettings};
use crate::store::status::{DatabaseStatus, StatusBoard, connect_waiting};
use crate::store::{Db, PoolSettings, migrate, partitions};
use crate::supervision::Life;
use anyhow::Context;
use secrecy::ExposeSecret;
use std::sync::Arc;

/// A database that is up, with this program's schema.
pub(super) struct Database {
    /// The pool.
    pub(super) db: Db,
    /// How it is.
    pub(super) board: StatusBoard,
    /// The private server, when it is ours.
    pub(super) embedded: Option<Arc<Embedded>>,
}

impl Database {
    /// Ends the pool, then the private server.
    pub(super) async fn close(self) {
        self.db.close();
        if let Some(embedded) = &self.embedded
            && !embedded.stop().await
        {
            tracing::warn!("The private database did not stop in time");
        }
    }
}

/// The server and how to reach it; its first start may have failed.
async fn server(
    settings: &Settings,
    board: &StatusBoard,
) -> anyhow::Result<(Option<Arc<Embedded>>, PoolSettings)> {
    let (embedded, mut pool) = match &settings.database.url {
        Some(url) => (None, PoolSettings::new(url.expose_secret())),
        None => {
            let mut own = EmbeddedSettings::new(settings.daemon.state_dir.join("postgres"));
            own.binaries.clone_from(&settings.database.binaries);
            own.search = crate::config::search_path();
            own.run_as = vec![settings.database.user.clone()];
            let embedded = Embedded::start(own, board.clone())
                .await
                .context("the private database cannot run")?;
            let pool = embedded.pool_settings();
            (Some(Arc::new(embedded)), pool)
        }
    };
    pool.connections = settings.database.pool_size;
    Ok((embedded, pool))
}

/// Waits for the database, however long it is away, telling `ops` meanwhile, and brings it to this program's schema.
/// `None` when another daemon uses it.
pub(super) async fn open(settings: &Settings, ops: &Ops) -> anyhow::Result<Option<Database>> {
    ops.set_phase("starting the database");
    let board = StatusBoard::new(Clock::system());
    let (embedded, pool) = server(settings, &board).await?;
    let life = Life::detached("database");
    let keep = async {
        match &embedded {
            Some(own) => own.keep_running(&life).await,
            None => std::future::pending().await,
        }
    };
    let db = tokio::select! {
        db = connect_waiting(&pool, &board, &life) => db?.context("the wait for the database was ended")?,
        () = keep => anyhow::bail!("the private database's keeper ended"),
        () = tell(&board, ops) => anyhow::bail!("nobody tells how the database is"),
    };
    ops.set_phase("bringing the database to this program's schema");
    let done = migrate::up(&db).await?;
    for version in done {
        tracing::info!("Migrated the database to `{version}`");
    }
    partitions::ensure_partitions(&db, Clock::system().now()).await?;
    Ok(Some(Database { db, board, embedded }))
}

/// Passes on what is waited for.
async fn tell(board: &StatusBoard, ops: &Ops) {
    let mut status = board.watch();
    loop {
        if let DatabaseStatus::Away { reason, tries, .. } = &*status.borrow_and_update() {
            ops.set_phase(format!(
                "waiting for the database, {tries} tries so far: {reason}"
            ));
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Migrates and ends the server again.
pub(super) async fn migrate(settings: &Settings, dry_run: bool) -> anyhow::Result<Vec<String>> {
    let board = StatusBoard::new(Clock::system());
    let (embedded, pool) = server(settings, &board).await?;
    let db = Db::connect(&pool).await?;
    let done = if dry_run {
        migrate::status(&db).await?.pending
    } else {
        migrate::up(&db).await?
    };
    Database { db, board, embedded }.close().await;
    Ok(done)
}
