//! Connections, and transactions that are never dropped half-way.
//!
//! A future that is dropped while a transaction is open leaves a connection whose state nobody knows. So
//! [`Db::transaction`] runs its work in a task of its own and awaits that: a caller who goes away (a restarted actor, a
//! time limit) leaves the transaction to finish, commit or roll back by itself. A connection that comes back to the pool
//! broken, ended or inside a transaction is thrown away before anybody gets it.
//!
//! Every wait has a limit with a reason; all of them are set when the connection is made, so that no statement of any
//! room can hang a worker for ever.

use super::error::StoreError;
use super::wire;
use crate::supervision::{TaskError, spawn_owned};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{
    AsyncConnection, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _, TransactionManager,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub use wire::Told;

/// How to reach the database and how long to wait for it.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// `postgres://user:password@host/database`, or `host=/folder user=… dbname=…`. Never shown.
    pub url: SecretString,
    /// Connections at most. Two cores and a group commit need few.
    pub connections: usize,
    /// How long a caller waits for a free connection: longer than any healthy transaction, shorter than a person's
    /// patience at the command line.
    pub wait_limit: Duration,
    /// How long opening one connection may take; a server that starts answers "not yet" well within it.
    pub connect_limit: Duration,
    /// How long one statement may run: a batch takes milliseconds, and a hang is to be over within half a minute.
    pub statement_limit: Duration,
    /// How long a statement waits for a lock: someone's long migration shall not stop us silently.
    pub lock_limit: Duration,
    /// How long a transaction may sit idle: it would hold row locks and keep vacuum from its work.
    pub idle_in_transaction_limit: Duration,
    /// More settings of these sessions, as `-c name=value`.
    pub session: &'static str,
    /// Use the server even though it may lose what it has acknowledged (`fsync` or `synchronous_commit` off).
    pub accept_loss: bool,
    /// What the sessions are called, at most 63 bytes.
    pub application: String,
}

impl PoolSettings {
    /// The limits that suit one daemon on one machine.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: SecretString::from(url.into()),
            connections: 12,
            wait_limit: Duration::from_secs(5),
            connect_limit: Duration::from_secs(5),
            statement_limit: Duration::from_secs(20),
            lock_limit: Duration::from_secs(5),
            idle_in_transaction_limit: Duration::from_secs(60),
            session: "",
            accept_loss: false,
            application: "zaikoban".to_owned(),
        }
    }

    /// Whether the address can be used; the text of the error holds nothing of it.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when it cannot be read or asks for what is not supported.
    pub fn check(&self) -> Result<(), StoreError> {
        self.config().map(drop)
    }

    /// Reads the address. The text of the error holds no secret.
    fn config(&self) -> Result<tokio_postgres::Config, StoreError> {
        let mut config = tokio_postgres::Config::from_str(self.url.expose_secret()).map_err(|e| {
            // "unknown option `x`": a password with a space in it has such an x
            let said = e.to_string();
            let why = if said.contains("unknown") { "an unknown option" } else { &said };
            let problem = format!(
                "`database.url` cannot be read: {why}; expected `postgres://user@host/database` or `host=/folder \
                 user=name dbname=name`"
            );
            StoreError::Unfit { problem }
        })?;
        if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
            let problem =
                "`database.url` asks for `sslmode=require`, which is not supported: use a Unix socket, \
                           loopback, or a tunnel"
                    .to_owned();
            return Err(StoreError::Unfit { problem });
        }
        let theirs = config.get_options().unwrap_or_default().to_owned();
        config.application_name(&self.application).options(format!(
            "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} {} {theirs}",
            self.statement_limit.as_millis(),
            self.lock_limit.as_millis(),
            self.idle_in_transaction_limit.as_millis(),
            self.session,
        ));
        config.connect_timeout(self.connect_limit);
        Ok(config)
    }

    /// How a person gets into it: a command without the password.
    #[must_use]
    pub fn psql(&self) -> String {
        use tokio_postgres::config::Host;
        let Ok(config) = self.config() else {
            return "psql".to_owned();
        };
        let mut command = "psql".to_owned();
        let host = config.get_hosts().first().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let port = config.get_ports().first().map(ToString::to_string);
        let parts = [
            ("-h", host.as_deref()),
            ("-p", port.as_deref()),
            ("-U", config.get_user()),
            ("-d", config.get_dbname()),
        ];
        for (flag, value) in parts {
            if let Some(value) = value {
                command.push_str(&format!(" {flag} {value}"));
            }
        }
        command
    }

    /// The way in for PostgreSQL's own programs, as they read it from their environment. Holds the password.
    pub(super) fn client_environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt as _;
        use tokio_postgres::config::Host;
        let Ok(config) = self.config() else {
            return Vec::new();
        };
        let host = config.get_hosts().first().map(|host| match host {
            Host::Tcp(name) => OsString::from(name),
            Host::Unix(path) => path.clone().into_os_string(),
        });
        let port = config.get_ports().first().map(|port| port.to_string().into());
        let parts = [
            ("PGHOST", host),
            ("PGPORT", port),
            ("PGUSER", config.get_user().map(OsString::from)),
            ("PGDATABASE", config.get_dbname().map(OsString::from)),
            (
                "PGPASSWORD",
                config
                    .get_password()
                    .map(|secret| OsString::from_vec(secret.to_vec())),
            ),
            ("PGAPPNAME", Some("zaikoban backup".into())),
            ("PGCONNECT_TIMEOUT", Some("10".into())),
        ];
        parts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// The address without its password, for messages and `status`.
    #[must_use]
    pub fn shown(&self) -> String {
        use tokio_postgres::config::Host;
        let Ok(config) = self.config() else {
            return "an address that cannot be read".to_owned();
        };
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let user = config.get_user().unwrap_or("?");
        let name = config.get_dbname().unwrap_or(user);
        format!("database `{name}` at {} as `{user}`", hosts.join(", "))
    }
}

/// The server ends a statement at its limit; an answer that is later than this beyond it will not come.
const ANSWER_SLACK: Duration = Duration::from_secs(5);

type AsyncPool = Pool<AsyncPgConnection>;

/// The database, by a pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: AsyncPool,
    settings: Arc<PoolSettings>,
    config: Arc<tokio_postgres::Config>,
}

/// A connection from the pool; goes back when it is dropped.
pub struct Conn(Object<AsyncPgConnection>);

impl Deref for Conn {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.0
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.0
    }
}

// === impl Db ===

impl Db {
    /// Opens the pool, tries one connection and checks that the server keeps what it acknowledges.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] for an address that cannot be read or a server that may lose commits;
    /// [`StoreError::Unavailable`] when there is no connection to be had.
    pub async fn connect(settings: &PoolSettings) -> Result<Self, StoreError> {
        let db = Self::lazily(settings)?;
        let mut conn = db.conn().await?;
        db.refuse_forgetful_server(&mut conn).await?;
        drop(conn);
        Ok(db)
    }

    /// The pool without a first connection.
    fn lazily(settings: &PoolSettings) -> Result<Self, StoreError> {
        let config = Arc::new(settings.config()?);
        let for_setup = Arc::clone(&config);
        let silence = Some(settings.statement_limit + ANSWER_SLACK);
        let mut manager = ManagerConfig::default();
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_url| {
            let config = Arc::clone(&for_setup);
            async move { wire::connect(&config, silence, None).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config("", manager);
        let pool = AsyncPool::builder(manager)
            .max_size(settings.connections.max(1))
            .build()
            .map_err(|e| StoreError::unavailable(e.to_string()))?;
        Ok(Self {
            pool,
            settings: Arc::new(settings.clone()),
            config,
        })
    }

    /// Another pool to the same database, with up to `connections` sessions that are set up in another way. Nothing is
    /// opened before it is needed.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when the address cannot be read, which a pool that is there rules out.
    pub fn beside(&self, connections: usize, session: &'static str) -> Result<Self, StoreError> {
        Self::lazily(&PoolSettings {
            connections,
            session,
            ..PoolSettings::clone(&self.settings)
        })
    }

    /// A connection, waited for at most [`PoolSettings::wait_limit`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when none came free in time or the server is away.
    pub async fn conn(&self) -> Result<Conn, StoreError> {
        let limit = self.settings.wait_limit;
        match tokio::time::timeout(limit, self.pool.get()).await {
            Ok(Ok(object)) => Ok(Conn(object)),
            Ok(Err(PoolError::Backend(e))) => Err(match e {
                diesel_async::pooled_connection::PoolError::ConnectionError(e) => e.into(),
                diesel_async::pooled_connection::PoolError::QueryError(e) => e.into(),
            }),
            Ok(Err(e)) => Err(StoreError::unavailable(e.to_string())),
            Err(_) => Err(StoreError::unavailable(format!(
                "none of {} connections came free within {} s",
                self.settings.connections,
                limit.as_secs_f32()
            ))),
        }
    }

    /// A connection outside the pool that listens on `channel`; it does so for as long as it is kept.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server is away.
    pub async fn listen(
        &self,
        channel: &'static str,
    ) -> Result<(AsyncPgConnection, mpsc::UnboundedReceiver<Told>), StoreError> {
        let (told, hear) = mpsc::unbounded_channel();
        let mut conn = wire::connect(&self.config, Some(self.settings.connect_limit), Some(told)).await?;
        conn.batch_execute(&format!("LISTEN {channel}")).await?;
        Ok((conn, hear))
    }

    /// Runs a statement outside of any transaction, as `CREATE DATABASE` wants it.
    pub(super) async fn run(&self, statement: &str) -> Result<(), StoreError> {
        self.conn().await?.batch_execute(statement).await?;
        Ok(())
    }

    /// A connection outside the pool, for what belongs to a session; an answer that is late ends it.
    pub(super) async fn session(&self) -> Result<AsyncPgConnection, StoreError> {
        Ok(wire::connect(&self.config, Some(self.settings.connect_limit), None).await?)
    }

    /// A connection outside the pool, for work that outlasts every limit.
    pub(super) async fn own_conn(&self) -> Result<AsyncPgConnection, StoreError> {
        Ok(wire::connect(&self.config, None, None).await?)
    }

    /// Runs `work` in one transaction inside a task of its own, so that dropping the caller never drops a transaction.
    ///
    /// # Errors
    /// Those of `work`, after a rollback; those of beginning and committing; a panic of `work`, after a rollback. When the connection breaks around COMMIT
    /// the outcome is unknown and comes as [`StoreError::Unavailable`]: ask the database what stands there.
    ///
    /// # Cancel safety
    /// A dropped caller never hears the outcome; the transaction still commits or rolls back as a whole.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let db = self.clone();
        let task = spawn_owned("transaction", async move {
            let mut conn = db.conn().await?;
            run_transaction(&mut conn, work).await
        });
        match task.to_its_end().await {
            Ok(outcome) => outcome,
            Err(error @ TaskError::Panicked { .. }) => Err(StoreError::Query {
                sqlstate: None,
                message: error.to_string(),
                constraint: None,
            }),
            Err(error) => Err(StoreError::unavailable(error.to_string())),
        }
    }

    /// Like [`Self::transaction`], begun anew up to `tries` times in all when another transaction was in the way
    /// (deadlock, serialization). Between tries it waits a random while, doubling from 10 ms.
    ///
    /// # Errors
    /// Those of the last try.
    pub async fn transaction_retried<T, F>(&self, tries: u32, work: F) -> Result<T, StoreError>
    where
        F: for<'c> FnMut(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Clone
            + Send
            + 'static,
        T: Send + 'static,
    {
        let mut tried = 1;
        loop {
            let mut once = work.clone();
            match self.transaction(move |conn| once(conn)).await {
                Err(e) if e.is_contention() && tried < tries => {
                    let most_ms = 10_u64 << tried.min(6);
                    let wait_ms = rand::rng().random_range(1..=most_ms);
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    tried += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// What the pool was made from.
    #[must_use]
    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// Closes the pool: waiting and later callers are refused, idle connections end, lent ones end on their return.
    pub fn close(&self) {
        self.pool.close();
    }

    async fn refuse_forgetful_server(&self, conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
        #[derive(QueryableByName)]
        struct Durability {
            #[diesel(sql_type = Text)]
            fsync: String,
            #[diesel(sql_type = Text)]
            synchronous_commit: String,
            #[diesel(sql_type = Text)]
            full_page_writes: String,
        }
        let has: Durability = diesel::sql_query(
            "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit, \
             current_setting('full_page_writes') AS full_page_writes",
        )
        .get_result(conn)
        .await?;
        let off: Vec<&str> = [
            ("fsync", &has.fsync),
            ("synchronous_commit", &has.synchronous_commit),
            ("full_page_writes", &has.full_page_writes),
        ]
        .into_iter()
        .filter(|(_, value)| *value == "off")
        .map(|(name, _)| name)
        .collect();
        if off.is_empty() || self.settings.accept_loss {
            return Ok(());
        }
        let names = off.join(", ");
        let problem = format!(
            "{} has {names} off: it may lose what it has acknowledged. Set it on (ALTER SYSTEM SET {} = on; SELECT \
             pg_reload_conf()), or accept the loss with `database.accept_loss = true`",
            self.settings.shown(),
            off.join(" = on; ALTER SYSTEM SET ")
        );
        Err(StoreError::Unfit { problem })
    }
}

type Manager = <AsyncPgConnection as AsyncConnection>::TransactionManager;

/// BEGIN, `work`, COMMIT or ROLLBACK. The error of `work` wins over one of the rollback after it.
async fn run_transaction<T, F>(conn: &mut AsyncPgConnection, work: F) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut AsyncPgConnection) -> BoxFuture<'c, Result<T, StoreError>>,
{
    Manager::begin_transaction(conn).await?;
    match work(conn).await {
        Ok(value) => {
            Manager::commit_transaction(conn).await?;
            Ok(value)
        }
        Err(error) => {
            if let Err(rollback) = Manager::rollback_transaction(conn).await {
                tracing::debug!(error = %rollback, "a rollback failed; its connection is thrown away");
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let settings = PoolSettings::new("postgres://keeper:hunter2@db.example:5433/stock");
        assert_eq!(settings.shown(), "database `stock` at db.example as `keeper`");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn the_way_in_for_a_person_holds_no_password() {
        let settings = PoolSettings::new("postgres://keeper:hunter2@db.example:5433/stock");
        assert_eq!(settings.psql(), "psql -h db.example -p 5433 -U keeper -d stock");
    }

    #[test]
    fn an_address_that_cannot_be_read_says_what_is_expected() {
        let e = PoolSettings::new("postgres://u:hunter2@h:port/x")
            .config()
            .unwrap_err();
        let text = e.to_string();
        assert!(text.contains("expected `postgres://"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn an_encrypted_connection_is_refused_rather_than_left_plain() {
        let e = PoolSettings::new("postgres://u@h/x?sslmode=require")
            .config()
            .unwrap_err();
        assert!(matches!(e, StoreError::Unfit { .. }), "{e}");
    }
}
