//! The private database server of a [`World`]: found by its pid file, killed, asked.

use super::world::{LOOK, World};
use diesel_async::RunQueryDsl as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::store::{Db, PoolSettings};

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

    /// The first column of the first row, as text; "" for NULL or no row.
    pub async fn text(&self, sql: &str) -> String {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            value: String,
        }
        // Lines: number, data folder, start, port, socket folder, …
        let file = self.pid_file().expect("a database server runs");
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        let url = format!(
            "host='{}' port={} user=zaikoban dbname=zaikoban",
            lines[4], lines[3]
        );
        let mut settings = PoolSettings::new(url);
        settings.connections = 1;
        let db = Db::connect(&settings).await.unwrap();
        let mut conn = db.conn().await.unwrap();
        let rows: Vec<Row> = diesel::sql_query(format!(
            "SELECT COALESCE(q.v::text, '') AS value FROM ({sql}) AS q(v)"
        ))
        .load(&mut *conn)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
        drop(conn);
        db.close();
        rows.into_iter().next().map(|r| r.value).unwrap_or_default()
    }
}
