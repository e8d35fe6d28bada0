//! Children that belong to no platform: the door, the store's keepers, and the rules' follower.

use super::{Common, Doors};
use crate::app::database::Database;
use crate::app::expiry;
use crate::app::nodes::Follow;
use crate::clock::Clock;
use crate::control::door::Door;
use crate::domain::Platform;
use crate::nodes::{self, RULES};
use crate::ops::Account;
use crate::queue::fast::FastLanes;
use crate::store::looping::{child, pause};
use crate::store::redis as link;
use crate::store::{Db, embedded, partitions, sole, status};
use crate::supervision::ChildSpec;
use crate::sync::reprice::{Scope, reprice};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often partitions are looked after.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3_600);
/// How long working out all listings anew may take: a hundred thousand are done within a minute.
const REWORK_LIMIT: Duration = Duration::from_secs(1_800);
/// How soon that is tried again when the database is away.
const REWORK_AGAIN: Duration = Duration::from_secs(5);
/// How often the door's thread is looked after.
const DOOR_EVERY: Duration = Duration::from_secs(1);

/// Keeps the door open: a thread that ended is this child's crash, a path that does not lead to it is mended in place.
pub(super) fn control(doors: Doors) -> ChildSpec {
    let Doors {
        settings,
        state,
        slot,
    } = doors;
    child("socket", move |life| {
        let (settings, state, slot) = (settings.clone(), state.clone(), Arc::clone(&slot));
        async move {
            // The door stays open when the child is asked to stop: it is closed last.
            loop {
                let well = |door: &Door| door.is_open() && door.is_reachable();
                if !slot.lock().as_ref().is_some_and(well) {
                    match Door::open(&settings, state.clone()) {
                        Ok(opened) => {
                            let lost = slot.lock().replace(opened);
                            if let Some(lost) = lost.filter(Door::is_open) {
                                tracing::warn!("The control socket's file was gone: another one is open");
                                lost.close().await;
                            }
                        }
                        Err(error) => tracing::error!(error = %error, "The control door cannot be opened"),
                    }
                }
                if !pause(&life, DOOR_EVERY).await {
                    return;
                }
                let ended = |door: &Door| !door.is_open();
                if slot.lock().as_ref().is_some_and(ended) {
                    return;
                }
            }
        }
    })
}

/// Keeps the private server running, asks the database how it is, and makes next month's partitions.
pub(super) fn store(
    database: &Database,
    fast: Option<&FastLanes>,
    clock: &Clock,
    common: &Common,
    said: &nodes::Notices,
    accounts: &HashMap<Platform, Arc<dyn Account>>,
) -> Vec<ChildSpec> {
    let mut children = Vec::new();
    if let Some(own) = &database.embedded {
        children.push(embedded::child("server", Arc::clone(own)));
    }
    children.push(sole::child("sole", database.sole.clone()));
    children.push(database.keeper.child());
    children.push(said.child(&database.db));
    let follow = Follow {
        db: database.db.clone(),
        live: common.live.clone(),
        ownership: common.ownership.clone(),
        said: said.clone(),
        accounts: accounts.clone(),
        switching: common.switching.clone(),
        first: database.states.clone(),
    };
    children.push(follow.switches());
    children.push(follow.shares());
    children.push(status::child(
        "watch",
        database.db.clone(),
        database.board.clone(),
    ));
    if let Some(fast) = fast {
        children.push(link::child("redis", fast.link().clone()));
    }
    children.push(expiry::watch(database.db.clone(), clock.clone()));
    let (db, clock) = (database.db.clone(), clock.clone());
    children.push(child("partitions", move |life| {
        let (db, clock) = (db.clone(), clock.clone());
        async move {
            while pause(&life, HOUSEKEEPING_EVERY).await {
                if let Err(error) = partitions::ensure_partitions(&db, clock.now()).await {
                    tracing::warn!(error = %error, "Next month's partitions were not made; tried again in an hour");
                }
            }
        }
    }));
    children
}

/// Works out what every listing should be, at the start and whenever the rules change: they may have changed while the
/// daemon was down, too. Listings that stay as they are cost a look.
pub(super) fn rework(db: &Db, common: &Common) -> ChildSpec {
    let (db, live, clock) = (db.clone(), common.live.clone(), common.clock.clone());
    let ownership = common.ownership.clone();
    child("rules", move |life| {
        let (db, live, clock) = (db.clone(), live.clone(), clock.clone());
        let ownership = ownership.clone();
        async move {
            loop {
                life.beat();
                let Some(part) = ownership.enter(RULES) else {
                    // Another node does it; when it is this one's turn, it is done once more.
                    if !pause(&life, REWORK_AGAIN).await {
                        return;
                    }
                    continue;
                };
                life.waiting_until(Instant::now() + REWORK_LIMIT);
                match reprice(&db, &live.book.load_full(), &clock, Scope::All).await {
                    Ok(done) => {
                        if done.moved > 0 {
                            tracing::info!(
                                products = done.products,
                                listings = done.moved,
                                "Rules or rates are not those of the last time: listings follow"
                            );
                        }
                        life.idle();
                        drop(part);
                        tokio::select! {
                            () = live.rework.notified() => {}
                            () = life.stopping().cancelled_owned() => return,
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "Listings are not worked out anew yet");
                        if !pause(&life, REWORK_AGAIN).await {
                            return;
                        }
                    }
                }
            }
        }
    })
}
