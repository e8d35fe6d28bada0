//! A database per test.
//!
//! The cluster is named by `ZAIKOBAN_TEST_PG` (a socket folder; `scripts/pg` makes one). The migrations run once, into a
//! template named after them, under an advisory lock; each test clones it, which costs tens of milliseconds, and drops
//! its clone at the end, also when it fails. Clones of processes that are no more are swept by the next run.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use sha2::Digest as _;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::OnceCell;
use zaikoban::nodes::{self, Ownership};
use zaikoban::store::{Db, PoolSettings, migrate};

static NEXT: AtomicU32 = AtomicU32::new(0);
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
/// Any number that nothing else locks.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

/// A migrated database of one test's own. Dropped with it.
pub struct TestDb {
    db: Db,
    url: String,
    name: String,
    owned: OnceCell<Ownership>,
}

impl TestDb {
    /// Clones the template.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// Clones the template and lets the test change the pool's settings.
    pub async fn with(change: impl FnOnce(&mut PoolSettings)) -> Self {
        let template = TEMPLATE.get_or_init(make_template).await;
        Self::create(&format!(" TEMPLATE {template} STRATEGY FILE_COPY"), change).await
    }

    /// A database without tables.
    pub async fn empty() -> Self {
        Self::create("", |_| ()).await
    }

    async fn create(how: &str, change: impl FnOnce(&mut PoolSettings)) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zt_{}_{n}", std::process::id());
        let mut admin = admin().await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name}{how}"))
            .await
            .unwrap();
        let url = url_of(&name);
        let mut settings = PoolSettings::new(&url);
        settings.accept_loss = true;
        settings.connections = 6;
        change(&mut settings);
        let db = Db::connect(&settings).await.unwrap();
        Self {
            db,
            url,
            name,
            owned: OnceCell::new(),
        }
    }

    /// The pool.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The address, for whoever opens a pool of its own.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements as they stand.
    pub async fn run(&self, sql: &str) {
        let mut conn = self.db.conn().await.unwrap();
        conn.batch_execute(sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// The first column of the first row, as text; "" for NULL or no row.
    pub async fn text(&self, sql: &str) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let mut conn = self.db.conn().await.unwrap();
        let rows: Vec<Row> = diesel::sql_query(format!(
            "SELECT COALESCE(q.v::text, '') AS value FROM ({sql}) AS q(v)"
        ))
        .load(&mut *conn)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
        rows.into_iter().next().map(|r| r.value).unwrap_or_default()
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        self.db.close();
        let name = self.name.clone();
        // on a thread and runtime of its own: this one may be ending
        let drop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                admin().await.batch_execute(&sql).await
            })
        });
        let dropped = drop.join();
        if !std::thread::panicking() {
            dropped.unwrap().unwrap();
        }
    }
}

/// Every part of the work, for a test that has its database to itself; the same for each of its parts that asks.
pub async fn alone(t: &TestDb) -> Ownership {
    let roles = [
        "alert",
        "rescue",
        "prune",
        "rules",
        "sync/ebay",
        "sync/amazon_seller",
    ]
    .map(str::to_owned);
    let taken = t
        .owned
        .get_or_init(async || nodes::alone(t.db(), &roles).await.unwrap());
    taken.await.clone()
}

/// The socket folder of the tests' cluster.
#[expect(
    clippy::disallowed_methods,
    reason = "tests take the cluster from the environment, as scripts/test sets it"
)]
pub fn socket_folder() -> String {
    std::env::var("ZAIKOBAN_TEST_PG").expect(
        "expected ZAIKOBAN_TEST_PG to name the socket folder of a PostgreSQL: run `scripts/test`, or \
         `export ZAIKOBAN_TEST_PG=$(scripts/pg ensure)`",
    )
}

fn url_of(database: &str) -> String {
    format!("host={} user=postgres dbname={database}", socket_folder())
}

/// A connection to the maintenance database.
pub async fn admin() -> AsyncPgConnection {
    AsyncPgConnection::establish(&url_of("postgres")).await.unwrap()
}

async fn make_template() -> String {
    let name = format!("zt_template_{}", migrations_word());
    let mut admin = admin().await;
    admin
        .batch_execute(&format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})"))
        .await
        .unwrap();
    sweep(&mut admin, &name).await;
    if !databases(&mut admin).await.contains(&name) {
        // under another name until it is whole
        let making = format!("{name}_making");
        for sql in [
            format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)"),
            format!("CREATE DATABASE {making}"),
        ] {
            admin.batch_execute(&sql).await.unwrap();
        }
        let mut settings = PoolSettings::new(url_of(&making));
        settings.accept_loss = true;
        let db = Db::connect(&settings).await.unwrap();
        migrate::up(&db).await.unwrap();
        db.close();
        // sessions of the pool end a moment after it
        let terminate = format!(
            "ALTER DATABASE {making} ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid, 5000) FROM \
             pg_stat_activity WHERE datname = '{making}'"
        );
        admin.batch_execute(&terminate).await.unwrap();
        admin
            .batch_execute(&format!("ALTER DATABASE {making} RENAME TO {name}"))
            .await
            .unwrap();
    }
    admin
        .batch_execute(&format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})"))
        .await
        .unwrap();
    name
}

/// Drops clones of processes that are no more, and templates of other migrations.
async fn sweep(admin: &mut AsyncPgConnection, template: &str) {
    for name in databases(admin).await {
        let of_the_dead = name
            .strip_prefix("zt_")
            .and_then(|rest| rest.split('_').next())
            .and_then(|pid| pid.parse::<u32>().ok())
            .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        let outdated = name.starts_with("zt_template_")
            && !name.starts_with(template)
            && is_a_day_old(admin, &name).await;
        if of_the_dead || outdated {
            let _ = admin
                .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                .await;
        }
    }
}

/// Other checkouts use the same cluster with other migrations: their templates are left alone while they are fresh.
async fn is_a_day_old(admin: &mut AsyncPgConnection, name: &str) -> bool {
    #[derive(QueryableByName)]
    struct Old {
        #[diesel(sql_type = diesel::sql_types::Bool)]
        old: bool,
    }
    let sql = format!(
        "SELECT (pg_stat_file('base/' || oid || '/PG_VERSION')).modification < now() - interval '1 day' AS old FROM \
         pg_database WHERE datname = '{name}'"
    );
    let rows: Vec<Old> = diesel::sql_query(sql).load(admin).await.unwrap_or_default();
    rows.iter().any(|r| r.old)
}

async fn databases(admin: &mut AsyncPgConnection) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        datname: String,
    }
    let rows: Vec<Row> =
        diesel::sql_query("SELECT datname::text AS datname FROM pg_database WHERE datname LIKE 'zt\\_%'")
            .load(admin)
            .await
            .unwrap();
    rows.into_iter().map(|r| r.datname).collect()
}

/// Changes whenever a migration does.
fn migrations_word() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.push(path.join("up.sql"));
        }
    }
    files.sort();
    let mut hash = sha2::Sha256::new();
    for file in files {
        hash.update(file.file_name().unwrap().as_encoded_bytes());
        hash.update(std::fs::read(&file).unwrap());
    }
    hash.finalize()
        .iter()
        .take(6)
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}
