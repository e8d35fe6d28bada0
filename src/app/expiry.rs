//! Says in the log, once a day, that a credential ends soon.

use crate::clock::Clock;
use crate::domain::Platform;
use crate::store::credentials::{self, Expiring, WARNED_BEFORE};
use crate::store::looping::{child, pause};
use crate::store::{Db, StoreError};
use crate::supervision::ChildSpec;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// How often it is said.
const DAILY: Duration = Duration::from_secs(86_400);
/// How soon the database is asked again after it was away.
const AGAIN: Duration = Duration::from_secs(60);

/// The child that looks.
pub(super) fn watch(db: Db, clock: Clock) -> ChildSpec {
    child("credentials", move |life| {
        let (db, clock) = (db.clone(), clock.clone());
        async move {
            loop {
                let now = clock.now();
                let wait = match look(&db, now).await {
                    Ok(ending) => {
                        ending.iter().for_each(|one| warn(one, now));
                        DAILY
                    }
                    Err(error) => {
                        tracing::debug!(%error, "Whether credentials end soon is not known yet");
                        AGAIN
                    }
                };
                if !pause(&life, wait).await {
                    return;
                }
            }
        }
    })
}

async fn look(db: &Db, now: DateTime<Utc>) -> Result<Vec<Expiring>, StoreError> {
    credentials::expiring(&mut *db.conn().await?, now, WARNED_BEFORE).await
}

fn warn(one: &Expiring, now: DateTime<Utc>) {
    let (platform, days) = (&one.platform, (one.expires_at - now).num_days());
    let when = if one.expires_at <= now {
        "has ended".to_owned()
    } else {
        format!("ends in {days} days")
    };
    let command = platform.parse().map(Platform::renew_command).unwrap_or_default();
    tracing::warn!(
        platform = %platform,
        expires_at = %one.expires_at,
        "What lets us in at `{platform}` {when}: `{command}`"
    );
}
