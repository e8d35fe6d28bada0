//! One daemon of a name works on a database, and a migration by hand works alone.
//!
//! Several daemons may, as nodes of one house: what each does is divided among them by leases in the tables. Two of the
//! same name may not: a name stands for one machine's life, and a start takes back the jobs of "an earlier life" that is
//! well. So each takes an advisory lock on its name, which PostgreSQL gives to one session and takes back when that
//! session ends, and shares another one on the whole, which a migration by hand takes for itself.
//!
//! The session is one of its own, beside the pool, and is asked every few seconds. When it breaks, the locks are free, and
//! are taken again with the next session. A server that has not noticed yet that the old session is dead still keeps the
//! locks for it: sessions bear the daemon's own name, so that its own is told from another's, and ended. Where another daemon
//! was faster, this one is the second, and [`Sole::lost`] says so. A pooler that lends sessions by the transaction cannot
//! hold such a lock, nor listen for jobs: the daemon wants a direct connection.

use super::error::StoreError;
use super::looping::{self, pause};
use super::pool::Db;
use super::status::retry_waits;
use crate::supervision::{ChildSpec, Life};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use sha2::{Digest as _, Sha256};
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

/// Whose the right is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Right {
    /// Everything: nobody else works here.
    Alone,
    /// A node's name, by the key that is made from it.
    Node(i64),
}

/// Who has what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupied {
    /// Somebody who wants to be alone: a migration by hand, or a daemon of a version that knows no nodes.
    Everything,
    /// Another daemon of the same name.
    Name,
}

/// The right to work on a database. Cheap to clone; it is given back when the last clone is dropped.
#[derive(Clone)]
pub struct Sole {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    name: String,
    right: Right,
    /// The session that has the lock; `None` while it is broken.
    session: Mutex<Option<AsyncPgConnection>>,
    lost: watch::Sender<bool>,
}

// === impl Sole ===

impl Sole {
    /// Takes the whole database for the session `name`, at most 63 bytes; `None` when others work on it for longer than
    /// `patience`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take(db: &Db, name: &str, patience: Duration) -> Result<Option<Self>, StoreError> {
        Ok(Self::wait(db, name, Right::Alone, patience).await?.ok())
    }

    /// Takes a node's name for the session `name`, at most 63 bytes, unless another keeps it for `patience`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn join(
        db: &Db,
        name: &str,
        node: &str,
        patience: Duration,
    ) -> Result<Result<Self, Occupied>, StoreError> {
        Self::wait(db, name, Right::Node(key_of(node)), patience).await
    }

    async fn wait(
        db: &Db,
        name: &str,
        right: Right,
        patience: Duration,
    ) -> Result<Result<Self, Occupied>, StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            match session_with_lock(db, name, &right).await? {
                Ok(session) => {
                    let inner = Inner {
                        db: db.clone(),
                        name: name.to_owned(),
                        right,
                        session: Mutex::new(Some(session)),
                        lost: watch::Sender::new(false),
                    };
                    return Ok(Ok(Self {
                        inner: Arc::new(inner),
                    }));
                }
                Err(occupied) if Instant::now() >= deadline => return Ok(Err(occupied)),
                Err(_) => sleep(TRY_EVERY).await,
            }
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
        let Inner { db, name, right, .. } = &*self.inner;
        *session = session_with_lock(db, name, right).await?.ok();
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

/// The key of a node's name: never that of the whole.
fn key_of(node: &str) -> i64 {
    let digest = Sha256::digest(format!("zaikoban node {node}"));
    let number = digest
        .iter()
        .take(8)
        .fold(0_i64, |n, byte| n << 8 | i64::from(*byte));
    number & i64::MAX
}

/// A session that has the lock, or who has it. One of ours that is broken, and that the server still believes in, is
/// ended, so that the next try succeeds.
async fn session_with_lock(
    db: &Db,
    name: &str,
    right: &Right,
) -> Result<Result<AsyncPgConnection, Occupied>, StoreError> {
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
    let (got, wanted) = match right {
        Right::Alone => (tried(&mut session, "pg_try_advisory_lock", KEY).await?, KEY),
        Right::Node(key) => {
            if !tried(&mut session, "pg_try_advisory_lock_shared", KEY).await? {
                return Ok(Err(Occupied::Everything));
            }
            (tried(&mut session, "pg_try_advisory_lock", *key).await?, *key)
        }
    };
    if got {
        return Ok(Ok(session));
    }
    diesel::sql_query(
        "SELECT pg_terminate_backend(holder.pid) FROM pg_locks AS held JOIN pg_stat_activity AS holder USING (pid) \
         WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1 \
         AND held.classid::bigint = $1 >> 32 AND held.objid::bigint = $1 & 4294967295 \
         AND holder.datname = current_database() AND holder.application_name = $2 AND holder.pid <> pg_backend_pid()",
    )
    .bind::<BigInt, _>(wanted)
    .bind::<Text, _>(name)
    .execute(&mut session)
    .await?;
    Ok(Err(match right {
        Right::Alone => Occupied::Everything,
        Right::Node(_) => Occupied::Name,
    }))
}

async fn tried(session: &mut AsyncPgConnection, lock: &str, key: i64) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Got {
        #[diesel(sql_type = Bool)]
        got: bool,
    }
    let got: Got = diesel::sql_query(format!("SELECT {lock}($1) AS got"))
        .bind::<BigInt, _>(key)
        .get_result(session)
        .await?;
    Ok(got.got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_key_and_it_is_not_that_of_the_whole() {
        assert_eq!(key_of("a"), key_of("a"));
        assert!(key_of("a") != key_of("b") && key_of("a") > 0 && key_of("") != KEY);
    }
}
