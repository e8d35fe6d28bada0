//! A Redis beside the server, for the second set of figures.

use anyhow::Context as _;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use zaikoban::clock::Clock;
use zaikoban::store::Db;
use zaikoban::store::redis::{Link, RedisSettings, instance};

/// A server that keeps nothing on disk. Killed with this.
pub(crate) struct Redis {
    folder: TempDir,
    server: Child,
}

impl Redis {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("zkr").tempdir()?;
        let socket = folder.path().join("redis.sock");
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server is not installed: scripts/setup")?;
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(Self { folder, server })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    pub(crate) async fn link(&self, db: &Db) -> anyhow::Result<Link> {
        let url = format!("redis+unix://{}", self.folder.path().join("redis.sock").display());
        let word = instance::instance(&mut *db.conn().await?).await?;
        Ok(Link::new(
            RedisSettings::new(&url, None, "bench")?,
            &word,
            Clock::system(),
        ))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
