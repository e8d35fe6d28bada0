//! The database at the daemon's start and end: its own or the one that the settings name.

use super::ending::Signals;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::RateSource;
use crate::nodes as keys;
use crate::nodes::{Identity, Keeper, Timing};
use crate::ops::Ops;
use crate::store::credentials;
use crate::store::embedded::EmbeddedError;
use crate::store::embedded::{Embedded, EmbeddedSettings};
use crate::store::platform_state::{self, PlatformState};
use crate::store::rates::{self, KeptQuote};
use crate::store::redis::instance;
use crate::store::sole::Occupied;
use crate::store::status::{DatabaseStatus, StatusBoard, open_waiting};
use crate::store::{Db, PoolSettings, Sole, StoreError, migrate, nodes, partitions, sole};
use crate::supervision::Life;
use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// Sessions of the private server beside the pool's: the lock, the link that listens, a migration, three that PostgreSQL
/// keeps for its superuser, and a person who looks into it.
const SESSIONS_BESIDE: u32 = 20;

/// A database that is up, with this program's schema.
pub(super) struct Database {
    /// The pool.
    pub(super) db: Db,
    /// How it is.
    pub(super) board: StatusBoard,
    /// The private server, when it is ours.
    pub(super) embedded: Option<Arc<Embedded>>,
    /// The right to its name on it.
    pub(super) sole: Sole,
    /// Its membership among the nodes.
    pub(super) keeper: Keeper,
    /// Every platform's switches and kept states, as they stood at the start.
    pub(super) states: Vec<PlatformState>,
    /// Which credentials were kept at the start.
    pub(super) kept: Vec<credentials::Kept>,
    /// The exchange rates in use at the start, of a source.
    pub(super) rates: Option<KeptQuote>,
    /// The database's own word, for Redis; `None` when the role may not read it.
    pub(super) instance: Option<String>,
}

/// Another daemon has the database.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Busy(String);

impl Busy {
    fn name(pool: &PoolSettings, name: &str) -> Self {
        Self(format!(
            "another daemon or migration uses the {} under the name `{name}`: stop it, or, to run several daemons on one \
             database, give each a `node.name` of its own",
            pool.shown()
        ))
    }

    fn with(pool: &PoolSettings) -> Self {
        Self(format!(
            "another daemon or migration uses the {}: stop it, or name another one in `database.url`",
            pool.shown()
        ))
    }
}

/// The private server, once there is one; kept where every way out of the daemon's life finds it.
#[derive(Default)]
pub(super) struct Server(OnceLock<Arc<Embedded>>);

// === impl Server ===

impl Server {
    /// How the database is reached. Prepares the private server, if that is the one; nothing is started yet.
    fn prepare(
        &self,
        settings: &Settings,
        board: &StatusBoard,
        application: String,
    ) -> anyhow::Result<PoolSettings> {
        let mut pool = match &settings.database.url {
            Some(url) => PoolSettings::new(url.expose_secret()),
            None => {
                let own = match Embedded::prepare(private(settings), board.clone()) {
                    Err(error @ EmbeddedError::InUse { .. }) => return Err(Busy(error.to_string()).into()),
                    prepared => prepared.context("the private database cannot run")?,
                };
                self.0.get_or_init(|| Arc::new(own)).pool_settings()
            }
        };
        pool.connections = settings.database.pool_size;
        pool.accept_loss = settings.database.accept_loss;
        pool.application = application;
        Ok(pool)
    }

    /// Keeps the private server running; waits for ever where there is none.
    async fn keep_running(&self, life: &Life) {
        match self.0.get() {
            Some(own) => own.keep_running(life).await,
            None => std::future::pending().await,
        }
    }

    /// Stops the private server, if there is one and it runs.
    pub(super) async fn stop(&self) {
        if let Some(own) = self.0.get()
            && !own.stop().await
        {
            tracing::warn!("The private database did not stop in time");
        }
    }
}

/// How the private server is run.
pub(super) fn private(settings: &Settings) -> EmbeddedSettings {
    let mut own = EmbeddedSettings::new(settings.daemon.state_dir.join("postgres"));
    own.binaries.clone_from(&settings.database.binaries);
    own.search = crate::config::search_path();
    own.run_as = vec![settings.database.user.clone()];
    let pool = u32::try_from(settings.database.pool_size).unwrap_or(u32::MAX);
    own.sessions = pool.saturating_add(SESSIONS_BESIDE);
    own
}

/// Waits for the database, however long it is away and as often as it goes away again, telling `ops` meanwhile, and
/// brings it to this program's schema.
///
/// # Errors
/// [`Busy`] when another daemon uses it; what waiting cannot heal.
pub(super) async fn open(
    settings: &Settings,
    ops: &Ops,
    server: &Server,
    board: StatusBoard,
) -> anyhow::Result<Database> {
    ops.set_phase("starting the database");
    let who = who(settings);
    let pool = server.prepare(settings, &board, nodes::application(who.boot))?;
    let life = Life::detached("database");
    let opened = tokio::select! {
        opened = open_waiting(&pool, &board, &life, async |db| ready(db, &who, ops).await) => opened?,
        () = server.keep_running(&life) => bail!("the private database's keeper ended"),
        () = tell(&board, ops) => bail!("nobody tells how the database is"),
    };
    let (db, ready) = opened.context("the wait for the database was ended")?;
    let Ready {
        sole,
        keeper,
        states,
        kept,
        rates,
        instance,
    } = ready.map_err(|occupied| match occupied {
        Occupied::Name => Busy::name(&pool, &who.name),
        Occupied::Everything => Busy::with(&pool),
    })?;
    Ok(Database {
        db,
        board,
        embedded: server.0.get().cloned(),
        sole,
        keeper,
        states,
        kept,
        rates,
        instance,
    })
}

/// Who this life of the daemon is, and what it is set up for.
fn who(settings: &Settings) -> Identity {
    let mut can = [keys::ALERT, keys::RESCUE, keys::PRUNE]
        .map(str::to_owned)
        .to_vec();
    if settings.sources().next().is_some() {
        can.push(keys::WATCH.to_owned());
    }
    let mut sold = settings
        .destinations()
        .map(|(at, _)| keys::sync_role(at))
        .peekable();
    if sold.peek().is_some() {
        can.push(keys::RULES.to_owned());
    }
    can.extend(sold);
    Identity {
        boot: Uuid::now_v7(),
        name: settings.node.name.clone().unwrap_or_else(keys::host_name),
        can,
    }
}

/// What a database that answers gives at the start.
struct Ready {
    sole: Sole,
    keeper: Keeper,
    states: Vec<PlatformState>,
    kept: Vec<credentials::Kept>,
    rates: Option<KeptQuote>,
    instance: Option<String>,
}

/// All that the start needs of a database that answers, or who has what it needs. That is asked first.
///
/// Other nodes may run while the schema is brought to this program's: every migration only adds, so that the version
/// before it goes on (`migrations/README.md`), and nodes can be replaced one after another.
async fn ready(db: &Db, who: &Identity, ops: &Ops) -> Result<Result<Ready, Occupied>, StoreError> {
    let session = nodes::application(who.boot);
    let sole = match Sole::join(db, &session, &who.name, sole::PATIENCE).await? {
        Ok(sole) => sole,
        Err(occupied) => return Ok(Err(occupied)),
    };
    ops.set_phase("bringing the database to this program's schema");
    for version in migrate::up(db).await? {
        tracing::info!("Migrated the database to `{version}`");
    }
    if let Err(error) = partitions::ensure_partitions(db, Clock::system().now()).await {
        // rows of a month that has none go to the DEFAULT partition, and are moved when it is made
        tracing::warn!(error = %error, "This month's partitions were not made; tried again in an hour");
    }
    let mut conn = db.conn().await?;
    let states = platform_state::list(&mut conn).await?;
    let kept = credentials::list(&mut conn).await?;
    let rates = rates::in_use(&mut conn, RateSource::Ecb).await?;
    let instance = match instance::instance(&mut conn).await {
        Ok(word) => Some(word),
        Err(error) if error.is_outage() => return Err(error),
        Err(error) => {
            tracing::debug!(%error, "The database's own word cannot be read");
            None
        }
    };
    drop(conn);
    let keeper = Keeper::join(db, who.clone(), &Clock::system(), Timing::default()).await?;
    Ok(Ok(Ready {
        sole,
        keeper,
        states,
        kept,
        rates,
        instance,
    }))
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

/// Migrates and ends the server again, on every way out.
pub(super) async fn migrate(settings: &Settings, dry_run: bool) -> anyhow::Result<Vec<String>> {
    let mut end = Signals::listen(None)?;
    let server = Server::default();
    let done = tokio::select! {
        done = migrate_on(&server, settings, dry_run) => done,
        () = end.asked() => Err(anyhow::anyhow!("asked to end before the migration was done")),
    };
    server.stop().await;
    done
}

async fn migrate_on(server: &Server, settings: &Settings, dry_run: bool) -> anyhow::Result<Vec<String>> {
    if dry_run && settings.database.url.is_none() && !Embedded::exists(&private(settings))? {
        // to look at it would be to make it
        return Ok(migrate::all()?);
    }
    let board = StatusBoard::new(Clock::system());
    // A name of its own: whoever bears the same ends our session and takes the lock.
    let name = format!("zaikoban migrate {}", Uuid::new_v4());
    let pool = server.prepare(settings, &board, name)?;
    // A person waits here: one try.
    if let Some(own) = server.0.get()
        && !own.try_up().await
        && let DatabaseStatus::Away { reason, .. } = &*board.watch().borrow()
    {
        bail!("the private database does not start: {reason}");
    }
    let db = Db::connect(&pool).await?;
    let done = migrate_alone(&db, &pool, dry_run).await;
    db.close();
    done
}

async fn migrate_alone(db: &Db, pool: &PoolSettings, dry_run: bool) -> anyhow::Result<Vec<String>> {
    if dry_run {
        return Ok(migrate::status(db).await?.pending);
    }
    let sole = Sole::take(db, &pool.application, sole::PATIENCE).await?;
    let _sole = sole.ok_or_else(|| Busy::with(pool))?;
    Ok(migrate::up(db).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_server_admits_the_whole_pool_and_more() {
        for size in ["2", "12", "100"] {
            let set = ("ZAIKOBAN_DATABASE__POOL_SIZE".to_owned(), size.to_owned());
            let settings = crate::config::load(None, [set]).unwrap();
            let pool = u32::try_from(settings.database.pool_size).unwrap();
            assert!(private(&settings).sessions >= pool + 10, "{size}");
        }
    }
}
