//! The probe of the database.

use super::{Check, Found, Probe, judge};
use crate::store::{Db, PoolSettings, StoreError, health, migrate};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// Looks at a database that is, or should be, in use.
pub struct DatabaseProbe {
    /// The pool.
    pub db: Db,
    /// The daemon's own server, not one that the settings name.
    pub private: bool,
}

impl Probe for DatabaseProbe {
    fn name(&self) -> &'static str {
        "database"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (db, private) = (self.db.clone(), self.private);
        async move { Found::from(looked(&db, private).await) }.boxed()
    }
}

/// Looks at a database that nobody here has a pool for. The pool that is made for it is closed again.
pub struct AddressProbe {
    /// How it is reached.
    pub settings: PoolSettings,
    /// The daemon's own server, not one that the settings name.
    pub private: bool,
}

impl Probe for AddressProbe {
    fn name(&self) -> &'static str {
        "database"
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (mut settings, private) = (self.settings.clone(), self.private);
        settings.connections = 1;
        // A server that may lose commits is one of the findings.
        settings.accept_loss = true;
        async move {
            match Db::connect(&settings).await {
                Ok(db) => {
                    let checks = looked(&db, private).await;
                    db.close();
                    checks.into()
                }
                Err(error) => judge::away(&error, &settings, private).into(),
            }
        }
        .boxed()
    }
}

async fn looked(db: &Db, private: bool) -> Vec<Check> {
    match seen(db, private).await {
        Ok(checks) => checks,
        Err(error) => vec![judge::away(&error, db.settings(), private)],
    }
}

async fn seen(db: &Db, private: bool) -> Result<Vec<Check>, StoreError> {
    let settings = db.settings();
    let mut conn = db.conn().await?;
    let asked = Instant::now();
    health::ask(&mut conn).await?;
    let answer = asked.elapsed();
    let health = health::look(&mut conn).await?;
    let tokyo = health::knows_tokyo(&mut conn).await;
    drop(conn);
    Ok(vec![
        judge::answered(&health, answer, &settings.shown()),
        judge::durability(&health, private),
        judge::schema(&migrate::status(db).await),
        judge::transactions(&health, &settings.psql()),
        judge::horizon(&health, &settings.psql()),
        judge::sessions(&health, &settings.psql()),
        judge::database_time_zone(&tokyo),
    ])
}
