//! One daemon works on a database.
//!
//! Two would each be right by the tables: leases, versions and deadlines hold between processes, too. What does not is
//! kept in memory: the rate at which a platform is asked, its breaker, the day's revisions, which products are watched.
//! Two daemons would ask twice as fast as allowed, and a start takes back the jobs of "an earlier life" that is well.
//! So each takes an advisory lock, which PostgreSQL gives to one session and takes back when that session ends.
//!
//! The session is one of its own, beside the pool, and is asked every few seconds. When it breaks, the lock is free, and
//! is taken again with the next session. A server that has not noticed yet that the old session is dead still keeps the
//! lock for it: sessions bear the daemon's name, so that its own is told from another's, and ended. Where another daemon
//! was faster, this one is the second, and [`Sole::lost`] says so. A pooler that lends sessions by the transaction cannot
//! hold such a lock, nor listen for jobs: the daemon wants a direct connection.
//!
//! Several nodes on one database would take its key shared, or one lock for each part of the work.

use super::error::StoreError;
use super::looping::{self, pause};
use super::pool::Db;
use super::status::retry_waits;
use crate::supervision::{ChildSpec, Life};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

/// "zaiksole" in bytes: nobody else's advisory lock.
const KEY: i64 = 0x7a61_696b_736f_6c65;
/// How often the session is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often a lock that another session has is tried again.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// How long one look may take: a connection, and three statements that the server answers at once.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// Who has the lock for so long is another daemon, and no session that is about to end with its process.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The right to work on a database. Cheap to clone; it is given back when the last clone is dropped.
#[derive(Clone)]
pub struct Sole {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    name: String,
    /// The session that has the lock; `None` while it is broken.
    session: Mutex<Option<AsyncPgConnection>>,
    lost: watch::Sender<bool>,
}

// === impl Sole ===

impl Sole {
    /// Takes the lock for the daemon `name`, at most 63 bytes; `None` when another has it and keeps it for `patience`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(db: &Db, name: &str, patience: Duration) -> Result<Option<Self>, StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(session) = session_with_lock(db, name).await? {
                let inner = Inner {
                    db: db.clone(),
                    name: name.to_owned(),
                    session: Mutex::new(Some(session)),
                    lost: watch::Sender::new(false),
                };
                return Ok(Some(Self {
                    inner: Arc::new(inner),
                }));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(TRY_EVERY).await;
        }
    }

    /// Resolves when another daemon has taken the lock while our session was broken.
    pub async fn lost(&self) {
        let mut lost = self.inner.lost.subscribe();
        // the sender lives as long as we do
        drop(lost.wait_for(|lost| *lost).await);
    }

    /// Keeps the lock until the child is asked to stop or has [lost](Self::lost) it.
    pub async fn keep(&self, life: &Life) {
        let waits = retry_waits();
        let mut failed = 0;
        let mut refused_since = None;
        loop {
            life.beat();
            life.waiting_until(Instant::now() + LOOK_LIMIT);
            let next = match self.look().await {
                Ok(true) => {
                    (failed, refused_since) = (0, None);
                    ASK_EVERY
                }
                Ok(false) => {
                    let since = *refused_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= PATIENCE {
                        tracing::error!("Another daemon has taken the database while our session was broken");
                        self.inner.lost.send_replace(true);
                        life.idle();
                        return life.stopping().cancelled_owned().await;
                    }
                    TRY_EVERY
                }
                Err(error) => {
                    tracing::debug!(%error, "The session that holds the database for this daemon is broken");
                    failed += 1;
                    waits.delay(failed, &mut rand::rng()).min(ASK_EVERY)
                }
            };
            if !pause(life, next).await {
                return;
            }
        }
    }

    /// Asks the session, and takes the lock with a new one when there is none. False when another has it.
    async fn look(&self) -> Result<bool, StoreError> {
        let mut session = self.inner.session.lock().await;
        if let Some(own) = session.as_mut() {
            let asked = own.batch_execute("SELECT 1").await;
            if asked.is_err() {
                *session = None;
            }
            asked?;
            return Ok(true);
        }
        *session = session_with_lock(&self.inner.db, &self.inner.name).await?;
        Ok(session.is_some())
    }
}

/// The child that keeps the lock.
pub fn child(name: &str, sole: Sole) -> ChildSpec {
    looping::child(name, move |life| {
        let sole = sole.clone();
        async move { sole.keep(&life).await }
    })
}

/// A session that has the lock; `None` when another one has it. One of ours that is broken, and that the server still
/// believes in, is ended, so that the next try succeeds.
async fn session_with_lock(db: &Db, name: &str) -> Result<Option<AsyncPgConnection>, StoreError> {
    #[derive(QueryableByName)]
    struct Got {
        #[diesel(sql_type = Bool)]
        got: bool,
    }
    let mut session = db.session().await?;
    diesel::sql_query("SELECT set_config('application_name', $1, false)")
        .bind::<Text, _>(name)
        .execute(&mut session)
        .await?;
    // a server that cannot reach us any more gives the lock to the next daemon within half a minute
    session
        .batch_execute(
            "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3",
        )
        .await?;
    let tried: Got = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS got")
        .bind::<BigInt, _>(KEY)
        .get_result(&mut session)
        .await?;
    if tried.got {
        return Ok(Some(session));
    }
    diesel::sql_query(
        "SELECT pg_terminate_backend(holder.pid) FROM pg_locks AS held JOIN pg_stat_activity AS holder USING (pid) \
         WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1 \
         AND held.classid::bigint = $1 >> 32 AND held.objid::bigint = $1 & 4294967295 \
         AND holder.datname = current_database() AND holder.application_name = $2",
    )
    .bind::<BigInt, _>(KEY)
    .bind::<Text, _>(name)
    .execute(&mut session)
    .await?;
    Ok(None)
}
