//! One check from permit to outcome: the page, the watcher's judgement, the ledger's word.

use super::PatrolEnv;
use crate::domain::{Epoch, ErrorClass, Observation, SourceProductId, WatchId};
use crate::platform::gateway::{Observe, was_never_sent};
use crate::platform::{MOVED, PlatformError};
use crate::resilience::Permit;
use crate::store::{StoreError, history, watches};
use crate::supervision::{DynHandle, SendError};
use crate::watch::judge::Background;
use crate::watch::watcher::{Looked, See, Seed, Sight, Watcher};
use chrono::{DateTime, SubsecRound as _, Utc};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// A product that was picked.
pub(super) struct Picked {
    pub(super) watch_id: WatchId,
    pub(super) item: SourceProductId,
    pub(super) watcher: DynHandle<Watcher>,
    pub(super) rate: (f32, f32),
    /// The epoch under which it is asked for.
    pub(super) epoch: Epoch,
}

/// What came of a check.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was not made: as if never picked.
    GivenBack,
    /// No answer, or none that can be understood.
    Failed(PlatformError),
    /// An answer, and what the watcher made of it.
    Looked(Looked),
    /// The watcher did not answer.
    NoWatcher(SendError),
}

/// How often a watcher is asked about one page: seeded, given the past, and twice overtaken.
const TRIES: u32 = 5;
/// The ledger waits out an outage of the database as long as it takes, and what it holds must not be thrown away for
/// it; a check that takes longer than this is one whose answer was lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(900);

/// Looks at what was picked, in one request; one outcome for each, in order.
pub(super) async fn check(
    env: Arc<PatrolEnv>,
    picked: Vec<Picked>,
    permit: Permit,
) -> Vec<(WatchId, Outcome)> {
    let ids = picked.iter().map(|p| p.item.clone()).collect();
    let looks = match env.gateway.send(Observe { ids, permit }).await {
        Ok(looks) => looks,
        Err(SendError::Busy | SendError::Down) => {
            return picked.iter().map(|p| (p.watch_id, Outcome::GivenBack)).collect();
        }
        Err(error @ (SendError::Crashed | SendError::TimedOut)) => {
            let failed = |p: &Picked| (p.watch_id, Outcome::Failed(gateway_lost(error)));
            return picked.iter().map(failed).collect();
        }
    };
    let mut looks = looks.into_iter();
    let each = picked.into_iter().map(|picked| {
        let look = looks.next();
        let env = Arc::clone(&env);
        async move {
            let id = picked.watch_id;
            match look {
                Some(look) => (id, one(&env, picked, look).await),
                None => (id, Outcome::GivenBack),
            }
        }
    });
    join_all(each).await
}

fn gateway_lost(error: SendError) -> PlatformError {
    PlatformError {
        class: ErrorClass::Transient,
        code: "gateway_lost".into(),
        message: format!("the gateway did not answer: {error}").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

async fn one(env: &PatrolEnv, picked: Picked, look: Result<Observation, PlatformError>) -> Outcome {
    let sight = match look {
        Ok(page) if page.source_product_id != picked.item => {
            return Outcome::Failed(other_item(&picked.item, &page.source_product_id));
        }
        Ok(mut page) => {
            page.fetched_at = storable(page.fetched_at);
            Sight::Page(Arc::new(page))
        }
        Err(error) if was_never_sent(&error) => return Outcome::GivenBack,
        Err(error) if &*error.code == MOVED => Sight::Moved {
            at: storable(env.clock.now()),
            how: error.message.into(),
        },
        Err(error) if error.class == ErrorClass::NotFound => Sight::Gone {
            at: storable(env.clock.now()),
        },
        Err(error) => return Outcome::Failed(error),
    };
    match ask(env, &picked, sight).await {
        Ok(looked) => Outcome::Looked(looked),
        Err(error) => Outcome::NoWatcher(error),
    }
}

/// The watcher's word on what was seen, with what it needs to know brought from the tables.
async fn ask(env: &PatrolEnv, picked: &Picked, sight: Sight) -> Result<Looked, SendError> {
    let mut background = None;
    for _ in 0..TRIES {
        let see = See {
            sight: sight.clone(),
            rate: picked.rate,
            epoch: picked.epoch,
            background: background.clone(),
        };
        match picked.watcher.send_within(ANSWER_WITHIN, see).await? {
            Looked::Unseeded => match row(env, picked.watch_id).await {
                Ok(Some(row)) => picked.watcher.send(Seed(Box::new(row))).await?,
                Ok(None) => return Ok(Looked::Missing),
                Err(error) => return Ok(not_recorded(picked, &error)),
            },
            Looked::NeedsBackground => match past(env, picked.watch_id).await {
                Ok(past) => background = Some(Arc::new(past)),
                Err(error) => return Ok(not_recorded(picked, &error)),
            },
            // What stands now may have another title and other prices.
            Looked::Stale => background = None,
            looked => return Ok(looked),
        }
    }
    Ok(Looked::NotRecorded)
}

fn not_recorded(picked: &Picked, error: &StoreError) -> Looked {
    tracing::debug!(watch.id = %picked.watch_id, %error, "The past of a watch could not be read; its page is dropped");
    Looked::NotRecorded
}

async fn row(env: &PatrolEnv, id: WatchId) -> Result<Option<watches::WatchRow>, StoreError> {
    let mut conn = env.db.conn().await?;
    let rows = watches::rows_of(&mut conn, &[id]).await?;
    rows.into_iter().next().transpose().map_err(StoreError::bad_row)
}

async fn past(env: &PatrolEnv, id: WatchId) -> Result<Background, StoreError> {
    let mut conn = env.db.conn().await?;
    Ok(Background {
        title: watches::title_of(&mut conn, id).await?,
        prices: history::recent_prices(&mut conn, id).await?,
    })
}

/// The table keeps microseconds; a time that is finer would never be found again.
fn storable(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

fn other_item(asked: &SourceProductId, got: &SourceProductId) -> PlatformError {
    PlatformError {
        class: ErrorClass::Protocol,
        code: "other_item".into(),
        message: format!("asked for item `{asked}`, the answer is about `{got}`").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}
