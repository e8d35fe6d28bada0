//! The private database server of a [`World`]: found by its pid file, killed, asked.

use super::world::{LOOK, World};
use diesel_async::RunQueryDsl as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::store::{Db, PoolSettings, StoreError};

impl World {
    fn pid_file(&self) -> Option<String> {
        fs::read_to_string(self.settings.state_dir.join("postgres/data/postmaster.pid")).ok()
    }

    /// The process number of the database server while it runs.
    pub fn server(&self) -> Option<Pid> {
        self.pid_file()?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()
            .map(Pid::from_raw)
    }

    /// Kills the database server as a power cut would, and waits until another one answers the daemon.
    pub async fn kill_server(&mut self) {
        let killed = self.server().expect("a database server runs");
        kill(killed, Signal::SIGKILL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.server().is_none_or(|now| now == killed) {
            self.assert_alive();
            assert!(
                Instant::now() < deadline,
                "no new server after 60 s:\n{}",
                self.daemon.log_tail()
            );
            sleep(LOOK).await;
        }
        let limit = Duration::from_secs(60);
        self.until("the database after its crash", limit, "/v1/status", |status| {
            status["database"]["counts"].is_object().then_some(())
        })
        .await;
    }

    fn private_url(&self) -> String {
        // Lines: number, data folder, start, port, socket folder, …
        let file = self.pid_file().expect("a database server runs");
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        format!(
            "host='{}' port={} user=zaikoban dbname=zaikoban",
            lines[4], lines[3]
        )
    }

    /// The first column of the first row, as text; "" for NULL or no row.
    pub async fn text(&self, sql: &str) -> String {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            value: String,
        }
        let url = self.settings.database_url.clone();
        let mut settings = PoolSettings::new(url.unwrap_or_else(|| self.private_url()));
        settings.connections = 1;
        settings.accept_loss = true;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let asked = async {
                let db = Db::connect(&settings).await?;
                let mut conn = db.conn().await?;
                let statement = format!("SELECT COALESCE(q.v::text, '') AS value FROM ({sql}) AS q(v)");
                let rows: Vec<Row> = diesel::sql_query(statement).load(&mut *conn).await?;
                drop(conn);
                db.close();
                Ok::<_, StoreError>(rows.into_iter().next().map(|r| r.value).unwrap_or_default())
            };
            match asked.await {
                Ok(value) => return value,
                // Whoever asks may have killed the server a moment ago.
                Err(error) => assert!(error.is_outage() && Instant::now() < deadline, "{sql}: {error}"),
            }
            sleep(LOOK).await;
        }
    }
}
